/*
 * The simulated executor on a virtual clock: deadlines are the model's whatever the lateness, many
 * steps may be in flight, noise comes from the seed, words from the request; and the formulas.
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
#include "base/timerq.h"
#include "fakeengine/executor_sim.h"
#include "fakeengine/wordcodec.h"
#include "serve/sched.h"

#define MAX_RESULTS 4096

/* An executor whose timers stand in a queue, and what it reported. */
struct bench {
	struct timerq timers;
	struct sim_config config;
	struct executor *x;
	int64_t end_ns[MAX_RESULTS];
	int32_t first_token[MAX_RESULTS];
	struct step_plan *plan[MAX_RESULTS];
	int n;
};

static const struct cost two_phases = {
	.type = &cost_phases,
	.coef = {20 * PS_PER_MS, 10 * PS_PER_MS},
};

static void queue_set(void *arg, struct timer *t, int64_t at_ns)
{
	timerq_add(arg, t, at_ns);
}

static void queue_cancel(void *arg, struct timer *t)
{
	timerq_remove(arg, t);
}

static void note_result(const struct step_result *r, void *arg)
{
	struct bench *b = arg;

	assert_true(b->n < MAX_RESULTS);
	assert_false(r->failed);
	b->plan[b->n] = r->plan;
	b->first_token[b->n] = r->plan->n_items ? r->token[0] : 0;
	b->end_ns[b->n++] = r->end_ns;
}

static void bench_open(struct bench *b, struct cost_noise noise, uint64_t seed)
{
	struct executor_opts o = {.done = note_result, .arg = b, .config = &b->config};

	memset(b, 0, sizeof(*b));
	timerq_init(&b->timers);
	b->config = (struct sim_config){
		.cost = &two_phases,
		.noise = noise,
		.seed = seed,
		.timers = {queue_set, queue_cancel, &b->timers},
	};
	assert_int_equal(executor_sim.open(&b->x, &o, NULL), RC_OK);
}

static void bench_close(struct bench *b)
{
	executor_sim.close(b->x);
	assert_null(timerq_peek(&b->timers)); /* what was in flight is cancelled */
	timerq_release(&b->timers);
}

static void test_deadline_is_the_models(void **state)
{
	static struct bench b;
	struct step_plan first = {.start_ns = 1000, .prefill_tokens = 5};
	struct step_plan second = {.start_ns = 1000 + 20 * NS_PER_MS, .decode_seqs = 1};

	(void)state;
	bench_open(&b, (struct cost_noise){0}, 1);
	executor_sim.submit(b.x, &first);
	assert_int_equal(b.n, 0); /* never from inside submit() */
	assert_int_equal(timerq_run(&b.timers, 1000 + 20 * NS_PER_MS - 1), 0);
	assert_int_equal(timerq_run(&b.timers, 1000 + 25 * NS_PER_MS), 1); /* noticed 5 ms late */
	assert_int_equal(b.end_ns[0], 1000 + 20 * NS_PER_MS);
	executor_sim.submit(b.x, &second);
	timerq_run(&b.timers, 1000 + 60 * NS_PER_MS);
	assert_int_equal(b.end_ns[1], 1000 + 30 * NS_PER_MS); /* the lateness does not add up */
	assert_ptr_equal(b.plan[1], &second);
	bench_close(&b);
}

static void test_many_in_flight(void **state)
{
	enum { N = 100 };
	static struct bench b;
	struct step_plan plan[N];

	(void)state;
	bench_open(&b, (struct cost_noise){0}, 1);
	for (int i = 0; i < N; i++) { /* what is submitted first ends last */
		plan[i] = (struct step_plan){.start_ns = (N - i) * NS_PER_MS, .decode_seqs = 1};
		executor_sim.submit(b.x, &plan[i]);
	}
	timerq_run(&b.timers, (N / 2 + 10) * NS_PER_MS);
	assert_int_equal(b.n, N / 2);
	for (int i = 0; i < b.n; i++) {
		assert_ptr_equal(b.plan[i], &plan[N - 1 - i]);
		assert_int_equal(b.end_ns[i], (i + 11) * NS_PER_MS);
	}
	bench_close(&b); /* with the other half in flight */
	assert_int_equal(b.n, N / 2);
}

static void test_equal_deadlines_in_order(void **state)
{
	static struct bench b;
	struct step_plan plan[10] = {0};

	(void)state;
	bench_open(&b, (struct cost_noise){0}, 1);
	for (int i = 0; i < 10; i++)
		executor_sim.submit(b.x, &plan[i]);
	timerq_run(&b.timers, 0);
	assert_int_equal(b.n, 10);
	for (int i = 0; i < 10; i++)
		assert_ptr_equal(b.plan[i], &plan[i]);
	bench_close(&b);
}

