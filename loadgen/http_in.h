/*
 * An HTTP/1.x answer, incremental: bytes in, head and body out. No socket, no clock. Framing is
 * http-parser's; the limits, the passing over of 1xx heads and the verdict on how an answer ended
 * are ours. serve has its own use of http-parser's request side and shares nothing with this.
 */
#ifndef LOADGEN_HTTP_IN_H
#define LOADGEN_HTTP_IN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "transport.h"

#define HTTP_MAX_HEAD_BYTES (64u << 10) /* status line and headers, 1xx heads included */

struct http_in;

/* Body bytes are handed on in place, framing taken off. False: read no further. */
struct http_in_handler {
	bool (*head)(void *owner, const struct xfer_head *h);
	bool (*body)(void *owner, const char *bytes, size_t n);
};

enum http_in_result {
	HTTP_IN_MORE,
	HTTP_IN_COMPLETE,  /* the answer has ended; bytes behind it are not its own */
	HTTP_IN_STOPPED,   /* a handler said so */
	HTTP_IN_CLOSED,	   /* end of input before a whole head */
	HTTP_IN_TRUNCATED, /* end of input inside the body */
	HTTP_IN_BAD,	   /* not HTTP, or a limit passed; e says what */
};

struct http_in *http_in_new(const struct http_in_handler *h, void *owner);
void http_in_free(struct http_in *p); /* NULL legal */

/* Before each answer on a connection. no_body: it answers a HEAD. */
void http_in_start(struct http_in *p, bool no_body);

/* *used: how many of the n bytes belong to the answer. Not to be called again after anything but
 * HTTP_IN_MORE. */
enum http_in_result http_in_feed(struct http_in *p, const char *bytes, size_t n, size_t *used,
				 struct err *e);
enum http_in_result http_in_eof(struct http_in *p, struct err *e);

/* After HTTP_IN_COMPLETE: may the connection carry another request? */
bool http_in_keep_alive(const struct http_in *p);

#endif
