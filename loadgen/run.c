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
#include "conversation.h"
#include "curve.h"
#include "deployment.h"
#include "driver.h"
#include "find.h"
#include "phases.h"
#include "request.h"
#include "results.h"
#include "scrape.h"
#include "self_watch.h"
#include "stop_rule.h"
#include "transport.h"
#include "workload.h"

#define FLUSH_NS	 (100 * NS_PER_MS)
#define LOOK_UP_REQUESTS 1024

struct run;

/* One target being driven. */
struct lane {
	struct run *run;
	int index; /* of the target */
	struct deployment at;
	struct request_env env;

	/* this phase */
	struct driver *driver;
	struct conversation *talk; /* sessions: one a user */
	struct timer next_start, grace;
	struct request **in_flight;
	size_t n_in_flight, cap_in_flight;
	int point;
	int64_t done, failed;
	bool over;

	struct stop_rule stop_rule;
	/* The level that was given up in this repeat: higher ones of its kind are not tried. */
	const struct level *gave_up;
	int gave_up_repeat;
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
	int64_t looked_up_ns; /* virtual time: when the wall's clock was last looked at */
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
		end_early(r, "interrupted", evloop_now_ns(r->loop));
}

/* Who it is and what it asks for, which nothing that happens to it can change. */
static void plan_record(const struct lane *l, int64_t index, int64_t session, int turn,
			int64_t sched_ns, struct record *rec, struct planned_request *plan)
{
	const struct run *r = l->run;

	record_init(rec);
	if (r->level.kind == LOAD_SESSIONS) {
		rec->session = (int32_t)session;
		rec->turn = turn;
		workload_plan_turn(r->workload, r->phase->level, r->phase->repeat, session, turn,
				   index, plan);
	} else if (r->level.batch) {
		workload_plan_batch(r->workload, r->phase->level, r->phase->repeat, index,
				    r->level.batch, plan);
	} else {
		workload_plan(r->workload, r->phase->level, r->phase->repeat, index, plan);
	}
	rec->request_id = phase_request_id(r->s, r->phase, l->index, index);
	rec->target = l->index;
	rec->point = l->point;
	rec->level = r->phase->level;
	rec->repeat = r->phase->repeat;
	rec->index = index;
	rec->sched_ns = sched_ns;
	rec->prompt_id = (int32_t)plan->prompt_id;
	rec->planned_output_tokens = (int32_t)(1 + plan->n_also) * plan->output_tokens;
}

static void start_request(struct lane *l, const struct driver_step *step, int64_t now_ns)
{
	const struct run *r = l->run;
	struct planned_request plan;
	struct record rec;

	plan_record(l, step->index, step->session, step->turn, step->sched_ns, &rec, &plan);
	if (r->level.kind == LOAD_SESSIONS) {
		struct conversation *c = &l->talk[step->user];

		rec.user = step->user;
		if (step->turn == 0)
			conversation_begin(c, plan.before, plan.n_before);
		plan.before = c->said;
		plan.n_before = c->n;
	}
	if (l->n_in_flight == l->cap_in_flight) {
		l->cap_in_flight = l->cap_in_flight ? 2 * l->cap_in_flight : 64;
		l->in_flight =
			xreallocarray(l->in_flight, l->cap_in_flight, sizeof(struct request *));
	}
	l->in_flight[l->n_in_flight++] = request_start(&l->env, &plan, &rec, now_ns);
	if (r->level.kind == LOAD_SESSIONS)
		conversation_add(&l->talk[step->user], "user", plan.text, plan.len);
}

