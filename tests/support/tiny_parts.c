/*
 * Owns the parts of a small model: their weights, as the definition of the architecture has them,
 * and what each format calls them. Shares nothing with the readers but the number formats.
 */
#include "tiny_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"

/* ---- weights ---- */

/* Around `mean`, the same for the same part of the same seed in either format. */
static float *random_floats(const struct maker *m, const char *what, int layer, int64_t n,
			    float mean, float spread)
{
	float *x = xcalloc((size_t)n, sizeof(*x));
	struct rng r;

	rng_init(&r, m->p.seed, what, (uint64_t)layer + 1);
	for (int64_t i = 0; i < n; i++)
		x[i] = mean + spread * (float)(2 * rng_unit(&r) - 1);
	return x;
}

static float *random_matrix(const struct maker *m, const char *what, int layer, int64_t rows,
			    int64_t n_in)
{
	return random_floats(m, what, layer, rows * n_in, 0, 1.7f / sqrtf((float)n_in));
}

static enum dtype fitting(enum dtype t, int64_t n)
{
	static const enum dtype instead[DTYPE_COUNT] = {
		[DTYPE_Q4_K] = DTYPE_Q5_0,
		[DTYPE_Q5_K] = DTYPE_Q5_1,
		[DTYPE_Q6_K] = DTYPE_Q8_0,
	};

	while (n % dtype_info(t)->block != 0)
		t = instead[t] != DTYPE_F32 ? instead[t] : DTYPE_F16;
	return t;
}

static const char *layer_name(char out[128], const char *format, int layer, const char *name)
{
	snprintf(out, 128, "%s%d.%s", format, layer, name);
	return out;
}

/* Takes x. */
static void add(struct maker *m, const char *name, const char *kind, int64_t rows, int64_t n_in,
		float *x, enum dtype t)
{
	struct part *p = &m->part[m->n++];

	CHECK(m->n <= (int)ARRAY_LEN(m->part));
	*p = (struct part){.name = xasprintf("%s.%s", name, kind),
			   .rows = rows,
			   .n_in = n_in,
			   .x = x,
			   .dtype = rows ? fitting(t, n_in) : DTYPE_F32};
	if (!m->gguf && p->dtype > DTYPE_BF16)
		p->dtype = DTYPE_F16;
}

static float *transposed(const float *x, int64_t rows, int64_t n_in)
{
	float *y = xcalloc((size_t)(rows * n_in), sizeof(*y));

	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < n_in; j++)
			y[j * rows + i] = x[i * n_in + j];
	return y;
}

/* A matrix of a layer; takes x. */
static void add_matrix(struct maker *m, const char *name, int64_t rows, int64_t n_in, float *x,
		       enum dtype t)
{
	if (!m->gguf && is(m, "gpt2")) {
		add(m, name, "weight", n_in, rows, transposed(x, rows, n_in), t);
		free(x);
	} else {
		add(m, name, "weight", rows, n_in, x, t);
	}
}

static void add_norm(struct maker *m, const char *name, const char *what, int layer, int64_t n)
{
	float *x = random_floats(m, what, layer, n, 1, 0.3f);
	char bias[32];

	for (int64_t i = 0; !m->gguf && is(m, "gemma3") && i < n; i++)
		x[i] -= 1;
	add(m, name, "weight", 0, n, x, DTYPE_F32);
	if (!any_of(m, "gpt2", "opt", "falcon"))
		return;
	snprintf(bias, sizeof(bias), "%s bias", what);
	add(m, name, "bias", 0, n, random_floats(m, bias, layer, n, 0, 0.1f), DTYPE_F32);
}

/* ---- attention ---- */

/* Row i of a head of GGUF's llama turns with its neighbour, not with the one half a head away. */
static float *permuted(float *x, int64_t heads, int64_t dim, int64_t n_in)
{
	float *y = xcalloc((size_t)(heads * dim * n_in), sizeof(*y));

	for (int64_t h = 0; h < heads; h++)
		for (int64_t i = 0; i < dim; i++) {
			int64_t from = i / 2 + i % 2 * (dim / 2);

			memcpy(y + (h * dim + i) * n_in, x + (h * dim + from) * n_in,
			       (size_t)n_in * sizeof(*y));
		}
	free(x);
	return y;
}

