/*
 * Samples against numpy's values and hand-worked ones; the sample counts that MLPerf LoadGen
 * publishes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "loadgen/stats.h"

static void near(double got, double want)
{
	assert_float_equal(got, want, 1e-9);
}

/* numpy.percentile(v, [50, 90, 95, 99]), numpy.std(v) */
static void test_numpy(void **state)
{
	static const struct {
		double v[8];
		size_t n;
		double p50, p90, p95, p99, mean, std, max;
	} cases[] = {
		{{42}, 1, 42, 42, 42, 42, 42, 0, 42},
		{{2, 1}, 2, 1.5, 1.9, 1.95, 1.99, 1.5, 0.5, 2},
		{{4, 2, 1, 3}, 4, 2.5, 3.7, 3.85, 3.97, 2.5, 1.118033988749895, 4},
		{{50, 15, 20, 40, 35}, 5, 35, 46, 48, 49.6, 32, 12.884098726725126, 50},
		{{3.2, -1, 7.5, 0, 12.25, 9, 9},
		 7,
		 7.5,
		 10.3,
		 11.275,
		 12.055,
		 39.95 / 7,
		 4.652988945016845,
		 12.25},
		{{-5, -3}, 2, -4, -3.2, -3.1, -3.02, -4, 1, -3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sample s = {0};

		for (size_t k = 0; k < cases[i].n; k++)
			sample_add(&s, cases[i].v[k]);
		near(sample_percentile(&s, 50), cases[i].p50);
		near(sample_percentile(&s, 90), cases[i].p90);
		near(sample_percentile(&s, 95), cases[i].p95);
		near(sample_percentile(&s, 99), cases[i].p99);
		near(sample_percentile(&s, 100), cases[i].max);
		near(sample_mean(&s), cases[i].mean);
		assert_float_equal(sample_std(&s), cases[i].std, 1e-8);
		near(sample_max(&s), cases[i].max);
		sample_release(&s);
	}
}

/* Samples added behind a percentile count in the next one. */
static void test_add_after_sort(void **state)
{
	struct sample s = {0};

	(void)state;
	for (int i = 100; i > 0; i--)
		sample_add(&s, i);
	near(sample_percentile(&s, 0), 1);
	sample_add(&s, -7);
	near(sample_percentile(&s, 0), -7);
	near(sample_percentile(&s, 50), 50);
	sample_release(&s);
}

static void test_empty(void **state)
{
	struct sample s = {0};

	(void)state;
	assert_true(isnan(sample_mean(&s)));
	assert_true(isnan(sample_std(&s)));
	assert_true(isnan(sample_max(&s)));
	assert_true(isnan(sample_percentile(&s, 50)));
	sample_release(&s);
}

static void test_enough(void **state)
{
	static const struct {
		double p;
		size_t least;
	} cases[] = {{50, 5}, {90, 64}, {95, 130}, {99, 662}, {99.9, 6636}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_false(sample_enough(0, cases[i].p));
		assert_false(sample_enough(1, cases[i].p));
		assert_false(sample_enough(cases[i].least - 1, cases[i].p));
		assert_true(sample_enough(cases[i].least, cases[i].p));
		assert_true(sample_enough(100 * cases[i].least, cases[i].p));
	}
}

static void test_ci95(void **state)
{
	double v[40] = {0};

	(void)state;
	assert_true(isnan(mean_ci95(v, 0)));
	v[0] = 1;
	assert_true(isnan(mean_ci95(v, 1)));
	v[1] = 3; /* s = sqrt(2), t(1) = 12.706 */
	near(mean_ci95(v, 2), 12.706);
	v[2] = 2; /* s = 1, t(2) = 4.303 */
	near(mean_ci95(v, 3), 4.303 / sqrt(3));
	for (int i = 0; i < 40; i++)
		v[i] = i % 2;
	near(mean_ci95(v, 40), 1.96 * sqrt(10.0 / 39 / 40));
}

static void test_welch(void **state)
{
	/* variances 1 and 4 of three each: se^2 = 1/3 + 4/3, degrees 2.94 -> 2, t = 4.303 */
	const double a[] = {9, 10, 11}, b[] = {18, 20, 22}, flat[] = {4, 4, 4}, none[] = {0, 1, 2};
	struct interval x = welch_contrast(a, 3, b, 3, CONTRAST_DIFFERENCE);
	double half = 4.303 * sqrt(5.0 / 3);

	(void)state;
	near(x.mid, 10);
	near(x.low, 10 - half);
	near(x.high, 10 + half);
	x = welch_contrast(a, 3, b, 3, CONTRAST_RATIO);
	near(x.mid, 2); /* b is 2 a: so are the geometric means */
	assert_true(x.low > 1 && x.low < 2 && x.high > 2 && x.high < 3);
	near(x.low * x.high, 4); /* symmetric in the logs */
	x = welch_contrast(flat, 3, flat, 3, CONTRAST_RATIO);
	near(x.low, 1);
	near(x.high, 1);
	assert_true(isnan(welch_contrast(a, 3, none, 3, CONTRAST_RATIO).mid));
	assert_true(isnan(welch_contrast(a, 1, b, 3, CONTRAST_RATIO).mid));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numpy), cmocka_unit_test(test_add_after_sort),
		cmocka_unit_test(test_empty), cmocka_unit_test(test_enough),
		cmocka_unit_test(test_ci95),  cmocka_unit_test(test_welch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
