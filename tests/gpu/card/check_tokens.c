/*
 * Owns the questions that card and processor are both asked. Every token of the card's greedy
 * answer must be, on the same prefix, within half a nat of what the processor likes best, and of
 * tiny models both must find it equally likely; and an answer must be the same to the last bit of
 * its logprobs whoever shares the batch, as far as launch.h promises. Must not know kernels.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../support/tiny_model.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "base/rng.h"
#include "check.h"
#include "gpu_engine/asking.h"
#include "sessions.h"

enum { N_QUESTIONS = 3, MAX_ANSWER = 6, N_LOGPROBS = 20, MAX_PROMPT = 64 };
#define NEAR_NATS 0.5

/* How far apart logprobs may be: tiny models are known, others are not. */
#define SAME_NATS_PLAIN	    0.02
#define SAME_NATS_QUANTISED 0.1

/* Past one page, on its edge, and a single token. */
static const int32_t question_tokens[N_QUESTIONS] = {18, 16, 1};

static const struct bare_sizes sizes = {.max_len = 512, .max_seqs = 64, .max_tokens = 2048};

/* Where a step takes a tenth of a second there are fewer. */
static int32_t answer_tokens(const struct check *c)
{
	return c->emulated ? 2 : MAX_ANSWER;
}

/* ---- asking ---- */

static struct genreq *ask(const int32_t *tokens, int32_t n, int32_t n_answer)
{
	struct genreq *r = genreq_new(0, "check", tokens, n, n_answer);

	r->ignore_eos = true;
	r->sampling = sampling_new();
	r->sampling->temperature = 0;
	r->sampling->n_logprobs = N_LOGPROBS;
	return r;
}

static void random_tokens(const struct model *m, uint64_t which, int32_t *tokens, int32_t n)
{
	struct rng rng;

	rng_init(&rng, 5, "question", which);
	for (int32_t k = 0; k < n; k++)
		tokens[k] = (int32_t)rng_below(&rng, (uint64_t)m->config.n_vocab);
}

static const struct token_logprob *told_of(const struct genreq *r, int32_t token)
{
	return r->logprob + (ptrdiff_t)token * (1 + N_LOGPROBS);
}

/* Puts them all to an engine at once. */
static enum rc answer(struct session *s, struct genreq **r, int n, struct err *e)
{
	struct asking asking;
	enum rc rc = asking_open(&asking, s, e);

	for (int i = 0; i < n && !rc; i++)
		rc = asking_submit(&asking, r[i], e);
	if (asking.engine)
		asking_wait(&asking);
	for (int i = 0; i < n && !rc; i++)
		if (r[i]->finish != FINISH_LENGTH)
			rc = err_set(e, RC_IO, "the engine has not answered");
	asking_close(&asking);
	return rc;
}

static enum rc answer_on(const char *device, const struct bare_model *m, struct genreq **r, int n,
			 struct err *e)
{
	struct session s;
	enum rc rc = bare_session_open(&s, m, device, &sizes, false, e);

	if (rc == RC_OK)
		rc = answer(&s, r, n, e);
	bare_session_close(&s);
	return rc;
}

/* ---- card and processor ---- */

struct comparison {
	int tokens, equal;
	double worst_nats;	 /* from the processor's best to the card's choice */
	double worst_difference; /* of the two logprobs of the card's choice */
};

/* ours: the card's token; told: the processor's on the prefix before it, and its likeliest. */
static void compare(struct comparison *c, const struct token_logprob *ours,
		    const struct token_logprob *told)
{
	double nats = INFINITY, difference = INFINITY;

	for (int i = 1; i <= N_LOGPROBS; i++) {
		if (told[i].token != ours->token)
			continue;
		nats = (double)told[0].logprob - told[i].logprob;
		difference = fabs((double)ours->logprob - told[i].logprob);
	}
	c->tokens++;
	c->equal += told[0].token == ours->token;
	c->worst_nats = fmax(c->worst_nats, nats);
	c->worst_difference = fmax(c->worst_difference, difference);
}

