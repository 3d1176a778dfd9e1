/*
 * Owns nothing but the date line of the current second. Loop thread. Must not know connections.
 */
#include "http_wire.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "http_server.h"

const char *http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{200, "OK"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{413, "Content Too Large"},
		{422, "Unprocessable Entity"},
		{424, "Failed Dependency"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{503, "Service Unavailable"},
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Unknown";
}

static const char *date(void)
{
	static time_t shown_s;
	static char text[40];
	time_t now_s = time(NULL);
	struct tm tm;

	if (now_s != shown_s) {
		shown_s = now_s;
		gmtime_r(&now_s, &tm);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return text;
}

const struct http_habit http_habit_own = {
	.fields =
		(const struct head_field[]){
			{HEAD_DATE, "date", HEAD_ALWAYS, NULL},
			{HEAD_SERVER, "server", HEAD_ALWAYS, NULL},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_LENGTH, "content-length", HEAD_ALWAYS, NULL},
			{HEAD_TYPE, "content-type", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "vary", HEAD_ALWAYS, "Origin"},
			{HEAD_CONNECTION, "connection", HEAD_ALWAYS, NULL},
			{HEAD_CHUNKED, "transfer-encoding", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
};

/* Names an answer where a server would draw at random; nobody compares two of them. */
static void put_digits(struct buf *b)
{
	static uint64_t n;

	n++;
	for (int i = 0; i < 2; i++) {
		uint64_t v = (n * 2 + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15);

		buf_printf(b, "%016llx", (unsigned long long)(v ^ v >> 29));
	}
}

static bool is_there(const struct head_field *f, const struct http_head *h)
{
	if (!(f->when & (h->length < 0 ? HEAD_IN_STREAM : HEAD_IN_BODY)))
		return false;
	if ((f->when & HEAD_IF_KEPT) && h->connection && strcmp(h->connection, "close") == 0)
		return false;
	return !(f->when & HEAD_IF_OK) || h->status < 400;
}

static void put_field(struct buf *b, const struct head_field *f, const struct http_habit *habit,
		      const struct http_head *h)
{
	const char *text = NULL;

	switch (f->value) {
	case HEAD_END:
		return;
	case HEAD_TEXT:
		text = f->text;
		break;
	case HEAD_DATE:
		text = date();
		break;
	case HEAD_SERVER:
		text = habit->server ? habit->server : h->server;
		break;
	case HEAD_EXTRA:
		if (h->extra)
			buf_puts(b, h->extra);
		return;
	case HEAD_LENGTH:
		if (h->length >= 0)
			buf_printf(b, "%s: %zd\r\n", f->name, h->length);
		return;
	case HEAD_TYPE:
		text = h->content_type;
		break;
	case HEAD_CONNECTION:
		text = h->connection;
		break;
	case HEAD_CHUNKED:
		text = h->chunked ? "chunked" : NULL;
		break;
	case HEAD_RANDOM:
		buf_printf(b, "%s: ", f->name);
		put_digits(b);
		buf_puts(b, "\r\n");
		return;
	}
	if (text)
		buf_printf(b, "%s: %s\r\n", f->name, text);
}

void http_head_put(struct buf *b, const struct http_habit *habit, const struct http_head *h)
{
	buf_printf(b, "HTTP/1.1 %d %s\r\n", h->status, http_status_text(h->status));
	for (const struct head_field *f = habit->fields; f->value != HEAD_END; f++)
		if (is_there(f, h))
			put_field(b, f, habit, h);
	buf_puts(b, "\r\n");
}

/* Size line in lower-case hex, data, CRLF. By hand: this runs once a token. */
void http_chunk_put(struct buf *b, const void *data, size_t len)
{
	static const char digit[] = "0123456789abcdef", crlf[] = {'\r', '\n'};
	char size[18];
	size_t at = sizeof(size), size_len;
	char *to;

	DCHECK(len > 0);
	size[--at] = '\n';
	size[--at] = '\r';
	for (size_t v = len; v > 0; v >>= 4)
		size[--at] = digit[v & 15];
	size_len = sizeof(size) - at;
	to = buf_reserve(b, size_len + len + 2);
	CHECK(to);
	memcpy(to, size + at, size_len);
	memcpy(to + size_len, data, len);
	memcpy(to + size_len + len, crlf, sizeof(crlf));
	buf_commit(b, size_len + len + 2);
}
