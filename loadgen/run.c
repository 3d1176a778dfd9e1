/*
 * Owns a run: the loop, the results folder, every record, and one lane a target. Everything happens
 * on the main thread.
 *
 * A run is a list of phases (phases.h). A phase puts one level on one or more lanes at once and
 * ends when every lane's driver is over. Knows no bytes, no JSON, no figures.
 */
#include "run.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arrival.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/log.h"
#include "base/units.h"
#include "deployment.h"
#include "driver.h"
#include "find.h"
#include "phases.h"
#include "request.h"
#include "results.h"
#include "scrape.h"
#include "self_watch.h"
#include "transport.h"
#include "workload.h"

#define FLUSH_NS (100 * NS_PER_MS)

struct run;

/* One target being driven. */
struct lane {
	struct run *run;
	int index; /* of the target */
	struct deployment at;
	struct request_env env;

	/* this phase */
	struct driver *driver;
	struct timer next_start, grace;
	struct request **in_flight;
	size_t n_in_flight, cap_in_flight;
	int point;
	int64_t done, failed;
	bool over;
};

struct run {
	struct scenario *s;
	struct evloop *loop;
	struct workload *workload;
	struct results *results;
	struct self_watch *watch;
	struct progress *progress;
	struct lane *lanes;

	struct record *records;
	size_t n_records, cap_records;
	struct point *points;
	size_t n_points, cap_points;
	int64_t failures;
	const char *ended; /* why it stops early; NULL = it does not */

	struct phase *phases;
	int n_phases, phases_done, phases_expected; /* a search goes through some of them */

	/* this phase */
	const struct phase *phase;
	struct level level;
	struct lane *active; /* n_active of lanes[], those of the phase */
	int n_active, n_open;
	int64_t level_start_ns;
	size_t first_record;
	struct timer flush, show;
	int64_t tokens_now, tokens_before, shown_ns;
	struct hist *ttft_us;
};

/* Ctrl-C. The first lets the run end in order; the second leaves at once: written rows stay, the
 * keepers end the engines. */
static volatile sig_atomic_t interrupts;
static struct evloop *interrupt_loop;

static void on_interrupt(int signo)
{
	int saved = errno;

	(void)signo;
	interrupts++;
	if (interrupts > 1)
		_exit(130);
	if (interrupt_loop)
		evloop_notify(interrupt_loop);
	errno = saved;
}

