/*
 * Models: every architecture out of GGUF and out of safetensors is the same model, number for
 * number, though the two formats name, order and turn things differently; and what is wrong with a
 * file is said with the tensor's or the key's name.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/die.h"
#include "model/model.h"
#include "model/model_reader.h"

/* ---- the same model out of both formats ---- */

static const struct tiny_params same[] = {
	{.arch = "llama"},
	{.arch = "llama", .d_model = 72, .n_heads = 9, .n_kv_heads = 3, .untied = true},
	{.arch = "llama", .dtype = DTYPE_F16, .rope_scaling = "linear"},
	{.arch = "llama", .dtype = DTYPE_BF16, .head_dim = 32, .rope_scaling = "llama3"},
	{.arch = "qwen2", .n_kv_heads = 2},
	{.arch = "qwen3", .n_kv_heads = 1, .head_dim = 32},
	{.arch = "gemma3", .n_layers = 7, .n_kv_heads = 1, .head_dim = 24},
	{.arch = "gpt2"},
	{.arch = "gpt2", .dtype = DTYPE_F16, .untied = true},
	{.arch = "opt"},
	{.arch = "falcon", .d_model = 71 * 8, .n_heads = 71},
	{.arch = "falcon", .n_heads = 8, .n_kv_heads = 2, .two_norms = true},
	{.arch = "mpt", .n_heads = 3, .d_model = 48, .d_ff = 96},
	{.arch = "mpt", .learned = true, .qk_norm = true, .clamp = 6},
	{.arch = "llama", .shards = 3},
	{.arch = "opt", .shards = 2},
};

static void same_floats(const char *what, const float *a, const float *b, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		if (fabsf(a[i] - b[i]) > 1e-6f)
			fail_msg("%s[%lld]: %g in GGUF, %g in safetensors", what, (long long)i,
				 (double)a[i], (double)b[i]);
}

static void same_vector(const char *what, const struct vector *a, const struct vector *b)
{
	float *x = xcalloc((size_t)a->n + 1, sizeof(*x)),
	      *y = xcalloc((size_t)a->n + 1, sizeof(*y));

	assert_int_equal(a->n, b->n);
	vector_read(a, x);
	vector_read(b, y);
	same_floats(what, x, y, a->n);
	free(x);
	free(y);
}

static void same_norm(const char *what, const struct norm *a, const struct norm *b)
{
	same_vector(what, &a->weight, &b->weight);
	same_vector(what, &a->bias, &b->bias);
}

/* The row of GGUF's llama that is row i of a head in safetensors. */
static int64_t paired(int64_t row, int32_t dim)
{
	int64_t head = row / dim, i = row % dim;

	return head * dim + (i < dim / 2 ? 2 * i : 2 * (i - dim / 2) + 1);
}

/* permuted: how many of a's leading rows are so, in heads of dim. */
static void same_matrix(const char *what, const struct matrix *a, const struct matrix *b,
			int64_t permuted, int32_t dim)
{
	float *x = xcalloc((size_t)a->n_in + 1, sizeof(*x));
	float *y = xcalloc((size_t)a->n_in + 1, sizeof(*y));

	assert_int_equal(a->n_in, b->n_in);
	assert_int_equal(a->n_out, b->n_out);
	for (int64_t row = 0; row < a->n_out; row++) {
		matrix_read_row(a, row < permuted ? paired(row, dim) : row, x);
		matrix_read_row(b, row, y);
		same_floats(what, x, y, a->n_in);
	}
	free(x);
	free(y);
}

static void same_config(const struct model_config *a, const struct model_config *b)
{
	struct model_config x = *a, y = *b;

	if (strcmp(a->arch, "llama") == 0) {
		assert_int_equal(a->position, POSITION_ROPE_PAIRS);
		assert_int_equal(b->position, POSITION_ROPE_HALVES);
		y.position = x.position;
	}
	assert_string_equal(x.name, "tiny");
	assert_true(strncmp(y.name, "tiny-", 5) == 0); /* the folder's */
	memset(x.name, 0, sizeof(x.name));
	memset(y.name, 0, sizeof(y.name));
	assert_memory_equal(&x, &y, sizeof(x));
}

