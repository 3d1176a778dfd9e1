/*
 * Owns each kernel's time on shapes of an 8B model, beside its roof: what its bytes take at the
 * memory's limit, or its operations at that of the tensor cores, whichever is more. Launchers are
 * used as the engine uses them; a queue in between lets the launches of one kernel through, so that
 * each stands for itself. Must not know whether results are right.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "check.h"
#include "cuda/driver.h"

#define GOAL_ATTENTION 0.75
#define ENOUGH_S       20e-3 /* of work, for a time that means something */
#define MAX_ROUNDS     1000
#define PATTERN_BYTES  (4U << 20)
#define MAX_BUFFERS    256
#define PAGE_TOKENS    16

/* The sizes of Llama-3.1-8B; and, where every instruction is interpreted, small ones. */
struct sizes {
	int32_t d_model, d_ff, n_heads, n_kv_heads, head_dim, n_vocab;
	int32_t few, many;	 /* rows of a step that decodes, that fills prompts */
	int32_t context, n_long; /* tokens of a long sequence, how many of them */
	size_t read_bytes;
};
static const struct sizes sizes_8b = {.d_model = 4096,
				      .d_ff = 14336,
				      .n_heads = 32,
				      .n_kv_heads = 8,
				      .head_dim = 128,
				      .n_vocab = 128256,
				      .few = 64,
				      .many = 512,
				      .context = 16384,
				      .n_long = 16,
				      .read_bytes = 1U << 30};
static const struct sizes sizes_tiny = {.d_model = 64,
					.d_ff = 96,
					.n_heads = 4,
					.n_kv_heads = 2,
					.head_dim = 16,
					.n_vocab = 300,
					.few = 9,
					.many = 33,
					.context = GPU_SPLIT_TOKENS + 10,
					.n_long = 2,
					.read_bytes = 1U << 12};

struct timing {
	struct gpu_queue queue; /* the first: a queue's pointer is its timing's */
	enum gpu_kernel only;
	int64_t n_launched;

	const struct check *c;
	const struct sizes *z;
	struct cuda *card;
	void *pattern; /* the host's, pinned */
	void *buffer[MAX_BUFFERS];
	int n_buffers;
	bool has_row[GPU_KERNEL_COUNT];
	cJSON *phase, *list;
	struct err e;
};

static enum rc launch_only(struct gpu_queue *q, const struct gpu_launch *l, struct err *e)
{
	struct timing *t = (struct timing *)q;

	if (l->kernel != t->only)
		return RC_OK;
	t->n_launched++;
	return cuda_queue(t->card)->launch(cuda_queue(t->card), l, e);
}

/* ---- memory of the card ---- */

/* Filled with what is a small number in every format, and looks like weights: what a card's cores
 * draw, and so their clock, depends on the bits. */
static void *take(struct timing *t, size_t bytes)
{
	void *p = NULL;

	CHECK(t->n_buffers < MAX_BUFFERS);
	cuda_alloc(t->card, &p, bytes, "a measurement", &t->e);
	for (size_t at = 0; p && at < bytes && !t->e.rc; at += PATTERN_BYTES)
		cuda_upload(t->card, (uint8_t *)p + at, t->pattern,
			    bytes - at < PATTERN_BYTES ? bytes - at : PATTERN_BYTES, &t->e);
	cuda_wait(t->card, &t->e);
	t->buffer[t->n_buffers++] = p;
	return p;
}

static void *take_zeros(struct timing *t, size_t bytes)
{
	void *p = take(t, bytes);

	if (!t->e.rc)
		cuda_clear(t->card, p, bytes, &t->e);
	cuda_wait(t->card, &t->e);
	return p;
}

static float *take_floats(struct timing *t, int64_t n)
{
	return take(t, (size_t)n * sizeof(float));
}

