/*
 * Owns the random streams. Pure; whoever owns a struct rng owns its thread.
 *
 * A block of Philox is a function of a 64-bit key and a 128-bit counter. The key stands for (seed,
 * purpose), the upper half of the counter for the index, the lower half counts the blocks of the
 * stream. So two indices of one purpose can never meet before 2^64 blocks are drawn, and two
 * purposes only if their names hash alike.
 */
#include "rng.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "check.h"

__extension__ typedef unsigned __int128 wide;

/* Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11, table 2 and
 * section 3.3. */
#define PHILOX_M0     UINT32_C(0xD2511F53)
#define PHILOX_M1     UINT32_C(0xCD9E8D57)
#define PHILOX_W0     UINT32_C(0x9E3779B9)
#define PHILOX_W1     UINT32_C(0xBB67AE85)
#define PHILOX_ROUNDS 10

void philox4x32_10(const uint32_t key[2], const uint32_t ctr[4], uint32_t out[4])
{
	uint32_t k0 = key[0], k1 = key[1];
	uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3];

	for (int round = 0; round < PHILOX_ROUNDS; round++) {
		uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
		uint64_t p1 = (uint64_t)PHILOX_M1 * c2;

		c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)p1;
		c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)p0;
		k0 += PHILOX_W0;
		k1 += PHILOX_W1;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

/* FNV-1a. */
static uint64_t hash_name(const char *s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	return h;
}

/* The finalizer of SplitMix64: a permutation of the 64-bit numbers in which every bit moves every
 * bit. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

void rng_init(struct rng *r, uint64_t seed, const char *purpose, uint64_t index)
{
	/* For one purpose a permutation of the seeds, for one seed a permutation of the hashes: no
	 * two of either share a key. The inner mix() keeps neighbouring seeds, which is what people
	 * choose, from lying beside each other. */
	uint64_t key = mix(mix(seed) + hash_name(purpose));

	memset(r, 0, sizeof(*r));
	r->key[0] = (uint32_t)key;
	r->key[1] = (uint32_t)(key >> 32);
	r->ctr[2] = (uint32_t)index;
	r->ctr[3] = (uint32_t)(index >> 32);
}

uint32_t rng_u32(struct rng *r)
{
	if (r->left == 0) {
		philox4x32_10(r->key, r->ctr, r->out);
		r->left = 4;
		if (++r->ctr[0] == 0)
			r->ctr[1]++;
	}
	return r->out[4 - r->left--];
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t low = rng_u32(r);

	return (uint64_t)rng_u32(r) << 32 | low;
}

double rng_unit(struct rng *r)
{
	return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
	uint64_t x;

	CHECK(bound > 0);
	/* 2^64 mod bound: that many of the smallest numbers would make their remainders likelier
	 * than others. It is less than bound, so that only few numbers need it. */
	do
		x = rng_u64(r);
	while (x < bound && x < -bound % bound);
	return x % bound;
}

/* A remainder by multiplication: the quotient from the reciprocal, rounded down, is too small by
 * two at most. */
static uint32_t below(uint64_t x, uint64_t bound, uint64_t reciprocal)
{
	uint64_t rest = x - (uint64_t)((wide)x * reciprocal >> 64) * bound;

	rest -= rest >= bound ? bound : 0;
	rest -= rest >= bound ? bound : 0;
	return (uint32_t)rest;
}

#ifdef __SSE2__

/* Four blocks at once, two to a register, each word in the lower half of 64 bits: there the
 * multiplication finds it and leaves the product, and what stands above it does not matter. */
#define BLOCKS ((size_t)4)

static void next_blocks(struct rng *r, uint64_t x[2 * BLOCKS])
{
	const __m128i m0 = _mm_set1_epi64x(PHILOX_M0), m1 = _mm_set1_epi64x(PHILOX_M1);
	const __m128i low = _mm_set1_epi64x(UINT32_MAX);
	__m128i c0[BLOCKS / 2], c1[BLOCKS / 2], c2[BLOCKS / 2], c3[BLOCKS / 2];
	uint32_t k0 = r->key[0], k1 = r->key[1];

	for (size_t i = 0; i < BLOCKS / 2; i++) {
		uint64_t a = (uint64_t)r->ctr[1] << 32 | r->ctr[0], b = a + 1;

		c0[i] = _mm_set_epi64x((int64_t)b, (int64_t)a);
		c1[i] = _mm_srli_epi64(c0[i], 32);
		c2[i] = _mm_set1_epi64x(r->ctr[2]);
		c3[i] = _mm_set1_epi64x(r->ctr[3]);
		r->ctr[0] = (uint32_t)(b + 1);
		r->ctr[1] = (uint32_t)((b + 1) >> 32);
	}
	for (int round = 0; round < PHILOX_ROUNDS; round++) {
		const __m128i key0 = _mm_set1_epi64x(k0), key1 = _mm_set1_epi64x(k1);

		for (size_t i = 0; i < BLOCKS / 2; i++) {
			__m128i p0 = _mm_mul_epu32(m0, c0[i]), p1 = _mm_mul_epu32(m1, c2[i]);

			c0[i] = _mm_xor_si128(_mm_xor_si128(_mm_srli_epi64(p1, 32), c1[i]), key0);
			c1[i] = p1;
			c2[i] = _mm_xor_si128(_mm_xor_si128(_mm_srli_epi64(p0, 32), c3[i]), key1);
			c3[i] = p0;
		}
		k0 += PHILOX_W0;
		k1 += PHILOX_W1;
	}
	for (size_t i = 0; i < BLOCKS / 2; i++) {
		__m128i first = _mm_or_si128(_mm_and_si128(c0[i], low), _mm_slli_epi64(c1[i], 32));
		__m128i second = _mm_or_si128(_mm_and_si128(c2[i], low), _mm_slli_epi64(c3[i], 32));

		_mm_storeu_si128((__m128i *)&x[4 * i], _mm_unpacklo_epi64(first, second));
		_mm_storeu_si128((__m128i *)&x[4 * i + 2], _mm_unpackhi_epi64(first, second));
	}
}

#else

#define BLOCKS ((size_t)1)

static void next_blocks(struct rng *r, uint64_t x[2 * BLOCKS])
{
	uint32_t out[4];

	philox4x32_10(r->key, r->ctr, out);
	if (++r->ctr[0] == 0)
		r->ctr[1]++;
	x[0] = (uint64_t)out[1] << 32 | out[0];
	x[1] = (uint64_t)out[3] << 32 | out[2];
}

#endif

/* By whole blocks; what is left over goes one by one. Of the few numbers that rng_below() passes
 * over none is counted. */
void rng_below_many(struct rng *r, uint64_t bound, uint32_t *out, size_t n)
{
	uint64_t x[2 * BLOCKS], reciprocal;
	size_t done = 0;

	CHECK(bound > 0 && bound <= UINT64_C(1) << 32);
	reciprocal = UINT64_MAX / bound;
	while (r->left && done < n)
		out[done++] = (uint32_t)rng_below(r, bound);
	while (r->left == 0 && n - done >= 2 * BLOCKS) {
		next_blocks(r, x);
		for (size_t i = 0; i < 2 * BLOCKS; i++) {
			out[done] = below(x[i], bound, reciprocal);
			done += !(x[i] < bound && x[i] < -bound % bound);
		}
	}
	while (done < n)
		out[done++] = (uint32_t)rng_below(r, bound);
}

void rng_shuffle(struct rng *r, uint32_t *index, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = rng_below(r, i);
		uint32_t swap = index[i - 1];

		index[i - 1] = index[k];
		index[k] = swap;
	}
}
