/*
 * The forward pass against the double-precision reference: every architecture, with the switches
 * its models differ in, in every number format, token by token and as one prompt. The reference
 * reads the same weights; what may differ is what packing, bytes for activations and halves for
 * keys and values round.
 *
 * The error is the largest difference of a logit by the spread (standard deviation) of the row it
 * stands in. Behind each architecture stand wrong turns: the reference with one of them must be
 * further away than the tolerance, or the comparison would not see it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/ref_forward.h"
#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "cpu/forward.h"

enum { N_TOKENS = 27, PAGE_TOKENS = 16, N_PAGES = 5, MAX_STEP = 64, MAX_WRONG_TURNS = 6 };

struct world {
	struct tiny_model tiny;
	struct threads *threads;
	struct weights *weights;
	struct kv_pages pages;
	struct forward *forward;
	struct genreq *r;
	float *logits; /* of the last step that emitted */
};

static void keep_logits(void *arg, int32_t thread, int32_t item, int32_t position, float *logits)
{
	struct world *w = arg;

	(void)thread;
	assert_int_equal(position, w->r->n_tokens - 1);
	assert_int_equal(item, 0);
	memcpy(w->logits, logits, (size_t)w->tiny.model->config.n_vocab * sizeof(*logits));
}

/* The pages in no order. */
static struct genreq *request(int32_t n_vocab)
{
	static const int32_t pages[N_PAGES] = {3, 0, 4, 1, 2};
	struct genreq *r;
	int32_t tokens[N_TOKENS];
	struct rng rng;

	rng_init(&rng, 3, "tokens", 0);
	for (int32_t i = 0; i < N_TOKENS; i++)
		tokens[i] = (int32_t)rng_below(&rng, (uint64_t)n_vocab);
	r = genreq_new(1, NULL, tokens, N_TOKENS, 10);
	r->slot.block = xcalloc(N_PAGES, sizeof(*pages));
	memcpy(r->slot.block, pages, sizeof(pages));
	r->slot.n_blocks = N_PAGES;
	return r;
}

static void world_open(struct world *w, const struct tiny_params *p, enum model_format format,
		       const char *isa)
{
	const struct model_config *c;
	struct err e;

	memset(w, 0, sizeof(*w));
	tiny_model_open(&w->tiny, p, format);
	c = &w->tiny.model->config;
	w->threads = threads_new(2);
	if (weights_load(&w->weights, w->tiny.model, w->tiny.file, isa, w->threads, &e) != RC_OK)
		fail_msg("%s", e.msg);
	kv_pages_init(&w->pages, c, N_PAGES, PAGE_TOKENS);
	w->forward = forward_new(w->weights, &w->pages, w->threads, MAX_STEP);
	w->r = request(c->n_vocab);
	w->logits = xcalloc((size_t)c->n_vocab, sizeof(*w->logits));
}

static void world_close(struct world *w)
{
	genreq_free(w->r);
	free(w->logits);
	forward_free(w->forward);
	kv_pages_release(&w->pages);
	weights_free(w->weights);
	threads_free(w->threads);
	tiny_model_close(&w->tiny);
}

/* Computes tokens [from, to); w->logits are those after the last of them. */
static void step(struct world *w, int32_t from, int32_t to)
{
	const struct logits_sink sink = {keep_logits, w};
	struct step_plan plan;
	const char *why;

	step_plan_init(&plan);
	w->r->n_tokens = to;
	step_plan_add(&plan, w->r, from, to - from);
	why = forward_step(w->forward, &plan, &sink);
	if (why)
		fail_msg("%s", why);
	step_plan_release(&plan);
}

/* The largest difference of two rows, by the spread of the second. */
static double distance(const float *got, const double *want, int32_t n)
{
	double mean = 0, var = 0, worst = 0;

	for (int32_t i = 0; i < n; i++)
		mean += want[i] / n;
	for (int32_t i = 0; i < n; i++) {
		double d = fabs(got[i] - want[i]);

		var += (want[i] - mean) * (want[i] - mean) / n;
		worst = d > worst || isnan(d) ? d : worst;
	}
	return worst / sqrt(var);
}

static double *reference(const struct model *m, const int32_t *tokens, int32_t n)
{
	double *logits = xcalloc((size_t)n * (size_t)m->config.n_vocab, sizeof(*logits));

	ref_forward(m, tokens, n, logits);
	return logits;
}

/* Token by token against the reference at every position; then all at once and in two chunks, where
 * the last row must have the same bits. Returns the largest distance. */
static double compare(struct world *w, const double *want)
{
	int32_t n_vocab = w->tiny.model->config.n_vocab;
	size_t row_bytes = (size_t)n_vocab * sizeof(float);
	float *alone = xmalloc(row_bytes);
	double worst = 0;

	for (int32_t i = 0; i < N_TOKENS; i++) {
		step(w, i, i + 1);
		worst = fmax(worst, distance(w->logits, want + (int64_t)i * n_vocab, n_vocab));
	}
	memcpy(alone, w->logits, row_bytes);
	memset(w->pages.data, 0x7f, w->pages.bytes); /* halves that are no numbers */
	step(w, 0, N_TOKENS);
	assert_memory_equal(w->logits, alone, row_bytes);
	memset(w->pages.data, 0x7f, w->pages.bytes);
	step(w, 0, 19);
	step(w, 19, N_TOKENS);
	assert_memory_equal(w->logits, alone, row_bytes);
	free(alone);
	return worst;
}

