/*
 * Joins a policy, an executor and the streams of the clients on one event loop; the only caller of
 * submit(). One thread.
 *
 *     engine_submit() -> [ingest delay] -> policy -> step -> commit
 *         -> [egress delay] -> on_token ... on_done
 */
#ifndef SERVE_ENGINE_LOOP_H
#define SERVE_ENGINE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/evloop.h"
#include "executor.h"
#include "sched.h"

struct engine;
struct truth_log; /* truth.h: due and real times of each token */

struct engine_config {
	const struct sched_type *policy;
	double knobs[SCHED_MAX_KNOBS];
	const struct executor_type *executor;
	const void *executor_config;
	int32_t eos_token;
	int64_t ingest_ns; /* from engine_submit() to schedulable: tokenising and the way in */
	int64_t egress_ns; /* from the end of a step to on_token: detokenising and the way out */
	/* Requests in the engine; beyond it RC_LIMIT. A policy may take fewer (sched.h). 0 = no
	 * limit but the policy's. */
	int32_t max_queue;
	struct truth_log *truth;     /* or NULL */
	const char *const *adapters; /* their names, for engine_stats; or NULL */
};

/* Called on the loop thread. on_token comes in the order of the step's items, all of a step in one
 * pass. more: another token of the same request follows at once, from the same step: a server sends
 * them as one event. due_ns: when the model's time says the token leaves. The last token is the one
 * that brings the count delivered to genreq_output_tokens() with r->finish set (with an egress
 * delay both may be known before it is out); on_done follows it at once. finish says why the
 * request ended, FINISH_ERROR after a failed step. After on_done the engine has forgotten r; the
 * sink frees it. */
struct engine_sink {
	void (*on_token)(struct genreq *r, int32_t token, int64_t due_ns, bool more);
	void (*on_done)(struct genreq *r);

	/* NULL, or: on_token of r is so many calls away, 2 and then 1: what it will read may be
	 * fetched into the cache (base/prefetch.h) while the kernel sends the tokens before it. */
	void (*on_soon)(const struct genreq *r, int calls_away);
};

enum rc engine_new(struct engine **out, struct evloop *loop, const struct engine_config *c,
		   struct err *e);
void engine_free(struct engine *g); /* what is still in flight is reported done with FINISH_ABORT */

/* Takes r until on_done. RC_INPUT: it can never run; RC_LIMIT: the queue is full; r then stays the
 * caller's. now_ns is when the request was read off the wire. sink must outlive r. */
enum rc engine_submit(struct engine *g, struct genreq *r, const struct engine_sink *sink,
		      int64_t now_ns, struct err *e);

int32_t engine_max_len(const struct engine *g); /* prompt + output tokens; INT32_MAX = no limit */

bool engine_has_logits(const struct engine *g); /* executor.h */

/* The client left, or the front end found a stop string (why: FINISH_ABORT or FINISH_STOP). No more
 * on_token; on_done comes when the step r is part of ends, or at the end of this turn. Harmless if
 * r is done already but not reported. */
void engine_cancel(struct engine *g, struct genreq *r, enum genreq_finish why);

/* fn for each request that the policy knows, the latest first. It must not submit or cancel. */
void engine_visit(const struct engine *g, void (*fn)(const struct genreq *r, void *arg), void *arg);

int32_t engine_in_flight(const struct engine *g); /* requests taken and not yet reported done */

/* Everything /metrics reports (engine_stats.h). */
struct engine_stats;
const struct engine_stats *engine_stats(struct engine *g); /* gauges refreshed by the call */

#endif
