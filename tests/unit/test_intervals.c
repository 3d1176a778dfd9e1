/*
 * The intervals of a point over its requests: where they exist, how often they hold the truth, that
 * one seed draws the same, and which of them a curve shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/dist.h"
#include "loadgen/bootstrap.h"
#include "loadgen/curve.h"
#include "synthetic.h"

/* ---- drawing together ---- */

static void fill(double *x, size_t n, uint64_t seed)
{
	struct rng rng;

	rng_init(&rng, seed, "values", 0);
	for (size_t i = 0; i < n; i++)
		x[i] = rng_unit(&rng);
}

/* Uniform on [0, 1): the mean and the median are 0.5, the quotient of two is 1. The middle 95 %
 * hold them in about 95 of 100 runs. */
static void test_coverage(void **state)
{
	enum { N = 120, RUNS = 100 };
	int holds[3] = {0};

	(void)state;
	for (uint64_t seed = 0; seed < RUNS; seed++) {
		static const double truth[] = {0.5, 0.5, 1};
		double x[N], y[N];
		struct draw_figure f[] = {
			{x, NULL, -1, 0, 0}, {x, NULL, 50, 0, 0}, {x, y, -1, 0, 0}};
		struct rng rng;

		fill(x, N, seed);
		fill(y, N, 1000 + seed);
		rng_init(&rng, seed, "draws", 0);
		bootstrap_figures(f, ARRAY_LEN(f), N, &rng);
		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			holds[i] += f[i].low <= truth[i] && truth[i] <= f[i].high;
	}
	for (size_t i = 0; i < ARRAY_LEN(holds); i++)
		assert_in_range(holds[i], 88, 100);
}

/* With very many requests nothing is drawn, and the ends are where they were: a tenth of the
 * interval's width is what a thousand draws place them to. */
static void test_many(void **state)
{
	enum { N = BOOTSTRAP_MANY };
	static double x[N], y[N];
	struct draw_figure f[2][4];
	struct rng rng;

	(void)state;
	fill(x, N, 1);
	fill(y, N, 2);
	for (size_t i = 0; i < N; i += 50)
		x[i] = NAN;
	for (size_t k = 0; k < 2; k++) {
		const struct draw_figure figures[] = {{x, NULL, -1, 0, 0},
						      {x, NULL, 50, 0, 0},
						      {x, NULL, 99, 0, 0},
						      {y, x, -1, 0, 0}};

		memcpy(f[k], figures, sizeof(figures));
		f[k][3].x = x;
		f[k][3].y = y;
		rng_init(&rng, 7, "draws", 0);
		bootstrap_figures(f[k], ARRAY_LEN(figures), N - k, &rng);
	}
	for (size_t i = 0; i < ARRAY_LEN(f[0]); i++) {
		double width = f[1][i].high - f[1][i].low;

		assert_true(width > 0);
		assert_true(fabs(f[0][i].low - f[1][i].low) < 0.15 * width);
		assert_true(fabs(f[0][i].high - f[1][i].high) < 0.15 * width);
	}
}

/* Requests without a value are drawn but count for nothing: the figure of the others is as without
 * them, and fewer than the least make none. */
static void test_missing_values(void **state)
{
	enum { N = 40 };
	double some[N], few[N], none[N];
	struct draw_figure f[] = {
		{some, NULL, 99, 0, 0}, {few, NULL, -1, 0, 0}, {none, NULL, 50, 0, 0}};
	struct rng rng;

	(void)state;
	for (int i = 0; i < N; i++) {
		some[i] = i % 2 ? NAN : 7;
		few[i] = i < BOOTSTRAP_LEAST - 1 ? i : NAN;
		none[i] = NAN;
	}
	rng_init(&rng, 1, "draws", 0);
	bootstrap_figures(f, ARRAY_LEN(f), N, &rng);
	assert_true(f[0].low == 7 && f[0].high == 7);
	assert_true(isnan(f[1].low) && isnan(f[1].high));
	assert_true(isnan(f[2].low) && isnan(f[2].high));
}

/* ---- of a point ---- */

static const struct synth_engine jittery = {
	.prefill_ms = 20, .step_ms = 5, .constant = true, .jitter = 0.3};

static void measure(struct point *p, const struct scenario *s, int64_t n, uint64_t seed)
{
	struct synth_run run;

	synth_run_init(&run, seed);
	synth_level(&run, &jittery, s, 0, 0, 0, 0, n, 20, 0);
	synth_point(p, &run, s, 0, (size_t)n, 0);
	synth_run_release(&run);
}

