/*
 * Owns what the kernels' declarations do not say: grids, blocks, shared memory, and which kernel
 * computes a product. Any thread that may use the queue. Must not know what stands behind it.
 */
#include "launch.h"

#include "base/check.h"

#define MAX_GRID_Y    65535
#define SHARED_STATIC 1024 /* of the kernels that take dynamic memory, at most */
#define SHARED_MAX    (48 * 1024 - SHARED_STATIC)

_Static_assert(GPU_MAX_D_MODEL * sizeof(float) <= SHARED_MAX, "gpu_norm holds a row");

#define THREADS_NORM   256
#define THREADS_ROWS   128
#define THREADS_TOKENS 512
#define GEMV_MAX_ROWS  8
#define GEMV_WIDTHS    4 /* 1, 2, 4, 8 rows */
#define GEMM_OUTPUTS   64
#define GEMM_FEW_ROWS  16
#define GEMM_MANY_ROWS 64
#define GEMM_MANY_FROM_M                                                                           \
	33 /* two blocks of 16 read the weights as often as one of 64 fills half                   \
	    */

#define KERNEL_INFO(name, file) {#name, #file},
static const struct gpu_kernel_info kernels[GPU_KERNEL_COUNT] = {GPU_KERNELS(KERNEL_INFO)};

const struct gpu_kernel_info *gpu_kernel_info(enum gpu_kernel k)
{
	return &kernels[k];
}

/* Where it is and how many bytes: without sizeof, which lint takes for a slip where v is a
 * pointer. */
#define ARG(v)                                                                                     \
	{                                                                                          \
		&(v), (size_t)((const char *)(&(v) + 1) - (const char *)&(v))                      \
	}
#define N_ARGS(of) ((int32_t)(sizeof(of) / sizeof(*(of))))

static uint32_t blocks_of(int32_t n, int32_t each)
{
	return (uint32_t)((n + each - 1) / each);
}

struct shape {
	uint32_t x, y, z; /* the grid */
	uint32_t threads;
	size_t shared_bytes;
};

static enum rc issue(struct gpu_queue *q, enum gpu_kernel kernel, struct shape s,
		     const struct gpu_arg *args, int32_t n_args, struct err *e)
{
	CHECK(n_args <= GPU_MAX_ARGS);
	if (s.x == 0 || s.y == 0 || s.z == 0)
		return RC_OK; /* no rows */
	if (s.y > MAX_GRID_Y || s.z > MAX_GRID_Y)
		return err_set(e, RC_LIMIT, "%s: a grid of %u x %u x %u blocks",
			       kernels[kernel].name, s.x, s.y, s.z);
	if (s.shared_bytes > SHARED_MAX)
		return err_set(e, RC_LIMIT, "%s: needs %zu bytes of shared memory, %d are allowed",
			       kernels[kernel].name, s.shared_bytes, SHARED_MAX);
	return q->launch(q,
			 &(struct gpu_launch){
				 .kernel = kernel,
				 .grid = {s.x, s.y, s.z},
				 .block = {s.threads, 1, 1},
				 .shared_bytes = (uint32_t)s.shared_bytes,
				 .args = args,
				 .n_args = n_args,
			 },
			 e);
}

static bool quantised(enum gpu_kind kind)
{
	return kind == GPU_Q8_0 || kind == GPU_Q8_1 || kind == GPU_Q4_1;
}

/* ---- products ---- */

static bool takes_gemv(enum gpu_product how, int32_t m)
{
	return how == GPU_FROM_M && m <= GEMV_MAX_ROWS;
}

unsigned gpu_product_forms(const struct gpu_matrix *w, enum gpu_product how, int32_t m)
{
	unsigned forms = 0;

	for (int32_t i = 0; i < w->n_parts; i++)
		forms |= takes_gemv(how, m) && quantised(w->part[i].kind) ? GPU_BYTES : GPU_HALVES;
	return forms;
}

