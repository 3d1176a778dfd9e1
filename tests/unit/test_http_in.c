/*
 * The HTTP answer reader: every kind of framing and every way to end, read whole, byte by byte and
 * cut at every place.
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
#include "loadgen/http_in.h"

#define OK	"HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *what, *in;
	enum http_in_result
		result; /* after all of `in` and, while there is more to come, the end */
	int status;	/* 0: no head was handed on */
	const char *body;
	bool keep_alive;
	size_t behind;	 /* bytes of `in` that are not the answer's */
	const char *err; /* part of the message */
} cases[] = {
	{"content-length", OK "Content-Length: 5\r\n\r\nhello", HTTP_IN_COMPLETE, 200, "hello",
	 true, 0, NULL},
	{"no body", OK "Content-Length: 0\r\n\r\n", HTTP_IN_COMPLETE, 200, "", true, 0, NULL},
	{"connection: close", OK "connection: close\r\ncontent-length: 2\r\n\r\nok",
	 HTTP_IN_COMPLETE, 200, "ok", false, 0, NULL},
	{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", HTTP_IN_COMPLETE, 200, "ok",
	 false, 0, NULL},
	{"chunked", CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", HTTP_IN_COMPLETE, 200,
	 "hello world", true, 0, NULL},
	{"chunked, extension and trailer",
	 CHUNKED "5;name=value\r\nhello\r\n0\r\nX-Checksum: 1\r\n\r\n", HTTP_IN_COMPLETE, 200,
	 "hello", true, 0, NULL},
	{"up to the close", OK "Content-Type: text/plain\r\n\r\nto the end", HTTP_IN_COMPLETE, 200,
	 "to the end", false, 0, NULL},
	{"100 before the answer", "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 2\r\n\r\nok",
	 HTTP_IN_COMPLETE, 200, "ok", true, 0, NULL},
	{"103 twice, with headers",
	 "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 9\r\n\r\nHTTP/1.1 103 "
	 "Early Hints\r\n\r\n" OK "Content-Length: 2\r\n\r\nok",
	 HTTP_IN_COMPLETE, 200, "ok", true, 0, NULL},
	{"204 has no body", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
	 HTTP_IN_COMPLETE, 204, "", true, 0, NULL},
	{"an answer that nobody asked for behind it", OK "Content-Length: 2\r\n\r\nok" OK,
	 HTTP_IN_COMPLETE, 200, "ok", true, 17, NULL},
	{"302", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", HTTP_IN_COMPLETE,
	 302, "", true, 0, NULL},
	{"500", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad",
	 HTTP_IN_COMPLETE, 500, "bad", true, 0, NULL},

	{"nothing", "", HTTP_IN_CLOSED, 0, "", false, 0, "before a whole response head"},
	{"half a head", OK "Content-Le", HTTP_IN_CLOSED, 0, "", false, 0, "before a whole"},
	{"only a 100", "HTTP/1.1 100 Continue\r\n\r\n", HTTP_IN_CLOSED, 0, "", false, 0, NULL},
	{"short body", OK "Content-Length: 5\r\n\r\nhell", HTTP_IN_TRUNCATED, 200, "hell", false, 0,
	 "inside the body"},
	{"no last chunk", CHUNKED "5\r\nhello\r\n", HTTP_IN_TRUNCATED, 200, "hello", false, 0,
	 NULL},
	{"cut inside a chunk", CHUNKED "5\r\nhel", HTTP_IN_TRUNCATED, 200, "hel", false, 0, NULL},

	{"garbage", "SSH-2.0-OpenSSH_9.2\r\n", HTTP_IN_BAD, 0, "", false, 0, "not HTTP"},
	{"a TLS alert", "\x15\x03\x03\x01\x02\x02\x28", HTTP_IN_BAD, 0, "", false, 0, "not HTTP"},
	{"two different lengths", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
	 HTTP_IN_BAD, 0, "", false, 0, "not HTTP"},
	{"length and chunks", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	 HTTP_IN_BAD, 0, "", false, 0, "not HTTP"},
	{"length beyond 64 bits", OK "Content-Length: 99999999999999999999\r\n\r\n", HTTP_IN_BAD, 0,
	 "", false, 0, "not HTTP"},
	{"chunk size that is none", CHUNKED "xyz\r\n", HTTP_IN_BAD, 200, "", false, 0, "not HTTP"},
	{"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", HTTP_IN_BAD, 0, "", false,
	 0, "switch protocols"},
	{"gzip", OK "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", HTTP_IN_BAD, 0, "",
	 false, 0, "compressed although identity was asked: gzip"},
	{"identity is no compression",
	 OK "Content-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", HTTP_IN_COMPLETE, 200, "x",
	 true, 0, NULL},
};

