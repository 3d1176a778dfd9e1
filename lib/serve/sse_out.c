/*
 * Owns the shape of a prepared event. Pure; must not know which API it serves. loadgen reads events
 * with code of its own (loadgen/sse_in.h): a mistake shared by both ends would not show in any
 * test.
 */
#include "sse_out.h"

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"

void sse_template_init(struct sse_template *t)
{
	buf_init(&t->text, SIZE_MAX);
	t->n_holes = 0;
}

void sse_template_seal(struct sse_template *t)
{
	t->text.cap = t->text.len + 1;
	t->text.data = xreallocarray(t->text.data, t->text.cap, 1);
}

void sse_template_release(struct sse_template *t)
{
	buf_release(&t->text);
}

void sse_hole(struct sse_template *t, enum sse_hole_kind kind)
{
	CHECK(t->n_holes < SSE_MAX_HOLES);
	t->hole[t->n_holes].at = (uint32_t)t->text.len;
	t->hole[t->n_holes].kind = kind;
	t->n_holes++;
}

static bool put_count(struct buf *b, int64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	DCHECK(v >= 0);
	do
		text[--at] = (char)('0' + v % 10);
	while (v /= 10);
	return buf_append(b, text + at, sizeof(text) - at);
}

bool sse_fill(const struct sse_template *t, const struct sse_values *v, struct buf *b)
{
	size_t from = 0;
	bool ok = true;

	for (int i = 0; i < t->n_holes && ok; i++) {
		ok = buf_append(b, t->text.data + from, t->hole[i].at - from);
		from = t->hole[i].at;
		switch (t->hole[i].kind) {
		case SSE_TEXT:
			ok = ok && json_escape(b, v->text, v->len);
			break;
		case SSE_TOTAL:
			ok = ok && put_count(b, v->total_tokens);
			break;
		case SSE_COMPLETION:
			ok = ok && put_count(b, v->completion_tokens);
			break;
		}
	}
	return ok && buf_append(b, t->text.data + from, t->text.len - from);
}
