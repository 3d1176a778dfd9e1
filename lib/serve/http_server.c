/*
 * Owns the listeners, the connections and all that is unsent on them. Loop thread. Must not know
 * what a path means, nor how an answer comes about.
 *
 * A connection is reading a request, or an exchange is open on it, or it is closing. It is never
 * freed where it was found to be over: it is marked, put on the list `due`, and swept once at the
 * end of the turn. Reading goes on while an exchange is open, since that is how a client that
 * leaves is noticed; bytes that come then belong to the next request and wait.
 */
#include "http_server.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/prefetch.h"
#include "http_listen.h"
#include "http_request.h"

#define READ_BYTES	65536
#define ACCEPT_BATCH	256		  /* then the streams get their turn */
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS) /* when descriptors have run out */
#define SWEEP_NS	NS_PER_S
#define LINGER_NS	(2 * NS_PER_S)

enum conn_state {
	CONN_READING, /* waits for a request, or for the rest of one */
	CONN_BUSY,    /* an exchange is open */
	CONN_CLOSING, /* the last answer is being sent, then the connection closes */
	CONN_LINGER,  /* our end is shut; what the client still sends is thrown away, so that it can
			 read the answer */
	CONN_DEAD,    /* to be swept */
};

struct http_exchange {
	struct http_server *server;
	struct http_request *request; /* NULL before its first byte, and once it was dropped */
	void *owner;
	void (*on_gone)(void *owner);
	int64_t received_ns;
	bool streaming, chunked, takes_chunks, head_only, keep_alive;
};

/* What the kernel has not taken yet. */
struct unsent {
	struct event writable;
	struct buf bytes;
};

struct conn {
	struct http_exchange x; /* first: an exchange is its connection */
	int fd;
	enum conn_state state : 8; /* a short one: thousands lie idle, waiting for tokens */
	bool on_due, refused;
	struct unsent *unsent; /* few ever have any; or NULL */
	struct event readable;
	struct buf *early; /* bytes of the next request that came while one was being answered;
			      NULL: none */
	int64_t active_ns; /* when the client was last heard, or its last answer ended */
	struct conn *prev, *next;
	struct conn *next_due;
};

struct http_server {
	struct evloop *loop;
	struct http_config c;
	int fd;
	struct event acceptable;
	bool listening, draining, drained_told;
	int port;
	char *uds;
	struct conn *first; /* all connections */
	int n_conns, n_open;
	struct conn *due; /* to be looked at when the turn ends */
	struct deferred turn_end;
	struct timer sweep, resume_accept;
	struct buf out;		    /* one answer's frames, built here and sent at once */
	struct http_exchange *held; /* whose frames wait in `out` */
	char *read_buffer;
};

struct http_limits http_limits_default(void)
{
	return (struct http_limits){
		.max_head_bytes = 64 << 10,
		.max_body_bytes = 32 << 20,
		.max_unsent_bytes = 1 << 20,
		.max_connections = 65536,
		.idle_ns = 300 * NS_PER_S,
	};
}

/* ---- connections ---- */

static struct conn *conn_of(struct http_exchange *x)
{
	return (struct conn *)x;
}

