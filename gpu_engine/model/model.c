/*
 * Owns the binding of a file's tensors to the parts they play, with every shape checked. Runs once
 * at start; the result is constant and any thread may read from it. Must not know how a format lays
 * bytes down (dtype.c does) or what its keys mean (model_config.c does).
 *
 * No tensor is left over: one that nothing asked for means that the model is not what we take it
 * for.
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "base/check.h"
#include "base/die.h"

struct binder {
	const struct model_file *f;
	const struct arch *arch;
	const struct tensor_names *names;
	const char *prefix; /* the spelling this file uses */
	size_t prefix_len;
	const struct model_config *c;
	struct model *m;
	bool *used; /* by tensor */
	struct err *e;
};

/* ---- finding tensors ---- */

#define NAME_BYTES 256

/* "model.layers.3.self_attn.q_proj.weight". spelling ends at '|' or NUL. */
static void full_name(const struct binder *b, enum role role, const char *spelling, int32_t layer,
		      const char *kind, char out[NAME_BYTES])
{
	int n = (int)strcspn(spelling, "|");

	if (*spelling == '/')
		snprintf(out, NAME_BYTES, "%.*s.%s", n - 1, spelling + 1, kind);
	else if (role < ROLE_OF_A_LAYER)
		snprintf(out, NAME_BYTES, "%.*s%.*s.%s", (int)b->prefix_len, b->prefix, n, spelling,
			 kind);
	else
		snprintf(out, NAME_BYTES, "%.*s%s%d.%.*s.%s", (int)b->prefix_len, b->prefix,
			 b->names->layer, layer, n, spelling, kind);
}

static const struct tensor *find(const struct binder *b, enum role role, int32_t layer,
				 const char *kind)
{
	const char *spelling = b->names->role[role];
	char name[NAME_BYTES];

	while (spelling) {
		const struct tensor *t;

		full_name(b, role, spelling, layer, kind, name);
		t = model_file_tensor(b->f, name);
		if (t) {
			b->used[t - b->f->tensor] = true;
			return t;
		}
		spelling += strcspn(spelling, "|");
		spelling = *spelling ? spelling + 1 : NULL;
	}
	return NULL;
}

static enum rc missing(const struct binder *b, enum role role, int32_t layer, const char *kind)
{
	char name[NAME_BYTES] = "?";

	if (b->names->role[role])
		full_name(b, role, b->names->role[role], layer, kind, name);
	return err_set(b->e, RC_INPUT, "%s: tensor '%s' is missing", b->f->path, name);
}

static void print_shape(const struct tensor *t, char out[96])
{
	int n = 0;

	for (int i = 0; i < t->n_dims; i++)
		n += snprintf(out + n, 96 - (size_t)n, "%s%lld", i ? " x " : "",
			      (long long)t->dim[i]);
}

/* want_rows 0: a vector. */
static enum rc check_shape(const struct binder *b, const struct tensor *t, int64_t want_n,
			   int64_t want_rows)
{
	char got[96];

	if (t->dim[0] == want_n && t->dim[1] == (want_rows ? want_rows : 1) && t->dim[2] == 1 &&
	    t->dim[3] == 1)
		return RC_OK;
	print_shape(t, got);
	if (want_rows)
		return err_set(b->e, RC_INPUT, "%s: tensor '%s': got %s numbers, want %lld x %lld",
			       b->f->path, t->name, got, (long long)want_n, (long long)want_rows);
	return err_set(b->e, RC_INPUT, "%s: tensor '%s': got %s numbers, want %lld", b->f->path,
		       t->name, got, (long long)want_n);
}

/* ---- vectors and norms ---- */

static enum rc add_vector_part(const struct binder *b, struct vector *v, const struct tensor *t,
			       int64_t n)
{
	enum rc rc = check_shape(b, t, n, 0);

	v->part[v->n_parts++] = t;
	v->n += (int32_t)n;
	return rc;
}

/* A vector in one part. */
static enum rc bind_vector(const struct binder *b, struct vector *v, enum role role, int32_t layer,
			   const char *kind, bool required, int64_t n)
{
	const struct tensor *t = find(b, role, layer, kind);

	if (t)
		return add_vector_part(b, v, t, n);
	return required ? missing(b, role, layer, kind) : RC_OK;
}

