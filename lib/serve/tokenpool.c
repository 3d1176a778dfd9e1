/*
 * Owns the amounts of a KV cache kept by token: capacity = free + held by requests + in the prefix
 * cache. On one thread. Must not know policies or steps.
 */
#include "tokenpool.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "radix.h"

struct tokenpool {
	int32_t capacity;
	int32_t held;	     /* by requests, beyond their prefixes */
	struct radix *cache; /* NULL: no reuse */
};

struct tokenpool *tokenpool_new(int32_t capacity, bool prefix_caching, bool cut_leaves)
{
	struct tokenpool *p = xcalloc(1, sizeof(*p));

	CHECK(capacity > 0);
	p->capacity = capacity;
	p->cache = prefix_caching ? radix_new(cut_leaves) : NULL;
	return p;
}

void tokenpool_free(struct tokenpool *p)
{
	if (!p)
		return;
	radix_free(p->cache);
	free(p);
}

int32_t tokenpool_capacity(const struct tokenpool *p)
{
	return p->capacity;
}

static int32_t unused(const struct tokenpool *p)
{
	return p->capacity - p->held - (p->cache ? radix_tokens(p->cache) : 0);
}

int32_t tokenpool_available(const struct tokenpool *p)
{
	return unused(p) + (p->cache ? radix_evictable(p->cache) : 0);
}

bool tokenpool_make_free(struct tokenpool *p, int32_t tokens)
{
	if (p->cache && unused(p) < tokens)
		radix_evict(p->cache, tokens - unused(p));
	return unused(p) >= tokens;
}

int32_t tokenpool_lookup(struct tokenpool *p, const struct genreq *r)
{
	int32_t len = 0;

	if (p->cache)
		radix_match(p->cache, r->tokens, r->n_tokens, &len);
	return len;
}

void tokenpool_share(struct tokenpool *p, struct genreq *r, int32_t n)
{
	struct sched_slot *slot = &r->slot;

	DCHECK(slot->n_blocks == 0);
	if (!p->cache)
		return;
	slot->prefix = radix_match(p->cache, r->tokens, n, &slot->n_prefix);
	radix_lock(p->cache, slot->prefix);
	slot->n_blocks = slot->n_prefix;
}

void tokenpool_hold(struct tokenpool *p, struct genreq *r, int32_t n)
{
	CHECK(n <= unused(p));
	r->slot.n_blocks += n;
	p->held += n;
}

void tokenpool_cache(struct tokenpool *p, struct genreq *r, int32_t n)
{
	struct sched_slot *slot = &r->slot;
	struct radix_node *at;
	int32_t known;

	if (!p->cache)
		return;
	DCHECK(slot->n_prefix <= n && n <= slot->n_blocks);
	at = radix_insert(p->cache, r->tokens, n, &known);
	radix_lock(p->cache, at);
	radix_unlock(p->cache, slot->prefix);
	p->held -= n - slot->n_prefix;
	slot->prefix = at;
	slot->n_prefix = n;
}

void tokenpool_release(struct tokenpool *p, struct genreq *r)
{
	struct sched_slot *slot = &r->slot;

	p->held -= slot->n_blocks - slot->n_prefix;
	if (p->cache)
		radix_unlock(p->cache, slot->prefix);
	slot->prefix = NULL;
	slot->n_prefix = slot->n_blocks = 0;
}

void tokenpool_check(const struct tokenpool *p)
{
	CHECK(p->held >= 0 && unused(p) >= 0 && tokenpool_available(p) <= p->capacity);
	if (p->cache)
		radix_check(p->cache);
}
