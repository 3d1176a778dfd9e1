#include "ref_forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

static double *doubles(int64_t n)
{
	return xcalloc((size_t)n, sizeof(double));
}

static double *read_vector(const struct vector *v)
{
	float *f;
	double *d;

	if (v->n_parts == 0)
		return NULL;
	f = xcalloc((size_t)v->n, sizeof(*f));
	d = doubles(v->n);
	vector_read(v, f);
	for (int32_t i = 0; i < v->n; i++)
		d[i] = f[i];
	free(f);
	return d;
}

/* y = W x + b for each of n rows of x; a new array. */
static double *linear(const struct matrix *w, const struct vector *bias, const double *x, int32_t n)
{
	float *row = xcalloc((size_t)w->n_in, sizeof(*row));
	double *y = doubles((int64_t)n * w->n_out), *b = read_vector(bias);

	for (int32_t o = 0; o < w->n_out; o++) {
		matrix_read_row(w, o, row);
		for (int32_t t = 0; t < n; t++) {
			double sum = 0;

			for (int32_t i = 0; i < w->n_in; i++)
				sum += row[i] * x[(int64_t)t * w->n_in + i];
			y[(int64_t)t * w->n_out + o] = sum + (b ? b[o] : 0);
		}
	}
	free(row);
	free(b);
	return y;
}

/* In place, over each of `groups` vectors of norm's length that follow each other, `stride`
 * apart. */
static void normalise(const struct model_config *c, const struct norm *norm, double *x,
		      int64_t groups, int64_t stride)
{
	int32_t n = norm->weight.n;
	double *w = read_vector(&norm->weight), *b = read_vector(&norm->bias);

	if (!w)
		return;
	for (int64_t g = 0; g < groups; g++) {
		double *v = x + g * stride, mean = 0, var = 0;

		if (c->norm == NORM_LAYER)
			for (int32_t i = 0; i < n; i++)
				mean += v[i] / n;
		for (int32_t i = 0; i < n; i++)
			var += (v[i] - mean) * (v[i] - mean) / n;
		for (int32_t i = 0; i < n; i++)
			v[i] = (v[i] - mean) / sqrt(var + c->norm_eps) * w[i] + (b ? b[i] : 0);
	}
	free(w);
	free(b);
}

/* A copy of x, normalised if there is such a norm. */
static double *normed(const struct model_config *c, const struct norm *norm, const double *x,
		      int32_t n)
{
	double *h = doubles((int64_t)n * c->d_model);

	memcpy(h, x, (size_t)n * (size_t)c->d_model * sizeof(*h));
	normalise(c, norm, h, n, c->d_model);
	return h;
}

static void rotate(const struct model *m, int32_t layer, int32_t position, double *head)
{
	const struct model_config *c = &m->config;
	bool local = model_windowed(c, layer);
	double *factors = read_vector(&m->rope_factors);
	double base = local ? c->rope_base_local : c->rope_base;
	double at = position * (local ? 1.0 : (double)c->rope_scale);

	for (int32_t i = 0; i < c->n_rot / 2; i++) {
		double angle = at * pow(base, -2.0 * i / c->n_rot) / (factors ? factors[i] : 1);
		bool pairs = c->position == POSITION_ROPE_PAIRS;
		double *a = &head[pairs ? 2 * i : i];
		double *b = &head[pairs ? 2 * i + 1 : i + c->n_rot / 2];
		double x = *a, y = *b;

		*a = x * cos(angle) - y * sin(angle);
		*b = x * sin(angle) + y * cos(angle);
	}
	free(factors);
}

/* Press, Smith, Lewis: "Train short, test long"; for a number of heads that is no power of two, the
 * odd steps of the next finer series fill up. */
static double alibi_slope(const struct model_config *c, int32_t head)
{
	int32_t whole = 1;

	while (2 * whole <= c->n_heads)
		whole *= 2;
	if (head < whole)
		return pow(2, -c->alibi_max_bias / whole * (head + 1));
	return pow(2, -c->alibi_max_bias / 2 / whole * (2 * (head - whole) + 1));
}

/* The attention of one head at position t: over what it may see, softmax, sum of values. */
static void attend(const struct model_config *c, int32_t layer, const double *qkv, int32_t head,
		   int32_t t, double *out)
{
	int32_t d = c->head_dim, kv = head / (c->n_heads / c->n_kv_heads);
	int64_t row = (int64_t)(c->n_heads + 2 * c->n_kv_heads) * d;
	const double *q = qkv + t * row + (int64_t)head * d;
	const double *k = qkv + (int64_t)(c->n_heads + kv) * d;
	const double *v = qkv + (int64_t)(c->n_heads + c->n_kv_heads + kv) * d;
	int32_t first = model_windowed(c, layer) && t >= c->window ? t - c->window + 1 : 0;
	double *score = doubles(t + 1), most = -INFINITY, sum = 0;

	for (int32_t j = first; j <= t; j++) {
		for (int32_t i = 0; i < d; i++)
			score[j] += q[i] * k[j * row + i];
		score[j] *= c->attn_scale;
		if (c->position == POSITION_ALIBI)
			score[j] -= alibi_slope(c, head) * (t - j);
		most = fmax(most, score[j]);
	}
	for (int32_t j = first; j <= t; j++)
		sum += score[j] = exp(score[j] - most);
	for (int32_t i = 0; i < d; i++) {
		out[i] = 0;
		for (int32_t j = first; j <= t; j++)
			out[i] += score[j] / sum * v[j * row + i];
	}
	free(score);
}

