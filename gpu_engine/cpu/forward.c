/*
 * Owns the activations of a step and the order in which they are computed. One job of the pool runs
 * the whole step on every thread; between two stages that need each other's rows stands a barrier.
 * Must not know policies, sampling or where weights came from.
 *
 * Stages cut their work in one of three ways: by rows (norms, biases, activation functions), by
 * tiles of outputs (matrix products), by query chunks and heads (attention). None of the cuts
 * changes a result: each row's arithmetic has one order, in kernels.h.
 */
#include "forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "batch.h"

/* Rows of logits held at a time: a vocabulary is long, and a batch may have hundreds of rows. */
#define LOGIT_ROWS 32

/* Tiles of a matrix that a thread takes at once. With many rows a tile is work enough. */
#define TILES_FEW_ROWS	4
#define TILES_MANY_ROWS 2
#define MANY_ROWS	8

struct forward {
	const struct weights *w;
	const struct model_config *c;
	const struct kernels *k;
	struct kv_pages *pages;
	struct threads *threads;
	struct batch batch;
	struct batch_limits limits;
	const struct logits_sink *sink;

	int32_t width, kv_width, qkv_width; /* of a row of q, of k or v, of all three */
	int32_t up_width;		    /* d_ff, twice if gated */
	int32_t head_parts;		    /* of the heads that share a kv head, for attention */
	const float *alibi_slope;	    /* n_heads, or NULL */

	/* What rotates, by kind of layer: [0] sees all, [1] is windowed. turn: of a unit of
	 * position; cos and sin: n_rot/2 a row of the batch. */
	double *turn[2];
	float *cos[2], *sin[2];

	/* A row a token of the batch. */
	float *x;		     /* the residual stream, d_model */
	float *qkv;		     /* qkv_width */
	float *mixed;		     /* attention's output, width */
	float *up;		     /* up_width */
	float *y;		     /* what a half of the block adds to x, d_model */
	struct activations normed;   /* a norm of x */
	struct activations normed_2; /* the second half's of its own, in parallel */
	struct activations mixed_in, inner;

	struct activations last; /* LOGIT_ROWS of the final norm */
	float *logits;		 /* LOGIT_ROWS x n_vocab */

	float *norm_row;  /* d_model a thread */
	float *attention; /* scratch a thread */
	int64_t attention_floats;
};

/* ---- pieces ---- */

static void norm(const struct forward *f, const struct norm_weights *n, const float *x, float *out)
{
	if (f->c->norm == NORM_RMS)
		f->k->rms_norm(x, n->weight, n->n, f->c->norm_eps, out);
	else
		f->k->layer_norm(x, n->weight, n->bias, n->n, f->c->norm_eps, out);
}

/* Row of x, normed, as the input of a product. */
static void norm_into(const struct forward *f, int32_t self, const struct norm_weights *n,
		      const float *x, const struct activations *out, int32_t row)
{
	float *scratch = f->norm_row + (int64_t)self * f->c->d_model;

	norm(f, n, x, scratch);
	f->k->prepare_rows(out, row, 1, scratch, 0);
}

/* y = W x for the first n_rows of x; all threads. */
static void product(const struct forward *f, const struct packed_matrix *w,
		    const struct activations *x, int32_t n_rows, float *y)
{
	int32_t tiles = n_rows < MANY_ROWS ? TILES_FEW_ROWS : TILES_MANY_ROWS;

	for (int32_t i; (i = threads_take(f->threads) * tiles) < w->n_tiles;)
		matmul(f->k, w, i, w->n_tiles - i < tiles ? w->n_tiles - i : tiles, x, 0, n_rows, y,
		       w->n_out);
}

/* x += post(y + bias) for one row. */
static void add_half(const struct forward *f, int32_t row, const float *bias,
		     const struct norm_weights *post)
{
	int32_t d = f->c->d_model;
	float *y = f->y + (int64_t)row * d;

	if (bias)
		f->k->add(y, bias, d);
	if (post->n)
		norm(f, post, y, y);
	f->k->add(f->x + (int64_t)row * d, y, d);
}

/* ---- by rows ---- */

static bool rotates(const struct model_config *c)
{
	return c->position == POSITION_ROPE_PAIRS || c->position == POSITION_ROPE_HALVES;
}

