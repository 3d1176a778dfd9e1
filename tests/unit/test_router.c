/*
 * Who takes the next request: short stories told by hand, one table for each rule, and what each
 * rule promises of any crowd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "fakeengine/router.h"

enum { MAX_ENGINES = 40, MAX_KNOWN = 4096 };

static const struct router_type *router(const char *name)
{
	const struct router_type *t;

	assert_int_equal(router_find(name, &t, NULL), RC_OK);
	return t;
}

static struct router *open_router(const char *name, int32_t n, uint64_t seed, const char *knob,
				  double value)
{
	const struct router_type *t = router(name);
	double knobs[ROUTER_MAX_KNOBS];

	router_defaults(t, knobs);
	for (size_t i = 0; knob && t->knobs[i].name; i++)
		if (strcmp(t->knobs[i].name, knob) == 0)
			knobs[i] = value;
	return router_new(t, knobs, n, seed);
}

static struct genreq request(int32_t *tokens, int32_t first, int32_t n_prompt)
{
	for (int32_t i = 0; i < n_prompt; i++)
		tokens[i] = first + i;
	return (struct genreq){.tokens = tokens, .n_prompt = n_prompt};
}

/* ---- by hand ---- */

/* '+' a request comes and begins where it is sent, '?' it is turned away there, a digit: one of
 * that engine's ends. want: the engines of all that came. */
