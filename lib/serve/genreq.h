/*
 * One generation request as the engine sees it: token ids in, token ids out, no text, no HTTP. The
 * front end makes it, the scheduler moves it, the executor reads it. Plain data; every field says
 * who writes it.
 *
 *     QUEUED --first step--> PREFILL --first token--> DECODE --stop--> DONE
 *        ^                      |                       |
 *        \______________________\_______preempted_______/
 *
 * and from each of the three to DONE (the front end found a stop string) or to FAILED (cancelled,
 * or the executor gave up).
 */
#ifndef SERVE_GENREQ_H
#define SERVE_GENREQ_H

#include <stdbool.h>
#include <stdint.h>

#include "sampling.h"

enum genreq_state {
	GENREQ_QUEUED,	/* made, or preempted and waiting again */
	GENREQ_PREFILL, /* holds a place in the running batch, no token since it got it */
	GENREQ_DECODE,	/* at least one output token */
	GENREQ_DONE,	/* finish says why; the scheduler no longer knows it */
	GENREQ_FAILED,	/* cancelled or broken; the scheduler no longer knows it */
};

enum genreq_finish {
	FINISH_NONE,
	FINISH_STOP,   /* an end token, or a stop string found by the front end */
	FINISH_LENGTH, /* max_tokens, or the context is full */
	FINISH_ABORT,  /* the client left */
	FINISH_ERROR,
};

struct radix_node;
struct script;

/* What the memory ledger and the policy keep per request. Owned by the scheduler from add to
 * removal. */
struct sched_slot {
	/* what a step reads */
	struct genreq *next, *prev; /* the policy's list */
	int32_t computed;	    /* tokens whose KV entries exist: 0..n_tokens */
	int32_t n_blocks;	    /* KV blocks; by tokenpool.h only their count is kept */
	int32_t n_named; /* so many blocks bear a name: the ledger finds them by their hash */
	int32_t n_draft; /* tokens drafted for its next step */
	bool in_step;	 /* part of a step that is being computed */
	bool steady;	 /* left out of plans (steady.h) */

	int32_t preemptions;
	int32_t *block; /* KV block ids, in order of position; none while the request waits */
	uint64_t *hash; /* chain of the full blocks: [i] covers tokens [0, (i+1)*block_size) */
	int32_t cap_blocks, n_hashes, cap_hashes;
	int32_t n_prefix;	       /* tokens of the locked prefix, among n_blocks */
	struct radix_node *prefix;     /* tokenpool.h: where it ends; or NULL */
	int64_t order;		       /* of admission, for a policy with a steady.h, */
	int64_t since, due, last_step; /* which owns these: up to date at; something happens in;
					  ends in step number */
	int32_t heap_at;	       /* place in a queue by priority (waitq.h) */
	int32_t place; /* of a policy with numbered slots: which one; < 0 while it waits */
};

/* What each token reads stands together: with thousands of requests it is cache lines that a step
 * costs. */
struct genreq {
	/* front end, before engine_submit() */
	uint64_t id;	       /* ascending in order of arrival: the tie-break everywhere */
	char *name;	       /* the client's X-Request-Id or one of ours; owned */
	float *prompt_logprob; /* n_prompt places for an executor with logits to fill: of each
				  prompt token but the first, given those before it; owned; NULL =
				  nobody wants them. Not with cached prefixes: those are not
				  computed */
	int priority;	       /* lower runs first, for policies that care */
	int32_t adapter;       /* LoRA: number of the one it wants, from 1; 0 = the model itself */

	/* Of so many tokens, all but the last one, the KV entries come with it: another engine has
	 * made them, and here it decodes from its first step on. 0 = none; the policy forgets it
	 * when it takes them away. Only for one with sched_type.takes_kv. */
	int32_t kv_tokens;

