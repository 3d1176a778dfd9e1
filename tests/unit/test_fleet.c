/*
 * Several engines on one virtual loop: a fleet of one beside the engine alone, crowds of which
 * nobody is lost whatever the router, throughput by the number of replicas; prefill and decode
 * apart beside closed forms; what a profile may say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/rng.h"
#include "fakeengine/explain.h"
#include "fakeengine/fleet.h"
#include "fakeengine/profile.h"
#include "fakeengine/simulate.h"

#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

enum { MAX_CROWD = 200 };

/* What one request asks and what became of it. */
struct row {
	int64_t arrive_ns, cancel_ns; /* -1 = never */
	int32_t prompt, shared, max_tokens, eos_after, group;
	int64_t *t_ns;
	int32_t n, cap, cached, ends;
	int64_t done_ns;
	enum genreq_finish finish;
	bool refused;
	bool cancels_itself; /* in the middle of its first token */
	struct timer arrive, cancel;
	struct genreq *r; /* while it is there */
};

struct crowd {
	struct row row[MAX_CROWD];
	int n, next; /* closed loop: who comes when somebody ends */
	struct evloop *loop;
	struct fleet *fleet;
	struct sim *sim; /* instead of the fleet */
	struct fleet_stats stats;
	int64_t stop_ns; /* 0 = to the end */
};

static struct crowd *crowd_now; /* of the sinks */

static void arrive(struct row *w)
{
	int32_t tokens[2048];
	struct crowd *c = crowd_now;
	int32_t id = (int32_t)(w - c->row);
	enum rc rc;

	for (int32_t i = 0; i < w->prompt; i++)
		tokens[i] = i < w->shared ? 5000 * (w->group + 1) + i : 100000 * (id + 1) + i;
	w->r = genreq_new((uint64_t)id, NULL, tokens, w->prompt, w->max_tokens);
	w->r->owner = w;
	w->r->seed = (uint64_t)id;
	w->r->eos_after = w->eos_after;
	w->r->watched = w->cancels_itself;
	rc = c->sim ? sim_submit(c->sim, w->r, NULL) : fleet_submit(c->fleet, w->r, NULL);
	if (rc) { /* not every policy takes every prompt */
		genreq_free(w->r);
		w->r = NULL;
		w->refused = true;
		return;
	}
	if (w->cancel_ns >= 0)
		evloop_timer(c->loop, &w->cancel, evloop_now_ns(c->loop) + w->cancel_ns);
}

static void on_arrive(struct timer *t, int64_t now_ns)
{
	(void)now_ns;
	arrive(CONTAINER(t, struct row, arrive));
}

static void give_up(struct row *w)
{
	struct genreq *r = w->r;

	w->r = NULL;
	evloop_timer_cancel(crowd_now->loop, &w->cancel);
	if (crowd_now->sim)
		sim_cancel(crowd_now->sim, r);
	else
		fleet_cancel(crowd_now->fleet, r);
}

static void on_cancel(struct timer *t, int64_t now_ns)
{
	struct row *w = CONTAINER(t, struct row, cancel);

	(void)now_ns;
	if (crowd_now->sim)
		sim_catch_up(crowd_now->sim, w->r);
	else
		fleet_catch_up(crowd_now->fleet, w->r);
	give_up(w);
}

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	struct row *w = r->owner;

	assert_ptr_equal(w->r, r);
	if (w->n + n > w->cap) {
		w->cap = 2 * (w->n + n);
		w->t_ns = xreallocarray(w->t_ns, (size_t)w->cap, sizeof(*w->t_ns));
	}
	for (int32_t i = 0; i < n; i++) {
		assert_true(w->n == 0 || t_ns[i] >= w->t_ns[w->n - 1]);
		w->t_ns[w->n++] = t_ns[i];
	}
	if (w->cancels_itself)
		give_up(w);
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	struct row *w = r->owner;

	assert_ptr_equal(w->r, r);
	assert_int_equal(w->n, genreq_output_tokens(r));
	assert_int_equal(t_ns, w->t_ns[w->n - 1]);
	w->finish = r->finish;
	w->done_ns = t_ns;
	w->cached = r->cached_tokens;
	w->ends++;
	w->r = NULL;
	evloop_timer_cancel(crowd_now->loop, &w->cancel);
	if (crowd_now->next < crowd_now->n)
		arrive(&crowd_now->row[crowd_now->next++]);
}

