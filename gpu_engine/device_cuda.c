/*
 * Owns the sizing of the card's executor: whether there is a card, and how much of its memory the
 * weights and the KV pages take; and the watch over what the card does. Runs at start, but for
 * put_metrics(). Must not know how a step is computed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/nvml.h"
#include "cuda/executor_cuda.h"
#include "cuda/roof_cuda.h"
#include "device.h"
#include "serve/prom.h"

/* Of the memory that is left beside the weights, so much is for KV pages unless told otherwise: the
 * rest is the driver's, for what grows. */
#define KV_SHARE 0.9

#define NVML_ENV	  "ENGINE_LIBNVML"
#define WATCH_INTERVAL_NS NS_PER_S

struct machine {
	struct cuda_config config; /* the first: a plan's config is its machine's */
	struct graph_counts graphs;
	struct nvml_watch *watch;
};

static struct machine *machine_of(const struct device_plan *p)
{
	return (struct machine *)(uintptr_t)p->config;
}

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
	struct machine *machine = xcalloc(1, sizeof(*machine));
	struct cuda_config *c = &machine->config;
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
		.graphs = w->graphs && strcmp(w->graphs, "off") == 0 ? NULL : &machine->graphs,
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
	struct machine *machine = machine_of(p);

	if (!machine)
		return;
	if (machine->graphs.steps > 0)
		log_info("%" PRId64 " of %" PRId64
			 " steps were one launch of a CUDA graph, %" PRId64 " were recorded",
			 machine->graphs.launched, machine->graphs.steps, machine->graphs.recorded);
	nvml_watch_free(machine->watch);
	cuda_close(machine->config.cuda);
	free(machine);
}

/* NVML counts cards its own way, so ours is found by its place on the bus. */
static enum rc cuda_watch(struct device_plan *p, struct err *e)
{
	struct machine *machine = machine_of(p);
	struct cuda_facts facts;
	enum rc rc = cuda_facts(machine->config.cuda, &facts, e);

	return rc ? rc
		  : nvml_watch_new(&machine->watch, getenv(NVML_ENV), facts.bus_id,
				   WATCH_INTERVAL_NS, e);
}

static void put_gauge(struct buf *b, const char *name, const char *help, double value)
{
	if (isnan(value))
		return;
	prom_family(b, name, "gauge", help);
	prom_sample(b, name, "", value);
}

static void cuda_put_metrics(const struct device_plan *p, struct buf *b)
{
	struct nvml_sample sample;

	nvml_watch_newest(machine_of(p)->watch, &sample);
	put_gauge(b, "gpu_engine_card_memory_bytes", "Memory of the card in use, by whomever.",
		  sample.card[0].memory_bytes);
	put_gauge(b, "gpu_engine_card_utilisation",
		  "Share of the time in which the card computed something.",
		  sample.card[0].utilisation);
	put_gauge(b, "gpu_engine_card_power_watts", "What the card draws.", sample.card[0].power_w);
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
	.watch = cuda_watch,
	.put_metrics = cuda_put_metrics,
	.read_bytes_per_s = cuda_read_bytes_per_s,
};