static void catch_interrupts(struct evloop *loop)
{
	struct sigaction act = {.sa_handler = on_interrupt};

	interrupt_loop = loop;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

static void keep_record(struct run *r, const struct record *rec)
{
	if (r->n_records == r->cap_records) {
		r->cap_records = r->cap_records ? 2 * r->cap_records : 1024;
		r->records = xreallocarray(r->records, r->cap_records, sizeof(*r->records));
	}
	r->records[r->n_records++] = *rec;
	results_add_record(r->results, rec);
}

/* Nothing new starts; what is in flight is cancelled and recorded. */
static void end_early(struct run *r, const char *why, int64_t now_ns)
{
	if (r->ended)
		return;
	r->ended = why;
	for (int i = 0; i < r->n_active; i++) {
		struct lane *l = &r->active[i];

		if (l->over || !l->driver)
			continue;
		driver_stop(l->driver);
		for (size_t k = 0; k < l->n_in_flight; k++)
			request_abort(l->in_flight[k], OUTCOME_CANCELLED, why, now_ns);
		evloop_timer(r->loop, &l->next_start, now_ns);
	}
	if (r->n_active == 0 || r->n_open == 0)
		evloop_stop(r->loop);
}

static void on_notify(void *arg)
{
	struct run *r = arg;

	if (interrupts)
		end_early(r, "interrupted", monotonic_now_ns());
}

/* Who it is and what it asks for, which nothing that happens to it can change. */
static void plan_record(const struct lane *l, int64_t index, int64_t sched_ns, struct record *rec,
			struct planned_request *plan)
{
	const struct run *r = l->run;

	workload_plan(r->workload, r->phase->level, r->phase->repeat, index, plan);
	record_init(rec);
	rec->request_id = phase_request_id(r->s, r->phase, l->index, index);
	rec->target = l->index;
	rec->point = l->point;
	rec->level = r->phase->level;
	rec->repeat = r->phase->repeat;
	rec->index = index;
	rec->sched_ns = sched_ns;
	rec->prompt_id = (int32_t)plan->prompt_id;
	rec->planned_output_tokens = plan->output_tokens;
}

static void start_request(struct lane *l, const struct driver_step *step, int64_t now_ns)
{
	struct planned_request plan;
	struct record rec;

	plan_record(l, step->index, step->sched_ns, &rec, &plan);
	if (l->n_in_flight == l->cap_in_flight) {
		l->cap_in_flight = l->cap_in_flight ? 2 * l->cap_in_flight : 64;
		l->in_flight =
			xreallocarray(l->in_flight, l->cap_in_flight, sizeof(struct request *));
	}
	l->in_flight[l->n_in_flight++] = request_start(&l->env, &plan, &rec, now_ns);
}

/* Rows for what was planned and never sent. */
static void record_dropped(struct lane *l)
{
	for (int64_t k = driver_started(l->driver); k < driver_planned(l->driver); k++) {
		struct planned_request plan;
		struct record rec;

		plan_record(l, k, driver_sched_ns(l->driver, k), &rec, &plan);
		rec.outcome = OUTCOME_DROPPED;
		snprintf(rec.error, sizeof(rec.error), "never sent: %s",
			 l->run->ended ? l->run->ended : "the level's time was over");
		keep_record(l->run, &rec);
	}
}

/* Asks the driver until it has nothing to do now. */
static void lane_pump(struct lane *l, int64_t now_ns)
{
	struct run *r = l->run;

	while (!l->over) {
		struct driver_step step = driver_next(l->driver, now_ns);

		switch (step.what) {
		case DRIVER_START:
			start_request(l, &step, now_ns);
			now_ns =
				monotonic_now_ns(); /* the next send is stamped with its own time */
			break;
		case DRIVER_WAIT:
			evloop_timer(r->loop, &l->next_start, step.at_ns);
			return;
		case DRIVER_BLOCK:
			return;
		case DRIVER_DRAIN:
			if (driver_deadline_ns(l->driver) < INT64_MAX && !timer_queued(&l->grace))
				evloop_timer(r->loop, &l->grace,
					     driver_deadline_ns(l->driver) + r->s->limits.grace_ns);
			return;
		case DRIVER_OVER:
			l->over = true;
			evloop_timer_cancel(r->loop, &l->next_start);
			evloop_timer_cancel(r->loop, &l->grace);
			if (--r->n_open == 0)
				evloop_stop(r->loop);
			return;
		}
	}
}

static void on_next_start(struct timer *t, int64_t now_ns)
{
	lane_pump((struct lane *)((char *)t - offsetof(struct lane, next_start)), now_ns);
}

static void on_grace(struct timer *t, int64_t now_ns)
{
	struct lane *l = (struct lane *)((char *)t - offsetof(struct lane, grace));

	for (size_t k = 0; k < l->n_in_flight; k++)
		request_abort(l->in_flight[k], OUTCOME_CANCELLED,
			      "still running when limits.grace was over", now_ns);
}

static void on_request_end(struct request *q, void *arg)
{
	struct lane *l = arg;
	struct run *r = l->run;
	struct record rec = request_take_record(q);
	int64_t now_ns = monotonic_now_ns();

	for (size_t k = 0; k < l->n_in_flight; k++) {
		if (l->in_flight[k] == q) {
			l->in_flight[k] = l->in_flight[--l->n_in_flight];
			break;
		}
	}
	keep_record(r, &rec);
	l->done++;
	if (rec.outcome != OUTCOME_OK) {
		l->failed++;
		r->failures++;
	} else if (rec.token1_ns >= 0) {
		hist_record(r->ttft_us, (rec.token1_ns - rec.send_ns) / NS_PER_US);
	}
	driver_ended(l->driver, now_ns);
	if (r->s->limits.max_failures > 0 && r->failures >= r->s->limits.max_failures)
		end_early(r, "max_failures", now_ns);
	lane_pump(l, now_ns);
}

static void on_token(void *arg, int64_t t_ns)
{
	(void)t_ns;
	((struct lane *)arg)->run->tokens_now++;
}

static void on_flush(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, flush));

	results_flush(r->results);
	evloop_timer(r->loop, t, now_ns + FLUSH_NS);
}

static void describe_level(const struct run *r, int64_t now_ns, char *out, size_t cap)
{
	const struct level *v = &r->level;
	bool ending = v->duration_ns && now_ns - r->level_start_ns > v->duration_ns;
	char repeat[16] = "", behind[32];

	if (r->s->repeats > 1)
		snprintf(repeat, sizeof(repeat), " #%d", r->phase->repeat + 1);
	snprintf(behind, sizeof(behind), "%s%s", repeat, ending ? " (ending)" : "");
	if (r->phase->level < 0)
		snprintf(out, cap, "warm-up");
	else if (v->kind == LOAD_CLOSED)
		snprintf(out, cap, "closed %d%s", v->concurrency, behind);
	else if (v->kind == LOAD_OPEN)
		snprintf(out, cap, "open %.4g/s%s", v->rate_per_s, behind);
	else
		snprintf(out, cap, "%s%s", load_kind_name(v->kind), behind);
}