static void put_on_due(struct conn *c)
{
	struct http_server *s = c->x.server;

	if (c->on_due)
		return;
	c->on_due = true;
	c->next_due = s->due;
	s->due = c;
	evloop_defer(s->loop, &s->turn_end);
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

static void start_writing(struct conn *c)
{
	c->unsent = xcalloc(1, sizeof(*c->unsent));
	buf_init(&c->unsent->bytes, c->x.server->c.limits.max_unsent_bytes);
	event_assign(&c->unsent->writable, evloop_base(c->x.server->loop), c->fd,
		     EV_WRITE | EV_PERSIST, on_writable, c);
	event_add(&c->unsent->writable, NULL);
}

static void stop_writing(struct conn *c)
{
	if (!c->unsent)
		return;
	event_del(&c->unsent->writable);
	buf_release(&c->unsent->bytes);
	free(c->unsent);
	c->unsent = NULL;
}

/* len > 0. False beyond what a body may have. */
static bool keep_early(struct conn *c, const char *data, size_t len)
{
	if (!c->early) {
		c->early = xmalloc(sizeof(*c->early));
		buf_init(c->early, c->x.server->c.limits.max_body_bytes);
	}
	return buf_append(c->early, data, len);
}

static void drop_early(struct conn *c)
{
	if (c->early)
		buf_release(c->early);
	free(c->early);
	c->early = NULL;
}

/* Over for good: the socket closes now, the rest goes in the sweep. An open exchange is told there.
 */
static void conn_kill(struct conn *c)
{
	if (c->fd >= 0) {
		event_del(&c->readable);
		stop_writing(c);
		close(c->fd);
		c->fd = -1;
	}
	put_on_due(c);
}

/* The exchange, if one is open, learns that its peer is gone. */
static void conn_lose(struct conn *c)
{
	bool was_open = c->state == CONN_BUSY;

	c->state = CONN_DEAD;
	if (was_open) {
		c->x.server->n_open--;
		if (c->x.server->held == &c->x) {
			c->x.server->held = NULL;
			buf_clear(&c->x.server->out);
		}
		if (c->x.on_gone)
			c->x.on_gone(c->x.owner);
	}
}

static void conn_free(struct conn *c)
{
	struct http_server *s = c->x.server;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_conns--;
	http_request_free(c->x.request);
	drop_early(c);
	free(c);
}

/* All is sent. A client that may still be sending must not be met with a reset, which could cost it
 * the answer. */
static void conn_finish(struct conn *c)
{
	if (!c->refused) {
		c->state = CONN_DEAD;
		conn_kill(c);
		return;
	}
	c->state = CONN_LINGER;
	c->active_ns = monotonic_now_ns();
	shutdown(c->fd, SHUT_WR);
}

/* ---- sending ---- */

/* What the kernel does not take waits; a reader that lets too much of a stream wait is cut off. */
static bool conn_send(struct conn *c, const char *data, size_t len)
{
	ssize_t n = 0;

	if (c->fd < 0)
		return false;
	if (len == 0)
		return true;
	if (!c->unsent) {
		do
			n = send(c->fd, data, len, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n == (ssize_t)len)
			return true;
		if (n < 0) {
			if (errno != EAGAIN) {
				conn_kill(c);
				return false;
			}
			n = 0;
		}
		start_writing(c);
	}
	if (!c->x.streaming)
		c->unsent->bytes.max = SIZE_MAX; /* this one is as long as it is */
	if (!buf_append(&c->unsent->bytes, data + n, len - (size_t)n)) {
		conn_kill(c);
		return false;
	}
	return true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	struct buf *b = &c->unsent->bytes;
	ssize_t n;

	(void)what;
	n = send(fd, buf_head(b), buf_size(b), MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_kill(c);
		return;
	}
	buf_consume(b, (size_t)n);
	if (buf_size(b) > 0)
		return;
	stop_writing(c);
	if (c->state == CONN_CLOSING)
		conn_finish(c);
}

/* The exchange has ended, its last bytes are sent or wait. */
static void exchange_end(struct conn *c)
{
	struct http_server *s = c->x.server;

	s->n_open--;
	c->x.owner = NULL;
	c->x.on_gone = NULL;
	if (c->fd < 0) { /* the last send failed: nobody is left to tell */
		c->state = CONN_DEAD;
		return;
	}
	if (!c->x.keep_alive || s->draining) {
		c->state = CONN_CLOSING;
		if (!c->unsent)
			conn_finish(c);
		return;
	}
	if (c->x.request)
		http_request_reset(c->x.request);
	c->x.streaming = false;
	c->state = CONN_READING;
	c->active_ns = monotonic_now_ns();
	if (c->early)
		put_on_due(c);
}

/* ---- answers ---- */

static void put_head(struct http_exchange *x, int status, const char *content_type,
		     const char *extra, ssize_t length)
{
	struct http_server *s = x->server;
	struct http_head h;

	if (status >= 400 && s->c.habit->closes_errors)
		x->keep_alive = false;
	h = (struct http_head){
		.status = status,
		.server = s->c.server_name,
		.content_type = content_type,
		.extra = extra,
		.length = length,
		.chunked = length < 0 && x->chunked,
		.connection = !x->keep_alive || s->draining ? "close"
			      : !x->takes_chunks	    ? "keep-alive"
							    : NULL,
	};

	http_head_put(&s->out, s->c.habit, &h);
}

static bool send_out(struct http_exchange *x)
{
	struct buf *b = &x->server->out;
	bool ok = conn_send(conn_of(x), buf_head(b), buf_size(b));

	x->server->held = NULL;
	buf_clear(b);
	return ok;
}

void http_reply(struct http_exchange *x, int status, const char *content_type,
		const char *extra_headers, const void *body, size_t len)
{
	struct conn *c = conn_of(x);

	CHECK(c->state == CONN_BUSY && !x->streaming && !x->server->held);
	put_head(x, status, content_type, extra_headers, (ssize_t)len);
	if (!x->head_only)
		CHECK(buf_append(&x->server->out, body, len));
	send_out(x);
	exchange_end(c);
}

void http_stream_begin(struct http_exchange *x, int status, const char *content_type,
		       const char *extra_headers)
{
	CHECK(conn_of(x)->state == CONN_BUSY && !x->streaming && !x->server->held);
	x->streaming = true;
	x->chunked = x->takes_chunks;
	if (!x->chunked)
		x->keep_alive = false;
	put_head(x, status, content_type, extra_headers, -1);
	if (x->server->c.habit->closes_streams)
		x->keep_alive = false;
	send_out(x);
}

static void put_chunk(struct http_exchange *x, const void *data, size_t len)
{
	CHECK(conn_of(x)->state == CONN_BUSY && x->streaming);
	CHECK(!x->server->held || x->server->held == x);
	if (len == 0)
		return; /* an empty chunk would end the stream */
	if (x->chunked)
		http_chunk_put(&x->server->out, data, len);
	else
		CHECK(buf_append(&x->server->out, data, len));
}

void http_stream_hold(struct http_exchange *x, const void *data, size_t len)
{
	put_chunk(x, data, len);
	x->server->held = x;
}

bool http_stream_write(struct http_exchange *x, const void *data, size_t len)
{
	put_chunk(x, data, len);
	return send_out(x);
}

void http_prefetch(const struct http_exchange *x)
{
	prefetch(x, offsetof(struct conn, readable));
}

void http_stream_end(struct http_exchange *x, const void *last_data, size_t len)
{
	put_chunk(x, last_data, len);
	if (x->chunked)
		CHECK(buf_puts(&x->server->out, HTTP_LAST_CHUNK));
	send_out(x);
	exchange_end(conn_of(x));
}

void http_abort(struct http_exchange *x, const void *data, size_t len, bool reset)
{
	const struct linger at_once = {.l_onoff = 1};
	struct conn *c = conn_of(x);

	CHECK(c->state == CONN_BUSY && !x->server->held);
	conn_send(c, data, len);
	if (c->fd >= 0 && reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	conn_kill(c);
}

/* ---- reading ---- */

/* A request that cannot be read: the answer says why, and nothing more is read from this client. */
static void conn_refuse(struct conn *c, int status, const char *why)
{
	char body[160];
	int n = snprintf(
		body, sizeof(body),
		"{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%d}}", why,
		http_status_text(status), status);

	c->refused = true;
	c->state = CONN_BUSY;
	c->x.server->n_open++;
	c->x.keep_alive = false;
	http_reply(&c->x, status, "application/json", NULL, body, (size_t)n);
}

static void conn_dispatch(struct conn *c, int64_t now_ns)
{
	struct http_server *s = c->x.server;

	c->state = CONN_BUSY;
	s->n_open++;
	c->x.received_ns = now_ns;
	c->x.keep_alive = http_request_keeps_alive(c->x.request);
	c->x.takes_chunks = http_request_takes_chunks(c->x.request);
	c->x.head_only = strcmp(http_request_method(c->x.request), "HEAD") == 0;
	s->c.handle(&c->x, s->c.arg);
}

/* Takes bytes in; what belongs to a later request is kept. */
static void conn_take(struct conn *c, const char *data, size_t len, int64_t now_ns)
{
	struct http_server *s = c->x.server;

	while (len > 0 && c->state == CONN_READING) {
		size_t used;

		if (!c->x.request)
			c->x.request = http_request_new(s->c.limits.max_head_bytes,
							s->c.limits.max_body_bytes);
		switch (http_request_read(c->x.request, data, len, &used)) {
		case HTTP_READ_MORE:
			return;
		case HTTP_READ_CONTINUE:
			conn_send(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
			return;
		case HTTP_READ_DONE:
			data += used;
			len -= used;
			conn_dispatch(c, now_ns);
			break;
		case HTTP_READ_BAD:
			conn_refuse(c, http_request_status(c->x.request),
				    "the HTTP request cannot be read");
			return;
		}
	}
	if (len > 0 && c->state == CONN_BUSY) {
		if (!keep_early(c, data, len))
			conn_kill(c);
		else if (buf_size(c->early) > s->c.limits.max_head_bytes)
			event_del(&c->readable); /* until the answer is out; a client that leaves is
						    then found by send() */
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	struct http_server *s = c->x.server;
	ssize_t n;

	(void)what;
	n = recv(fd, s->read_buffer, READ_BYTES, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_kill(c);
		return;
	}
	if (c->state == CONN_CLOSING || c->state == CONN_LINGER)
		return;
	c->active_ns = monotonic_now_ns();
	if (c->state == CONN_READING && c->early) {
		if (!keep_early(c, s->read_buffer, (size_t)n))
			conn_kill(c);
		return; /* the end of the turn takes them in order */
	}
	conn_take(c, s->read_buffer, (size_t)n, c->active_ns);
}

/* What waited while an answer was made. */
static void conn_take_early(struct conn *c)
{
	struct buf *early = c->early;

	c->early = NULL;
	event_add(&c->readable, NULL);
	conn_take(c, buf_head(early), buf_size(early), monotonic_now_ns());
	buf_release(early);
	free(early);
}

static void on_turn_end(struct deferred *d)
{
	struct http_server *s =
		(struct http_server *)((char *)d - offsetof(struct http_server, turn_end));

	while (s->due) {
		struct conn *c = s->due;

		s->due = c->next_due;
		c->on_due = false;
		if (c->fd < 0) {
			conn_lose(c);
			conn_free(c);
		} else if (c->state == CONN_READING && c->early) {
			conn_take_early(c);
		}
	}
	if (s->draining && s->n_conns == 0 && !s->drained_told) {
		s->drained_told = true;
		if (s->c.drained)
			s->c.drained(s->c.arg);
	}
}

/* ---- accepting ---- */

static void conn_new(struct http_server *s, int fd)
{
	struct event_base *base = evloop_base(s->loop);
	struct conn *c = xcalloc(1, sizeof(*c));
	int on = 1;

	if (!s->uds)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	c->x.server = s;
	c->active_ns = monotonic_now_ns();
	c->next = s->first;
	if (s->first)
		s->first->prev = c;
	s->first = c;
	event_assign(&c->readable, base, fd, EV_READ | EV_PERSIST, on_readable, c);
	event_add(&c->readable, NULL);
	if (++s->n_conns > s->c.limits.max_connections)
		conn_refuse(c, 503, "too many connections");
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
	struct http_server *s = arg;

	(void)what;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			conn_new(s, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warn("cannot accept: %s; waiting", strerror(errno));
			event_del(&s->acceptable);
			evloop_timer(s->loop, &s->resume_accept,
				     monotonic_now_ns() + ACCEPT_PAUSE_NS);
			return;
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

static void on_resume_accept(struct timer *t, int64_t now_ns)
{
	struct http_server *s =
		(struct http_server *)((char *)t - offsetof(struct http_server, resume_accept));

	(void)now_ns;
	event_add(&s->acceptable, NULL);
}

/* Connections that have been silent for too long. */
static void on_sweep(struct timer *t, int64_t now_ns)
{
	struct http_server *s =
		(struct http_server *)((char *)t - offsetof(struct http_server, sweep));

	for (struct conn *c = s->first; c; c = c->next) {
		int64_t silent_ns = now_ns - c->active_ns;

		if ((c->state == CONN_LINGER && silent_ns > LINGER_NS) ||
		    (c->state == CONN_READING && s->c.limits.idle_ns > 0 &&
		     silent_ns > s->c.limits.idle_ns))
			conn_kill(c);
	}
	evloop_timer(s->loop, t, now_ns + SWEEP_NS);
}

/* ---- the server ---- */

enum rc http_server_new(struct http_server **out, struct evloop *loop, const struct http_config *c,
			struct err *e)
{
	struct http_server *s = xcalloc(1, sizeof(*s));

	*out = NULL;
	s->loop = loop;
	s->c = *c;
	if (!s->c.habit)
		s->c.habit = &http_habit_own;
	s->fd = c->uds ? http_listen_unix(c->uds, e)
		       : http_listen_tcp(c->host, c->port, &s->port, e);
	if (s->fd < 0) {
		free(s);
		return e ? e->rc : RC_IO;
	}
	s->uds = c->uds ? xstrdup(c->uds) : NULL;
	s->read_buffer = xmalloc(READ_BYTES);
	buf_init(&s->out, SIZE_MAX);
	s->turn_end.fn = on_turn_end;
	s->sweep.fn = on_sweep;
	s->resume_accept.fn = on_resume_accept;
	event_assign(&s->acceptable, evloop_base(loop), s->fd, EV_READ | EV_PERSIST, on_acceptable,
		     s);
	event_add(&s->acceptable, NULL);
	s->listening = true;
	evloop_timer(loop, &s->sweep, monotonic_now_ns() + SWEEP_NS);
	*out = s;
	return RC_OK;
}

static void stop_listening(struct http_server *s)
{
	if (!s->listening)
		return;
	s->listening = false;
	event_del(&s->acceptable);
	evloop_timer_cancel(s->loop, &s->resume_accept);
	close(s->fd);
	if (s->uds)
		unlink(s->uds);
}

void http_server_stop_accepting(struct http_server *s)
{
	stop_listening(s);
	s->draining = true;
	for (struct conn *c = s->first; c; c = c->next)
		if (c->state == CONN_READING &&
		    !(c->x.request && http_request_started(c->x.request)) && !c->early) {
			c->state = CONN_CLOSING;
			if (!c->unsent)
				conn_finish(c);
		}
	evloop_defer(s->loop, &s->turn_end);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	stop_listening(s);
	for (struct conn *c = s->first, *next; c; c = next) {
		next = c->next;
		conn_kill(c);
		conn_lose(c);
		conn_free(c);
	}
	evloop_undefer(s->loop, &s->turn_end);
	evloop_timer_cancel(s->loop, &s->sweep);
	buf_release(&s->out);
	free(s->read_buffer);
	free(s->uds);
	free(s);
}

int http_server_port(const struct http_server *s)
{
	return s->port;
}

int http_server_open_exchanges(const struct http_server *s)
{
	return s->n_open;
}

int http_server_connections(const struct http_server *s)
{
	return s->n_conns;
}

/* ---- the request as the handler sees it ---- */

const char *http_method(const struct http_exchange *x)
{
	return http_request_method(x->request);
}

const char *http_path(const struct http_exchange *x)
{
	return http_request_path(x->request);
}

const char *http_query(const struct http_exchange *x)
{
	return http_request_query(x->request);
}

const char *http_header(const struct http_exchange *x, const char *name)
{
	return http_request_header(x->request, name);
}

const char *http_body(const struct http_exchange *x, size_t *len)
{
	return http_request_body(x->request, len);
}

void http_drop_request(struct http_exchange *x)
{
	http_request_free(x->request);
	x->request = NULL;
}

int64_t http_received_ns(const struct http_exchange *x)
{
	return x->received_ns;
}

void http_set_owner(struct http_exchange *x, void *owner, void (*on_gone)(void *owner))
{
	x->owner = owner;
	x->on_gone = on_gone;
}
