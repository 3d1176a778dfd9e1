/*
 * From logits to a token. What is drawn is compared with probabilities that a naive reading of
 * serve/sampling.h gives: sort everything, cut, normalise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "model/sampler.h"

enum { MAX_VOCAB = 300 };

static struct genreq *request(const int32_t *tokens, int32_t n_prompt, int32_t n_output)
{
	struct genreq *r = genreq_new(1, NULL, tokens, n_prompt, 100);

	for (int32_t i = 0; i < n_output; i++)
		genreq_push_token(r, tokens[n_prompt + i], -1, INT32_MAX);
	r->sampling = sampling_new();
	return r;
}

static int32_t pick(const struct genreq *r, const float *logits, int32_t n, const int32_t *end_ids,
		    int32_t n_end_ids)
{
	struct sampler *s = sampler_new(n);
	float row[MAX_VOCAB];
	int32_t token;

	memcpy(row, logits, (size_t)n * sizeof(*row));
	token = sampler_pick(s, r, row, end_ids, n_end_ids, NULL);
	sampler_free(s);
	return token;
}

/* Prompt 0 1, output 2 2 3; greedy. Which wish moves the choice where. */
static void test_greedy(void **state)
{
	static const int32_t tokens[] = {0, 1, 2, 2, 3}, end_ids[] = {4};
	static struct logit_bias up5[] = {{5, 3.5F}}, outside[] = {{-1, 100}, {6, 100}};
	static const struct {
		const char *what;
		float logits[6];
		double presence, frequency, repetition;
		struct logit_bias *bias;
		int32_t n_bias, min_tokens, stop_id, want;
	} cases[] = {
		{"highest", {0, 1, 5, 3, 2, 4}, 0, 0, 1, NULL, 0, 0, -1, 2},
		{"lowest id of equals", {0, 5, 5, 3, 5, 4}, 0, 0, 1, NULL, 0, 0, -1, 1},
		{"no number", {NAN, 1, NAN, 3, 2, NAN}, 0, 0, 1, NULL, 0, 0, -1, 3},
		{"all below zero", {-9, -8, -7, -7.5F, -8, -9}, 0, 0, 1, NULL, 0, 0, -1, 2},
		{"presence, output only", {5, 4.9F, 5.5F, 3, 2, 4}, 1, 0, 1, NULL, 0, 0, -1, 0},
		{"presence counts once", {0, 0, 5, 0, 0, 3.5F}, 1, 0, 1, NULL, 0, 0, -1, 2},
		{"frequency counts twice", {0, 0, 5, 0, 0, 3.5F}, 0, 1, 1, NULL, 0, 0, -1, 5},
		{"frequency below zero", {0, 0, 3, 0, 0, 3.5F}, 0, -1, 1, NULL, 0, 0, -1, 2},
		{"repetition, prompt too", {5, 0, 0, 0, 0, 3}, 0, 0, 2, NULL, 0, 0, -1, 5},
		{"repetition counts once", {0, 0, 5, 0, 0, 2}, 0, 0, 2, NULL, 0, 0, -1, 2},
		{"repetition of negatives", {-2, -2, -2, -2, -5, -3}, 0, 0, 2, NULL, 0, 0, -1, 5},
		{"bias", {5, 0, 0, 0, 0, 2}, 0, 0, 1, up5, 1, 0, -1, 5},
		{"bias of no token of ours", {0, 0, 0, 9, 0, 0}, 0, 0, 1, outside, 2, 0, -1, 3},
		{"bias before repetition", {0, 0, 0, 5, 0, -0.9F}, 0, 0, 2, up5, 1, 0, -1, 5},
		{"end allowed at min_tokens", {0, 0, 0, 0, 9, 1}, 0, 0, 1, NULL, 0, 3, -1, 4},
		{"no end before min_tokens", {0, 0, 0, 0, 9, 1}, 0, 0, 1, NULL, 0, 4, -1, 5},
		{"nor a stop id", {0, 0, 0, 1, 9, 8}, 0, 0, 1, NULL, 0, 4, 5, 3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct genreq *r = request(tokens, 2, 3);
		struct sampling *how = r->sampling;
		int32_t got;

		how->temperature = 0;
		how->presence_penalty = cases[i].presence;
		how->frequency_penalty = cases[i].frequency;
		how->repetition_penalty = cases[i].repetition;
		how->bias = cases[i].bias;
		how->n_bias = cases[i].n_bias;
		how->stop_id = xcalloc(1, sizeof(*how->stop_id));
		how->stop_id[0] = cases[i].stop_id;
		how->n_stop_ids = 1;
		r->min_tokens = cases[i].min_tokens;
		got = pick(r, cases[i].logits, 6, end_ids, 1);
		if (got != cases[i].want)
			fail_msg("%s: %d, want %d", cases[i].what, got, cases[i].want);
		how->bias = NULL;
		genreq_free(r);
	}
}

static void test_no_wishes_is_greedy(void **state)
{
	static const float logits[] = {1, 3, 2};
	static const int32_t prompt[] = {0}, end_ids[] = {1};
	struct genreq *r = genreq_new(1, NULL, prompt, 1, 5);

	(void)state;
	assert_int_equal(pick(r, logits, 3, end_ids, 1), 1);
	r->min_tokens = 1;
	assert_int_equal(pick(r, logits, 3, end_ids, 1), 2);
	genreq_free(r);
}

/* ---- distributions ---- */

struct shape {
	const char *what;
	double temperature;
	int32_t top_k;
	double top_p, min_p;
};

struct entry {
	double p;
	int32_t token;
};

static int by_p_then_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->p != y->p)
		return x->p < y->p ? 1 : -1;
	return (x->token > y->token) - (x->token < y->token);
}

