/*
 * A fit told to a person: numbers with their intervals, and what the replay says beside what was
 * measured.
 */
#ifndef FAKEENGINE_FIT_REPORT_H
#define FAKEENGINE_FIT_REPORT_H

#include "base/buf.h"
#include "fit.h"

enum { FIT_MEAN, FIT_P50, FIT_P90, FIT_P99, FIT_N_STATISTICS };

/* A latency over the scored rows, in ns. */
struct fit_summary {
	double measured[FIT_N_STATISTICS], simulated[FIT_N_STATISTICS];
	size_t n;
};

enum fit_latency { FIT_OF_TTFT, FIT_OF_TPOT, FIT_OF_E2E, FIT_N_LATENCIES };

void fit_summarise(const struct fit_rows *rows, const struct fit_times *times, enum fit_latency l,
		   struct fit_summary *out);

/* (simulated - measured) / measured; 0 if nothing was measured. */
double fit_summary_error(const struct fit_summary *s, int statistic);

/* Output tokens per second over all runs: from the first arrival to the last token. NaN where no
 * arrivals are recorded. */
double fit_throughput(const struct fit_rows *rows, const struct fit_times *times);

void fit_report(struct buf *out, const struct fit_result *r);

/* What the fitted numbers say of model and card, where the profile has these and the numbers make
 * no sense for them: a line a finding, nothing if all is well. */
void fit_warnings(struct buf *out, const struct fit_result *r);

/* A value of an unknown with its unit, as a profile has it: "12.3ms". Returns out. */
const char *fit_spell(const struct fit_model *m, int param, double v, char out[32]);

/* What is to be said of a number: its interval, or why it has none. Returns out or a constant. */
const char *fit_account(const struct fit_result *r, int param, char out[160]);

#endif