/* first, first + step, ... modulo `modulo` */
static int32_t *take_numbers(struct timing *t, int32_t n, int32_t first, int32_t step,
			     int32_t modulo)
{
	int32_t *host = xcalloc((size_t)n, sizeof(*host)), *p;

	for (int64_t i = 0; i < n; i++)
		host[i] = (int32_t)((first + i * step) % modulo);
	p = take(t, (size_t)n * sizeof(*p));
	cuda_upload(t->card, p, host, (size_t)n * sizeof(*p), &t->e);
	cuda_wait(t->card, &t->e);
	free(host);
	return p;
}

static void give_back(struct timing *t)
{
	while (t->n_buffers > 0)
		cuda_free(t->card, t->buffer[--t->n_buffers]);
}

static struct gpu_inputs take_inputs(struct timing *t, int32_t n, int32_t rows)
{
	size_t all = (size_t)gpu_padded(n) * (size_t)rows;

	return (struct gpu_inputs){.padded = gpu_padded(n),
				   .halves = take(t, all * sizeof(uint16_t)),
				   .bytes = take(t, all),
				   .scales = take(t, all / GPU_GROUP * 2 * sizeof(float))};
}

/* ---- a row of the table ---- */

/* One call launches the kernel under test once; i tells the calls apart. */
struct work {
	enum gpu_kernel kernel;
	char shape[80];
	double bytes, flops; /* flops: of the tensor cores' kind */
	void (*run)(struct timing *t, const void *arg, int i);
	const void *arg;
};

static double rounds_s(struct timing *t, const struct work *w, int from, int n)
{
	double s = 0;

	cuda_time_start(t->card, &t->e);
	for (int i = from; i < from + n && !t->e.rc; i++)
		w->run(t, w->arg, i);
	cuda_time_stop(t->card, &s, &t->e);
	return s;
}

/* Seconds of one, the first not counted. */
static double time_of(struct timing *t, const struct work *w)
{
	int rounds = 1;
	double s;

	rounds_s(t, w, 0, 1);
	if (t->c->emulated)
		return rounds_s(t, w, 1, 1);
	s = rounds_s(t, w, 1, 2) / 2;
	if (s > 0)
		rounds = (int)fmin(MAX_ROUNDS, ceil(ENOUGH_S / s));
	return rounds_s(t, w, 3, rounds) / rounds;
}

static double roof_of(const struct check *c, const struct work *w)
{
	double memory = c->peak_bytes_per_s > 0 ? w->bytes / c->peak_bytes_per_s : 0;
	double cores = c->peak_flops > 0 ? w->flops / c->peak_flops : 0;

	return fmax(memory, cores);
}

static void add_row(struct timing *t, const struct work *w)
{
	const char *name = gpu_kernel_info(w->kernel)->name;
	double roof_s = roof_of(t->c, w), s;
	cJSON *o;

	t->only = w->kernel;
	t->n_launched = 0;
	t->has_row[w->kernel] = true;
	s = time_of(t, w);
	if (t->e.rc) {
		add_wrong(t->phase, "%s, %s: %s", name, w->shape, t->e.msg);
		t->e.rc = RC_OK;
		return;
	}
	if (t->n_launched == 0)
		add_wrong(t->phase, "%s, %s: it was not launched", name, w->shape);
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "kernel", name);
	cJSON_AddStringToObject(o, "shape", w->shape);
	json_add_number(o, "time_s", s);
	if (roof_s > 0) {
		json_add_number(o, "roof_s", roof_s);
		json_add_number(o, "share_of_roof", roof_s / s);
	}
	json_add_number(o, "bytes", w->bytes);
	add_bytes_per_s(t->c, o, w->bytes / s);
	if (w->flops > 0)
		json_add_number(o, "flops", w->flops / s);
	cJSON_AddItemToArray(t->list, o);
	if (w->kernel == GPU_attend_decode)
		add_goal(t->c, t->phase, "attention over long contexts", roof_s / s,
			 GOAL_ATTENTION);
}

/* ---- products ---- */

/* So many copies of the same weights that none is in the cache when its turn comes again. */
struct product {
	struct gpu_matrix *w;
	int n_copies;
	struct gpu_inputs x;
	int32_t m;
	float *y;
};