static void same_layer(const struct model_config *c, const struct model_layer *a,
		       const struct model_layer *b)
{
	bool pairs = c->position == POSITION_ROPE_PAIRS;
	int64_t rotated = pairs ? (int64_t)(c->n_heads + c->n_kv_heads) * c->head_dim : 0;

	same_norm("attn_norm", &a->attn_norm, &b->attn_norm);
	same_norm("attn_norm_2", &a->attn_norm_2, &b->attn_norm_2);
	same_norm("attn_post_norm", &a->attn_post_norm, &b->attn_post_norm);
	same_matrix("qkv", &a->qkv, &b->qkv, rotated, c->head_dim);
	same_vector("qkv_bias", &a->qkv_bias, &b->qkv_bias);
	same_norm("q_norm", &a->q_norm, &b->q_norm);
	same_norm("k_norm", &a->k_norm, &b->k_norm);
	same_matrix("out", &a->out, &b->out, 0, 1);
	same_vector("out_bias", &a->out_bias, &b->out_bias);
	same_norm("ffn_norm", &a->ffn_norm, &b->ffn_norm);
	same_norm("ffn_post_norm", &a->ffn_post_norm, &b->ffn_post_norm);
	same_matrix("gate_up", &a->gate_up, &b->gate_up, 0, 1);
	same_vector("gate_up_bias", &a->gate_up_bias, &b->gate_up_bias);
	same_matrix("down", &a->down, &b->down, 0, 1);
	same_vector("down_bias", &a->down_bias, &b->down_bias);
}

static void test_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		struct tiny_model a, b;

		tiny_model_open(&a, &same[i], MODEL_GGUF);
		tiny_model_open(&b, &same[i], MODEL_SAFETENSORS);
		same_config(&a.model->config, &b.model->config);
		same_matrix("embed", &a.model->embed, &b.model->embed, 0, 1);
		same_matrix("positions", &a.model->positions, &b.model->positions, 0, 1);
		same_vector("rope_factors", &a.model->rope_factors, &b.model->rope_factors);
		same_norm("final_norm", &a.model->final_norm, &b.model->final_norm);
		same_matrix("head", &a.model->head, &b.model->head, 0, 1);
		for (int32_t il = 0; il < a.model->config.n_layers; il++)
			same_layer(&a.model->config, &a.model->layer[il], &b.model->layer[il]);
		assert_true(a.model->n_parameters >= b.model->n_parameters);
		tiny_model_close(&a);
		tiny_model_close(&b);
	}
}

/* ---- what an architecture's name implies ---- */

static void test_implied(void **state)
{
	struct tiny_model t;
	const struct model_config *c;

	(void)state;
	tiny_model_open(&t, &(struct tiny_params){.arch = "gemma3", .head_dim = 24}, MODEL_GGUF);
	c = &t.model->config;
	assert_true(fabsf(c->embed_scale - 8) < 1e-6f); /* the root of 64 */
	assert_true(fabsf(c->attn_scale - 1 / sqrtf(24)) < 1e-6f);
	assert_true(c->rope_base == 1e6f && c->rope_base_local == 1e4f);
	assert_int_equal(c->window, 8);
	for (int32_t il = 0; il < 12; il++)
		assert_int_equal(model_windowed(c, il), il != 5 && il != 11);
	assert_true(c->tied && c->gated && c->act == ACT_GELU_TANH);
	tiny_model_close(&t);

	tiny_model_open(&t, &(struct tiny_params){.arch = "opt"}, MODEL_GGUF);
	c = &t.model->config;
	assert_int_equal(c->position_offset, 2);
	assert_int_equal(t.model->positions.n_out, c->max_len + 2);
	assert_int_equal(c->n_rot, 0);
	assert_true(c->act == ACT_RELU && !c->gated && !model_windowed(c, 0));
	tiny_model_close(&t);

	tiny_model_open(&t,
			&(struct tiny_params){.arch = "falcon", .d_model = 71 * 8, .n_heads = 71},
			MODEL_SAFETENSORS);
	c = &t.model->config;
	assert_true(c->parallel && c->n_kv_heads == 1 && c->act == ACT_GELU);
	assert_int_equal(t.model->layer[0].attn_norm_2.weight.n_parts, 0);
	tiny_model_close(&t);

	tiny_model_open(&t, &(struct tiny_params){.arch = "mpt", .clamp = 6}, MODEL_SAFETENSORS);
	c = &t.model->config;
	assert_true(c->position == POSITION_ALIBI && c->alibi_max_bias == 8 && c->clamp_qkv == 6);
	tiny_model_close(&t);

	tiny_model_open(&t, &(struct tiny_params){.rope_scaling = "linear", .untied = true},
			MODEL_SAFETENSORS);
	c = &t.model->config;
	assert_true(c->rope_scale == 0.25f && !c->tied);
	assert_int_equal(t.model->rope_factors.n_parts, 0);
	tiny_model_close(&t);
}

