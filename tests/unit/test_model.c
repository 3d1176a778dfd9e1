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
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/die.h"
#include "model/model.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
