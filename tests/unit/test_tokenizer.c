/*
 * From text to ids and back by vocabularies of a few pieces: merges, ties, special pieces, trust,
 * blanks in front, broken text, and what streams back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/tiny_vocab.h"
#include "base/rng.h"
#include "text/specials.h"
#include "text/spm.h"

struct world {
	struct vocab *v;
	struct tokenizer *t;
};

static void open_json(struct world *w, const char *pre, const char *normalizer,
		      const char *const merges[], bool ignore_merges, const char *added)
{
	char *json = tiny_json(pre, normalizer, merges, ignore_merges, added), warning[256];
	struct err e;

	if (tiny_load(&w->v, json, NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(tokenizer_new(&w->t, w->v, "chatml", warning, &e), RC_OK);
	free(json);
}

static void close_world(struct world *w)
{
	tokenizer_free(w->t);
	vocab_free(w->v);
}

/* "1 2 3", valid until the next call. */
static const char *show(const struct token_list *l)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (int32_t i = 0; i < l->n && n < sizeof(text) - 16; i++)
		n += (size_t)sprintf(text + n, "%s%d", i ? " " : "", l->id[i]);
	return text;
}

enum how { PLAIN, MARKED };

static void expect(const struct world *w, const char *text, enum how how, const char *ids)
{
	struct token_list l = {0};

	tokenizer_encode(w->t, text, strlen(text), how == MARKED, false, true, &l);
	if (strcmp(show(&l), ids) != 0)
		fail_msg("\"%s\" becomes %s, want %s", text, show(&l), ids);
	token_list_release(&l);
}

/* What the ids of a text say. */
static void expect_back(const struct world *w, const char *text, const char *back)
{
	const struct textcodec *c = tokenizer_codec(w->t);
	struct token_list l = {0};
	struct buf b;

	buf_init(&b, 1 << 20);
	tokenizer_encode(w->t, text, strlen(text), true, false, true, &l);
	for (int32_t i = 0; i < l.n; i++)
		assert_true(c->decode(c, l.id[i], i, &b));
	assert_string_equal(buf_cstr(&b), back);
	token_list_release(&l);
	buf_release(&b);
}

/* ---- byte-level ---- */

static const char *const merges[] = {"h e",   "l l", "he ll", "hell o", "_ w", "o r",
				     "_w or", "a b", "b c",   "1 2",	NULL};

enum { HE = 256, LL, HELL, HELLO, _W, OR, _WOR, AB, BC, ONE_TWO, ADDED };

#define TAG(id, text, special) "{\"id\":" #id ",\"content\":\"" text "\",\"special\":" #special "}"

static const char tags[] = TAG(266, "<|end|>", true) "," TAG(267, "<|end|>>", false) "," TAG(
	268, "<t>", false) "," TAG(269, "<|en", false);

static void test_merges(void **state)
{
	struct world w;

	(void)state;
	open_json(&w, TINY_LEVEL, NULL, merges, false, tags);
	expect(&w, "", PLAIN, "");
	expect(&w, "hello", PLAIN, "259");
	expect(&w, "hell", PLAIN, "258");
	expect(&w, "hello world", PLAIN, "259 262 108 100");
	expect(&w, "llll", PLAIN, "257 257");
	expect(&w, "lll", PLAIN, "257 108"); /* of equals the leftmost */
	expect(&w, "abc", PLAIN, "263 99");  /* the rank, not the place, ... */
	expect(&w, "bcab", PLAIN, "264 263");
	expect(&w, "\xc3\xa9", PLAIN, "195 169");
	expect(&w, "12", PLAIN, "265");
	expect_back(&w, "hello world, \xf0\x9f\x98\x80\n", "hello world, \xf0\x9f\x98\x80\n");
	close_world(&w);
	open_json(&w, TINY_SMOLLM, NULL, merges, false, tags);
	expect(&w, "12", PLAIN, "49 50"); /* digits stand alone */
	close_world(&w);
}

/* A whole word that is a piece is taken as it is, even where no merges lead to it. */
static void test_ignore_merges(void **state)
{
	static const char *const odd[] = {"b c", "a b", "ab c", NULL}; /* 'abc' merges to a, bc */
	struct world w;

	(void)state;
	open_json(&w, TINY_LLAMA3, NULL, odd, false, tags);
	assert_string_equal(w.v->pre, "llama-bpe");
	expect(&w, "abc", PLAIN, "97 256");
	close_world(&w);
	open_json(&w, TINY_LLAMA3, NULL, odd, true, tags);
	expect(&w, "abc", PLAIN, "258");
	expect(&w, "abc abcd", PLAIN, "258 32 97 256 100");
	close_world(&w);
}

