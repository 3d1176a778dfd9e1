/*
 * What the parts of run*.c share, and nobody else includes: run.c brings targets up and goes
 * through the phases, run_phase.c carries one out, run_show.c tells how far it is; in virtual time
 * run_jobs.c has other processes do all that.
 */
#ifndef LOADGEN_RUN_PARTS_H
#define LOADGEN_RUN_PARTS_H

#include <signal.h>
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
struct run_link;

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
	struct results *results; /* NULL: it has a link */
	struct run_link *link;	 /* a job's, to whom it tells what there is to write; else NULL */
	bool look;		 /* at the targets before their load */
	volatile sig_atomic_t *interrupts;
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

/* From phase `first` on as long as phases have the same targets, whose engines live so long; *next:
 * the one behind them. */
enum rc run_targets(struct run *r, int first, int *next, struct err *e);

/* The phase that a target begins with. */
int run_first_phase(const struct run *r, int target);

/* A search's next targets, in order, into next[n_targets]; how many: 0 when it is over. */
int run_search_next(struct run *r, int *next);

/* How many processes share the targets: `asked` (0: one for each core), 1 where only one can.
 * RC_INPUT: asked for more than the scenario can use. */
enum rc run_jobs_check(const struct run *r, int asked, int *jobs, struct err *e);

/* All phases by so many processes, a job for the targets of each; what they say is kept in the
 * order of one process, and at its times. */
enum rc run_jobs(struct run *r, int jobs, struct err *e);

/* In a job: what results.h would be told. */
void run_link_row(struct run_link *l, const struct record *rec, int64_t now_ns);
void run_link_sample(struct run_link *l, int target, int point, int64_t t_ns, const char *name,
		     double value);
void run_link_point(struct run_link *l, const struct point *p, int64_t start_ns, int64_t end_ns);
void run_link_phase(struct run_link *l, int phase, int64_t start_ns);
void run_link_phase_over(struct run_link *l);

/* What another process has told of r->load.phase: it begins, a row, a point, its end. */
void run_phase_begin(struct run *r, int64_t start_ns);
void run_keep_row(struct run *r, const struct record *rec, int64_t now_ns);
void run_keep_point(struct run *r, const struct point *p, int64_t start_ns, int64_t end_ns);
void run_phase_over(struct run *r);

/* The process that told of r->load.phase has died: rows and points for what it owes. */
void run_phase_lost(struct run *r, const char *why, int64_t end_ns);

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
