/*
 * The number formats of weights: how many bytes a block has, and what its elements are worth. The
 * functions here are the reference, written from the formats' texts (engine.md section 2,
 * "Blocks"); the fast paths of the executors are held to them by tests. Pure.
 */
#ifndef MODEL_DTYPE_H
#define MODEL_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
	DTYPE_F32,
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_Q4_0,
	DTYPE_Q4_1,
	DTYPE_Q5_0,
	DTYPE_Q5_1,
	DTYPE_Q8_0,
	DTYPE_Q4_K,
	DTYPE_Q5_K,
	DTYPE_Q6_K,
	DTYPE_COUNT
};

struct dtype_info {
	const char *name;    /* "Q4_1" */
	int32_t block;	     /* elements a block; 1 for the plain ones */
	int32_t block_bytes; /* the size of one */
	int32_t gguf_id;     /* GGUF's number for it */
};

const struct dtype_info *dtype_info(enum dtype t);
bool dtype_from_gguf(int32_t id, enum dtype *out); /* false: one we do not read */

/* Bytes of n elements; n is a multiple of the block. */
size_t dtype_bytes(enum dtype t, int64_t n);

/* n elements (a multiple of the block) to float. src needs no alignment. */
void dtype_to_float(enum dtype t, const void *src, int64_t n, float *out);

/* The other way, to the nearest that the format has by its usual rule. Every format, so that tests
 * can write files; the loader needs F16, Q4_1 and Q8_0. */
void dtype_from_float(enum dtype t, const float *src, int64_t n, void *out);

float f16_to_float(uint16_t h);
uint16_t f16_from_float(float f); /* nearest even; beyond the range it is infinite */
float bf16_to_float(uint16_t h);
uint16_t bf16_from_float(float f);

#endif
