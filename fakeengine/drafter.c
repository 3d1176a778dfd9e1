/*
 * Owns the luck of guesses. Pure. Must not know what a token is, nor what a step costs.
 */
#include "drafter.h"

#include "base/rng.h"

int32_t drafter_accepted(const struct drafter *d, uint64_t request_seed, int32_t at, int32_t n)
{
	struct rng rng;
	int32_t right = 0;

	if (n == 0)
		return 0;
	rng_init(&rng, request_seed, "draft acceptance", (uint64_t)at);
	while (right < n && rng_unit(&rng) < d->acceptance[right])
		right++;
	return right;
}

double drafter_tokens_per_step(const struct drafter *d, int32_t n)
{
	double sum = 1, all_right = 1;

	for (int32_t i = 0; i < n; i++) {
		all_right *= d->acceptance[i];
		sum += all_right;
	}
	return sum;
}
