/*
 * The thread behind an executor that computes: it takes a plan from the event loop, has it computed
 * by a function of the executor's, and hands the result back by evloop_notify(), so submit() never
 * waits for arithmetic. One step is in flight; between steps the thread sleeps.
 */
#ifndef STEP_ENGINE_THREAD_H
#define STEP_ENGINE_THREAD_H

#include "base/evloop.h"
#include "serve/executor.h"

/* A chosen token and its alternatives. */
#define LOGPROBS_AN_ITEM (1 + SAMPLING_MAX_LOGPROBS)

/* Where an executor leaves what an item yields; arrays of n_items, meant as far as items emit. */
struct step_output {
	int32_t *token;
	struct token_logprob *logprob; /* LOGPROBS_AN_ITEM an item; as far as it asks for them */
};

struct engine_work {
	/* On the engine thread. NULL, or why the step is lost: a text that lives until the next
	 * call. */
	const char *(*compute)(void *arg, const struct step_plan *plan, struct step_output *out);
	void *arg;
};

struct engine_thread;

/* loop and what work needs outlive it. The thread is running when this returns. */
struct engine_thread *engine_thread_new(struct evloop *loop, const struct executor_opts *o,
					const struct engine_work *work);

/* As executor_type.submit. RC_LIMIT: a step is in flight. */
enum rc engine_thread_submit(struct engine_thread *t, struct step_plan *plan);

/* A step in flight is computed to its end; nobody hears of it. NULL legal. */
void engine_thread_free(struct engine_thread *t);

#endif
