/*
 * Owns the KV block ledger: the queue of free blocks, the counts of holders, the names by content.
 * Pure bookkeeping on one thread; nothing here is linear in the size of the pool but kvpool_new()
 * and kvpool_check(). Must not know policies, steps or tensors.
 *
 * A block's name is a 64-bit hash of its tokens and the name of the block before it, so equal names
 * mean equal prefixes up to chance. How big the chance is: each of the about 4 multiplications a
 * block of 16 takes may let two different prefixes meet, with 2^-64; a look-up against a pool of
 * 2^15 names is then wrong with about 2^-47, a billion of them with 2^-17. That is no defence
 * against prompts made to collide: the mix is fast, not cryptographic.
 */
#include "kvpool.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "hostpool.h"

/* Block 0, the null block, is never handed out: it means "none" and heads the free ring. */
#define NONE 0

struct block {
	uint64_t name;	    /* 0 = none. Outlives the last holder, goes with the next one */
	int32_t refs;	    /* requests that hold it */
	int32_t prev, next; /* ring of free blocks, while refs is 0 */

	/* Blocks of one name form a ring; its leader, the eldest, answers look-ups. */
	int32_t twin_prev, twin_next;
	int32_t chain; /* of a leader: the next one in its bucket */
};

struct kvpool {
	struct block *block;
	int32_t num_blocks, block_size, n_free;
	int32_t n_cached; /* free ones with a name */
	bool prefix_caching;
	struct hostpool *host; /* or NULL */
	int32_t *bucket;       /* leaders by name */
	uint64_t bucket_mask;
};

/* ---- names ---- */

/* Product of two words with both halves folded: every input bit reaches every output bit. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t two_tokens(const int32_t *t)
{
	uint64_t w;

	memcpy(&w, t, sizeof(w));
	return w;
}

/* Four tokens a multiplication. The constant (the square root of 3, as in SHA-512) has the top bit
 * set in both halves, which no pair of token ids has: the first factor is never 0, so no token can
 * wipe out the rest. */
static uint64_t block_name(uint64_t before, const int32_t *t, int32_t n)
{
	const uint64_t key = 0xbb67ae8584caa73b;
	uint64_t h = before ^ 0xa54ff53a5f1d36f1;

	for (; n >= 4; n -= 4, t += 4)
		h = fold(two_tokens(t) ^ key, two_tokens(t + 2) ^ h);
	if (n) {
		int32_t rest[4] = {0};

		memcpy(rest, t, (size_t)n * sizeof(*t));
		h = fold(two_tokens(rest) ^ key, two_tokens(rest + 2) ^ h);
	}
	return h ? h : 1;
}

/* Before the first block: an adapter's entries are no other's. */
static uint64_t first_name(const struct genreq *r)
{
	return (uint64_t)r->adapter;
}

/* Continues r's hash chain to n blocks. Tokens only ever follow, so what is there stays right,
 * preempted or not. */
static void extend_chain(const struct kvpool *p, struct genreq *r, int32_t n)
{
	struct sched_slot *s = &r->slot;

	if (n > s->cap_hashes) {
		int32_t whole = r->cap_tokens / p->block_size;

		s->cap_hashes = n > whole ? 2 * n : whole;
		s->hash = xreallocarray(s->hash, (size_t)s->cap_hashes, sizeof(*s->hash));
	}
	for (; s->n_hashes < n; s->n_hashes++)
		s->hash[s->n_hashes] =
			block_name(s->n_hashes ? s->hash[s->n_hashes - 1] : first_name(r),
				   r->tokens + (size_t)s->n_hashes * p->block_size, p->block_size);
}

/* The link that points to the leader of this name, or to NONE at the end of the bucket. */
static int32_t *leader_link(const struct kvpool *p, uint64_t name)
{
	int32_t *link = &p->bucket[name & p->bucket_mask];

	while (*link != NONE && p->block[*link].name != name)
		link = &p->block[*link].chain;
	return link;
}

