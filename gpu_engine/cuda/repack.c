/*
 * Owns the layout of weights on the device. Any thread; writes only what it is told to fill. Must
 * not know how they get there.
 */
#include "repack.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "model/quant.h"

static const struct kind {
	int32_t quants_bytes, scales_bytes; /* of a group of 32 inputs */
} kinds[GPU_KIND_COUNT] = {
	[GPU_F16] = {64, 0},  [GPU_BF16] = {64, 0}, [GPU_Q8_0] = {32, 2},
	[GPU_Q8_1] = {32, 4}, [GPU_Q4_1] = {16, 4},
};

static const enum gpu_kind kind_of[DTYPE_COUNT] = {
	[DTYPE_F32] = GPU_F16,	 [DTYPE_F16] = GPU_F16,	  [DTYPE_BF16] = GPU_BF16,
	[DTYPE_Q4_0] = GPU_Q4_1, [DTYPE_Q4_1] = GPU_Q4_1, [DTYPE_Q5_0] = GPU_Q8_0,
	[DTYPE_Q5_1] = GPU_Q8_1, [DTYPE_Q8_0] = GPU_Q8_0, [DTYPE_Q4_K] = GPU_Q4_1,
	[DTYPE_Q5_K] = GPU_Q8_1, [DTYPE_Q6_K] = GPU_Q8_0,
};

enum gpu_kind gpu_kind_of(enum dtype t)
{
	return kind_of[t];
}

size_t gpu_quants_bytes(enum gpu_kind kind, int32_t padded)
{
	return (size_t)(padded / GPU_GROUP) * (size_t)kinds[kind].quants_bytes;
}

size_t gpu_scales_bytes(enum gpu_kind kind, int32_t padded)
{
	return (size_t)(padded / GPU_GROUP) * (size_t)kinds[kind].scales_bytes;
}

static size_t aligned(size_t bytes)
{
	return (bytes + GPU_ALIGN - 1) / GPU_ALIGN * GPU_ALIGN;
}

static enum gpu_kind part_kind(const struct matrix *m, int32_t part)
{
	return kind_of[m->part[part].t->dtype];
}

/* Parts, and their rows. */
static void join_parts(struct gpu_matrix *g, const struct matrix *m)
{
	*g = (struct gpu_matrix){.n_in = m->n_in, .n_out = m->n_out, .padded = gpu_padded(m->n_in)};
	for (int32_t i = 0; i < m->n_parts; i++) {
		if (i == 0 || part_kind(m, i) != part_kind(m, i - 1)) {
			CHECK(g->n_parts < GPU_MAX_PARTS);
			g->part[g->n_parts++] =
				(struct gpu_weights){.kind = part_kind(m, i), .padded = g->padded};
		}
		g->part[g->n_parts - 1].n_out += (int32_t)m->part[i].rows;
	}
}

/* Where the part's planes begin, counted from `at`; returns what is behind them. */
static size_t lay_out_part(struct gpu_weights *w, uint8_t *memory, size_t at)
{
	size_t rows = (size_t)w->n_out, scales = rows * gpu_scales_bytes(w->kind, w->padded);

	w->quants = memory ? memory + at : NULL;
	at += aligned(rows * gpu_quants_bytes(w->kind, w->padded));
	w->scales = memory && scales > 0 ? memory + at : NULL;
	return at + aligned(scales);
}

static size_t lay_out(struct gpu_matrix *g, const struct matrix *m, void *memory)
{
	size_t at = 0;

	join_parts(g, m);
	for (int32_t i = 0; i < g->n_parts; i++)
		at = lay_out_part(&g->part[i], memory, at);
	return at;
}

size_t gpu_matrix_bytes(const struct matrix *m)
{
	struct gpu_matrix scrap;

	return lay_out(&scrap, m, NULL);
}

