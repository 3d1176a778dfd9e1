/*
 * All transports against a server of raw sockets that does what it is told, on the same loop: every
 * framing, every way to end, connections kept and lost. One table for all of them: they keep one
 * contract.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/evloop.h"
#include "loadgen/transport.h"

#define PATIENCE_NS (10 * NS_PER_S)

/* ---- the server ---- */

enum then { THEN_KEEP, THEN_CLOSE, THEN_RESET };

/* What a connection does once a whole request has come. */
struct script {
	const char *answer;
	size_t len;
	size_t piece; /* bytes a write; one write a turn of the loop; 0 = all at once */
	enum then then;
	int answers;	    /* on one connection; then a request is answered by closing; 0 = any */
	bool close_at_once; /* after accept */
};

struct server {
	struct evloop *loop;
	const struct script *script;
	int fd, port;
	char path[64];
	struct event *acceptable;
	int accepted, requests, answered, open, closed_by_client;
	struct buf last_request;
};

struct peer {
	struct server *s;
	int fd, answered;
	struct event *readable, *writable;
	struct buf in;
	size_t sent;
};

static void peer_close(struct peer *p, bool reset)
{
	struct linger now = {1, 0};

	if (reset)
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	event_free(p->readable);
	event_free(p->writable);
	close(p->fd);
	buf_release(&p->in);
	p->s->open--;
	free(p);
}

static void on_peer_writable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	const struct script *sc = p->s->script;
	size_t n = sc->len - p->sent;
	ssize_t k;

	(void)what;
	if (sc->piece > 0 && n > sc->piece)
		n = sc->piece;
	k = send(fd, sc->answer + p->sent, n, MSG_NOSIGNAL);
	if (k < 0 && errno != EAGAIN) { /* the client has gone */
		peer_close(p, false);
		return;
	}
	p->sent += k > 0 ? (size_t)k : 0;
	if (p->sent < sc->len)
		return;
	event_del(p->writable);
	p->answered++;
	p->s->answered++;
	if (sc->then != THEN_KEEP)
		peer_close(p, sc->then == THEN_RESET);
}

/* Length of the whole request at the head of `in`, or 0. */
static size_t whole_request(struct buf *in)
{
	const char *text = buf_cstr(in), *end = strstr(text, "\r\n\r\n"), *length;
	size_t want;

	if (!end)
		return 0;
	length = strstr(text, "Content-Length: ");
	want = (size_t)(end - text) + 4;
	if (length && length < end)
		want += (size_t)atoi(length + 16);
	return buf_size(in) >= want ? want : 0;
}

static void on_peer_readable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	const struct script *sc = p->s->script;
	char bytes[65536];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	size_t whole;

	(void)what;
	if (n <= 0) {
		p->s->closed_by_client++;
		peer_close(p, false);
		return;
	}
	buf_append(&p->in, bytes, (size_t)n);
	whole = whole_request(&p->in);
	if (whole == 0)
		return;
	if (sc->answers && p->answered >= sc->answers) {
		peer_close(p, false);
		return;
	}
	p->s->requests++;
	buf_clear(&p->s->last_request);
	buf_append(&p->s->last_request, buf_head(&p->in), whole);
	buf_consume(&p->in, whole);
	p->sent = 0;
	event_add(p->writable, NULL);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	static const int on = 1;
	struct server *s = arg;
	int peer_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct peer *p;

	(void)what;
	assert_true(peer_fd >= 0);
	s->accepted++;
	setsockopt(peer_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	p = calloc(1, sizeof(*p));
	p->s = s;
	p->fd = peer_fd;
	buf_init(&p->in, 1u << 24);
	p->readable =
		event_new(evloop_base(s->loop), peer_fd, EV_READ | EV_PERSIST, on_peer_readable, p);
	p->writable = event_new(evloop_base(s->loop), peer_fd, EV_WRITE | EV_PERSIST,
				on_peer_writable, p);
	s->open++;
	if (s->script->close_at_once)
		peer_close(p, false);
	else
		event_add(p->readable, NULL);
}