static enum rc bind_norm(const struct binder *b, struct norm *norm, enum role role, int32_t layer,
			 bool required, int64_t n)
{
	bool needs_bias;
	enum rc rc = bind_vector(b, &norm->weight, role, layer, "weight", required, n);

	if (rc != RC_OK || norm->weight.n_parts == 0)
		return rc;
	if (b->f->format == MODEL_SAFETENSORS)
		norm->weight.plus = b->arch->hf_norm_plus;
	needs_bias = (b->arch->biases & BIAS_NORM) != 0;
	return bind_vector(b, &norm->bias, role, layer, "bias", needs_bias, n);
}

/* Over a head, or over a row of all heads: the tensor says which. */
static enum rc bind_head_norm(const struct binder *b, struct norm *norm, enum role role,
			      int32_t layer, int32_t n_heads)
{
	const struct tensor *t;
	int64_t n = b->c->head_dim;

	if (!b->arch->qk_norm && !b->arch->may_qk_norm)
		return RC_OK;
	t = find(b, role, layer, "weight");
	if (t && t->dim[0] == n * n_heads)
		n *= n_heads;
	return bind_norm(b, norm, role, layer, b->arch->qk_norm, n);
}

/* ---- matrices ---- */

static enum rc add_part(const struct binder *b, struct matrix *m, const struct tensor *t,
			struct matrix_part part)
{
	part.t = t;
	if (part.run == 0)
		part.run = part.stride = part.rows;
	m->part[m->n_parts++] = part;
	m->n_out += (int32_t)part.rows;
	if (part.transposed && dtype_info(t->dtype)->block != 1)
		return err_set(b->e, RC_INPUT, "%s: tensor '%s': got %s, want F32, F16 or BF16",
			       b->f->path, t->name, dtype_info(t->dtype)->name);
	return RC_OK;
}

/* Appends a whole tensor of `rows` rows, and its bias to v if it has one. */
static enum rc bind_rows(const struct binder *b, struct matrix *m, struct vector *v, enum role role,
			 int32_t layer, int64_t rows)
{
	const struct tensor *t = find(b, role, layer, "weight");
	bool transposed = b->arch->hf_transposed && b->f->format == MODEL_SAFETENSORS;
	unsigned kind = role >= ROLE_QKV && role <= ROLE_V ? BIAS_QKV : BIAS_REST;
	enum rc rc;

	if (!t)
		return missing(b, role, layer, "weight");
	rc = transposed ? check_shape(b, t, rows, m->n_in) : check_shape(b, t, m->n_in, rows);
	if (rc == RC_OK)
		rc = add_part(b, m, t,
			      (struct matrix_part){.rows = rows, .transposed = transposed});
	if (rc != RC_OK)
		return rc;
	return bind_vector(b, v, role, layer, "bias", (b->arch->biases & kind) != 0, rows);
}

/* The fused tensor whose rows lie group after group: the q of its heads, one k, one v. */
static enum rc bind_grouped(const struct binder *b, struct model_layer *l, const struct tensor *t)
{
	int64_t dim = b->c->head_dim, n_kv = b->c->n_kv_heads;
	int64_t q_run = b->c->n_heads / n_kv * dim, stride = q_run + 2 * dim;
	const struct matrix_part parts[] = {
		{.row = 0, .rows = n_kv * q_run, .run = q_run, .stride = stride},
		{.row = q_run, .rows = n_kv * dim, .run = dim, .stride = stride},
		{.row = q_run + dim, .rows = n_kv * dim, .run = dim, .stride = stride},
	};
	enum rc rc = check_shape(b, t, l->qkv.n_in, n_kv * stride);

	for (size_t i = 0; i < ARRAY_LEN(parts) && rc == RC_OK; i++)
		rc = add_part(b, &l->qkv, t, parts[i]);
	return rc;
}

static enum rc bind_qkv(const struct binder *b, struct model_layer *l, int32_t layer)
{
	const struct model_config *c = b->c;
	int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
	const struct tensor *fused = find(b, ROLE_QKV, layer, "weight");
	enum rc rc;