static void run_product(struct timing *t, const void *arg, int i)
{
	const struct product *p = arg;

	gpu_multiply(&t->queue, &p->w[i % p->n_copies], &p->x, p->m, GPU_FROM_M, p->y, &t->e);
}

static struct gpu_matrix take_matrix(struct timing *t, enum gpu_kind kind, int32_t n_in,
				     int32_t n_out)
{
	int32_t padded = gpu_padded(n_in);
	size_t scales = gpu_scales_bytes(kind, padded) * (size_t)n_out;
	struct gpu_matrix w = {.n_in = n_in, .n_out = n_out, .padded = padded, .n_parts = 1};

	w.part[0] = (struct gpu_weights){
		.kind = kind,
		.n_out = n_out,
		.padded = padded,
		.quants = take(t, gpu_quants_bytes(kind, padded) * (size_t)n_out),
		.scales = scales > 0 ? take(t, scales) : NULL};
	return w;
}

static void time_products(struct timing *t, enum gpu_kind kind)
{
	const struct sizes *z = t->z;
	const int32_t m_of[] = {1, 2, 4, 8, 16, z->many};
	int32_t n_in = z->d_model, n_out = z->d_ff, padded = gpu_padded(n_in);
	double bytes =
		(double)(gpu_quants_bytes(kind, padded) + gpu_scales_bytes(kind, padded)) * n_out;
	struct product p = {.n_copies = (int)fmin(32, 2 + 4 * (double)t->c->l2_bytes / bytes)};

	p.n_copies = t->c->emulated ? 1 : p.n_copies;
	p.w = xcalloc((size_t)p.n_copies, sizeof(*p.w));
	for (int i = 0; i < p.n_copies; i++)
		p.w[i] = take_matrix(t, kind, n_in, n_out);
	p.x = take_inputs(t, n_in, z->many);
	p.y = take_floats(t, (int64_t)n_out * z->many);
	for (int i = 0; i < (int)ARRAY_LEN(m_of); i++) {
		struct work w = {.run = run_product, .arg = &p};

		p.m = m_of[i];
		w.kernel = i < 4 ? (enum gpu_kernel)((int)GPU_gemv_f16_1 + (int)kind * 4 + i)
				 : (enum gpu_kernel)((int)GPU_gemm_f16_16 + (int)kind * 2 + i - 4);
		w.bytes = bytes + (double)p.m * (n_in * 2.0 + n_out * 4.0);
		w.flops = i < 4 ? 0 : 2.0 * p.m * n_in * n_out;
		snprintf(w.shape, sizeof(w.shape), "%d x %d, %d rows", n_out, n_in, p.m);
		add_row(t, &w);
	}
	free(p.w);
	give_back(t);
}

/* ---- row by row ---- */

struct rows {
	struct gpu_matrix embedding;
	struct gpu_embed embed;
	struct gpu_norm norm;
	struct gpu_activation act;
	struct gpu_inputs normed, inner;
	float *x, *y, *bias;
	int32_t m;
};

static void run_embed(struct timing *t, const void *arg, int i)
{
	const struct rows *r = arg;

	(void)i;
	gpu_embed(&t->queue, &r->embed, r->m, r->x, &t->e);
}

static void run_norm(struct timing *t, const void *arg, int i)
{
	const struct rows *r = arg;

	(void)i;
	gpu_norm(&t->queue, &r->norm, r->m, &r->normed, &t->e);
}

static void run_quantise(struct timing *t, const void *arg, int i)
{
	const struct rows *r = arg;

	(void)i;
	gpu_quantise(&t->queue, &r->normed, r->m, &t->e);
}

static void run_activate(struct timing *t, const void *arg, int i)
{
	const struct rows *r = arg;

	(void)i;
	gpu_activate(&t->queue, &r->act, r->m, &r->inner, &t->e);
}

