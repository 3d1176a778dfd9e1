/*
 * Owns the closed form in predict.h. Pure; the policy that it asks runs a few steps on paper,
 * without time. Must not know which policy or which formula it is.
 */
#include "predict.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/die.h"

#define TRIAL_STEPS 10000

struct batching {
	bool shared;	 /* one batch for all; else each request has steps of its own */
	int32_t running; /* at once, of those who ask */
};

/* Lets the policy plan the steps of `users` equal requests until nobody new gets in. */
static enum rc ask_policy(const struct profile *p, int32_t users, int32_t prompt, int32_t output,
			  struct batching *out, struct err *e)
{
	struct genreq **req = xcalloc((size_t)users, sizeof(struct genreq *));
	int32_t *token = xcalloc((size_t)(prompt > users ? prompt : users), sizeof(*token));
	struct step_plan plan, second;
	struct sched_stats stats;
	struct sched *s = NULL;
	enum rc rc = p->policy->open(&s, p->knobs, -1, e);

	*out = (struct batching){true, 0};
	step_plan_init(&plan);
	step_plan_init(&second);
	for (int32_t i = 0; rc == RC_OK && i < users; i++) {
		for (int32_t k = 0; k < prompt; k++)
			token[k] = i * prompt + k; /* no two prompts share a prefix */
		req[i] = genreq_new((uint64_t)i + 1, NULL, token, prompt, output);
		rc = p->policy->check(s, req[i], e);
		if (rc == RC_OK)
			p->policy->add(s, req[i]);
	}
	for (int step = 0; rc == RC_OK && step < TRIAL_STEPS && p->policy->plan(s, &plan); step++) {
		if (step == 0 && p->policy->plan(s, &second)) {
			*out = (struct batching){false, users};
			break;
		}
		p->policy->stats(s, &stats);
		if (stats.running > out->running)
			out->running = stats.running;
		if (plan.prefill_tokens == 0)
			break;
		p->policy->commit(s, &plan, token, 0);
		step_plan_clear(&plan);
	}
	if (s)
		p->policy->close(s);
	step_plan_release(&second);
	step_plan_release(&plan);
	for (int32_t i = 0; i < users; i++)
		genreq_free(req[i]);
	free(token);
	free(req);
	return rc;
}

/* The cost of a step that computes `prompts` whole prompts and decodes `seqs` sequences. */
static double step_ns(const struct profile *p, int32_t prompts, int32_t prompt, int32_t seqs,
		      double context)
{
	const struct step_plan load = {
		.prefill_tokens = (int64_t)prompts * prompt,
		.decode_seqs = seqs,
		.decode_kv_tokens = llround(seqs * context),
		.prefill_attention = prompts * (double)prompt * prompt / 2,
	};

	return (double)cost_step_ps(&p->cost, &load) / (double)PS_PER_NS;
}

enum rc predict(const struct profile *p, int32_t users, int32_t prompt, int32_t output,
		struct prediction *out, struct err *e)
{
	double context = prompt + output / 2.0, outside = (double)(p->ingest_ns + p->egress_ns);
	double mixed, decode, wait;
	struct batching b;
	int32_t batch, others;
	enum rc rc = ask_policy(p, users, prompt, output, &b, e);

	if (rc)
		return rc;
	batch = b.shared ? b.running : 1;
	others = batch - 1;
	mixed = step_ns(p, 1, prompt, others, context);
	decode = step_ns(p, 0, prompt, batch, context);
	out->running = b.running;
	/* More users than output tokens: every decode step carries a prompt. */
	if (others > output - 1)
		others = output - 1;
	out->tpot_ns =
		output > 1 ? (others * mixed + (output - 1 - others) * decode) / (output - 1) : 0;
	wait = batch > 1 && output > 1 ? out->tpot_ns - fmod(outside, out->tpot_ns) : 0;
	out->ttft_ns = outside + wait + mixed;
	out->e2el_ns = out->ttft_ns + (output - 1) * out->tpot_ns;
	if (b.running < users) {
		double service = mixed + (output - 1) * out->tpot_ns;

		out->e2el_ns = users * service / b.running;
		out->ttft_ns = out->e2el_ns - (output - 1) * out->tpot_ns;
	}
	out->tokens_per_s = users * (double)output / out->e2el_ns * (double)NS_PER_S;
	return RC_OK;
}
