/*
 * The order of a run: which level is put on which targets, when, as which points. Pure; `run`
 * carries it out and `plan` prints it, so the two cannot disagree.
 */
#ifndef LOADGEN_PHASES_H
#define LOADGEN_PHASES_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

/* One level at work on targets [first_target, first_target + n_targets): all of them under
 * `interleave`, else one. */
struct phase {
	int level; /* index in scenario.levels; -1 = warm-up, which belongs to no point */
	int repeat;
	int first_target, n_targets;
	int first_point; /* of target first_target; the others follow; -1 for a warm-up */
};

/* malloc'd, *n of them, in order; repeats of all levels after one another, but under `find` those
 * of each level, and find.h says which of the levels there are come at all. */
struct phase *phases_new(const struct scenario *s, int *n);

/* What the phase asks for: a level of the scenario, or the warm-up's requests one at a time. */
struct level phase_level(const struct scenario *s, const struct phase *p);

/* How many processes share it: scenario.workers, but none without a client. */
int phase_workers(const struct scenario *s, const struct phase *p);

/* The name of the index-th request of a target in a phase: PHASE_ID_STRIDE * (1 + point) + index,
 * and below the stride for warm-ups. It depends on nothing that happens during the run, so a
 * request carries the same id in `plan`, in requests.csv and in an engine's --truth file. */
#define PHASE_ID_STRIDE INT64_C(10000000)
int64_t phase_request_id(const struct scenario *s, const struct phase *p, int target,
			 int64_t index);

#endif
