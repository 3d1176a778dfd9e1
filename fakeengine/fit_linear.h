/*
 * The cost of a step in closed form, without a simulation: what the gaps between tokens say by
 * themselves. It knows no policy. A beginning for fit_refine.h, good to some per cent where decodes
 * and whole prompts are all there is.
 *
 * Where each token's time is known, tokens of all streams that came together are a step, and its
 * time is that to the next one while somebody decodes:
 *
 *     t = a + b P + c D + d K + e Q
 *
 * Where only first and last are known (f, l, o tokens), the same, summed over the request's steps:
 *
 *     l - f = a (o - 1) + b P + c G + d K + e Q
 *
 * with P, Q of the prompts of others whose first token came in (f, l], G the tokens that all got in
 * it, K the sum of their contexts; the others' tokens are taken to be spread evenly. Each equation
 * is divided by its left side; a quarter that fits worst is left out and the rest fitted again, so
 * that a request that was preempted does not count.
 *
 * The time before the first token is that of the prompts that met an idle engine: ingest + step.
 */
#ifndef FAKEENGINE_FIT_LINEAR_H
#define FAKEENGINE_FIT_LINEAR_H

#include <stdbool.h>

#include "fit_rows.h"

enum { LINEAR_STEP, LINEAR_PREFILL, LINEAR_DECODE, LINEAR_KV, LINEAR_ATTENTION, N_LINEAR };

struct fit_linear {
	double coef_ns[N_LINEAR];
	double mean_of[N_LINEAR], mean_ns; /* of all equations: what coef_ns is multiplied with */
	double ingest_ns;
	size_t equations;  /* for coef_ns */
	bool by_step;	   /* token times were there */
	double mean_error; /* relative, of those equations that were kept */
	size_t alone;	   /* requests that met an idle engine */
};

/* attention: look for e as well. False: nothing to solve. */
bool fit_linear(const struct fit_rows *rows, bool attention, struct fit_linear *out);

#endif