static const struct sim_sink sink = {on_tokens, on_done};

static void on_stop(struct timer *t, int64_t now_ns)
{
	(void)t;
	(void)now_ns;
	evloop_stop(crowd_now->loop);
}

/* shape NULL: the engine alone. */
static void run(struct crowd *c, const struct sim_setup *setup, const struct fleet_shape *shape,
		int at_first)
{
	struct timer stop = {.fn = on_stop};
	enum rc rc;

	crowd_now = c;
	c->loop = evloop_new_virtual(0);
	rc = shape ? fleet_new(&c->fleet, c->loop, setup, shape, &sink, NULL)
		   : sim_new(&c->sim, c->loop, setup, &sink, NULL);
	assert_int_equal(rc, RC_OK);
	c->next = at_first;
	for (int i = 0; i < c->n; i++) {
		c->row[i].arrive.fn = on_arrive;
		c->row[i].cancel.fn = on_cancel;
		if (i < at_first)
			evloop_timer(c->loop, &c->row[i].arrive, c->row[i].arrive_ns);
	}
	if (c->stop_ns)
		evloop_timer(c->loop, &stop, c->stop_ns);
	evloop_run(c->loop);
	if (shape)
		fleet_stats(c->fleet, &c->stats);
	fleet_free(c->fleet);
	sim_free(c->sim);
	evloop_free(c->loop);
	c->fleet = NULL;
	c->sim = NULL;
}

static void release(struct crowd *c)
{
	for (int i = 0; i < c->n; i++)
		free(c->row[i].t_ns);
	free(c);
}

static struct crowd *same_crowd(const struct crowd *from)
{
	struct crowd *c = xmalloc(sizeof(*c));

	*c = *from;
	return c;
}

/* 10 ms, 0.1 ms a prompt token, 1 ms a sequence, 10 us a token of its context */
static const struct cost cost = {.type = &cost_affine,
				 .coef = {[AFFINE_STEP] = 10 * PS_PER_MS,
					  [AFFINE_PREFILL_TOKEN] = PS_PER_MS / 10,
					  [AFFINE_DECODE_SEQ] = PS_PER_MS,
					  [AFFINE_KV_TOKEN] = PS_PER_MS / 100}};

static struct sim_setup setup_of(const struct sched_type *policy)
{
	struct sim_setup s = {.policy = policy, .cost = &cost, .seed = 7};

	sched_defaults(policy, s.knobs);
	return s;
}

static void set_knob(struct sim_setup *s, const char *name, double value)
{
	int i = sched_knob(s->policy, name);

	if (i >= 0)
		s->knobs[i] = value;
}

static struct fleet_shape shape_of(const struct router_type *router, int32_t replicas)
{
	struct fleet_shape s = {.replicas = replicas, .router = router};

	router_defaults(router, s.router_knobs);
	return s;
}

static const struct router_type *router(const char *name)
{
	const struct router_type *t;

	assert_int_equal(router_find(name, &t, NULL), RC_OK);
	return t;
}

static struct crowd *random_crowd(struct rng *r, struct sim_setup *s, bool cancels, int *at_first)
{
	struct crowd *c = xcalloc(1, sizeof(*c));
	int64_t at_ns = 0;

