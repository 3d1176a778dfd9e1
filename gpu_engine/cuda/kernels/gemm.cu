/*
 * y = W x for many rows of x, on the tensor cores. A block computes 64 outputs of 16 or 64 rows,
 * 32 inputs a stage: while one stage is multiplied, the next one is on its way to the other half of
 * the shared tiles. Weights are the 16-row side of the products. Weights that are not halves become
 * halves as they are put into the tile.
 *
 * An output is summed along its inputs by one warp, in one order, for any number of rows: the two
 * widths agree to the last bit.
 */
#include "gpu.h"

#define OUTPUTS 64
#define STEP	GPU_GROUP  /* inputs a stage */
#define PITCH	(STEP + 8) /* halves: rows of a tile begin in different banks */
#define THREADS 128

struct gemm_weights {
	const void *quants, *scales;
	int32_t n_out, padded;
};

/* 16 bytes of halves, or nothing, beyond the end. */
GPU_FN void fill_rows(uint16_t (*tile)[PITCH], int32_t n_rows, const uint16_t *from, int32_t first,
		      int32_t end, int32_t padded, int32_t k)
{
	UNROLL
	for (int32_t i = (int32_t)threadIdx.x; i < n_rows * (STEP / 8); i += THREADS) {
		int32_t row = i / (STEP / 8), column = i % (STEP / 8) * 8;
		size_t at = (size_t)min(first + row, end - 1) * (size_t)padded;

		copy_async(&tile[row][column], from + at + (size_t)(k + column),
			   first + row < end ? 16 : 0);
	}
}

GPU_FN uint4 halves_of_bf16(uint4 v)
{
	return make_uint4(pack_halves(low_bf16(v.x), high_bf16(v.x)),
			  pack_halves(low_bf16(v.y), high_bf16(v.y)),
			  pack_halves(low_bf16(v.z), high_bf16(v.z)),
			  pack_halves(low_bf16(v.w), high_bf16(v.w)));
}

/* Two of four bytes, signed, to halves. */
GPU_FN uint32_t halves_of_bytes(uint32_t four, int32_t shift, float scale, float least)
{
	float low = (float)(int8_t)(four >> shift & 0xff);
	float high = (float)(int8_t)(four >> (shift + 8) & 0xff);

	return pack_halves(fmaf(scale, low, least), fmaf(scale, high, least));
}

GPU_FN uint4 halves_of_8(uint32_t first, uint32_t second, float scale, float least)
{
	return make_uint4(halves_of_bytes(first, 0, scale, least),
			  halves_of_bytes(first, 16, scale, least),
			  halves_of_bytes(second, 0, scale, least),
			  halves_of_bytes(second, 16, scale, least));
}

template <int kind>
GPU_FN void read_scales(const struct gemm_weights &w, size_t group, float *scale, float *least)
{
	*least = 0;
	if (kind == GPU_Q8_0) {
		*scale = half_to_float(__ldg((const uint16_t *)w.scales + group));
	} else {
		uint32_t pair = __ldg((const uint32_t *)w.scales + group);

		*scale = low_half(pair);
		*least = high_half(pair);
	}
}

/* A thread takes 16 inputs of an output: half a group. */
template <int kind>
GPU_FN void fill_dequantised(uint16_t (*tile)[PITCH], const struct gemm_weights &w, int32_t first,
			     int32_t k)
{
	int32_t row = (int32_t)threadIdx.x / 2, half = (int32_t)threadIdx.x % 2;
	int32_t output = first + row;
	uint4 low = make_uint4(0, 0, 0, 0), high = low;
	int32_t low_column = half * 16, high_column = half * 16 + 8;
	size_t at = (size_t)output * (size_t)w.padded + (size_t)k;
	float scale, least;

	if (kind == GPU_Q4_1) { /* 8 bytes: low nibbles, and those 16 inputs further on */
		low_column = half * 8;
		high_column = half * 8 + 16;
	}
	if (output < w.n_out) {
		if (kind == GPU_BF16) {
			const uint4 *from = (const uint4 *)((const uint16_t *)w.quants + at);

			low = halves_of_bf16(__ldg(from + 2 * half));
			high = halves_of_bf16(__ldg(from + 2 * half + 1));
		} else if (kind == GPU_Q4_1) {
			const uint2 *from = (const uint2 *)((const uint8_t *)w.quants + at / 2);
			uint2 v = __ldg(from + half);
			const uint32_t mask = 0x0f0f0f0fu;

			read_scales<kind>(w, at / STEP, &scale, &least);
			low = halves_of_8(v.x & mask, v.y & mask, scale, least);
			high = halves_of_8(v.x >> 4 & mask, v.y >> 4 & mask, scale, least);
		} else {
			const uint4 *from = (const uint4 *)((const int8_t *)w.quants + at);
			uint4 v = __ldg(from + half);

			read_scales<kind>(w, at / STEP, &scale, &least);
			low = halves_of_8(v.x, v.y, scale, least);
			high = halves_of_8(v.z, v.w, scale, least);
		}
	}
	*(uint4 *)&tile[row][low_column] = low;
	*(uint4 *)&tile[row][high_column] = high;
}

