/*
 * Owns the sizing of the card's executor: whether there is a card, and how much of its memory the
 * weights and the KV pages take. Runs at start. Must not know how a step is computed.
 */
#include <stdlib.h>

#include "base/die.h"
#include "cuda/executor_cuda.h"
#include "cuda/roof_cuda.h"
#include "device.h"

/* Of the memory that is left beside the weights, so much is for KV pages unless told otherwise: the
 * rest is the driver's, for what grows. */
#define KV_SHARE 0.9

static enum rc check_flags(const struct device_wish *w, struct err *e)
{
	if (w->isa)
		return err_set(e, RC_INPUT, "--device cuda: --isa is about the processor");
	if (w->threads > 0)
		return err_set(e, RC_INPUT, "--device cuda: --threads is about the processor");
	return RC_OK;
}

static enum rc cuda_plan(struct device_plan *p, const struct device_wish *w, struct err *e)
{
	struct cuda_config *c = xcalloc(1, sizeof(*c));
	enum rc rc;

	p->config = c;
	*c = (struct cuda_config){
		.loop = w->loop,
		.model = w->model,
		.file = w->file,
		.limits = {.max_len = w->max_len,
			   .max_seqs = w->max_seqs,
			   .max_tokens = w->max_tokens,
			   .block_size = w->block_size},
		.end_ids = w->end_ids,
		.n_end_ids = w->n_end_ids,
	};
	if ((rc = check_flags(w, e)) || (rc = cuda_forward_can(&w->model->config, e)) ||
	    (rc = cuda_open(&c->cuda, e)) || (rc = cuda_free_bytes(c->cuda, &p->free_bytes, e)))
		return rc;
	p->weight_bytes = cuda_weights_bytes(w->model);
	p->scratch_bytes = cuda_forward_bytes(w->model, &c->limits);
	cuda_describe(c->cuda, p->where, sizeof(p->where));
	rc = device_size_cache(p, w, KV_SHARE, e);
	if (rc)
		err_prefix(e, "%s: ", p->where);
	c->limits.num_blocks = p->num_blocks;
	return rc;
}

static void cuda_release(struct device_plan *p)
{
	const struct cuda_config *c = p->config;

	if (c)
		cuda_close(c->cuda);
	free((void *)c);
}

static double cuda_read_bytes_per_s(const struct device_plan *p)
{
	const struct cuda_config *c = p->config;

	return cuda_roof_bytes_per_s(c->cuda);
}

const struct device device_cuda = {
	.name = "cuda",
	.help = "the first NVIDIA card, by its driver's libcuda.so.1 (or ENGINE_LIBCUDA)",
	.executor = &executor_cuda,
	.plan = cuda_plan,
	.release = cuda_release,
	.read_bytes_per_s = cuda_read_bytes_per_s,
};
