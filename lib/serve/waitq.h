/*
 * Where the policies keep requests: a list in order of coming, and a waiting queue that is such a
 * list or, for policies with priorities, a heap by (priority, arrival, id). Links and heap places
 * live in the requests (genreq.h), so a request is in one of them at a time and nothing allocates
 * but a growing heap.
 */
#ifndef SERVE_WAITQ_H
#define SERVE_WAITQ_H

#include <stdbool.h>
#include <stdint.h>

#include "genreq.h"

struct reqlist {
	struct genreq *head, *tail;
	int32_t n;
};

void reqlist_push_back(struct reqlist *l, struct genreq *r);
void reqlist_push_front(struct reqlist *l, struct genreq *r);
void reqlist_insert(struct reqlist *l, struct genreq *before, struct genreq *r); /* behind it; NULL:
										   to the front */
void reqlist_remove(struct reqlist *l, struct genreq *r);

struct waitq {
	bool by_priority;
	struct reqlist list;  /* first come, first served */
	struct genreq **heap; /* by priority: the first to run is heap[0] */
	int32_t n, cap;
};

void waitq_init(struct waitq *q, bool by_priority);
void waitq_release(struct waitq *q); /* forgets the requests */
void waitq_add(struct waitq *q, struct genreq *r);
void waitq_put_back(
	struct waitq *q,
	struct genreq *r); /* it ran before: to the front, if the order is that of coming */
struct genreq *waitq_first(const struct waitq *q); /* or NULL */
void waitq_remove(struct waitq *q, struct genreq *r);

/* True if a runs before b under priorities: lower priority number, then earlier arrival, then lower
 * id. */
bool genreq_before(const struct genreq *a, const struct genreq *b);

#endif
