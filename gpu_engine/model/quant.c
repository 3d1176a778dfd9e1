/*
 * Owns the reading of the file formats' blocks into the one form of quant.h. Pure.
 */
#include "quant.h"

#include <math.h>
#include <string.h>

#define SUPER	 256 /* elements of a K-quant's block */
#define HALF_MAX 65504.0f

static float half_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return f16_to_float(h);
}

uint16_t quant_half(float x)
{
	if (x > HALF_MAX)
		x = HALF_MAX;
	if (x < -HALF_MAX)
		x = -HALF_MAX;
	return f16_from_float(x);
}

/* 32 nibbles, the low ones first. */
static void read_nibbles(const uint8_t *qs, uint8_t *q)
{
	for (int j = 0; j < 16; j++) {
		q[j] = qs[j] & 15;
		q[j + 16] = qs[j] >> 4;
	}
}

static void add_fifth_bits(const uint8_t *qh, uint8_t *q)
{
	for (int j = 0; j < QUANT_INPUTS; j++)
		q[j] |= (uint8_t)((qh[j / 8] >> (j % 8) & 1) << 4);
}

static void read_q4_0(const uint8_t *row, int32_t group, struct quant_block *b)
{
	const uint8_t *p = row + (size_t)group * 18;

	b->scale = half_at(p);
	b->min = -8 * b->scale;
	read_nibbles(p + 2, b->q);
}

static void read_q4_1(const uint8_t *row, int32_t group, struct quant_block *b)
{
	const uint8_t *p = row + (size_t)group * 20;

	b->scale = half_at(p);
	b->min = half_at(p + 2);
	read_nibbles(p + 4, b->q);
}

static void read_q5_0(const uint8_t *row, int32_t group, struct quant_block *b)
{
	const uint8_t *p = row + (size_t)group * 22;

	b->scale = half_at(p);
	read_nibbles(p + 6, b->q);
	add_fifth_bits(p + 2, b->q);
	for (int j = 0; j < QUANT_INPUTS; j++)
		b->q[j] += QUANT_ZERO - 16;
}

static void read_q5_1(const uint8_t *row, int32_t group, struct quant_block *b)
{
	const uint8_t *p = row + (size_t)group * 24;

	b->scale = half_at(p);
	b->min = half_at(p + 2);
	read_nibbles(p + 8, b->q);
	add_fifth_bits(p + 4, b->q);
}

static void read_q8_0(const uint8_t *row, int32_t group, struct quant_block *b)
{
	const uint8_t *p = row + (size_t)group * 34;

	b->scale = half_at(p);
	for (int j = 0; j < QUANT_INPUTS; j++)
		b->q[j] = p[2 + j] ^ QUANT_ZERO; /* two's complement + 128 */
}

/* The 6-bit scale and min of part `sub` of a Q4_K or Q5_K, from their 12 bytes. */
static void read_k_scale(const uint8_t *p, int32_t sub, struct quant_block *b)
{
	const uint8_t *s = p + 4;
	int scale, min;

	if (sub < 4) {
		scale = s[sub] & 63;
		min = s[sub + 4] & 63;
	} else {
		scale = (s[sub + 4] & 15) | s[sub - 4] >> 6 << 4;
		min = s[sub + 4] >> 4 | s[sub] >> 6 << 4;
	}
	b->scale = half_at(p) * (float)scale;
	b->min = -half_at(p + 2) * (float)min;
}

/* Nibbles of a K-quant: strips of 64 elements in 32 bytes, the first half of them low. */
static void read_k_nibbles(const uint8_t *qs, int32_t sub, uint8_t *q)
{
	const uint8_t *strip = qs + (size_t)(sub / 2) * 32;
	int shift = sub % 2 * 4;

	for (int j = 0; j < QUANT_INPUTS; j++)
		q[j] = strip[j] >> shift & 15;
}

static void read_q4_k(const uint8_t *row, int32_t group, struct quant_block *b)
{
	int32_t subs = SUPER / QUANT_INPUTS;
	const uint8_t *p = row + (size_t)(group / subs) * 144;

	read_k_scale(p, group % subs, b);
	read_k_nibbles(p + 16, group % subs, b->q);
}

static void read_q5_k(const uint8_t *row, int32_t group, struct quant_block *b)
{
	int32_t subs = SUPER / QUANT_INPUTS, sub = group % subs;
	const uint8_t *p = row + (size_t)(group / subs) * 176;

	read_k_scale(p, sub, b);
	read_k_nibbles(p + 48, sub, b->q);
	for (int j = 0; j < QUANT_INPUTS; j++)
		b->q[j] |= (uint8_t)((p[16 + j] >> sub & 1) << 4);
}

static void quantise_q8_0(const float *w, struct quant_block *b)
{
	float largest = 0, inverse;

	for (int j = 0; j < QUANT_INPUTS; j++)
		largest = fmaxf(largest, fabsf(w[j]));
	b->scale = f16_to_float(quant_half(largest / 127));
	inverse = b->scale > 0 ? 1 / b->scale : 0;
	for (int j = 0; j < QUANT_INPUTS; j++) {
		float q = fminf(fmaxf(rintf(w[j] * inverse), -127), 127);

		b->q[j] = (uint8_t)((int)q + QUANT_ZERO);
	}
}

static void read_q6_k(const uint8_t *row, int32_t group, struct quant_block *b)
{
	size_t subs = SUPER / QUANT_INPUTS, sub = (size_t)group % subs;
	size_t half = sub / 4, quarter = sub % 4;
	const uint8_t *p = row + (size_t)group / subs * 210;
	const uint8_t *ql = p + half * 64 + quarter % 2 * 32;
	const uint8_t *qh = p + 128 + half * 32;
	const int8_t *scale = (const int8_t *)p + 192 + half * 8 + quarter * 2;
	float d = half_at(p + 208), w[QUANT_INPUTS];

	for (int j = 0; j < QUANT_INPUTS; j++) {
		int q = (ql[j] >> quarter / 2 * 4 & 15) | (qh[j] >> quarter * 2 & 3) << 4;
		int part = j / 16;

		w[j] = d * (float)scale[part] * (float)(q - 32);
	}
	quantise_q8_0(w, b);
}

static void (*const readers[DTYPE_COUNT])(const uint8_t *row, int32_t group,
					  struct quant_block *b) = {
	[DTYPE_Q4_0] = read_q4_0, [DTYPE_Q4_1] = read_q4_1, [DTYPE_Q5_0] = read_q5_0,
	[DTYPE_Q5_1] = read_q5_1, [DTYPE_Q8_0] = read_q8_0, [DTYPE_Q4_K] = read_q4_k,
	[DTYPE_Q5_K] = read_q5_k, [DTYPE_Q6_K] = read_q6_k,
};

bool quant_is(enum dtype t)
{
	return readers[t] != NULL;
}

void quant_read(enum dtype t, const uint8_t *row, int32_t group, struct quant_block *b)
{
	readers[t](row, group, b);
}
