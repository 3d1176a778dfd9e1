/*
 * Whose habits are played on the wire: what answers, errors and heads look like, which endpoints
 * there are, and how strictly requests are read. A row of data a server, one file a family
 * (wire_*.c); nobody switches on the name. `basis` says what a row was written from: recorded
 * bytes, which the tests compare with, or sources and documentation alone.
 */
#ifndef SERVE_WIRE_H
#define SERVE_WIRE_H

#include <stdbool.h>

#include "api_error.h"
#include "api_request.h"
#include "form.h"
#include "http_wire.h"

struct api;
struct http_exchange;
struct engine_stats;

/* One API as one server answers it. Forms (form.h) of events include their "data: " and the blank
 * line; what one form holds leaves as one chunk. NULL: there is no such event. */
struct api_dialect {
	const char
		*id; /* x: hexadecimal digit, A: letter or digit; a client's name goes behind '-' */
	const char *opening; /* leaves at once, if there are several prompts */
	const char *role;    /* before the first token of a choice */
	const char *token;
	const char
		*last; /* the last token of a choice. NULL: `token`, if it has text, then `end` */
	const char *end;
	const char *usage; /* when all choices have ended, if it was asked for */
	const char *done;
	const char *body, *body_choice, *body_end; /* not a stream; choices are parted by commas */
	struct finish_words words;
	bool roles_together; /* those of all choices leave with the first token of any */
	bool role_joins;     /* ... the chunk of its choice's first token */
	bool shows_nothing;  /* a token that brings no text has its event all the same */
	bool shows_stop;     /* the token that completed a stop string has one, text or not */
	bool keeps_whole;    /* events have a place for all the text so far */
	bool keeps_tokens;   /* there is a place for the ids of the output */
};

struct route {
	const char *path, *method;
	void (*handle)(struct api *a, struct http_exchange *x, const struct route *r);
	enum api_kind kind;		   /* of a request for an answer */
	const struct api_dialect *dialect; /* likewise */
};

struct refusal_words {
	int status; /* 0: as vLLM has it */
	const char *type;
	const char *form; /* NULL: the wire's `error` */
};

struct wire_habit {
	const char *name, *help, *basis;
	const struct http_habit *http;
	const char *json_type, *stream_type, *text_type;
	bool ascii;	       /* JSON with \u escapes for all that is not ASCII */
	bool takes_request_id; /* X-Request-Id becomes the answer's id and comes back in the head */
	unsigned reading;      /* READ_... of api_request.h */
	const struct refusal_words *refusals; /* N_REFUSALS of them */
	const char *error, *error_event;
	const char *health; /* its body */
	const char *models, *models_item, *models_end;
	const struct route *routes; /* ends with path NULL */
	void (*metrics)(const struct engine_stats *s, const char *model, struct buf *b);
	const char *metrics_type;
};

extern const struct wire_habit *const wire_habits[];  /* NULL-terminated; [0] is the default */
const struct wire_habit *wire_find(const char *name); /* or NULL */

/* What others fall back on. */
extern const struct refusal_words refusals_vllm[N_REFUSALS];

extern const struct wire_habit wire_own, wire_vllm, wire_sglang, wire_tgi, wire_llamacpp,
	wire_llamacpp_python, wire_transformers, wire_openai;

#endif
