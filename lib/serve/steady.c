/*
 * Owns the requests that need no attention, sorted by when they will. Pure, on the policy's thread;
 * nothing here is linear in their number but steady_remove_all() and steady_find_next_end(). Must
 * not know plans or budgets.
 */
#include "steady.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

void steady_init(struct steady *s, struct kvpool *pool, int32_t block_size,
		 void (*append)(struct genreq *r, int32_t n))
{
	int64_t buckets = 1;

	while (buckets <= block_size)
		buckets *= 2;
	*s = (struct steady){.pool = pool,
			     .append = append,
			     .end_ns = INT64_MIN,
			     .next_end = INT64_MAX,
			     .newest = -1,
			     .mask = buckets - 1,
			     .bucket = xcalloc((size_t)buckets, sizeof(*s->bucket))};
}

void steady_release(struct steady *s)
{
	for (int64_t i = 0; s->bucket && i <= s->mask; i++)
		free(s->bucket[i].r);
	free(s->bucket);
}

static struct steady_bucket *bucket_of(const struct steady *s, int64_t step)
{
	return &s->bucket[step & s->mask];
}

static void put(struct steady *s, struct genreq *r)
{
	struct sched_slot *z = &r->slot;
	struct steady_bucket *b;

	/* behind the steps since it was brought up to date, each longer by one token */
	z->due = z->since + kvpool_next_change(s->pool, r) - z->computed - 1;
	if (z->last_step < z->due)
		z->due = z->last_step;
	DCHECK(z->due >= s->step && z->due <= s->step + s->mask);
	b = bucket_of(s, z->due);
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 8;
		b->r = xreallocarray(b->r, (size_t)b->cap, sizeof(struct genreq *));
	}
	b->r[b->n++] = r;
}

/* An adapter is in the batch from its first user to its last. */
static void count_user(struct steady *s, const struct genreq *r, int32_t by)
{
	int32_t bit = r->adapter - 1;

	if (bit < 0)
		return;
	s->users[bit] += by;
	if (s->users[bit] > 0)
		s->adapters |= UINT64_C(1) << bit;
	else
		s->adapters &= ~(UINT64_C(1) << bit);
}

void steady_add(struct steady *s, struct genreq *r, int32_t left)
{
	struct sched_slot *z = &r->slot;

	DCHECK(!z->steady && r->state == GENREQ_DECODE && z->computed == r->n_tokens - 1);
	z->steady = true;
	z->since = s->step;
	z->last_step = s->step + left - 1;
	s->n++;
	s->kv_tokens += z->computed + 1;
	count_user(s, r, 1);
	if (z->last_step < s->next_end)
		s->next_end = z->last_step;
	if (z->order > s->newest)
		s->newest = z->order;
	put(s, r);
}

void steady_catch_up(struct steady *s, struct genreq *r)
{
	struct sched_slot *z = &r->slot;
	int32_t n = (int32_t)(s->step - z->since);

	DCHECK(z->steady);
	if (n == 0)
		return;
	s->append(r, n);
	z->computed += n;
	z->since = s->step;
	r->ready_ns = r->last_token_ns = s->end_ns;
}

void steady_find_next_end(struct steady *s)
{
	s->next_end = INT64_MAX;
	for (int64_t i = 0; i <= s->mask; i++)
		for (int32_t k = 0; k < s->bucket[i].n; k++)
			if (s->bucket[i].r[k]->slot.last_step < s->next_end)
				s->next_end = s->bucket[i].r[k]->slot.last_step;
}

static void take_out(struct steady *s, struct genreq *r)
{
	struct steady_bucket *b = bucket_of(s, r->slot.due);
	int32_t i = 0;

	while (b->r[i] != r)
		i++;
	b->n--;
	memmove(b->r + i, b->r + i + 1, (size_t)(b->n - i) * sizeof(struct genreq *));
}

static void let_go(struct steady *s, struct genreq *r)
{
	steady_catch_up(s, r);
	r->slot.steady = false;
	s->n--;
	s->kv_tokens -= r->slot.computed + 1;
	count_user(s, r, -1);
	if (s->n == 0)
		s->newest = -1;
}

void steady_remove(struct steady *s, struct genreq *r)
{
	take_out(s, r);
	let_go(s, r);
}

/* Nearly sorted: those who are due together once mostly are so the next time. */
static void sort_by_admission(struct genreq **r, int32_t n)
{
	for (int32_t i = 1; i < n; i++) {
		struct genreq *x = r[i];
		int32_t at = i;

		for (; at > 0 && r[at - 1]->slot.order > x->slot.order; at--)
			r[at] = r[at - 1];
		r[at] = x;
	}
}

static int by_admission(const void *a, const void *b)
{
	int64_t x = (*(struct genreq *const *)a)->slot.order,
		y = (*(struct genreq *const *)b)->slot.order;

	return (x > y) - (x < y);
}

int32_t steady_remove_all(struct steady *s, struct genreq ***out)
{
	struct steady_bucket *first = &s->bucket[0];
	int32_t n = s->n, k = first->n;

	if (first->cap < n) {
		first->cap = 2 * n;
		first->r = xreallocarray(first->r, (size_t)first->cap, sizeof(struct genreq *));
	}
	for (int64_t i = 1; i <= s->mask; i++) {
		for (int32_t j = 0; j < s->bucket[i].n; j++)
			first->r[k++] = s->bucket[i].r[j];
		s->bucket[i].n = 0;
	}
	CHECK(k == n);
	first->n = 0;
	for (int32_t i = 0; i < n; i++)
		let_go(s, first->r[i]);
	s->next_end = INT64_MAX;
	if (n > 1)
		qsort(first->r, (size_t)n, sizeof(struct genreq *), by_admission);
	*out = first->r;
	return n;
}

int32_t steady_due(struct steady *s, struct genreq ***out)
{
	struct steady_bucket *b = bucket_of(s, s->step);

	sort_by_admission(b->r, b->n);
	*out = b->r;
	return b->n;
}

void steady_none_due(struct steady *s)
{
	bucket_of(s, s->step)->n = 0;
}

/* So many tokens of r will be computed behind the next step. */
static int32_t length_then(const struct steady *s, const struct genreq *r)
{
	return r->slot.computed + (int32_t)(s->step - r->slot.since) + 1;
}

int32_t steady_blocks_due(struct steady *s)
{
	const struct steady_bucket *b = bucket_of(s, s->step);
	int32_t n = 0;

	for (int32_t i = 0; i < b->n; i++)
		n += kvpool_lacks(s->pool, b->r[i], length_then(s, b->r[i]));
	return n;
}

void steady_pass(struct steady *s, struct genreq *r)
{
	int32_t length = length_then(s, r);

	CHECK(kvpool_grow(s->pool, r, length));
	if (kvpool_names(s->pool, r, length)) {
		steady_catch_up(s, r); /* a name is made of the tokens */
		kvpool_cache_full(s->pool, r, length);
	}
	put(s, r);
}

void steady_step_over(struct steady *s, int64_t end_ns)
{
	s->step++;
	s->end_ns = end_ns;
	s->kv_tokens += s->n;
}