static void embed(const struct forward *f, int32_t self, int32_t row)
{
	const struct model_config *c = f->c;
	int32_t d = c->d_model, position = f->batch.position[row], half = c->n_rot / 2;
	float *x = f->x + (int64_t)row * d, *learned = f->norm_row + (int64_t)self * d;

	weights_embed(f->w, f->batch.token[row], x);
	if (c->embed_scale != 1)
		f->k->scale(x, c->embed_scale, d);
	if (c->position == POSITION_LEARNED) {
		matrix_read_row(&f->w->model->positions, position + c->position_offset, learned);
		f->k->add(x, learned, d);
	}
	for (int kind = 0; kind < 2; kind++) {
		for (int32_t i = 0; f->turn[kind] && i < half; i++) {
			double angle = position * f->turn[kind][i];

			f->cos[kind][(int64_t)row * half + i] = (float)cos(angle);
			f->sin[kind][(int64_t)row * half + i] = (float)sin(angle);
		}
	}
}

/* The inputs of a layer's first products: of attention, and of the other half if it does not wait
 * for attention. */
static void enter_layer(const struct forward *f, int32_t self, const struct layer_weights *l,
			int32_t row)
{
	const float *x = f->x + (int64_t)row * f->c->d_model;

	norm_into(f, self, &l->attn_norm, x, &f->normed, row);
	if (l->attn_norm_2.n)
		norm_into(f, self, &l->attn_norm_2, x, &f->normed_2, row);
}

/* A head's norm, or one over all heads of the row. */
static void norm_heads(const struct forward *f, const struct norm_weights *n, float *x,
		       int32_t width)
{
	for (int32_t i = 0; n->n && i < width; i += n->n)
		norm(f, n, x + i, x + i);
}

/* Products of q, k and v to what attention reads: k and v in the pages, q in place. */
static void place_qkv(const struct forward *f, int32_t layer, int32_t row)
{
	const struct model_config *c = f->c;
	const struct layer_weights *l = &f->w->layer[layer];
	const struct kv_pages *p = f->pages;
	const int32_t *block = f->batch.plan->item[f->batch.item[row]].req->slot.block;
	int32_t kind = model_windowed(c, layer), half = c->n_rot / 2, d = c->head_dim;
	int32_t position = f->batch.position[row];
	int32_t page = block[position / p->page_tokens], at = position % p->page_tokens;
	float *q = f->qkv + (int64_t)row * f->qkv_width, *k = q + f->width, *v = k + f->kv_width;

	if (l->qkv_bias)
		f->k->add(q, l->qkv_bias, f->qkv_width);
	if (c->clamp_qkv > 0)
		f->k->clamp(q, c->clamp_qkv, f->qkv_width);
	norm_heads(f, &l->q_norm, q, f->width);
	norm_heads(f, &l->k_norm, k, f->kv_width);
	if (rotates(c)) {
		void (*rope)(float *, int32_t, const float *, const float *) =
			c->position == POSITION_ROPE_PAIRS ? f->k->rope_pairs : f->k->rope_halves;

		for (float *head = q; head < v; head += d)
			rope(head, c->n_rot, f->cos[kind] + (int64_t)row * half,
			     f->sin[kind] + (int64_t)row * half);
	}
	for (int32_t h = 0; h < c->n_kv_heads; h++) {
		f->k->to_f16(k + (int64_t)h * d, d,
			     kv_page(p, layer, page, KV_KEYS, h) + (int64_t)at * d);
		f->k->to_f16(v + (int64_t)h * d, d,
			     kv_page(p, layer, page, KV_VALUES, h) + (int64_t)at * d);
	}
}

static void activate(const struct forward *f, const struct layer_weights *l, int32_t row)
{
	const struct model_config *c = f->c;
	float *up = f->up + (int64_t)row * f->up_width;

	if (l->gate_up_bias)
		f->k->add(up, l->gate_up_bias, f->up_width);
	f->k->act[c->act](up, c->gated ? up + c->d_ff : NULL, c->d_ff, up);
	f->k->prepare_rows(&f->inner, row, 1, f->up, f->up_width);
}

/* ---- attention ---- */

