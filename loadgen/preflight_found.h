/*
 * What a look at a target found: plain data, for the run that it changes, for the line a person
 * reads and for run.json.
 */
#ifndef LOADGEN_PREFLIGHT_FOUND_H
#define LOADGEN_PREFLIGHT_FOUND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "record.h"

#define PREFLIGHT_TOKENS   16 /* that the short request asks for; OpenAI's Responses want no less */
#define PREFLIGHT_LEFT_OUT 8  /* at most so many are learnt to be refused */

struct preflight_found {
	/* the models page */
	bool reachable;	   /* somebody took the connection, and spoke TLS where that was asked */
	bool tls_failed;   /* somebody took it, but no TLS came about that could be trusted */
	int status;	   /* 0 = no answer */
	char why[256];	   /* when not reachable */
	char *model;	   /* the first served model; NULL if none is told */
	bool model_served; /* the target's model is among those listed, or nothing was listed */
	char listed[256];  /* the served names, ", " between */

	/* the short request, as it went in the end */
	bool asked;
	enum outcome outcome;
	int http_status;
	char error[160];
	bool wants_stream, streams;
	bool wants_tokens; /* else the dialect's answers have none */
	bool usage;	   /* it told how many tokens there were */
	bool merged;	   /* by usage there were more tokens than events */
	int32_t tokens, events;
	char finish_reason[24];
	/* Members and headers that it refused, each a name that lives as long as the program;
	 * without them it went well. NULL-terminated. */
	const char *left_out[PREFLIGHT_LEFT_OUT + 1];
};

void preflight_found_init(struct preflight_found *f);
void preflight_found_release(struct preflight_found *f);

/* Nothing that the load could ask would be answered: nobody there, no such model, no right. */
bool preflight_is_hopeless(const struct preflight_found *f);

/* What to do about a TLS that did not come about, by its reason; "" where nothing more can be said.
 */
const char *preflight_tls_advice(const struct preflight_found *f);

/* One line about the short request. True: something in it deserves a warning. */
bool preflight_tell(const struct preflight_found *f, struct buf *out);

#endif
