/*
 * The whole of an engine behind its front end: event loop, vLLM's policy, the CPU executor. Asks it
 * questions in token ids and waits for the answers. Included by one test program at a time;
 * everything is static.
 */
#ifndef TESTS_CPU_ENGINE_H
#define TESTS_CPU_ENGINE_H

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "cpu/executor_cpu.h"
#include "serve/engine_loop.h"
#include "serve/engine_stats.h"

struct cpu_engine {
	struct evloop *loop;
	struct cpu_config config;
	struct engine *engine;
};

/* Zero = a neutral default. */
struct cpu_engine_opts {
	int32_t threads;
	const char *isa;
	int32_t num_blocks, block_size; /* 512 of 16 tokens */
	int32_t max_tokens;		/* a step: 512 */
	int32_t max_seqs;		/* 64 */
	bool no_prefix_caching;
	int32_t pages; /* the executor's own count; num_blocks */
	const int32_t *end_ids;
	int32_t n_end_ids;
};

/* What came back for a request. */
struct answer {
	int32_t *token;
	struct token_logprob *logprob; /* as genreq.h has them */
	int32_t n, n_logprobs;
	int32_t *prompt;
	float *prompt_logprob; /* if it was wanted */
	enum genreq_finish finish;
};

static void answer_on_token(struct genreq *r, int32_t token, int64_t due_ns, bool more)
{
	(void)r;
	(void)token;
	(void)due_ns;
	(void)more;
}

static void answer_on_done(struct genreq *r)
{
	struct answer *a = r->owner;

	a->n = genreq_output_tokens(r);
	a->token = xcalloc((size_t)a->n + 1, sizeof(*a->token));
	memcpy(a->token, r->tokens + r->n_prompt, (size_t)a->n * sizeof(*a->token));
	a->logprob = r->logprob;
	a->n_logprobs = r->n_logprobs;
	r->logprob = NULL;
	a->prompt_logprob = r->prompt_logprob;
	r->prompt_logprob = NULL;
	a->prompt = xcalloc((size_t)r->n_prompt, sizeof(*a->prompt));
	memcpy(a->prompt, r->tokens, (size_t)r->n_prompt * sizeof(*a->prompt));
	a->finish = r->finish;
	genreq_free(r);
}

static const struct engine_sink answer_sink = {.on_token = answer_on_token,
					       .on_done = answer_on_done};

static inline void answer_release(struct answer *a)
{
	free(a->token);
	free(a->logprob);
	free(a->prompt_logprob);
	free(a->prompt);
	memset(a, 0, sizeof(*a));
}

static void cpu_engine_set(struct engine_config *c, const char *knob, double value)
{
	int i = sched_knob(c->policy, knob);

	CHECK(i >= 0);
	c->knobs[i] = value;
}

static enum rc cpu_engine_open(struct cpu_engine *g, const struct model *m,
			       const struct model_file *f, const struct cpu_engine_opts *o,
			       struct err *e)
{
	struct engine_config c = {.policy = &sched_vllm_v1, .eos_token = -1};
	int32_t blocks = o->num_blocks ? o->num_blocks : 512;
	enum rc rc;

	memset(g, 0, sizeof(*g));
	g->loop = evloop_new();
	g->config = (struct cpu_config){
		.loop = g->loop,
		.model = m,
		.file = f,
		.threads = o->threads,
		.isa = o->isa,
		.num_blocks = o->pages ? o->pages : blocks,
		.block_size = o->block_size ? o->block_size : 16,
		.max_tokens = o->max_tokens ? o->max_tokens : 512,
		.end_ids = o->end_ids,
		.n_end_ids = o->n_end_ids,
	};
	sched_defaults(c.policy, c.knobs);
	cpu_engine_set(&c, "max_num_seqs", o->max_seqs ? o->max_seqs : 64);
	cpu_engine_set(&c, "max_num_batched_tokens", g->config.max_tokens);
	cpu_engine_set(&c, "block_size", g->config.block_size);
	cpu_engine_set(&c, "num_gpu_blocks", blocks);
	cpu_engine_set(&c, "enable_prefix_caching", !o->no_prefix_caching);
	c.executor = &executor_cpu;
	c.executor_config = &g->config;
	rc = engine_new(&g->engine, g->loop, &c, e);
	if (rc)
		evloop_free(g->loop);
	return rc;
}

static inline void cpu_engine_close(struct cpu_engine *g)
{
	engine_free(g->engine);
	evloop_free(g->loop);
}

static inline void cpu_engine_ask(struct cpu_engine *g, struct genreq *r, struct answer *a)
{
	struct err e;

	r->owner = a;
	CHECK(engine_submit(g->engine, r, &answer_sink, evloop_now_ns(g->loop), &e) == RC_OK);
}

static inline void cpu_engine_wait(struct cpu_engine *g)
{
	while (engine_in_flight(g->engine) > 0)
		evloop_once(g->loop);
}

#endif
