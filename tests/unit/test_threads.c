/*
 * The thread pool: every thread is in every job once, nobody passes a barrier before all are there,
 * items go to one thread each, and an idle pool sleeps. With more threads than cores as well; TSan
 * watches the order of what is written around barriers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "cpu/threads.h"

#define MAX_THREADS 9
#define ITEMS	    100

/* Plain numbers on purpose: only the barriers order what threads write and read. */
struct board {
	int32_t n_rounds;
	int32_t mark[MAX_THREADS]; /* the round each thread has written */
	int32_t taken[ITEMS];	   /* times each item was */
	int32_t wrong;
};

static const int32_t counts[] = {1, 2, 3, 4, MAX_THREADS};

/* Each round: everybody writes its mark, then everybody reads all of them. */
static void write_and_read(struct threads *t, int32_t self, void *arg)
{
	struct board *b = arg;
	int32_t wrong = 0;

	for (int32_t round = 1; round <= b->n_rounds; round++) {
		b->mark[self] = round;
		threads_barrier(t);
		for (int32_t i = 0; i < threads_count(t); i++)
			wrong += b->mark[i] != round;
		threads_barrier(t);
	}
	if (wrong)
		b->wrong = wrong;
}

static void test_barriers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct threads *t = threads_new(counts[i]);
		struct board b = {.n_rounds = counts[i] > 2 ? 300 : 3000};

		assert_int_equal(threads_count(t), counts[i]);
		for (int32_t job = 0; job < 3; job++) {
			threads_run(t, write_and_read, &b);
			for (int32_t j = 0; j < counts[i]; j++)
				assert_int_equal(b.mark[j], b.n_rounds);
		}
		assert_int_equal(b.wrong, 0);
		threads_free(t);
	}
}

static void take_items(struct threads *t, int32_t self, void *arg)
{
	struct board *b = arg;
	int32_t item;

	(void)self;
	for (int32_t round = 0; round < b->n_rounds; round++) {
		while ((item = threads_take(t)) < ITEMS)
			b->taken[item]++;
		threads_barrier(t);
	}
}

static void test_items(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct threads *t = threads_new(counts[i]);
		struct board b = {.n_rounds = 50};

		threads_run(t, take_items, &b);
		threads_run(t, take_items, &b);
		for (int32_t j = 0; j < ITEMS; j++)
			assert_int_equal(b.taken[j], 2 * b.n_rounds);
		threads_free(t);
	}
}

/* Many short jobs with nothing between them, and pools that are given none. */
static void nothing(struct threads *t, int32_t self, void *arg)
{
	atomic_int *n = arg;

	(void)t;
	(void)self;
	atomic_fetch_add(n, 1);
}

static void test_jobs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct threads *t = threads_new(counts[i]);
		atomic_int n = 0;

		for (int32_t job = 0; job < 500; job++)
			threads_run(t, nothing, &n);
		assert_int_equal(n, 500 * counts[i]);
		threads_free(t);
		threads_free(threads_new(counts[i]));
	}
	threads_free(NULL);
}

/* The others wait at the barrier while thread 0 is busy for long: they must not be. */
struct held_up {
	int64_t busy_ns;
	int64_t waited_cpu_ns[MAX_THREADS];
};

static void hold_up(struct threads *t, int32_t self, void *arg)
{
	struct held_up *h = arg;
	int64_t start_ns = monotonic_now_ns(), cpu_ns = thread_cpu_ns();

	while (self == 0 && monotonic_now_ns() - start_ns < h->busy_ns)
		;
	threads_barrier(t);
	h->waited_cpu_ns[self] = thread_cpu_ns() - cpu_ns;
}

static void test_waiting_is_asleep(void **state)
{
	struct threads *t = threads_new(4);
	struct held_up h = {.busy_ns = 50 * NS_PER_MS};

	(void)state;
	threads_run(t, hold_up, &h);
	for (int32_t i = 1; i < 4; i++)
		assert_true(h.waited_cpu_ns[i] < h.busy_ns / 10);
	threads_free(t);
}

static void test_shares(void **state)
{
	(void)state;
	for (int32_t n = 0; n < 40; n++)
		for (int32_t count = 1; count < 12; count++) {
			int32_t at = 0, first, end;

			for (int32_t self = 0; self < count; self++) {
				threads_share(n, self, count, &first, &end);
				assert_int_equal(first, at);
				assert_in_range(end - first, n / count, (n + count - 1) / count);
				at = end;
			}
			assert_int_equal(at, n);
		}
	assert_int_equal(threads_default(5), 5);
	assert_true(threads_default(0) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_barriers), cmocka_unit_test(test_items),
		cmocka_unit_test(test_jobs),	 cmocka_unit_test(test_waiting_is_asleep),
		cmocka_unit_test(test_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
