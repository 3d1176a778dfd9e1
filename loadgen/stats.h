/*
 * Numbers from samples. Pure.
 */
#ifndef LOADGEN_STATS_H
#define LOADGEN_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* A growable set of samples; NaN is refused by CHECK. */
struct sample {
	double *v;
	size_t n, cap;
	bool sorted;
};

void sample_add(struct sample *s, double v);
void sample_release(struct sample *s);

double sample_mean(const struct sample *s); /* NaN when empty, as all below */
double sample_std(const struct sample *s);  /* population, as numpy's default */
double sample_max(const struct sample *s);

/* p in [0, 100]: linear interpolation between the closest ranks of the raw values (numpy's default,
 * Hyndman-Fan 7). */
double sample_percentile(struct sample *s, double p);

/* Enough samples for the p-th percentile to mean something: with 99 % confidence the true one is
 * not above what was seen, one sample beyond it allowed (>= 64 for p90, >= 662 for p99). */
bool sample_enough(size_t n, double p);

/* Half-width of the 95 % confidence interval of a mean over repeats (Student's t); NaN for n < 2.
 */
double mean_ci95(const double *v, size_t n);

/* Two sided 97.5 % point of Student's t; 1.96 from 31 degrees of freedom on. */
double student_t975(size_t degrees);

/* An estimate with its 95 % interval; NaN where there is none. */
struct interval {
	double mid, low, high;
};

/* How b stands to a: b / a, or b - a. */
enum contrast { CONTRAST_RATIO, CONTRAST_DIFFERENCE };

/* By the means of two sets of repeats, with Welch's interval (unequal variances, degrees of freedom
 * rounded down): of the difference, or of the logs' difference, which makes the ratio one of
 * geometric means. NaN for fewer than two on a side, or a ratio with a value that is not positive.
 */
struct interval welch_contrast(const double *a, size_t n, const double *b, size_t m,
			       enum contrast how);

#endif
