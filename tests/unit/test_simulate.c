/*
 * The engine in virtual time: closed forms, the policy stepped by hand, the engine loop with the
 * simulated executor as a second opinion, and runs of equal steps against the same steps one by
 * one, over random crowds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/rng.h"
#include "fakeengine/executor_sim.h"
#include "fakeengine/simulate.h"
#include "fakeengine/wordcodec.h"
#include "serve/engine_loop.h"

#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

enum { MAX_CROWD = 64 };

/* What one request asks and what became of it. */
struct row {
	int64_t arrive_ns, cancel_ns; /* -1 = never */
	int32_t prompt, shared, max_tokens, eos_after;
	int priority;
	int32_t adapter;
	bool watched; /* its tokens are told one by one */
	int64_t *t_ns;
	int32_t n, cap;
	int32_t n_tokens; /* ... were made, which with speculation are more than left */
	int64_t done_ns;
	enum genreq_finish finish;
	int32_t cached, preemptions;
	struct timer arrive, cancel;
	struct genreq *r; /* while it is in the engine */
};

struct crowd {
	struct row row[MAX_CROWD];
	int n;
	int next; /* closed loop: who comes when somebody ends; n = nobody */
	uint64_t seed;

	struct evloop *loop;
	struct sim *sim;
	struct engine *engine; /* instead of sim */
	struct sim_stats stats;
	int64_t in_runs; /* tokens that came several at once */
	int64_t n_gaps, sum_gaps_ns;
};

static struct crowd *crowd_now; /* of the sinks */

static void take_token_times(struct row *w, const int64_t *t_ns, int32_t n)
{
	if (w->n + n > w->cap) {
		w->cap = 2 * (w->n + n);
		w->t_ns = xreallocarray(w->t_ns, (size_t)w->cap, sizeof(*w->t_ns));
	}
	memcpy(w->t_ns + w->n, t_ns, (size_t)n * sizeof(*t_ns));
	w->n += n;
}

static void arrive(struct crowd *c, struct row *w);

static void take_end(struct row *w, const struct genreq *r, int64_t t_ns)
{
	struct crowd *c = crowd_now;

	w->done_ns = t_ns;
	w->n_tokens = genreq_output_tokens(r);
	w->finish = r->finish;
	w->cached = r->cached_tokens;
	w->preemptions = r->slot.preemptions;
	w->r = NULL;
	evloop_timer_cancel(c->loop, &w->cancel);
	if (c->next < c->n)
		arrive(c, &c->row[c->next++]);
}

static void sim_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	for (int32_t i = 1; i < n; i++)
		assert_true(t_ns[i] >= t_ns[i - 1]);
	if (n > 1)
		crowd_now->in_runs += n;
	assert_true(n == 1 || !r->watched);
	assert_true(t_ns[n - 1] <= evloop_now_ns(crowd_now->loop));
	take_token_times(r->owner, t_ns, n);
}

static void on_gap(void *owner, int64_t gap_ns, int32_t n)
{
	(void)owner;
	crowd_now->n_gaps += n;
	crowd_now->sum_gaps_ns += n * gap_ns;
}

static void sim_done(struct genreq *r, int64_t t_ns)
{
	assert_int_equal(t_ns, evloop_now_ns(crowd_now->loop));
	take_end(r->owner, r, t_ns);
}

static void loop_token(struct genreq *r, int32_t token, int64_t due_ns, bool more)
{
	struct row *w = r->owner;

	assert_int_equal(token, wordcodec_filler(r->seed, w->n_tokens++));
	if (!more) /* in virtual time a step's tokens are one event, too */
		take_token_times(w, &due_ns, 1);
}

static void loop_done(struct genreq *r)
{
	struct row *w = r->owner;

	if (r->finish != FINISH_ABORT)
		take_end(w, r, evloop_now_ns(crowd_now->loop));
	genreq_free(r);
}

static const struct sim_sink sim_sink = {sim_tokens, sim_done};
static const struct engine_sink loop_sink = {.on_token = loop_token, .on_done = loop_done};

/* The first `shared` tokens of a prompt are everybody's. */
static struct genreq *make_request(const struct crowd *c, struct row *w)
{
	int32_t *tokens = xcalloc((size_t)w->prompt, sizeof(*tokens));
	int id = (int)(w - c->row);
	struct genreq *r;