/* q, k, v as [q, k, v] of the first group of heads, then of the next ... */
static void fuse(float *out, float *const qkv[3], const int64_t rows[3], int64_t groups,
		 int64_t n_in)
{
	for (int64_t g = 0; g < groups; g++)
		for (int i = 0; i < 3; i++) {
			int64_t run = rows[i] / groups;

			memcpy(out, qkv[i] + g * run * n_in, (size_t)(run * n_in) * sizeof(*out));
			out += run * n_in;
		}
}

struct attn_names {
	const char *fused, *one[3];
};

static void add_qkv(struct maker *m, const char *layer, const struct attn_names *names, int il)
{
	static const char *const what[] = {"q", "k", "v"};
	const struct tiny_params *p = &m->p;
	int64_t kv = (int64_t)p->n_kv_heads * p->head_dim;
	int64_t rows[3] = {(int64_t)p->n_heads * p->head_dim, kv, kv}, all = rows[0] + 2 * kv;
	bool bias = any_of(m, "qwen2", "gpt2", "opt");
	bool grouped = !m->gguf && is(m, "falcon");
	float *w[3], *b[3];
	char name[128];

	for (int i = 0; i < 3; i++) {
		w[i] = random_matrix(m, what[i], il, rows[i], p->d_model);
		b[i] = random_floats(m, what[i], 1000 + il, rows[i], 0, 0.3f);
		if (m->gguf && is(m, "llama") && i < 2)
			w[i] = permuted(w[i], rows[i] / p->head_dim, p->head_dim, p->d_model);
	}
	if (names->fused) {
		float *x = xcalloc((size_t)(all * p->d_model), sizeof(*x));
		float *y = xcalloc((size_t)all, sizeof(*y));

		fuse(x, w, rows, grouped ? p->n_kv_heads : 1, p->d_model);
		fuse(y, b, rows, grouped ? p->n_kv_heads : 1, 1);
		layer_name(name, layer, il, names->fused);
		add_matrix(m, name, all, p->d_model, x, p->dtype);
		if (bias)
			add(m, name, "bias", 0, all, y, DTYPE_F32);
		else
			free(y);
	}
	for (int i = 0; i < 3; i++) {
		if (names->fused) {
			free(w[i]);
			free(b[i]);
			continue;
		}
		layer_name(name, layer, il, names->one[i]);
		add_matrix(m, name, rows[i], p->d_model, w[i],
			   p->mixed && i == 2 ? DTYPE_Q8_0 : p->dtype);
		if (bias)
			add(m, name, "bias", 0, rows[i], b[i], DTYPE_F32);
		else
			free(b[i]);
	}
}

/* ---- names ---- */

/* NULL: not there. */
struct names {
	const char *arch; /* NULL: GGUF's */
	const char *embed, *positions, *final_norm, *head, *layer;
	const char *attn_norm, *attn_norm_2, *attn_post_norm;
	struct attn_names attn;
	const char *q_norm, *k_norm, *out, *ffn_norm, *ffn_post_norm, *gate, *up, *down;
};

#define HF_LLAMA_ATTENTION                                                                         \
	{                                                                                          \
		NULL,                                                                              \
		{                                                                                  \
			"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"                 \
		}                                                                                  \
	}

static const struct names gguf_names = {
	NULL,
	"token_embd",
	"position_embd",
	"output_norm",
	"output",
	"blk.",
	"attn_norm",
	"attn_norm_2",
	"post_attention_norm",
	{NULL, {"attn_q", "attn_k", "attn_v"}},
	"attn_q_norm",
	"attn_k_norm",
	"attn_output",
	"ffn_norm",
	"post_ffw_norm",
	"ffn_gate",
	"ffn_up",
	"ffn_down",
};

static const struct names hf_llama_names = {
	"llama",
	"model.embed_tokens",
	NULL,
	"model.norm",
	"lm_head",
	"model.layers.",
	"input_layernorm",
	NULL,
	NULL,
	HF_LLAMA_ATTENTION,
	"self_attn.q_norm",
	"self_attn.k_norm",
	"self_attn.o_proj",
	"post_attention_layernorm",
	NULL,
	"mlp.gate_proj",
	"mlp.up_proj",
	"mlp.down_proj",
};

