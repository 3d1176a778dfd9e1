/*
 * From a first guess to the numbers with which the replay comes nearest to the measurement, and how
 * sure these are.
 *
 * Two ways, by turns. The objective is a mean of absolute values, so its least is found as that of
 * a least-squares sum reweighted by what is left, along the slope of each error (polish): few
 * replays, but no further than the slope holds. And by nlopt without any slope (BOBYQA's quadratic
 * model), which does not mind the jumps that a schedule makes.
 */
#ifndef FAKEENGINE_FIT_REFINE_H
#define FAKEENGINE_FIT_REFINE_H

#include <stdint.h>

#include "fit_model.h"

/* Told now and then, for who waits. */
struct fit_progress {
	void (*say)(void *arg, const char *what, double objective, long replays);
	void *arg;
};

/* Along the slope, up to `rounds` times; the free unknowns of m move. Returns the objective. */
double fit_polish(struct fit_model *m, int rounds);

/* nlopt from here, at most so many replays, then polishes: of what it found, and of places a little
 * off, drawn at random, whose ends are m->rival: where a schedule is unsteady, numbers that are a
 * little different make another one, and may explain the run as well. */
double fit_refine(struct fit_model *m, int replays, const struct fit_progress *p);

/* For each free unknown: the middle 95 % of where it lies in resamples of the requests (blocks of
 * neighbours, as neighbours share their steps); what 0.8 and 1.25 times its value do to the
 * objective; and the verdict. In a resample it lies where the least is along the slope, from that
 * end of the searches which explains the resample best. `least` is the change of the objective that
 * counts, relative. */
void fit_intervals(struct fit_model *m, uint64_t seed, double least);

#define FIT_RESAMPLES 200

/* How often each row stands in a resample of rows; scratch for one. */
void fit_resample(const struct fit_rows *rows, uint64_t seed, uint64_t index, int32_t *times);

#endif
