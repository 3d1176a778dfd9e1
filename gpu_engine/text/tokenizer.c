/*
 * Owns the way from a text to ids and back: what is cut by whom, in which order. One a thread. Must
 * not know files, HTTP or the shapes of conversations.
 */
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "byte_bpe.h"
#include "chat.h"
#include "nfc.h"
#include "pretok.h"
#include "spm.h"
#include "utf8_lossy.h"
#include "word_cache.h"

/* What a call writes over. */
struct scratch {
	struct buf mended, composed, blanks;
};

struct tokenizer {
	struct textcodec codec;
	const struct vocab *v;
	struct specials specials;
	struct pretok *pretok; /* byte-level: both or none */
	struct byte_bpe *byte_bpe;
	struct spm *spm; /* else this */
	struct word_cache *cache;
	struct scratch *scratch;

	/* What piece i says is bytes[at[i]] to bytes[at[i + 1] - 1]. */
	struct buf bytes;
	size_t *at;

	const struct chat_shape *shape;
	char *default_system; /* or NULL */
	bool chat_bos;
};

/* ---- words ---- */

struct to {
	const struct tokenizer *t;
	struct token_list *out;
};

static void put_word(void *arg, const char *s, size_t n)
{
	const struct to *to = arg;
	const struct tokenizer *t = to->t;
	int32_t known, before = to->out->n;
	const int32_t *id = word_cache_get(t->cache, s, n, &known);

	if (id) {
		token_list_append(to->out, id, known);
		return;
	}
	if (t->spm)
		spm_encode(t->spm, s, n, to->out);
	else
		byte_bpe_encode(t->byte_bpe, s, n, to->out);
	if (to->out->n > before) /* a word can be nothing: bytes that are no piece */
		word_cache_put(t->cache, s, n, to->out->id + before, to->out->n - before);
}

static void put_blanks(struct buf *b, const char *s, size_t n)
{
	for (const char *end = s + n, *blank; s < end; s = blank + 1) {
		blank = memchr(s, ' ', (size_t)(end - s));
		if (!blank) {
			CHECK(buf_append(b, s, (size_t)(end - s)));
			break;
		}
		CHECK(buf_append(b, s, (size_t)(blank - s)));
		CHECK(buf_puts(b, SPM_BLANK));
	}
}

/* What stands between special pieces. at_start: at the beginning of the whole text. */
static void put_text(const struct to *to, const char *s, size_t n, bool space, bool at_start)
{
	const struct tokenizer *t = to->t;
	const struct vocab *v = t->v;

	if (n == 0)
		return;
	if (v->nfc && !nfc_is_composed(s, n)) {
		buf_clear(&t->scratch->composed);
		nfc_compose(&t->scratch->composed, s, n);
		s = buf_head(&t->scratch->composed);
		n = buf_size(&t->scratch->composed);
	}
	if (t->pretok) {
		pretok_split(t->pretok, s, n, put_word, (void *)to);
		return;
	}
	buf_clear(&t->scratch->blanks);
	if (space && v->add_space_prefix && (at_start || !v->prefix_once) &&
	    !(v->prefix_unless_blank && (*s == ' ' || (n >= 3 && memcmp(s, SPM_BLANK, 3) == 0))))
		CHECK(buf_puts(&t->scratch->blanks, SPM_BLANK));
	put_blanks(&t->scratch->blanks, s, n);
	spm_split(t->spm, buf_head(&t->scratch->blanks), buf_size(&t->scratch->blanks), put_word,
		  (void *)to);
}

void tokenizer_encode_spans(const struct tokenizer *t, const char *text, size_t len,
			    const struct text_span *trusted, int32_t n_trusted, bool space,
			    struct token_list *out)
{
	const struct to to = {t, out};
	struct text_span where;
	size_t at = 0;
	int32_t id;

