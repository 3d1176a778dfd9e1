/*
 * What the parts of run*.c share, and nobody else includes: run.c brings targets up and goes
 * through the phases, run_phase.c carries one out, run_show.c tells how far it is.
 */
#ifndef LOADGEN_RUN_PARTS_H
#define LOADGEN_RUN_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/evloop.h"
#include "base/hist.h"
#include "crew.h"
#include "deployment.h"
#include "lane.h"
#include "phases.h"
#include "progress.h"
#include "results.h"
#include "self_watch.h"

struct run;

/* A target of the run. */
struct site {
	struct run *run;
	int index; /* of the target */
	struct deployment at;
	struct lane *lane;
	int point; /* the lane's, of the last phase it was driven in */
};

struct run {
	struct scenario *s;
	struct evloop *loop;
	struct results *results;
	struct self_watch *watch;
	struct progress *progress;
	struct site *sites; /* one a target */

	struct record *records;
	size_t n_records, cap_records;
	struct point *points;
	size_t n_points, cap_points;
	int64_t failures;
	const char *ended; /* why it stops early; NULL = it does not */

	struct phase *phases;
	int n_phases, phases_done, phases_expected; /* a search goes through some of them */

	/* this phase */
	struct lane_load load;
	struct crew *crew;   /* the processes that share it; NULL: this one drives it */
	struct site *active; /* n_active of sites[], those of the phase */
	int n_active, n_open;
	size_t first_record;
	struct timer flush, show;
	int64_t tokens;			    /* of all lanes, since the run began */
	int64_t rate_tokens, rate_since_ns; /* where the progress line counts its rate from */
	int64_t looked_up_ns; /* virtual time: when the wall's clock was last looked at */
	struct hist *ttft_us;
};

/* Fills r->load. */
void run_load_init(struct run *r);

/* Carries out r->load.phase, one level on the lanes of all `active` sites at once: from the first
 * request to its points. */
void run_phase(struct run *r);

/* Nothing new starts; what is in flight is cancelled and recorded. Nothing if it ends already. */
void run_end_early(struct run *r, const char *why, int64_t now_ns);

void run_show_init(struct run *r);

/* While a phase goes on: what a person and a disk want a few times a second. */
void run_show_begin(struct run *r);
void run_show_end(struct run *r);

/* The progress line's rate counts from here. */
void run_restart_rate(struct run *r, int64_t now_ns);

/* In virtual time a timer a few times a second would be most of the work, and in the way of steps
 * taken many at once. This does the same, called between requests. */
void run_look_up(struct run *r, int64_t now_ns);

#endif
