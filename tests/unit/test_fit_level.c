/* The level of a fit: sums are put right where they are off by more than chance, and no further. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "base/err.h"
#include "base/rng.h"
#include "fakeengine/fit_level.h"
#include "fakeengine/profile.h"

#define N_REQUESTS 200
#define MOST	   0.05

static const char text[] =
	"name: known\nengine: e\ndescription: d\nsource: s\nmodel: {name: m}\n"
	"scheduler: {policy: vllm-v1}\ncost: {affine: {step: 12ms, per_prefill_token: 40us}}\n";

struct world {
	struct profile profile;
	struct fit_rows rows;
	struct fit_model model;
};

/* Requests that do not meet, answered as the profile says but for every n-th, whose answer takes
 * `held_up` times as long. */
static void open_world(struct world *w, int every, double held_up)
{
	struct fit_replayed served;
	struct rng r;
	struct err e;

	*w = (struct world){0};
	if (profile_parse(&w->profile, "known", text, strlen(text), NULL, 0, &e))
		fail_msg("%s", e.msg);
	rng_init(&r, 1, "requests", 0);
	fit_rows_begin(&w->rows, "run", 0);
	for (int64_t i = 0; i < N_REQUESTS; i++) {
		int64_t at_ns = i * INT64_C(20000000000);

		fit_rows_add(&w->rows,
			     (struct fit_row){.arrival_ns = at_ns,
					      .first_ns = at_ns + 1,
					      .last_ns = at_ns + 2,
					      .prompt_tokens = 10 + (int32_t)rng_below(&r, 200),
					      .output_tokens = 20 + (int32_t)rng_below(&r, 80),
					      .scored = true},
			     "");
	}
	assert_int_equal(fit_rows_finish(&w->rows, &e), RC_OK);
	fit_replayed_init(&served, &w->rows);
	assert_int_equal(fit_replay(&w->profile, &w->rows, &served, &e), RC_OK);
	for (int i = 0; i < N_REQUESTS; i++) {
		struct fit_row *row = &w->rows.row[i];
		double whole = (double)(served.times[i].last_ns - row->arrival_ns);

		row->first_ns = served.times[i].first_ns;
		row->last_ns = row->arrival_ns + llround(i % every ? whole : whole * held_up);
	}
	fit_replayed_release(&served);
	fit_model_init(&w->model, &w->profile, &w->rows);
	for (int i = 0; i < w->model.n_params; i++)
		w->model.param[i].is_free = true;
}

static void close_world(struct world *w)
{
	fit_model_release(&w->model);
	fit_rows_release(&w->rows);
	profile_release(&w->profile);
}

static void test_nothing_to_mend(void **state)
{
	struct world w;

	(void)state;
	open_world(&w, 5, 1);
	assert_true(fit_level(&w.model, MOST) == 1);
	close_world(&w);
}

/* A fifth of the answers by 20 %: 4 % in sum, which explains the others a little worse. */
static void test_sums_are_put_right(void **state)
{
	struct world w;
	int step;

	(void)state;
	open_world(&w, 5, 1.2);
	step = fit_param_find(&w.model, "cost.affine.step");
	w.model.param[step].low = 11e9;
	w.model.param[step].high = 13e9;
	assert_true(fabs(fit_level(&w.model, 10) - 1.04) < 0.01);
	assert_true(fabs(fit_level_error(&w.model)) < 0.002);
	assert_true(fabs(fit_param_get(&w.model, step) / 12e9 - 1.04) < 0.01);
	assert_true(w.model.param[step].low > 11.3e9 && w.model.param[step].high > 13.3e9);
	close_world(&w);
}

/* The same, but what is given stays, and so does all that would be explained worse. */
static void test_bounds(void **state)
{
	struct world w;
	double before;

	(void)state;
	open_world(&w, 5, 1.2);
	before = fit_model_objective(&w.model);
	assert_true(fit_level(&w.model, MOST) > 1);
	assert_true(fit_model_objective(&w.model) <= before * (1 + MOST));
	assert_true(fit_level_error(&w.model) < -0.01);
	close_world(&w);

	open_world(&w, 5, 1.2);
	for (int i = 0; i < w.model.n_params; i++)
		w.model.param[i].is_free = false;
	assert_true(fit_level(&w.model, 10) == 1);
	assert_true(fit_param_get(&w.model, fit_param_find(&w.model, "cost.affine.step")) == 12e9);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_mend),
		cmocka_unit_test(test_sums_are_put_right),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