	c->n = 1 + (int)rng_below(r, 60);
	for (int i = 0; i < c->n; i++) {
		struct row *w = &c->row[i];

		at_ns += rng_below(r, 3) ? (int64_t)rng_below(r, 30 * NS_PER_MS) : 0;
		w->arrive_ns = at_ns;
		w->prompt = 1 + (int32_t)rng_below(r, 90);
		w->shared = (int32_t)rng_below(r, 64);
		w->group = (int32_t)rng_below(r, 4);
		w->max_tokens = 1 + (int32_t)rng_below(r, 60);
		w->eos_after = rng_below(r, 3) ? 0 : 1 + (int32_t)rng_below(r, 60);
		w->cancel_ns =
			cancels && rng_below(r, 2) ? (int64_t)rng_below(r, 400 * NS_PER_MS) : -1;
		w->cancels_itself = cancels && rng_below(r, 8) == 0;
	}
	*at_first = rng_below(r, 2) ? c->n : 1 + (int)rng_below(r, (uint64_t)c->n);
	if (cancels)
		*at_first = c->n; /* who gives up brings nobody */
	if (rng_below(r, 2))
		s->noise = (struct cost_noise){0.1, 0.02, 40 * PS_PER_MS};
	s->ingest_ns = rng_below(r, 2) ? (int64_t)rng_below(r, 5 * NS_PER_MS) : 0;
	s->egress_ns = rng_below(r, 2) ? (int64_t)rng_below(r, 60 * NS_PER_MS) : 0;
	set_knob(s, "max_num_seqs", 1 + (double)rng_below(r, 24));
	set_knob(s, "max_num_batched_tokens", 24 + (double)rng_below(r, 200));
	set_knob(s, "num_gpu_blocks", 12 + (double)rng_below(r, 20));
	set_knob(s, "enable_prefix_caching", (double)rng_below(r, 2));
	return c;
}

static void assert_same(const struct crowd *a, const struct crowd *b)
{
	for (int i = 0; i < a->n; i++) {
		assert_int_equal(a->row[i].n, b->row[i].n);
		if (a->row[i].n)
			assert_memory_equal(a->row[i].t_ns, b->row[i].t_ns,
					    (size_t)a->row[i].n * sizeof(int64_t));
		assert_int_equal(a->row[i].done_ns, b->row[i].done_ns);
		assert_int_equal(a->row[i].cached, b->row[i].cached);
		assert_int_equal(a->row[i].finish, b->row[i].finish);
		assert_int_equal(a->row[i].refused, b->row[i].refused);
	}
}

/* ---- replicas ---- */

static void a_fleet_of_one_is_that_one(void **state)
{
	(void)state;
	for (const struct router_type *const *t = router_types; *t; t++) {
		for (uint64_t k = 0; k < 60; k++) {
			struct fleet_shape shape = shape_of(*t, 1);
			const struct sched_type *policy = sched_types[k % 3];
			struct sim_setup s = setup_of(policy);
			struct crowd *alone, *fleet;
			struct rng r;
			int at_first;

			rng_init(&r, 31, "crowds", k);
			alone = random_crowd(&r, &s, k % 4 == 0, &at_first);
			fleet = same_crowd(alone);
			run(alone, &s, NULL, at_first);
			run(fleet, &s, &shape, at_first);
			assert_same(alone, fleet);
			release(alone);
			release(fleet);
		}
	}
}

/* Everybody gets what he asked for, once; nothing is left in any engine; the counts agree. */
static void assert_nobody_lost(const struct crowd *c, bool cancels)
{
	int64_t tokens = 0, prompts = 0;

	for (int i = 0; i < c->n; i++) {
		const struct row *w = &c->row[i];
		int32_t want =
			w->eos_after && w->eos_after < w->max_tokens ? w->eos_after : w->max_tokens;

		assert_null(w->r);
		assert_false(w->refused);
		assert_true(w->ends <= 1);
		if (!cancels)
			assert_int_equal(w->ends, 1);
		if (w->ends) {
			assert_int_equal(w->n, want);
			assert_int_equal(w->finish,
					 want == w->eos_after ? FINISH_STOP : FINISH_LENGTH);
		}
		tokens += w->n;
		prompts += w->n > 0 ? w->prompt : 0;
	}
	assert_int_equal(c->stats.running + c->stats.waiting, 0);
	assert_int_equal(c->stats.free_blocks, c->stats.usable_blocks);
	if (!cancels) {
		assert_int_equal(c->stats.generation_tokens, tokens);
		assert_int_equal(c->stats.prompt_tokens, prompts);
	}
}

