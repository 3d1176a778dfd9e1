/*
 * Intervals by drawing again: where the answer is known, how often they hold the truth, and that
 * the same seed draws the same.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/dist.h"
#include "loadgen/bootstrap.h"

static struct draw_pool pool(double percentile, size_t n, double scale, uint64_t seed)
{
	struct draw_pool p = {.percentile = percentile, .scale = 1};
	struct rng rng;

	rng_init(&rng, seed, "test", 0);
	for (size_t i = 0; i < n; i++)
		draw_pool_add(&p, scale * (1 + rng_unit(&rng)), 1);
	return p;
}

static struct interval contrast(double percentile, size_t n, double scale, enum contrast how,
				uint64_t seed)
{
	struct draw_pool a = pool(percentile, n, 1, seed),
			 b = pool(percentile, n, scale, seed + 1000);
	struct interval x;
	struct rng rng;

	rng_init(&rng, seed, "bootstrap", 0);
	x = bootstrap_contrast(&a, &b, how, &rng);
	draw_pool_release(&a);
	draw_pool_release(&b);
	return x;
}

/* Values from 1 to 2 against the same from 2 to 4: the ratio is 2, of the mean and the median. */
static void test_known(void **state)
{
	static const double statistics[] = {-1, 50, 90};

	(void)state;
	for (size_t i = 0; i < sizeof(statistics) / sizeof(statistics[0]); i++) {
		struct interval x = contrast(statistics[i], 400, 2, CONTRAST_RATIO, 7);

		assert_true(fabs(x.mid - 2) < 0.1);
		assert_true(x.low < x.mid && x.mid < x.high);
		assert_true(x.low > 1.8 && x.high < 2.2);
	}
}

/* A 95 % interval holds the truth about 95 times in a hundred; its width goes with 1 / sqrt(n). */
static void test_coverage(void **state)
{
	double narrow = 0, wide = 0;
	int holds = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct interval x = contrast(-1, 100, 1, CONTRAST_RATIO, seed);

		holds += x.low <= 1 && 1 <= x.high;
		wide += x.high - x.low;
		x = contrast(-1, 1600, 1, CONTRAST_RATIO, seed);
		narrow += x.high - x.low;
	}
	assert_in_range(holds, 88, 100);
	assert_true(wide / narrow > 3.5 && wide / narrow < 4.5);
}

static void test_same_seed(void **state)
{
	struct interval x = contrast(50, 100, 1.5, CONTRAST_DIFFERENCE, 3),
			y = contrast(50, 100, 1.5, CONTRAST_DIFFERENCE, 3);

	(void)state;
	assert_true(x.low == y.low && x.high == y.high);
}

/* The percentile of the pool itself is numpy's: 1, 2, 3, 4 against ten times as much. */
static void test_few(void **state)
{
	struct draw_pool a = {.percentile = 50}, b = {.percentile = 50}, none = {.percentile = 50};
	struct interval x;
	struct rng rng;

	(void)state;
	rng_init(&rng, 1, "bootstrap", 0);
	for (int i = 4; i > 0; i--) {
		draw_pool_add(&a, i, 1);
		draw_pool_add(&b, 10 * i, 1);
	}
	x = bootstrap_contrast(&a, &b, CONTRAST_DIFFERENCE, &rng);
	assert_true(x.mid == 22.5);
	assert_true(isnan(x.low) && isnan(x.high));
	assert_true(isnan(bootstrap_contrast(&a, &none, CONTRAST_RATIO, &rng).mid));
	draw_pool_release(&a);
	draw_pool_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_same_seed),
		cmocka_unit_test(test_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
