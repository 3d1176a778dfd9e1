/*
 * Owns the radix tree of cached prefixes: edges of several tokens, found by their first token in
 * one hash table for the whole tree, and a heap of the leaves that may go. On one thread. Must not
 * know requests, policies or memory.
 *
 * A lock on a node is counted there and in all above it, so whatever is unlocked has nothing locked
 * below it, and all of it can be evicted leaf by leaf.
 */
#include "radix.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

struct radix_node {
	uint64_t id; /* what its children are found by, with their first token */
	struct radix_node *parent;
	struct radix_node *chain; /* next in its bucket */
	int32_t *memory;	  /* owned; the tokens lie somewhere in it */
	const int32_t *token;
	int32_t len;
	int32_t n_children, locks;
	uint64_t used;	 /* by the tree's own clock */
	int32_t heap_at; /* -1: has children, or is locked, or is the root */
};

struct radix {
	struct radix_node root; /* no tokens; stays */
	struct radix_node **bucket;
	uint64_t n_buckets, n_nodes; /* a power of 2; without the root */
	struct radix_node **heap;    /* of what may go, by `used` */
	int32_t heap_n, heap_cap;
	int32_t tokens, evictable;
	bool cut_leaves;
	uint64_t now, next_id;
};

/* ---- children by first token ---- */

static struct radix_node **bucket_of(const struct radix *t, const struct radix_node *parent,
				     int32_t first)
{
	uint64_t h = (parent->id << 32 ^ (uint32_t)first) * UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 32;
	return &t->bucket[(h * UINT64_C(0xd6e8feb86659fd93)) >> 32 & (t->n_buckets - 1)];
}

/* The link that points to the child, or to NULL if there is none. */
static struct radix_node **child_link(const struct radix *t, const struct radix_node *parent,
				      int32_t first)
{
	struct radix_node **link = bucket_of(t, parent, first);

	while (*link && ((*link)->parent != parent || (*link)->token[0] != first))
		link = &(*link)->chain;
	return link;
}

static void hook(struct radix *t, struct radix_node *n)
{
	struct radix_node **head = bucket_of(t, n->parent, n->token[0]);

	n->chain = *head;
	*head = n;
}

static void unhook(struct radix *t, struct radix_node *n)
{
	*child_link(t, n->parent, n->token[0]) = n->chain;
}

static void double_buckets(struct radix *t)
{
	struct radix_node **old = t->bucket;
	uint64_t n_old = t->n_buckets;

	t->n_buckets *= 2;
	t->bucket = xcalloc((size_t)t->n_buckets, sizeof(struct radix_node *));
	for (uint64_t i = 0; i < n_old; i++) {
		for (struct radix_node *n = old[i], *next; n; n = next) {
			next = n->chain;
			hook(t, n);
		}
	}
	free(old);
}

/* ---- the heap of leaves that may go; heap[0] is the least recently used ---- */

static void place(struct radix *t, int32_t at, struct radix_node *n)
{
	t->heap[at] = n;
	n->heap_at = at;
}