static void give_name(struct kvpool *p, int32_t id, uint64_t name)
{
	struct block *b = &p->block[id];
	int32_t *link = leader_link(p, name), leader = *link;

	b->name = name;
	b->chain = NONE;
	b->twin_prev = b->twin_next = id;
	if (leader == NONE) {
		*link = id;
		return;
	}
	b->twin_prev = p->block[leader].twin_prev;
	b->twin_next = leader;
	p->block[b->twin_prev].twin_next = id;
	p->block[leader].twin_prev = id;
}

static void take_name(struct kvpool *p, int32_t id)
{
	struct block *b = &p->block[id];
	int32_t *link = leader_link(p, b->name);

	if (*link == id) {
		*link = b->chain;
		if (b->twin_next != id) {
			p->block[b->twin_next].chain = b->chain;
			*link = b->twin_next;
		}
	}
	p->block[b->twin_prev].twin_next = b->twin_next;
	p->block[b->twin_next].twin_prev = b->twin_prev;
	b->name = 0;
}

/* ---- the ring of free blocks; block[NONE].next is handed out first ---- */

static void insert_free(struct kvpool *p, int32_t after, int32_t id)
{
	struct block *b = &p->block[id];

	b->prev = after;
	b->next = p->block[after].next;
	p->block[b->next].prev = id;
	p->block[after].next = id;
	p->n_free++;
	p->n_cached += b->name != 0;
}

static void remove_free(struct kvpool *p, int32_t id)
{
	struct block *b = &p->block[id];

	p->block[b->prev].next = b->next;
	p->block[b->next].prev = b->prev;
	p->n_free--;
	p->n_cached -= b->name != 0;
}

static int32_t pop_free(struct kvpool *p)
{
	int32_t id = p->block[NONE].next;

	DCHECK(id != NONE);
	remove_free(p, id);
	if (p->block[id].name && p->host)
		hostpool_put(p->host, p->block[id].name);
	if (p->block[id].name)
		take_name(p, id);
	p->block[id].refs = 1;
	return id;
}

/* ---- the ledger ---- */

struct kvpool *kvpool_new(int32_t num_blocks, int32_t block_size, bool prefix_caching)
{
	struct kvpool *p = xcalloc(1, sizeof(*p));
	uint64_t buckets = 1;

	CHECK(num_blocks > 1 && block_size > 0 && (int64_t)num_blocks * block_size <= INT32_MAX);
	while (buckets < (uint64_t)num_blocks)
		buckets *= 2;
	p->block = xcalloc((size_t)num_blocks, sizeof(*p->block));
	p->bucket = xcalloc((size_t)buckets, sizeof(*p->bucket));
	p->bucket_mask = buckets - 1;
	p->num_blocks = num_blocks;
	p->block_size = block_size;
	p->prefix_caching = prefix_caching;
	for (int32_t id = 1; id < num_blocks; id++)
		insert_free(p, id - 1, id);
	return p;
}

void kvpool_free(struct kvpool *p)
{
	if (!p)
		return;
	hostpool_free(p->host);
	free(p->block);
	free(p->bucket);
	free(p);
}

int32_t kvpool_free_blocks(const struct kvpool *p)
{
	return p->n_free;
}

int32_t kvpool_usable_blocks(const struct kvpool *p)
{
	return p->num_blocks - 1;
}

static int32_t blocks_for(const struct kvpool *p, int32_t tokens)
{
	return (int32_t)(((int64_t)tokens + p->block_size - 1) / p->block_size);
}

int32_t kvpool_lookup(struct kvpool *p, struct genreq *r, int32_t limit_tokens)
{
	int32_t hits = 0, most = limit_tokens / p->block_size;

	if (!p->prefix_caching)
		return 0;
	extend_chain(p, r, most);
	while (hits < most && *leader_link(p, r->slot.hash[hits]) != NONE)
		hits++;
	return hits * p->block_size;
}

void kvpool_offload(struct kvpool *p, int32_t host_blocks)
{
	CHECK(!p->host && p->prefix_caching);
	p->host = hostpool_new(host_blocks);
}

