/*
 * A phase driven by several processes: each worker (worker.h) has its share of every lane, and
 * their rows come out here in the order in which requests ended, as from one process. A crew lives
 * for one phase. Main thread.
 *
 *     crew_new() > crew_go() > ... handler->over() > crew_take_self() > crew_free()
 */
#ifndef LOADGEN_CREW_H
#define LOADGEN_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/evloop.h"
#include "base/hist.h"
#include "lane.h"
#include "metrics.h"
#include "worker.h"

struct crew;

struct crew_handler {
	/* As lane_load.keep: what rec owns goes to who is called. */
	void (*row)(void *arg, const struct record *rec, int64_t now_ns);
	void (*tokens)(void *arg, int64_t n); /* so many more have come */
	/* A worker has died, how is in words; what it had said is kept. May crew_stop(). */
	void (*lost)(void *arg, const char *words);
	void (*over)(void *arg); /* of each worker, the end has come */
	void *arg;
};

/* Forks n workers and blocks until each has its targets open, or has died. task and handler are
 * copied but for what they point to. Dies if the kernel refuses a process. */
struct crew *crew_new(struct evloop *loop, int n, const struct worker_task *task,
		      const struct crew_handler *handler);

/* The level begins at the time returned, a moment from now. */
int64_t crew_go(struct crew *c);

/* Nothing new starts, what is in flight is cancelled with `why` as its error. */
void crew_stop(struct crew *c, const char *why);

bool crew_is_over(const struct crew *c);
struct lane_counts crew_count(const struct crew *c); /* as last heard */

/* After over(): how the workers kept up. The lag of their loops taken together, the CPU of the
 * busiest; receive_lag[i] is filled with that of the i-th lane. */
void crew_take_self(const struct crew *c, struct self_watch_point *out, struct hist **receive_lag);

/* Of a worker that has died: how; else NULL. */
const char *crew_lost(const struct crew *c, int worker);

void crew_free(struct crew *c); /* those that still run are killed; NULL legal */

#endif