static void server_open(struct server *s, struct evloop *loop, bool is_unix)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(in);

	memset(s, 0, sizeof(*s));
	s->loop = loop;
	buf_init(&s->last_request, 1u << 24);
	s->fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (is_unix) {
		snprintf(s->path, sizeof(s->path), "/tmp/test_transport.%d", (int)getpid());
		unlink(s->path);
		memcpy(un.sun_path, s->path, strlen(s->path) + 1);
		assert_int_equal(bind(s->fd, (struct sockaddr *)&un, sizeof(un)), 0);
	} else {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(bind(s->fd, (struct sockaddr *)&in, sizeof(in)), 0);
		getsockname(s->fd, (struct sockaddr *)&in, &len);
		s->port = ntohs(in.sin_port);
	}
	assert_int_equal(listen(s->fd, 128), 0);
	s->acceptable = event_new(evloop_base(loop), s->fd, EV_READ | EV_PERSIST, on_acceptable, s);
	event_add(s->acceptable, NULL);
}

static void server_close(struct server *s)
{
	while (s->open > 0) /* the transport is closed: every peer sees it */
		evloop_once(s->loop);
	event_free(s->acceptable);
	close(s->fd);
	buf_release(&s->last_request);
	if (s->path[0])
		unlink(s->path);
}

/* ---- the client ---- */

struct heard {
	int connected, written, heads, status, ended;
	enum xfer_end how;
	bool cancel_at_head, cancel_at_body, leave_at_body; /* from inside that callback */
	bool gone; /* cancelled: nothing may be called any more */
	char why[300], content_type[100], retry_after[100];
	struct buf body;
	int64_t connected_ns, written_ns, head_ns, body_ns, end_ns;
	const struct transport_type *type;
	struct xfer *x;
};

static void on_connected(void *owner, int64_t t_ns)
{
	struct heard *h = owner;

	assert_false(h->gone);
	h->connected++;
	h->connected_ns = t_ns;
}

static void on_written(void *owner, int64_t t_ns)
{
	struct heard *h = owner;

	assert_false(h->gone);
	assert_int_equal(h->heads, 0);
	h->written++;
	h->written_ns = t_ns;
}

static void on_head(void *owner, const struct xfer_head *head, int64_t t_ns)
{
	struct heard *h = owner;

	assert_false(h->gone);
	h->heads++;
	h->status = head->status;
	h->head_ns = t_ns;
	snprintf(h->content_type, sizeof(h->content_type), "%s", head->content_type);
	snprintf(h->retry_after, sizeof(h->retry_after), "%s", head->retry_after);
	if (h->cancel_at_head) {
		h->gone = true;
		h->type->cancel(h->x);
	}
}

static void on_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	struct heard *h = owner;

	assert_false(h->gone);
	assert_true(t_ns >= h->head_ns && t_ns >= h->body_ns);
	h->body_ns = t_ns;
	buf_append(&h->body, bytes, n);
	if (h->cancel_at_body || h->leave_at_body) {
		h->gone = true;
		(h->cancel_at_body ? h->type->cancel : h->type->leave)(h->x);
	}
}

static void on_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	struct heard *h = owner;

	assert_false(h->gone);
	assert_int_equal(h->ended, 0);
	h->ended = 1;
	h->how = how;
	h->end_ns = t_ns;
	snprintf(h->why, sizeof(h->why), "%s", why);
}

static const struct xfer_handler handler = {on_connected, on_written, on_head, on_body,
					    on_end,	  NULL,	      NULL};

/* One transport and one server on one loop. */
struct stage {
	const struct transport_type *type;
	struct evloop *loop;
	struct server server;
	struct target target;
	struct transport *transport;
};

static void stage_open(struct stage *g, const struct transport_type *type,
		       const struct script *script)
{
	bool is_unix = type == &transport_unix;
	struct err e;

	memset(g, 0, sizeof(*g));
	g->type = type;
	g->loop = evloop_new();
	server_open(&g->server, g->loop, is_unix);
	g->server.script = script;
	g->target.scheme = is_unix ? URL_UNIX : URL_HTTP;
	g->target.host = is_unix ? g->server.path : (char *)"127.0.0.1";
	g->target.port = g->server.port;
	assert_int_equal(type->open(&g->transport, g->loop, &g->target, 5 * NS_PER_S, &e), RC_OK);
}

