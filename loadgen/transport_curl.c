/*
 * Owns requests that need libcurl: https, HTTP/2, proxies. One multi handle on our event loop; loop
 * thread. The only file that knows curl. It keeps the contract of transport.h, but not the
 * precision of transport_http1: stamps are taken when the loop saw the socket ready, and tokens
 * cost more.
 *
 * curl may not be entered from its own callbacks, and handlers run inside those: so a request that
 * is started there joins at the end of the turn (`later`), and one that is cancelled there only
 * makes its callbacks refuse, until the sweep takes it out.
 */
#include "transport.h"

#include <curl/curl.h>
#include <event2/event_struct.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "base/check.h"
#include "base/die.h"

#define MAX_HEAD_BYTES	   (64u << 10)
#define MAX_KEPT	   65536L /* far above any concurrency: curl's own default shrinks */
#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

/* A socket that curl wants watched. */
struct watched {
	struct transport *t;
	struct event ev;
};

/* What the header lines have said so far. */
struct head {
	size_t bytes;
	int status;
	char content_type[96], retry_after[64], content_encoding[32], content_length[32];
	bool chunked, told;
};

struct xfer {
	struct transport *t;
	const struct xfer_handler *handler;
	void *owner;
	CURL *easy;
	struct curl_slist *headers;
	char *body, *url;
	size_t body_len, body_sent;
	struct head head;
	int connections; /* that it has been sent on */
	bool opened;	 /* a socket, since it was last sent */
	bool written, joined, over;
	bool failed; /* by our own rules: `how` and `why` instead of curl's verdict */
	enum xfer_end how;
	char why[CURL_ERROR_SIZE], curl_why[CURL_ERROR_SIZE];
	int64_t last_ns;
	struct deferred later;
	struct timer linger;
	LIST_ENTRY(xfer) in_all;
	struct xfer *next_dead;
};

struct transport {
	struct evloop *loop;
	CURLM *multi;
	struct timer timer;
	char *origin, *unix_path;
	int64_t connect_ns;
	int64_t ready_ns; /* when the socket being served was seen ready */
	bool inside;	  /* curl is on the stack */
	LIST_HEAD(, xfer) xfers;
	struct xfer *dead;
	struct deferred sweep;
	struct transport_stats stats;
};

/* ---- ends ---- */

static void xfer_free(struct xfer *x)
{
	if (x->joined)
		curl_multi_remove_handle(x->t->multi, x->easy);
	curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	free(x->body);
	free(x->url);
	free(x);
}

static void sweep(struct transport *t)
{
	t->inside = true; /* removing may call our callbacks */
	while (t->dead) {
		struct xfer *x = t->dead;

		t->dead = x->next_dead;
		xfer_free(x);
	}
	t->inside = false;
}

static void on_sweep(struct deferred *d)
{
	sweep(CONTAINER(d, struct transport, sweep));
}

static void xfer_cancel(struct xfer *x)
{
	struct transport *t = x->t;

	if (x->over)
		return;
	x->over = true;
	evloop_undefer(t->loop, &x->later);
	evloop_timer_cancel(t->loop, &x->linger);
	LIST_REMOVE(x, in_all);
	x->next_dead = t->dead;
	t->dead = x;
	evloop_defer(t->loop, &t->sweep);
}

static enum xfer_end verdict(const struct xfer *x, CURLcode code)
{
	bool headed = x->head.told;

	switch (code) {
	case CURLE_OK:
		return headed ? XFER_COMPLETE : XFER_CLOSED;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT: /* only connecting has a limit here */
	case CURLE_PROXY:
		return XFER_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_ENGINE_NOTFOUND:
	case CURLE_SSL_ENGINE_SETFAILED:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_USE_SSL_FAILED:
	case CURLE_SSL_SHUTDOWN_FAILED:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return XFER_TLS;
	case CURLE_RECV_ERROR: /* also for chunks that are none, which only its words tell */
		if (strstr(x->curl_why, "chunk"))
			return XFER_PROTOCOL;
		return headed ? XFER_TRUNCATED : XFER_CLOSED;
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2_STREAM:
		return headed ? XFER_TRUNCATED : XFER_CLOSED;
	default:
		return XFER_PROTOCOL;
	}
}

