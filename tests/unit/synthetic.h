/*
 * Runs that never happened: records as an engine of known behaviour would leave them, for tests
 * whose answers are closed forms and for figures to look at. Included by tests; one thread.
 */
#ifndef TESTS_SYNTHETIC_H
#define TESTS_SYNTHETIC_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/rng.h"
#include "loadgen/metrics.h"
#include "loadgen/record.h"
#include "loadgen/scenario.h"

/* A step costs step_ms + seq_ms * running, plus prefill_ms for each request that joins; every
 * running request gets a token a step. constant: requests do not touch each other, prefill_ms to
 * the first token and step_ms to each next one. slots: how many run at once, the rest waits in
 * order; 0 = all. */
struct synth_engine {
	double prefill_ms, step_ms, seq_ms;
	int slots;
	bool constant;
	double jitter; /* each cost is scaled by 1 +- jitter */
};

struct synth_run {
	struct record *records;
	size_t n, cap;
	struct rng rng;
};

static inline int64_t synth_ns(struct synth_run *run, const struct synth_engine *e, double ms)
{
	double scale = 1 + e->jitter * (2 * rng_unit(&run->rng) - 1);

	return (int64_t)llround(ms * scale * 1e6);
}

static inline struct record *synth_add(struct synth_run *run, int target, int point, int level,
				       int repeat, int64_t index, int32_t tokens, int64_t sched_ns)
{
	struct record *r;

	if (run->n == run->cap) {
		run->cap = run->cap ? 2 * run->cap : 256;
		run->records = xreallocarray(run->records, run->cap, sizeof(*run->records));
	}
	r = &run->records[run->n];
	*r = (struct record){.request_id = (int64_t)run->n++,
			     .target = target,
			     .point = point,
			     .level = level,
			     .repeat = repeat,
			     .index = index,
			     .sched_ns = sched_ns,
			     .send_ns = -1,
			     .connected_ns = -1,
			     .written_ns = -1,
			     .headers_ns = -1,
			     .byte1_ns = -1,
			     .event1_ns = -1,
			     .token1_ns = -1,
			     .output1_ns = -1,
			     .token_last_ns = -1,
			     .done_ns = -1,
			     .planned_output_tokens = tokens,
			     .prompt_tokens = -1,
			     .output_tokens = -1,
			     .streamed = true,
			     .outcome = OUTCOME_DROPPED};
	return r;
}

static inline void synth_token(struct record *r, int64_t t_ns)
{
	if (!r->event)
		r->event = xcalloc((size_t)r->planned_output_tokens, sizeof(*r->event));
	if (r->n_events == 0)
		r->headers_ns = r->byte1_ns = r->event1_ns = r->token1_ns = r->output1_ns = t_ns;
	r->event[r->n_events] = (struct token_event){t_ns, r->n_events + 1, false};
	r->n_events++;
	r->token_last_ns = t_ns;
}

static inline void synth_end(struct record *r, int64_t t_ns)
{
	r->done_ns = t_ns;
	r->outcome = OUTCOME_OK;
	r->http_status = 200;
	r->prompt_tokens = 60 + (int32_t)(r->index * 37 % 200);
	r->output_tokens = r->n_events;
	r->token_source = TOKENS_USAGE;
	r->stamp_source = STAMP_KERNEL;
	strcpy(r->finish_reason, "length");
}

static inline void synth_send(struct record *r, int64_t t_ns)
{
	r->send_ns = t_ns;
	r->written_ns = t_ns;
}

/* Closed loop: the next request of a client leaves when its last one ends. Open: at start + at[i].
 * Constant engines: each request by itself, in order of arrival. */