	for (int32_t i = 0; i < w->prompt; i++)
		tokens[i] = i < w->shared ? i + 1 : 1000 * (id + 1) + i;
	r = genreq_new((uint64_t)id, NULL, tokens, w->prompt, w->max_tokens);
	free(tokens);
	r->owner = w;
	r->seed = c->seed + (uint64_t)id;
	r->eos_after = w->eos_after;
	r->priority = w->priority;
	r->adapter = w->adapter;
	r->watched = w->watched;
	return r;
}

static void arrive(struct crowd *c, struct row *w)
{
	struct genreq *r = make_request(c, w);
	enum rc rc = c->sim ? sim_submit(c->sim, r, NULL)
			    : engine_submit(c->engine, r, &loop_sink, evloop_now_ns(c->loop), NULL);

	if (rc) {
		genreq_free(r);
		return;
	}
	w->r = r;
	if (w->cancel_ns >= 0)
		evloop_timer(c->loop, &w->cancel, evloop_now_ns(c->loop) + w->cancel_ns);
}

static void on_arrive(struct timer *t, int64_t now_ns)
{
	(void)now_ns;
	arrive(crowd_now, CONTAINER(t, struct row, arrive));
}

static void on_cancel(struct timer *t, int64_t now_ns)
{
	struct row *w = CONTAINER(t, struct row, cancel);

	if (!w->r)
		return;
	w->done_ns = now_ns;
	if (crowd_now->sim) {
		sim_catch_up(crowd_now->sim, w->r);
		sim_cancel(crowd_now->sim, w->r);
	} else {
		engine_cancel(crowd_now->engine, w->r, FINISH_ABORT);
	}
	w->r = NULL;
}

/* Drives the crowd through an engine; the rows say what happened. */
static void crowd_run(struct crowd *c, int at_first)
{
	crowd_now = c;
	for (int i = 0; i < c->n; i++) {
		struct row *w = &c->row[i];

		w->arrive.fn = on_arrive;
		w->cancel.fn = on_cancel;
		if (i < at_first)
			evloop_timer(c->loop, &w->arrive, w->arrive_ns);
	}
	c->next = at_first;
	evloop_run(c->loop);
}

static void crowd_simulate(struct crowd *c, const struct sim_setup *setup, int at_first)
{
	struct err e;

	c->loop = evloop_new_virtual(0);
	if (sim_new(&c->sim, c->loop, setup, &sim_sink, &e) != RC_OK)
		fail_msg("%s", e.msg);
	crowd_run(c, at_first);
	sim_stats(c->sim, &c->stats);
	assert_int_equal(c->stats.sched.running + c->stats.sched.waiting, 0);
	assert_int_equal(c->stats.sched.free_blocks, c->stats.sched.usable_blocks);
	sim_free(c->sim);
	c->sim = NULL;
	evloop_free(c->loop);
}

static void crowd_free(struct crowd *c)
{
	for (int i = 0; i < c->n; i++)
		free(c->row[i].t_ns);
	free(c);
}

static struct sim_setup setup_of(const struct sched_type *policy, const struct cost *cost)
{
	static const struct drafter drafter = {{0.8, 0.6, 0.6, 0.9, 0.3}};
	struct sim_setup s = {
		.policy = policy, .cost = cost, .seed = 7, .drafter = &drafter, .on_gap = on_gap};

	sched_defaults(policy, s.knobs);
	return s;
}

static void set_knob(struct sim_setup *s, const char *name, double value)
{
	int i = sched_knob(s->policy, name);

	if (i >= 0)
		s->knobs[i] = value;
}

/* ---- closed forms ---- */

static const struct cost seed_cost = {.type = &cost_constant,
				      .coef = {80 * PS_PER_MS, 4 * PS_PER_MS}};

