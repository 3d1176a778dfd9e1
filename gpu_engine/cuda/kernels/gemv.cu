/*
 * y = W x for 1 to 8 rows of x, which share each weight that is loaded. A warp an output: every
 * lane takes 16 bytes of the output's weights at a time, so a warp reads 512 bytes in a row. A
 * row's sum has one order, whoever is computed beside it.
 *
 * Quantised weights meet inputs of bytes: integers are summed exactly over 16 weights that
 * share a scale. With w = scale * q + min a group adds
 * scale * x_scale * sum(q x_q) + min * x_sum.
 */
#include "gpu.h"

#define THREADS 128, 4 /* and blocks a multiprocessor */

GPU_FN int32_t output_of_warp(void)
{
	return (int32_t)blockIdx.x * GPU_WARPS + (int32_t)threadIdx.x / WARP;
}

template <int rows>
GPU_FN void write_sums(const float sum[rows], float *y, int32_t y_stride, int32_t output, int32_t m)
{
	UNROLL
	for (int32_t r = 0; r < rows; r++) {
		float v = warp_sum(sum[r]);

		if (r < m && threadIdx.x % WARP == 0)
			y[(size_t)r * (size_t)y_stride + (size_t)output] = v;
	}
}

/* Rows beyond m are the last one again: they are computed, and not written. */
GPU_FN size_t row_at(int32_t r, int32_t m, int32_t length)
{
	return (size_t)min(r, m - 1) * (size_t)length;
}

template <bool bf16> GPU_FN float dot_pair(uint32_t w, uint32_t x, float sum)
{
	sum = fmaf(bf16 ? low_bf16(w) : low_half(w), low_half(x), sum);
	return fmaf(bf16 ? high_bf16(w) : high_half(w), high_half(x), sum);
}

template <int rows, bool bf16>
GPU_FN void gemv_16bit(float *y, int32_t y_stride, const uint16_t *weights, const uint16_t *x,
		       int32_t n_out, int32_t padded, int32_t m)
{
	int32_t output = output_of_warp(), n_chunks = padded / 8;
	const uint4 *w = (const uint4 *)(weights + (size_t)output * (size_t)padded);
	float sum[rows] = {};

	if (output >= n_out)
		return;
	for (int32_t i = (int32_t)threadIdx.x % WARP; i < n_chunks; i += WARP) {
		uint4 a = __ldg(w + i);

		UNROLL
		for (int32_t r = 0; r < rows; r++) {
			uint4 b = __ldg((const uint4 *)(x + row_at(r, m, padded)) + i);

			sum[r] = dot_pair<bf16>(a.x, b.x, sum[r]);
			sum[r] = dot_pair<bf16>(a.y, b.y, sum[r]);
			sum[r] = dot_pair<bf16>(a.z, b.z, sum[r]);
			sum[r] = dot_pair<bf16>(a.w, b.w, sum[r]);
		}
	}
	write_sums<rows>(sum, y, y_stride, output, m);
}

GPU_FN int32_t dot_16(int4 a, int4 b, int32_t sum)
{
	return __dp4a(a.x, b.x, __dp4a(a.y, b.y, __dp4a(a.z, b.z, __dp4a(a.w, b.w, sum))));
}

/* The low nibbles of each byte, or, moved by 4, the high ones. */
GPU_FN int4 nibbles(int4 v, int32_t shift)
{
	const uint32_t mask = 0x0f0f0f0fu;
	int4 r;

	r.x = (int32_t)((uint32_t)v.x >> shift & mask);
	r.y = (int32_t)((uint32_t)v.y >> shift & mask);
	r.z = (int32_t)((uint32_t)v.z >> shift & mask);
	r.w = (int32_t)((uint32_t)v.w >> shift & mask);
	return r;
}

/*
 * A lane takes half of a group, so that a warp reads 512 bytes of x in a row. Of Q4_1 two lanes
 * share 16 bytes of weights, whose low nibbles are inputs 0 .. 15, the high ones 16 .. 31. The even
 * one of two adds the group's min.
 */