static void stage_close(struct stage *g)
{
	g->type->close(g->transport);
	server_close(&g->server);
	evloop_free(g->loop);
}

static void out_of_patience(struct timer *t, int64_t now_ns)
{
	(void)t;
	(void)now_ns;
	fail_msg("waited 10 s in vain");
}

/* Runs the loop until *state reaches `at_least`. */
static void await(struct evloop *loop, const int *state, int at_least)
{
	struct timer watchdog = {.fn = out_of_patience};

	evloop_timer(loop, &watchdog, monotonic_now_ns() + PATIENCE_NS);
	while (*state < at_least)
		evloop_once(loop);
	evloop_timer_cancel(loop, &watchdog);
}

static void heard_init(struct heard *h, const struct stage *g)
{
	memset(h, 0, sizeof(*h));
	buf_init(&h->body, 1u << 24);
	h->type = g->type;
}

static const struct xfer_spec post = {.method = "POST",
				      .path = "/v1/completions?x=1",
				      .headers = "X-Test: 1\r\n",
				      .body = "{\"a\":1}",
				      .body_len = 7,
				      .keep_alive = true};

static void start(struct stage *g, struct heard *h, const struct xfer_spec *spec)
{
	heard_init(h, g);
	h->x = g->type->start(g->transport, spec, &handler, h);
	assert_int_equal(h->connected + h->written + h->ended, 0); /* nothing from inside start() */
}

static struct transport_stats stats_of(const struct stage *g)
{
	struct transport_stats s;

	g->type->stats(g->transport, &s);
	return s;
}

static const struct transport_type *const rows[] = {&transport_http1, &transport_unix,
						    &transport_curl};

/* ---- the table ---- */

#define S(s) s, sizeof(s) - 1
#define OK   "HTTP/1.1 200 OK\r\n"

static const struct {
	const char *what, *answer;
	size_t len;
	enum then then;
	enum xfer_end how;
	int status;
	const char *body;
} cases[] = {
	{"content-length", S(OK "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"),
	 THEN_KEEP, XFER_COMPLETE, 200, "hello"},
	{"chunked",
	 S(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
	 THEN_KEEP, XFER_COMPLETE, 200, "hello world"},
	{"up to the close", S(OK "Content-Type: text/plain\r\n\r\nto the end"), THEN_CLOSE,
	 XFER_COMPLETE, 200, "to the end"},
	{"1xx first", S("HTTP/1.1 102 Processing\r\n\r\n" OK "Content-Length: 2\r\n\r\nok"),
	 THEN_KEEP, XFER_COMPLETE, 200, "ok"},
	{"redirect", S("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nmove"),
	 THEN_KEEP, XFER_COMPLETE, 302, "move"},
	{"429", S("HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"),
	 THEN_KEEP, XFER_COMPLETE, 429, ""},
	{"closed without a word", S(""), THEN_CLOSE, XFER_CLOSED, 0, ""},
	{"closed inside the head", S(OK "Content-Le"), THEN_CLOSE, XFER_CLOSED, 0, ""},
	{"reset without a word", S(""), THEN_RESET, XFER_CLOSED, 0, ""},
	{"short body", S(OK "Content-Length: 5\r\n\r\nhell"), THEN_CLOSE, XFER_TRUNCATED, 200,
	 "hell"},
	{"no last chunk", S(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), THEN_CLOSE,
	 XFER_TRUNCATED, 200, "hello"},
	{"garbage", S("SSH-2.0-OpenSSH_9.2\r\n"), THEN_CLOSE, XFER_PROTOCOL, 0, ""},
	{"two lengths", S(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), THEN_CLOSE,
	 XFER_PROTOCOL, 0, ""},
	{"length and chunks",
	 S(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), THEN_CLOSE,
	 XFER_PROTOCOL, 0, ""},
	{"compressed", S(OK "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"), THEN_KEEP,
	 XFER_PROTOCOL, 0, ""},
};

static void run_case(const struct transport_type *type, size_t i, size_t piece)
{
	struct script script = {.answer = cases[i].answer,
				.len = cases[i].len,
				.piece = piece,
				.then = cases[i].then};
	struct stage g;
	struct heard h;

	stage_open(&g, type, &script);
	start(&g, &h, &post);
	await(g.loop, &h.ended, 1);
	if (h.how != cases[i].how || h.status != cases[i].status ||
	    strcmp(buf_cstr(&h.body), cases[i].body) != 0)
		fail_msg("%s over %s in pieces of %zu: ended %d, status %d, body \"%s\": %s",
			 cases[i].what, type->name, piece, h.how, h.status, buf_cstr(&h.body),
			 h.why);
	assert_int_equal(h.connected, 1);
	assert_int_equal(h.written, 1);
	assert_int_equal(h.why[0] != '\0', h.how != XFER_COMPLETE);
	assert_null(strchr(h.why, '\n'));
	if (h.heads)
		assert_true(h.connected_ns <= h.written_ns && h.written_ns <= h.head_ns &&
			    h.head_ns <= h.end_ns);
	buf_release(&h.body);
	stage_close(&g);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			run_case(rows[r], i, 0);
			run_case(rows[r], i, 1);
			run_case(rows[r], i, 7);
		}
	}
}