/* Unit i of the layer's attention: a query chunk, a kv head, a part of the heads that share it. */
static void attend(const struct forward *f, int32_t self, int32_t layer, int32_t i)
{
	const struct model_config *c = f->c;
	const struct kv_pages *p = f->pages;
	int32_t part = i % f->head_parts, kv_head = i / f->head_parts % c->n_kv_heads;
	const struct query_chunk *chunk = &f->batch.chunk[i / f->head_parts / c->n_kv_heads];
	int32_t shared = c->n_heads / c->n_kv_heads, first, end;
	const struct attention a = {
		.kv = {.data = kv_page(p, layer, 0, KV_KEYS, 0),
		       .block = f->batch.plan->item[chunk->item].req->slot.block,
		       .page_stride =
			       kv_page(p, layer, 1, KV_KEYS, 0) - kv_page(p, layer, 0, KV_KEYS, 0),
		       .value_offset = kv_page(p, layer, 0, KV_VALUES, 0) -
				       kv_page(p, layer, 0, KV_KEYS, 0),
		       .page_tokens = p->page_tokens,
		       .head_dim = p->head_dim},
		.q = f->qkv + (int64_t)chunk->row * f->qkv_width,
		.out = f->mixed + (int64_t)chunk->row * f->width,
		.q_stride = f->qkv_width,
		.out_stride = f->width,
		.position = f->batch.position[chunk->row],
		.n_queries = chunk->n_rows,
		.n_heads = c->n_heads,
		.n_kv_heads = c->n_kv_heads,
		.scale = c->attn_scale,
		.window = model_windowed(c, layer) ? c->window : 0,
		.alibi_slope = f->alibi_slope,
	};

	threads_share(shared, part, f->head_parts, &first, &end);
	f->k->attention(&a,
			&(struct attention_part){.head = kv_head * shared + first,
						 .n_heads = end - first,
						 .query = 0,
						 .n_queries = chunk->n_rows},
			f->attention + self * f->attention_floats);
}

/* ---- the step ---- */

/* Each thread goes on taking rows, units or tiles until there are no more; the barrier behind
 * starts the count anew. */

/* Leaves the second half's output in y, to be added by whoever comes next to each row. */
static void run_layer(const struct forward *f, int32_t self, int32_t layer)
{
	const struct layer_weights *l = &f->w->layer[layer];
	const struct activations *second = l->attn_norm_2.n ? &f->normed_2 : &f->normed;
	int32_t n = f->batch.n_rows;
	int32_t units = f->batch.n_chunks * f->c->n_kv_heads * f->head_parts;

	product(f, &l->qkv, &f->normed, n, f->qkv);
	threads_barrier(f->threads);
	for (int32_t row; (row = threads_take(f->threads)) < n;)
		place_qkv(f, layer, row);
	threads_barrier(f->threads);
	for (int32_t i; (i = threads_take(f->threads)) < units;)
		attend(f, self, layer, i);
	threads_barrier(f->threads);
	for (int32_t row; (row = threads_take(f->threads)) < n;)
		f->k->prepare_rows(&f->mixed_in, row, 1, f->mixed, f->width);
	threads_barrier(f->threads);
	product(f, &l->out, &f->mixed_in, n, f->y);
	threads_barrier(f->threads);
	for (int32_t row; (row = threads_take(f->threads)) < n;) {
		add_half(f, row, l->out_bias, &l->attn_post_norm);
		if (!f->c->parallel)
			norm_into(f, self, &l->ffn_norm, f->x + (int64_t)row * f->c->d_model,
				  &f->normed, row);
	}
	threads_barrier(f->threads);
	product(f, &l->gate_up, second, n, f->up);
	threads_barrier(f->threads);
	for (int32_t row; (row = threads_take(f->threads)) < n;)
		activate(f, l, row);
	threads_barrier(f->threads);
	product(f, &l->down, &f->inner, n, f->y);
	threads_barrier(f->threads);
}

