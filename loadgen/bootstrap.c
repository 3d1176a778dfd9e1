/*
 * Owns the drawing of resamples. Pure. A resampled percentile needs no sorting: the pool is sorted
 * once, a resample is how often each place was drawn, and its ranks are counted off.
 */
#include "bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

/* Resamples: a thousand place the ends of a 95 % interval to about a tenth of its width. With very
 * many requests fewer do, for the interval is narrow then and the draws take time. */
enum { MOST = 1000, LEAST = 200, DRAWS = 20000000 };

void draw_pool_add(struct draw_pool *p, double x, double y)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 256;
		p->x = xreallocarray(p->x, p->cap, sizeof(*p->x));
		p->y = xreallocarray(p->y, p->cap, sizeof(*p->y));
	}
	p->x[p->n] = x;
	p->y[p->n++] = y;
}

void draw_pool_release(struct draw_pool *p)
{
	free(p->x);
	free(p->y);
	memset(p, 0, sizeof(*p));
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The k-th smallest of what was drawn, from 0, and the one behind it. */
static void order_statistics(const struct draw_pool *p, const unsigned *count, size_t k, double *at,
			     double *behind)
{
	size_t seen = 0, i = 0;

	while (i < p->n && seen + count[i] <= k)
		seen += count[i++];
	*at = p->x[i];
	if (seen + count[i] > k + 1) {
		*behind = *at;
		return;
	}
	for (i++; i < p->n && !count[i]; i++)
		;
	*behind = i < p->n ? p->x[i] : *at;
}

static double statistic(const struct draw_pool *p, const unsigned *count)
{
	double x = 0, y = 0;

	if (p->percentile >= 0) {
		double rank = p->percentile / 100 * (double)(p->n - 1), at, behind;

		order_statistics(p, count, (size_t)rank, &at, &behind);
		return at + (rank - floor(rank)) * (behind - at);
	}
	for (size_t i = 0; i < p->n; i++) {
		x += count[i] * p->x[i];
		y += count[i] * p->y[i];
	}
	return y > 0 ? p->scale * x / y : NAN;
}

static void draw(const struct draw_pool *p, unsigned *count, struct rng *rng)
{
	memset(count, 0, p->n * sizeof(*count));
	for (size_t i = 0; i < p->n; i++)
		count[rng_below(rng, p->n)]++;
}

static unsigned *as_measured(struct draw_pool *p)
{
	unsigned *count = xcalloc(p->n, sizeof(*count));

	if (p->percentile >= 0)
		qsort(p->x, p->n, sizeof(*p->x), compare);
	for (size_t i = 0; i < p->n; i++)
		count[i] = 1;
	return count;
}

static double stands(double a, double b, enum contrast how)
{
	return how == CONTRAST_DIFFERENCE ? b - a : a > 0 ? b / a : NAN;
}

static struct interval middle(double mid, struct sample *resampled)
{
	struct interval out = {mid, sample_percentile(resampled, 2.5),
			       sample_percentile(resampled, 97.5)};

	sample_release(resampled);
	return out;
}

static size_t resamples(size_t n)
{
	size_t fit = DRAWS / n;

	return fit > MOST ? MOST : fit < LEAST ? LEAST : fit;
}

struct interval bootstrap_contrast(struct draw_pool *a, struct draw_pool *b, enum contrast how,
				   struct rng *rng)
{
	struct sample resampled = {0};
	unsigned *ca, *cb;
	double mid;

	if (!a->n || !b->n)
		return (struct interval){NAN, NAN, NAN};
	ca = as_measured(a);
	cb = as_measured(b);
	mid = stands(statistic(a, ca), statistic(b, cb), how);
	for (size_t i = a->n < BOOTSTRAP_LEAST || b->n < BOOTSTRAP_LEAST ? 0
									 : resamples(a->n + b->n);
	     i > 0; i--) {
		double v;

		draw(a, ca, rng);
		draw(b, cb, rng);
		v = stands(statistic(a, ca), statistic(b, cb), how);
		if (!isnan(v))
			sample_add(&resampled, v);
	}
	free(ca);
	free(cb);
	return middle(mid, &resampled);
}