static void nobody_is_lost(void **state)
{
	int64_t preemptions = 0, hits = 0, cancelled = 0;

	(void)state;
	for (uint64_t k = 0; k < 600; k++) {
		struct sim_setup s = setup_of(&sched_vllm_v1);
		struct fleet_shape shape;
		struct crowd *c, *again;
		struct rng r;
		bool cancels = k % 3 == 0;
		int at_first;

		rng_init(&r, 32, "crowds", k);
		c = random_crowd(&r, &s, cancels, &at_first);
		shape = shape_of(router_types[k % 4], 1 + (int32_t)rng_below(&r, 6));
		if (rng_below(&r, 2)) {
			shape.decode_replicas = 1 + (int32_t)rng_below(&r, 3);
			shape.kv_latency_ns = (int64_t)rng_below(&r, 20 * NS_PER_MS);
			shape.kv_token_ps = (int64_t)rng_below(&r, PS_PER_MS);
		}
		again = same_crowd(c);
		run(c, &s, &shape, at_first);
		assert_nobody_lost(c, cancels);
		run(again, &s, &shape, at_first);
		assert_same(c, again);
		preemptions += c->stats.preemptions;
		hits += c->stats.prefix_hits_tokens;
		for (int i = 0; i < c->n; i++)
			cancelled += c->row[i].ends == 0;
		release(c);
		release(again);
	}
	assert_true(preemptions > 500 && hits > 5000 && cancelled > 500);
}

/* Everything under way goes with the fleet: nothing leaks (the sanitizers look). */
static void freed_in_the_middle(void **state)
{
	(void)state;
	for (uint64_t k = 0; k < 100; k++) {
		struct sim_setup s = setup_of(&sched_vllm_v1);
		struct fleet_shape shape = shape_of(router_types[0], 2);
		struct crowd *c;
		struct rng r;
		int at_first;

		rng_init(&r, 33, "crowds", k);
		c = random_crowd(&r, &s, false, &at_first);
		shape.decode_replicas = 1;
		shape.kv_token_ps = PS_PER_MS / 4;
		c->stop_ns = 1 + (int64_t)rng_below(&r, 600 * NS_PER_MS);
		run(c, &s, &shape, at_first);
		release(c);
	}
}

/* Users who ask again at once, more than all replicas hold. */
static double saturated_tokens_per_s(const struct router_type *t, int32_t replicas)
{
	struct sim_setup s = setup_of(&sched_vllm_v1);
	struct fleet_shape shape = shape_of(t, replicas);
	struct crowd *c = xcalloc(1, sizeof(*c));
	int64_t tokens = 0, end_ns = 0;
	double rate;

	set_knob(&s, "max_num_seqs", 4);
	c->n = 48 * replicas;
	for (int i = 0; i < c->n; i++)
		c->row[i] = (struct row){
			.cancel_ns = -1, .prompt = 40, .max_tokens = 50, .group = i, .shared = 40};
	run(c, &s, &shape, 12 * replicas);
	for (int i = 0; i < c->n; i++) {
		tokens += c->row[i].n;
		end_ns = c->row[i].done_ns > end_ns ? c->row[i].done_ns : end_ns;
	}
	rate = (double)tokens / ((double)end_ns / 1e9);
	release(c);
	return rate;
}

static void twice_the_replicas_twice_the_tokens(void **state)
{
	static const int32_t many[] = {2, 3, 4};
	double one = saturated_tokens_per_s(router("round_robin"), 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		double n = many[i];

		assert_float_equal(saturated_tokens_per_s(router("round_robin"), many[i]) / one, n,
				   0.01 * n);
		assert_float_equal(saturated_tokens_per_s(router("least_loaded"), many[i]) / one, n,
				   0.01 * n);
		assert_true(saturated_tokens_per_s(router("power_of_two"), many[i]) / one >
			    0.8 * n);
		assert_true(saturated_tokens_per_s(router("prefix_aware"), many[i]) / one >
			    0.8 * n);
	}
}

/* The same request to each at the same time: the first draws what an engine alone draws, each other
 * one its own. */
