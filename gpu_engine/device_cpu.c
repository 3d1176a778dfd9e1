/*
 * Owns the sizing of the processor's executor: how much memory there is, how much of it the weights
 * and the KV pages take. Runs at start. Must not know how a step is computed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/die.h"
#include "cpu/executor_cpu.h"
#include "cpu/kernels.h"
#include "cpu/roof.h"
#include "device.h"

/* Of the memory that is left beside the weights, so much is for KV pages unless told otherwise. */
#define KV_SHARE 0.5

static int64_t available_bytes(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	int64_t kib = -1;
	char line[128];

	while (f && kib < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNd64, &kib) != 1)
			kib = -1;
	if (f)
		fclose(f);
	return kib < 0 ? INT64_MAX : kib * 1024;
}

static enum rc cpu_plan(struct device_plan *p, const struct device_wish *w, struct err *e)
{
	struct cpu_config *c = xcalloc(1, sizeof(*c));
	const struct kernels *kernels;
	struct cpu_memory need;
	enum rc rc;

	p->config = c;
	if (w->graphs)
		return err_set(e, RC_INPUT, "--device cpu: --graphs is about the card");
	rc = kernels_choose(&kernels, w->isa, e);
	if (rc)
		return rc;
	*c = (struct cpu_config){
		.loop = w->loop,
		.model = w->model,
		.file = w->file,
		.threads = w->threads > 0 ? w->threads : (int32_t)sysconf(_SC_NPROCESSORS_ONLN),
		.isa = kernels->name,
		.num_blocks = 1,
		.block_size = w->block_size,
		.max_tokens = w->max_tokens,
		.end_ids = w->end_ids,
		.n_end_ids = w->n_end_ids,
	};
	cpu_memory_needed(c, &need);
	p->weight_bytes = need.weight_bytes;
	p->scratch_bytes = need.scratch_bytes;
	p->free_bytes = available_bytes();
	rc = device_size_cache(p, w, KV_SHARE, e);
	c->num_blocks = p->num_blocks;
	snprintf(p->where, sizeof(p->where), "CPU, %d threads, %s", c->threads, kernels->name);
	return rc;
}

static void cpu_release(struct device_plan *p)
{
	free((void *)p->config);
}

static double cpu_read_bytes_per_s(const struct device_plan *p)
{
	const struct cpu_config *c = p->config;

	return cpu_roof_bytes_per_s(c->threads);
}

const struct device device_cpu = {
	.name = "cpu",
	.help = "this machine's processor: AVX-512, AVX2, or plain C",
	.executor = &executor_cpu,
	.plan = cpu_plan,
	.release = cpu_release,
	.read_bytes_per_s = cpu_read_bytes_per_s,
};
