/*
 * A prefix cache by token: the radix tree over token ids that SGLang and TGI keep. Who has computed
 * a prefix inserts it, who reads one locks it; what nobody locks may be evicted, from the leaves,
 * the least recently used one first. It counts tokens and does not say where they lie: the owner of
 * the KV cache counts what is free and what is not in the tree.
 *
 * Matching, inserting, locking and unlocking cost O(tokens in question), and O(log leaves) for one
 * leaf's place in the order of eviction. A node is valid as long as somebody holds a lock on it.
 */
#ifndef SERVE_RADIX_H
#define SERVE_RADIX_H

#include <stdbool.h>
#include <stdint.h>

struct radix;
struct radix_node;

/* cut_leaves: eviction takes the tail of a leaf if that is enough (TGI); else whole leaves only. */
struct radix *radix_new(bool cut_leaves);
void radix_free(struct radix *t);

/* The node at which the longest cached prefix of the n tokens ends, which is *len tokens; NULL and
 * 0 if there is none. All on the way count as used now. The node is not locked yet. */
struct radix_node *radix_match(struct radix *t, const int32_t *tokens, int32_t n, int32_t *len);

/* Makes all n tokens cached; *len of them were so before. Returns the node where they end (NULL
 * if n is 0), not locked. */
struct radix_node *radix_insert(struct radix *t, const int32_t *tokens, int32_t n, int32_t *len);

/* Keeps the node and all above it from eviction, until as many unlocks. NULL is nothing to keep. */
void radix_lock(struct radix *t, struct radix_node *at);
void radix_unlock(struct radix *t, struct radix_node *at);

/* Forgets at least so many tokens, or all that may be forgotten. Returns how many went. */
int32_t radix_evict(struct radix *t, int32_t tokens);

int32_t radix_tokens(const struct radix *t);
int32_t radix_evictable(const struct radix *t); /* tokens that nobody locks */

/* Counts, links and the order of eviction agree. For tests; quadratic. */
void radix_check(const struct radix *t);

#endif
