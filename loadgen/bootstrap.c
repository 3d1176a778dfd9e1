/*
 * Owns the drawing of resamples, and what stands for it where there are very many requests. Pure. A
 * resampled percentile needs no sorting: the pool is sorted once, a resample is how often each
 * place was drawn, and its ranks are counted off.
 */
#include "bootstrap.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/sortx.h"

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

static void draw(size_t n, unsigned *count, struct rng *rng)
{
	uint32_t place[256];

	memset(count, 0, n * sizeof(*count));
	for (size_t left = n; left > 0;) {
		size_t some = left < ARRAY_LEN(place) ? left : ARRAY_LEN(place);

		rng_below_many(rng, n, place, some);
		for (size_t i = 0; i < some; i++)
			count[place[i]]++;
		left -= some;
	}
}

static unsigned *as_measured(struct draw_pool *p)
{
	unsigned *count = xcalloc(p->n, sizeof(*count));

	if (p->percentile >= 0)
		sort_doubles(p->x, p->n);
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

		draw(a->n, ca, rng);
		draw(b->n, cb, rng);
		v = stands(statistic(a, ca), statistic(b, cb), how);
		if (!isnan(v))
			sample_add(&resampled, v);
	}
	free(ca);
	free(cb);
	return middle(mid, &resampled);
}

/* ---- several figures of the same requests ---- */

/* A request's place in the table and its value: those that have one, in order of value. */
struct placed {
	double x;
	size_t at;
};

static int compare_placed(const void *a, const void *b)
{
	const struct placed *p = a, *q = b;

	return (p->x > q->x) - (p->x < q->x);
}

/* A figure while it is drawn. */
struct drawn {
	const struct placed *v; /* of n requests */
	struct placed *owned;	/* v, or NULL: it is the one of the figure before */
	size_t n;
	struct sample resampled;
};

/* Figures of one column follow each other, and that is put in order once. `before`: the one before,
 * or NULL. */
static void drawn_init(struct drawn *d, const struct draw_figure *f, size_t n,
		       const struct drawn *before)
{
	*d = (struct drawn){0};
	if (before) {
		d->v = before->v;
		d->n = before->n;
		return;
	}
	d->v = d->owned = xcalloc(n + 1, sizeof(*d->owned));
	for (size_t i = 0; i < n; i++)
		if (!isnan(f->x[i]))
			d->owned[d->n++] = (struct placed){f->x[i], i};
	if (f->percentile >= 0)
		qsort(d->owned, d->n, sizeof(*d->owned), compare_placed);
}

/* The place of the k-th smallest that was drawn, of `total`, and how many are before it: counted
 * from the nearer end. */
static size_t place_of(const struct drawn *d, const unsigned *count, size_t total, size_t k,
		       size_t *before)
{
	size_t seen = 0, i = 0;

	if (k < total / 2) {
		while (seen + count[d->v[i].at] <= k)
			seen += count[d->v[i++].at];
		*before = seen;
		return i;
	}
	for (i = d->n - 1; seen + count[d->v[i].at] < total - k; i--)
		seen += count[d->v[i].at];
	*before = total - seen - count[d->v[i].at];
	return i;
}

/* Of n requests, all of which have a value in most tables, n were drawn. */
static double drawn_percentile(const struct drawn *d, const unsigned *count, size_t n,
			       double percentile)
{
	size_t total = d->n == n ? n : 0, seen, i, k;
	double rank, at;

	for (size_t j = 0; j < d->n && d->n < n; j++)
		total += count[d->v[j].at];
	if (!total)
		return NAN;
	rank = percentile / 100 * (double)(total - 1);
	k = (size_t)rank;
	i = place_of(d, count, total, k, &seen);
	at = d->v[i].x;
	if (seen + count[d->v[i].at] > k + 1 || k + 1 == total)
		return at;
	for (i++; !count[d->v[i].at]; i++)
		;
	return at + (rank - (double)k) * (d->v[i].x - at);
}

static double drawn_quotient(const struct drawn *d, const unsigned *count, const double *y)
{
	double sum_x = 0, sum_y = 0;

	for (size_t i = 0; i < d->n; i++) {
		unsigned times = count[d->v[i].at];

		sum_x += times * d->v[i].x;
		sum_y += times * (y ? y[d->v[i].at] : 1);
	}
	return sum_y > 0 ? sum_x / sum_y : NAN;
}

