/*
 * Number formats: every half-precision pattern, and every block format under every pattern of each
 * of its scales, against a reference that reads the formats' text bit by bit in double precision.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "model/dtype.h"

#define MAX_BLOCK	256
#define MAX_BLOCK_BYTES 210

/* ---- the reference ---- */

static double half(const uint8_t *p)
{
	int h = p[0] + 256 * p[1], sign = h / 32768 ? -1 : 1, e = h / 1024 % 32, m = h % 1024;

	if (e == 31)
		return m ? NAN : sign * INFINITY;
	return sign * (e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25));
}

static int bit(const uint8_t *p, int i)
{
	return p[i / 8] >> (i % 8) & 1;
}

/* The low or the high one of a byte's two digits. */
static int digit(uint8_t v, int high)
{
	return high ? v / 16 : v % 16;
}

static void q4_0(const uint8_t *b, double *y)
{
	double d = half(b);

	for (int j = 0; j < 16; j++) {
		y[j] = d * (digit(b[2 + j], 0) - 8);
		y[j + 16] = d * (digit(b[2 + j], 1) - 8);
	}
}

static void q4_1(const uint8_t *b, double *y)
{
	double d = half(b), m = half(b + 2);

	for (int j = 0; j < 16; j++) {
		y[j] = d * digit(b[4 + j], 0) + m;
		y[j + 16] = d * digit(b[4 + j], 1) + m;
	}
}

static void q5_0(const uint8_t *b, double *y)
{
	double d = half(b);

	for (int j = 0; j < 16; j++) {
		y[j] = d * (digit(b[6 + j], 0) + 16 * bit(b + 2, j) - 16);
		y[j + 16] = d * (digit(b[6 + j], 1) + 16 * bit(b + 2, j + 16) - 16);
	}
}

static void q5_1(const uint8_t *b, double *y)
{
	double d = half(b), m = half(b + 2);

	for (int j = 0; j < 16; j++) {
		y[j] = d * (digit(b[8 + j], 0) + 16 * bit(b + 4, j)) + m;
		y[j + 16] = d * (digit(b[8 + j], 1) + 16 * bit(b + 4, j + 16)) + m;
	}
}

static int signed_byte(uint8_t v)
{
	return v < 128 ? v : v - 256;
}

static void q8_0(const uint8_t *b, double *y)
{
	double d = half(b);

	for (int j = 0; j < 32; j++)
		y[j] = d * signed_byte(b[2 + j]);
}

static void k_scale_min(const uint8_t *s, int j, int *sc, int *mn)
{
	if (j < 4) {
		*sc = s[j] & 63;
		*mn = s[j + 4] & 63;
	} else {
		*sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
		*mn = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
	}
}

/* high: Q5_K's 32 bytes of fifth bits, or NULL. */
static void q45_k(const uint8_t *b, const uint8_t *high, const uint8_t *qs, double *y)
{
	double d = half(b), m = half(b + 2);

	for (int strip = 0; strip < 4; strip++)
		for (int l = 0; l < 64; l++) {
			int j = 2 * strip + l / 32, sc, mn;
			int q = digit(qs[32 * strip + l % 32], l / 32);

			if (high)
				q += 16 * bit(high + l % 32, j);
			k_scale_min(b + 4, j, &sc, &mn);
			y[64 * strip + l] = d * sc * q - m * mn;
		}
}

static void q4_k(const uint8_t *b, double *y)
{
	q45_k(b, NULL, b + 16, y);
}

static void q5_k(const uint8_t *b, double *y)
{
	q45_k(b, b + 16, b + 48, y);
}

