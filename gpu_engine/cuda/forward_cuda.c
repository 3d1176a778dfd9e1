/*
 * Owns the activations of a step on the card, the KV pages, and the order in which kernels are
 * launched. Engine thread. Must not know policies, or where weights came from.
 *
 * Launches are written one behind the other without a look at what they return: errors are latched
 * (driver.h), and behind the first one nothing is launched.
 */
#include "forward_cuda.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "base/check.h"
#include "base/die.h"
#include "step_data.h"

/* Rows of logits held at a time: a vocabulary is long, and three arrays have a row of it. */
#define LOGIT_ROWS 64

struct results {
	int32_t *token;
	struct gpu_logprob *logprob; /* [row][1 + GPU_MAX_LOGPROBS] */
};

/* All on the card. */
struct activations_cuda {
	float *x;   /* the residual stream, d_model */
	float *qkv; /* qkv_width */
	float *up;  /* up_width */
	float *y;   /* what a half of the block adds to x, d_model */
	uint16_t *q;
	struct gpu_inputs normed;   /* a norm of x */
	struct gpu_inputs normed_2; /* the second half's of its own, in parallel */
	struct gpu_inputs mixed;    /* attention's output */
	struct gpu_inputs inner;
	float *partial; /* of decode attention */

	struct gpu_inputs last; /* LOGIT_ROWS of the final norm */
	float *logits, *adjusted;
	uint32_t *seen; /* zero between steps */
	struct results results;
	float *rope[2]; /* tables, by kind of layer: [0] sees all, [1] is windowed */
	float *alibi_slope;
};

struct cuda_forward {
	struct cuda *cuda;
	struct gpu_queue *queue;
	const struct cuda_weights *w;
	const struct model_config *c;
	struct cuda_limits limits;
	struct batch_limits batch_limits;
	const int32_t *end_ids;
	int32_t n_end_ids;

	struct batch batch;
	struct step_data data;
	struct step_graphs graphs;
	struct activations_cuda a;
	void *scratch;
	uint16_t *pages;
	size_t layer_pages; /* halves of a layer's */

	void *results_memory;
	struct results results; /* the host's */
	struct err err;
};

/* ---- sizes ---- */

static int32_t width_of(const struct model_config *c)
{
	return c->n_heads * c->head_dim;
}

static int32_t kv_width_of(const struct model_config *c)
{
	return c->n_kv_heads * c->head_dim;
}

static int32_t up_width_of(const struct model_config *c)
{
	return c->gated ? 2 * c->d_ff : c->d_ff;
}

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t max_positions(const struct model *m, const struct cuda_limits *l)
{
	return least(l->max_len, model_max_positions(m));
}

#define FLOATS(a, n) arena_take(a, (size_t)(n) * sizeof(float))

static void take_inputs(struct gpu_inputs *in, struct arena *a, int32_t n, int32_t rows)
{
	size_t padded = (size_t)gpu_padded(n), all = padded * (size_t)rows;

	in->padded = (int32_t)padded;
	in->halves = arena_take(a, all * sizeof(uint16_t));
	in->bytes = arena_take(a, all);
	in->scales = arena_take(a, all / GPU_GROUP * 2 * sizeof(float));
}

static void take_results(struct results *r, struct arena *a, int32_t rows)
{
	r->token = arena_take(a, (size_t)rows * sizeof(*r->token));
	r->logprob = arena_take(a, (size_t)rows * (1 + GPU_MAX_LOGPROBS) * sizeof(*r->logprob));
}

