/*
 * Owns the layout of packed weights: where the numbers of a file's block go in a tile. Any thread;
 * writes only what it is told to fill. Must not know how the products read it, beyond what pack.h
 * says.
 *
 * A quantised format is read 32 inputs at a time into one form (scale, min, bytes) and written from
 * it; a plain one number by number.
 */
#include "pack.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "model/quant.h"

static const struct pack_info kinds[PACK_COUNT] = {
	[PACK_F32] = {"F32", 4096, ACTIVATIONS_FLOAT},
	[PACK_F16] = {"F16", 2048, ACTIVATIONS_FLOAT},
	[PACK_BF16] = {"BF16", 2048, ACTIVATIONS_FLOAT},
	[PACK_Q8_0] = {"Q8_0", 1088, ACTIVATIONS_INT8},
	[PACK_Q8_1] = {"Q8_1", 1152, ACTIVATIONS_INT8},
	[PACK_Q4_1] = {"Q4_1", 640, ACTIVATIONS_INT8},
};

#define SCALES_BYTES (PACK_ROWS * sizeof(uint16_t)) /* of a group: a half a row */
#define VECTOR_BYTES (PACK_ROWS * sizeof(uint32_t)) /* four inputs of all rows */

#define Q8_0_ZERO QUANT_ZERO /* the byte that stands for 0 */

static float half_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return f16_to_float(h);
}

static const enum pack_kind kind_of[DTYPE_COUNT] = {
	[DTYPE_F32] = PACK_F32,	  [DTYPE_F16] = PACK_F16,   [DTYPE_BF16] = PACK_BF16,
	[DTYPE_Q4_0] = PACK_Q4_1, [DTYPE_Q4_1] = PACK_Q4_1, [DTYPE_Q5_0] = PACK_Q8_0,
	[DTYPE_Q5_1] = PACK_Q8_1, [DTYPE_Q8_0] = PACK_Q8_0, [DTYPE_Q4_K] = PACK_Q4_1,
	[DTYPE_Q5_K] = PACK_Q8_1, [DTYPE_Q6_K] = PACK_Q8_0,
};

const struct pack_info *pack_info(enum pack_kind kind)
{
	return &kinds[kind];
}

enum pack_kind pack_kind_of(enum dtype t)
{
	return kind_of[t];
}

/* An odd last group of pairs has a partner that nobody reads. */
size_t pack_tile_bytes(enum pack_kind kind, int32_t n_groups)
{
	size_t pair_bytes = (size_t)kinds[kind].pair_bytes;

	if (kind == PACK_Q8_0)
		n_groups += n_groups % 2;
	return (size_t)n_groups * pair_bytes / 2;
}

static void lay_out_part(struct packed *p, const struct matrix *m, const struct matrix_part *part)
{
	*p = (struct packed){
		.kind = kind_of[part->t->dtype],
		.n_in = m->n_in,
		.n_out = (int32_t)part->rows,
		.n_tiles = (int32_t)((part->rows + PACK_ROWS - 1) / PACK_ROWS),
		.n_groups = (m->n_in + PACK_INPUTS - 1) / PACK_INPUTS,
	};
	p->tile_bytes = pack_tile_bytes(p->kind, p->n_groups);
}

static size_t part_bytes(const struct packed *p)
{
	return (size_t)p->n_tiles * p->tile_bytes;
}

size_t packed_bytes(const struct matrix *m)
{
	size_t bytes = 0;

	for (int32_t i = 0; i < m->n_parts; i++) {
		struct packed p;

		lay_out_part(&p, m, &m->part[i]);
		bytes += part_bytes(&p);
	}
	return bytes;
}

void packed_init(struct packed_matrix *p, const struct matrix *m, void *memory)
{
	uint8_t *at = memory;

	CHECK(m->n_parts <= PACK_MAX_PARTS && (uintptr_t)memory % PACK_ALIGN == 0);
	*p = (struct packed_matrix){.n_in = m->n_in, .n_out = m->n_out, .n_parts = m->n_parts};
	for (int32_t i = 0; i < m->n_parts; i++) {
		struct packed *part = &p->part[i];

		lay_out_part(part, m, &m->part[i]);
		part->data = at;
		at += part_bytes(part);
		p->n_tiles += part->n_tiles;
		p->forms |= kinds[part->kind].forms;
	}
}

/* Where row r's scale of a group stands (its min SCALES_BYTES behind), and where its numbers begin:
 * bytes of four inputs, every VECTOR_BYTES. */
static void find_group(enum pack_kind kind, uint8_t *tile, int32_t group, int32_t r,
		       uint8_t **scales, uint8_t **quants)
{
	size_t pair_bytes = (size_t)kinds[kind].pair_bytes;
	size_t second = (size_t)group % 2;

	if (kind == PACK_Q8_0) {
		uint8_t *pair = tile + (size_t)group / 2 * pair_bytes;

		*scales = pair + second * SCALES_BYTES;
		*quants = pair + 2 * SCALES_BYTES + second * PACK_ROWS * PACK_INPUTS;
	} else {
		*scales = tile + (size_t)group * pair_bytes / 2;
		*quants = *scales + 2 * SCALES_BYTES;
	}
	*scales += (size_t)r * 2;
	*quants += (size_t)r * 4;
}

