/*
 * What kernels and their launchers agree on: plain C that a .cu reads as well. Rows of the tables
 * below lie on the device.
 */
#ifndef CUDA_KERNELS_TYPES_H
#define CUDA_KERNELS_TYPES_H

#include <stdint.h>

#define GPU_GROUP	 32 /* inputs that share a scale, and what rows of inputs are padded to */
#define GPU_MAX_HEAD_DIM 256
#define GPU_TILE_TOKENS	 32  /* that attention takes at a time */
#define GPU_SPLIT_TOKENS 256 /* of a sequence, that one block of decode attention sees */
#define GPU_WARPS	 4   /* of a block of attention and of a GEMV */
#define GPU_DECODE_ROWS	 8   /* heads that a block of decode attention takes */
#define GPU_PREFILL_ROWS 64  /* heads x queries that a chunk of prefill attention takes at most */
#define GPU_MAX_LOGPROBS 20

/* Kernels of prefill attention: head_dim at most, warps of a block (of 16 rows each), tokens that
 * it takes at a time: what fits 48 KiB of shared memory. */
#define GPU_PREFILLS(X) X(64, 4, 32) X(128, 4, 32) X(256, 2, 16)

/* How weights lie; see repack.h. */
enum gpu_kind { GPU_F16, GPU_BF16, GPU_Q8_0, GPU_Q8_1, GPU_Q4_1, GPU_KIND_COUNT };

enum gpu_norm_kind { GPU_NORM_RMS, GPU_NORM_LAYER };
enum gpu_act { GPU_SILU, GPU_GELU, GPU_GELU_TANH, GPU_RELU };
enum gpu_rope { GPU_ROPE_NONE, GPU_ROPE_PAIRS, GPU_ROPE_HALVES };

/* How a row's token is chosen: serve/sampling.h's terms and order, with its lists as ranges of
 * arrays that all rows share. */
struct gpu_sampling {
	uint64_t seed;
	int32_t position;  /* counts the draws of a seed */
	float temperature; /* 0 = greedy */
	int32_t top_k;	   /* 0 = all */
	float top_p, min_p;
	float presence, frequency, repetition;	 /* 0, 0, 1 = none */
	int32_t first_token, n_prompt, n_tokens; /* of `history`: prompt, then output */
	int32_t first_bias, n_bias;		 /* each token at most once */
	int32_t first_forbidden, n_forbidden;
	int32_t n_logprobs; /* alternatives beside the chosen one; -1 = nothing */
};

struct gpu_logit_bias {
	int32_t token;
	float bias;
};

/* serve/sampling.h's struct token_logprob. */
struct gpu_logprob {
	int32_t token;
	float logprob;
	int32_t rank;
};

#endif
