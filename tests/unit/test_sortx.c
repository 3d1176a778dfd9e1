/*
 * The radix sort against qsort(), over the sizes and kinds of numbers where it could go wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/die.h"
#include "base/rng.h"
#include "base/sortx.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* kind: 0 any bits of a finite number, 1 few different ones, 2 latencies, 3 all the same */
static double draw(struct rng *r, int kind)
{
	uint64_t bits = rng_u64(r);
	double d;

	if (kind == 1)
		return (double)(bits % 5) - 2;
	if (kind == 2)
		return 20 + rng_unit(r);
	if (kind == 3)
		return 7;
	if ((bits >> 52 & 0x7ff) == 0x7ff) /* infinite, or no number */
		bits ^= UINT64_C(1) << 60;
	memcpy(&d, &bits, sizeof(d));
	return d == 0 ? 1 : d;
}

static void test_like_qsort(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 255, 256, 257, 1000, 70000};
	struct rng r;

	(void)state;
	rng_init(&r, 3, "sort", 0);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (int kind = 0; kind < 4; kind++) {
			size_t n = sizes[s];
			double *a = xcalloc(n + 1, sizeof(*a)), *b = xcalloc(n + 1, sizeof(*b));

			for (size_t i = 0; i < n; i++)
				a[i] = b[i] = draw(&r, kind);
			sort_doubles(a, n);
			qsort(b, n, sizeof(*b), compare);
			assert_memory_equal(a, b, (n + 1) * sizeof(*a));
			free(a);
			free(b);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_like_qsort)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
