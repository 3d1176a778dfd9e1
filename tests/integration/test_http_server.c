/*
 * The HTTP server over loopback: framing, keep-alive, limits, and above all what happens when a
 * client leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/loopback.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "serve/http_server.h"

/* What the handler does with a request is in its path; those it leaves open are kept here, oldest
 * first. */
struct world {
	struct evloop *loop;
	struct http_server *server;
	struct http_exchange *open[2048];
	int n_open, n_handled, n_gone;
	bool drained;
};

static void on_gone(void *owner)
{
	((struct world *)owner)->n_gone++;
}

static void handle(struct http_exchange *x, void *arg)
{
	struct world *w = arg;
	const char *path = http_path(x);
	char text[256];
	size_t len;

	w->n_handled++;
	if (strcmp(path, "/wait") == 0 || strcmp(path, "/stream") == 0) {
		http_set_owner(x, w, on_gone);
		if (strcmp(path, "/stream") == 0)
			http_stream_begin(x, 200, "text/event-stream", NULL);
		w->open[w->n_open++] = x;
	} else if (strcmp(path, "/big") == 0) {
		char *big = xmalloc(4 << 20);

		memset(big, 'x', 4 << 20);
		http_reply(x, 200, "text/plain", NULL, big, 4 << 20);
		free(big);
	} else {
		const char *body = http_body(x, &len), *tag = http_header(x, "X-Tag");

		snprintf(text, sizeof(text), "%s %s [%.*s] tag=%s", http_method(x), path, (int)len,
			 body, tag ? tag : "none");
		http_reply(x, 200, "text/plain", "x-extra: 1\r\n", text, strlen(text));
	}
}

static void on_drained(void *arg)
{
	((struct world *)arg)->drained = true;
}

static void world_open_with(struct world *w, const struct http_config *given)
{
	struct http_config c = *given;
	struct err e;

	memset(w, 0, sizeof(*w));
	w->loop = evloop_new();
	c.host = "127.0.0.1";
	c.server_name = "test";
	c.handle = handle;
	c.drained = on_drained;
	c.arg = w;
	if (http_server_new(&w->server, w->loop, &c, &e) != RC_OK)
		fail_msg("%s", e.msg);
}

static void world_open(struct world *w)
{
	struct http_config c = {.limits = http_limits_default()};

	world_open_with(w, &c);
}

static void world_close(struct world *w)
{
	http_server_free(w->server);
	evloop_free(w->loop);
}

static void connect_to(struct client *c, struct world *w)
{
	client_open(c, w->loop, http_server_port(w->server));
}

/* The answer so far, with the date made the same for all days. */
static const char *answer(struct client *c)
{
	char *date;

	for (char *at = (char *)buf_cstr(&c->got); (date = strstr(at, "date: ")); at = date + 6)
		memset(date + 6, 'D', strcspn(date + 6, "\r"));
	return buf_cstr(&c->got);
}

#define DATE "date: DDDDDDDDDDDDDDDDDDDDDDDDDDDDD\r\n"

static void test_reply(void **state)
{
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	client_say(&c,
		   "POST /a?b=c HTTP/1.1\r\nHost: h\r\nx-tag: T\r\nContent-Length: 3\r\n\r\nabc");
	client_wait(&c, "tag=T");
	assert_string_equal(answer(&c),
			    "HTTP/1.1 200 OK\r\n" DATE
			    "server: test\r\nx-extra: 1\r\ncontent-length: 19\r\n"
			    "content-type: text/plain\r\nvary: Origin\r\n\r\nPOST /a [abc] tag=T");
	client_close(&c);
	world_close(&w);
}

/* Any cut of the bytes makes the same request; and the connection serves one after the other. */
static void test_any_cut(void **state)
{
	static const char request[] =
		"POST http://h/p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Tag: t\r\n\r\n"
		"2\r\nab\r\n1;ext=1\r\nc\r\n0\r\nTrailer: x\r\n\r\n";
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	for (size_t cut = 1; cut < sizeof(request) - 1; cut++) {
		int before = w.n_handled;

		client_forget(&c);
		client_send(&c, request, cut);
		evloop_once(w.loop);
		client_send(&c, request + cut, sizeof(request) - 1 - cut);
		client_wait(&c, "POST /p [abc] tag=t");
		assert_int_equal(w.n_handled, before + 1);
	}
	assert_int_equal(http_server_connections(w.server), 1);
	client_close(&c);
	world_close(&w);
}

