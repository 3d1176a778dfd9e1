/*
 * When: the planned starts of an open level, on an absolute timeline from 0. Pure; a stream of
 * (seed, level, repeat) that is the same for every target.
 */
#ifndef LOADGEN_ARRIVAL_H
#define LOADGEN_ARRIVAL_H

#include <stdint.h>

#include "base/rng.h"
#include "scenario.h"

/* With level.requests = N > 0: N times; unless renewal is set, gaps are rescaled so that the last
 * arrival is at N/rate (as vLLM's bench does for a fair total). By duration: every time below
 * duration_ns of the renewal process. With both: the N times, cut at the duration. The first
 * request comes after the first gap, but for rate = inf: all at 0. Constant gaps are 1/rate
 * exactly. Returns a malloc'd ascending array of *n, in ns. */
int64_t *arrival_times(const struct level *l, uint64_t seed, int level_index, int repeat,
		       int64_t *n);

#endif
