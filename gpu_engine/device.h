/*
 * Where steps are computed: a table of machines, each with the executor that runs on it and what it
 * needs to know before it starts. Nobody else in this folder asks which one it is.
 */
#ifndef GPU_ENGINE_DEVICE_H
#define GPU_ENGINE_DEVICE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/evloop.h"
#include "model/model.h"
#include "serve/executor.h"

/* What the engine is to do; plain data, outlives the executor. */
struct device_wish {
	struct evloop *loop;
	const struct model *model;
	const struct model_file *file;
	int32_t threads;	      /* 0 = the device's default */
	const char *isa;	      /* of the processor; NULL = the best there is */
	const char *graphs;	      /* of the card: "on" or "off"; NULL = on */
	int32_t max_len;	      /* prompt + output tokens of a request */
	int32_t max_seqs, max_tokens; /* of a step */
	int32_t block_size;
	int64_t kv_bytes; /* 0 = what is enough for max_seqs full contexts, if memory allows */
	const int32_t *end_ids;
	int32_t n_end_ids;
	uint64_t seed;
};

struct device_plan {
	const struct device *device;
	const void *config; /* executor_opts.config; owned */
	int32_t num_blocks; /* the null block included */
	int64_t weight_bytes, kv_bytes, scratch_bytes, free_bytes;
	char where[128]; /* "CPU, 2 threads, avx512" */
};

struct device {
	const char *name; /* --device */
	const char *help;
	const struct executor_type *executor;

	/* RC_IO: there is no such device here; RC_INPUT: it cannot do what is wished, too little
	 * memory among it, with the numbers. auto then tries the next. What a plan without success
	 * holds is released by release() as well. */
	enum rc (*plan)(struct device_plan *out, const struct device_wish *w, struct err *e);
	void (*release)(struct device_plan *p);

	/* What the machine itself does, for /metrics: watched from watch() on (RC_IO: it can not
	 * be, which is no obstacle), told without blocking, until release(). Both NULL: nothing is
	 * told. */
	enum rc (*watch)(struct device_plan *p, struct err *e);
	void (*put_metrics)(const struct device_plan *p, struct buf *b);

	/* What its memory gives at best, measured now: the roof of decoding. */
	double (*read_bytes_per_s)(const struct device_plan *p);
};

extern const struct device *const devices[]; /* NULL-terminated; auto takes the first that works */
extern const struct device device_cuda, device_cpu;

/* By name, or "auto". */
enum rc device_plan(struct device_plan *out, const char *name, const struct device_wish *w,
		    struct err *e);
void device_plan_release(struct device_plan *p);

/* For rows of the table: how many pages fit, from p's weight_bytes, scratch_bytes and free_bytes;
 * fills num_blocks and kv_bytes. As --kv-cache asks; else full contexts for all, but at most
 * `share` of what is left. RC_INPUT with the numbers if that is less than one context. */
enum rc device_size_cache(struct device_plan *p, const struct device_wish *w, double share,
			  struct err *e);

#endif
