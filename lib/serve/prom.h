/*
 * Histograms with fixed upper bounds, and the Prometheus text format they are shown in. Recording
 * allocates nothing.
 */
#ifndef SERVE_PROM_H
#define SERVE_PROM_H

#include <stdint.h>

#include "base/buf.h"

#define PROM_MAX_BOUNDS 32

/* Bounds ascend; a value belongs to the first that is not below it, else to +Inf. */
struct prom_hist {
	const double *bound;		      /* not owned */
	int n_bounds, last;		      /* bucket that was hit last: values come in runs */
	uint64_t bucket[PROM_MAX_BOUNDS + 1]; /* not cumulative; the last is +Inf */
	double sum;
};

void prom_hist_init(struct prom_hist *h, const double *bound, int n_bounds);
void prom_hist_observe(struct prom_hist *h, double value);
uint64_t prom_hist_count(const struct prom_hist *h);

/* "# HELP" and "# TYPE" lines. kind: "counter", "gauge", "histogram". */
void prom_family(struct buf *b, const char *name, const char *kind, const char *help);

/* name{labels} value; labels without braces ("a=\"1\",b=\"2\""), "" for none. */
void prom_sample(struct buf *b, const char *name, const char *labels, double value);

/* All samples of a histogram: cumulative _bucket lines, _count, _sum. `before` and `after` are the
 * labels whose names sort before and after "le", each "" or without a comma at its ends. */
void prom_hist_samples(struct buf *b, const char *name, const char *before, const char *after,
		       const struct prom_hist *h);

/* Appends s as the content of a label's value: backslash, quote and newline escaped. */
void prom_label_value(struct buf *b, const char *s);

#endif
