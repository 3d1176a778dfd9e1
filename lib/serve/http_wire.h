/*
 * The bytes of an HTTP/1.1 answer: its head and its chunks. No sockets. Which fields a head has, in
 * which order and under which names is data: a row of them a server that is played.
 */
#ifndef SERVE_HTTP_WIRE_H
#define SERVE_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

enum head_value {
	HEAD_END, /* of the row */
	HEAD_TEXT,
	HEAD_DATE,
	HEAD_SERVER,
	HEAD_EXTRA,	 /* the answer's own fields; the name is not used */
	HEAD_LENGTH,	 /* only of a body */
	HEAD_TYPE,	 /* only if there is one */
	HEAD_CONNECTION, /* only if the connection's fate has to be said */
	HEAD_CHUNKED,	 /* only of a chunked stream */
	HEAD_RANDOM,	 /* 32 hexadecimal digits */
};

/* When a field is there. */
#define HEAD_IN_STREAM 1u
#define HEAD_IN_BODY   2u
#define HEAD_IF_KEPT   4u /* ... and the connection stays open */
#define HEAD_IF_OK     8u /* ... and the status is below 400 */
#define HEAD_ALWAYS    (HEAD_IN_STREAM | HEAD_IN_BODY)

struct head_field {
	enum head_value value;
	const char *name;
	unsigned when;
	const char *text; /* of HEAD_TEXT */
};

struct http_habit {
	const struct head_field *fields; /* ends with HEAD_END */
	const char *server;		 /* NULL: the engine's own name */
	bool closes_streams;		 /* the connection, though the head did not say so */
	bool closes_errors;		 /* after any status from 400 on, and says so */
};

/* Lower-case names in the order of uvicorn behind vLLM, under the engine's own name. */
extern const struct http_habit http_habit_own;

struct http_head {
	int status;
	const char *server;
	const char *content_type; /* or NULL */
	const char *extra;	  /* "name: value\r\n" lines, or NULL */
	ssize_t length;		  /* -1: a stream */
	bool chunked;
	const char *connection; /* "close", "keep-alive" or NULL: no such field */
};

void http_head_put(struct buf *b, const struct http_habit *habit, const struct http_head *h);

/* len > 0: an empty chunk would end the stream. */
void http_chunk_put(struct buf *b, const void *data, size_t len);

#define HTTP_LAST_CHUNK "0\r\n\r\n"

#endif
