/*
 * Several engines of one profile behind a router, in virtual time: each its own policy, memory and
 * noise, all on one loop. A fleet of one is that one, to the nanosecond.
 *
 * Prefill and decode apart: a request's prompt and first token are computed by one of the engines
 * that prefill; its KV entries go over that engine's link, one prompt after the other, and
 * latency_ns after the last of them has left, one of the engines that decode makes the second token
 * and the rest. What a request holds is given back by the one engine when its prompt is computed,
 * and taken by the other when it begins there: on the way it takes no room.
 */
#ifndef FAKEENGINE_FLEET_H
#define FAKEENGINE_FLEET_H

#include <stdint.h>

#include "router.h"

#define FLEET_MAX_REPLICAS 1000

struct evloop;
struct sim_setup; /* simulate.h, as the next one */
struct sim_sink;
struct fleet;

struct fleet_shape {
	int32_t replicas;	 /* that take requests: all of them, or those that prefill */
	int32_t decode_replicas; /* 0 = each does both; else policy->takes_kv */
	int64_t kv_latency_ns;	 /* from engine to engine ... */
	int64_t kv_token_ps;	 /* ... and a token's entries on the link */
	const struct router_type *router;
	double router_knobs[ROUTER_MAX_KNOBS];
};

/* As sim_new(), _submit(), _catch_up(), _cancel(): a router refuses nothing, so RC_LIMIT says that
 * the replica it chose is full. */
enum rc fleet_new(struct fleet **out, struct evloop *loop, const struct sim_setup *engine,
		  const struct fleet_shape *shape, const struct sim_sink *sink, struct err *e);
void fleet_free(struct fleet *f);
enum rc fleet_submit(struct fleet *f, struct genreq *r, struct err *e);
void fleet_catch_up(struct fleet *f, struct genreq *r);
void fleet_cancel(struct fleet *f, struct genreq *r);
int32_t fleet_max_len(const struct fleet *f);

/* Sums over all engines. */
struct fleet_stats {
	int64_t running, waiting; /* waiting includes those whose KV entries are on their way */
	int64_t free_blocks, usable_blocks;
	int64_t preemptions;
	int64_t prompt_tokens, generation_tokens;
	int64_t prefix_queries_tokens, prefix_hits_tokens;
};
void fleet_stats(const struct fleet *f, struct fleet_stats *out);

#endif