static enum rc launch_gemv(struct gpu_queue *q, const struct gpu_weights *w,
			   const struct gpu_inputs *x, int32_t m, float *y, int32_t y_stride,
			   struct err *e)
{
	int width = m <= 1 ? 0 : m <= 2 ? 1 : m <= 4 ? 2 : 3;
	enum gpu_kernel kernel =
		(enum gpu_kernel)((int)GPU_gemv_f16_1 + (int)w->kind * GEMV_WIDTHS + width);
	struct shape shape = {blocks_of(w->n_out, GPU_WARPS), 1, 1, GPU_WARPS * 32, 0};
	const struct gpu_arg plain[] = {ARG(y),		ARG(y_stride), ARG(w->quants),
					ARG(x->halves), ARG(w->n_out), ARG(w->padded),
					ARG(m)};
	const struct gpu_arg bytes[] = {ARG(y),		ARG(y_stride),	ARG(w->quants),
					ARG(w->scales), ARG(x->bytes),	ARG(x->scales),
					ARG(w->n_out),	ARG(w->padded), ARG(m)};

	if (!quantised(w->kind)) {
		CHECK(x->halves);
		return issue(q, kernel, shape, plain, N_ARGS(plain), e);
	}
	CHECK(x->bytes && x->scales);
	return issue(q, kernel, shape, bytes, N_ARGS(bytes), e);
}

static enum rc launch_gemm(struct gpu_queue *q, const struct gpu_weights *w,
			   const struct gpu_inputs *x, int32_t m, float *y, int32_t y_stride,
			   struct err *e)
{
	bool many = m >= GEMM_MANY_FROM_M;
	enum gpu_kernel kernel = (enum gpu_kernel)((int)GPU_gemm_f16_16 + (int)w->kind * 2 + many);
	struct shape shape = {blocks_of(w->n_out, GEMM_OUTPUTS),
			      blocks_of(m, many ? GEMM_MANY_ROWS : GEMM_FEW_ROWS), 1, 128, 0};
	const struct gpu_arg args[] = {ARG(y),	       ARG(y_stride),  ARG(w->quants),
				       ARG(w->scales), ARG(x->halves), ARG(w->n_out),
				       ARG(w->padded), ARG(m)};

	CHECK(x->halves);
	return issue(q, kernel, shape, args, N_ARGS(args), e);
}

enum rc gpu_multiply(struct gpu_queue *q, const struct gpu_matrix *w, const struct gpu_inputs *x,
		     int32_t m, enum gpu_product how, float *y, struct err *e)
{
	enum rc rc = RC_OK;

	CHECK(x->padded == w->padded);
	for (int32_t i = 0; i < w->n_parts && m > 0 && !rc; i++) {
		rc = (takes_gemv(how, m) ? launch_gemv : launch_gemm)(q, &w->part[i], x, m, y,
								      w->n_out, e);
		y += w->part[i].n_out;
	}
	return rc;
}

enum rc gpu_quantise(struct gpu_queue *q, const struct gpu_inputs *x, int32_t m, struct err *e)
{
	int32_t n_groups = x->padded / GPU_GROUP;
	const struct gpu_arg args[] = {ARG(x->halves), ARG(x->bytes), ARG(x->scales), ARG(n_groups),
				       ARG(m)};

	CHECK(x->halves && x->bytes && x->scales);
	return issue(
		q, GPU_quantise_rows,
		(struct shape){blocks_of(x->padded, THREADS_ROWS), (uint32_t)m, 1, THREADS_ROWS, 0},
		args, N_ARGS(args), e);
}

/* ---- row by row ---- */

enum rc gpu_embed(struct gpu_queue *q, const struct gpu_embed *embed, int32_t m, float *x,
		  struct err *e)
{
	const struct gpu_matrix *matrix = embed->embedding;
	const struct gpu_weights *w = &matrix->part[0];
	int32_t kind = (int32_t)w->kind;
	const struct gpu_arg args[] = {ARG(x),
				       ARG(embed->tokens),
				       ARG(kind),
				       ARG(w->quants),
				       ARG(w->scales),
				       ARG(matrix->n_in),
				       ARG(w->padded),
				       ARG(embed->scale),
				       ARG(embed->learned),
				       ARG(embed->positions),
				       ARG(embed->position_offset)};

