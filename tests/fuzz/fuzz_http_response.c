/*
 * Any bytes as an HTTP answer: whole, byte by byte and in two pieces they read the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "loadgen/http_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
	struct buf head, body;
};

static bool on_head(void *owner, const struct xfer_head *h)
{
	struct heard *k = owner;

	CHECK(buf_size(&k->head) == 0); /* one head an answer */
	return buf_printf(&k->head, "%d|%s|%s", h->status, h->content_type, h->retry_after);
}

static bool on_body(void *owner, const char *bytes, size_t n)
{
	struct heard *k = owner;

	CHECK(buf_size(&k->head) > 0 && n > 0);
	return buf_append(&k->body, bytes, n);
}

/* In pieces of `step` bytes, the first of `head`; everything learnt goes to `out`. */
static void read_answer(const char *bytes, size_t n, size_t head, size_t step, struct buf *out)
{
	static const struct http_in_handler handler = {on_head, on_body};
	enum http_in_result result = HTTP_IN_MORE;
	size_t at = 0, used = 0;
	struct heard k;
	struct http_in *p = http_in_new(&handler, &k);
	struct err e = {RC_OK, ""};

	buf_init(&k.head, 1u << 16);
	buf_init(&k.body, 64u << 20);
	buf_init(out, 64u << 20);
	while (at < n && result == HTTP_IN_MORE) {
		size_t piece = at == 0 && head > 0 ? head : step;

		if (piece > n - at)
			piece = n - at;
		result = http_in_feed(p, bytes + at, piece, &used, &e);
		CHECK(used <= piece && (result != HTTP_IN_MORE || used == piece));
		at += used;
	}
	if (result == HTTP_IN_MORE)
		result = http_in_eof(p, &e);
	CHECK(result != HTTP_IN_MORE && result != HTTP_IN_STOPPED);
	CHECK(result == HTTP_IN_COMPLETE || e.msg[0]);
	CHECK(buf_printf(out, "%d|%d|%s|", result, http_in_keep_alive(p), buf_cstr(&k.head)));
	if (result == HTTP_IN_COMPLETE)
		CHECK(buf_printf(out, "%zu|", at));
	CHECK(buf_append(out, buf_head(&k.body), buf_size(&k.body)));
	buf_release(&k.head);
	buf_release(&k.body);
	http_in_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t steps[][2] = {{0, 1}, {size > 0 ? 1 + data[size - 1] % size : 0, size}};
	const char *bytes = (const char *)data;
	struct buf whole;

	if (size > 1u << 17)
		return 0;
	read_answer(bytes, size, 0, size, &whole);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct buf cut;

		read_answer(bytes, size, steps[i][0], steps[i][1], &cut);
		CHECK(buf_size(&whole) == buf_size(&cut) &&
		      memcmp(buf_head(&whole), buf_head(&cut), buf_size(&whole)) == 0);
		buf_release(&cut);
	}
	buf_release(&whole);
	return 0;
}