static void run_noise(struct bench *b, struct cost_noise noise, uint64_t seed)
{
	static struct step_plan plan[MAX_RESULTS];

	bench_open(b, noise, seed);
	for (int i = 0; i < MAX_RESULTS; i++) {
		plan[i] = (struct step_plan){.decode_seqs = 1};
		executor_sim.submit(b->x, &plan[i]);
		timerq_run(&b->timers, NS_PER_S);
	}
	bench_close(b);
}

static void test_jitter(void **state)
{
	static struct bench once, again, other;
	double sum = 0, squares = 0, mean, variance;

	(void)state;
	run_noise(&once, (struct cost_noise){.jitter_cv = 0.2}, 5);
	run_noise(&again, (struct cost_noise){.jitter_cv = 0.2}, 5);
	run_noise(&other, (struct cost_noise){.jitter_cv = 0.2}, 6);
	assert_memory_equal(once.end_ns, again.end_ns, sizeof(once.end_ns));
	assert_memory_not_equal(once.end_ns, other.end_ns, sizeof(once.end_ns));
	for (int i = 0; i < MAX_RESULTS; i++) {
		double ms = (double)once.end_ns[i] / 1e6;

		sum += ms;
		squares += ms * ms;
	}
	mean = sum / MAX_RESULTS;
	variance = squares / MAX_RESULTS - mean * mean;
	/* A step is 10 ms; the mean of so many has a standard error of 0.03 ms. */
	assert_true(mean > 9.85 && mean < 10.15);
	assert_true(variance > 1.7 * 1.7 && variance < 2.3 * 2.3);
}

static void test_stalls(void **state)
{
	static struct bench b;
	int stalled = 0;

	(void)state;
	run_noise(&b, (struct cost_noise){.stalls_per_step = 0.1, .stall_ps = 500 * PS_PER_MS}, 5);
	for (int i = 0; i < MAX_RESULTS; i++) {
		assert_true(b.end_ns[i] == 10 * NS_PER_MS || b.end_ns[i] == 510 * NS_PER_MS);
		stalled += b.end_ns[i] > 10 * NS_PER_MS;
	}
	assert_in_range(stalled, 330, 490); /* 410 and four standard deviations */
}

/* Words depend on the request's seed and the token's place, not on the step or its company. */
static void test_words_are_the_requests(void **state)
{
	static struct bench b;
	static const int32_t prompt[] = {1, 2, 3};
	struct genreq *r = genreq_new(1, NULL, prompt, 3, 10),
		      *s = genreq_new(2, NULL, prompt, 3, 10);
	struct step_plan plan;

	(void)state;
	r->seed = 77;
	s->seed = 78;
	bench_open(&b, (struct cost_noise){0}, 1);
	step_plan_init(&plan);
	step_plan_add(&plan, r, 0, 3);
	step_plan_add(&plan, s, 0, 3);
	executor_sim.submit(b.x, &plan);
	timerq_run(&b.timers, NS_PER_S);
	assert_int_equal(b.first_token[0], wordcodec_filler(77, 0));
	genreq_push_token(r, b.first_token[0], -1, INT32_MAX);
	genreq_push_token(r, wordcodec_filler(77, 1), -1, INT32_MAX);
	step_plan_clear(&plan);
	step_plan_add(&plan, r, 0, 5); /* all of it again, as after a preemption */
	executor_sim.submit(b.x, &plan);
	timerq_run(&b.timers, 2 * NS_PER_S);
	assert_int_equal(b.first_token[1], wordcodec_filler(77, 2));
	step_plan_release(&plan);
	bench_close(&b);
	genreq_free(s);
	genreq_free(r);
}

/* ---- the formulas ---- */

