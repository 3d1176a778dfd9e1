/*
 * Between kernels.c and the files that are compiled for one instruction set each: which rows there
 * are, and how a row is filled from the functions of body_*.h.
 */
#ifndef CPU_KERNELS_ISA_H
#define CPU_KERNELS_ISA_H

#include "kernels.h"

extern const struct kernels kernels_avx512, kernels_avx2, kernels_scalar;

#define KERNELS_ROW                                                                                \
	{                                                                                          \
		.name = V_NAME, .prepare_rows = prepare_rows,                                      \
		.matmul =                                                                          \
			{                                                                          \
				[PACK_F32] = matmul_f32,   [PACK_F16] = matmul_f16,                \
				[PACK_BF16] = matmul_bf16, [PACK_Q8_0] = matmul_q8_0,              \
				[PACK_Q8_1] = matmul_q8_1, [PACK_Q4_1] = matmul_q4_1,              \
			},                                                                         \
		.attention = attention, .to_f16 = to_f16, .rms_norm = rms_norm,                    \
		.layer_norm = layer_norm, .rope_pairs = rope_pairs, .rope_halves = rope_halves,    \
		.act =                                                                             \
			{                                                                          \
				[ACT_SILU] = act_silu,                                             \
				[ACT_GELU] = act_gelu,                                             \
				[ACT_GELU_TANH] = act_gelu_tanh,                                   \
				[ACT_RELU] = act_relu,                                             \
			},                                                                         \
		.add = add, .scale = scale, .clamp = clamp,                                        \
	}

#endif