static void test_special_pieces(void **state)
{
	struct world w;

	(void)state;
	open_json(&w, TINY_LEVEL, NULL, merges, false, tags);
	expect(&w, "ab<|end|>ab", MARKED, "263 266 263");
	expect(&w, "ab<|end|>>ab", PLAIN, "263 267 263"); /* the longest, and it is the user's */
	expect(&w, "ab<|end|>>ab", MARKED, "263 267 263");
	expect(&w, "<t><t>", PLAIN, "268 268");
	/* A control piece that is not trusted is text, also where a shorter piece begins it. */
	expect(&w, "<|end|>", PLAIN, "60 124 101 110 100 124 62");
	expect(&w, "<|enx", PLAIN, "269 120");
	expect(&w, "<|end|", PLAIN, "269 100 124");
	expect_back(&w, "ab<|end|>ab<t>", "abab<t>");
	close_world(&w);
}

static void test_trusted_spans(void **state)
{
	/* "<|end|>" three times; the middle one is somebody's text. */
	const char *text = "<|end|>x<|end|>y<|end|>";
	const struct text_span spans[] = {{0, 7}, {15, 23}}, cut[] = {{0, 6}, {6, 10}};
	struct token_list l = {0};
	struct world w;

	(void)state;
	open_json(&w, TINY_LEVEL, NULL, merges, false, tags);
	tokenizer_encode_spans(w.t, text, strlen(text), spans, 2, true, &l);
	assert_string_equal(show(&l), "266 120 60 124 101 110 100 124 62 121 266");
	l.n = 0;
	/* Nor is one that lies only in part in what is trusted. */
	tokenizer_encode_spans(w.t, text, 7, cut, 1, true, &l);
	assert_string_equal(show(&l), "60 124 101 110 100 124 62");
	token_list_release(&l);
	close_world(&w);
}

static void test_strips(void **state)
{
	static const char added[] =
		"{\"id\":266,\"content\":\"<|a|>\",\"special\":true,\"rstrip\":true},"
		"{\"id\":267,\"content\":\"<|b|>\",\"special\":true,\"lstrip\":true}";
	struct world w;

	(void)state;
	open_json(&w, TINY_LEVEL, NULL, merges, false, added);
	expect(&w, "ab<|a|> \n ab", MARKED, "263 266 263");
	expect(&w, "ab \n <|b|> ab", MARKED, "263 267 32 263");
	expect(&w, "<|a|>  <|b|>", MARKED, "266 267");
	close_world(&w);
}

static void test_broken_text(void **state)
{
	struct world w;

	(void)state;
	open_json(&w, TINY_LEVEL, NULL, merges, false, tags);
	expect(&w,
	       "ab\xff"
	       "ab",
	       PLAIN, "263 239 191 189 263");
	expect_back(&w, "\xf0\x9f\x98", "\xef\xbf\xbd");
	close_world(&w);
}

static void test_composed_text(void **state)
{
	struct world w;

	(void)state;
	open_json(&w, TINY_LEVEL, "{\"type\":\"NFC\"}", merges, false, tags);
	assert_true(w.v->nfc);
	expect(&w, "e\xcc\x81", PLAIN, "195 169");
	expect_back(&w, "e\xcc\x81x", "\xc3\xa9x");
	close_world(&w);
}

/* Every output ends up as what went in: for bytes that are text, word by word and as a whole. */
static void test_round_trip(void **state)
{
	struct world w;
	struct rng r;

	(void)state;
	open_json(&w, TINY_SMOLLM, NULL, merges, false, tags);
	rng_init(&r, 11, "text", 0);
	for (int round = 0; round < 300; round++) {
		char text[600];
		size_t n = (size_t)rng_below(&r, sizeof(text) - 8);

		for (size_t i = 0; i < n; i++)
			text[i] = "helo wrabc12<t>\n'"[rng_below(&r, 17)];
		text[n] = '\0';
		expect_back(&w, text, text);
	}
	close_world(&w);
}

/* More words than the cache holds, and words too long for it. */
static void test_many_words(void **state)
{
	struct token_list once = {0}, again = {0};
	struct buf text;
	struct world w;

	(void)state;
	buf_init(&text, 8 << 20);
	for (int i = 0; i < 70000; i++)
		buf_printf(&text, "w%dx ", i);
	for (int i = 0; i < 50000; i++)
		buf_puts(&text, "hello");
	open_json(&w, TINY_LEVEL, NULL, merges, false, tags);
	tokenizer_encode(w.t, buf_head(&text), buf_size(&text), false, false, true, &once);
	tokenizer_encode(w.t, buf_head(&text), buf_size(&text), false, false, true, &again);
	assert_int_equal(once.n, again.n);
	assert_memory_equal(once.id, again.id, (size_t)once.n * sizeof(*once.id));
	assert_int_equal(once.id[once.n - 1], HELLO);
	assert_int_equal(once.id[once.n - 50000], HELLO);
	token_list_release(&once);
	token_list_release(&again);
	buf_release(&text);
	close_world(&w);
}

