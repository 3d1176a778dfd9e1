/*
 * evloop: what keeps a run going and what ends it, the order of a turn, deadlines, deferred work,
 * signals, wake-ups. Deadlines are real time: they are never early, and nothing here says how late
 * they may be.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	loop = evloop_new();
	story[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	evloop_free(loop);
	return 0;
}

struct lettered_timer {
	struct timer timer;
	char letter;
};

static void on_timer(struct timer *t, int64_t now_ns)
{
	assert_true(now_ns >= t->at_ns);
	assert_true(monotonic_now_ns() >= now_ns);
	tell(((struct lettered_timer *)t)->letter);
}

static void on_timer_stop(struct timer *t, int64_t now_ns)
{
	on_timer(t, now_ns);
	evloop_stop(loop);
}

struct lettered_deferred {
	struct deferred deferred;
	char letter;
};

static void on_deferred(struct deferred *d)
{
	assert_false(d->queued);
	tell(((struct lettered_deferred *)d)->letter);
}

static void on_notified(void *arg)
{
	tell(*(char *)arg);
}

static void on_signal(int signo, void *arg)
{
	assert_int_equal(signo, SIGUSR1);
	tell(*(char *)arg);
}

/* A pipe with something in it, watched. */
struct watched_pipe {
	int ends[2];
	struct event *event;
};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	char c;

	(void)what;
	(void)arg;
	assert_int_equal(read(fd, &c, 1), 1);
	tell(c);
}

static void pipe_open(struct watched_pipe *p, short what, const char *content)
{
	ssize_t n = (ssize_t)strlen(content);

	assert_int_equal(pipe(p->ends), 0);
	p->event = event_new(evloop_base(loop), p->ends[0], (short)(EV_READ | what), on_readable,
			     NULL);
	event_add(p->event, NULL);
	assert_int_equal(write(p->ends[1], content, (size_t)n), n);
}

static void pipe_close(struct watched_pipe *p)
{
	event_free(p->event);
	close(p->ends[0]);
	close(p->ends[1]);
}

/* Neither the loop's own events nor a signal that may come keep a run going. */
static void test_nothing_to_wait_for(void **state)
{
	char n = 'n', s = 's';

	(void)state;
	evloop_run(loop);
	evloop_on_notify(loop, on_notified, &n);
	evloop_on_signal(loop, SIGUSR1, on_signal, &s);
	evloop_run(loop);
	assert_string_equal(story, "");

	/* but what has come already is delivered, and what it starts is waited for */
	evloop_notify(loop);
	raise(SIGUSR1);
	evloop_run(loop);
	assert_int_equal(strlen(story), 2);
	assert_non_null(strchr(story, 'n'));
	assert_non_null(strchr(story, 's'));
}

static struct lettered_timer late_timer;

static void start_timer(void *arg)
{
	(void)arg;
	tell('n');
	evloop_timer(loop, &late_timer.timer, monotonic_now_ns() + NS_PER_MS);
}

static void test_what_a_notification_starts_is_waited_for(void **state)
{
	(void)state;
	late_timer = (struct lettered_timer){{.fn = on_timer}, 't'};
	evloop_on_notify(loop, start_timer, NULL);
	evloop_notify(loop);
	evloop_run(loop);
	assert_string_equal(story, "nt");
}

static void test_timers_run_in_order(void **state)
{
	static const int64_t after_us[] = {3000, 1000, 2000, 1000, -5000};
	struct lettered_timer t[ARRAY_LEN(after_us)], negative = {{.fn = on_timer}, 'n'};
	int64_t start_ns = monotonic_now_ns();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(after_us); i++) {
		t[i] = (struct lettered_timer){{.fn = on_timer}, (char)('a' + i)};
		evloop_timer(loop, &t[i].timer, start_ns + after_us[i] * NS_PER_US);
	}
	evloop_timer(loop, &negative.timer, -1);
	evloop_run(loop);
	assert_string_equal(story, "nebdca");
	assert_true(monotonic_now_ns() - start_ns >= 3 * NS_PER_MS);
}

/* The head leaves, comes nearer, and goes farther: the kernel's timer follows. */
static void test_timers_move(void **state)
{
	struct lettered_timer a = {{.fn = on_timer}, 'a'}, b = {{.fn = on_timer}, 'b'};
	int64_t start_ns = monotonic_now_ns();

	(void)state;
	evloop_timer(loop, &a.timer, start_ns + 3600 * NS_PER_S);
	evloop_timer(loop, &b.timer, start_ns + 7200 * NS_PER_S);
	evloop_timer_cancel(loop, &a.timer);
	evloop_timer(loop, &b.timer, start_ns + 2 * NS_PER_MS);
	evloop_run(loop);
	assert_string_equal(story, "b");

	evloop_timer(loop, &a.timer, monotonic_now_ns() + NS_PER_MS);
	evloop_timer(loop, &b.timer, monotonic_now_ns() + 2 * NS_PER_MS);
	evloop_timer_cancel(loop, &b.timer);
	evloop_timer_cancel(loop, &b.timer);
	evloop_run(loop);
	assert_string_equal(story, "ba");
}

