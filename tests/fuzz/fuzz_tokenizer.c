/*
 * Any bytes as a text, by tiny vocabularies of both kinds: what the ids say is what was said, as
 * far as it is UTF-8; no control piece comes out of it; and a chat with it in every role holds as
 * many marks as the template has.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../support/tiny_vocab.h"
#include "text/spm.h"
#include "text/utf8_lossy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TAGS                                                                                       \
	"{\"id\":262,\"content\":\"<|im_start|>\",\"special\":true},"                              \
	"{\"id\":263,\"content\":\"<|im_end|>\",\"special\":true},"                                \
	"{\"id\":264,\"content\":\"<t>\",\"special\":false}"

static struct tokenizer *byte_level(const char *pre, const char *normalizer)
{
	static const char *const merges[] = {"h e", "l l", "he ll", "_ w", "a b", "1 2", NULL};
	char *json = tiny_json(pre, normalizer, merges, false, TAGS), warning[256];
	struct tokenizer *t;
	struct vocab *v;
	struct err e;

	CHECK(tiny_load(&v, json, NULL, NULL, &e) == RC_OK);
	CHECK(tokenizer_new(&t, v, "chatml", warning, &e) == RC_OK);
	free(json);
	return t;
}

/* All bytes are there, so that nothing is unknown. */
static struct tokenizer *spm(void)
{
	enum { N = 256 + 8 };
	static const char *const more[] = {SPM_BLANK, "a",  SPM_BLANK "a",  SPM_BLANK SPM_BLANK,
					   "b",	      "ab", "<|im_start|>", "<|im_end|>"};
	static char names[256][8];
	const char *pieces[N];
	float scores[N];
	int32_t kinds[N];
	struct tiny_gguf g = {0};
	struct tokenizer *t;
	struct vocab *v;
	struct err e;
	char warning[256];

	for (int i = 0; i < N; i++) {
		if (i < 256)
			snprintf(names[i], sizeof(names[i]), "<0x%02X>", (unsigned)i);
		pieces[i] = i < 256 ? names[i] : more[i - 256];
		scores[i] = (float)-i;
		kinds[i] = i < 256 ? PIECE_BYTE : i < N - 2 ? PIECE_NORMAL : PIECE_CONTROL;
	}
	tiny_string(&g, "tokenizer.ggml.model", "llama");
	tiny_strings(&g, "tokenizer.ggml.tokens", pieces, N);
	tiny_floats(&g, "tokenizer.ggml.scores", scores, N);
	tiny_ints(&g, "tokenizer.ggml.token_type", kinds, N);
	tiny_uint(&g, "tokenizer.ggml.bos_token_id", N - 2);
	tiny_uint(&g, "tokenizer.ggml.eos_token_id", N - 1);
	CHECK(tiny_gguf_load(&g, &v, NULL, &e) == RC_OK);
	CHECK(tokenizer_new(&t, v, "chatml", warning, &e) == RC_OK);
	return t;
}

static int32_t count_control(const struct tokenizer *t, const struct token_list *l)
{
	const struct vocab *v = tokenizer_vocab(t);
	int32_t n = 0;

	for (int32_t i = 0; i < l->n; i++) {
		CHECK(l->id[i] >= 0 && l->id[i] < v->n);
		n += piece_is_control(&v->piece[l->id[i]]);
	}
	return n;
}

static void check_round_trip(const struct tokenizer *t, const char *text, size_t len)
{
	const struct textcodec *c = tokenizer_codec(t);
	struct token_list l = {0};
	struct buf want, got;

	buf_init(&want, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	utf8_lossy(&want, text, len);
	tokenizer_encode(t, text, len, false, false, true, &l);
	CHECK(count_control(t, &l) == 0);
	for (int32_t i = 0; i < l.n; i++)
		CHECK(c->decode(c, l.id[i], i, &got));
	/* Text in Unicode's NFC, and U+2581 itself, need not come back as it was. */
	if (tokenizer_vocab(t)->nfc) {
		CHECK(utf8_is_valid(buf_head(&got), buf_size(&got)));
	} else if (!memmem(buf_head(&want), buf_size(&want), SPM_BLANK, 3)) {
		CHECK(buf_size(&got) == buf_size(&want));
		CHECK(memcmp(buf_head(&got), buf_head(&want), buf_size(&want)) == 0);
	}
	token_list_release(&l);
	buf_release(&want);
	buf_release(&got);
}

static void check_chat(const struct tokenizer *t, const char *text, size_t len)
{
	const struct textcodec *c = tokenizer_codec(t);
	char *role = xstrndup(text, len); /* up to the first NUL */
	const struct chat_message m[] = {{"system", text, len}, {role, text, len}};
	struct token_list l = {0};

	c->chat(c, m, 2, &l);
	CHECK(count_control(t, &l) == 5 + (c->eos_token >= 0 && tokenizer_vocab(t)->add_bos));
	token_list_release(&l);
	free(role);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tokenizer *all[4];

	if (!all[0]) {
		all[0] = byte_level(TINY_SMOLLM, NULL);
		all[1] = byte_level(TINY_LLAMA3, NULL);
		all[2] = byte_level(TINY_LEVEL, "{\"type\":\"NFC\"}");
		all[3] = spm();
	}
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		check_round_trip(all[i], (const char *)data, size);
		check_chat(all[i], (const char *)data, size);
	}
	return 0;
}