static void draw_figures(struct draw_figure *f, size_t n_figures, size_t n, struct rng *rng)
{
	struct drawn *d = xcalloc(n_figures + 1, sizeof(*d));
	unsigned *count = xcalloc(n + 1, sizeof(*count));

	for (size_t j = 0; j < n_figures; j++) {
		bool same = j && f[j].x == f[j - 1].x &&
			    (f[j].percentile < 0) == (f[j - 1].percentile < 0);

		drawn_init(&d[j], &f[j], n, same ? &d[j - 1] : NULL);
	}
	for (size_t i = n < BOOTSTRAP_LEAST ? 0 : resamples(n); i > 0; i--) {
		draw(n, count, rng);
		for (size_t j = 0; j < n_figures; j++) {
			double v = f[j].percentile < 0
					   ? drawn_quotient(&d[j], count, f[j].y)
					   : drawn_percentile(&d[j], count, n, f[j].percentile);

			if (!isnan(v) && d[j].n >= BOOTSTRAP_LEAST)
				sample_add(&d[j].resampled, v);
		}
	}
	for (size_t j = 0; j < n_figures; j++) {
		struct interval ends = middle(NAN, &d[j].resampled);

		f[j].low = ends.low;
		f[j].high = ends.high;
		free(d[j].owned);
	}
	free(count);
	free(d);
}

/* ---- very many requests ---- */

#define NORMAL_975 1.959963984540054

/* At a rank, from 0, between two of n sorted values or beyond them. */
static double at_rank(const double *v, size_t n, double rank)
{
	double last = (double)(n - 1), low;

	rank = rank < 0 ? 0 : rank > last ? last : rank;
	low = floor(rank);
	if (low >= last)
		return v[n - 1];
	return v[(size_t)low] + (rank - low) * (v[(size_t)low + 1] - v[(size_t)low]);
}

/* How many of n drawn values are below a given one is binomial: the drawn percentile is the value
 * whose rank is off by so many. */
static void percentile_ends(struct draw_figure *f, const double *sorted, size_t n)
{
	double q = f->percentile / 100, rank = q * (double)(n - 1);
	double off = NORMAL_975 * sqrt((double)n * q * (1 - q));

	f->low = at_rank(sorted, n, rank - off);
	f->high = at_rank(sorted, n, rank + off);
}

/* The quotient of two drawn sums, to first order in how far they are off. */
static void quotient_ends(struct draw_figure *f, size_t n)
{
	double sum_x = 0, sum_y = 0, squares = 0, q, off;
	size_t has = 0;

	for (size_t i = 0; i < n; i++) {
		if (isnan(f->x[i]))
			continue;
		has++;
		sum_x += f->x[i];
		sum_y += f->y ? f->y[i] : 1;
	}
	if (has < BOOTSTRAP_LEAST || !(sum_y > 0))
		return;
	q = sum_x / sum_y;
	for (size_t i = 0; i < n; i++) {
		double rest = isnan(f->x[i]) ? 0 : f->x[i] - q * (f->y ? f->y[i] : 1);

		squares += rest * rest;
	}
	off = NORMAL_975 * sqrt(squares) / sum_y;
	f->low = q - off;
	f->high = q + off;
}

static void figures_at_the_limit(struct draw_figure *f, size_t n_figures, size_t n)
{
	double *sorted = xcalloc(n, sizeof(*sorted));
	const double *of = NULL;
	size_t has = 0;

	for (size_t j = 0; j < n_figures; j++) {
		CHECK(f[j].x);
		f[j].low = f[j].high = NAN;
		if (f[j].percentile >= 0 && f[j].x != of) {
			of = f[j].x;
			has = 0;
			for (size_t i = 0; i < n; i++)
				if (!isnan(of[i]))
					sorted[has++] = of[i];
			sort_doubles(sorted, has);
		}
		if (f[j].percentile < 0)
			quotient_ends(&f[j], n);
		else if (has >= BOOTSTRAP_LEAST)
			percentile_ends(&f[j], sorted, has);
	}
	free(sorted);
}

void bootstrap_figures(struct draw_figure *f, size_t n_figures, size_t n, struct rng *rng)
{
	if (n >= BOOTSTRAP_MANY)
		figures_at_the_limit(f, n_figures, n);
	else
		draw_figures(f, n_figures, n, rng);
}