static void run_bias(struct timing *t, const void *arg, int i)
{
	const struct rows *r = arg;

	(void)i;
	gpu_add_bias(&t->queue, r->y, r->bias, t->z->d_model, r->m, &t->e);
}

static void time_rows(struct timing *t)
{
	const struct sizes *z = t->z;
	double d = z->d_model, ff = z->d_ff, group = 2 * sizeof(float) / (double)GPU_GROUP;
	double input = 2 + 1 + group; /* bytes of one, in both forms */
	struct rows r = {.m = z->many};
	/* Bytes a row. */
	const struct {
		enum gpu_kernel kernel;
		void (*run)(struct timing *t, const void *arg, int i);
		double bytes;
	} all[] = {{GPU_embed_rows, run_embed, d * (2 + 4)},
		   {GPU_norm_rows, run_norm, d * (4 + 4 + 4 + input)},
		   {GPU_quantise_rows, run_quantise, d * input},
		   {GPU_activate_rows, run_activate, ff * (8 + input)},
		   {GPU_add_bias, run_bias, d * 8}};

	r.embedding = take_matrix(t, GPU_F16, z->d_model, z->n_vocab);
	r.x = take_floats(t, (int64_t)z->d_model * r.m);
	r.y = take_floats(t, (int64_t)z->d_model * r.m);
	r.bias = take_floats(t, z->d_model);
	r.normed = take_inputs(t, z->d_model, r.m);
	r.inner = take_inputs(t, z->d_ff, r.m);
	r.embed = (struct gpu_embed){.embedding = &r.embedding,
				     .tokens = take_numbers(t, r.m, 0, 199, z->n_vocab),
				     .scale = 1};
	r.norm = (struct gpu_norm){.kind = GPU_NORM_RMS,
				   .eps = 1e-5F,
				   .n = z->d_model,
				   .x = r.x,
				   .y = r.y,
				   .norm = {.weight = r.bias}};
	r.act = (struct gpu_activation){.act = GPU_SILU,
					.gated = true,
					.n = z->d_ff,
					.up = take_floats(t, (int64_t)z->d_ff * 2 * r.m)};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct work w = {.kernel = all[i].kernel,
				 .run = all[i].run,
				 .arg = &r,
				 .bytes = all[i].bytes * r.m};

		snprintf(w.shape, sizeof(w.shape), "%d rows", r.m);
		add_row(t, &w);
	}
	give_back(t);
}

/* ---- attention ---- */

struct attention {
	struct gpu_kv kv;
	struct gpu_attention a;
	struct gpu_place place;
	int32_t m, q_width;
	uint16_t *q;
	int32_t *rows, *chunk_first, *chunk_rows;
	int32_t n_chunks, n_splits;
	float *partial;
};

static void run_place(struct timing *t, const void *arg, int i)
{
	const struct attention *a = arg;

	(void)i;
	gpu_place(&t->queue, &a->place, &a->kv, a->m, a->q, a->q_width, &t->e);
}

static void run_decode(struct timing *t, const void *arg, int i)
{
	const struct attention *a = arg;

	(void)i;
	gpu_attend_decode(&t->queue, &a->a, &a->kv, a->rows, a->m, a->n_splits, a->partial, &t->e);
}

static void run_prefill(struct timing *t, const void *arg, int i)
{
	const struct attention *a = arg;

	(void)i;
	gpu_attend_prefill(&t->queue, &a->a, &a->kv, a->chunk_first, a->chunk_rows, a->n_chunks,
			   &t->e);
}

