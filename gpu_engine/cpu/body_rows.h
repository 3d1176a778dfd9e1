/*
 * What is done row by row, over the vectors of the file that includes this: norms, activations,
 * rotations, and the forms that products want their inputs in. Loops without a sum are left to the
 * compiler, which knows the instruction set as well.
 */
#include <math.h>

#include "kernels.h"

#define LANES 16

/* Below it, 127 / x is not a float. */
#define TINY 1e-30f

static inline vf load_up_to(const float *p, int32_t n)
{
	return n >= LANES ? v_load(p) : v_load_n(p, n);
}

static inline void store_up_to(float *p, vf a, int32_t n)
{
	if (n >= LANES)
		v_store(p, a);
	else
		v_store_n(p, a, n);
}

/* Cephes' expf: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; within 2 units of the last place.
 * exp(0) is 1, and what is no normal number is 0. */
static inline vf v_exp(vf x)
{
	vf low = v_set1(-87.3f);
	vf in = v_max(v_min(x, v_set1(88.3f)), low);
	vi n = v_to_int(v_mul(in, v_set1(1.44269504f)));
	vf whole = v_from_int(n);
	vf r = v_fma(whole, v_set1(2.12194440e-4f), v_fma(whole, v_set1(-0.693359375f), in));
	vf p = v_set1(1.9875691500e-4f);

	p = v_fma(p, r, v_set1(1.3981999507e-3f));
	p = v_fma(p, r, v_set1(8.3334519073e-3f));
	p = v_fma(p, r, v_set1(4.1665795894e-2f));
	p = v_fma(p, r, v_set1(1.6666665459e-1f));
	p = v_fma(p, r, v_set1(5.0000001201e-1f));
	p = v_add(v_fma(p, v_mul(r, r), r), v_set1(1));
	return v_select_less(x, low, v_set1(0), v_mul(p, v_power_of_2(n)));
}

static inline vf silu(vf x)
{
	return v_div(x, v_add(v_set1(1), v_exp(v_sub(v_set1(0), x))));
}

/* x/2 (1 + tanh u) = x / (1 + exp(-2u)) */
static inline vf gelu_tanh(vf x)
{
	vf u = v_mul(x, v_fma(v_mul(x, x), v_set1(0.044715f), v_set1(1)));

	return v_div(x, v_add(v_set1(1), v_exp(v_mul(u, v_set1(-1.59576912f)))));
}

