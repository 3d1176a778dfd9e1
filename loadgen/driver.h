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

/* Which of a level's requests (sessions: conversations) and clients are driven here: number
 * `first`, and every step-th behind it. With the same step and every first below it each number
 * is in one share; {0, 1} has all. */
struct share {
	int first, step;
};

/* How many of n things are in it. */
static inline int64_t share_of(struct share s, int64_t n)
{
	return n > s.first ? (n - s.first - 1) / s.step + 1 : 0;
}

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
	int user;	 /* sessions: whose request this is, from 0 ... */
	int64_t session; /* ... in which conversation of the level, from 0 */
	int turn;
};

/* What conversations are like: functions of their arguments alone. */
struct session_source {
	int (*turns)(void *arg, int64_t session);      /* > 0 */
	int64_t (*think_ns)(void *arg, int64_t index); /* behind request `index` */
	void *arg;
};

/* The share of a level. Numbers, of requests, conversations and users, are the level's throughout.
 * start_ns: when the level starts. arrivals: arrival_times() of an open level, all of them, copied;
 * else NULL. A closed level's share has a client of its own. */
struct driver *driver_new(const struct level *l, struct share share, int64_t start_ns,
			  const int64_t *arrivals, int64_t n_arrivals);

/* Users who each hold one conversation after another, the next that nobody has begun, and think
 * between an answer and their next request. Requests are numbered by their place: all turns of
 * conversation 0, then those of 1. A conversation ends with a turn that fails; of those counted by
 * level.conversations its other turns are then dropped. */
struct driver *driver_new_sessions(const struct level *l, struct share share, int64_t start_ns,
				   const struct session_source *source);
void driver_free(struct driver *d);

struct driver_step driver_next(struct driver *d, int64_t now_ns);
void driver_ended(struct driver *d, int64_t now_ns); /* one of the started requests has ended */
void driver_turn_ended(struct driver *d, int user, bool ok, int64_t now_ns); /* so of a session */
void driver_stop(struct driver *d); /* start no more: what was planned and not started is dropped */

/* The level's time is over now, whatever it was: later arrivals are no more planned. */
void driver_cut(struct driver *d, int64_t now_ns);

/* Closed and serial by requests: planned = requests. By duration: what was started; also with both
 * ends, once the time was over first. Open: the arrivals; those that max_concurrency held back
 * until the time was over are dropped. Sessions by conversations: all their turns; by duration as
 * closed. */
int64_t driver_planned(const struct driver *d);
int64_t driver_started(const struct driver *d);
int64_t driver_in_flight(const struct driver *d);

/* Of the planned ones, the first behind `index` (-1: of all) that never started; -1: there is none.
 */
int64_t driver_unsent_after(const struct driver *d, int64_t index);

/* Which turn of which conversation a planned request of a session is. */
void driver_find_turn(const struct driver *d, int64_t index, int64_t *session, int *turn);

/* For the rows of what was never sent: the planned time of request index (level start for closed
 * loads). */
int64_t driver_sched_ns(const struct driver *d, int64_t index);

/* When nothing new starts because the level's time is over; INT64_MAX without a duration. */
int64_t driver_deadline_ns(const struct driver *d);

#endif
