/*
 * How fast an engine answers in process, scheduler included: what `bench` prints, and gpu-check
 * holds against a card's limits. One thread, the session's.
 */
#ifndef GPU_ENGINE_SPEED_H
#define GPU_ENGINE_SPEED_H

#include <stdint.h>

#include "asking.h"
#include "base/rng.h"

struct speed {
	struct session *s;
	struct asking asking;
	struct rng rng;
};

struct measured {
	double tokens_per_s;
	double step_s; /* decode: of one step */
};

/* Starts the engine. speed_close() also after a failure. */
enum rc speed_open(struct speed *sp, struct session *s, struct err *e);
void speed_close(struct speed *sp);

/* A random prompt alone. */
enum rc speed_prefill(struct speed *sp, int32_t n_prompt, struct measured *out, struct err *e);

#define SPEED_START_TOKENS 16 /* of a prompt whose answer is what counts */

/* `batch` answers of n_output tokens side by side, between the first step that all share and the
 * last of them. */
enum rc speed_decode(struct speed *sp, int32_t batch, int32_t n_output, struct measured *out,
		     struct err *e);

#endif
