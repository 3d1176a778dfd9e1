/* Embedding, norms, residual sums and activations against plain C in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"

static const float *on_device(const float *x, size_t n)
{
	return device_copy(x, n * sizeof(*x));
}

/* ---- norms ---- */

struct norm_case {
	enum gpu_norm_kind kind;
	int32_t n, m;
	bool y, y_bias, post, norm, bias, rows;
};

static void norm_of(const struct norm_case *c, const double *x, const float *weight,
		    const float *bias, double *out)
{
	double mean = 0, squares = 0;

	for (int32_t i = 0; i < c->n; i++)
		mean += c->kind == GPU_NORM_LAYER ? x[i] / c->n : 0;
	for (int32_t i = 0; i < c->n; i++)
		squares += (x[i] - mean) * (x[i] - mean);
	for (int32_t i = 0; i < c->n; i++)
		out[i] = (x[i] - mean) / sqrt(squares / c->n + 1e-5) * weight[i] +
			 (bias ? bias[i] : 0);
}

static void check_inputs(const struct gpu_inputs *in, int32_t row, const double *want, int32_t n)
{
	size_t padded = (size_t)in->padded, at = (size_t)row * padded;

	for (size_t i = 0; i < padded; i++) {
		double v = (int32_t)i < n ? want[i] : 0, largest = 0;
		double half = f16_to_float(in->halves[at + i]);
		size_t group = (at + i) / GPU_GROUP;
		double scale = in->scales[2 * group];

		expect_near("half", at + i, half, v, fabs(v) * 1e-3 + 1e-6);
		for (size_t j = i / GPU_GROUP * GPU_GROUP; j < (i / GPU_GROUP + 1) * GPU_GROUP; j++)
			largest = fmax(largest, (int32_t)j < n ? fabs(want[j]) : 0);
		expect_near("scale", at + i, scale, largest / 127, largest * 1e-5 + 1e-9);
		expect_near("byte", at + i, scale * in->bytes[at + i], v,
			    scale * 0.501 + largest * 1e-5);
	}
}

static struct gpu_inputs new_inputs(int32_t n, int32_t m)
{
	size_t all = (size_t)gpu_padded(n) * (size_t)m;

	return (struct gpu_inputs){.padded = gpu_padded(n),
				   .halves = device(all * sizeof(uint16_t)),
				   .bytes = device(all),
				   .scales = device(all / GPU_GROUP * 2 * sizeof(float))};
}

static void check_norm(const struct norm_case *c)
{
	size_t n = (size_t)c->n, taken = (size_t)c->m + (c->rows ? 2 : 0), all = n * taken;
	float *x = numbers(all, 3), *y = numbers(all, 2), *y_bias = numbers(n, 1);
	float *weight[2] = {numbers(n, 1), numbers(n, 1)},
	      *bias[2] = {numbers(n, 1), numbers(n, 1)};
	int32_t *rows = host((size_t)c->m * sizeof(*rows));
	double *v = host(n * sizeof(*v)), *normed = host(n * sizeof(*normed));
	struct gpu_inputs out = new_inputs(c->n, c->m);
	struct gpu_norm norm = {.kind = c->kind, .eps = 1e-5F, .n = c->n};
	float *after = device_copy(x, all * sizeof(*x));

	for (int32_t i = 0; i < c->m; i++)
		rows[i] = c->rows ? c->m + 1 - i : i;
	norm.x = after;
	norm.rows = c->rows ? device_copy(rows, (size_t)c->m * sizeof(*rows)) : NULL;
	norm.y = c->y ? on_device(y, all) : NULL;
	norm.y_bias = c->y_bias ? on_device(y_bias, n) : NULL;
	if (c->post)
		norm.post = (struct gpu_norm_weights){on_device(weight[0], n),
						      c->bias ? on_device(bias[0], n) : NULL};
	if (c->norm)
		norm.norm = (struct gpu_norm_weights){on_device(weight[1], n),
						      c->bias ? on_device(bias[1], n) : NULL};
	OK(gpu_norm(&bench_queue, &norm, c->m, c->norm ? &out : NULL, NULL));
	for (int32_t r = 0; r < c->m; r++) {
		size_t from = (size_t)rows[r] * n;

		for (size_t i = 0; i < n; i++)
			v[i] = y[from + i] + (c->y_bias ? y_bias[i] : 0);
		if (c->post)
			norm_of(c, v, weight[0], c->bias ? bias[0] : NULL, v);
		for (size_t i = 0; i < n; i++) {
			v[i] = x[from + i] + (c->y ? v[i] : 0);
			expect_near("x", from + i, after[from + i], v[i], 2e-5 * (1 + fabs(v[i])));
		}
		norm_of(c, v, weight[1], c->bias ? bias[1] : NULL, normed);
		if (c->norm)
			check_inputs(&out, r, normed, c->n);
	}
	bench_release();
}

