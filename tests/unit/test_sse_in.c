/*
 * The SSE reader: what real servers and the standard's corners send, read whole, byte by byte and
 * cut at every place. The reading must never depend on the cuts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "loadgen/sse_in.h"

/* Events are written down as type|data; so that a whole reading compares as one string. */
struct heard {
	struct buf text;
	size_t events, stop_after;
};

static bool write_down(const struct sse_event *ev, void *arg)
{
	struct heard *h = arg;

	buf_puts(&h->text, ev->type);
	buf_putc(&h->text, '|');
	buf_append(&h->text, ev->data, ev->len);
	buf_putc(&h->text, ';');
	return ++h->events != h->stop_after;
}

/* Feeds a copy of exactly n bytes, so that a sanitizer sees any reading outside of them, now or
 * later. */
static enum rc feed(struct sse_in *p, const char *bytes, size_t n, struct heard *h, struct err *e)
{
	char *copy = malloc(n ? n : 1);
	enum rc rc;

	memcpy(copy, bytes, n);
	rc = sse_in_feed(p, copy, n, write_down, h, e);
	free(copy);
	return rc;
}

#define S(s) s, sizeof(s) - 1

static const struct {
	const char *what, *in;
	size_t len;
	const char *events;
	bool pending;
	size_t comments;
} cases[] = {
	{"one event", S("data: {\"a\":1}\n\n"), "|{\"a\":1};", false, 0},
	{"several events", S("data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"), "|1;|2;|[DONE];", false, 0},
	{"no blank after the colon", S("data:{}\n\ndata:[DONE]\n\n"), "|{};|[DONE];", false, 0},
	{"only one blank is stripped", S("data:  two \n\n"), "| two ;", false, 0},
	{"CRLF", S("data: 1\r\n\r\ndata: 2\r\n\r\n"), "|1;|2;", false, 0},
	{"CR", S("data: 1\r\rdata: 2\r\r"), "|1;|2;", false, 0},
	{"line ends mixed", S("data: 1\r\n\ndata: 2\n\rdata: 3\r\r\n"), "|1;|2;|3;", false, 0},
	{"CR LF LF is a line end and an empty line", S("data: 1\r\n\n\r\n"), "|1;", false, 0},
	{"comments", S(":\n\n: ping\n\ndata: 1\n: in between\n\n"), "|1;", false, 3},
	{"fields", S("id: 7\nevent: delta\nretry: 10\ndata: x\n\ndata: y\n\n"), "delta|x;|y;",
	 false, 0},
	{"type without data", S("event: ping\n\ndata: x\n\n"), "|x;", false, 0},
	{"several data lines", S("data: a\ndata: b\ndata:\ndata: c\n\n"), "|a\nb\n\nc;", false, 0},
	{"empty data", S("data:\n\ndata\n\n"), "|;|;", false, 0},
	{"empty first data line", S("data:\ndata: b\n\n"), "|\nb;", false, 0},
	{"field name with a blank is another field", S("data : x\n\n data: y\n\n"), "", false, 0},
	{"unknown field", S("database: x\n\ndat: y\n\n"), "", false, 0},
	{"BOM",
	 S("\xef\xbb\xbf"
	   "data: 1\n\n"),
	 "|1;", false, 0},
	{"BOM only once",
	 S("\xef\xbb\xbf"
	   "data: 1\n\n\xef\xbb\xbf"
	   "data: 2\n\n"),
	 "|1;", false, 0},
	{"BOM before an empty line", S("\xef\xbb\xbf\ndata: 1\n\n"), "|1;", false, 0},
	{"UTF-8", S("data: \xe2\x82\xac\xf0\x9f\x98\x80\n\n"), "|\xe2\x82\xac\xf0\x9f\x98\x80;",
	 false, 0},
	{"colon in the value", S("data: a: b:c\n\n"), "|a: b:c;", false, 0},
	{"unfinished event", S("data: 1\n\ndata: 2\n"), "|1;", true, 0},
	{"unfinished line", S("data: 1\n\ndata: 2"), "|1;", true, 0},
	{"empty lines alone", S("\n\n\r\n\n"), "", false, 0},
	{"nothing", S(""), "", false, 0},
};

static void check(size_t i, struct sse_in *p, struct heard *h)
{
	if (strcmp(buf_cstr(&h->text), cases[i].events) != 0)
		fail_msg("%s: read \"%s\", want \"%s\"", cases[i].what, buf_cstr(&h->text),
			 cases[i].events);
	if (sse_in_pending(p) != cases[i].pending)
		fail_msg("%s: pending is %d", cases[i].what, !cases[i].pending);
	if (p->comments != cases[i].comments)
		fail_msg("%s: %zu comments", cases[i].what, p->comments);
}

static void heard_init(struct heard *h)
{
	memset(h, 0, sizeof(*h));
	buf_init(&h->text, 1u << 24);
}

