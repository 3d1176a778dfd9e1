/*
 * What is done row by row, in every instruction set that this machine has, against the same in
 * double precision: over lengths that end anywhere in a vector, and over numbers from tiny to huge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "cpu/kernels.h"

#define MAX_N 4544

static const int32_t sizes[] = {1, 7, 15, 16, 17, 31, 64, 576, 4544};

static float x[MAX_N], weight[MAX_N], bias[MAX_N], out[MAX_N + 1];

static void fill(uint64_t index, float size)
{
	struct rng r;

	rng_init(&r, 1, "rows", index);
	for (int32_t i = 0; i < MAX_N; i++) {
		x[i] = (float)(2 * rng_unit(&r) - 0.8) * size;
		weight[i] = (float)(2 * rng_unit(&r) - 1);
		bias[i] = (float)(2 * rng_unit(&r) - 1);
	}
}

static void assert_close(const char *what, float got, double want, double error)
{
	if (!(fabs(got - want) <= error))
		fail_msg("%s: %.9g, want %.9g, within %g", what, (double)got, want, error);
}

static void test_norms(void **state)
{
	const struct kernels *k;

	(void)state;
	for (int32_t isa = 0; (k = kernels_at(isa)); isa++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
			int32_t n = sizes[s];
			double sum = 0, squares = 0, variance = 0, rms, deviation;

			fill(s, 10);
			for (int32_t i = 0; i < n; i++) {
				sum += x[i];
				squares += (double)x[i] * x[i];
			}
			for (int32_t i = 0; i < n; i++)
				variance += (x[i] - sum / n) * (x[i] - sum / n) / n;
			rms = sqrt(squares / n + 1e-5);
			deviation = sqrt(variance + 1e-5);
			out[n] = 42;
			k->rms_norm(x, weight, n, 1e-5f, out);
			for (int32_t i = 0; i < n; i++)
				assert_close("rms_norm", out[i], x[i] / rms * weight[i], 2e-6);
			k->layer_norm(x, weight, bias, n, 1e-5f, out);
			for (int32_t i = 0; n > 1 && i < n; i++)
				assert_close("layer_norm", out[i],
					     (x[i] - sum / n) / deviation * weight[i] + bias[i],
					     1e-5);
			assert_true(out[n] == 42);
			memcpy(out, x, (size_t)n * sizeof(*x));
			k->layer_norm(out, weight, NULL, n, 1e-5f, out);
			for (int32_t i = 0; n > 1 && i < n; i++)
				assert_close("layer_norm in place", out[i],
					     (x[i] - sum / n) / deviation * weight[i], 1e-5);
		}
}

static double act(enum activation a, double v)
{
	switch (a) {
	case ACT_SILU:
		return v / (1 + exp(-v));
	case ACT_GELU:
		return v / 2 * erfc(-v / sqrt(2));
	case ACT_GELU_TANH:
		return v / 2 * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
	default:
		return v > 0 ? v : 0;
	}
}

static void test_activations(void **state)
{
	static const float scales[] = {1e-6f, 1, 10, 300};
	const struct kernels *k;

	(void)state;
	for (int32_t isa = 0; (k = kernels_at(isa)); isa++)
		for (int a = ACT_SILU; a <= ACT_RELU; a++)
			for (size_t s = 0; s < ARRAY_LEN(sizes) * ARRAY_LEN(scales); s++) {
				int32_t n = sizes[s % ARRAY_LEN(sizes)];

				fill(s, scales[s / ARRAY_LEN(sizes)]);
				out[n] = 42;
				k->act[a](x, NULL, n, out);
				assert_true(out[n] == 42);
				for (int32_t i = 0; i < n; i++)
					assert_close("act", out[i], act((enum activation)a, x[i]),
						     5e-7 + 4e-7 * fabs((double)x[i]));
				memcpy(out, x, (size_t)n * sizeof(*x));
				k->act[a](out, weight, n, out);
				for (int32_t i = 0; i < n; i++)
					assert_close("act * up", out[i],
						     act((enum activation)a, x[i]) * weight[i],
						     5e-7 + 4e-7 * fabs((double)x[i]));
			}
}

/* The inputs at which an exponential leaves the numbers. */
static void test_far_activations(void **state)
{
	static const float far[] = {-1e30f, -1000, -88.5f, -87.2f, 0, 87.2f, 88.5f, 1000, 1e30f};
	const struct kernels *k;

	(void)state;
	for (int32_t isa = 0; (k = kernels_at(isa)); isa++)
		for (int a = ACT_SILU; a <= ACT_RELU; a++) {
			k->act[a](far, NULL, (int32_t)ARRAY_LEN(far), out);
			for (size_t i = 0; i < ARRAY_LEN(far); i++) {
				double want = far[i] > 0 ? far[i] : 0;

				assert_close("far act", out[i], want,
					     1e-6 * fabs(want) +
						     (far[i] == -1e30f ? 1e-8 * 1e30 : 1e-4));
			}
		}
}