/* The final norm and the head, for the rows that are asked for, LOGIT_ROWS at a time. */
static void run_head(const struct forward *f, int32_t self)
{
	const struct batch *b = &f->batch;
	int32_t d = f->c->d_model, n_vocab = f->c->n_vocab;

	for (int32_t from = 0, n; from < b->n_logits; from += n) {
		n = b->n_logits - from < LOGIT_ROWS ? b->n_logits - from : LOGIT_ROWS;
		threads_barrier(f->threads);
		for (int32_t i; (i = threads_take(f->threads)) < n;)
			norm_into(f, self, &f->w->final_norm,
				  f->x + (int64_t)b->logits_row[from + i] * d, &f->last, i);
		threads_barrier(f->threads);
		product(f, &f->w->head, &f->last, n, f->logits);
		threads_barrier(f->threads);
		for (int32_t i; (i = threads_take(f->threads)) < n;) {
			float *logits = f->logits + (int64_t)i * n_vocab;
			int32_t row = b->logits_row[from + i];

			if (f->w->head_bias)
				f->k->add(logits, f->w->head_bias, n_vocab);
			f->sink->row(f->sink->arg, self, b->item[row], b->position[row], logits);
		}
	}
}

static void run_step(struct threads *t, int32_t self, void *arg)
{
	const struct forward *f = arg;
	int32_t n = f->batch.n_rows, n_layers = f->c->n_layers;

	for (int32_t row; (row = threads_take(f->threads)) < n;) {
		embed(f, self, row);
		enter_layer(f, self, &f->w->layer[0], row);
	}
	threads_barrier(t);
	for (int32_t i = 0; i < n_layers; i++) {
		const struct layer_weights *l = &f->w->layer[i];

		run_layer(f, self, i);
		for (int32_t row; (row = threads_take(f->threads)) < n;) {
			add_half(f, row, l->down_bias, &l->ffn_post_norm);
			if (i + 1 < n_layers)
				enter_layer(f, self, l + 1, row);
		}
		if (i + 1 < n_layers)
			threads_barrier(t);
	}
	run_head(f, self);
}

const char *forward_step(struct forward *f, const struct step_plan *plan,
			 const struct logits_sink *sink)
{
	const char *why = batch_fill(&f->batch, plan, &f->limits);

	if (why)
		return why;
	f->sink = sink;
	threads_run(f->threads, run_step, f);
	return NULL;
}

/* ---- memory ---- */

static float *floats(int64_t n)
{
	return xcalloc((size_t)n, sizeof(float));
}

static void init_turns(struct forward *f)
{
	const struct model_config *c = f->c;
	int32_t half = c->n_rot / 2;

	if (!rotates(c))
		return;
	for (int kind = 0; kind < 2; kind++) {
		double base = kind ? c->rope_base_local : c->rope_base;
		double scale = kind ? 1 : c->rope_scale;

		f->turn[kind] = xcalloc((size_t)half, sizeof(double));
		f->cos[kind] = floats((int64_t)f->batch.max_rows * half);
		f->sin[kind] = floats((int64_t)f->batch.max_rows * half);
		for (int32_t i = 0; i < half; i++)
			f->turn[kind][i] = scale * pow(base, -2.0 * i / c->n_rot) /
					   (f->w->rope_factors ? f->w->rope_factors[i] : 1);
		if (c->window == 0)
			break;
	}
}

/* Of a model that has them: geometric, and where the number of heads is no power of two, every
 * other step of the series that is twice as fine ("Train short, test long", Press et al. 2022). */
static const float *alibi_slopes(const struct model_config *c)
{
	int32_t whole = 1;
	float *slope;

	if (c->position != POSITION_ALIBI)
		return NULL;
	slope = floats(c->n_heads);
	while (2 * whole <= c->n_heads)
		whole *= 2;
	for (int32_t h = 0; h < c->n_heads; h++) {
		double step = h < whole ? h + 1 : h - whole + 0.5;

		slope[h] = (float)exp2(-c->alibi_max_bias * step / whole);
	}
	return slope;
}