/* Rows for what was planned and never sent. */
static void record_dropped(struct lane *l)
{
	bool sessions = l->run->level.kind == LOAD_SESSIONS;

	for (int64_t k = 0; k < driver_planned(l->driver); k++) {
		struct planned_request plan;
		int64_t session = -1;
		struct record rec;
		int turn = -1;

		if (driver_was_started(l->driver, k))
			continue;
		if (sessions)
			driver_find_turn(l->driver, k, &session, &turn);
		plan_record(l, k, session, turn, driver_sched_ns(l->driver, k), &rec, &plan);
		rec.outcome = OUTCOME_DROPPED;
		snprintf(rec.error, sizeof(rec.error), "never sent: %s",
			 l->run->ended ? l->run->ended
			 : sessions    ? "an earlier turn of its conversation failed"
				       : "the level's time was over");
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
			now_ns = evloop_now_ns(
				r->loop); /* the next send is stamped with its own time */
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
	char repeat[16] = "", behind[32], label[32];

	if (r->s->repeats > 1)
		snprintf(repeat, sizeof(repeat), " #%d", r->phase->repeat + 1);
	snprintf(behind, sizeof(behind), "%s%s", repeat, ending ? " (ending)" : "");
	if (r->phase->level < 0)
		snprintf(out, cap, "warm-up");
	else {
		level_label(v, label, sizeof(label));
		snprintf(out, cap, "%s%s", label, behind);
	}
}

static void show_progress(struct run *r, int64_t now_ns)
{
	struct progress_now now = {.point = r->phases_done, .points = r->phases_expected};
	char target[64], level[64];
	double share = 0; /* of this phase */

	describe_level(r, now_ns, level, sizeof(level));
	snprintf(target, sizeof(target), "%d targets", r->n_active);
	now.target = r->n_active == 1 ? r->active[0].at.target->name : target;
	now.level = level;
	for (int i = 0; i < r->n_active; i++) {
		const struct lane *l = &r->active[i];

		if (!l->driver)
			continue;
		now.done += l->done;
		now.failed += l->failed;
		now.running += driver_in_flight(l->driver);
		if (r->level.requests > 0 || r->level.conversations > 0 ||
		    r->level.kind == LOAD_OPEN)
			now.planned += driver_planned(l->driver);
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
	progress_show(r->progress, &now, monotonic_now_ns());
}

static void on_show(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, show));

	show_progress(r, now_ns);
	evloop_timer(r->loop, t, now_ns + progress_interval_ns(r->progress));
}

/* In virtual time a timer a few times a second would be most of the work, and in the way of steps
 * taken many at once. What people and disks want is looked after between requests instead. */
static void look_up(struct run *r, int64_t now_ns)
{
	int64_t interval_ns = progress_interval_ns(r->progress), wall_ns = monotonic_now_ns();

	results_flush(r->results);
	if (interval_ns == 0 || wall_ns - r->looked_up_ns < interval_ns)
		return;
	r->looked_up_ns = wall_ns;
	show_progress(r, now_ns);
}

/* Nothing new starts at this level; what is in flight ends within the grace period. */
static void give_up(struct lane *l, const char *why, int64_t now_ns)
{
	struct run *r = l->run;
	char label[64];

	if (r->phase->level < 0 || l->over || l->gave_up == &r->s->levels[r->phase->level])
		return;
	l->gave_up = &r->s->levels[r->phase->level];
	l->gave_up_repeat = r->phase->repeat;
	level_label(l->gave_up, label, sizeof(label));
	log_warn("target %s, %s: given up after %.1f s: %s; higher levels are not tried",
		 l->at.target->name, label, ns_to_s(now_ns - r->level_start_ns), why);
	driver_cut(l->driver, now_ns);
	evloop_timer(r->loop, &l->next_start, now_ns);
}

static bool is_given_up(const struct lane *l)
{
	const struct run *r = l->run;

	return l->gave_up && r->phase->level >= 0 && l->gave_up_repeat == r->phase->repeat &&
	       l->gave_up->kind == r->level.kind && level_load(&r->level) > level_load(l->gave_up);
}

/* What was answered is part of what is asked next. */
static void end_turn(struct lane *l, struct request *q, const struct record *rec)
{
	/* Who gives up an answer has read its beginning, and goes on. */
	bool ok = rec->outcome == OUTCOME_OK || rec->cancelled_as_planned;

	if (ok) {
		size_t len;
		const char *text = request_text(q, &len);

		conversation_add(&l->talk[rec->user], "assistant", text, len);
	}
	driver_turn_ended(l->driver, rec->user, ok, rec->done_ns);
}

static int turns_of(void *arg, int64_t session)
{
	const struct run *r = arg;

	return workload_turns(r->workload, r->phase->level, r->phase->repeat, session,
			      r->level.turns);
}

static int64_t think_ns_behind(void *arg, int64_t index)
{
	const struct run *r = arg;

	return arrival_think_ns(&r->level, r->s->seed, r->phase->level, r->phase->repeat, index);
}

