/*
 * Owns the launches that are counted and what each of them must move. One thread. Must not know
 * what becomes of the figures.
 */
#include "counting.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define PAGE	   16
#define ROPE_FLOAT 2 /* cos, sin */
#define HALF	   ((double)sizeof(uint16_t))
#define FLOAT	   ((double)sizeof(float))

const struct model_shape smollm2_135m = {"SmolLM2-135M", 576, 9, 3, 64, 1536, 49152, 30};
const struct model_shape llama_3_1_8b = {"Llama-3.1-8B", 4096, 32, 8, 128, 14336, 128256, 32};

void counting_begin(void)
{
	setenv("PTXSIM_COUNT", "1", 1);
	setenv("PTXSIM_CHECK", "", 1);
	setenv("BENCH_PTX", MODULES, 0);
}

/* ---- a queue that keeps what each launch did ---- */

static struct step_counts *into;
static struct counted expected; /* what the launches to come are said to be */

static enum rc count_launch(struct gpu_queue *q, const struct gpu_launch *l, struct err *e)
{
	struct counted *c = &into->kernel[into->n++];
	enum rc rc;

	(void)q;
	CHECK(into->n <= COUNTED_MAX);
	rc = bench_queue.launch(&bench_queue, l, e);
	*c = expected;
	c->kernel = l->kernel;
	c->blocks = (double)l->grid[0] * l->grid[1] * l->grid[2] * c->times;
	ptxsim_counts_take(&c->n);
	return rc;
}

static struct gpu_queue counting_queue = {count_launch};

/* One launch is next, that must move so many bytes. */
static struct gpu_queue *next_launch(struct step_counts *out, double launches, double times,
				     double ideal_bytes)
{
	into = out;
	expected = (struct counted){
		.what = "", .launches = launches, .times = times, .ideal_bytes = ideal_bytes};
	return &counting_queue;
}

static void done(enum rc rc)
{
	CHECK(rc == RC_OK);
}

/* ---- products ---- */

static struct gpu_inputs inputs_of(int32_t n, int32_t m, unsigned forms)
{
	size_t padded = (size_t)gpu_padded(n), all = padded * (size_t)m;
	struct gpu_inputs in = {.padded = (int32_t)padded};

	if (forms & GPU_HALVES)
		in.halves = device_copy(half_numbers(all, 1), all * sizeof(uint16_t));
	if (forms & GPU_BYTES) {
		in.bytes = device_copy(host(all), all);
		in.scales = device_copy(host(all / GPU_GROUP * 2 * sizeof(float)),
					all / GPU_GROUP * 2 * sizeof(float));
	}
	return in;
}

static double input_bytes(int32_t n, unsigned forms)
{
	double padded = gpu_padded(n);

	return (forms & GPU_HALVES ? padded * HALF : 0) +
	       (forms & GPU_BYTES ? padded + padded / GPU_GROUP * 2 * FLOAT : 0);
}

void count_product(const char *what, enum dtype weights, int32_t n_in, int32_t n_out, int32_t m,
		   double launches, struct step_counts *out)
{
	int32_t outputs = n_out < COUNTED_OUTPUTS ? n_out : COUNTED_OUTPUTS;
	struct bench_matrix w;
	struct gpu_inputs x;
	double weight_bytes;
	unsigned forms;

	make_matrix(&w, n_in, 1, &weights, &outputs);
	forms = gpu_product_forms(&w.gpu, GPU_FROM_M, m);
	x = inputs_of(n_in, m, forms);
	weight_bytes = outputs * (double)(gpu_quants_bytes(w.gpu.part[0].kind, w.gpu.padded) +
					  gpu_scales_bytes(w.gpu.part[0].kind, w.gpu.padded));
	next_launch(out, launches, (double)n_out / outputs,
		    weight_bytes + m * (input_bytes(n_in, forms) + outputs * FLOAT));
	expected.what = what;
	expected.n_in = n_in;
	expected.weight_bytes = weight_bytes;
	done(gpu_multiply(&counting_queue, &w.gpu, &x, m, GPU_FROM_M,
			  device((size_t)m * (size_t)outputs * sizeof(float)), NULL));
	bench_release();
}

/* The forms that products of these weights read. */
static unsigned forms_of(enum dtype weights, int32_t m)
{
	const struct gpu_matrix w = {.n_parts = 1, .part = {{.kind = gpu_kind_of(weights)}}};

	return gpu_product_forms(&w, GPU_FROM_M, m);
}

