/*
 * Owns the card's copy of a model and the walk that makes it: counted first, then filled, through a
 * pinned buffer that a part of a matrix passes rows at a time. Runs on the thread that opens the
 * executor. Must not know what the weights are multiplied with.
 */
#include "weights_cuda.h"

#include <stdlib.h>

#include "arena.h"
#include "base/check.h"
#include "base/die.h"

#define STAGE_BYTES (16U << 20)

/* Where the walk is. Without memory it counts. */
struct loader {
	struct arena arena;
	const struct model_file *file;
	struct cuda *cuda;
	uint8_t *stage;
	struct err *e;
};

/* The stage's first bytes, to the card. */
static void send_stage(struct loader *l, void *to, const void *from, size_t bytes)
{
	cuda_upload(l->cuda, to, from, bytes, l->e);
	cuda_wait(l->cuda, l->e);
}

/* ---- vectors ---- */

static const float *load_vector(struct loader *l, const struct vector *v)
{
	size_t bytes = (size_t)v->n * (v->n_parts > 0) * sizeof(float);
	float *to = arena_take(&l->arena, bytes);

	if (!to)
		return NULL;
	CHECK(bytes <= STAGE_BYTES);
	vector_read(v, (float *)l->stage);
	send_stage(l, to, l->stage, bytes);
	return to;
}

static void load_norm(struct loader *l, const struct norm *n, struct cuda_norm *out)
{
	out->n = n->weight.n_parts > 0 ? n->weight.n : 0;
	out->on_card.weight = load_vector(l, &n->weight);
	out->on_card.bias = load_vector(l, &n->bias);
}

/* Every row as floats. */
static const float *load_rows(struct loader *l, const struct matrix *m)
{
	size_t width = (size_t)m->n_in, n_rows = m->n_parts > 0 ? (size_t)m->n_out : 0, n;
	float *to = arena_take(&l->arena, n_rows * width * sizeof(*to));
	float *stage = (float *)l->stage;

	for (size_t row = 0; to && row < n_rows && !l->e->rc; row += n) {
		n = STAGE_BYTES / sizeof(*to) / width;
		n = n_rows - row < n ? n_rows - row : n;
		for (size_t i = 0; i < n; i++)
			matrix_read_row(m, (int64_t)(row + i), stage + i * width);
		send_stage(l, to + row * width, stage, n * width * sizeof(*to));
	}
	return to;
}

/* ---- matrices ---- */

/* Rows of m from `first` on. */
static void load_part(struct loader *l, const struct matrix *m, int32_t first,
		      const struct gpu_weights *to)
{
	size_t quants_bytes = gpu_quants_bytes(to->kind, to->padded);
	size_t scales_bytes = gpu_scales_bytes(to->kind, to->padded);
	int32_t at_once = (int32_t)((STAGE_BYTES - GPU_ALIGN) / (quants_bytes + scales_bytes));

	CHECK(at_once > 0);
	for (int32_t row = 0, n; row < to->n_out && !l->e->rc; row += n) {
		struct arena stage = {.memory = l->stage};
		struct gpu_weights here = *to;
		size_t rows, before = (size_t)row;

		n = to->n_out - row < at_once ? to->n_out - row : at_once;
		rows = (size_t)n;
		here.quants = arena_take(&stage, rows * quants_bytes);
		here.scales = arena_take(&stage, rows * scales_bytes);
		gpu_repack_rows(&here, m, first + row, n);
		cuda_upload(l->cuda, (uint8_t *)to->quants + before * quants_bytes, here.quants,
			    rows * quants_bytes, l->e);
		if (here.scales)
			cuda_upload(l->cuda, (uint8_t *)to->scales + before * scales_bytes,
				    here.scales, rows * scales_bytes, l->e);
		cuda_wait(l->cuda, l->e);
	}
}

static void load_matrix(struct loader *l, const struct matrix *m, struct gpu_matrix *out)
{
	void *memory = arena_take(&l->arena, gpu_matrix_bytes(m));

	if (!memory)
		return;
	gpu_matrix_init(out, m, memory);
	for (int32_t i = 0, first = 0; i < out->n_parts; first += out->part[i++].n_out)
		load_part(l, m, first, &out->part[i]);
	for (int32_t i = 0; i < m->n_parts; i++)
		model_file_drop(l->file, m->part[i].t);
}

/* ---- the walk ---- */

static void load_layer(struct loader *l, const struct model_layer *m, struct cuda_layer *out)
{
	load_norm(l, &m->attn_norm, &out->attn_norm);
	load_norm(l, &m->attn_norm_2, &out->attn_norm_2);
	load_matrix(l, &m->qkv, &out->qkv);
	out->qkv_bias = load_vector(l, &m->qkv_bias);
	load_norm(l, &m->q_norm, &out->q_norm);
	load_norm(l, &m->k_norm, &out->k_norm);
	load_matrix(l, &m->out, &out->out);
	out->out_bias = load_vector(l, &m->out_bias);
	load_norm(l, &m->attn_post_norm, &out->attn_post_norm);
	load_norm(l, &m->ffn_norm, &out->ffn_norm);
	load_matrix(l, &m->gate_up, &out->gate_up);
	out->gate_up_bias = load_vector(l, &m->gate_up_bias);
	load_matrix(l, &m->down, &out->down);
	out->down_bias = load_vector(l, &m->down_bias);
	load_norm(l, &m->ffn_post_norm, &out->ffn_post_norm);
}

static void load(struct loader *l, const struct model *m, struct cuda_weights *w)
{
	struct cuda_layer scrap;

	for (int32_t i = 0; i < m->config.n_layers; i++)
		load_layer(l, &m->layer[i], w->layer ? &w->layer[i] : &scrap);
	load_norm(l, &m->final_norm, &w->final_norm);
	load_matrix(l, &m->head, &w->head);
	w->head_bias = load_vector(l, &m->head_bias);
	w->learned = load_rows(l, &m->positions);
	if (m->config.tied)
		w->embed = w->head;
	else
		load_matrix(l, &m->embed, &w->embed);
}

int64_t cuda_weights_bytes(const struct model *m)
{
	struct cuda_weights scrap = {0};
	struct loader l = {0};

	load(&l, m, &scrap);
	return (int64_t)l.arena.at;
}

enum rc cuda_weights_load(struct cuda_weights **out, const struct model *m,
			  const struct model_file *file, struct cuda *c, struct err *e)
{
	struct loader l = {.file = file, .cuda = c, .e = e};
	struct cuda_weights *w = xcalloc(1, sizeof(*w));
	size_t bytes = (size_t)cuda_weights_bytes(m);
	void *stage;

	*out = NULL;
	e->rc = RC_OK;
	w->cuda = c;
	w->layer = xcalloc((size_t)m->config.n_layers, sizeof(*w->layer));
	cuda_alloc(c, &w->memory, bytes, "weights", e);
	cuda_alloc_host(c, &stage, STAGE_BYTES, "a buffer that weights pass", e);
	if (e->rc == RC_OK) {
		l.arena.memory = w->memory;
		l.stage = stage;
		load(&l, m, w);
		CHECK(l.arena.at == bytes);
	}
	cuda_free_host(c, stage);
	if (e->rc) {
		cuda_weights_free(w);
		return e->rc;
	}
	*out = w;
	return RC_OK;
}

void cuda_weights_free(struct cuda_weights *w)
{
	if (!w)
		return;
	cuda_free(w->cuda, w->memory);
	free(w->layer);
	free(w);
}
