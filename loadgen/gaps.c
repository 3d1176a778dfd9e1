/*
 * Owns the selection of percentiles from very many whole numbers. Pure. Must not know whose gaps
 * they are.
 */
#include "gaps.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/sortx.h"
#include "base/units.h"

/* As in base/hist: values with the same top eight bits share a bin; those below 128, and what is
 * negative in a damaged file, the first. */
#define TOP_BITS 7
#define BINS	 ((63 - TOP_BITS + 1) << TOP_BITS)
#define MOST	 16 /* percentiles at once */

int64_t *gaps_extend(struct gaps *g, size_t n)
{
	if (n > g->cap - g->n) {
		g->cap = g->n + n > 2 * g->cap ? g->n + n : 2 * g->cap;
		g->ns = xreallocarray(g->ns, g->cap, sizeof(*g->ns));
	}
	g->n += n;
	return g->ns + g->n - n;
}

void gaps_release(struct gaps *g)
{
	free(g->ns);
	*g = (struct gaps){0};
}

static double mean_ns(const struct gaps *g)
{
	double sum = 0;

	for (size_t i = 0; i < g->n; i++)
		sum += (double)g->ns[i];
	return g->n ? sum / (double)g->n : NAN;
}

double gaps_mean_ms(const struct gaps *g)
{
	return mean_ns(g) / 1e6;
}

double gaps_std_ms(const struct gaps *g)
{
	double mean = mean_ns(g), sum = 0;

	for (size_t i = 0; i < g->n; i++)
		sum += ((double)g->ns[i] - mean) * ((double)g->ns[i] - mean);
	return g->n ? sqrt(sum / (double)g->n) / 1e6 : NAN;
}

double gaps_max_ms(const struct gaps *g)
{
	int64_t max = INT64_MIN;

	for (size_t i = 0; i < g->n; i++)
		max = g->ns[i] > max ? g->ns[i] : max;
	return g->n ? ns_to_ms(max) : NAN;
}

static uint32_t bin_of(int64_t ns)
{
	int e;

	if (ns < 1 << TOP_BITS)
		return 0;
	e = 63 - __builtin_clzll((unsigned long long)ns) - TOP_BITS;
	return ((uint32_t)e << TOP_BITS) + (uint32_t)(ns >> e);
}

/* A rank and the bin in which it lies. */
struct place {
	size_t rank;
	uint32_t bin;
	size_t before; /* values in the bins before it */
};

static struct place find_place(const uint32_t *count, size_t rank)
{
	struct place at = {.rank = rank};

	while (at.before + count[at.bin] <= rank)
		at.before += count[at.bin++];
	return at;
}

static int64_t *values_of(const struct gaps *g, uint32_t bin, size_t n)
{
	double *v = xcalloc(n + 1, sizeof(*v)); /* below 2^53 ns, a hundred days, they are exact */
	int64_t *out = xcalloc(n + 1, sizeof(*out));
	size_t k = 0;

	for (size_t i = 0; i < g->n; i++)
		if (bin_of(g->ns[i]) == bin)
			v[k++] = (double)g->ns[i];
	CHECK(k == n);
	sort_doubles(v, n);
	for (size_t i = 0; i < n; i++)
		out[i] = (int64_t)v[i];
	free(v);
	return out;
}

void gaps_percentiles_ms(const struct gaps *g, const double *p, double *out, size_t n)
{
	uint32_t *count = xcalloc(BINS, sizeof(*count));
	struct place last = {0};
	int64_t *sorted = NULL, at[2 * MOST];

	CHECK(n <= MOST && g->n < UINT32_MAX);
	for (size_t i = 0; i < g->n; i++)
		count[bin_of(g->ns[i])]++;
	/* neighbours are mostly in the same bin */
	for (size_t i = 0; i < 2 * n && g->n; i++) {
		size_t rank = (size_t)(p[i / 2] / 100 * (double)(g->n - 1)) + i % 2;
		struct place z = find_place(count, rank < g->n ? rank : g->n - 1);

		if (!sorted || z.bin != last.bin) {
			free(sorted);
			sorted = values_of(g, z.bin, count[z.bin]);
			last = z;
		}
		at[i] = sorted[z.rank - z.before];
	}
	for (size_t i = 0; i < n; i++) {
		double rank = g->n ? p[i] / 100 * (double)(g->n - 1) : 0;

		out[i] = g->n ? ns_to_ms(at[2 * i]) +
					 (rank - floor(rank)) *
						 (ns_to_ms(at[2 * i + 1]) - ns_to_ms(at[2 * i]))
			      : NAN;
	}
	free(sorted);
	free(count);
}
