/*
 * How far a replay is from the measurement: a number a request and metric, and their mean. Pure.
 *
 * Three relative errors a request: of TTFT, of the time from its first to its last token, and of
 * the whole. TTFT's is taken of what was measured, but of no less than a second or the run's
 * median, whichever is smaller: a millisecond does not outweigh a queue of a minute.
 *
 * In a closed loop that was played because nobody knows its arrivals, who was whose neighbour means
 * nothing: the k-th smallest value is compared with the k-th smallest.
 */
#ifndef FAKEENGINE_FIT_SCORE_H
#define FAKEENGINE_FIT_SCORE_H

#include "fit_rows.h"

enum fit_metric { FIT_TTFT, FIT_DECODE, FIT_E2E, FIT_N_METRICS };

struct fit_score {
	const struct fit_rows *rows;
	double ttft_floor_ns;
	double *error; /* FIT_N_METRICS a row: (simulated - measured) / measured; 0 where not scored
			*/
	double *weight;	       /* one a row: every run counts alike, however many its requests */
	double sum_of_weights; /* over all terms */
	double *scratch;
};

void fit_score_init(struct fit_score *s, const struct fit_rows *rows);
void fit_score_release(struct fit_score *s);

/* Fills error[] and returns the mean of its absolute values. times: one a row. */
double fit_score_take(struct fit_score *s, const struct fit_times *times);

/* A metric in ns; the decode time of a one-token answer does not exist: -1. times NULL: as it was
 * measured. */
double fit_metric_ns(const struct fit_rows *r, const struct fit_times *times, size_t row,
		     enum fit_metric m);

#endif
