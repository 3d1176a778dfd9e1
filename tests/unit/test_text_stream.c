/*
 * What is shown of an answer must not depend on where its tokens end: every text is cut in every
 * way, and the whole of what comes out must be the same, each piece whole characters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "serve/text_stream.h"

static const struct {
	const char *text;
	const char *stops[4];
	const char *shown;
	int stop;
} rows[] = {
	{"Hello, world", {NULL}, "Hello, world", -1},
	{"One, two, three, four", {"three"}, "One, two, ", 0},
	{"One, two, thre", {"three"}, "One, two, thre", -1},
	{"aaab", {"aab"}, "a", 0},
	{"ababac", {"abac"}, "ab", 0},
	{"xSTOPy", {"nope", "STOP"}, "x", 1},
	/* complete first counts, though the other began earlier */
	{"abcd", {"abcd", "bc"}, "a", 1},
	/* complete at once: the first of the list */
	{"abc", {"c", "bc"}, "ab", 0},
	{"abc", {"bc", "c"}, "a", 0},
	{"stop at once", {"s"}, "", 0},
	{"caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x9a\x80!",
	 {NULL},
	 "caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x9a\x80!",
	 -1},
	{"caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd", {"\xe5\xa5\xbd"}, "caf\xc3\xa9 \xe4\xbd\xa0", 0},
	{"\xe4\xbd\xa0\xe4\xbd\xa1", {"\xe4\xbd\xa2"}, "\xe4\xbd\xa0\xe4\xbd\xa1", -1},
	{"cut \xe4\xbd", {NULL}, "cut \xe4\xbd", -1}, /* the end shows even half a character */
	{"bad \xff\xfe bytes\x80", {NULL}, "bad \xff\xfe bytes\x80", -1},
	{"\n\nUser:", {"\n\nUser:"}, "", 0},
};

/* Pushes text in pieces that end where bits of `cuts` are set. */
static int run(const struct stop_list *stops, const char *text, uint64_t cuts, struct buf *all)
{
	size_t len = strlen(text), from = 0;
	struct text_stream t;
	struct buf piece;
	int stop = -1;

	text_stream_init(&t, stops);
	buf_init(&piece, 4096);
	for (size_t i = 0; i < len && stop < 0; i++) {
		if (i + 1 < len && !(cuts >> i & 1))
			continue;
		buf_clear(&piece);
		stop = text_stream_push(&t, text + from, i + 1 - from, true, &piece);
		from = i + 1;
		buf_append(all, buf_head(&piece), buf_size(&piece));
		/* The text is valid UTF-8 or not at all: a piece that ends inside a character would
		 * show. */
		if (!strpbrk(text, "\xff\xfe") && !strstr(text, "cut"))
			for (size_t at = 0; at < buf_size(&piece);) {
				uint32_t cp;
				size_t n = utf8_decode(buf_head(&piece) + at, buf_size(&piece) - at,
						       &cp);

				assert_true(n > 0);
				at += n;
			}
	}
	if (stop < 0)
		text_stream_end(&t, all);
	assert_int_equal(t.held ? buf_size(t.held) : 0, 0);
	text_stream_release(&t);
	buf_release(&piece);
	return stop;
}

static void test_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = strlen(rows[i].text);
		struct stop_list stops = {0};
		struct rng rng;

		for (int k = 0; rows[i].stops[k]; k++)
			stop_list_add(&stops, rows[i].stops[k], strlen(rows[i].stops[k]));
		rng_init(&rng, 1, "cuts", i);
		for (uint64_t n = 0; n < 4096; n++) {
			uint64_t cuts = len <= 12 ? n : rng_u64(&rng); /* all there are, or many */
			struct buf all;

			buf_init(&all, 4096);
			assert_int_equal(run(&stops, rows[i].text, cuts, &all), rows[i].stop);
			assert_string_equal(buf_cstr(&all), rows[i].shown);
			buf_release(&all);
		}
		stop_list_release(&stops);
	}
}

/* Only what may still become a stop string is held back. */
static void test_holds_no_more_than_needed(void **state)
{
	static const struct {
		const char *token, *shown;
	} rows2[] = {{"One", "One"}, {",", ","},   {" t", " "}, {"wo", "two"},
		     {" th", " "},   {"e", "the"}, {"t", ""}};
	struct stop_list stops = {0};
	struct text_stream t;
	struct buf shown;

	(void)state;
	stop_list_add(&stops, "three", 5);
	text_stream_init(&t, &stops);
	buf_init(&shown, 4096);
	for (size_t i = 0; i < ARRAY_LEN(rows2); i++) {
		buf_clear(&shown);
		assert_int_equal(
			text_stream_push(&t, rows2[i].token, strlen(rows2[i].token), true, &shown),
			-1);
		assert_string_equal(buf_cstr(&shown), rows2[i].shown);
	}
	text_stream_release(&t);
	stop_list_release(&stops);
	buf_release(&shown);
}

static void test_not_yet(void **state)
{
	struct stop_list stops = {0};
	struct text_stream t;
	struct buf shown;

	(void)state;
	stop_list_add(&stops, "x", 1);
	text_stream_init(&t, &stops);
	buf_init(&shown, 4096);
	assert_int_equal(text_stream_push(&t, "axb", 3, false, &shown),
			 -1); /* min_tokens not reached */
	assert_int_equal(text_stream_push(&t, "cxd", 3, true, &shown), 0);
	assert_string_equal(buf_cstr(&shown), "axbc");
	text_stream_release(&t);
	stop_list_release(&stops);
	buf_release(&shown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_holds_no_more_than_needed),
		cmocka_unit_test(test_not_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
