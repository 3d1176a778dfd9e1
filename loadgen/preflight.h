/*
 * A look at each target before the load: is anybody there, and which models does it serve. Sends
 * one GET, outside all figures.
 */
#ifndef LOADGEN_PREFLIGHT_H
#define LOADGEN_PREFLIGHT_H

#include <signal.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/evloop.h"
#include "dialect.h"
#include "scenario.h"
#include "transport.h"

struct preflight_answer {
	bool reachable;	   /* somebody took the connection */
	int status;	   /* of the models page; 0 = none */
	char why[256];	   /* when not reachable */
	char *model;	   /* the first served model; owned by the caller; NULL if not told */
	bool model_served; /* t->model is among those listed, or nothing was listed */
	char listed[256];  /* the served names, ", " between */
};

/* Runs the loop until the answer, 5 s, or an interrupt (which must stop the loop). */
void preflight(struct evloop *loop, const struct target *t, const struct dialect *d,
	       const struct transport_type *type, struct transport *transport,
	       const volatile sig_atomic_t *interrupted, struct preflight_answer *out);

#endif
