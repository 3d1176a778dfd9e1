/*
 * The transformer block, computed for a flat batch: every token of a plan, with its position and
 * its sequence's pages, whether a prompt's chunk or a single step further. The number of tokens is
 * a number of a run, not a kind: decoding and prefill take the same path, and what comes out for a
 * token is the same bits whatever else is in the batch and however many threads there are.
 */
#ifndef CPU_FORWARD_H
#define CPU_FORWARD_H

#include <stdint.h>

#include "kv_pages.h"
#include "serve/executor.h"
#include "threads.h"
#include "weights.h"

struct forward;

/* All of it outlives the forward; max_tokens a step. */
struct forward *forward_new(const struct weights *w, struct kv_pages *pages,
			    struct threads *threads, int32_t max_tokens);
void forward_free(struct forward *f);

/* Bytes of a forward's own memory. */
int64_t forward_bytes(const struct model_config *c, int32_t max_tokens);

/* Who gets the logits: of each item that emits those behind its last token, and of a request that
 * wants prompt_logprob also those behind the prompt's other tokens. n_vocab floats, to be changed
 * at will. position: of the token that they are to follow. Called on any of the pool's threads, for
 * several rows at once. */
struct logits_sink {
	void (*row)(void *arg, int32_t thread, int32_t item, int32_t position, float *logits);
	void *arg;
};

/* Computes the plan: keys and values go to the pages that the requests' block tables name, logits
 * to the sink. NULL, or why it can not be done: a plan that breaks its contract, of which nothing
 * was computed. The caller is one of the pool's threads while it lasts. */
const char *forward_step(struct forward *f, const struct step_plan *plan,
			 const struct logits_sink *sink);

#endif