static void normalise(struct entry *e, int32_t n)
{
	double sum = 0;

	for (int32_t i = 0; i < n; i++)
		sum += e[i].p;
	for (int32_t i = 0; i < n; i++)
		e[i].p /= sum;
}

/* The probabilities by id. */
static void naive(const struct shape *how, const float *logits, int32_t n, double *p)
{
	struct entry e[MAX_VOCAB];
	double sum = 0, most = logits[0];
	int32_t kept = how->top_k > 0 && how->top_k < n ? how->top_k : n, n_top_p = 0, n_min_p = 0;

	for (int32_t i = 0; i < n; i++)
		most = fmax(most, logits[i]);
	for (int32_t i = 0; i < n; i++)
		e[i] = (struct entry){exp((logits[i] - most) / how->temperature), i};
	qsort(e, (size_t)n, sizeof(*e), by_p_then_id);
	normalise(e, kept);
	while (n_top_p < kept && (n_top_p == 0 || (how->top_p < 1 ? sum < how->top_p : true)))
		sum += e[n_top_p++].p;
	while (n_min_p < n_top_p && e[n_min_p].p >= how->min_p * e[0].p)
		n_min_p++;
	normalise(e, n_min_p);
	memset(p, 0, (size_t)n * sizeof(*p));
	for (int32_t i = 0; i < n_min_p; i++)
		p[e[i].token] = e[i].p;
}

/* Pearson's statistic over the tokens expected five times or more, the rest in one bin. Its mean is
 * about its degrees of freedom, its variance twice that: six standard deviations above is a bug,
 * and with fixed seeds it is no matter of luck. */
static void compare(const struct shape *how, const float *logits, int32_t n)
{
	static const int32_t prompt[] = {0};
	enum { DRAWS = 2000 };
	struct genreq *r = request(prompt, 1, 0);
	struct sampler *s = sampler_new(n);
	double p[MAX_VOCAB], chi2 = 0, rest_want = 0;
	int32_t seen[MAX_VOCAB] = {0}, rest_seen = 0, dof = -1;
	float row[MAX_VOCAB];

	naive(how, logits, n, p);
	r->sampling->temperature = how->temperature;
	r->sampling->top_k = how->top_k;
	r->sampling->top_p = how->top_p;
	r->sampling->min_p = how->min_p;
	for (int32_t i = 0; i < DRAWS; i++) {
		int32_t token;

		r->seed = (uint64_t)i;
		memcpy(row, logits, (size_t)n * sizeof(*row));
		token = sampler_pick(s, r, row, NULL, 0, NULL);
		assert_in_range(token, 0, n - 1);
		seen[token]++;
	}
	for (int32_t i = 0; i < n; i++) {
		double want = p[i] * DRAWS;

		if (p[i] == 0 && seen[i] > 0)
			fail_msg("%s: token %d should never be drawn", how->what, i);
		if (want < 5) {
			rest_want += want;
			rest_seen += seen[i];
			continue;
		}
		chi2 += (seen[i] - want) * (seen[i] - want) / want;
		dof++;
	}
	if (rest_want >= 5) {
		chi2 += (rest_seen - rest_want) * (rest_seen - rest_want) / rest_want;
		dof++;
	}
	if (dof > 0 && chi2 > dof + 6 * sqrt(2.0 * dof))
		fail_msg("%s: chi-square %.1f with %d degrees of freedom", how->what, chi2, dof);
	sampler_free(s);
	genreq_free(r);
}