static void test_request_on_the_wire(void **state)
{
	static const char answer[] = OK "Content-Type: a/b\r\nRetry-After: 9\r\n"
					"Content-Length: 0\r\n\r\n";
	struct script script = {.answer = answer, .len = sizeof(answer) - 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct xfer_spec get = {.method = "GET", .path = "/health", .headers = ""};
		struct stage g;
		struct heard h;
		const char *text;

		stage_open(&g, rows[r], &script);
		start(&g, &h, &post);
		await(g.loop, &h.ended, 1);
		assert_string_equal(h.content_type, "a/b");
		assert_string_equal(h.retry_after, "9");
		text = buf_cstr(&g.server.last_request);
		assert_ptr_equal(strstr(text, "POST /v1/completions?x=1 HTTP/1.1\r\nHost: "), text);
		assert_non_null(strstr(text, "\r\nAccept-Encoding: identity\r\n"));
		assert_non_null(strstr(text, "\r\nContent-Length: 7\r\n"));
		assert_non_null(strstr(text, "\r\nX-Test: 1\r\n"));
		assert_null(strstr(text, "Expect"));
		assert_null(strstr(text, "\r\nConnection: close\r\n"));
		assert_string_equal(strstr(text, "\r\n\r\n") + 4, "{\"a\":1}");
		buf_release(&h.body);

		start(&g, &h, &get);
		await(g.loop, &h.ended, 1);
		text = buf_cstr(&g.server.last_request);
		assert_ptr_equal(strstr(text, "GET /health HTTP/1.1\r\n"), text);
		assert_null(strstr(text, "Content-Length"));
		assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
		buf_release(&h.body);
		stage_close(&g);
	}
}

/* ---- connections ---- */

static const char two_bytes[] = OK "Content-Length: 2\r\n\r\nok";

static void exchange(struct stage *g, struct heard *h)
{
	start(g, h, &post);
	await(g->loop, &h->ended, 1);
	if (h->how != XFER_COMPLETE)
		fail_msg("%s: %s", g->type->name, h->why);
	assert_string_equal(buf_cstr(&h->body), "ok");
	buf_release(&h->body);
}

static void test_keep_alive(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		for (int i = 0; i < 5; i++) {
			exchange(&g, &h);
			assert_int_equal(h.connected, i == 0);
			assert_int_equal(h.written, 1);
		}
		assert_int_equal(g.server.accepted, 1);
		assert_int_equal(stats_of(&g).connects, 1);
		assert_int_equal(stats_of(&g).reuses, 4);
		stage_close(&g);
	}
}

/* A kept connection that the server closes when the next request comes: sent again, once. */
static void test_reuse_race(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1, .answers = 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		exchange(&g, &h);
		exchange(&g, &h);
		assert_int_equal(h.connected, 1);
		assert_int_equal(g.server.accepted, 2);
		assert_int_equal(g.server.requests, 2);
		assert_int_equal(stats_of(&g).reuse_races, 1);
		stage_close(&g);
	}
}