static void on_show(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, show));
	struct progress_now now = {.point = r->phases_done, .points = r->phases_expected};
	char target[64], level[64];
	double share = 0; /* of this phase */

	describe_level(r, now_ns, level, sizeof(level));
	snprintf(target, sizeof(target), "%d targets", r->n_active);
	now.target = r->n_active == 1 ? r->active[0].at.target->name : target;
	now.level = level;
	for (int i = 0; i < r->n_active; i++) {
		const struct lane *l = &r->active[i];

		now.done += l->done;
		now.failed += l->failed;
		now.running += driver_in_flight(l->driver);
		now.planned += r->level.requests == 0 ? 0 : driver_planned(l->driver);
	}
	if (now.planned > 0)
		share = (double)now.done / (double)now.planned;
	else if (r->level.duration_ns > 0)
		share = fmin(1,
			     (double)(now_ns - r->level_start_ns) / (double)r->level.duration_ns);
	now.fraction = (r->phases_done + share) / r->phases_expected;
	now.output_tokens_per_s = r->shown_ns && now_ns > r->shown_ns
					  ? (double)(r->tokens_now - r->tokens_before) * 1e9 /
						    (double)(now_ns - r->shown_ns)
					  : 0;
	now.ttft_p50_ms =
		hist_count(r->ttft_us) ? (double)hist_quantile(r->ttft_us, 0.5) / 1e3 : NAN;
	if (now_ns - r->shown_ns >= NS_PER_S) {
		r->shown_ns = now_ns;
		r->tokens_before = r->tokens_now;
	}
	progress_show(r->progress, &now, now_ns);
	evloop_timer(r->loop, t, now_ns + progress_interval_ns(r->progress));
}

static void on_scraped(void *arg, int64_t t_ns, const char *name, double value)
{
	struct lane *l = arg;

	results_add_server(l->run->results, l->index, l->point, t_ns, name, value);
}

/* The point of a lane that has just gone through a phase. */
static void compute_point(struct lane *l, struct self_watch_point self, int64_t end_ns)
{
	struct run *r = l->run;
	const struct record **mine =
		xcalloc(r->n_records - r->first_record + 1, sizeof(struct record *));
	struct transport_stats stats = {0};
	struct point *p;
	size_t n = 0;

	for (size_t i = r->first_record; i < r->n_records; i++)
		if (r->records[i].point == l->point)
			mine[n++] = &r->records[i];
	l->at.transport_type->stats(l->at.transport, &stats);
	if (stats.receive_lag_ns && hist_count(stats.receive_lag_ns))
		self.receive_error_p99_us = (double)hist_quantile(stats.receive_lag_ns, 0.99) / 1e3;
	if (r->n_points == r->cap_points) {
		r->cap_points = r->cap_points ? 2 * r->cap_points : 64;
		r->points = xreallocarray(r->points, r->cap_points, sizeof(*r->points));
	}
	p = &r->points[r->n_points++];
	memset(p, 0, sizeof(*p));
	p->id = l->point;
	p->target = l->index;
	p->level = r->phase->level;
	p->repeat = r->phase->repeat;
	point_compute(p, r->s, mine, n, r->level_start_ns, &self);
	results_add_point(r->results, p, r->level_start_ns, end_ns);
	free(mine);
}

static void lane_begin(struct lane *l, const int64_t *arrivals, int64_t n_arrivals)
{
	struct run *r = l->run;
	struct transport_stats stats = {0};

	l->at.transport_type->stats(l->at.transport, &stats);
	if (stats.receive_lag_ns)
		hist_reset(stats.receive_lag_ns);
	l->driver = driver_new(&r->level, r->level_start_ns, arrivals, n_arrivals);
	l->point = r->phase->level < 0 ? -1 : r->phase->first_point + (int)(l - r->active);
	l->done = l->failed = 0;
	l->over = false;
}

/* What has started has ended: the lane's rows become its point. */
static void lane_end(struct lane *l, const struct self_watch_point *self, int64_t end_ns)
{
	record_dropped(l);
	if (l->point >= 0)
		compute_point(l, *self, end_ns);
	driver_free(l->driver);
	l->driver = NULL;
	deployment_tell_death(&l->at, l->failed > 0);
}

