/*
 * The architectures as data: a row each with what its name fixes, what its files call things, and
 * which parts it has. For model.c and model_config.c alone.
 */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "model.h"

/* The parts that tensors play. */
enum role {
	ROLE_EMBED,
	ROLE_POSITIONS,
	ROLE_FINAL_NORM,
	ROLE_HEAD,
	ROLE_OF_A_LAYER, /* from here on one in each layer */
	ROLE_ATTN_NORM = ROLE_OF_A_LAYER,
	ROLE_ATTN_NORM_2,
	ROLE_ATTN_POST_NORM,
	ROLE_QKV, /* fused, or the three below */
	ROLE_Q,
	ROLE_K,
	ROLE_V,
	ROLE_Q_NORM,
	ROLE_K_NORM,
	ROLE_OUT,
	ROLE_FFN_NORM,
	ROLE_FFN_POST_NORM,
	ROLE_GATE,
	ROLE_UP,
	ROLE_DOWN,
	ROLE_COUNT
};

/* What a format calls them, without ".weight" and ".bias". '|' separates spellings, the first one
 * found is taken. */
struct tensor_names {
	const char *prefix; /* of everything that does not begin with '/' */
	const char *layer;  /* then its number and a dot */
	const char *role[ROLE_COUNT];
};

/* Which biases a model must have; others it may have. */
enum bias_set { BIAS_NORM = 1, BIAS_QKV = 2, BIAS_REST = 4, BIAS_ALL = 7 };

struct config_source;

struct arch {
	const char *name;    /* GGUF's general.architecture */
	const char *hf_type; /* config.json's model_type; '|' separates */
	struct model_config
		base; /* what the name fixes, and defaults of what a file may leave out */
	enum position_kind hf_position; /* where it is another one than GGUF's */
	float hf_norm_plus;		/* what is missing in the norms' weights there */
	bool hf_transposed;		/* matrices lie the other way round there */
	bool hf_grouped;		/* fused qkv is a group of heads after the other there */
	bool post_norms, qk_norm;
	bool may_qk_norm, may_positions; /* only some of its models have them */
	unsigned biases;		 /* enum bias_set */
	const struct tensor_names *gguf, *hf;
	enum rc (*finish)(const struct config_source *s, struct model_config *c); /* or NULL */
};

/* NULL: none of that name. */
const struct arch *arch_find(enum model_format format, const char *name, size_t len);

/* "llama, qwen2, ..." */
const char *arch_list(enum model_format format, char *out, size_t size);

/* ---- reading a configuration (model_config.c) ---- */

/* Both formats behind one set of typed reads. A name may have spellings, separated by '|'. GGUF's
 * go without the architecture's prefix; a dot in a config.json's leads into an object. Absent
 * leaves *out as it is. */
struct config_source {
	const struct model_file *f;
	const struct arch *arch;
	struct err *e;
};

struct key {
	const char *gguf, *hf; /* NULL: the format has no such thing */
};

enum rc config_int(const struct config_source *s, struct key k, int64_t min, int64_t max,
		   int32_t *out);
enum rc config_real(const struct config_source *s, struct key k, double min, double max,
		    float *out);
enum rc config_bool(const struct config_source *s, struct key k, bool *out);

/* "config.json: key: " or "model.gguf: key 'llama.key': " before the message. RC_INPUT. */
enum rc config_bad(const struct config_source *s, struct key k, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Everything; n_vocab is 0 if the file does not say. *factors: the n_rot/2 rope factors that
 * config.json asks for, the caller's to free(), or NULL. */
enum rc model_config_read(const struct config_source *s, struct model_config *c, float **factors);

#endif
