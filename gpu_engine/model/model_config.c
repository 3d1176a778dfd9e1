/*
 * Owns the way from a file's keys, GGUF's or config.json's, to struct model_config: one table of
 * fields with both formats' names, one of conditions without which a model is not what it seems,
 * and the scaling of rotations. Runs once at start. Must not know tensors.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "base/check.h"
#include "base/die.h"
#include "base/utf8.h"

#define MAX_WIDTH  (1 << 20) /* of a row, in numbers */
#define MAX_LAYERS 4096
#define KEY_BYTES  128

/* ---- typed reads of either format ---- */

static bool is_gguf(const struct config_source *s)
{
	return s->f->format == MODEL_GGUF;
}

/* What a key is called in messages. */
static const char *shown(const struct config_source *s, struct key k, char out[KEY_BYTES])
{
	const char *name = is_gguf(s) ? k.gguf : k.hf;

	snprintf(out, KEY_BYTES, "%s%s%.*s", is_gguf(s) ? s->arch->name : "", is_gguf(s) ? "." : "",
		 (int)strcspn(name, "|"), name);
	return out;
}

enum rc config_bad(const struct config_source *s, struct key k, const char *fmt, ...)
{
	char name[KEY_BYTES];
	va_list ap;

	if (!s->e)
		return RC_INPUT;
	va_start(ap, fmt);
	err_vset(s->e, RC_INPUT, fmt, ap);
	va_end(ap);
	shown(s, k, name);
	return is_gguf(s) ? err_prefix(s->e, "%s: key '%s': ", s->f->path, name)
			  : err_prefix(s->e, "config.json.%s: ", name);
}

static const struct meta *gguf_spelling(const struct config_source *s, const char *name)
{
	char key[KEY_BYTES];

	snprintf(key, sizeof(key), "%s.%.*s", s->arch->name, (int)strcspn(name, "|"), name);
	return model_file_meta(s->f, key);
}

static const char *next_spelling(const char *name)
{
	name += strcspn(name, "|");
	return *name ? name + 1 : NULL;
}

/* GGUF: the key as the file spells it, in `out`; NULL if it has none. */
static const char *gguf_key(const struct config_source *s, struct key k, char out[KEY_BYTES])
{
	for (const char *name = k.gguf; name; name = next_spelling(name)) {
		const struct meta *m = gguf_spelling(s, name);

		if (m) {
			snprintf(out, KEY_BYTES, "%.*s", (int)m->key.len, m->key.text);
			return out;
		}
	}
	return NULL;
}

/* config.json: the object that a key lies in, the path to it, and the key's own name. */
struct place {
	const cJSON *object;
	char path[KEY_BYTES], key[KEY_BYTES];
};

static bool json_place(const cJSON *object, const char *name, struct place *p)
{
	size_t n;

	snprintf(p->path, sizeof(p->path), "config.json");
	for (;; name += n + 1) {
		size_t at = strlen(p->path);
		const cJSON *child;

		n = strcspn(name, ".|");
		snprintf(p->key, sizeof(p->key), "%.*s", (int)n, name);
		child = cJSON_GetObjectItemCaseSensitive(object, p->key);
		if (name[n] != '.') {
			p->object = object;
			return child && !cJSON_IsNull(child);
		}
		if (!cJSON_IsObject(child))
			return false;
		object = child;
		snprintf(p->path + at, sizeof(p->path) - at, ".%s", p->key);
	}
}

static bool json_key(const struct config_source *s, struct key k, struct place *p)
{
	for (const char *name = k.hf; name; name = next_spelling(name))
		if (json_place(s->f->config, name, p))
			return true;
	return false;
}

/* Some keys may be an array, a number a layer. We have one block for all layers, so the numbers
 * have to be the same. */