/* The same while the kernel's timer is set already. */
static void test_timers_move_after_a_turn(void **state)
{
	struct lettered_timer a = {{.fn = on_timer}, 'a'}, b = {{.fn = on_timer}, 'b'};
	char n = 'n';

	(void)state;
	evloop_on_notify(loop, on_notified, &n);
	evloop_timer(loop, &a.timer, monotonic_now_ns() + 3600 * NS_PER_S);
	evloop_notify(loop);
	evloop_once(loop);
	evloop_timer(loop, &b.timer, monotonic_now_ns() + 2 * NS_PER_MS);
	evloop_once(loop);
	assert_string_equal(story, "nb");
	evloop_timer(loop, &a.timer, monotonic_now_ns() + 2 * NS_PER_MS);
	evloop_run(loop);
	assert_string_equal(story, "nba");
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	tell('T');
}

/* Neither a timer that has run nor one that was cancelled wakes the loop again. */
static void test_no_idle_turns(void **state)
{
	struct lettered_timer a = {{.fn = on_timer}, 'a'};
	struct timeval soon = {0, 20000};

	(void)state;
	evloop_timer(loop, &a.timer, 1);
	evloop_once(loop);
	event_base_once(evloop_base(loop), -1, EV_TIMEOUT, on_timeout, NULL, &soon);
	evloop_once(loop);
	assert_string_equal(story, "aT");

	evloop_timer(loop, &a.timer, monotonic_now_ns() + 20 * NS_PER_MS);
	evloop_notify(loop);
	evloop_once(loop);
	evloop_timer_cancel(loop, &a.timer);
	soon.tv_usec = 40000;
	event_base_once(evloop_base(loop), -1, EV_TIMEOUT, on_timeout, NULL, &soon);
	evloop_once(loop);
	assert_string_equal(story, "aTT");
}

static void move_the_other(struct timer *t, int64_t now_ns)
{
	on_timer(t, now_ns);
	evloop_timer(loop, &late_timer.timer, now_ns + 2 * NS_PER_MS);
}

static void test_timer_moved_by_a_timer(void **state)
{
	struct lettered_timer a = {{.fn = move_the_other}, 'a'};

	(void)state;
	late_timer = (struct lettered_timer){{.fn = on_timer}, 'l'};
	evloop_timer(loop, &late_timer.timer, monotonic_now_ns() + 3600 * NS_PER_S);
	evloop_timer(loop, &a.timer, monotonic_now_ns() + NS_PER_MS);
	evloop_run(loop);
	assert_string_equal(story, "al");
}

static int rounds;

static void tick(struct timer *t, int64_t now_ns)
{
	assert_true(now_ns >= t->at_ns);
	if (++rounds < 200)
		evloop_timer(loop, t, t->at_ns + 20 * NS_PER_US);
}

static void test_periodic_timer(void **state)
{
	struct timer t = {.fn = tick};
	int64_t start_ns = monotonic_now_ns();

	(void)state;
	rounds = 0;
	evloop_timer(loop, &t, start_ns);
	evloop_run(loop);
	assert_int_equal(rounds, 200);
	assert_true(monotonic_now_ns() - start_ns >= NS_PER_US * 199 * 20);
}

static struct lettered_deferred d1 = {{.fn = on_deferred}, '1'};
static struct lettered_deferred d2 = {{.fn = on_deferred}, '2'};
static struct lettered_deferred d3 = {{.fn = on_deferred}, '3'};

static void defer_all(struct timer *t, int64_t now_ns)
{
	on_timer(t, now_ns);
	evloop_defer(loop, &d1.deferred);
	evloop_defer(loop, &d2.deferred);
	evloop_defer(loop, &d1.deferred);
}

/* Deferred work comes after all callbacks of the turn, in order, once. */
static void test_deferred_ends_the_turn(void **state)
{
	struct lettered_timer a = {{.fn = defer_all}, 'a'}, b = {{.fn = on_timer}, 'b'};

	(void)state;
	evloop_timer(loop, &a.timer, 1);
	evloop_timer(loop, &b.timer, 2);
	evloop_once(loop);
	assert_string_equal(story, "ab12");
	evloop_run(loop);
	assert_string_equal(story, "ab12");
}