/* ---- SentencePiece ---- */

#define B SPM_BLANK

/* NOLINTBEGIN(bugprone-suspicious-missing-comma): a blank and what is behind it are one piece */
static const char *const spm_pieces[] = {
	"<unk>", "<s>", "</s>", "<0x41>", "<0xC3>", "<0xA9>", B,     "a",      "b",
	"c",	 B "a", "ab",	"bc",	  B B,	    "abc",    B "c", "<mark>", "unused",
};
/* NOLINTEND(bugprone-suspicious-missing-comma) */
static const float spm_scores[] = {0,	0,  0,	0,  0,	0,  -50, -51, -52,
				   -53, -1, -2, -2, -3, -9, -8,	 0,   0};
static const int32_t spm_kinds[] = {2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 5};

static void open_spm(struct world *w, const float *scores, const int32_t *kinds, bool prefix)
{
	enum { N = ARRAY_LEN(spm_pieces) };
	struct tiny_gguf g = {0};
	char warning[256];
	struct err e;

	tiny_string(&g, "tokenizer.ggml.model", "llama");
	tiny_strings(&g, "tokenizer.ggml.tokens", spm_pieces, N);
	tiny_floats(&g, "tokenizer.ggml.scores", scores, N);
	tiny_ints(&g, "tokenizer.ggml.token_type", kinds, N);
	tiny_bool(&g, "tokenizer.ggml.add_space_prefix", prefix);
	if (tiny_gguf_load(&g, &w->v, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(tokenizer_new(&w->t, w->v, "llama2", warning, &e), RC_OK);
}

static void test_spm(void **state)
{
	struct world w;

	(void)state;
	open_spm(&w, spm_scores, spm_kinds, false);
	assert_true(w.v->add_bos);
	expect(&w, "", PLAIN, "");
	expect(&w, "ab", PLAIN, "11");
	expect(&w, "abc", PLAIN, "14"); /* ab and bc are a tie: the left one, and then abc */
	expect(&w, "bcab", PLAIN, "12 11");
	expect(&w, " ab", PLAIN, "10 8"); /* "_a" is worth more than "ab" */
	expect(&w, "  ab", PLAIN, "6 10 8");
	expect(&w, "   ", PLAIN, "13 6");
	expect(&w, "A\xc3\xa9", PLAIN, "3 4 5"); /* by bytes */
	expect(&w, "x", PLAIN, "0");		 /* which are not all there */
	expect(&w, "xyza", PLAIN, "0 7");	 /* unknown ones are one */
	expect(&w, "<s>ab<mark>ab", MARKED, "1 11 16 11");
	expect_back(&w, "<s>ab<mark>ab", "ab<mark>ab");
	expect_back(&w, " ab", " ab"); /* no blank was put in front */
	expect_back(&w, "A\xc3\xa9", "A\xc3\xa9");
	close_world(&w);
}

static void test_spm_prefix(void **state)
{
	struct world w;

	(void)state;
	open_spm(&w, spm_scores, spm_kinds, true);
	expect(&w, "ab", PLAIN, "10 8");
	expect(&w, "", PLAIN, "");
	expect(&w, " ab", PLAIN, "6 10 8"); /* one more, as SentencePiece does it */
	expect(&w, "<s>ab<mark>ab", MARKED, "1 10 8 16 10 8"); /* before each text */
	expect_back(&w, "ab ab", "ab ab");
	expect_back(&w, " ab", " ab");
	close_world(&w);
}

/* The blank in front by Metaspace's rules, which tokenizer.json alone knows. */
static void test_prefix_rules(void **state)
{
	static const char form[] =
		"{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],"
		"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" B
		"\",\"prepend_scheme\":\"%s\",\"split\":false},\"model\":{\"type\":\"BPE\","
		"\"byte_fallback\":true,\"vocab\":{\"<s>\":0,\"" B "\":1,\"a\":2,\"" B "a\":3},"
		"\"merges\":[\"" B " a\"]}}";
	static const struct {
		const char *scheme, *text, *ids;
	} row[] = {
		{"first", "a<s>a", "3 0 2"},  {"first", " a", "3"},
		{"always", "a<s>a", "3 0 3"}, {"always", " a<s> a", "3 0 3"},
		{"never", "a<s> a", "2 0 3"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char json[1024], warning[256];
		struct world w;
		struct err e;

		snprintf(json, sizeof(json), form, row[i].scheme);
		if (tiny_load(&w.v, json, NULL, NULL, &e) != RC_OK)
			fail_msg("%s", e.msg);
		assert_int_equal(tokenizer_new(&w.t, w.v, NULL, warning, &e), RC_OK);
		expect(&w, row[i].text, MARKED, row[i].ids);
		close_world(&w);
	}
}

/* A piece that is not to be used is taken apart into what it was made of. */
static void test_spm_unused(void **state)
{
	int32_t kinds[ARRAY_LEN(spm_kinds)];
	struct world w;

	(void)state;
	memcpy(kinds, spm_kinds, sizeof(kinds));
	kinds[14] = PIECE_UNUSED; /* abc */
	open_spm(&w, spm_scores, kinds, false);
	expect(&w, "abc", PLAIN, "11 9");
	close_world(&w);
	kinds[11] = PIECE_UNUSED; /* and ab */
	open_spm(&w, spm_scores, kinds, false);
	expect(&w, "abcab", PLAIN, "7 8 9 7 8");
	close_world(&w);
}

/* A piece with a blank inside joins what would else be two words. */
static void test_spm_inner_blank(void **state)
{
	static const char *const pieces[] = {"<unk>", "<s>", "</s>", "a", B, "a" B, "a" B "a"};
	static const float scores[] = {0, 0, 0, -9, -9, -1, -2};
	struct tiny_gguf g = {0};
	char warning[256];
	struct world w;
	struct err e;

	(void)state;
	tiny_string(&g, "tokenizer.ggml.model", "llama");
	tiny_strings(&g, "tokenizer.ggml.tokens", pieces, 7);
	tiny_floats(&g, "tokenizer.ggml.scores", scores, 7);
	tiny_bool(&g, "tokenizer.ggml.add_space_prefix", false);
	assert_int_equal(tiny_gguf_load(&g, &w.v, NULL, &e), RC_OK);
	assert_int_equal(tokenizer_new(&w.t, w.v, NULL, warning, &e), RC_OK);
	expect(&w, "a a a", PLAIN, "5 6");
	close_world(&w);
}

/* ---- the codec ---- */

static void test_codec(void **state)
{
	const struct textcodec *c;
	struct token_list l = {0};
	struct buf b;
	struct world w;

	(void)state;
	open_spm(&w, spm_scores, spm_kinds, true);
	c = tokenizer_codec(w.t);
	assert_int_equal(c->vocab_size, ARRAY_LEN(spm_pieces));
	assert_int_equal(c->eos_token, 2);
	assert_int_equal(c->n_end_ids, 1);
	c->encode(c, "ab</s>", 6, &l); /* begins with <s>; what looks like an end is none */
	assert_int_equal(l.id[0], 1);
	for (int32_t i = 1; i < l.n; i++)
		assert_int_not_equal(l.id[i], 2);
	token_list_release(&l);

	buf_init(&b, 3);
	assert_true(c->decode(c, 10, 0, &b)); /* "_a" at the beginning, and not */
	assert_true(c->decode(c, 10, 1, &b));
	assert_string_equal(buf_cstr(&b), "a a");
	assert_false(c->decode(c, 7, 2, &b)); /* the buffer is full */
	assert_true(c->decode(c, 2, 3, &b));  /* nothing to say */
	assert_true(c->decode(c, 1000, 3, &b));
	assert_true(c->decode(c, -1, 3, &b));
	buf_clear(&b);
	assert_true(c->decode(c, 4, 5, &b)); /* half a character */
	assert_true(c->decode(c, 5, 6, &b));
	assert_string_equal(buf_cstr(&b), "\xc3\xa9");
	buf_release(&b);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merges),	       cmocka_unit_test(test_ignore_merges),
		cmocka_unit_test(test_special_pieces), cmocka_unit_test(test_trusted_spans),
		cmocka_unit_test(test_strips),	       cmocka_unit_test(test_broken_text),
		cmocka_unit_test(test_composed_text),  cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_many_words),     cmocka_unit_test(test_spm),
		cmocka_unit_test(test_spm_prefix),     cmocka_unit_test(test_prefix_rules),
		cmocka_unit_test(test_spm_unused),     cmocka_unit_test(test_spm_inner_blank),
		cmocka_unit_test(test_codec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