/* x/2 (1 + erf(x/sqrt 2)), by 1 - erf |z| = exp(-z^2) times a polynomial in 1/(1 + p |z|), within
 * 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
static inline vf gelu(vf x)
{
	vf z = v_mul(v_abs(x), v_set1(0.707106781f));
	vf t = v_div(v_set1(1), v_fma(z, v_set1(0.3275911f), v_set1(1)));
	vf p = v_set1(1.061405429f);
	vf half_tail;

	p = v_fma(p, t, v_set1(-1.453152027f));
	p = v_fma(p, t, v_set1(1.421413741f));
	p = v_fma(p, t, v_set1(-0.284496736f));
	p = v_fma(p, t, v_set1(0.254829592f));
	p = v_mul(v_mul(p, t), v_exp(v_sub(v_set1(0), v_mul(z, z))));
	half_tail = v_mul(v_mul(x, v_set1(0.5f)), p);
	return v_select_less(x, v_set1(0), half_tail, v_sub(x, half_tail));
}

static inline vf relu(vf x)
{
	return v_max(x, v_set1(0));
}

#define DEFINE_ACT(name, function)                                                                 \
	static void name(const float *gate, const float *up, int32_t n, float *out)                \
	{                                                                                          \
		for (int32_t i = 0; i < n; i += LANES) {                                           \
			vf a = function(load_up_to(gate + i, n - i));                              \
                                                                                                   \
			if (up)                                                                    \
				a = v_mul(a, load_up_to(up + i, n - i));                           \
			store_up_to(out + i, a, n - i);                                            \
		}                                                                                  \
	}
DEFINE_ACT(act_silu, silu)
DEFINE_ACT(act_gelu, gelu)
DEFINE_ACT(act_gelu_tanh, gelu_tanh)
DEFINE_ACT(act_relu, relu)

static void rms_norm(const float *x, const float *weight, int32_t n, float eps, float *out)
{
	vf squares = v_set1(0);
	float by;

	for (int32_t i = 0; i < n; i += LANES) {
		vf a = load_up_to(x + i, n - i);

		squares = v_fma(a, a, squares);
	}
	by = 1 / sqrtf(v_sum(squares) / (float)n + eps);
	for (int32_t i = 0; i < n; i++)
		out[i] = x[i] * by * weight[i];
}

static void layer_norm(const float *x, const float *weight, const float *bias, int32_t n, float eps,
		       float *out)
{
	vf sum = v_set1(0), squares = v_set1(0);
	float mean, by;

	for (int32_t i = 0; i < n; i += LANES)
		sum = v_add(sum, load_up_to(x + i, n - i));
	mean = v_sum(sum) / (float)n;
	for (int32_t i = 0; i < n; i += LANES) {
		vf a = v_sub(load_up_to(x + i, n - i), v_set1(mean));

		if (n - i < LANES)
			a = v_keep(a, 0, n - i, 0);
		squares = v_fma(a, a, squares);
	}
	by = 1 / sqrtf(v_sum(squares) / (float)n + eps);
	for (int32_t i = 0; i < n; i++)
		out[i] = (x[i] - mean) * by * weight[i] + (bias ? bias[i] : 0);
}

static void rope_pairs(float *x, int32_t n_rot, const float *cos, const float *sin)
{
	for (int32_t i = 0; i < n_rot / 2; i++, x += 2) {
		float a = x[0], b = x[1];

		x[0] = a * cos[i] - b * sin[i];
		x[1] = a * sin[i] + b * cos[i];
	}
}

static void rope_halves(float *x, int32_t n_rot, const float *cos, const float *sin)
{
	float *first = x, *second = x + n_rot / 2;

	for (int32_t i = 0; i < n_rot / 2; i++) {
		float a = first[i], b = second[i];

		first[i] = a * cos[i] - b * sin[i];
		second[i] = a * sin[i] + b * cos[i];
	}
}

static void add(float *x, const float *y, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		x[i] += y[i];
}

static void scale(float *x, float by, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		x[i] *= by;
}

static void clamp(float *x, float limit, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

static void to_f16(const float *x, int32_t n, uint16_t *out)
{
	vf largest = v_set1(65504), smallest = v_set1(-65504);

	for (int32_t i = 0; i < n; i += LANES) {
		vf a = v_max(v_min(load_up_to(x + i, n - i), largest), smallest);
		uint16_t halves[LANES];

		if (n - i >= LANES) {
			v_store_f16(out + i, a);
			continue;
		}
		v_store_f16(halves, a);
		memcpy(out + i, halves, (size_t)(n - i) * sizeof(*out));
	}
}

/* The nearest byte of 16 numbers, and their sum. */
static inline int32_t quantise(vf a, float inverse, int8_t *q)
{
	vi n = v_to_int(v_mul(a, v_set1(inverse)));

	vi_store_i8(q, n);
	return vi_sum(n);
}

static void prepare_group(const struct activations *a, int32_t row, int32_t g, vf first, vf second)
{
	size_t at = activations_at(a, row, g);
	float largest = v_largest(v_max(v_abs(first), v_abs(second)));
	float inverse = 0, by = 0;
	int32_t sum;

	if (largest > TINY) {
		inverse = 127 / largest;
		by = largest / 127;
	}
	sum = quantise(first, inverse, a->q + at * PACK_INPUTS);
	sum += quantise(second, inverse, a->q + at * PACK_INPUTS + LANES);
	a->scale[at] = by;
	a->sum[at] = sum;
	a->scaled[at] = by * (float)sum;
}

static void prepare_rows(const struct activations *a, int32_t row, int32_t n_rows, const float *x,
			 int64_t x_stride)
{
	for (int32_t r = row; r < row + n_rows; r++) {
		const float *from = x + r * x_stride;

		for (int32_t g = 0; g < a->n_groups; g++) {
			int32_t i = g * PACK_INPUTS, left = a->n_in - i;
			vf first = load_up_to(from + i, left), second = v_set1(0);

			if (left > LANES)
				second = load_up_to(from + i + LANES, left - LANES);
			if (a->forms & ACTIVATIONS_FLOAT) {
				float *to = a->f + ((size_t)r * (size_t)a->n_groups + (size_t)g) *
							   PACK_INPUTS;

				v_store(to, first);
				v_store(to + LANES, second);
			}
			if (a->forms & ACTIVATIONS_INT8)
				prepare_group(a, r, g, first, second);
		}
	}
}