static void xfer_end(struct xfer *x, CURLcode code)
{
	enum xfer_end how = x->failed ? x->how : verdict(x, code);
	const char *why = "";

	if (x->failed)
		why = x->why;
	else if (code != CURLE_OK)
		why = x->curl_why[0] ? x->curl_why : curl_easy_strerror(code);
	else if (how == XFER_CLOSED)
		why = "the server closed the connection before a whole response head";
	xfer_cancel(x);
	x->handler->end(x->owner, how, why, x->last_ns);
}

/* ---- curl's calls while a request is under way ---- */

static int on_new_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	(void)fd;
	(void)purpose;
	((struct xfer *)arg)->opened = true;
	return CURL_SOCKOPT_OK;
}

/* The connection stands, new or kept; the request goes out next. */
static int on_ready_to_send(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct xfer *x = arg;
	struct transport_stats *stats = &x->t->stats;

	(void)local_ip;
	(void)local_port;
	if (x->over)
		return CURL_PREREQFUNC_ABORT;
	if (++x->connections > 1)
		stats->reuse_races++;
	x->body_sent = 0;
	x->written = false;
	stats->connects += x->opened;
	stats->reuses += !x->opened;
	snprintf(stats->peer, sizeof(stats->peer), strchr(ip, ':') ? "[%.46s]:%d" : "%.46s:%d", ip,
		 port);
	x->last_ns = monotonic_now_ns();
	if (x->opened)
		x->handler->connected(x->owner, x->last_ns);
	x->opened = false;
	return x->over ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* curl has no other word for "the last byte is out". */
static int on_debug(CURL *easy, curl_infotype type, char *data, size_t n, void *arg)
{
	struct xfer *x = arg;

	(void)easy;
	(void)data;
	if (type == CURLINFO_DATA_OUT)
		x->body_sent += n;
	else if (type != CURLINFO_HEADER_OUT)
		return 0;
	if (!x->written && !x->over && x->body_sent >= x->body_len) {
		x->written = true;
		x->last_ns = monotonic_now_ns();
		x->handler->written(x->owner, x->last_ns);
	}
	return 0;
}

/* Returned by a callback, 0 makes curl give up; x->why stands for its own words. */
static size_t refuse(struct xfer *x, const char *why)
{
	x->failed = true;
	x->how = XFER_PROTOCOL;
	snprintf(x->why, sizeof(x->why), "%s", why);
	return 0;
}

/* Copies the value if the line is `name: value`. */
static bool take_header(const char *line, size_t n, const char *name, char *out, size_t cap)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return false;
	line += len + 1;
	n -= len + 1;
	while (n > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n > 0 && strchr(" \t\r\n", line[n - 1]))
		n--;
	snprintf(out, cap, "%.*s", (int)n, line);
	return true;
}

static const char *read_header(struct head *h, const char *line, size_t n)
{
	char value[96];

	if (take_header(line, n, "Content-Type", h->content_type, sizeof(h->content_type)) ||
	    take_header(line, n, "Retry-After", h->retry_after, sizeof(h->retry_after)) ||
	    take_header(line, n, "Content-Encoding", h->content_encoding,
			sizeof(h->content_encoding)))
		return NULL;
	if (take_header(line, n, "Transfer-Encoding", value, sizeof(value)))
		h->chunked = true;
	if (take_header(line, n, "Content-Length", value, sizeof(value))) {
		/* curl reads up to the close where this is no number that it can hold */
		if (!*value || value[strspn(value, "0123456789")] || strlen(value) > 18)
			return "a length of the body that is none";
		if (h->content_length[0] && strcmp(h->content_length, value) != 0)
			return "two different lengths of the body";
		snprintf(h->content_length, sizeof(h->content_length), "%.31s", value);
	}
	/* curl would follow the chunks; a server that sends both is broken either way. */
	return h->chunked && h->content_length[0] ? "a length and chunks as well" : NULL;
}

static size_t head_is_whole(struct xfer *x, size_t n)
{
	struct head *h = &x->head;
	struct xfer_head head = {h->status, h->content_type, h->retry_after};
	char why[96];

	if (h->status == 101)
		return refuse(x, "the server wants to switch protocols (HTTP 101)");
	if (h->status / 100 == 1)
		return n;
	if (h->content_encoding[0] && strcasecmp(h->content_encoding, "identity") != 0) {
		snprintf(why, sizeof(why),
			 "the answer is compressed although identity was asked: %s",
			 h->content_encoding);
		return refuse(x, why);
	}
	h->told = true;
	x->handler->head(x->owner, &head, x->last_ns);
	return x->over ? 0 : n;
}