/* The second connection is no kept one: nothing is sent a third time. */
static void test_reuse_race_happens_once(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1, .answers = 1};
	struct script closing = {.close_at_once = true, .answers = 1};

	(void)state;
	for (size_t r = 0; r < 2; r++) { /* curl has its own idea of how often */
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		exchange(&g, &h);
		g.server.script = &closing;
		start(&g, &h, &post);
		await(g.loop, &h.ended, 1);
		assert_int_equal(h.how, XFER_CLOSED);
		assert_int_equal(g.server.accepted, 2);
		assert_int_equal(stats_of(&g).reuse_races, 1);
		buf_release(&h.body);
		stage_close(&g);
	}
}

static void test_idle_connection_closed_by_the_server(void **state)
{
	static const char answer[] = OK "Content-Length: 2\r\n\r\nok";
	struct script script = {.answer = answer, .len = sizeof(answer) - 1, .then = THEN_CLOSE};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		exchange(&g, &h);
		exchange(&g, &h);
		assert_int_equal(g.server.accepted, 2);
		stage_close(&g);
	}
}

/* Bytes behind an answer: that connection is not used again. */
static void test_unasked_bytes(void **state)
{
	static const char answer[] = OK "Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n";
	struct script script = {.answer = answer, .len = sizeof(answer) - 1};

	(void)state;
	for (size_t r = 0; r < 2; r++) {
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		exchange(&g, &h);
		exchange(&g, &h);
		assert_int_equal(h.connected, 1);
		assert_int_equal(g.server.accepted, 2);
		stage_close(&g);
	}
}

static void test_many_at_once(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1, .piece = 3};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		static struct heard h[50];
		struct stage g;

		stage_open(&g, rows[r], &script);
		for (int wave = 0; wave < 3; wave++) {
			for (size_t i = 0; i < ARRAY_LEN(h); i++)
				start(&g, &h[i], &post);
			for (size_t i = 0; i < ARRAY_LEN(h); i++) {
				await(g.loop, &h[i].ended, 1);
				assert_int_equal(h[i].how, XFER_COMPLETE);
				buf_release(&h[i].body);
			}
		}
		assert_int_equal(stats_of(&g).connects, ARRAY_LEN(h));
		assert_int_equal(stats_of(&g).reuses, 2 * ARRAY_LEN(h));
		stage_close(&g);
	}
}

/* A body far beyond what a socket takes at once, to a server that answers before it is through. */
static void test_long_request(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1};
	struct xfer_spec spec = post;
	char *body = malloc(8u << 20);

	(void)state;
	memset(body, 'x', 8u << 20);
	spec.body = body;
	spec.body_len = 8u << 20;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		start(&g, &h, &spec);
		await(g.loop, &h.ended, 1);
		assert_int_equal(h.how, XFER_COMPLETE);
		assert_int_equal(h.written, 1);
		assert_true(buf_size(&g.server.last_request) > spec.body_len);
		buf_release(&h.body);
		stage_close(&g);
	}
	free(body);
}

static void test_head_too_large(void **state)
{
	struct script script = {0};
	struct buf answer;

	(void)state;
	buf_init(&answer, 1u << 20);
	buf_puts(&answer, OK);
	for (int i = 0; i < 700; i++)
		buf_printf(&answer, "X-Filler-%04d: %083d\r\n", i, i);
	buf_puts(&answer, "Content-Length: 0\r\n\r\n");
	script.answer = buf_head(&answer);
	script.len = buf_size(&answer);
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct stage g;
		struct heard h;

		stage_open(&g, rows[r], &script);
		start(&g, &h, &post);
		await(g.loop, &h.ended, 1);
		assert_int_equal(h.how, XFER_PROTOCOL);
		assert_string_equal(h.why, "a response head longer than 65536 bytes");
		buf_release(&h.body);
		stage_close(&g);
	}
	buf_release(&answer);
}

/* ---- cancelling and leaving ---- */

static const char endless[] = OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";

static void test_cancel(void **state)
{
	struct script script = {.answer = endless, .len = sizeof(endless) - 1, .piece = 20};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		for (int where = 0; where < 3; where++) {
			struct stage g;
			struct heard h;

			stage_open(&g, rows[r], &script);
			start(&g, &h, &post);
			h.cancel_at_head = where == 1;
			h.cancel_at_body = where == 2;
			if (where == 0) {
				h.gone = true;
				g.type->cancel(h.x);
				evloop_once(g.loop);
			} else {
				await(g.loop, &g.server.closed_by_client, 1);
				assert_true(h.gone);
			}
			buf_release(&h.body);
			stage_close(&g);
		}
	}
}