/* All products of a kind share their input's buffer, so it has every form that a layer wants. */
static void init_activations(struct forward *f)
{
	const struct weights *w = f->w;
	const struct model_config *c = f->c;
	unsigned of_norm = 0, of_norm_2 = 0, of_mixed = 0, of_inner = 0;
	int32_t rows = f->batch.max_rows;

	for (int32_t i = 0; i < c->n_layers; i++) {
		const struct layer_weights *l = &w->layer[i];

		of_norm |= l->qkv.forms;
		*(l->attn_norm_2.n ? &of_norm_2 : &of_norm) |= l->gate_up.forms;
		of_mixed |= l->out.forms;
		of_inner |= l->down.forms;
	}
	activations_init(&f->normed, c->d_model, rows, of_norm);
	if (of_norm_2)
		activations_init(&f->normed_2, c->d_model, rows, of_norm_2);
	activations_init(&f->mixed_in, f->width, rows, of_mixed);
	activations_init(&f->inner, c->d_ff, rows, of_inner);
	activations_init(&f->last, c->d_model, LOGIT_ROWS, w->head.forms);
}

struct forward *forward_new(const struct weights *w, struct kv_pages *pages,
			    struct threads *threads, int32_t max_tokens)
{
	const struct model_config *c = &w->model->config;
	struct forward *f = xcalloc(1, sizeof(*f));
	int32_t shared = c->n_heads / c->n_kv_heads, n_threads = threads_count(threads), heads;

	f->w = w;
	f->c = c;
	f->k = w->kernels;
	f->pages = pages;
	f->threads = threads;
	f->width = c->n_heads * c->head_dim;
	f->kv_width = c->n_kv_heads * c->head_dim;
	f->qkv_width = f->width + 2 * f->kv_width;
	f->up_width = c->gated ? 2 * c->d_ff : c->d_ff;
	f->head_parts = (shared + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
	heads = (shared + f->head_parts - 1) / f->head_parts;
	batch_init(&f->batch, max_tokens);
	f->limits = (struct batch_limits){
		.n_vocab = c->n_vocab,
		.max_positions = c->position == POSITION_LEARNED
					 ? w->model->positions.n_out - c->position_offset
					 : INT32_MAX,
		.n_pages = pages->n_pages,
		.page_tokens = pages->page_tokens,
		.chunk_rows = ATTENTION_ROWS / heads,
	};
	init_turns(f);
	f->alibi_slope = alibi_slopes(c);
	init_activations(f);
	f->x = floats((int64_t)max_tokens * c->d_model);
	f->y = floats((int64_t)max_tokens * c->d_model);
	f->qkv = floats((int64_t)max_tokens * f->qkv_width);
	f->mixed = floats((int64_t)max_tokens * f->width);
	f->up = floats((int64_t)max_tokens * f->up_width);
	f->logits = floats((int64_t)LOGIT_ROWS * c->n_vocab);
	f->norm_row = floats((int64_t)n_threads * c->d_model);
	f->attention_floats = attention_scratch_floats(ATTENTION_ROWS, c->head_dim);
	f->attention = floats(n_threads * f->attention_floats);
	return f;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	for (int kind = 0; kind < 2; kind++) {
		free(f->turn[kind]);
		free(f->cos[kind]);
		free(f->sin[kind]);
	}
	free((void *)f->alibi_slope);
	activations_release(&f->normed);
	activations_release(&f->normed_2);
	activations_release(&f->mixed_in);
	activations_release(&f->inner);
	activations_release(&f->last);
	free(f->x);
	free(f->y);
	free(f->qkv);
	free(f->mixed);
	free(f->up);
	free(f->logits);
	free(f->norm_row);
	free(f->attention);
	batch_release(&f->batch);
	free(f);
}

/* As if every matrix wanted both forms of its input. */
int64_t forward_bytes(const struct model_config *c, int32_t max_tokens)
{
	const unsigned both = ACTIVATIONS_FLOAT | ACTIVATIONS_INT8;
	int64_t width = (int64_t)c->n_heads * c->head_dim;
	int64_t kv_width = (int64_t)c->n_kv_heads * c->head_dim;
	int64_t row = 2 * (int64_t)c->d_model + 2 * width + 2 * kv_width +
		      (c->gated ? 2 : 1) * (int64_t)c->d_ff + 2 * (int64_t)c->n_rot;

	return (int64_t)sizeof(float) * (max_tokens * row + (int64_t)LOGIT_ROWS * c->n_vocab) +
	       (int64_t)(activations_bytes(c->d_model, max_tokens, both) * (c->parallel ? 2 : 1) +
			 activations_bytes((int32_t)width, max_tokens, both) +
			 activations_bytes(c->d_ff, max_tokens, both));
}
