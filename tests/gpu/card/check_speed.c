/*
 * Owns the speed of the whole engine, scheduler included, for a model of the shape of Llama-3.1-8B
 * in three formats, and for the model that was given: decoding at 1, 8 and 64 answers side by side,
 * a prompt of 512. Beside each what the card's limits allow, and the goal. Must not know how it is
 * computed.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "check.h"
#include "gpu_engine/speed.h"
#include "sessions.h"
#include "shape_model.h"

#define GOAL_PREFILL  0.55
#define GOAL_BATCHES  0.70
#define SPARE_BYTES   (3LL << 30) /* of the card's memory, beside weights and a cache */
#define ENOUGH_LAYERS 2

static const struct model_shape llama_8b = {"Llama-3.1-8B", 32,	    4096, 32, 8, 128,
					    14336,	    128256, 8192};
static const struct model_shape tiny = {"tiny", 2, 64, 4, 2, 16, 96, 300, 512};

/* The goal at batch 1; what is quantised is expected to be a little further from the limit. */
static const struct {
	enum dtype dtype;
	double goal;
} formats[] = {{DTYPE_F16, 0.88}, {DTYPE_Q8_0, 0.85}, {DTYPE_Q4_1, 0.75}};

struct amounts {
	int32_t prompt, output, batch[3];
};
static const struct amounts usual = {512, 64, {1, 8, 64}}, few = {24, 3, {1, 2, 3}};

/* ---- what a step reads and computes ---- */

static int64_t matrix_bytes(const struct matrix *m)
{
	int64_t bytes = 0;

	for (int32_t i = 0; i < m->n_parts; i++) {
		const struct matrix_part *p = &m->part[i];

		bytes += (int64_t)dtype_bytes(p->t->dtype, p->rows * m->n_in);
	}
	return bytes;
}

/* All weights but the embedding, of which a row a token is looked up. */
static double step_bytes(const struct model *m)
{
	int64_t bytes = matrix_bytes(&m->head);

	for (int32_t i = 0; i < m->config.n_layers; i++) {
		const struct model_layer *l = &m->layer[i];

		bytes += matrix_bytes(&l->qkv) + matrix_bytes(&l->out) + matrix_bytes(&l->gate_up) +
			 matrix_bytes(&l->down);
	}
	return (double)bytes;
}

static double matrix_flops(const struct matrix *m)
{
	return 2.0 * m->n_in * m->n_out;
}

/* Of a prompt: the layers' products for every token, the head's for the last. */
static double prefill_flops(const struct model *m, int32_t n)
{
	double flops = 0;

	for (int32_t i = 0; i < m->config.n_layers; i++) {
		const struct model_layer *l = &m->layer[i];

		flops += matrix_flops(&l->qkv) + matrix_flops(&l->out) + matrix_flops(&l->gate_up) +
			 matrix_flops(&l->down);
		flops += 2.0 * m->config.n_heads * m->config.head_dim * n; /* attention's half */
	}
	return flops * n + matrix_flops(&m->head);
}

/* ---- measuring ---- */

struct job {
	const struct check *c;
	cJSON *phase;
	const struct bare_model *m;
	const char *format;
	double goal; /* at batch 1; 0 = none */
	const struct amounts *n;
};

static cJSON *new_row(const struct job *j, const char *what, const struct measured *m)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "what", what);
	json_add_number(o, "tokens_per_s", m->tokens_per_s);
	json_add_number(o, "step_s", m->step_s);
	cJSON_AddItemToArray(cJSON_GetObjectItem(j->phase, "rows"), o);
	cJSON_AddStringToObject(o, "model", j->m->name);
	cJSON_AddStringToObject(o, "format", j->format);
	json_add_number(o, "layers", j->m->model->config.n_layers);
	return o;
}

static void add_decode(const struct job *j, int32_t batch, const struct measured *m)
{
	const struct model *model = j->m->model;
	double context = SPEED_START_TOKENS + j->n->output / 2.0;
	double kv = (double)model_kv_token_bytes(&model->config) * context * batch;
	double bytes_per_s = (step_bytes(model) + kv) / m->step_s;
	char what[160];
	cJSON *o;

	snprintf(what, sizeof(what), "decode at batch %d", batch);
	o = new_row(j, what, m);
	add_bytes_per_s(j->c, o, bytes_per_s);
	if (j->goal > 0 && j->c->peak_bytes_per_s > 0) {
		snprintf(what, sizeof(what), "%s %s, decode at batch %d", j->m->name, j->format,
			 batch);
		add_goal(j->c, j->phase, what, bytes_per_s / j->c->peak_bytes_per_s,
			 batch == 1 ? j->goal : GOAL_BATCHES);
	}
}

