/*
 * The executor that computes steps on this machine's processor: one row of the executor table. Owns
 * the repacked weights, the KV pages and a pool of threads; the event loop hands a plan over and
 * gets the result back by evloop_notify(), so submit() never waits for arithmetic.
 *
 * The same prompt and seed give the same tokens whatever else is in the batch, however the prompt
 * is cut into chunks, after a preemption and with a prefix hit: no result depends on M (engine.md
 * section 1, "Batch invariance").
 */
#ifndef CPU_EXECUTOR_CPU_H
#define CPU_EXECUTOR_CPU_H

#include <stdint.h>

#include "base/evloop.h"
#include "model/model.h"
#include "serve/executor.h"

/* executor_opts.config; must outlive the executor. */
struct cpu_config {
	struct evloop *loop; /* where done() is called */
	const struct model *model;
	const struct model_file *file;	/* its pages are given back as they are repacked */
	int32_t threads;		/* 0 = as many as there are cores */
	const char *isa;		/* "avx512", "avx2", "scalar"; NULL = the best there is */
	int32_t num_blocks, block_size; /* KV pages, as the policy's ledger counts them */
	int32_t max_tokens;		/* of a step: the policy's token budget */
	const int32_t *end_ids;		/* not sampled before min_tokens */
	int32_t n_end_ids;
};

extern const struct executor_type executor_cpu;

/* What it takes: weights as they are repacked, KV pages, scratch. Whether there is so much is asked
 * by whoever opens it, before. */
struct cpu_memory {
	int64_t weight_bytes, kv_bytes, scratch_bytes;
};
void cpu_memory_needed(const struct cpu_config *c, struct cpu_memory *out);

/* Bytes of KV a token takes over all layers. */
int64_t cpu_kv_token_bytes(const struct model_config *c);

#endif
