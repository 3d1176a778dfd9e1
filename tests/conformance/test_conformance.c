/*
 * What servers send, and what is to be made of it: cases.csv names the cases and what comes out,
 * cases/NAME.txt holds the bytes (answer.h). Every row of measurement.md section 3 that can be sent
 * is one or more of them, and the bad input that no server should send.
 *
 * Each is read whole, byte by byte and at random cuts, four ways: by the parsers alone; by a
 * request whose transport is this file; and by one over transport_http1 and transport_curl, from a
 * server on loopback. What comes out may depend on none of this.
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
#include <unistd.h>

#include "answer.h"
#include "base/clock.h"
#include "base/csv.h"
#include "base/evloop.h"
#include "base/rng.h"
#include "loadgen/http_in.h"
#include "loadgen/request.h"

#define PIECE_BYTES  16384u
#define RANDOM_CUTS  10
#define SMALL_BYTES  (8u << 10)	 /* a longer answer is not sent byte by byte over a socket */
#define GROWTH_BYTES (96u << 20) /* what all cases together may leave behind, and the caps hold */
#define ASKED_TOKENS 4

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_MEMORY false /* the sanitizers keep what was freed */
#else
#define COUNTS_MEMORY true
#endif

/* ---- a case ---- */

struct one_case {
	const char *name;
	const struct csv_table *table;
	size_t row;
	const struct dialect *dialect;
	struct answer answer;
};

static const char *column(const struct one_case *c, const char *name)
{
	int col = csv_find(c->table, name);

	if (col < 0)
		fail_msg("cases.csv has no column %s", name);
	return csv_field(c->table, c->row, col);
}

static void expect(const struct one_case *c, const char *how, const char *name, const char *got)
{
	if (strcmp(column(c, name), got) != 0)
		fail_msg("%s, %s: %s is \"%s\", want \"%s\"", c->name, how, name, got,
			 column(c, name));
}

static void expect_int(const struct one_case *c, const char *how, const char *name, int64_t got)
{
	char text[32] = "";

	if (got >= 0)
		snprintf(text, sizeof(text), "%lld", (long long)got);
	expect(c, how, name, text);
}

static void expect_record(const struct one_case *c, const char *how, const struct record *r)
{
	if (strcmp(column(c, "outcome"), outcome_name(r->outcome)) != 0)
		fail_msg("%s, %s: outcome is %s (%s), want %s", c->name, how,
			 outcome_name(r->outcome), r->error, column(c, "outcome"));
	expect_int(c, how, "http_status", r->http_status ? r->http_status : -1);
	expect_int(c, how, "token_events", r->n_events);
	expect_int(c, how, "tokens", r->output_tokens);
	expect(c, how, "token_source", token_source_name(r->token_source));
	expect(c, how, "finish_reason", r->finish_reason);
	if (!strstr(r->error, column(c, "error")))
		fail_msg("%s, %s: error is \"%s\", want \"%s\" in it", c->name, how, r->error,
			 column(c, "error"));
	assert_int_equal(r->error[0] == '\0', r->outcome == OUTCOME_OK);
}

/* How it is cut: the size of the piece at `at`. */
struct cutting {
	const char *how;
	size_t (*piece)(struct rng *r);
};

static size_t whole(struct rng *r)
{
	(void)r;
	return PIECE_BYTES;
}

static size_t single_bytes(struct rng *r)
{
	(void)r;
	return 1;
}

static size_t at_random(struct rng *r)
{
	return 1 + rng_below(r, rng_below(r, 4) ? 30 : 2000);
}

static const struct cutting cut_whole = {"whole", whole};
static const struct cutting cut_bytes = {"byte by byte", single_bytes};
static const struct cutting cut_random = {"at random cuts", at_random};

/* ---- the parsers alone: events and text ---- */

struct parse {
	const struct one_case *c;
	struct sse_in sse;
	bool is_broken;
	int events;
	struct buf text;
};

static bool parse_event(const struct sse_event *ev, void *arg)
{
	struct parse *p = arg;
	struct reading r = {0};

	p->events++;
	p->is_broken |= p->c->dialect->read_event(ev, &r, &p->text, NULL) != RC_OK;
	return true;
}

