/*
 * Owns the measurement of what the card's memory gives. Whichever thread is attached. Must not know
 * what wants to know it.
 */
#include "roof_cuda.h"

/* A buffer grows until a pass is long beside a launch, so that a slow reader is not asked for much.
 */
#define SMALLEST    (1ULL << 20)
#define LARGEST	    (1ULL << 30)
#define LONG_PASS_S 20e-3
#define PASSES	    4
#define BLOCKS	    2048

static double pass_s(struct cuda *c, const void *from, size_t bytes, uint32_t *out, struct err *e)
{
	double s;

	cuda_time_start(c, e);
	if (!e->rc)
		gpu_read(cuda_queue(c), from, bytes, BLOCKS, out, e);
	cuda_time_stop(c, &s, e);
	return s;
}

/* The best of several, or of one that is long. */
static double best_s(struct cuda *c, size_t bytes, struct err *e)
{
	size_t out_bytes = (size_t)BLOCKS * GPU_READ_THREADS * sizeof(uint32_t);
	void *from, *out;
	double best = 0;

	cuda_alloc(c, &from, bytes, "a measurement", e);
	cuda_alloc(c, &out, out_bytes, "a measurement", e);
	cuda_clear(c, from, bytes, e);
	for (int i = 0; i < PASSES && !e->rc && best < LONG_PASS_S; i++) {
		double s = pass_s(c, from, bytes, out, e);

		if (i == 0 || s < best)
			best = s;
	}
	cuda_free(c, from);
	cuda_free(c, out);
	return e->rc ? 0 : best;
}

double cuda_roof_bytes_per_s(struct cuda *c)
{
	double bytes_per_s = 0;

	for (size_t bytes = SMALLEST; bytes <= LARGEST; bytes *= 4) {
		struct err e = {.rc = RC_OK};
		double s = best_s(c, bytes, &e);

		if (s <= 0)
			break;
		bytes_per_s = (double)bytes / s;
		if (s >= LONG_PASS_S)
			break;
	}
	return bytes_per_s;
}
