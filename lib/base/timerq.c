/*
 * Owns the heap of pointers to timers that others own. Pure: whoever owns the queue says what time
 * it is. The order is (at_ns, seq), seq counting insertions, so that equal times are served first
 * come, first served.
 */
#include "timerq.h"

#include <stdlib.h>

#include "check.h"
#include "die.h"

void timerq_init(struct timerq *q)
{
	*q = (struct timerq){0};
}

void timerq_release(struct timerq *q)
{
	free(q->heap);
	*q = (struct timerq){0};
}

static bool before(const struct timer *a, const struct timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void put(struct timerq *q, size_t i, struct timer *t)
{
	q->heap[i] = t;
	t->pos = i + 1;
}

/* Finds the place of t from the hole at i towards the root. */
static void sift_up(struct timerq *q, size_t i, struct timer *t)
{
	while (i > 0 && before(t, q->heap[(i - 1) / 2])) {
		put(q, i, q->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(q, i, t);
}

/* Likewise, towards the leaves. */
static void sift_down(struct timerq *q, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < q->n && before(q->heap[child + 1], q->heap[child]))
			child++;
		if (child >= q->n || !before(q->heap[child], t))
			break;
		put(q, i, q->heap[child]);
		i = child;
	}
	put(q, i, t);
}

void timerq_add(struct timerq *q, struct timer *t, int64_t at_ns)
{
	timerq_remove(q, t);
	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 64;
		q->heap = xreallocarray(q->heap, q->cap, sizeof(struct timer *));
	}
	t->at_ns = at_ns;
	t->seq = q->next_seq++;
	q->n++;
	sift_up(q, q->n - 1, t);
}

void timerq_remove(struct timerq *q, struct timer *t)
{
	size_t hole = t->pos - 1;
	struct timer *last;

	if (!timer_queued(t))
		return;
	CHECK(hole < q->n && q->heap[hole] == t); /* else it stands in another queue */
	t->pos = 0;
	last = q->heap[--q->n];
	if (last == t)
		return;
	if (hole > 0 && before(last, q->heap[(hole - 1) / 2]))
		sift_up(q, hole, last);
	else
		sift_down(q, hole, last);
}

struct timer *timerq_peek(const struct timerq *q)
{
	return q->n ? q->heap[0] : NULL;
}

size_t timerq_run(struct timerq *q, int64_t now_ns)
{
	size_t ran = 0;

	while (q->n > 0 && q->heap[0]->at_ns <= now_ns) {
		struct timer *t = q->heap[0];

		timerq_remove(q, t);
		t->fn(t, now_ns);
		ran++;
	}
	return ran;
}
