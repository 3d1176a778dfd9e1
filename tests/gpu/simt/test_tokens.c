/* Adjusted logits, picked tokens and their logprobs, against plain C that sorts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"

static const struct gpu_sampling neutral = {
	.temperature = 1, .top_p = 1, .repetition = 1, .n_logprobs = -1};

static struct gpu_logits upload(const float *logits, int32_t n_vocab, int32_t m,
				const struct gpu_sampling *how)
{
	return (struct gpu_logits){
		.logits = device_copy(logits, (size_t)m * (size_t)n_vocab * sizeof(*logits)),
		.n_vocab = n_vocab,
		.m = m,
		.sampling = device_copy(how, (size_t)m * sizeof(*how))};
}

static int32_t pick_one(const float *logits, int32_t n_vocab, const struct gpu_sampling *how)
{
	struct gpu_logits l = upload(logits, n_vocab, 1, how);
	int32_t *token = device(sizeof(*token)), got;

	OK(gpu_pick(&bench_queue, &l, token, NULL));
	read_device(&got, token, sizeof(got));
	return got;
}

/* ---- greedy ---- */

static void greedy(void)
{
	struct gpu_sampling how = neutral;
	float logits[1500];

	how.temperature = 0;
	for (size_t i = 0; i < 1500; i++)
		logits[i] = next_number() * 5;
	logits[1499] = 9;
	assert_int_equal(pick_one(logits, 1500, &how), 1499);
	logits[513] = logits[700] = 9; /* of equal ones the lowest */
	assert_int_equal(pick_one(logits, 1500, &how), 513);
	logits[20] = NAN;
	assert_int_equal(pick_one(logits, 1500, &how), 513);
	assert_int_equal(pick_one(logits, 1, &how), 0);
	for (size_t i = 0; i < 40; i++)
		logits[i] = -INFINITY;
	assert_int_equal(pick_one(logits, 40, &how), 0);
}

static void test_greedy(void **state)
{
	(void)state;
	bench_orders(greedy);
}

/* ---- what a draw may give, and how often ---- */

struct likely {
	double weight;
	int32_t token;
};

static int by_weight(const void *a, const void *b)
{
	const struct likely *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return x->token < y->token ? -1 : 1;
}

/* Probability of each token, as serve/sampling.h has it. */
static void want_probabilities(const float *logits, int32_t n, const struct gpu_sampling *how,
			       double *p)
{
	struct likely *all = host((size_t)n * sizeof(*all));
	double most = -INFINITY, total = 0, mass = 0;
	int32_t limit = how->top_k > 0 && how->top_k < n ? how->top_k : n, kept = 0;

	for (int32_t i = 0; i < n; i++)
		most = fmax(most, logits[i]);
	for (int32_t i = 0; i < n; i++)
		all[i] = (struct likely){exp((logits[i] - most) / how->temperature), i};
	qsort(all, (size_t)n, sizeof(*all), by_weight);
	for (int32_t i = 0; i < limit; i++)
		total += all[i].weight;
	while (kept < limit && (kept == 0 || mass < (double)how->top_p * total * (1 - 1e-9)) &&
	       all[kept].weight >= how->min_p)
		mass += all[kept++].weight;
	memset(p, 0, (size_t)n * sizeof(*p));
	for (int32_t i = 0; i < kept; i++)
		p[all[i].token] = all[i].weight / mass;
}

