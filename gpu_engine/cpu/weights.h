/*
 * A model's weights as the kernels read them: every matrix packed (pack.h), every vector as floats,
 * all of it in one arena. Made once from the file, whose pages are given back on the way, so that
 * the weights are in memory about once. Immutable from then on.
 */
#ifndef CPU_WEIGHTS_H
#define CPU_WEIGHTS_H

#include <stdint.h>

#include "base/err.h"
#include "kernels.h"
#include "model/model.h"
#include "pack.h"
#include "threads.h"

/* n 0 = absent. bias NULL = none. */
struct norm_weights {
	int32_t n;
	const float *weight, *bias;
};

/* struct model_layer, part for part; biases are NULL where there are none. */
struct layer_weights {
	struct norm_weights attn_norm, attn_norm_2, attn_post_norm, q_norm, k_norm;
	struct norm_weights ffn_norm, ffn_post_norm;
	struct packed_matrix qkv, out, gate_up, down;
	const float *qkv_bias, *out_bias, *gate_up_bias, *down_bias;
};

struct weights {
	const struct model *model; /* the embedding of an untied one is read from its file */
	const struct kernels *kernels;
	struct layer_weights *layer;
	struct norm_weights final_norm;
	struct packed_matrix head;
	const float *head_bias;
	const float *rope_factors; /* n_rot / 2 divisors, or NULL */
	uint8_t *arena;
	size_t arena_bytes;
};

/* The file's pages are dropped as they are packed. isa as in kernels_choose(), whose RC_INPUT this
 * may return. Runs on the pool; model and file outlive the weights. */
enum rc weights_load(struct weights **out, const struct model *m, const struct model_file *file,
		     const char *isa, struct threads *threads, struct err *e);
void weights_free(struct weights *w);

/* The arena's size, known before anything is read. */
int64_t weights_bytes(const struct model *m);

/* A token's row of the embedding; out has d_model. */
void weights_embed(const struct weights *w, int32_t token, float *out);

#endif
