/*
 * Owns a phase on its way: who drives it (this process, or a crew), its rows, its points. Main
 * thread, on the run's loop. Must not know which phase comes next, nor how targets are brought up.
 */
#include "run_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arrival.h"
#include "base/die.h"
#include "base/log.h"
#include "workload.h"

#define LOOK_UP_REQUESTS 1024

static void keep_record(struct run *r, const struct record *rec, int64_t now_ns)
{
	if (r->n_records == r->cap_records) {
		r->cap_records = r->cap_records ? 2 * r->cap_records : 1024;
		r->records = xreallocarray(r->records, r->cap_records, sizeof(*r->records));
	}
	r->records[r->n_records++] = *rec;
	if (!r->s->output.rows)
		return;
	if (r->link)
		run_link_row(r->link, rec, now_ns);
	else
		results_add_record(r->results, rec);
}

void run_end_early(struct run *r, const char *why, int64_t now_ns)
{
	if (r->ended)
		return;
	r->ended = why;
	if (r->crew)
		crew_stop(r->crew, why);
	for (int i = 0; i < r->n_active; i++)
		lane_stop(r->active[i].lane, why, now_ns);
	if (r->n_active == 0 || r->n_open == 0)
		evloop_stop(r->loop);
}

void run_keep_row(struct run *r, const struct record *rec, int64_t now_ns)
{
	keep_record(r, rec, now_ns);
	if (rec->outcome == OUTCOME_DROPPED)
		return;
	if (!record_ok(rec))
		r->failures++;
	else if (rec->token1_ns >= 0)
		hist_record(r->ttft_us, (rec->token1_ns - rec->send_ns) / NS_PER_US);
	if (r->s->clock == RUN_CLOCK_VIRTUAL && r->n_records % LOOK_UP_REQUESTS == 0)
		run_look_up(r, now_ns);
}

/* What lanes say (lane.h): on_row() to on_over(). */
static void on_row(void *arg, const struct record *rec, int64_t now_ns)
{
	run_keep_row(arg, rec, now_ns);
}

static void on_settled(void *arg, int64_t now_ns)
{
	struct run *r = arg;

	if (r->s->limits.max_failures > 0 && r->failures >= r->s->limits.max_failures)
		run_end_early(r, "max_failures", now_ns);
	else if (!r->link && results_failed(r->results))
		run_end_early(r, "write_failed", now_ns);
}

static void on_tokens(void *arg, int64_t n)
{
	((struct run *)arg)->tokens += n;
}

static void on_over(void *arg)
{
	struct run *r = arg;

	if (--r->n_open == 0)
		evloop_stop(r->loop);
}

/* The receive stamps' lag since it was last forgotten; NULL where there are no such stamps. */
static struct hist *receive_lag(const struct site *t)
{
	struct transport_stats stats = {0};

	t->at.transport_type->stats(t->at.transport, &stats);
	return stats.receive_lag_ns;
}

void run_keep_point(struct run *r, const struct point *p, int64_t start_ns, int64_t end_ns)
{
	if (r->n_points == r->cap_points) {
		r->cap_points = r->cap_points ? 2 * r->cap_points : 64;
		r->points = xreallocarray(r->points, r->cap_points, sizeof(*r->points));
	}
	r->points[r->n_points++] = *p;
	if (r->link)
		run_link_point(r->link, p, start_ns, end_ns);
	else
		results_add_point(r->results, p, start_ns, end_ns);
}

/* The point of a target whose lane has just gone through a phase. lag: of its receive stamps, or
 * NULL. */
static void compute_point(const struct site *t, struct self_watch_point self,
			  const struct hist *lag, int64_t end_ns)
{
	struct run *r = t->run;
	const struct record **mine =
		xcalloc(r->n_records - r->first_record + 1, sizeof(struct record *));
	struct point p;
	size_t n = 0;

	for (size_t i = r->first_record; i < r->n_records; i++)
		if (r->records[i].point == t->point)
			mine[n++] = &r->records[i];
	if (lag && hist_count(lag))
		self.receive_error_p99_us = (double)hist_quantile(lag, 0.99) / 1e3;
	memset(&p, 0, sizeof(p));
	p.id = t->point;
	p.target = t->index;
	p.level = r->load.phase->level;
	p.repeat = r->load.phase->repeat;
	point_compute(&p, r->s, mine, n, r->load.start_ns, &self);
	run_keep_point(r, &p, r->load.start_ns, end_ns);
	free(mine);
}

