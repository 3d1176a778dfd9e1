/*
 * Owns the closed forms in predict.h. Pure; the policy that it asks runs a few steps on paper,
 * where no time passes but what the policy itself waits for. Must not know which policy or which
 * formula it is.
 */
#include "predict.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/die.h"

#define TRIAL_STEPS 10000

struct batching {
	enum company company;
	int32_t running;    /* at once, of those who ask */
	int32_t wait_steps; /* decode steps that a newcomer who finds a place waits for his turn */
	int32_t draft;	    /* tokens guessed for each in a step */
	int64_t hold_ns;    /* what the policy lets pass, with nobody running, before it begins */
};

/* A policy with its plan and requests, on paper. */
struct trial {
	const struct sched_type *policy;
	struct sched *s;
	struct genreq **req;
	int32_t *token;
	struct step_plan plan;
};

/* `users` requests of which the first `known` are the policy's already. */
static enum rc trial_open(struct trial *t, const struct profile *p, int32_t users, int32_t known,
			  int32_t prompt, int32_t output, struct err *e)
{
	int32_t n_tokens = users * (1 + SCHED_MAX_DRAFT);
	enum rc rc;

	*t = (struct trial){
		.policy = p->policy,
		.req = xcalloc((size_t)users, sizeof(struct genreq *)),
	};
	/* One prompt at a time, or what a step yields. */
	if (n_tokens < prompt)
		n_tokens = prompt;
	t->token = xcalloc((size_t)n_tokens, sizeof(*t->token));
	step_plan_init(&t->plan);
	rc = p->policy->open(&t->s, p->knobs, -1, e);
	for (int32_t i = 0; rc == RC_OK && i < users; i++) {
		for (int32_t k = 0; k < prompt; k++)
			t->token[k] = i * prompt + k; /* no two prompts share a prefix */
		t->req[i] = genreq_new((uint64_t)i + 1, NULL, t->token, prompt, output);
		rc = p->policy->check(t->s, t->req[i], e);
		if (rc == RC_OK && i < known)
			p->policy->add(t->s, t->req[i]);
	}
	return rc;
}

static void trial_close(struct trial *t, int32_t users)
{
	if (t->s)
		t->policy->close(t->s);
	step_plan_release(&t->plan);
	for (int32_t i = 0; i < users; i++)
		genreq_free(t->req[i]);
	free(t->token);
	free(t->req);
}

/* The next step, if need be after the time that the policy lets pass. */
static bool trial_plan(struct trial *t)
{
	int64_t wake_ns;

	step_plan_clear(&t->plan);
	if (t->policy->plan(t->s, &t->plan))
		return true;
	wake_ns = t->policy->wake_ns ? t->policy->wake_ns(t->s) : INT64_MAX;
	if (wake_ns == INT64_MAX)
		return false;
	t->policy->wake(t->s, wake_ns);
	return t->policy->plan(t->s, &t->plan);
}

static void trial_commit(struct trial *t)
{
	t->policy->commit(t->s, &t->plan, t->token, 0);
}

/* Lets the policy plan the steps of `users` equal requests until nobody new gets in: so many run at
 * once. */
static enum rc ask_running(const struct profile *p, int32_t users, int32_t prompt, int32_t output,
			   struct batching *out, struct err *e)
{
	struct trial t;
	struct step_plan second;
	struct sched_stats stats;
	enum rc rc = trial_open(&t, p, users, users, prompt, output, e);

	*out = (struct batching){.company = BESIDE};
	step_plan_init(&second);
	for (int step = 0; rc == RC_OK && step < TRIAL_STEPS && trial_plan(&t); step++) {
		if (step == 0 && p->policy->plan(t.s, &second)) {
			*out = (struct batching){.company = ALONE, .running = users};
			break;
		}
		if (step == 0) /* all came at 0 */
			out->hold_ns = t.plan.start_ns;
		p->policy->stats(t.s, &stats);
		if (stats.running > out->running)
			out->running = stats.running;
		out->draft = t.plan.max_draft;
		if (t.plan.prefill_tokens == 0)
			break;
		trial_commit(&t);
	}
	step_plan_release(&second);
	trial_close(&t, users);
	return rc;
}

static bool plan_has(const struct step_plan *p, const struct genreq *r)
{
	for (int32_t i = 0; i < p->n_items; i++)
		if (p->item[i].req == r)
			return true;
	return false;
}

/* The batch decodes, one place is free, and somebody comes: what becomes of him, and of the others
 * when his prompt is computed? */
static enum rc ask_newcomer(const struct profile *p, int32_t prompt, int32_t output,
			    struct batching *b, struct err *e)
{
	int32_t others = b->running - 1;
	const struct genreq *newcomer;
	struct trial t;
	enum rc rc = trial_open(&t, p, b->running, others, prompt, output, e);