	l->qkv.n_in = c->d_model;
	if (fused && b->arch->hf_grouped && b->f->format == MODEL_SAFETENSORS)
		return bind_grouped(b, l, fused);
	if (fused || !b->names->role[ROLE_Q])
		return bind_rows(b, &l->qkv, &l->qkv_bias, ROLE_QKV, layer, q + 2 * kv);
	rc = bind_rows(b, &l->qkv, &l->qkv_bias, ROLE_Q, layer, q);
	if (rc == RC_OK)
		rc = bind_rows(b, &l->qkv, &l->qkv_bias, ROLE_K, layer, kv);
	if (rc == RC_OK)
		rc = bind_rows(b, &l->qkv, &l->qkv_bias, ROLE_V, layer, kv);
	if (rc == RC_OK && l->qkv_bias.n_parts != 0 && l->qkv_bias.n_parts != l->qkv.n_parts)
		rc = err_set(b->e, RC_INPUT, "%s: layer %d: some of q, k, v have a bias, not all",
			     b->f->path, layer);
	return rc;
}

static enum rc bind_ffn(const struct binder *b, struct model_layer *l, int32_t layer)
{
	const struct model_config *c = b->c;
	enum rc rc = RC_OK;

	l->gate_up.n_in = c->d_model;
	l->down.n_in = c->d_ff;
	if (c->gated)
		rc = bind_rows(b, &l->gate_up, &l->gate_up_bias, ROLE_GATE, layer, c->d_ff);
	if (rc == RC_OK)
		rc = bind_rows(b, &l->gate_up, &l->gate_up_bias, ROLE_UP, layer, c->d_ff);
	if (rc == RC_OK && l->gate_up_bias.n_parts != 0 &&
	    l->gate_up_bias.n_parts != l->gate_up.n_parts)
		rc = err_set(b->e, RC_INPUT,
			     "%s: layer %d: one of gate and up has a bias, not both", b->f->path,
			     layer);
	if (rc == RC_OK)
		rc = bind_rows(b, &l->down, &l->down_bias, ROLE_DOWN, layer, c->d_model);
	return rc;
}

static enum rc bind_layer(const struct binder *b, struct model_layer *l, int32_t layer)
{
	const struct model_config *c = b->c;
	bool post = b->arch->post_norms;
	enum rc rc = bind_norm(b, &l->attn_norm, ROLE_ATTN_NORM, layer, true, c->d_model);

	if (rc == RC_OK && c->parallel)
		rc = bind_norm(b, &l->attn_norm_2, ROLE_ATTN_NORM_2, layer, false, c->d_model);
	if (l->attn_norm_2.weight.part[0] == l->attn_norm.weight.part[0])
		l->attn_norm_2 = (struct norm){0}; /* one norm, found by either name */
	if (rc == RC_OK)
		rc = bind_qkv(b, l, layer);
	if (rc == RC_OK)
		rc = bind_head_norm(b, &l->q_norm, ROLE_Q_NORM, layer, c->n_heads);
	if (rc == RC_OK)
		rc = bind_head_norm(b, &l->k_norm, ROLE_K_NORM, layer, c->n_kv_heads);
	l->out.n_in = c->n_heads * c->head_dim;
	if (rc == RC_OK)
		rc = bind_rows(b, &l->out, &l->out_bias, ROLE_OUT, layer, c->d_model);
	if (rc == RC_OK && post)
		rc = bind_norm(b, &l->attn_post_norm, ROLE_ATTN_POST_NORM, layer, true, c->d_model);
	if (rc == RC_OK && !c->parallel)
		rc = bind_norm(b, &l->ffn_norm, ROLE_FFN_NORM, layer, true, c->d_model);
	if (rc == RC_OK)
		rc = bind_ffn(b, l, layer);
	if (rc == RC_OK && post)
		rc = bind_norm(b, &l->ffn_post_norm, ROLE_FFN_POST_NORM, layer, true, c->d_model);
	return rc;
}

/* ---- what is there once ---- */

/* A table of rows that are looked up; its rows are counted, never transposed. */
static enum rc bind_table(const struct binder *b, struct matrix *m, enum role role, int64_t rows)
{
	const struct tensor *t = find(b, role, 0, "weight");
	enum rc rc;

