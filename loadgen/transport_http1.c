/*
 * Owns plain HTTP/1.1 connections to one target: connecting, writing requests, reading answers,
 * keeping connections for the next request. Loop thread; the read path allocates nothing. Must not
 * know what the bytes mean beyond HTTP framing, which http_in reads.
 *
 * A request (xfer) rides on one connection at a time; a connection outlives it when it is kept.
 * Both are freed only in the sweep at the end of the loop's turn, so every callback may cancel or
 * start whatever it likes. What start() itself learns (a new connection that failed, a request that
 * was written at once) is told later, by tell(), because start() must not call back.
 */
#include "transport.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "http_in.h"
#include "recv_stamp.h"

#define READ_BYTES     (64u << 10)
#define MAX_HEAD_BYTES (2u << 20)
/* The kernel finds a free port in 20 us until half of them are taken, then in milliseconds. */
#define CONNS_A_SOURCE	   14000
#define UNIX_RETRY_NS	   NS_PER_MS /* a full backlog of a unix socket cannot be waited for */
#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

enum conn_state {
	CONN_CONNECTING, /* connect() is on its way -> BUSY, or DEAD */
	CONN_BUSY,	 /* carries a request -> IDLE, DEAD */
	CONN_IDLE,	 /* kept, in the free list -> BUSY, DEAD */
	CONN_DEAD,	 /* closed; freed in the sweep */
};

/* What every read looks at stands first in each struct here: with a thousand streams a cache line
 * is a miss. */
struct conn {
	struct transport *t;
	struct xfer *x; /* NULL in IDLE and DEAD */
	struct http_in *in;
	enum conn_state state;
	int fd;
	bool kept;     /* it has carried an answer before this one */
	bool answered; /* bytes of this answer have come */
	struct event readable, writable;
	struct timer timer; /* CONNECTING: its limit, or another try; BUSY: the linger of leave() */
	int64_t connect_by_ns, idle_since_ns;
	int tried; /* addresses that have refused */
	LIST_ENTRY(conn) in_all, in_idle;
	struct conn *next_dead;
};

struct xfer {
	const struct xfer_handler *handler;
	void *owner;
	int64_t last_ns;		  /* no stamp goes behind this one */
	int64_t connected_ns, written_ns; /* to be told; -1 = nothing to tell */
	/* Head and body. Kept whole for sending again after a race; not needed once it is answered,
	 * and then gone: NULL. */
	char *request;
	size_t len, sent; /* of it */
	bool over, keep_alive, no_body, resent;
	enum xfer_end how;
	char *why; /* its end is to be told, and this with it; NULL: it is not */
	struct transport *t;
	struct conn *c; /* NULL while there is none yet, or any more */
	struct deferred tell;
	LIST_ENTRY(xfer) in_all;
	struct xfer *next_dead;
};

struct transport {
	struct evloop *loop;
	struct address *address;
	int n_addresses, first; /* first: the one that worked last */
	int64_t connect_ns;
	char host[300]; /* of the Host header */
	struct recv_stamp stamp;
	int first_source, n_conns;     /* see leave_from() */
	LIST_HEAD(, conn) conns, idle; /* idle: the latest first */
	LIST_HEAD(, xfer) xfers;
	struct conn *dead_conns;
	struct xfer *dead_xfers;
	struct deferred sweep;
	struct transport_stats stats;
	struct buf head; /* of the request being written */
	char buf[READ_BYTES];
};

static void connect_next(struct conn *c);
static void connect_new(struct xfer *x);

/* ---- ends ---- */

static void sweep(struct transport *t)
{
	while (t->dead_conns) {
		struct conn *c = t->dead_conns;

		t->dead_conns = c->next_dead;
		http_in_free(c->in);
		free(c);
	}
	while (t->dead_xfers) {
		struct xfer *x = t->dead_xfers;

		t->dead_xfers = x->next_dead;
		free(x->request);
		free(x->why);
		free(x);
	}
}

static void on_sweep(struct deferred *d)
{
	sweep(CONTAINER(d, struct transport, sweep));
}

static void close_socket(struct conn *c)
{
	if (c->fd < 0)
		return;
	event_del(&c->readable);
	event_del(&c->writable);
	close(c->fd);
	c->fd = -1;
}

