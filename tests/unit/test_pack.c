/*
 * Packed weights against the file formats' reference (model/dtype.h): the same numbers where that
 * is promised, within what is stated where not; rows, parts and tails where they belong.
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
#include "base/die.h"
#include "base/rng.h"
#include "cpu/pack.h"

/* Random bytes, so that every nibble, sign and scale of six bits comes; the halves (each format's
 * own places) finite and of all sizes between 2^-10 and 1. */
static const struct {
	enum dtype dtype;
	int32_t half_at[2]; /* -1: none */
	double scale_error; /* of a weight, relative to its block's largest scale times quant */
} formats[] = {
	{DTYPE_Q4_0, {0, -1}, 0},      {DTYPE_Q4_1, {0, 2}, 0},
	{DTYPE_Q5_0, {0, -1}, 0},      {DTYPE_Q5_1, {0, 2}, 0},
	{DTYPE_Q8_0, {0, -1}, 0},      {DTYPE_Q4_K, {0, 2}, 0x1p-11},
	{DTYPE_Q5_K, {0, 2}, 0x1p-11}, {DTYPE_Q6_K, {208, -1}, 1 / 254.0},
};

static void *random_blocks(struct rng *r, size_t f, int64_t n)
{
	const struct dtype_info *info = dtype_info(formats[f].dtype);
	size_t bytes = dtype_bytes(formats[f].dtype, n);
	uint8_t *data = xmalloc(bytes);

	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)rng_u32(r);
	for (uint8_t *block = data; block < data + bytes; block += info->block_bytes)
		for (int i = 0; i < 2 && formats[f].half_at[i] >= 0; i++) {
			uint16_t half =
				(uint16_t)((5 + rng_below(r, 10)) << 10 | (rng_u32(r) & 0x83ff));

			memcpy(block + formats[f].half_at[i], &half, sizeof(half));
		}
	return data;
}

static void *pack(struct packed_matrix *p, const struct matrix *m)
{
	void *memory;
	size_t bytes = packed_bytes(m);

	assert_int_equal(bytes % PACK_ALIGN, 0);
	assert_int_equal(posix_memalign(&memory, PACK_ALIGN, bytes), 0);
	memset(memory, 0xa5, bytes);
	packed_init(p, m, memory);
	for (int32_t t = 0, n; t < p->n_tiles; t += n) { /* in pieces that cross parts */
		n = 1 + t % 3;
		n = t + n > p->n_tiles ? p->n_tiles - t : n;
		packed_fill(p, m, t, n);
	}
	return memory;
}

/* Of a group: its scale's error moves quant and min; a weight's own size does not bound them. */
static double allowed(size_t f, const float *want, int32_t k)
{
	const float *group = want + (size_t)k / PACK_INPUTS * PACK_INPUTS;
	float largest = 0, low = INFINITY, high = -INFINITY;

	for (int i = 0; i < PACK_INPUTS; i++) {
		largest = fmaxf(largest, fabsf(group[i]));
		low = fminf(low, group[i]);
		high = fmaxf(high, group[i]);
	}
	if (formats[f].dtype == DTYPE_Q6_K)
		return formats[f].scale_error * largest * 1.001;
	/* scale * q <= 15 (or 31) times the smallest step there is, which random quants show */
	return formats[f].scale_error * (2.0 * (high - low) + 2 * largest) + 0x1p-20;
}