	CHECK(matrix->n_parts == 1 && (!embed->learned || embed->positions));
	return issue(q, GPU_embed_rows, (struct shape){(uint32_t)m, 1, 1, THREADS_NORM, 0}, args,
		     N_ARGS(args), e);
}

enum rc gpu_norm(struct gpu_queue *q, const struct gpu_norm *norm, int32_t m,
		 const struct gpu_inputs *out, struct err *e)
{
	struct gpu_inputs none = {.padded = gpu_padded(norm->n)};
	const struct gpu_inputs *to = out ? out : &none;
	int32_t kind = (int32_t)norm->kind;
	const struct gpu_arg args[] = {
		ARG(norm->x),	   ARG(norm->rows),	   ARG(norm->y),
		ARG(norm->y_bias), ARG(norm->post.weight), ARG(norm->post.bias),
		ARG(kind),	   ARG(norm->norm.weight), ARG(norm->norm.bias),
		ARG(norm->eps),	   ARG(norm->n),	   ARG(to->padded),
		ARG(to->halves),   ARG(to->bytes),	   ARG(to->scales)};

	CHECK(to->padded == gpu_padded(norm->n) && !to->bytes == !to->scales);
	return issue(
		q, GPU_norm_rows,
		(struct shape){(uint32_t)m, 1, 1, THREADS_NORM, (size_t)norm->n * sizeof(float)},
		args, N_ARGS(args), e);
}

enum rc gpu_activate(struct gpu_queue *q, const struct gpu_activation *a, int32_t m,
		     const struct gpu_inputs *out, struct err *e)
{
	int32_t act = (int32_t)a->act, gated = a->gated;
	const struct gpu_arg args[] = {ARG(a->up),	 ARG(a->bias),	  ARG(act),
				       ARG(gated),	 ARG(a->n),	  ARG(out->padded),
				       ARG(out->halves), ARG(out->bytes), ARG(out->scales)};

	CHECK(out->padded == gpu_padded(a->n) && !out->bytes == !out->scales);
	return issue(q, GPU_activate_rows,
		     (struct shape){blocks_of(out->padded, THREADS_ROWS), (uint32_t)m, 1,
				    THREADS_ROWS, 0},
		     args, N_ARGS(args), e);
}

enum rc gpu_add_bias(struct gpu_queue *q, float *y, const float *bias, int32_t n, int32_t m,
		     struct err *e)
{
	const struct gpu_arg args[] = {ARG(y), ARG(bias), ARG(n), ARG(n)};

	return issue(q, GPU_add_bias,
		     (struct shape){blocks_of(n, THREADS_NORM), (uint32_t)m, 1, THREADS_NORM, 0},
		     args, N_ARGS(args), e);
}

/* ---- attention ---- */

static enum rc check_head_dim(const struct gpu_kv *kv, struct err *e)
{
	if (kv->head_dim % 8 != 0 || kv->head_dim > GPU_MAX_HEAD_DIM)
		return err_set(e, RC_LIMIT,
			       "heads of %d dimensions: multiples of 8 up to %d are possible",
			       kv->head_dim, GPU_MAX_HEAD_DIM);
	return RC_OK;
}

enum rc gpu_place(struct gpu_queue *q, const struct gpu_place *p, const struct gpu_kv *kv,
		  int32_t m, uint16_t *q_out, int32_t q_stride, struct err *e)
{
	bool normed = p->q_norm.weight || p->k_norm.weight;
	int32_t norm_n = !normed ? 0 : p->norm_whole_row ? -1 : kv->head_dim;
	int32_t norm_kind = (int32_t)p->norm_kind, rope = (int32_t)p->rope;
	const struct gpu_arg args[] = {ARG(p->qkv),
				       ARG(p->bias),
				       ARG(p->clamp),
				       ARG(norm_n),
				       ARG(norm_kind),
				       ARG(p->eps),
				       ARG(p->q_norm.weight),
				       ARG(p->q_norm.bias),
				       ARG(p->k_norm.weight),
				       ARG(p->k_norm.bias),
				       ARG(rope),
				       ARG(p->n_rot),
				       ARG(p->rope_table),
				       ARG(kv->positions),
				       ARG(kv->row_sequence),
				       ARG(kv->block_table),
				       ARG(kv->table_stride),
				       ARG(kv->page_tokens),
				       ARG(p->n_heads),
				       ARG(kv->n_kv_heads),
				       ARG(kv->head_dim),
				       ARG(q_out),
				       ARG(q_stride),
				       ARG(kv->pages)};
	enum rc rc = check_head_dim(kv, e);

	if (rc)
		return rc;
	CHECK(p->n_rot % 2 == 0 && p->n_rot <= kv->head_dim);
	return issue(q, GPU_place_qkv,
		     (struct shape){(uint32_t)(p->n_heads + 2 * kv->n_kv_heads), (uint32_t)m, 1,
				    THREADS_ROWS, 0},
		     args, N_ARGS(args), e);
}

