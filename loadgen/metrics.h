/*
 * Records -> the row of a point: one target at one load level in one repeat. Pure; measurement.md
 * section 2 holds the definitions, the column names are those of points.csv. NaN = does not exist
 * here (an empty field, never 0).
 */
#ifndef LOADGEN_METRICS_H
#define LOADGEN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"
#include "record.h"
#include "scenario.h"
#include "stats.h"

/* The order of the columns of points.csv: the first eight, then, behind `verdict`, the others. */
enum metric {
	M_TTFT,
	M_TTFT_SCHED,
	M_TTFT_VLLM,
	M_TPOT,
	M_ITL,
	M_E2EL,
	M_E2EL_SCHED,
	M_DISPATCH,
	M_TTFO,		 /* first non-reasoning token - send */
	M_ITL_PER_TOKEN, /* gap / tokens in it, weighted by tokens; where every token is known to an
			    event */
	M_E2EL_DONE,	 /* end of the stream - send */
	M_COUNT
};
const char *metric_name(enum metric m); /* "ttft", "ttft_sched" ... */

enum metric_stat { S_MEAN, S_P50, S_P90, S_P95, S_P99, S_MAX, S_COUNT };
const char *metric_stat_name(enum metric_stat s); /* "mean_ms", "p50_ms" ... */

/* What the instrument knows of its own error while a point ran; from self_watch and the transports.
 */
struct self_watch_point {
	double loop_lag_p99_us;
	double receive_error_p99_us; /* kernel stamp -> the loop reads it; NaN without kernel stamps
				      */
	double send_late_p99_us;     /* planned (or freed slot) -> send */
	double cpu_share;	     /* of one core, the load thread's; of the busiest worker */
};

/* Is the client to be believed? What ails the figures without being the client's fault (few
 * samples, unstreamed answers) is no verdict: the report marks those figures. The limits are
 * documented in metrics.c beside the table that names them. */
enum verdict {
	VERDICT_OK,
	VERDICT_SATURATED, /* the client was the bottleneck */
	VERDICT_LATE,	   /* requests did not leave when they were planned */
	VERDICT_FAILED,	   /* nothing succeeded: there is no figure to believe */
};
const char *verdict_name(enum verdict v);

/* Of a figure's 95 % interval; NaN: there is none. */
struct ends {
	double low, high;
};

struct point {
	int target, level, repeat, id;
	int64_t planned, ok, failed, dropped;
	int64_t cancelled; /* as load.cancel planned: neither planned to be answered nor failed, so
			    * planned = ok + failed + dropped holds beside them */
	int64_t by_outcome[OUTCOME_COUNT];    /* of the planned ones */
	int64_t wasted_tokens;		      /* output tokens of requests that did not end ok */
	int64_t prompt_tokens, output_tokens; /* of ok requests, where told */
	int64_t merged_events, events;
	int64_t unstreamed;   /* ok requests whose TTFT is the whole latency */
	double duration_s;    /* first send -> last end */
	double achieved_rate; /* open: requests started per second, level start -> last send; else
				 NaN */
	double requests_per_s, requests_per_min;
	double output_tokens_per_s, total_tokens_per_s;
	double steady_output_tokens_per_s; /* longest window in which the asked load was held */
	double steady_s;		   /* how long that window was */
	double peak_output_tokens_per_s;   /* largest of the 1-s buckets counted from the first send
					    */
	double seed_mean_tps; /* mean of tokens / (end - start of the level): the seed benchmark's
			       * reading; NaN in open loop */
	double single_stream_tps;	     /* mean of tokens / (done - send) */
	double goodput_per_s, goodput_share; /* NaN without an SLO; share of those sent */
	double mean_running, peak_running;
	double littles_ratio; /* X * mean E2EL(done) / (C * mean tokens), C = mean running: 1, or
			       * the records contradict each other. NaN with failures */
	double batch_ratio;   /* X * mean TPOT / mean number of streams between first and last token
			       */
	double dispatch_over_1ms_share;
	double m[M_COUNT][6]; /* mean, p50, p90, p95, p99, max in ms */
	double std_ms[M_COUNT];
	struct ends output_tokens_per_s_ci; /* over requests, as point_intervals() says */
	struct ends ci[M_COUNT][S_COUNT];   /* in ms; of the headline's TTFT, TPOT, E2EL only */
	size_t samples[M_COUNT];
	struct self_watch_point self;
	enum verdict verdict;
	bool tokens_by_events;	/* some request's tokens were counted by events */
	bool tokens_differ;	/* some answer had another length than planned */
	char verdict_text[160]; /* in words, with the number that decided; "" if ok */
};

/* Were there enough samples for this figure? Always, for a mean or a maximum. */
bool point_enough(const struct point *p, enum metric m, enum metric_stat s);

/* What --strict asks: the client is to be believed, and there are samples enough for p99 TTFT. */
bool point_trusted(const struct point *p);

/* Fills everything but target, level, repeat and id, which the caller has set. level_start_ns: when
 * the level began (for seed_mean_tps). records: all of the point's, dropped ones included. Of self
 * everything but send_late_p99_us is taken as it stands. */
void point_compute(struct point *p, const struct scenario *s, const struct record *const *records,
		   size_t n, int64_t level_start_ns, const struct self_watch_point *self);

/* The 95 % intervals of a point by drawing its ok requests again (bootstrap.h): of the throughput,
 * by Little's law a quotient of sums over requests, and of mean, p50 and p99 of TTFT, TPOT and
 * E2EL, in open loop from the planned start. None for a percentile with too few samples. They know
 * the noise between requests, not that between runs. The scenario's seed draws the same again.
 * point_compute() calls it; metrics_intervals.c. */
void point_intervals(struct point *p, const struct scenario *s, const struct record *const *records,
		     size_t n);

/* The figures that can have one, beside the throughput. */
struct interval_figure {
	enum metric metric;
	enum metric_stat stat;
};
enum { N_INTERVAL_FIGURES = 15 };
extern const struct interval_figure interval_figures[N_INTERVAL_FIGURES];

/* One metric of one record in ms; NaN if it has none. Shared with the reports and the CDF data. */
double record_metric_ms(const struct record *r, enum metric m);

/* The metrics that are many values a record, M_ITL and M_ITL_PER_TOKEN: appends them to out. */
void record_add_gaps_ms(const struct record *r, enum metric m, struct sample *out);

/* Did it end well and meet every SLO asked for? TTFT and E2EL count from the planned start. */
bool record_is_good(const struct record *r, const struct slo *slo);
bool slo_asked(const struct slo *slo);

#endif
