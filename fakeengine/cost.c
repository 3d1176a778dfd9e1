/*
 * Owns the formulas of step time. Pure: numbers in, picoseconds out. Must not know where the
 * coefficients come from (profile.c) nor what waits for the result (executor_sim.c, predict.c).
 */
#include "cost.h"

#include <math.h>

#include "base/dist.h"

/* acc + n * each, cut at INT64_MAX; all >= 0. */
static int64_t add_product(int64_t acc, int64_t n, int64_t each)
{
	int64_t product;

	if (__builtin_mul_overflow(n, each, &product) || __builtin_add_overflow(acc, product, &acc))
		return INT64_MAX;
	return acc;
}

static int64_t affine_step_ps(const struct cost *c, const struct step_plan *p)
{
	int64_t many = p->prefill_tokens + p->draft_tokens;
	int64_t over = many + p->decode_seqs - c->coef[AFFINE_KNEE_TOKENS];
	int64_t ps = c->coef[AFFINE_STEP];

	ps = add_product(ps, many, c->coef[AFFINE_PREFILL_TOKEN]);
	ps = add_product(ps, p->decode_seqs, c->coef[AFFINE_DECODE_SEQ]);
	ps = add_product(ps, p->decode_kv_tokens, c->coef[AFFINE_KV_TOKEN]);
	if (over > 0)
		ps = add_product(ps, over, c->coef[AFFINE_OVER_KNEE]);
	if (p->prefill_attention > 0) {
		int64_t half_pairs = llround(2 * p->prefill_attention); /* Q is a multiple of 1/2 */

		ps = add_product(ps, half_pairs / 2, c->coef[AFFINE_PREFILL_ATTENTION]);
		ps = add_product(ps, half_pairs % 2, c->coef[AFFINE_PREFILL_ATTENTION] / 2);
	}
	return ps;
}

static const struct cost_field affine_fields[] = {
	[AFFINE_STEP] = {"step", COST_TIME, "each step: reading the weights, and the host's work"},
	[AFFINE_PREFILL_TOKEN] = {"per_prefill_token", COST_TIME, "each prompt token computed"},
	[AFFINE_DECODE_SEQ] = {"per_decode_seq", COST_TIME,
			       "each sequence that gets its next token"},
	[AFFINE_KV_TOKEN] = {"per_kv_token", COST_TIME,
			     "each token of their contexts: reading the KV cache"},
	[AFFINE_OVER_KNEE] =
		{"per_token_over_knee", COST_TIME,
		 "each token beyond the knee, where computing takes longer than reading"},
	[AFFINE_KNEE_TOKENS] = {"knee_tokens", COST_TOKENS,
				"tokens in a step that come free with the weights"},
	[AFFINE_PREFILL_ATTENTION] = {"per_attention_pair", COST_TIME,
				      "each pair of a prompt token and a token before it"},
	{0},
};

const struct cost_type cost_affine = {
	"affine",
	"step + per_prefill_token P + per_decode_seq D + per_kv_token K + per_token_over_knee "
	"max(0, P + D - knee_tokens) + per_attention_pair Q",
	affine_fields,
	affine_step_ps,
};

enum { PHASES_PREFILL, PHASES_DECODE };

static int64_t phases_step_ps(const struct cost *c, const struct step_plan *p)
{
	int64_t ps = add_product(0, p->prefill_tokens > 0, c->coef[PHASES_PREFILL]);

	return add_product(ps, p->decode_seqs > 0, c->coef[PHASES_DECODE]);
}

static const struct cost_field phases_fields[] = {
	[PHASES_PREFILL] = {"prefill", COST_TIME, "a step that prefills anything"},
	[PHASES_DECODE] = {"decode", COST_TIME, "a step that decodes anything"},
	{0},
};

const struct cost_type cost_phases = {
	"phases",
	"prefill if P > 0, plus decode if D > 0",
	phases_fields,
	phases_step_ps,
};

enum { CONSTANT_PREFILL, CONSTANT_TOKEN };

static int64_t constant_step_ps(const struct cost *c, const struct step_plan *p)
{
	return add_product(c->coef[CONSTANT_TOKEN], p->prefill_tokens > 0,
			   c->coef[CONSTANT_PREFILL]);
}

static const struct cost_field constant_fields[] = {
	[CONSTANT_PREFILL] = {"prefill_ms", COST_MILLIS, "before the first token"},
	[CONSTANT_TOKEN] = {"per_token_ms", COST_MILLIS, "each token, the first one included"},
	{0},
};

const struct cost_type cost_constant = {
	"constant",
	"per_token_ms, plus prefill_ms if P > 0",
	constant_fields,
	constant_step_ps,
};

const struct cost_type *const cost_types[] = {&cost_affine, &cost_phases, &cost_constant, NULL};

/* Rounded up: the fullest part is what the others wait for. */
static int64_t share(int64_t n, int32_t parts)
{
	return (n + parts - 1) / parts;
}

static int64_t linked_step_ps(const struct cost *c, const struct step_plan *p)
{
	int32_t in_plan = p->n_items + p->n_steady, seqs = in_plan > 0 ? in_plan : 1;
	int32_t parts = c->links.stages < seqs ? c->links.stages : seqs;
	struct step_plan part = *p;
	int64_t ps;

	part.prefill_tokens = share(p->prefill_tokens, parts);
	part.draft_tokens = share(p->draft_tokens, parts);
	part.decode_seqs = share(p->decode_seqs, parts);
	part.decode_kv_tokens = share(p->decode_kv_tokens, parts);
	part.prefill_attention = p->prefill_attention / parts;
	ps = add_product(c->type->step_ps(c, &part), 1, c->links.part_ps);
	return add_product(ps, part.prefill_tokens + part.draft_tokens + part.decode_seqs,
			   c->links.token_ps);
}

int64_t cost_step_ps(const struct cost *c, const struct step_plan *p)
{
	int64_t ps = c->links.stages > 0 ? linked_step_ps(c, p) : c->type->step_ps(c, p);

	if (p->max_draft > 0) {
		ps = add_product(ps, p->max_draft, c->draft.pass_ps);
		ps = add_product(ps, p->draft_tokens, c->draft.token_ps);
	}
	if (p->loaded_tokens > 0) {
		ps = add_product(ps, 1, c->load.latency_ps);
		ps = add_product(ps, p->loaded_tokens, c->load.token_ps);
	}
	if (p->adapters)
		ps = add_product(ps, __builtin_popcountll(p->adapters), c->adapter_ps);
	return ps;
}

int64_t cost_noise_apply(const struct cost_noise *n, struct rng *r, int64_t step_ps)
{
	if (n->jitter_cv > 0) {
		const struct dist jitter = {DIST_LOGNORMAL, 1, n->jitter_cv, 0, HUGE_VAL};
		double ps = (double)step_ps * dist_sample(&jitter, r);

		step_ps = ps < (double)INT64_MAX ? (int64_t)ps : INT64_MAX;
	}
	if (n->stalls_per_step > 0 && rng_unit(r) < n->stalls_per_step)
		step_ps = add_product(step_ps, 1, n->stall_ps);
	return step_ps;
}

void cost_clock_init(struct cost_clock *k, const struct cost *c, const struct cost_noise *n,
		     uint64_t seed)
{
	k->cost = c;
	k->noise = *n;
	rng_init(&k->rng, seed, "step noise", 0);
}

int64_t cost_clock_step_ns(struct cost_clock *k, const struct step_plan *p)
{
	return ps_to_ns(cost_noise_apply(&k->noise, &k->rng, cost_step_ps(k->cost, p)));
}