static enum rc same_item(const struct config_source *s, struct key k, const struct meta *m,
			 int64_t min, int64_t max, int64_t *out)
{
	if (m->a.type > META_INT || m->a.n == 0)
		return config_bad(s, k, "got an array, want an integer");
	*out = meta_item_int(m, 0);
	for (uint64_t i = 1; i < m->a.n; i++)
		if (meta_item_int(m, i) != *out)
			return config_bad(s, k,
					  "layers of different kinds (%lld, then %lld) are not "
					  "supported",
					  (long long)*out, (long long)meta_item_int(m, i));
	if (*out < min || *out > max)
		return config_bad(s, k, "got %lld, want %lld to %lld", (long long)*out,
				  (long long)min, (long long)max);
	return RC_OK;
}

enum rc config_int(const struct config_source *s, struct key k, int64_t min, int64_t max,
		   int32_t *out)
{
	int64_t v = *out;
	char key[KEY_BYTES];
	struct place p;
	enum rc rc = RC_OK;

	CHECK(min >= INT32_MIN && max <= INT32_MAX);
	if (is_gguf(s) && gguf_key(s, k, key)) {
		const struct meta *m = model_file_meta(s->f, key);

		rc = m->type == META_ARRAY ? same_item(s, k, m, min, max, &v)
					   : meta_get_int(s->f, key, min, max, &v, s->e);
	} else if (!is_gguf(s) && json_key(s, k, &p)) {
		rc = json_get_int(p.object, p.path, p.key, min, max, &v, s->e);
	}
	*out = (int32_t)v;
	return rc;
}

enum rc config_real(const struct config_source *s, struct key k, double min, double max, float *out)
{
	double v = (double)*out;
	char key[KEY_BYTES];
	struct place p;
	enum rc rc = RC_OK;

	if (is_gguf(s) && gguf_key(s, k, key)) {
		rc = meta_get_real(s->f, key, &v, s->e);
		if (rc == RC_OK && (v < min || v > max))
			rc = config_bad(s, k, "got %g, want %g to %g", v, min, max);
	} else if (!is_gguf(s) && json_key(s, k, &p)) {
		rc = json_get_num(p.object, p.path, p.key, min, max, &v, s->e);
	}
	*out = (float)v;
	return rc;
}

enum rc config_bool(const struct config_source *s, struct key k, bool *out)
{
	char key[KEY_BYTES];
	struct place p;

	if (is_gguf(s))
		return gguf_key(s, k, key) ? meta_get_bool(s->f, key, out, s->e) : RC_OK;
	return json_key(s, k, &p) ? json_get_bool(p.object, p.path, p.key, out, s->e) : RC_OK;
}

/* A text, cut to fit; *out is left alone if there is none. */
static enum rc config_text(const struct config_source *s, struct key k, char out[KEY_BYTES])
{
	struct meta_string m = {NULL, 0};
	const char *text = NULL;
	char key[KEY_BYTES];
	struct place p;
	enum rc rc = RC_OK;

	if (is_gguf(s) && gguf_key(s, k, key))
		rc = meta_get_string(s->f, key, &m, s->e);
	else if (!is_gguf(s) && json_key(s, k, &p))
		rc = json_get_str(p.object, p.path, p.key, &text, s->e);
	if (m.text)
		snprintf(out, KEY_BYTES, "%.*s", (int)(m.len < KEY_BYTES ? m.len : KEY_BYTES - 1),
			 m.text);
	else if (text)
		snprintf(out, KEY_BYTES, "%s", text);
	return rc;
}

/* ---- the fields ---- */

enum need { OPTIONAL, REQUIRED };

#define INT_FIELD(member, need, gguf, hf, min, max)                                                \
	{                                                                                          \
		offsetof(struct model_config, member), false, need, {gguf, hf}, min, max           \
	}
#define REAL_FIELD(member, need, gguf, hf, min, max)                                               \
	{                                                                                          \
		offsetof(struct model_config, member), true, need, {gguf, hf}, min, max            \
	}

