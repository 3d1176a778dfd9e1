/* The kernels as C++ on the SIMT runtime, for the tests. */
#include <stdio.h>

#include "bench.h"
#include "simt.h"

static const struct simt_options orders[] = {
	{0, SIMT_COPIES_LATE}, {1, SIMT_COPIES_EARLY}, {20, SIMT_COPIES_RANDOM}};
const int bench_n_orders = sizeof(orders) / sizeof(*orders);

static enum rc launch(struct gpu_queue *q, const struct gpu_launch *l, struct err *e)
{
	const char *name = gpu_kernel_info(l->kernel)->name;
	struct simt_arg args[GPU_MAX_ARGS];

	(void)q;
	for (int32_t i = 0; i < l->n_args; i++)
		args[i] = (struct simt_arg){l->args[i].at, l->args[i].bytes};
	if (simt_launch(name, (struct simt_dim){l->grid[0], l->grid[1], l->grid[2]},
			(struct simt_dim){l->block[0], l->block[1], l->block[2]}, l->shared_bytes,
			args, l->n_args) != 0)
		return err_set(e, RC_IO, "no kernel %s", name);
	return RC_OK;
}

struct gpu_queue bench_queue = {launch};

void bench_begin_order(int order)
{
	simt_options = orders[order];
}

const char *bench_order_name(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "seed %llu, copies %d", (unsigned long long)simt_options.seed,
		 (int)simt_options.copies);
	return name;
}

void *bench_alloc(size_t bytes)
{
	return simt_alloc(bytes);
}

void bench_free(void *p)
{
	simt_free(p);
}