static enum rc compare_model(const struct bare_model *m, int32_t n_answer, struct comparison *c,
			     struct err *e)
{
	struct genreq *ours[N_QUESTIONS], *theirs[N_QUESTIONS * MAX_ANSWER] = {NULL};
	int n = 0;
	enum rc rc;

	for (int i = 0; i < N_QUESTIONS; i++) {
		int32_t tokens[MAX_PROMPT];

		random_tokens(m->model, (uint64_t)i, tokens, question_tokens[i]);
		ours[i] = ask(tokens, question_tokens[i], n_answer);
	}
	rc = answer_on("cuda", m, ours, N_QUESTIONS, e);
	for (int i = 0; i < N_QUESTIONS && !rc; i++)
		for (int k = 0; k < n_answer; k++)
			theirs[n++] = ask(ours[i]->tokens, ours[i]->n_prompt + k, 1);
	if (!rc)
		rc = answer_on("cpu", m, theirs, n, e);
	for (int i = 0; i < N_QUESTIONS && !rc; i++)
		for (int k = 0; k < n_answer; k++)
			compare(c, told_of(ours[i], k), told_of(theirs[i * n_answer + k], 0));
	for (int i = 0; i < N_QUESTIONS; i++)
		genreq_free(ours[i]);
	for (int i = 0; i < N_QUESTIONS * n_answer; i++)
		genreq_free(theirs[i]);
	return rc;
}

static void check_model(const struct check *check, cJSON *phase, const struct bare_model *m)
{
	cJSON *o = cJSON_CreateObject();
	struct comparison c = {0};
	struct err e = {.rc = RC_OK};

	log_info("tokens: %s", m->name);
	if (compare_model(m, answer_tokens(check), &c, &e) != RC_OK)
		add_wrong(phase, "%s: %s", m->name, e.msg);
	else if (!(c.worst_nats <= NEAR_NATS))
		add_wrong(phase, "%s: a token is %.3f nats less likely than the processor's best",
			  m->name, c.worst_nats);
	else if (!(c.worst_difference <= m->same_nats))
		add_wrong(phase, "%s: a logprob differs from the processor's by %.3f", m->name,
			  c.worst_difference);
	cJSON_AddStringToObject(o, "model", m->name);
	json_add_number(o, "tokens", c.tokens);
	json_add_number(o, "equal", c.equal);
	json_add_number(o, "worst_nats", c.worst_nats);
	json_add_number(o, "worst_difference", c.worst_difference);
	cJSON_AddItemToArray(cJSON_GetObjectItem(phase, "models"), o);
}

/* What is done with each model. */
typedef void (*checking)(const struct check *c, cJSON *phase, const struct bare_model *m);

static void check_tiny(const struct check *c, cJSON *phase, const char *arch, enum dtype dtype,
		       checking check)
{
	const struct tiny_params p = {.arch = arch, .dtype = dtype, .untied = true};
	double same = dtype_info(dtype)->block > 1 ? SAME_NATS_QUANTISED : SAME_NATS_PLAIN;
	char name[64];
	struct tiny_model t;

	snprintf(name, sizeof(name), "tiny %s, %s", arch, dtype_info(dtype)->name);
	tiny_model_open(&t, &p, MODEL_GGUF);
	check(c, phase, &(struct bare_model){name, t.model, t.file, same});
	tiny_model_close(&t);
}

/* -m, if it is given. */
static void check_given(const struct check *c, cJSON *phase, checking check)
{
	struct session_options o = session_defaults;
	struct session s = {0};
	struct err e;

	if (!c->model)
		return;
	o.model = c->model;
	if (session_open_file(&s, &o, &e) != RC_OK)
		add_wrong(phase, "%s", e.msg);
	else
		check(c, phase,
		      &(struct bare_model){s.model->config.name, s.model, s.file, INFINITY});
	session_close(&s);
}