/* m rows at the ends of n sequences of `tokens`, whose pages lie in no order. */
static void take_attention(struct timing *t, struct attention *a, int32_t m, int32_t n,
			   int32_t tokens)
{
	const struct sizes *z = t->z;
	int32_t stride = (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS, pages = n * stride;
	int32_t width = z->n_heads * z->head_dim, all = width + 2 * z->n_kv_heads * z->head_dim;
	int32_t each = m / n;
	size_t page_halves = (size_t)2 * (size_t)z->n_kv_heads * PAGE_TOKENS * (size_t)z->head_dim;
	int32_t *sequence = xcalloc((size_t)m, sizeof(*sequence));
	int32_t *position = xcalloc((size_t)m, sizeof(*position));

	for (int32_t i = 0; i < m; i++) {
		sequence[i] = i / each;
		position[i] = tokens - each + i % each;
	}
	*a = (struct attention){.m = m, .q_width = width, .n_splits = gpu_splits(tokens)};
	a->kv = (struct gpu_kv){.pages = take(t, (size_t)pages * page_halves * sizeof(uint16_t)),
				.page_tokens = PAGE_TOKENS,
				.n_kv_heads = z->n_kv_heads,
				.head_dim = z->head_dim,
				/* 7919 is a prime, so each page occurs once */
				.block_table = take_numbers(t, pages, 0, 7919, pages),
				.table_stride = stride};
	a->kv.row_sequence = take(t, (size_t)m * sizeof(int32_t));
	a->kv.positions = take(t, (size_t)m * sizeof(int32_t));
	cuda_upload(t->card, (void *)(uintptr_t)a->kv.row_sequence, sequence,
		    (size_t)m * sizeof(int32_t), &t->e);
	cuda_upload(t->card, (void *)(uintptr_t)a->kv.positions, position,
		    (size_t)m * sizeof(int32_t), &t->e);
	cuda_wait(t->card, &t->e);
	a->q = take(t, (size_t)m * (size_t)width * sizeof(*a->q));
	a->rows = take_numbers(t, m, 0, 1, m);
	a->partial = take(t, gpu_partial_bytes(m, z->n_heads, a->n_splits, z->head_dim));
	a->a = (struct gpu_attention){.q = a->q,
				      .q_stride = width,
				      .n_heads = z->n_heads,
				      .scale = 0.1F,
				      .out = take(t, (size_t)m * (size_t)width * sizeof(uint16_t)),
				      .out_stride = width};
	a->place = (struct gpu_place){
		.qkv = take_floats(t, (int64_t)all * m),
		.n_heads = z->n_heads,
		.rope = GPU_ROPE_PAIRS,
		.n_rot = z->head_dim,
		.rope_table = take_floats(t, (int64_t)z->head_dim * tokens),
	};
	free(sequence);
	free(position);
}

static void time_decode(struct timing *t)
{
	const struct sizes *z = t->z;
	double kv = 4.0 * z->n_kv_heads * z->head_dim; /* bytes a token */
	double partial_floats;
	struct attention a;
	struct work w = {.arg = &a};

	take_attention(t, &a, z->n_long, z->n_long, z->context);
	partial_floats = (double)gpu_partial_bytes(a.m, z->n_heads, a.n_splits, z->head_dim) / 4;
	snprintf(w.shape, sizeof(w.shape), "%d sequences of %d tokens", a.m, z->context);
	w.kernel = GPU_attend_decode;
	w.run = run_decode;
	w.bytes = kv * z->context * a.m;
	add_row(t, &w);
	w.kernel = GPU_combine_splits;
	w.bytes = partial_floats * 4;
	add_row(t, &w);
	w.kernel = GPU_place_qkv;
	w.run = run_place;
	w.bytes = a.m * (a.q_width * 6.0 + kv * 3);
	snprintf(w.shape, sizeof(w.shape), "%d rows", a.m);
	add_row(t, &w);
	give_back(t);
}

/* One prompt's last rows, in chunks as the executor makes them. */
static void time_prefill(struct timing *t, enum gpu_kernel kernel)
{
	const struct sizes *z = t->z;
	int32_t most = gpu_chunk_rows(z->n_heads, z->n_kv_heads), m = z->many;
	int32_t tokens = z->context / 4 > m ? z->context / 4 : m;
	int32_t n = (m + most - 1) / most, *rows = xcalloc((size_t)n, sizeof(*rows));
	struct attention a;
	struct work w = {.kernel = kernel, .run = run_prefill, .arg = &a};

	take_attention(t, &a, m, 1, tokens);
	for (int32_t i = 0; i < n; i++)
		rows[i] = i < n - 1 ? most : m - most * (n - 1);
	a.n_chunks = n;
	a.chunk_first = take_numbers(t, n, 0, most, m);
	a.chunk_rows = take_numbers(t, n, 0, 1, n);
	cuda_upload(t->card, a.chunk_rows, rows, (size_t)n * sizeof(*rows), &t->e);
	cuda_wait(t->card, &t->e);
	w.bytes = 4.0 * z->n_kv_heads * z->head_dim * tokens + 4.0 * a.q_width * m;
	w.flops = 4.0 * a.q_width * m * (tokens - m / 2.0);
	snprintf(w.shape, sizeof(w.shape), "the last %d of %d tokens, heads of %d", m, tokens,
		 z->head_dim);
	add_row(t, &w);
	free(rows);
	give_back(t);
}

/* Heads of each width that there is a kernel for, as many as are as wide together. */
static void time_prefills(struct timing *t)
{
#define WIDTH(wide, warps, tile) {wide, GPU_attend_prefill_##wide},
	static const struct {
		int32_t head_dim;
		enum gpu_kernel kernel;
	} widths[] = {GPU_PREFILLS(WIDTH)};
#undef WIDTH
	const struct sizes *usual = t->z;

	for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
		struct sizes z = *usual;
		int32_t heads = usual->n_heads * usual->head_dim / widths[i].head_dim;
		int32_t kv_heads = usual->n_kv_heads * usual->head_dim / widths[i].head_dim;

		z.head_dim = widths[i].head_dim;
		z.n_heads = heads > 0 ? heads : 1;
		z.n_kv_heads = kv_heads > 0 ? kv_heads : 1;
		t->z = &z;
		time_prefill(t, widths[i].kernel);
	}
	t->z = usual;
}

