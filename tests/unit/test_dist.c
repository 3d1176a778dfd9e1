/*
 * dist: each sampler against its distribution function (Kolmogorov-Smirnov) and its moments, at
 * fixed seeds; cutting, whole numbers, and what is refused.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/dist.h"

#define N 100000

static double phi(double z)
{
	return erfc(-z / sqrt(2)) / 2;
}

/* Closed forms for the shapes below: P(X <= x). */
static double cdf(const struct dist *d, double x)
{
	double variance, scaled;

	switch (d->kind) {
	case DIST_UNIFORM:
		return (x - d->min) / (d->max - d->min);
	case DIST_NORMAL:
		return phi((x / d->mean - 1) / d->cv);
	case DIST_LOGNORMAL:
		variance = log(1 + d->cv * d->cv);
		return phi((log(x) - log(d->mean) + variance / 2) / sqrt(variance));
	case DIST_EXPONENTIAL:
		return 1 - exp(-x / d->mean);
	case DIST_GAMMA:
		scaled = x / (d->mean * d->cv * d->cv);
		if (fabs(d->cv * d->cv - 0.5) < 1e-12) /* shape 2 */
			return 1 - exp(-scaled) * (1 + scaled);
		assert_true(fabs(d->cv * d->cv - 2) < 1e-12); /* shape 1/2 */
		return erf(sqrt(scaled));
	default:
		fail();
		return 0;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void test_against_distribution_functions(void **state)
{
	static const struct dist rows[] = {
		{
			DIST_UNIFORM,
			0,
			0,
			3,
			11,
		},
		{DIST_NORMAL, 500, 0.1, 0, HUGE_VAL},
		{DIST_LOGNORMAL, 500, 0.3, 0, HUGE_VAL},
		{DIST_LOGNORMAL, 500, 2.5, 0, HUGE_VAL},
		{DIST_EXPONENTIAL, 0.02, 0, 0, HUGE_VAL},
		{DIST_GAMMA, 7, M_SQRT1_2, 0, HUGE_VAL},
		{DIST_GAMMA, 7, M_SQRT2, 0, HUGE_VAL},
	};
	double *v = malloc(N * sizeof(*v));

	(void)state;
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		const struct dist *d = &rows[row];
		double farthest = 0;
		struct rng r;

		assert_int_equal(dist_check(d, NULL), RC_OK);
		rng_init(&r, 1, "dist", row);
		for (int i = 0; i < N; i++)
			v[i] = dist_sample(d, &r);
		qsort(v, N, sizeof(*v), compare);
		for (int i = 0; i < N; i++) {
			double p = cdf(d, v[i]);

			farthest = fmax(farthest, fmax(p - (double)i / N, (double)(i + 1) / N - p));
		}
		/* exceeded by one sound sampler in 1000 */
		if (farthest * sqrt(N) > 1.95)
			fail_msg("row %zu (%s): KS %.2f", row, dist_name(d->kind),
				 farthest * sqrt(N));
	}
	free(v);
}

static void test_moments(void **state)
{
	static const struct {
		struct dist d;
		double mean, cv;
	} rows[] = {
		{{DIST_CONSTANT, 128, 0, 0, HUGE_VAL}, 128, 0},
		{{DIST_UNIFORM, 0, 0, 100, 200}, 150, 0.19245008972987526},
		{{DIST_NORMAL, 40, 0.2, 0, HUGE_VAL}, 40, 0.2},
		{{DIST_LOGNORMAL, 300, 0.8, 0, HUGE_VAL}, 300, 0.8},
		{{DIST_EXPONENTIAL, 2, 0, 0, HUGE_VAL}, 2, 1},
		{{DIST_GAMMA, 1.5, 0.25, 0, HUGE_VAL}, 1.5, 0.25},
		{{DIST_GAMMA, 1.5, 1.7, 0, HUGE_VAL}, 1.5, 1.7},
	};

	(void)state;
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		double sum = 0, squares = 0, mean, cv;
		struct rng r;

		rng_init(&r, 2, "moments", row);
		for (int i = 0; i < N; i++) {
			double x = dist_sample(&rows[row].d, &r);

			sum += x;
			squares += x * x;
		}
		mean = sum / N;
		cv = sqrt(fmax(0, squares / N - mean * mean)) / mean;
		assert_true(fabs(mean / rows[row].mean - 1) <= 4 * rows[row].cv / sqrt(N));
		assert_true(fabs(cv - rows[row].cv) <= 0.03 * rows[row].cv);
		assert_true(dist_mean(&rows[row].d) == rows[row].mean);
	}
}

