/*
 * From a measured run to a profile: the numbers with which the simulated engine answers the same
 * requests as the measured one did, and how sure each of them is.
 *
 *     rows (fit_read.h) -> closed form (fit_linear.h) -> what bounds the batch (fit_knobs.h)
 *         -> nearest replay (fit_refine.h) -> intervals and verdicts -> level (fit_level.h)
 *         -> text and YAML (fit_report.h)
 *
 * The measured run is replayed in virtual time: the same requests, their recorded arrivals and
 * lengths (fit_replay.h). What is made small is the mean relative error of TTFT, decode time and
 * whole latency (fit_score.h).
 *
 * Which terms of the affine formula a run needs is tried: step, per prompt token, per decoding
 * sequence, per KV token and ingest always; the attention term and the knee only if they make the
 * objective clearly smaller. What nothing asks for is 0 and is said to be left out. egress is never
 * fitted: from outside it is the same as ingest.
 *
 * A number is "not identifiable from this run" if the objective at 0.8 or at 1.25 times it is less
 * than 5 % larger: others explain the run as well. Intervals are of the requests' scatter alone; a
 * model that is wrong is no part of them.
 */
#ifndef FAKEENGINE_FIT_H
#define FAKEENGINE_FIT_H

#include <stdint.h>

#include "fit_knobs.h"
#include "fit_level.h"
#include "fit_linear.h"
#include "fit_model.h"
#include "fit_refine.h"

#define FIT_IDENTIFIABLE 0.05

struct fit_options {
	/* Keys that are given, not fitted: "cost.affine.step", "scheduler.max_num_seqs"; ends with
	 * NULL. */
	const char *const *given;
	bool knobs_given; /* all of the scheduler's */
	uint64_t seed;
	int replays;		       /* of one search at most; 0 = as many as are worth it */
	bool intervals;		       /* false: only the numbers */
	struct fit_progress *progress; /* or NULL */
};

struct fit_result {
	struct fit_model model; /* replayed as fitted */
	struct fit_knobs knobs;
	struct fit_linear linear;
	double level;	    /* the factor of fit_level() ... */
	double level_error; /* ... and what was off before it */
	double objective;
};

/* p: what is begun with (policy, formula, given values); fitted when this returns. rows: finished.
 * RC_INPUT: too little to fit, and what is missing. p and rows outlive out; release in any case. */
enum rc fit(struct fit_result *out, struct profile *p, const struct fit_rows *rows,
	    const struct fit_options *o, struct err *e);
void fit_result_release(struct fit_result *r);

#endif