/* Where a quantised row does not fit, matrices have formats of their own, each part for itself. */
static void test_mixed(void **state)
{
	const struct tiny_params p = {
		.dtype = DTYPE_Q4_K, .mixed = true, .d_model = 96, .d_ff = 256};
	const struct model_layer *l;
	struct tiny_model t;

	(void)state;
	tiny_model_open(&t, &p, MODEL_GGUF);
	l = &t.model->layer[1];
	assert_int_equal(t.model->embed.part[0].t->dtype, DTYPE_Q8_0);
	assert_int_equal(l->qkv.part[0].t->dtype, DTYPE_Q5_0);
	assert_int_equal(l->qkv.part[2].t->dtype, DTYPE_Q8_0);
	assert_int_equal(l->down.part[0].t->dtype, DTYPE_Q5_1);
	assert_int_equal(l->gate_up.part[1].row, 0);
	assert_int_equal(l->gate_up.n_out, 512);
	tiny_model_close(&t);
}

/* ---- what is refused ---- */

static void expect(const char *row, enum rc rc, const struct err *e, const char *want)
{
	if (rc != RC_INPUT || !strstr(e->msg, want))
		fail_msg("%s: \"%s\" is not in \"%s\"", row, want, rc ? e->msg : "no error");
}

static struct meta *find_key(struct model_file *f, const char *key)
{
	return (struct meta *)(uintptr_t)model_file_meta(f, key);
}

static const char *after_arch(const char *key, const char *arch, char out[128])
{
	snprintf(out, 128, "%s%s", *key == '.' ? arch : "", key);
	return out;
}

