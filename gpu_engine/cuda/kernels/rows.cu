/*
 * What is done row by row: embedding, residual sums and norms, activations, quantised inputs. A row
 * that goes into a product is written as halves, as bytes with a scale every 32, or both; inputs
 * beyond the row's length are zeros up to its padded length, a multiple of 32.
 */
#include "gpu.h"

/* Input i of a row, its group in the hands of a whole warp (lane = i % 32), in the forms that are
 * wanted. */
GPU_FN void write_input(float v, size_t row, int32_t i, int32_t padded, uint16_t *halves,
			int8_t *bytes, float2 *scales)
{
	size_t at = row * (size_t)padded + (size_t)i;
	float largest, scale;
	int32_t q, sum;

	if (halves)
		halves[at] = float_to_half(v);
	if (!bytes)
		return;
	largest = warp_max(fabsf(v));
	scale = largest > 1e-30f ? largest * (1.0f / 127) : 0.0f;
	q = largest > 1e-30f ? __float2int_rn(__fdividef(v * 127.0f, largest)) : 0;
	sum = warp_sum_int(q);
	bytes[at] = (int8_t)q;
	if (i % GPU_GROUP == 0)
		scales[at / GPU_GROUP] = make_float2(scale, scale * (float)sum);
}

/* ---- embedding ---- */

GPU_FN float weight_at(int32_t kind, const void *quants, const void *scales, size_t row, int32_t i,
		       int32_t padded)
{
	size_t at = row * (size_t)padded + (size_t)i;
	uint32_t pair;
	int32_t q;

	if (kind == GPU_F16)
		return half_to_float(((const uint16_t *)quants)[at]);
	if (kind == GPU_BF16)
		return low_bf16(((const uint16_t *)quants)[at]);
	if (kind == GPU_Q8_0)
		return half_to_float(((const uint16_t *)scales)[at / GPU_GROUP]) *
		       (float)((const int8_t *)quants)[at];
	pair = ((const uint32_t *)scales)[at / GPU_GROUP];
	if (kind == GPU_Q8_1) {
		q = ((const int8_t *)quants)[at];
	} else {
		q = ((const uint8_t *)quants)[at / GPU_GROUP * 16 + (size_t)(i % 16)];
		q = i % GPU_GROUP < 16 ? q & 15 : q >> 4;
	}
	return fmaf(low_half(pair), (float)q, high_half(pair));
}

/* A block a row. A token of -1 is a row of nobody, and becomes zeros. */
KERNEL(256, embed_rows,
       (float *__restrict__ x, const int32_t *__restrict__ tokens, int32_t kind,
	const void *__restrict__ quants, const void *__restrict__ scales, int32_t n, int32_t padded,
	float scale, const float *__restrict__ learned, const int32_t *__restrict__ positions,
	int32_t position_offset))
{
	int32_t token = tokens[blockIdx.x];
	float *out = x + (size_t)blockIdx.x * (size_t)n;

	for (int32_t i = (int32_t)threadIdx.x; i < n; i += (int32_t)blockDim.x) {
		float v = 0;

		if (token >= 0) {
			v = weight_at(kind, quants, scales, (size_t)token, i, padded) * scale;
			if (learned)
				v += learned[(size_t)(positions[blockIdx.x] + position_offset) *
						     (size_t)n +
					     (size_t)i];
		}
		out[i] = v;
	}
}

/* ---- norms ---- */

/* What is taken off each number of the row, and what it is multiplied with then. Each thread reads
 * the numbers that it wrote itself: no barrier but those of the sums. */
GPU_FN float2 row_statistics(const float *row, int32_t n, int32_t kind, float eps)
{
	float mean = 0, squares = 0;

	if (kind == GPU_NORM_LAYER) {
		float sum = 0;

		for (int32_t i = (int32_t)threadIdx.x; i < n; i += (int32_t)blockDim.x)
			sum += row[i];
		mean = __fdividef(block_sum(sum), (float)n);
	}
	for (int32_t i = (int32_t)threadIdx.x; i < n; i += (int32_t)blockDim.x) {
		float v = row[i] - mean;

		squares = fmaf(v, v, squares);
	}
	return make_float2(mean, rsqrtf(__fdividef(block_sum(squares), (float)n) + eps));
}

GPU_FN float normed(float v, float2 statistics, const float *weight, const float *bias, int32_t i)
{
	return (v - statistics.x) * statistics.y * weight[i] + (bias ? bias[i] : 0.0f);
}

/*
 * A block a row: x += post(y + y_bias), where there is a y; then the norm of x, where there is a
 * weight. row_of: which row of x and y block b takes, NULL = the b-th; outputs are always the b-th.
 */
