/*
 * An answer on its way through a fault: what is to leave waits in order behind whatever delays it,
 * and the connection may end before the answer does. The mechanics alone; which fault does what is
 * fault.c's.
 */
#ifndef FAKEENGINE_FAULT_STREAM_H
#define FAKEENGINE_FAULT_STREAM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/evloop.h"
#include "serve/outlet.h"

/* Embedded first in a heap object, which is freed with free() once the exchange is over and the
 * answer has let go. */
struct fault_stream {
	struct outlet outlet;
	struct evloop *loop;
	struct http_exchange *x; /* NULL once it is over, or about to be */
	void *owner;
	void (*on_gone)(void *owner);
	const char *content_type;
	char *extra;	  /* or NULL */
	struct buf queue; /* steps with their bytes behind them */
	struct timer timer;
	bool answered;				 /* the answer has let go */
	void (*release)(struct fault_stream *s); /* what its embedder owns; or NULL */
	bool aborted;				 /* the exchange is, and will tell so */
};

void fault_stream_init(struct fault_stream *s, const struct outlet_type *type, struct evloop *loop);

/* The outlet's begin, without sending anything. */
void fault_stream_take(struct fault_stream *s, struct http_exchange *x, const char *content_type,
		       const char *extra, void *owner, void (*on_gone)(void *owner));

/* Steps, in the order of the calls, each as soon as those before it are through. After abort and
 * replace nothing else leaves. */
void fault_stream_wait(struct fault_stream *s, int64_t ns);
void fault_stream_head(struct fault_stream *s);
void fault_stream_chunk(struct fault_stream *s, const char *data, size_t len);
void fault_stream_abort(struct fault_stream *s, const char *raw, size_t len, bool reset);
void fault_stream_reply(struct fault_stream *s, const char *body, size_t len);

/* The answer has let go: the chunked body ends behind all that waits. s may be gone after it. */
void fault_stream_end(struct fault_stream *s);

/* Nothing of the answer will come, and no exchange was taken. */
void fault_stream_drop(struct fault_stream *s);

#endif