static void on_request_end(struct request *q, void *arg)
{
	struct lane *l = arg;
	struct run *r = l->run;
	struct record rec = request_take_record(q);
	int64_t now_ns = evloop_now_ns(r->loop);
	char why[96];

	for (size_t k = 0; k < l->n_in_flight; k++) {
		if (l->in_flight[k] == q) {
			l->in_flight[k] = l->in_flight[--l->n_in_flight];
			break;
		}
	}
	keep_record(r, &rec);
	l->done++;
	if (rec.outcome != OUTCOME_OK && !rec.cancelled_as_planned) {
		l->failed++;
		r->failures++;
	} else if (rec.token1_ns >= 0) {
		hist_record(r->ttft_us, (rec.token1_ns - rec.send_ns) / NS_PER_US);
	}
	if (r->s->clock == RUN_CLOCK_VIRTUAL && r->n_records % LOOK_UP_REQUESTS == 0)
		look_up(r, now_ns);
	if (r->level.kind == LOAD_SESSIONS)
		end_turn(l, q, &rec);
	else
		driver_ended(l->driver, now_ns);
	if (stop_rule_ended(&l->stop_rule, &r->s->stop_when, &rec, why))
		give_up(l, why, now_ns);
	if (r->s->limits.max_failures > 0 && r->failures >= r->s->limits.max_failures)
		end_early(r, "max_failures", now_ns);
	lane_pump(l, now_ns);
}

static void on_scraped(void *arg, int64_t t_ns, const char *name, double value)
{
	struct lane *l = arg;

	char why[96];

	results_add_server(l->run->results, l->index, l->point, t_ns, name, value);
	if (l->driver && strcmp(name, "waiting") == 0 &&
	    stop_rule_waiting(&l->run->s->stop_when, value, why))
		give_up(l, why, evloop_now_ns(l->run->loop));
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
	l->env.keep_text = r->level.kind == LOAD_SESSIONS;
	if (r->level.kind == LOAD_SESSIONS) {
		struct session_source source = {turns_of, think_ns_behind, r};

		l->talk = xcalloc((size_t)r->level.concurrency, sizeof(*l->talk));
		l->driver = driver_new_sessions(&r->level, r->level_start_ns, &source);
	} else {
		l->driver = driver_new(&r->level, r->level_start_ns, arrivals, n_arrivals);
	}
	l->point = r->phase->level < 0 ? -1 : r->phase->first_point + (int)(l - r->active);
	l->done = l->failed = 0;
	l->stop_rule = (struct stop_rule){0};
}

/* What has started has ended: the lane's rows become its point. */
static void lane_end(struct lane *l, const struct self_watch_point *self, int64_t end_ns)
{
	if (!l->driver) /* it was not tried */
		return;
	record_dropped(l);
	if (l->point >= 0)
		compute_point(l, *self, end_ns);
	for (int i = 0; l->talk && i < l->run->level.concurrency; i++)
		conversation_release(&l->talk[i]);
	free(l->talk);
	l->talk = NULL;
	driver_free(l->driver);
	l->driver = NULL;
	deployment_tell_death(&l->at, l->failed > 0);
}

/* What a person and a disk want a few times a second, and how well the client keeps up. In virtual
 * time there is none to keep up, and look_up() does the rest. */
static void begin_housekeeping(struct run *r)
{
	self_watch_start(r->watch, r->level_start_ns);
	if (progress_interval_ns(r->progress) > 0)
		evloop_timer(r->loop, &r->show,
			     r->level_start_ns + progress_interval_ns(r->progress));
	evloop_timer(r->loop, &r->flush, r->level_start_ns + FLUSH_NS);
}

static void end_housekeeping(struct run *r, int64_t end_ns, struct self_watch_point *self)
{
	evloop_timer_cancel(r->loop, &r->show);
	evloop_timer_cancel(r->loop, &r->flush);
	self_watch_stop(r->watch, end_ns, self);
}

