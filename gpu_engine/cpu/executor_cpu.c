/*
 * Owns what a step on the processor takes: weights, pages, the pool, a sampler a thread of it.
 * Computing runs on the engine thread and the pool, all else on the loop thread. Must not know why
 * a request is in a plan.
 */
#include "executor_cpu.h"

#include <stdlib.h>

#include "base/die.h"
#include "forward.h"
#include "kv_pages.h"
#include "model/sampler.h"
#include "step/engine_thread.h"
#include "threads.h"
#include "weights.h"

struct executor {
	const struct cpu_config *config;
	struct weights *weights;
	struct kv_pages pages;
	struct threads *threads;
	struct forward *forward;
	struct sampler **sampler; /* one a thread */
	struct engine_thread *engine;

	const struct step_plan *plan; /* that is being computed */
	struct step_output *out;
};

/* ---- a step ---- */

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
		x->out->token[item] = sampler_pick(
			x->sampler[thread], r, logits, x->config->end_ids, x->config->n_end_ids,
			x->out->logprob + (size_t)item * LOGPROBS_AN_ITEM);
}

static const char *compute(void *arg, const struct step_plan *plan, struct step_output *out)
{
	struct executor *x = arg;

	x->plan = plan;
	x->out = out;
	return forward_step(x->forward, plan, &(struct logits_sink){use_logits, x});
}

static enum rc cpu_submit(struct executor *x, struct step_plan *plan)
{
	return engine_thread_submit(x->engine, plan);
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

static enum rc cpu_open(struct executor **out, const struct executor_opts *o, struct err *e)
{
	const struct cpu_config *c = o->config;
	struct executor *x;
	enum rc rc;

	x = xcalloc(1, sizeof(*x));
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
	x->engine = engine_thread_new(c->loop, o, &(struct engine_work){compute, x});
	*out = x;
	return RC_OK;
}

static void cpu_close(struct executor *x)
{
	if (!x)
		return;
	engine_thread_free(x->engine);
	for (int32_t i = 0; i < threads_count(x->threads); i++)
		sampler_free(x->sampler[i]);
	free(x->sampler);
	forward_free(x->forward);
	kv_pages_release(&x->pages);
	weights_free(x->weights);
	threads_free(x->threads);
	free(x);
}

const struct executor_type executor_cpu = {
	.name = "cpu",
	.logits = true,
	.open = cpu_open,
	.submit = cpu_submit,
	.close = cpu_close,
};