/* A key with another number, or (name) under another name. */
static void test_wrong_keys(void **state)
{
	static const struct {
		const char *arch, *key, *name;
		int64_t v;
		const char *want;
	} rows[] = {
		{"llama", "general.architecture", "x", 0, "key 'general.architecture' is missing"},
		{"llama", ".block_count", NULL, 0, "'llama.block_count': got 0, want 1 to 4096"},
		{"llama", ".block_count", "x", 0, "key 'llama.block_count' is missing"},
		{"llama", ".block_count", NULL, 3, "tensor 'blk.2.attn_norm.weight' is missing"},
		{"llama", ".block_count", NULL, 1,
		 "tensor 'blk.1.attn_k.weight' has no place in a "
		 "model of architecture llama"},
		{"llama", ".context_length", "x", 0, "key 'llama.context_length' is missing"},
		{"llama", ".embedding_length", NULL, 60,
		 "tensor 'token_embd.weight': got 64 x 320 numbers, want 60 x 320"},
		{"llama", ".attention.head_count", NULL, 8,
		 "tensor 'blk.0.attn_q.weight': got 64 x 64 numbers, want 64 x 128"},
		{"llama", ".attention.head_count_kv", NULL, 3,
		 "'llama.attention.head_count_kv': got 3, want a divisor of the 4 heads"},
		{"llama", ".feed_forward_length", NULL, 127,
		 "tensor 'blk.0.ffn_gate.weight': got 64 x 128 numbers, want 64 x 127"},
		{"llama", ".attention.layer_norm_rms_epsilon", "x", 0, "rms_epsilon' is missing"},
		{"opt", ".context_length", NULL, 511,
		 "tensor 'position_embd.weight': got 64 x 514 numbers, want 64 x 513"},
		{"gpt2", ".attention.head_count_kv", NULL, 2,
		 "tensor 'blk.0.attn_qkv.weight': got 64 x 192 numbers, want 64 x 128"},
		{"llama", "general.alignment", "llama.expert_count", 8,
		 "'llama.expert_count': got 8, which is not supported"},
		{"llama", "general.alignment", "llama.attention.value_length", 8,
		 "'llama.attention.value_length': got 8, want the keys' 16"},
		{"llama", "general.alignment", "llama.rope.dimension_count", 18,
		 "'llama.rope.dimension_count': got 18, want an even number of at most 16"},
		{"llama", "general.alignment", "llama.vocab_size", 319,
		 "tensor 'token_embd.weight': got 64 x 320 numbers, want 64 x 319"},
		{"llama", "general.name", "llama.rope.scaling.type", 0,
		 "got \"tiny\", want none or "
		 "linear"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct model *again;
		struct tiny_model t;
		char key[128];
		struct meta *m;
		struct err e;

		tiny_model_open(&t, &(struct tiny_params){.arch = rows[i].arch}, MODEL_GGUF);
		m = find_key(t.file, after_arch(rows[i].key, rows[i].arch, key));
		if (m->type == META_UINT)
			m->u = (uint64_t)rows[i].v;
		if (rows[i].name)
			m->key = (struct meta_string){rows[i].name, strlen(rows[i].name)};
		assert_int_equal(model_file_sort(t.file, &e), RC_OK);
		expect(rows[i].key, model_load(&again, t.file, &e), &e, rows[i].want);
		tiny_model_close(&t);
	}
}

/* Spellings: what MPT's writers use for what the specification calls otherwise; a number a layer.
 */
static void test_spellings(void **state)
{
	const struct tiny_params p = {.arch = "mpt", .clamp = 6};
	static const char alibi[] = "mpt.attention.alibi_bias_max", clip[] = "mpt.clip_kqv";
	static const int32_t per_layer[] = {4, 4};
	struct model *again;
	struct tiny_model t;
	struct meta *m;
	struct err e;

	(void)state;
	tiny_model_open(&t, &p, MODEL_GGUF);
	find_key(t.file, "mpt.attention.max_alibi_bias")->key =
		(struct meta_string){alibi, sizeof(alibi) - 1};
	find_key(t.file, "mpt.attention.clamp_kqv")->key =
		(struct meta_string){clip, sizeof(clip) - 1};
	m = find_key(t.file, "mpt.attention.head_count");
	m->type = META_ARRAY;
	m->a.type = META_INT;
	m->a.n = 2;
	m->a.at = per_layer;
	m->a.width = 4;
	m->a.string = NULL;
	assert_int_equal(model_file_sort(t.file, &e), RC_OK);
	assert_int_equal(model_load(&again, t.file, &e), RC_OK);
	assert_true(again->config.alibi_max_bias == 8 && again->config.clamp_qkv == 6);
	assert_int_equal(again->config.n_heads, 4);
	model_free(again);
	m = find_key(t.file, "mpt.attention.head_count");
	m->a.at = (const int32_t[]){4, 2};
	expect("per layer", model_load(&again, t.file, &e), &e,
	       "'mpt.attention.head_count': layers of different kinds (4, then 2)");
	tiny_model_close(&t);
}

/* A tensor of another shape, or under another name. */
static void test_wrong_tensors(void **state)
{
	static const struct {
		const char *arch, *tensor, *name;
		int dim;
		int64_t v;
		const char *want;
	} rows[] = {
		{"llama", "token_embd.weight", "x", 0, 0, "tensor 'token_embd.weight' is missing"},
		{"llama", "output_norm.weight", "x", 0, 0,
		 "tensor 'output_norm.weight' is missing"},
		{"llama", "output_norm.weight", NULL, 0, 32,
		 "tensor 'output_norm.weight': got 32 numbers, want 64"},
		{"llama", "blk.1.ffn_down.weight", NULL, 2, 2,
		 "tensor 'blk.1.ffn_down.weight': got "},
		{"llama", "blk.1.attn_v.weight", NULL, 1, 63, "got 64 x 63 numbers, want 64 x 64"},
		{"qwen2", "blk.1.attn_v.bias", "x", 0, 0, "tensor 'blk.1.attn_v.bias' is missing"},
		{"qwen3", "blk.0.attn_q_norm.weight", NULL, 0, 8, "got 8 numbers, want 16"},
		{"gemma3", "blk.0.post_ffw_norm.weight", "blk.0.x", 0, 0,
		 "tensor 'blk.0.post_ffw_norm.weight' is missing"},
		{"gpt2", "blk.0.ffn_up.bias", "blk.0.x", 0, 0, "'blk.0.ffn_up.bias' is missing"},
		{"llama", "blk.1.attn_q.weight", "blk.1.attn_qkv.weight", 0, 0,
		 "tensor 'blk.1.attn_qkv.weight': got 64 x 64 numbers, want 64 x 192"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct tensor *at;
		struct tensor *tensor;
		struct model *again;
		struct tiny_model t;
		struct err e;

		tiny_model_open(&t, &(struct tiny_params){.arch = rows[i].arch}, MODEL_GGUF);
		at = model_file_tensor(t.file, rows[i].tensor);
		assert_non_null(at);
		tensor = &t.file->tensor[at - t.file->tensor];
		if (rows[i].name)
			tensor->name = rows[i].name;
		else
			tensor->dim[rows[i].dim] = rows[i].v;
		if (rows[i].dim >= tensor->n_dims)
			tensor->n_dims = rows[i].dim + 1;
		assert_int_equal(model_file_sort(t.file, &e), RC_OK);
		expect(rows[i].tensor, model_load(&again, t.file, &e), &e, rows[i].want);
		tiny_model_close(&t);
	}
}

/* config.json with some keys replaced. */
static void test_wrong_config(void **state)
{
	static const struct {
		const char *arch, *patch, *want;
	} rows[] = {
		{"llama", "{\"model_type\":\"bert\"}",
		 "config.json: key 'model_type': got \"bert\", want one of llama, qwen2, qwen3, "
		 "gemma3_text, gpt2, opt, falcon, mpt"},
		{"llama", "{\"model_type\":null}", "key 'model_type' is missing"},
		{"llama", "{\"hidden_size\":\"64\"}", "config.json.hidden_size: got \"64\""},
		{"llama", "{\"num_hidden_layers\":null}", "key 'num_hidden_layers' is missing"},
		{"llama", "{\"num_attention_heads\":0}", "config.json.num_attention_heads: got 0"},
		{"llama", "{\"hidden_act\":\"mish\"}",
		 "hidden_activation: got \"mish\", want silu"},
		{"llama", "{\"quantization_config\":{}}",
		 "quantised safetensors are not supported"},
		{"llama", "{\"tie_word_embeddings\":false}", "tensor 'lm_head.weight' is missing"},
		{"llama", "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}",
		 "config.json.rope_scaling.rope_type: got \"yarn\", want default, linear or "
		 "llama3"},
		{"llama", "{\"rope_scaling\":{\"type\":\"linear\"}}",
		 "rope_scaling.factor: missing"},
		{"llama", "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8}}",
		 "rope_scaling.original_max_position_embeddings: missing"},
		{"llama",
		 "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
		 "\"original_max_position_embeddings\":64}}",
		 "rope_scaling.high_freq_factor: got 4, want more than low_freq_factor's 4"},
		{"qwen3", "{\"use_sliding_window\":true}",
		 "config.json.use_sliding_window: got true"},
		{"gemma3", "{\"final_logit_softcapping\":30.0}", "got 30, which is not supported"},
		{"gemma3", "{\"layer_types\":[\"full_attention\",\"full_attention\"]}",
		 "config.json.layer_types: layer 0: want \"sliding_attention\""},
		{"gemma3", "{\"layer_types\":[\"sliding_attention\"]}", "1 layers, want 2"},
		{"gpt2", "{\"scale_attn_weights\":false}", "scale_attn_weights: got false"},
		{"gpt2", "{\"n_inner\":100}",
		 "tensor 'transformer.h.0.mlp.c_fc.weight': got 128 x 64 numbers, want 100 x 64"},
		{"opt", "{\"do_layer_norm_before\":false}", "do_layer_norm_before: got false"},
		{"falcon", "{\"alibi\":true}", "config.json.alibi: got true"},
		{"falcon", "{\"multi_query\":false}",
		 "'transformer.h.0.self_attention.query_key_value.weight': got 64 x 96 numbers, "
		 "want "
		 "64 x 192"},
		{"mpt", "{\"attn_config\":{\"alibi\":true,\"prefix_lm\":true}}",
		 "config.json.attn_config.prefix_lm: got true"},
		{"mpt", "{\"attn_config\":{\"alibi\":false}}",
		 "tensor 'transformer.wpe.weight' is missing"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct model *again;
		struct tiny_model t;
		cJSON *patch, *item;
		struct err e;

		tiny_model_open(&t, &(struct tiny_params){.arch = rows[i].arch}, MODEL_SAFETENSORS);
		assert_int_equal(json_parse(&patch, rows[i].patch, strlen(rows[i].patch), &e),
				 RC_OK);
		while ((item = cJSON_DetachItemFromArray(patch, 0))) {
			char *key = xstrdup(item->string);

			cJSON_DeleteItemFromObject(t.file->config, key);
			cJSON_AddItemToObject(t.file->config, key, item);
			free(key);
		}
		cJSON_Delete(patch);
		expect(rows[i].patch, model_load(&again, t.file, &e), &e, rows[i].want);
		tiny_model_close(&t);
	}
}

/* ---- a real one ---- */

/* $GPU_ENGINE_TEST_MODEL, or what scenarios/fetch-model.sh left in the cache; NULL: neither. */
static char *real_model(void)
{
	const char *named = getenv("GPU_ENGINE_TEST_MODEL"), *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	char *path;

	if (named && *named)
		return xstrdup(named);
	path = xasprintf("%s%s/llm-loadgen/smollm2-135m-instruct-q4_1.gguf",
			 cache ? cache : (home ? home : ""), cache ? "" : "/.cache");
	if (access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

static void test_real(void **state)
{
	char *path = real_model();
	const struct model_config *c;
	struct model_file *f;
	struct model *m = NULL;
	struct err e;
	float row[576];

	(void)state;
	if (!path) {
		print_message("skipped: no model; scenarios/fetch-model.sh brings one\n");
		skip();
	}
	if (model_file_open(&f, path, &e) != RC_OK || model_load(&m, f, &e) != RC_OK)
		fail_msg("%s", e.msg);
	if (!m)
		return;
	c = &m->config;
	print_message("%s: %s, %d layers of %d, %d/%d heads of %d, ff %d, %d tokens, context %d, "
		      "%lld parameters in %lld bytes, %d tensors\n",
		      c->name, c->arch, c->n_layers, c->d_model, c->n_heads, c->n_kv_heads,
		      c->head_dim, c->d_ff, c->n_vocab, c->max_len, (long long)m->n_parameters,
		      (long long)m->weight_bytes, f->n_tensors);
	if (strcmp(c->arch, "llama") == 0 && c->n_layers == 30 && c->d_model == 576) {
		assert_int_equal(m->n_parameters, 134515008);
		assert_int_equal(f->n_tensors, 272);
		assert_true(c->n_heads == 9 && c->n_kv_heads == 3 && c->tied);
		assert_true(c->rope_base == 100000 && c->norm_eps == 1e-5f);
		matrix_read_row(&m->embed, 5, row);
		assert_true(fabsf(row[0] + 0.0079956f) < 1e-6f);
	}
	model_free(m);
	model_file_close(f);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),	     cmocka_unit_test(test_implied),
		cmocka_unit_test(test_mixed),	     cmocka_unit_test(test_wrong_keys),
		cmocka_unit_test(test_spellings),    cmocka_unit_test(test_wrong_tensors),
		cmocka_unit_test(test_wrong_config), cmocka_unit_test(test_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
