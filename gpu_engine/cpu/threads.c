/*
 * Owns the threads and the one barrier they meet at. A job is two meetings: all threads wait at the
 * barrier that lets it begin, and meet again when it is done; a pool without a job is a pool whose
 * workers wait at the first.
 *
 * The barrier is a count of arrivals and a number of the round. Whoever arrives last starts the
 * next round; the others watch the number, first with their eyes open, then asleep on it (futex).
 *
 * Watching only helps while whoever is waited for runs. Each thread leaves a note of the core it
 * was on, and one that finds another's note of its own core goes to sleep at once: with a third
 * program on the machine, the kernel often leaves two of ours on one core, and a step with some
 * hundred barriers would spin away as much time as it computes.
 */
#include "threads.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

/* Long enough for threads that end a stage at about the same time, so that none of them has to be
 * woken; longer only takes the core from whom it is shared with. */
#define SPIN_NS 30000

/* Looks at the round, each with its pause, between two looks at the clock. */
#define LOOKS_PER_CLOCK 32

#define CACHE_LINE 64

struct worker {
	_Alignas(CACHE_LINE) atomic_int core; /* at its last barrier; -1 = not known */
	struct threads *pool;
	pthread_t thread;
	int32_t self;
};

struct threads {
	/* Written by every arrival, so kept off the line that the waiting ones watch. */
	_Alignas(CACHE_LINE) atomic_int arrived;
	_Alignas(CACHE_LINE) atomic_uint round;
	atomic_int asleep;
	_Alignas(CACHE_LINE) atomic_int next_item;

	_Alignas(CACHE_LINE) int32_t count;
	int64_t spin_ns;
	struct worker *worker; /* [0] is the caller, without a thread of its own */

	/* The job, written by the caller before the meeting that begins it. */
	void (*job)(struct threads *t, int32_t self, void *arg);
	void *arg;
	bool quit;
};

/* Which worker this thread is in the job it is in. */
static _Thread_local int32_t own_index;

/* Written only if it is news: then the others' reads of it stay in their caches. */
static void note_core(struct threads *t)
{
	atomic_int *note = &t->worker[own_index].core;
	int core = sched_getcpu();

	if (atomic_load_explicit(note, memory_order_relaxed) != core)
		atomic_store_explicit(note, core, memory_order_relaxed);
}

static bool shares_core(const struct threads *t)
{
	int core = sched_getcpu();

	for (int32_t i = 0; i < t->count; i++)
		if (i != own_index &&
		    core == atomic_load_explicit(&t->worker[i].core, memory_order_relaxed))
			return true;
	return false;
}

static void pause_a_little(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Sleeps while *word is `value`. Returns early at will; the caller looks again. */
static void futex_wait(atomic_uint *word, unsigned value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake_all(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static bool spin_until_over(struct threads *t, unsigned round)
{
	int64_t until_ns = 0, now_ns;

	do {
		for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
			if (atomic_load_explicit(&t->round, memory_order_acquire) != round)
				return true;
			pause_a_little();
		}
		now_ns = monotonic_now_ns();
		if (until_ns == 0)
			until_ns = shares_core(t) ? now_ns : now_ns + t->spin_ns;
	} while (now_ns < until_ns);
	return false;
}

/* The sleeper counts itself before it looks at the round, the last one starts the round before it
 * looks at the count: one of them sees the other. */
static void sleep_until_over(struct threads *t, unsigned round)
{
	atomic_fetch_add(&t->asleep, 1);
	while (atomic_load(&t->round) == round)
		futex_wait(&t->round, round);
	atomic_fetch_sub(&t->asleep, 1);
}

void threads_barrier(struct threads *t)
{
	unsigned round = atomic_load_explicit(&t->round, memory_order_relaxed);

	note_core(t);
	if (atomic_fetch_add(&t->arrived, 1) + 1 < t->count) {
		if (!spin_until_over(t, round))
			sleep_until_over(t, round);
		return;
	}
	atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
	atomic_store_explicit(&t->next_item, 0, memory_order_relaxed);
	atomic_store(&t->round, round + 1);
	if (atomic_load(&t->asleep) > 0)
		futex_wake_all(&t->round);
}

int32_t threads_take(struct threads *t)
{
	return atomic_fetch_add_explicit(&t->next_item, 1, memory_order_relaxed);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct threads *t = w->pool;

	own_index = w->self;
	for (;;) {
		threads_barrier(t);
		if (t->quit)
			return NULL;
		t->job(t, w->self, t->arg);
		threads_barrier(t);
	}
}

void threads_run(struct threads *t, void (*job)(struct threads *t, int32_t self, void *arg),
		 void *arg)
{
	own_index = 0;
	t->job = job;
	t->arg = arg;
	threads_barrier(t);
	job(t, 0, arg);
	threads_barrier(t);
}

int32_t threads_default(int32_t n)
{
	cpu_set_t set;

	if (n > 0)
		return n;
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return CPU_COUNT(&set);
	n = (int32_t)sysconf(_SC_NPROCESSORS_ONLN); /* more cores than the set has room for */
	return n > 0 ? n : 1;
}

/* Signals are for the loop's thread. */
static void start_workers(struct threads *t)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int32_t i = 1; i < t->count && rc == 0; i++) {
		struct worker *w = &t->worker[i];

		w->pool = t;
		w->self = i;
		rc = pthread_create(&w->thread, NULL, worker_main, w);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		die("%d threads: %s", t->count, strerror(rc));
}

static void *alloc_lines(size_t bytes)
{
	void *p;

	if (posix_memalign(&p, CACHE_LINE, bytes))
		die("out of memory");
	memset(p, 0, bytes);
	return p;
}

struct threads *threads_new(int32_t n)
{
	struct threads *t;

	CHECK(n > 0);
	t = alloc_lines(sizeof(*t));
	t->count = n;
	t->spin_ns = n > threads_default(0) ? 0 : SPIN_NS; /* who is waited for needs the core */
	t->worker = alloc_lines((size_t)n * sizeof(*t->worker));
	for (int32_t i = 0; i < n; i++)
		atomic_init(&t->worker[i].core, -1);
	start_workers(t);
	return t;
}

void threads_free(struct threads *t)
{
	if (!t)
		return;
	own_index = 0;
	t->quit = true;
	threads_barrier(t);
	for (int32_t i = 1; i < t->count; i++)
		pthread_join(t->worker[i].thread, NULL);
	free(t->worker);
	free(t);
}

int32_t threads_count(const struct threads *t)
{
	return t->count;
}
