/*
 * The ledger by token: small cases in which every token can be counted by hand. Its tree has tests
 * of its own, and random use comes with the policies (test_sched_sglang, test_sched_tgi).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/die.h"
#include "serve/tokenpool.h"

/* A prompt of n tokens that begins with `shared` common ones and goes on with its own. */
static struct genreq *request(uint64_t id, int32_t shared, int32_t n)
{
	int32_t *prompt = xcalloc((size_t)n, sizeof(*prompt));
	struct genreq *r;

	for (int32_t i = 0; i < n; i++)
		prompt[i] = i < shared ? i : (int32_t)(1000 * (id + 1)) + i;
	r = genreq_new(id, NULL, prompt, n, 1000);
	free(prompt);
	return r;
}

static void expect(const struct tokenpool *p, const struct genreq *r, int32_t prefix, int32_t held,
		   int32_t available)
{
	assert_int_equal(r->slot.n_prefix, prefix);
	assert_int_equal(r->slot.n_blocks, held);
	assert_int_equal(tokenpool_available(p), available);
	tokenpool_check(p);
}

/* 20 tokens. A computes 10 and hands them over; B finds 8 of them, which then belong to both. */
static void a_prefix_is_held_once(void **state)
{
	struct tokenpool *p = tokenpool_new(20, true, false);
	struct genreq *a = request(0, 8, 10), *b = request(1, 8, 12);

	(void)state;
	tokenpool_share(p, a, 9);
	expect(p, a, 0, 0, 20);
	tokenpool_hold(p, a, 10);
	expect(p, a, 0, 10, 10);
	assert_int_equal(tokenpool_lookup(p, b), 0);
	tokenpool_cache(p, a, 10);
	expect(p, a, 10, 10, 10);
	assert_int_equal(tokenpool_lookup(p, b), 8);
	tokenpool_share(p, b, 11);
	expect(p, b, 8, 8, 10);
	tokenpool_hold(p, b, 4);
	expect(p, b, 8, 12, 6);
	tokenpool_release(p, a); /* its last 2 are nobody's now, the 8 are still B's */
	expect(p, a, 0, 0, 8);
	tokenpool_release(p, b);
	expect(p, b, 0, 0, 20);
	assert_int_equal(tokenpool_lookup(p, a), 10); /* kept, as long as there is room */
	assert_int_equal(tokenpool_lookup(p, b), 8);  /* B never handed over its own */
	tokenpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

/* A and B compute the same 8 tokens side by side: the second to hand them over gets them back. */
static void what_was_computed_twice_is_free_again(void **state)
{
	struct tokenpool *p = tokenpool_new(20, true, false);
	struct genreq *a = request(0, 8, 8), *b = request(1, 8, 9);

	(void)state;
	tokenpool_hold(p, a, 8);
	tokenpool_hold(p, b, 9);
	expect(p, b, 0, 9, 3);
	tokenpool_cache(p, a, 8);
	expect(p, a, 8, 8, 3);
	tokenpool_cache(p, b, 9);
	expect(p, b, 9, 9, 11);
	tokenpool_release(p, a);
	tokenpool_release(p, b);
	expect(p, a, 0, 0, 20);
	tokenpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

static void only_what_nobody_holds_is_evicted(void **state)
{
	struct tokenpool *p = tokenpool_new(20, true, true);
	struct genreq *a = request(0, 0, 6), *b = request(1, 0, 5);

	(void)state;
	tokenpool_hold(p, a, 6);
	tokenpool_cache(p, a, 6);
	tokenpool_hold(p, b, 5);
	tokenpool_cache(p, b, 5);
	tokenpool_release(p, b);
	assert_true(tokenpool_make_free(p, 9)); /* they are free */
	assert_int_equal(tokenpool_lookup(p, b), 5);
	assert_true(tokenpool_make_free(p, 12));
	assert_int_equal(tokenpool_lookup(p, b), 2);
	expect(p, b, 0, 0, 14);
	assert_false(tokenpool_make_free(p, 15)); /* and what could be evicted is */
	assert_int_equal(tokenpool_lookup(p, b), 0);
	assert_int_equal(tokenpool_lookup(p, a), 6);
	tokenpool_release(p, a);
	expect(p, a, 0, 0, 20);
	tokenpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

static void without_a_cache_it_only_counts(void **state)
{
	struct tokenpool *p = tokenpool_new(20, false, false);
	struct genreq *a = request(0, 8, 10), *b = request(1, 8, 10);

	(void)state;
	tokenpool_share(p, a, 9);
	tokenpool_hold(p, a, 10);
	tokenpool_cache(p, a, 10);
	expect(p, a, 0, 10, 10);
	assert_int_equal(tokenpool_lookup(p, b), 0);
	assert_true(tokenpool_make_free(p, 10));
	assert_false(tokenpool_make_free(p, 11));
	tokenpool_release(p, a);
	expect(p, a, 0, 0, 20);
	assert_int_equal(tokenpool_capacity(p), 20);
	tokenpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prefix_is_held_once),
		cmocka_unit_test(what_was_computed_twice_is_free_again),
		cmocka_unit_test(only_what_nobody_holds_is_evicted),
		cmocka_unit_test(without_a_cache_it_only_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