/* One level, on all lanes of `active` at once. */
static void run_phase(struct run *r)
{
	struct self_watch_point self;
	int64_t *arrivals = NULL, n_arrivals = 0, end_ns;

	r->level = phase_level(r->s, r->phase);
	if (r->level.kind == LOAD_OPEN)
		arrivals = arrival_times(&r->level, r->s->seed, r->phase->level, r->phase->repeat,
					 &n_arrivals);
	r->first_record = r->n_records;
	hist_reset(r->ttft_us);
	r->level_start_ns = monotonic_now_ns();
	r->n_open = r->n_active;
	for (int i = 0; i < r->n_active; i++)
		lane_begin(&r->active[i], arrivals, n_arrivals);
	free(arrivals);
	self_watch_start(r->watch, r->level_start_ns);
	if (progress_interval_ns(r->progress) > 0)
		evloop_timer(r->loop, &r->show,
			     r->level_start_ns + progress_interval_ns(r->progress));
	evloop_timer(r->loop, &r->flush, r->level_start_ns + FLUSH_NS);
	for (int i = 0; i < r->n_active; i++)
		lane_pump(&r->active[i], monotonic_now_ns());
	while (r->n_open > 0)
		evloop_run(r->loop);
	end_ns = monotonic_now_ns();
	evloop_timer_cancel(r->loop, &r->show);
	evloop_timer_cancel(r->loop, &r->flush);
	self_watch_stop(r->watch, end_ns, &self);
	for (int i = 0; i < r->n_active; i++)
		lane_end(&r->active[i], &self, end_ns);
	if (!r->s->output.events)
		for (size_t i = r->first_record; i < r->n_records; i++)
			record_release(&r->records[i]);
	results_flush(r->results);
}

static enum rc lane_open(struct lane *l, bool look, bool *there, struct err *e)
{
	const struct limits *limits = &l->run->s->limits;
	enum rc rc = deployment_open(&l->at, limits->connect_ns, e);

	*there = true;
	if (!rc && (look || (l->at.launched && !l->at.model)))
		rc = deployment_look(&l->at, there, e);
	l->env = (struct request_env){
		.loop = l->run->loop,
		.target = l->at.target,
		.model = l->at.model,
		.dialect = l->at.dialect,
		.transport_type = l->at.transport_type,
		.transport = l->at.transport,
		.limits = limits,
		.keep_events = true,
		.on_end = on_request_end,
		.on_token = on_token,
		.arg = l,
	};
	return rc;
}

/* The targets whose engines somebody else runs, before anything is written or launched. With nobody
 * there at all nothing is sent: there is nothing to measure. */
static enum rc look_at_deployed(struct run *r, bool look, struct err *e)
{
	int absent = 0;
	enum rc rc;

	for (int i = 0; i < r->s->n_targets && !interrupts; i++) {
		bool there;

		if (r->s->targets[i].launch)
			continue;
		rc = lane_open(&r->lanes[i], look, &there, e);
		if (rc)
			return rc;
		absent += !there;
	}
	if (absent == r->s->n_targets)
		return err_set(e, RC_IO,
			       "nobody listens at any target, so nothing was sent; start an "
			       "engine, let the scenario `launch:` one, or use --no-preflight to "
			       "record the failures");
	return RC_OK;
}

/* The engines that are ours: started together, then waited for, then opened. */
static enum rc lanes_launch(struct run *r, bool look, struct err *e)
{
	enum rc rc = RC_OK;

	for (int i = 0; i < r->n_active && !rc; i++) {
		struct lane *l = &r->active[i];
		char *log_path = xasprintf("%s/engine-%d.log", results_dir(r->results), l->index);

		rc = deployment_launch(&l->at, log_path, e);
		free(log_path);
	}
	for (int i = 0; i < r->n_active && !rc; i++)
		rc = deployment_wait_ready(&r->active[i].at, e);
	for (int i = 0; i < r->n_active && !rc && !interrupts; i++) {
		bool there;

		if (r->active[i].at.launched)
			rc = lane_open(&r->active[i], look, &there, e);
	}
	return rc;
}

static enum rc lanes_prepare(struct run *r, bool look, struct err *e)
{
	enum rc rc = lanes_launch(r, look, e);

	for (int i = 0; i < r->n_active && !rc && !interrupts && r->s->output.scrape_ns; i++) {
		struct deployment *at = &r->active[i].at;

		if (scrape_new(&at->scrape, r->loop, at->target, r->s->output.scrape_ns, on_scraped,
			       &r->active[i], e) != RC_OK)
			log_warn("target %s: no engine metrics: %s", at->target->name, e->msg);
		if (at->launched)
			at->proc = proc_watch_new(r->loop, launch_keeper(at->launched),
						  r->s->output.scrape_ns, on_scraped,
						  &r->active[i]);
	}
	return interrupts ? RC_OK : rc;
}