static void conn_close(struct conn *c)
{
	struct transport *t = c->t;

	if (c->state == CONN_IDLE)
		LIST_REMOVE(c, in_idle);
	if (c->x)
		c->x->c = NULL;
	c->x = NULL;
	c->state = CONN_DEAD;
	close_socket(c);
	evloop_timer_cancel(t->loop, &c->timer);
	LIST_REMOVE(c, in_all);
	t->n_conns--;
	c->next_dead = t->dead_conns;
	t->dead_conns = c;
	evloop_defer(t->loop, &t->sweep);
}

/* From here on nothing is called back. */
static void xfer_over(struct xfer *x)
{
	struct transport *t = x->t;

	x->over = true;
	evloop_undefer(t->loop, &x->tell);
	LIST_REMOVE(x, in_all);
	x->next_dead = t->dead_xfers;
	t->dead_xfers = x;
	evloop_defer(t->loop, &t->sweep);
}

static void xfer_end(struct xfer *x, enum xfer_end how, const char *why, int64_t t_ns)
{
	if (x->c)
		conn_close(x->c);
	xfer_over(x);
	x->handler->end(x->owner, how, why, t_ns);
}

static void xfer_cancel(struct xfer *x)
{
	if (x->over)
		return;
	if (x->c)
		conn_close(x->c);
	xfer_over(x);
}

/* ---- what is told later ---- */

static void tell(struct xfer *x)
{
	int64_t t_ns = x->connected_ns;

	x->connected_ns = -1;
	if (t_ns >= 0)
		x->handler->connected(x->owner, t_ns);
	t_ns = x->over ? -1 : x->written_ns;
	x->written_ns = -1;
	if (t_ns >= 0)
		x->handler->written(x->owner, t_ns);
	if (!x->over && x->why)
		xfer_end(x, x->how, x->why, x->last_ns);
}

static void on_tell(struct deferred *d)
{
	tell(CONTAINER(d, struct xfer, tell));
}

static void fail_later(struct xfer *x, enum xfer_end how, int64_t now_ns, const char *why)
{
	if (x->c)
		conn_close(x->c);
	x->how = how;
	x->why = xstrdup(why);
	x->last_ns = now_ns;
	evloop_defer(x->t->loop, &x->tell);
}

/* ---- writing ---- */

/* The connection has gone, by an error or an end of input. A kept one that brought nothing was
 * closed by the server while it was idle: then, once, the request is sent on a new one. */
static void conn_lost(struct conn *c, int error, int64_t t_ns)
{
	struct xfer *x = c->x;
	enum http_in_result r = HTTP_IN_CLOSED;
	char why[128];
	struct err e;

	if (c->kept && !c->answered && !x->resent) {
		c->t->stats.reuse_races++;
		x->resent = true;
		conn_close(c);
		connect_new(x);
		return;
	}
	r = http_in_eof(c->in, &e);
	if (!error && r == HTTP_IN_COMPLETE) {
		xfer_end(x, XFER_COMPLETE, "", t_ns);
		return;
	}
	snprintf(why, sizeof(why), "%.80s %s",
		 error ? strerror(error) : "the server closed the connection",
		 r == HTTP_IN_CLOSED ? "before a whole response head" : "inside the body");
	xfer_end(x, r == HTTP_IN_CLOSED ? XFER_CLOSED : XFER_TRUNCATED, why, t_ns);
}

/* Stamped before send(): on the way through it the bytes may reach the server and its answer us. */
static void write_request(struct conn *c)
{
	struct xfer *x = c->x;
	int64_t now_ns = -1;

	while (x->sent < x->len) {
		ssize_t n;

		now_ns = monotonic_now_ns();
		n = send(c->fd, x->request + x->sent, x->len - x->sent, MSG_NOSIGNAL);
		if (n >= 0) {
			x->sent += (size_t)n;
		} else if (errno == EAGAIN) {
			event_add(&c->writable, NULL);
			return;
		} else if (errno != EINTR) {
			/* What the server said before it hung up is still to be read; the
			 * reading finds the end too. A kept connection is given up here. */
			if (c->kept && !c->answered)
				conn_lost(c, errno, now_ns);
			return;
		}
	}
	x->written_ns = x->last_ns = now_ns;
	evloop_defer(c->t->loop, &x->tell);
}

/* ---- reading ---- */

static bool on_head(void *owner, const struct xfer_head *h)
{
	struct xfer *x = ((struct conn *)owner)->x;

	x->handler->head(x->owner, h, x->last_ns);
	return !x->over;
}

static bool on_body(void *owner, const char *bytes, size_t n)
{
	struct xfer *x = ((struct conn *)owner)->x;

	x->handler->body(x->owner, bytes, n, x->last_ns);
	return !x->over;
}

static const struct http_in_handler http_handler = {on_head, on_body};