static void add_prefill(const struct job *j, const struct measured *m)
{
	double flops = prefill_flops(j->m->model, j->n->prompt) / m->step_s, share = 0;
	char what[160];
	cJSON *o;

	snprintf(what, sizeof(what), "prefill of %d", j->n->prompt);
	o = new_row(j, what, m);
	json_add_number(o, "flops", flops);
	if (j->c->peak_flops > 0) {
		share = flops / j->c->peak_flops;
		json_add_number(o, "share_of_peak", share);
	}
	snprintf(what, sizeof(what), "%s %s, prefill of %d", j->m->name, j->format, j->n->prompt);
	if (j->goal > 0)
		add_goal(j->c, j->phase, what, share, GOAL_PREFILL);
}

static enum rc measure(const struct job *j, struct session *s, struct err *e)
{
	struct speed sp;
	struct measured m;
	enum rc rc = speed_open(&sp, s, e);

	if (rc == RC_OK) /* the first one warms up */
		rc = speed_prefill(&sp, j->n->prompt, &m, e);
	if (rc == RC_OK)
		rc = speed_prefill(&sp, j->n->prompt, &m, e);
	if (rc == RC_OK)
		add_prefill(j, &m);
	for (size_t i = 0; i < ARRAY_LEN(j->n->batch) && !rc; i++) {
		rc = speed_decode(&sp, j->n->batch[i], j->n->output, &m, e);
		if (rc == RC_OK && !(m.step_s > 0))
			rc = err_set(e, RC_LIMIT, "answers of %d tokens have no step in common",
				     j->n->output);
		if (rc == RC_OK)
			add_decode(j, j->n->batch[i], &m);
	}
	speed_close(&sp);
	return rc;
}

static void measure_model(const struct job *j)
{
	const struct bare_sizes sizes = {.max_len = 1024,
					 .max_seqs = 64,
					 .max_tokens = j->n->prompt > 64 ? j->n->prompt : 64};
	struct err e = {.rc = RC_OK};
	struct session s;

	log_info("speed: %s, %s", j->m->name, j->format);
	if (bare_session_open(&s, j->m, "cuda", &sizes, false, &e) != RC_OK ||
	    measure(j, &s, &e) != RC_OK)
		add_wrong(j->phase, "%s, %s: %s", j->m->name, j->format, e.msg);
	bare_session_close(&s);
}

/* ---- which models ---- */

/* So many layers as there is memory for: a layer's share of the limit does not depend on how many
 * there are. */
static int32_t layers_that_fit(const struct check *c, const struct model_shape *z, enum dtype dtype)
{
	double a_layer, head, n;
	double d = z->d_model, width = (z->n_heads + 2.0 * z->n_kv_heads) * z->head_dim;
	double bytes = (double)dtype_bytes(dtype, 256) / 256;

	a_layer = bytes * d * (width + (double)z->n_heads * z->head_dim + 3.0 * z->d_ff);
	head = 2 * bytes * d * z->n_vocab;
	n = ((double)(c->free_bytes - SPARE_BYTES) - head) / a_layer;
	return n < z->n_layers ? (int32_t)n : z->n_layers;
}

static void measure_shape(const struct check *c, cJSON *phase, size_t format)
{
	struct model_shape z = c->emulated ? tiny : llama_8b;
	enum dtype dtype = formats[format].dtype;
	struct err e = {.rc = RC_OK};
	struct shape_model shape;

	if (!c->emulated)
		z.n_layers = layers_that_fit(c, &z, dtype);
	if (z.n_layers < ENOUGH_LAYERS) {
		log_info("speed: no room for %s in %s", z.name, dtype_info(dtype)->name);
		return;
	}
	if (shape_model_init(&shape, &z, dtype, &e) != RC_OK)
		add_wrong(phase, "%s", e.msg);
	else
		measure_model(&(struct job){.c = c,
					    .phase = phase,
					    .m = &(struct bare_model){.name = z.name,
								      .model = &shape.model,
								      .file = &shape.file},
					    .format = dtype_info(dtype)->name,
					    .goal = formats[format].goal,
					    .n = c->emulated ? &few : &usual});
	shape_model_release(&shape);
}

static void measure_given(const struct check *c, cJSON *phase)
{
	struct session_options o = session_defaults;
	struct session s = {0};
	struct err e;

	o.model = c->model;
	if (session_open_file(&s, &o, &e) != RC_OK)
		add_wrong(phase, "%s", e.msg);
	else
		measure_model(&(struct job){.c = c,
					    .phase = phase,
					    .m = &(struct bare_model){.name = s.model->config.name,
								      .model = s.model,
								      .file = s.file},
					    .format = "as the file has it",
					    .n = c->emulated ? &few : &usual});
	session_close(&s);
}

cJSON *check_speed(const struct check *c)
{
	cJSON *phase = object_new();

	add_note(c, phase);
	cJSON_AddArrayToObject(phase, "rows");
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		measure_shape(c, phase, i);
	if (c->model)
		measure_given(c, phase);
	return phase;
}