/* Many draws at once: a row each, by position. Their frequencies are within 5 sigma. */
static void check_draws(const float *logits, int32_t n, const struct gpu_sampling *how)
{
	enum { DRAWS = 150 };
	float *rows = host((size_t)n * DRAWS * sizeof(*rows));
	struct gpu_sampling *each = host(DRAWS * sizeof(*each));
	int32_t *tokens = device(DRAWS * sizeof(*tokens)),
		*count = host((size_t)n * sizeof(*count));
	double *p = host((size_t)n * sizeof(*p));
	struct gpu_logits l;

	for (int32_t i = 0; i < DRAWS; i++) {
		memcpy(rows + (size_t)i * (size_t)n, logits, (size_t)n * sizeof(*rows));
		each[i] = *how;
		each[i].position = i;
		each[i].seed = 0x123456789abcdefu;
	}
	l = upload(rows, n, DRAWS, each);
	OK(gpu_pick(&bench_queue, &l, tokens, NULL));
	want_probabilities(logits, n, how, p);
	for (int32_t i = 0; i < DRAWS; i++) {
		assert_in_range(tokens[i], 0, n - 1);
		count[tokens[i]]++;
	}
	for (int32_t i = 0; i < n; i++) {
		if (p[i] == 0)
			assert_int_equal(count[i], 0);
		expect_near("draws", (size_t)i, count[i], p[i] * DRAWS,
			    5 * sqrt(p[i] * (1 - p[i]) * DRAWS) + 1e-9);
	}
	bench_release();
}

static void test_draws(void **state)
{
	enum { N = 30 };
	static const struct gpu_sampling ways[] = {
		{.temperature = 1, .top_p = 1},
		{.temperature = 0.5F, .top_p = 1, .top_k = 5},
		{.temperature = 2, .top_p = 0.6F},
		{.temperature = 1.3F, .top_p = 0.9F, .top_k = 12},
		{.temperature = 1, .top_p = 1, .min_p = 0.2F},
		{.temperature = 1, .top_p = 0.8F, .top_k = 20, .min_p = 0.05F},
		{.temperature = 1, .top_p = 0.001F},
		{.temperature = 1, .top_p = 1, .top_k = 1},
	};
	float logits[N], equal[N];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		logits[i] = next_number() * 3;
		equal[i] = i % 7 == 0 ? 2 : 1; /* ties, of few and of many */
	}
	logits[3] = -INFINITY;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		check_draws(logits, N, &ways[i]);
		check_draws(equal, N, &ways[i]);
	}
}

/* A long vocabulary, where ranges of warps are many tokens: nothing outside of the kept is drawn,
 * and a draw depends on seed and position alone. */
static void drawn_from_many(void)
{
	enum { N = 5003, M = 3 };
	float *logits = numbers((size_t)N * M, 6);
	struct gpu_sampling how[M] = {neutral, neutral, neutral};
	int32_t *tokens = device(sizeof(int32_t) * M), first[M];
	double *p = host(N * sizeof(*p));
	struct gpu_logits l;

	how[0].top_k = 40;
	how[1].top_p = 0.3F;
	for (int32_t i = 0; i < M; i++) {
		how[i].seed = (uint64_t)i;
		how[i].position = 7;
	}
	l = upload(logits, N, M, how);
	OK(gpu_pick(&bench_queue, &l, tokens, NULL));
	read_device(first, tokens, sizeof(first));
	for (int32_t i = 0; i < M; i++) {
		want_probabilities(logits + (ptrdiff_t)i * N, N, &how[i], p);
		assert_true(first[i] >= 0 && first[i] < N && p[first[i]] > 0);
		assert_int_equal(pick_one(logits + (ptrdiff_t)i * N, N, &how[i]), first[i]);
	}
}

static void test_draw_from_many(void **state)
{
	(void)state;
	bench_orders(drawn_from_many);
}

/* ---- what moves single logits ---- */