	while ((id = specials_next(&t->specials, text, at, len, trusted, n_trusted, &where)) >= 0) {
		put_text(&to, text + at, where.from - at, space, at == 0);
		token_list_push(out, id);
		at = where.to;
	}
	put_text(&to, text + at, len - at, space, at == 0);
}

void tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool control,
		      bool bos, bool space, struct token_list *out)
{
	struct text_span all;

	if (!utf8_is_valid(text, len)) {
		buf_clear(&t->scratch->mended);
		utf8_lossy(&t->scratch->mended, text, len);
		text = buf_head(&t->scratch->mended);
		len = buf_size(&t->scratch->mended);
	}
	if (bos && t->v->add_bos)
		token_list_push(out, t->v->bos);
	all = (struct text_span){0, len};
	tokenizer_encode_spans(t, text, len, &all, control, space, out);
}

/* ---- as a codec ---- */

static const struct tokenizer *of(const struct textcodec *c)
{
	return (const struct tokenizer *)c;
}

static void codec_encode(const struct textcodec *c, const char *text, size_t len,
			 struct token_list *out)
{
	tokenizer_encode(of(c), text, len, false, true, true, out);
}

static bool codec_decode(const struct textcodec *c, int32_t token, int32_t index, struct buf *b)
{
	const struct tokenizer *t = of(c);
	const char *s;
	size_t n;

	if (token < 0 || token >= t->v->n)
		return true;
	s = buf_head(&t->bytes) + t->at[token];
	n = t->at[token + 1] - t->at[token];
	if (index == 0 && t->spm && t->v->add_space_prefix && n > 0 && *s == ' ') {
		s++;
		n--;
	}
	return buf_append(b, s, n);
}

static void codec_chat(const struct textcodec *c, const struct chat_message *m, int32_t n,
		       struct token_list *out)
{
	const struct tokenizer *t = of(c);

	chat_encode(t->shape, t, t->default_system, t->chat_bos, m, n, out);
}

const struct textcodec *tokenizer_codec(const struct tokenizer *t)
{
	return &t->codec;
}

const struct vocab *tokenizer_vocab(const struct tokenizer *t)
{
	return t->v;
}

const char *tokenizer_chat_name(const struct tokenizer *t)
{
	return chat_shape_name(t->shape);
}

/* ---- what pieces say ---- */

static void put_spm_bytes(struct buf *b, const struct piece *p)
{
	const char *s = p->text, *end = s + p->len, *blank;

	if (p->kind == PIECE_BYTE) {
		CHECK(buf_putc(b, (char)strtol(p->text + 3, NULL, 16)));
		return;
	}
	while ((blank = memmem(s, (size_t)(end - s), SPM_BLANK, 3))) {
		CHECK(buf_append(b, s, (size_t)(blank - s)));
		CHECK(buf_putc(b, ' '));
		s = blank + 3;
	}
	CHECK(buf_append(b, s, (size_t)(end - s)));
}

static void spell_out_pieces(struct tokenizer *t)
{
	const struct vocab *v = t->v;

	buf_init(&t->bytes, SIZE_MAX);
	t->at = xcalloc((size_t)v->n + 1, sizeof(*t->at));
	for (int32_t i = 0; i < v->n; i++) {
		const struct piece *p = &v->piece[i];

		if (!piece_is_control(p)) {
			if (v->kind == VOCAB_SPM)
				put_spm_bytes(&t->bytes, p);
			else if (p->kind == PIECE_USER ||
				 !byte_bpe_unspell(p->text, (size_t)p->len, &t->bytes))
				CHECK(buf_append(&t->bytes, p->text, (size_t)p->len));
		}
		t->at[i + 1] = buf_size(&t->bytes);
	}
}

/* ---- the conversation's shape ---- */

/* `chat` is a name, or a file with a template's text. */
static enum rc named_shape(struct tokenizer *t, const char *chat, struct err *e)
{
	struct buf text;
	struct err why;
	enum rc rc = RC_OK;

