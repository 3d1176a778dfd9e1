/*
 * The bytes of an HTTP/1.1 answer: its head and its chunks. No sockets.
 */
#ifndef SERVE_HTTP_WIRE_H
#define SERVE_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

struct http_head {
	int status;
	const char *server;
	const char *content_type; /* or NULL */
	const char *extra;	  /* "name: value\r\n" lines, or NULL */
	ssize_t length;		  /* -1: a stream */
	bool chunked;
	const char *connection; /* "close", "keep-alive" or NULL: no such field */
};

/* The fields, their order and their lower case are those of vLLM's server. */
void http_head_put(struct buf *b, const struct http_head *h);

/* len > 0: an empty chunk would end the stream. */
void http_chunk_put(struct buf *b, const void *data, size_t len);

#define HTTP_LAST_CHUNK "0\r\n\r\n"

#endif