/* ---- tokens ---- */

struct tokens {
	struct gpu_logits logits;
	struct gpu_adjust adjust;
	int32_t *token;
	struct gpu_logprob *logprob;
};

static void run_adjust(struct timing *t, const void *arg, int i)
{
	const struct tokens *k = arg;

	(void)i;
	gpu_adjust(&t->queue, &k->logits, &k->adjust, &t->e);
}

static void run_pick(struct timing *t, const void *arg, int i)
{
	const struct tokens *k = arg;

	(void)i;
	gpu_pick(&t->queue, &k->logits, k->token, &t->e);
}

static void run_logprobs(struct timing *t, const void *arg, int i)
{
	const struct tokens *k = arg;

	(void)i;
	gpu_logprobs(&t->queue, &k->logits, k->token, k->logprob, &t->e);
}

/* Rows that are greedy, or drawn with top_k and top_p, which looks at the logits more often. */
static void take_tokens(struct timing *t, struct tokens *k, bool drawn)
{
	const struct sizes *z = t->z;
	size_t m = (size_t)z->few, all = m * (size_t)z->n_vocab;
	struct gpu_sampling *how = xcalloc(m, sizeof(*how)), *on_card;

	for (size_t i = 0; i < m; i++)
		how[i] = (struct gpu_sampling){.seed = i,
					       .temperature = drawn ? 0.8F : 0,
					       .top_k = drawn ? 50 : 0,
					       .top_p = drawn ? 0.9F : 1,
					       .repetition = 1,
					       .n_logprobs = drawn ? GPU_MAX_LOGPROBS : 0};
	on_card = take(t, m * sizeof(*how));
	cuda_upload(t->card, on_card, how, m * sizeof(*how), &t->e);
	cuda_wait(t->card, &t->e);
	free(how);
	k->logits = (struct gpu_logits){.logits = take_floats(t, (int64_t)all),
					.n_vocab = z->n_vocab,
					.m = z->few,
					.sampling = on_card};
	k->adjust = (struct gpu_adjust){.seen = take_zeros(t, all * sizeof(uint32_t)),
					.out = take_floats(t, (int64_t)all)};
	k->token = take_numbers(t, z->few, 0, 1, z->n_vocab);
	k->logprob = take(t, m * (1 + GPU_MAX_LOGPROBS) * sizeof(*k->logprob));
}

