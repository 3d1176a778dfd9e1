/*
 * hist: ranks, the error of a bin, the exact parts, merging.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hist.h"
#include "base/rng.h"

static void test_empty(void **state)
{
	struct hist *h = hist_new();

	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(hist_count(h), 0);
		assert_true(hist_mean(h) == 0);
		assert_int_equal(hist_min(h), 0);
		assert_int_equal(hist_max(h), 0);
		assert_int_equal(hist_quantile(h, 0.5), 0);
		hist_record(h, 77);
		hist_record_n(h, 99, 0);
		assert_int_equal(hist_max(h), 77);
		hist_reset(h);
	}
	hist_free(h);
	hist_free(NULL);
}

/* Small values have a bin each, so quantiles are the values at their ranks, whatever q * n looks
 * like in doubles. */
static void test_ranks(void **state)
{
	struct hist *h = hist_new();

	(void)state;
	for (int v = 1; v <= 100; v++)
		hist_record(h, v);
	for (int k = 1; k <= 100; k++)
		assert_int_equal(hist_quantile(h, k / 100.0), k);
	assert_int_equal(hist_quantile(h, 0), 1);
	assert_int_equal(hist_quantile(h, 0.005), 1);
	assert_int_equal(hist_quantile(h, 0.011), 2);
	assert_int_equal(hist_quantile(h, 0.999), 100);
	hist_free(h);
}

static int64_t middle_value(int64_t value)
{
	struct hist *h = hist_new();
	int64_t got;

	hist_record(h, 0); /* so that min and max do not give the answer */
	hist_record(h, value);
	hist_record(h, INT64_MAX);
	got = hist_quantile(h, 0.5);
	hist_free(h);
	return got;
}

static void test_error_of_a_bin(void **state)
{
	struct rng r;

	(void)state;
	for (int64_t v = 0; v < 256; v++)
		assert_int_equal(middle_value(v), v);
	rng_init(&r, 1, "hist", 0);
	for (int i = 0; i < 4000; i++) {
		int64_t power = INT64_C(1) << (8 + i % 55), v = power;

		if (i % 3 == 1)
			v += (int64_t)rng_below(&r, (uint64_t)power);
		else if (i % 3 == 2)
			v += power - 1;
		assert_true(llabs(middle_value(v) - v) <= v / 256);
	}
}

static void test_exact_parts(void **state)
{
	struct hist *h = hist_new();

	(void)state;
	hist_record(h, INT64_MAX);
	hist_record_n(h, INT64_MAX - 2, 3);
	assert_int_equal(hist_min(h), INT64_MAX - 2);
	assert_int_equal(hist_max(h), INT64_MAX);
	assert_true(hist_mean(h) == 0x1p63);		      /* the sum does not overflow */
	assert_true(hist_quantile(h, 0.01) >= INT64_MAX - 2); /* never below the smallest */
	hist_reset(h);

	hist_record(h, -5);
	hist_record_n(h, 10, 3);
	assert_int_equal(hist_count(h), 4);
	assert_int_equal(hist_min(h), 0);
	assert_true(hist_mean(h) == 7.5);
	hist_reset(h);

	/* one value: every quantile is that value, not its bin's middle */
	hist_record(h, 1000001);
	assert_int_equal(hist_quantile(h, 0), 1000001);
	assert_int_equal(hist_quantile(h, 1), 1000001);
	hist_free(h);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void test_against_sorted_values(void **state)
{
	enum { N = 10000 };
	int64_t *v = malloc(N * sizeof(*v));
	struct hist *all = hist_new(), *part = hist_new(), *merged = hist_new();
	struct rng r;

	(void)state;
	rng_init(&r, 2, "hist", 0);
	for (int i = 0; i < N; i++) {
		v[i] = (int64_t)rng_below(&r, UINT64_C(1) << (1 + rng_below(&r, 40)));
		hist_record(all, v[i]);
		hist_record(i % 3 ? part : merged, v[i]);
	}
	hist_merge(merged, part);
	qsort(v, N, sizeof(*v), compare);
	for (int k = 1; k <= N; k += 37) {
		int64_t want = v[k - 1], got = hist_quantile(all, (double)k / N);

		assert_true(llabs(got - want) <= want / 256);
		assert_int_equal(hist_quantile(merged, (double)k / N), got);
	}
	assert_int_equal(hist_count(merged), N);
	assert_true(hist_mean(merged) == hist_mean(all));
	assert_int_equal(hist_min(merged), v[0]);
	assert_int_equal(hist_max(merged), v[N - 1]);

	hist_reset(part);
	hist_merge(part, merged); /* into an empty one */
	assert_int_equal(hist_min(part), v[0]);
	assert_int_equal(hist_max(part), v[N - 1]);
	hist_reset(part); /* merging nothing changes nothing */
	hist_merge(merged, part);
	assert_int_equal(hist_min(merged), v[0]);
	assert_int_equal(hist_max(merged), v[N - 1]);
	hist_free(all);
	hist_free(part);
	hist_free(merged);
	free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_ranks),
		cmocka_unit_test(test_error_of_a_bin),
		cmocka_unit_test(test_exact_parts),
		cmocka_unit_test(test_against_sorted_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
