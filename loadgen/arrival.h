/*
 * When: the planned starts of an open level, on an absolute timeline from 0. Pure; a stream of
 * (seed, level, repeat) that is the same for every target.
 */
#ifndef LOADGEN_ARRIVAL_H
#define LOADGEN_ARRIVAL_H

#include <stdint.h>

#include "base/rng.h"
#include "scenario.h"
#include "trace.h"

/* With level.requests = N > 0: N times; unless renewal is set, gaps are rescaled so that the last
 * arrival is at N/rate (as vLLM's bench does for a fair total). By duration: every time below
 * duration_ns of the renewal process. With both: the N times, cut at the duration. The first
 * request comes after the first gap, but for rate = inf: all at 0. Constant gaps are 1/rate
 * exactly.
 *
 * A ramp is a Poisson process whose rate goes evenly from one value to the other over the duration,
 * or, without one, over the time that N requests need.
 *
 * A trace: request k is row k of t. With a `spread` the rows whose stamps are nearest to the same
 * multiple of it are set at random over the time that follows: as a Poisson process, of which only
 * the counts were kept, has them.
 *
 * t: of a trace's level, else NULL. Returns a malloc'd ascending array of *n, in ns. */
int64_t *arrival_times(const struct level *l, const struct trace *t, uint64_t seed, int level_index,
		       int repeat, int64_t *n);

/* How long a user of a session thinks behind request `index`. */
int64_t arrival_think_ns(const struct level *l, uint64_t seed, int level_index, int repeat,
			 int64_t index);

#endif
