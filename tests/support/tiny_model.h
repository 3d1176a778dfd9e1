/*
 * Model files for tests: every architecture, every number format, GGUF and safetensors, with random
 * weights that depend on the seed and a tensor's part alone. So the same parameters give the same
 * model in either format (up to what the number format loses), however differently the two store
 * it: GGUF's llama has its q and k permuted, gpt2's safetensors are transposed, falcon's grouped.
 *
 * With it comes a vocabulary: <|endoftext|>, <|im_start|>, <|im_end|> (ids 0, 1, 2; the first
 * begins, the last ends), the 256 bytes, pairs of frequent letters with their merges, and unused
 * ids up to n_vocab; chatml as template.
 */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include "model/model.h"

/* Zero = the default in brackets. Sizes are free, also odd ones: 9 heads, 3 of them for k and v. */
struct tiny_params {
	const char *arch;   /* [llama] */
	enum dtype dtype;   /* of matrices; one that a row is no multiple of is replaced as
			       quantisers do (Q4_K: Q5_0), and in the end by F16 */
	int32_t n_layers;   /* [2] */
	int32_t d_model;    /* [64] */
	int32_t n_heads;    /* [4] */
	int32_t n_kv_heads; /* [n_heads; falcon: 1] */
	int32_t head_dim;   /* [d_model / n_heads] */
	int32_t d_ff;	    /* [128] */
	int32_t n_vocab;    /* [320], at least 259 */
	int32_t max_len;    /* [512] */
	int32_t window;	    /* gemma3 [8] */
	int32_t shards;	    /* files to spread the tensors over [1] */
	float clamp;	    /* mpt */
	uint64_t seed;
	const char *rope_scaling; /* "linear": by 4; "llama3" */

	bool mixed; /* embedding and v in Q8_0, down in Q5_1 */
	bool untied;
	bool two_norms; /* falcon: as the 40B has them */
	bool qk_norm;	/* mpt, which may have it */
	bool learned;	/* mpt without ALiBi */
};

/* Writes the model into a folder that exists; returns the path to be opened, which is the caller's
 * to free. */
char *tiny_model_write(const struct tiny_params *p, enum model_format format, const char *folder);

struct tiny_model {
	struct model_file *file;
	struct model *model;
};

/* Written, opened and loaded; the files are gone again, only the maps are left. Ends the program if
 * that fails. */
void tiny_model_open(struct tiny_model *t, const struct tiny_params *p, enum model_format format);
void tiny_model_close(struct tiny_model *t);

#endif
