/*
 * Records -> the row of a point: one target at one load level in one repeat. Pure; measurement.md section 2 holds the
 * definitions, the column names are those of points.csv. NaN = does not exist here (an empty field, never 0).
 */
#ifndef LOADGEN_METRICS_H
#define LOADGEN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"
#include "record.h"
#include "scenario.h"
#include "stats.h"

enum metric { M_TTFT, M_TTFT_SCHED, M_TTFT_VLLM, M_TPOT, M_ITL, M_E2EL, M_E2EL_SCHED, M_DISPATCH, M_COUNT };
const char *metric_name(enum metric m); /* "ttft", "ttft_sched" ... */

/* What the instrument knows of its own error while a point ran; from self_watch and the transports. */
struct self_watch_point {
	double loop_lag_p99_us;
	double receive_error_p99_us; /* kernel stamp -> the loop reads it; NaN without kernel stamps */
	double send_late_p99_us;     /* planned (or freed slot) -> send */
	double cpu_share;            /* of one core, the load thread's */
};

enum verdict { VERDICT_OK, VERDICT_SATURATED, VERDICT_LATE, VERDICT_FEW_SAMPLES, VERDICT_UNSTREAMED, VERDICT_FAILED };
/* The limits behind them are documented in metrics.c beside the table that names them. */
const char *verdict_name(enum verdict v);

struct point {
	int target, level, repeat, id;
	int64_t planned, ok, failed, dropped;
	int64_t by_outcome[OUTCOME_COUNT];
	int64_t wasted_tokens;       /* output tokens of requests that did not end ok */
	int64_t prompt_tokens, output_tokens; /* of ok requests, where told */
	int64_t merged_events, events;
	bool streamed;               /* false: TTFT is the whole latency, the report says so */
	bool tokens_by_events;       /* some request's tokens were counted by events */
	bool tokens_differ;          /* some answer had another length than planned */
	double duration_s;           /* first send -> last end */
	double achieved_rate;        /* requests started per second of the level */
	double requests_per_s, requests_per_min;
	double output_tokens_per_s, total_tokens_per_s;
	double steady_output_tokens_per_s; /* the longest window in which the asked concurrency was held */
	double peak_output_tokens_per_s;   /* largest 1-s bucket of tokens */
	double seed_mean_tps;        /* mean of tokens / (end - start of the level): the seed benchmark's reading */
	double single_stream_tps;    /* mean of tokens / (done - send) */
	double goodput_per_s, goodput_share; /* NaN without an SLO */
	double mean_running, peak_running;
	double littles_ratio;        /* X * mean E2EL(done) / (C * mean tokens): 1 in a closed loop; else NaN */
	double m[M_COUNT][6];        /* mean, p50, p90, p95, p99, max in ms */
	double std_ms[M_COUNT];
	size_t samples[M_COUNT];
	struct self_watch_point self;
	enum verdict verdict;
	char verdict_text[160];      /* in words, with the number that decided */
};

enum metric_stat { S_MEAN, S_P50, S_P90, S_P95, S_P99, S_MAX, S_COUNT };
const char *metric_stat_name(enum metric_stat s); /* "mean_ms", "p50_ms" ... */

/* level_start_ns: when the level began (for seed_mean_tps). records: all of the point's, dropped ones included. */
void point_compute(struct point *p, const struct scenario *s, const struct record *const *records, size_t n,
		   int64_t level_start_ns, const struct self_watch_point *self);

/* One metric of one record in ms; NaN if it has none. Shared with the reports and the CDF data. */
double record_metric_ms(const struct record *r, enum metric m);

#endif
