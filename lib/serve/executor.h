/*
 * The plug-in contract: what computes a step. The same slots serve a timer (sim), a thread (cpu)
 * and a CUDA stream (cuda); nothing in this folder may ask which it is.
 */
#ifndef SERVE_EXECUTOR_H
#define SERVE_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "genreq.h"

/* One request's share of a step: positions [computed, computed + n_tokens) of its token array. */
struct step_item {
	struct genreq *req;
	int32_t computed;
	int32_t n_tokens;
	bool emits;   /* the last known token is among them: the step yields the next one */
	bool prefill; /* computes a prompt, or recomputes after a preemption; else one decode */

	/* Speculation: guesses at the tokens that follow, computed with them to see which are
	 * right. An item that emits yields 1 + n_accepted tokens. */
	int32_t n_draft;
	int32_t n_accepted; /* the executor's: so many from the first on; commit() takes back what
			       the end of the request cuts off */
	int32_t n_loaded;   /* of the `computed` before it: read back from the host in this step */
};

struct step_plan {
	uint64_t id;
	int64_t start_ns; /* model time; set by the policy from ready_ns and its last step */
	struct step_item *item;
	int32_t n_items, cap_items;
	struct genreq **preempted; /* put back to the queue while planning, in order */
	int32_t n_preempted, cap_preempted;

	/* So many more decode one token each, and are no items: only in plans of a policy that was
	 * asked to leave them out (sched_type.set_terse). The numbers below count them. */
	int32_t n_steady;

	/* The batch in numbers, what a cost model reads (simulation.md section 2). Filled by
	 * step_plan_add(). */
	int64_t prefill_tokens;	  /* P */
	int64_t decode_seqs;	  /* D */
	int64_t decode_kv_tokens; /* K: sum of context lengths of the decoding sequences */
	int64_t draft_tokens;	  /* V: sum of n_draft */
	int32_t max_draft;	  /* the most of one item */
	int64_t loaded_tokens;	  /* L: sum of n_loaded */
	uint64_t adapters;	  /* a bit for each that is used: number n is bit n - 1 */
	/* Q: sum of len * (computed + len/2) over prefill chunks, and drafts, which are computed
	 * like such a chunk */
	double prefill_attention;
};

void step_plan_init(struct step_plan *p);
void step_plan_release(struct step_plan *p);
void step_plan_clear(struct step_plan *p); /* keeps the memory */
void step_plan_add(struct step_plan *p, struct genreq *r, int32_t computed, int32_t n_tokens);
void step_plan_verify(struct step_plan *p, int32_t n_draft); /* ... the last item, as well */
void step_plan_load(struct step_plan *p, int32_t n_tokens);  /* ... for the last item */
void step_plan_add_preempted(struct step_plan *p, struct genreq *r);

/* Takes r's item out again and returns its tokens, drafted ones included; 0 if it has none. For a
 * policy that changes its mind. */
int32_t step_plan_drop(struct step_plan *p, const struct genreq *r);

struct step_result {
	struct step_plan *plan;
	int64_t end_ns;	      /* sim: the model's deadline; others: when it was really done */
	const int32_t *token; /* 1 + max_draft a plan item, meant as far as it emits; valid during
				 done() */
	bool failed;	      /* the whole step is lost; msg says why */
	const char *msg;
};

/* Those of the i-th item. */
static inline const int32_t *step_tokens(const struct step_plan *p, const int32_t *token, int32_t i)
{
	return token + (size_t)i * (size_t)(1 + p->max_draft);
}

struct executor_opts {
	/* Called on the loop thread, never from inside submit(). */
	void (*done)(const struct step_result *r, void *arg);
	void *arg;
	const void *config; /* the executor's own: a profile, a model path */
};

struct executor;

struct executor_type {
	const char *name; /* "sim", "cpu", "cuda" */

	/* Chooses tokens from logits: reads genreq.sampling, and leaves with the request what it
	 * asks for of their probabilities. */
	bool logits;

	enum rc (*open)(struct executor **out, const struct executor_opts *o, struct err *e);

	/* Never blocks. The plan stays untouched and its requests stay alive until done(). A policy
	 * whose requests share a batch has one step in flight; one whose requests are independent
	 * (static) has one a request. */
	enum rc (*submit)(struct executor *x, struct step_plan *plan);

	/* Cancels, or waits for, what is in flight; done() is not called any more. */
	void (*close)(struct executor *x);
};

#endif
