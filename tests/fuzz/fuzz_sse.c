/*
 * Any bytes as a stream of events: whole, byte by byte and in two pieces they read the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "loadgen/sse_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool write_down(const struct sse_event *ev, void *arg)
{
	CHECK(buf_printf(arg, "%s|%zu|", ev->type, ev->len) && buf_append(arg, ev->data, ev->len));
	return true;
}

/* In pieces of `step` bytes, the first of `head`. */
static void read_stream(const char *bytes, size_t n, size_t head, size_t step, struct buf *events)
{
	struct sse_in p;

	sse_in_init(&p);
	buf_init(events, 64u << 20);
	for (size_t at = 0; at < n;) {
		size_t k = at == 0 && head > 0 ? head : step;
		enum rc rc;
		struct err e;

		if (k > n - at)
			k = n - at;
		rc = sse_in_feed(&p, bytes + at, k, write_down, events, &e);
		if (rc) {
			CHECK(rc == RC_LIMIT);
			break;
		}
		at += k;
	}
	CHECK(buf_printf(events, "|%d %zu", sse_in_pending(&p), p.comments));
	sse_in_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t steps[][2] = {{0, 1}, {size > 0 ? 1 + data[0] % size : 0, size}, {2, 3}};
	const char *bytes = (const char *)data;
	struct buf whole;

	if (size > 1u << 16)
		return 0;
	read_stream(bytes, size, 0, size, &whole);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct buf cut;

		read_stream(bytes, size, steps[i][0], steps[i][1], &cut);
		CHECK(strcmp(buf_cstr(&whole), buf_cstr(&cut)) == 0 &&
		      buf_size(&whole) == buf_size(&cut));
		buf_release(&cut);
	}
	buf_release(&whole);
	return 0;
}
