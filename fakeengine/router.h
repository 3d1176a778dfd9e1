/*
 * Which of several equal engines takes the next request. Pure: no clock and no I/O; it knows what
 * it was asked for and what it was told of beginnings and ends, and nothing of what an engine does.
 * A router is one row of router_types[]; nobody asks for its name.
 *
 * How loaded an engine is, is counted in requests that are with it, or in their prompt tokens: what
 * a router can know before there is an answer.
 */
#ifndef FAKEENGINE_ROUTER_H
#define FAKEENGINE_ROUTER_H

#include <stdint.h>

#include "base/err.h"
#include "serve/sched.h"

#define ROUTER_MAX_KNOBS 4

struct router;

struct router_type {
	const char *name;
	const char *help;	  /* one line */
	const struct knob *knobs; /* ends with name NULL */
	int32_t (*pick)(struct router *w, const struct genreq *r);
};

extern const struct router_type *const router_types[]; /* NULL-terminated; the first: round robin */

/* By name, or RC_INPUT with the list of names. */
enum rc router_find(const char *name, const struct router_type **out, struct err *e);
void router_defaults(const struct router_type *t, double values[ROUTER_MAX_KNOBS]);

/* n engines, numbered from 0. seed: of what it draws. */
struct router *router_new(const struct router_type *t, const double *knobs, int32_t n,
			  uint64_t seed);
void router_free(struct router *w);

/* Who is to take r. Whether he does, router_begin() says. */
int32_t router_pick(struct router *w, const struct genreq *r);

void router_begin(struct router *w, int32_t engine, const struct genreq *r);
void router_end(struct router *w, int32_t engine, const struct genreq *r);

#endif
