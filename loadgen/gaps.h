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

/* NaN when empty. */
double gaps_mean_ms(const struct gaps *g);
double gaps_std_ms(const struct gaps *g); /* population */
double gaps_max_ms(const struct gaps *g);

/* out[i]: the p[i]-th percentile, as sample_percentile(); n <= 16. */
void gaps_percentiles_ms(const struct gaps *g, const double *p, double *out, size_t n);

#endif