/* A required one has to be there unless the architecture has a default for it. */
static const struct field {
	size_t at;
	bool is_real;
	enum need need;
	struct key key;
	double min, max;
} fields[] = {
	INT_FIELD(n_layers, REQUIRED, "block_count", "num_hidden_layers|n_layers|n_layer", 1,
		  MAX_LAYERS),
	INT_FIELD(d_model, REQUIRED, "embedding_length", "hidden_size|d_model|n_embd", 1,
		  MAX_WIDTH),
	INT_FIELD(n_heads, REQUIRED, "attention.head_count", "num_attention_heads|n_heads|n_head",
		  1, MAX_WIDTH),
	INT_FIELD(n_kv_heads, OPTIONAL, "attention.head_count_kv",
		  "num_key_value_heads|num_kv_heads|attn_config.kv_n_heads", 1, MAX_WIDTH),
	INT_FIELD(head_dim, OPTIONAL, "attention.key_length", "head_dim", 1, MAX_WIDTH),
	INT_FIELD(d_ff, OPTIONAL, "feed_forward_length",
		  "intermediate_size|ffn_dim|ffn_hidden_size|n_inner", 1, 64 * MAX_WIDTH),
	INT_FIELD(n_vocab, OPTIONAL, "vocab_size", "vocab_size", 1, 1 << 30),
	INT_FIELD(max_len, REQUIRED, "context_length",
		  "max_position_embeddings|max_seq_len|n_positions|n_ctx", 1, 1 << 30),
	REAL_FIELD(norm_eps, REQUIRED,
		   "attention.layer_norm_rms_epsilon|attention.layer_norm_epsilon",
		   "rms_norm_eps|layer_norm_epsilon", 0, 1),
	INT_FIELD(n_rot, OPTIONAL, "rope.dimension_count", NULL, 2, MAX_WIDTH),
	REAL_FIELD(rope_base, OPTIONAL, "rope.freq_base",
		   "rope_theta|rope_parameters.rope_theta|"
		   "rope_parameters.full_attention.rope_theta",
		   1, 1e12),
	REAL_FIELD(alibi_max_bias, OPTIONAL,
		   "attention.max_alibi_bias|attention.alibi_bias_max|alibi_bias_max",
		   "attn_config.alibi_bias_max", 0, 1e6),
	REAL_FIELD(clamp_qkv, OPTIONAL, "attention.clamp_kqv|attention.clip_kqv|clip_kqv",
		   "attn_config.clip_qkv", 0, 1e6),
};

static enum rc read_fields(const struct config_source *s, struct model_config *c)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < ARRAY_LEN(fields) && rc == RC_OK; i++) {
		const struct field *f = &fields[i];
		void *at = (char *)c + f->at;

		if (f->is_real)
			rc = config_real(s, f->key, f->min, f->max, at);
		else
			rc = config_int(s, f->key, (int64_t)f->min, (int64_t)f->max, at);
	}
	return rc;
}

/* Without these there is no model. */
static enum rc require_fields(const struct config_source *s, const struct model_config *c)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		const void *at = (const char *)c + f->at;
		char name[KEY_BYTES];
		bool absent = f->is_real ? *(const float *)at == 0 : *(const int32_t *)at == 0;

		if (f->need == REQUIRED && absent)
			return err_set(s->e, RC_INPUT, "%s: key '%s' is missing",
				       is_gguf(s) ? s->f->path : "config.json",
				       shown(s, f->key, name));
	}
	return RC_OK;
}

/* What follows from the others where the file does not say it. */
static void fill_in(struct model_config *c)
{
	bool rotates = c->position == POSITION_ROPE_PAIRS || c->position == POSITION_ROPE_HALVES;

	if (c->n_kv_heads == 0)
		c->n_kv_heads = c->n_heads;
	if (c->head_dim == 0)
		c->head_dim = c->d_model / c->n_heads;
	if (c->d_ff == 0)
		c->d_ff = 4 * c->d_model;
	if (!rotates)
		c->n_rot = 0;
	else if (c->n_rot == 0)
		c->n_rot = c->head_dim;
	c->attn_scale = 1 / sqrtf((float)(c->head_dim ? c->head_dim : 1));
	c->embed_scale = 1;
	c->rope_scale = 1;
}

