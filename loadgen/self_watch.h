/*
 * The instrument watching itself while a point runs: how late its own loop is, and how much CPU it
 * uses.
 */
#ifndef LOADGEN_SELF_WATCH_H
#define LOADGEN_SELF_WATCH_H

#include "base/evloop.h"
#include "metrics.h"

struct self_watch;

struct self_watch *self_watch_new(struct evloop *loop);
void self_watch_free(struct self_watch *w);

/* Between the two a timer fires every 5 ms and its lateness is kept. */
void self_watch_start(struct self_watch *w, int64_t now_ns);
void self_watch_stop(struct self_watch *w, int64_t now_ns, struct self_watch_point *out);

/* Of the point just over; valid until the next starts. */
const struct hist *self_watch_lag(const struct self_watch *w);

#endif
