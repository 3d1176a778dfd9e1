/*
 * Owns the bins. Whoever owns a histogram owns its thread; merge to bring threads together.
 *
 * Values below 128 have a bin each. From there on every power of two is cut into 128 bins of equal
 * width, so a bin is at most 1/128 of its lowest value wide, and its middle is within 1/256 (0.4 %)
 * of every value in it.
 */
#include "hist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

#define LINEAR_BITS 7
#define LINEAR_BINS (1 << LINEAR_BITS)
#define BINS	    ((size_t)(63 - LINEAR_BITS + 1) * LINEAR_BINS) /* int64_t has 63 bits of value */

__extension__ typedef __int128 wide;

struct hist {
	uint64_t bin[BINS];
	uint64_t count;
	wide sum;
	int64_t min, max; /* of what was recorded; min starts above and max below everything */
};

/* With e the position of the highest bit, the bin is that of the top 8 bits: 128 per value of e,
 * one after the other. */
static size_t bin_of(int64_t value)
{
	int e;

	if (value < LINEAR_BINS)
		return (size_t)value;
	e = 63 - __builtin_clzll((unsigned long long)value) - LINEAR_BITS;
	return (size_t)e * LINEAR_BINS + (size_t)(value >> e);
}

static int64_t middle_of(size_t bin)
{
	int64_t top;
	int e;

	if (bin < 2 * (size_t)LINEAR_BINS)
		return (int64_t)bin;
	e = (int)(bin / LINEAR_BINS) - 1;
	top = (int64_t)(bin % LINEAR_BINS) + LINEAR_BINS;
	return (top << e) + (INT64_C(1) << e) / 2;
}

struct hist *hist_new(void)
{
	struct hist *h = xmalloc(sizeof(*h));

	hist_reset(h);
	return h;
}

void hist_free(struct hist *h)
{
	free(h);
}

void hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
	h->min = INT64_MAX;
	h->max = -1;
}

void hist_record_n(struct hist *h, int64_t value, uint64_t n)
{
	if (n == 0)
		return;
	if (value < 0)
		value = 0;
	h->bin[bin_of(value)] += n;
	h->count += n;
	h->sum += (wide)value * n;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
}

void hist_record(struct hist *h, int64_t value)
{
	hist_record_n(h, value, 1);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	for (size_t i = 0; i < BINS; i++)
		into->bin[i] += from->bin[i];
	into->count += from->count;
	into->sum += from->sum;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
}

size_t hist_bytes(void)
{
	return sizeof(struct hist);
}

void hist_merge_bytes(struct hist *into, const void *bytes)
{
	struct hist from;

	memcpy(&from, bytes, sizeof(from));
	hist_merge(into, &from);
}

uint64_t hist_count(const struct hist *h)
{
	return h->count;
}

double hist_mean(const struct hist *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}

int64_t hist_min(const struct hist *h)
{
	return h->count ? h->min : 0;
}

int64_t hist_max(const struct hist *h)
{
	return h->count ? h->max : 0;
}

/* The smallest rank, from 1, at or below which a share q of the values lies. */
static uint64_t rank_of(double q, uint64_t count)
{
	/* 0.07 * 100 is a little more than 7 in doubles: what is whole but for rounding is not to
	 * be rounded up. */
	double exact = q * (double)count, rank = ceil(exact - 1e-12 * exact);

	if (!(rank > 1))
		return 1;
	return rank < (double)count ? (uint64_t)rank : count;
}

int64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t rank, below = 0;
	int64_t middle;
	size_t i = 0;

	if (h->count == 0)
		return 0;
	rank = rank_of(q, h->count);
	while ((below += h->bin[i]) < rank)
		i++;
	middle = middle_of(i);
	return middle < h->min ? h->min : middle > h->max ? h->max : middle;
}