static enum rc check_config(const struct config_source *s, const struct model_config *c)
{
	static const struct key heads = {"attention.head_count", "num_attention_heads"};
	static const struct key kv = {"attention.head_count_kv", "num_key_value_heads"};
	static const struct key rot = {"rope.dimension_count", "head_dim"};
	int64_t width = (int64_t)c->n_heads * c->head_dim;
	int32_t value_dim = c->head_dim;
	enum rc rc;

	if (c->head_dim == 0 || width > MAX_WIDTH)
		return config_bad(s, heads, "got %d heads of %d, of which there are at most %d",
				  c->n_heads, c->head_dim, MAX_WIDTH);
	if (c->n_kv_heads > c->n_heads || c->n_heads % c->n_kv_heads != 0)
		return config_bad(s, kv, "got %d, want a divisor of the %d heads", c->n_kv_heads,
				  c->n_heads);
	if (c->n_rot > c->head_dim || c->n_rot % 2 != 0)
		return config_bad(s, rot, "got %d, want an even number of at most %d", c->n_rot,
				  c->head_dim);
	if (!is_gguf(s))
		return RC_OK;
	rc = config_int(s, (struct key){"attention.value_length", NULL}, 1, MAX_WIDTH, &value_dim);
	if (rc == RC_OK && value_dim != c->head_dim)
		rc = config_bad(s, (struct key){"attention.value_length", NULL},
				"got %d, want the keys' %d", value_dim, c->head_dim);
	return rc;
}

/* ---- conditions ---- */

/* Switches that make something else of a model than we compute. Absent is fine. */
static const struct condition {
	const char *arch; /* NULL: all */
	struct key key;
	enum { WANT_FALSE, WANT_TRUE, WANT_ZERO } want;
} conditions[] = {
	{NULL, {"expert_count", "num_local_experts"}, WANT_ZERO},
	{"qwen2", {NULL, "use_sliding_window"}, WANT_FALSE},
	{"qwen3", {NULL, "use_sliding_window"}, WANT_FALSE},
	{"gemma3", {"attn_logit_softcapping", "attn_logit_softcapping"}, WANT_ZERO},
	{"gemma3", {"final_logit_softcapping", "final_logit_softcapping"}, WANT_ZERO},
	{"gemma3", {NULL, "use_bidirectional_attention"}, WANT_FALSE},
	{"gpt2", {NULL, "scale_attn_weights"}, WANT_TRUE},
	{"gpt2", {NULL, "scale_attn_by_inverse_layer_idx"}, WANT_FALSE},
	{"gpt2", {NULL, "add_cross_attention"}, WANT_FALSE},
	{"opt", {NULL, "do_layer_norm_before"}, WANT_TRUE},
	{"opt", {NULL, "_remove_final_layer_norm"}, WANT_FALSE},
	{"opt", {NULL, "enable_bias"}, WANT_TRUE},
	{"opt", {NULL, "layer_norm_elementwise_affine"}, WANT_TRUE},
	{"falcon", {NULL, "alibi"}, WANT_FALSE},
	{"falcon", {NULL, "parallel_attn"}, WANT_TRUE},
	{"mpt", {NULL, "attn_config.prefix_lm"}, WANT_FALSE},
	{"mpt", {NULL, "attn_config.rope"}, WANT_FALSE},
	{"mpt", {NULL, "attn_config.softmax_scale"}, WANT_ZERO},
	{"mpt", {NULL, "logit_scale"}, WANT_ZERO},
};

static enum rc check_conditions(const struct config_source *s)
{
	for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
		const struct condition *k = &conditions[i];
		bool want = k->want == WANT_TRUE, got = want;
		float number = 0;
		enum rc rc;