struct heard {
	int status, heads;
	char content_type[128], retry_after[128];
	struct buf body;
	size_t stop_after; /* bytes of body; 0 = never */
	bool stop_at_head;
};

static bool on_head(void *owner, const struct xfer_head *h)
{
	struct heard *k = owner;

	k->status = h->status;
	k->heads++;
	snprintf(k->content_type, sizeof(k->content_type), "%s", h->content_type);
	snprintf(k->retry_after, sizeof(k->retry_after), "%s", h->retry_after);
	return !k->stop_at_head;
}

static bool on_body(void *owner, const char *bytes, size_t n)
{
	struct heard *k = owner;

	buf_append(&k->body, bytes, n);
	return k->stop_after == 0 || buf_size(&k->body) < k->stop_after;
}

static const struct http_in_handler handler = {on_head, on_body};

/* Copies, so that a sanitizer sees reading outside of the n bytes. */
static enum http_in_result feed(struct http_in *p, const char *bytes, size_t n, size_t *used,
				struct err *e)
{
	char *copy = malloc(n ? n : 1);
	enum http_in_result r;

	memcpy(copy, bytes, n);
	r = http_in_feed(p, copy, n, used, e);
	free(copy);
	return r;
}

/* In pieces of `step` bytes, the first `head` apart. */
static void read_case(size_t i, size_t head, size_t step)
{
	size_t len = strlen(cases[i].in), at = 0;
	enum http_in_result r = HTTP_IN_MORE;
	struct heard k = {0};
	struct http_in *p = http_in_new(&handler, &k);
	struct err e = {RC_OK, ""};

	buf_init(&k.body, 1u << 20);
	while (at < len && r == HTTP_IN_MORE) {
		size_t n = at == 0 && head > 0 ? head : step, used;

		if (n > len - at)
			n = len - at;
		r = feed(p, cases[i].in + at, n, &used, &e);
		at += used;
	}
	if (r == HTTP_IN_MORE)
		r = http_in_eof(p, &e);
	if (r != cases[i].result || k.status != cases[i].status ||
	    strcmp(buf_cstr(&k.body), cases[i].body) != 0)
		fail_msg("%s, cut %zu/%zu: result %d, status %d, body \"%s\" (%s)", cases[i].what,
			 head, step, r, k.status, buf_cstr(&k.body), e.msg);
	assert_int_equal(k.heads, cases[i].status ? 1 : 0);
	assert_int_equal(http_in_keep_alive(p), cases[i].keep_alive);
	if (r == HTTP_IN_COMPLETE)
		assert_int_equal(len - at, cases[i].behind);
	if (cases[i].err && !strstr(e.msg, cases[i].err))
		fail_msg("%s: message \"%s\"", cases[i].what, e.msg);
	buf_release(&k.body);
	http_in_free(p);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].in);

		read_case(i, 0, len + 1);
		read_case(i, 0, 1);
		for (size_t head = 1; head < len; head++)
			read_case(i, head, len);
	}
}