	for (int step = 0; rc == RC_OK && step < TRIAL_STEPS && trial_plan(&t); step++) {
		bool decodes = t.plan.prefill_tokens == 0;

		trial_commit(&t);
		if (decodes)
			break;
	}
	newcomer = t.req[others];
	if (rc == RC_OK)
		p->policy->add(t.s, t.req[others]);
	for (int step = 0; rc == RC_OK && step < TRIAL_STEPS && trial_plan(&t); step++) {
		if (plan_has(&t.plan, newcomer)) {
			b->company = t.plan.decode_seqs > 0 ? BESIDE : INSTEAD;
			break;
		}
		b->wait_steps++;
		trial_commit(&t);
		if (t.req[0]->state == GENREQ_DONE) {
			b->company = TOGETHER;
			break;
		}
	}
	trial_close(&t, b->running);
	return rc;
}

/* The cost of a step that computes so many whole prompts (on average) and decodes so many
 * sequences, with so many guesses for each. */
static double step_ns(const struct profile *p, double prompts, int32_t prompt, int32_t seqs,
		      int32_t draft, double context)
{
	int32_t drafted = seqs * draft;
	const struct step_plan load = {
		.n_items = (int32_t)ceil(prompts) + seqs,
		.prefill_tokens = llround(prompts * prompt),
		.decode_seqs = seqs,
		.decode_kv_tokens = llround(seqs * context),
		.prefill_attention =
			prompts * (double)prompt * prompt / 2 + drafted * (context + draft / 2.0),
		.draft_tokens = drafted,
		.max_draft = drafted > 0 ? draft : 0,
	};

	return (double)cost_step_ps(&p->cost, &load) / (double)PS_PER_NS;
}

/* What a request goes through once it is the policy's, by the forms of predict.h. */
struct course {
	double turn_ns;	 /* decode steps it waits for its turn */
	double first_ns; /* the step of its prompt */
	double step_ns;	 /* the mean one behind it, and what that is a token */
	double tpot_ns;
};

static struct course course_of(const struct profile *p, const struct batching *b, int32_t prompt,
			       int32_t output)
{
	int32_t batch = b->company == ALONE ? 1 : b->running;
	double yield = drafter_tokens_per_step(&p->drafter, b->draft);
	double decodes = (output - 1) / yield, with;
	double context = prompt + output / 2.0, spacing = (1 + decodes) / batch, prompts = 1;
	double decode = step_ns(p, 0, prompt, batch, b->draft, context);
	struct course c = {.step_ns = decode};

	switch (b->company) {
	case ALONE:
	case TOGETHER:
		c.first_ns = step_ns(p, batch, prompt, 0, 0, context);
		break;
	case BESIDE:
		c.first_ns = step_ns(p, 1, prompt, batch - 1, b->draft, context);
		/* More users than decode steps: every one of them carries a prompt. */
		with = batch - 1 < decodes ? batch - 1 : decodes;
		if (decodes > 0)
			c.step_ns = (with * c.first_ns + (decodes - with) * decode) / decodes;
		break;
	case INSTEAD:
		if (b->wait_steps > spacing)
			prompts = ceil(b->wait_steps / spacing);
		c.first_ns = step_ns(p, prompts, prompt, 0, 0, context);
		if (decodes > 0)
			c.step_ns = decode + (batch - 1) / prompts * c.first_ns / decodes;
		c.turn_ns = (prompts - 1) / 2 * spacing * c.step_ns;
		break;
	}
	if (decodes > 0)
		c.tpot_ns = c.step_ns / yield;
	return c;
}

enum rc predict(const struct profile *p, int32_t users, int32_t prompt, int32_t output,
		struct prediction *out, struct err *e)
{
	double outside = (double)(p->ingest_ns + p->egress_ns), wait, decode_ns;
	struct batching b;
	struct course c;
	enum rc rc = ask_running(p, users, prompt, output, &b, e);

	if (rc == RC_OK && b.company != ALONE && b.running > 1)
		rc = ask_newcomer(p, prompt, output, &b, e);
	else if (rc == RC_OK && b.company != ALONE)
		b.company = TOGETHER; /* one at a time: a batch of one */
	if (rc)
		return rc;
	c = course_of(p, &b, prompt, output);
	wait = (double)b.hold_ns + c.turn_ns;
	if ((b.company == BESIDE || b.company == INSTEAD) && b.running > 1 && output > 1)
		wait += c.step_ns - fmod(outside, c.step_ns);
	decode_ns = (output - 1) * c.tpot_ns;
	out->company = b.company;
	out->running = b.running;
	out->yield = drafter_tokens_per_step(&p->drafter, b.draft);
	out->tpot_ns = c.tpot_ns;
	out->e2el_ns = outside + wait + c.first_ns + decode_ns;
	if (b.running < users)
		out->e2el_ns = users * (c.first_ns + decode_ns) / b.running;
	out->ttft_ns = out->e2el_ns - decode_ns;
	out->tokens_per_s = users * (double)output / out->e2el_ns * (double)NS_PER_S;
	return RC_OK;
}