static void stamp(struct xfer *x)
{
	if (x->t->ready_ns > x->last_ns)
		x->last_ns = x->t->ready_ns;
}

static size_t on_header_line(char *line, size_t size, size_t n, void *arg)
{
	struct xfer *x = arg;
	struct head *h = &x->head;
	const char *wrong, *status;

	(void)size;
	if (x->over)
		return 0;
	if (h->told)
		return n; /* a trailer */
	stamp(x);
	h->bytes += n;
	if (h->bytes > MAX_HEAD_BYTES)
		return refuse(x, "a response head longer than 65536 bytes");
	if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		size_t bytes = h->bytes;

		status = memchr(line, ' ', n);
		*h = (struct head){.bytes = bytes, .status = status ? atoi(status) : 0};
		return n;
	}
	if (line[0] == '\r' || line[0] == '\n')
		return head_is_whole(x, n);
	wrong = read_header(h, line, n);
	return wrong ? refuse(x, wrong) : n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct xfer *x = arg;

	(void)size;
	if (x->over)
		return 0;
	stamp(x);
	x->t->stats.reads++;
	x->t->stats.bytes += (int64_t)n;
	x->handler->body(x->owner, bytes, n, x->last_ns);
	return x->over ? 0 : n;
}

/* ---- curl on the loop ---- */

static void reap(struct transport *t)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(t->multi, &left))) {
		struct xfer *x = NULL;
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&x);
		if (x->over)
			continue;
		stamp(x);
		xfer_end(x, code);
	}
}

static void act(struct transport *t, curl_socket_t fd, int mask)
{
	int running;

	t->ready_ns = monotonic_now_ns();
	t->inside = true;
	curl_multi_socket_action(t->multi, fd, mask, &running);
	t->inside = false;
	reap(t);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	act(((struct watched *)arg)->t, fd,
	    (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct timer *timer, int64_t now_ns)
{
	(void)now_ns;
	act(CONTAINER(timer, struct transport, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct transport *t = arg;
	struct watched *w = known;
	short events = EV_PERSIST;

	(void)easy;
	if (w)
		event_del(&w->ev);
	if (what == CURL_POLL_REMOVE) {
		free(w);
		return 0;
	}
	if (!w) {
		w = xcalloc(1, sizeof(*w));
		w->t = t;
		curl_multi_assign(t->multi, fd, w);
	}
	if (what != CURL_POLL_OUT)
		events |= EV_READ;
	if (what != CURL_POLL_IN)
		events |= EV_WRITE;
	event_assign(&w->ev, evloop_base(t->loop), fd, events, on_socket, w);
	event_add(&w->ev, NULL);
	return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct transport *t = arg;

	(void)multi;
	if (timeout_ms < 0)
		evloop_timer_cancel(t->loop, &t->timer);
	else
		evloop_timer(t->loop, &t->timer, monotonic_now_ns() + timeout_ms * NS_PER_MS);
	return 0;
}

/* ---- the row ---- */

static void join(struct xfer *x)
{
	x->joined = true;
	CHECK(curl_multi_add_handle(x->t->multi, x->easy) == CURLM_OK);
}

static void on_later(struct deferred *d)
{
	join(CONTAINER(d, struct xfer, later));
}

static void on_linger(struct timer *timer, int64_t now_ns)
{
	(void)now_ns;
	xfer_cancel(CONTAINER(timer, struct xfer, linger));
}

static void add_header(struct xfer *x, const char *line)
{
	x->headers = curl_slist_append(x->headers, line);
	if (!x->headers)
		die("out of memory");
}

static void set_headers(struct xfer *x, const struct xfer_spec *spec)
{
	for (const char *line = spec->headers; *line;) {
		size_t n = strcspn(line, "\r\n");
		char *one = xstrndup(line, n);

		add_header(x, one);
		free(one);
		line += n;
		line += strspn(line, "\r\n");
	}
	add_header(x, "Accept-Encoding: identity");
	add_header(x, "Expect:"); /* else curl waits up to 1 s for a 100 */
	if (!spec->keep_alive)
		add_header(x, "Connection: close");
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
}

static void set_request(struct xfer *x, const struct xfer_spec *spec)
{
	x->url = xasprintf("%s%s", x->t->origin, spec->path);
	x->body = xmalloc(spec->body_len + 1);
	if (spec->body_len > 0)
		memcpy(x->body, spec->body, spec->body_len);
	x->body_len = spec->body_len;
	curl_easy_setopt(x->easy, CURLOPT_URL, x->url);
	curl_easy_setopt(x->easy, CURLOPT_PATH_AS_IS, 1L);
	if (strcmp(spec->method, "POST") == 0) {
		curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->body);
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_len);
	} else if (strcmp(spec->method, "HEAD") == 0) {
		curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
	}
	curl_easy_setopt(x->easy, CURLOPT_FORBID_REUSE, spec->keep_alive ? 0L : 1L);
	set_headers(x, spec);
}

static void set_connection(struct xfer *x)
{
	const char *ca = getenv("CURL_CA_BUNDLE");
	CURL *easy = x->easy;

	if (!ca)
		ca = getenv("SSL_CERT_FILE"); /* libcurl itself looks at neither */
	if (ca)
		curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
	if (x->t->unix_path)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, x->t->unix_path);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(x->t->connect_ns / NS_PER_MS));
	/* It drops what has been idle for more whole seconds than this, so at 3 from the fourth on.
	 */
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)(XFER_IDLE_NS / NS_PER_S - 1));
	curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
}