static void each_replica_has_its_own_noise(void **state)
{
	struct sim_setup s = setup_of(&sched_vllm_v1);
	struct fleet_shape shape = shape_of(router("round_robin"), 3);
	struct crowd *alone = xcalloc(1, sizeof(*alone)), *fleet;

	(void)state;
	s.noise.jitter_cv = 0.1;
	alone->n = 1;
	for (int i = 0; i < 3; i++)
		alone->row[i] = (struct row){.cancel_ns = -1, .prompt = 10, .max_tokens = 5};
	fleet = same_crowd(alone);
	fleet->n = 3;
	run(alone, &s, NULL, 1);
	run(fleet, &s, &shape, 3);
	assert_memory_equal(fleet->row[0].t_ns, alone->row[0].t_ns, 5 * sizeof(int64_t));
	for (int i = 0; i < 3; i++)
		assert_true(fleet->row[i].t_ns[0] != fleet->row[(i + 1) % 3].t_ns[0]);
	release(alone);
	release(fleet);
}

/* Groups of users with a prefix each: one replica computes it, not all. */
static void prefixes_are_found_where_they_are(void **state)
{
	int64_t hits[2];

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct sim_setup s = setup_of(&sched_vllm_v1);
		struct fleet_shape shape = shape_of(router(k ? "prefix_aware" : "round_robin"), 4);
		struct crowd *c = xcalloc(1, sizeof(*c));

		c->n = 160;
		for (int i = 0; i < c->n; i++)
			c->row[i] = (struct row){.arrive_ns = (int64_t)i * 200 * NS_PER_MS,
						 .cancel_ns = -1,
						 .prompt = 300,
						 .shared = 288,
						 .group = (i * 7 + i / 9) % 8,
						 .max_tokens = 4};
		run(c, &s, &shape, c->n);
		hits[k] = c->stats.prefix_hits_tokens;
		release(c);
	}
	assert_int_equal(hits[1], (160 - 8) * 288); /* all but the first of each group */
	assert_true(hits[0] <= INT64_C(128) * 288);
}

/* ---- prefill and decode apart ---- */

static struct fleet_shape apart(int32_t prefill, int32_t decode)
{
	struct fleet_shape s = shape_of(router("least_loaded"), prefill);

	s.decode_replicas = decode;
	s.kv_latency_ns = 5 * NS_PER_MS;
	s.kv_token_ps = PS_PER_MS / 2;
	return s;
}

/* A prompt of 100 by hand, in us: 3 ms in, 20 ms computed, its entries 50 ms on the link and 5 on
 * the way; then steps of 11 ms and 10 us for each of 101, 102 ... tokens. */
static void one_request_is_the_closed_form(void **state)
{
	static const int64_t egress_ms[] = {0, 2, 200};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(egress_ms); k++) {
		struct sim_setup s = setup_of(&sched_vllm_v1);
		struct fleet_shape shape = apart(1, 1);
		struct crowd *c = xcalloc(1, sizeof(*c));
		int64_t us = 23000;

		s.ingest_ns = 3 * NS_PER_MS;
		s.egress_ns = egress_ms[k] * NS_PER_MS;
		c->n = 1;
		c->row[0] = (struct row){.cancel_ns = -1, .prompt = 100, .max_tokens = 6};
		run(c, &s, &shape, 1);
		assert_int_equal(c->row[0].n, 6);
		assert_int_equal(c->row[0].t_ns[0], (us + egress_ms[k] * 1000) * 1000);
		us += 55000;
		for (int32_t i = 1; i < 6; i++) {
			us += 11000 + 10 * (100 + i);
			assert_int_equal(c->row[0].t_ns[i], (us + egress_ms[k] * 1000) * 1000);
		}
		assert_int_equal(c->stats.prompt_tokens, 100);
		assert_int_equal(c->stats.generation_tokens, 6);
		release(c);
	}
}

/* Ten prompts at once are one step; their entries go one after the other, 50 ms each, over as many
 * links as replicas prefill; a decode step is over before the next ones come. */
