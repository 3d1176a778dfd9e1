/*
 * Weights as the matrix products read them: once, front to back, with nothing to be turned around
 * on the way. A matrix is cut into tiles of 16 output rows, a tile into groups of 32 inputs, and a
 * vector register holds the same inputs of all 16 rows: lane = output row. Rows beyond n_out and
 * inputs beyond n_in are zeros.
 *
 * A group, by kind (u8 = an unsigned byte; scale and min are halves, one a row):
 *
 *     PACK_F32    32 x [16 f32]                               2048 bytes
 *     PACK_F16    32 x [16 f16]                               1024
 *     PACK_BF16   32 x [16 bf16]                              1024
 *     PACK_Q8_1   [16 scale][16 min]   8 x [16 rows][4 u8]     576   w = scale * u + min, u < 128
 *     PACK_Q4_1   [16 scale][16 min]   4 x [16 rows][4 u8]     320   w = scale * nibble + min;
 *                                      low nibbles: inputs 8i .. 8i+3, high: 8i+4 .. 8i+7
 *     PACK_Q8_0   in pairs, so that vectors are aligned:
 *                 2 x [16 scale]   2 x 8 x [16 rows][4 u8]    1088   w = scale * (u - 128)
 *
 * A tile is one run of memory, as it is read: scales apart from what they scale would be two.
 *
 * What becomes of the formats of model/dtype.h, and what that costs:
 *
 *     F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1    the same numbers, exactly
 *     Q4_K Q5_K    to Q4_1, Q8_1: scale and min of 32 (a half times six bits) rounded to a half,
 *                  2^-11 of their size at most; far below the format's own steps
 *     Q6_K         to Q8_0, as its scales are of 16: rounded to 1/127 of the largest of 32, at
 *                  most 1/254 of it; a Q6_K's own step is about 1/32 of it
 *
 * Scales of Q4_K and Q5_K beyond a half's range are cut to it. Pure but for packed_fill's memory.
 */
#ifndef CPU_PACK_H
#define CPU_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

#define PACK_ROWS      16
#define PACK_INPUTS    32
#define PACK_ALIGN     64 /* of a packed matrix in memory, bytes */
#define PACK_MAX_PARTS 3

enum pack_kind { PACK_F32, PACK_F16, PACK_BF16, PACK_Q8_0, PACK_Q8_1, PACK_Q4_1, PACK_COUNT };

/* What a product with it wants of the activations; see kernels.h. */
enum { ACTIVATIONS_FLOAT = 1, ACTIVATIONS_INT8 = 2 };

struct pack_info {
	const char *name;
	int32_t pair_bytes; /* of two groups */
	unsigned forms;	    /* ACTIVATIONS_... */
};
const struct pack_info *pack_info(enum pack_kind kind);
enum pack_kind pack_kind_of(enum dtype t);

/* Rows of one dtype. */
struct packed {
	enum pack_kind kind;
	int32_t n_in, n_out;
	int32_t n_tiles, n_groups;
	size_t tile_bytes;
	uint8_t *data; /* n_tiles of them */
};

/* A struct matrix, part for part. Tiles are counted through all parts; each part begins with a new
 * one. */
struct packed_matrix {
	int32_t n_in, n_out, n_tiles;
	unsigned forms; /* of all parts */
	int32_t n_parts;
	struct packed part[PACK_MAX_PARTS];
};

/* Bytes of a tile. */
size_t pack_tile_bytes(enum pack_kind kind, int32_t n_groups);

/* Bytes of a matrix once packed, a multiple of PACK_ALIGN; 0 for an absent one. */
size_t packed_bytes(const struct matrix *m);

/* Lays p out over memory (packed_bytes(m) of it, aligned to PACK_ALIGN) without touching it. The
 * memory is the caller's; p has nothing to release. An absent matrix has no tiles. */
void packed_init(struct packed_matrix *p, const struct matrix *m, void *memory);

/* Writes tiles [tile, tile + n_tiles) from the tensors of m. Threads may fill different tiles of a
 * matrix at the same time. */
void packed_fill(const struct packed_matrix *p, const struct matrix *m, int32_t tile,
		 int32_t n_tiles);

/* Output row `row` as floats: a look-up in an embedding whose tensor was given back. out has n_in.
 */
void packed_read_row(const struct packed_matrix *p, int32_t row, float *out);

#endif
