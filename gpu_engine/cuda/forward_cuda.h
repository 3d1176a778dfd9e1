/*
 * A step on the card: the transformer block of model.h, computed by the launchers of launch.h for a
 * flat batch, and the tokens chosen from its logits there. What cpu/forward.h computes, by the same
 * stages in the same order.
 */
#ifndef CUDA_FORWARD_CUDA_H
#define CUDA_FORWARD_CUDA_H

#include <stdint.h>

#include "driver.h"
#include "graphs.h"
#include "serve/executor.h"
#include "step/engine_thread.h"
#include "weights_cuda.h"

/* What memory is taken for. */
struct cuda_limits {
	int32_t max_len;		/* tokens of a sequence */
	int32_t max_seqs, max_tokens;	/* of a step */
	int32_t num_blocks, block_size; /* KV pages, as the policy's ledger counts them */
};

struct cuda_forward;

/* Whether the kernels can compute such a model; RC_INPUT with the reason. */
enum rc cuda_forward_can(const struct model_config *c, struct err *e);

/* Bytes of the card's memory beside weights and KV pages. */
int64_t cuda_forward_bytes(const struct model *m, const struct cuda_limits *l);

/* cuda, weights and model outlive it. end_ids are not chosen before a request's min_tokens. graphs:
 * where it is counted what they did; NULL = there are to be none. */
enum rc cuda_forward_new(struct cuda_forward **out, struct cuda *c, const struct model *m,
			 const struct cuda_weights *w, const struct cuda_limits *l,
			 const int32_t *end_ids, int32_t n_end_ids, struct graph_counts *graphs,
			 struct err *e);
void cuda_forward_free(struct cuda_forward *f);

/* Computes the plan, on the thread that is attached to the card, and waits for it: tokens and
 * logprobs of the items that emit go to out, those of prompts to their requests. NULL, or why the
 * step is lost: the plan breaks its contract, or the card refused something. The text is valid
 * until the next call. */
const char *cuda_forward_step(struct cuda_forward *f, const struct step_plan *plan,
			      struct step_output *out);

#endif