static void a_link_serves_one_after_the_other(void **state)
{
	(void)state;
	for (int32_t links = 1; links <= 2; links++) {
		struct sim_setup s = setup_of(&sched_vllm_v1);
		struct fleet_shape shape = apart(links, 4);
		struct crowd *c = xcalloc(1, sizeof(*c));
		int32_t each = 10 / links;
		int64_t made_us = 10000 + each * 10000;

		c->n = 10;
		for (int i = 0; i < c->n; i++)
			c->row[i] = (struct row){.cancel_ns = -1, .prompt = 100, .max_tokens = 2};
		run(c, &s, &shape, c->n);
		for (int i = 0; i < c->n; i++) {
			int64_t sent_us = made_us + (i / links + 1) * INT64_C(50000);

			assert_int_equal(c->row[i].t_ns[0], made_us * 1000);
			assert_int_equal(c->row[i].t_ns[1], (sent_us + 5000 + 12010) * 1000);
		}
		release(c);
	}
}

/* Long prompts come while somebody reads: apart he does not notice, together he waits for each. */
static void decode_does_not_wait_for_prompts(void **state)
{
	int64_t longest_us[2] = {0};

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct sim_setup s = setup_of(&sched_vllm_v1);
		struct fleet_shape shape = k ? apart(1, 1) : shape_of(router("round_robin"), 1);
		struct crowd *c = xcalloc(1, sizeof(*c));
		const struct row *w = &c->row[0];

		c->n = 4;
		c->row[0] = (struct row){.cancel_ns = -1, .prompt = 100, .max_tokens = 60};
		for (int i = 1; i < c->n; i++)
			c->row[i] = (struct row){.arrive_ns = (200 + 100 * i) * NS_PER_MS,
						 .cancel_ns = -1,
						 .prompt = 1000,
						 .max_tokens = 1};
		run(c, &s, &shape, c->n);
		for (int32_t i = 2; i < w->n; i++) {
			int64_t us = (w->t_ns[i] - w->t_ns[i - 1]) / 1000;

			longest_us[k] = us > longest_us[k] ? us : longest_us[k];
			if (k)
				assert_int_equal(us, 11000 + 10 * (100 + i));
		}
		release(c);
	}
	assert_true(longest_us[0] > 110000);
	assert_int_equal(longest_us[1], 11000 + 10 * (100 + 59));
}

/* ---- profiles ---- */

static const char base[] =
	"name: n\nengine: e\ndescription: d\nsource: s\n"
	"model: {name: m, params: 5e9, weight_bits: 16, layers: 10, hidden: 1000, kv_heads: 4, "
	"head_dim: 125}\n"
	"scheduler: {policy: vllm-v1}\n"
	"cost: {affine: {step: 10ms}}\n";

static const char pools[] =
	"disaggregated={prefill_replicas: 2, decode_replicas: 3, kv_transfer: {bandwidth: 10GB/s, "
	"latency: 100us}}";

static enum rc parse(struct profile *p, const char *set, const char *other, struct err *e)
{
	const struct profile_set sets[] = {{set, "--set x"}, {other, "--set x"}};

	return profile_parse(p, "f.yaml", base, strlen(base), sets, (set != NULL) + (other != NULL),
			     e);
}