/* Queries, a tile of keys and one of values. */
static size_t decode_shared(int32_t head_dim)
{
	size_t keys_and_values = 2 * (size_t)head_dim + 8;

	return ((size_t)GPU_DECODE_ROWS * (size_t)head_dim + GPU_TILE_TOKENS * keys_and_values) *
	       sizeof(uint16_t);
}

size_t gpu_partial_bytes(int32_t n_rows, int32_t n_heads, int32_t n_splits, int32_t head_dim)
{
	return (size_t)n_rows * (size_t)n_heads * (size_t)n_splits * ((size_t)head_dim + 2) *
	       sizeof(float);
}

enum rc gpu_attend_decode(struct gpu_queue *q, const struct gpu_attention *a,
			  const struct gpu_kv *kv, const int32_t *rows, int32_t n, int32_t n_splits,
			  float *partial, struct err *e)
{
	int32_t shared = a->n_heads / kv->n_kv_heads;
	const struct gpu_arg attend[] = {ARG(a->out),
					 ARG(a->out_stride),
					 ARG(partial),
					 ARG(a->q),
					 ARG(a->q_stride),
					 ARG(kv->pages),
					 ARG(rows),
					 ARG(kv->positions),
					 ARG(kv->row_sequence),
					 ARG(kv->block_table),
					 ARG(kv->table_stride),
					 ARG(kv->page_tokens),
					 ARG(a->n_heads),
					 ARG(kv->n_kv_heads),
					 ARG(kv->head_dim),
					 ARG(a->scale),
					 ARG(a->window),
					 ARG(a->alibi_slope)};
	const struct gpu_arg combine[] = {ARG(a->out),	     ARG(a->out_stride), ARG(partial),
					  ARG(rows),	     ARG(kv->positions), ARG(n_splits),
					  ARG(kv->head_dim), ARG(a->window)};
	enum rc rc = check_head_dim(kv, e);

	if (rc)
		return rc;
	CHECK(a->n_heads % kv->n_kv_heads == 0 && a->out_stride % 2 == 0);
	rc = issue(q, GPU_attend_decode,
		   (struct shape){(uint32_t)kv->n_kv_heads * blocks_of(shared, GPU_DECODE_ROWS),
				  (uint32_t)n, (uint32_t)n_splits, GPU_WARPS * 32,
				  decode_shared(kv->head_dim)},
		   attend, N_ARGS(attend), e);
	if (rc || n_splits == 1)
		return rc;
	return issue(q, GPU_combine_splits,
		     (struct shape){(uint32_t)a->n_heads, (uint32_t)n, 1, THREADS_ROWS, 0}, combine,
		     N_ARGS(combine), e);
}

int32_t gpu_chunk_rows(int32_t n_heads, int32_t n_kv_heads)
{
	int32_t rows = GPU_PREFILL_ROWS / (n_heads / n_kv_heads);

	return rows > 0 ? rows : 1;
}

/* The narrowest that a head fits. */
static const struct prefill {
	enum gpu_kernel kernel;
	int32_t wide, warps, tile;
} prefills[] = {
#define PREFILL(wide, warps, tile) {GPU_attend_prefill_##wide, wide, warps, tile},
	GPU_PREFILLS(PREFILL)
#undef PREFILL
};

