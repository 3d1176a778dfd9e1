/*
 * The search for the best setting: what it tries of a grid and what it finds, on surfaces whose
 * best place is known because all of them are looked at; the values of a range; its words.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "loadgen/scenario.h"
#include "loadgen/search.h"

#define HEAD                                                                                       \
	"clock: virtual\ntargets: [{name: a, profile: kind-vllm-a100}]\n"                          \
	"workload: {prompts: {text: [hello]}}\nslo: {ttft: 1s}\n"                                  \
	"load: {open: {rate: 5, requests: 10}}\n"

static struct scenario *load(const char *head, const char *keys)
{
	char text[1024];
	struct scenario *s;
	struct err e;

	snprintf(text, sizeof(text), "%sfind: {max_goodput: {%s}}\n", head, keys);
	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_true(s->search);
	return s;
}

static void test_ranges(void **state)
{
	static const struct {
		const char *range, *values;
		bool rising;
	} rows[] = {
		{"{from: 8, to: 512}", "8 16 32 64 128 256 512", true},
		{"{from: 8, to: 100}", "8 16 32 64 100", true},
		{"{from: 1, to: 6, factor: 1.5}", "1 2 3 5 6", true}, /* whole, each once */
		{"{from: 0, to: 10, step: 4}", "0 4 8 10", true},
		{"{from: 0.25, to: 1}", "0.25 0.5 1", true},
		{"{from: 0, to: 0.3, step: 0.1}", "0 0.1 0.2 0.3", true},
		{"[3, 5, 9]", "3 5 9", true},
		{"[3, 9, 5]", "3 9 5", false},
		{"[fcfs, priority]", "fcfs priority", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char keys[128], values[128] = "";
		struct scenario *s;

		snprintf(keys, sizeof(keys), "target.profile.x: %s", rows[i].range);
		s = load(HEAD, keys);
		assert_int_equal(s->n_sweep, 1);
		for (int k = 0; k < s->sweep[0].n; k++) {
			size_t at = strlen(values);

			snprintf(values + at, sizeof(values) - at, "%s%s", k ? " " : "",
				 s->sweep[0].values[k]);
		}
		assert_string_equal(values, rows[i].values);
		assert_int_equal(s->sweep[0].rising, rows[i].rising);
		assert_int_equal(s->n_targets, s->sweep[0].n);
		scenario_free(s);
	}
}

/* ---- surfaces ---- */

struct surface {
	double top[3], width[3]; /* in shares of the axes */
	double lean;		 /* a ridge between the first two keys */
	double floor, second;	 /* below it all is flat; a lower summit elsewhere */
};

/* Requests/s that meet the SLO at a place. */
static double height(const struct scenario *s, const struct surface *f, int target)
{
	double x[3] = {0}, sum = 0, other = 0, v;

	for (int k = 0; k < s->n_sweep; k++) {
		double at = s->sweep[k].n > 1
				    ? (double)sweep_value(s, target, k) / (s->sweep[k].n - 1)
				    : 0;

		x[k] = (at - f->top[k]) / f->width[k];
		other += (at - (1 - f->top[k])) * (at - (1 - f->top[k])) / 0.02;
	}
	x[1] -= f->lean * x[0];
	for (int k = 0; k < s->n_sweep; k++)
		sum += x[k] * x[k];
	v = 10 / (1 + sum) + f->second * exp(-other);
	return floor(1000 * fmax(v, f->floor)) / 1000; /* ties */
}

static struct point measured(const struct scenario *s, int target, double goodput, bool met)
{
	return (struct point){
		.target = target,
		.planned = 10,
		.goodput_per_s = goodput,
		.goodput_share = met ? s->slo.share : 0.1,
		.output_tokens_per_s = 100,
	};
}

/* Carries the search out. Returns how many were tried; every place once. */
static size_t carry_out(const struct scenario *s, const struct surface *f, double met_from,
			struct point *points)
{
	int next[1000], n;
	bool tried[1000] = {false};
	size_t n_points = 0;

	while ((n = search_next(s, points, n_points, next)) > 0) {
		for (int i = 0; i < n; i++) {
			double h = height(s, f, next[i]);

			assert_false(tried[next[i]]);
			assert_true(i == 0 || next[i] > next[i - 1]);
			tried[next[i]] = true;
			points[n_points++] = measured(s, next[i], h, h >= met_from);
		}
	}
	return n_points;
}

/* The best of all, by looking at all. */
static int best_of_all(const struct scenario *s, const struct surface *f, int first)
{
	int best = first;

	for (int t = first; t < first + sweep_places(s); t++)
		if (height(s, f, t) > height(s, f, best))
			best = t;
	return best;
}

#define KEY(name) "target.profile." name ": {from: 1, to: 1000, "

