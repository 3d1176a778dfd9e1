/*
 * Owns the reading of an HTTP answer: an http_parser, the two or three headers that matter, and the
 * limits. Loop thread, once per read. Must not know sockets or time.
 *
 * http-parser calls back in pieces wherever reads cut a header; names are gathered in `field` and
 * values in one of a few small buffers. Whatever is longer than those is cut or ignored: nothing
 * here needs it whole.
 */
#include "http_in.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/die.h"

struct text {
	char s[64];
	size_t len;
};

struct http_in {
	http_parser parser;
	const struct http_in_handler *handler;
	void *owner;
	struct err *e; /* of the call in progress */
	size_t head_bytes;
	bool no_body, interim, head_done, complete, keep_alive, stopped, refused;

	/* of the head */
	bool in_value;
	struct text *value; /* where the value of `field` goes; NULL = nowhere */
	struct text field, content_type, retry_after, content_encoding;
};

static void text_add(struct text *t, const char *p, size_t n)
{
	size_t room = sizeof(t->s) - 1 - t->len;

	if (n > room)
		n = room;
	memcpy(t->s + t->len, p, n);
	t->len += n;
	t->s[t->len] = '\0';
}

static void text_clear(struct text *t)
{
	t->len = 0;
	t->s[0] = '\0';
}

static void text_trim_end(struct text *t)
{
	while (t->len > 0 && (t->s[t->len - 1] == ' ' || t->s[t->len - 1] == '\t'))
		t->s[--t->len] = '\0';
}

static struct http_in *of(const http_parser *parser)
{
	return parser->data;
}

static int on_message_begin(http_parser *parser)
{
	struct http_in *p = of(parser);

	text_clear(&p->field);
	text_clear(&p->content_type);
	text_clear(&p->retry_after);
	text_clear(&p->content_encoding);
	p->value = NULL;
	p->in_value = false;
	return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t n)
{
	struct http_in *p = of(parser);

	if (p->in_value) {
		text_clear(&p->field);
		p->in_value = false;
	}
	text_add(&p->field, at, n);
	return 0;
}

static struct text *value_of(struct http_in *p)
{
	const struct {
		const char *name;
		struct text *value;
	} wanted[] = {
		{"content-type", &p->content_type},
		{"retry-after", &p->retry_after},
		{"content-encoding", &p->content_encoding},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (strcasecmp(p->field.s, wanted[i].name) == 0)
			return wanted[i].value;
	return NULL;
}

static int on_header_value(http_parser *parser, const char *at, size_t n)
{
	struct http_in *p = of(parser);

	if (!p->in_value) {
		p->in_value = true;
		p->value = value_of(p);
		if (p->value)
			text_clear(p->value); /* sent twice: the last one counts */
	}
	if (p->value)
		text_add(p->value, at, n);
	return 0;
}

static int refuse(struct http_in *p, const char *why, const char *what)
{
	p->refused = true;
	err_set(p->e, RC_PEER, "%s%s", why, what);
	return -1;
}

/* 1: no body follows, whatever the headers say. */
static int on_headers_complete(http_parser *parser)
{
	struct http_in *p = of(parser);
	int status = (int)parser->status_code;
	struct xfer_head head = {status, p->content_type.s, p->retry_after.s};

	text_trim_end(&p->content_type);
	text_trim_end(&p->retry_after);
	text_trim_end(&p->content_encoding);
	if (status == 101)
		return refuse(p, "the server wants to switch protocols (HTTP 101)", "");
	p->interim = status / 100 == 1;
	if (p->interim)
		return 1;
	if (p->content_encoding.len > 0 && strcasecmp(p->content_encoding.s, "identity") != 0)
		return refuse(p, "the answer is compressed although identity was asked: ",
			      p->content_encoding.s);
	p->head_done = true;
	if (!p->handler->head(p->owner, &head)) {
		p->stopped = true;
		return -1;
	}
	return p->no_body || status == 204 || status == 304;
}

static int on_body(http_parser *parser, const char *at, size_t n)
{
	struct http_in *p = of(parser);

	p->stopped = !p->handler->body(p->owner, at, n);
	return p->stopped ? -1 : 0;
}

static int on_message_complete(http_parser *parser)
{
	struct http_in *p = of(parser);

	if (p->interim)
		return 0;
	p->complete = true;
	p->keep_alive = http_should_keep_alive(parser);
	http_parser_pause(parser, 1); /* what follows belongs to nobody */
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_message_begin,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

struct http_in *http_in_new(const struct http_in_handler *h, void *owner)
{
	struct http_in *p = xcalloc(1, sizeof(*p));

	p->handler = h;
	p->owner = owner;
	http_in_start(p, false);
	return p;
}

void http_in_free(struct http_in *p)
{
	free(p);
}

void http_in_start(struct http_in *p, bool no_body)
{
	http_parser_init(&p->parser, HTTP_RESPONSE);
	p->parser.data = p;
	p->head_bytes = 0;
	p->no_body = no_body;
	p->interim = p->head_done = p->complete = p->keep_alive = p->stopped = p->refused = false;
}

static enum http_in_result verdict(struct http_in *p, struct err *e)
{
	enum http_errno why = HTTP_PARSER_ERRNO(&p->parser);

	if (p->stopped)
		return HTTP_IN_STOPPED;
	if (p->complete)
		return HTTP_IN_COMPLETE;
	if (why == HPE_OK)
		return HTTP_IN_MORE;
	if (!p->refused)
		err_set(e, RC_PEER, "not HTTP as it should be: %s", http_errno_description(why));
	return HTTP_IN_BAD;
}

enum http_in_result http_in_feed(struct http_in *p, const char *bytes, size_t n, size_t *used,
				 struct err *e)
{
	enum http_in_result result = HTTP_IN_MORE;

	p->e = e;
	*used = 0;
	while (*used < n && result == HTTP_IN_MORE) {
		size_t take = n - *used, took;

		if (!p->head_done) {
			size_t room = HTTP_MAX_HEAD_BYTES - p->head_bytes;

			if (room == 0) {
				err_set(e, RC_LIMIT, "a response head longer than %u bytes",
					HTTP_MAX_HEAD_BYTES);
				return HTTP_IN_BAD;
			}
			take = take < room ? take : room;
		}
		took = http_parser_execute(&p->parser, &settings, bytes + *used, take);
		p->head_bytes += took;
		*used += took;
		result = verdict(p, e);
	}
	return result;
}

enum http_in_result http_in_eof(struct http_in *p, struct err *e)
{
	p->e = e;
	/* Ends a body that goes up to the close; an error for one with a length. */
	http_parser_execute(&p->parser, &settings, NULL, 0);
	if (p->complete)
		return HTTP_IN_COMPLETE;
	err_set(e, RC_PEER, "the server closed the connection %s",
		p->head_done ? "inside the body" : "before a whole response head");
	return p->head_done ? HTTP_IN_TRUNCATED : HTTP_IN_CLOSED;
}

bool http_in_keep_alive(const struct http_in *p)
{
	return p->complete && p->keep_alive;
}