static void test_rope(void **state)
{
	static const int32_t rotated[] = {2, 8, 20, 64, 256};
	float cosines[128], sines[128];
	const struct kernels *k;

	(void)state;
	for (int32_t i = 0; i < 128; i++) {
		cosines[i] = cosf((float)i * 0.7f);
		sines[i] = sinf((float)i * 0.7f);
	}
	for (int32_t isa = 0; (k = kernels_at(isa)); isa++)
		for (size_t s = 0; s < 2 * ARRAY_LEN(rotated); s++) {
			int32_t n = rotated[s / 2], half = n / 2;

			fill(s, 1);
			memcpy(out, x, (size_t)(n + 1) * sizeof(*x));
			(s % 2 ? k->rope_pairs : k->rope_halves)(out, n, cosines, sines);
			for (int32_t i = 0; i < half; i++) {
				int32_t a = s % 2 ? 2 * i : i, b = s % 2 ? 2 * i + 1 : i + half;
				double c = cosines[i], t = sines[i];

				assert_close("rope", out[a], x[a] * c - x[b] * t, 1e-6);
				assert_close("rope", out[b], x[a] * t + x[b] * c, 1e-6);
			}
			assert_true(out[n] == x[n]);
		}
}

static void test_plain_ones(void **state)
{
	const struct kernels *k;

	(void)state;
	fill(0, 3);
	for (int32_t isa = 0; (k = kernels_at(isa)); isa++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
			int32_t n = sizes[s];

			memcpy(out, x, (size_t)n * sizeof(*x));
			out[n] = 42;
			k->add(out, bias, n);
			for (int32_t i = 0; i < n; i++)
				assert_true(out[i] == x[i] + bias[i]);
			k->scale(out, 0.5f, n);
			for (int32_t i = 0; i < n; i++)
				assert_true(out[i] == (x[i] + bias[i]) * 0.5f);
			k->clamp(out, 0.25f, n);
			for (int32_t i = 0; i < n; i++)
				assert_true(out[i] ==
					    fmaxf(-0.25f, fminf(0.25f, (x[i] + bias[i]) * 0.5f)));
			assert_true(out[n] == 42);
		}
}

static void test_halves(void **state)
{
	static const float edges[] = {0,     -0.0f,    1,	    65504,    65519,
				      65520, 1e30f,    -1e30f,	    INFINITY, -INFINITY,
				      6e-8f, 2.98e-8f, 1.00048828f, 0.1f};
	const struct kernels *k;

	(void)state;
	fill(1, 100);
	for (int32_t isa = 0; (k = kernels_at(isa)); isa++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
			uint16_t halves[MAX_N + 1];
			int32_t n = sizes[s];

			memcpy(out, x, sizeof(x));
			memcpy(out, edges, sizeof(edges));
			halves[n] = 0xabcd;
			k->to_f16(out, n, halves);
			assert_int_equal(halves[n], 0xabcd);
			for (int32_t i = 0; i < n; i++) {
				float cut = fmaxf(-65504, fminf(65504, out[i]));

				assert_int_equal(halves[i], f16_from_float(cut));
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_norms),		cmocka_unit_test(test_activations),
		cmocka_unit_test(test_far_activations), cmocka_unit_test(test_rope),
		cmocka_unit_test(test_plain_ones),	cmocka_unit_test(test_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
