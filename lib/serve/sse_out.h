/*
 * Server-sent events that are all alike but for a few places: prepared once a request, filled in
 * once a token, without printing or allocating.
 *
 *     sse_template_init(&t);
 *     buf_puts(&t.text, "data: {\"text\":\""); sse_hole(&t, SSE_TEXT); buf_puts(&t.text,
 * "\"}\n\n");
 */
#ifndef SERVE_SSE_OUT_H
#define SERVE_SSE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SSE_MAX_HOLES 4

enum sse_hole_kind {
	SSE_TEXT,	/* text, escaped for JSON, without quotes */
	SSE_TOTAL,	/* prompt + output tokens */
	SSE_COMPLETION, /* output tokens */
};

struct sse_template {
	struct buf
		text; /* the fixed parts one after the other; appended to by whoever prepares it */
	struct {
		uint32_t at; /* the hole lies before text[at] */
		enum sse_hole_kind kind;
	} hole[SSE_MAX_HOLES];
	int n_holes;
};

struct sse_values {
	const char *text; /* UTF-8; what is not becomes U+FFFD */
	size_t len;
	int64_t total_tokens, completion_tokens;
};

void sse_template_init(struct sse_template *t);
void sse_template_release(struct sse_template *t);
void sse_template_seal(struct sse_template *t); /* no more is added: gives back what is unused */
void sse_hole(struct sse_template *t, enum sse_hole_kind kind);

/* Appends one event to b. False at the cap of b. */
bool sse_fill(const struct sse_template *t, const struct sse_values *v, struct buf *b);

#endif
