/*
 * Products with packed weights, over the vectors of the file that includes this. The same code for
 * one row and for hundreds: rows are taken V_ROWS at a time, their sums stay in registers, and a
 * tile stays in the cache until all rows have had it. How many rows are taken at once is known to
 * the compiler, so that each number has its own loop.
 */
#include "kernels.h"

#define TEMPLATE static inline __attribute__((always_inline))

/* Calls with a number of rows the compiler knows. */
#define WITH_ROWS(rows, call)                                                                      \
	switch (rows) {                                                                            \
	case 1:                                                                                    \
		call(1);                                                                           \
		break;                                                                             \
	case 2:                                                                                    \
		call(2);                                                                           \
		break;                                                                             \
	case 3:                                                                                    \
		call(3);                                                                           \
		break;                                                                             \
	case 4:                                                                                    \
		call(4);                                                                           \
		break;                                                                             \
	case 5:                                                                                    \
		call(5);                                                                           \
		break;                                                                             \
	case 6:                                                                                    \
		call(6);                                                                           \
		break;                                                                             \
	case 7:                                                                                    \
		call(7);                                                                           \
		break;                                                                             \
	default:                                                                                   \
		call(8);                                                                           \
		break;                                                                             \
	}

/* The sums of one group: 32 inputs of 16 outputs with those of `rows` rows, exact. */
TEMPLATE void int8_group(enum pack_kind kind, const uint8_t *bytes, const int8_t *q, int rows,
			 vi sum[8])
{
	if (kind == PACK_Q4_1) {
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			vi w = vi_load_bytes(bytes + 64 * (size_t)i);
			vi low = vi_low_nibbles(w), high = vi_high_nibbles(w);

#pragma GCC unroll 8
			for (int m = 0; m < rows; m++) {
				const int8_t *x = q + PACK_INPUTS * (size_t)m + 8 * (size_t)i;

				sum[m] = vi_dot4(vi_dot4(sum[m], low, x), high, x + 4);
			}
		}
		return;
	}
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		vi w = vi_load_bytes(bytes + 64 * (size_t)i);

#pragma GCC unroll 8
		for (int m = 0; m < rows; m++) {
			const int8_t *x = q + PACK_INPUTS * (size_t)m + 4 * (size_t)i;

			sum[m] = kind == PACK_Q8_0 ? vi_dot4_q8(sum[m], w, x)
						   : vi_dot4(sum[m], w, x);
		}
	}
}

/* One tile with rows [row, row + rows) of one block of activations: y has their 16 outputs. */
TEMPLATE void int8_tile(enum pack_kind kind, const uint8_t *tile, const struct activations *x,
			int32_t row, int rows, vf y[8])
{
	const uint8_t *group = tile;
	size_t at = activations_at(x, row, 0);

#pragma GCC unroll 8
	for (int m = 0; m < rows; m++)
		y[m] = v_set1(0);
	for (int32_t g = 0; g < x->n_groups; g++) {
		const uint8_t *scales = group;
		vf scale, min;
		vi sum[8];

		if (kind == PACK_Q8_0) { /* scales of two, vectors of the first, of the second */
			scales = tile + (size_t)g / 2 * 1088 + (size_t)g % 2 * 32;
			group = tile + (size_t)g / 2 * 1088 + (size_t)g % 2 * 512;
		}
		scale = v_load_f16((const uint16_t *)scales);
#pragma GCC unroll 8
		for (int m = 0; m < rows; m++)
			sum[m] = kind == PACK_Q8_0 ? vi_start_q8(x->sum[at + m]) : vi_set1(0);
		int8_group(kind, group + 64, x->q + at * PACK_INPUTS, rows, sum);
		if (kind != PACK_Q8_0)
			min = v_load_f16((const uint16_t *)scales + PACK_ROWS);
#pragma GCC unroll 8
		for (int m = 0; m < rows; m++) {
			y[m] = v_fma(v_from_int(sum[m]), v_mul(scale, v_set1(x->scale[at + m])),
				     y[m]);
			if (kind != PACK_Q8_0)
				y[m] = v_fma(min, v_set1(x->scaled[at + m]), y[m]);
		}
		group += kind == PACK_Q4_1 ? 320 : 576;
		at += ACTIVATION_BLOCK;
	}
}

/* Rows of a tile beyond n_out are not there. */
TEMPLATE void store_rows(const struct packed *w, int32_t tile, int rows, const vf sum[8], float *y,
			 int64_t y_stride)
{
	int32_t left = w->n_out - tile * PACK_ROWS;

	y += (int64_t)tile * PACK_ROWS;
#pragma GCC unroll 8
	for (int m = 0; m < rows; m++) {
		if (left >= PACK_ROWS)
			v_store(y + m * y_stride, sum[m]);
		else
			v_store_n(y + m * y_stride, sum[m], left);
	}
}

