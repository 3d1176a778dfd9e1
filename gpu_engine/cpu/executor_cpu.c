/*
 * Owns the engine thread: it takes a plan, computes it with the pool, chooses the tokens and wakes
 * the loop. submit(), the answer and close() run on the loop thread, all else on the engine thread
 * or the pool. One step is in flight; between steps everybody sleeps. Must not know why a request
 * is in a plan.
 *
 * Who may touch what: the plan, its requests and the result's arrays are the engine thread's from
 * submit() until it says FINISHED, the loop thread's after that. `lock` covers the hand-over alone.
 */
#include "executor_cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "forward.h"
#include "kv_pages.h"
#include "model/sampler.h"
#include "threads.h"
#include "weights.h"

/* A request's chosen token and its alternatives, one a plan item. */
#define LOGPROBS_AN_ITEM (1 + SAMPLING_MAX_LOGPROBS)

enum step_state {
	STEP_NONE,     /* the engine thread waits for a plan, or for the end */
	STEP_GIVEN,    /* submitted: the engine thread computes it */
	STEP_FINISHED, /* the result stands; the loop thread is being woken */
};

struct executor {
	struct executor_opts opts;
	const struct cpu_config *config;
	struct weights *weights;
	struct kv_pages pages;
	struct threads *threads;
	struct forward *forward;
	struct sampler **sampler; /* one a thread */

	pthread_t engine;
	pthread_mutex_t lock;
	pthread_cond_t given; /* a plan, or the end */
	enum step_state state;
	bool quit;

	struct step_plan *plan;
	struct step_result result;
	int32_t *token; /* an item each */
	struct token_logprob *logprob;
	int32_t cap_items;
};

/* ---- the engine thread ---- */

/* On any thread of the pool: the logits behind a token are there. Behind all but the prompt's last
 * one it is known what came next. */
static void use_logits(void *arg, int32_t thread, int32_t item, int32_t position, float *logits)
{
	struct executor *x = arg;
	struct genreq *r = x->plan->item[item].req;

	if (position + 1 < r->n_prompt)
		r->prompt_logprob[position + 1] =
			sampler_logprob(x->sampler[thread], logits, r->tokens[position + 1]);
	else
		x->token[item] = sampler_pick(x->sampler[thread], r, logits, x->config->end_ids,
					      x->config->n_end_ids,
					      x->logprob + (size_t)item * LOGPROBS_AN_ITEM);
}

static void compute(struct executor *x)
{
	const struct logits_sink sink = {use_logits, x};

	for (int32_t i = 0; i < x->plan->n_items; i++)
		x->token[i] = -1;
	x->result = (struct step_result){.plan = x->plan, .token = x->token};
	x->result.msg = forward_step(x->forward, x->plan, &sink);
	x->result.failed = x->result.msg != NULL;
	x->result.end_ns = monotonic_now_ns();
}

