/*
 * From the matrices of a model to the planes that the kernels read. A part of a matrix
 * (neighbouring rows whose formats become the same kind: one product) is two planes, each aligned
 * to GPU_ALIGN, rows behind each other without gaps; `padded` is n_in rounded up to a multiple of
 * 32, and inputs behind n_in are zeros:
 *
 *     kind    quants, a row                      scales, a row
 *     F16     padded halves                      none
 *     BF16    padded bf16                        none
 *     Q8_0    padded int8                        padded/32 halves: w = scale * q
 *     Q8_1    padded int8, 0 .. 127              padded/32 pairs (scale, min): w = scale * q + min
 *     Q4_1    padded/2 bytes: a group of 32 is   padded/32 pairs
 *             16 bytes, byte j holds input j
 *             low and j + 16 high
 *
 * So 16 bytes can be loaded at once from everywhere in a row of quants. What becomes of the file's
 * formats is what pack.h says of the CPU's, but F32 becomes F16: cut to its range and rounded.
 */
#ifndef CUDA_REPACK_H
#define CUDA_REPACK_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/types.h"
#include "model/model.h"

#define GPU_ALIGN     256
#define GPU_MAX_PARTS 3

struct gpu_weights {
	enum gpu_kind kind;
	int32_t n_out, padded;
	void *quants, *scales; /* scales: NULL if the kind has none */
};

/* The rows of a struct matrix, in as few parts as their kinds allow; n_parts 0 = absent. */
struct gpu_matrix {
	int32_t n_in, n_out, padded, n_parts;
	struct gpu_weights part[GPU_MAX_PARTS];
};

static inline int32_t gpu_padded(int32_t n)
{
	return (n + GPU_GROUP - 1) / GPU_GROUP * GPU_GROUP;
}

enum gpu_kind gpu_kind_of(enum dtype t);

/* Bytes of a row in the two planes. */
size_t gpu_quants_bytes(enum gpu_kind kind, int32_t padded);
size_t gpu_scales_bytes(enum gpu_kind kind, int32_t padded);

/* Bytes of all planes, a multiple of GPU_ALIGN; 0 for an absent one. */
size_t gpu_matrix_bytes(const struct matrix *m);

/* Lays g out over memory (an address of the host or the device, aligned to GPU_ALIGN) without
 * touching it. */
void gpu_matrix_init(struct gpu_matrix *g, const struct matrix *m, void *memory);

/* Writes rows [row, row + n_rows) of m, which all become w's kind, to planes in the host's memory:
 * row `row` to where w's first row is. So a large matrix can go through a small buffer; threads may
 * fill different rows at the same time. */
void gpu_repack_rows(const struct gpu_weights *w, const struct matrix *m, int32_t row,
		     int32_t n_rows);

/* cos and sin of position times turn[i], for positions 0 .. n_positions - 1 and i < n: what
 * place_qkv reads, [position][i][2]. */
void gpu_rope_table(float *out, const double *turn, int32_t n, int32_t n_positions);

#endif