static void keep(struct conn *c, int64_t now_ns)
{
	c->x->c = NULL;
	c->x = NULL;
	c->state = CONN_IDLE;
	c->kept = true;
	c->idle_since_ns = now_ns;
	evloop_timer_cancel(c->t->loop, &c->timer);
	LIST_INSERT_HEAD(&c->t->idle, c, in_idle);
}

static void take_bytes(struct conn *c, size_t n, int64_t t_ns)
{
	struct transport *t = c->t;
	struct xfer *x = c->x;
	struct err e;
	size_t used;

	t->stats.reads++;
	t->stats.bytes += (int64_t)n;
	c->answered = true;
	if (t_ns > x->last_ns)
		x->last_ns = t_ns;
	if (x->request && x->sent == x->len) {
		free(x->request);
		x->request = NULL;
	}
	switch (http_in_feed(c->in, t->buf, n, &used, &e)) {
	case HTTP_IN_COMPLETE:
		/* Bytes behind the answer, or an answer to half a request: nothing to build on. */
		if (http_in_keep_alive(c->in) && x->keep_alive && used == n && x->sent == x->len)
			keep(c, t_ns);
		xfer_end(x, XFER_COMPLETE, "", x->last_ns);
		break;
	case HTTP_IN_BAD:
		xfer_end(x, XFER_PROTOCOL, e.msg, x->last_ns);
		break;
	default: /* more to come; or stopped: the handler has cancelled and all is closed */
		break;
	}
}

/* When many answers come at once, what is to be sent meanwhile does not wait for all of them. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	struct transport *t = c->t;
	int64_t t_ns;
	ssize_t n;

	(void)what;
	if (c->state == CONN_IDLE) { /* closed by the server, or it speaks unasked */
		conn_close(c);
		return;
	}
	tell(c->x);
	if (c->state != CONN_BUSY)
		return;
	n = recv_stamp_read(&t->stamp, fd, t->buf, sizeof(t->buf), &t_ns);
	if (n > 0)
		take_bytes(c, (size_t)n, t_ns);
	else if (n == 0)
		conn_lost(c, 0, t_ns);
	else if (errno != EAGAIN && errno != EINTR)
		conn_lost(c, errno, t_ns);
	evloop_catch_up(t->loop, t->stamp.now_ns);
}

/* ---- connecting ---- */

static void established(struct conn *c, int64_t now_ns)
{
	struct transport *t = c->t;

	t->first = (t->first + c->tried) % t->n_addresses;
	memcpy(t->stats.peer, t->address[t->first].text, sizeof(t->stats.peer));
	t->stats.connects++;
	c->state = CONN_BUSY;
	evloop_timer_cancel(t->loop, &c->timer);
	event_add(&c->readable, NULL);
	c->x->connected_ns = now_ns;
	evloop_defer(t->loop, &c->x->tell);
	write_request(c);
}

static void connect_failed(struct conn *c, const char *what, int error)
{
	const struct address *a = &c->t->address[(c->t->first + c->tried) % c->t->n_addresses];
	struct rlimit files = {0};
	char why[256];

	if (error == EMFILE || error == ENFILE) {
		getrlimit(RLIMIT_NOFILE, &files);
		snprintf(why, sizeof(why),
			 "%s: %s: %llu are allowed; raise the limit (ulimit -n), share the load "
			 "out (workers: N) or lower the concurrency",
			 what, strerror(error), (unsigned long long)files.rlim_cur);
	} else if (error == EADDRNOTAVAIL) {
		snprintf(
			why, sizeof(why),
			"%s to %s: no local port is left; widen net.ipv4.ip_local_port_range, or "
			"let connections be kept (a server that closes each one leaves its port in "
			"TIME_WAIT for a minute)",
			what, a->text);
	} else {
		snprintf(why, sizeof(why), "%s to %s: %s", what, a->text, strerror(error));
	}
	fail_later(c->x, XFER_CONNECT, monotonic_now_ns(), why);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)what;
	if (c->state == CONN_BUSY) {
		write_request(c);
		return;
	}
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (!error) {
		established(c, monotonic_now_ns());
	} else if (c->tried + 1 < c->t->n_addresses) {
		close_socket(c);
		c->tried++;
		connect_next(c);
	} else {
		connect_failed(c, "connect", error);
	}
}

/* On loopback many connections come from more than one address: all of 127.0.0.0/8 is this host.
 * That it cannot be done is no reason not to connect. */