static void set_callbacks(struct xfer *x)
{
	CURL *easy = x->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, x);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->curl_why);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, x);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_ready_to_send);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, x);
	curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_debug);
	curl_easy_setopt(easy, CURLOPT_DEBUGDATA, x);
	curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L); /* the debug function's switch */
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header_line);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
}

static struct xfer *curl_start(struct transport *t, const struct xfer_spec *spec,
			       const struct xfer_handler *h, void *owner)
{
	struct xfer *x = xcalloc(1, sizeof(*x));

	x->t = t;
	x->handler = h;
	x->owner = owner;
	x->later.fn = on_later;
	x->linger.fn = on_linger;
	x->last_ns = monotonic_now_ns();
	x->easy = curl_easy_init();
	if (!x->easy)
		die("out of memory");
	set_request(x, spec);
	set_connection(x);
	set_callbacks(x);
	LIST_INSERT_HEAD(&t->xfers, x, in_all);
	if (t->inside)
		evloop_defer(t->loop, &x->later);
	else
		join(x);
	return x;
}

static void curl_leave(struct xfer *x)
{
	if (x->over)
		return;
	x->handler = &xfer_silent;
	evloop_timer(x->t->loop, &x->linger, monotonic_now_ns() + XFER_LINGER_NS);
}

static enum rc curl_open(struct transport **out, struct evloop *loop, const struct target *target,
			 int64_t connect_ns, struct err *e)
{
	bool is_name = !strchr(target->host, ':');
	struct transport *t;

	*out = NULL;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(e, RC_IO, "libcurl does not start");
	t = xcalloc(1, sizeof(*t));
	t->loop = loop;
	t->connect_ns = connect_ns;
	t->timer.fn = on_timer;
	t->sweep.fn = on_sweep;
	LIST_INIT(&t->xfers);
	if (target->scheme == URL_UNIX) {
		t->unix_path = xstrdup(target->host);
		t->origin = xstrdup("http://localhost");
	} else {
		t->origin = xasprintf(is_name ? "%s://%s:%d" : "%s://[%s]:%d",
				      target->scheme == URL_HTTPS ? "https" : "http", target->host,
				      target->port);
	}
	t->multi = curl_multi_init();
	if (!t->multi)
		die("out of memory");
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, MAX_KEPT);
	*out = t;
	return RC_OK;
}

static void curl_stats(const struct transport *t, struct transport_stats *out)
{
	*out = t->stats;
}

static void curl_close(struct transport *t)
{
	struct xfer *x;

	while ((x = LIST_FIRST(&t->xfers)))
		xfer_cancel(x);
	evloop_undefer(t->loop, &t->sweep);
	sweep(t);
	curl_multi_cleanup(t->multi);
	evloop_timer_cancel(t->loop, &t->timer);
	free(t->origin);
	free(t->unix_path);
	free(t);
	curl_global_cleanup();
}

const struct transport_type transport_curl = {
	.name = "curl",
	.stamps = STAMP_USER,
	.open = curl_open,
	.start = curl_start,
	.cancel = xfer_cancel,
	.leave = curl_leave,
	.stats = curl_stats,
	.close = curl_close,
};