	if (!t)
		return missing(b, role, 0, "weight");
	m->n_in = b->c->d_model;
	rc = check_shape(b, t, m->n_in, rows);
	return rc == RC_OK ? add_part(b, m, t, (struct matrix_part){.rows = rows}) : rc;
}

/* The vocabulary's size is the embedding's, whether or not a key repeats it. */
static enum rc bind_embed(struct binder *b)
{
	struct model_config *c = &b->m->config;
	const struct tensor *t = find(b, ROLE_EMBED, 0, "weight");

	if (t && c->n_vocab == 0 && t->dim[1] <= INT32_MAX)
		c->n_vocab = (int32_t)t->dim[1];
	return bind_table(b, &b->m->embed, ROLE_EMBED, c->n_vocab);
}

/* One that is not there is the embedding once more; config.json may say that it has to be there. */
static enum rc bind_head(const struct binder *b)
{
	struct model_config *c = &b->m->config;
	const struct tensor *t = find(b, ROLE_HEAD, 0, "weight");
	bool tied = !t;
	struct config_source s = {b->f, b->arch, b->e};
	enum rc rc = config_bool(&s, (struct key){NULL, "tie_word_embeddings"}, &tied);

	if (rc != RC_OK)
		return rc;
	c->tied = tied;
	if (tied)
		b->m->head = b->m->embed;
	else
		rc = bind_table(b, &b->m->head, ROLE_HEAD, c->n_vocab);
	if (rc == RC_OK)
		rc = bind_vector(b, &b->m->head_bias, ROLE_HEAD, 0, "bias", false, c->n_vocab);
	return rc;
}

/* factors: what config.json asked for, or NULL; GGUF has them as a tensor. */
static enum rc bind_rope_factors(const struct binder *b, float *factors)
{
	const struct tensor *t = model_file_tensor(b->f, "rope_freqs.weight");
	struct model *m = b->m;
	int32_t n = b->c->n_rot / 2;

	if (factors) {
		m->rope_tensor = (struct tensor){.name = "rope_scaling",
						 .dtype = DTYPE_F32,
						 .n_dims = 1,
						 .dim = {n, 1, 1, 1},
						 .data = factors,
						 .bytes = (size_t)n * sizeof(float)};
		t = &m->rope_tensor;
	} else if (t && n > 0) {
		b->used[t - b->f->tensor] = true;
	} else {
		return RC_OK;
	}
	return add_vector_part(b, &m->rope_factors, t, n);
}

static enum rc bind_once(struct binder *b, float *factors)
{
	const struct model_config *c = b->c;
	enum rc rc = bind_embed(b);

	if (rc == RC_OK && c->position == POSITION_LEARNED)
		rc = bind_table(b, &b->m->positions, ROLE_POSITIONS,
				(int64_t)c->max_len + c->position_offset);
	if (rc == RC_OK)
		rc = bind_rope_factors(b, factors);
	if (rc == RC_OK)
		rc = bind_norm(b, &b->m->final_norm, ROLE_FINAL_NORM, 0, true, c->d_model);
	if (rc == RC_OK)
		rc = bind_head(b);
	return rc;
}

/* What frameworks save along with a model and nobody needs. */
static bool is_leftover(const struct model_file *f, const char *name)
{
	static const char *const ends[] = {".rotary_emb.inv_freq", ".attn.bias",
					   ".attn.masked_bias"};

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t n = strlen(name), k = strlen(ends[i]);

		if (f->format == MODEL_SAFETENSORS && n > k && strcmp(name + n - k, ends[i]) == 0)
			return true;
	}
	return false;
}

static enum rc check_all_used(const struct binder *b)
{
	for (int32_t i = 0; i < b->f->n_tensors; i++) {
		const struct tensor *t = &b->f->tensor[i];

		if (b->used[i]) {
			b->m->weight_bytes += (int64_t)t->bytes;
			b->m->n_parameters += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
		} else if (!is_leftover(b->f, t->name)) {
			return err_set(b->e, RC_INPUT,
				       "%s: tensor '%s' has no place in a model of architecture %s",
				       b->f->path, t->name, b->arch->name);
		}
	}
	return RC_OK;
}

/* ---- loading ---- */

