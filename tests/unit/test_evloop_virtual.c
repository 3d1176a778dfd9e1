/*
 * The event loop in virtual time: time jumps and never goes back, the order within an instant,
 * what is known to come next, wake-ups and the end of a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/evloop.h"

static struct evloop *loop;
static char story[256]; /* one letter an event, in order */

static void tell(char c)
{
	size_t n = strlen(story);

	assert_true(n + 1 < sizeof(story));
	story[n] = c;
	story[n + 1] = '\0';
}

static int setup(void **state)
{
	(void)state;
	loop = evloop_new_virtual(1000);
	story[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	evloop_free(loop);
	return 0;
}

/* A timer and a piece of deferred work with a letter each; the timer defers the work. */
struct lettered {
	struct timer timer;
	struct deferred work;
	char on_time, on_work;
	int64_t fired_ns;
	int again; /* so many times more, at once */
};

static void on_timer(struct timer *t, int64_t now_ns)
{
	struct lettered *l = (struct lettered *)((char *)t - offsetof(struct lettered, timer));

	assert_int_equal(now_ns, evloop_now_ns(loop));
	l->fired_ns = now_ns;
	tell(l->on_time);
	if (l->on_work)
		evloop_defer(loop, &l->work);
}

static void on_work(struct deferred *d)
{
	struct lettered *l = (struct lettered *)((char *)d - offsetof(struct lettered, work));

	assert_int_equal(l->fired_ns, evloop_now_ns(loop)); /* the same instant */
	tell(l->on_work);
	if (l->again-- > 0)
		evloop_timer(loop, &l->timer, evloop_now_ns(loop));
}

static struct lettered lettered(char on_time, char work, int again)
{
	return (struct lettered){.timer = {.fn = on_timer},
				 .work = {.fn = on_work},
				 .on_time = on_time,
				 .on_work = work,
				 .again = again};
}

static void test_time_jumps(void **state)
{
	struct lettered a = lettered('a', 0, 0), b = lettered('b', 0, 0);

	(void)state;
	assert_int_equal(evloop_now_ns(loop), 1000);
	assert_int_equal(evloop_next_ns(loop), INT64_MAX);
	evloop_timer(loop, &b.timer, 3600 * NS_PER_S);
	evloop_timer(loop, &a.timer, 60 * NS_PER_S);
	assert_int_equal(evloop_next_ns(loop), 60 * NS_PER_S);
	evloop_run(loop);
	assert_string_equal(story, "ab");
	assert_int_equal(a.fired_ns, 60 * NS_PER_S);
	assert_int_equal(evloop_now_ns(loop), 3600 * NS_PER_S);
}

static void test_time_never_goes_back(void **state)
{
	struct lettered late = lettered('l', 0, 0);

	(void)state;
	evloop_timer(loop, &late.timer, 5);
	evloop_run(loop);
	assert_int_equal(late.fired_ns, 1000);
}

/* Timers as they were set, then the work they deferred, then what that set for the same instant. */
static void test_order_within_an_instant(void **state)
{
	struct lettered a = lettered('a', 'A', 1), b = lettered('b', 'B', 0),
			c = lettered('c', 0, 0);

	(void)state;
	evloop_timer(loop, &a.timer, 2000);
	evloop_timer(loop, &b.timer, 2000);
	evloop_timer(loop, &c.timer, 2001);
	evloop_run(loop);
	assert_string_equal(story, "abABaAc");
}

static void test_deferred_work_is_now(void **state)
{
	struct lettered a = lettered('a', 'A', 0), b = lettered('b', 0, 0);

	(void)state;
	evloop_timer(loop, &b.timer, 9000);
	a.fired_ns = 1000;
	evloop_defer(loop, &a.work);
	assert_int_equal(evloop_next_ns(loop), 1000);
	evloop_run(loop);
	assert_string_equal(story, "Ab");
}

static void on_notify(void *arg)
{
	(void)arg;
	tell('n');
	evloop_stop(loop);
}

static void test_notification_comes_before_the_next_deadline(void **state)
{
	struct lettered a = lettered('a', 0, 0);

	(void)state;
	evloop_on_notify(loop, on_notify, NULL);
	evloop_timer(loop, &a.timer, 2000);
	evloop_notify(loop);
	evloop_notify(loop);
	evloop_run(loop);
	assert_string_equal(story, "na");
	evloop_timer(loop, &a.timer, 3000);
	evloop_run(loop);
	assert_string_equal(story, "naa");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_time_jumps),
		TEST(test_time_never_goes_back),
		TEST(test_order_within_an_instant),
		TEST(test_deferred_work_is_now),
		TEST(test_notification_comes_before_the_next_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
