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
		break;
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

int64_t *arrival_times(const struct level *l, uint64_t seed, int level_index, int repeat,
		       int64_t *n)
{
	double end_s = l->duration_ns ? (double)l->duration_ns / 1e9 : HUGE_VAL, scale = 1, *at;
	int64_t *ns, kept = 0;
	struct rng r;

	CHECK(l->requests > 0 || (l->duration_ns > 0 && isfinite(l->rate_per_s)));
	rng_init(&r, seed, "arrivals", (uint64_t)(level_index + 1) << 32 | (uint32_t)repeat);
	*n = l->requests;
	if (isinf(l->rate_per_s))
		return xcalloc((size_t)*n, sizeof(*ns));
	at = draw_times(l, &r, n, end_s);
	/* A gamma of tiny shape may draw gaps that are all 0: nothing to scale. */
	if (l->requests > 0 && !l->renewal && l->arrival != ARRIVAL_CONSTANT && at[*n - 1] > 0)
		scale = (double)*n / l->rate_per_s / at[*n - 1];
	ns = xcalloc((size_t)*n + 1, sizeof(*ns));
	for (int64_t i = 0; i < *n; i++) {
		ns[kept] = to_ns(at[i] * scale);
		if (l->duration_ns && ns[kept] >= l->duration_ns)
			break;
		kept++;
	}
	*n = kept;
	free(at);
	return ns;
}