static void test_pipelining(void **state)
{
	struct client c;
	struct world w;
	const char *first, *second, *third;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	client_say(&c, "GET /one HTTP/1.1\r\n\r\nGET /stream HTTP/1.1\r\n\r\nGET /three "
		       "HTTP/1.1\r\n\r\nGET /fo");
	client_wait(&c, "chunked");
	assert_int_equal(w.n_handled, 2); /* the third waits for the second's end */
	client_say(&c, "ur HTTP/1.1\r\n\r\n");
	evloop_once(w.loop);
	assert_int_equal(w.n_handled, 2);
	http_stream_write(w.open[0], "two", 3);
	http_stream_end(w.open[0], NULL, 0);
	client_wait(&c, "GET /four");
	first = strstr(buf_cstr(&c.got), "GET /one");
	second = strstr(buf_cstr(&c.got), "3\r\ntwo\r\n0\r\n\r\n");
	third = strstr(buf_cstr(&c.got), "GET /three");
	assert_true(first && second && third && first < second && second < third);
	client_close(&c);
	world_close(&w);
}

static void test_stream(void **state)
{
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	client_say(&c, "GET /stream HTTP/1.1\r\n\r\n");
	client_wait(&c, "\r\n\r\n"); /* the head comes before the first data */
	assert_string_equal(answer(&c), "HTTP/1.1 200 OK\r\n" DATE
					"server: test\r\ncontent-type: text/event-stream\r\n"
					"vary: Origin\r\ntransfer-encoding: chunked\r\n\r\n");
	client_forget(&c);
	http_stream_hold(w.open[0], "role", 4);
	assert_true(http_stream_write(w.open[0], "0123456789abcdef", 16));
	client_wait(&c, "10\r\n0123456789abcdef\r\n");
	assert_string_equal(buf_cstr(&c.got), "4\r\nrole\r\n10\r\n0123456789abcdef\r\n");
	assert_int_equal(c.n_reads, 1); /* they left together */
	client_forget(&c);
	http_stream_hold(w.open[0], "last", 4);
	http_stream_end(w.open[0], "[DONE]", 6);
	client_wait(&c, "0\r\n\r\n");
	assert_string_equal(buf_cstr(&c.got), "4\r\nlast\r\n6\r\n[DONE]\r\n0\r\n\r\n");
	assert_int_equal(c.n_reads, 1);
	assert_int_equal(http_server_open_exchanges(w.server), 0);
	client_close(&c);
	world_close(&w);
}

