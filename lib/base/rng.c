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

/* Two numbers to a block. Those that rng_below() would pass over are left to it, with what is not a
 * whole block. */
void rng_below_many(struct rng *r, uint64_t bound, uint32_t *out, size_t n)
{
	uint64_t reciprocal;
	size_t done = 0;

	CHECK(bound > 0 && bound <= UINT64_C(1) << 32);
	reciprocal = UINT64_MAX / bound;
	while (done < n) {
		uint64_t x0, x1;

		if (r->left || n - done < 2) {
			out[done++] = (uint32_t)rng_below(r, bound);
			continue;
		}
		philox4x32_10(r->key, r->ctr, r->out);
		x0 = (uint64_t)r->out[1] << 32 | r->out[0];
		x1 = (uint64_t)r->out[3] << 32 | r->out[2];
		if (x0 < bound || x1 < bound) {
			out[done++] = (uint32_t)rng_below(r, bound);
			continue;
		}
		if (++r->ctr[0] == 0)
			r->ctr[1]++;
		out[done++] = below(x0, bound, reciprocal);
		out[done++] = below(x1, bound, reciprocal);
	}
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
