/*
 * Where an answer leaves. Usually there is none and the exchange takes the bytes; a simulated
 * engine may put one in between, to delay, change or break what leaves. A contract; the front end
 * knows nothing of what an outlet does.
 *
 *     admit() -> answer: begin() event()... end()   or   reply()
 */
#ifndef SERVE_OUTLET_H
#define SERVE_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_server.h"

enum outlet_event { OUT_ROLE, OUT_TOKEN, OUT_LAST, OUT_USAGE, OUT_DONE, OUT_ERROR };

struct outlet;

/* Until begin() or reply() the exchange's owner is the answer; from then on the outlet is, and
 * calls on_gone(owner) if the peer leaves, or the outlet has driven it away, before end(). Never
 * inside a slot. */
struct outlet_type {
	void (*begin)(struct outlet *o, struct http_exchange *x, const char *content_type,
		      const char *extra_headers, void *owner, void (*on_gone)(void *owner));
	/* One event, or several that leave as one chunk. more: another one follows at once. */
	void (*event)(struct outlet *o, enum outlet_event what, const char *data, size_t len,
		      bool more);
	void (*end)(struct outlet *o); /* the answer is complete; it forgets o */
	void (*reply)(struct outlet *o, struct http_exchange *x, const char *content_type,
		      const char *extra_headers, const char *body, size_t len);
	void (*drop)(struct outlet *o); /* there will be no answer through it */
};

struct outlet {
	const struct outlet_type *type;
};

/* What is to be done with a request. All zero: nothing out of the way. */
struct admission {
	int64_t delay_ns;      /* it is not looked at before */
	int status;	       /* it is refused: 400, 401, 404, 429, 500 or 503 */
	int retry_after_s;     /* ... with 429 */
	const char *message;   /* ... saying so; or NULL */
	bool whole;	       /* it is answered as if it had not asked for a stream */
	struct outlet *outlet; /* or NULL; taken */
};

#endif
