/*
 * A model, ready to be computed by whoever can: what kind of transformer block it is made of, and
 * which tensors of the file play which part. Format and naming end here: what stands below is the
 * same for GGUF and safetensors. Plain data; the weights stay in the mapped file, untouched.
 *
 * One block covers all architectures (engine.md section 2):
 *
 *     h = norm(x);  q,k,v = qkv(h) [+bias] [clamped] [q,k normed] [rotated];  a = attention(q,k,v)
 *     x = x + post(out(a))            then, unless parallel:  h = norm2(x)
 *     x = x + post(down(act(gate(h)) * up(h)))                or down(act(up(h))) if not gated
 *
 * parallel (falcon): both halves read the same x; the second one reads attn_norm_2(x) where there
 * is one, else the h of the first.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model_file.h"

enum norm_kind { NORM_RMS, NORM_LAYER };

enum position_kind {
	POSITION_ROPE_PAIRS,  /* rotates (2i, 2i+1): GGUF's llama, whose rows are permuted for it */
	POSITION_ROPE_HALVES, /* rotates (i, i + n_rot/2): NEOX */
	POSITION_LEARNED,
	POSITION_ALIBI,
};

enum activation { ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_RELU };

struct model_config {
	const char *arch; /* a row's name: "llama", "gemma3"; static */
	char name[128];	  /* what the file calls itself, or its base name */
	int32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab;
	int32_t max_len; /* the context it was made for, tokens */

	enum norm_kind norm;
	float norm_eps;
	bool parallel; /* attention and feed-forward side by side */
	bool gated;
	enum activation act;

	enum position_kind position;
	int32_t n_rot; /* leading dimensions of a head that are rotated */
	float rope_base,
		rope_base_local; /* the second one in windowed layers; equal to the first if none */
	float rope_scale; /* positions are multiplied by it (linear scaling); global layers only */
	int32_t position_offset; /* of learned positions (opt: 2) */
	float alibi_max_bias;

	float embed_scale; /* 1, or sqrt(d_model) */
	float attn_scale;  /* of q.k */
	float clamp_qkv;   /* 0 = none */
	int32_t window;	   /* tokens seen back in windowed layers, the own one included; 0 = all */
	int32_t window_period; /* layer il looks at everything if (il + 1) % period == 0; 0: all are
				  windowed */
	bool tied;
};

/* Rows of a tensor, one part of a matrix. They may come in runs (falcon's safetensors keep q, k and
 * v of a group of heads together): row i of the part is the tensor's row + i / run * stride + i %
 * run.
 */
struct matrix_part {
	const struct tensor *t;
	int64_t row, rows;   /* output rows taken from it */
	int64_t run, stride; /* both = rows where they lie together */
	bool transposed;     /* the tensor is [n_out, n_in] in memory (gpt2's safetensors) */
};

/* y[n_out] = W x[n_in]: parts stand below each other, each in its own dtype. n_parts 0 = absent. */
struct matrix {
	int32_t n_in, n_out;
	int32_t n_parts;
	struct matrix_part part[3];
};

/* A vector of n floats, in parts as the matrix it belongs to; n_parts 0 = absent. */
struct vector {
	int32_t n, n_parts;
	float plus; /* added to each number (gemma3's safetensors keep weight - 1) */
	const struct tensor *part[3];
};

struct norm {
	struct vector weight, bias;
};

struct model_layer {
	struct norm attn_norm, attn_post_norm;
	struct norm attn_norm_2; /* parallel: what the feed-forward reads, if it has one of its own
				  */
	struct matrix qkv;	 /* rows: all of q, then k, then v */
	struct vector qkv_bias;
	struct norm q_norm, k_norm; /* over a head (n = head_dim), or over the whole row */
	struct matrix out;
	struct vector out_bias;
	struct norm ffn_norm, ffn_post_norm;
	struct matrix gate_up; /* gated: gate's rows, then up's; else up */
	struct vector gate_up_bias;
	struct matrix down;
	struct vector down_bias;
};

struct model {
	struct model_config config;
	struct matrix embed;	    /* n_in = d_model, n_out = n_vocab: rows are looked up */
	struct matrix positions;    /* learned: a row a position; else absent */
	struct vector rope_factors; /* divisors of the n_rot/2 frequencies; or absent */
	struct tensor rope_tensor; /* what rope_factors points to if they were computed, not read */
	struct model_layer *layer;
	struct norm final_norm;
	struct matrix head; /* tied: the same parts as embed */
	struct vector head_bias;
	int64_t weight_bytes, n_parameters; /* of the file's tensors; a shared one counts once */
};

/* The file outlives the model. RC_INPUT: an architecture we do not have (with the list of those we
 * have), a key or tensor missing or of the wrong shape (with its name, what it is and what it
 * should be). */
enum rc model_load(struct model **out, const struct model_file *f, struct err *e);
void model_free(struct model *m);

static inline bool model_windowed(const struct model_config *c, int32_t layer)
{
	return c->window > 0 && (c->window_period == 0 || (layer + 1) % c->window_period != 0);
}

/* Vector to floats; bias and weight alike. out has v->n. */
void vector_read(const struct vector *v, float *out);

/* Which of its tensor's rows row i of a part is. */
static inline int64_t matrix_part_row(const struct matrix_part *p, int64_t i)
{
	return p->row + i / p->run * p->stride + i % p->run;
}

/* Row `row` of a matrix (an output row; of embed: a token), as floats. out has m->n_in. */
void matrix_read_row(const struct matrix *m, int64_t row, float *out);

#endif