/* One level, on all lanes of `active` at once. */
static void run_phase(struct run *r)
{
	struct self_watch_point self = {NAN, NAN, NAN, NAN};
	int64_t *arrivals = NULL, n_arrivals = 0, end_ns;

	r->level = phase_level(r->s, r->phase);
	if (r->level.kind == LOAD_OPEN)
		arrivals = arrival_times(&r->level, workload_trace(r->workload), r->s->seed,
					 r->phase->level, r->phase->repeat, &n_arrivals);
	r->first_record = r->n_records;
	hist_reset(r->ttft_us);
	r->level_start_ns = evloop_now_ns(r->loop);
	r->n_open = 0;
	for (int i = 0; i < r->n_active; i++) {
		struct lane *l = &r->active[i];

		l->over = is_given_up(l);
		if (l->over)
			continue;
		lane_begin(l, arrivals, n_arrivals);
		r->n_open++;
	}
	free(arrivals);
	if (r->s->clock == RUN_CLOCK_REAL)
		begin_housekeeping(r);
	for (int i = 0; i < r->n_active; i++)
		lane_pump(&r->active[i], evloop_now_ns(r->loop));
	while (r->n_open > 0)
		evloop_run(r->loop);
	end_ns = evloop_now_ns(r->loop);
	if (r->s->clock == RUN_CLOCK_REAL)
		end_housekeeping(r, end_ns, &self);
	for (int i = 0; i < r->n_active; i++)
		lane_end(&r->active[i], &self, end_ns);
	if (!r->s->output.events)
		for (size_t i = r->first_record; i < r->n_records; i++)
			record_release(&r->records[i]);
	results_flush(r->results);
}

static enum rc lane_open(struct lane *l, bool look, bool *hopeless, struct err *e)
{
	const struct limits *limits = &l->run->s->limits;
	/* A simulated engine has no habits to be learnt. */
	bool is_real = l->run->s->clock != RUN_CLOCK_VIRTUAL;
	enum rc rc = deployment_open(&l->at, limits->connect_ns, e);

	*hopeless = false;
	if (!rc && (look || (l->at.launched && !l->at.model)))
		rc = deployment_look(&l->at, limits, look && is_real, hopeless, e);
	l->env = (struct request_env){
		.loop = l->run->loop,
		.target = l->at.target,
		.model = l->at.model,
		.dialect = l->at.dialect,
		.transport_type = l->at.transport_type,
		.transport = l->at.transport,
		.limits = limits,
		.left_out = l->at.found.left_out,
		.keep_events = true,
		.on_end = on_request_end,
		.on_token = on_token,
		.arg = l,
	};
	return rc;
}

/* The targets whose engines somebody else runs, before anything is written or launched. If none of
 * them would answer no load is sent: there is nothing to measure. */
static enum rc look_at_deployed(struct run *r, bool look, struct err *e)
{
	int n_hopeless = 0;
	enum rc rc;

	for (int i = 0; i < r->s->n_targets && !interrupts; i++) {
		bool hopeless;

		if (r->s->targets[i].launch)
			continue;
		rc = lane_open(&r->lanes[i], look, &hopeless, e);
		if (rc)
			return rc;
		n_hopeless += hopeless;
	}
	if (n_hopeless == r->s->n_targets)
		return err_set(e, RC_IO,
			       "no target would answer, so no load was sent; start an engine, let "
			       "the scenario `launch:` one, or use --no-preflight to record the "
			       "failures");
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
		bool hopeless; /* a launched engine's failures are recorded */

		if (r->active[i].at.launched)
			rc = lane_open(&r->active[i], look, &hopeless, e);
	}
	return rc;
}

static enum rc lanes_prepare(struct run *r, bool look, struct err *e)
{
	enum rc rc = lanes_launch(r, look, e);

	for (int i = 0; i < r->n_active && !rc; i++)
		if (r->active[i].at.looked)
			results_add_preflight(r->results, r->active[i].index,
					      &r->active[i].at.found);
	for (int i = 0; i < r->n_active && !rc && !interrupts && r->s->output.scrape_ns; i++) {
		struct deployment *at = &r->active[i].at;

		if (scrape_new(&at->scrape, r->loop, at->target, r->s->output.scrape_ns, on_scraped,
			       &r->active[i], e) != RC_OK)
			log_warn("target %s: no engine metrics: %s", at->target->name, e->msg);
		if (at->launched)
			at->proc =
				proc_watch_new(r->loop, launch_keeper(at->launched),
					       r->s->output.scrape_ns, on_scraped, &r->active[i]);
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
			end_early(r, "interrupted", evloop_now_ns(r->loop));
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
	r->loop = s->clock == RUN_CLOCK_VIRTUAL ? evloop_new_virtual(0) : evloop_new();
	r->watch = self_watch_new(r->loop);
	r->progress = progress_new(o->progress);
	r->looked_up_ns = monotonic_now_ns();
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
		rc = results_create(&r.results, o->out_dir, s, evloop_now_ns(r.loop), e);
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
