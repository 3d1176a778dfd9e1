/*
 * What the kernels of a decode step do at the shapes of real models, counted by the interpreter of
 * PTX. A launch whose blocks all do the same is counted for a few of them and multiplied: products
 * for COUNTED_OUTPUTS outputs, what works row by row for one row, attention for one sequence.
 *
 * The launches are those of the executor's forward pass for a model of Llama's architecture.
 */
#ifndef GPU_COUNTING_H
#define GPU_COUNTING_H

#include "../ptxsim/counts.h"
#include "bench.h"

#define COUNTED_OUTPUTS 64 /* a block of a GEMM, 16 of a GEMV */

struct model_shape {
	const char *name;
	int32_t d_model, n_heads, n_kv_heads, head_dim, d_ffn, n_vocab, n_layers;
};
extern const struct model_shape smollm2_135m, llama_3_1_8b;

/* One kernel of a step. */
struct counted {
	enum gpu_kernel kernel;
	const char *what;	/* of a product: which matrix; else "" */
	int32_t n_in;		/* of a product */
	double launches;	/* a step */
	double times;		/* a launch does so many times what was counted */
	double blocks;		/* of a launch */
	double ideal_bytes;	/* counted: what it must read and write, each byte once */
	double weight_bytes;	/* of these, the weights */
	struct ptxsim_counts n; /* counted */
};

#define COUNTED_MAX 20

struct step_counts {
	struct counted kernel[COUNTED_MAX];
	int32_t n;
};

/* Before anything else: the interpreter counts, and looks for nothing. */
void counting_begin(void);

/* A step of m sequences of `context` tokens each, weights of one dtype. */
void count_step(const struct model_shape *s, enum dtype weights, int32_t m, int32_t context,
		struct step_counts *out);

/* One product of m rows, `outputs` outputs, of which no more than COUNTED_OUTPUTS are computed. */
void count_product(const char *what, enum dtype weights, int32_t n_in, int32_t n_out, int32_t m,
		   double launches, struct step_counts *out);

/* A chunk of a prompt, as many rows as a block takes, the last of `context` tokens. */
void count_prefill(const struct model_shape *s, int32_t context, struct step_counts *out);

#endif