/* Used from the last one on, so that the host, too, gives up tails before heads. */
int32_t kvpool_lookup_host(struct kvpool *p, struct genreq *r, int32_t hit_tokens,
			   int32_t limit_tokens)
{
	int32_t first = hit_tokens / p->block_size, most = limit_tokens / p->block_size;
	int32_t end = first;

	if (!p->host)
		return 0;
	extend_chain(p, r, most);
	while (end < most && hostpool_has(p->host, r->slot.hash[end]))
		end++;
	for (int32_t i = end; i > first; i--)
		hostpool_put(p->host, r->slot.hash[i - 1]);
	return (end - first) * p->block_size;
}

static void reserve_ids(const struct kvpool *p, struct genreq *r, int32_t n)
{
	struct sched_slot *s = &r->slot;
	int32_t whole = blocks_for(p, r->cap_tokens); /* one allocation serves most requests */

	if (n <= s->cap_blocks)
		return;
	s->cap_blocks = n > whole ? 2 * n : whole;
	s->block = xreallocarray(s->block, (size_t)s->cap_blocks, sizeof(*s->block));
}

/* Hands r new blocks until it holds n. */
static void hand_out(struct kvpool *p, struct genreq *r, int32_t n)
{
	reserve_ids(p, r, n);
	while (r->slot.n_blocks < n)
		r->slot.block[r->slot.n_blocks++] = pop_free(p);
}

bool kvpool_admit(struct kvpool *p, struct genreq *r, int32_t hit_tokens, int32_t tokens,
		  int32_t must_fit_tokens, int32_t watermark_blocks)
{
	struct sched_slot *s = &r->slot;
	int32_t hits = hit_tokens / p->block_size, n = blocks_for(p, tokens);
	int32_t need = blocks_for(p, must_fit_tokens > tokens ? must_fit_tokens : tokens);

	DCHECK(s->n_blocks == 0 && hits <= n);
	need += watermark_blocks - hits;
	if (need > p->n_free)
		return false;
	for (int32_t i = 0; i < hits; i++) /* a hit that nobody holds leaves the free queue, too */
		need += p->block[*leader_link(p, s->hash[i])].refs == 0;
	if (need > p->n_free)
		return false;
	reserve_ids(p, r, n);
	for (int32_t i = 0; i < hits; i++) {
		int32_t id = *leader_link(p, s->hash[i]);

		if (p->block[id].refs++ == 0)
			remove_free(p, id);
		s->block[s->n_blocks++] = id;
	}
	s->n_named = hits;
	hand_out(p, r, n);
	return true;
}

bool kvpool_grow(struct kvpool *p, struct genreq *r, int32_t tokens)
{
	int32_t n;

	if (tokens <= r->slot.n_blocks * p->block_size) /* the usual case, without a division */
		return true;
	n = blocks_for(p, tokens);
	if (n - r->slot.n_blocks > p->n_free)
		return false;
	hand_out(p, r, n);
	return true;
}

int32_t kvpool_lacks(const struct kvpool *p, const struct genreq *r, int32_t tokens)
{
	if (tokens <= r->slot.n_blocks * p->block_size)
		return 0;
	return blocks_for(p, tokens) - r->slot.n_blocks;
}

int32_t kvpool_next_change(const struct kvpool *p, const struct genreq *r)
{
	int32_t grows = r->slot.n_blocks * p->block_size + 1;
	int32_t named = (r->slot.n_named + 1) * p->block_size;

	return p->prefix_caching && named < grows ? named : grows;
}

bool kvpool_names(const struct kvpool *p, const struct genreq *r, int32_t tokens)
{
	return p->prefix_caching && tokens >= (r->slot.n_named + 1) * p->block_size;
}

void kvpool_cache_full(struct kvpool *p, struct genreq *r, int32_t tokens)
{
	struct sched_slot *s = &r->slot;
	int32_t n;

	if (!kvpool_names(p, r, tokens))
		return;
	n = tokens / p->block_size;
	extend_chain(p, r, n);
	for (; s->n_named < n; s->n_named++)
		give_name(p, s->block[s->n_named], s->hash[s->n_named]);
}