static void lay_out(struct activations_cuda *s, struct arena *a, const struct model *m,
		    const struct cuda_limits *l)
{
	const struct model_config *c = &m->config;
	int64_t rows = l->max_tokens, width = width_of(c), kv_width = kv_width_of(c);
	int32_t head_rows = least(LOGIT_ROWS, l->max_tokens), n = l->max_tokens;
	int32_t decodes = least(l->max_seqs, l->max_tokens);

	s->x = FLOATS(a, rows * c->d_model);
	s->y = FLOATS(a, rows * c->d_model);
	s->qkv = FLOATS(a, rows * (width + 2 * kv_width));
	s->up = FLOATS(a, rows * up_width_of(c));
	s->q = arena_take(a, (size_t)(rows * width) * sizeof(*s->q));
	take_inputs(&s->normed, a, c->d_model, n);
	take_inputs(&s->normed_2, a, c->d_model, c->parallel ? n : 0);
	take_inputs(&s->mixed, a, (int32_t)width, n);
	take_inputs(&s->inner, a, c->d_ff, n);
	s->partial = arena_take(
		a, gpu_partial_bytes(decodes, c->n_heads, gpu_splits(l->max_len), c->head_dim));
	take_inputs(&s->last, a, c->d_model, head_rows);
	s->logits = FLOATS(a, (int64_t)head_rows * c->n_vocab);
	s->adjusted = FLOATS(a, (int64_t)head_rows * c->n_vocab);
	s->seen = arena_take(a, (size_t)head_rows * (size_t)c->n_vocab * sizeof(*s->seen));
	take_results(&s->results, a, n);
	for (int kind = 0; kind < 2; kind++)
		s->rope[kind] = FLOATS(a, model_rotates(c) && (kind == 0 || c->window > 0)
						  ? (int64_t)max_positions(m, l) * c->n_rot
						  : 0);
	s->alibi_slope = FLOATS(a, c->position == POSITION_ALIBI ? c->n_heads : 0);
}

static struct step_limits step_limits(const struct cuda_limits *l)
{
	return (struct step_limits){.max_rows = l->max_tokens,
				    .max_sequences = least(l->max_seqs, l->max_tokens),
				    .max_len = l->max_len,
				    .page_tokens = l->block_size};
}

int64_t cuda_forward_bytes(const struct model *m, const struct cuda_limits *l)
{
	const struct step_limits data = step_limits(l);
	struct activations_cuda scrap;
	struct arena a = {0};

	lay_out(&scrap, &a, m, l);
	return (int64_t)a.at + step_data_bytes(&data);
}

enum rc cuda_forward_can(const struct model_config *c, struct err *e)
{
	if (c->head_dim % 8 != 0 || c->head_dim > GPU_MAX_HEAD_DIM)
		return err_set(
			e, RC_INPUT,
			"--device cuda: this model has heads of %d dimensions, and multiples "
			"of 8 up to %d are possible",
			c->head_dim, GPU_MAX_HEAD_DIM);
	if (c->d_model > GPU_MAX_D_MODEL)
		return err_set(e, RC_INPUT,
			       "--device cuda: this model is %d wide, and up to %d is possible",
			       c->d_model, GPU_MAX_D_MODEL);
	return RC_OK;
}

/* ---- pieces ---- */

static enum gpu_norm_kind norm_kind(const struct model_config *c)
{
	return c->norm == NORM_RMS ? GPU_NORM_RMS : GPU_NORM_LAYER;
}

static enum gpu_act act_of(enum activation act)
{
	static const enum gpu_act of[] = {[ACT_SILU] = GPU_SILU,
					  [ACT_GELU] = GPU_GELU,
					  [ACT_GELU_TANH] = GPU_GELU_TANH,
					  [ACT_RELU] = GPU_RELU};

	return of[act];
}

/* The forms that a product of m rows reads, and no others, so that nobody makes them. */
static struct gpu_inputs inputs(const struct gpu_inputs *all, unsigned forms)
{
	struct gpu_inputs in = *all;

	if (!(forms & GPU_HALVES))
		in.halves = NULL;
	if (!(forms & GPU_BYTES)) {
		in.bytes = NULL;
		in.scales = NULL;
	}
	return in;
}

static unsigned forms_of(const struct cuda_forward *f, const struct gpu_matrix *w)
{
	return gpu_product_forms(w, GPU_FROM_M, f->data.n.n_rows);
}

static void product(struct cuda_forward *f, const struct gpu_matrix *w, const struct gpu_inputs *x,
		    float *y)
{
	gpu_multiply(f->queue, w, x, f->data.n.n_rows, GPU_FROM_M, y, &f->err);
}