static void test_static_is_the_closed_form(void **state)
{
	struct sim_setup s = setup_of(&sched_static, &seed_cost);
	struct crowd *c = xcalloc(1, sizeof(*c));

	(void)state;
	s.ingest_ns = 3 * NS_PER_MS;
	s.egress_ns = 2 * NS_PER_MS;
	c->n = 5;
	for (int i = 0; i < c->n; i++)
		c->row[i] = (struct row){.arrive_ns = i * (7 * NS_PER_MS),
					 .cancel_ns = -1,
					 .prompt = 10 + i,
					 .max_tokens = 20 + i};
	crowd_simulate(c, &s, c->n);
	for (int i = 0; i < c->n; i++) {
		const struct row *w = &c->row[i];

		assert_int_equal(w->n, 20 + i);
		for (int32_t k = 0; k < w->n; k++)
			assert_int_equal(w->t_ns[k], w->arrive_ns + (3 + 80 + 4 * (k + INT64_C(1)) +
								     2) * NS_PER_MS);
		assert_int_equal(w->done_ns, w->t_ns[w->n - 1]);
		assert_int_equal(w->finish, FINISH_LENGTH);
	}
	crowd_free(c);
}

static const struct cost affine = {.type = &cost_affine,
				   .coef = {[AFFINE_STEP] = 8 * PS_PER_MS,
					    [AFFINE_PREFILL_TOKEN] = 41000123,
					    [AFFINE_DECODE_SEQ] = 12000777,
					    [AFFINE_KV_TOKEN] = 30011},
				   .draft = {7000111, 50021},
				   .load = {900002700, 2000007},
				   .adapter_ps = 300007001};

/* Two requests by hand: the second one's prompt shares a step with the first one's token. */
static void test_two_requests_by_hand(void **state)
{
	static const struct cost plain = {.type = &cost_affine,
					  .coef = {[AFFINE_STEP] = 10 * PS_PER_MS,
						   [AFFINE_PREFILL_TOKEN] = PS_PER_MS / 10,
						   [AFFINE_DECODE_SEQ] = PS_PER_MS}};
	struct sim_setup s = setup_of(&sched_vllm_v1, &plain);
	struct crowd *c = xcalloc(1, sizeof(*c));
	/* 0: prompt of 100, 20 ms. 20: a token, 11 ms. 31: a token and a prompt of 50, 16 ms. 47:
	 * two tokens, 12 ms. 59: one, 11 ms. */
	static const int64_t first_ms[] = {20, 31, 47, 59}, second_ms[] = {47, 59, 70};

	(void)state;
	c->n = 2;
	c->row[0] = (struct row){.arrive_ns = 0, .cancel_ns = -1, .prompt = 100, .max_tokens = 4};
	c->row[1] = (struct row){
		.arrive_ns = 25 * NS_PER_MS, .cancel_ns = -1, .prompt = 50, .max_tokens = 3};
	crowd_simulate(c, &s, c->n);
	assert_int_equal(c->row[0].n, ARRAY_LEN(first_ms));
	for (size_t i = 0; i < ARRAY_LEN(first_ms); i++)
		assert_int_equal(c->row[0].t_ns[i], first_ms[i] * NS_PER_MS);
	assert_int_equal(c->row[1].n, ARRAY_LEN(second_ms));
	for (size_t i = 0; i < ARRAY_LEN(second_ms); i++)
		assert_int_equal(c->row[1].t_ns[i], second_ms[i] * NS_PER_MS);
	crowd_free(c);
}

/* What arrives at the very end of a step is part of the next one; what is asked because a token
 * came finds the next one planned. */
static void test_order_within_an_instant(void **state)
{
	static const struct cost ten_ms = {.type = &cost_affine,
					   .coef = {[AFFINE_STEP] = 10 * PS_PER_MS}};
	struct sim_setup s = setup_of(&sched_vllm_v1, &ten_ms);
	struct crowd *c = xcalloc(1, sizeof(*c));

	(void)state;
	c->n = 4;
	for (int i = 0; i < c->n; i++)
		c->row[i] = (struct row){.cancel_ns = -1, .prompt = 4, .max_tokens = 4};
	c->row[1].arrive_ns = 10 * NS_PER_MS;
	c->row[2].max_tokens = 1; /* ends at 10 ms; its end lets row 3 come */
	crowd_simulate(c, &s, 3);
	assert_int_equal(c->row[1].t_ns[0], 20 * NS_PER_MS);
	assert_int_equal(c->row[2].done_ns, 10 * NS_PER_MS);
	assert_int_equal(c->row[3].t_ns[0], 30 * NS_PER_MS);
	crowd_free(c);
}

