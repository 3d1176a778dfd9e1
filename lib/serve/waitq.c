/*
 * Owns the order in which requests wait. Every operation is O(1) on the list and O(log n) on the
 * heap. Must not know why a request waits.
 */
#include "waitq.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

void reqlist_push_back(struct reqlist *l, struct genreq *r)
{
	r->slot.prev = l->tail;
	r->slot.next = NULL;
	*(l->tail ? &l->tail->slot.next : &l->head) = r;
	l->tail = r;
	l->n++;
}

void reqlist_push_front(struct reqlist *l, struct genreq *r)
{
	r->slot.prev = NULL;
	r->slot.next = l->head;
	*(l->head ? &l->head->slot.prev : &l->tail) = r;
	l->head = r;
	l->n++;
}

void reqlist_insert(struct reqlist *l, struct genreq *before, struct genreq *r)
{
	struct genreq *next = before ? before->slot.next : l->head;

	r->slot.prev = before;
	r->slot.next = next;
	*(before ? &before->slot.next : &l->head) = r;
	*(next ? &next->slot.prev : &l->tail) = r;
	l->n++;
}

void reqlist_remove(struct reqlist *l, struct genreq *r)
{
	struct genreq *prev = r->slot.prev, *next = r->slot.next;

	*(prev ? &prev->slot.next : &l->head) = next;
	*(next ? &next->slot.prev : &l->tail) = prev;
	r->slot.prev = r->slot.next = NULL;
	l->n--;
}

bool genreq_before(const struct genreq *a, const struct genreq *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->arrival_ns != b->arrival_ns)
		return a->arrival_ns < b->arrival_ns;
	return a->id < b->id;
}

static void place(struct waitq *q, int32_t at, struct genreq *r)
{
	q->heap[at] = r;
	r->slot.heap_at = at;
}

static void sift_up(struct waitq *q, int32_t at, struct genreq *r)
{
	while (at > 0 && genreq_before(r, q->heap[(at - 1) / 2])) {
		place(q, at, q->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(q, at, r);
}

static void sift_down(struct waitq *q, int32_t at, struct genreq *r)
{
	for (int32_t child; (child = 2 * at + 1) < q->n; at = child) {
		if (child + 1 < q->n && genreq_before(q->heap[child + 1], q->heap[child]))
			child++;
		if (!genreq_before(q->heap[child], r))
			break;
		place(q, at, q->heap[child]);
	}
	place(q, at, r);
}

static void heap_add(struct waitq *q, struct genreq *r)
{
	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 64;
		q->heap = xreallocarray(q->heap, (size_t)q->cap, sizeof(struct genreq *));
	}
	q->n++;
	sift_up(q, q->n - 1, r);
}

/* The last one fills the gap, then moves to where it belongs: up or down, as the gap may be in
 * another branch. */
static void heap_remove(struct waitq *q, struct genreq *r)
{
	int32_t at = r->slot.heap_at;
	struct genreq *last;

	DCHECK(at < q->n && q->heap[at] == r);
	last = q->heap[--q->n];
	if (last == r)
		return;
	sift_down(q, at, last);
	sift_up(q, last->slot.heap_at, last);
}

void waitq_init(struct waitq *q, bool by_priority)
{
	memset(q, 0, sizeof(*q));
	q->by_priority = by_priority;
}

void waitq_release(struct waitq *q)
{
	free(q->heap);
	memset(q, 0, sizeof(*q));
}

void waitq_add(struct waitq *q, struct genreq *r)
{
	if (q->by_priority) {
		heap_add(q, r);
	} else {
		reqlist_push_back(&q->list, r);
		q->n++;
	}
}

void waitq_put_back(struct waitq *q, struct genreq *r)
{
	if (q->by_priority) {
		heap_add(q, r);
	} else {
		reqlist_push_front(&q->list, r);
		q->n++;
	}
}

struct genreq *waitq_first(const struct waitq *q)
{
	if (!q->by_priority)
		return q->list.head;
	return q->n ? q->heap[0] : NULL;
}

void waitq_remove(struct waitq *q, struct genreq *r)
{
	if (q->by_priority) {
		heap_remove(q, r);
	} else {
		reqlist_remove(&q->list, r);
		q->n--;
	}
}
