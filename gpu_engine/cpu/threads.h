/*
 * A pool of threads for work in lockstep: one job is run by all of them at once, the caller among
 * them as thread 0, with barriers inside. Between barriers the work is cut by threads_share(), or
 * item by item by threads_take() where items differ in size or where the cores are shared with
 * other programs: a thread that is held up then does fewer of them.
 *
 * A barrier spins for some ten microseconds and then sleeps, so that a thread whose core was taken
 * away costs the others no more than its own time; a pool without a job is asleep.
 */
#ifndef CPU_THREADS_H
#define CPU_THREADS_H

#include <stdint.h>

struct threads;

/* What a wish comes to: n if n > 0, else as many as the process may use cores. */
int32_t threads_default(int32_t n);

/* n > 0, the caller's thread included. Dies if the system gives no threads. */
struct threads *threads_new(int32_t n);
void threads_free(struct threads *t); /* no job may be running */

int32_t threads_count(const struct threads *t);

/* Runs job on all threads, self = 0 .. count-1 (the caller is 0), and returns when all of them
 * have. One caller at a time. What was written before is seen in the job, what the job wrote is
 * seen after. The items of threads_take() start anew. */
void threads_run(struct threads *t, void (*job)(struct threads *t, int32_t self, void *arg),
		 void *arg);

/* In a job, called by all its threads the same number of times: returns when all have arrived.
 * What was written before it by any is seen behind it by all. The items of threads_take() start
 * anew. */
void threads_barrier(struct threads *t);

/* In a job: 0, 1, 2, ... each number to one thread, anew after every barrier. The caller stops at
 * the number of items it has: while ((i = threads_take(t)) < n). */
int32_t threads_take(struct threads *t);

/* A share of [0, n) for thread `self` of `count`: [first, end). Shares differ by at most one. */
static inline void threads_share(int32_t n, int32_t self, int32_t count, int32_t *first,
				 int32_t *end)
{
	*first = (int32_t)((int64_t)n * self / count);
	*end = (int32_t)((int64_t)n * (self + 1) / count);
}

#endif