/* x += post(y + bias), if there is a y; out = norm(x), if there is a norm. */
static void add_and_norm(struct cuda_forward *f, const float *y, const float *bias,
			 const struct cuda_norm *post, const struct cuda_norm *norm,
			 const struct gpu_inputs *out)
{
	struct gpu_norm n = {.kind = norm_kind(f->c),
			     .eps = f->c->norm_eps,
			     .n = f->c->d_model,
			     .x = f->a.x,
			     .y = y,
			     .y_bias = bias};

	if (post)
		n.post = post->on_card;
	if (norm)
		n.norm = norm->on_card;
	gpu_norm(f->queue, &n, f->data.n.n_rows, out, &f->err);
}

static void embed(struct cuda_forward *f)
{
	const struct gpu_embed how = {.embedding = &f->w->embed,
				      .tokens = f->data.card.tokens,
				      .positions = f->data.card.positions,
				      .scale = f->c->embed_scale,
				      .learned = f->w->learned,
				      .position_offset = f->c->position_offset};

	gpu_embed(f->queue, &how, f->data.n.n_rows, f->a.x, &f->err);
}

/* What the layer before left in y is added; then the inputs of a layer's first products: of
 * attention, and of the other half if it does not wait for attention. */
static void enter_layer(struct cuda_forward *f, int32_t layer)
{
	const struct cuda_layer *l = &f->w->layer[layer];
	const struct cuda_layer *before = layer > 0 ? l - 1 : NULL;
	unsigned forms = forms_of(f, &l->qkv);
	struct gpu_inputs out;

	if (!l->attn_norm_2.n)
		forms |= forms_of(f, &l->gate_up);
	out = inputs(&f->a.normed, forms);
	add_and_norm(f, before ? f->a.y : NULL, before ? before->down_bias : NULL,
		     before ? &before->ffn_post_norm : NULL, &l->attn_norm, &out);
	if (l->attn_norm_2.n) {
		out = inputs(&f->a.normed_2, forms_of(f, &l->gate_up));
		add_and_norm(f, NULL, NULL, NULL, &l->attn_norm_2, &out);
	}
}

/* ---- attention ---- */

static struct gpu_kv kv_of(const struct cuda_forward *f, int32_t layer)
{
	return (struct gpu_kv){.pages = f->pages + (size_t)layer * f->layer_pages,
			       .page_tokens = f->limits.block_size,
			       .n_kv_heads = f->c->n_kv_heads,
			       .head_dim = f->c->head_dim,
			       .block_table = f->data.card.block_table,
			       .table_stride = f->data.n.table_stride,
			       .row_sequence = f->data.card.row_sequence,
			       .positions = f->data.card.positions};
}

/* Products of q, k and v to what attention reads. */
static void place(struct cuda_forward *f, int32_t layer, const struct gpu_kv *kv)
{
	const struct model_config *c = f->c;
	const struct cuda_layer *l = &f->w->layer[layer];
	struct gpu_place p = {.qkv = f->a.qkv,
			      .bias = l->qkv_bias,
			      .n_heads = c->n_heads,
			      .clamp = c->clamp_qkv,
			      .norm_kind = norm_kind(c),
			      .eps = c->norm_eps,
			      .norm_whole_row = l->q_norm.n != c->head_dim,
			      .q_norm = l->q_norm.on_card,
			      .k_norm = l->k_norm.on_card,
			      .rope = GPU_ROPE_NONE};

	if (model_rotates(c)) {
		p.rope = c->position == POSITION_ROPE_PAIRS ? GPU_ROPE_PAIRS : GPU_ROPE_HALVES;
		p.n_rot = c->n_rot;
		p.rope_table = f->a.rope[model_windowed(c, layer)];
	}
	gpu_place(f->queue, &p, kv, f->data.n.n_rows, f->a.q, width_of(c), &f->err);
}

