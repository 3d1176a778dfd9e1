/*
 * A model's weights on the card: every matrix in the planes of repack.h, every vector as floats,
 * all of it in one allocation. Made once from the file, whose pages are given back on the way.
 * Immutable from then on.
 */
#ifndef CUDA_WEIGHTS_CUDA_H
#define CUDA_WEIGHTS_CUDA_H

#include "driver.h"
#include "model/model.h"

/* n 0 = absent. */
struct cuda_norm {
	int32_t n;
	struct gpu_norm_weights on_card;
};

/* struct model_layer, part for part; biases are NULL where there are none. */
struct cuda_layer {
	struct cuda_norm attn_norm, attn_norm_2, attn_post_norm, q_norm, k_norm;
	struct cuda_norm ffn_norm, ffn_post_norm;
	struct gpu_matrix qkv, out, gate_up, down;
	const float *qkv_bias, *out_bias, *gate_up_bias, *down_bias;
};

struct cuda_weights {
	struct cuda_layer *layer;
	struct cuda_norm final_norm;
	struct gpu_matrix embed, head; /* tied: the same planes */
	const float *head_bias;
	const float *learned; /* positions, a row of d_model each; or NULL */
	struct cuda *cuda;
	void *memory;
};

/* Needs no card. */
int64_t cuda_weights_bytes(const struct model *m);

/* RC_IO, RC_LIMIT: the driver's refusals. model and file are not needed any more behind it. */
enum rc cuda_weights_load(struct cuda_weights **out, const struct model *m,
			  const struct model_file *file, struct cuda *c, struct err *e);
void cuda_weights_free(struct cuda_weights *w);

#endif