/* Reads case i in pieces of `step` bytes, the first `head` bytes apart. */
static void read_case(size_t i, size_t head, size_t step)
{
	struct sse_in p;
	struct heard h;
	size_t at = 0;

	sse_in_init(&p);
	heard_init(&h);
	while (at < cases[i].len) {
		size_t n = at == 0 && head > 0 ? head : step;

		if (n > cases[i].len - at)
			n = cases[i].len - at;
		assert_int_equal(feed(&p, cases[i].in + at, n, &h, NULL), RC_OK);
		at += n;
	}
	check(i, &p, &h);
	buf_release(&h.text);
	sse_in_release(&p);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t head = 0; head <= cases[i].len; head++)
			for (size_t step = 1; step <= cases[i].len + 1; step++)
				read_case(i, head, step);
}

static bool points_into(const struct sse_event *ev, void *arg)
{
	const char *in = arg;

	assert_ptr_equal(ev->data, in + 6);
	return true;
}

static void test_whole_event_is_not_copied(void **state)
{
	static char in[] = "data: 0123456789\n\n";
	struct sse_in p;

	(void)state;
	sse_in_init(&p);
	assert_int_equal(sse_in_feed(&p, in, sizeof(in) - 1, points_into, in, NULL), RC_OK);
	assert_null(p.data.data);
	assert_null(p.line.data);
	sse_in_release(&p);
}

static void test_stop(void **state)
{
	struct sse_in p;
	struct heard h;

	(void)state;
	sse_in_init(&p);
	heard_init(&h);
	h.stop_after = 2;
	assert_int_equal(feed(&p, S("data: 1\n\ndata: 2\n\ndata: 3\n\n"), &h, NULL), RC_OK);
	assert_string_equal(buf_cstr(&h.text), "|1;|2;");
	buf_release(&h.text);
	sse_in_release(&p);
}

static void test_long_type_is_cut(void **state)
{
	struct sse_in p;
	struct heard h;
	char in[300], want[300];

	(void)state;
	snprintf(in, sizeof(in), "event: %0100d\ndata: x\n\n", 0);
	snprintf(want, sizeof(want), "%063d|x;", 0);
	sse_in_init(&p);
	heard_init(&h);
	assert_int_equal(feed(&p, in, strlen(in), &h, NULL), RC_OK);
	assert_string_equal(buf_cstr(&h.text), want);
	buf_release(&h.text);
	sse_in_release(&p);
}

/* n times the byte c, in reads of 64 KiB; the first error ends it. */
static enum rc pour(struct sse_in *p, char c, size_t n, struct heard *h, struct err *e)
{
	static char block[65536];
	enum rc rc = RC_OK;

	memset(block, c, sizeof(block));
	for (size_t left = n; left > 0 && !rc;) {
		size_t k = left < sizeof(block) ? left : sizeof(block);

		rc = feed(p, block, k, h, e);
		left -= k;
	}
	return rc;
}

static void test_limits(void **state)
{
	struct sse_in p;
	struct heard h;
	struct err e;

	(void)state;
	sse_in_init(&p);
	heard_init(&h);
	assert_int_equal(feed(&p, S("data: "), &h, &e), RC_OK);
	assert_int_equal(pour(&p, 'x', SSE_MAX_LINE_BYTES - 6, &h, &e), RC_OK);
	assert_int_equal(feed(&p, S("y"), &h, &e), RC_LIMIT);
	assert_string_equal(e.msg, "an SSE line longer than 1048576 bytes");
	sse_in_release(&p);

	/* The longest line is still an event. */
	sse_in_init(&p);
	assert_int_equal(feed(&p, S("data: "), &h, &e), RC_OK);
	assert_int_equal(pour(&p, 'x', SSE_MAX_LINE_BYTES - 6, &h, &e), RC_OK);
	assert_int_equal(feed(&p, S("\n\n"), &h, &e), RC_OK);
	assert_int_equal(h.events, 1);
	sse_in_release(&p);

	/* Lines that pass alone and not together. */
	sse_in_init(&p);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(feed(&p, S("data: "), &h, &e), RC_OK);
		assert_int_equal(pour(&p, 'x', SSE_MAX_LINE_BYTES - 7, &h, &e), RC_OK);
		assert_int_equal(feed(&p, S("\n"), &h, &e), RC_OK);
	}
	assert_int_equal(feed(&p, S("data: 1234567890123456789012345\n"), &h, &e), RC_LIMIT);
	assert_string_equal(e.msg, "an SSE event longer than 4194304 bytes");
	sse_in_release(&p);
	buf_release(&h.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),  cmocka_unit_test(test_whole_event_is_not_copied),
		cmocka_unit_test(test_stop),   cmocka_unit_test(test_long_type_is_cut),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