enum rc gpu_attend_prefill(struct gpu_queue *q, const struct gpu_attention *a,
			   const struct gpu_kv *kv, const int32_t *chunk_first,
			   const int32_t *chunk_rows, int32_t n_chunks, struct err *e)
{
	int32_t pairs = gpu_chunk_rows(a->n_heads, kv->n_kv_heads) * (a->n_heads / kv->n_kv_heads);
	const struct gpu_arg args[] = {
		ARG(a->out),	      ARG(a->out_stride),    ARG(a->q),
		ARG(a->q_stride),     ARG(kv->pages),	     ARG(chunk_first),
		ARG(chunk_rows),      ARG(kv->positions),    ARG(kv->row_sequence),
		ARG(kv->block_table), ARG(kv->table_stride), ARG(kv->page_tokens),
		ARG(a->n_heads),      ARG(kv->n_kv_heads),   ARG(kv->head_dim),
		ARG(a->scale),	      ARG(a->window),	     ARG(a->alibi_slope)};
	const struct prefill *p = prefills;
	enum rc rc = check_head_dim(kv, e);
	size_t halves;

	if (rc)
		return rc;
	CHECK(a->n_heads % kv->n_kv_heads == 0 && a->out_stride % 2 == 0);
	CHECK(a->q_stride % 8 == 0);
	while (p->wide < kv->head_dim)
		p++;
	halves = (size_t)(16 * p->warps + 2 * p->tile) * (size_t)(p->wide + 8);
	return issue(q, p->kernel,
		     (struct shape){(uint32_t)kv->n_kv_heads * blocks_of(pairs, 16 * p->warps),
				    (uint32_t)n_chunks, 1, (uint32_t)p->warps * 32,
				    halves * sizeof(uint16_t)},
		     args, N_ARGS(args), e);
}

/* ---- tokens ---- */

static struct shape block_a_row(const struct gpu_logits *logits)
{
	uint32_t warps = blocks_of(logits->n_vocab, 32);

	return (struct shape){(uint32_t)logits->m, 1, 1,
			      warps < THREADS_TOKENS / 32 ? warps * 32 : THREADS_TOKENS, 0};
}

enum rc gpu_adjust(struct gpu_queue *q, const struct gpu_logits *logits, const struct gpu_adjust *a,
		   struct err *e)
{
	const struct gpu_arg args[] = {
		ARG(a->out),	 ARG(logits->logits), ARG(logits->n_vocab), ARG(logits->sampling),
		ARG(a->history), ARG(a->bias),	      ARG(a->forbidden),    ARG(a->seen)};

	CHECK(a->out != logits->logits);
	return issue(q, GPU_adjust_logits, block_a_row(logits), args, N_ARGS(args), e);
}

enum rc gpu_pick(struct gpu_queue *q, const struct gpu_logits *logits, int32_t *tokens,
		 struct err *e)
{
	const struct gpu_arg args[] = {ARG(tokens), ARG(logits->logits), ARG(logits->n_vocab),
				       ARG(logits->sampling)};

	return issue(q, GPU_pick_tokens, block_a_row(logits), args, N_ARGS(args), e);
}

enum rc gpu_logprobs(struct gpu_queue *q, const struct gpu_logits *logits, const int32_t *tokens,
		     struct gpu_logprob *out, struct err *e)
{
	const struct gpu_arg args[] = {ARG(out), ARG(logits->logits), ARG(logits->n_vocab),
				       ARG(tokens), ARG(logits->sampling)};

	return issue(q, GPU_token_logprobs, block_a_row(logits), args, N_ARGS(args), e);
}

/* ---- the roof ---- */

enum rc gpu_read(struct gpu_queue *q, const void *from, size_t bytes, int32_t n_blocks,
		 uint32_t *out, struct err *e)
{
	uint64_t n_chunks = bytes / 16;
	const struct gpu_arg args[] = {ARG(out), ARG(from), ARG(n_chunks)};

	CHECK(bytes % 16 == 0);
	return issue(q, GPU_read_words,
		     (struct shape){(uint32_t)n_blocks, 1, 1, GPU_READ_THREADS, 0}, args,
		     N_ARGS(args), e);
}
