/*
 * One launcher a kernel: it knows the kernel's parameters, grid, block and shared memory, and
 * checks what the kernel relies on. Launches go to a queue, behind which stands the driver or, in
 * tests, the SIMT runtime; they run one after the other.
 *
 * All pointers but those to the structs of this header are addresses of the device. Every buffer
 * begins at a multiple of 16. A null pointer = absent, where that is allowed.
 *
 * Data of a step of m rows (a row a token, whoever it belongs to):
 *
 *     residual stream, products  float [row][n]
 *     inputs of products         struct gpu_inputs: halves [row][padded], bytes [row][padded] with
 *                                pairs (scale, scale * sum) of floats [row][padded / 32]. The
 *                                launchers write zeros behind n, but for attention: its output's
 *                                padding must be zero beforehand, and stays so
 *     pages of a layer           halves [page][k|v][kv_head][page_tokens][head_dim]; the layers
 *                                stand behind each other. Must not hold NaN to begin with
 *     block tables               int32 [sequence][table_stride]: pages in the order of tokens
 *     row_sequence, positions    int32 [row]; -1 = a row of nobody (padding of a graph): its
 *                                results are not written, or arbitrary
 *
 * Limits (RC_LIMIT otherwise): head_dim a multiple of 8 up to 256, d_model up to
 * GPU_MAX_D_MODEL.
 *
 * A row's results do not depend on the other rows; they do depend on which kernel computes it: with
 * GPU_FROM_M a row may differ in the last bits as m passes 8, and attention differs between a
 * prompt's rows and a decoded one.
 */
#ifndef CUDA_LAUNCH_H
#define CUDA_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/types.h"
#include "repack.h"

/* name, and the .cu that it stands in */
#define GPU_KERNELS(X)                                                                             \
	X(embed_rows, rows)                                                                        \
	X(norm_rows, rows)                                                                         \
	X(quantise_rows, rows)                                                                     \
	X(activate_rows, rows)                                                                     \
	X(add_bias, rows)                                                                          \
	X(gemv_f16_1, gemv)                                                                        \
	X(gemv_f16_2, gemv)                                                                        \
	X(gemv_f16_4, gemv)                                                                        \
	X(gemv_f16_8, gemv)                                                                        \
	X(gemv_bf16_1, gemv)                                                                       \
	X(gemv_bf16_2, gemv)                                                                       \
	X(gemv_bf16_4, gemv)                                                                       \
	X(gemv_bf16_8, gemv)                                                                       \
	X(gemv_q8_0_1, gemv)                                                                       \
	X(gemv_q8_0_2, gemv)                                                                       \
	X(gemv_q8_0_4, gemv)                                                                       \
	X(gemv_q8_0_8, gemv)                                                                       \
	X(gemv_q8_1_1, gemv)                                                                       \
	X(gemv_q8_1_2, gemv)                                                                       \
	X(gemv_q8_1_4, gemv)                                                                       \
	X(gemv_q8_1_8, gemv)                                                                       \
	X(gemv_q4_1_1, gemv)                                                                       \
	X(gemv_q4_1_2, gemv)                                                                       \
	X(gemv_q4_1_4, gemv)                                                                       \
	X(gemv_q4_1_8, gemv)                                                                       \
	X(gemm_f16_16, gemm)                                                                       \
	X(gemm_f16_64, gemm)                                                                       \
	X(gemm_bf16_16, gemm)                                                                      \
	X(gemm_bf16_64, gemm)                                                                      \
	X(gemm_q8_0_16, gemm)                                                                      \
	X(gemm_q8_0_64, gemm)                                                                      \
	X(gemm_q8_1_16, gemm)                                                                      \
	X(gemm_q8_1_64, gemm)                                                                      \
	X(gemm_q4_1_16, gemm)                                                                      \
	X(gemm_q4_1_64, gemm)                                                                      \
	X(place_qkv, attention)                                                                    \
	X(attend_decode, attention)                                                                \
	X(combine_splits, attention)                                                               \
	X(attend_prefill_64, prefill)                                                              \
	X(attend_prefill_128, prefill)                                                             \
	X(attend_prefill_256, prefill)                                                             \
	X(adjust_logits, sample)                                                                   \
	X(pick_tokens, sample)                                                                     \
	X(token_logprobs, sample)                                                                  \
	X(read_words, roof)

