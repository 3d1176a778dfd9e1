/*
 * Arrivals: exact where they are exact, with the mean and spread of their kind where they are
 * random, rescaled or not, cut at the duration, one stream a level and repeat.
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
#include "base/clock.h"
#include "loadgen/arrival.h"

static struct level open_level(double rate, enum arrival_kind kind, double burstiness)
{
	return (struct level){
		.kind = LOAD_OPEN, .rate_per_s = rate, .arrival = kind, .burstiness = burstiness};
}

static void test_constant(void **state)
{
	struct level l = open_level(3, ARRIVAL_CONSTANT, 1);
	int64_t n, *at;

	(void)state;
	l.requests = 6;
	at = arrival_times(&l, NULL, 1, 0, 0, &n);
	assert_int_equal(n, 6);
	assert_int_equal(at[0], 333333333);
	assert_int_equal(at[1], 666666667);
	assert_int_equal(at[5], 2 * NS_PER_S);
	free(at);

	/* Below the duration, not at it: 1 s holds the arrivals at 1/3 and 2/3 only. */
	l.requests = 0;
	l.duration_ns = NS_PER_S;
	at = arrival_times(&l, NULL, 1, 0, 0, &n);
	assert_int_equal(n, 2);
	free(at);

	/* No error builds up: the last of an hour at a rate that is no binary fraction. */
	l = open_level(0.1, ARRIVAL_CONSTANT, 1);
	l.requests = 360;
	at = arrival_times(&l, NULL, 1, 0, 0, &n);
	assert_int_equal(at[359], 3600 * NS_PER_S);
	free(at);
}

/* The count up to each time is that of the integrated rate. */
static void test_ramp(void **state)
{
	static const struct {
		double from, to;
	} row[] = {{1, 39}, {39, 1}, {20, 20}, {0.001, 40}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct level l = {.kind = LOAD_OPEN,
				  .arrival = ARRIVAL_RAMP,
				  .from_per_s = row[i].from,
				  .to_per_s = row[i].to,
				  .rate_per_s = (row[i].from + row[i].to) / 2,
				  .duration_ns = 1000 * NS_PER_S};
		double half = row[i].from * 500 + (row[i].to - row[i].from) * 500 * 500 / 2000;
		int64_t n, m, *at = arrival_times(&l, NULL, 5, 0, 0, &n), before = 0;

		assert_true(fabs((double)n - 1000 * l.rate_per_s) < 4 * sqrt(1000 * l.rate_per_s));
		for (int64_t k = 0; k < n; k++) {
			assert_true(k == 0 || at[k] >= at[k - 1]);
			assert_true(at[k] < l.duration_ns);
			before += at[k] < 500 * NS_PER_S;
		}
		assert_true(fabs((double)before - half) < 4 * sqrt(half));
		free(at);

		/* By requests: the last of N comes when N were to be expected. */
		l.duration_ns = 0;
		l.requests = 2000;
		at = arrival_times(&l, NULL, 5, 0, 0, &n);
		assert_int_equal(n, 2000);
		assert_true(fabs((double)at[n - 1] / 1e9 - 2000 / l.rate_per_s) < 1e-6);
		free(at);

		/* Both: N of the ramp that takes the duration. */
		l.duration_ns = 1000 * NS_PER_S;
		l.requests = 10;
		at = arrival_times(&l, NULL, 5, 0, 0, &m);
		assert_int_equal(m, 10);
		free(at);
	}
}

