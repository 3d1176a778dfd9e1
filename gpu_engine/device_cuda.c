/*
 * Owns the sizing of the card's executor: whether there is a card, and how much of its memory the
 * weights and the KV pages take. Runs at start. Must not know how a step is computed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/log.h"
#include "cuda/executor_cuda.h"
#include "device.h"

/* Of the memory that is left beside the weights, so much is for KV pages unless told otherwise: the
 * rest is the driver's, for what grows. */
#define KV_SHARE 0.9

struct cuda_device {
	struct cuda_config config; /* the first: a plan's config is its device's */
	struct graph_counts graphs;
};

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
	struct cuda_device *d = xcalloc(1, sizeof(*d));
	struct cuda_config *c = &d->config;
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
		.graphs = w->graphs && strcmp(w->graphs, "off") == 0 ? NULL : &d->graphs,
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
	struct cuda_device *d = (struct cuda_device *)p->config;

	if (!d)
		return;
	if (d->graphs.steps > 0)
		log_info("%" PRId64 " of %" PRId64
			 " steps were one launch of a CUDA graph, %" PRId64 " were recorded",
			 d->graphs.launched, d->graphs.steps, d->graphs.recorded);
	cuda_close(d->config.cuda);
	free(d);
}

static double cuda_read_bytes_per_s(const struct device_plan *p)
{
	const struct cuda_config *c = p->config;

	return cuda_bytes_per_s(c->cuda);
}

const struct device device_cuda = {
	.name = "cuda",
	.help = "the first NVIDIA card, by its driver's libcuda.so.1 (or ENGINE_LIBCUDA)",
	.executor = &executor_cuda,
	.plan = cuda_plan,
	.release = cuda_release,
	.read_bytes_per_s = cuda_read_bytes_per_s,
};