static void write_block(enum pack_kind kind, uint8_t *tile, int32_t group, int32_t r,
			const struct quant_block *b)
{
	uint16_t scale = quant_half(b->scale), min = quant_half(b->min);
	uint8_t *scales, *to;

	find_group(kind, tile, group, r, &scales, &to);
	memcpy(scales, &scale, sizeof(scale));
	if (kind != PACK_Q8_0)
		memcpy(scales + SCALES_BYTES, &min, sizeof(min));
	if (kind != PACK_Q4_1) {
		for (int j = 0; j < PACK_INPUTS; j += 4)
			memcpy(to + (size_t)j / 4 * VECTOR_BYTES, b->q + j, 4);
		return;
	}
	for (int j = 0; j < PACK_INPUTS; j += 8)
		for (int i = 0; i < 4; i++)
			to[(size_t)j / 8 * VECTOR_BYTES + i] =
				(uint8_t)(b->q[j + i] | b->q[j + 4 + i] << 4);
}

static void fill_quantised(const struct packed *p, const struct matrix_part *part, int32_t tile)
{
	size_t row_bytes = dtype_bytes(part->t->dtype, p->n_in);
	const uint8_t *from = part->t->data;
	uint8_t *to = p->data + (size_t)tile * p->tile_bytes;

	for (int32_t g = 0; g < p->n_groups; g++) {
		for (int32_t r = 0; r < PACK_ROWS; r++) {
			int64_t row = (int64_t)tile * PACK_ROWS + r;
			struct quant_block b = {.scale = 0};

			if (row < p->n_out) {
				row = matrix_part_row(part, row);
				quant_read(part->t->dtype, from + (size_t)row * row_bytes, g, &b);
			}
			write_block(p->kind, to, g, r, &b);
		}
	}
}

static void fill_plain(const struct packed *p, const struct matrix_part *part, int32_t tile)
{
	size_t width = part->t->dtype == DTYPE_F32 ? sizeof(uint32_t) : sizeof(uint16_t);
	size_t per_row = part->transposed ? 1 : (size_t)p->n_in; /* elements to the next row ... */
	size_t per_in = part->transposed ? (size_t)part->t->dim[0] : 1; /* ... and input */
	const uint8_t *from = part->t->data;
	uint8_t *to = p->data + (size_t)tile * p->tile_bytes;

	memset(to, 0, p->tile_bytes);
	for (int32_t r = 0; r < PACK_ROWS; r++) {
		int64_t row = (int64_t)tile * PACK_ROWS + r;

		if (row >= p->n_out)
			break;
		row = matrix_part_row(part, row);
		for (int32_t k = 0; k < p->n_in; k++) {
			uint8_t *at = to + ((size_t)k * PACK_ROWS + (size_t)r) * width;
			const uint8_t *w =
				from + ((size_t)row * per_row + (size_t)k * per_in) * width;

			if (width == sizeof(uint32_t))
				memcpy(at, w, sizeof(uint32_t));
			else
				memcpy(at, w, sizeof(uint16_t));
		}
	}
}

void packed_fill(const struct packed_matrix *p, const struct matrix *m, int32_t tile,
		 int32_t n_tiles)
{
	for (int32_t i = 0; i < p->n_parts && n_tiles > 0; i++) {
		const struct packed *part = &p->part[i];

		for (; tile < part->n_tiles && n_tiles > 0; tile++, n_tiles--) {
			if (quant_is(m->part[i].t->dtype))
				fill_quantised(part, &m->part[i], tile);
			else
				fill_plain(part, &m->part[i], tile);
		}
		tile -= part->n_tiles;
	}
	CHECK(n_tiles <= 0);
}

static void read_group(const struct packed *p, uint8_t *tile, int32_t group, int32_t r, float *w)
{
	uint8_t *scales, *q;
	float scale, min;

	find_group(p->kind, tile, group, r, &scales, &q);
	scale = half_at(scales);
	min = p->kind == PACK_Q8_0 ? 0 : half_at(scales + SCALES_BYTES);

	for (int32_t j = 0; j < PACK_INPUTS; j++) {
		size_t vector = (size_t)j / (p->kind == PACK_Q4_1 ? 8 : 4);
		uint8_t byte = q[vector * VECTOR_BYTES + (size_t)j % 4];

		if (p->kind == PACK_Q4_1)
			w[j] = scale * (float)(j % 8 < 4 ? byte & 15 : byte >> 4) + min;
		else if (p->kind == PACK_Q8_1)
			w[j] = scale * (float)byte + min;
		else
			w[j] = scale * (float)(byte - Q8_0_ZERO);
	}
}

static float read_plain(enum pack_kind kind, const uint8_t *tile, size_t i)
{
	uint16_t h;
	float f;

	if (kind == PACK_F32) {
		memcpy(&f, tile + i * sizeof(f), sizeof(f));
		return f;
	}
	memcpy(&h, tile + i * sizeof(h), sizeof(h));
	return kind == PACK_F16 ? f16_to_float(h) : bf16_to_float(h);
}

void packed_read_row(const struct packed_matrix *p, int32_t row, float *out)
{
	const struct packed *part = p->part;
	uint8_t *tile;
	int32_t r;

	CHECK(row >= 0 && row < p->n_out);
	for (; row >= part->n_out; part++)
		row -= part->n_out;
	tile = part->data + (size_t)(row / PACK_ROWS) * part->tile_bytes;
	r = row % PACK_ROWS;
	if (kinds[part->kind].forms == ACTIVATIONS_FLOAT) {
		for (int32_t k = 0; k < part->n_in; k++)
			out[k] = read_plain(part->kind, tile, (size_t)k * PACK_ROWS + (size_t)r);
		return;
	}
	for (int32_t g = 0; g < part->n_groups; g++)
		read_group(part, tile, g, r, out + (size_t)g * PACK_INPUTS);
}
