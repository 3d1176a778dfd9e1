/*
 * A scenario carried out: targets launched and looked at, warmed up, driven through every level and
 * repeat, every request recorded, points computed, engines stopped. One thread, one event loop;
 * blocks until the run is over.
 */
#ifndef LOADGEN_RUN_H
#define LOADGEN_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "metrics.h"
#include "progress.h"
#include "record.h"
#include "scenario.h"

struct run_opts {
	const char *out_dir; /* or NULL for the default */
	enum progress_mode progress;
	bool preflight;
	int jobs; /* processes that share the targets of a run in virtual time; 0 = one a core */
};

/* What it measured. Owned by the caller after run_scenario(), also when interrupted. */
struct run_done {
	char *dir;
	char *started_utc;
	const char
		*ended; /* "complete", "interrupted", "max_failures", "worker_lost", "job_lost" */
	struct record *records;
	size_t n_records;
	struct point *points;
	size_t n_points;
};

/* RC_INPUT, RC_IO: nothing was sent (bad folder, engine that does not start, nobody listens at any
 * target). */
enum rc run_scenario(struct scenario *s, const struct run_opts *o, struct run_done *out,
		     struct err *e);
void run_done_release(struct run_done *d);

#endif
