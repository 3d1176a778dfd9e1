/*
 * The search for the highest load: its grid, the order in which it tries, what it finds against
 * engines of known capacity, and that every state of it can be read off the points.
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
#include "loadgen/curve.h"
#include "loadgen/find.h"

#define HEAD                                                                                       \
	"targets: [{name: a, url: \"http://h:1\"}, {name: b, url: \"http://h:2\"}]\n"              \
	"workload: {prompts: {text: [hello]}}\nslo: {ttft: 1s}\n"

static struct scenario *load(const char *rest)
{
	char text[1024];
	struct scenario *s;
	struct err e;

	snprintf(text, sizeof(text), HEAD "%s\n", rest);
	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_true(s->find);
	return s;
}

static void test_grid(void **state)
{
	static const int clients[] = {1, 2, 3, 4, 6, 9, 12};
	struct scenario *s = load(
		"load: {find: {max_concurrency: {from: 1, to: 12, resolution: 0.5, requests: 5}}}");

	(void)state;
	assert_int_equal(s->n_levels, (int)ARRAY_LEN(clients));
	for (int i = 0; i < s->n_levels; i++) {
		assert_int_equal(s->levels[i].kind, LOAD_CLOSED);
		assert_int_equal(s->levels[i].concurrency, clients[i]);
		assert_int_equal(s->levels[i].requests, 5);
	}
	scenario_free(s);
	s = load("load: {find: {max_rate: {from: 2/s, to: 64/s, duration: 3s}}}");
	assert_true(s->levels[0].rate_per_s == 2);
	assert_true(s->levels[s->n_levels - 1].rate_per_s == 64);
	for (int i = 1; i < s->n_levels; i++) {
		double step = s->levels[i].rate_per_s / s->levels[i - 1].rate_per_s;

		assert_int_equal(s->levels[i].kind, LOAD_OPEN);
		assert_true(step > 1 && step < 1.052);
	}
	scenario_free(s);
}

/* Carries a search out against targets that meet the SLO up to a level each: -1 is none. */
static size_t search(const struct scenario *s, const int *capacity, struct point *points,
		     struct phase **phases, int *tried)
{
	int n_phases;
	size_t n = 0;

	*phases = phases_new(s, &n_phases);
	for (int i = find_phase_after(s, *phases, n_phases, -1, points, 0); i < n_phases;) {
		const struct phase *p = &(*phases)[i];

		if (p->level >= 0) {
			assert_true(n < 1000);
			points[n++] = (struct point){
				.id = p->first_point,
				.target = p->first_target,
				.level = p->level,
				.repeat = p->repeat,
				.planned = 10,
				.goodput_share = p->level <= capacity[p->first_target] ? 0.9 : 0.8,
			};
		}
		tried[p->first_target]++;
		i = find_phase_after(s, *phases, n_phases, i, points, n);
	}
	return n;
}

static void test_finds(void **state)
{
	struct scenario *s = load("repeats: 2\nwarmup: {requests: 1}\nload: {find: "
				  "{max_concurrency: {from: 1, to: 64, requests: 5}}}");

	(void)state;
	for (int at = -1; at < s->n_levels; at++) {
		const int capacity[] = {at, s->n_levels - 1 - at - 1};
		struct point points[1000];
		struct phase *phases;
		int tried[2] = {0, 0};
		size_t n = search(s, capacity, points, &phases, tried);

		for (int t = 0; t < 2; t++) {
			struct found f = find_state(s, points, n, t);

			assert_int_equal(f.best, capacity[t]);
			assert_int_equal(f.missed, capacity[t] + 1);
			assert_int_equal(f.next, -1);
			assert_true(f.probes <= find_probes(s));
			assert_int_equal(tried[t], 1 + 2 * f.probes); /* warm-up, repeats */
		}
		free(phases);
	}
	scenario_free(s);
}

/* A run that was killed on the way says how far it came. */
static void test_words(void **state)
{
	static const int capacity[] = {4, -1};
	struct scenario *s =
		load("load: {find: {max_concurrency: {from: 1, to: 12, resolution: 0.5, requests: "
		     "5}}}");
	struct point points[1000];
	struct phase *phases;
	int tried[2] = {0, 0};
	size_t n = search(s, capacity, points, &phases, tried);
	char words[512];

	(void)state;
	find_words(s, points, n, 0, words, sizeof(words));
	assert_string_equal(words, "closed 6 is the highest load that meets the SLO; closed 9 "
				   "misses it (3 probes)");
	find_words(s, points, n, 1, words, sizeof(words));
	assert_string_equal(words, "even closed 1 misses the SLO (3 probes)");
	find_words(s, points, 1, 0, words, sizeof(words));
	assert_string_equal(words, "the search was cut short after 1 probes: closed 4 meets the "
				   "SLO");
	find_words(s, points, 0, 0, words, sizeof(words));
	assert_string_equal(words, "nothing was tried");
	free(phases);
	scenario_free(s);
}

/* All requests dropped, or a share that does not exist, meets nothing. */
static void test_nothing_sent(void **state)
{
	struct scenario *s = load("load: {find: {max_concurrency: {from: 1, to: 3, requests: 5}}}");
	struct point points[] = {
		{.target = 0, .level = 1, .planned = 4, .dropped = 4, .goodput_share = NAN}};

	(void)state;
	assert_int_equal(find_state(s, points, 1, 0).missed, 1);
	scenario_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grid),
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_nothing_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
