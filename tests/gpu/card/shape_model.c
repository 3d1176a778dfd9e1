/*
 * Owns the memory that all tensors of a shape model lie in, each from its beginning on. Must not
 * know who computes with it.
 */
#include "shape_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"

#define PATTERN 65536 /* numbers; a multiple of every format's block */

enum which { QKV, OUT, GATE_UP, DOWN, EMBED, HEAD };

/* The memory is a file's, shared: whoever repacks weights gives back a file's pages, and these must
 * not turn into zeros by that. */
static void *map_shared(size_t bytes, struct err *e)
{
	int fd = memfd_create("weights", MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED) {
		err_set(e, RC_IO, "no memory for %zu bytes of weights", bytes);
		return NULL;
	}
	return p;
}

static void fill(void *to, size_t bytes, enum dtype dtype, float spread)
{
	size_t n = dtype_bytes(dtype, PATTERN);
	float *x = xcalloc(PATTERN, sizeof(*x));
	char *pattern = xcalloc(1, n);
	struct rng rng;

	rng_init(&rng, 1, "weights", 0);
	for (size_t i = 0; i < PATTERN; i++)
		x[i] = spread * (float)(2 * rng_unit(&rng) - 1);
	dtype_from_float(dtype, x, PATTERN, pattern);
	for (size_t at = 0; at < bytes; at += n)
		memcpy((char *)to + at, pattern, bytes - at < n ? bytes - at : n);
	free(pattern);
	free(x);
}

static void add_matrix(struct shape_model *s, enum which which, struct matrix *m, enum dtype dtype,
		       int32_t n_in, int32_t n_out)
{
	struct tensor *t = &s->matrix[which];

	*t = (struct tensor){.name = "weights",
			     .dtype = dtype,
			     .n_dims = 2,
			     .dim = {n_in, n_out, 1, 1},
			     .bytes = dtype_bytes(dtype, (int64_t)n_in * n_out)};
	*m = (struct matrix){.n_in = n_in, .n_out = n_out, .n_parts = 1};
	m->part[0] = (struct matrix_part){.t = t, .rows = n_out, .run = n_out, .stride = n_out};
	s->bytes = t->bytes > s->bytes ? t->bytes : s->bytes;
	s->model.weight_bytes += (int64_t)t->bytes;
}

static void make_config(struct model_config *c, const struct model_shape *z)
{
	*c = (struct model_config){.arch = "llama",
				   .n_layers = z->n_layers,
				   .d_model = z->d_model,
				   .n_heads = z->n_heads,
				   .n_kv_heads = z->n_kv_heads,
				   .head_dim = z->head_dim,
				   .d_ff = z->d_ff,
				   .n_vocab = z->n_vocab,
				   .max_len = z->max_len,
				   .norm = NORM_RMS,
				   .norm_eps = 1e-5F,
				   .gated = true,
				   .act = ACT_SILU,
				   .position = POSITION_ROPE_PAIRS,
				   .n_rot = z->head_dim,
				   .rope_base = 5e5F,
				   .rope_base_local = 5e5F,
				   .rope_scale = 1,
				   .embed_scale = 1,
				   .attn_scale = 1 / sqrtf((float)z->head_dim)};
	strncpy(c->name, z->name, sizeof(c->name) - 1);
}

static void add_layer(struct shape_model *s, struct model_layer *l, enum dtype dtype)
{
	const struct model_config *c = &s->model.config;
	int32_t width = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
	const struct vector ones = {.n = c->d_model, .n_parts = 1, .plus = 1, .part = {&s->vector}};

	add_matrix(s, QKV, &l->qkv, dtype, c->d_model, width + 2 * kv);
	add_matrix(s, OUT, &l->out, dtype, width, c->d_model);
	add_matrix(s, GATE_UP, &l->gate_up, dtype, c->d_model, 2 * c->d_ff);
	add_matrix(s, DOWN, &l->down, dtype, c->d_ff, c->d_model);
	l->attn_norm.weight = l->ffn_norm.weight = ones;
}

enum rc shape_model_init(struct shape_model *s, const struct model_shape *shape, enum dtype dtype,
			 struct err *e)
{
	struct model *m = &s->model;

	memset(s, 0, sizeof(*s));
	make_config(&m->config, shape);
	m->layer = xcalloc((size_t)shape->n_layers, sizeof(*m->layer));
	for (int32_t i = 0; i < shape->n_layers; i++)
		add_layer(s, &m->layer[i], dtype);
	add_matrix(s, EMBED, &m->embed, dtype, shape->d_model, shape->n_vocab);
	add_matrix(s, HEAD, &m->head, dtype, shape->d_model, shape->n_vocab);
	m->final_norm = m->layer[0].attn_norm;
	s->memory = map_shared(s->bytes, e);
	if (!s->memory)
		return e->rc;
	fill(s->memory, s->bytes, dtype, 1.7F / sqrtf((float)shape->d_model));
	for (size_t i = 0; i < ARRAY_LEN(s->matrix); i++)
		s->matrix[i].data = s->memory;
	s->vector = (struct tensor){.name = "norm",
				    .dtype = DTYPE_F32,
				    .n_dims = 1,
				    .dim = {shape->d_model, 1, 1, 1},
				    .data = xcalloc((size_t)shape->d_model, sizeof(float)),
				    .bytes = (size_t)shape->d_model * sizeof(float)};
	return RC_OK;
}

void shape_model_release(struct shape_model *s)
{
	if (s->memory)
		munmap(s->memory, s->bytes);
	free((void *)(uintptr_t)s->vector.data);
	free(s->model.layer);
	memset(s, 0, sizeof(*s));
}
