/*
 * Owns the measurement of read bandwidth. Its own threads, for a second. Must not know weights.
 */
#include "roof.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"

#define BUFFER_BYTES ((size_t)512 << 20) /* of all threads together */
#define PASSES	     5
#define LANES	     8 /* independent sums: latency is not what is measured */

struct reader {
	pthread_t thread;
	const uint64_t *at;
	size_t words;
	uint64_t sum;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	uint64_t sum[LANES] = {0};

	for (size_t i = 0; i + LANES <= r->words; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			sum[k] += r->at[i + k];
	for (size_t k = 0; k < LANES; k++)
		r->sum += sum[k];
	return NULL;
}

static int64_t pass_ns(struct reader *r, int32_t threads)
{
	int64_t start_ns = monotonic_now_ns();

	for (int32_t i = 1; i < threads; i++)
		if (pthread_create(&r[i].thread, NULL, read_all, &r[i]) != 0)
			die("a thread cannot be started");
	read_all(&r[0]);
	for (int32_t i = 1; i < threads; i++)
		pthread_join(r[i].thread, NULL);
	return monotonic_now_ns() - start_ns;
}

double cpu_roof_bytes_per_s(int32_t threads)
{
	struct reader *r = xcalloc((size_t)threads, sizeof(*r));
	uint64_t *buffer = xmalloc(BUFFER_BYTES);
	size_t share = BUFFER_BYTES / sizeof(*buffer) / (size_t)threads;
	int64_t best_ns = INT64_MAX;
	volatile uint64_t keep = 0; /* or the compiler sees that nobody wants the sums */

	memset(buffer, 1, BUFFER_BYTES);
	for (int32_t i = 0; i < threads; i++) {
		r[i].at = buffer + share * (size_t)i;
		r[i].words = share;
	}
	for (int pass = 0; pass < PASSES; pass++) {
		int64_t ns = pass_ns(r, threads);

		if (ns < best_ns)
			best_ns = ns;
	}
	for (int32_t i = 0; i < threads; i++)
		keep += r[i].sum;
	free(buffer);
	free(r);
	return (double)(share * sizeof(uint64_t) * (size_t)threads) * 1e9 / (double)best_ns;
}