#define GPU_KERNEL_ID(name, file) GPU_##name,
enum gpu_kernel { GPU_KERNELS(GPU_KERNEL_ID) GPU_KERNEL_COUNT };
#undef GPU_KERNEL_ID

struct gpu_kernel_info {
	const char *name; /* as the module has it */
	const char *file; /* without ".cu" */
};
const struct gpu_kernel_info *gpu_kernel_info(enum gpu_kernel k);

/* ---- the queue ---- */

struct gpu_arg {
	const void *at; /* the host's memory */
	size_t bytes;
};

#define GPU_MAX_ARGS	32
#define GPU_MAX_D_MODEL 12032 /* a row of floats in shared memory, without opting in */

struct gpu_launch {
	enum gpu_kernel kernel;
	uint32_t grid[3], block[3];
	uint32_t shared_bytes; /* dynamic; above 48 KiB the kernel must be opted in first */
	const struct gpu_arg *args;
	int32_t n_args;
};

struct gpu_queue {
	/* What args point to is read before it returns. */
	enum rc (*launch)(struct gpu_queue *q, const struct gpu_launch *l, struct err *e);
};

/* ---- inputs and products ---- */

/* Rows as a product wants them. Launchers that make them fill the forms whose pointers are not
 * null. */
struct gpu_inputs {
	int32_t padded;
	uint16_t *halves;
	int8_t *bytes;
	float *scales; /* of bytes: pairs */
};

enum gpu_form { GPU_HALVES = 1, GPU_BYTES = 2 };

enum gpu_product {
	GPU_FROM_M, /* m <= 8: GEMV, which reads bytes if weights are quantised; else tensor cores
		     */
	GPU_TENSOR, /* tensor cores for every m: a row's sum is the same to the last bit */
};

/* Which forms a product of m rows reads, GPU_HALVES | GPU_BYTES. */
unsigned gpu_product_forms(const struct gpu_matrix *w, enum gpu_product how, int32_t m);

/* y[row * w->n_out + o] = W x, m rows. */
enum rc gpu_multiply(struct gpu_queue *q, const struct gpu_matrix *w, const struct gpu_inputs *x,
		     int32_t m, enum gpu_product how, float *y, struct err *e);

/* x's bytes from its halves. */
enum rc gpu_quantise(struct gpu_queue *q, const struct gpu_inputs *x, int32_t m, struct err *e);

/* ---- row by row ---- */

/* x[row] = embedding of tokens[row] * scale + learned[positions[row] + position_offset]. A token of
 * -1 gives zeros. learned: float [position][n], or NULL. */
struct gpu_embed {
	const struct gpu_matrix *embedding; /* of one part */
	const int32_t *tokens, *positions;
	float scale;
	const float *learned;
	int32_t position_offset;
};
enum rc gpu_embed(struct gpu_queue *q, const struct gpu_embed *embed, int32_t m, float *x,
		  struct err *e);

struct gpu_norm_weights {
	const float *weight, *bias; /* both NULL: no norm */
};

/* x += post(y + y_bias), if there is a y; out = norm(x), if there is a norm. rows: which row of x
 * and y is output row i, NULL = the i-th; no row twice. */
struct gpu_norm {
	enum gpu_norm_kind kind;
	float eps;
	int32_t n;
	float *x;
	const int32_t *rows;
	const float *y, *y_bias;
	struct gpu_norm_weights post, norm;
};
enum rc gpu_norm(struct gpu_queue *q, const struct gpu_norm *norm, int32_t m,
		 const struct gpu_inputs *out, struct err *e);

/* out = act(gate) * up, or act(up): up is [row][gated ? 2n : n], gates first; bias likewise. */
struct gpu_activation {
	enum gpu_act act;
	bool gated;
	int32_t n;
	const float *up, *bias;
};
enum rc gpu_activate(struct gpu_queue *q, const struct gpu_activation *a, int32_t m,
		     const struct gpu_inputs *out, struct err *e);

enum rc gpu_add_bias(struct gpu_queue *q, float *y, const float *bias, int32_t n, int32_t m,
		     struct err *e);

/* ---- attention ---- */

