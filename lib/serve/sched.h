/*
 * The batching policies: which requests share the next step, with how many tokens each. Pure: no
 * clock, no I/O, no threads; times come in as data. A policy is one row of sched_types[]; nobody
 * asks for its name. Used by engine_loop under the wall clock, by the step-replay check, and (in
 * process) under the virtual clock.
 *
 * The life of a request: add -> (in plans, committed) ... -> gone when it finished in commit(), or
 * by remove().
 */
#ifndef SERVE_SCHED_H
#define SERVE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "executor.h"
#include "genreq.h"

#define SCHED_MAX_KNOBS	   24
#define SCHED_MAX_DRAFT	   16 /* tokens guessed ahead */
#define SCHED_MAX_ADAPTERS 64 /* a bit for each in step_plan.adapters */

enum knob_kind { KNOB_INT, KNOB_BOOL, KNOB_REAL, KNOB_CHOICE };

/* A setting under the engine's own name. Values travel as double: integers are exact, a choice is
 * its index. */
struct knob {
	const char *name;
	enum knob_kind kind;
	double def, min, max;
	const char *const *choices; /* KNOB_CHOICE: NULL-terminated */
	const char *help;	    /* one line, with the unit */
};

struct sched_stats {
	int32_t running, waiting;			/* waiting includes preempted ones */
	int32_t free_blocks, usable_blocks, block_size; /* 0 when the policy keeps no KV ledger */
	int32_t max_model_len; /* prompt + output tokens; INT32_MAX = no limit */
	int32_t slots;	       /* numbered places (sched_slot.place); 0 = the policy has none */

	/* Requests the engine takes at once, from the moment one is read to its end; whoever feeds
	 * the policy turns away the next one (RC_LIMIT, 429). 0 = no limit. The policy cannot count
	 * them itself: those still on their way in are unknown to it. */
	int32_t max_requests;
	int64_t preemptions;
	int64_t prefix_queries_tokens, prefix_hits_tokens;

	/* The host's memory as a second prefix cache (blocks: 0 when there is none): asked for what
	 * the first one did not have. */
	int32_t host_blocks;
	int64_t external_queries_tokens, external_hits_tokens;
	int64_t steps;

	/* LoRA; max_loras 0 when no adapters are served. Bits as in step_plan.adapters. */
	int32_t max_loras;
	uint64_t running_adapters, waiting_adapters;

	/* Speculation; max_draft 0 when there is none. An item with a draft counts once in drafts;
	 * accepted_at[k]: the (k+1)-th guess was right. */
	int32_t max_draft;
	int64_t drafts, draft_tokens, accepted_tokens;
	int64_t accepted_at[SCHED_MAX_DRAFT];
};

struct sched; /* the policy's own */

struct sched_type {
	const char *name;	  /* "vllm-v1", "static" */
	const char *help;	  /* one line */
	const struct knob *knobs; /* ends with name NULL */
	bool takes_kv;		  /* goes on where another engine stopped: genreq.kv_tokens */

	/* values: one a knob, in the order of the table, already within their ranges. RC_INPUT if
	 * they contradict. */
	enum rc (*open)(struct sched **out, const double *values, int32_t eos_token, struct err *e);
	void (*close)(struct sched *s); /* requests still known are forgotten, not freed */

	/* RC_INPUT if this request can never run (prompt too long for the context or for the KV
	 * cache). */
	enum rc (*check)(const struct sched *s, const struct genreq *r, struct err *e);
	void (*add)(struct sched *s, struct genreq *r);

	/* Takes r out wherever it stands. Not while r->slot.in_step. */
	void (*remove)(struct sched *s, struct genreq *r);

	/* Fills p (cleared by the caller) with the next step; false if there is nothing to do now,
	 * or if as many steps as the policy allows are in flight. Call it until it says false. */
	bool (*plan)(struct sched *s, struct step_plan *p);

	/* The step is done at end_ns. For each item: computed moves on; if it emits, its tokens are
	 * appended, and a request that ends with one is DONE and forgotten (n_accepted then counts
	 * those up to it). A request the engine
	 * gives up then (llamacpp, out of KV cells) is DONE with FINISH_ERROR, whether its item
	 * emits or not. token: step_tokens() of each item; NULL says that the step is lost: nothing
	 * moves on, and the caller removes its requests before it asks for another plan. */
	void (*commit)(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns);

	void (*stats)(const struct sched *s, struct sched_stats *out);

	/*
	 * Optional, all or none, for a policy with one step in flight; for who computes no tokens
	 * but knows them. From set_terse() on, before the first request, plans leave out whoever
	 * is steady (slot.steady): it decodes one token in this step as in the last one, does not
	 * end in it, is not watched, and has no tokens that end it. Its share is in the plan's
	 * numbers; the request itself is behind, until it is an item again or caught up. append:
	 * adds the next n tokens of its answer to r (genreq_extend()). A steady request is in_step
	 * while any step is.
	 */
	void (*set_terse)(struct sched *s, void (*append)(struct genreq *r, int32_t n));

	/* Brings a steady request up to where the last committed step left it. */
	void (*catch_up)(struct sched *s, struct genreq *r);

	/* p has just been planned: for how many steps, p the first, is the batch sure to stay what
	 * it is, all of it steady, if nobody comes and nobody is removed? Nobody ends in any of
	 * them, everybody's memory is there, and no waiting request would be admitted. At least 1.
	 * A pure function of the policy's state. */
	int32_t (*horizon)(const struct sched *s, const struct step_plan *p);

	/* The first n of these steps, n < horizon(), end at end_ns[0..n-1]: the same as n times
	 * commit() and plan() again into p. */
	void (*repeat)(struct sched *s, struct step_plan *p, int32_t n, const int64_t *end_ns);

	/* For a policy that lets time pass, though it could plan a step; NULL for all others.
	 * wake_ns: while plan() says false, when it may say something else even if nothing happens
	 * until then; INT64_MAX = never. wake: that time has come; ask for a plan again. */
	int64_t (*wake_ns)(const struct sched *s);
	void (*wake)(struct sched *s, int64_t now_ns);
};

extern const struct sched_type sched_vllm_v1, sched_vllm_v0, sched_sglang, sched_tgi, sched_static;
extern const struct sched_type sched_llamacpp, sched_hf_cb, sched_static_batch, sched_orca,
	sched_sarathi;
extern const struct sched_type *const sched_types[]; /* NULL-terminated */

/* By name, or RC_INPUT with the list of names. */
enum rc sched_find(const char *name, const struct sched_type **out, struct err *e);

void sched_defaults(const struct sched_type *t, double values[SCHED_MAX_KNOBS]);
int sched_knob(const struct sched_type *t, const char *name); /* index or -1 */

#endif
