/*
 * timerq: order and ties, moving and removing, what a running timer may do, and a model under
 * random use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/timerq.h"

static struct timerq q;
static int log_of[4096];
static size_t n_log;

struct numbered {
	struct timer timer;
	int number;
};

static void note(struct timer *t, int64_t now_ns)
{
	assert_false(timer_queued(t));
	assert_true(t->at_ns <= now_ns);
	assert_true(n_log < ARRAY_LEN(log_of));
	log_of[n_log++] = ((struct numbered *)t)->number;
}

static int setup(void **state)
{
	(void)state;
	timerq_init(&q);
	n_log = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	timerq_release(&q);
	return 0;
}

static void test_order_and_ties(void **state)
{
	static const int64_t at[] = {30, 10, 20, 10, 30, 10, -5, 20};
	static const int want[] = {6, 1, 3, 5, 2, 7, 0, 4};
	struct numbered t[ARRAY_LEN(at)];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		t[i] = (struct numbered){{.fn = note}, (int)i};
		timerq_add(&q, &t[i].timer, at[i]);
	}
	assert_int_equal(timerq_run(&q, 9), 1);
	assert_ptr_equal(timerq_peek(&q), &t[1].timer);
	assert_int_equal(timerq_run(&q, 19), 3);
	assert_int_equal(timerq_run(&q, 100), 4);
	assert_null(timerq_peek(&q));
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_int_equal(log_of[i], want[i]);
}

/* A timer that is moved to a time goes behind those that had it already, even if it was its own. */
static void test_moving_and_removing(void **state)
{
	struct numbered t[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		t[i] = (struct numbered){{.fn = note}, i};
		timerq_remove(&q, &t[i].timer);
		timerq_add(&q, &t[i].timer, 10);
	}
	timerq_add(&q, &t[0].timer, 10);
	timerq_remove(&q, &t[1].timer);
	timerq_remove(&q, &t[1].timer);
	assert_false(timer_queued(&t[1].timer));
	assert_int_equal(timerq_run(&q, 10), 2);
	assert_int_equal(log_of[0], 2);
	assert_int_equal(log_of[1], 0);
}

static struct numbered follower, victim;

static void add_follower(struct timer *t, int64_t now_ns)
{
	note(t, now_ns);
	if (n_log < 3)
		timerq_add(&q, t, now_ns); /* again, at once */
	timerq_add(&q, &follower.timer, now_ns + 1);
	timerq_remove(&q, &victim.timer);
}

static void test_running_timer_changes_the_queue(void **state)
{
	struct numbered first = {{.fn = add_follower}, 1};

	(void)state;
	follower = (struct numbered){{.fn = note}, 2};
	victim = (struct numbered){{.fn = note}, 3};
	timerq_add(&q, &first.timer, 5);
	timerq_add(&q, &victim.timer, 5);
	assert_int_equal(timerq_run(&q, 5), 3);
	assert_false(timer_queued(&victim.timer));
	assert_ptr_equal(timerq_peek(&q), &follower.timer);
	assert_int_equal(timerq_run(&q, 6), 1);
	assert_int_equal(log_of[3], 2);
}

#define N 300

/* A queue that looks at every timer each time. */
static struct {
	int64_t at_ns;
	int order;
	bool queued;
} model[N];

static int model_earliest(void)
{
	int best = -1;

	for (int i = 0; i < N; i++) {
		if (!model[i].queued)
			continue;
		if (best < 0 || model[i].at_ns < model[best].at_ns ||
		    (model[i].at_ns == model[best].at_ns && model[i].order < model[best].order))
			best = i;
	}
	return best;
}

static void run_both(int64_t now_ns)
{
	size_t ran, k = 0;
	int next;

	n_log = 0;
	ran = timerq_run(&q, now_ns);
	while ((next = model_earliest()) >= 0 && model[next].at_ns <= now_ns) {
		assert_true(k < ran);
		assert_int_equal(log_of[k++], next);
		model[next].queued = false;
	}
	assert_int_equal(k, ran);
	assert_int_equal(n_log, ran);
}

static void test_against_a_model(void **state)
{
	struct numbered *t = calloc(N, sizeof(*t));
	struct clock clock = clock_virtual(0);
	struct rng r;

	(void)state;
	rng_init(&r, 1, "timerq", 0);
	for (int i = 0; i < N; i++)
		t[i] = (struct numbered){{.fn = note}, i};
	for (int step = 0; step < 20000; step++) {
		int i = (int)rng_below(&r, N), head;
		int64_t now_ns = clock_now_ns(&clock);

		if (rng_below(&r, 20) == 0) {
			clock_advance_to(&clock, now_ns + (int64_t)rng_below(&r, 5));
			run_both(clock_now_ns(&clock));
		} else if (rng_below(&r, 4) == 0) {
			timerq_remove(&q, &t[i].timer);
			model[i].queued = false;
		} else { /* few different times, so many ties */
			model[i].queued = true;
			model[i].at_ns = now_ns + (int64_t)rng_below(&r, 20);
			model[i].order = step;
			timerq_add(&q, &t[i].timer, model[i].at_ns);
		}
		assert_int_equal(timer_queued(&t[i].timer), model[i].queued);
		head = model_earliest();
		assert_ptr_equal(timerq_peek(&q), head < 0 ? NULL : &t[head].timer);
	}
	run_both(INT64_MAX);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_ties, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moving_and_removing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_running_timer_changes_the_queue, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_against_a_model, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