/* Left while the end of the body is still to come: the connection is there for the next one. */
static void test_leave(void **state)
{
	static const char answer[] = OK "Transfer-Encoding: chunked\r\n\r\n"
					"2\r\nok\r\n0\r\n\r\n";
	struct script script = {.answer = answer, .len = sizeof(answer) - 1, .piece = 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct heard left, h;
		struct stage g;

		stage_open(&g, rows[r], &script);
		start(&g, &left, &post);
		left.leave_at_body = true;
		await(g.loop, &g.server.answered, 1);
		assert_true(left.gone);
		evloop_once(g.loop); /* in which the last byte arrives */
		exchange(&g, &h);
		assert_int_equal(h.connected, 0);
		assert_int_equal(g.server.accepted, 1);
		buf_release(&left.body);
		stage_close(&g);
	}
}

/* A body that does not end is not waited for. */
static void test_leave_a_stream_that_stays_open(void **state)
{
	struct script script = {.answer = endless, .len = sizeof(endless) - 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		int64_t started_ns = monotonic_now_ns();
		struct heard left;
		struct stage g;

		stage_open(&g, rows[r], &script);
		start(&g, &left, &post);
		left.leave_at_body = true;
		await(g.loop, &g.server.closed_by_client, 1);
		assert_true(monotonic_now_ns() - started_ns >= XFER_LINGER_NS);
		buf_release(&left.body);
		stage_close(&g);
	}
}

/* ---- no connection ---- */

static void expect_no_connection(const struct transport_type *type, struct target *t,
				 const char *why)
{
	struct stage g = {.type = type, .loop = evloop_new()};
	struct heard h;
	struct err e;

	assert_int_equal(type->open(&g.transport, g.loop, t, 5 * NS_PER_S, &e), RC_OK);
	start(&g, &h, &post);
	await(g.loop, &h.ended, 1);
	assert_int_equal(h.how, XFER_CONNECT);
	assert_int_equal(h.connected, 0);
	if (!strstr(h.why, why))
		fail_msg("%s: \"%s\"", type->name, h.why);
	buf_release(&h.body);
	type->close(g.transport);
	evloop_free(g.loop);
}

static void test_nobody_listens(void **state)
{
	struct target tcp = {.scheme = URL_HTTP, .host = (char *)"127.0.0.1"};
	struct target path = {.scheme = URL_UNIX, .host = (char *)"/tmp/no/such.socket"};
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	/* a port that is taken and does not listen */
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	getsockname(fd, (struct sockaddr *)&in, &len);
	tcp.port = ntohs(in.sin_port);
	expect_no_connection(&transport_http1, &tcp, "Connection refused");
	expect_no_connection(&transport_curl, &tcp, "");
	expect_no_connection(&transport_unix, &path, "No such file");
	close(fd);
}

/* No TLS on the other side: its own outcome, in libcurl's words. */
static void test_tls_that_fails(void **state)
{
	struct script closing = {.close_at_once = true};
	struct stage g;
	struct heard h;
	struct err e;

	(void)state;
	stage_open(&g, &transport_curl, &closing);
	g.type->close(g.transport);
	g.target.scheme = URL_HTTPS;
	assert_int_equal(g.type->open(&g.transport, g.loop, &g.target, 5 * NS_PER_S, &e), RC_OK);
	start(&g, &h, &post);
	await(g.loop, &h.ended, 1);
	assert_int_equal(h.how, XFER_TLS);
	assert_int_equal(h.connected, 0);
	assert_true(h.why[0]);
	buf_release(&h.body);
	stage_close(&g);
}

static void test_no_descriptors_left(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1};
	struct rlimit old, none;
	struct stage g;
	struct heard h;

	(void)state;
	stage_open(&g, &transport_http1, &script);
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	start(&g, &h, &post);
	await(g.loop, &h.ended, 1);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(h.how, XFER_CONNECT);
	assert_non_null(strstr(h.why, "ulimit -n"));
	buf_release(&h.body);
	stage_close(&g);
}

