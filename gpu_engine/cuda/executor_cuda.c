/*
 * Owns what a step on the card takes, from open to close. Launching runs on the engine thread, all
 * else on the loop thread. Must not know why a request is in a plan.
 */
#include "executor_cuda.h"

#include <stdlib.h>

#include "base/die.h"
#include "step/engine_thread.h"

struct executor {
	struct cuda_weights *weights;
	struct cuda_forward *forward;
	struct engine_thread *engine;
};

static const char *compute(void *arg, const struct step_plan *plan, struct step_output *out)
{
	struct executor *x = arg;

	return cuda_forward_step(x->forward, plan, out);
}

static enum rc cuda_submit(struct executor *x, struct step_plan *plan)
{
	return engine_thread_submit(x->engine, plan);
}

/* The engine thread goes first: what it computes reads all the rest. */
static void cuda_executor_close(struct executor *x)
{
	if (!x)
		return;
	engine_thread_free(x->engine);
	cuda_forward_free(x->forward);
	cuda_weights_free(x->weights);
	free(x);
}

static enum rc cuda_executor_open(struct executor **out, const struct executor_opts *o,
				  struct err *e)
{
	const struct cuda_config *c = o->config;
	struct executor *x = xcalloc(1, sizeof(*x));
	enum rc rc = cuda_attach(c->cuda, e);

	if (rc == RC_OK)
		rc = cuda_weights_load(&x->weights, c->model, c->file, c->cuda, e);
	if (rc == RC_OK)
		rc = cuda_forward_new(&x->forward, c->cuda, c->model, x->weights, &c->limits,
				      c->end_ids, c->n_end_ids, c->graphs, e);
	if (rc) {
		cuda_executor_close(x);
		return rc;
	}
	x->engine = engine_thread_new(c->loop, o, &(struct engine_work){compute, x});
	*out = x;
	return RC_OK;
}

const struct executor_type executor_cuda = {
	.name = "cuda",
	.logits = true,
	.open = cuda_executor_open,
	.submit = cuda_submit,
	.close = cuda_executor_close,
};
