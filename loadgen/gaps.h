/*
 * Gaps between tokens: millions of whole nanoseconds, of which a few percentiles are wanted. They
 * are counted into bins, and only the bins that hold a percentile are sorted. The figures are those
 * of all values, as of a struct sample of them in ms. Pure.
 */
#ifndef LOADGEN_GAPS_H
#define LOADGEN_GAPS_H

#include <stddef.h>
#include <stdint.h>

struct gaps {
	int64_t *ns;
	size_t n, cap;
};

/* Room for n more, which the caller fills in; they count already. */
int64_t *gaps_extend(struct gaps *g, size_t n);
void gaps_release(struct gaps *g);

struct gap_figures {
	double mean_ms, std_ms, max_ms; /* std: of the population */
};

/* out[i]: the p[i]-th percentile in ms, as sample_percentile(); n <= 16. All NaN when empty. */
void gaps_figures(const struct gaps *g, const double *p, double *out, size_t n,
		  struct gap_figures *figures);

#endif
