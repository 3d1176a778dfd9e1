/*
 * Owns the parser state, the head and the body of the request that is being read. Loop thread. Must
 * not know sockets, connections or what a path means. The sole user of http-parser in this folder.
 *
 * Head strings lie one after the other in `head`, each with its NUL: the target, then name and
 * value of each header. Offsets, not pointers, since the buffer moves while it grows.
 */
#include "http_request.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"

enum head_part { IN_TARGET, IN_NAME, IN_VALUE, HEAD_DONE };

struct http_request {
	http_parser parser;
	enum head_part part;
	struct buf head, body;
	size_t headers_at; /* where in head the first name starts */
	size_t path_at, query_at;
	int status; /* set where a limit is found to be passed */
	bool started, done, expects_continue;
};

static struct http_request *of(http_parser *p)
{
	return p->data;
}

static int refuse(struct http_request *q, int status)
{
	q->status = status;
	return 1;
}

/* The parser lets a NUL begin a value; it would end the string and shift all that follow. */
static int head_bytes(struct http_request *q, const char *at, size_t len)
{
	if (memchr(at, '\0', len))
		return refuse(q, 400);
	return buf_append(&q->head, at, len) ? 0 : refuse(q, 431);
}

static int on_url(http_parser *p, const char *at, size_t len)
{
	return head_bytes(of(p), at, len);
}

/* The parser hands out names and values in pieces; a string ends when the next kind begins. */
static int enter(struct http_request *q, enum head_part part)
{
	if (q->part == part || q->part == HEAD_DONE)
		return 0;
	if (!buf_putc(&q->head, '\0'))
		return refuse(q, 431);
	if (q->part == IN_TARGET)
		q->headers_at = q->head.len;
	q->part = part;
	return 0;
}

static int on_name(http_parser *p, const char *at, size_t len)
{
	struct http_request *q = of(p);

	if (q->part == HEAD_DONE)
		return 0; /* a trailer behind a chunked body */
	return enter(q, IN_NAME) ? 1 : head_bytes(q, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len)
{
	struct http_request *q = of(p);

	if (q->part == HEAD_DONE)
		return 0;
	return enter(q, IN_VALUE) ? 1 : head_bytes(q, at, len);
}

/* "/path?query" or "http://host/path": cuts the string so that path and query stand by themselves.
 */
static bool cut_path(struct http_request *q)
{
	struct http_parser_url u;
	size_t len = strlen(q->head.data);

	http_parser_url_init(&u);
	if (http_parser_parse_url(q->head.data, len, q->parser.method == HTTP_CONNECT, &u) != 0)
		return false;
	q->path_at = 0;
	q->query_at = len; /* the NUL */
	if (u.field_set & (1 << UF_QUERY)) {
		q->query_at = u.field_data[UF_QUERY].off;
		q->head.data[q->query_at + u.field_data[UF_QUERY].len] = '\0';
	}
	if (u.field_set & (1 << UF_PATH)) {
		q->path_at = u.field_data[UF_PATH].off;
		q->head.data[q->path_at + u.field_data[UF_PATH].len] = '\0';
	}
	return true;
}

static int on_head(http_parser *p)
{
	struct http_request *q = of(p);
	const char *expect;

	if (enter(q, HEAD_DONE))
		return -1;
	if (!cut_path(q)) {
		q->status = 400;
		return -1;
	}
	/* content_length is all ones when there is none. */
	if (p->content_length != UINT64_MAX && p->content_length > q->body.max) {
		q->status = 413;
		return -1;
	}
	expect = http_request_header(q, "expect");
	q->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct http_request *q = of(p);

	q->expects_continue = false; /* it did not wait */
	return buf_append(&q->body, at, len) ? 0 : refuse(q, 413);
}

static int on_complete(http_parser *p)
{
	of(p)->done = true;
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings callbacks = {
	.on_url = on_url,
	.on_header_field = on_name,
	.on_header_value = on_value,
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

struct http_request *http_request_new(size_t max_head_bytes, size_t max_body_bytes)
{
	struct http_request *q = xcalloc(1, sizeof(*q));

	buf_init(&q->head, max_head_bytes);
	buf_init(&q->body, max_body_bytes);
	http_request_reset(q);
	return q;
}

void http_request_free(struct http_request *q)
{
	if (!q)
		return;
	buf_release(&q->head);
	buf_release(&q->body);
	free(q);
}

void http_request_reset(struct http_request *q)
{
	http_parser_init(&q->parser, HTTP_REQUEST);
	q->parser.data = q;
	q->part = IN_TARGET;
	q->status = 0;
	q->started = q->done = q->expects_continue = false;
	buf_release(&q->head);
	buf_release(&q->body);
	q->headers_at = q->path_at = q->query_at = 0;
}

enum http_read http_request_read(struct http_request *q, const char *data, size_t len, size_t *used)
{
	CHECK(!q->done);
	q->started = q->started || len > 0;
	*used = http_parser_execute(&q->parser, &callbacks, data, len);
	if (q->done) {
		/* An upgrade that is asked for (h2c) is not taken: the request is answered as it
		 * stands. */
		http_parser_pause(&q->parser, 0);
		return HTTP_READ_DONE;
	}
	if (HTTP_PARSER_ERRNO(&q->parser) != HPE_OK) {
		if (HTTP_PARSER_ERRNO(&q->parser) == HPE_HEADER_OVERFLOW)
			q->status = 431;
		else if (q->status == 0)
			q->status = 400;
		return HTTP_READ_BAD;
	}
	if (q->expects_continue) {
		q->expects_continue = false;
		return HTTP_READ_CONTINUE;
	}
	return HTTP_READ_MORE;
}

int http_request_status(const struct http_request *q)
{
	return q->status;
}

const char *http_request_method(const struct http_request *q)
{
	return http_method_str((enum http_method)q->parser.method);
}

const char *http_request_path(const struct http_request *q)
{
	return buf_head(&q->head) + q->path_at;
}

const char *http_request_query(const struct http_request *q)
{
	return q->head.data + q->query_at;
}

const char *http_request_header(const struct http_request *q, const char *name)
{
	const char *head = buf_head(&q->head), *end = head + q->head.len;

	for (const char *s = head + q->headers_at; s < end;) {
		const char *value = s + strlen(s) + 1;

		if (strcasecmp(s, name) == 0)
			return value;
		s = value + strlen(value) + 1;
	}
	return NULL;
}

const char *http_request_body(struct http_request *q, size_t *len)
{
	*len = buf_size(&q->body);
	return *len ? buf_cstr(&q->body) : "";
}

bool http_request_keeps_alive(const struct http_request *q)
{
	return http_should_keep_alive(&q->parser) != 0;
}

bool http_request_takes_chunks(const struct http_request *q)
{
	return q->parser.http_major > 1 || (q->parser.http_major == 1 && q->parser.http_minor >= 1);
}

bool http_request_started(const struct http_request *q)
{
	return q->started;
}