/* ---- architectures ---- */

/* One thing done wrongly, where it would be done. */
struct wrong_turn {
	const char *what;
	void (*take)(struct model *m);
};

static void wrong_window(struct model *m)
{
	m->config.window++;
}

static void wrong_window_period(struct model *m)
{
	m->config.window_period = 0;
}

static void wrong_rope(struct model *m)
{
	m->config.position = m->config.position == POSITION_ROPE_PAIRS ? POSITION_ROPE_HALVES
								       : POSITION_ROPE_PAIRS;
}

static void wrong_rope_base(struct model *m)
{
	m->config.rope_base *= 2;
}

static void wrong_rope_scale(struct model *m)
{
	m->config.rope_scale *= 1.5F;
}

static void no_rope_factors(struct model *m)
{
	m->rope_factors.n_parts = 0;
}

static void wrong_alibi(struct model *m)
{
	m->config.alibi_max_bias /= 2;
}

static void wrong_offset(struct model *m)
{
	m->config.position_offset = m->config.position_offset ? 0 : 1;
}

static void wrong_scale(struct model *m)
{
	m->config.attn_scale *= 1.3F;
}

static void wrong_act(struct model *m)
{
	m->config.act = m->config.act == ACT_RELU ? ACT_GELU : ACT_RELU;
}

static void wrong_norm(struct model *m)
{
	m->config.norm = m->config.norm == NORM_RMS ? NORM_LAYER : NORM_RMS;
}

static void no_clamp(struct model *m)
{
	m->config.clamp_qkv = 0;
}

static void not_parallel(struct model *m)
{
	m->config.parallel = false;
	for (int32_t i = 0; i < m->config.n_layers; i++)
		m->layer[i].ffn_norm = m->layer[i].attn_norm;
}

static void no_second_norm(struct model *m)
{
	for (int32_t i = 0; i < m->config.n_layers; i++)
		m->layer[i].attn_norm_2.weight.n_parts = 0;
}

static void no_qk_norm(struct model *m)
{
	for (int32_t i = 0; i < m->config.n_layers; i++)
		m->layer[i].k_norm.weight.n_parts = 0;
}

static void no_post_norm(struct model *m)
{
	m->layer[0].attn_post_norm.weight.n_parts = 0;
}

static void no_qkv_bias(struct model *m)
{
	m->layer[0].qkv_bias.n_parts = 0;
}

static void no_down_bias(struct model *m)
{
	m->layer[0].down_bias.n_parts = 0;
}

static void no_embed_scale(struct model *m)
{
	m->config.embed_scale = 1;
}

static const struct {
	struct tiny_params params;
	struct wrong_turn wrong[MAX_WRONG_TURNS];
} kinds[] = {
	{{.arch = "llama", .n_heads = 9, .n_kv_heads = 3, .head_dim = 16, .d_model = 96},
	 {{"rope", wrong_rope},
	  {"base", wrong_rope_base},
	  {"act", wrong_act},
	  {"norm", wrong_norm},
	  {"scale", wrong_scale}}},
	{{.arch = "llama", .untied = true, .rope_scaling = "llama3", .n_layers = 3},
	 {{"factors", no_rope_factors}}},
	{{.arch = "llama", .mixed = true, .rope_scaling = "linear"}, {{"scale", wrong_rope_scale}}},
	{{.arch = "qwen2", .n_kv_heads = 2}, {{"bias", no_qkv_bias}, {"rope", wrong_rope}}},
	{{.arch = "qwen3", .n_kv_heads = 2, .head_dim = 32}, {{"qk norm", no_qk_norm}}},
	{{.arch = "gemma3", .n_layers = 7, .n_kv_heads = 1, .head_dim = 32},
	 {{"window", wrong_window},
	  {"period", wrong_window_period},
	  {"post norm", no_post_norm},
	  {"embed scale", no_embed_scale},
	  {"qk norm", no_qk_norm},
	  {"base", wrong_rope_base}}},
	{{.arch = "gpt2"},
	 {{"offset", wrong_offset},
	  {"bias", no_qkv_bias},
	  {"bias", no_down_bias},
	  {"norm", wrong_norm}}},
	{{.arch = "opt"}, {{"offset", wrong_offset}, {"act", wrong_act}}},
	{{.arch = "falcon", .n_heads = 71, .head_dim = 4, .d_model = 284, .n_vocab = 300},
	 {{"parallel", not_parallel}, {"rope", wrong_rope}}},
	{{.arch = "falcon", .two_norms = true, .n_kv_heads = 2}, {{"norm 2", no_second_norm}}},
	{{.arch = "mpt", .n_heads = 6, .d_model = 96, .d_ff = 192}, {{"alibi", wrong_alibi}}},
	{{.arch = "mpt", .clamp = 0.5F, .qk_norm = true, .learned = true},
	 {{"clamp", no_clamp}, {"offset", wrong_offset}}},
};