/* Which figures have one: those that are the headline of this load, percentiles with samples
 * enough, and nothing with a handful of requests. */
static void test_where_they_exist(void **state)
{
	static const struct {
		int64_t n;
		enum load_kind kind;
		bool mean, p99;
	} cases[] = {{7, LOAD_CLOSED, false, false},
		     {100, LOAD_CLOSED, true, false},
		     {700, LOAD_CLOSED, true, true},
		     {100, LOAD_OPEN, true, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct level level = {.kind = cases[i].kind, .concurrency = 4, .rate_per_s = 5};
		struct scenario s = {.seed = 3, .levels = &level, .n_levels = 1};
		bool open = cases[i].kind == LOAD_OPEN;
		enum metric headline = headline_ttft(&level), other = open ? M_TTFT : M_TTFT_SCHED;
		struct point p;

		measure(&p, &s, cases[i].n, 1);
		assert_int_equal(!isnan(p.ci[headline][S_MEAN].low), cases[i].mean);
		assert_int_equal(!isnan(p.ci[M_TPOT][S_P50].high), cases[i].mean);
		assert_int_equal(!isnan(p.ci[headline_e2el(&level)][S_P99].low), cases[i].p99);
		assert_int_equal(!isnan(p.output_tokens_per_s_ci.low), cases[i].mean);
		assert_true(isnan(p.ci[other][S_MEAN].low));
		if (!cases[i].mean)
			continue;
		assert_true(p.ci[headline][S_MEAN].low < p.m[headline][S_MEAN]);
		assert_true(p.ci[headline][S_MEAN].high > p.m[headline][S_MEAN]);
		assert_true(p.output_tokens_per_s_ci.low < p.output_tokens_per_s);
		assert_true(p.output_tokens_per_s_ci.high > p.output_tokens_per_s);
	}
}

static void test_same_seed(void **state)
{
	struct level level = {.kind = LOAD_CLOSED, .concurrency = 4};
	struct scenario s = {.seed = 3, .levels = &level, .n_levels = 1};
	struct point a, b, c;

	(void)state;
	measure(&a, &s, 100, 1);
	measure(&b, &s, 100, 1);
	s.seed = 4;
	measure(&c, &s, 100, 1);
	assert_true(a.ci[M_TTFT][S_MEAN].low == b.ci[M_TTFT][S_MEAN].low);
	assert_true(a.output_tokens_per_s_ci.high == b.output_tokens_per_s_ci.high);
	assert_true(a.ci[M_TTFT][S_MEAN].low != c.ci[M_TTFT][S_MEAN].low);
}

/* One repeat shows the interval over its requests, several Student's t over them; a figure without
 * either has a band without width. */
static void test_which_a_curve_shows(void **state)
{
	struct level level = {.kind = LOAD_CLOSED, .concurrency = 4};
	struct scenario s = {.seed = 3, .levels = &level, .n_levels = 1};
	const size_t ttft = POINT_METRIC(M_TTFT, S_MEAN), p99 = POINT_METRIC(M_TTFT, S_P99);
	struct point a, b;
	const struct point *both[] = {&a, &b};
	struct curve_point at = {.repeats = both, .n = 1};
	struct interval x;

	(void)state;
	measure(&a, &s, 100, 1);
	measure(&b, &s, 100, 2);
	x = curve_interval(&at, ttft);
	assert_true(x.mid == a.m[M_TTFT][S_MEAN]);
	assert_true(x.low == a.ci[M_TTFT][S_MEAN].low && x.high == a.ci[M_TTFT][S_MEAN].high);
	assert_true(curve_band(&at, ttft).low == x.low);
	assert_true(isnan(curve_interval(&at, p99).low));
	assert_true(curve_band(&at, p99).low == a.m[M_TTFT][S_P99]);

	at.n = 2;
	x = curve_interval(&at, ttft);
	assert_true(x.mid == (a.m[M_TTFT][S_MEAN] + b.m[M_TTFT][S_MEAN]) / 2);
	assert_true(fabs((x.high - x.mid) - curve_spread(&at, ttft).half) < 1e-9);
	assert_true(curve_band(&at, ttft).low == fmin(a.m[M_TTFT][S_MEAN], b.m[M_TTFT][S_MEAN]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coverage),       cmocka_unit_test(test_many),
		cmocka_unit_test(test_missing_values), cmocka_unit_test(test_where_they_exist),
		cmocka_unit_test(test_same_seed),      cmocka_unit_test(test_which_a_curve_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
