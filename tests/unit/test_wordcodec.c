/*
 * The word codec: how it counts, that our own answers come back as the ids they were made of, that
 * filler reads like text, and that any bytes go in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/jsonx.h"
#include "base/rng.h"
#include "fakeengine/wordcodec.h"

static struct token_list encode(const char *text, size_t len)
{
	struct token_list l = {0};

	wordcodec.encode(&wordcodec, text, len, &l);
	for (int32_t i = 0; i < l.n; i++)
		assert_in_range(l.id[i], 0, wordcodec.vocab_size - 1);
	return l;
}

static void test_counts(void **state)
{
	static const struct {
		const char *text;
		int32_t tokens;
	} row[] = {
		{"", 0},
		{"the", 1},
		{" the", 1},
		{"The cat sat.", 4},
		{"mountain", 1},	     /* eight letters, but a word of the codec's */
		{"mountains", 2},	     /* not one: 7 + 2 letters */
		{"THE", 1},		     /* not one as it stands, but only three letters */
		{"internationalisation", 3}, /* 20 letters */
		{"don't", 3},		     /* don ' t */
		{"12345", 2},		     /* 3 + 2 digits */
		{"a  b", 3},		     /* of two blanks one is b's */
		{"a\n\n    b", 3},	     /* the rest of the run is one piece */
		{"a                                 b",
		 4},	     /* of 33 one is b's, 32 are two pieces */
		{"end ", 2}, /* a blank before nothing stands for itself */
		{"x == y;", 5},
		{"<|im_start|>user\n", 3}, /* a mark, a short word, a line end */
		{"<|end|", 4},
		{"<|IM|>", 5}, /* not a mark */
		{"<||>", 4},
		{"\xc3\xa9t\xc3\xa9", 1},		     /* 5 bytes of letters */
		{"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 2}, /* 9 bytes of letters */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct token_list l = encode(row[i].text, strlen(row[i].text));

		if (l.n != row[i].tokens)
			fail_msg("\"%s\": %d tokens, want %d", row[i].text, l.n, row[i].tokens);
		token_list_release(&l);
	}
}

/* Words as people count them: what stands between white space. */
static long count_words(const char *text)
{
	long words = 0;

	for (const char *p = text; *p; p++)
		words += !strchr(" \t\n", *p) && (p == text || strchr(" \t\n", p[-1]));
	return words;
}

static void test_tokens_a_word(void **state)
{
	FILE *f = fopen(SOURCE_DIR "/scenarios/prompts/lima_style.jsonl", "r");
	long words = 0, tokens = 0;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	(void)state;
	assert_non_null(f);
	while ((n = getline(&line, &cap, f)) > 0) {
		cJSON *record = NULL;
		const cJSON *text;

		assert_int_equal(json_parse(&record, line, (size_t)n, NULL), RC_OK);
		cJSON_ArrayForEach(text, cJSON_GetObjectItem(record, "conversations"))
		{
			struct token_list l = encode(text->valuestring, strlen(text->valuestring));

			tokens += l.n;
			words += count_words(text->valuestring);
			token_list_release(&l);
		}
		cJSON_Delete(record);
	}
	free(line);
	fclose(f);
	assert_true(words > 25000);
	if ((double)tokens < 1.27 * (double)words || (double)tokens > 1.37 * (double)words)
		fail_msg("%ld tokens for %ld words", tokens, words);
}

static void test_answers_come_back(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		int32_t n = 1 + (int32_t)(seed * 7 % 300);
		struct token_list back;
		struct buf text;

		buf_init(&text, 1 << 20);
		for (int32_t i = 0; i < n; i++)
			assert_true(
				wordcodec.decode(&wordcodec, wordcodec_filler(seed, i), i, &text));
		back = encode(buf_head(&text), buf_size(&text));
		assert_int_equal(back.n, n);
		for (int32_t i = 0; i < n; i++)
			assert_int_equal(back.id[i], wordcodec_filler(seed, i));
		token_list_release(&back);
		buf_release(&text);
	}
}

/* Bytes and words, which is all that is not a hash, decode to a text of one token; a word's text is
 * the word again. So the list is sorted and has no doubles. */
static void test_each_word_comes_back(void **state)
{
	enum { WORDS_BEGIN = 256, WORDS_END = WORDS_BEGIN + 2 * 441 };

	(void)state;
	for (int32_t id = 0; id <= WORDS_END; id++) {
		struct token_list back;
		struct buf text;

		buf_init(&text, 64);
		assert_true(wordcodec.decode(&wordcodec, id, 0, &text));
		back = encode(buf_head(&text), buf_size(&text));
		if (id < WORDS_END)
			assert_int_equal(back.n, 1);
		else
			assert_int_equal(*buf_head(&text), '<'); /* the first that is a hash */
		if (id >= WORDS_BEGIN && id < WORDS_END)
			assert_int_equal(back.id[0], id);
		token_list_release(&back);
		buf_release(&text);
	}
}

static void test_filler_reads_like_text(void **state)
{
	int marks = 0, stops = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct buf text;
		const char *s;

		buf_init(&text, 1 << 20);
		for (int32_t i = 0; i < 500; i++)
			wordcodec.decode(&wordcodec, wordcodec_filler(seed, i), i, &text);
		s = buf_cstr(&text);
		assert_in_range(s[0], 'A', 'Z');
		for (size_t i = 0; s[i]; i++) {
			if (s[i] != '.' && s[i] != ',')
				continue;
			marks++;
			stops += s[i] == '.';
			assert_true(i > 0); /* never first, never two in a row */
			assert_in_range(s[i - 1] | 0x20, 'a', 'z');
			if (!s[i + 1])
				continue;
			assert_int_equal(s[i + 1], ' ');
			if (s[i] == '.')
				assert_in_range(s[i + 2], 'A', 'Z');
			else
				assert_in_range(s[i + 2], 'a', 'z');
		}
		buf_release(&text);
	}
	assert_in_range(marks, 1050, 1450); /* one of 8 tokens: of 10,000 about 1,250 */
	assert_in_range(stops, 500, 750);
	assert_int_not_equal(wordcodec_filler(1, 5), wordcodec_filler(2, 5));
}

static void test_any_bytes(void **state)
{
	struct rng r;
	char bytes[300];

	(void)state;
	rng_init(&r, 7, "bytes", 0);
	for (int round = 0; round < 2000; round++) {
		size_t n = (size_t)rng_below(&r, sizeof(bytes));
		struct token_list once, twice;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (char)rng_u32(&r);
		once = encode(bytes, n);
		twice = encode(bytes, n);
		assert_true((size_t)once.n <= n);
		assert_int_equal(once.n, twice.n);
		for (int32_t i = 0; i < once.n; i++)
			assert_int_equal(once.id[i], twice.id[i]);
		token_list_release(&once);
		token_list_release(&twice);
	}
}

static void test_decode_stops_at_the_cap(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 2);
	assert_false(wordcodec.decode(&wordcodec, wordcodec.vocab_size - 1, 1, &text));
	assert_int_equal(buf_size(&text), 0);
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_tokens_a_word),
		cmocka_unit_test(test_answers_come_back),
		cmocka_unit_test(test_each_word_comes_back),
		cmocka_unit_test(test_filler_reads_like_text),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_decode_stops_at_the_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
