/*
 * Owns the table of architectures: what each is called, has, and calls its parts. Constant data and
 * the few rules that a row can not hold. Must not know shapes or bytes.
 */
#include "arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* ---- names ---- */

static const struct tensor_names gguf_names = {
	.prefix = "",
	.layer = "blk.",
	.role =
		{
			[ROLE_EMBED] = "token_embd",
			[ROLE_POSITIONS] = "position_embd",
			[ROLE_FINAL_NORM] = "output_norm",
			[ROLE_HEAD] = "output",
			[ROLE_ATTN_NORM] = "attn_norm",
			[ROLE_ATTN_POST_NORM] = "post_attention_norm",
			[ROLE_QKV] = "attn_qkv",
			[ROLE_Q] = "attn_q",
			[ROLE_K] = "attn_k",
			[ROLE_V] = "attn_v",
			[ROLE_Q_NORM] = "attn_q_norm",
			[ROLE_K_NORM] = "attn_k_norm",
			[ROLE_OUT] = "attn_output",
			[ROLE_FFN_NORM] = "ffn_norm",
			[ROLE_FFN_POST_NORM] = "post_ffw_norm",
			[ROLE_GATE] = "ffn_gate",
			[ROLE_UP] = "ffn_up",
			[ROLE_DOWN] = "ffn_down",
		},
};

/* A falcon with two norms (40B) calls the attention's one attn_norm_2, and what the feed-forward
 * reads attn_norm; one with a single norm (7B) calls that attn_norm. */
static const struct tensor_names gguf_falcon_names = {
	.prefix = "",
	.layer = "blk.",
	.role =
		{
			[ROLE_EMBED] = "token_embd",
			[ROLE_FINAL_NORM] = "output_norm",
			[ROLE_HEAD] = "output",
			[ROLE_ATTN_NORM] = "attn_norm_2|attn_norm",
			[ROLE_ATTN_NORM_2] = "attn_norm",
			[ROLE_QKV] = "attn_qkv",
			[ROLE_OUT] = "attn_output",
			[ROLE_UP] = "ffn_up",
			[ROLE_DOWN] = "ffn_down",
		},
};

static const struct tensor_names hf_llama_names = {
	.prefix = "model.|",
	.layer = "layers.",
	.role =
		{
			[ROLE_EMBED] = "embed_tokens",
			[ROLE_FINAL_NORM] = "norm",
			[ROLE_HEAD] = "/lm_head",
			[ROLE_ATTN_NORM] = "input_layernorm",
			[ROLE_Q] = "self_attn.q_proj",
			[ROLE_K] = "self_attn.k_proj",
			[ROLE_V] = "self_attn.v_proj",
			[ROLE_Q_NORM] = "self_attn.q_norm",
			[ROLE_K_NORM] = "self_attn.k_norm",
			[ROLE_OUT] = "self_attn.o_proj",
			[ROLE_FFN_NORM] = "post_attention_layernorm",
			[ROLE_GATE] = "mlp.gate_proj",
			[ROLE_UP] = "mlp.up_proj",
			[ROLE_DOWN] = "mlp.down_proj",
		},
};

static const struct tensor_names hf_gemma3_names = {
	.prefix = "model.|",
	.layer = "layers.",
	.role =
		{
			[ROLE_EMBED] = "embed_tokens",
			[ROLE_FINAL_NORM] = "norm",
			[ROLE_HEAD] = "/lm_head",
			[ROLE_ATTN_NORM] = "input_layernorm",
			[ROLE_ATTN_POST_NORM] = "post_attention_layernorm",
			[ROLE_Q] = "self_attn.q_proj",
			[ROLE_K] = "self_attn.k_proj",
			[ROLE_V] = "self_attn.v_proj",
			[ROLE_Q_NORM] = "self_attn.q_norm",
			[ROLE_K_NORM] = "self_attn.k_norm",
			[ROLE_OUT] = "self_attn.o_proj",
			[ROLE_FFN_NORM] = "pre_feedforward_layernorm",
			[ROLE_FFN_POST_NORM] = "post_feedforward_layernorm",
			[ROLE_GATE] = "mlp.gate_proj",
			[ROLE_UP] = "mlp.up_proj",
			[ROLE_DOWN] = "mlp.down_proj",
		},
};