cJSON *check_tokens(const struct check *c)
{
	static const char *const archs[] = {"llama", "qwen2", "qwen3",	"gemma3",
					    "gpt2",  "opt",   "falcon", "mpt"};
	static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_Q8_0, DTYPE_Q4_1, DTYPE_BF16};
	cJSON *phase = object_new();

	cJSON_AddArrayToObject(phase, "models");
	/* On the stand-in the formats take turns. */
	for (size_t i = 0; i < ARRAY_LEN(archs); i++)
		for (size_t k = 0; k < ARRAY_LEN(dtypes); k++)
			if (!c->emulated || k == i % ARRAY_LEN(dtypes))
				check_tiny(c, phase, archs[i], dtypes[k], check_model);
	check_given(c, phase, check_model);
	return phase;
}

/* ---- whoever shares the batch ---- */

#define MAX_BATCH     64
#define SHARED_PROMPT 9 /* tokens: more than a GEMV takes, alone already */

/* The answer to the same question, asked among n, all of the same length: of the last one. */
static struct genreq *answer_among(const struct check *c, const struct bare_model *m, int n,
				   struct err *e)
{
	struct genreq *r[MAX_BATCH];

	CHECK(n <= MAX_BATCH);
	for (int i = 0; i < n; i++) {
		int32_t tokens[SHARED_PROMPT];

		random_tokens(m->model, i == n - 1 ? 0 : (uint64_t)i + 1, tokens, SHARED_PROMPT);
		r[i] = ask(tokens, SHARED_PROMPT, answer_tokens(c));
	}
	answer_on("cuda", m, r, n, e);
	for (int i = 0; i < n - 1; i++)
		genreq_free(r[i]);
	return r[n - 1];
}

static bool same_answer(const struct genreq *a, const struct genreq *b)
{
	size_t n = (size_t)a->n_logprobs;

	return a->n_tokens == b->n_tokens && a->n_logprobs == b->n_logprobs &&
	       memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof(*a->tokens)) == 0 &&
	       memcmp(a->logprob, b->logprob, n * sizeof(*a->logprob)) == 0;
}

/* Steps of all these sizes have the same kernels, so the answers have the same bits. */
static void check_group(const struct check *c, cJSON *phase, const struct bare_model *m,
			const int *batch, int n)
{
	struct err e = {.rc = RC_OK};
	struct genreq *first = answer_among(c, m, batch[0], &e);
	cJSON *o = cJSON_CreateObject(), *sizes_told = cJSON_AddArrayToObject(o, "batches");

	log_info("invariance: %s, among %d and others", m->name, batch[0]);
	cJSON_AddStringToObject(o, "model", m->name);
	cJSON_AddItemToArray(sizes_told, cJSON_CreateNumber(batch[0]));
	for (int i = 1; i < n && !e.rc; i++) {
		struct genreq *other = answer_among(c, m, batch[i], &e);

		cJSON_AddItemToArray(sizes_told, cJSON_CreateNumber(batch[i]));
		if (!e.rc && !same_answer(first, other))
			add_wrong(phase, "%s: an answer among %d is not what it is among %d",
				  m->name, batch[i], batch[0]);
		genreq_free(other);
	}
	if (e.rc)
		add_wrong(phase, "%s: %s", m->name, e.msg);
	genreq_free(first);
	cJSON_AddItemToArray(cJSON_GetObjectItem(phase, "groups"), o);
}

/* Up to 8 rows are GEMVs, more are GEMMs, of 16 rows or 64. */
static void check_groups(const struct check *c, cJSON *phase, const struct bare_model *m)
{
	static const int few[] = {1, 8, 2, 5}, many[] = {9, 16, 33, 64};
	int n = c->emulated ? 2 : 4;

	check_group(c, phase, m, few, n);
	check_group(c, phase, m, many, n);
}

cJSON *check_invariance(const struct check *c)
{
	cJSON *phase = object_new();

	cJSON_AddArrayToObject(phase, "groups");
	check_tiny(c, phase, "llama", DTYPE_Q4_1, check_groups);
	if (!c->emulated) {
		check_tiny(c, phase, "llama", DTYPE_F16, check_groups);
		check_tiny(c, phase, "falcon", DTYPE_Q8_0, check_groups);
	}
	check_given(c, phase, check_groups);
	return phase;
}
