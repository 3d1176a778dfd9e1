/*
 * Any bytes as HTTP requests, one behind the other, handed over in pieces: the first byte is the
 * size of the pieces. What is read must not depend on it, limits hold, and every string asked for
 * is there.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "serve/http_request.h"

#define MAX_HEAD 512
#define MAX_BODY 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read, as text; ends with the status if the bytes cannot be read on. */
static char *read_all(const char *data, size_t len, size_t piece)
{
	struct http_request *q = http_request_new(MAX_HEAD, MAX_BODY);
	struct buf out;

	buf_init(&out, 1 << 24);
	for (size_t at = 0; at < len;) {
		size_t n = len - at < piece ? len - at : piece, used;
		enum http_read what = http_request_read(q, data + at, n, &used);

		if (what == HTTP_READ_BAD) {
			CHECK(http_request_status(q) == 400 || http_request_status(q) == 413 ||
			      http_request_status(q) == 431);
			buf_printf(&out, "bad");
			break;
		}
		CHECK(used <= n && (what == HTTP_READ_DONE || used == n));
		at += used;
		if (what != HTTP_READ_DONE)
			continue;

		size_t body_len;
		const char *body = http_request_body(q, &body_len),
			   *tag = http_request_header(q, "x-tag");

		CHECK(body_len <= MAX_BODY && body[body_len] == '\0');
		CHECK(strlen(http_request_path(q)) <= MAX_HEAD);
		buf_printf(&out, "%s %s %s %d%d [", http_request_method(q), http_request_path(q),
			   tag ? tag : "-", http_request_keeps_alive(q),
			   http_request_takes_chunks(q));
		buf_append(&out, body, body_len);
		buf_puts(&out, "]\n");
		http_request_reset(q);
	}
	http_request_free(q);
	return buf_take(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *whole, *pieces;

	if (size < 2)
		return 0;
	whole = read_all((const char *)data + 1, size - 1, size);
	pieces = read_all((const char *)data + 1, size - 1, data[0] % 32 + 1);
	CHECK(strcmp(whole, pieces) == 0);
	free(whole);
	free(pieces);
	return 0;
}