template <int rows, int kind>
GPU_FN void gemv_groups(float *y, int32_t y_stride, const void *quants, const void *scales,
			const int8_t *x, const float2 *x_scales, int32_t n_out, int32_t padded,
			int32_t m)
{
	int32_t output = output_of_warp(), n_halves = padded / 16, n_groups = padded / 32;
	size_t groups = (size_t)output * (size_t)n_groups;
	size_t row_bytes = (size_t)(kind == GPU_Q4_1 ? padded / 2 : padded);
	const int4 *w = (const int4 *)((const int8_t *)quants + (size_t)output * row_bytes);
	float sum[rows] = {};

	if (output >= n_out)
		return;
	for (int32_t i = (int32_t)threadIdx.x % WARP; i < n_halves; i += WARP) {
		int4 a = kind == GPU_Q4_1 ? nibbles(__ldg(w + i / 2), i % 2 * 4) : __ldg(w + i);
		float scale, least = 0;

		if (kind == GPU_Q8_0) {
			scale = half_to_float(__ldg((const uint16_t *)scales + groups + i / 2));
		} else {
			uint32_t pair = __ldg((const uint32_t *)scales + groups + i / 2);

			scale = low_half(pair);
			least = i % 2 == 0 ? high_half(pair) : 0.0f;
		}
		UNROLL
		for (int32_t r = 0; r < rows; r++) {
			int4 b = __ldg((const int4 *)(x + row_at(r, m, padded)) + i);
			float2 of_x = __ldg(x_scales + row_at(r, m, n_groups) + i / 2);

			sum[r] = fmaf(scale * of_x.x, (float)dot_16(a, b, 0), sum[r]);
			if (kind != GPU_Q8_0)
				sum[r] = fmaf(least, of_x.y, sum[r]);
		}
	}
	write_sums<rows>(sum, y, y_stride, output, m);
}

#define GEMV(rows)                                                                                 \
	KERNEL(THREADS, gemv_f16_##rows,                                                           \
	       (float *__restrict__ y, int32_t y_stride, const uint16_t *__restrict__ weights,     \
		const uint16_t *__restrict__ x, int32_t n_out, int32_t padded, int32_t m))         \
	{                                                                                          \
		gemv_16bit<rows, false>(y, y_stride, weights, x, n_out, padded, m);                \
	}                                                                                          \
	KERNEL(THREADS, gemv_bf16_##rows,                                                          \
	       (float *__restrict__ y, int32_t y_stride, const uint16_t *__restrict__ weights,     \
		const uint16_t *__restrict__ x, int32_t n_out, int32_t padded, int32_t m))         \
	{                                                                                          \
		gemv_16bit<rows, true>(y, y_stride, weights, x, n_out, padded, m);                 \
	}                                                                                          \
	KERNEL(THREADS, gemv_q8_0_##rows,                                                          \
	       (float *__restrict__ y, int32_t y_stride, const int8_t *__restrict__ quants,        \
		const uint16_t *__restrict__ scales, const int8_t *__restrict__ x,                 \
		const float2 *__restrict__ x_scales, int32_t n_out, int32_t padded, int32_t m))    \
	{                                                                                          \
		gemv_groups<rows, GPU_Q8_0>(y, y_stride, quants, scales, x, x_scales, n_out,       \
					    padded, m);                                            \
	}                                                                                          \
	KERNEL(THREADS, gemv_q8_1_##rows,                                                          \
	       (float *__restrict__ y, int32_t y_stride, const int8_t *__restrict__ quants,        \
		const uint32_t *__restrict__ scales, const int8_t *__restrict__ x,                 \
		const float2 *__restrict__ x_scales, int32_t n_out, int32_t padded, int32_t m))    \
	{                                                                                          \
		gemv_groups<rows, GPU_Q8_1>(y, y_stride, quants, scales, x, x_scales, n_out,       \
					    padded, m);                                            \
	}                                                                                          \
	KERNEL(THREADS, gemv_q4_1_##rows,                                                          \
	       (float *__restrict__ y, int32_t y_stride, const uint8_t *__restrict__ quants,       \
		const uint32_t *__restrict__ scales, const int8_t *__restrict__ x,                 \
		const float2 *__restrict__ x_scales, int32_t n_out, int32_t padded, int32_t m))    \
	{                                                                                          \
		gemv_groups<rows, GPU_Q4_1>(y, y_stride, quants, scales, x, x_scales, n_out,       \
					    padded, m);                                            \
	}

GEMV(1)
GEMV(2)
GEMV(4)
GEMV(8)
