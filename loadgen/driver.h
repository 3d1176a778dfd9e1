/*
 * Who may start, and when: one level's requests as a state machine over time. Pure: takes now_ns,
 * returns what to do. Open loop stays open: a late server never moves an arrival. At the end
 * planned = started + dropped.
 */
#ifndef LOADGEN_DRIVER_H
#define LOADGEN_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

struct driver;

enum driver_what {
	DRIVER_START, /* start request `index`, planned for sched_ns, now; then ask again */
	DRIVER_WAIT,  /* nothing before at_ns (or before a request ends) */
	DRIVER_BLOCK, /* nothing until a request ends */
	DRIVER_DRAIN, /* all that will start has started; some are in flight */
	DRIVER_OVER,  /* and all have ended */
};

struct driver_step {
	enum driver_what what;
	int64_t index;
	int64_t sched_ns;
	int64_t at_ns;
};

/* start_ns: when the level starts. arrivals: arrival_times() of an open level, copied; else NULL */
struct driver *driver_new(const struct level *l, int64_t start_ns, const int64_t *arrivals,
			  int64_t n_arrivals);
void driver_free(struct driver *d);

struct driver_step driver_next(struct driver *d, int64_t now_ns);
void driver_ended(struct driver *d, int64_t now_ns); /* one of the started requests has ended */
void driver_stop(struct driver *d); /* start no more: what was planned and not started is dropped */

/* Closed and serial by requests: planned = requests. By duration: what was started; also with both
 * ends, once the time was over first. Open: the arrivals; those that max_concurrency held back
 * until the time was over are dropped. */
int64_t driver_planned(const struct driver *d);
int64_t driver_started(const struct driver *d);
int64_t driver_in_flight(const struct driver *d);

/* For the rows of what was never sent: the planned time of request index (level start for closed
 * loads). */
int64_t driver_sched_ns(const struct driver *d, int64_t index);

/* When nothing new starts because the level's time is over; INT64_MAX without a duration. */
int64_t driver_deadline_ns(const struct driver *d);

#endif
