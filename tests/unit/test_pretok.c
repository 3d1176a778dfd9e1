/*
 * Where each pre-tokeniser cuts, by hand from the published patterns, and that nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"
#include "text/pretok.h"
#include "text/utf8_lossy.h"

static void put_piece(void *arg, const char *s, size_t n)
{
	struct buf *b = arg;

	assert_true(n > 0);
	if (buf_size(b))
		buf_putc(b, '|');
	buf_append(b, s, n);
}

static struct pretok *named(const char *name)
{
	const struct pretok_kind *k;
	struct err e;

	assert_int_equal(pretok_find(&k, name, &e), RC_OK);
	return pretok_new(k);
}

static void test_cuts(void **state)
{
	static const struct {
		const char *kind, *text, *pieces;
	} row[] = {
		{"gpt-2", "Hello world", "Hello| world"},
		{"gpt-2", "I'm, we've you'LL", "I|'m|,| we|'ve| you|'|LL"},
		{"gpt-2", "a  b   ", "a| | b|   "},
		{"gpt-2", "x\n\n  y", "x|\n\n | y"},
		{"gpt-2", "in 2024!? ok", "in| 2024|!?| ok"},
		{"gpt-2", "na\xc3\xafve caf\xc3\xa9", "na\xc3\xafve| caf\xc3\xa9"},
		{"gpt-2", "\xe4\xb8\xad\xe6\x96\x87\xef\xbc\x8c",
		 "\xe4\xb8\xad\xe6\x96\x87|\xef\xbc\x8c"},
		{"gpt-2", "x\xc2\xb2", "x|\xc2\xb2"}, /* No is a number */
		{"gpt-2",
		 "a\xe2\x80\x83"
		 "b",
		 "a|\xe2\x80\x83|b"}, /* an em space */
		{"gpt-2",
		 "a\xe1\xa0\x8e"
		 "b",
		 "a|\xe1\xa0\x8e|b"},				/* U+180E is no white space: */
		{"gpt-2", "a \xe1\xa0\x8e", "a| \xe1\xa0\x8e"}, /* a blank goes with it */
		{"mpt", "Hello world", "Hello| world"},
		{"opt", "x 12", "x| 12"},
		{"smollm", "in 2024", "in| |2|0|2|4"},
		{"smollm", "a1b 2", "a|1|b| |2"},
		{"smollm", "don't 7x", "don|'t| |7|x"},
		{"starcoder", "v12", "v|1|2"},
		{"command-r", "v12", "v|1|2"},
		{"llama-bpe", "Hello world", "Hello| world"},
		{"llama-bpe", "12345 a", "123|45| a"},
		{"llama-bpe", "you'LL I'M", "you|'LL| I|'M"},
		{"llama-bpe", "x'\xc5\xbf", "x|'\xc5\xbf"}, /* the long s is an s */
		{"llama-bpe", "(foo) $bar", "(foo|)| $|bar"},
		{"llama-bpe", "end.\n\nnext", "end|.\n\n|next"},
		{"llama-bpe", "a  \n  b", "a|  \n| | b"},
		{"llama-bpe", "a   b", "a|  | b"},
		{"falcon3", "123456", "123|456"},
		{"qwen2", "12345 a", "1|2|3|4|5| a"},
		{"qwen2", "x\r\ny", "x|\r\n|y"},
		{"stablelm2", "12", "1|2"},
		{"falcon", "Hello, world", "Hello|,| world"},
		{"falcon", "x = 12345;", "x| |=| |123|45|;"},
		{"falcon", "don't", "don|'|t"},
		{"falcon", "a 12 1234", "a| 12| |123|4"},
		{"gpt-2", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct pretok *p = named(row[i].kind);
		struct buf b;

		buf_init(&b, 4096);
		pretok_split(p, row[i].text, strlen(row[i].text), put_piece, &b);
		if (strcmp(buf_cstr(&b), row[i].pieces) != 0)
			fail_msg("%s: \"%s\" becomes \"%s\", want \"%s\"", row[i].kind, row[i].text,
				 buf_cstr(&b), row[i].pieces);
		buf_release(&b);
		pretok_free(p);
	}
}

static void put_all(void *arg, const char *s, size_t n)
{
	buf_append(arg, s, n);
}

static void test_nothing_is_lost(void **state)
{
	static const char *const kinds[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "falcon"};
	struct buf text, all;
	struct rng r;
	char bytes[200];

	(void)state;
	buf_init(&text, 1 << 20);
	buf_init(&all, 1 << 20);
	rng_init(&r, 3, "pretok", 0);
	for (int round = 0; round < 500; round++) {
		struct pretok *p = named(kinds[round % 5]);

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)(rng_below(&r, 3) ? rng_below(&r, 128) : rng_u32(&r));
		buf_clear(&text);
		buf_clear(&all);
		utf8_lossy(&text, bytes, (size_t)rng_below(&r, sizeof(bytes)));
		pretok_split(p, buf_head(&text), buf_size(&text), put_all, &all);
		assert_int_equal(buf_size(&all), buf_size(&text));
		assert_memory_equal(buf_head(&all), buf_head(&text), buf_size(&text));
		pretok_free(p);
	}
	buf_release(&text);
	buf_release(&all);
}

static void count(void *arg, const char *s, size_t n)
{
	(void)s;
	(void)n;
	++*(size_t *)arg;
}

/* One run of a million takes no more than its length. */
static void test_long_runs(void **state)
{
	static const char units[][4] = {"a", " ", "\n", "7", "'", "\xcc\x81", "\xe3\x80\x80"};
	enum { N = 300000 };
	struct buf text;

	(void)state;
	buf_init(&text, 4 << 20);
	for (size_t u = 0; u < ARRAY_LEN(units); u++) {
		struct pretok *p = named("llama-bpe");
		size_t n = 0;

		buf_clear(&text);
		for (int i = 0; i < N; i++)
			buf_puts(&text, units[u]);
		pretok_split(p, buf_head(&text), buf_size(&text), count, &n);
		assert_int_equal(n, *units[u] == '7' ? N / 3 : 1);
		pretok_free(p);
	}
	buf_release(&text);
}

static void test_names(void **state)
{
	const struct pretok_kind *k;
	struct err e;

	(void)state;
	assert_int_equal(pretok_find(&k, "default", &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "no pre-tokeniser \"default\"; there are gpt-2, mpt, opt"));
	assert_null(pretok_by_pattern("\\p{N}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_nothing_is_lost),
		cmocka_unit_test(test_long_runs),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