static const struct tensor_names hf_gpt2_names = {
	.prefix = "transformer.|",
	.layer = "h.",
	.role =
		{
			[ROLE_EMBED] = "wte",
			[ROLE_POSITIONS] = "wpe",
			[ROLE_FINAL_NORM] = "ln_f",
			[ROLE_HEAD] = "/lm_head",
			[ROLE_ATTN_NORM] = "ln_1",
			[ROLE_QKV] = "attn.c_attn",
			[ROLE_OUT] = "attn.c_proj",
			[ROLE_FFN_NORM] = "ln_2",
			[ROLE_UP] = "mlp.c_fc",
			[ROLE_DOWN] = "mlp.c_proj",
		},
};

static const struct tensor_names hf_opt_names = {
	.prefix = "model.decoder.|decoder.",
	.layer = "layers.",
	.role =
		{
			[ROLE_EMBED] = "embed_tokens",
			[ROLE_POSITIONS] = "embed_positions",
			[ROLE_FINAL_NORM] = "final_layer_norm",
			[ROLE_HEAD] = "/lm_head",
			[ROLE_ATTN_NORM] = "self_attn_layer_norm",
			[ROLE_Q] = "self_attn.q_proj",
			[ROLE_K] = "self_attn.k_proj",
			[ROLE_V] = "self_attn.v_proj",
			[ROLE_OUT] = "self_attn.out_proj",
			[ROLE_FFN_NORM] = "final_layer_norm",
			[ROLE_UP] = "fc1",
			[ROLE_DOWN] = "fc2",
		},
};

static const struct tensor_names hf_falcon_names = {
	.prefix = "transformer.|",
	.layer = "h.",
	.role =
		{
			[ROLE_EMBED] = "word_embeddings",
			[ROLE_FINAL_NORM] = "ln_f",
			[ROLE_HEAD] = "/lm_head",
			[ROLE_ATTN_NORM] = "ln_attn|input_layernorm",
			[ROLE_ATTN_NORM_2] = "ln_mlp",
			[ROLE_QKV] = "self_attention.query_key_value",
			[ROLE_OUT] = "self_attention.dense",
			[ROLE_UP] = "mlp.dense_h_to_4h",
			[ROLE_DOWN] = "mlp.dense_4h_to_h",
		},
};

static const struct tensor_names hf_mpt_names = {
	.prefix = "transformer.|",
	.layer = "blocks.",
	.role =
		{
			[ROLE_EMBED] = "wte",
			[ROLE_POSITIONS] = "wpe",
			[ROLE_FINAL_NORM] = "norm_f",
			[ROLE_HEAD] = "/lm_head",
			[ROLE_ATTN_NORM] = "norm_1",
			[ROLE_QKV] = "attn.Wqkv",
			[ROLE_Q_NORM] = "attn.q_ln",
			[ROLE_K_NORM] = "attn.k_ln",
			[ROLE_OUT] = "attn.out_proj",
			[ROLE_FFN_NORM] = "norm_2",
			[ROLE_UP] = "ffn.up_proj",
			[ROLE_DOWN] = "ffn.down_proj",
		},
};

/* ---- rules that a row can not hold ---- */

/* The list of kinds that newer files have for each layer, if there is one, has to be what the
 * period says. */
static enum rc check_layer_types(const struct config_source *s, const struct model_config *c)
{
	static const struct key key = {NULL, "layer_types"};
	const cJSON *types = NULL, *t;
	enum rc rc;
	int32_t il = 0;