static void adjusting(void)
{
	enum { N = 600, M = 2 };
	static const int32_t history[] = {5, 7, 5, 9, 9, 9, 599, 1, 2};
	static const struct gpu_logit_bias bias[] = {
		{0, 100}, {5, -2}, {599, 0.5F}, {600, 1}, {-1, 1}};
	static const int32_t forbidden[] = {2, 599};
	struct gpu_sampling how[M] = {neutral, neutral};
	float *logits = numbers((size_t)N * M, 4), *want = host(sizeof(float) * N);
	uint32_t *zero = host(sizeof(*zero) * N * M);
	struct gpu_adjust a = {.history = device_copy(history, sizeof(history)),
			       .bias = device_copy(bias, sizeof(bias)),
			       .forbidden = device_copy(forbidden, sizeof(forbidden)),
			       .seen = device_copy(zero, sizeof(*zero) * N * M),
			       .out = device(sizeof(float) * N * M)};
	struct gpu_logits l;

	logits[5] = 3;
	logits[9] = -3;
	how[0].presence = 0.25F;
	how[0].frequency = 0.5F;
	how[0].repetition = 1.5F;
	how[0].n_prompt = 3; /* 5 7 5, then 9 9 9 599 */
	how[0].n_tokens = 7;
	how[0].n_bias = 5;
	how[0].n_forbidden = 1;
	how[1].first_token = 7;
	how[1].n_tokens = 2;
	how[1].first_forbidden = 1;
	how[1].n_forbidden = 1;
	l = upload(logits, N, M, how);
	OK(gpu_adjust(&bench_queue, &l, &a, NULL));
	memcpy(want, logits, sizeof(float) * N);
	want[0] += 100;
	want[5] = 1 / 1.5F;
	want[7] = logits[7] > 0 ? logits[7] / 1.5F : logits[7] * 1.5F;
	want[9] = -4.5F - 0.25F - 1.5F;
	want[599] += 0.5F;
	want[599] = (want[599] > 0 ? want[599] / 1.5F : want[599] * 1.5F) - 0.75F;
	for (size_t i = 0; i < N; i++) {
		if (i == 2)
			assert_true(a.out[i] == -INFINITY);
		else
			expect_near("adjusted", i, a.out[i], want[i], 1e-5);
		if (i == 599)
			assert_true(a.out[N + i] == -INFINITY);
		else
			expect_near("untouched", i, a.out[N + i], logits[N + i], 0);
	}
	assert_memory_equal(a.seen, zero, sizeof(*zero) * N * M);
}

static void test_adjusting(void **state)
{
	(void)state;
	bench_orders(adjusting);
}

/* ---- logprobs ---- */

static void logprobs(void)
{
	enum { N = 700, M = 3, WIDTH = 1 + GPU_MAX_LOGPROBS };
	float *logits = numbers((size_t)N * M, 8);
	struct gpu_sampling how[M] = {neutral, neutral, neutral};
	int32_t tokens[M] = {3, 699, 0}, wanted[M] = {20, 0, -1};
	struct gpu_logprob *out = device(sizeof(*out) * WIDTH * M);
	struct likely *all = host(N * sizeof(*all));
	struct gpu_logits l;

	logits[10] = logits[11]; /* a tie */
	for (size_t i = 0; i < M; i++)
		how[i].n_logprobs = wanted[i];
	l = upload(logits, N, M, how);
	OK(gpu_logprobs(&bench_queue, &l, device_copy(tokens, sizeof(tokens)), out, NULL));
	for (size_t r = 0; r < M; r++) {
		const float *row = logits + r * N;
		double sum = 0;

		for (int32_t i = 0; i < N; i++) {
			sum += exp((double)row[i]);
			all[i] = (struct likely){row[i], i};
		}
		qsort(all, N, sizeof(*all), by_weight);
		for (int32_t i = 0; i <= wanted[r]; i++) {
			const struct gpu_logprob *got = &out[r * WIDTH + (size_t)i];
			int32_t rank = i;

			if (i == 0)
				for (rank = 1; all[rank - 1].token != tokens[r];)
					rank++;
			assert_int_equal(got->rank, rank);
			assert_int_equal(got->token, all[rank - 1].token);
			expect_near("logprob", (size_t)i, got->logprob, row[got->token] - log(sum),
				    2e-5);
		}
		for (size_t i = (size_t)wanted[r] + 1; i < WIDTH; i++)
			assert_int_equal(out[r * WIDTH + i].rank, -1); /* as it was */
	}
}

static void test_logprobs(void **state)
{
	(void)state;
	bench_orders(logprobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greedy),	       cmocka_unit_test(test_draws),
		cmocka_unit_test(test_draw_from_many), cmocka_unit_test(test_adjusting),
		cmocka_unit_test(test_logprobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
