/*
 * HTTP/1.1 for engines: accepts (TCP or a unix socket), parses requests (http-parser), calls a
 * handler, and sends answers. The sole owner of sockets in this folder. Tokens leave by a direct
 * send() of a prepared buffer; what the kernel does not take at once waits in a capped queue behind
 * EV_WRITE. TCP_NODELAY. Keep-alive and pipelining (one at a time, in order). One thread.
 */
#ifndef SERVE_HTTP_SERVER_H
#define SERVE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/evloop.h"
#include "http_wire.h"

struct http_server;

/* One request and its answer; dies by itself once the answer has ended or the peer has left. */
struct http_exchange;

struct http_limits {
	size_t max_head_bytes;	 /* 64 KiB -> 431 */
	size_t max_body_bytes;	 /* 32 MiB -> 413 */
	size_t max_unsent_bytes; /* 1 MiB a connection: a reader that slow is cut off */
	int max_connections;	 /* -> 503 and close */
	int64_t idle_ns; /* a connection without a request for so long is closed; 0 = never */
};
struct http_limits http_limits_default(void);

struct http_config {
	const char *host; /* "127.0.0.1" */
	int port;	  /* 0 = a free one */
	const char *uds;  /* path of a unix socket instead, or NULL */
	struct http_limits limits;
	const char *server_name;	/* `server:` header, unless the habit has its own */
	const struct http_habit *habit; /* how heads look; NULL: http_habit_own */
	void (*handle)(struct http_exchange *x, void *arg); /* a whole request is there */
	/* After stop_accepting, when the last connection has closed; or NULL. */
	void (*drained)(void *arg);
	void *arg;
};

enum rc http_server_new(struct http_server **out, struct evloop *loop, const struct http_config *c,
			struct err *e);

/* Closes everything at once; on_gone is called for open exchanges. */
void http_server_free(struct http_server *s);

/* The drain: listeners and idle connections close, the rest end. */
void http_server_stop_accepting(struct http_server *s);

int http_server_port(const struct http_server *s);
int http_server_open_exchanges(const struct http_server *s);
int http_server_connections(const struct http_server *s);

/* The request. All of it lives as long as the exchange, or until http_drop_request(), which gives
 * its memory back before an answer that may take long. Names of headers are compared without
 * case; NULL if there is none. The path is without the query, "" if there is none; the body has a
 * NUL behind len. */
const char *http_method(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x);
const char *http_query(const struct http_exchange *x);
const char *http_header(const struct http_exchange *x, const char *name);
const char *http_body(const struct http_exchange *x, size_t *len);
int64_t http_received_ns(const struct http_exchange *x); /* when its last byte was read */
void http_drop_request(struct http_exchange *x);

/* The handler's mark on the exchange. on_gone: the peer left before the answer ended (or the server
 * is being freed); after it x must not be touched. */
void http_set_owner(struct http_exchange *x, void *owner, void (*on_gone)(void *owner));

/* A whole answer. extra_headers: "name: value\r\n" lines or NULL. Ends the exchange: do not touch x
 * after. */
void http_reply(struct http_exchange *x, int status, const char *content_type,
		const char *extra_headers, const void *body, size_t len);

/* A chunked answer: begin (the head leaves at once), any number of writes (each one HTTP chunk and,
 * when the socket takes it, one system call), end (last chunk; ends the exchange). A write returns
 * false if the connection is broken: on_gone follows at the end of the turn. hold is a write that
 * leaves together with what follows in one system call: a write or the end of the same exchange
 * must come next. A client of HTTP/1.0 gets the data bare, then the close. */
void http_stream_begin(struct http_exchange *x, int status, const char *content_type,
		       const char *extra_headers);
void http_stream_hold(struct http_exchange *x, const void *data, size_t len);
bool http_stream_write(struct http_exchange *x, const void *data, size_t len);
void http_prefetch(const struct http_exchange *x); /* a write is to come soon: base/prefetch.h */
void http_stream_end(struct http_exchange *x, const void *last_data, size_t len);

/* Breaks an answer off: the bytes leave as they are, without a chunk around them, then the
 * connection closes, with a reset if asked. on_gone follows at the end of the turn. */
void http_abort(struct http_exchange *x, const void *data, size_t len, bool reset);

const char *http_status_text(int status);

#endif