	if (!s->f->config)
		return RC_OK;
	rc = json_get_array(s->f->config, "config.json", "layer_types", &types, s->e);
	if (rc != RC_OK || !types)
		return rc;
	cJSON_ArrayForEach(t, types)
	{
		const char *want = model_windowed(c, il) ? "sliding_attention" : "full_attention";

		if (!cJSON_IsString(t) || strcmp(t->valuestring, want) != 0)
			return config_bad(s, key,
					  "layer %d: want \"%s\", as every %dth looks at "
					  "everything",
					  il, want, c->window_period);
		il++;
	}
	if (il != c->n_layers)
		return config_bad(s, key, "%d layers, want %d", il, c->n_layers);
	return RC_OK;
}

static enum rc finish_gemma3(const struct config_source *s, struct model_config *c)
{
	float scalar = (float)c->head_dim;
	enum rc rc = config_int(s, (struct key){"attention.sliding_window", "sliding_window"}, 0,
				INT32_MAX, &c->window);

	if (rc == RC_OK)
		rc = config_int(
			s, (struct key){NULL, "sliding_window_pattern|_sliding_window_pattern"}, 1,
			INT32_MAX, &c->window_period);
	if (rc == RC_OK)
		rc = config_real(s,
				 (struct key){"rope.freq_base_swa",
					      "rope_local_base_freq|"
					      "rope_parameters.sliding_attention.rope_theta"},
				 1, 1e12, &c->rope_base_local);
	/* GGUF has no key for this: the 27B model, known by its 62 layers, is the one that scales
	 * by d_model / n_heads. */
	if (s->f->format == MODEL_GGUF && c->n_layers == 62)
		scalar = (float)c->d_model / (float)c->n_heads;
	if (rc == RC_OK)
		rc = config_real(s, (struct key){NULL, "query_pre_attn_scalar"}, 1e-6, 1e6,
				 &scalar);
	c->attn_scale = 1 / sqrtf(scalar);
	c->embed_scale = sqrtf((float)c->d_model);
	return rc == RC_OK ? check_layer_types(s, c) : rc;
}

/* config.json says in three ways how many heads k and v have. */
static enum rc finish_falcon(const struct config_source *s, struct model_config *c)
{
	bool multi_query = true, decoder = false;
	enum rc rc;

	if (s->f->format == MODEL_GGUF)
		return RC_OK;
	rc = config_bool(s, (struct key){NULL, "new_decoder_architecture"}, &decoder);
	if (rc == RC_OK)
		rc = config_bool(s, (struct key){NULL, "multi_query"}, &multi_query);
	if (!decoder)
		c->n_kv_heads = multi_query ? 1 : c->n_heads;
	return rc;
}

/* ALiBi where it has a slope, else positions that were learned. */
static enum rc finish_mpt(const struct config_source *s, struct model_config *c)
{
	bool alibi = s->f->format == MODEL_GGUF && c->alibi_max_bias > 0;
	int32_t ratio = 0;
	enum rc rc = config_bool(s, (struct key){NULL, "attn_config.alibi"}, &alibi);

	if (rc == RC_OK)
		rc = config_int(s, (struct key){NULL, "expansion_ratio"}, 1, 64, &ratio);
	if (ratio > 0)
		c->d_ff = ratio * c->d_model;
	if (alibi && c->alibi_max_bias == 0)
		c->alibi_max_bias = 8;
	if (!alibi) {
		c->alibi_max_bias = 0;
		c->position = POSITION_LEARNED;
	}
	return rc;
}

/* ---- the table ---- */

#define RMS_GATED .norm = NORM_RMS, .gated = true, .act = ACT_SILU, .rope_base = 10000

