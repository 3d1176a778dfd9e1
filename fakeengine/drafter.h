/*
 * Who guesses tokens ahead (speculative decoding), as far as anybody waits for it: how often the
 * guesses are right. What drafting costs stands in struct cost. Pure.
 */
#ifndef FAKEENGINE_DRAFTER_H
#define FAKEENGINE_DRAFTER_H

#include <stdint.h>

#include "serve/sched.h"

struct drafter {
	double acceptance[SCHED_MAX_DRAFT]; /* of the i-th guess, if those before it were right */
};

/* How many of n guesses at the output tokens from place `at` on are right before the first that is
 * not. Drawn from a stream of its own for each request (by its seed) and place, so that company,
 * preemptions and the clock do not matter. */
int32_t drafter_accepted(const struct drafter *d, uint64_t request_seed, int32_t at, int32_t n);

/* Tokens that a step with n guesses yields, on average: 1 + a1 + a1 a2 + ... */
double drafter_tokens_per_step(const struct drafter *d, int32_t n);

#endif
