/*
 * Quantised weights, 32 inputs of a row at a time, in one form whatever the file's is: what both
 * executors repack them from. The numbers are the file's exactly, but for Q6_K, whose scales are of
 * 16: it is rounded to 1/127 of the largest of 32. Pure.
 */
#ifndef MODEL_QUANT_H
#define MODEL_QUANT_H

#include <stdbool.h>
#include <stdint.h>

#include "dtype.h"

#define QUANT_INPUTS 32
#define QUANT_ZERO   128 /* the byte that stands for 0, in the formats that have no min */

/* w = scale * q + min for Q4_0, Q4_1, Q4_K (q < 16) and Q5_1, Q5_K (q < 32);
 * w = scale * (q - QUANT_ZERO) for Q5_0, Q8_0, Q6_K. */
struct quant_block {
	float scale, min;
	uint8_t q[QUANT_INPUTS];
};

bool quant_is(enum dtype t); /* else it is a plain one */

/* Group `group` of a row of a quantised format. */
void quant_read(enum dtype t, const uint8_t *row, int32_t group, struct quant_block *b);

/* Nearest even; what is beyond the range is cut to it. */
uint16_t quant_half(float x);

#endif