void gpu_matrix_init(struct gpu_matrix *g, const struct matrix *m, void *memory)
{
	CHECK((uintptr_t)memory % GPU_ALIGN == 0);
	lay_out(g, m, memory);
}

/* ---- filling ---- */

static void write_group(const struct gpu_weights *w, size_t group, const struct quant_block *b)
{
	uint16_t pair[2] = {quant_half(b->scale), quant_half(b->min)};
	size_t scales_bytes = (size_t)kinds[w->kind].scales_bytes;
	uint8_t *to = (uint8_t *)w->quants + group * (size_t)kinds[w->kind].quants_bytes;

	memcpy((uint8_t *)w->scales + group * scales_bytes, pair, scales_bytes);
	for (int j = 0; j < QUANT_INPUTS; j++) {
		if (w->kind == GPU_Q8_0)
			to[j] = b->q[j] ^ QUANT_ZERO; /* to two's complement */
		else if (w->kind == GPU_Q8_1)
			to[j] = b->q[j];
		else if (j < QUANT_INPUTS / 2)
			to[j] = (uint8_t)(b->q[j] | b->q[j + QUANT_INPUTS / 2] << 4);
	}
}

static void fill_quantised(const struct gpu_weights *w, const struct matrix_part *part,
			   int32_t n_in, int32_t row, int32_t to)
{
	enum dtype t = part->t->dtype;
	const uint8_t *from = part->t->data;
	size_t n_groups = (size_t)(w->padded / GPU_GROUP);

	from += (size_t)matrix_part_row(part, row) * dtype_bytes(t, n_in);
	for (size_t g = 0; g < n_groups; g++) {
		struct quant_block b = {.scale = 0};

		quant_read(t, from, (int32_t)g, &b);
		write_group(w, (size_t)to * n_groups + g, &b);
	}
}

static void fill_plain(const struct gpu_weights *w, const struct matrix_part *part, int32_t n_in,
		       int32_t row, int32_t to)
{
	size_t width = part->t->dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
	size_t per_row = part->transposed ? 1 : (size_t)n_in; /* elements to the next row ... */
	size_t per_in = part->transposed ? (size_t)part->t->dim[0] : 1; /* ... and input */
	const uint8_t *from = part->t->data;
	uint16_t *out = (uint16_t *)w->quants + (size_t)to * (size_t)w->padded;

	from += (size_t)matrix_part_row(part, row) * per_row * width;
	for (int32_t i = 0; i < n_in; i++) {
		const uint8_t *at = from + (size_t)i * per_in * width;
		float f;

		if (width == sizeof(uint16_t)) {
			memcpy(&out[i], at, sizeof(out[i]));
		} else {
			memcpy(&f, at, sizeof(f));
			out[i] = quant_half(f);
		}
	}
	memset(out + n_in, 0, (size_t)(w->padded - n_in) * sizeof(*out));
}

void gpu_repack_rows(const struct gpu_weights *w, const struct matrix *m, int32_t row,
		     int32_t n_rows)
{
	int32_t part = 0, before = 0; /* rows of the parts before this one */

	CHECK(row >= 0 && row + n_rows <= m->n_out);
	for (int32_t i = 0; i < n_rows; i++) {
		const struct matrix_part *p;

		while (row + i - before >= m->part[part].rows)
			before += (int32_t)m->part[part++].rows;
		p = &m->part[part];
		CHECK(kind_of[p->t->dtype] == w->kind);
		if (quant_is(p->t->dtype))
			fill_quantised(w, p, m->n_in, row + i - before, i);
		else
			fill_plain(w, p, m->n_in, row + i - before, i);
	}
}

void gpu_rope_table(float *out, const double *turn, int32_t n, int32_t n_positions)
{
	for (int32_t position = 0; position < n_positions; position++) {
		for (int32_t i = 0; i < n; i++) {
			double angle = position * turn[i];

			*out++ = (float)cos(angle);
			*out++ = (float)sin(angle);
		}
	}
}
