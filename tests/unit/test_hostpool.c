/*
 * The names in the host's memory beside a straight list of them, over random uses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "serve/hostpool.h"

/* The most recently used last. */
struct list {
	uint64_t name[64];
	int n, room;
};

static int place(const struct list *l, uint64_t name)
{
	for (int i = 0; i < l->n; i++)
		if (l->name[i] == name)
			return i;
	return -1;
}

static void list_put(struct list *l, uint64_t name)
{
	int at = place(l, name);

	if (at < 0 && l->n == l->room)
		at = 0;
	if (at >= 0)
		memmove(&l->name[at], &l->name[at + 1], (size_t)(--l->n - at) * sizeof(l->name[0]));
	l->name[l->n++] = name;
}

static void the_least_recently_used_goes(void **state)
{
	struct hostpool *p = hostpool_new(2);

	(void)state;
	hostpool_put(p, 1);
	hostpool_put(p, 2);
	hostpool_put(p, 1);
	hostpool_put(p, 3);
	assert_true(hostpool_has(p, 1) && hostpool_has(p, 3));
	assert_false(hostpool_has(p, 2));
	hostpool_check(p);
	hostpool_free(p);
	hostpool_free(NULL);
}

static void it_is_a_straight_list(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct list l = {.n = 0};
		struct hostpool *p;
		struct rng r;

		rng_init(&r, seed, "hostpool", 0);
		l.room = 1 + (int)rng_below(&r, ARRAY_LEN(l.name));
		p = hostpool_new(l.room);
		for (int i = 0; i < 500; i++) {
			/* Some share a bucket. */
			uint64_t name = 1 + rng_below(&r, 100) * 64;

			assert_int_equal(hostpool_has(p, name), place(&l, name) >= 0);
			if (rng_below(&r, 2))
				continue;
			hostpool_put(p, name);
			list_put(&l, name);
			hostpool_check(p);
		}
		hostpool_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_recently_used_goes),
		cmocka_unit_test(it_is_a_straight_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