static void sift_up(struct radix *t, int32_t at, struct radix_node *n)
{
	while (at > 0 && n->used < t->heap[(at - 1) / 2]->used) {
		place(t, at, t->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(t, at, n);
}

static void sift_down(struct radix *t, int32_t at, struct radix_node *n)
{
	for (int32_t child; (child = 2 * at + 1) < t->heap_n; at = child) {
		if (child + 1 < t->heap_n && t->heap[child + 1]->used < t->heap[child]->used)
			child++;
		if (t->heap[child]->used >= n->used)
			break;
		place(t, at, t->heap[child]);
	}
	place(t, at, n);
}

static void heap_add(struct radix *t, struct radix_node *n)
{
	if (t->heap_n == t->heap_cap) {
		t->heap_cap = t->heap_cap ? 2 * t->heap_cap : 64;
		t->heap = xreallocarray(t->heap, (size_t)t->heap_cap, sizeof(struct radix_node *));
	}
	t->heap_n++;
	sift_up(t, t->heap_n - 1, n);
}

static void heap_remove(struct radix *t, struct radix_node *n)
{
	struct radix_node *last = t->heap[--t->heap_n];
	int32_t at = n->heap_at;

	DCHECK(at >= 0 && at <= t->heap_n && t->heap[at] == n);
	n->heap_at = -1;
	if (last == n)
		return;
	sift_down(t, at, last);
	sift_up(t, last->heap_at, last);
}

static struct radix_node *heap_pop(struct radix *t)
{
	struct radix_node *first = t->heap[0], *last = t->heap[--t->heap_n];

	first->heap_at = -1;
	if (t->heap_n > 0)
		sift_down(t, 0, last);
	return first;
}

static bool may_go(const struct radix *t, const struct radix_node *n)
{
	return n != &t->root && n->locks == 0 && n->n_children == 0;
}

/* Its locks or children changed. */
static void settle(struct radix *t, struct radix_node *n)
{
	bool leaf = may_go(t, n);

	if (leaf && n->heap_at < 0)
		heap_add(t, n);
	else if (!leaf && n->heap_at >= 0)
		heap_remove(t, n);
}

static void touch(struct radix *t, struct radix_node *n)
{
	n->used = ++t->now;
	if (n->heap_at >= 0)
		sift_down(t, n->heap_at, n);
}

/* ---- nodes ---- */

static struct radix_node *node_new(struct radix *t, struct radix_node *parent,
				   const int32_t *tokens, int32_t n)
{
	struct radix_node *node = xcalloc(1, sizeof(*node));

	if (t->n_nodes == t->n_buckets)
		double_buckets(t);
	t->n_nodes++;
	node->id = ++t->next_id;
	node->parent = parent;
	node->memory = xreallocarray(NULL, (size_t)n, sizeof(*tokens));
	memcpy(node->memory, tokens, (size_t)n * sizeof(*tokens));
	node->token = node->memory;
	node->len = n;
	node->heap_at = -1;
	node->used = ++t->now;
	return node;
}

static void node_free(struct radix_node *n)
{
	free(n->memory);
	free(n);
}

/* The first k tokens become a node of their own, between n and its parent. Whoever locked n goes
 * on holding all of it. The rest stays where it lies in n's memory: a split copies k tokens, no
 * matter how long n is. */
static struct radix_node *split(struct radix *t, struct radix_node *n, int32_t k)
{
	struct radix_node *upper = node_new(t, n->parent, n->token, k);

	unhook(t, n);
	hook(t, upper);
	upper->locks = n->locks;
	upper->n_children = 1;
	n->parent = upper;
	n->token += k;
	n->len -= k;
	hook(t, n);
	return upper;
}

static void add_leaf(struct radix *t, struct radix_node *parent, struct radix_node *leaf)
{
	hook(t, leaf);
	parent->n_children++;
	settle(t, parent);
	settle(t, leaf);
	t->tokens += leaf->len;
	t->evictable += leaf->len;
}

static void evict_first(struct radix *t)
{
	struct radix_node *leaf = heap_pop(t);

	unhook(t, leaf);
	leaf->parent->n_children--;
	settle(t, leaf->parent);
	t->tokens -= leaf->len;
	t->evictable -= leaf->len;
	t->n_nodes--;
	node_free(leaf);
}

static int32_t common_tokens(const struct radix_node *n, const int32_t *tokens, int32_t max)
{
	int32_t k = 1; /* it was found by its first */

	if (max > n->len)
		max = n->len;
	while (k < max && n->token[k] == tokens[k])
		k++;
	return k;
}

/* As far down as the tokens lead, to a node that ends there: the root if nowhere. */
static struct radix_node *descend(struct radix *t, const int32_t *tokens, int32_t n, int32_t *len)
{
	struct radix_node *at = &t->root, *child;

	*len = 0;
	while (*len < n && (child = *child_link(t, at, tokens[*len]))) {
		int32_t k = common_tokens(child, tokens + *len, n - *len);

		touch(t, child);
		*len += k;
		if (k < child->len)
			return split(t, child, k);
		at = child;
	}
	return at;
}

/* ---- the tree ---- */

struct radix *radix_new(bool cut_leaves)
{
	struct radix *t = xcalloc(1, sizeof(*t));

	t->cut_leaves = cut_leaves;
	t->root.heap_at = -1;
	t->n_buckets = 64;
	t->bucket = xcalloc((size_t)t->n_buckets, sizeof(struct radix_node *));
	return t;
}

void radix_free(struct radix *t)
{
	if (!t)
		return;
	for (uint64_t i = 0; i < t->n_buckets; i++) {
		for (struct radix_node *n = t->bucket[i], *next; n; n = next) {
			next = n->chain;
			node_free(n);
		}
	}
	free(t->bucket);
	free(t->heap);
	free(t);
}

struct radix_node *radix_match(struct radix *t, const int32_t *tokens, int32_t n, int32_t *len)
{
	struct radix_node *at = descend(t, tokens, n, len);

	return at == &t->root ? NULL : at;
}

struct radix_node *radix_insert(struct radix *t, const int32_t *tokens, int32_t n, int32_t *len)
{
	struct radix_node *at = descend(t, tokens, n, len);

	if (*len < n) {
		struct radix_node *leaf = node_new(t, at, tokens + *len, n - *len);

		add_leaf(t, at, leaf);
		at = leaf;
	}
	return at == &t->root ? NULL : at;
}

void radix_lock(struct radix *t, struct radix_node *at)
{
	for (struct radix_node *n = at; n && n != &t->root; n = n->parent) {
		if (n->locks++ == 0)
			t->evictable -= n->len;
		settle(t, n);
	}
}

void radix_unlock(struct radix *t, struct radix_node *at)
{
	for (struct radix_node *n = at; n && n != &t->root; n = n->parent) {
		CHECK(n->locks > 0);
		if (--n->locks == 0)
			t->evictable += n->len;
		settle(t, n);
	}
}

int32_t radix_evict(struct radix *t, int32_t tokens)
{
	int32_t evicted = 0;

	while (evicted < tokens && t->heap_n > 0) {
		struct radix_node *leaf = t->heap[0];
		int32_t wanted = tokens - evicted;

		if (t->cut_leaves && leaf->len > wanted) {
			leaf->len -= wanted;
			t->tokens -= wanted;
			t->evictable -= wanted;
			return tokens;
		}
		evicted += leaf->len;
		evict_first(t);
	}
	return evicted;
}

int32_t radix_tokens(const struct radix *t)
{
	return t->tokens;
}

int32_t radix_evictable(const struct radix *t)
{
	return t->evictable;
}

/* ---- for tests ---- */

static int32_t count_children(const struct radix *t, const struct radix_node *parent)
{
	int32_t n_children = 0, locks = 0;

	for (uint64_t i = 0; i < t->n_buckets; i++) {
		for (const struct radix_node *n = t->bucket[i]; n; n = n->chain) {
			if (n->parent != parent)
				continue;
			n_children++;
			locks += n->locks;
		}
	}
	CHECK(parent == &t->root || locks <= parent->locks);
	return n_children;
}

void radix_check(const struct radix *t)
{
	int64_t tokens = 0, evictable = 0;
	uint64_t n_nodes = 0;
	int32_t leaves = 0;

	for (uint64_t i = 0; i < t->n_buckets; i++) {
		for (const struct radix_node *n = t->bucket[i]; n; n = n->chain) {
			CHECK(bucket_of(t, n->parent, n->token[0]) == &t->bucket[i]);
			CHECK(*child_link(t, n->parent, n->token[0]) == n);
			CHECK(n->len > 0 && n->locks >= 0 && n->used <= t->now);
			CHECK(n->n_children == count_children(t, n));
			CHECK((n->heap_at >= 0) == may_go(t, n));
			n_nodes++;
			leaves += n->heap_at >= 0;
			tokens += n->len;
			evictable += n->locks ? 0 : n->len;
		}
	}
	CHECK(n_nodes == t->n_nodes && tokens == t->tokens && evictable == t->evictable);
	CHECK(t->root.n_children == count_children(t, &t->root) && t->root.len == 0);
	CHECK(leaves == t->heap_n);
	for (int32_t i = 0; i < t->heap_n; i++) {
		CHECK(t->heap[i]->heap_at == i);
		CHECK(i == 0 || t->heap[(i - 1) / 2]->used <= t->heap[i]->used);
	}
}