static void *engine_main(void *arg)
{
	struct executor *x = arg;

	pthread_mutex_lock(&x->lock);
	for (;;) {
		while (x->state != STEP_GIVEN && !x->quit)
			pthread_cond_wait(&x->given, &x->lock);
		if (x->state != STEP_GIVEN)
			break;
		pthread_mutex_unlock(&x->lock);
		compute(x);
		pthread_mutex_lock(&x->lock);
		x->state = STEP_FINISHED;
		evloop_notify(x->config->loop);
	}
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

/* ---- the loop thread ---- */

static void append_logprobs(struct genreq *r, const struct token_logprob *from)
{
	if (genreq_wants_logprobs(r))
		memcpy(genreq_add_logprobs(r), from,
		       (size_t)(1 + r->sampling->n_logprobs) * sizeof(*from));
}

/* The loop was woken; perhaps by somebody else. */
static void on_notify(void *arg)
{
	struct executor *x = arg;
	bool finished;

	pthread_mutex_lock(&x->lock);
	finished = x->state == STEP_FINISHED;
	pthread_mutex_unlock(&x->lock);
	if (!finished)
		return;
	for (int32_t i = 0; i < x->plan->n_items && !x->result.failed; i++)
		if (x->plan->item[i].emits)
			append_logprobs(x->plan->item[i].req,
					x->logprob + (size_t)i * LOGPROBS_AN_ITEM);
	x->opts.done(&x->result, x->opts.arg);
	pthread_mutex_lock(&x->lock);
	x->state = STEP_NONE; /* only now: done() reads what the next step would write */
	pthread_mutex_unlock(&x->lock);
}

static void make_room(struct executor *x, int32_t n_items)
{
	if (n_items <= x->cap_items)
		return;
	x->cap_items = 2 * n_items;
	x->token = xreallocarray(x->token, (size_t)x->cap_items, sizeof(*x->token));
	x->logprob = xreallocarray(x->logprob, (size_t)x->cap_items * LOGPROBS_AN_ITEM,
				   sizeof(*x->logprob));
}

static enum rc cpu_submit(struct executor *x, struct step_plan *plan)
{
	enum rc rc = RC_LIMIT; /* a policy with many steps in flight: the pool computes one */

	for (int32_t i = 0; i < plan->n_items; i++) {
		const struct sampling *how = plan->item[i].req->sampling;

		CHECK(!how || how->n_logprobs <= SAMPLING_MAX_LOGPROBS);
	}
	pthread_mutex_lock(&x->lock);
	if (x->state == STEP_NONE) {
		make_room(x, plan->n_items);
		x->plan = plan;
		x->state = STEP_GIVEN;
		pthread_cond_signal(&x->given);
		rc = RC_OK;
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

/* ---- open and close ---- */

void cpu_memory_needed(const struct cpu_config *c, struct cpu_memory *out)
{
	int32_t threads = threads_default(c->threads);

	out->weight_bytes = weights_bytes(c->model);
	out->kv_bytes = kv_pages_bytes(&c->model->config, c->num_blocks, c->block_size);
	out->scratch_bytes = forward_bytes(&c->model->config, c->max_tokens) +
			     (int64_t)threads * c->model->config.n_vocab * 16;
}

int64_t cpu_kv_token_bytes(const struct model_config *c)
{
	return kv_pages_bytes(c, 1, 1);
}

static enum rc cpu_open(struct executor **out, const struct executor_opts *o, struct err *e)
{
	const struct cpu_config *c = o->config;
	struct executor *x;
	enum rc rc;

	x = xcalloc(1, sizeof(*x));
	x->opts = *o;
	x->config = c;
	x->threads = threads_new(threads_default(c->threads));
	rc = weights_load(&x->weights, c->model, c->file, c->isa, x->threads, e);
	if (rc) {
		threads_free(x->threads);
		free(x);
		return rc;
	}
	kv_pages_init(&x->pages, &c->model->config, c->num_blocks, c->block_size);
	x->forward = forward_new(x->weights, &x->pages, x->threads, c->max_tokens);
	x->sampler = xcalloc((size_t)threads_count(x->threads), sizeof(struct sampler *));
	for (int32_t i = 0; i < threads_count(x->threads); i++)
		x->sampler[i] = sampler_new(c->model->config.n_vocab);
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->given, NULL);
	evloop_on_notify(c->loop, on_notify, x);
	if (pthread_create(&x->engine, NULL, engine_main, x) != 0)
		die("the engine thread can not be started");
	*out = x;
	return RC_OK;
}

/* A step in flight is computed to its end; nobody hears of it. */
static void cpu_close(struct executor *x)
{
	if (!x)
		return;
	pthread_mutex_lock(&x->lock);
	x->quit = true;
	pthread_cond_signal(&x->given);
	pthread_mutex_unlock(&x->lock);
	pthread_join(x->engine, NULL);
	evloop_on_notify(x->config->loop, NULL, NULL);
	pthread_cond_destroy(&x->given);
	pthread_mutex_destroy(&x->lock);
	for (int32_t i = 0; i < threads_count(x->threads); i++)
		sampler_free(x->sampler[i]);
	free(x->sampler);
	forward_free(x->forward);
	kv_pages_release(&x->pages);
	weights_free(x->weights);
	threads_free(x->threads);
	free(x->token);
	free(x->logprob);
	free(x);
}

const struct executor_type executor_cpu = {
	.name = "cpu",
	.logits = true,
	.open = cpu_open,
	.submit = cpu_submit,
	.close = cpu_close,
};