/* rows: of a block. A warp computes 16 * across outputs of 8 * down rows. */
template <int rows, int kind>
GPU_FN void gemm(float *y, int32_t y_stride, const struct gemm_weights &w, const uint16_t *x,
		 int32_t m)
{
	constexpr int32_t warps_down = rows == 16 ? 1 : 2, warps_across = 4 / warps_down;
	constexpr int32_t across = OUTPUTS / warps_across / 16, down = rows / warps_down / 8;
	SHARED(uint16_t, weight_tile, [2][OUTPUTS][PITCH]);
	SHARED(uint16_t, x_tile, [2][rows][PITCH]);
	int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
	int32_t first_output = (int32_t)blockIdx.x * OUTPUTS,
		first_row = (int32_t)blockIdx.y * rows;
	int32_t output = warp % warps_across * across * 16, row = warp / warps_across * down * 8;
	float sum[across][down][4] = {};

	auto fill = [&](int32_t stage, int32_t k) {
		fill_rows(x_tile[stage], rows, x, first_row, m, w.padded, k);
		if (kind == GPU_F16)
			fill_rows(weight_tile[stage], OUTPUTS, (const uint16_t *)w.quants,
				  first_output, w.n_out, w.padded, k);
		copy_commit();
		if (kind != GPU_F16)
			fill_dequantised<kind>(weight_tile[stage], w, first_output, k);
	};

	fill(0, 0);
	for (int32_t k = 0, stage = 0; k < w.padded; k += STEP, stage ^= 1) {
		if (k + STEP < w.padded) {
			fill(stage ^ 1, k + STEP);
			copy_wait<1>();
		} else {
			copy_wait<0>();
		}
		__syncthreads();
		UNROLL
		for (int32_t part = 0; part < STEP; part += 16) {
			uint32_t a[across][4], b[down / 2][4];

			UNROLL
			for (int32_t i = 0; i < across; i++)
				load_matrices(a[i], &weight_tile[stage][output + i * 16 + lane % 16]
								[part + lane / 16 * 8]);
			UNROLL
			for (int32_t j = 0; j < down / 2; j++)
				load_matrices(
					b[j],
					&x_tile[stage][row + j * 16 + lane % 8 + lane / 16 * 8]
					       [part + lane / 8 % 2 * 8]);
			UNROLL
			for (int32_t i = 0; i < across; i++) {
				UNROLL
				for (int32_t j = 0; j < down; j++)
					mma_16816(sum[i][j], a[i], &b[j / 2][j % 2 * 2]);
			}
		}
		__syncthreads(); /* nobody reads the stage that is filled next */
	}
	UNROLL
	for (int32_t t = 0; t < across * down * 4; t++) {
		int32_t i = t / (down * 4), j = t / 4 % down, e = t % 4;
		int32_t o = first_output + output + i * 16 + lane / 4 + e / 2 * 8;
		int32_t r = first_row + row + j * 8 + lane % 4 * 2 + e % 2;

		if (o < w.n_out && r < m)
			y[(size_t)r * (size_t)y_stride + (size_t)o] = sum[i][j][e];
	}
}

#define GEMM(rows, name, kind)                                                                     \
	KERNEL(THREADS, gemm_##name##_##rows,                                                      \
	       (float *__restrict__ y, int32_t y_stride, const void *__restrict__ quants,          \
		const void *__restrict__ scales, const uint16_t *__restrict__ x, int32_t n_out,    \
		int32_t padded, int32_t m))                                                        \
	{                                                                                          \
		struct gemm_weights w = {quants, scales, n_out, padded};                           \
                                                                                                   \
		gemm<rows, kind>(y, y_stride, w, x, m);                                            \
	}

GEMM(16, f16, GPU_F16)
GEMM(16, bf16, GPU_BF16)
GEMM(16, q8_0, GPU_Q8_0)
GEMM(16, q8_1, GPU_Q8_1)
GEMM(16, q4_1, GPU_Q4_1)
GEMM(64, f16, GPU_F16)
GEMM(64, bf16, GPU_BF16)
GEMM(64, q8_0, GPU_Q8_0)
GEMM(64, q8_1, GPU_Q8_1)
GEMM(64, q4_1, GPU_Q4_1)
