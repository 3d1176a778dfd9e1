/*
 * Owns the readings of the kernel's clocks and the virtual one that tests and simulations move by
 * hand. Any thread.
 */
#include "clock.h"

#include <time.h>

#include "check.h"

/* How often wall_minus_monotonic_ns() looks; the tightest of this many brackets is well below a
 * microsecond wide. */
#define BRACKETS 32

static int64_t read_ns(clockid_t id)
{
	struct timespec t;

	CHECK(clock_gettime(id, &t) == 0);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t monotonic_now_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

int64_t thread_cpu_ns(void)
{
	return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

static int64_t real_now(const struct clock *c)
{
	(void)c;
	return monotonic_now_ns();
}

static int64_t virtual_now(const struct clock *c)
{
	return c->virtual_ns;
}

struct clock clock_monotonic(void)
{
	return (struct clock){.now_ns = real_now};
}

struct clock clock_virtual(int64_t start_ns)
{
	return (struct clock){.now_ns = virtual_now, .virtual_ns = start_ns};
}

void clock_advance_to(struct clock *c, int64_t t_ns)
{
	CHECK(c->now_ns == virtual_now);
	CHECK(t_ns >= c->virtual_ns);
	c->virtual_ns = t_ns;
}

/*
 * The two clocks cannot be read at one instant. A wall reading between two monotonic ones belongs
 * to a moment between them, so taking their middle errs by half the bracket's width at most, and
 * the narrowest bracket errs least: one that an interrupt or a preemption has widened loses.
 */
int64_t wall_minus_monotonic_ns(void)
{
	int64_t best_width = INT64_MAX, best = 0;

	for (int i = 0; i < BRACKETS; i++) {
		int64_t before = read_ns(CLOCK_MONOTONIC);
		int64_t wall = read_ns(CLOCK_REALTIME);
		int64_t width = read_ns(CLOCK_MONOTONIC) - before;

		if (width < best_width) {
			best_width = width;
			best = wall - (before + width / 2);
		}
	}
	return best;
}
