/*
 * A measured engine as `fit` sees it: requests that were answered, with when each came, how long it
 * was, and when its first and last token (or each token) arrived. Plain data; times are ns since
 * the run's own zero.
 *
 * A closed loop is recognised by its times: one request comes soon after each that ends. There the
 * moment at which a request comes is the engine's own doing, and always just after a step has
 * ended; so it is kept as "so long after that one", not as a time. Else TTFT, which is mostly the
 * rest of a step, would be that of somebody who comes at random.
 *
 * A run is a time in which one engine served, idle at its beginning: a point of loadgen, a file of
 * another tool. Rows of one run stand together, in order of arrival.
 */
#ifndef FAKEENGINE_FIT_ROWS_H
#define FAKEENGINE_FIT_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* So many tokens had come by then. */
struct fit_event {
	int64_t t_ns;
	int32_t tokens;
};

struct fit_row {
	int64_t arrival_ns; /* 0 in a run without recorded arrivals */
	int64_t first_ns, last_ns;
	int32_t prompt_tokens, output_tokens; /* >= 1 */
	int run;
	bool scored; /* it counts; else it is only part of the load */
	/* In a closed loop: the row (of all) that its client sent next, so long after this one's
	 * last token; -1 = none. waits: it is somebody's next. */
	int64_t next, pause_ns;
	bool waits;
	struct fit_event *event; /* owned; or NULL: not recorded */
	int32_t n_events;
};

struct fit_run {
	char *name;
	size_t from, to; /* rows */
	/* Without recorded arrivals: a closed loop of so many clients that sent the rows in order.
	 * 0: the arrivals are recorded. */
	int32_t concurrency;
};

/* Why a row of a file is no row here. */
enum fit_reason {
	LEFT_FAILED,
	LEFT_MISSING,
	LEFT_ZERO,
	LEFT_SKEW,
	N_LEFT,
};

#define FIT_EXAMPLES 3

struct fit_left_out {
	size_t n;
	char *example[FIT_EXAMPLES]; /* "requests.csv row 17" */
};

struct fit_rows {
	struct fit_row *row;
	size_t n, cap;
	struct fit_run *run;
	int n_runs;
	/* The measured server's front end takes in one request at a time, each for so long, before
	 * its engine hears of it; 0: it takes in all at once. */
	int64_t front_end_ns;
	struct fit_left_out left_out[N_LEFT];
};

/* A new run; the rows that follow are its. concurrency as in struct fit_run. name is copied. */
void fit_rows_begin(struct fit_rows *r, const char *name, int32_t concurrency);

/* Takes a row, or counts why not. events: taken over. where: for the account. */
void fit_rows_add(struct fit_rows *r, struct fit_row row, const char *where);
void fit_rows_leave_out(struct fit_rows *r, enum fit_reason why, const char *where);

/* All runs are there: sorts the rows of each by arrival, finds closed loops, drops empty runs.
 * RC_INPUT when there are no rows, or more than a fifth was left out. */
enum rc fit_rows_finish(struct fit_rows *r, struct err *e);
void fit_rows_release(struct fit_rows *r);

/* "12 of 300 rows left out: 9 failed (requests.csv row 17, ...), 3 with zero tokens (...)"; nothing
 * if none was. */
void fit_rows_account(const struct fit_rows *r, struct buf *out);

size_t fit_rows_left_out(const struct fit_rows *r);

/* When a request came and was answered, from its run's zero: as it was measured, or as it is
 * simulated (fit_replay.h). */
struct fit_times {
	int64_t arrival_ns, first_ns, last_ns;
};

/* The most requests that were at once between their first and last token, and the most tokens that
 * these held, each its prompt and half its answer. times: one a row, or NULL for the measured ones
 * (then of runs with recorded arrivals). */
struct fit_peak {
	int32_t requests;
	int64_t tokens;
};
struct fit_peak fit_rows_peak(const struct fit_rows *r, const struct fit_times *times,
			      bool scored_only);

#endif
