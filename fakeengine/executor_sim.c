/*
 * Owns the steps of a simulated engine while they are in flight. Runs on the thread of whoever
 * fires its timers. Must not know policies, streams or clocks. Steps that are over are kept for the
 * next ones: nothing is allocated per token.
 */
#include "executor_sim.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/die.h"
#include "answers.h"

struct sim_step {
	struct timer timer;
	struct executor *x;
	struct step_plan *plan;
	int32_t *token;
	int32_t cap_tokens;
	struct sim_step *prev, *next; /* in flight: both; idle: next only */
};

struct executor {
	struct executor_opts opts;
	const struct sim_config *config;
	struct cost_clock clock;
	struct sim_step in_flight; /* head of a ring */
	struct sim_step *idle;
};

static enum rc sim_open(struct executor **out, const struct executor_opts *o, struct err *e)
{
	struct executor *x = xcalloc(1, sizeof(*x));

	(void)e;
	x->opts = *o;
	x->config = o->config;
	x->in_flight.prev = x->in_flight.next = &x->in_flight;
	cost_clock_init(&x->clock, x->config->cost, &x->config->noise, x->config->seed);
	*out = x;
	return RC_OK;
}

static struct sim_step *step_take(struct executor *x, struct step_plan *plan)
{
	struct sim_step *s = x->idle;

	if (s)
		x->idle = s->next;
	else
		s = xcalloc(1, sizeof(*s));
	s->x = x;
	s->plan = plan;
	s->prev = x->in_flight.prev;
	s->next = &x->in_flight;
	s->prev->next = s->next->prev = s;
	return s;
}

static void step_return(struct sim_step *s)
{
	s->prev->next = s->next;
	s->next->prev = s->prev;
	s->next = s->x->idle;
	s->x->idle = s;
}

static void step_make_tokens(struct sim_step *s)
{
	const struct step_plan *p = s->plan;
	int32_t each = 1 + p->max_draft;

	if (s->cap_tokens < p->n_items * each) {
		s->cap_tokens = p->n_items * each * 2;
		s->token = xreallocarray(s->token, (size_t)s->cap_tokens, sizeof(*s->token));
	}
	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item *it = &p->item[i];
		int32_t *token = s->token + (size_t)i * (size_t)each;
		int32_t at = genreq_output_tokens(it->req);

		if (it->n_draft > 0)
			it->n_accepted = drafter_accepted(s->x->config->drafter, it->req->seed, at,
							  it->n_draft);
		if (it->emits)
			answer_tokens(it->req, at, 1 + it->n_accepted, token);
	}
}

/* end_ns is the deadline, not now_ns: the model's time does not know how late the loop was. */
static void step_over(struct timer *t, int64_t now_ns)
{
	struct sim_step *s = (struct sim_step *)((char *)t - offsetof(struct sim_step, timer));
	const struct step_result result = {
		.plan = s->plan,
		.end_ns = t->at_ns,
		.token = s->token,
	};

	(void)now_ns;
	s->x->opts.done(&result, s->x->opts.arg);
	step_return(s); /* only now: done() reads the tokens, and may submit the next step */
}

static enum rc sim_submit(struct executor *x, struct step_plan *plan)
{
	const struct sim_config *c = x->config;
	struct sim_step *s = step_take(x, plan);

	step_make_tokens(s);
	s->timer.fn = step_over;
	c->timers.set(c->timers.arg, &s->timer,
		      plan->start_ns + cost_clock_step_ns(&x->clock, plan));
	return RC_OK;
}

static void sim_close(struct executor *x)
{
	struct sim_step *s;

	if (!x)
		return;
	while ((s = x->in_flight.next) != &x->in_flight) {
		x->config->timers.cancel(x->config->timers.arg, &s->timer);
		step_return(s);
	}
	while ((s = x->idle)) {
		x->idle = s->next;
		free(s->token);
		free(s);
	}
	free(x);
}

const struct executor_type executor_sim = {
	.name = "sim",
	.open = sim_open,
	.submit = sim_submit,
	.close = sim_close,
};