/* ---- row by row ---- */

static float *ones(size_t n)
{
	float *p = device(n * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = 1;
	return p;
}

static void count_norm(const struct model_shape *s, int32_t m, unsigned forms, double launches,
		       struct step_counts *out)
{
	size_t n = (size_t)s->d_model;
	struct gpu_norm norm = {.kind = GPU_NORM_RMS,
				.eps = 1e-5F,
				.n = s->d_model,
				.x = ones(n),
				.y = ones(n),
				.norm = {.weight = ones(n)}};
	struct gpu_inputs to = inputs_of(s->d_model, 1, forms);

	done(gpu_norm(next_launch(out, launches, m,
				  4 * FLOAT * s->d_model + input_bytes(s->d_model, forms)),
		      &norm, 1, &to, NULL));
	bench_release();
}

static void count_embed(const struct model_shape *s, enum dtype weights, int32_t m,
			struct step_counts *out)
{
	int32_t rows = 4;
	struct bench_matrix w;
	struct gpu_embed embed = {.embedding = &w.gpu,
				  .tokens = device_copy(&(int32_t){2}, sizeof(int32_t)),
				  .scale = 1};

	make_matrix(&w, s->d_model, 1, &weights, &rows);
	done(gpu_embed(next_launch(out, 1, m,
				   (double)(gpu_quants_bytes(w.gpu.part[0].kind, w.gpu.padded) +
					    gpu_scales_bytes(w.gpu.part[0].kind, w.gpu.padded)) +
					   FLOAT * s->d_model + (double)sizeof(int32_t)),
		       &embed, 1, device((size_t)s->d_model * sizeof(float)), NULL));
	bench_release();
}

static void count_activate(const struct model_shape *s, int32_t m, unsigned forms,
			   struct step_counts *out)
{
	struct gpu_activation a = {
		.act = GPU_SILU, .gated = true, .n = s->d_ffn, .up = ones(2 * (size_t)s->d_ffn)};
	struct gpu_inputs to = inputs_of(s->d_ffn, 1, forms);

	done(gpu_activate(next_launch(out, s->n_layers, m,
				      2 * FLOAT * s->d_ffn + input_bytes(s->d_ffn, forms)),
			  &a, 1, &to, NULL));
	bench_release();
}

static void count_quantise(int32_t n, int32_t m, double launches, struct step_counts *out)
{
	struct gpu_inputs in = inputs_of(n, 1, GPU_HALVES | GPU_BYTES);

	done(gpu_quantise(next_launch(out, launches, m, input_bytes(n, GPU_HALVES | GPU_BYTES)),
			  &in, 1, NULL));
	bench_release();
}

static void count_pick(const struct model_shape *s, int32_t m, struct step_counts *out)
{
	struct gpu_sampling greedy = {.repetition = 1, .n_logprobs = -1};
	size_t n = (size_t)s->n_vocab;
	struct gpu_logits logits = {.logits = device_copy(numbers(n, 1), n * sizeof(float)),
				    .n_vocab = s->n_vocab,
				    .m = 1,
				    .sampling = device_copy(&greedy, sizeof(greedy))};

	done(gpu_pick(next_launch(out, 1, m, FLOAT * s->n_vocab), &logits, device(sizeof(int32_t)),
		      NULL));
	bench_release();
}

/* ---- attention ---- */

/* A sequence in the pages 0, 1, ... of a layer, and rows of it that end at its last token. */
static struct gpu_kv sequence_of(const struct model_shape *s, int32_t context, int32_t n_rows)
{
	int32_t n_pages = (context + PAGE - 1) / PAGE;
	size_t halves = (size_t)n_pages * 2 * (size_t)s->n_kv_heads * PAGE * (size_t)s->head_dim;
	int32_t *table = host((size_t)n_pages * sizeof(*table));
	int32_t *positions = host((size_t)n_rows * sizeof(*positions));
	int32_t *sequence = host((size_t)n_rows * sizeof(*sequence));

	for (int32_t i = 0; i < n_pages; i++)
		table[i] = i;
	for (int32_t i = 0; i < n_rows; i++)
		positions[i] = context - n_rows + i;
	return (struct gpu_kv){
		.pages = device_copy(half_numbers(halves, 1), halves * sizeof(uint16_t)),
		.page_tokens = PAGE,
		.n_kv_heads = s->n_kv_heads,
		.head_dim = s->head_dim,
		.block_table = device_copy(table, (size_t)n_pages * sizeof(*table)),
		.table_stride = n_pages,
		.row_sequence = device_copy(sequence, (size_t)n_rows * sizeof(*sequence)),
		.positions = device_copy(positions, (size_t)n_rows * sizeof(*positions))};
}

static double kv_bytes(const struct model_shape *s, int32_t tokens)
{
	return 2 * HALF * tokens * s->n_kv_heads * s->head_dim;
}

static struct gpu_attention attention_of(const struct model_shape *s, int32_t n_rows)
{
	size_t width = (size_t)s->n_heads * (size_t)s->head_dim, all = width * (size_t)n_rows;

	return (struct gpu_attention){.q = device_copy(half_numbers(all, 1), all * 2),
				      .q_stride = (int32_t)width,
				      .n_heads = s->n_heads,
				      .scale = 0.1F,
				      .out = device(all * 2),
				      .out_stride = (int32_t)width};
}

static void count_place(const struct model_shape *s, int32_t m, int32_t context,
			struct step_counts *out)
{
	struct gpu_kv kv = sequence_of(s, context, 1);
	int32_t heads = s->n_heads + 2 * s->n_kv_heads;
	size_t n = (size_t)heads * (size_t)s->head_dim;
	struct gpu_place place = {
		.qkv = ones(n),
		.n_heads = s->n_heads,
		.rope = GPU_ROPE_HALVES,
		.n_rot = s->head_dim,
		.rope_table = ones((size_t)context * (size_t)s->head_dim),
	};

	done(gpu_place(
		next_launch(out, s->n_layers, m, (FLOAT + HALF) * (double)n + FLOAT * s->head_dim),
		&place, &kv, 1, device((size_t)s->n_heads * (size_t)s->head_dim * sizeof(uint16_t)),
		s->n_heads * s->head_dim, NULL));
	bench_release();
}

/* Two launches: the splits, and what combines them. */
static void count_decode(const struct model_shape *s, int32_t m, int32_t context,
			 struct step_counts *out)
{
	struct gpu_kv kv = sequence_of(s, context, 1);
	struct gpu_attention a = attention_of(s, 1);
	int32_t splits = gpu_splits(context), first = out->n;
	size_t partial = gpu_partial_bytes(1, s->n_heads, splits, s->head_dim);
	double q = HALF * s->n_heads * s->head_dim;

	done(gpu_attend_decode(
		next_launch(out, s->n_layers, m, kv_bytes(s, context) + q + (double)partial), &a,
		&kv, device_copy(&(int32_t){0}, sizeof(int32_t)), 1, splits, device(partial),
		NULL));
	out->kernel[first + 1].ideal_bytes = (double)partial + q;
	bench_release();
}

void count_prefill(const struct model_shape *s, int32_t context, struct step_counts *out)
{
	int32_t n_rows = gpu_chunk_rows(s->n_heads, s->n_kv_heads);
	struct gpu_kv kv = sequence_of(s, context, n_rows);
	struct gpu_attention a = attention_of(s, n_rows);

	done(gpu_attend_prefill(
		next_launch(out, 1, 1,
			    kv_bytes(s, context) + 2 * HALF * n_rows * s->n_heads * s->head_dim),
		&a, &kv, device_copy(&(int32_t){0}, sizeof(int32_t)),
		device_copy(&n_rows, sizeof(n_rows)), 1, NULL));
	bench_release();
}

/* ---- a step ---- */

void count_step(const struct model_shape *s, enum dtype weights, int32_t m, int32_t context,
		struct step_counts *out)
{
	unsigned forms = forms_of(weights, m);
	int32_t width = s->n_heads * s->head_dim;
	int32_t qkv = width + 2 * s->n_kv_heads * s->head_dim;
	double layers = s->n_layers;

	out->n = 0;
	count_embed(s, weights, m, out);
	count_norm(s, m, forms, 2 * layers + 1, out);
	count_product("qkv", weights, s->d_model, qkv, m, layers, out);
	count_place(s, m, context, out);
	count_decode(s, m, context, out);
	if (forms & GPU_BYTES)
		count_quantise(width, m, layers, out);
	count_product("o", weights, width, s->d_model, m, layers, out);
	count_product("gate_up", weights, s->d_model, 2 * s->d_ffn, m, layers, out);
	count_activate(s, m, forms, out);
	count_product("down", weights, s->d_ffn, s->d_model, m, layers, out);
	count_product("head", weights, s->d_model, s->n_vocab, m, 1, out);
	count_pick(s, m, out);
}