static void by_hand(void **state)
{
	static const struct {
		const char *router, *knob;
		double value;
		int32_t n, prompt[10];
		const char *story, *want;
	} row[] = {
		{"round_robin", NULL, 0, 3, {1, 1, 1, 1, 1}, "+++++", "01201"},
		/* What has ended does not matter to it, nor who was full. */
		{"round_robin", NULL, 0, 3, {1, 1, 1, 1}, "+0+?1+", "0120"},
		/* In turn while all are equal; then who has least; of equals the next in turn. */
		{"least_loaded", NULL, 0, 3, {1, 1, 1, 1}, "+++1+", "0121"},
		{"least_loaded", NULL, 0, 3, {1, 1, 1, 1, 1}, "+0+1+2+", "0120"},
		{"least_loaded", NULL, 0, 3, {1, 1, 1, 1, 1, 1}, "+++020++", "01202"},
		/* Turned away is not begun: 1 is still idle when its turn comes. */
		{"least_loaded", NULL, 0, 2, {1, 1, 1, 1}, "+?+1+", "0111"},
		/* By tokens: 900 on 0, then 100, 200, 300 on 1 and 2 by turns. */
		{"least_loaded", "load", 1, 3, {900, 100, 200, 300, 100}, "+++++", "01212"},
		{"power_of_two", NULL, 0, 1, {1, 1}, "++", "00"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct router *w =
			open_router(row[i].router, row[i].n, 1, row[i].knob, row[i].value);
		int32_t tokens[1000], asked = 0, prompt_of[3][10] = {{0}}, n_of[3] = {0};
		char got[16] = "";

		for (const char *c = row[i].story; *c; c++) {
			struct genreq r;
			int32_t at;

			if (*c >= '0' && *c <= '9') { /* its eldest */
				at = *c - '0';
				if (n_of[at] == 0)
					continue;
				r = request(tokens, 0, prompt_of[at][0]);
				router_end(w, at, &r);
				memmove(prompt_of[at], prompt_of[at] + 1, 9 * sizeof(int32_t));
				n_of[at]--;
				continue;
			}
			r = request(tokens, 0, row[i].prompt[asked]);
			at = router_pick(w, &r);
			got[asked++] = (char)('0' + at);
			if (*c == '?')
				continue;
			router_begin(w, at, &r);
			prompt_of[at][n_of[at]++] = r.n_prompt;
		}
		if (strcmp(got, row[i].want) != 0)
			fail_msg("row %zu: %s %s: %s, want %s", i, row[i].router, row[i].story, got,
				 row[i].want);
		router_free(w);
	}
}

static int32_t send_prefix(struct router *w, int32_t group, int32_t own, int32_t adapter)
{
	int32_t tokens[320];
	struct genreq r = request(tokens, 10000 * group, 320);
	int32_t at;

	r.adapter = adapter;
	tokens[319] = own;
	at = router_pick(w, &r);
	router_begin(w, at, &r);
	return at;
}

/* A prefix stays at its home up to the floor, then goes to the next ones; another's home is its
 * own. */
static void a_prefix_has_a_home(void **state)
{
	struct router *w = open_router("prefix_aware", 8, 1, NULL, 0);
	int32_t home = send_prefix(w, 1, 0, 0), elsewhere = 0, homes = 0;

	(void)state;
	for (int32_t i = 1; i < 8; i++)
		assert_int_equal(send_prefix(w, 1, i, 0), home);
	for (int32_t i = 0; i < 8; i++) /* 8 have it: 1.25 x 9/8 is less than the floor */
		assert_int_equal(send_prefix(w, 1, i, 0), (home + 1) % 8);
	assert_int_equal(send_prefix(w, 1, 0, 0), (home + 2) % 8);
	router_free(w);

	w = open_router("prefix_aware", 8, 2, NULL, 0);
	assert_int_equal(send_prefix(w, 1, 0, 0), home); /* nothing of it is drawn */
	for (int32_t a = 1; a < 8; a++)
		elsewhere += send_prefix(w, 1, 0, a) != home;
	assert_true(elsewhere > 4); /* another adapter, another prefix */
	router_free(w);

	w = open_router("prefix_aware", 8, 1, "prefix_tokens", 320);
	for (int32_t i = 0; i < 7; i++)
		homes |= 1 << send_prefix(w, 1, i, 0);
	assert_true(__builtin_popcount((unsigned)homes) > 2); /* the last token counts, too */
	router_free(w);
}

/* ---- any crowd ---- */

struct crowd {
	struct rng rng;
	struct router *w;
	int32_t n, n_known, tokens[64];
	int64_t load[MAX_ENGINES], total, sent[MAX_ENGINES];
	struct {
		int32_t at, n_prompt;
	} known[MAX_KNOWN];
	bool by_tokens;
};

static int64_t weigh(const struct crowd *c, int32_t n_prompt)
{
	return c->by_tokens ? n_prompt : 1;
}

static void ends(struct crowd *c)
{
	int32_t i = (int32_t)rng_below(&c->rng, (uint64_t)c->n_known);
	struct genreq r = request(c->tokens, 0, c->known[i].n_prompt);

	router_end(c->w, c->known[i].at, &r);
	c->load[c->known[i].at] -= weigh(c, r.n_prompt);
	c->total -= weigh(c, r.n_prompt);
	c->known[i] = c->known[--c->n_known];
}

static int32_t comes(struct crowd *c)
{
	struct genreq r = request(c->tokens, 100 * (int32_t)rng_below(&c->rng, 5),
				  1 + (int32_t)rng_below(&c->rng, ARRAY_LEN(c->tokens)));
	int32_t at = router_pick(c->w, &r);

	assert_in_range(at, 0, c->n - 1);
	router_begin(c->w, at, &r);
	c->known[c->n_known].at = at;
	c->known[c->n_known++].n_prompt = r.n_prompt;
	c->sent[at]++;
	return at;
}

static int64_t least(const int64_t *v, int32_t n)
{
	int64_t m = v[0];

	for (int32_t i = 1; i < n; i++)
		m = v[i] < m ? v[i] : m;
	return m;
}

static int64_t most(const int64_t *v, int32_t n)
{
	int64_t m = v[0];

	for (int32_t i = 1; i < n; i++)
		m = v[i] > m ? v[i] : m;
	return m;
}

static void promises(const struct crowd *c, const char *router, int32_t at)
{
	int32_t n_prompt = c->known[c->n_known - 1].n_prompt;
	int64_t w = weigh(c, n_prompt);

	if (strcmp(router, "round_robin") == 0)
		assert_true(most(c->sent, c->n) - least(c->sent, c->n) <= 1);
	else if (strcmp(router, "least_loaded") == 0)
		assert_int_equal(c->load[at], least(c->load, c->n));
	else if (strcmp(router, "power_of_two") == 0 && c->n == 2)
		assert_int_equal(c->load[at], least(c->load, c->n));
	else if (strcmp(router, "prefix_aware") == 0 && c->load[at] >= 8)
		assert_true((double)c->load[at] < 1.25 * (double)(c->total + w) / c->n);
}

static void what_each_promises(void **state)
{
	(void)state;
	for (const struct router_type *const *t = router_types; *t; t++) {
		for (uint64_t k = 0; k < 60; k++) {
			struct crowd *c = xcalloc(1, sizeof(*c));

			rng_init(&c->rng, 5, "crowd", k);
			c->n = 1 + (int32_t)rng_below(&c->rng, MAX_ENGINES);
			c->by_tokens = k % 2 && (*t)->knobs[0].name;
			c->w = open_router((*t)->name, c->n, k, "load", c->by_tokens);
			for (int i = 0; i < 2000; i++) {
				if (c->n_known > 0 &&
				    rng_below(&c->rng, 400) < (uint64_t)c->n_known) {
					ends(c);
				} else {
					int32_t at = comes(c);
					int64_t w = weigh(c, c->known[c->n_known - 1].n_prompt);

					promises(c, (*t)->name, at);
					c->load[at] += w;
					c->total += w;
				}
			}
			router_free(c->w);
			free(c);
		}
	}
}

/* Balls into bins: with one draw the fullest of 1,000 has ln n/ln ln n above the mean, with two
 * about ln ln n. And the same seed draws the same. */
static void two_choices_are_better_than_one(void **state)
{
	enum { N = 1000 };
	struct router *two = open_router("power_of_two", N, 3, NULL, 0),
		      *same = open_router("power_of_two", N, 3, NULL, 0),
		      *other = open_router("power_of_two", N, 4, NULL, 0);
	int64_t load[N] = {0};
	int differ = 0;
	struct genreq r = {.n_prompt = 1};

	(void)state;
	for (int i = 0; i < N; i++) {
		int32_t at = router_pick(two, &r);

		router_begin(two, at, &r);
		load[at]++;
		assert_int_equal(router_pick(same, &r), at);
		router_begin(same, at, &r);
		differ += router_pick(other, &r) != at;
	}
	assert_in_range(most(load, N), 2, 3);
	assert_true(differ > N / 2);
	router_free(two);
	router_free(same);
	router_free(other);
}

static void unknown_names_are_refused(void **state)
{
	const struct router_type *t;
	struct err e;

	(void)state;
	assert_int_equal(router_find("random", &t, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "\"random\": no such router; there are round_robin, "
				      "least_loaded, prefix_aware, power_of_two"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand),
		cmocka_unit_test(a_prefix_has_a_home),
		cmocka_unit_test(what_each_promises),
		cmocka_unit_test(two_choices_are_better_than_one),
		cmocka_unit_test(unknown_names_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