static const struct arch archs[] = {
	{
		.name = "llama",
		.hf_type = "llama",
		.base = {RMS_GATED, .position = POSITION_ROPE_PAIRS},
		.hf_position = POSITION_ROPE_HALVES,
		.gguf = &gguf_names,
		.hf = &hf_llama_names,
	},
	{
		.name = "qwen2",
		.hf_type = "qwen2",
		.base = {RMS_GATED, .position = POSITION_ROPE_HALVES},
		.hf_position = POSITION_ROPE_HALVES,
		.biases = BIAS_QKV,
		.gguf = &gguf_names,
		.hf = &hf_llama_names,
	},
	{
		.name = "qwen3",
		.hf_type = "qwen3",
		.base = {RMS_GATED, .position = POSITION_ROPE_HALVES},
		.hf_position = POSITION_ROPE_HALVES,
		.qk_norm = true,
		.gguf = &gguf_names,
		.hf = &hf_llama_names,
	},
	{
		.name = "gemma3",
		.hf_type = "gemma3_text",
		.base = {.norm = NORM_RMS,
			 .gated = true,
			 .act = ACT_GELU_TANH,
			 .position = POSITION_ROPE_HALVES,
			 .rope_base = 1000000,
			 .rope_base_local = 10000,
			 .window_period = 6},
		.hf_position = POSITION_ROPE_HALVES,
		.hf_norm_plus = 1,
		.post_norms = true,
		.qk_norm = true,
		.gguf = &gguf_names,
		.hf = &hf_gemma3_names,
		.finish = finish_gemma3,
	},
	{
		.name = "gpt2",
		.hf_type = "gpt2",
		.base = {.norm = NORM_LAYER,
			 .norm_eps = 1e-5f,
			 .act = ACT_GELU_TANH,
			 .position = POSITION_LEARNED},
		.hf_position = POSITION_LEARNED,
		.hf_transposed = true,
		.biases = BIAS_ALL,
		.gguf = &gguf_names,
		.hf = &hf_gpt2_names,
	},
	{
		.name = "opt",
		.hf_type = "opt",
		.base = {.norm = NORM_LAYER,
			 .norm_eps = 1e-5f,
			 .act = ACT_RELU,
			 .position = POSITION_LEARNED,
			 .position_offset = 2},
		.hf_position = POSITION_LEARNED,
		.biases = BIAS_ALL,
		.gguf = &gguf_names,
		.hf = &hf_opt_names,
	},
	{
		.name = "falcon",
		.hf_type = "falcon",
		.base = {.norm = NORM_LAYER,
			 .norm_eps = 1e-5f,
			 .parallel = true,
			 .act = ACT_GELU,
			 .max_len = 2048,
			 .position = POSITION_ROPE_HALVES,
			 .rope_base = 10000},
		.hf_position = POSITION_ROPE_HALVES,
		.hf_grouped = true,
		.biases = BIAS_NORM,
		.gguf = &gguf_falcon_names,
		.hf = &hf_falcon_names,
		.finish = finish_falcon,
	},
	{
		.name = "mpt",
		.hf_type = "mpt",
		.base = {.norm = NORM_LAYER,
			 .norm_eps = 1e-5f,
			 .act = ACT_GELU,
			 .position = POSITION_ALIBI},
		.hf_position = POSITION_ALIBI,
		.may_qk_norm = true,
		.may_positions = true,
		.gguf = &gguf_names,
		.hf = &hf_mpt_names,
		.finish = finish_mpt,
	},
};

static bool is_one_of(const char *spellings, const char *name, size_t len)
{
	for (const char *p = spellings;; p++) {
		size_t n = strcspn(p, "|");

		if (n == len && memcmp(p, name, n) == 0)
			return true;
		p += n;
		if (*p == '\0')
			return false;
	}
}

static const char *name_in(const struct arch *a, enum model_format format)
{
	return format == MODEL_GGUF ? a->name : a->hf_type;
}

const struct arch *arch_find(enum model_format format, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(archs); i++)
		if (is_one_of(name_in(&archs[i], format), name, len))
			return &archs[i];
	return NULL;
}

const char *arch_list(enum model_format format, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(archs) && n < size; i++) {
		const char *name = name_in(&archs[i], format);

		n += (size_t)snprintf(out + n, size - n, "%s%.*s", i ? ", " : "",
				      (int)strcspn(name, "|"), name);
	}
	return out;
}