static void test_old_and_closing_clients(void **state)
{
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	client_say(&c, "GET /stream HTTP/1.0\r\n\r\n");
	client_wait(&c, "\r\n\r\n");
	assert_null(strstr(buf_cstr(&c.got), "chunked"));
	assert_non_null(strstr(buf_cstr(&c.got), "connection: close\r\n"));
	client_forget(&c);
	http_stream_write(w.open[0], "bare", 4);
	http_stream_end(w.open[0], " end", 4);
	client_wait_closed(&c);
	assert_string_equal(buf_cstr(&c.got), "bare end");
	client_close(&c);

	connect_to(&c, &w);
	client_say(&c, "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n");
	client_wait_closed(&c);
	assert_non_null(strstr(buf_cstr(&c.got), "connection: close\r\n\r\nGET /a"));
	client_close(&c);

	connect_to(&c, &w);
	client_say(&c, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	client_wait(&c, "tag=none");
	assert_non_null(strstr(buf_cstr(&c.got), "connection: keep-alive\r\n"));
	client_forget(&c);
	client_say(&c, "HEAD /b HTTP/1.1\r\n\r\n");
	client_wait(&c, "\r\n\r\n");
	evloop_once(w.loop); /* nothing may follow a head that answers HEAD but the client's next
				request */
	assert_null(strstr(buf_cstr(&c.got), "HEAD /b"));
	client_close(&c);
	world_close(&w);
}

static void test_client_leaves(void **state)
{
	static const char *const paths[] = {"GET /wait HTTP/1.1\r\n\r\n",
					    "GET /stream HTTP/1.1\r\n\r\n"};
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	for (int i = 0; i < 2; i++) {
		connect_to(&c, &w);
		client_say(&c, paths[i]);
		while (w.n_open <= i)
			evloop_once(w.loop);
		client_close(&c);
		while (w.n_gone <= i)
			evloop_once(w.loop); /* nothing is sent to find it out */
		assert_int_equal(http_server_open_exchanges(w.server), 0);
		assert_int_equal(http_server_connections(w.server), 0);
	}
	/* and while it was being sent to */
	connect_to(&c, &w);
	client_say(&c, paths[1]);
	while (w.n_open < 3)
		evloop_once(w.loop);
	client_close(&c);
	while (http_stream_write(w.open[2], "x", 1)) /* the first is answered by a reset */
		;
	assert_int_equal(w.n_gone, 2); /* never from inside a write */
	http_stream_write(w.open[2], "y", 1);
	evloop_once(w.loop);
	assert_int_equal(w.n_gone, 3);
	world_close(&w);
}

/* A reader that does not read gets its megabyte of patience, then it is cut off; others do not
 * notice. */
static void test_slow_reader(void **state)
{
	struct http_config config = {.limits = http_limits_default()};
	struct client slow, brisk;
	static char block[8192];
	size_t sent = 0;
	struct world w;

	(void)state;
	config.limits.max_unsent_bytes = 65536;
	world_open_with(&w, &config);
	connect_to(&slow, &w);
	client_say(&slow, "GET /stream HTTP/1.1\r\n\r\n");
	while (w.n_open < 1)
		evloop_once(w.loop);
	client_stall(&slow);
	memset(block, 'z', sizeof(block));
	while (http_stream_write(w.open[0], block, sizeof(block))) {
		sent += sizeof(block);
		assert_true(sent < (64u << 20));
	}
	assert_int_equal(w.n_gone, 0);
	connect_to(&brisk, &w);
	client_say(&brisk, "GET /a HTTP/1.1\r\n\r\n");
	client_wait(&brisk, "tag=none");
	assert_int_equal(w.n_gone, 1);
	client_close(&slow);

	/* Whole answers may be as long as they are, and wait for their reader. */
	client_forget(&brisk);
	client_stall(&brisk);
	client_say(&brisk, "GET /big HTTP/1.1\r\n\r\n");
	while (w.n_handled < 3)
		evloop_once(w.loop);
	event_add(brisk.readable, NULL);
	while (buf_size(&brisk.got) < (4 << 20)) {
		assert_false(brisk.closed);
		evloop_once(w.loop);
	}
	client_close(&brisk);
	world_close(&w);
}

static void test_limits(void **state)
{
	static const struct {
		const char *start, *filler;
		size_t n_fillers;
		const char *want;
	} rows[] = {
		{"GET / HTTP/1.1\r\n", "X-Pad: 0123456789\r\n", 200,
		 "431 Request Header Fields Too Large"},
		{"POST / HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", "", 1, "413 Content Too Large"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nabcde\r\n", 1000,
		 "413 Content Too Large"},
		{"BREW /pot HTCPCP/1.0\r\n\r\n", "", 1, "400 Bad Request"},
		{"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "", 1, "400 Bad Request"},
		{"\x16\x03\x01\x02", "", 1, "400 Bad Request"},
	};
	struct http_config config = {.limits = http_limits_default()};
	struct client c, other;
	struct world w;

	(void)state;
	config.limits.max_head_bytes = 2048;
	config.limits.max_body_bytes = 4096;
	config.limits.max_connections = 2;
	world_open_with(&w, &config);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		connect_to(&c, &w);
		client_say(&c, rows[i].start);
		for (size_t k = 0; k < rows[i].n_fillers; k++)
			client_say(&c, rows[i].filler);
		client_wait(&c, rows[i].want);
		client_wait(&c, "\"error\":");
		client_wait_closed(&c);
		client_close(&c);
		while (http_server_connections(w.server) > 0)
			evloop_once(w.loop);
	}
	assert_int_equal(w.n_handled, 0);

	/* One connection too many is told so. */
	struct client third;

	connect_to(&c, &w);
	connect_to(&other, &w);
	connect_to(&third, &w);
	client_wait(&third, "503 Service Unavailable");
	client_say(&c, "GET /a HTTP/1.1\r\n\r\n");
	client_wait(&c, "tag=none");
	client_close(&c);
	client_close(&other);
	client_close(&third);
	world_close(&w);
}

static void test_continue(void **state)
{
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	client_say(&c, "POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	client_wait(&c, "HTTP/1.1 100 Continue\r\n\r\n");
	client_say(&c, "ok");
	client_wait(&c, "POST /a [ok]");
	client_close(&c);
	world_close(&w);
}

static void test_drain(void **state)
{
	struct client idle, busy;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&idle, &w);
	client_say(&idle, "GET /a HTTP/1.1\r\n\r\n");
	client_wait(&idle, "tag=none");
	connect_to(&busy, &w);
	client_say(&busy, "GET /stream HTTP/1.1\r\n\r\n");
	client_wait(&busy, "chunked");
	http_server_stop_accepting(w.server);
	client_wait_closed(&idle);
	assert_false(busy.closed);
	assert_false(w.drained);
	http_stream_write(w.open[0], "still here", 10);
	client_wait(&busy, "still here");
	http_stream_end(w.open[0], NULL, 0);
	client_wait_closed(&busy);
	while (!w.drained)
		evloop_once(w.loop);
	assert_int_equal(http_server_connections(w.server), 0);
	client_close(&idle);
	client_close(&busy);
	world_close(&w);
}

static void test_unix_socket(void **state)
{
	char dir[] = "/tmp/test_http_server.XXXXXX", path[64];
	struct http_config config = {.limits = http_limits_default()};
	struct http_server *second;
	struct client c;
	struct world w;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	config.uds = path;
	for (int round = 0; round < 2; round++) {
		world_open_with(&w, &config);
		client_open_unix(&c, w.loop, path);
		client_say(&c, "GET /a HTTP/1.1\r\n\r\n");
		client_wait(&c, "GET /a");
		client_close(&c);

		/* A socket that is listened on is not taken away from its owner. */
		assert_int_equal(http_server_new(&second, w.loop, &config, &e), RC_IO);
		assert_non_null(strstr(e.msg, path));
		if (round == 0) { /* a server that was killed leaves its file */
			char kept[80];

			snprintf(kept, sizeof(kept), "%s.kept", path);
			assert_int_equal(rename(path, kept), 0);
			world_close(&w);
			assert_int_equal(rename(kept, path), 0);
		}
	}
	world_close(&w);
	assert_int_equal(access(path, F_OK), -1);
	rmdir(dir);
}

static void test_port_in_use(void **state)
{
	struct http_config config = {.host = "127.0.0.1", .limits = http_limits_default()};
	struct http_server *second;
	struct world w;
	struct err e;

	(void)state;
	world_open(&w);
	config.port = http_server_port(w.server);
	assert_int_equal(http_server_new(&second, w.loop, &config, &e), RC_IO);
	assert_non_null(strstr(e.msg, "cannot listen on 127.0.0.1 port"));
	world_close(&w);
}

static void test_many_streams(void **state)
{
	enum { N = 1024 };
	struct client *c = xcalloc(N, sizeof(*c));
	struct world w;

	(void)state;
	world_open(&w);
	for (int i = 0; i < N; i++) {
		connect_to(&c[i], &w);
		client_say(&c[i], "GET /stream HTTP/1.1\r\n\r\n");
	}
	while (w.n_open < N)
		evloop_once(w.loop);
	for (int i = 0; i < N; i++)
		assert_true(http_stream_write(w.open[i], "token", 5));
	for (int i = 0; i < N; i++)
		client_wait(&c[i], "5\r\ntoken\r\n");
	for (int i = 0; i < N; i++)
		client_close(&c[i]);
	while (http_server_connections(w.server) > 0)
		evloop_once(w.loop);
	assert_int_equal(w.n_gone, N);
	free(c);
	world_close(&w);
}

/* The server goes while exchanges are open: their owners are told, nothing leaks. */
static void test_free_open(void **state)
{
	struct client c;
	struct world w;

	(void)state;
	world_open(&w);
	connect_to(&c, &w);
	client_say(&c, "GET /stream HTTP/1.1\r\n\r\n");
	client_wait(&c, "chunked");
	http_server_free(w.server);
	assert_int_equal(w.n_gone, 1);
	client_wait_closed(&c);
	client_close(&c);
	evloop_free(w.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_any_cut),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_old_and_closing_clients),
		cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_continue),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_many_streams),
		cmocka_unit_test(test_free_open),
	};

	loopback_many_files();
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
