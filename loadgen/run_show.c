/*
 * Owns the progress line's figures and the rhythm in which rows go to the disk. Main thread, on the
 * run's loop. Must not know what comes of the rows.
 */
#include "run_parts.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/units.h"
#include "curve.h"

#define FLUSH_NS (100 * NS_PER_MS)

static void on_flush(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, flush));

	results_flush(r->results);
	evloop_timer(r->loop, t, now_ns + FLUSH_NS);
}

static void describe_level(const struct run *r, int64_t now_ns, char *out, size_t cap)
{
	const struct level *v = &r->load.level;
	bool ending = v->duration_ns && now_ns - r->load.start_ns > v->duration_ns;
	char repeat[16] = "", behind[32], label[32];

	if (r->s->repeats > 1)
		snprintf(repeat, sizeof(repeat), " #%d", r->load.phase->repeat + 1);
	snprintf(behind, sizeof(behind), "%s%s", repeat, ending ? " (ending)" : "");
	if (r->load.phase->level < 0)
		snprintf(out, cap, "warm-up");
	else {
		level_label(v, label, sizeof(label));
		snprintf(out, cap, "%s%s", label, behind);
	}
}

void run_restart_rate(struct run *r, int64_t now_ns)
{
	r->rate_tokens = r->tokens;
	r->rate_since_ns = now_ns;
}

/* Of all that is being driven, wherever. */
static struct lane_counts count_all(const struct run *r)
{
	struct lane_counts sum = {0};

	if (r->crew)
		return crew_count(r->crew);
	for (int i = 0; i < r->n_active; i++) {
		struct lane_counts n = lane_count(r->active[i].lane);

		sum.done += n.done;
		sum.failed += n.failed;
		sum.in_flight += n.in_flight;
		sum.planned += n.planned;
	}
	return sum;
}

static void show_progress(struct run *r, int64_t now_ns)
{
	struct progress_now now = {.point = r->phases_done, .points = r->phases_expected};
	struct lane_counts n = count_all(r);
	char target[64], level[64];
	double share = 0; /* of this phase */

	describe_level(r, now_ns, level, sizeof(level));
	snprintf(target, sizeof(target), "%d targets", r->n_active);
	now.target = r->n_active == 1 ? r->active[0].at.target->name : target;
	now.level = level;
	now.done = n.done;
	now.failed = n.failed;
	now.running = n.in_flight;
	if (r->load.level.requests > 0 || r->load.level.conversations > 0 ||
	    r->load.level.kind == LOAD_OPEN)
		now.planned = n.planned;
	if (now.planned > 0)
		share = (double)now.done / (double)now.planned;
	else if (r->load.level.duration_ns > 0)
		share = fmin(1, (double)(now_ns - r->load.start_ns) /
					(double)r->load.level.duration_ns);
	now.fraction = (r->phases_done + share) / r->phases_expected;
	if (now_ns > r->rate_since_ns)
		now.output_tokens_per_s =
			(double)(r->tokens - r->rate_tokens) / ns_to_s(now_ns - r->rate_since_ns);
	now.ttft_p50_ms =
		hist_count(r->ttft_us) ? (double)hist_quantile(r->ttft_us, 0.5) / 1e3 : NAN;
	if (now_ns - r->rate_since_ns >= NS_PER_S)
		run_restart_rate(r, now_ns);
	progress_show(r->progress, &now, monotonic_now_ns());
}

static void on_show(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, show));

	show_progress(r, now_ns);
	evloop_timer(r->loop, t, now_ns + progress_interval_ns(r->progress));
}

void run_look_up(struct run *r, int64_t now_ns)
{
	int64_t interval_ns = progress_interval_ns(r->progress), wall_ns = monotonic_now_ns();

	if (r->link)
		return;
	results_flush(r->results);
	if (interval_ns == 0 || wall_ns - r->looked_up_ns < interval_ns)
		return;
	r->looked_up_ns = wall_ns;
	show_progress(r, now_ns);
}

void run_show_begin(struct run *r)
{
	if (progress_interval_ns(r->progress) > 0)
		evloop_timer(r->loop, &r->show,
			     r->load.start_ns + progress_interval_ns(r->progress));
	evloop_timer(r->loop, &r->flush, r->load.start_ns + FLUSH_NS);
}

void run_show_end(struct run *r)
{
	evloop_timer_cancel(r->loop, &r->show);
	evloop_timer_cancel(r->loop, &r->flush);
}

void run_show_init(struct run *r)
{
	r->looked_up_ns = monotonic_now_ns();
	r->flush.fn = on_flush;
	r->show.fn = on_show;
}