		if (k->arch && strcmp(k->arch, s->arch->name) != 0)
			continue;
		if (k->want == WANT_ZERO)
			rc = config_real(s, k->key, -1e9, 1e9, &number);
		else
			rc = config_bool(s, k->key, &got);
		if (rc != RC_OK)
			return rc;
		if (got != want)
			return config_bad(s, k->key, "got %s, which is not supported",
					  got ? "true" : "false");
		if (number != 0)
			return config_bad(s, k->key, "got %g, which is not supported",
					  (double)number);
	}
	if (s->f->config && cJSON_HasObjectItem(s->f->config, "quantization_config"))
		return config_bad(s, (struct key){NULL, "quantization_config"},
				  "quantised safetensors are not supported; GGUF is");
	return RC_OK;
}

static enum rc read_activation(const struct config_source *s, struct model_config *c)
{
	static const struct key key = {
		NULL, "hidden_activation|activation_function|hidden_act|activation|"
		      "ffn_config.ffn_act_fn.name"};
	static const struct {
		const char *name;
		enum activation act;
	} known[] = {
		{"silu", ACT_SILU},	      {"swish", ACT_SILU},
		{"gelu", ACT_GELU},	      {"gelu_new", ACT_GELU_TANH},
		{"gelu_fast", ACT_GELU_TANH}, {"gelu_pytorch_tanh", ACT_GELU_TANH},
		{"relu", ACT_RELU},
	};
	char name[KEY_BYTES] = "";
	enum rc rc = config_text(s, key, name);

	if (rc != RC_OK || !*name)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i].name, name) == 0) {
			c->act = known[i].act;
			return RC_OK;
		}
	return config_bad(s, key,
			  "got \"%s\", want silu, gelu, gelu_new, gelu_pytorch_tanh or relu", name);
}

/* ---- scaled rotations ---- */

/* The object of config.json that says how rotations are scaled, by path, or NULL. */
static const char *scaling_object(const struct config_source *s)
{
	static const char *const paths[] = {"rope_parameters.full_attention", "rope_parameters",
					    "rope_scaling"};
	struct place p;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (json_place(s->f->config, paths[i], &p))
			return paths[i];
	return NULL;
}

struct llama3_scaling {
	float factor, low, high, old_len;
};

/* Llama 3.1: long waves are stretched by the factor, short ones are kept, between the two it fades
 * from one to the other. Short and long are told by how many waves fit into the old context. */
static float *llama3_factors(const struct model_config *c, const struct llama3_scaling *l)
{
	float *out = xcalloc((size_t)c->n_rot / 2, sizeof(*out));

	for (int32_t i = 0; i < c->n_rot / 2; i++) {
		double freq = pow((double)c->rope_base, -2.0 * i / c->n_rot);
		double waves = (double)l->old_len * freq / (2 * M_PI);
		double keep = (waves - (double)l->low) / ((double)l->high - (double)l->low);

		keep = fmin(fmax(keep, 0), 1);
		out[i] = (float)(1 / ((1 - keep) / (double)l->factor + keep));
	}
	return out;
}

static enum rc json_scaling(const struct config_source *s, struct model_config *c, float **factors)
{
	const char *object = scaling_object(s);
	struct llama3_scaling l = {.low = 1, .high = 4};
	char type[KEY_BYTES] = "default", path[5][KEY_BYTES];
	static const char *const names[] = {"factor", "low_freq_factor", "high_freq_factor",
					    "original_max_position_embeddings", "rope_type"};
	float *const values[] = {&l.factor, &l.low, &l.high, &l.old_len};
	struct key type_key;
	char types[KEY_BYTES * 2];
	enum rc rc;