static void what_a_profile_may_say(void **state)
{
	static const struct {
		const char *set, *other, *says;
	} row[] = {
		{"replicas=1000", NULL, NULL},
		{"replicas=1", "router=power_of_two", NULL},
		{"replicas=4", "router={policy: prefix_aware, prefix_tokens: 32, load: tokens}",
		 NULL},
		{pools, "router=round_robin", NULL},
		{"replicas=0", NULL, "replicas"},
		{"replicas=1001", NULL, "1000"},
		{"router=round_robin", NULL, "nothing to choose from without `replicas`"},
		{"replicas=2", "router=random", "no such router; there are round_robin"},
		{"replicas=2", "router={load: tokens}", "\"policy\" is missing"},
		{"replicas=2", "router={policy: round_robin, load: tokens}", "load"},
		{"replicas=2", "router={policy: least_loaded, load: bytes}", "bytes"},
		{pools, "replicas=2", "says how many replicas there are"},
		{pools, "scheduler={policy: sglang}", "policy sglang knows nothing of it"},
		{pools, "model={name: m}", "from bytes_per_token"},
		{"disaggregated={prefill_replicas: 1, decode_replicas: 1}", NULL,
		 "\"kv_transfer\" is missing"},
		{"disaggregated={prefill_replicas: 1, kv_transfer: {bandwidth: 1GB/s}}", NULL,
		 "\"decode_replicas\" is missing"},
		{"disaggregated={prefill_replicas: 1, decode_replicas: 0}", NULL,
		 "decode_replicas"},
		{"disaggregated={prefill_replicas: 1, decode_replicas: 1, kv_transfer: {latency: "
		 "1us}}",
		 NULL, "\"bandwidth\" is missing"},
		{"disaggregated={prefill_replicas: 1, decode_replicas: 1, kv_transfer: {bandwidth: "
		 "1MB/s}}",
		 NULL, "more than 5 ms"},
	};
	struct profile p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		enum rc rc = parse(&p, row[i].set, row[i].other, &e);

		if (rc == RC_OK)
			profile_release(&p);
		if (!row[i].says && rc)
			fail_msg("row %zu: %s", i, e.msg);
		if (row[i].says && (rc != RC_INPUT || !strstr(e.msg, row[i].says)))
			fail_msg("row %zu: rc %d, \"%s\", want \"%s\"", i, rc, rc ? e.msg : "",
				 row[i].says);
	}
}

/* 2 x 10 x 4 x 125 x 2 = 20 kB a token: 2 us at 10 GB/s; or what is given. */
static void what_becomes_of_it(void **state)
{
	struct fleet_shape s;
	struct profile p;
	struct buf b;

	(void)state;
	assert_int_equal(parse(&p, pools, NULL, NULL), RC_OK);
	assert_true(profile_is_fleet(&p));
	s = profile_fleet(&p);
	assert_int_equal(s.replicas, 2);
	assert_int_equal(s.decode_replicas, 3);
	assert_int_equal(s.kv_latency_ns, 100000);
	assert_int_equal(s.kv_token_ps, 2000000);
	buf_init(&b, 1 << 20);
	assert_true(explain(&b, &p, 64, 128));
	assert_non_null(strstr(buf_cstr(&b), "Fleet: 2 replicas prefill, 3 decode (given)"));
	assert_non_null(strstr(buf_cstr(&b), "20000 bytes a token"));
	profile_release(&p);
	buf_clear(&b);

	assert_int_equal(parse(&p, pools, "disaggregated.kv_transfer.bytes_per_token=5000", NULL),
			 RC_OK);
	assert_int_equal(profile_fleet(&p).kv_token_ps, 500000);
	profile_release(&p);

	assert_int_equal(
		parse(&p, "replicas=4", "router={policy: prefix_aware, load_bound: 2}", NULL),
		RC_OK);
	s = profile_fleet(&p);
	assert_int_equal(s.replicas, 4);
	assert_int_equal(s.decode_replicas, 0);
	assert_string_equal(s.router->name, "prefix_aware");
	assert_float_equal(s.router_knobs[1], 256, 0);
	assert_float_equal(s.router_knobs[2], 2, 0);
	assert_true(explain(&b, &p, 64, 128));
	assert_non_null(strstr(buf_cstr(&b), "Fleet: 4 replicas (given)"));
	assert_non_null(strstr(buf_cstr(&b), "prefix_tokens"));
	profile_release(&p);
	buf_release(&b);

	assert_int_equal(parse(&p, NULL, NULL, NULL), RC_OK);
	assert_false(profile_is_fleet(&p));
	assert_int_equal(profile_fleet(&p).replicas, 1);
	profile_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fleet_of_one_is_that_one),
		cmocka_unit_test(nobody_is_lost),
		cmocka_unit_test(freed_in_the_middle),
		cmocka_unit_test(twice_the_replicas_twice_the_tokens),
		cmocka_unit_test(each_replica_has_its_own_noise),
		cmocka_unit_test(prefixes_are_found_where_they_are),
		cmocka_unit_test(one_request_is_the_closed_form),
		cmocka_unit_test(a_link_serves_one_after_the_other),
		cmocka_unit_test(decode_does_not_wait_for_prompts),
		cmocka_unit_test(what_a_profile_may_say),
		cmocka_unit_test(what_becomes_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