static bool parse_head(void *owner, const struct xfer_head *h)
{
	(void)owner;
	(void)h;
	return true;
}

static bool parse_body(void *owner, const char *bytes, size_t n)
{
	struct parse *p = owner;

	if (sse_in_feed(&p->sse, bytes, n, parse_event, p, NULL) != RC_OK)
		p->is_broken = true;
	return !p->is_broken;
}

static void parse_case(const struct one_case *c, const struct cutting *cut, struct rng *rng)
{
	static const struct http_in_handler handler = {parse_head, parse_body};
	static char bytes[PIECE_BYTES];
	struct parse p = {.c = c};
	struct http_in *http = http_in_new(&handler, &p);
	enum http_in_result result = HTTP_IN_MORE;
	struct err e;

	sse_in_init(&p.sse);
	buf_init(&p.text, 1u << 20);
	for (size_t at = 0; at < c->answer.len && result == HTTP_IN_MORE;) {
		size_t n = answer_bytes(&c->answer, at, bytes, cut->piece(rng)), used;
		char *copy = xmalloc(n); /* exactly n bytes: a sanitizer watches its end */

		memcpy(copy, bytes, n);
		result = http_in_feed(http, copy, n, &used, &e);
		free(copy);
		at += used;
	}
	expect_int(c, cut->how, "events", p.events);
	expect(c, cut->how, "text", buf_cstr(&p.text));
	http_in_free(http);
	sse_in_release(&p.sse);
	buf_release(&p.text);
}

/* ---- a request that is told the bytes ---- */

struct xfer {
	const struct xfer_handler *handler;
	void *owner;
	bool over;
	int64_t t_ns;
};

static struct xfer piped; /* one at a time */

static struct xfer *pipe_start(struct transport *t, const struct xfer_spec *spec,
			       const struct xfer_handler *h, void *owner)
{
	(void)t;
	(void)spec;
	piped = (struct xfer){.handler = h, .owner = owner, .t_ns = monotonic_now_ns()};
	return &piped;
}

static void pipe_drop(struct xfer *x)
{
	x->over = true;
}

static const struct transport_type pipe_transport = {
	.name = "pipe", .start = pipe_start, .cancel = pipe_drop, .leave = pipe_drop};

static bool pipe_head(void *owner, const struct xfer_head *h)
{
	struct xfer *x = owner;

	x->handler->head(x->owner, h, x->t_ns);
	return !x->over;
}

static bool pipe_body(void *owner, const char *bytes, size_t n)
{
	struct xfer *x = owner;

	x->handler->body(x->owner, bytes, n, x->t_ns);
	return !x->over;
}

static void pipe_end(const struct one_case *c, struct http_in *http, enum http_in_result result,
		     struct err *e)
{
	static const enum xfer_end ends[] = {
		[HTTP_IN_COMPLETE] = XFER_COMPLETE,
		[HTTP_IN_CLOSED] = XFER_CLOSED,
		[HTTP_IN_TRUNCATED] = XFER_TRUNCATED,
		[HTTP_IN_BAD] = XFER_PROTOCOL,
	};

	if (result == HTTP_IN_MORE && c->answer.then == THEN_KEEP)
		return; /* the request's own limit ends it */
	if (result == HTTP_IN_MORE)
		result = http_in_eof(http, e);
	if (c->answer.then == THEN_RESET && result == HTTP_IN_COMPLETE)
		result = HTTP_IN_TRUNCATED; /* a body up to the close, but that was no close */
	if (result != HTTP_IN_STOPPED)
		piped.handler->end(piped.owner, ends[result], e->rc ? e->msg : "reset", piped.t_ns);
}

static void tell_pipe(const struct one_case *c, const struct cutting *cut, struct rng *rng)
{
	static const struct http_in_handler handler = {pipe_head, pipe_body};
	static char bytes[PIECE_BYTES];
	struct http_in *http = http_in_new(&handler, &piped);
	enum http_in_result result = HTTP_IN_MORE;
	size_t len = c->answer.len;
	struct err e = {0};

	piped.handler->connected(piped.owner, piped.t_ns);
	piped.handler->written(piped.owner, piped.t_ns);
	/* Of what only a time limit ends a little will do: time stands still here. */
	if (*column(c, "timeout_ms") && len > PIECE_BYTES)
		len = PIECE_BYTES;
	for (size_t at = 0; at < len && result == HTTP_IN_MORE;) {
		size_t n = answer_bytes(&c->answer, at, bytes, cut->piece(rng)), used;

		piped.t_ns++;
		result = http_in_feed(http, bytes, n, &used, &e);
		at += used;
	}
	if (!piped.over)
		pipe_end(c, http, result, &e);
	http_in_free(http);
}