static enum rc find_arch(const struct model_file *f, const struct arch **out, struct err *e)
{
	bool gguf = f->format == MODEL_GGUF;
	const char *key = gguf ? "general.architecture" : "model_type";
	const char *place = gguf ? f->path : "config.json", *type = NULL;
	struct meta_string name = {NULL, 0};
	char known[256];
	enum rc rc;

	if (gguf) {
		rc = meta_get_string(f, key, &name, e);
	} else {
		rc = json_get_str(f->config, "config.json", key, &type, e);
		name = (struct meta_string){type, type ? strlen(type) : 0};
	}
	if (rc != RC_OK)
		return rc;
	if (!name.text)
		return err_set(e, RC_INPUT, "%s: key '%s' is missing", place, key);
	*out = arch_find(f->format, name.text, name.len);
	if (*out)
		return RC_OK;
	err_set(e, RC_INPUT, "%s: key '%s': got \"%.*s\", want one of %s", place, key,
		(int)(name.len < 64 ? name.len : 64), name.text,
		arch_list(f->format, known, sizeof(known)));
	return RC_INPUT;
}

/* The first spelling of the prefix with which there is an embedding. */
static void choose_prefix(struct binder *b)
{
	for (const char *p = b->names->prefix;; p++) {
		b->prefix = p;
		b->prefix_len = strcspn(p, "|");
		p += b->prefix_len;
		if (find(b, ROLE_EMBED, 0, "weight") || *p == '\0')
			return;
	}
}

static enum rc bind_all(struct binder *b, float *factors)
{
	enum rc rc;

	choose_prefix(b);
	rc = bind_once(b, factors);
	for (int32_t il = 0; il < b->c->n_layers && rc == RC_OK; il++)
		rc = bind_layer(b, &b->m->layer[il], il);
	return rc == RC_OK ? check_all_used(b) : rc;
}

enum rc model_load(struct model **out, const struct model_file *f, struct err *e)
{
	struct model *m = xcalloc(1, sizeof(*m));
	struct binder b = {.f = f, .c = &m->config, .m = m, .e = e};
	float *factors = NULL;
	enum rc rc = find_arch(f, &b.arch, e);

	if (rc == RC_OK)
		rc = model_config_read(&(struct config_source){f, b.arch, e}, &m->config, &factors);
	if (rc == RC_OK) {
		CHECK(b.arch);
		b.names = f->format == MODEL_GGUF ? b.arch->gguf : b.arch->hf;
		b.used = xcalloc((size_t)f->n_tensors + 1, sizeof(*b.used));
		m->layer = xcalloc((size_t)m->config.n_layers, sizeof(*m->layer));
		rc = bind_all(&b, factors);
		free(b.used);
	}
	if (rc != RC_OK) {
		if (m->rope_tensor.data != factors)
			free(factors);
		model_free(m);
		return rc;
	}
	*out = m;
	return RC_OK;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	free((void *)(uintptr_t)m->rope_tensor.data);
	free(m->layer);
	free(m);
}

/* ---- reading ---- */

void vector_read(const struct vector *v, float *out)
{
	for (int32_t i = 0; i < v->n_parts; i++) {
		const struct tensor *t = v->part[i];

		dtype_to_float(t->dtype, t->data, t->dim[0], out);
		for (int64_t j = 0; v->plus != 0 && j < t->dim[0]; j++)
			out[j] += v->plus;
		out += t->dim[0];
	}
}

void matrix_read_row(const struct matrix *m, int64_t row, float *out)
{
	const struct matrix_part *p = m->part;
	const struct tensor *t;
	const uint8_t *at;
	size_t width;

	CHECK(row >= 0 && row < m->n_out);
	for (; row >= p->rows; p++)
		row -= p->rows;
	t = p->t;
	row = matrix_part_row(p, row);
	if (!p->transposed) {
		at = (const uint8_t *)t->data + (size_t)row * dtype_bytes(t->dtype, m->n_in);
		dtype_to_float(t->dtype, at, m->n_in, out);
		return;
	}
	width = (size_t)dtype_info(t->dtype)->block_bytes;
	at = (const uint8_t *)t->data + (size_t)row * width;
	for (int32_t i = 0; i < m->n_in; i++)
		dtype_to_float(t->dtype, at + (size_t)i * (size_t)t->dim[0] * width, 1, out + i);
}
