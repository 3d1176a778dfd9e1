/*
 * Owns the arena of packed weights and the walk that fills it. The walk is one function: it is made
 * once to count bytes and once to lay out and fill, so the two can not disagree. Runs on the thread
 * that opens the executor, filling on the pool. Must not know what the weights are multiplied with.
 */
#include "weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/die.h"

/* Where the walk is. Without an arena it counts. */
struct builder {
	uint8_t *arena;
	size_t at;
	const struct model_file *file;
	struct threads *threads;
};

static uint8_t *take(struct builder *b, size_t bytes)
{
	uint8_t *p = b->arena ? b->arena + b->at : NULL;

	b->at += (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
	return p;
}

static const float *build_vector(struct builder *b, const struct vector *v)
{
	float *out = (float *)take(b, (size_t)v->n * (v->n_parts > 0) * sizeof(*out));

	if (!b->arena || v->n_parts == 0)
		return NULL;
	vector_read(v, out);
	return out;
}

static void build_norm(struct builder *b, const struct norm *n, struct norm_weights *out)
{
	out->n = n->weight.n_parts > 0 ? n->weight.n : 0;
	out->weight = build_vector(b, &n->weight);
	out->bias = build_vector(b, &n->bias);
}

/* ---- matrices ---- */

struct fill_job {
	const struct matrix *from;
	const struct packed_matrix *to;
};

static void fill(struct threads *t, int32_t self, void *arg)
{
	const struct fill_job *job = arg;
	enum { TILES = 8 };

	(void)self;
	for (int32_t i; (i = threads_take(t) * TILES) < job->to->n_tiles;)
		packed_fill(job->to, job->from, i,
			    job->to->n_tiles - i < TILES ? job->to->n_tiles - i : TILES);
}

static void build_matrix(struct builder *b, const struct matrix *m, struct packed_matrix *out)
{
	uint8_t *memory = take(b, packed_bytes(m));
	struct fill_job job = {m, out};

	if (!b->arena || m->n_parts == 0)
		return;
	packed_init(out, m, memory);
	threads_run(b->threads, fill, &job);
	for (int32_t i = 0; i < m->n_parts; i++)
		model_file_drop(b->file, m->part[i].t);
}

/* ---- the walk ---- */

static void build_layer(struct builder *b, const struct model_layer *l, struct layer_weights *out)
{
	build_norm(b, &l->attn_norm, &out->attn_norm);
	build_norm(b, &l->attn_norm_2, &out->attn_norm_2);
	build_matrix(b, &l->qkv, &out->qkv);
	out->qkv_bias = build_vector(b, &l->qkv_bias);
	build_norm(b, &l->q_norm, &out->q_norm);
	build_norm(b, &l->k_norm, &out->k_norm);
	build_matrix(b, &l->out, &out->out);
	out->out_bias = build_vector(b, &l->out_bias);
	build_norm(b, &l->attn_post_norm, &out->attn_post_norm);
	build_norm(b, &l->ffn_norm, &out->ffn_norm);
	build_matrix(b, &l->gate_up, &out->gate_up);
	out->gate_up_bias = build_vector(b, &l->gate_up_bias);
	build_matrix(b, &l->down, &out->down);
	out->down_bias = build_vector(b, &l->down_bias);
	build_norm(b, &l->ffn_post_norm, &out->ffn_post_norm);
}

static void build(struct builder *b, const struct model *m, struct weights *w)
{
	struct layer_weights scrap;

	for (int32_t i = 0; i < m->config.n_layers; i++)
		build_layer(b, &m->layer[i], b->arena ? &w->layer[i] : &scrap);
	build_norm(b, &m->final_norm, &w->final_norm);
	build_matrix(b, &m->head, &w->head);
	w->head_bias = build_vector(b, &m->head_bias);
	w->rope_factors = build_vector(b, &m->rope_factors);
}

int64_t weights_bytes(const struct model *m)
{
	struct weights scrap;
	struct builder b = {0};

	build(&b, m, &scrap);
	return (int64_t)b.at;
}

enum rc weights_load(struct weights **out, const struct model *m, const struct model_file *file,
		     const char *isa, struct threads *threads, struct err *e)
{
	struct builder b = {.file = file, .threads = threads};
	const struct kernels *kernels;
	struct weights *w;
	enum rc rc = kernels_choose(&kernels, isa, e);

	if (rc)
		return rc;
	w = xcalloc(1, sizeof(*w));
	w->model = m;
	w->kernels = kernels;
	w->layer = xcalloc((size_t)m->config.n_layers, sizeof(*w->layer));
	w->arena_bytes = (size_t)weights_bytes(m);
	w->arena = mmap(NULL, w->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (w->arena == MAP_FAILED)
		die("%zu bytes for the weights of %s: %s", w->arena_bytes, m->config.name,
		    strerror(errno));
	/* Read from end to end for every token: with small pages the walk through the page tables
	 * would be felt. */
	madvise(w->arena, w->arena_bytes, MADV_HUGEPAGE);
	b.arena = w->arena;
	build(&b, m, w);
	CHECK(b.at == w->arena_bytes);
	*out = w;
	return RC_OK;
}

void weights_free(struct weights *w)
{
	if (!w)
		return;
	munmap(w->arena, w->arena_bytes);
	free(w->layer);
	free(w);
}

void weights_embed(const struct weights *w, int32_t token, float *out)
{
	if (w->model->config.tied)
		packed_read_row(&w->head, token, out);
	else
		matrix_read_row(&w->model->embed, token, out);
}