static void q6_k(const uint8_t *b, double *y)
{
	double d = half(b + 208);

	for (size_t n = 0; n < 2; n++) {
		const uint8_t *ql = b + 64 * n, *qh = b + 128 + 32 * n, *sc = b + 192 + 8 * n;

		for (int l = 0; l < 32; l++) {
			int q[4] = {
				(ql[l] & 15) | (qh[l] & 3) << 4,
				(ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4,
				ql[l] >> 4 | (qh[l] >> 4 & 3) << 4,
				ql[l + 32] >> 4 | (qh[l] >> 6 & 3) << 4,
			};

			for (size_t k = 0; k < 4; k++)
				y[128 * n + 32 * k + (size_t)l] =
					d * signed_byte(sc[2 * k + (size_t)l / 16]) * (q[k] - 32);
		}
	}
}

/* scale_at: where the half-precision scales lie; -1: there is no second one. tolerance: of a
 * written block, in parts of its largest magnitude. */
static const struct row {
	enum dtype t;
	const char *name;
	int n, bytes, scale_at[2];
	void (*read)(const uint8_t *b, double *y);
	double tolerance;
} rows[] = {
	{DTYPE_Q4_0, "Q4_0", 32, 18, {0, -1}, q4_0, 1 / 7.9},
	{DTYPE_Q4_1, "Q4_1", 32, 20, {0, 2}, q4_1, 2 / 29.8},
	{DTYPE_Q5_0, "Q5_0", 32, 22, {0, -1}, q5_0, 1 / 15.8},
	{DTYPE_Q5_1, "Q5_1", 32, 24, {0, 2}, q5_1, 2 / 61.5},
	{DTYPE_Q8_0, "Q8_0", 32, 34, {0, -1}, q8_0, 1 / 250.0},
	{DTYPE_Q4_K, "Q4_K", 256, 144, {0, 2}, q4_k, 0.1},
	{DTYPE_Q5_K, "Q5_K", 256, 176, {0, 2}, q5_k, 0.06},
	{DTYPE_Q6_K, "Q6_K", 256, 210, {208, -1}, q6_k, 0.05},
};

static void assert_same_float(const char *what, int at, float got, double want)
{
	union {
		float f;
		uint32_t bits;
	} g = {got}, w = {(float)want};

	if (g.bits != w.bits && !(isnan(g.f) && isnan(w.f)))
		fail_msg("%s[%d]: got %a, want %a", what, at, (double)g.f, (double)w.f);
}

/* ---- tests ---- */

static void test_half_patterns(void **state)
{
	(void)state;
	for (int h = 0; h < 65536; h++) {
		uint8_t b[2] = {(uint8_t)h, (uint8_t)(h >> 8)};
		float f = f16_to_float((uint16_t)h);

		assert_same_float("f16", h, f, half(b));
		if (isnan(f))
			assert_true(isnan(f16_to_float(f16_from_float(f))));
		else
			assert_int_equal(f16_from_float(f), h);
	}
}

static void test_bf16_patterns(void **state)
{
	(void)state;
	for (int h = 0; h < 65536; h++) {
		float f = bf16_to_float((uint16_t)h), same;
		uint32_t bits32 = (uint32_t)h << 16;

		memcpy(&same, &bits32, sizeof(same));
		assert_same_float("bf16", h, f, same);
		if (isnan(f))
			assert_true(isnan(bf16_to_float(bf16_from_float(f))));
		else
			assert_int_equal(bf16_from_float(f), h);
	}
}

/* Around the middle between two neighbours: the nearer one, and the even one in the very middle. */
static void test_rounding(void **state)
{
	(void)state;
	for (int h = 0; h < 0x7bff; h++) {
		float a = f16_to_float((uint16_t)h), b = f16_to_float((uint16_t)(h + 1));
		float mid = (a + b) / 2;

		assert_int_equal(f16_from_float(nextafterf(mid, 0)), h);
		assert_int_equal(f16_from_float(mid), h + (h & 1));
		assert_int_equal(f16_from_float(nextafterf(mid, INFINITY)), h + 1);
		assert_int_equal(f16_from_float(-mid), 0x8000 | (h + (h & 1)));
	}
	for (int h = 0; h < 0x7f7f; h++) {
		float a = bf16_to_float((uint16_t)h), b = bf16_to_float((uint16_t)(h + 1));
		float mid = a + (b - a) / 2;

		assert_int_equal(bf16_from_float(nextafterf(mid, 0)), h);
		assert_int_equal(bf16_from_float(mid), h + (h & 1));
		assert_int_equal(bf16_from_float(nextafterf(mid, INFINITY)), h + 1);
	}
	assert_int_equal(f16_from_float(65504), 0x7bff);
	assert_int_equal(f16_from_float(nextafterf(65520, 0)), 0x7bff);
	assert_int_equal(f16_from_float(65520), 0x7c00);
	assert_int_equal(f16_from_float(-1e30f), 0xfc00);
	assert_int_equal(f16_from_float(0x1p-26f), 0);
	assert_int_equal(bf16_from_float(3.4e38f), 0x7f80);
}

static void random_bytes(struct rng *r, uint8_t *b, int n)
{
	for (int i = 0; i < n; i++)
		b[i] = (uint8_t)rng_u32(r);
}

static void check_block(const struct row *row, const uint8_t *b)
{
	float got[MAX_BLOCK];
	double want[MAX_BLOCK];

	row->read(b, want);
	dtype_to_float(row->t, b, row->n, got);
	for (int i = 0; i < row->n; i++)
		assert_same_float(row->name, i, got[i], want[i]);
}

static void put_half(uint8_t *b, int h)
{
	b[0] = (uint8_t)h;
	b[1] = (uint8_t)(h >> 8);
}

/* Every pattern of either scale, in pairs that look random (an odd factor visits them all), the
 * rest of the block random as well. */
static void test_blocks(void **state)
{
	uint8_t b[MAX_BLOCK_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct rng r;

		rng_init(&r, 7, "blocks", i);
		for (int h = 0; h < 65536; h++) {
			if (h % 8 == 0)
				random_bytes(&r, b, row->bytes);
			put_half(b + row->scale_at[0], h);
			if (row->scale_at[1] >= 0)
				put_half(b + row->scale_at[1], h * 27437 & 0xffff);
			check_block(row, b);
		}
	}
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct dtype_info *info = dtype_info(rows[i].t);
		enum dtype t;

		assert_string_equal(info->name, rows[i].name);
		assert_int_equal(info->block, rows[i].n);
		assert_int_equal(info->block_bytes, rows[i].bytes);
		assert_true(dtype_from_gguf(info->gguf_id, &t));
		assert_int_equal(t, rows[i].t);
		assert_int_equal(dtype_bytes(rows[i].t, INT64_C(3) * rows[i].n), 3 * rows[i].bytes);
	}
	for (int id = -1; id < 64; id++) {
		enum dtype t;

		if (dtype_from_gguf(id, &t))
			assert_int_equal(dtype_info(t)->gguf_id, id);
	}
	assert_false(dtype_from_gguf(4, &(enum dtype){0}));
	assert_false(dtype_from_gguf(9, &(enum dtype){0}));
}