static void test_formulas(void **state)
{
	static const struct cost affine = {
		.type = &cost_affine,
		.coef =
			{
				[AFFINE_STEP] = 1000000,
				[AFFINE_PREFILL_TOKEN] = 1000,
				[AFFINE_DECODE_SEQ] = 100,
				[AFFINE_KV_TOKEN] = 10,
				[AFFINE_OVER_KNEE] = 7,
				[AFFINE_KNEE_TOKENS] = 20,
				[AFFINE_PREFILL_ATTENTION] = 2,
			},
	};
	static const struct cost constant = {
		.type = &cost_constant,
		.coef = {80 * PS_PER_MS, 4 * PS_PER_MS},
	};
	static const struct cost huge = {
		.type = &cost_affine,
		.coef = {[AFFINE_KV_TOKEN] = INT64_MAX / 2},
	};
	static const struct {
		const struct cost *cost;
		int64_t prefill, decode, kv;
		double attention;
		int64_t ps;
	} row[] = {
		{&affine, 0, 0, 0, 0, 1000000},
		{&affine, 0, 3, 50, 0, 1000800},
		{&affine, 20, 0, 0, 0, 1020000},  /* at the knee */
		{&affine, 25, 5, 9, 0, 1025660},  /* 10 tokens beyond it */
		{&affine, 3, 0, 0, 4.5, 1003009}, /* half a pair counts half */
		{&two_phases, 0, 0, 0, 0, 0},
		{&two_phases, 1, 0, 0, 0, 20 * PS_PER_MS},
		{&two_phases, 9, 7, 100, 50, 30 * PS_PER_MS},
		{&constant, 1, 0, 0, 0, 84 * PS_PER_MS},
		{&constant, 0, 1, 5, 0, 4 * PS_PER_MS},
		{&huge, 0, 1, 3, 0, INT64_MAX}, /* cut, not wrapped */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const struct step_plan p = {
			.prefill_tokens = row[i].prefill,
			.decode_seqs = row[i].decode,
			.decode_kv_tokens = row[i].kv,
			.prefill_attention = row[i].attention,
		};
		int64_t ps = cost_step_ps(row[i].cost, &p);

		if (ps != row[i].ps)
			fail_msg("row %zu: %lld ps, want %lld", i, (long long)ps,
				 (long long)row[i].ps);
	}
	assert_int_equal(ps_to_ns(1499), 1);
	assert_int_equal(ps_to_ns(1500), 2);
}

/* ---- with a policy: the seed's engine, exactly ---- */

struct seed_run {
	struct executor *x;
	struct sched *s;
	struct step_plan plan[64], *free_plan[64];
	int n_free;
};

static void seed_plan(struct seed_run *run)
{
	while (run->n_free > 0) {
		struct step_plan *p = run->free_plan[run->n_free - 1];

		step_plan_clear(p);
		if (!sched_static.plan(run->s, p))
			return;
		run->n_free--;
		assert_int_equal(executor_sim.submit(run->x, p), RC_OK);
	}
}

static void seed_done(const struct step_result *r, void *arg)
{
	struct seed_run *run = arg;

	sched_static.commit(run->s, r->plan, r->token, r->end_ns);
	run->free_plan[run->n_free++] = r->plan;
	seed_plan(run);
}

static void test_seed_engine(void **state)
{
	enum { N = 16 };
	static const int32_t prompt[] = {1, 2, 3, 4};
	static const struct cost constant = {
		.type = &cost_constant,
		.coef = {80 * PS_PER_MS, 4 * PS_PER_MS},
	};
	static struct seed_run run;
	struct timerq timers;
	struct sim_config config = {.cost = &constant,
				    .timers = {queue_set, queue_cancel, &timers}};
	struct executor_opts o = {.done = seed_done, .arg = &run, .config = &config};
	struct genreq *r[N];

	(void)state;
	timerq_init(&timers);
	assert_int_equal(executor_sim.open(&run.x, &o, NULL), RC_OK);
	assert_int_equal(sched_static.open(&run.s, NULL, -1, NULL), RC_OK);
	for (size_t i = 0; i < ARRAY_LEN(run.plan); i++) {
		step_plan_init(&run.plan[i]);
		run.free_plan[run.n_free++] = &run.plan[i];
	}
	for (int64_t i = 0; i < N; i++) {
		r[i] = genreq_new((uint64_t)i + 1, NULL, prompt, 4, 128);
		r[i]->arrival_ns = r[i]->ready_ns = i * 7 * NS_PER_MS;
		sched_static.add(run.s, r[i]);
	}
	seed_plan(&run);
	for (struct timer *t; (t = timerq_peek(&timers));)
		timerq_run(&timers, t->at_ns);
	for (int i = 0; i < N; i++) { /* nobody waits for anybody */
		assert_int_equal(r[i]->state, GENREQ_DONE);
		assert_int_equal(genreq_output_tokens(r[i]), 128);
		assert_int_equal(r[i]->first_token_ns - r[i]->arrival_ns, 84 * NS_PER_MS);
		assert_int_equal(r[i]->last_token_ns - r[i]->arrival_ns, 592 * NS_PER_MS);
		genreq_free(r[i]);
	}
	executor_sim.close(run.x);
	sched_static.close(run.s);
	for (size_t i = 0; i < ARRAY_LEN(run.plan); i++)
		step_plan_release(&run.plan[i]);
	timerq_release(&timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadline_is_the_models),
		cmocka_unit_test(test_many_in_flight),
		cmocka_unit_test(test_equal_deadlines_in_order),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_stalls),
		cmocka_unit_test(test_words_are_the_requests),
		cmocka_unit_test(test_formulas),
		cmocka_unit_test(test_seed_engine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
