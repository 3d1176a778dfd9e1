/*
 * The event loop: a libevent base plus what it lacks: deadlines to the microsecond (a timerfd on an absolute timeline,
 * behind a timerq), work put off to the end of the turn, signals, and a wake-up from other threads.
 * One thread owns a loop; only evloop_notify() may be called from another.
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
void evloop_free(struct evloop *l);
struct event_base *evloop_base(struct evloop *l);

void evloop_run(struct evloop *l);  /* until evloop_stop() or nothing is left to wait for */
void evloop_once(struct evloop *l); /* one turn, blocking until something happens */
void evloop_stop(struct evloop *l);

/* Precise deadline on CLOCK_MONOTONIC; t->fn runs on the loop with now_ns read once per batch. */
void evloop_timer(struct evloop *l, struct timer *t, int64_t at_ns);
void evloop_timer_cancel(struct evloop *l, struct timer *t);

/* Runs fn(arg) once at the end of this turn, in order: where objects that were marked in callbacks are swept. */
struct deferred {
	void (*fn)(struct deferred *d);
	struct deferred *next;
	bool queued;
};
void evloop_defer(struct evloop *l, struct deferred *d); /* no-op if queued already */
void evloop_undefer(struct evloop *l, struct deferred *d);

/* fn runs on the loop for each delivery of the signal. */
void evloop_on_signal(struct evloop *l, int signo, void (*fn)(int signo, void *arg), void *arg);

/* Wakes the loop from any thread; fn was registered once by evloop_on_notify and runs on the loop (calls may merge). */
void evloop_on_notify(struct evloop *l, void (*fn)(void *arg), void *arg);
void evloop_notify(struct evloop *l);

#endif
