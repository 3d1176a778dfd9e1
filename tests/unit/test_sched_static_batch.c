/*
 * Static batches: worked out by hand, the sums with their padding, the edges, random workloads. How
 * to read a schedule: support/sched_golden.h; the policy keeps no KV ledger, so it ends with 0.
 */
#include "base/check.h"
#include "base/clock.h"
#include "serve/sched.h"
#include "../support/sched_golden.h"

static const struct set common[] = {{"batch_size", 2}, {0}};
static const struct policy batch = {&sched_static_batch, common};

static const struct golden goldens[] = {
	{
		/* C waits until the last of the batch, A, has its 3 tokens, though B's lane is of
		   no use from step 1 on. */
		.title = "a batch to its end",
		.request = {{4, 3}, {2, 1}, {3, 2}},
		.step = {"A@0+4 B@0+2 | - | 0", "A@4+1 | - | 0", "A@5+1 | - | 0", "C@0+3 | - | 0",
			 "C@3+1 | - | 0"},
	},
	{
		/* A does not wait for company; B and C, come during step 0, are the next batch, and
		   D, come with them, the one after. */
		.title = "who comes later",
		.request = {{2, 2}, {2, 1, 0, 1}, {3, 2, 0, 1}, {1, 1, 0, 1}},
		.step = {"A@0+2 | - | 0", "A@2+1 | - | 0", "B@0+2 C@0+3 | - | 0", "C@3+1 | - | 0",
			 "D@0+1 | - | 0"},
	},
	{
		/* One after the other: what a server without batching does. */
		.title = "batch_size 1",
		.set = {{"batch_size", 1}},
		.request = {{2, 2}, {3, 1}},
		.step = {"A@0+2 | - | 0", "A@2+1 | - | 0", "B@0+3 | - | 0"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&batch, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

/* Prompts of 4 and 2, three tokens for A and two for B. The prompts are a rectangle of 2 x 4, 8
 * tokens, each of which looks at 2 others on average. Then two lanes decode, of 5 tokens, then of
 * 6; in the last step B has ended, and its lane computes padding. The next batch is C's alone. */
static void a_lane_costs_to_the_end(void **state)
{
	static const struct {
		int64_t prefill_tokens, decode_seqs, decode_kv_tokens;
		double prefill_attention;
		int32_t n_items;
	} want[] = {{8, 0, 0, 16, 2}, {0, 2, 10, 0, 2}, {0, 2, 12, 0, 1}, {3, 0, 0, 4.5, 1}};
	struct genreq *r[3] = {request(0, 4, 0, 3), request(1, 2, 0, 2), request(2, 3, 0, 1)};
	struct sched *s = opened(&batch, NULL);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	for (int i = 0; i < 3; i++)
		sched_static_batch.add(s, r[i]);
	for (int step = 0; step < 4; step++) {
		step_plan_clear(&p);
		assert_true(sched_static_batch.plan(s, &p));
		assert_int_equal(p.n_items, want[step].n_items);
		assert_int_equal(p.prefill_tokens, want[step].prefill_tokens);
		assert_int_equal(p.decode_seqs, want[step].decode_seqs);
		assert_int_equal(p.decode_kv_tokens, want[step].decode_kv_tokens);
		assert_true(p.prefill_attention == want[step].prefill_attention);
		commit(&batch, s, &p);
	}
	step_plan_clear(&p);
	assert_false(sched_static_batch.plan(s, &p));
	sched_static_batch.close(s);
	for (int i = 0; i < 3; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
}

static void steps_start_when_the_model_says(void **state)
{
	(void)state;
	check_model_time(&batch);
}

/* When they come -> what is planned, and when. A batch is of two, and the first of them waits 50 ms
 * for the second; a step takes 10 ms. */
static void a_batch_waits_for_company(void **state)
{
	static const struct set set[] = {{"batch_size", 2}, {"max_wait_ms", 50}, {0}};
	static const struct {
		const char *title;
		int64_t at_ms[4], start_ms[4]; /* of requests, of steps; 0 = no more */
		const char *step[4];
	} row[] = {
		{"alone to the deadline", {100}, {150}, {"A"}},
		{"company starts it", {100, 120}, {120}, {"AB"}},
		{"company comes too late", {100, 151}, {150, 201}, {"A", "B"}},
		{"the wait began with the first", {100, 120, 130}, {120, 180}, {"AB", "C"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct sched *s = opened(&batch, set);
		struct genreq *r[4] = {0};
		struct step_plan p;
		size_t n = 0, next = 0;
		struct buf b;

		buf_init(&b, 64);
		step_plan_init(&p);
		while (n < 4 && row[i].at_ms[n])
			n++;
		for (size_t step = 0; step < 4 && row[i].step[step]; step++) {
			for (;;) {
				int64_t wake_ns = sched_static_batch.wake_ns(s);

				step_plan_clear(&p);
				if (sched_static_batch.plan(s, &p))
					break;
				/* nothing before its time, and never without a time to come */
				if (next < n && row[i].at_ms[next] * NS_PER_MS < wake_ns) {
					r[next] = request(next, 8, 0, 1);
					r[next]->arrival_ns = r[next]->ready_ns =
						row[i].at_ms[next] * NS_PER_MS;
					sched_static_batch.add(s, r[next++]);
				} else {
					assert_true(wake_ns < INT64_MAX);
					sched_static_batch.wake(s, wake_ns - 1);
					assert_false(sched_static_batch.plan(s, &p));
					sched_static_batch.wake(s, wake_ns);
				}
			}
			buf_clear(&b);
			for (int32_t k = 0; k < p.n_items; k++)
				buf_puts(&b, p.item[k].req->name);
			if (strcmp(buf_cstr(&b), row[i].step[step]) != 0 ||
			    p.start_ns != row[i].start_ms[step] * NS_PER_MS)
				fail_msg("%s: step %zu: %s at %lld ns", row[i].title, step,
					 buf_cstr(&b), (long long)p.start_ns);
			assert_true(sched_static_batch.wake_ns(s) == INT64_MAX);
			commit(&batch, s, &p);
		}
		assert_int_equal(next, n);
		assert_true(sched_static_batch.wake_ns(s) == INT64_MAX);
		sched_static_batch.close(s);
		for (size_t k = 0; k < n; k++)
			genreq_free(r[k]);
		step_plan_release(&p);
		buf_release(&b);
	}
}

/* A batch of ten steps, 100 ms, runs longer than the others may wait: at its end they are a batch
 * at once, at that time; with time left they wait on. Who left no longer waits. */
static void the_wait_runs_while_a_batch_does(void **state)
{
	static const struct {
		int64_t arrival_ns, wake_ns, start_ns;
	} row[] = {
		{INT64_C(1) * NS_PER_MS, INT64_C(51) * NS_PER_MS, INT64_C(100) * NS_PER_MS},
		{INT64_C(90) * NS_PER_MS, INT64_C(140) * NS_PER_MS, INT64_C(140) * NS_PER_MS},
	};
	static const struct set set[] = {{"batch_size", 2}, {"max_wait_ms", 50}, {0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct sched *s = opened(&batch, set);
		struct genreq *r[4];
		struct step_plan p;

		step_plan_init(&p);
		for (uint64_t k = 0; k < 4; k++)
			r[k] = request(k, 8, 0, 10);
		sched_static_batch.add(s, r[0]);
		sched_static_batch.add(s, r[1]);
		for (int step = 0; step < 10; step++) {
			step_plan_clear(&p);
			assert_true(sched_static_batch.plan(s, &p));
			assert_int_equal(p.n_items, 2);
			if (step == 0) {
				r[2]->arrival_ns = r[2]->ready_ns = row[i].arrival_ns;
				sched_static_batch.add(s, r[2]);
			}
			assert_true(sched_static_batch.wake_ns(s) == INT64_MAX);
			commit(&batch, s, &p);
		}
		assert_true(sched_static_batch.wake_ns(s) == row[i].wake_ns);
		step_plan_clear(&p);
		if (!sched_static_batch.plan(s, &p)) {
			sched_static_batch.wake(s, row[i].wake_ns);
			assert_true(sched_static_batch.plan(s, &p));
		}
		assert_true(p.start_ns == row[i].start_ns);
		commit(&batch, s, &p);
		sched_static_batch.remove(s, r[2]);
		sched_static_batch.add(s, r[3]);
		sched_static_batch.remove(s, r[3]);
		assert_true(sched_static_batch.wake_ns(s) == INT64_MAX);
		sched_static_batch.close(s);
		for (int k = 0; k < 4; k++)
			genreq_free(r[k]);
		step_plan_release(&p);
	}
}

/* The lane of one that left costs on; when all have left, the next batch forms. */
static void requests_may_leave(void **state)
{
	struct genreq *r[4];
	struct sched *s = opened(&batch, NULL);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	for (int i = 0; i < 4; i++) {
		r[i] = request((uint64_t)i, 8, 0, 9);
		sched_static_batch.add(s, r[i]);
	}
	assert_true(sched_static_batch.plan(s, &p));
	sched_static_batch.remove(s, r[2]); /* it waits: no matter that a step is computed */
	commit(&batch, s, &p);
	genreq_set_state(r[0], GENREQ_FAILED); /* the engine may have said so first */
	sched_static_batch.remove(s, r[0]);
	assert_int_equal(stats_of(&batch, s).running, 1);
	assert_int_equal(stats_of(&batch, s).waiting, 1);
	step_plan_clear(&p);
	assert_true(sched_static_batch.plan(s, &p));
	assert_int_equal(p.n_items, 1);
	assert_ptr_equal(p.item[0].req, r[1]);
	assert_int_equal(p.decode_seqs, 2);
	commit(&batch, s, &p);
	sched_static_batch.remove(s, r[1]);
	step_plan_clear(&p);
	assert_true(sched_static_batch.plan(s, &p));
	assert_ptr_equal(p.item[0].req, r[3]);
	assert_int_equal(p.prefill_tokens, 8);
	sched_static_batch.close(s);
	for (int i = 0; i < 4; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
	check_removal_in_step_aborts(&batch);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&batch);
}

static void an_empty_prompt_is_refused(void **state)
{
	struct genreq *r = request(0, 0, 0, 9);
	struct sched *s = opened(&batch, NULL);
	struct err e;

	(void)state;
	assert_int_equal(sched_static_batch.check(s, r, &e), RC_INPUT);
	sched_static_batch.close(s);
	genreq_free(r);
	check_knob_table(&sched_static_batch);
}

/* All who are left of the batch, in every step. */
static void check_together(const struct step_plan *p, const struct sched_stats *stats,
			   const struct crowd *c)
{
	(void)c;
	assert_int_equal(p->n_items, stats->running);
	for (int32_t i = 0; i < p->n_items; i++) {
		assert_true(p->item[i].emits);
		assert_int_equal(p->item[i].prefill, p->item[0].prefill);
	}
	assert_true(p->prefill_tokens == 0 || p->decode_seqs == 0);
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		int32_t batch_size;
		struct rng g;

		rng_init(&g, seed, "crowd", 0);
		batch_size = 1 + (int32_t)rng_below(&g, 12);
		run_crowd(&(struct crowd){.policy = &batch,
					  .set = (struct set[]){{"batch_size", batch_size}, {0}},
					  .max_prompt = 90,
					  .max_output = 30,
					  .max_shared = 40,
					  .max_len = INT32_MAX,
					  .max_tokens = INT32_MAX,
					  .max_seqs = batch_size,
					  .counts_tokens = true,
					  .padded = true,
					  .check = check_together},
			  &g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(a_lane_costs_to_the_end),
		cmocka_unit_test(steps_start_when_the_model_says),
		cmocka_unit_test(a_batch_waits_for_company),
		cmocka_unit_test(the_wait_runs_while_a_batch_does),
		cmocka_unit_test(requests_may_leave),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(an_empty_prompt_is_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