static void time_tokens(struct timing *t, bool drawn)
{
	double bytes = 4.0 * t->z->n_vocab * t->z->few;
	struct tokens k = {0};
	struct work w = {.arg = &k};

	take_tokens(t, &k, drawn);
	snprintf(w.shape, sizeof(w.shape), "%d rows of %d, %s", t->z->few, t->z->n_vocab,
		 drawn ? "drawn, 20 logprobs" : "greedy");
	w.kernel = GPU_adjust_logits;
	w.run = run_adjust;
	w.bytes = 2 * bytes;
	if (!drawn)
		add_row(t, &w);
	w.bytes = bytes;
	w.kernel = GPU_token_logprobs;
	w.run = run_logprobs;
	add_row(t, &w);
	w.kernel = GPU_pick_tokens; /* the last, since it may spoil the logits */
	w.run = run_pick;
	add_row(t, &w);
	give_back(t);
}

/* ---- the roof itself ---- */

struct reading {
	const void *from;
	uint32_t *out;
};

static void run_read(struct timing *t, const void *arg, int i)
{
	const struct reading *r = arg;

	(void)i;
	gpu_read(&t->queue, r->from, t->z->read_bytes, t->c->emulated ? 1 : 2048, r->out, &t->e);
}

static void time_reading(struct timing *t)
{
	struct reading r = {.from = take(t, t->z->read_bytes),
			    .out = take(t, (size_t)2048 * GPU_READ_THREADS * sizeof(uint32_t))};
	struct work w = {.kernel = GPU_read_words,
			 .run = run_read,
			 .arg = &r,
			 .bytes = (double)t->z->read_bytes};

	snprintf(w.shape, sizeof(w.shape), "%zu bytes", t->z->read_bytes);
	add_row(t, &w);
	give_back(t);
}

/* ---- all ---- */

static void make_pattern(struct timing *t)
{
	uint16_t *halves;
	uint32_t random = 1;

	cuda_alloc_host(t->card, &t->pattern, PATTERN_BYTES, "a measurement", &t->e);
	halves = t->pattern;
	for (size_t i = 0; halves && i < PATTERN_BYTES / sizeof(*halves); i++) {
		random = random * 1664525U + 1013904223U;
		/* sign and fraction as they fall, an exponent of 2^-9 or 2^-8: a float made of
		 * two of them is small, too */
		halves[i] = (uint16_t)((random >> 16 & 0x8fff) | 0x1800);
	}
}

cJSON *check_times(const struct check *c)
{
	struct timing t = {.queue = {launch_only},
			   .c = c,
			   .z = c->emulated ? &sizes_tiny : &sizes_8b,
			   .phase = object_new(),
			   .e = {.rc = RC_OK}};

	add_note(c, t.phase);
	t.list = cJSON_AddArrayToObject(t.phase, "kernels");
	if (cuda_open(&t.card, &t.e) != RC_OK) {
		add_wrong(t.phase, "%s", t.e.msg);
		return t.phase;
	}
	make_pattern(&t);
	log_info("times: products");
	for (int kind = 0; kind < GPU_KIND_COUNT; kind++)
		time_products(&t, (enum gpu_kind)kind);
	log_info("times: rows, attention, tokens");
	time_rows(&t);
	time_decode(&t);
	time_prefills(&t);
	time_tokens(&t, false);
	time_tokens(&t, true);
	time_reading(&t);
	for (int k = 0; k < GPU_KERNEL_COUNT; k++)
		if (!t.has_row[k])
			add_wrong(t.phase, "%s: nothing measures its time",
				  gpu_kernel_info((enum gpu_kernel)k)->name);
	cuda_free_host(t.card, t.pattern);
	cuda_close(t.card);
	return t.phase;
}
