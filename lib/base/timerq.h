/*
 * Deadlines in a binary heap; equal times leave in the order of insertion. Pure: knows no clock.
 * struct timer is embedded by its owner, who must remove it before freeing it. No allocation per
 * timer.
 */
#ifndef BASE_TIMERQ_H
#define BASE_TIMERQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
	int64_t at_ns;
	/* called by the owner of the queue, after removal; may add t again */
	void (*fn)(struct timer *t, int64_t now_ns);
	uint64_t seq;
	size_t pos; /* index + 1 in the heap; 0 = not queued */
};

struct timerq {
	struct timer **heap;
	size_t n, cap;
	uint64_t next_seq;
};

void timerq_init(struct timerq *q);
void timerq_release(struct timerq *q); /* does not touch the timers still queued */

/* Moves t if it is queued already; it then goes behind all that have the same time. */
void timerq_add(struct timerq *q, struct timer *t, int64_t at_ns);
void timerq_remove(struct timerq *q, struct timer *t); /* no-op if not queued */
struct timer *timerq_peek(const struct timerq *q);     /* earliest or NULL */

/* Removes and runs every timer due at now_ns, earliest first, those added meanwhile included.
 * Returns how many ran. */
size_t timerq_run(struct timerq *q, int64_t now_ns);

static inline bool timer_queued(const struct timer *t)
{
	return t->pos != 0;
}

#endif