/* ---- a server that sends the bytes ---- */

struct server {
	struct evloop *loop;
	int fd, port;
	struct event *acceptable;
	/* what it is to send */
	const struct one_case *c;
	const struct cutting *cut;
	struct rng *rng;
	/* its one connection */
	int peer;
	struct event *readable, *writable;
	struct buf request;
	size_t sent;
};

static void server_hang_up(struct server *s, bool reset)
{
	struct linger now = {1, 0};

	if (s->peer < 0)
		return;
	if (reset)
		setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	event_free(s->readable);
	event_free(s->writable);
	close(s->peer);
	buf_release(&s->request);
	s->peer = -1;
}

static void on_peer_writable(evutil_socket_t fd, short what, void *arg)
{
	static char bytes[PIECE_BYTES];
	struct server *s = arg;
	const struct answer *a = &s->c->answer;
	size_t n = answer_bytes(a, s->sent, bytes, s->cut->piece(s->rng));
	ssize_t k = n > 0 ? send(fd, bytes, n, MSG_NOSIGNAL) : 0;

	(void)what;
	if (k < 0 && errno != EAGAIN) { /* the client has had enough */
		server_hang_up(s, false);
		return;
	}
	s->sent += k > 0 ? (size_t)k : 0;
	if (s->sent < a->len)
		return;
	event_del(s->writable);
	if (a->then != THEN_KEEP)
		server_hang_up(s, a->then == THEN_RESET);
}

/* Is the request at the head of `in` whole? */
static bool is_whole(struct buf *in)
{
	const char *text = buf_cstr(in), *end = strstr(text, "\r\n\r\n");
	const char *length = strstr(text, "Content-Length: ");

	return end && length &&
	       buf_size(in) >= (size_t)(end - text) + 4 + (size_t)atoi(length + 16);
}

static void on_peer_readable(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	char bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	(void)what;
	if (n <= 0) {
		server_hang_up(s, false);
		return;
	}
	buf_append(&s->request, bytes, (size_t)n);
	if (is_whole(&s->request))
		event_add(s->writable, NULL);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	static const int on = 1;
	struct server *s = arg;
	struct event_base *base = evloop_base(s->loop);

	(void)what;
	server_hang_up(s, false); /* what an earlier request left open */
	s->peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(s->peer >= 0);
	setsockopt(s->peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	buf_init(&s->request, 1u << 20);
	s->sent = 0;
	s->readable = event_new(base, s->peer, EV_READ | EV_PERSIST, on_peer_readable, s);
	s->writable = event_new(base, s->peer, EV_WRITE | EV_PERSIST, on_peer_writable, s);
	event_add(s->readable, NULL);
}

static void server_open(struct server *s, struct evloop *loop)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	memset(s, 0, sizeof(*s));
	s->loop = loop;
	s->peer = -1;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&in, &len), 0);
	s->port = ntohs(in.sin_port);
	assert_int_equal(listen(s->fd, 16), 0);
	s->acceptable = event_new(evloop_base(loop), s->fd, EV_READ | EV_PERSIST, on_acceptable, s);
	event_add(s->acceptable, NULL);
}

static void server_close(struct server *s)
{
	server_hang_up(s, false);
	event_free(s->acceptable);
	close(s->fd);
}

/* ---- a request from start to record ---- */

struct stage {
	struct evloop *loop;
	struct server server;
	struct target target;
	struct limits limits;
	struct record rec;
	bool ended;
};

static void on_request_end(struct request *q, void *arg)
{
	struct stage *g = arg;

	g->rec = request_take_record(q);
	g->ended = true;
	evloop_stop(g->loop);
}

