/*
 * Intervals where there are no repeats: the requests of a point are drawn again with replacement,
 * many times, and the middle 95 % of what comes out is the interval (percentile bootstrap). It
 * knows the noise between requests, not that between runs, and takes requests as independent, which
 * those that shared a batch are not: repeats say more. Pure; the same seed draws the same.
 */
#ifndef LOADGEN_BOOTSTRAP_H
#define LOADGEN_BOOTSTRAP_H

#include <stddef.h>

#include "base/rng.h"
#include "stats.h"

/* The requests of one side and what is made of them: a percentile of x, or scale * sum x / sum y.
 */
struct draw_pool {
	double *x, *y;
	size_t n, cap;
	double percentile; /* -1: the quotient */
	double scale;
};

void draw_pool_add(struct draw_pool *p, double x, double y);
void draw_pool_release(struct draw_pool *p);

/* How b stands to a. No interval with fewer than BOOTSTRAP_LEAST requests on a side: that of a
 * handful says nothing. Sorts x of percentile pools, where y does not matter. */
enum { BOOTSTRAP_LEAST = 8 };
struct interval bootstrap_contrast(struct draw_pool *a, struct draw_pool *b, enum contrast how,
				   struct rng *rng);

enum { BOOTSTRAP_MANY = 4000 };

/* Figures of the same n requests, drawn again together: a percentile of x, or sum x / sum y, over
 * those requests that have an x (NaN: it has none). low and high are filled in; NaN with fewer than
 * BOOTSTRAP_LEAST of them. With BOOTSTRAP_MANY requests nothing is drawn: the ends are those to
 * which ever more draws converge, by the normal law that so many follow. */
struct draw_figure {
	const double *x, *y; /* n values each; y NULL: all 1 */
	double percentile;   /* -1: the quotient */
	double low, high;
};
void bootstrap_figures(struct draw_figure *f, size_t n_figures, size_t n, struct rng *rng);

#endif