/* ---- random crowds ---- */

static struct crowd *random_crowd(struct rng *r, struct sim_setup *s, int *at_first)
{
	struct crowd *c = xcalloc(1, sizeof(*c));
	bool shared = rng_below(r, 2), cancels = rng_below(r, 3) == 0;
	int64_t at_ns = 0;
	int32_t loras;
	int block_size, blocks;
	bool caching;

	c->n = 1 + (int)rng_below(r, MAX_CROWD);
	c->seed = rng_u64(r) >> 1;
	for (int i = 0; i < c->n; i++) {
		struct row *w = &c->row[i];

		at_ns += rng_below(r, 3) ? (int64_t)rng_below(r, 60 * NS_PER_MS) : 0;
		w->arrive_ns = at_ns;
		w->prompt = 1 + (int32_t)rng_below(r, 90);
		w->shared = shared ? (int32_t)rng_below(r, 64) : 0;
		w->max_tokens = 1 + (int32_t)rng_below(r, 120);
		w->eos_after = rng_below(r, 3) ? 0 : 1 + (int32_t)rng_below(r, 60);
		w->priority = (int)rng_below(r, 3);
		w->watched = rng_below(r, 8) == 0;
		w->cancel_ns = cancels && rng_below(r, 3) == 0
				       ? (int64_t)rng_below(r, 900 * NS_PER_MS)
				       : -1;
	}
	*at_first = rng_below(r, 2) ? c->n : 1 + (int)rng_below(r, (uint64_t)c->n);
	if (rng_below(r, 3) == 0)
		s->noise = (struct cost_noise){0.1, 0.02, 40 * PS_PER_MS};
	s->ingest_ns = rng_below(r, 2) ? (int64_t)rng_below(r, 5 * NS_PER_MS) : 0;
	s->egress_ns = rng_below(r, 2) ? (int64_t)rng_below(r, 30 * NS_PER_MS) : 0;
	set_knob(s, "max_num_seqs", 1 + (double)rng_below(r, 24));
	set_knob(s, "max_num_batched_tokens", 24 + (double)rng_below(r, 200));
	block_size = 1 << rng_below(r, 5);
	set_knob(s, "block_size", block_size);
	blocks = 240 / block_size * (1 + (int)rng_below(r, 4));
	set_knob(s, "num_gpu_blocks", 2 + blocks);
	caching = rng_below(r, 2);
	set_knob(s, "enable_prefix_caching", caching);
	set_knob(s, "num_cpu_blocks", caching && rng_below(r, 2) ? blocks : 0);
	set_knob(s, "scheduling_policy", (double)(rng_below(r, 4) == 0));
	loras = rng_below(r, 3) || sched_knob(s->policy, "max_loras") < 0
			? 0
			: 1 + (int32_t)rng_below(r, 3);
	set_knob(s, "max_loras", loras);
	for (int i = 0; loras > 0 && i < c->n; i++)
		c->row[i].adapter = (int32_t)rng_below(r, 2 * (uint64_t)loras);
	set_knob(s, "num_speculative_tokens", rng_below(r, 4) ? 0 : 1 + (double)rng_below(r, 5));
	return c;
}

static struct crowd *same_crowd(const struct crowd *from)
{
	struct crowd *c = xcalloc(1, sizeof(*c));

	*c = *from;
	return c;
}

static void assert_same_rows(const struct crowd *a, const struct crowd *b)
{
	for (int i = 0; i < a->n; i++) {
		const struct row *x = &a->row[i], *y = &b->row[i];

		assert_int_equal(x->n, y->n);
		if (x->n)
			assert_memory_equal(x->t_ns, y->t_ns, (size_t)x->n * sizeof(*x->t_ns));
		if (x->finish != FINISH_NONE)
			assert_int_equal(x->n_tokens, y->n_tokens);
		assert_int_equal(x->done_ns, y->done_ns);
		assert_int_equal(x->finish, y->finish);
		assert_int_equal(x->cached, y->cached);
		assert_int_equal(x->preemptions, y->preemptions);
	}
}