KERNEL(256, norm_rows,
       (float *__restrict__ x, const int32_t *__restrict__ row_of, const float *__restrict__ y,
	const float *__restrict__ y_bias, const float *__restrict__ post_weight,
	const float *__restrict__ post_bias, int32_t kind, const float *__restrict__ weight,
	const float *__restrict__ bias, float eps, int32_t n, int32_t padded,
	uint16_t *__restrict__ halves, int8_t *__restrict__ bytes, float2 *__restrict__ scales))
{
	DYN_SHARED(float, row);
	size_t from = row_of ? (size_t)row_of[blockIdx.x] : blockIdx.x;
	int32_t first = (int32_t)threadIdx.x, step = (int32_t)blockDim.x;
	float2 statistics;

	x += from * (size_t)n;
	if (y) {
		y += from * (size_t)n;
		for (int32_t i = first; i < n; i += step)
			row[i] = y[i] + (y_bias ? y_bias[i] : 0.0f);
		if (post_weight)
			statistics = row_statistics(row, n, kind, eps);
		for (int32_t i = first; i < n; i += step) {
			float v = row[i];

			if (post_weight)
				v = normed(v, statistics, post_weight, post_bias, i);
			v += x[i];
			x[i] = v;
			row[i] = v;
		}
	} else {
		for (int32_t i = first; i < n; i += step)
			row[i] = x[i];
	}
	if (!weight)
		return;
	statistics = row_statistics(row, n, kind, eps);
	for (int32_t i = first; i < padded; i += step) {
		float v = i < n ? normed(row[i], statistics, weight, bias, i) : 0.0f;

		write_input(v, blockIdx.x, i, padded, halves, bytes, scales);
	}
}

/* Halves to bytes; a warp a group of 32. */
KERNEL(128, quantise_rows,
       (const uint16_t *__restrict__ halves, int8_t *__restrict__ bytes,
	float2 *__restrict__ scales, int32_t n_groups, int32_t n_rows))
{
	int32_t group = ((int32_t)(blockIdx.x * blockDim.x) + (int32_t)threadIdx.x) / GPU_GROUP;
	int32_t lane = (int32_t)threadIdx.x % GPU_GROUP, padded = n_groups * GPU_GROUP;
	size_t row = blockIdx.y;

	if (group >= n_groups || (int32_t)row >= n_rows)
		return;
	write_input(
		half_to_float(halves[row * (size_t)padded + (size_t)(group * GPU_GROUP + lane)]),
		row, group * GPU_GROUP + lane, padded, NULL, bytes, scales);
}

/* ---- activations ---- */

/* x/2 (1 + erf(x/sqrt 2)), by 1 - erf |z| = exp(-z^2) times a polynomial in 1/(1 + p |z|), within
 * 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
GPU_FN float gelu(float x)
{
	float z = fabsf(x) * 0.707106781f;
	float t = __fdividef(1.0f, fmaf(z, 0.3275911f, 1.0f));
	float p = 1.061405429f, half_tail;

	p = fmaf(p, t, -1.453152027f);
	p = fmaf(p, t, 1.421413741f);
	p = fmaf(p, t, -0.284496736f);
	p = fmaf(p, t, 0.254829592f);
	half_tail = 0.5f * x * p * t * __expf(-z * z);
	return x < 0 ? half_tail : x - half_tail;
}

/* 1 / (1 + exp(-x)); __fdividef is 0 where its divisor is beyond 2^126. */
GPU_FN float sigmoid(float x)
{
	return __fdividef(1.0f, 1.0f + __expf(fminf(-x, 80.0f)));
}

GPU_FN float activate(int32_t act, float x)
{
	if (act == GPU_SILU)
		return x * sigmoid(x);
	if (act == GPU_GELU)
		return gelu(x);
	if (act == GPU_GELU_TANH) /* x/2 (1 + tanh u) = x sigmoid(2u) */
		return x * sigmoid(1.59576912f * x * fmaf(x * x, 0.044715f, 1.0f));
	return fmaxf(x, 0.0f);
}

/* act(gate) * up, or act(gate): a row of `up` holds n gates, then n ups if gated. A warp a group.
 */
KERNEL(128, activate_rows,
       (const float *__restrict__ up, const float *__restrict__ bias, int32_t act, int32_t gated,
	int32_t n, int32_t padded, uint16_t *__restrict__ halves, int8_t *__restrict__ bytes,
	float2 *__restrict__ scales))
{
	int32_t i = (int32_t)(blockIdx.x * blockDim.x) + (int32_t)threadIdx.x;
	const float *row = up + (size_t)blockIdx.y * (size_t)(gated ? 2 * n : n);
	float v = 0;

	if (i >= padded) /* whole warps: padded is a multiple of 32 */
		return;
	if (i < n) {
		v = activate(act, row[i] + (bias ? bias[i] : 0.0f));
		if (gated)
			v *= row[n + i] + (bias ? bias[n + i] : 0.0f);
	}
	write_input(v, blockIdx.y, i, padded, halves, bytes, scales);
}

KERNEL(256, add_bias,
       (float *__restrict__ y, const float *__restrict__ bias, int32_t n, int32_t y_stride))
{
	int32_t i = (int32_t)(blockIdx.x * blockDim.x) + (int32_t)threadIdx.x;

	if (i < n)
		y[(size_t)blockIdx.y * (size_t)y_stride + (size_t)i] += bias[i];
}
