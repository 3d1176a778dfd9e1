/*
 * The order in which requests wait: of coming, or by priority, against a naive search.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "serve/waitq.h"

enum { N = 64 };

static void first_come_first_served(void **state)
{
	struct genreq r[4] = {{.id = 0, .priority = 9}, {.id = 1}, {.id = 2}, {.id = 3}};
	struct waitq q;

	(void)state;
	waitq_init(&q, false);
	assert_null(waitq_first(&q));
	for (int i = 0; i < 3; i++)
		waitq_add(&q, &r[i]);
	waitq_put_back(&q, &r[3]);
	assert_int_equal(q.n, 4);
	assert_ptr_equal(waitq_first(&q), &r[3]);
	waitq_remove(&q, &r[3]);
	assert_ptr_equal(waitq_first(&q), &r[0]);
	waitq_remove(&q, &r[1]); /* from the middle */
	waitq_remove(&q, &r[0]);
	assert_ptr_equal(waitq_first(&q), &r[2]);
	waitq_remove(&q, &r[2]);
	assert_null(waitq_first(&q));
	assert_int_equal(q.n, 0);
	waitq_add(&q, &r[1]);
	assert_ptr_equal(waitq_first(&q), &r[1]);
	waitq_release(&q);
}

static void lower_numbers_earlier_arrivals_lower_ids(void **state)
{
	const struct genreq a = {.priority = 1, .arrival_ns = 5, .id = 7};
	const struct genreq important = {.priority = 0, .arrival_ns = 9, .id = 9};
	const struct genreq earlier = {.priority = 1, .arrival_ns = 4, .id = 8};
	const struct genreq twin = {.priority = 1, .arrival_ns = 5, .id = 6};

	(void)state;
	assert_true(genreq_before(&important, &a) && !genreq_before(&a, &important));
	assert_true(genreq_before(&earlier, &a) && !genreq_before(&a, &earlier));
	assert_true(genreq_before(&twin, &a) && !genreq_before(&a, &twin));
	assert_false(genreq_before(&a, &a));
}

static void priorities_agree_with_a_search(void **state)
{
	struct genreq r[N] = {{0}};
	bool in[N] = {false};
	struct waitq q;
	struct rng g;
	int32_t n = 0;

	(void)state;
	rng_init(&g, 1, "waitq", 0);
	waitq_init(&q, true);
	for (int op = 0; op < 20000; op++) {
		uint64_t i = rng_below(&g, N);
		struct genreq *first = NULL;

		if (in[i]) {
			waitq_remove(&q, &r[i]);
		} else {
			r[i].priority = (int)rng_below(&g, 3);
			r[i].arrival_ns = (int64_t)rng_below(&g, 5);
			r[i].id = i;
			if (rng_below(&g, 2))
				waitq_add(&q, &r[i]);
			else
				waitq_put_back(&q, &r[i]);
		}
		n += in[i] ? -1 : 1;
		in[i] = !in[i];
		for (int k = 0; k < N; k++)
			if (in[k] && (!first || genreq_before(&r[k], first)))
				first = &r[k];
		assert_int_equal(q.n, n);
		assert_ptr_equal(waitq_first(&q), first);
	}
	waitq_release(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_come_first_served),
		cmocka_unit_test(lower_numbers_earlier_arrivals_lower_ids),
		cmocka_unit_test(priorities_agree_with_a_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
