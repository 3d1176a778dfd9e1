/*
 * One run of memory cut into pieces. The walk that cuts it is made twice: without memory it counts,
 * and the two can not disagree. The memory may be the device's: it is not touched here.
 */
#ifndef CUDA_ARENA_H
#define CUDA_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "repack.h"

struct arena {
	uint8_t *memory; /* NULL: pieces are NULL, and `at` counts */
	size_t at;
};

static inline void *arena_take(struct arena *a, size_t bytes)
{
	uint8_t *p = a->memory && bytes > 0 ? a->memory + a->at : NULL;

	a->at += (bytes + GPU_ALIGN - 1) / GPU_ALIGN * GPU_ALIGN;
	return p;
}

#endif