static int point_of(const struct site *t)
{
	const struct phase *p = t->run->load.phase;

	return p->level < 0 ? -1 : p->first_point + t->index - p->first_target;
}

static void site_begin(struct site *t, const int64_t *arrivals, int64_t n_arrivals)
{
	struct hist *lag;

	if (!lane_begin(t->lane, point_of(t), arrivals, n_arrivals))
		return;
	lag = receive_lag(t);
	if (lag)
		hist_reset(lag);
	t->point = point_of(t);
	t->run->n_open++;
}

/* What has started has ended: the lane's rows become its point. */
static void site_end(struct site *t, const struct self_watch_point *self, int64_t end_ns)
{
	struct lane_counts n = lane_count(t->lane);

	if (!n.driven)
		return;
	lane_end(t->lane, t->run->ended, end_ns);
	if (t->point >= 0)
		compute_point(t, *self, receive_lag(t), end_ns);
	deployment_tell_death(&t->at, n.failed > 0);
}

/* This process drives the phase. */
static void drive(struct run *r, const int64_t *arrivals, int64_t n_arrivals)
{
	struct self_watch_point self = {NAN, NAN, NAN, NAN};
	int64_t end_ns;

	r->load.start_ns = evloop_now_ns(r->loop);
	run_restart_rate(r, r->load.start_ns);
	for (int i = 0; i < r->n_active; i++)
		site_begin(&r->active[i], arrivals, n_arrivals);
	if (r->s->clock == RUN_CLOCK_REAL) {
		self_watch_start(r->watch, r->load.start_ns);
		run_show_begin(r);
	}
	for (int i = 0; i < r->n_active; i++)
		lane_pump(r->active[i].lane, evloop_now_ns(r->loop));
	while (r->n_open > 0)
		evloop_run(r->loop);
	end_ns = evloop_now_ns(r->loop);
	if (r->s->clock == RUN_CLOCK_REAL) {
		run_show_end(r);
		self_watch_stop(r->watch, end_ns, &self);
	}
	for (int i = 0; i < r->n_active; i++)
		site_end(&r->active[i], &self, end_ns);
}

/* What a crew says (crew.h): on_crew_row() to on_crew_over(). */
static void on_crew_row(void *arg, const struct record *rec, int64_t now_ns)
{
	on_row(arg, rec, now_ns);
	on_settled(arg, now_ns);
}

/* A load of which a part is missing is not the one that was asked for. */
static void on_crew_lost(void *arg, const char *words)
{
	struct run *r = arg;

	log_error("%s; its rows so far are kept, the run ends", words);
	run_end_early(r, "worker_lost", evloop_now_ns(r->loop));
}

static void on_crew_over(void *arg)
{
	evloop_stop(((struct run *)arg)->loop);
}

/* Rows for what a worker that has died was to do and did not tell of. */
static void account_for(struct run *r, struct site *t, struct share share, const char *why,
			const int64_t *arrivals, int64_t n_arrivals)
{
	int64_t n = 0;
	bool *has_row;

	for (size_t i = r->first_record; i < r->n_records; i++)
		if (r->records[i].index >= n)
			n = r->records[i].index + 1;
	has_row = xcalloc((size_t)n + 1, sizeof(*has_row));
	for (size_t i = r->first_record; i < r->n_records; i++)
		if (r->records[i].point == t->point)
			has_row[r->records[i].index] = true;
	r->load.share = share;
	if (lane_begin(t->lane, t->point, arrivals, n_arrivals))
		lane_lose(t->lane, has_row, n, why, evloop_now_ns(r->loop));
	r->load.share = (struct share){0, 1};
	free(has_row);
}