static void attend(struct cuda_forward *f, int32_t layer, const struct gpu_kv *kv)
{
	const struct step_data *d = &f->data;
	const struct gpu_attention a = {
		.q = f->a.q,
		.q_stride = width_of(f->c),
		.n_heads = f->c->n_heads,
		.scale = f->c->attn_scale,
		.window = model_windowed(f->c, layer) ? f->c->window : 0,
		.alibi_slope = f->a.alibi_slope,
		.out = f->a.mixed.halves,
		.out_stride = f->a.mixed.padded,
	};

	if (d->n.n_decodes > 0)
		gpu_attend_decode(f->queue, &a, kv, d->card.decode_rows, d->n.n_decodes,
				  d->n_splits, f->a.partial, &f->err);
	if (d->n.n_chunks > 0)
		gpu_attend_prefill(f->queue, &a, kv, d->card.chunk_first, d->card.chunk_rows,
				   d->n.n_chunks, &f->err);
}

/* ---- the step ---- */

/* Leaves the second half's output in y, to be added by whoever comes next. */
static void run_layer(struct cuda_forward *f, int32_t layer)
{
	const struct cuda_layer *l = &f->w->layer[layer];
	const struct gpu_inputs *second = l->attn_norm_2.n ? &f->a.normed_2 : &f->a.normed;
	struct gpu_inputs out = inputs(&f->a.normed, forms_of(f, &l->gate_up));
	struct gpu_inputs inner = inputs(&f->a.inner, forms_of(f, &l->down));
	const struct gpu_activation act = {.act = act_of(f->c->act),
					   .gated = f->c->gated,
					   .n = f->c->d_ff,
					   .up = f->a.up,
					   .bias = l->gate_up_bias};
	const struct gpu_kv kv = kv_of(f, layer);

	product(f, &l->qkv, &f->a.normed, f->a.qkv);
	place(f, layer, &kv);
	attend(f, layer, &kv);
	if (forms_of(f, &l->out) & GPU_BYTES)
		gpu_quantise(f->queue, &f->a.mixed, f->data.n.n_rows, &f->err);
	product(f, &l->out, &f->a.mixed, f->a.y);
	if (f->c->parallel)
		add_and_norm(f, f->a.y, l->out_bias, &l->attn_post_norm, NULL, NULL);
	else
		add_and_norm(f, f->a.y, l->out_bias, &l->attn_post_norm, &l->ffn_norm, &out);
	product(f, &l->gate_up, second, f->a.up);
	gpu_activate(f->queue, &act, f->data.n.n_rows, &inner, &f->err);
	product(f, &l->down, &f->a.inner, f->a.y);
}

/* The final norm and the head, for n of the rows that are asked for. */
static void run_head(struct cuda_forward *f, int32_t from, int32_t n)
{
	const struct cuda_layer *l = &f->w->layer[f->c->n_layers - 1];
	struct gpu_inputs last = inputs(&f->a.last, gpu_product_forms(&f->w->head, GPU_FROM_M, n));
	const struct gpu_norm norm = {.kind = norm_kind(f->c),
				      .eps = f->c->norm_eps,
				      .n = f->c->d_model,
				      .x = f->a.x,
				      .rows = f->data.card.logits_rows + from,
				      .y = f->a.y,
				      .y_bias = l->down_bias,
				      .post = l->ffn_post_norm.on_card,
				      .norm = f->w->final_norm.on_card};

	gpu_norm(f->queue, &norm, n, &last, &f->err);
	gpu_multiply(f->queue, &f->w->head, &last, n, GPU_FROM_M, f->a.logits, &f->err);
	if (f->w->head_bias)
		gpu_add_bias(f->queue, f->a.logits, f->w->head_bias, f->c->n_vocab, n, &f->err);
}

/* Tokens from n rows of logits, and what is to be told of their probabilities. Choosing may spoil
 * the logits, so where somebody still wants them it is done on a copy. */
static void choose(struct cuda_forward *f, int32_t from, int32_t n)
{
	const struct step_arrays *card = &f->data.card;
	const struct gpu_adjust adjust = {.history = card->history,
					  .bias = card->bias,
					  .forbidden = card->forbidden,
					  .seen = f->a.seen,
					  .out = f->a.adjusted};
	struct gpu_logits logits = {f->a.logits, f->c->n_vocab, n, card->sampling + from};
	struct gpu_logits own = logits;
	bool known = from < f->data.n.n_known, told = f->data.told;
	const int32_t *token = known ? card->known + from : f->a.results.token + from;

	if (!known && (told || step_data_adjusts(&f->data))) {
		gpu_adjust(f->queue, &logits, &adjust, &f->err);
		own.logits = f->a.adjusted;
	}
	if (!known)
		gpu_pick(f->queue, &own, f->a.results.token + from, &f->err);
	if (!told)
		return;
	gpu_logprobs(f->queue, &logits, token,
		     f->a.results.logprob + (size_t)from * (1 + GPU_MAX_LOGPROBS), &f->err);
}

