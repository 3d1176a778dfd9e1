/*
 * The executor of an engine that exists only as a profile: a step is answered when its time by the
 * cost model is over, with words for tokens. It knows neither sockets nor libevent nor a clock;
 * what waits for a deadline stands behind struct sim_timers, an event loop under the wall clock or
 * a timerq in virtual time.
 *
 * A step ends at plan->start_ns + its cost, however late the wait for it was noticed, so lateness
 * never adds up. Any number of steps may be in flight.
 */
#ifndef FAKEENGINE_EXECUTOR_SIM_H
#define FAKEENGINE_EXECUTOR_SIM_H

#include <stdint.h>

#include "base/timerq.h"
#include "cost.h"
#include "drafter.h"
#include "serve/executor.h"

/* Runs t->fn(t, now) once at_ns is reached, or soon if it has passed; equal deadlines in the order
 * they were set. */
struct sim_timers {
	void (*set)(void *arg, struct timer *t, int64_t at_ns);
	void (*cancel)(void *arg, struct timer *t);
	void *arg;
};

/* executor_opts.config; must outlive the executor. */
struct sim_config {
	const struct cost *cost;
	struct cost_noise noise;
	uint64_t seed; /* of the noise; the words come from each request's own seed */
	struct sim_timers timers;
	const struct drafter *drafter; /* for a policy that speculates */
};

extern const struct executor_type
	executor_sim; /* open: executor_opts.config is a struct sim_config */

#endif
