/*
 * Reads one HTTP/1.x request after the other from bytes: bytes in, request out. No socket, no
 * clock. Knows limits and answers a breach with the status that says so.
 */
#ifndef SERVE_HTTP_REQUEST_H
#define SERVE_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

struct http_request;

enum http_read {
	HTTP_READ_MORE,	    /* all bytes used, the request is not complete */
	HTTP_READ_CONTINUE, /* as MORE, and the client waits for "100 Continue" */
	HTTP_READ_DONE,	    /* a whole request; bytes beyond *used belong to the next one */
	HTTP_READ_BAD,	    /* this connection cannot go on; http_request_status() says why */
};

struct http_request *http_request_new(size_t max_head_bytes, size_t max_body_bytes);
void http_request_free(struct http_request *q); /* NULL legal */

/* Forgets the request that was read and waits for the next. */
void http_request_reset(struct http_request *q);

enum http_read http_request_read(struct http_request *q, const char *data, size_t len,
				 size_t *used);

/* After BAD: 400, 413 or 431. */
int http_request_status(const struct http_request *q);

/* After DONE, until reset. The path is without scheme, host and query,
 * the query without '?', "" if there is none; the header is the first of that name, or NULL. */
const char *http_request_method(const struct http_request *q);
const char *http_request_path(const struct http_request *q);
const char *http_request_query(const struct http_request *q);
const char *http_request_header(const struct http_request *q, const char *name);
const char *http_request_body(struct http_request *q, size_t *len);
bool http_request_keeps_alive(const struct http_request *q);
bool http_request_takes_chunks(const struct http_request *q); /* HTTP/1.1 or later */
bool http_request_started(const struct http_request *q);      /* some bytes of it have been read */

#endif