static void test_undefer(void **state)
{
	static struct lettered_deferred *const all[] = {&d1, &d2, &d3};

	(void)state;
	for (size_t out = 0; out < ARRAY_LEN(all); out++) {
		char want[] = "123";

		story[0] = '\0';
		for (size_t i = 0; i < ARRAY_LEN(all); i++)
			evloop_defer(loop, &all[i]->deferred);
		evloop_undefer(loop, &all[out]->deferred);
		evloop_undefer(loop, &all[out]->deferred);
		evloop_defer(loop, &all[out]->deferred); /* now last */
		evloop_once(loop);			 /* does not block */
		memmove(want + out, want + out + 1, 2 - out);
		want[2] = (char)('1' + out);
		assert_string_equal(story, want);
	}
	evloop_defer(loop, &d1.deferred);
	evloop_undefer(loop, &d1.deferred);
	evloop_run(loop);
}

static void defer_next_and_free(struct deferred *d)
{
	tell('f');
	evloop_undefer(loop, &d1.deferred);
	evloop_defer(loop, &d2.deferred);
	free(d);
}

static void test_deferred_work_defers_frees_and_undefers(void **state)
{
	struct deferred *heap = calloc(1, sizeof(*heap));

	(void)state;
	heap->fn = defer_next_and_free;
	evloop_defer(loop, heap);
	evloop_defer(loop, &d1.deferred);
	evloop_defer(loop, &d3.deferred);
	evloop_once(loop);
	assert_string_equal(story, "f32");
}

/* Defers itself until `left` is used up or the pipe's x has come; the x is sent along the way. */
struct chain {
	struct deferred deferred;
	int ran, left;
	const struct watched_pipe *pipe;
};

static void defer_again(struct deferred *d)
{
	struct chain *c = (struct chain *)d;

	if (++c->ran == 3 && c->pipe)
		assert_int_equal(write(c->pipe->ends[1], "x", 1), 1);
	if (c->ran < c->left && !strchr(story, 'x'))
		evloop_defer(loop, d);
}

/* Some generations run in one pass, and none is lost when there are more. */
static void test_deferred_generations(void **state)
{
	struct chain few = {{.fn = defer_again}, .left = 10},
		     many = {{.fn = defer_again}, .left = 100};

	(void)state;
	evloop_defer(loop, &few.deferred);
	evloop_once(loop);
	assert_int_equal(few.ran, 10);
	evloop_defer(loop, &many.deferred);
	evloop_run(loop);
	assert_int_equal(many.ran, 100);
}

/* Work that never ends starves no I/O. */
static void test_deferred_work_without_end(void **state)
{
	struct watched_pipe p;
	struct chain endless = {{.fn = defer_again}, .left = INT_MAX, .pipe = &p};

	(void)state;
	pipe_open(&p, 0, "");
	evloop_defer(loop, &endless.deferred);
	evloop_run(loop);
	assert_string_equal(story, "x");
	assert_true(endless.ran < 100);
	pipe_close(&p);
}

static void test_stop_finishes_the_turn(void **state)
{
	struct lettered_timer a = {{.fn = on_timer_stop}, 'a'}, b = {{.fn = on_timer}, 'b'},
			      c = {{.fn = on_timer}, 'c'};

	(void)state;
	evloop_timer(loop, &a.timer, 1);
	evloop_timer(loop, &b.timer, 2);
	evloop_timer(loop, &c.timer, monotonic_now_ns() + 5 * NS_PER_MS);
	evloop_defer(loop, &d1.deferred);
	evloop_run(loop);
	assert_string_equal(story, "ab1");
	assert_true(timer_queued(&c.timer));
	evloop_run(loop);
	assert_string_equal(story, "ab1c");
}

/* A stop that comes before the run ends it, and is used up by it. */
static void test_stop_before_a_run(void **state)
{
	struct lettered_timer a = {{.fn = on_timer}, 'a'};

	(void)state;
	evloop_timer(loop, &a.timer, 1);
	evloop_stop(loop);
	evloop_run(loop);
	assert_string_equal(story, "");
	evloop_run(loop);
	assert_string_equal(story, "a");
}

/* Writes once the loop has begun to wait, so the wait is for this and nothing else. */
static void write_later(evutil_socket_t fd, short what, void *arg)
{
	struct watched_pipe *p = arg;

	on_readable(fd, what, NULL);
	event_del(p->event);
	assert_int_equal(write(p[1].ends[1], "q", 1), 1);
}

static void test_events_of_callers_keep_a_run_going(void **state)
{
	struct timeval soon = {0, 2000};
	struct watched_pipe p[2];

	(void)state;
	event_base_once(evloop_base(loop), -1, EV_TIMEOUT, on_timeout, NULL, &soon);
	evloop_run(loop);
	assert_string_equal(story, "T");

	pipe_open(&p[0], EV_PERSIST, "p");
	pipe_open(&p[1], 0, "");
	event_free(p[0].event);
	p[0].event =
		event_new(evloop_base(loop), p[0].ends[0], EV_READ | EV_PERSIST, write_later, p);
	event_add(p[0].event, NULL);
	evloop_run(loop);
	assert_string_equal(story, "Tpq");
	pipe_close(&p[0]);
	pipe_close(&p[1]);
}

