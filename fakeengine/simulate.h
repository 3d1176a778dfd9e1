/*
 * An engine in virtual time: the policy, the cost model and the delays of a profile on a virtual
 * event loop. No sockets, no text, no waiting; as fast as the policy plans.
 *
 * The arithmetic is that of serve/engine_loop with executor_sim under the wall clock: a request is
 * schedulable ingest_ns after it came; a step starts at plan.start_ns and takes what the cost model
 * says, noise from the same stream included; its tokens leave egress_ns after its end. So is the
 * order within an instant: all that comes in and all steps that end, then the next steps are
 * planned, then tokens leave. What a reader does about a token, even at once, finds the next step
 * planned.
 */
#ifndef FAKEENGINE_SIMULATE_H
#define FAKEENGINE_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/evloop.h"
#include "cost.h"
#include "drafter.h"
#include "serve/sched.h"

struct sim;

struct sim_setup {
	const struct sched_type *policy;
	double knobs[SCHED_MAX_KNOBS];
	const struct cost *cost; /* must outlive the engine */
	struct cost_noise noise;
	uint64_t seed; /* of the noise; the words come from each request's own seed */
	int64_t ingest_ns, egress_ns;
	const struct drafter *drafter; /* for a policy that speculates; must outlive the engine */
	void *owner;		       /* the caller's: sim_owner() */

	/* Optional: n more tokens (events of a step, with speculation) have been made, each gap_ns
	 * behind the one before it of the same answer. Must not call back. */
	void (*on_gap)(void *owner, int64_t gap_ns, int32_t n);

	/* Plan each step by itself, with everybody who is part of it, and tell each token when it
	 * leaves: slower, the same to the nanosecond. */
	bool step_by_step;
};

/* Called on the loop. Either may submit, and cancel others. */
struct sim_sink {
	/* n more tokens of r have left, one by one, at these times; or, with speculation, all that
	 * one step made of it as one event (n = 1). The first of an answer is told when it leaves,
	 * the others of a request that is not watched (genreq.watched) at the latest with its last.
	 * Whoever would do something about them, cancel or submit, watches it. */
	void (*on_tokens)(struct genreq *r, const int64_t *t_ns, int32_t n);
	/* r->finish says why; r is freed when this returns. */
	void (*on_done)(struct genreq *r, int64_t t_ns);
};

/* loop: a virtual one. RC_INPUT if the knobs contradict each other. */
enum rc sim_new(struct sim **out, struct evloop *loop, const struct sim_setup *c,
		const struct sim_sink *sink, struct err *e);
void sim_free(struct sim *s); /* and every request in it, without a word */

/* Takes r, which comes now. RC_INPUT: it can never run; RC_LIMIT: the engine is full. It then stays
 * the caller's. */
enum rc sim_submit(struct sim *s, struct genreq *r, struct err *e);

/* Tells what has left of r by now and was not told yet. For who may cancel it, and counts. */
void sim_catch_up(struct sim *s, struct genreq *r);

/* Nobody wants r any more: nothing is said about it again, and it is gone for the caller. It leaves
 * the batch when the step that it is part of ends. */
void sim_cancel(struct sim *s, struct genreq *r);

/* sim_setup.owner of the engine that r is in; in a sink, too. */
void *sim_owner(const struct genreq *r);

struct sim_stats {
	struct sched_stats sched;
	int64_t prompt_tokens, generation_tokens; /* of requests with a token; of tokens made */
};
void sim_stats(const struct sim *s, struct sim_stats *out);

int32_t sim_max_len(const struct sim *s); /* prompt + output tokens; INT32_MAX = no limit */

#endif
