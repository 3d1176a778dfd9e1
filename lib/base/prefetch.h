/*
 * Asks for memory ahead of its use. For passes over thousands of things with so much in between (a
 * send() each) that nothing of the last pass is left in the cache. p may point anywhere.
 */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE_BYTES 64

static inline void prefetch(const void *p, size_t bytes)
{
	uintptr_t at = (uintptr_t)p, end = at + bytes;

	for (at -= at % CACHE_LINE_BYTES; at < end; at += CACHE_LINE_BYTES)
		__builtin_prefetch((const void *)at, 1);
}

#endif