	bool ignore_eos;
	bool watched;		   /* somebody acts on its tokens: they are told one by one */
	uint64_t seed;		   /* what sampling, or random words, start from */
	struct sampling *sampling; /* how tokens are chosen; owned; NULL = greedy, nothing else */
	void *owner;		   /* the front end's */
	int32_t *tokens;	   /* prompt, then output; owned */
	int32_t n_prompt, n_tokens, cap_tokens;
	int32_t max_tokens; /* output tokens at most, > 0 */
	int32_t min_tokens;
	int32_t eos_after; /* simulated models: the answer ends after so many tokens; 0 = never */
	struct script
		*script; /* simulated models: what the answer says (script.h); held, or NULL */

	/* engine loop and scheduler */
	enum genreq_state state;
	enum genreq_finish finish;
	struct flight *flight; /* the engine loop's own, from engine_submit() to on_done */
	int64_t ready_ns;      /* its next step may start: arrival, then the end of its last step */
	int64_t last_token_ns; /* 0 = none yet; times of the model, not of the wire */
	struct sched_slot slot;
	int64_t arrival_ns;	    /* when it became schedulable */
	int64_t first_scheduled_ns; /* 0 = not yet */
	int64_t first_token_ns;	    /* likewise */
	int32_t cached_tokens; /* prompt tokens found in the prefix cache at the first admission */

	/* executor, if sampling asks for it: 1 + n_logprobs entries an output token, the chosen one
	 * first; appended before the step is reported done; owned */
	struct token_logprob *logprob;
	int32_t n_logprobs, cap_logprobs;

	struct handover *handover; /* a fleet's own (fakeengine/fleet.h) */
};

/* tokens is copied. max_tokens > 0. All else is zero or a neutral default. */
struct genreq *genreq_new(uint64_t id, const char *name, const int32_t *tokens, int32_t n_prompt,
			  int32_t max_tokens);
void genreq_free(struct genreq *r); /* NULL legal; the scheduler must have let go of it */

/* The only way the state changes; asserts the edge. */
void genreq_set_state(struct genreq *r, enum genreq_state to);

/* Appends an output token and decides whether the request ends with it (eos_token -1 = the model
 * has none; max_len is the context limit on prompt + output). Sets finish and returns true if it
 * ends. */
bool genreq_push_token(struct genreq *r, int32_t token, int32_t eos_token, int32_t max_len);

/* What a policy does with a request whose step ended at end_ns and yielded a token: pushes it,
 * keeps the token times, moves the state on to DECODE and, if the request ends (true), to DONE. */
bool genreq_take_token(struct genreq *r, int32_t token, int64_t end_ns, int32_t eos_token,
		       int32_t max_len);

/* After how many more tokens r ends at the latest, by the lengths alone; at least 1. Without an
 * end-of-sequence token (eos_token -1) it ends exactly then. */
int32_t genreq_tokens_left(const struct genreq *r, int32_t max_len);

/* Room for what is told of the next output token, 1 + n_logprobs entries; only if it is asked for.
 * On the thread that reports the step done, before it does. */
struct token_logprob *genreq_add_logprobs(struct genreq *r);

static inline bool genreq_wants_logprobs(const struct genreq *r)
{
	return r->sampling && r->sampling->n_logprobs >= 0;
}

/* Any token might be its last: it names tokens that end it. */
static inline bool genreq_has_stop_ids(const struct genreq *r)
{
	return r->sampling && r->sampling->n_stop_ids > 0;
}

/* Room for n more tokens of a request that decodes and does not end with them: counted already, and
 * for the caller to fill in. */
int32_t *genreq_extend(struct genreq *r, int32_t n);

static inline int32_t genreq_output_tokens(const struct genreq *r)
{
	return r->n_tokens - r->n_prompt;
}

const char *genreq_state_name(enum genreq_state s);

/* As the OpenAI API spells it: "stop", "length", "abort"; NULL for none. */
const char *genreq_finish_name(enum genreq_finish f);

#endif
