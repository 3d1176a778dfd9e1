/*
 * Owns the lag timer and the CPU reading of the load thread. Runs on the loop thread; knows no
 * target and no request.
 */
#include "self_watch.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/hist.h"

#define TICK_NS (5 * NS_PER_MS)

struct self_watch {
	struct evloop *loop;
	struct timer tick;
	struct hist *lag;
	int64_t started_ns, cpu_ns;
};

static void on_tick(struct timer *t, int64_t now_ns)
{
	struct self_watch *w = (struct self_watch *)((char *)t - offsetof(struct self_watch, tick));

	hist_record(w->lag, now_ns - t->at_ns);
	evloop_timer(w->loop, t, now_ns + TICK_NS);
}

struct self_watch *self_watch_new(struct evloop *loop)
{
	struct self_watch *w = xcalloc(1, sizeof(*w));

	w->loop = loop;
	w->lag = hist_new();
	w->tick.fn = on_tick;
	return w;
}

void self_watch_free(struct self_watch *w)
{
	if (!w)
		return;
	evloop_timer_cancel(w->loop, &w->tick);
	hist_free(w->lag);
	free(w);
}

void self_watch_start(struct self_watch *w, int64_t now_ns)
{
	hist_reset(w->lag);
	w->started_ns = now_ns;
	w->cpu_ns = thread_cpu_ns();
	evloop_timer(w->loop, &w->tick, now_ns + TICK_NS);
}

void self_watch_stop(struct self_watch *w, int64_t now_ns, struct self_watch_point *out)
{
	int64_t wall_ns = now_ns - w->started_ns;

	evloop_timer_cancel(w->loop, &w->tick);
	out->loop_lag_p99_us = hist_count(w->lag) ? (double)hist_quantile(w->lag, 0.99) / 1e3 : NAN;
	out->cpu_share =
		wall_ns > 0 ? (double)(thread_cpu_ns() - w->cpu_ns) / (double)wall_ns : NAN;
	out->receive_error_p99_us = NAN;
	out->send_late_p99_us = NAN;
}

const struct hist *self_watch_lag(const struct self_watch *w)
{
	return w->lag;
}