TEMPLATE void matmul_int8(enum pack_kind kind, const struct packed *w, int32_t tile,
			  int32_t n_tiles, const struct activations *x, int32_t row, int32_t n_rows,
			  float *y, int64_t y_stride)
{
	for (int32_t t = tile; t < tile + n_tiles; t++) {
		const uint8_t *data = w->data + (size_t)t * w->tile_bytes;

		for (int32_t r = row, rows; r < row + n_rows; r += rows) {
			int32_t in_block = ACTIVATION_BLOCK - r % ACTIVATION_BLOCK;
			vf sum[8];

			rows = row + n_rows - r;
			rows = rows < V_ROWS ? rows : V_ROWS;
			rows = rows < in_block ? rows : in_block;
#define CALL(n)                                                                                    \
	int8_tile(kind, data, x, r, n, sum);                                                       \
	store_rows(w, t, n, sum, y + r * y_stride, y_stride)
			WITH_ROWS(rows, CALL)
#undef CALL
		}
	}
}

TEMPLATE vf load_plain(enum pack_kind kind, const uint8_t *p)
{
	if (kind == PACK_F32)
		return v_load((const float *)p);
	if (kind == PACK_F16)
		return v_load_f16((const uint16_t *)p);
	return v_load_bf16((const uint16_t *)p);
}

/* Some tiles with some rows, input by input in one fused chain for each output; tiles side by side
 * only so that there are enough chains. */
TEMPLATE void float_tiles(enum pack_kind kind, const struct packed *w, int32_t tile, int tiles,
			  const struct activations *x, int32_t row, int rows, float *y,
			  int64_t y_stride)
{
	const size_t bytes = kind == PACK_F32 ? 64 : 32; /* of an input */
	const uint8_t *data = w->data + (size_t)tile * w->tile_bytes;
	const int32_t n = x->n_groups * PACK_INPUTS;
	const float *f[8];
	vf sum[4][8];

#pragma GCC unroll 8
	for (int m = 0; m < rows; m++)
		f[m] = x->f + (size_t)(row + m) * (size_t)n;
#pragma GCC unroll 4
	for (int t = 0; t < tiles; t++)
#pragma GCC unroll 8
		for (int m = 0; m < rows; m++)
			sum[t][m] = v_set1(0);
	for (int32_t k = 0; k < n; k++, data += bytes) {
		vf a[4];

#pragma GCC unroll 4
		for (int t = 0; t < tiles; t++)
			a[t] = load_plain(kind, data + (size_t)t * w->tile_bytes);
#pragma GCC unroll 8
		for (int m = 0; m < rows; m++) {
			vf b = v_set1(f[m][k]);

#pragma GCC unroll 4
			for (int t = 0; t < tiles; t++)
				sum[t][m] = v_fma(a[t], b, sum[t][m]);
		}
	}
#pragma GCC unroll 4
	for (int t = 0; t < tiles; t++)
		store_rows(w, tile + t, rows, sum[t], y, y_stride);
}

TEMPLATE void float_rows(enum pack_kind kind, const struct packed *w, int32_t tile, int tiles,
			 const struct activations *x, int32_t row, int32_t n_rows, float *y,
			 int64_t y_stride)
{
	for (int32_t r = row, rows; r < row + n_rows; r += rows) {
		rows = row + n_rows - r;
		rows = rows < V_ROWS ? rows : V_ROWS;
#define CALL(n) float_tiles(kind, w, tile, tiles, x, r, n, y + r * y_stride, y_stride)
		WITH_ROWS(rows, CALL)
#undef CALL
	}
}

TEMPLATE void matmul_float(enum pack_kind kind, const struct packed *w, int32_t tile,
			   int32_t n_tiles, const struct activations *x, int32_t row,
			   int32_t n_rows, float *y, int64_t y_stride)
{
	int32_t t = tile, end = tile + n_tiles;

	if (n_rows == 1)
		for (; t + 4 <= end; t += 4)
			float_tiles(kind, w, t, 4, x, row, 1, y + row * y_stride, y_stride);
	else if (V_TILES > 1)
		for (; t + V_TILES <= end; t += V_TILES)
			float_rows(kind, w, t, V_TILES, x, row, n_rows, y, y_stride);
	for (; t < end; t++)
		float_rows(kind, w, t, 1, x, row, n_rows, y, y_stride);
}

#define DEFINE_MATMUL(name, body, kind)                                                            \
	static void name(const struct packed *w, int32_t tile, int32_t n_tiles,                    \
			 const struct activations *x, int32_t row, int32_t n_rows, float *y,       \
			 int64_t y_stride)                                                         \
	{                                                                                          \
		body(kind, w, tile, n_tiles, x, row, n_rows, y, y_stride);                         \
	}
DEFINE_MATMUL(matmul_f32, matmul_float, PACK_F32)
DEFINE_MATMUL(matmul_f16, matmul_float, PACK_F16)
DEFINE_MATMUL(matmul_bf16, matmul_float, PACK_BF16)
DEFINE_MATMUL(matmul_q8_0, matmul_int8, PACK_Q8_0)
DEFINE_MATMUL(matmul_q8_1, matmul_int8, PACK_Q8_1)
DEFINE_MATMUL(matmul_q4_1, matmul_int8, PACK_Q4_1)
