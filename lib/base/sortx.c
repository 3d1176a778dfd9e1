/*
 * Owns a radix sort of doubles, byte by byte: about a twentieth of what qsort() takes for a million
 * of them. Any thread; pure.
 */
#include "sortx.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

#define FEW    256 /* up to here counting costs more than comparing */
#define BYTES  8
#define VALUES 256
#define SIGN   (UINT64_C(1) << 63)

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Bits that stand in the order of the numbers: a negative one has all turned round, others the
 * sign. */
static uint64_t to_key(double d)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof(bits));
	return bits & SIGN ? ~bits : bits | SIGN;
}

static double from_key(uint64_t key)
{
	uint64_t bits = key & SIGN ? key & ~SIGN : ~key;
	double d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

/* By byte `at`, stable. False: all have the same one, and nothing is moved. */
static bool pass(const uint64_t *from, uint64_t *to, size_t n, int at, const size_t count[VALUES])
{
	size_t place[VALUES], sum = 0;

	for (int k = 0; k < VALUES; k++) {
		if (count[k] == n)
			return false;
		place[k] = sum;
		sum += count[k];
	}
	for (size_t i = 0; i < n; i++)
		to[place[from[i] >> (8 * at) & 0xff]++] = from[i];
	return true;
}

void sort_doubles(double *v, size_t n)
{
	size_t(*count)[VALUES];
	uint64_t *a, *b, *swap;

	if (n <= FEW) {
		if (n > 1)
			qsort(v, n, sizeof(*v), compare);
		return;
	}
	a = xreallocarray(NULL, n, sizeof(*a));
	b = xreallocarray(NULL, n, sizeof(*b));
	count = xcalloc(BYTES, sizeof(*count));
	for (size_t i = 0; i < n; i++) {
		a[i] = to_key(v[i]);
		for (int at = 0; at < BYTES; at++)
			count[at][a[i] >> (8 * at) & 0xff]++;
	}
	for (int at = 0; at < BYTES; at++) {
		if (!pass(a, b, n, at, count[at]))
			continue;
		swap = a;
		a = b;
		b = swap;
	}
	for (size_t i = 0; i < n; i++)
		v[i] = from_key(a[i]);
	free(a);
	free(b);
	free(count);
}
