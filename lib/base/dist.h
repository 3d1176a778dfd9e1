/*
 * Named distributions over the reals >= 0: lengths, think times, gaps, jitter. Sampling is by
 * inversion or documented rejection from one rng stream, so a seed gives the same values
 * everywhere.
 */
#ifndef BASE_DIST_H
#define BASE_DIST_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "rng.h"

enum dist_kind {
	DIST_CONSTANT,	  /* mean */
	DIST_UNIFORM,	  /* min to max, both given; as a count, both ends included */
	DIST_NORMAL,	  /* mean, cv; below 0 is cut to 0 */
	DIST_LOGNORMAL,	  /* mean, cv of the distribution itself, not of its logarithm */
	DIST_EXPONENTIAL, /* mean */
	DIST_GAMMA,	  /* mean, cv (shape = 1/cv^2) */
};

struct dist {
	enum dist_kind kind;
	double mean, cv;
	double min, max; /* every sample is clamped to this; 0 and HUGE_VAL when not given */
};

/* The name as it stands in a scenario ("lognormal"), or NULL / an error that lists the names. */
const char *dist_name(enum dist_kind kind);
enum rc dist_kind_parse(const char *name, enum dist_kind *out, struct err *e);

/* RC_INPUT when the parameters make no sense together (uniform without a range, min > max, cv <=
 * 0). */
enum rc dist_check(const struct dist *d, struct err *e);

double dist_sample(const struct dist *d, struct rng *r);
double dist_mean(const struct dist *d); /* before clamping */

/* A sample rounded to the nearest whole number within min to max, then at least `least`. Uniform:
 * every whole number from min to max alike likely. */
int64_t dist_sample_count(const struct dist *d, struct rng *r, int64_t least);

double rng_normal(struct rng *r); /* standard normal, Box-Muller, both halves used in order */
double rng_gamma(struct rng *r, double shape); /* scale 1; Marsaglia-Tsang, shape > 0 */
double rng_exponential(struct rng *r);	       /* mean 1 */

#endif