static void test_runs_are_the_same_steps(void **state)
{
	int64_t tokens = 0, in_runs = 0, preemptions = 0, hits = 0, cancelled = 0, loaded = 0;

	(void)state;
	for (uint64_t k = 0; k < 600; k++) {
		struct sim_setup s = setup_of(&sched_vllm_v1, &affine);
		struct crowd *runs, *steps;
		struct rng r;
		int at_first;

		rng_init(&r, 11, "crowds", k);
		runs = random_crowd(&r, &s, &at_first);
		steps = same_crowd(runs);
		crowd_simulate(runs, &s, at_first);
		s.step_by_step = true;
		crowd_simulate(steps, &s, at_first);
		assert_same_rows(runs, steps);
		assert_memory_equal(&runs->stats, &steps->stats, sizeof(runs->stats));
		assert_int_equal(steps->in_runs, 0);
		assert_int_equal(runs->n_gaps, steps->n_gaps);
		assert_int_equal(runs->sum_gaps_ns, steps->sum_gaps_ns);
		in_runs += runs->in_runs;
		tokens += runs->stats.generation_tokens;
		preemptions += runs->stats.sched.preemptions;
		hits += runs->stats.sched.prefix_hits_tokens;
		loaded += runs->stats.sched.external_hits_tokens;
		for (int i = 0; i < runs->n; i++)
			cancelled += runs->row[i].finish == FINISH_NONE;
		crowd_free(runs);
		crowd_free(steps);
	}
	assert_true(tokens > 100000 && in_runs > tokens / 5 && preemptions > 100 && hits > 1000 &&
		    cancelled > 100 && loaded > 300);
}

/* More steps than are remembered at once: what is forgotten was told, to the nanosecond. */
static void test_long_answers(void **state)
{
	enum { TOKENS = 150000 };
	struct sim_setup s = setup_of(&sched_vllm_v1, &affine);
	struct crowd *c = xcalloc(1, sizeof(*c));

	(void)state;
	s.egress_ns = 50 * NS_PER_MS;
	set_knob(&s, "enable_prefix_caching", 0);
	c->n = 2;
	for (int i = 0; i < c->n; i++)
		c->row[i] = (struct row){.arrive_ns = i * (100 * NS_PER_MS),
					 .cancel_ns = -1,
					 .prompt = 10,
					 .max_tokens = TOKENS >> i};
	crowd_simulate(c, &s, c->n);
	for (int i = 0; i < c->n; i++) {
		const struct row *w = &c->row[i];

		assert_int_equal(w->n, TOKENS >> i);
		assert_int_equal(w->done_ns, w->t_ns[w->n - 1]);
	}
	assert_int_equal(c->n_gaps, TOKENS + TOKENS / 2 - 2);
	assert_int_equal(c->sum_gaps_ns, c->row[0].t_ns[TOKENS - 1] - c->row[0].t_ns[0] +
						 c->row[1].t_ns[TOKENS / 2 - 1] -
						 c->row[1].t_ns[0]);
	/* alone in the end: the context is all that makes a step longer */
	for (int32_t k = TOKENS - 1000; k < TOKENS; k++) {
		int64_t gap_ns = c->row[0].t_ns[k] - c->row[0].t_ns[k - 1];
		int64_t ps = affine.coef[AFFINE_STEP] + affine.coef[AFFINE_DECODE_SEQ] +
			     (10 + k) * affine.coef[AFFINE_KV_TOKEN];

		assert_int_equal(gap_ns, ps_to_ns(ps));
	}
	crowd_free(c);
}

/* ---- the second opinion ---- */

static void virtual_set(void *arg, struct timer *t, int64_t at_ns)
{
	evloop_timer(arg, t, at_ns);
}

static void virtual_cancel(void *arg, struct timer *t)
{
	evloop_timer_cancel(arg, t);
}