static void test_finds(void **state)
{
	static const struct {
		const char *keys;
		size_t most; /* settings that it may try */
	} grids[] = {
		{KEY("a") "step: 10}", 30},
		{KEY("a") "step: 33}, " KEY("b") "step: 34}", 80},
		{KEY("a") "step: 125}, " KEY("b") "step: 125}, " KEY("c") "step: 125}", 100},
		{"target.profile.p: [fcfs, priority, x], " KEY("a") "step: 35}", 45},
	};
	struct rng rng;

	(void)state;
	rng_init(&rng, 7, "surfaces", 0);
	for (size_t g = 0; g < ARRAY_LEN(grids); g++) {
		struct scenario *s = load(HEAD, grids[g].keys);

		for (int round = 0; round < 16; round++) {
			struct surface f = {.floor = round % 3 ? 0 : 3};
			struct point points[1000];
			struct setting *of;
			struct searched found;
			size_t n;

			for (int k = 0; k < 3; k++) {
				f.top[k] = rng_unit(&rng);
				f.width[k] = 0.1 + rng_unit(&rng);
			}
			f.lean = s->n_sweep > 1 && s->sweep[0].rising ? rng_unit(&rng) - 0.5 : 0;
			n = carry_out(s, &f, round % 2 ? 0 : 6, points);
			of = settings_of_points(s, points, n);
			found = search_state(s, of, 0);
			assert_true(found.over);
			assert_int_equal(found.tried, n);
			assert_int_equal(found.best, best_of_all(s, &f, 0));
			assert_true(n <= grids[g].most);
			free(of);
		}
		scenario_free(s);
	}
}

/* A lower summit where the first climb ends, a higher one elsewhere: the second finds it. */
static void test_second_summit(void **state)
{
	const struct surface f = {
		.top = {0.3, 0.3}, .width = {0.4, 0.4}, .second = 12}; /* 10 there, 12 across */
	struct scenario *s = load(HEAD, KEY("a") "step: 50}, " KEY("b") "step: 50}");
	struct point points[1000];
	size_t n = carry_out(s, &f, 0, points);
	struct setting *of = settings_of_points(s, points, n);

	(void)state;
	assert_int_equal(search_state(s, of, 0).best, best_of_all(s, &f, 0));
	free(of);
	scenario_free(s);
}

/* Every target of the file for itself, and the places beside a summit have all been tried. */
static void test_two_targets(void **state)
{
	static const char head[] =
		"clock: virtual\ntargets: [{name: a, profile: kind-vllm-a100}, {name: b, profile: "
		"kind-vllm-a100}]\nworkload: {prompts: {text: [hello]}}\nslo: {ttft: 1s}\n"
		"load: {open: {rate: 5, requests: 10}}\n";
	const struct surface f = {.top = {0.2, 0.9}, .width = {0.5, 0.5}};
	struct scenario *s = load(head, KEY("a") "step: 100}, " KEY("b") "step: 100}");
	int places = sweep_places(s), beside[1000];
	struct point points[1000];
	size_t n = carry_out(s, &f, 0, points);
	struct setting *of = settings_of_points(s, points, n);

	(void)state;
	assert_int_equal(s->n_targets, 2 * places);
	for (int first = 0; first < s->n_targets; first += places) {
		struct searched x = search_state(s, of, first);
		int n_beside = search_neighbours(s, x.best, beside);

		assert_int_equal(x.best, best_of_all(s, &f, first));
		assert_true(search_is_best(s, of, x.best));
		assert_false(search_is_best(s, of, x.best == first ? first + 1 : first));
		assert_int_equal(n_beside, 4);
		for (int i = 0; i < n_beside; i++)
			assert_true(of[beside[i]].tried);
	}
	free(of);
	scenario_free(s);
}

static void test_words(void **state)
{
	const struct surface f = {.top = {0.5}, .width = {0.5}};
	struct scenario *s = load(HEAD, "target.profile.seqs: {from: 1, to: 8}");
	struct point points[1000];
	char words[512];
	struct setting *of = settings_of_points(s, points, 0);
	size_t n;

	(void)state;
	search_words(s, of, 0, words, sizeof(words));
	assert_string_equal(words, "no setting was tried");
	free(of);

	n = carry_out(s, &f, 0, points);
	of = settings_of_points(s, points, n);
	search_words(s, of, 0, words, sizeof(words));
	assert_string_equal(words, "a, seqs 2 is the best: 9 good requests/s at open 5/s (4 of 4 "
				   "settings tried)");
	free(of);

	of = settings_of_points(s, points, 1);
	search_words(s, of, 0, words, sizeof(words));
	assert_string_equal(words, "a, seqs 1 is the best: 5 good requests/s at open 5/s (the "
				   "search was cut short, 1 of 4 settings tried)");
	free(of);

	n = carry_out(s, &f, 11, points);
	of = settings_of_points(s, points, n);
	search_words(s, of, 0, words, sizeof(words));
	assert_string_equal(words, "no setting met the SLO at any load (4 of 4 settings tried); a, "
				   "seqs 2 came nearest, with 9 good requests/s");
	free(of);
	scenario_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),	      cmocka_unit_test(test_finds),
		cmocka_unit_test(test_second_summit), cmocka_unit_test(test_two_targets),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
