/*
 * The ledger of a KV cache kept by token: how much each request holds, what the prefix cache has
 * (radix.h), what is free. Beside kvpool.h, the ledger by block. It knows amounts, not places.
 *
 * A request's tokens are its locked prefix, which belongs to the cache (slot.n_prefix), and its
 * own; slot.n_blocks counts both, and 0 says that it holds nothing. Without a prefix cache the
 * caller may as well count blocks of any size.
 */
#ifndef SERVE_TOKENPOOL_H
#define SERVE_TOKENPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "genreq.h"

struct tokenpool;

/* cut_leaves: see radix.h. */
struct tokenpool *tokenpool_new(int32_t capacity, bool prefix_caching, bool cut_leaves);
void tokenpool_free(struct tokenpool *p);

int32_t tokenpool_capacity(const struct tokenpool *p);

/* What nobody holds: free, or to be had by evicting. */
int32_t tokenpool_available(const struct tokenpool *p);

/* Evicts what so many free ones take; false if even all of it is not enough (it is evicted all the
 * same: the engines do not look first). */
bool tokenpool_make_free(struct tokenpool *p, int32_t tokens);

/* How many of r's tokens the cache has. Counts as a use. */
int32_t tokenpool_lookup(struct tokenpool *p, const struct genreq *r);

/* For a request that holds nothing: the longest cached prefix of its first n tokens becomes its
 * prefix. */
void tokenpool_share(struct tokenpool *p, struct genreq *r, int32_t n);

/* So many more of its own; they must be free. */
void tokenpool_hold(struct tokenpool *p, struct genreq *r, int32_t n);

/* r has computed its first n tokens and holds them: they become the cache's, and r's prefix. What
 * the cache got from somebody else meanwhile, r computed for nothing; that is free again. */
void tokenpool_cache(struct tokenpool *p, struct genreq *r, int32_t n);

/* r holds nothing any more. */
void tokenpool_release(struct tokenpool *p, struct genreq *r);

/* For tests; quadratic. */
void tokenpool_check(const struct tokenpool *p);

#endif