static void crowd_engine_loop(struct crowd *c, const struct sim_setup *s, int at_first)
{
	struct sim_config executor = {
		.cost = s->cost, .noise = s->noise, .seed = s->seed, .drafter = s->drafter};
	struct engine_config config = {.policy = s->policy,
				       .executor = &executor_sim,
				       .executor_config = &executor,
				       .eos_token = wordcodec.eos_token,
				       .ingest_ns = s->ingest_ns,
				       .egress_ns = s->egress_ns};
	struct err e;

	memcpy(config.knobs, s->knobs, sizeof(config.knobs));
	c->loop = evloop_new_virtual(0);
	executor.timers = (struct sim_timers){virtual_set, virtual_cancel, c->loop};
	if (engine_new(&c->engine, c->loop, &config, &e) != RC_OK)
		fail_msg("%s", e.msg);
	crowd_run(c, at_first);
	engine_free(c->engine);
	evloop_free(c->loop);
}

static bool knobs_agree(const struct sim_setup *s)
{
	struct sched *sched;

	if (s->policy->open(&sched, s->knobs, -1, NULL) != RC_OK)
		return false;
	s->policy->close(sched);
	return true;
}

static void compare_with_engine_loop(const struct sched_type *policy, uint64_t k)
{
	struct sim_setup s = setup_of(policy, &affine);
	struct crowd *simulated, *served;
	struct rng r;
	int at_first;

	rng_init(&r, 12, "crowds", k);
	simulated = random_crowd(&r, &s, &at_first);
	if (!knobs_agree(&s)) {
		sched_defaults(s.policy, s.knobs);
		for (int i = 0; i < simulated->n; i++)
			simulated->row[i].adapter = 0;
	}
	served = same_crowd(simulated);
	crowd_simulate(simulated, &s, at_first);
	crowd_engine_loop(served, &s, at_first);
	assert_same_rows(simulated, served);
	crowd_free(simulated);
	crowd_free(served);
}

/* The same crowds through the engine that serves HTTP, its loop in virtual time. */
static void test_engine_loop_agrees(void **state)
{
	(void)state;
	for (const struct sched_type *const *p = sched_types; *p; p++)
		for (uint64_t k = 0; k < 40; k++)
			compare_with_engine_loop(*p, k);
}

static void test_refusals(void **state)
{
	struct sim_setup s = setup_of(&sched_vllm_v1, &affine);
	struct evloop *loop = evloop_new_virtual(0);
	struct crowd c = {.row[0] = {.prompt = 100, .max_tokens = 1}};
	struct genreq *r;
	struct sim *sim;
	struct err e;

	(void)state;
	set_knob(&s, "max_model_len", 1);
	assert_int_equal(sim_new(&sim, loop, &s, &sim_sink, &e), RC_INPUT);
	set_knob(&s, "max_model_len", 50);
	assert_int_equal(sim_new(&sim, loop, &s, &sim_sink, &e), RC_OK);
	assert_int_equal(sim_max_len(sim), 50);
	r = make_request(&c, &c.row[0]);
	assert_int_equal(sim_submit(sim, r, &e), RC_INPUT);
	genreq_free(r);
	sim_free(sim);
	evloop_free(loop);
}

/* Everything still under way goes with the engine: nothing leaks (the sanitizers look). */
static void test_freed_in_the_middle(void **state)
{
	struct sim_setup s = setup_of(&sched_vllm_v1, &affine);
	struct crowd *c = xcalloc(1, sizeof(*c));

	(void)state;
	s.ingest_ns = NS_PER_MS;
	s.egress_ns = 20 * NS_PER_MS;
	c->n = 3;
	crowd_now = c;
	c->loop = evloop_new_virtual(0);
	assert_int_equal(sim_new(&c->sim, c->loop, &s, &sim_sink, NULL), RC_OK);
	for (int i = 0; i < c->n; i++) {
		c->row[i] = (struct row){.cancel_ns = -1, .prompt = 30, .max_tokens = 50};
		arrive(c, &c->row[i]);
	}
	for (int turns = 0; turns < 4; turns++)
		evloop_once(c->loop);
	sim_free(c->sim);
	evloop_free(c->loop);
	crowd_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_static_is_the_closed_form),
		cmocka_unit_test(test_two_requests_by_hand),
		cmocka_unit_test(test_order_within_an_instant),
		cmocka_unit_test(test_runs_are_the_same_steps),
		cmocka_unit_test(test_long_answers),
		cmocka_unit_test(test_engine_loop_agrees),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_freed_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