static void run_case(struct stage *g, const struct one_case *c, const struct transport_type *type,
		     const struct cutting *cut, struct rng *rng)
{
	static const struct planned_request plan = {
		.text = "Hi", .len = 2, .output_tokens = ASKED_TOKENS};
	struct request_env env = {.loop = g->loop,
				  .target = &g->target,
				  .model = "m",
				  .dialect = c->dialect,
				  .transport_type = type,
				  .limits = &g->limits,
				  .keep_events = true,
				  .on_end = on_request_end,
				  .arg = g};
	bool is_piped = type == &pipe_transport;
	int64_t timeout_ms = atoi(column(c, "timeout_ms"));
	struct record rec;
	char how[64];
	struct err e;

	record_init(&rec);
	rec.request_id = 1;
	g->limits = (struct limits){.timeout_ns = (timeout_ms ? timeout_ms : 60000) * NS_PER_MS};
	g->server.c = c;
	g->server.cut = cut;
	g->server.rng = rng;
	g->ended = false;
	if (!is_piped)
		assert_int_equal(type->open(&env.transport, g->loop, &g->target, NS_PER_S, &e),
				 RC_OK);
	request_start(&env, &plan, &rec, monotonic_now_ns());
	if (is_piped)
		tell_pipe(c, cut, rng);
	while (!g->ended)
		evloop_run(g->loop);
	if (!is_piped)
		type->close(env.transport);
	snprintf(how, sizeof(how), "%s, %s", type->name, cut->how);
	expect_record(c, how, &g->rec);
	record_release(&g->rec);
}

static void check_case(struct stage *g, const struct one_case *c, struct rng *rng)
{
	static const struct transport_type *const types[] = {&pipe_transport, &transport_http1,
							     &transport_curl};
	bool is_small = c->answer.len <= SMALL_BYTES;

	if (*column(c, "events")) { /* a stream with an end */
		parse_case(c, &cut_whole, rng);
		parse_case(c, &cut_bytes, rng);
		for (int i = 0; i < RANDOM_CUTS; i++)
			parse_case(c, &cut_random, rng);
	}
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		run_case(g, c, types[k], &cut_whole, rng);
		if (*column(c, "timeout_ms"))
			continue; /* it takes that long every time */
		run_case(g, c, types[k], &cut_random, rng);
		if (is_small)
			run_case(g, c, types[k], &cut_bytes, rng);
	}
}

static long peak_bytes(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss * 1024;
}

static const char *folder = SOURCE_DIR "/tests/conformance";
static const char *only; /* the name of one case, or NULL */

static void test_corpus(void **state)
{
	char *path = xasprintf("%s/cases.csv", folder);
	struct csv_table *table;
	struct stage g = {0};
	struct rng rng;
	struct err e;
	long before;

	(void)state;
	if (csv_read(&table, path, false, &e) != RC_OK)
		fail_msg("%s", e.msg);
	rng_init(&rng, 4, "cuts", 0);
	g.loop = evloop_new();
	server_open(&g.server, g.loop);
	g.target = (struct target){.scheme = URL_HTTP,
				   .host = (char *)"127.0.0.1",
				   .port = g.server.port,
				   .prefix = (char *)"",
				   .request = {.stream = true, .ignore_eos = true}};
	before = peak_bytes();
	for (size_t row = 0; row < csv_rows(table); row++) {
		struct one_case c = {.table = table, .row = row};
		char *answer;

		c.name = column(&c, "case");
		if (only && strcmp(only, c.name) != 0)
			continue;
		c.dialect = dialect_find(column(&c, "dialect"));
		assert_non_null(c.dialect);
		answer = xasprintf("%s/cases/%s.txt", folder, c.name);
		answer_read(&c.answer, answer);
		check_case(&g, &c, &rng);
		answer_release(&c.answer);
		free(answer);
	}
	if (COUNTS_MEMORY && peak_bytes() - before > (long)GROWTH_BYTES)
		fail_msg("memory grew by %ld MiB", (peak_bytes() - before) >> 20);
	print_message("%zu cases\n", csv_rows(table));
	server_close(&g.server);
	evloop_free(g.loop);
	csv_table_free(table);
	free(path);
}

/* usage: test_conformance [CASE] */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};

	only = argc > 1 ? argv[1] : NULL;
	alarm(120); /* a case that hangs is a failure */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