static void run_heads(struct cuda_forward *f)
{
	const struct step_counts *c = &f->data.n;

	for (int32_t from = 0, n; from < c->n_logits; from += n) {
		int32_t end = from < c->n_known ? c->n_known : c->n_logits;

		n = least(end - from, LOGIT_ROWS);
		run_head(f, from, n);
		choose(f, from, n);
	}
}

static void fetch_results(struct cuda_forward *f)
{
	size_t n = (size_t)f->data.n.n_logits, each = 1 + GPU_MAX_LOGPROBS;

	cuda_download(f->cuda, f->results.token, f->a.results.token, n * sizeof(int32_t), &f->err);
	if (f->data.told)
		cuda_download(f->cuda, f->results.logprob, f->a.results.logprob,
			      n * each * sizeof(struct gpu_logprob), &f->err);
}

static void hand_out(const struct cuda_forward *f, const struct step_plan *plan,
		     struct step_output *out)
{
	_Static_assert(sizeof(struct gpu_logprob) == sizeof(struct token_logprob) &&
			       GPU_MAX_LOGPROBS == SAMPLING_MAX_LOGPROBS,
		       "the card's logprobs are the engine's");
	const struct step_data *d = &f->data;

	for (int32_t i = 0; i < f->batch.n_logits; i++) { /* rows of nobody are the last */
		int32_t row = d->host.logits_rows[i], item = f->batch.item[row];
		const struct gpu_logprob *told =
			f->results.logprob + (size_t)i * (1 + GPU_MAX_LOGPROBS);

		if (i < d->n.n_known) {
			plan->item[item].req->prompt_logprob[f->batch.position[row] + 1] =
				told->logprob;
			continue;
		}
		out->token[item] = f->results.token[i];
		if (d->host.sampling[i].n_logprobs >= 0)
			memcpy(out->logprob + (size_t)item * LOGPROBS_AN_ITEM, told,
			       LOGPROBS_AN_ITEM * sizeof(*out->logprob));
	}
}

/* All that a step does on the card, copies included: what a graph records. */
static void put_step(void *arg)
{
	struct cuda_forward *f = arg;

	step_data_upload(&f->data, &f->err);
	embed(f);
	for (int32_t i = 0; i < f->c->n_layers; i++) {
		enter_layer(f, i);
		run_layer(f, i);
	}
	run_heads(f);
	fetch_results(f);
}

const char *cuda_forward_step(struct cuda_forward *f, const struct step_plan *plan,
			      struct step_output *out)
{
	const char *why = batch_fill(&f->batch, plan, &f->batch_limits);

	if (why)
		return why;
	if (plan->n_items > f->limits.max_seqs)
		return "a step has more sequences than the executor was opened for";
	f->err.rc = RC_OK;
	cuda_attach(f->cuda, &f->err);
	step_data_fill(&f->data, &f->batch, f->end_ids, f->n_end_ids, f->graphs.on, &f->err);
	if (f->err.rc)
		return f->err.msg;
	step_graphs_run(&f->graphs, &f->data, put_step, f, &f->err);
	if (cuda_wait(f->cuda, &f->err))
		return f->err.msg;
	hand_out(f, plan, out);
	return NULL;
}

/* ---- memory ---- */

/* Tables that are made once, by way of the host. */
static void send_table(struct cuda_forward *f, void *to, void *from, size_t bytes)
{
	cuda_upload(f->cuda, to, from, bytes, &f->err);
	cuda_wait(f->cuda, &f->err);
	free(from);
}