static void test_distributions(void **state)
{
	static const struct shape shapes[] = {
		{"as it is", 1, 0, 1, 0},
		{"hot", 2.5, 0, 1, 0},
		{"cold", 0.4, 0, 1, 0},
		{"nearly frozen", 1e-30, 0, 1, 0},
		{"top_k", 1, 7, 1, 0},
		{"top_k of one", 3, 1, 1, 0},
		{"top_k of all", 1, MAX_VOCAB, 1, 0},
		{"top_k of more than there are", 1, 10000, 0.55, 0},
		{"top_p", 1, 0, 0.8, 0},
		{"top_p, hot", 2, 0, 0.95, 0},
		{"top_p of nothing keeps one", 1, 0, 0, 0},
		{"min_p", 1, 0, 1, 0.1},
		{"min_p of one", 1, 0, 1, 1},
		{"top_k before top_p", 1.5, 10, 0.6, 0},
		{"top_k, top_p, min_p", 2, 20, 0.9, 0.3},
		{"top_p before min_p", 2, 0, 0.7, 0.2},
	};
	float spread[MAX_VOCAB], equal[12], step[MAX_VOCAB];
	struct rng rng;

	(void)state;
	rng_init(&rng, 1, "test", 0);
	for (int32_t i = 0; i < MAX_VOCAB; i++) {
		spread[i] = (float)(8 * rng_unit(&rng) * rng_unit(&rng) - 20);
		step[i] = i % 50 == 3 ? 5.0F : -1.0F; /* six of equal height, and a floor */
	}
	for (size_t i = 0; i < ARRAY_LEN(equal); i++)
		equal[i] = 0.5F;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		compare(&shapes[i], spread, MAX_VOCAB);
		compare(&shapes[i], step, MAX_VOCAB);
		compare(&shapes[i], equal, ARRAY_LEN(equal));
	}
}

/* The draw depends on the seed and the place in the answer, and on nothing else; places of one
 * answer are independent. */
static void test_seed_and_place(void **state)
{
	static const int32_t tokens[100] = {0};
	const float logits[4] = {0, 0, 0, 0};
	int32_t seen[4] = {0};

	(void)state;
	for (int32_t place = 0; place < 90; place++) {
		struct genreq *a = request(tokens, 1, place), *b = request(tokens, 10, place);
		int32_t token;

		a->seed = b->seed = 77;
		a->id = 5;
		token = pick(a, logits, 4, NULL, 0);
		assert_int_equal(token, pick(b, logits, 4, NULL, 0));
		seen[token]++;
		genreq_free(a);
		genreq_free(b);
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(seen[i], 10, 40);
}

/* Scratch is left as it was found: a pick with penalties does not colour the next one. */
static void test_scratch_is_clean(void **state)
{
	static const int32_t tokens[] = {0, 1, 1, 1};
	static const float logits[] = {1, 2, 1.5F};
	struct genreq *r = request(tokens, 1, 3);
	struct sampler *s = sampler_new(3);
	float row[3];

	(void)state;
	r->sampling->temperature = 0;
	r->sampling->repetition_penalty = 1.1;
	r->sampling->frequency_penalty = 0.2;
	for (int i = 0; i < 3; i++) {
		memcpy(row, logits, sizeof(row));
		assert_int_equal(sampler_pick(s, r, row, NULL, 0, NULL), 2);
	}
	genreq_free(r);
	sampler_free(s);
}

/* ---- logprobs ---- */

static void test_logprobs(void **state)
{
	static const int32_t prompt[] = {0};
	const float logits[5] = {1, 3, 2, 3, -1};
	double sum = 0;

	(void)state;
	for (int i = 0; i < 5; i++)
		sum += exp((double)logits[i]);
	for (int32_t n = 0; n <= 7; n++) {
		static const int32_t order[] = {1, 3, 2, 0, 4};
		struct genreq *r = request(prompt, 1, 0);
		struct sampler *s = sampler_new(5);
		struct token_logprob got[9];
		float row[5];

		r->sampling->n_logprobs = n;
		r->sampling->temperature = 0;
		r->sampling->bias = xcalloc(1, sizeof(*r->sampling->bias));
		r->sampling->bias[0] = (struct logit_bias){2, 100}; /* chosen; of raw rank 3 */
		r->sampling->n_bias = 1;
		memset(got, 0xee, sizeof(got));
		memcpy(row, logits, sizeof(row));
		assert_int_equal(sampler_pick(s, r, row, NULL, 0, got), 2);
		assert_int_equal(got[0].token, 2);
		assert_int_equal(got[0].rank, 3);
		assert_float_equal(got[0].logprob, 2 - log(sum), 1e-6);
		for (int32_t i = 0; i < n; i++) {
			assert_int_equal(got[1 + i].token, i < 5 ? order[i] : -1);
			assert_int_equal(got[1 + i].rank, i + 1);
			if (i < 5)
				assert_float_equal(got[1 + i].logprob, logits[order[i]] - log(sum),
						   1e-6);
		}
		assert_int_equal(got[1 + n].rank, (int32_t)0xeeeeeeee); /* and nothing behind */
		genreq_free(r);
		sampler_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greedy),		 cmocka_unit_test(test_no_wishes_is_greedy),
		cmocka_unit_test(test_distributions),	 cmocka_unit_test(test_seed_and_place),
		cmocka_unit_test(test_scratch_is_clean), cmocka_unit_test(test_logprobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
