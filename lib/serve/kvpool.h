/*
 * The ledger of KV-cache blocks: who holds which, which may be reused, which content they have by
 * hash. No tensors. Semantics of vLLM V1's block pool (simulation.md 3.1): one LRU queue of free
 * blocks; a freed block keeps its hash until it is handed out again, so a later request with the
 * same prefix takes it back (a hit on a free block removes it from the queue); blocks are hashed
 * when they are scheduled full. One block is set aside as null block.
 */
#ifndef SERVE_KVPOOL_H
#define SERVE_KVPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "genreq.h"

struct kvpool;

/* num_blocks counts the null block: num_blocks - 1 are usable. block_size in tokens. */
struct kvpool *kvpool_new(int32_t num_blocks, int32_t block_size, bool prefix_caching);
void kvpool_free(struct kvpool *p);

/* Length in tokens (whole blocks) of the longest cached prefix of r's tokens, at most limit_tokens.
 * Pure look-up. */
int32_t kvpool_lookup(struct kvpool *p, struct genreq *r, int32_t limit_tokens);

/* From now on, a block with a name that is handed out anew is first copied to the host's memory,
 * which has room for so many. Once, before the first use. */
void kvpool_offload(struct kvpool *p, int32_t host_blocks);

/* How many tokens behind the first hit_tokens, which kvpool_lookup() found, the host has: 0 without
 * kvpool_offload(). Counts as a use. A request that is admitted may count them as computed, once
 * they are read back into blocks of its own. */
int32_t kvpool_lookup_host(struct kvpool *p, struct genreq *r, int32_t hit_tokens,
			   int32_t limit_tokens);

/* For a request that holds nothing: takes the hit blocks, then new ones so that `tokens` positions
 * fit. With must_fit_tokens > tokens it first requires that so many would fit. All or nothing:
 * false leaves everything as it was. watermark_blocks stay free. */
bool kvpool_admit(struct kvpool *p, struct genreq *r, int32_t hit_tokens, int32_t tokens,
		  int32_t must_fit_tokens, int32_t watermark_blocks);

/* For a running request: blocks so that `tokens` positions fit; false if there are not enough
 * (nothing changes). */
bool kvpool_grow(struct kvpool *p, struct genreq *r, int32_t tokens);

/* How many blocks that would hand out. */
int32_t kvpool_lacks(const struct kvpool *p, const struct genreq *r, int32_t tokens);

/* The next length at which r, growing token by token, needs a block or fills one that gets a name:
 * below it kvpool_grow() and kvpool_cache_full() have nothing to do. */
int32_t kvpool_next_change(const struct kvpool *p, const struct genreq *r);

/* Whether kvpool_cache_full() has something to do. */
bool kvpool_names(const struct kvpool *p, const struct genreq *r, int32_t tokens);

/* Gives names (hashes) to r's blocks that are full once `tokens` positions are computed. Call when
 * they are scheduled. */
void kvpool_cache_full(struct kvpool *p, struct genreq *r, int32_t tokens);

/* Lets go of all of r's blocks, last position first, so that tails are evicted before heads. Call
 * it before slot.computed goes back to 0: names given for tokens that were never computed after all
 * are taken back. */
void kvpool_release(struct kvpool *p, struct genreq *r);

/*
 * For a policy (hf-cb) by which free blocks with a name are not free, but a cache that is given up
 * as a whole; and which names blocks when they are computed.
 */

/* Free blocks that bear a name. New blocks are taken from the nameless ones first. */
int32_t kvpool_cached_blocks(const struct kvpool *p);

/* Takes their names away. */
void kvpool_forget_cached(struct kvpool *p);

/* As kvpool_cache_full(), but a block whose content already has a name is given back for the one
 * that bears it: no two blocks have the same content. */
void kvpool_share_full(struct kvpool *p, struct genreq *r, int32_t tokens);

/* As kvpool_release(), but what nobody else holds loses its name. */
void kvpool_discard(struct kvpool *p, struct genreq *r);

int32_t kvpool_free_blocks(const struct kvpool *p);
int32_t kvpool_usable_blocks(const struct kvpool *p);

/* Every block is either free or held, counts agree, the queue is sound. For tests; linear. */
void kvpool_check(const struct kvpool *p);

#endif
