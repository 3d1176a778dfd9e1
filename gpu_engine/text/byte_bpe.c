/*
 * Owns the byte <-> character map and the merge rules of a byte-level vocabulary. One a thread.
 * Must not know where words begin.
 */
#include "byte_bpe.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "base/utf8.h"
#include "merges.h"

struct byte_bpe {
	const struct vocab *v;
	struct merges merges;
	int32_t byte[256]; /* the piece that is this byte, or -1 */
	struct token_list scratch;
	struct buf spelled;
};

/* GPT-2's map: what is printable in Latin-1 stands for itself, the rest goes from U+0100 on. */
static bool is_itself(unsigned b)
{
	return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

static uint32_t character_of(unsigned byte)
{
	uint32_t next = 0x100;

	if (is_itself(byte))
		return byte;
	for (unsigned b = 0; b < byte; b++)
		next += !is_itself(b);
	return next;
}

/* The byte, or -1. */
static int byte_of(uint32_t character)
{
	uint32_t next = 0x100;

	if (character < 0x100)
		return is_itself(character) ? (int)character : -1;
	for (unsigned b = 0; b < 256; b++)
		if (!is_itself(b) && next++ == character)
			return (int)b;
	return -1;
}

bool byte_bpe_unspell(const char *spelled, size_t len, struct buf *b)
{
	const size_t before = buf_size(b);

	for (size_t n; len > 0; spelled += n, len -= n) {
		uint32_t c = 0;
		int byte;

		n = utf8_decode(spelled, len, &c);
		byte = n ? byte_of(c) : -1;
		if (byte < 0 || !buf_putc(b, (char)byte)) {
			b->len = b->off + before;
			return false;
		}
	}
	return true;
}

static void spell(struct buf *b, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t c = character_of((unsigned char)bytes[i]);

		if (c < 0x80) {
			CHECK(buf_putc(b, (char)c));
		} else {
			CHECK(buf_putc(b, (char)(0xc0 | c >> 6))); /* all are below U+0800 */
			CHECK(buf_putc(b, (char)(0x80 | (c & 0x3f))));
		}
	}
}

struct byte_bpe *byte_bpe_new(const struct vocab *v)
{
	struct byte_bpe *b = xcalloc(1, sizeof(*b));

	b->v = v;
	buf_init(&b->spelled, SIZE_MAX);
	for (int i = 0; i < 256; i++) {
		char byte = (char)i;

		buf_clear(&b->spelled);
		spell(&b->spelled, &byte, 1);
		b->byte[i] = vocab_find(v, buf_head(&b->spelled), buf_size(&b->spelled));
	}
	merges_init(&b->merges, (size_t)v->n_merges);
	for (int32_t i = 0; i < v->n_merges; i++)
		merges_add(&b->merges, v->merge[i].left, v->merge[i].right, i, v->merge[i].into);
	return b;
}

void byte_bpe_free(struct byte_bpe *b)
{
	if (!b)
		return;
	merges_release(&b->merges);
	token_list_release(&b->scratch);
	buf_release(&b->spelled);
	free(b);
}

void byte_bpe_encode(struct byte_bpe *b, const char *word, size_t len, struct token_list *out)
{
	int32_t n;

	if (b->v->ignore_merges) {
		buf_clear(&b->spelled);
		spell(&b->spelled, word, len);
		n = vocab_find(b->v, buf_head(&b->spelled), buf_size(&b->spelled));
		if (n >= 0) {
			token_list_push(out, n);
			return;
		}
	}
	b->scratch.n = 0;
	for (size_t i = 0; i < len; i++) {
		int32_t id = b->byte[(unsigned char)word[i]];

		if (id < 0)
			id = b->v->unknown;
		if (id >= 0)
			token_list_push(&b->scratch, id);
	}
	n = merges_run(&b->merges, b->scratch.id, b->scratch.n);
	for (int32_t i = 0; i < n; i++)
		token_list_push(out, b->scratch.id[i]);
}