static void test_trace(void **state)
{
	static const char text[] = "Timestamp,Request tokens,Response tokens\n"
				   "10,5,5\n10,5,5\n10.001,5,5\n13,5,5\n15.999,5,5\n20,5,5\n";
	struct level l = {
		.kind = LOAD_OPEN, .arrival = ARRIVAL_TRACE, .rate_per_s = NAN, .speed = 2};
	static const int64_t exact_ms[] = {0, 0, 1, 3000, 5999, 10000};
	static const int64_t step[] = {0, 0, 0, 1, 2, 3}; /* of 3 s */
	struct trace t = {0};
	int64_t n, *at;
	struct err e;

	(void)state;
	assert_int_equal(trace_parse(&t, "t.csv", text, sizeof(text) - 1, &e), RC_OK);
	at = arrival_times(&l, &t, 1, 0, 0, &n);
	assert_int_equal(n, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(at[i], exact_ms[i] * NS_PER_MS / 2);
	free(at);

	l.speed = 1;
	l.spread_ns = 3 * NS_PER_S;
	at = arrival_times(&l, &t, 1, 0, 0, &n);
	for (int i = 0; i < 6; i++) {
		assert_true(at[i] >= step[i] * l.spread_ns && at[i] < (step[i] + 1) * l.spread_ns);
		assert_true(i == 0 || at[i] > at[i - 1]);
	}
	free(at);

	l.spread_ns = 0;
	l.span_ns = 3 * NS_PER_S; /* in the trace's time; what is at 3 s is beyond */
	free(arrival_times(&l, &t, 1, 0, 0, &n));
	assert_int_equal(n, 3);
	l.span_ns = 0;
	l.requests = 4;
	free(arrival_times(&l, &t, 1, 0, 0, &n));
	assert_int_equal(n, 4);
	l.requests = 0;
	l.duration_ns = 6 * NS_PER_S; /* in ours */
	free(arrival_times(&l, &t, 1, 0, 0, &n));
	assert_int_equal(n, 5);
	trace_release(&t);
}

static void test_all_at_once(void **state)
{
	struct level l = open_level(HUGE_VAL, ARRIVAL_POISSON, 1);
	int64_t n, *at;

	(void)state;
	l.requests = 5;
	at = arrival_times(&l, NULL, 1, 0, 0, &n);
	assert_int_equal(n, 5);
	for (int64_t i = 0; i < n; i++)
		assert_int_equal(at[i], 0);
	free(at);
}

struct gaps {
	int64_t n;
	double mean_s, cv;
};

static struct gaps gaps_of(const int64_t *at, int64_t n)
{
	double sum = 0, squares = 0;

	for (int64_t i = 0; i < n; i++) {
		double gap = (double)(at[i] - (i ? at[i - 1] : 0)) / 1e9;

		assert_true(gap >= 0);
		sum += gap;
		squares += gap * gap;
	}
	return (struct gaps){n, sum / (double)n,
			     sqrt(squares / (double)n - sum * sum / (double)n / (double)n) /
				     (sum / (double)n)};
}

/* cv of the gaps is 1 / sqrt(burstiness). n = 20,000: the mean's standard error is cv / 141. */
static void test_kinds(void **state)
{
	static const struct {
		enum arrival_kind kind;
		double burstiness, cv;
	} row[] = {
		{ARRIVAL_POISSON, 1, 1}, {ARRIVAL_GAMMA, 1, 1},	    {ARRIVAL_GAMMA, 0.25, 2},
		{ARRIVAL_GAMMA, 4, 0.5}, {ARRIVAL_GAMMA, 100, 0.1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct level l = open_level(50, row[i].kind, row[i].burstiness);
		struct gaps plain, scaled, timed;
		int64_t n, *at;

		l.requests = 20000;
		at = arrival_times(&l, NULL, 42, 0, 0, &n);
		scaled = gaps_of(at, n);
		assert_int_equal(at[n - 1], 400 * NS_PER_S); /* N / rate */
		free(at);
		assert_true(fabs(scaled.cv - row[i].cv) < 0.08 * row[i].cv);

		l.renewal = true;
		at = arrival_times(&l, NULL, 42, 0, 0, &n);
		plain = gaps_of(at, n);
		assert_int_not_equal(at[n - 1], 400 * NS_PER_S);
		free(at);
		assert_true(fabs(plain.mean_s * 50 - 1) < 0.04 * row[i].cv);
		/* The same draws, stretched. */
		assert_true(fabs(plain.cv - scaled.cv) < 1e-6);

		l.renewal = false;
		l.requests = 0;
		l.duration_ns = 400 * NS_PER_S;
		at = arrival_times(&l, NULL, 42, 0, 0, &n);
		timed = gaps_of(at, n);
		assert_true(at[n - 1] < l.duration_ns);
		free(at);
		assert_true(fabs((double)timed.n / 20000 - 1) < 0.04 * row[i].cv);
		/* The renewal process itself: never stretched. */
		assert_true(fabs(timed.mean_s / plain.mean_s - 1) < 0.05 * row[i].cv);
	}
}

static void test_both_ends(void **state)
{
	struct level l = open_level(10, ARRIVAL_POISSON, 1);
	int64_t n, cut, *all, *at;

	(void)state;
	l.requests = 100;
	all = arrival_times(&l, NULL, 5, 0, 0, &n);
	l.duration_ns = 4 * NS_PER_S;
	at = arrival_times(&l, NULL, 5, 0, 0, &cut);
	assert_true(cut > 20 && cut < 60);
	assert_memory_equal(at, all, (size_t)cut * sizeof(*at));
	assert_true(all[cut] >= l.duration_ns);
	free(at);
	l.duration_ns = 60 * NS_PER_S;
	at = arrival_times(&l, NULL, 5, 0, 0, &cut);
	assert_int_equal(cut, 100);
	free(at);
	free(all);
}

/* Gaps of a tiny shape may all underflow to nothing; huge ones must not overflow. */
static void test_extreme_shapes(void **state)
{
	static const double burstiness[] = {1e-3, 1e6};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(burstiness); i++) {
		for (int repeat = 0; repeat < 20; repeat++) {
			struct level l = open_level(1, ARRIVAL_GAMMA, burstiness[i]);
			int64_t n, *at;

			l.requests = 3;
			l.renewal = repeat % 2;
			at = arrival_times(&l, NULL, 1, 0, repeat, &n);
			assert_int_equal(n, 3);
			assert_true(at[0] >= 0 && at[0] <= at[1] && at[1] <= at[2]);
			assert_true(at[2] <= INT64_MAX / 2);
			free(at);
		}
	}
}

static void test_streams(void **state)
{
	static const struct {
		uint64_t seed;
		int level, repeat;
		bool same;
	} row[] = {{1, 0, 0, true}, {2, 0, 0, false}, {1, 1, 0, false}, {1, 0, 1, false}};
	struct level l = open_level(10, ARRIVAL_POISSON, 1);
	int64_t n, *first;

	(void)state;
	l.requests = 50;
	first = arrival_times(&l, NULL, 1, 0, 0, &n);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		int64_t *at = arrival_times(&l, NULL, row[i].seed, row[i].level, row[i].repeat, &n);

		assert_int_equal(memcmp(at, first, (size_t)n * sizeof(*at)) == 0, row[i].same);
		free(at);
	}
	free(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ramp),	       cmocka_unit_test(test_trace),
		cmocka_unit_test(test_constant),       cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_kinds),	       cmocka_unit_test(test_both_ends),
		cmocka_unit_test(test_extreme_shapes), cmocka_unit_test(test_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