/* localhost may be ::1 first, where nobody listens. */
static void test_every_address_is_tried(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct transport_stats stats;
		struct stage g;
		struct heard h;
		struct err e;

		if (rows[r] == &transport_unix)
			continue;
		stage_open(&g, rows[r], &script);
		g.type->close(g.transport);
		g.target.host = (char *)"localhost";
		assert_int_equal(g.type->open(&g.transport, g.loop, &g.target, 5 * NS_PER_S, &e),
				 RC_OK);
		exchange(&g, &h);
		stats = stats_of(&g);
		assert_ptr_equal(strstr(stats.peer, "127.0.0.1:"), stats.peer);
		stage_close(&g);
	}
}

/* A name that no resolver needs to be asked about: it is too long for one. */
static void test_unknown_host(void **state)
{
	char host[400];
	struct target t = {.scheme = URL_HTTP, .host = host, .port = 80};
	struct transport *transport;
	struct evloop *loop = evloop_new();
	struct err e;

	(void)state;
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	assert_int_equal(transport_http1.open(&transport, loop, &t, NS_PER_S, &e), RC_IO);
	assert_non_null(strstr(e.msg, "aaa: "));
	evloop_free(loop);
}

/* ---- time ---- */

/* The stamp of a read is when its bytes came, not when the loop found the time to read them. */
static void test_kernel_stamps(void **state)
{
	struct script script = {.answer = two_bytes, .len = sizeof(two_bytes) - 1};
	int64_t answered_ns, read_ns;
	struct stage g;
	struct heard h;

	(void)state;
	stage_open(&g, &transport_http1, &script);
	while (hist_count(stats_of(&g).receive_lag_ns) == 0) /* the kernel begins with a delay */
		exchange(&g, &h);
	hist_reset(stats_of(&g).receive_lag_ns);
	start(&g, &h, &post);
	await(g.loop, &g.server.answered, g.server.answered + 1);
	answered_ns = monotonic_now_ns();
	assert_int_equal(h.ended, 0);
	while (monotonic_now_ns() - answered_ns < 20 * NS_PER_MS)
		; /* a loop that lags */
	read_ns = monotonic_now_ns();
	await(g.loop, &h.ended, 1);
	assert_true(h.body_ns < read_ns - 10 * NS_PER_MS);
	assert_true(h.body_ns >= h.written_ns);
	assert_true(hist_max(stats_of(&g).receive_lag_ns) >= 10 * NS_PER_MS);
	assert_int_equal(hist_count(stats_of(&g).receive_lag_ns), 1);
	buf_release(&h.body);
	stage_close(&g);
}

static void test_transport_for(void **state)
{
	struct target t = {.scheme = URL_HTTP};

	(void)state;
	assert_ptr_equal(transport_for(&t), &transport_http1);
	t.scheme = URL_UNIX;
	assert_ptr_equal(transport_for(&t), &transport_unix);
	t.scheme = URL_HTTPS;
	assert_ptr_equal(transport_for(&t), &transport_curl);
}

/* Closing cancels: no callback, no leak. */
static void test_close_with_requests_in_flight(void **state)
{
	struct script script = {.answer = endless, .len = sizeof(endless) - 1};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct heard connecting, streaming;
		struct stage g;

		stage_open(&g, rows[r], &script);
		start(&g, &streaming, &post);
		await(g.loop, &streaming.heads, 1);
		start(&g, &connecting, &post);
		connecting.gone = streaming.gone = true;
		buf_release(&streaming.body);
		buf_release(&connecting.body);
		stage_close(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_request_on_the_wire),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_reuse_race),
		cmocka_unit_test(test_reuse_race_happens_once),
		cmocka_unit_test(test_idle_connection_closed_by_the_server),
		cmocka_unit_test(test_unasked_bytes),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_long_request),
		cmocka_unit_test(test_head_too_large),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_leave),
		cmocka_unit_test(test_leave_a_stream_that_stays_open),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_tls_that_fails),
		cmocka_unit_test(test_no_descriptors_left),
		cmocka_unit_test(test_every_address_is_tried),
		cmocka_unit_test(test_unknown_host),
		cmocka_unit_test(test_kernel_stamps),
		cmocka_unit_test(test_transport_for),
		cmocka_unit_test(test_close_with_requests_in_flight),
	};

	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
