/*
 * Owns what the bytes of a weight block mean, in both directions. Written for being read beside the
 * formats' text, not for speed: the executors have their own fast paths and are held to this one by
 * tests. Pure. Must not know files or models.
 *
 * In the 32-wide formats element j < 16 is the low nibble of byte j and element j + 16 the high
 * one. A K-block is 256 elements with one or two half-precision scales of its own and small integer
 * scales for its 8 or 16 parts.
 */
#include "dtype.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "all formats are little endian, as read");

#define BLOCK	  32
#define K_BLOCK	  256
#define K_PARTS	  8  /* of 32, Q4_K and Q5_K */
#define Q6K_PARTS 16 /* of 16 */

/* ---- half precision ---- */

static float float_of_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint32_t bits_of_float(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

float f16_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;

	if (exponent == 0) {
		float f = (float)mantissa * 0x1p-24f;

		return sign ? -f : f;
	}
	if (exponent == 31)
		return float_of_bits(sign | 0x7f800000 | mantissa << 13);
	return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t f16_from_float(float f)
{
	uint32_t bits = bits_of_float(f), magnitude = bits & 0x7fffffff;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);

	if (magnitude > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
	if (magnitude >= 0x477ff000) /* 65520, halfway to what would be the next number */
		return sign | 0x7c00;
	if (magnitude < 0x38800000) /* 2^-14: below, steps are 2^-24 whatever the size */
		return (uint16_t)(sign | (uint16_t)nearbyintf(fabsf(f) * 0x1p24f));
	magnitude -= 112u << 23;
	return (uint16_t)(sign | (magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

float bf16_to_float(uint16_t h)
{
	return float_of_bits((uint32_t)h << 16);
}

uint16_t bf16_from_float(float f)
{
	uint32_t bits = bits_of_float(f);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 |
				  0x40); /* a payload of low bits must not end up as 0 */
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void store16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static float load_f16(const uint8_t *p)
{
	return f16_to_float(load16(p));
}

/* Returns what a reader will see. */
static float store_f16(uint8_t *p, float f)
{
	uint16_t h = f16_from_float(f);

	store16(p, h);
	return f16_to_float(h);
}

/* ---- plain ---- */

static void f32_read(const uint8_t *b, float *out)
{
	memcpy(out, b, sizeof(*out));
}

static void f32_write(const float *x, uint8_t *b)
{
	memcpy(b, x, sizeof(*x));
}

static void f16_read(const uint8_t *b, float *out)
{
	*out = load_f16(b);
}

static void f16_write(const float *x, uint8_t *b)
{
	store_f16(b, *x);
}

static void bf16_read(const uint8_t *b, float *out)
{
	*out = bf16_to_float(load16(b));
}

static void bf16_write(const float *x, uint8_t *b)
{
	store16(b, bf16_from_float(*x));
}

/* ---- 32 wide ---- */

/* Q5's fifth bits are a little-endian word, element j's is bit j. */
static int fifth_bit(const uint8_t *high, int j)
{
	return high[j / 8] >> (j % 8) & 1;
}

static int nibble(const uint8_t *qs, int j)
{
	return j < BLOCK / 2 ? qs[j] & 15 : qs[j - BLOCK / 2] >> 4;
}

static void q4_0_read(const uint8_t *b, float *out)
{
	float d = load_f16(b);

	for (int j = 0; j < BLOCK; j++)
		out[j] = d * (float)(nibble(b + 2, j) - 8);
}

static void q4_1_read(const uint8_t *b, float *out)
{
	float d = load_f16(b), m = load_f16(b + 2);

	for (int j = 0; j < BLOCK; j++)
		out[j] = d * (float)nibble(b + 4, j) + m;
}

static void q5_0_read(const uint8_t *b, float *out)
{
	float d = load_f16(b);

	for (int j = 0; j < BLOCK; j++)
		out[j] = d * (float)((nibble(b + 6, j) | fifth_bit(b + 2, j) << 4) - 16);
}

static void q5_1_read(const uint8_t *b, float *out)
{
	float d = load_f16(b), m = load_f16(b + 2);

	for (int j = 0; j < BLOCK; j++)
		out[j] = d * (float)(nibble(b + 8, j) | fifth_bit(b + 4, j) << 4) + m;
}

static void q8_0_read(const uint8_t *b, float *out)
{
	float d = load_f16(b);

	for (int j = 0; j < BLOCK; j++)
		out[j] = d * (float)(int8_t)b[2 + j];
}

/* What is no number becomes min. */
static int clamp_round(float x, int min, int max)
{
	float r = roundf(x);

	return r >= (float)max ? max : r > (float)min ? (int)r : min;
}

static float inverse(float d)
{
	return d != 0 ? 1 / d : 0;
}

/* The scale of a symmetric format whose codes reach one further below zero: the element of the
 * largest magnitude gets the lowest code, so d has the other sign. */
static float symmetric_scale(const float *x, int n, int lowest)
{
	float peak = 0;

	for (int j = 0; j < n; j++)
		if (fabsf(x[j]) > fabsf(peak))
			peak = x[j];
	return peak / (float)lowest;
}

static void min_max(const float *x, int n, float *min, float *max)
{
	*min = *max = x[0];
	for (int j = 1; j < n; j++) {
		*min = fminf(*min, x[j]);
		*max = fmaxf(*max, x[j]);
	}
}

static void put_nibble(uint8_t *qs, int j, int q)
{
	if (j < BLOCK / 2)
		qs[j] = (uint8_t)(q & 15);
	else
		qs[j - BLOCK / 2] |= (uint8_t)((q & 15) << 4);
}

static void put_five_bits(uint8_t *high, uint8_t *qs, int j, int q)
{
	put_nibble(qs, j, q);
	if (j % 8 == 0)
		high[j / 8] = 0;
	high[j / 8] |= (uint8_t)((q >> 4) << (j % 8));
}

static void q4_0_write(const float *x, uint8_t *b)
{
	float id = inverse(store_f16(b, symmetric_scale(x, BLOCK, -8)));

	for (int j = 0; j < BLOCK; j++)
		put_nibble(b + 2, j, clamp_round(x[j] * id, -8, 7) + 8);
}

static void q5_0_write(const float *x, uint8_t *b)
{
	float id = inverse(store_f16(b, symmetric_scale(x, BLOCK, -16)));

	for (int j = 0; j < BLOCK; j++)
		put_five_bits(b + 2, b + 6, j, clamp_round(x[j] * id, -16, 15) + 16);
}

static void q4_1_write(const float *x, uint8_t *b)
{
	float min, max, id, m;

	min_max(x, BLOCK, &min, &max);
	id = inverse(store_f16(b, (max - min) / 15));
	m = store_f16(b + 2, min);
	for (int j = 0; j < BLOCK; j++)
		put_nibble(b + 4, j, clamp_round((x[j] - m) * id, 0, 15));
}

static void q5_1_write(const float *x, uint8_t *b)
{
	float min, max, id, m;

	min_max(x, BLOCK, &min, &max);
	id = inverse(store_f16(b, (max - min) / 31));
	m = store_f16(b + 2, min);
	for (int j = 0; j < BLOCK; j++)
		put_five_bits(b + 4, b + 8, j, clamp_round((x[j] - m) * id, 0, 31));
}

static void q8_0_write(const float *x, uint8_t *b)
{
	float id = inverse(store_f16(b, fabsf(symmetric_scale(x, BLOCK, 127))));

	for (int j = 0; j < BLOCK; j++)
		b[2 + j] = (uint8_t)clamp_round(x[j] * id, -127, 127);
}

/* ---- 256 wide ---- */

/* The eight 6-bit scales and mins of Q4_K and Q5_K in 12 bytes: the first four of each lie in the
 * low six bits of bytes 0-3 and 4-7, the last four take a nibble of bytes 8-11 and the two high
 * bits that the first four left. */
static void k_scales_read(const uint8_t *s, int scale[K_PARTS], int min[K_PARTS])
{
	for (int j = 0; j < 4; j++) {
		scale[j] = s[j] & 63;
		min[j] = s[j + 4] & 63;
		scale[j + 4] = (s[j + 8] & 15) | (s[j] >> 6) << 4;
		min[j + 4] = s[j + 8] >> 4 | (s[j + 4] >> 6) << 4;
	}
}

static void k_scales_write(uint8_t *s, const int scale[K_PARTS], const int min[K_PARTS])
{
	for (int j = 0; j < 4; j++) {
		s[j] = (uint8_t)(scale[j] | (scale[j + 4] >> 4) << 6);
		s[j + 4] = (uint8_t)(min[j] | (min[j + 4] >> 4) << 6);
		s[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
	}
}

/* Part p of Q4_K and Q5_K: parts 2i and 2i + 1 are the low and the high nibbles of the same 32
 * bytes. */
static int k_nibble(const uint8_t *qs, int p, int l)
{
	return qs[p / 2 * 32 + l] >> (p % 2 * 4) & 15;
}

static void q4_k_read(const uint8_t *b, float *out)
{
	float d = load_f16(b), dmin = load_f16(b + 2);
	int scale[K_PARTS], min[K_PARTS];

	k_scales_read(b + 4, scale, min);
	for (int p = 0; p < K_PARTS; p++)
		for (int l = 0; l < 32; l++)
			*out++ = d * (float)scale[p] * (float)k_nibble(b + 16, p, l) -
				 dmin * (float)min[p];
}

/* The fifth bits: byte l holds those of element l of all eight parts. */
static void q5_k_read(const uint8_t *b, float *out)
{
	float d = load_f16(b), dmin = load_f16(b + 2);
	int scale[K_PARTS], min[K_PARTS];

	k_scales_read(b + 4, scale, min);
	for (int p = 0; p < K_PARTS; p++)
		for (int l = 0; l < 32; l++) {
			int q = k_nibble(b + 48, p, l) | (b[16 + l] >> p & 1) << 4;

			*out++ = d * (float)scale[p] * (float)q - dmin * (float)min[p];
		}
}

/* Where the 6 bits of element e are: the low four in a nibble of ql, the high two in a pair of bits
 * of qh. Each half of 128 elements has 64 and 32 bytes of its own. */
struct q6k_place {
	int low, low_shift, high, high_shift;
};

static struct q6k_place q6k_place(int e)
{
	int half = e / 128, quarter = e % 128 / 32, l = e % 32;

	return (struct q6k_place){
		.low = half * 64 + quarter % 2 * 32 + l,
		.low_shift = quarter / 2 * 4,
		.high = half * 32 + l,
		.high_shift = quarter * 2,
	};
}

static void q6_k_read(const uint8_t *b, float *out)
{
	const uint8_t *ql = b, *qh = b + 128, *scale = b + 192;
	float d = load_f16(b + 208);

	for (int e = 0; e < K_BLOCK; e++) {
		struct q6k_place at = q6k_place(e);
		int q = (ql[at.low] >> at.low_shift & 15) | (qh[at.high] >> at.high_shift & 3) << 4;

		out[e] = d * (float)(int8_t)scale[e / 16] * (float)(q - 32);
	}
}

/* The rule for K-blocks is plain: each part by its range, no search for the least error. Files in
 * these formats come from others; we write them in tests alone. */
static void k_fit(const float *x, int top, uint8_t *b, int q[K_BLOCK])
{
	float step[K_PARTS], low[K_PARTS], most_step = 0, most_low = 0, d, dmin;
	int scale[K_PARTS], min[K_PARTS];

	for (int p = 0; p < K_PARTS; p++) {
		float max;

		min_max(x + (ptrdiff_t)p * 32, 32, &low[p], &max);
		low[p] = fminf(low[p], 0);
		step[p] = fmaxf(max - low[p], 0) / (float)top;
		most_step = fmaxf(most_step, step[p]);
		most_low = fmaxf(most_low, -low[p]);
	}
	d = store_f16(b, most_step / 63);
	dmin = store_f16(b + 2, most_low / 63);
	for (int p = 0; p < K_PARTS; p++) {
		float id;

		scale[p] = clamp_round(step[p] * inverse(d), 0, 63);
		min[p] = clamp_round(-low[p] * inverse(dmin), 0, 63);
		id = inverse(d * (float)scale[p]);
		for (int l = 0; l < 32; l++)
			q[p * 32 + l] =
				clamp_round((x[p * 32 + l] + dmin * (float)min[p]) * id, 0, top);
	}
	k_scales_write(b + 4, scale, min);
}

static void put_k_nibbles(uint8_t *qs, const int q[K_BLOCK])
{
	for (int p = 0; p < K_PARTS; p += 2)
		for (int l = 0; l < 32; l++)
			qs[p / 2 * 32 + l] =
				(uint8_t)((q[p * 32 + l] & 15) | (q[p * 32 + 32 + l] & 15) << 4);
}

static void q4_k_write(const float *x, uint8_t *b)
{
	int q[K_BLOCK];

	k_fit(x, 15, b, q);
	put_k_nibbles(b + 16, q);
}

static void q5_k_write(const float *x, uint8_t *b)
{
	int q[K_BLOCK];

	k_fit(x, 31, b, q);
	memset(b + 16, 0, 32);
	for (int e = 0; e < K_BLOCK; e++)
		b[16 + e % 32] |= (uint8_t)((q[e] >> 4) << (e / 32));
	put_k_nibbles(b + 48, q);
}

static void q6_k_write(const float *x, uint8_t *b)
{
	uint8_t *ql = b, *qh = b + 128, *scale = b + 192;
	float step[Q6K_PARTS], most = 0, d;

	for (int p = 0; p < Q6K_PARTS; p++) {
		step[p] = symmetric_scale(x + (ptrdiff_t)p * 16, 16, -32);
		most = fmaxf(most, fabsf(step[p]));
	}
	d = store_f16(b + 208, most / 127);
	memset(b, 0, 192);
	for (int p = 0; p < Q6K_PARTS; p++)
		scale[p] = (uint8_t)clamp_round(step[p] * inverse(d), -127, 127);
	for (int e = 0; e < K_BLOCK; e++) {
		struct q6k_place at = q6k_place(e);
		float id = inverse(d * (float)(int8_t)scale[e / 16]);
		int q = clamp_round(x[e] * id, -32, 31) + 32;

		ql[at.low] |= (uint8_t)((q & 15) << at.low_shift);
		qh[at.high] |= (uint8_t)((q >> 4) << at.high_shift);
	}
}

/* ---- the table ---- */

struct format {
	struct dtype_info info;
	void (*read)(const uint8_t *block, float *out);
	void (*write)(const float *x, uint8_t *block);
};

static const struct format formats[DTYPE_COUNT] = {
	[DTYPE_F32] = {{"F32", 1, 4, 0}, f32_read, f32_write},
	[DTYPE_F16] = {{"F16", 1, 2, 1}, f16_read, f16_write},
	[DTYPE_BF16] = {{"BF16", 1, 2, 30}, bf16_read, bf16_write},
	[DTYPE_Q4_0] = {{"Q4_0", BLOCK, 18, 2}, q4_0_read, q4_0_write},
	[DTYPE_Q4_1] = {{"Q4_1", BLOCK, 20, 3}, q4_1_read, q4_1_write},
	[DTYPE_Q5_0] = {{"Q5_0", BLOCK, 22, 6}, q5_0_read, q5_0_write},
	[DTYPE_Q5_1] = {{"Q5_1", BLOCK, 24, 7}, q5_1_read, q5_1_write},
	[DTYPE_Q8_0] = {{"Q8_0", BLOCK, 34, 8}, q8_0_read, q8_0_write},
	[DTYPE_Q4_K] = {{"Q4_K", K_BLOCK, 144, 12}, q4_k_read, q4_k_write},
	[DTYPE_Q5_K] = {{"Q5_K", K_BLOCK, 176, 13}, q5_k_read, q5_k_write},
	[DTYPE_Q6_K] = {{"Q6_K", K_BLOCK, 210, 14}, q6_k_read, q6_k_write},
};

const struct dtype_info *dtype_info(enum dtype t)
{
	CHECK(t < DTYPE_COUNT);
	return &formats[t].info;
}

bool dtype_from_gguf(int32_t id, enum dtype *out)
{
	for (int t = 0; t < DTYPE_COUNT; t++)
		if (formats[t].info.gguf_id == id) {
			*out = (enum dtype)t;
			return true;
		}
	return false;
}

size_t dtype_bytes(enum dtype t, int64_t n)
{
	const struct dtype_info *info = dtype_info(t);

	CHECK(n >= 0 && n % info->block == 0);
	return (size_t)(n / info->block) * (size_t)info->block_bytes;
}

void dtype_to_float(enum dtype t, const void *src, int64_t n, float *out)
{
	const struct format *f = &formats[t];
	const uint8_t *b = src;

	CHECK(n % f->info.block == 0);
	for (int64_t i = 0; i < n; i += f->info.block, b += f->info.block_bytes)
		f->read(b, out + i);
}

void dtype_from_float(enum dtype t, const float *src, int64_t n, void *out)
{
	const struct format *f = &formats[t];
	uint8_t *b = out;

	CHECK(n % f->info.block == 0);
	for (int64_t i = 0; i < n; i += f->info.block, b += f->info.block_bytes)
		f->write(src + i, b);
}
