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

/* One pass over all values. */
static void sum_up(const struct gaps *g, struct gap_figures *out, uint32_t *count, uint16_t *bins)
{
	int64_t first = g->ns[0], max = first, sum = 0;
	double squares = 0, mean;

	for (size_t i = 0; i < g->n; i++) {
		int64_t ns = g->ns[i], off = ns - first; /* small numbers: little is lost */

		sum += off;
		squares += (double)off * (double)off;
		max = ns > max ? ns : max;
		bins[i] = (uint16_t)bin_of(ns);
		count[bins[i]]++;
	}
	mean = (double)sum / (double)g->n;
	out->mean_ms = ((double)first + mean) / 1e6;
	out->std_ms = sqrt(fmax(0, squares / (double)g->n - mean * mean)) / 1e6;
	out->max_ms = ns_to_ms(max);
}

/* The values of the marked bins, in order. */
static double *pick_out(const struct gaps *g, const uint32_t *count, const uint16_t *bins,
			const bool *marked, size_t *n)
{
	size_t total = 0, k = 0;
	double *v;

	for (size_t bin = 0; bin < BINS; bin++)
		total += marked[bin] ? count[bin] : 0;
	v = xcalloc(total + 1, sizeof(*v));
	for (size_t i = 0; i < g->n; i++)
		if (marked[bins[i]])
			v[k++] = (double)g->ns[i]; /* exact below 2^53 ns, a hundred days */
	sort_doubles(v, total);
	*n = total;
	return v;
}

/* What is picked out before a bin's values is what other marked bins before it hold. */
static size_t picked_before(const uint32_t *count, const bool *marked, uint32_t bin)
{
	size_t n = 0;

	for (uint32_t i = 0; i < bin; i++)
		n += marked[i] ? count[i] : 0;
	return n;
}

static void percentiles(const struct gaps *g, const uint32_t *count, const uint16_t *bins,
			const double *p, double *out, size_t n)
{
	bool *marked = xcalloc(BINS, sizeof(*marked));
	struct place at[2 * MOST];
	size_t n_picked;
	double *picked;

	for (size_t i = 0; i < 2 * n; i++) {
		size_t rank = (size_t)(p[i / 2] / 100 * (double)(g->n - 1)) + i % 2;

		at[i] = find_place(count, rank < g->n ? rank : g->n - 1);
		marked[at[i].bin] = true;
	}
	picked = pick_out(g, count, bins, marked, &n_picked);
	for (size_t i = 0; i < n; i++) {
		double rank = p[i] / 100 * (double)(g->n - 1), value[2];

		for (size_t k = 0; k < 2; k++) {
			const struct place *z = &at[2 * i + k];

			value[k] =
				picked[picked_before(count, marked, z->bin) + z->rank - z->before] /
				1e6;
		}
		out[i] = value[0] + (rank - floor(rank)) * (value[1] - value[0]);
	}
	free(picked);
	free(marked);
}

void gaps_figures(const struct gaps *g, const double *p, double *out, size_t n,
		  struct gap_figures *figures)
{
	uint32_t *count;
	uint16_t *bins; /* of each gap */

	CHECK(n <= MOST && g->n < UINT32_MAX);
	*figures = (struct gap_figures){NAN, NAN, NAN};
	for (size_t i = 0; i < n; i++)
		out[i] = NAN;
	if (!g->n)
		return;
	count = xcalloc(BINS, sizeof(*count));
	bins = xreallocarray(NULL, g->n, sizeof(*bins));
	sum_up(g, figures, count, bins);
	percentiles(g, count, bins, p, out, n);
	free(bins);
	free(count);
}