static void *notify_from_a_thread(void *arg)
{
	for (int i = 0; i < 1000; i++)
		evloop_notify(arg);
	return NULL;
}

/* Blocks with nothing else in sight; merged or not, no wake-up is lost. */
static void test_notify_from_a_thread(void **state)
{
	char n = 'n';
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 20; i++) {
		story[0] = '\0';
		evloop_on_notify(loop, on_notified, &n);
		assert_int_equal(pthread_create(&thread, NULL, notify_from_a_thread, loop), 0);
		evloop_once(loop);
		assert_int_equal(story[0], 'n');
		pthread_join(thread, NULL);
		story[0] = '\0';
		evloop_notify(loop);
		evloop_once(loop);
		assert_string_equal(story, "n"); /* all that were left, in one */
	}
}

static void handler(int signo)
{
	(void)signo;
	evloop_notify(loop);
}

static void test_notify_from_a_signal_handler(void **state)
{
	struct sigaction act = {.sa_handler = handler}, before;
	char n = 'n';

	(void)state;
	evloop_on_notify(loop, on_notified, &n);
	sigaction(SIGUSR2, &act, &before);
	errno = ENOENT;
	raise(SIGUSR2);
	assert_int_equal(errno, ENOENT);
	evloop_once(loop);
	assert_string_equal(story, "n");
	sigaction(SIGUSR2, &before, NULL);
}

static void test_notify_without_a_listener(void **state)
{
	(void)state;
	evloop_notify(loop);
	evloop_once(loop);
	evloop_run(loop);
}

static void test_signals(void **state)
{
	char a = 'a', b = 'b';

	(void)state;
	evloop_on_signal(loop, SIGUSR1, on_signal, &a);
	raise(SIGUSR1);
	raise(SIGUSR1);
	evloop_once(loop);
	assert_string_equal(story, "aa"); /* each delivery */

	evloop_on_signal(loop, SIGUSR1, on_signal, &b);
	raise(SIGUSR1);
	evloop_once(loop);
	assert_int_equal(strlen(story), 4);
	assert_non_null(strchr(story, 'b'));
}

static void test_freed_loop_gives_signals_back(void **state)
{
	struct sigaction act = {.sa_handler = SIG_IGN}, now;
	char a = 'a';

	(void)state;
	sigaction(SIGUSR1, &act, NULL);
	evloop_on_signal(loop, SIGUSR1, on_signal, &a);
	evloop_free(loop);
	loop = evloop_new();
	sigaction(SIGUSR1, NULL, &now);
	assert_true(now.sa_handler == SIG_IGN);
	evloop_free(NULL);
}

static void on_hour(struct timer *t, int64_t now_ns)
{
	assert_true(now_ns == t->at_ns);
	tell('t');
}

/* While a callback works a deadline passes: it need not wait for the other callbacks. */
static void on_byte(evutil_socket_t fd, short what, void *arg)
{
	const struct timer *t = arg;

	(void)fd;
	(void)what;
	tell('r');
	evloop_catch_up(loop, t->at_ns - 1);
	tell('-');
	evloop_catch_up(loop, t->at_ns);
	tell('+');
}

static void test_catch_up(void **state)
{
	struct timer t = {.fn = on_hour};
	struct event *ev;
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	evloop_timer(loop, &t, monotonic_now_ns() + 3600 * NS_PER_S);
	ev = event_new(evloop_base(loop), fd[0], EV_READ, on_byte, &t);
	event_add(ev, NULL);
	evloop_run(loop); /* ends: nothing is left to wait for */
	assert_string_equal(story, "r-t+");
	event_free(ev);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_to_wait_for),
		TEST(test_what_a_notification_starts_is_waited_for),
		TEST(test_timers_run_in_order),
		TEST(test_catch_up),
		TEST(test_timers_move),
		TEST(test_timers_move_after_a_turn),
		TEST(test_no_idle_turns),
		TEST(test_timer_moved_by_a_timer),
		TEST(test_periodic_timer),
		TEST(test_deferred_ends_the_turn),
		TEST(test_undefer),
		TEST(test_deferred_work_defers_frees_and_undefers),
		TEST(test_deferred_generations),
		TEST(test_deferred_work_without_end),
		TEST(test_stop_finishes_the_turn),
		TEST(test_stop_before_a_run),
		TEST(test_events_of_callers_keep_a_run_going),
		TEST(test_notify_from_a_thread),
		TEST(test_notify_from_a_signal_handler),
		TEST(test_notify_without_a_listener),
		TEST(test_signals),
		TEST(test_freed_loop_gives_signals_back),
	};

	alarm(60); /* a lost wake-up ends the program, not the patience of whoever waits for it */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