static const struct names hf_names[] = {
	{"gemma3", "model.embed_tokens", NULL, "model.norm", "lm_head", "model.layers.",
	 "input_layernorm", NULL, "post_attention_layernorm", HF_LLAMA_ATTENTION,
	 "self_attn.q_norm", "self_attn.k_norm", "self_attn.o_proj", "pre_feedforward_layernorm",
	 "post_feedforward_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
	{"gpt2",
	 "transformer.wte",
	 "transformer.wpe",
	 "transformer.ln_f",
	 "lm_head",
	 "transformer.h.",
	 "ln_1",
	 NULL,
	 NULL,
	 {"attn.c_attn", {NULL, NULL, NULL}},
	 NULL,
	 NULL,
	 "attn.c_proj",
	 "ln_2",
	 NULL,
	 NULL,
	 "mlp.c_fc",
	 "mlp.c_proj"},
	{"opt", "model.decoder.embed_tokens", "model.decoder.embed_positions",
	 "model.decoder.final_layer_norm", "lm_head", "model.decoder.layers.",
	 "self_attn_layer_norm", NULL, NULL, HF_LLAMA_ATTENTION, NULL, NULL, "self_attn.out_proj",
	 "final_layer_norm", NULL, NULL, "fc1", "fc2"},
	{"falcon",
	 "transformer.word_embeddings",
	 NULL,
	 "transformer.ln_f",
	 "lm_head",
	 "transformer.h.",
	 "input_layernorm",
	 "ln_mlp",
	 NULL,
	 {"self_attention.query_key_value", {NULL, NULL, NULL}},
	 NULL,
	 NULL,
	 "self_attention.dense",
	 NULL,
	 NULL,
	 NULL,
	 "mlp.dense_h_to_4h",
	 "mlp.dense_4h_to_h"},
	{"mpt",
	 "transformer.wte",
	 "transformer.wpe",
	 "transformer.norm_f",
	 "lm_head",
	 "transformer.blocks.",
	 "norm_1",
	 NULL,
	 NULL,
	 {"attn.Wqkv", {NULL, NULL, NULL}},
	 "attn.q_ln",
	 "attn.k_ln",
	 "attn.out_proj",
	 "norm_2",
	 NULL,
	 NULL,
	 "ffn.up_proj",
	 "ffn.down_proj"},
};

/* What this model's file calls its parts. */
static struct names names_of(const struct maker *m)
{
	struct names n = m->gguf ? gguf_names : hf_llama_names;

	for (size_t i = 0; !m->gguf && i < ARRAY_LEN(hf_names); i++)
		if (is(m, hf_names[i].arch))
			n = hf_names[i];
	if (m->gguf && any_of(m, "gpt2", "falcon", "mpt"))
		n.attn.fused = "attn_qkv";
	if (is(m, "falcon") && m->p.two_norms) {
		/* The first name is the attention's norm, the second what the feed-forward reads.
		 */
		n.attn_norm = m->gguf ? "attn_norm_2" : "ln_attn";
		n.attn_norm_2 = m->gguf ? "attn_norm" : "ln_mlp";
	}
	return n;
}

/* ---- the parts of a model ---- */

static void add_ffn(struct maker *m, const struct names *n, int il)
{
	const struct tiny_params *p = &m->p;
	bool gated = !any_of(m, "gpt2", "opt", "falcon") && !is(m, "mpt");
	bool bias = any_of(m, "gpt2", "opt", NULL);
	enum dtype down = p->mixed ? DTYPE_Q5_1 : p->dtype;
	char name[128];

	if (gated)
		add_matrix(m, layer_name(name, n->layer, il, n->gate), p->d_ff, p->d_model,
			   random_matrix(m, "gate", il, p->d_ff, p->d_model), p->dtype);
	layer_name(name, n->layer, il, n->up);
	add_matrix(m, name, p->d_ff, p->d_model, random_matrix(m, "up", il, p->d_ff, p->d_model),
		   p->dtype);
	if (bias)
		add(m, name, "bias", 0, p->d_ff, random_floats(m, "up bias", il, p->d_ff, 0, 0.1f),
		    DTYPE_F32);
	layer_name(name, n->layer, il, n->down);
	add_matrix(m, name, p->d_model, p->d_ff, random_matrix(m, "down", il, p->d_model, p->d_ff),
		   down);
	if (bias)
		add(m, name, "bias", 0, p->d_model,
		    random_floats(m, "down bias", il, p->d_model, 0, 0.1f), DTYPE_F32);
}

static void add_attention(struct maker *m, const struct names *n, int il)
{
	const struct tiny_params *p = &m->p;
	int64_t q = (int64_t)p->n_heads * p->head_dim, kv = (int64_t)p->n_kv_heads * p->head_dim;
	bool per_head = any_of(m, "qwen3", "gemma3", NULL);
	char name[128];

	add_qkv(m, n->layer, &n->attn, il);
	if (per_head || p->qk_norm) {
		add_norm(m, layer_name(name, n->layer, il, n->q_norm), "q norm", il,
			 per_head ? p->head_dim : q);
		add_norm(m, layer_name(name, n->layer, il, n->k_norm), "k norm", il,
			 per_head ? p->head_dim : kv);
	}
	layer_name(name, n->layer, il, n->out);
	add_matrix(m, name, p->d_model, q, random_matrix(m, "out", il, p->d_model, q), p->dtype);
	if (any_of(m, "gpt2", "opt", NULL))
		add(m, name, "bias", 0, p->d_model,
		    random_floats(m, "out bias", il, p->d_model, 0, 0.1f), DTYPE_F32);
}

static void add_layer(struct maker *m, const struct names *n, int il)
{
	int64_t d = m->p.d_model;
	bool post = is(m, "gemma3");
	char name[128];

	add_norm(m, layer_name(name, n->layer, il, n->attn_norm), "attn norm", il, d);
	if (is(m, "falcon") && m->p.two_norms)
		add_norm(m, layer_name(name, n->layer, il, n->attn_norm_2), "attn norm 2", il, d);
	add_attention(m, n, il);
	if (post)
		add_norm(m, layer_name(name, n->layer, il, n->attn_post_norm), "attn post", il, d);
	if (!is(m, "falcon"))
		add_norm(m, layer_name(name, n->layer, il, n->ffn_norm), "ffn norm", il, d);
	add_ffn(m, n, il);
	if (post)
		add_norm(m, layer_name(name, n->layer, il, n->ffn_post_norm), "ffn post", il, d);
}

/* The factors that Llama 3.1 would have here: those of config.json below. */
static float *llama3_factors(const struct tiny_params *p)
{
	int n = p->head_dim / 2;
	float *x = xcalloc((size_t)n, sizeof(*x));

	for (int i = 0; i < n; i++) {
		double wavelength = 2 * M_PI * pow(10000, 2.0 * i / p->head_dim);
		double smooth = (64 / wavelength - 1) / (4.0 - 1);

		x[i] = wavelength < 64.0 / 4 ? 1
		       : wavelength > 64.0   ? 8
					     : (float)(1 / ((1 - smooth) / 8 + smooth));
	}
	return x;
}

void tiny_parts_add(struct maker *m)
{
	const struct tiny_params *p = &m->p;
	struct names n = names_of(m);
	enum dtype embed = p->mixed ? DTYPE_Q8_0 : p->dtype;
	int64_t positions = p->max_len + (is(m, "opt") ? 2 : 0);

	add(m, n.embed, "weight", p->n_vocab, p->d_model,
	    random_floats(m, "embed", 0, (int64_t)p->n_vocab * p->d_model, 0, 1), embed);
	if (any_of(m, "gpt2", "opt", NULL) || p->learned)
		add(m, n.positions, "weight", positions, p->d_model,
		    random_floats(m, "positions", 0, positions * p->d_model, 0, 0.5f), DTYPE_F32);
	if (m->gguf && p->rope_scaling && strcmp(p->rope_scaling, "llama3") == 0)
		add(m, "rope_freqs", "weight", 0, p->head_dim / 2, llama3_factors(p), DTYPE_F32);
	for (int il = 0; il < p->n_layers; il++)
		add_layer(m, &n, il);
	add_norm(m, n.final_norm, "final norm", 0, p->d_model);
	if (p->untied)
		add(m, n.head, "weight", p->n_vocab, p->d_model,
		    random_matrix(m, "head", 0, p->n_vocab, p->d_model), embed);
}