/* Other processes drive it, a share each. */
static void drive_by_crew(struct run *r, int workers, const int64_t *arrivals, int64_t n_arrivals)
{
	const struct crew_handler handler = {on_crew_row, on_tokens, on_crew_lost, on_crew_over, r};
	struct worker_lane *lane = xcalloc((size_t)r->n_active, sizeof(*lane));
	struct hist **lag = xcalloc((size_t)r->n_active, sizeof(struct hist *));
	struct worker_task task = {&r->load, lane, r->n_active, arrivals, n_arrivals};
	struct self_watch_point self;
	int64_t end_ns;

	for (int i = 0; i < r->n_active; i++) {
		struct site *t = &r->active[i];

		t->point = point_of(t);
		lane[i] = (struct worker_lane){t->lane, &t->at, t->point};
		lag[i] = hist_new();
	}
	r->crew = crew_new(r->loop, workers, &task, &handler);
	r->load.start_ns = crew_go(r->crew);
	run_restart_rate(r, r->load.start_ns);
	run_show_begin(r);
	while (!crew_is_over(r->crew))
		evloop_run(r->loop);
	end_ns = evloop_now_ns(r->loop);
	run_show_end(r);
	crew_take_self(r->crew, &self, lag);
	for (int i = 0; i < r->n_active; i++) {
		for (int w = 0; w < workers; w++)
			if (crew_lost(r->crew, w))
				account_for(r, &r->active[i], (struct share){w, workers},
					    crew_lost(r->crew, w), arrivals, n_arrivals);
		compute_point(&r->active[i], self, lag[i], end_ns);
		deployment_tell_death(&r->active[i].at, crew_count(r->crew).failed > 0);
		hist_free(lag[i]);
	}
	crew_free(r->crew);
	r->crew = NULL;
	free(lag);
	free(lane);
}

void run_phase_begin(struct run *r, int64_t start_ns)
{
	r->load.level = phase_level(r->s, r->load.phase);
	r->load.start_ns = start_ns;
	r->first_record = r->n_records;
	hist_reset(r->ttft_us);
	r->n_open = 0;
}

void run_phase_over(struct run *r)
{
	if (!r->s->output.events)
		for (size_t i = r->first_record; i < r->n_records; i++)
			record_release(&r->records[i]);
	if (r->link || !r->s->output.rows) /* its point says it all, or the run has them */
		r->n_records = r->first_record;
	if (r->link)
		run_link_phase_over(r->link);
	else
		results_flush(r->results);
}

static int64_t *phase_arrivals(const struct run *r, int64_t *n)
{
	*n = 0;
	if (r->load.level.kind != LOAD_OPEN)
		return NULL;
	return arrival_times(&r->load.level, workload_trace(r->load.workload), r->s->seed,
			     r->load.phase->level, r->load.phase->repeat, n);
}

void run_phase(struct run *r)
{
	int workers = phase_workers(r->s, r->load.phase);
	int64_t *arrivals, n_arrivals;

	run_phase_begin(r, evloop_now_ns(r->loop));
	if (r->link)
		run_link_phase(r->link, (int)(r->load.phase - r->phases), r->load.start_ns);
	arrivals = phase_arrivals(r, &n_arrivals);
	if (workers > 1)
		drive_by_crew(r, workers, arrivals, n_arrivals);
	else
		drive(r, arrivals, n_arrivals);
	free(arrivals);
	run_phase_over(r);
}

void run_phase_lost(struct run *r, const char *why, int64_t end_ns)
{
	struct self_watch_point self = {NAN, NAN, NAN, NAN};
	int64_t n_arrivals, *arrivals = phase_arrivals(r, &n_arrivals);

	for (int i = 0; i < r->n_active; i++) {
		struct site *t = &r->active[i];

		t->point = point_of(t);
		account_for(r, t, (struct share){0, 1}, why, arrivals, n_arrivals);
		if (t->point >= 0)
			compute_point(t, self, NULL, end_ns);
	}
	free(arrivals);
	run_phase_over(r);
}

void run_load_init(struct run *r)
{
	r->load = (struct lane_load){
		.scenario = r->s,
		.loop = r->loop,
		.share = {0, 1},
		.keep = on_row,
		.settled = on_settled,
		.tokens = on_tokens,
		.over = on_over,
		.arg = r,
	};
}