static double *attention(const struct model *m, int32_t layer, const double *h, int32_t n)
{
	const struct model_config *c = &m->config;
	const struct model_layer *l = &m->layer[layer];
	int32_t d = c->head_dim, width = c->n_heads * d, kv_width = c->n_kv_heads * d;
	int64_t row = width + 2 * (int64_t)kv_width;
	double *qkv = linear(&l->qkv, &l->qkv_bias, h, n);
	double *mixed = doubles((int64_t)n * width), *out;

	for (int64_t i = 0; c->clamp_qkv > 0 && i < n * row; i++)
		qkv[i] = fmin(fmax(qkv[i], -c->clamp_qkv), c->clamp_qkv);
	for (int32_t t = 0; t < n; t++) {
		double *q = qkv + t * row, *k = q + width;

		normalise(c, &l->q_norm, q, l->q_norm.weight.n == d ? c->n_heads : 1, d);
		normalise(c, &l->k_norm, k, l->k_norm.weight.n == d ? c->n_kv_heads : 1, d);
		if (c->position == POSITION_ROPE_PAIRS || c->position == POSITION_ROPE_HALVES)
			for (int32_t head = 0; head < c->n_heads + c->n_kv_heads; head++)
				rotate(m, layer, t, q + (int64_t)head * d);
	}
	for (int32_t t = 0; t < n; t++)
		for (int32_t head = 0; head < c->n_heads; head++)
			attend(c, layer, qkv, head, t,
			       mixed + (int64_t)t * width + (int64_t)head * d);
	out = linear(&l->out, &l->out_bias, mixed, n);
	free(qkv);
	free(mixed);
	return out;
}

static double activate(enum activation act, double x)
{
	switch (act) {
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_GELU:
		return x / 2 * (1 + erf(x / sqrt(2)));
	case ACT_GELU_TANH:
		return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
	case ACT_RELU:
		return x > 0 ? x : 0;
	}
	return NAN;
}

static double *feed_forward(const struct model *m, const struct model_layer *l, const double *h,
			    int32_t n)
{
	const struct model_config *c = &m->config;
	int64_t ff = c->d_ff, row = c->gated ? 2 * ff : ff;
	double *up = linear(&l->gate_up, &l->gate_up_bias, h, n);
	double *inner = doubles(n * ff), *out;

	for (int32_t t = 0; t < n; t++)
		for (int64_t i = 0; i < ff; i++)
			inner[t * ff + i] = activate(c->act, up[t * row + i]) *
					    (c->gated ? up[t * row + ff + i] : 1);
	out = linear(&l->down, &l->down_bias, inner, n);
	free(up);
	free(inner);
	return out;
}

/* x += post(y); y is done with. */
static void add(const struct model_config *c, const struct norm *post, double *x, double *y,
		int32_t n)
{
	normalise(c, post, y, n, c->d_model);
	for (int64_t i = 0; i < (int64_t)n * c->d_model; i++)
		x[i] += y[i];
	free(y);
}

static void block(const struct model *m, int32_t layer, double *x, int32_t n)
{
	const struct model_config *c = &m->config;
	const struct model_layer *l = &m->layer[layer];
	double *h = normed(c, &l->attn_norm, x, n);
	double *a = attention(m, layer, h, n), *f;

	if (c->parallel) {
		if (l->attn_norm_2.weight.n_parts) {
			free(h);
			h = normed(c, &l->attn_norm_2, x, n);
		}
		f = feed_forward(m, l, h, n);
		add(c, &l->attn_post_norm, x, a, n);
	} else {
		add(c, &l->attn_post_norm, x, a, n);
		free(h);
		h = normed(c, &l->ffn_norm, x, n);
		f = feed_forward(m, l, h, n);
	}
	add(c, &l->ffn_post_norm, x, f, n);
	free(h);
}

void ref_forward(const struct model *m, const int32_t *tokens, int32_t n, double *logits)
{
	const struct model_config *c = &m->config;
	float *row = xcalloc((size_t)c->d_model, sizeof(*row));
	double *x = doubles((int64_t)n * c->d_model), *out;

	for (int32_t t = 0; t < n; t++) {
		matrix_read_row(&m->embed, tokens[t], row);
		for (int32_t i = 0; i < c->d_model; i++)
			x[(int64_t)t * c->d_model + i] = row[i] * (double)c->embed_scale;
		if (c->position != POSITION_LEARNED)
			continue;
		matrix_read_row(&m->positions, t + c->position_offset, row);
		for (int32_t i = 0; i < c->d_model; i++)
			x[(int64_t)t * c->d_model + i] += row[i];
	}
	for (int32_t layer = 0; layer < c->n_layers; layer++)
		block(m, layer, x, n);
	normalise(c, &m->final_norm, x, n, c->d_model);
	out = linear(&m->head, &m->head_bias, x, n);
	memcpy(logits, out, (size_t)n * (size_t)c->n_vocab * sizeof(*logits));
	free(out);
	free(x);
	free(row);
}
