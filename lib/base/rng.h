/*
 * Counter-based random streams: Philox 4x32-10 (Salmon et al., SC'11). One seed, one named stream
 * per purpose: adding a consumer to one stream never moves another, and a stream is the same on
 * every machine.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
	uint32_t key[2];
	uint32_t ctr[4];
	uint32_t out[4];
	unsigned left;	 /* words of out not yet given */
	double normal;	 /* the second half of rng_normal()'s last pair (dist.h) ... */
	bool has_normal; /* ... if it has not been given yet */
};

/* seed: the run's seed; purpose: "prompts", "arrivals", ...; index: which of many (level, repeat,
 * request). */
void rng_init(struct rng *r, uint64_t seed, const char *purpose, uint64_t index);

uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
double rng_unit(struct rng *r);			   /* [0, 1), 53 bits */
uint64_t rng_below(struct rng *r, uint64_t bound); /* [0, bound) without bias; bound > 0 */
/* The next n of rng_below(), for n in the millions: a fifth of its time. bound <= 2^32. */
void rng_below_many(struct rng *r, uint64_t bound, uint32_t *out, size_t n);
void rng_shuffle(struct rng *r, uint32_t *index, size_t n); /* Fisher-Yates */

/* The bare block function, for the published known-answer vectors. */
void philox4x32_10(const uint32_t key[2], const uint32_t ctr[4], uint32_t out[4]);

#endif