static void norms(void)
{
	static const struct norm_case cases[] = {
		{GPU_NORM_RMS, 576, 3, false, false, false, true, false, false},
		{GPU_NORM_RMS, 640, 2, true, false, true, true, false, false},
		{GPU_NORM_RMS, 1, 1, true, true, false, true, false, false},
		{GPU_NORM_RMS, 33, 4, true, true, true, true, true, true},
		{GPU_NORM_LAYER, 768, 2, true, true, false, true, true, false},
		{GPU_NORM_LAYER, 50, 5, false, false, false, true, false, true},
		{GPU_NORM_LAYER, 4544, 1, true, false, true, true, true, false},
		{GPU_NORM_RMS, 96, 2, true, true, false, false, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_norm(&cases[i]);
}

static void test_norms(void **state)
{
	(void)state;
	bench_orders(norms);
}

static void test_limits(void **state)
{
	struct gpu_norm norm = {.n = 12300};
	struct err e = {RC_OK, ""};

	(void)state;
	assert_int_equal(gpu_norm(&bench_queue, &norm, 1, NULL, &e), RC_LIMIT);
	assert_non_null(strstr(e.msg, "shared memory"));
}

/* ---- embedding ---- */

static void embedding(void)
{
	enum { N = 50, POSITIONS = 9, M = 4 };
	enum dtype dtype = DTYPE_BF16;
	int32_t n_out = 6, tokens[M] = {5, 0, -1, 3}, positions[M] = {6, 0, 2, 1};
	float *learned = numbers((size_t)POSITIONS * N, 1),
	      *x = device((size_t)M * N * sizeof(float)), want[N];
	struct bench_matrix w;

	make_matrix(&w, N, 1, &dtype, &n_out);
	OK(gpu_embed(&bench_queue,
		     &(struct gpu_embed){.embedding = &w.gpu,
					 .tokens = device_copy(tokens, sizeof(tokens)),
					 .positions = device_copy(positions, sizeof(positions)),
					 .scale = 3.5F,
					 .learned = on_device(learned, (size_t)POSITIONS * N),
					 .position_offset = 2},
		     M, x, NULL));
	for (int32_t r = 0; r < M; r++) {
		memset(want, 0, sizeof(want));
		if (tokens[r] >= 0)
			matrix_read_row(&w.m, tokens[r], want);
		for (int32_t i = 0; i < N; i++)
			expect_near("x", (size_t)r * N + (size_t)i, x[r * N + i],
				    tokens[r] < 0
					    ? 0
					    : want[i] * 3.5 + learned[(positions[r] + 2) * N + i],
				    1e-5);
	}
}

static void test_embedding(void **state)
{
	(void)state;
	bench_orders(embedding);
}

/* ---- activations ---- */

static double activated(enum gpu_act act, double x)
{
	switch (act) {
	case GPU_SILU:
		return x / (1 + exp(-x));
	case GPU_GELU:
		return x / 2 * (1 + erf(x / sqrt(2)));
	case GPU_GELU_TANH:
		return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
	default:
		return x > 0 ? x : 0;
	}
}

static void check_activation(enum gpu_act act, bool gated, bool biased, int32_t n, int32_t m)
{
	size_t width = (size_t)(gated ? 2 * n : n);
	float *up = numbers(width * (size_t)m, 8), *bias = numbers(width, 1);
	double *want = host((size_t)n * sizeof(*want));
	struct gpu_inputs out = new_inputs(n, m);

	up[0] = 200; /* beyond what exp() has room for */
	up[n / 2] = -200;
	OK(gpu_activate(&bench_queue,
			&(struct gpu_activation){.act = act,
						 .gated = gated,
						 .n = n,
						 .up = on_device(up, width * (size_t)m),
						 .bias = biased ? on_device(bias, width) : NULL},
			m, &out, NULL));
	for (int32_t r = 0; r < m; r++) {
		const float *row = up + (size_t)r * width;

		for (int32_t i = 0; i < n; i++) {
			want[i] = activated(act, row[i] + (biased ? bias[i] : 0));
			if (gated)
				want[i] *= row[n + i] + (biased ? bias[n + i] : 0);
		}
		check_inputs(&out, r, want, n);
	}
	bench_release();
}

static void activations(void)
{
	for (int act = GPU_SILU; act <= GPU_RELU; act++) {
		check_activation((enum gpu_act)act, false, true, 130, 2);
		check_activation((enum gpu_act)act, true, act % 2 == 0, 576, 1);
		check_activation((enum gpu_act)act, true, true, 20, 3);
	}
}

static void test_activations(void **state)
{
	(void)state;
	bench_orders(activations);
}

static void test_bias(void **state)
{
	float *y = numbers((size_t)3 * 300, 1), *bias = numbers(300, 1);
	float *out = device_copy(y, (size_t)3 * 300 * sizeof(*y));

	(void)state;
	OK(gpu_add_bias(&bench_queue, out, on_device(bias, 300), 300, 3, NULL));
	for (size_t i = 0; i < 900; i++)
		expect_near("y", i, out[i], y[i] + bias[i % 300], 0);
	bench_release();
}

/* ---- reading ---- */

static void reading(void)
{
	static const int32_t chunks[] = {1, 255, 1025, 4000};
	enum { BLOCKS = 2, THREADS = BLOCKS * GPU_READ_THREADS };

	for (size_t c = 0; c < sizeof(chunks) / sizeof(*chunks); c++) {
		size_t n = (size_t)chunks[c] * 4;
		uint32_t *words = host(n * sizeof(*words)), want = 0, got = 0;
		uint32_t *out = device(THREADS * sizeof(*out)),
			 *read = host(THREADS * sizeof(*read));

		for (size_t i = 0; i < n; i++) {
			words[i] = (uint32_t)next_int(INT32_MAX);
			want ^= words[i];
		}
		OK(gpu_read(&bench_queue, device_copy(words, n * sizeof(*words)),
			    n * sizeof(*words), BLOCKS, out, NULL));
		read_device(read, out, THREADS * sizeof(*read));
		for (size_t i = 0; i < THREADS; i++)
			got ^= read[i];
		assert_int_equal(got, want);
	}
}

static void test_reading(void **state)
{
	(void)state;
	bench_orders(reading);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_norms),	  cmocka_unit_test(test_limits),
		cmocka_unit_test(test_embedding), cmocka_unit_test(test_activations),
		cmocka_unit_test(test_bias),	  cmocka_unit_test(test_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
