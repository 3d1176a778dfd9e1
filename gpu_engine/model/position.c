/*
 * Owns what follows from a model's kind of positions: how far rotations turn, how steeply ALiBi
 * falls, how far learned ones reach. Pure.
 */
#include <math.h>

#include "model.h"

bool model_rotates(const struct model_config *c)
{
	return c->position == POSITION_ROPE_PAIRS || c->position == POSITION_ROPE_HALVES;
}

void model_rope_turns(const struct model_config *c, const float *factors, bool windowed,
		      double *out)
{
	double base = windowed ? c->rope_base_local : c->rope_base;
	double scale = windowed ? 1 : c->rope_scale;

	for (int32_t i = 0; i < c->n_rot / 2; i++)
		out[i] = scale * pow(base, -2.0 * i / c->n_rot) / (factors ? factors[i] : 1);
}

/* Geometric, and where the number of heads is no power of two, every other step of the series that
 * is twice as fine ("Train short, test long", Press et al. 2022). */
void model_alibi_slopes(const struct model_config *c, float *out)
{
	int32_t whole = 1;

	while (2 * whole <= c->n_heads)
		whole *= 2;
	for (int32_t h = 0; h < c->n_heads; h++) {
		double step = h < whole ? h + 1 : h - whole + 0.5;

		out[h] = (float)exp2(-c->alibi_max_bias * step / whole);
	}
}

int32_t model_max_positions(const struct model *m)
{
	const struct model_config *c = &m->config;

	return c->position == POSITION_LEARNED ? m->positions.n_out - c->position_offset
					       : INT32_MAX;
}

int64_t model_kv_token_bytes(const struct model_config *c)
{
	return (int64_t)c->n_layers * 2 * c->n_kv_heads * c->head_dim * (int64_t)sizeof(uint16_t);
}
