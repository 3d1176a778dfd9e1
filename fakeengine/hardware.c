/*
 * Owns the arithmetic from a model's and a card's numbers to coefficients of time. Pure. Must not
 * know where the numbers are written, nor who computes with the coefficients.
 */
#include "hardware.h"

#include <math.h>

#define PS_PER_S 1e12

static int64_t picoseconds(double s)
{
	double ps = s * PS_PER_S;

	return ps < (double)INT64_MAX ? llround(ps) : INT64_MAX;
}

double hardware_weight_bytes(const struct profile_model *m)
{
	return m->params * m->weight_bits / 8;
}

double hardware_kv_bytes_per_token(const struct profile_model *m)
{
	return 2.0 * (double)m->layers * (double)m->kv_heads * (double)m->head_dim *
	       HARDWARE_VALUE_BYTES;
}

int64_t hardware_cards_at_once(const struct profile_card *c, const struct profile_parallel *p)
{
	if (p->tensor > 0)
		return p->tensor;
	return c->count > 0 ? c->count : 1;
}

/* Cards with a part of a layer's KV entries of their own: with more cards than heads some have the
 * same. */
static double kv_cards(const struct profile_model *m, const struct profile_card *c,
		       const struct profile_parallel *p)
{
	int64_t cards = hardware_cards_at_once(c, p);

	return (double)(cards < m->kv_heads ? cards : m->kv_heads);
}

struct cost_load hardware_load(const struct profile_model *m, const struct profile_card *c,
			       const struct profile_parallel *p, const struct profile_offload *o)
{
	double links = kv_cards(m, c, p) * (double)(p->pipeline > 0 ? p->pipeline : 1);

	return (struct cost_load){o->latency_ps, picoseconds(hardware_kv_bytes_per_token(m) /
							     (links * o->bandwidth_bytes_per_s))};
}

struct cost_links hardware_links(const struct profile_model *m, const struct profile_parallel *p)
{
	struct cost_links links = {.stages = (int32_t)p->pipeline};
	double t = (double)p->tensor, per_token_s;

	if (p->tensor > 1) {
		int64_t all_reduces = 2 * m->layers;

		per_token_s = 2 * (t - 1) / t * (double)m->hidden * HARDWARE_VALUE_BYTES /
			      p->bandwidth_bytes_per_s;
		links.part_ps += all_reduces * p->latency_ps;
		links.token_ps += picoseconds((double)all_reduces * per_token_s);
	}
	if (p->pipeline > 1) {
		per_token_s = (double)m->hidden * HARDWARE_VALUE_BYTES / p->bandwidth_bytes_per_s;
		links.part_ps += p->pipeline * p->latency_ps;
		links.token_ps += picoseconds((double)p->pipeline * per_token_s);
	}
	return links;
}

/* A step reads the weights once and computes its tokens meanwhile: up to the knee they come free
 * with the weights. */
void hardware_cost(struct cost *out, const struct profile_model *m, const struct profile_card *c,
		   const struct profile_parallel *p, const struct profile_analytic *a)
{
	double cards = (double)hardware_cards_at_once(c, p);
	double bytes_per_s = c->bandwidth_bytes_per_s * a->bandwidth_share;
	double flops = c->flops_per_s * a->flops_share * cards;
	double weights_s = hardware_weight_bytes(m) / (bytes_per_s * cards);
	double token_s = 2 * m->params / flops;

	out->type = &cost_affine;
	out->coef[AFFINE_STEP] = a->host_ps + picoseconds(weights_s);
	out->coef[AFFINE_DECODE_SEQ] = a->decode_seq_ps;
	out->coef[AFFINE_KV_TOKEN] =
		picoseconds(hardware_kv_bytes_per_token(m) / (bytes_per_s * kv_cards(m, c, p)));
	out->coef[AFFINE_KNEE_TOKENS] = (int64_t)(weights_s / token_s);
	out->coef[AFFINE_OVER_KNEE] = picoseconds(token_s);
	out->coef[AFFINE_PREFILL_ATTENTION] =
		picoseconds(4.0 * (double)m->layers * (double)m->hidden / flops);
}