void kvpool_release(struct kvpool *p, struct genreq *r)
{
	struct sched_slot *s = &r->slot;
	int32_t nameless_after = NONE;

	/* Named when they were scheduled, but never computed: whoever took them back would read
	 * garbage. */
	for (; s->n_named * p->block_size > s->computed; s->n_named--)
		if (p->block[s->block[s->n_named - 1]].name)
			take_name(p, s->block[s->n_named - 1]);
	while (s->n_blocks > 0) {
		int32_t id = s->block[--s->n_blocks];

		DCHECK(p->block[id].refs > 0);
		if (--p->block[id].refs > 0)
			continue;
		if (p->block[id].name) {
			insert_free(p, p->block[NONE].prev, id);
		} else {
			insert_free(p, nameless_after, id);
			nameless_after = id;
		}
	}
	s->n_named = 0;
}

/* ---- a cache that is given up as a whole ---- */

int32_t kvpool_cached_blocks(const struct kvpool *p)
{
	return p->n_cached;
}

/* The named ones are at the end of the ring. */
void kvpool_forget_cached(struct kvpool *p)
{
	for (int32_t id = p->block[NONE].prev; p->n_cached > 0; id = p->block[id].prev) {
		take_name(p, id);
		p->n_cached--;
	}
}

static void adopt(struct kvpool *p, int32_t *held, int32_t named)
{
	if (p->block[named].refs++ == 0)
		remove_free(p, named);
	p->block[*held].refs = 0;
	insert_free(p, NONE, *held);
	*held = named;
}

void kvpool_share_full(struct kvpool *p, struct genreq *r, int32_t tokens)
{
	struct sched_slot *s = &r->slot;
	int32_t n;

	if (!p->prefix_caching || tokens < (s->n_named + 1) * p->block_size)
		return;
	n = tokens / p->block_size;
	extend_chain(p, r, n);
	for (; s->n_named < n; s->n_named++) {
		int32_t named = *leader_link(p, s->hash[s->n_named]);

		if (named == NONE)
			give_name(p, s->block[s->n_named], s->hash[s->n_named]);
		else
			adopt(p, &s->block[s->n_named], named);
	}
}

void kvpool_discard(struct kvpool *p, struct genreq *r)
{
	for (int32_t i = 0; i < r->slot.n_named; i++)
		if (p->block[r->slot.block[i]].refs == 1)
			take_name(p, r->slot.block[i]);
	kvpool_release(p, r);
}

/* ---- for tests ---- */

static void check_free_ring(const struct kvpool *p)
{
	int32_t n = 0, held = 0, cached = 0;

	for (int32_t id = p->block[NONE].next, prev = NONE; id != NONE;
	     prev = id, id = p->block[id].next) {
		cached += p->block[id].name != 0;
		CHECK(p->block[id].name || cached == 0); /* the nameless ones come first */
		CHECK(id > 0 && id < p->num_blocks && n < p->num_blocks);
		CHECK(p->block[id].prev == prev && p->block[id].refs == 0);
		n++;
	}
	for (int32_t id = 1; id < p->num_blocks; id++) {
		CHECK(p->block[id].refs >= 0);
		held += p->block[id].refs > 0;
	}
	CHECK(n == p->n_free && n + held == p->num_blocks - 1 && cached == p->n_cached);
}

static void check_names(const struct kvpool *p)
{
	int32_t named = 0, found = 0;

	for (int32_t id = 1; id < p->num_blocks; id++)
		named += p->block[id].name != 0;
	for (uint64_t i = 0; i <= p->bucket_mask; i++) {
		for (int32_t leader = p->bucket[i]; leader != NONE;
		     leader = p->block[leader].chain) {
			uint64_t name = p->block[leader].name;
			int32_t id = leader;

			CHECK(name && (name & p->bucket_mask) == i &&
			      *leader_link(p, name) == leader);
			do {
				CHECK(p->block[id].name == name && ++found <= named);
				CHECK(p->block[p->block[id].twin_next].twin_prev == id);
				id = p->block[id].twin_next;
			} while (id != leader);
		}
	}
	CHECK(named == found && p->block[NONE].name == 0);
}

void kvpool_check(const struct kvpool *p)
{
	check_free_ring(p);
	check_names(p);
	if (p->host)
		hostpool_check(p->host);
}