static inline void synth_constant(struct synth_run *run, const struct synth_engine *e, size_t first,
				  size_t n, int clients, int64_t start_ns)
{
	int64_t *client_free = xcalloc((size_t)clients, sizeof(int64_t));
	int slots = e->slots ? e->slots : (int)n;
	int64_t *slot_free = xcalloc((size_t)slots, sizeof(int64_t));

	for (int i = 0; i < clients; i++)
		client_free[i] = start_ns;
	for (size_t k = 0; k < n; k++) {
		struct record *r = &run->records[first + k];
		int c = 0, s = 0;
		int64_t t;

		for (int i = 1; i < clients; i++)
			c = client_free[i] < client_free[c] ? i : c;
		for (int i = 1; i < slots; i++)
			s = slot_free[i] < slot_free[s] ? i : s;
		t = r->sched_ns >= 0 ? r->sched_ns : client_free[c];
		r->sched_ns = t;
		synth_send(r, t);
		t = (slot_free[s] > t ? slot_free[s] : t) + synth_ns(run, e, e->prefill_ms);
		synth_token(r, t);
		for (int32_t i = 1; i < r->planned_output_tokens; i++)
			synth_token(r, t += synth_ns(run, e, e->step_ms));
		synth_end(r, t);
		client_free[c] = slot_free[s] = t;
	}
	free(client_free);
	free(slot_free);
}

/* Iteration by iteration; sched_ns -1 = closed loop, sent when a client is free. */
static inline void synth_batched(struct synth_run *run, const struct synth_engine *e, size_t first,
				 size_t n, int clients, int64_t start_ns)
{
	struct record **running = xcalloc(n, sizeof(struct record *));
	size_t next_send = 0, next_admit = 0, n_running = 0, ended = 0;
	int64_t t = start_ns;

	while (ended < n) {
		int64_t cost;

		for (; next_send < n; next_send++) {
			struct record *r = &run->records[first + next_send];

			if (r->sched_ns < 0 && (int64_t)(next_send - ended) >= clients)
				break;
			if (r->sched_ns < 0)
				r->sched_ns = t;
			if (r->sched_ns > t)
				break;
			synth_send(r, r->sched_ns);
		}
		cost = synth_ns(run, e, e->step_ms);
		while (next_admit < next_send && (!e->slots || (int)n_running < e->slots)) {
			running[n_running++] = &run->records[first + next_admit++];
			cost += synth_ns(run, e, e->prefill_ms);
		}
		if (!n_running) { /* idle until the next arrival */
			t = run->records[first + next_send].sched_ns;
			continue;
		}
		t += cost + synth_ns(run, e, e->seq_ms * (double)n_running);
		for (size_t i = 0; i < n_running;) {
			struct record *r = running[i];

			synth_token(r, t);
			if (r->n_events < r->planned_output_tokens) {
				i++;
				continue;
			}
			synth_end(r, t);
			ended++;
			running[i] = running[--n_running];
		}
	}
	free(running);
}

/* One level on one engine; returns the index of its first record. Poisson arrivals in open loop. */
static inline size_t synth_level(struct synth_run *run, const struct synth_engine *e,
				 const struct scenario *s, int target, int point, int level,
				 int repeat, int64_t n, int32_t tokens, int64_t start_ns)
{
	const struct level *l = &s->levels[level];
	size_t first = run->n;
	int64_t t = start_ns;

	for (int64_t k = 0; k < n; k++) {
		if (l->kind == LOAD_OPEN)
			t += (int64_t)(-log(1 - rng_unit(&run->rng)) / l->rate_per_s * 1e9);
		synth_add(run, target, point, level, repeat, k, tokens,
			  l->kind == LOAD_OPEN ? t : -1);
	}
	(e->constant ? synth_constant : synth_batched)(run, e, first, (size_t)n, l->concurrency,
						       start_ns);
	return first;
}

static inline void synth_point(struct point *p, const struct synth_run *run,
			       const struct scenario *s, size_t first, size_t n, int64_t start_ns)
{
	const struct record **list = xcalloc(n + 1, sizeof(struct record *));
	struct self_watch_point self = {80, 25, NAN, 0.06};
	const struct record *r = &run->records[first];

	for (size_t i = 0; i < n; i++)
		list[i] = r + i;
	*p = (struct point){
		.target = r->target, .level = r->level, .repeat = r->repeat, .id = r->point};
	point_compute(p, s, list, n, start_ns, &self);
	free(list);
}

static inline void synth_run_init(struct synth_run *run, uint64_t seed)
{
	memset(run, 0, sizeof(*run));
	rng_init(&run->rng, seed, "synthetic", 0);
}

static inline void synth_run_release(struct synth_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		free(run->records[i].event);
	free(run->records);
	memset(run, 0, sizeof(*run));
}

#endif
