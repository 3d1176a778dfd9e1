/*
 * Owns the names of the blocks in host memory, and the order of their use. Pure bookkeeping on one
 * thread, constant time a call. Must not know what a name stands for.
 */
#include "hostpool.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"

/* Entry 0 heads the ring of use and means "none". */
#define NONE 0

struct entry {
	uint64_t name;
	int32_t prev, next; /* ring: behind the head stands the least recently used */
	int32_t chain;	    /* the next one in its bucket */
};

struct hostpool {
	struct entry *entry;
	int32_t num_blocks, n; /* entries 1..n are in use */
	int32_t *bucket;
	uint64_t bucket_mask;
};

struct hostpool *hostpool_new(int32_t num_blocks)
{
	struct hostpool *p = xcalloc(1, sizeof(*p));
	uint64_t buckets = 1;

	CHECK(num_blocks > 0 && num_blocks < INT32_MAX);
	while (buckets < (uint64_t)num_blocks)
		buckets *= 2;
	p->entry = xcalloc((size_t)num_blocks + 1, sizeof(*p->entry));
	p->bucket = xcalloc((size_t)buckets, sizeof(*p->bucket));
	p->bucket_mask = buckets - 1;
	p->num_blocks = num_blocks;
	return p;
}

void hostpool_free(struct hostpool *p)
{
	if (!p)
		return;
	free(p->entry);
	free(p->bucket);
	free(p);
}

/* The link that points to the entry of this name, or to NONE at the end of the bucket. */
static int32_t *link_to(const struct hostpool *p, uint64_t name)
{
	int32_t *link = &p->bucket[name & p->bucket_mask];

	while (*link != NONE && p->entry[*link].name != name)
		link = &p->entry[*link].chain;
	return link;
}

bool hostpool_has(const struct hostpool *p, uint64_t name)
{
	return *link_to(p, name) != NONE;
}

static void unqueue(struct hostpool *p, int32_t id)
{
	p->entry[p->entry[id].prev].next = p->entry[id].next;
	p->entry[p->entry[id].next].prev = p->entry[id].prev;
}

static void queue_last(struct hostpool *p, int32_t id)
{
	struct entry *e = &p->entry[id];

	e->prev = p->entry[NONE].prev;
	e->next = NONE;
	p->entry[e->prev].next = id;
	p->entry[NONE].prev = id;
}

/* An entry of its own, or the least recently used one's. */
static int32_t make_room(struct hostpool *p)
{
	int32_t id;

	if (p->n < p->num_blocks)
		return ++p->n;
	id = p->entry[NONE].next;
	unqueue(p, id);
	*link_to(p, p->entry[id].name) = p->entry[id].chain;
	return id;
}

void hostpool_put(struct hostpool *p, uint64_t name)
{
	int32_t id = *link_to(p, name);

	DCHECK(name != 0);
	if (id != NONE) {
		unqueue(p, id);
	} else {
		id = make_room(p);
		p->entry[id].name = name;
		p->entry[id].chain = NONE;
		*link_to(p, name) = id;
	}
	queue_last(p, id);
}

void hostpool_check(const struct hostpool *p)
{
	int32_t queued = 0, found = 0;

	for (int32_t id = p->entry[NONE].next, prev = NONE; id != NONE;
	     prev = id, id = p->entry[id].next) {
		CHECK(id > 0 && id <= p->n && p->entry[id].prev == prev && ++queued <= p->n);
		CHECK(*link_to(p, p->entry[id].name) == id);
	}
	for (uint64_t i = 0; i <= p->bucket_mask; i++)
		for (int32_t id = p->bucket[i]; id != NONE; id = p->entry[id].chain)
			CHECK((p->entry[id].name & p->bucket_mask) == i && ++found <= p->n);
	CHECK(queued == p->n && found == p->n);
}
