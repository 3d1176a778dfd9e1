/*
 * What a request is refused with. The kind is ours; status, words and shape are those of the server
 * that is played (wire.h).
 */
#ifndef SERVE_API_ERROR_H
#define SERVE_API_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum refusal {
	REFUSE_JSON,	/* the body cannot be read at all */
	REFUSE_FORM,	/* a field has the wrong form */
	REFUSE_VALUE,	/* ... or a value it may not have */
	REFUSE_FIELD,	/* a field that this server does not know, where it minds */
	REFUSE_LENGTH,	/* the prompt leaves no room for an answer */
	REFUSE_KEY,	/* no key, or the wrong one */
	REFUSE_MODEL,	/* no such model */
	REFUSE_ROUTE,	/* no such path */
	REFUSE_METHOD,	/* not with this method */
	REFUSE_BUSY,	/* the queue is full */
	REFUSE_UNREADY, /* not now */
	REFUSE_ENGINE,	/* the engine failed */
	N_REFUSALS
};

struct api_error {
	enum refusal kind;
	int status;	  /* vLLM's, until the wire says otherwise */
	const char *type; /* likewise; a constant */
	char param[64];	  /* the field, or "" for none */
	char message[1024];
	int64_t prompt_tokens; /* REFUSE_LENGTH */
	int32_t max_tokens;
	bool forced;	   /* the status is as it stands, whatever the wire has for the kind */
	int retry_after_s; /* REFUSE_BUSY: 0 = a second */
	const char *allow; /* REFUSE_METHOD: the right one; a constant */
};

/* Fills e and returns false, so that a reader can end with `return api_refuse(...)`. param may be
 * NULL. */
bool api_refuse(struct api_error *e, enum refusal kind, const char *param, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The two types that vLLM has for 400: the field's form is wrong, or its value. */
#define API_BAD_FORM  "Bad Request"
#define API_BAD_VALUE "BadRequestError"

struct api;
struct http_exchange;
struct wire_habit;

/* The body in the wire's form. Returns the status. */
int api_error_put(const struct wire_habit *w, const struct api_error *e, struct buf *b);

void api_error_reply(struct api *a, struct http_exchange *x, const struct api_error *e);

/* As an event inside a stream. */
void api_error_event(const struct wire_habit *w, const struct api_error *e, struct buf *b);

#endif