/* The pages of a layer, and whose tokens stand where. */
struct gpu_kv {
	uint16_t *pages;
	int32_t page_tokens, n_kv_heads, head_dim;
	const int32_t *block_table;
	int32_t table_stride;
	const int32_t *row_sequence, *positions;
};

/* From products to rotated q (halves, [row][q_stride]) and to keys and values in their pages. */
struct gpu_place {
	const float *qkv, *bias; /* [row][(n_heads + 2 n_kv_heads) * head_dim] */
	int32_t n_heads;
	float clamp; /* 0 = none */
	enum gpu_norm_kind norm_kind;
	float eps;
	bool norm_whole_row; /* else each head for itself */
	struct gpu_norm_weights q_norm, k_norm;
	enum gpu_rope rope;
	int32_t n_rot;
	const float *rope_table; /* gpu_rope_table(), for every position that occurs */
};
enum rc gpu_place(struct gpu_queue *q, const struct gpu_place *p, const struct gpu_kv *kv,
		  int32_t m, uint16_t *q_out, int32_t q_stride, struct err *e);

struct gpu_attention {
	const uint16_t *q;
	int32_t q_stride;
	int32_t n_heads;
	float scale;	/* of q.k */
	int32_t window; /* tokens seen back, the own one included; 0 = all */
	const float *alibi_slope;
	uint16_t *out; /* halves, [row][out_stride] */
	int32_t out_stride;
};

/* Rows rows[0 .. n) of the batch, one query of a sequence each; -1 is nobody's. n_splits: of
 * GPU_SPLIT_TOKENS tokens, enough for the longest sequence; more cost a launch of empty blocks, and
 * change nothing. partial: gpu_partial_bytes(). */
enum rc gpu_attend_decode(struct gpu_queue *q, const struct gpu_attention *a,
			  const struct gpu_kv *kv, const int32_t *rows, int32_t n, int32_t n_splits,
			  float *partial, struct err *e);
size_t gpu_partial_bytes(int32_t n_rows, int32_t n_heads, int32_t n_splits, int32_t head_dim);
static inline int32_t gpu_splits(int32_t tokens)
{
	return (tokens + GPU_SPLIT_TOKENS - 1) / GPU_SPLIT_TOKENS;
}

/* Chunks of rows that follow each other in the batch and in their sequence: chunk i is
 * chunk_rows[i] of them from chunk_first[i] on, at most gpu_chunk_rows(). */
enum rc gpu_attend_prefill(struct gpu_queue *q, const struct gpu_attention *a,
			   const struct gpu_kv *kv, const int32_t *chunk_first,
			   const int32_t *chunk_rows, int32_t n_chunks, struct err *e);
int32_t gpu_chunk_rows(int32_t n_heads, int32_t n_kv_heads);

/* ---- tokens ---- */

/* Rows of logits, float [row][n_vocab]; sampling has a struct for each. */
struct gpu_logits {
	float *logits;
	int32_t n_vocab, m;
	const struct gpu_sampling *sampling;
};

/* out = logits with biases, penalties and what is forbidden. seen: uint32 [row][n_vocab], zero, and
 * zero again behind it. */
struct gpu_adjust {
	const int32_t *history;
	const struct gpu_logit_bias *bias;
	const int32_t *forbidden;
	uint32_t *seen;
	float *out;
};
enum rc gpu_adjust(struct gpu_queue *q, const struct gpu_logits *logits, const struct gpu_adjust *a,
		   struct err *e);

/* tokens[row]: greedy or drawn. The logits are scratch from then on. */
enum rc gpu_pick(struct gpu_queue *q, const struct gpu_logits *logits, int32_t *tokens,
		 struct err *e);

/* out: [row][1 + GPU_MAX_LOGPROBS]: of the chosen token, then of the likeliest ones, by the logits
 * as they came from the product. */
enum rc gpu_logprobs(struct gpu_queue *q, const struct gpu_logits *logits, const int32_t *tokens,
		     struct gpu_logprob *out, struct err *e);

/* ---- the roof ---- */

#define GPU_READ_THREADS 256 /* of a block */

/* Reads bytes, a multiple of 16, by n_blocks blocks. out: a word a thread, which together are the
 * exclusive or of all words. */
enum rc gpu_read(struct gpu_queue *q, const void *from, size_t bytes, int32_t n_blocks,
		 uint32_t *out, struct err *e);

#endif