/* Both halves of a pair, in order, from two uniforms. */
static void test_normal_uses_both_halves(void **state)
{
	struct rng r, same;
	double radius, angle;

	(void)state;
	rng_init(&r, 1, "normal", 0);
	same = r;
	for (int i = 0; i < 10; i++) {
		radius = sqrt(-2 * log(1 - rng_unit(&same)));
		angle = 2 * acos(-1) * rng_unit(&same);
		assert_true(fabs(rng_normal(&r) - radius * cos(angle)) < 1e-12);
		assert_true(fabs(rng_normal(&r) - radius * sin(angle)) < 1e-12);
	}
	assert_int_equal(rng_u32(&r), rng_u32(&same));
}

static void test_cutting(void **state)
{
	static const struct dist cut = {DIST_NORMAL, 100, 1, 50, 130};
	static const struct dist wide = {DIST_NORMAL, 100, 2, 0, HUGE_VAL};
	int at_min = 0, at_max = 0, at_0 = 0;
	struct rng r;

	(void)state;
	rng_init(&r, 1, "cutting", 0);
	for (int i = 0; i < N; i++) {
		double x = dist_sample(&cut, &r);

		assert_true(x >= 50 && x <= 130);
		at_min += x == 50;
		at_max += x == 130;
		x = dist_sample(&wide, &r);
		assert_true(x >= 0);
		at_0 += x == 0;
	}
	/* 4 standard deviations around what lies beyond */
	assert_true(fabs(at_min - N * phi(-0.5)) < 600);
	assert_true(fabs(at_max - N * phi(-0.3)) < 620);
	assert_true(fabs(at_0 - N * phi(-0.5)) < 600);
}

static void test_counts(void **state)
{
	static const struct dist die_roll = {DIST_UNIFORM, 0, 0, 1, 6};
	static const struct dist between = {DIST_UNIFORM, 0, 0, 2.5, 4.9}; /* 3 and 4 */
	static const struct dist constant = {DIST_CONSTANT, 2.5, 0, 0, HUGE_VAL};
	static const struct dist tight = {DIST_NORMAL, 10, 1, 0, 10.7};
	static const struct dist none = {DIST_UNIFORM, 0, 0, 4.2, 4.4};
	static const struct dist huge = {DIST_CONSTANT, 1e30, 0, 0, HUGE_VAL};
	int times[7] = {0};
	struct rng r;

	(void)state;
	rng_init(&r, 1, "counts", 0);
	for (int i = 0; i < 60000; i++) {
		int64_t n = dist_sample_count(&die_roll, &r, 0);

		assert_in_range(n, 1, 6);
		times[n]++;
		n = dist_sample_count(&between, &r, 0);
		assert_in_range(n, 3, 4);
		assert_true(dist_sample_count(&tight, &r, 0) <= 10);
	}
	for (int n = 1; n <= 6; n++)
		assert_in_range(times[n], 10000 - 370, 10000 + 370); /* 4 standard deviations */
	assert_int_equal(dist_sample_count(&constant, &r, 0), 3);
	assert_int_equal(dist_sample_count(&constant, &r, 5), 5);
	assert_int_equal(dist_sample_count(&none, &r, 0), 4);
	assert_true(dist_sample_count(&huge, &r, 0) == INT64_MAX);
}