static void test_formats(void **state)
{
	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
		int32_t n_in = 512, n_out = 35;
		struct tensor t = {
			.dtype = formats[f].dtype, .n_dims = 2, .dim = {n_in, n_out, 1, 1}};
		struct matrix m = {
			.n_in = n_in,
			.n_out = n_out,
			.n_parts = 1,
			.part = {{.t = &t, .rows = n_out, .run = n_out, .stride = n_out}}};
		struct packed_matrix p;
		float got[512], want[512];
		void *memory, *data;
		struct rng r;

		rng_init(&r, 1, "pack", f);
		data = random_blocks(&r, f, (int64_t)n_in * n_out);
		t.data = data;
		memory = pack(&p, &m);
		for (int32_t row = 0; row < n_out; row++) {
			size_t row_bytes = dtype_bytes(t.dtype, n_in);

			dtype_to_float(t.dtype, (uint8_t *)data + (size_t)row * row_bytes, n_in,
				       want);
			packed_read_row(&p, row, got);
			for (int32_t k = 0; k < n_in; k++) {
				double error = formats[f].scale_error > 0 ? allowed(f, want, k) : 0;

				if (!(fabs((double)got[k] - want[k]) <= error))
					fail_msg("%s row %d, %d: %.9g, want %.9g, within %g",
						 dtype_info(t.dtype)->name, row, k, (double)got[k],
						 (double)want[k], error);
			}
		}
		free(memory);
		free(data);
	}
}

/* Plain formats: any number of inputs, both ways round in memory, rows out of the middle of a
 * tensor; and parts of different formats below each other. */
static void test_plain_parts(void **state)
{
	static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
	enum { N_IN = 45, ROWS = 40, FROM = 7, TAKEN = 21 };
	const int64_t n = (int64_t)ROWS * N_IN;
	float w[ROWS][N_IN], turned[N_IN][ROWS], got[N_IN];
	struct tensor t[3];
	struct matrix m = {.n_in = N_IN, .n_out = 3 * TAKEN, .n_parts = 3};
	struct packed_matrix p;
	void *memory;

	(void)state;
	for (int i = 0; i < ROWS; i++)
		for (int k = 0; k < N_IN; k++)
			turned[k][i] = w[i][k] = (float)(i * 4 + k % 4); /* exact in all of them */
	for (int i = 0; i < 3; i++) {
		void *data = xmalloc(dtype_bytes(dtypes[i], n));

		dtype_from_float(dtypes[i], i == 1 ? turned[0] : w[0], n, data);
		t[i] = (struct tensor){.dtype = dtypes[i], .n_dims = 2, .data = data};
		t[i].dim[0] = i == 1 ? ROWS : N_IN;
		t[i].dim[1] = i == 1 ? N_IN : ROWS;
		m.part[i] = (struct matrix_part){.t = &t[i],
						 .row = FROM,
						 .rows = TAKEN,
						 .run = TAKEN,
						 .stride = TAKEN,
						 .transposed = i == 1};
	}
	memory = pack(&p, &m);
	assert_int_equal(p.n_tiles, 6);
	assert_int_equal(p.forms, ACTIVATIONS_FLOAT);
	for (int32_t row = 0; row < m.n_out; row++) {
		packed_read_row(&p, row, got);
		assert_memory_equal(got, w[FROM + row % TAKEN], sizeof(got));
	}
	for (int i = 0; i < 3; i++) { /* what fills up a last tile and group */
		const struct packed *part = &p.part[i];
		size_t width = i == 0 ? 4 : 2;
		const uint8_t *tile = part->data + part->tile_bytes;

		assert_int_equal(part->n_tiles, 2);
		for (int32_t k = 0; k < part->n_groups * PACK_INPUTS; k++)
			for (int32_t r = 0; r < PACK_ROWS; r++)
				for (size_t b = 0; b < width && (k >= N_IN || r >= TAKEN - 16); b++)
					assert_int_equal(
						tile[((size_t)k * PACK_ROWS + (size_t)r) * width +
						     b],
						0);
		free((void *)t[i].data);
	}
	free(memory);
}

static void test_absent(void **state)
{
	struct matrix m = {0};
	struct packed_matrix p;

	(void)state;
	assert_int_equal(packed_bytes(&m), 0);
	packed_init(&p, &m, NULL);
	assert_int_equal(p.n_tiles, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_plain_parts),
		cmocka_unit_test(test_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