static void leave_from(const struct transport *t, int fd, const struct address *a)
{
	int source = t->first_source + (t->n_conns - 1) / CONNS_A_SOURCE;
	struct sockaddr_in from = {.sin_family = AF_INET}, to;
	static const int on = 1;

	if (!source || a->sa.ss_family != AF_INET)
		return;
	memcpy(&to, &a->sa, sizeof(to));
	if (ntohl(to.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return;
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)source);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	(void)!bind(fd, (const struct sockaddr *)&from, sizeof(from));
}

static int open_socket(const struct transport *t, const struct address *a)
{
	static const int on = 1;
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && a->sa.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fd >= 0)
		recv_stamp_enable(&t->stamp, fd);
	if (fd >= 0)
		leave_from(t, fd, a);
	return fd;
}

/* Tries the addresses from c->tried on; each gets its chance once. */
static void connect_next(struct conn *c)
{
	struct transport *t = c->t;
	struct event_base *base = evloop_base(t->loop);

	for (;; c->tried++) {
		const struct address *a = &t->address[(t->first + c->tried) % t->n_addresses];
		bool is_last = c->tried + 1 == t->n_addresses;
		int error;

		c->fd = open_socket(t, a);
		if (c->fd < 0) {
			if (!is_last)
				continue;
			connect_failed(c, "socket", errno);
			return;
		}
		event_assign(&c->readable, base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
		event_assign(&c->writable, base, c->fd, EV_WRITE, on_writable, c);
		error = connect(c->fd, (const struct sockaddr *)&a->sa, a->len) ? errno : 0;
		if (error == 0) {
			established(c, monotonic_now_ns());
			return;
		}
		if (error == EINPROGRESS) {
			event_add(&c->writable, NULL);
			return;
		}
		if (error == EAGAIN) {
			close_socket(c);
			evloop_timer(t->loop, &c->timer, monotonic_now_ns() + UNIX_RETRY_NS);
			return;
		}
		close_socket(c);
		if (is_last) {
			connect_failed(c, "connect", error);
			return;
		}
	}
}

static void on_timer(struct timer *timer, int64_t now_ns)
{
	struct conn *c = CONTAINER(timer, struct conn, timer);
	char why[128];

	if (c->state == CONN_BUSY) {
		xfer_cancel(c->x); /* its body did not end within the linger */
	} else if (now_ns < c->connect_by_ns) {
		evloop_timer(c->t->loop, timer, c->connect_by_ns);
		connect_next(c);
	} else {
		snprintf(why, sizeof(why), "no connection within %.3g s (limits.connect)",
			 (double)c->t->connect_ns / 1e9);
		fail_later(c->x, XFER_CONNECT, now_ns, why);
	}
}

static void attach(struct conn *c, struct xfer *x)
{
	c->x = x;
	x->c = c;
	c->answered = false;
	http_in_start(c->in, x->no_body);
}

static void connect_new(struct xfer *x)
{
	struct transport *t = x->t;
	struct conn *c = xcalloc(1, sizeof(*c));

	c->t = t;
	c->fd = -1;
	c->in = http_in_new(&http_handler, c);
	c->timer.fn = on_timer;
	c->connect_by_ns = monotonic_now_ns() + t->connect_ns;
	LIST_INSERT_HEAD(&t->conns, c, in_all);
	t->n_conns++;
	attach(c, x);
	x->sent = 0;
	evloop_timer(t->loop, &c->timer, c->connect_by_ns);
	connect_next(c);
}

/* The latest kept connection, if it is young enough. All behind it are older. */
static struct conn *take_idle(struct transport *t, int64_t now_ns)
{
	struct conn *c = LIST_FIRST(&t->idle);

	if (c && now_ns - c->idle_since_ns < XFER_IDLE_NS) {
		LIST_REMOVE(c, in_idle);
		c->state = CONN_BUSY;
		return c;
	}
	while ((c = LIST_FIRST(&t->idle)))
		conn_close(c);
	return NULL;
}

/* ---- the row ---- */

/* The head goes through a buffer of the transport's: how long it is shows when it is written. */
static void write_head(struct transport *t, const struct xfer_spec *spec)
{
	bool has_body = spec->body_len > 0 || strcmp(spec->method, "POST") == 0;
	struct buf *h = &t->head;
	bool ok;

	buf_clear(h);
	ok = buf_puts(h, spec->method) && buf_putc(h, ' ') &&
	     buf_puts(h, *spec->path ? spec->path : "/") && buf_puts(h, " HTTP/1.1\r\nHost: ") &&
	     buf_puts(h, t->host) && buf_puts(h, "\r\nAccept-Encoding: identity\r\n") &&
	     buf_puts(h, spec->headers);
	if (has_body)
		ok = ok && buf_puts(h, "Content-Length: ") &&
		     buf_putint(h, (int64_t)spec->body_len) && buf_puts(h, "\r\n");
	if (!spec->keep_alive)
		ok = ok && buf_puts(h, "Connection: close\r\n");
	CHECK(ok && buf_puts(h, "\r\n"));
}

static struct xfer *xfer_new(struct transport *t, const struct xfer_spec *spec)
{
	struct xfer *x = xcalloc(1, sizeof(*x));
	size_t head_len;

	write_head(t, spec);
	head_len = buf_size(&t->head);
	x->len = head_len + spec->body_len;
	x->request = xmalloc(x->len);
	memcpy(x->request, buf_head(&t->head), head_len);
	if (spec->body_len > 0)
		memcpy(x->request + head_len, spec->body, spec->body_len);
	x->keep_alive = spec->keep_alive;
	x->no_body = strcmp(spec->method, "HEAD") == 0;
	return x;
}

static struct xfer *http1_start(struct transport *t, const struct xfer_spec *spec,
				const struct xfer_handler *h, void *owner)
{
	struct xfer *x = xfer_new(t, spec);
	int64_t now_ns = monotonic_now_ns();
	struct conn *c = take_idle(t, now_ns);

	x->t = t;
	x->handler = h;
	x->owner = owner;
	x->tell.fn = on_tell;
	x->connected_ns = x->written_ns = -1;
	x->last_ns = now_ns;
	LIST_INSERT_HEAD(&t->xfers, x, in_all);
	if (c) {
		t->stats.reuses++;
		attach(c, x);
		write_request(c);
	} else {
		connect_new(x);
	}
	return x;
}

static void http1_leave(struct xfer *x)
{
	if (x->over)
		return;
	if (!x->c || x->c->state != CONN_BUSY || x->sent < x->len || !x->keep_alive) {
		xfer_cancel(x);
		return;
	}
	x->handler = &xfer_silent;
	evloop_timer(x->t->loop, &x->c->timer, monotonic_now_ns() + XFER_LINGER_NS);
}

static enum rc http1_open(struct transport **out, struct evloop *loop, const struct target *target,
			  int64_t connect_ns, struct err *e)
{
	bool is_unix = target->scheme == URL_UNIX;
	struct transport *t = xcalloc(1, sizeof(*t));

	*out = NULL;
	if (address_resolve(&t->address, &t->n_addresses, target, e) != RC_OK) {
		free(t);
		return e ? e->rc : RC_IO;
	}
	if (is_unix)
		snprintf(t->host, sizeof(t->host), "localhost");
	else
		snprintf(t->host, sizeof(t->host), strchr(target->host, ':') ? "[%s]:%d" : "%s:%d",
			 target->host, target->port);
	t->loop = loop;
	t->connect_ns = connect_ns;
	t->first_source = target->first_source;
	t->sweep.fn = on_sweep;
	LIST_INIT(&t->conns);
	LIST_INIT(&t->idle);
	LIST_INIT(&t->xfers);
	recv_stamp_init(&t->stamp, !is_unix);
	buf_init(&t->head, MAX_HEAD_BYTES);
	*out = t;
	return RC_OK;
}

static void http1_stats(const struct transport *t, struct transport_stats *out)
{
	*out = t->stats;
	out->receive_lag_ns = t->stamp.lag_ns;
}

static void http1_close(struct transport *t)
{
	struct xfer *x;
	struct conn *c;

	while ((x = LIST_FIRST(&t->xfers)))
		xfer_cancel(x);
	while ((c = LIST_FIRST(&t->conns)))
		conn_close(c);
	evloop_undefer(t->loop, &t->sweep);
	sweep(t);
	recv_stamp_release(&t->stamp);
	buf_release(&t->head);
	free(t->address);
	free(t);
}

const struct transport_type transport_http1 = {
	.name = "http1",
	.stamps = STAMP_KERNEL,
	.open = http1_open,
	.start = http1_start,
	.cancel = xfer_cancel,
	.leave = http1_leave,
	.stats = http1_stats,
	.close = http1_close,
};

const struct transport_type transport_unix = {
	.name = "unix",
	.stamps = STAMP_USER,
	.open = http1_open,
	.start = http1_start,
	.cancel = xfer_cancel,
	.leave = http1_leave,
	.stats = http1_stats,
	.close = http1_close,
};