static void test_same_seed_same_values(void **state)
{
	static const struct dist d = {DIST_GAMMA, 7, 1.2, 0, HUGE_VAL};
	struct rng a, b;

	(void)state;
	rng_init(&a, 5, "same", 3);
	rng_init(&b, 5, "same", 3);
	for (int i = 0; i < 1000; i++)
		assert_true(dist_sample(&d, &a) == dist_sample(&d, &b));
}

static void test_names(void **state)
{
	enum dist_kind kind = DIST_CONSTANT;
	struct err e = {0};

	(void)state;
	for (int k = DIST_CONSTANT; k <= DIST_GAMMA; k++) {
		assert_int_equal(dist_kind_parse(dist_name((enum dist_kind)k), &kind, &e), RC_OK);
		assert_int_equal(kind, k);
	}
	assert_null(dist_name((enum dist_kind)(DIST_GAMMA + 1)));
	assert_int_equal(dist_kind_parse("zipf", &kind, &e), RC_INPUT);
	assert_string_equal(e.msg, "\"zipf\" is not a distribution: constant, uniform, normal, "
				   "lognormal, exponential, gamma");
	assert_int_equal(dist_kind_parse("", &kind, NULL), RC_INPUT);
	assert_int_equal(dist_kind_parse("Normal", &kind, NULL), RC_INPUT);
}

static void test_check(void **state)
{
	static const struct {
		struct dist d;
		const char *message; /* part of it; NULL = fine */
	} rows[] = {
		{{DIST_CONSTANT, 0, 0, 0, HUGE_VAL}, NULL},
		{{DIST_CONSTANT, 5, 0, 5, 5}, NULL},
		{{DIST_CONSTANT, -1, 0, 0, HUGE_VAL}, "must be from min 0"},
		{{DIST_CONSTANT, 9, 0, 0, 8}, "to max 8"},
		{{DIST_CONSTANT, HUGE_VAL, 0, 0, HUGE_VAL}, "constant: inf"},
		{{DIST_UNIFORM, 0, 0, 5, 5}, NULL},
		{{DIST_UNIFORM, 0, 0, 0, HUGE_VAL}, "needs min and max"},
		{{DIST_UNIFORM, 0, 0, 6, 5}, "min 6 is above max 5"},
		{{DIST_UNIFORM, 0, 0, -1, 5}, "neither may be below 0"},
		{{DIST_UNIFORM, 0, 0, NAN, 5}, "min nan"},
		{{DIST_NORMAL, 5, 0.5, 0, HUGE_VAL}, NULL},
		{{DIST_NORMAL, 0, 0.5, 0, HUGE_VAL}, "normal: mean 0"},
		{{DIST_NORMAL, NAN, 0.5, 0, HUGE_VAL}, "mean nan"},
		{{DIST_LOGNORMAL, 5, 0, 0, HUGE_VAL}, "lognormal: cv 0"},
		{{DIST_LOGNORMAL, 5, NAN, 0, HUGE_VAL}, "cv nan"},
		{{DIST_GAMMA, 5, -1, 0, HUGE_VAL}, "gamma: cv -1"},
		{{DIST_GAMMA, 5, 1, 0, 0}, "gamma: max 0 must be above 0"},
		{{DIST_EXPONENTIAL, 5, 0, 0, HUGE_VAL}, NULL},
		{{DIST_EXPONENTIAL, -5, 0, 0, HUGE_VAL}, "exponential: mean -5"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {0};
		enum rc rc = dist_check(&rows[i].d, &e);

		assert_int_equal(rc, rows[i].message ? RC_INPUT : RC_OK);
		if (rows[i].message && !strstr(e.msg, rows[i].message))
			fail_msg("row %zu: \"%s\"", i, e.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_distribution_functions),
		cmocka_unit_test(test_moments),
		cmocka_unit_test(test_normal_uses_both_halves),
		cmocka_unit_test(test_cutting),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_same_seed_same_values),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
