/*
 * Server-sent events, incremental: bytes in, events out. WHATWG rules: LF, CR or CRLF line ends
 * wherever reads cut them, a BOM skipped once, comments ignored, `data` lines joined by LF, at most
 * one blank after the colon stripped. No socket, no clock, no JSON. (serve has its own writer and
 * shares no code with this reader on purpose: a shared mistake would cancel itself out in the
 * integration tests.)
 */
#ifndef LOADGEN_SSE_IN_H
#define LOADGEN_SSE_IN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define SSE_MAX_LINE_BYTES  (1u << 20)
#define SSE_MAX_EVENT_BYTES (4u << 20)

struct sse_event {
	const char *data; /* not NUL-terminated; valid during the callback */
	size_t len;
	const char *type; /* `event:` field, NUL-terminated, "" if none */
};

struct sse_in {
	bool has_data, skip_lf, started;
	struct buf line; /* an unfinished line, when a read ends inside it */
	struct buf data; /* data lines of the event in the making, when there are several */
	char type[64];
	size_t comments; /* keep-alives seen */
};

void sse_in_init(struct sse_in *p);
void sse_in_release(struct sse_in *p);

/* on_event returns false to stop (what follows is not read, RC_OK). A whole event inside one read
 * is handed out in place, without a copy. RC_LIMIT: a line or an event is too long; any bytes below
 * that are legal SSE. An event not ended by an empty line at the end of the stream is discarded, as
 * the standard says; sse_in_pending tells. */
enum rc sse_in_feed(struct sse_in *p, const char *bytes, size_t n,
		    bool (*on_event)(const struct sse_event *ev, void *arg), void *arg,
		    struct err *e);
bool sse_in_pending(const struct sse_in *p);

#endif
