/*
 * The last word on how fast the engine is as a whole. What the search makes small is a mean of
 * absolute errors, and that is least at the middle of them: on a machine where now and then a step
 * is held up, the middle explains most requests well, and sums (throughput, mean latency) come out
 * too fast. So one factor for all fitted times of the cost formula puts the sums right, if these
 * are off by more than chance, and only as far as the requests stay as well explained.
 */
#ifndef FAKEENGINE_FIT_LEVEL_H
#define FAKEENGINE_FIT_LEVEL_H

#include "fit_model.h"

/* How much slower (> 0) or faster the whole latencies are in the replay, in sum: the mean over the
 * runs of a run's own share. Of m->replayed as it stands. */
double fit_level_error(const struct fit_model *m);

/* Multiplies the free coefficients that are times, and their intervals, and returns the factor; 1
 * if nothing is to be mended. most: by so much the objective may grow, relative. m is then
 * replayed. */
double fit_level(struct fit_model *m, double most);

#endif