static void test_write(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int k = 0; k < 200; k++) {
			const struct row *row = &rows[i];
			float x[MAX_BLOCK], y[MAX_BLOCK], peak = 0;
			uint8_t b[MAX_BLOCK_BYTES];
			struct rng r;

			rng_init(&r, (uint64_t)k, "write", i);
			for (int j = 0; j < row->n; j++) {
				x[j] = (float)ldexp(rng_unit(&r) * 2 - 1, k % 12 - 8);
				peak = fmaxf(peak, fabsf(x[j]));
			}
			dtype_from_float(row->t, x, row->n, b);
			dtype_to_float(row->t, b, row->n, y);
			for (int j = 0; j < row->n; j++)
				if (fabs((double)y[j] - (double)x[j]) >
				    row->tolerance * (double)peak)
					fail_msg("%s: %g reads back as %g, peak %g", row->name,
						 (double)x[j], (double)y[j], (double)peak);
		}
}

/* Nothing, no numbers, and too much to be written: no trap, and zeros stay zeros. */
static void test_write_odd(void **state)
{
	static const float odd[] = {0, NAN, INFINITY, -INFINITY, 3e38f, 1e-40f};

	(void)state;
	for (int t = 0; t < DTYPE_COUNT; t++)
		for (size_t k = 0; k < ARRAY_LEN(odd); k++) {
			float x[MAX_BLOCK], y[MAX_BLOCK];
			uint8_t b[MAX_BLOCK * 4];
			int n = dtype_info((enum dtype)t)->block;

			for (int j = 0; j < n; j++)
				x[j] = odd[k];
			dtype_from_float((enum dtype)t, x, n, b);
			dtype_to_float((enum dtype)t, b, n, y);
			for (int j = 0; k == 0 && j < n; j++)
				assert_true(y[j] == 0);
		}
}

/* Many blocks at once, from an address that suits nobody. */
static void test_unaligned(void **state)
{
	uint8_t bytes[1 + 4 * MAX_BLOCK_BYTES];
	float got[4 * MAX_BLOCK];
	struct rng r;

	(void)state;
	rng_init(&r, 3, "unaligned", 0);
	random_bytes(&r, bytes, sizeof(bytes));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		double want[MAX_BLOCK];

		dtype_to_float(row->t, bytes + 1, INT64_C(4) * row->n, got);
		for (int k = 0; k < 4; k++) {
			row->read(bytes + 1 + (ptrdiff_t)k * row->bytes, want);
			for (int j = 0; j < row->n; j++)
				assert_same_float(row->name, j, got[k * row->n + j], want[j]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_patterns), cmocka_unit_test(test_bf16_patterns),
		cmocka_unit_test(test_rounding),      cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_table),	      cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_odd),     cmocka_unit_test(test_unaligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