static void test_headers(void **state)
{
	static const char in[] = OK "CONTENT-TYPE:  text/event-stream; charset=utf-8 \r\n"
				    "Retry-After: 7\r\nX-Content-Type: no\r\n"
				    "Content-Length: 0\r\n\r\n";
	struct heard k = {0};
	struct http_in *p = http_in_new(&handler, &k);
	size_t used;

	(void)state;
	for (size_t step = 1; step < sizeof(in); step++) {
		enum http_in_result r = HTTP_IN_MORE;

		http_in_start(p, false);
		memset(&k, 0, sizeof(k));
		for (size_t at = 0; at < sizeof(in) - 1; at += step)
			r = feed(p, in + at,
				 step < sizeof(in) - 1 - at ? step : sizeof(in) - 1 - at, &used,
				 NULL);
		assert_int_equal(r, HTTP_IN_COMPLETE);
		assert_string_equal(k.content_type, "text/event-stream; charset=utf-8");
		assert_string_equal(k.retry_after, "7");
	}
	http_in_free(p);
}

/* The next answer on a kept connection starts without anything of the one before. */
static void test_reuse(void **state)
{
	static const char first[] = OK "Retry-After: 7\r\nContent-Length: 1\r\n\r\nx";
	static const char second[] = OK "Content-Length: 1000\r\n\r\n"; /* of a HEAD */
	struct heard k = {0};
	struct http_in *p = http_in_new(&handler, &k);
	size_t used;

	(void)state;
	buf_init(&k.body, 100);
	assert_int_equal(feed(p, first, sizeof(first) - 1, &used, NULL), HTTP_IN_COMPLETE);
	http_in_start(p, true);
	assert_false(http_in_keep_alive(p));
	assert_int_equal(feed(p, second, sizeof(second) - 1, &used, NULL), HTTP_IN_COMPLETE);
	assert_int_equal(used, sizeof(second) - 1);
	assert_string_equal(k.retry_after, "");
	assert_string_equal(buf_cstr(&k.body), "x");
	assert_true(http_in_keep_alive(p));
	buf_release(&k.body);
	http_in_free(p);
}

static void test_stop(void **state)
{
	static const char in[] = CHUNKED "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
	struct heard k = {.stop_after = 2};
	struct http_in *p = http_in_new(&handler, &k);
	size_t used;

	(void)state;
	buf_init(&k.body, 100);
	assert_int_equal(feed(p, in, sizeof(in) - 1, &used, NULL), HTTP_IN_STOPPED);
	assert_string_equal(buf_cstr(&k.body), "abc");
	k.stop_at_head = true;
	http_in_start(p, false);
	assert_int_equal(feed(p, in, sizeof(in) - 1, &used, NULL), HTTP_IN_STOPPED);
	assert_int_equal(k.heads, 2);
	assert_string_equal(buf_cstr(&k.body), "abc");
	buf_release(&k.body);
	http_in_free(p);
}

/* A head of `lines` headers of 100 bytes each, in reads of 1000 bytes. */
static enum http_in_result read_long_head(int lines, struct err *e)
{
	struct heard k = {0};
	struct http_in *p = http_in_new(&handler, &k);
	enum http_in_result r = HTTP_IN_MORE;
	struct buf in;
	size_t used;

	buf_init(&in, 1u << 20);
	buf_puts(&in, OK);
	for (int i = 0; i < lines; i++)
		buf_printf(&in, "X-Filler-%04d: %083d\r\n", i, i);
	buf_puts(&in, "Content-Length: 0\r\n\r\n");
	while (buf_size(&in) > 0 && r == HTTP_IN_MORE) {
		r = feed(p, buf_head(&in), buf_size(&in) < 1000 ? buf_size(&in) : 1000, &used, e);
		buf_consume(&in, used);
	}
	buf_release(&in);
	http_in_free(p);
	return r;
}

static void test_head_limit(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(read_long_head(654, &e), HTTP_IN_COMPLETE);
	assert_int_equal(read_long_head(656, &e), HTTP_IN_BAD);
	assert_string_equal(e.msg, "a response head longer than 65536 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),	   cmocka_unit_test(test_headers),
		cmocka_unit_test(test_reuse),	   cmocka_unit_test(test_stop),
		cmocka_unit_test(test_head_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