static void make_tables(struct cuda_forward *f, const struct model *m)
{
	const struct model_config *c = f->c;
	int32_t half = c->n_rot / 2, n = max_positions(m, &f->limits);

	for (int kind = 0; kind < 2; kind++) {
		double *turn;
		float *factors = NULL, *table;

		if (!f->a.rope[kind])
			continue;
		turn = xcalloc((size_t)half, sizeof(*turn));
		table = xcalloc((size_t)n * (size_t)c->n_rot, sizeof(*table));
		if (m->rope_factors.n_parts > 0) {
			factors = xcalloc((size_t)m->rope_factors.n, sizeof(*factors));
			vector_read(&m->rope_factors, factors);
		}
		model_rope_turns(c, factors, kind == 1, turn);
		gpu_rope_table(table, turn, half, n);
		free(turn);
		free(factors);
		send_table(f, f->a.rope[kind], table,
			   (size_t)n * (size_t)c->n_rot * sizeof(*table));
	}
	if (f->a.alibi_slope) {
		float *slope = xcalloc((size_t)c->n_heads, sizeof(*slope));

		model_alibi_slopes(c, slope);
		send_table(f, f->a.alibi_slope, slope, (size_t)c->n_heads * sizeof(*slope));
	}
}

/* Zeros at first: the padding behind attention's output and the counts of sampling stay so, and
 * pages must not hold NaN. */
static void take_memory(struct cuda_forward *f, const struct model *m)
{
	const struct cuda_limits *l = &f->limits;
	size_t page_bytes = (size_t)model_kv_token_bytes(f->c) * (size_t)l->block_size;
	size_t kv_bytes = page_bytes * (size_t)l->num_blocks;
	const struct step_limits data = step_limits(l);
	struct arena a = {0}, results = {0};
	void *pages;

	lay_out(&f->a, &a, m, l);
	cuda_alloc(f->cuda, &f->scratch, a.at, "activations", &f->err);
	cuda_clear(f->cuda, f->scratch, a.at, &f->err);
	a = (struct arena){.memory = f->scratch};
	lay_out(&f->a, &a, m, l);

	cuda_alloc(f->cuda, &pages, kv_bytes, "keys and values", &f->err);
	cuda_clear(f->cuda, pages, kv_bytes, &f->err);
	f->pages = pages;
	f->layer_pages = kv_bytes / sizeof(*f->pages) / (size_t)f->c->n_layers;

	take_results(&f->results, &results, l->max_tokens);
	cuda_alloc_host(f->cuda, &f->results_memory, results.at, "results", &f->err);
	results = (struct arena){.memory = f->results_memory};
	take_results(&f->results, &results, l->max_tokens);

	step_data_init(&f->data, f->cuda, &data, &f->err);
}

enum rc cuda_forward_new(struct cuda_forward **out, struct cuda *c, const struct model *m,
			 const struct cuda_weights *w, const struct cuda_limits *l,
			 const int32_t *end_ids, int32_t n_end_ids, struct graph_counts *graphs,
			 struct err *e)
{
	struct cuda_forward *f = xcalloc(1, sizeof(*f));

	*out = NULL;
	f->cuda = c;
	f->queue = cuda_queue(c);
	f->w = w;
	f->c = &m->config;
	f->limits = *l;
	f->end_ids = end_ids;
	f->n_end_ids = n_end_ids;
	f->batch_limits = (struct batch_limits){
		.n_vocab = f->c->n_vocab,
		.max_positions = max_positions(m, l),
		.n_pages = l->num_blocks,
		.page_tokens = l->block_size,
		.chunk_rows = gpu_chunk_rows(f->c->n_heads, f->c->n_kv_heads),
	};
	batch_init(&f->batch, l->max_tokens);
	step_graphs_init(&f->graphs, c, graphs);
	take_memory(f, m);
	make_tables(f, m);
	if (cuda_wait(c, &f->err)) {
		*e = f->err;
		cuda_forward_free(f);
		return e->rc;
	}
	*out = f;
	return RC_OK;
}

void cuda_forward_free(struct cuda_forward *f)
{
	if (!f)
		return;
	step_graphs_release(&f->graphs);
	step_data_release(&f->data);
	cuda_free_host(f->cuda, f->results_memory);
	cuda_free(f->cuda, f->pages);
	cuda_free(f->cuda, f->scratch);
	batch_release(&f->batch);
	free(f);
}
