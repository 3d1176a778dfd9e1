/*
 * KV blocks in the host's memory, by name (kvpool.h): what the card had to give up, until there is
 * no room for it here either. The least recently used goes first. Names only, no tensors.
 */
#ifndef SERVE_HOSTPOOL_H
#define SERVE_HOSTPOOL_H

#include <stdbool.h>
#include <stdint.h>

struct hostpool;

struct hostpool *hostpool_new(int32_t num_blocks); /* > 0 */
void hostpool_free(struct hostpool *p);		   /* NULL legal */

bool hostpool_has(const struct hostpool *p, uint64_t name);

/* From now on it is there, and the most recently used. name is not 0. */
void hostpool_put(struct hostpool *p, uint64_t name);

/* Every name is found, counts agree, the queue is sound. For tests; linear. */
void hostpool_check(const struct hostpool *p);

#endif