/* K-quants need rows of 256, so there the model is wider. */
static const struct {
	enum dtype dtype;
	double tolerance;
} formats[] = {
	{DTYPE_F32, 0.005}, {DTYPE_F16, 0.005},	 {DTYPE_Q8_0, 0.15}, {DTYPE_Q4_1, 0.15},
	{DTYPE_Q4_K, 0.15}, {DTYPE_BF16, 0.005}, {DTYPE_Q4_0, 0.15}, {DTYPE_Q5_0, 0.15},
	{DTYPE_Q5_1, 0.15}, {DTYPE_Q5_K, 0.15},	 {DTYPE_Q6_K, 0.15},
};
enum { F32 = 0, Q4_1 = 3, FORMATS_OF_EVERY_KIND = 5 };

static struct tiny_params params_of(size_t kind, size_t format)
{
	struct tiny_params p = kinds[kind].params;

	p.dtype = formats[format].dtype;
	if (dtype_info(p.dtype)->block == 256) {
		p.d_model = p.d_ff = 256;
		if (!p.head_dim)
			p.n_heads = 8;
	}
	return p;
}

static void expect_near(size_t kind, size_t format, const char *how, double distance)
{
	double tolerance = formats[kinds[kind].params.mixed ? Q4_1 : format].tolerance;

	if (!(distance < tolerance)) /* nor is a NaN */
		fail_msg("%s (kind %zu) in %s, %s: %.4f from the reference, at most %.4f",
			 kinds[kind].params.arch, kind, dtype_info(formats[format].dtype)->name,
			 how, distance, tolerance);
}

/* A reference that errs in one thing is recognised. */
static void expect_wrong_turns(const struct world *w, size_t kind, double *want)
{
	struct model *m = w->tiny.model;
	const struct wrong_turn *wrong = kinds[kind].wrong;
	int32_t n_vocab = m->config.n_vocab;

	for (int i = 0; i < MAX_WRONG_TURNS && wrong[i].take; i++) {
		struct model_layer *layers = xcalloc((size_t)m->config.n_layers, sizeof(*layers));
		struct model kept = *m;
		double far;

		memcpy(layers, m->layer, (size_t)m->config.n_layers * sizeof(*layers));
		wrong[i].take(m);
		ref_forward(m, w->r->tokens, N_TOKENS, want);
		far = distance(w->logits, want + (int64_t)(N_TOKENS - 1) * n_vocab, n_vocab);
		if (!(far > 5 * formats[F32].tolerance))
			fail_msg("%s (kind %zu): %s makes no difference (%.4f)",
				 kinds[kind].params.arch, kind, wrong[i].what, far);
		*m = kept;
		memcpy(m->layer, layers, (size_t)m->config.n_layers * sizeof(*layers));
		free(layers);
	}
}

static void test_architectures(void **state)
{
	(void)state;
	for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
		size_t n = kind == 0 ? ARRAY_LEN(formats) : FORMATS_OF_EVERY_KIND;

		for (size_t format = 0; format < n; format++) {
			struct tiny_params p = params_of(kind, format);
			struct world w;
			double *want;

			world_open(&w, &p, MODEL_GGUF, NULL);
			want = reference(w.tiny.model, w.r->tokens, N_TOKENS);
			expect_near(kind, format, "GGUF", compare(&w, want));
			if (format == F32)
				expect_wrong_turns(&w, kind, want);
			free(want);
			world_close(&w);
		}
	}
}

/* The same model out of safetensors, where names, order and rotation are others. */
static void test_safetensors(void **state)
{
	(void)state;
	for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
		struct tiny_params p = params_of(kind, F32);
		struct tiny_model gguf;
		struct world w;
		double *want;

		p.mixed = false;
		world_open(&w, &p, MODEL_SAFETENSORS, NULL);
		tiny_model_open(&gguf, &p, MODEL_GGUF);
		want = reference(gguf.model, w.r->tokens, N_TOKENS);
		expect_near(kind, F32, "safetensors", compare(&w, want));
		free(want);
		tiny_model_close(&gguf);
		world_close(&w);
	}
}

static void test_every_isa(void **state)
{
	(void)state;
	for (int32_t i = 1; kernels_at(i); i++) { /* the first one is that of the other tests */
		for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
			size_t format = kind % 2 ? F32 : Q4_1;
			struct tiny_params p = params_of(kind, format);
			struct world w;
			double *want;

			world_open(&w, &p, MODEL_GGUF, kernels_at(i)->name);
			want = reference(w.tiny.model, w.r->tokens, N_TOKENS);
			expect_near(kind, format, kernels_at(i)->name, compare(&w, want));
			free(want);
			world_close(&w);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_architectures),
		cmocka_unit_test(test_safetensors),
		cmocka_unit_test(test_every_isa),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
