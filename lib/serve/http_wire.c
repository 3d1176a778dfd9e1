/*
 * Owns nothing but the date line of the current second. Loop thread. Must not know connections.
 */
#include "http_wire.h"

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

void http_head_put(struct buf *b, const struct http_head *h)
{
	buf_printf(b, "HTTP/1.1 %d %s\r\ndate: %s\r\nserver: %s\r\n", h->status,
		   http_status_text(h->status), date(), h->server);
	if (h->extra)
		buf_puts(b, h->extra);
	if (h->length >= 0)
		buf_printf(b, "content-length: %zd\r\n", h->length);
	if (h->content_type)
		buf_printf(b, "content-type: %s\r\n", h->content_type);
	buf_puts(b, "vary: Origin\r\n");
	if (h->connection)
		buf_printf(b, "connection: %s\r\n", h->connection);
	if (h->chunked)
		buf_puts(b, "transfer-encoding: chunked\r\n");
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
