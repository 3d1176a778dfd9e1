/*
 * A model of which only the shape is real: Llama's block, weights of random numbers that all layers
 * share on the host, so that one of eight billion takes a gigabyte here; on the card each layer has
 * its own. For measuring speed; what it says means nothing.
 */
#ifndef CARD_SHAPE_MODEL_H
#define CARD_SHAPE_MODEL_H

#include "model/model.h"

struct shape_model {
	struct model model;
	struct model_file file; /* of nothing */
	struct tensor matrix[6], vector;
	void *memory;
	size_t bytes;
};

struct model_shape {
	const char *name;
	int32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab, max_len;
};

/* RC_IO: no memory. */
enum rc shape_model_init(struct shape_model *s, const struct model_shape *shape, enum dtype dtype,
			 struct err *e);
void shape_model_release(struct shape_model *s);

#endif
