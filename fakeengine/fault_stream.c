/*
 * Owns the order in which the bytes of a disturbed answer leave. Loop thread. Must not know any
 * fault.
 */
#include "fault_stream.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

enum step_kind { STEP_WAIT, STEP_HEAD, STEP_CHUNK, STEP_ABORT, STEP_RESET, STEP_REPLY, STEP_END };

struct step {
	enum step_kind kind;
	int64_t wait_ns;
	size_t len; /* so many bytes follow */
};

static void stream_free(struct fault_stream *s)
{
	if (s->release)
		s->release(s);
	evloop_timer_cancel(s->loop, &s->timer);
	buf_release(&s->queue);
	free(s->extra);
	free(s);
}

static void on_peer_gone(void *owner)
{
	struct fault_stream *s = owner;

	if (!s->answered)
		s->on_gone(s->owner);
	stream_free(s);
}

/* One step. The exchange is over after the last three, and stays ours only to hear of its end. */
static void do_step(struct fault_stream *s, const struct step *p, const char *bytes)
{
	switch (p->kind) {
	case STEP_WAIT:
		evloop_timer(s->loop, &s->timer, monotonic_now_ns() + p->wait_ns);
		break;
	case STEP_HEAD:
		http_stream_begin(s->x, 200, s->content_type, s->extra);
		break;
	case STEP_CHUNK:
		http_stream_write(s->x, bytes, p->len);
		break;
	case STEP_ABORT:
	case STEP_RESET:
		http_abort(s->x, bytes, p->len, p->kind == STEP_RESET);
		s->aborted = true;
		s->x = NULL;
		break;
	case STEP_REPLY:
	case STEP_END:
		http_set_owner(s->x, NULL, NULL);
		if (p->kind == STEP_REPLY)
			http_reply(s->x, 200, s->content_type, s->extra, bytes, p->len);
		else
			http_stream_end(s->x, NULL, 0);
		s->x = NULL;
		break;
	}
}

/* s may be gone after it. */
static void pump(struct fault_stream *s)
{
	while (s->x && buf_size(&s->queue) > 0 && !timer_queued(&s->timer)) {
		struct step p;
		const char *bytes = buf_head(&s->queue) + sizeof(p);

		memcpy(&p, buf_head(&s->queue), sizeof(p));
		do_step(s, &p, bytes);
		buf_consume(&s->queue, sizeof(p) + p.len);
	}
	if (!s->x && s->answered && !s->aborted)
		stream_free(s);
}

static void on_timer(struct timer *t, int64_t now_ns)
{
	(void)now_ns;
	pump((struct fault_stream *)((char *)t - offsetof(struct fault_stream, timer)));
}

static void push(struct fault_stream *s, enum step_kind kind, int64_t wait_ns, const char *bytes,
		 size_t len)
{
	const struct step p = {kind, wait_ns, len};

	if (!s->x)
		return;
	buf_append(&s->queue, &p, sizeof(p));
	buf_append(&s->queue, bytes, len);
	pump(s);
}

void fault_stream_init(struct fault_stream *s, const struct outlet_type *type, struct evloop *loop)
{
	s->outlet.type = type;
	s->loop = loop;
	s->timer.fn = on_timer;
	buf_init(&s->queue, SIZE_MAX);
}

void fault_stream_take(struct fault_stream *s, struct http_exchange *x, const char *content_type,
		       const char *extra, void *owner, void (*on_gone)(void *owner))
{
	s->x = x;
	s->content_type = content_type;
	s->extra = extra ? xstrdup(extra) : NULL;
	s->owner = owner;
	s->on_gone = on_gone;
	http_set_owner(x, s, on_peer_gone);
}

void fault_stream_wait(struct fault_stream *s, int64_t ns)
{
	push(s, STEP_WAIT, ns, NULL, 0);
}

void fault_stream_head(struct fault_stream *s)
{
	push(s, STEP_HEAD, 0, NULL, 0);
}

void fault_stream_chunk(struct fault_stream *s, const char *data, size_t len)
{
	push(s, STEP_CHUNK, 0, data, len);
}

void fault_stream_abort(struct fault_stream *s, const char *raw, size_t len, bool reset)
{
	push(s, reset ? STEP_RESET : STEP_ABORT, 0, raw, len);
}

void fault_stream_reply(struct fault_stream *s, const char *body, size_t len)
{
	push(s, STEP_REPLY, 0, body, len);
}

void fault_stream_end(struct fault_stream *s)
{
	s->answered = true;
	if (s->x)
		push(s, STEP_END, 0, NULL, 0);
	else if (!s->aborted)
		stream_free(s); /* it was replied to, and nobody will tell of its end */
}

void fault_stream_drop(struct fault_stream *s)
{
	stream_free(s);
}
