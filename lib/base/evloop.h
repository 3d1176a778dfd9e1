/*
 * The event loop: a libevent base plus what it lacks: deadlines to the microsecond (a timerfd on an
 * absolute timeline, behind a timerq), work put off to the end of the turn, signals, and a wake-up
 * from other threads. One thread owns a loop; only evloop_notify() may be called from another, or
 * from a signal handler.
 */
#ifndef BASE_EVLOOP_H
#define BASE_EVLOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "err.h"
#include "timerq.h"

struct evloop;

struct evloop *evloop_new(void); /* dies if the kernel refuses */

/*
 * A loop in virtual time: deadlines, deferred work and notifications as ever, but no kernel and no
 * waiting. When all of an instant is done, time jumps to the next deadline. What belongs to one
 * instant runs in this order: timers as they were set, then deferred work; what that sets for the
 * same instant follows in the same way. It has no base and no signals.
 */
struct evloop *evloop_new_virtual(int64_t start_ns);
void evloop_free(struct evloop *l);
struct event_base *evloop_base(struct evloop *l);

/* The loop's time: CLOCK_MONOTONIC right now, or the virtual instant. */
int64_t evloop_now_ns(const struct evloop *l);

/* Nothing that the loop knows of happens before: the earliest deadline, INT64_MAX without one; now,
 * while deferred work waits. */
int64_t evloop_next_ns(const struct evloop *l);

/*
 * A turn: wait, run the callbacks of all that has happened, then the deferred work. Only these two
 * make turns; deadlines and deferred work stand still under a bare event_base_loop(). Neither may
 * be called from a callback.
 *
 * evloop_run() makes turns until evloop_stop(), whose turn is finished first, or until nothing is
 * left to wait for. To be waited for are: a queued timer, deferred work, and events added to
 * evloop_base(). A signal or a notification that has come already is still delivered, but that one
 * may come keeps nothing going. A stop outside of a run ends the next one at once, so callers that
 * wait for a condition loop on it.
 */
void evloop_run(struct evloop *l);
void evloop_stop(struct evloop *l);

/* One turn, blocking until something happens; here a signal or a notification counts. */
void evloop_once(struct evloop *l);

/* Precise deadline on CLOCK_MONOTONIC; t->fn runs on the loop with now_ns read once per batch. */
void evloop_timer(struct evloop *l, struct timer *t, int64_t at_ns);
void evloop_timer_cancel(struct evloop *l, struct timer *t);

/* Behind a callback's own work, with the time that it has read anyway: runs the deadlines that have
 * passed meanwhile. When much is ready at once they would else wait until all of it is done. */
void evloop_catch_up(struct evloop *l, int64_t now_ns);

/*
 * Runs fn(d) once at the end of this turn, in order: where objects that were marked in callbacks
 * are swept. fn may free d or defer it again. What deferred work defers runs in the same pass;
 * after 16 such generations the rest goes to the end of the next turn, which does not block, so
 * work that always defers more starves no I/O.
 */
struct deferred {
	void (*fn)(struct deferred *d);
	struct deferred *next;
	bool queued;
};
void evloop_defer(struct evloop *l, struct deferred *d); /* no-op if queued already */
void evloop_undefer(struct evloop *l, struct deferred *d);

/* fn runs on the loop for each delivery of the signal, until evloop_free(). One loop of a process
 * can have signals. */
void evloop_on_signal(struct evloop *l, int signo, void (*fn)(int signo, void *arg), void *arg);

/* Wakes the loop from any thread or signal handler; fn was registered once by evloop_on_notify and
 * runs on the loop (calls may merge). */
void evloop_on_notify(struct evloop *l, void (*fn)(void *arg), void *arg);
void evloop_notify(struct evloop *l);

#endif