	if (!object)
		return RC_OK;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		snprintf(path[i], sizeof(path[i]), "%s.%s", object, names[i]);
	snprintf(types, sizeof(types), "%s|%s.type", path[4], object);
	type_key = (struct key){NULL, types};
	rc = config_text(s, type_key, type);
	for (size_t i = 0; i < ARRAY_LEN(values) && rc == RC_OK; i++)
		rc = config_real(s, (struct key){NULL, path[i]}, 1e-3, 1e9, values[i]);
	if (rc != RC_OK || strcmp(type, "default") == 0)
		return rc;
	if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
		return config_bad(s, type_key, "got \"%s\", want default, linear or llama3", type);
	if (l.factor == 0)
		return config_bad(s, (struct key){NULL, path[0]}, "missing");
	if (strcmp(type, "linear") == 0) {
		c->rope_scale = 1 / l.factor;
		return RC_OK;
	}
	if (l.old_len == 0)
		return config_bad(s, (struct key){NULL, path[3]}, "missing");
	if (l.high <= l.low)
		return config_bad(s, (struct key){NULL, path[2]},
				  "got %g, want more than low_freq_factor's %g", (double)l.high,
				  (double)l.low);
	*factors = llama3_factors(c, &l);
	return RC_OK;
}

/* GGUF has the factors of Llama 3.1 as a tensor. */
static enum rc gguf_scaling(const struct config_source *s, struct model_config *c)
{
	static const struct key type_key = {"rope.scaling.type", NULL};
	char type[KEY_BYTES] = "";
	float factor = 0;
	enum rc rc = config_text(s, type_key, type);

	if (rc == RC_OK && *type && strcmp(type, "none") != 0 && strcmp(type, "linear") != 0)
		return config_bad(s, type_key, "got \"%s\", want none or linear", type);
	if (rc == RC_OK)
		rc = config_real(s, (struct key){"rope.scaling.factor|rope.scale_linear", NULL}, 0,
				 1e6, &factor);
	if (factor > 0 && strcmp(type, "none") != 0)
		c->rope_scale = 1 / factor;
	return rc;
}

/* ---- all of it ---- */

static void copy_name(struct model_config *c, const char *text, size_t len)
{
	if (len >= sizeof(c->name))
		len = utf8_cut(text, sizeof(c->name) - 1);
	memcpy(c->name, text, len);
	c->name[len] = '\0';
}

/* GGUF's own name, else the file's; a safetensors file is called "model", so its folder's. */
static enum rc read_name(const struct config_source *s, struct model_config *c)
{
	struct meta_string name = {NULL, 0};
	const char *end = s->f->path + strlen(s->f->path), *from;
	enum rc rc = meta_get_string(s->f, "general.name", &name, s->e);

	if (rc != RC_OK)
		return rc;
	if (name.len > 0 && name.len < sizeof(c->name)) {
		copy_name(c, name.text, name.len);
		return RC_OK;
	}
	if (!is_gguf(s) && strrchr(s->f->path, '/'))
		end = strrchr(s->f->path, '/');
	for (from = end; from > s->f->path && from[-1] != '/';)
		from--;
	if (is_gguf(s) && end - from > 5 && strcmp(end - 5, ".gguf") == 0)
		end -= 5;
	copy_name(c, from, (size_t)(end - from));
	return RC_OK;
}

enum rc model_config_read(const struct config_source *s, struct model_config *c, float **factors)
{
	enum rc rc;

	*c = s->arch->base;
	*factors = NULL;
	c->arch = s->arch->name;
	if (!is_gguf(s))
		c->position = s->arch->hf_position;
	rc = read_fields(s, c);
	if (rc == RC_OK)
		rc = require_fields(s, c);
	if (rc != RC_OK)
		return rc;
	fill_in(c);
	rc = read_activation(s, c);
	if (rc == RC_OK)
		rc = check_conditions(s);
	if (rc == RC_OK && s->arch->finish)
		rc = s->arch->finish(s, c);
	if (c->rope_base_local == 0)
		c->rope_base_local = c->rope_base;
	if (rc == RC_OK)
		rc = check_config(s, c);
	if (rc == RC_OK)
		rc = read_name(s, c);
	if (rc == RC_OK)
		rc = is_gguf(s) ? gguf_scaling(s, c) : json_scaling(s, c, factors);
	return rc;
}
