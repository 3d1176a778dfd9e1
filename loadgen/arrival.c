/*
 * Owns the arithmetic of open arrivals: gaps drawn from one stream, summed on an absolute timeline.
 * Pure; any thread. Must not know the time.
 */
#include "arrival.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/dist.h"
#include "base/die.h"

/* 63 years: far beyond any run, far below an overflow when a start time is added. */
#define LATEST_S 2e9

/* A gap in seconds. Gamma as vLLM's bench has it: shape = burstiness, scale = 1 / (rate *
 * burstiness). */
static double draw_gap(const struct level *l, struct rng *r)
{
	switch (l->arrival) {
	case ARRIVAL_CONSTANT:
	case ARRIVAL_TRACE:
		break;
	case ARRIVAL_RAMP: /* in units of expected arrivals, see ramp_time() */
		return rng_exponential(r);
	case ARRIVAL_POISSON:
		return rng_exponential(r) / l->rate_per_s;
	case ARRIVAL_GAMMA:
		return rng_gamma(r, l->burstiness) / (l->rate_per_s * l->burstiness);
	}
	return 1 / l->rate_per_s;
}

static int64_t to_ns(double seconds)
{
	return llround(fmin(seconds, LATEST_S) * 1e9);
}

/* Sums of gaps: n of them, or with n 0 those before end_s. Returns a malloc'd array of *n. */
static double *draw_times(const struct level *l, struct rng *r, int64_t *n, double end_s)
{
	int64_t cap = *n ? *n : 1024, count = 0;
	double *at = xreallocarray(NULL, (size_t)cap, sizeof(*at)), sum = 0;

	while (!*n || count < *n) {
		/* Constant gaps are multiplied, not summed: no error builds up over a long level.
		 */
		sum = l->arrival == ARRIVAL_CONSTANT ? (double)(count + 1) / l->rate_per_s
						     : sum + draw_gap(l, r);
		if (!*n && sum >= end_s)
			break;
		if (count == cap) {
			cap *= 2;
			at = xreallocarray(at, (size_t)cap, sizeof(*at));
		}
		at[count++] = sum;
	}
	*n = count;
	return at;
}

/* When a ramp of this length expects to have seen so many arrivals: the inverse of
 * from * t + (to - from) * t^2 / (2 * length). */
static double ramp_time(const struct level *l, double length_s, double arrivals)
{
	double slope = (l->to_per_s - l->from_per_s) / length_s;
	double root = sqrt(fmax(0, l->from_per_s * l->from_per_s + 2 * slope * arrivals));

	return 2 * arrivals / (l->from_per_s + root);
}

static double *ramp_times(const struct level *l, struct rng *r, int64_t *n)
{
	double length_s =
		l->duration_ns ? (double)l->duration_ns / 1e9 : (double)l->requests / l->rate_per_s;
	double expected = l->rate_per_s * length_s, scale = 1, *at;

	*n = l->duration_ns ? 0 : l->requests;
	at = draw_times(l, r, n, expected);
	if (!l->duration_ns)
		scale = expected / at[*n - 1];
	else if (l->requests && *n > l->requests)
		*n = l->requests;
	for (int64_t i = 0; i < *n; i++)
		at[i] = ramp_time(l, length_s, at[i] * scale);
	return at;
}

/* Sorts the few that share a step. */
static void sort_times(double *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		double x = v[i];
		size_t k = i;

		for (; k > 0 && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

/* Which multiple of the trace's clock step a stamp is. Rounded: real ones are off by a few ms. */
static int64_t step_of(const struct trace_row *row, int64_t step_ns)
{
	return (row->at_ns + step_ns / 2) / step_ns;
}

/* Rows [first, n) that share a step, over the time until the next one. */
static void spread_step(double *at_ns, size_t first, size_t n, int64_t step, int64_t step_ns,
			struct rng *r)
{
	for (size_t k = first; k < n; k++)
		at_ns[k] = ((double)step + rng_unit(r)) * (double)step_ns;
	sort_times(at_ns + first, n - first);
}

static double *trace_times(const struct level *l, const struct trace *t, struct rng *r, int64_t *n)
{
	size_t cap = l->requests && (size_t)l->requests < t->n ? (size_t)l->requests : t->n, i = 0;
	double *at = xcalloc(cap + 1, sizeof(*at));

	for (; i < cap && (!l->span_ns || t->row[i].at_ns < l->span_ns); i++)
		at[i] = (double)t->row[i].at_ns;
	*n = (int64_t)i;
	for (size_t k = 0, first; l->spread_ns && k < i;) {
		int64_t step = step_of(&t->row[k], l->spread_ns);

		first = k;
		while (k < i && step_of(&t->row[k], l->spread_ns) == step)
			k++;
		spread_step(at, first, k, step, l->spread_ns, r);
	}
	for (size_t k = 0; k < i; k++)
		at[k] /= 1e9 * l->speed;
	return at;
}

static double *renewal_times(const struct level *l, struct rng *r, int64_t *n)
{
	double end_s = l->duration_ns ? (double)l->duration_ns / 1e9 : HUGE_VAL, scale, *at;

	*n = l->requests;
	if (isinf(l->rate_per_s))
		return xcalloc((size_t)*n, sizeof(*at));
	at = draw_times(l, r, n, end_s);
	/* A gamma of tiny shape may draw gaps that are all 0: nothing to scale. */
	if (l->requests == 0 || l->renewal || l->arrival == ARRIVAL_CONSTANT || at[*n - 1] <= 0)
		return at;
	scale = (double)*n / l->rate_per_s / at[*n - 1];
	for (int64_t i = 0; i < *n; i++)
		at[i] *= scale;
	return at;
}

int64_t *arrival_times(const struct level *l, const struct trace *t, uint64_t seed, int level_index,
		       int repeat, int64_t *n)
{
	int64_t *ns, kept = 0;
	struct rng r;
	double *at;

	rng_init(&r, seed, "arrivals", (uint64_t)(level_index + 1) << 32 | (uint32_t)repeat);
	if (l->arrival == ARRIVAL_TRACE) {
		CHECK(t && l->speed > 0);
		at = trace_times(l, t, &r, n);
	} else {
		CHECK(l->requests > 0 || (l->duration_ns > 0 && isfinite(l->rate_per_s)));
		at = l->arrival == ARRIVAL_RAMP ? ramp_times(l, &r, n) : renewal_times(l, &r, n);
	}
	ns = xcalloc((size_t)*n + 1, sizeof(*ns));
	for (; kept < *n; kept++) {
		ns[kept] = to_ns(at[kept]);
		if (l->duration_ns && ns[kept] >= l->duration_ns)
			break;
	}
	*n = kept;
	free(at);
	return ns;
}

int64_t arrival_think_ns(const struct level *l, uint64_t seed, int level_index, int repeat,
			 int64_t index)
{
	struct rng r;

	rng_init(&r, seed, "think times",
		 (uint64_t)(level_index + 1) << 48 | (uint64_t)repeat << 32 | (uint64_t)index);
	return dist_sample_count(&l->think_ns, &r, 0);
}
