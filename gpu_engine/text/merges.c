/*
 * Owns the table of rules and the heap of a run. Pure but for its scratch. Must not know what an id
 * stands for.
 */
#include "merges.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

#define KEEP_LINKS 65536 /* scratch beyond that is given back by the next run */

struct merge_link {
	int32_t prev, next; /* -1 = none; places in id[] */
};

/* A join that was possible when it was offered. */
struct merge_offer {
	int32_t rank, at; /* at: place of the left one */
	const struct merge_rule *rule;
};

/* ---- the table ---- */

static size_t hash_pair(int32_t left, int32_t right)
{
	uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;

	return (size_t)(h >> 32 ^ h >> 15);
}

void merges_init(struct merges *m, size_t n_rules)
{
	size_t slots = 16;

	memset(m, 0, sizeof(*m));
	while (slots < 2 * n_rules)
		slots *= 2;
	m->rule = xreallocarray(NULL, slots, sizeof(*m->rule));
	for (size_t i = 0; i < slots; i++)
		m->rule[i].left = -1;
	m->mask = slots - 1;
}

void merges_release(struct merges *m)
{
	free(m->rule);
	free(m->link);
	free(m->heap);
	free(m->done);
	memset(m, 0, sizeof(*m));
}

/* Its slot, or the empty one where it would stand. */
static struct merge_rule *slot(const struct merges *m, int32_t left, int32_t right)
{
	size_t i = hash_pair(left, right) & m->mask;

	while (m->rule[i].left >= 0 && (m->rule[i].left != left || m->rule[i].right != right))
		i = (i + 1) & m->mask;
	return &m->rule[i];
}

void merges_add(struct merges *m, int32_t left, int32_t right, int32_t rank, int32_t into)
{
	struct merge_rule *r = slot(m, left, right);

	CHECK(left >= 0 && right >= 0);
	if (r->left < 0)
		CHECK(++m->n_rules <= m->mask); /* one slot stays empty, so that searches end */
	*r = (struct merge_rule){left, right, rank, into};
}

/* ---- the heap ---- */

static bool before(const struct merge_offer *a, const struct merge_offer *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct merges *m, struct merge_offer x)
{
	size_t i = m->n_heap++;

	for (; i > 0 && before(&x, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = x;
}

static struct merge_offer heap_pop(struct merges *m)
{
	const struct merge_offer top = m->heap[0], x = m->heap[--m->n_heap];
	size_t i = 0;

	for (size_t c = 1; c < m->n_heap; c = 2 * i + 1) {
		if (c + 1 < m->n_heap && before(&m->heap[c + 1], &m->heap[c]))
			c++;
		if (!before(&m->heap[c], &x))
			break;
		m->heap[i] = m->heap[c];
		i = c;
	}
	m->heap[i] = x;
	return top;
}

/* ---- a run ---- */

static void offer(struct merges *m, const int32_t *id, int32_t at)
{
	int32_t next = at >= 0 ? m->link[at].next : -1;
	const struct merge_rule *r;

	if (next < 0 || id[at] < 0 || id[next] < 0)
		return;
	r = slot(m, id[at], id[next]);
	if (r->left >= 0)
		heap_push(m, (struct merge_offer){r->rank, at, r});
}

static void make_room(struct merges *m, size_t n)
{
	if (n <= m->cap && (m->cap <= KEEP_LINKS || n > KEEP_LINKS))
		return;
	m->cap = n < 64 ? 64 : n + n / 2;
	m->link = xreallocarray(m->link, m->cap, sizeof(*m->link));
	m->done = xreallocarray(m->done, m->cap, sizeof(*m->done));
	/* n - 1 at the start, and each of at most n - 1 joins takes one out and puts two in. */
	m->heap = xreallocarray(m->heap, 2 * m->cap, sizeof(*m->heap));
}

int32_t merges_run(struct merges *m, int32_t *id, int32_t n)
{
	int32_t left = 0;

	m->n_done = 0;
	m->n_heap = 0;
	if (n < 2)
		return n;
	make_room(m, (size_t)n);
	for (int32_t i = 0; i < n; i++)
		m->link[i] = (struct merge_link){i - 1, i + 1 < n ? i + 1 : -1};
	for (int32_t i = 0; i + 1 < n; i++)
		offer(m, id, i);
	while (m->n_heap > 0) {
		const struct merge_offer o = heap_pop(m);
		struct merge_link *a = &m->link[o.at];
		int32_t gone = a->next;

		/* Either half may have been joined elsewhere since. */
		if (gone < 0 || id[o.at] != o.rule->left || id[gone] != o.rule->right)
			continue;
		id[o.at] = o.rule->into;
		a->next = m->link[gone].next;
		if (a->next >= 0)
			m->link[a->next].prev = o.at;
		m->link[gone].next = -1;
		m->done[m->n_done++] = *o.rule;
		offer(m, id, a->prev);
		offer(m, id, o.at);
	}
	for (int32_t i = 0; i >= 0; i = m->link[i].next)
		id[left++] = id[i];
	return left;
}
