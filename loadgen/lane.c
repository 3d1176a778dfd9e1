/*
 * Owns what one target is put through: its driver, its requests in flight, its conversations, its
 * give-up rule. Everything happens on the main thread; requests and timers call back from the loop.
 *
 * Asks the driver what is due, starts that, and tells the driver what has ended. Knows no results
 * folder, no point's figures, no other lane, and of the run what lane.h says.
 */
#include "lane.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "arrival.h"
#include "base/die.h"
#include "base/log.h"
#include "base/units.h"
#include "conversation.h"
#include "curve.h"
#include "driver.h"
#include "request.h"
#include "stop_rule.h"

struct lane {
	const struct lane_load *load;
	int target;
	const struct deployment *at;
	struct request_env env;

	/* this phase */
	struct driver *driver;	   /* NULL: none, or it is not tried */
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

/* Who it is and what it asks for, which nothing that happens to it can change. */
static void plan_record(const struct lane *l, int64_t index, int64_t session, int turn,
			int64_t sched_ns, struct record *rec, struct planned_request *plan)
{
	const struct lane_load *o = l->load;

	record_init(rec);
	if (o->level.kind == LOAD_SESSIONS) {
		rec->session = (int32_t)session;
		rec->turn = turn;
		workload_plan_turn(o->workload, o->phase->level, o->phase->repeat, session, turn,
				   index, plan);
	} else if (o->level.batch) {
		workload_plan_batch(o->workload, o->phase->level, o->phase->repeat, index,
				    o->level.batch, plan);
	} else {
		workload_plan(o->workload, o->phase->level, o->phase->repeat, index, plan);
	}
	rec->worker = o->share.first;
	rec->request_id = phase_request_id(o->scenario, o->phase, l->target, index);
	rec->target = l->target;
	rec->point = l->point;
	rec->level = o->phase->level;
	rec->repeat = o->phase->repeat;
	rec->index = index;
	rec->sched_ns = sched_ns;
	rec->prompt_id = (int32_t)plan->prompt_id;
	rec->lora_module = plan->lora_module;
	rec->planned_output_tokens = (int32_t)(1 + plan->n_also) * plan->output_tokens;
}

static void start_request(struct lane *l, const struct driver_step *step, int64_t now_ns)
{
	const struct lane_load *o = l->load;
	struct planned_request plan;
	struct record rec;

	plan_record(l, step->index, step->session, step->turn, step->sched_ns, &rec, &plan);
	if (o->level.kind == LOAD_SESSIONS) {
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
	l->in_flight[l->n_in_flight] = request_start(&l->env, &plan, &rec, now_ns);
	request_set_place(l->in_flight[l->n_in_flight], l->n_in_flight);
	l->n_in_flight++;
	if (o->level.kind == LOAD_SESSIONS)
		conversation_add(&l->talk[step->user], "user", plan.text, plan.len);
}

/* The row of a planned request that has none. */
static void keep_dropped(struct lane *l, int64_t index, int64_t now_ns, const char *how,
			 const char *why)
{
	struct planned_request plan;
	int64_t session = -1;
	struct record rec;
	int turn = -1;

	if (l->load->level.kind == LOAD_SESSIONS)
		driver_find_turn(l->driver, index, &session, &turn);
	plan_record(l, index, session, turn, driver_sched_ns(l->driver, index), &rec, &plan);
	rec.outcome = OUTCOME_DROPPED;
	snprintf(rec.error, sizeof(rec.error), "%s: %s", how, why);
	l->load->keep(l->load->arg, &rec, now_ns);
}

/* Asks the driver until it has nothing to do now. */
void lane_pump(struct lane *l, int64_t now_ns)
{
	const struct lane_load *o = l->load;

	while (!l->over) {
		struct driver_step step = driver_next(l->driver, now_ns);

		switch (step.what) {
		case DRIVER_START:
			start_request(l, &step, now_ns);
			now_ns = evloop_now_ns(
				o->loop); /* the next send is stamped with its own time */
			break;
		case DRIVER_WAIT:
			evloop_timer(o->loop, &l->next_start, step.at_ns);
			return;
		case DRIVER_BLOCK:
			return;
		case DRIVER_DRAIN:
			if (driver_deadline_ns(l->driver) < INT64_MAX && !timer_queued(&l->grace))
				evloop_timer(o->loop, &l->grace,
					     driver_deadline_ns(l->driver) +
						     o->scenario->limits.grace_ns);
			return;
		case DRIVER_OVER:
			l->over = true;
			evloop_timer_cancel(o->loop, &l->next_start);
			evloop_timer_cancel(o->loop, &l->grace);
			o->over(o->arg);
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

static void on_tokens(void *arg, int64_t n)
{
	const struct lane *l = arg;

	l->load->tokens(l->load->arg, n);
}

/* Nothing new starts at this level; what is in flight ends within the grace period. */
static void give_up(struct lane *l, const char *why, int64_t now_ns)
{
	const struct lane_load *o = l->load;
	char label[64];

	if (o->phase->level < 0 || l->over || l->gave_up == &o->scenario->levels[o->phase->level])
		return;
	l->gave_up = &o->scenario->levels[o->phase->level];
	l->gave_up_repeat = o->phase->repeat;
	level_label(l->gave_up, label, sizeof(label));
	log_warn("target %s, %s: given up after %.1f s: %s; higher levels are not tried",
		 l->at->target->name, label, ns_to_s(now_ns - o->start_ns), why);
	driver_cut(l->driver, now_ns);
	evloop_timer(o->loop, &l->next_start, now_ns);
}

static bool is_given_up(const struct lane *l)
{
	const struct lane_load *o = l->load;

	return l->gave_up && o->phase->level >= 0 && l->gave_up_repeat == o->phase->repeat &&
	       l->gave_up->kind == o->level.kind && level_load(&o->level) > level_load(l->gave_up);
}

/* What was answered is part of what is asked next. */
static void end_turn(struct lane *l, struct request *q, const struct record *rec)
{
	/* Who gives up an answer has read its beginning, and goes on. */
	bool ok = record_ok(rec);

	if (ok) {
		size_t len;
		const char *text = request_text(q, &len);

		conversation_add(&l->talk[rec->user], "assistant", text, len);
	}
	driver_turn_ended(l->driver, rec->user, ok, rec->done_ns);
}

static int turns_of(void *arg, int64_t session)
{
	const struct lane_load *o = ((struct lane *)arg)->load;

	return workload_turns(o->workload, o->phase->level, o->phase->repeat, session,
			      o->level.turns);
}

static int64_t think_ns_behind(void *arg, int64_t index)
{
	const struct lane_load *o = ((struct lane *)arg)->load;

	return arrival_think_ns(&o->level, o->scenario->seed, o->phase->level, o->phase->repeat,
				index);
}

static void on_request_end(struct request *q, void *arg)
{
	struct lane *l = arg;
	const struct lane_load *o = l->load;
	struct record rec = request_take_record(q);
	int64_t now_ns = evloop_now_ns(o->loop);
	char why[96];

	/* The last one takes its place. */
	l->in_flight[request_place(q)] = l->in_flight[--l->n_in_flight];
	request_set_place(l->in_flight[request_place(q)], request_place(q));
	l->done++;
	l->failed += !record_ok(&rec);
	o->keep(o->arg, &rec, now_ns);
	if (o->level.kind == LOAD_SESSIONS)
		end_turn(l, q, &rec);
	else
		driver_ended(l->driver, now_ns);
	if (stop_rule_ended(&l->stop_rule, &o->scenario->stop_when, &rec, why))
		give_up(l, why, now_ns);
	o->settled(o->arg, now_ns);
	lane_pump(l, now_ns);
}

struct lane *lane_new(const struct lane_load *load, int target, const struct deployment *at)
{
	struct lane *l = xcalloc(1, sizeof(*l));

	l->load = load;
	l->target = target;
	l->at = at;
	l->next_start.fn = on_next_start;
	l->grace.fn = on_grace;
	return l;
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	free(l->in_flight);
	free(l);
}

/* Requests go where the target stands now. */
static void aim(struct lane *l)
{
	const struct lane_load *o = l->load;

	l->env = (struct request_env){
		.loop = o->loop,
		.target = l->at->target,
		.model = l->at->model,
		.dialect = l->at->dialect,
		.transport_type = l->at->transport_type,
		.transport = l->at->transport,
		.limits = &o->scenario->limits,
		.left_out = l->at->found.left_out,
		.keep_events = true,
		.keep_text = o->level.kind == LOAD_SESSIONS,
		.on_end = on_request_end,
		.on_tokens = on_tokens,
		.arg = l,
	};
	l->env.form = request_env_form(&l->env);
}

bool lane_begin(struct lane *l, int point, const int64_t *arrivals, int64_t n_arrivals)
{
	const struct lane_load *o = l->load;

	l->over = is_given_up(l);
	if (l->over)
		return false;
	aim(l);
	if (o->level.kind == LOAD_SESSIONS) {
		struct session_source source = {turns_of, think_ns_behind, l};

		l->talk = xcalloc((size_t)o->level.concurrency, sizeof(*l->talk));
		l->driver = driver_new_sessions(&o->level, o->share, o->start_ns, &source);
	} else {
		l->driver = driver_new(&o->level, o->share, o->start_ns, arrivals, n_arrivals);
	}
	l->point = point;
	l->done = l->failed = 0;
	l->stop_rule = (struct stop_rule){0};
	return true;
}

void lane_stop(struct lane *l, const char *why, int64_t now_ns)
{
	if (l->over || !l->driver)
		return;
	driver_stop(l->driver);
	for (size_t k = 0; k < l->n_in_flight; k++)
		request_abort(l->in_flight[k], OUTCOME_CANCELLED, why, now_ns);
	evloop_timer(l->load->loop, &l->next_start, now_ns);
}

void lane_waiting(struct lane *l, double waiting)
{
	char why[96];

	if (l->driver && stop_rule_waiting(&l->load->scenario->stop_when, waiting, why))
		give_up(l, why, evloop_now_ns(l->load->loop));
}

static void let_go(struct lane *l)
{
	for (int i = 0; l->talk && i < l->load->level.concurrency; i++)
		conversation_release(&l->talk[i]);
	free(l->talk);
	l->talk = NULL;
	driver_free(l->driver);
	l->driver = NULL;
	request_form_free(l->env.form);
	l->env.form = NULL;
}

void lane_end(struct lane *l, const char *ended, int64_t now_ns)
{
	bool sessions = l->load->level.kind == LOAD_SESSIONS;

	if (!l->driver) /* it was not tried */
		return;
	if (!ended)
		ended = sessions ? "an earlier turn of its conversation failed"
				 : "the level's time was over";
	for (int64_t k = -1; (k = driver_unsent_after(l->driver, k)) >= 0;)
		keep_dropped(l, k, now_ns, "never sent", ended);
	let_go(l);
}

void lane_lose(struct lane *l, const bool *has_row, int64_t n, const char *why, int64_t now_ns)
{
	for (int64_t k = -1; (k = driver_unsent_after(l->driver, k)) >= 0;)
		if (k >= n || !has_row[k])
			keep_dropped(l, k, now_ns, "lost with its worker", why);
	let_go(l);
}

struct lane_counts lane_count(const struct lane *l)
{
	if (!l->driver)
		return (struct lane_counts){0};
	return (struct lane_counts){
		.driven = true,
		.done = l->done,
		.failed = l->failed,
		.in_flight = driver_in_flight(l->driver),
		.planned = driver_planned(l->driver),
	};
}
