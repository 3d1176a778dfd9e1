/*
 * The one source of time. int64_t nanoseconds; the origin is that of CLOCK_MONOTONIC, or 0 for a
 * virtual clock. A callback reads the clock once and passes now_ns on.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

struct clock {
	int64_t (*now_ns)(const struct clock *c);
	int64_t virtual_ns; /* only for the virtual clock */
};

struct clock clock_monotonic(void);
struct clock clock_virtual(int64_t start_ns);
void clock_advance_to(struct clock *c, int64_t t_ns); /* virtual only; never back */

static inline int64_t clock_now_ns(const struct clock *c)
{
	return c->now_ns(c);
}

/* CLOCK_MONOTONIC right now, for code whose clock is real by nature (sockets, processes). */
int64_t monotonic_now_ns(void);

/* CLOCK_REALTIME - CLOCK_MONOTONIC, the smallest-error of a few readings: turns kernel receive
 * stamps, which are in wall time, into monotonic ones, and is written once into run.json. */
int64_t wall_minus_monotonic_ns(void);

/* CPU time of the calling thread. */
int64_t thread_cpu_ns(void);

#endif
