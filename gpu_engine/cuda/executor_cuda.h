/*
 * The executor that computes steps on a card: one row of the executor table. Owns the weights and
 * the KV pages there, and the engine thread that launches and waits, so submit() never blocks.
 *
 * The same prompt and seed give the same tokens as long as a step has the same kernels: a batch of
 * up to 8 rows and a larger one multiply differently (launch.h), and then a tie within the last
 * bits may fall the other way.
 */
#ifndef CUDA_EXECUTOR_CUDA_H
#define CUDA_EXECUTOR_CUDA_H

#include <stdint.h>

#include "base/evloop.h"
#include "driver.h"
#include "forward_cuda.h"
#include "model/model.h"
#include "serve/executor.h"

/* executor_opts.config; must outlive the executor. */
struct cuda_config {
	struct evloop *loop; /* where done() is called */
	const struct model *model;
	const struct model_file *file; /* its pages are given back as they are repacked */
	struct cuda *cuda;	       /* opened; nobody else's while the executor is open */
	struct cuda_limits limits;
	const int32_t *end_ids; /* not sampled before min_tokens */
	int32_t n_end_ids;
	struct graph_counts *graphs; /* what they did; NULL = no graphs */
};

extern const struct executor_type executor_cuda;

#endif
