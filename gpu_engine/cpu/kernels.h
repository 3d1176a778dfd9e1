/*
 * The arithmetic of a step, in one row of a table for each instruction set: products with packed
 * weights, attention over paged keys and values, and what is done row by row between them. All of
 * it is written once (body_*.h) over 16 floats at a time and compiled for each.
 *
 * Batch invariance: a row's result depends on that row alone. Products of int8 are summed exactly
 * in int32 over each 32 inputs; floats are summed by fused steps in an order that depends neither
 * on how many rows there are, nor on how tiles are shared out, nor on how a prompt is cut. Two
 * instruction sets need not agree in the last bits (one of them has no fused step).
 *
 * Nothing here allocates, locks or knows about threads: a call is one thread's share. Pointers need
 * no alignment beyond their type's but where it is said.
 */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model.h"
#include "pack.h"

/* The rows that matrices of n_in inputs are multiplied with, in the forms they want: as floats, and
 * as bytes with a scale every 32 inputs: x is within scale/2 of scale * q, and scale is 1/127 of
 * the largest of the 32. Inputs are padded with zeros to whole groups.
 *
 * The bytes of 8 rows stand together, group by group, so that a product of several rows finds them
 * at fixed distances: row r's group g is number activations_at(a, r, g). */
struct activations {
	int32_t n_in, n_groups, max_rows;
	unsigned forms;
	float *f;      /* [row][32 n_groups] */
	int8_t *q;     /* [at][32], -127 .. 127 */
	float *scale;  /* [at] */
	int32_t *sum;  /* [at]: of the q of the group */
	float *scaled; /* [at]: scale * sum */
	void *memory;  /* of all of them */
};

#define ACTIVATION_BLOCK 8

static inline size_t activations_at(const struct activations *a, int32_t row, int32_t group)
{
	size_t block = (size_t)(row / ACTIVATION_BLOCK);

	return (block * (size_t)a->n_groups + (size_t)group) * ACTIVATION_BLOCK +
	       (size_t)(row % ACTIVATION_BLOCK);
}

/* forms: ACTIVATIONS_..., all that the matrices they will meet want. */
void activations_init(struct activations *a, int32_t n_in, int32_t max_rows, unsigned forms);
void activations_release(struct activations *a);
size_t activations_bytes(int32_t n_in, int32_t max_rows, unsigned forms);

/* The keys and values of one sequence in one layer. Token t stands in page block[t / page_tokens]
 * at t % page_tokens; a page's keys of one kv head are [page_tokens][head_dim] halves at
 * data + page * page_stride + kv_head * page_tokens * head_dim, its values value_offset behind. */
struct kv_view {
	const uint16_t *data;
	const int32_t *block;
	int64_t page_stride, value_offset; /* in halves */
	int32_t page_tokens, head_dim;
};

/* What attention is to be computed: n_queries tokens of one sequence, the first of them at
 * `position`, whose keys and values stand in the pages already, as do those of all before them. */
struct attention {
	struct kv_view kv;
	const float *q; /* query i, head h: q + i * q_stride + h * head_dim */
	float *out;	/* likewise, out_stride */
	int64_t q_stride, out_stride;
	int32_t position, n_queries;
	int32_t n_heads, n_kv_heads; /* kv head = h / (n_heads / n_kv_heads) */
	float scale;		     /* of q.k */
	int32_t window;		     /* tokens seen back, the own one included; 0 = all */
	const float *alibi_slope;    /* [n_heads], times how far back a key is; or NULL */
};

/* The heads and queries that one call computes: heads of one kv head only. Any cut gives the same
 * bits; a cut of about ATTENTION_ROWS heads x queries reads the keys least often. */
struct attention_part {
	int32_t head, n_heads;
	int32_t query, n_queries;
};
#define ATTENTION_ROWS 32

/* Floats of scratch for calls of up to `rows` heads x queries, a thread its own. */
int64_t attention_scratch_floats(int32_t rows, int32_t head_dim);

struct kernels {
	const char *name; /* "avx512", "avx2", "scalar" */

	/* Rows [row, row + n_rows) of a, in the forms it has, from x + r * x_stride. */
	void (*prepare_rows)(const struct activations *a, int32_t row, int32_t n_rows,
			     const float *x, int64_t x_stride);

	/* y[r * y_stride + o] for the outputs o of tiles [tile, tile + n_tiles) of w and the rows r
	 * in [row, row + n_rows) of x. One function a kind; matmul() below finds it. */
	void (*matmul[PACK_COUNT])(const struct packed *w, int32_t tile, int32_t n_tiles,
				   const struct activations *x, int32_t row, int32_t n_rows,
				   float *y, int64_t y_stride);

	/* scratch: attention_scratch_floats(part's heads x queries, head_dim). */
	void (*attention)(const struct attention *a, const struct attention_part *part,
			  float *scratch);

	/* To halves, for the pages: nearest even, what is beyond the range is cut to it, so that no
	 * key of a later token can turn an earlier one's zero weight into NaN. */
	void (*to_f16)(const float *x, int32_t n, uint16_t *out);

	/* Of one row. weight and bias have n; bias may be NULL; out may be x. */
	void (*rms_norm)(const float *x, const float *weight, int32_t n, float eps, float *out);
	void (*layer_norm)(const float *x, const float *weight, const float *bias, int32_t n,
			   float eps, float *out);

	/* One head in place: its first n_rot numbers turned by the angles of its position, n_rot/2
	 * of them. rope_pairs turns (2i, 2i+1), rope_halves (i, i + n_rot/2). */
	void (*rope_pairs)(float *x, int32_t n_rot, const float *cos, const float *sin);
	void (*rope_halves)(float *x, int32_t n_rot, const float *cos, const float *sin);

	/* out = act(gate) * up, or act(gate) if up is NULL; out may be either. GELU is the one with
	 * erf. */
	void (*act[ACT_RELU + 1])(const float *gate, const float *up, int32_t n, float *out);

	void (*add)(float *x, const float *y, int32_t n); /* x += y: residuals, biases */
	void (*scale)(float *x, float by, int32_t n);
	void (*clamp)(float *x, float limit, int32_t n); /* to [-limit, limit] */
};

/* By name, or the best that the machine has if name is NULL. RC_INPUT: no such name, or not on this
 * machine, with the list of what there is. */
enum rc kernels_choose(const struct kernels **out, const char *name, struct err *e);

/* Those that this machine can run, best first; NULL behind the last. */
const struct kernels *kernels_at(int32_t i);

/* Outputs of tiles [tile, tile + n_tiles), counted through all parts of w, for rows [row, row +
 * n_rows) of x, whose forms must be among those w wants. y: row r's n_out outputs at y + r *
 * y_stride. Items of a few tiles (4 for one row) keep the memory busy best. */
void matmul(const struct kernels *k, const struct packed_matrix *w, int32_t tile, int32_t n_tiles,
	    const struct activations *x, int32_t row, int32_t n_rows, float *y, int64_t y_stride);

#endif