/* The phase behind `at`, from -1 to n_phases. */
static int phase_after(const struct run *r, int at)
{
	return r->s->find
		       ? find_phase_after(r->s, r->phases, r->n_phases, at, r->points, r->n_points)
		       : at + 1;
}

/* Phases of the same targets follow one another. */
static bool same_targets(const struct run *r, int a, int b)
{
	return a >= 0 && b < r->n_phases && r->phases[a].first_target == r->phases[b].first_target;
}

/* The phases in order; the targets' engines live from their first phase to their last. */
static enum rc run_phases(struct run *r, bool look, struct err *e)
{
	enum rc rc = RC_OK;
	int last = -1;

	for (int i = phase_after(r, -1), next; i < r->n_phases && !rc && !r->ended; i = next) {
		r->phase = &r->phases[i];
		r->active = r->lanes + r->phase->first_target;
		r->n_active = r->phase->n_targets;
		if (!same_targets(r, last, i))
			rc = lanes_prepare(r, look, e);
		if (interrupts)
			end_early(r, "interrupted", monotonic_now_ns());
		if (!rc && !r->ended)
			run_phase(r);
		r->phases_done++;
		next = phase_after(r, i);
		for (int k = 0; k < r->n_active && (rc || r->ended || !same_targets(r, i, next));
		     k++)
			deployment_close(&r->active[k].at);
		last = i;
	}
	return rc;
}

static void run_open(struct run *r, struct scenario *s, const struct run_opts *o)
{
	memset(r, 0, sizeof(*r));
	r->s = s;
	r->loop = evloop_new();
	r->watch = self_watch_new(r->loop);
	r->progress = progress_new(o->progress);
	r->ttft_us = hist_new();
	r->flush.fn = on_flush;
	r->show.fn = on_show;
	r->lanes = xcalloc((size_t)s->n_targets, sizeof(*r->lanes));
	for (int i = 0; i < s->n_targets; i++) {
		r->lanes[i].run = r;
		deployment_init(&r->lanes[i].at, &s->targets[i], r->loop, &interrupts);
		r->lanes[i].index = i;
		r->lanes[i].next_start.fn = on_next_start;
		r->lanes[i].grace.fn = on_grace;
	}
	r->phases = phases_new(s, &r->n_phases);
	r->phases_expected = r->n_phases;
	if (s->find)
		r->phases_expected =
			s->n_targets * ((s->warmup_requests > 0) + s->repeats * find_probes(s));
	evloop_on_notify(r->loop, on_notify, r);
	catch_interrupts(r->loop);
}

static void lane_release(struct lane *l)
{
	deployment_close(&l->at);
	free(l->in_flight);
}

static void run_close(struct run *r)
{
	interrupt_loop = NULL;
	for (int i = 0; i < r->s->n_targets; i++)
		lane_release(&r->lanes[i]);
	progress_free(r->progress);
	self_watch_free(r->watch);
	hist_free(r->ttft_us);
	workload_free(r->workload);
	evloop_free(r->loop);
	free(r->lanes);
	free(r->phases);
}

static char *utc_now(void)
{
	char text[32];
	time_t t = time(NULL);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return xstrdup(text);
}

enum rc run_scenario(struct scenario *s, const struct run_opts *o, struct run_done *out,
		     struct err *e)
{
	struct err close_err;
	struct run r;
	enum rc rc;

	memset(out, 0, sizeof(*out));
	run_open(&r, s, o);
	out->started_utc = utc_now();
	rc = workload_new(&r.workload, s, e);
	if (!rc)
		rc = look_at_deployed(&r, o->preflight, e);
	if (!rc)
		rc = results_create(&r.results, o->out_dir, s, monotonic_now_ns(), e);
	if (!rc)
		rc = run_phases(&r, o->preflight, e);
	out->ended = rc ? "failed to start" : r.ended ? r.ended : "complete";
	out->records = r.records;
	out->n_records = r.n_records;
	out->points = r.points;
	out->n_points = r.n_points;
	if (r.results) {
		out->dir = xstrdup(results_dir(r.results));
		if (results_close(r.results, out->ended, &close_err) != RC_OK && !rc) {
			*e = close_err;
			rc = close_err.rc;
		}
	}
	run_close(&r);
	return rc;
}

void run_done_release(struct run_done *d)
{
	for (size_t i = 0; i < d->n_records; i++)
		record_release(&d->records[i]);
	free(d->records);
	free(d->points);
	free(d->dir);
	free(d->started_utc);
}