	if (chat_shape_find(&t->shape, chat, e) == RC_OK)
		return RC_OK;
	buf_init(&text, 1 << 20);
	if (buf_read_file(&text, chat, &why) != RC_OK) {
		rc = e->rc; /* the list of names says more than "no such file" */
	} else {
		t->shape = chat_shape_sniff(buf_cstr(&text));
		if (!t->shape) {
			rc = err_set(e, RC_INPUT,
				     "%s: a chat template of no shape that is known here; name one",
				     chat);
		} else {
			t->default_system = chat_default_system(t->shape, buf_cstr(&text));
			t->chat_bos = strstr(buf_cstr(&text), "bos_token") != NULL;
		}
	}
	buf_release(&text);
	return rc;
}

static enum rc choose_shape(struct tokenizer *t, const char *chat, char warning[256], struct err *e)
{
	const char *text = t->v->chat_template, *mark;

	*warning = '\0';
	t->chat_bos = t->v->add_bos;
	if (chat) {
		if (named_shape(t, chat, e) != RC_OK)
			return e->rc;
	} else if (text) {
		t->shape = chat_shape_sniff(text);
		if (t->shape) {
			t->default_system = chat_default_system(t->shape, text);
			t->chat_bos = strstr(text, "bos_token") != NULL;
		}
	}
	if (!t->shape) {
		t->shape = chat_shape_chatml();
		snprintf(warning, 256, "%s; conversations are written as ChatML",
			 text ? "the model's chat template is of no shape that is known here"
			      : "the model brings no chat template");
		return RC_OK;
	}
	mark = chat_shape_missing_mark(t->shape, t->v);
	if (mark)
		snprintf(warning, 256,
			 "the vocabulary has no special piece %s, which the chat template %s "
			 "wants: it is read as text",
			 mark, chat_shape_name(t->shape));
	return RC_OK;
}

/* ---- its life ---- */

enum rc tokenizer_new(struct tokenizer **out, const struct vocab *v, const char *chat,
		      char warning[256], struct err *e)
{
	struct tokenizer *t = xcalloc(1, sizeof(*t));
	const struct pretok_kind *k;

	*out = NULL;
	t->v = v;
	t->codec = (struct textcodec){
		.name = v->kind == VOCAB_SPM ? "spm" : "byte-bpe",
		.vocab_size = v->n,
		.eos_token = v->eos,
		.end_ids = v->end,
		.n_end_ids = v->n_end,
		.encode = codec_encode,
		.decode = codec_decode,
		.chat = codec_chat,
	};
	if (choose_shape(t, chat, warning, e) != RC_OK) {
		tokenizer_free(t);
		return e->rc;
	}
	if (v->kind == VOCAB_SPM) {
		t->spm = spm_new(v);
	} else {
		CHECK(pretok_find(&k, v->pre, NULL) == RC_OK); /* vocab_load() has looked */
		t->pretok = pretok_new(k);
		t->byte_bpe = byte_bpe_new(v);
	}
	specials_init(&t->specials, v);
	t->cache = word_cache_new();
	t->scratch = xcalloc(1, sizeof(*t->scratch));
	buf_init(&t->scratch->mended, SIZE_MAX);
	buf_init(&t->scratch->composed, SIZE_MAX);
	buf_init(&t->scratch->blanks, SIZE_MAX);
	spell_out_pieces(t);
	*out = t;
	return RC_OK;
}

void tokenizer_free(struct tokenizer *t)
{
	if (!t)
		return;
	if (t->scratch) {
		buf_release(&t->scratch->mended);
		buf_release(&t->scratch->composed);
		buf_release(&t->scratch->blanks);
	}
	free(t->scratch);
	word_cache_free(t->cache);
	spm_free(t->spm);
	byte_bpe_free(t->byte_bpe);
	pretok_free(t->pretok);
	specials_release(&t->specials);
	buf_release(&t->bytes);
	free(t->at);
	free(t->default_system);
	free(t);
}
