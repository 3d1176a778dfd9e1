/*
 * The policy of TGI's router: schedules worked out by hand, then the edges, then random workloads.
 * How to read a schedule: support/sched_golden.h.
 *
 * Blocks are of one token but where said, 100 of them; each request holds prompt + output - 1 from
 * its first step to its last. Without chunks and cache but where said.
 */
#include "../support/sched_golden.h"
#include "serve/sched.h"

static const struct set common[] = {
	{"max_batch_total_tokens", 101}, {"prefill_chunking", 0}, {"prefix_caching", 0}, {0}};
static const struct policy tgi = {&sched_tgi, common};

static const struct golden goldens[] = {
	{
		/*
		 * 12 blocks. A sets aside 5 + 3 - 1 = 7, B 5; C needs 1 and waits until B is done.
		 * Then it gets a step of its own, while A stands still. In step 3 A has its third.
		 */
		.title = "the worst case is set aside",
		.set = {{"max_batch_total_tokens", 13}},
		.request = {{5, 3}, {4, 2}, {1, 1}},
		.step = {"A@0+5 B@0+4 | - | 0", "A@5+1 B@4+1 | - | 0", "C@0+1 | - | 4",
			 "A@6+1 | - | 5"},
	},
	{
		/*
		 * Two run, so two must wait before they are interrupted: C comes before step 1, D
		 * before step 3. After the interruption all four decode; C and D are done.
		 */
		.title = "waiting_served_ratio",
		.set = {{"waiting_served_ratio", 1}},
		.request = {{2, 6}, {2, 6}, {2, 2, 0, 1}, {2, 2, 0, 3}},
		.step = {"A@0+2 B@0+2 | - | 86", "A@2+1 B@2+1 | - | 86", "A@3+1 B@3+1 | - | 86",
			 "C@0+2 D@0+2 | - | 80", "A@4+1 B@4+1 C@2+1 D@2+1 | - | 80",
			 "A@5+1 B@5+1 | - | 86", "A@6+1 B@6+1 | - | 86"},
	},
	{
		/* C alone is not enough for two, but after a prefill and two decodes it is its
		   turn. */
		.title = "max_waiting_tokens",
		.set = {{"waiting_served_ratio", 1}, {"max_waiting_tokens", 3}},
		.request = {{2, 5}, {2, 5}, {2, 1, 0, 1}},
		.step = {"A@0+2 B@0+2 | - | 88", "A@2+1 B@2+1 | - | 88", "A@3+1 B@3+1 | - | 88",
			 "C@0+2 | - | 86", "A@4+1 B@4+1 | - | 88", "A@5+1 B@5+1 | - | 88"},
	},
	{
		/*
		 * 14 blocks, A and B hold 4 each. C (3) and D (4) are enough to interrupt them, but
		 * with C in, D does not fit, and C alone is too few: both go back. When A and B are
		 * done with their third, both start.
		 */
		.title = "too few fit",
		.set = {{"waiting_served_ratio", 1}, {"max_batch_total_tokens", 15}},
		.request = {{2, 3}, {2, 3}, {2, 2, 0, 1}, {3, 2, 0, 1}},
		.step = {"A@0+2 B@0+2 | - | 6", "A@2+1 B@2+1 | - | 6", "A@3+1 B@3+1 | - | 6",
			 "C@0+2 D@0+3 | - | 7", "C@2+1 D@3+1 | - | 7"},
	},
	{
		/*
		 * 8 tokens a prefill: B's 4 do not fit beside A's 5. For one that runs none need
		 * wait (0.3 of 1, rounded down), so B and C come in step 1.
		 */
		.title = "max_batch_prefill_tokens",
		.set = {{"max_batch_prefill_tokens", 8}, {"max_input_tokens", 8}},
		.request = {{5, 2}, {4, 2}, {2, 1}},
		.step = {"A@0+5 | - | 94", "B@0+4 C@0+2 | - | 87", "A@5+1 B@4+1 | - | 89"},
	},
	{
		/* 6 tokens a prefill count as two blocks of 4: A and B fit. */
		.title = "max_batch_prefill_tokens in whole blocks",
		.set = {{"max_batch_prefill_tokens", 6},
			{"max_input_tokens", 6},
			{"block_size", 4}},
		.request = {{5, 1}, {3, 1}, {1, 1}},
		.step = {"A@0+5 B@0+3 | - | 21", "C@0+1 | - | 23"},
	},
	{
		/* Two may run: C waits for B's end. */
		.title = "max_batch_size",
		.set = {{"max_batch_size", 2}},
		.request = {{2, 3}, {2, 2}, {2, 1}},
		.step = {"A@0+2 B@0+2 | - | 93", "A@2+1 B@2+1 | - | 93", "C@0+2 | - | 94",
			 "A@3+1 | - | 96"},
	},
	{
		/* 3 blocks of 4 (the fourth is set aside): 8 tokens are 2, 5 tokens, too. */
		.title = "block_size",
		.set = {{"block_size", 4}, {"max_batch_total_tokens", 17}},
		.request = {{5, 4}, {3, 3}},
		.step = {"A@0+5 | - | 1", "A@5+1 | - | 1", "A@6+1 | - | 1", "A@7+1 | - | 1",
			 "B@0+3 | - | 1", "B@3+1 | - | 1", "B@4+1 | - | 1"},
	},
	{
		/*
		 * 8 tokens a step. B gets the 3 that A leaves, though all of its 11 blocks. Step 1:
		 * A one, and B's chunk may be as long as 8 less one for the other: the last 7, so C
		 * finds nothing left. Step 2: C's 3 beside A and B; C is done with its first token,
		 * B with its second. D came before step 3, but after a step that took somebody in
		 * the queue is not looked at: A's last token first.
		 */
		.title = "chunks",
		.set = {{"prefill_chunking", 1}, {"max_batch_prefill_tokens", 8}},
		.request = {{5, 4}, {10, 2}, {3, 1}, {2, 1, 0, 3}},
		.step = {"A@0+5 B@0+3 | - | 81", "A@5+1 B@3+7 | - | 81",
			 "C@0+3 A@6+1 B@10+1 | - | 78", "A@7+1 | - | 92", "D@0+2 | - | 98"},
	},
	{
		/*
		 * 2 tokens a step. As long as A and B decode, C finds nothing left. After step 1 B
		 * is gone, and step 2 has 1 for C. Step 3: the budget still counts one for A, which
		 * was there in step 2: 1 for C. Step 4: 2, step 5: the last one.
		 */
		.title = "decodes use up the budget of the chunks",
		.set = {{"prefill_chunking", 1}, {"max_batch_prefill_tokens", 2}},
		.request = {{1, 3}, {1, 2}, {5, 1}},
		.step = {"A@0+1 B@0+1 | - | 95", "A@1+1 B@1+1 | - | 95", "C@0+1 A@2+1 | - | 92",
			 "C@1+1 | - | 95", "C@2+2 | - | 95", "C@4+1 | - | 95"},
	},
	{
		/*
		 * 30 blocks; all begin with the same 8 tokens. A and B come together: nobody is
		 * done, so nothing is found, and they hold 11 + 10. B's end leaves its prompt of 10
		 * in the cache, A's end 2 more: 12. Before step 2: C finds 8 of its 10 and holds 2
		 * of its own. D's prompt is those 8; its last token is computed all the same, in
		 * its old place; 1 block more for its answer. Free: 30 - 3 - 8 locked. C's end
		 * leaves 2 more in the cache, which count as free: 30 - 1 - 8.
		 */
		.title = "prefixes of those that are done",
		.set = {{"prefix_caching", 1}, {"max_batch_total_tokens", 31}},
		.request = {{10, 2, 8}, {10, 1, 8}, {10, 1, 8, 2, 0, 8}, {8, 2, 8, 2, 0, 7}},
		.step = {"A@0+10 B@0+10 | - | 9", "A@10+1 | - | 19", "C@8+2 D@7+1 | - | 19",
			 "D@8+1 | - | 21"},
	},
	{
		/*
		 * 12 blocks. A leaves its prompt of 6 in the cache. B needs 10, 6 are free: the
		 * cache lets go of the last 4 tokens of A's prompt. C's prompt is A's: the first 2
		 * are still there; of the other 4 none is free, and B's prompt, now in the cache,
		 * is cut by 4. Free: 12 - 4 - 2 locked.
		 */
		.title = "the cache gives way, no more than it must",
		.set = {{"prefix_caching", 1}, {"max_batch_total_tokens", 13}},
		.request = {{6, 1, 6}, {10, 1, 0, 1}, {6, 1, 6, 2, 0, 2}},
		.step = {"A@0+6 | - | 6", "B@0+10 | - | 2", "C@2+4 | - | 6"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&tgi, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

/* Those that were looked at and put back must not move the start of the step. */
static void who_is_put_back_leaves_no_trace(void **state)
{
	struct sched *s = opened(&tgi, (struct set[]){{"waiting_served_ratio", 2},
						      {"max_batch_total_tokens", 13},
						      {"prefix_caching", 1},
						      {0}});
	struct genreq *a = request(0, 4, 0, 3), *b = request(1, 4, 0, 1), *c = request(2, 9, 0, 1);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_tgi.add(s, a);
	assert_true(sched_tgi.plan(s, &p));
	sched_tgi.commit(s, &p, (int32_t[]){1}, 100);
	b->arrival_ns = b->ready_ns = 150;
	c->arrival_ns = c->ready_ns = 150;
	sched_tgi.add(s, b);
	sched_tgi.add(s, c);
	step_plan_clear(&p);
	assert_true(sched_tgi.plan(s, &p)); /* b fits, c does not: one is less than two */
	assert_int_equal(p.n_items, 1);
	assert_ptr_equal(p.item[0].req, a);
	assert_int_equal(p.start_ns, 100);
	assert_int_equal(p.prefill_tokens, 0);
	assert_int_equal(p.decode_seqs, 1);
	assert_int_equal(b->state, GENREQ_QUEUED);
	assert_int_equal(b->slot.n_blocks, 0);
	assert_false(b->slot.in_step);
	assert_int_equal(stats_of(&tgi, s).prefix_queries_tokens, 4);
	assert_int_equal(stats_of(&tgi, s).free_blocks, 12 - 6);
	sched_tgi.close(s);
	genreq_free(a);
	genreq_free(b);
	genreq_free(c);
	step_plan_release(&p);
}

static void model_time(void **state)
{
	(void)state;
	check_model_time(&tgi);
}

static void a_removed_request_frees_its_blocks_at_once(void **state)
{
	(void)state;
	check_removal(&tgi, (struct set[]){{"max_batch_size", 2}, {0}});
	check_removal_in_step_aborts(&tgi);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	static const struct set cached[] = {
		{"max_batch_total_tokens", 101}, {"prefix_caching", 1}, {0}};
	static const struct policy with_cache = {&sched_tgi, cached};

	(void)state;
	check_lost_step(&tgi);
	check_lost_step(&with_cache);
}

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"max_total_tokens", 102}}, "one request of at most 101 tokens"},
		{{{"max_input_tokens", 0}}, "the first at least 1"},
		{{{"max_input_tokens", 50}, {"max_total_tokens", 50}}, "the second more"},
		{{{"max_input_tokens", 50}, {"max_batch_prefill_tokens", 49}},
		 "less than max_input_tokens 50"},
		{{{"max_batch_prefill_tokens", 0}, {"prefill_chunking", 1}}, "at least 1, or -1"},
		{{{"prefix_caching", 1}, {"block_size", 16}}, "blocks of 1 token"},
		{{{"block_size", 64}}, "at least 2 blocks of 64"},
		{{{"max_batch_size", 8}, {"prefill_chunking", 1}}, "has no effect"},
	};

	(void)state;
	check_knob_table(&sched_tgi);
	check_refusals(&tgi, cases, sizeof(cases) / sizeof(cases[0]));
}

static void requests_that_can_never_run_are_refused(void **state)
{
	static const struct {
		int32_t prompt, output;
		bool fine;
	} cases[] = {{0, 1, false},  {1, 19, true},   {1, 20, false},	     {10, 10, true},
		     {11, 1, false}, {10, 11, false}, {10, INT32_MAX, false}};
	struct sched *s = opened(
		&tgi, (struct set[]){{"max_input_tokens", 10}, {"max_total_tokens", 20}, {0}});

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct genreq *r = request(0, cases[i].prompt, 0, cases[i].output);
		struct err e;

		assert_int_equal(sched_tgi.check(s, r, &e), cases[i].fine ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_tgi.close(s);
}

/* The policy says how many the engine takes; who feeds it counts (sched.h). */
static void the_limit_of_requests_is_published(void **state)
{
	struct sched *s = opened(&tgi, (struct set[]){{"max_concurrent_requests", 7}, {0}});

	(void)state;
	assert_int_equal(stats_of(&tgi, s).max_requests, 7);
	sched_tgi.close(s);
}

/* ---- random workloads ---- */

/* Nobody is put back; every request holds all it may need; without chunks a step is prompts or
 * decodes. */
static void check_worst_case(const struct step_plan *p, const struct sched_stats *stats,
			     const struct crowd *c)
{
	int32_t budget = (int32_t)c->set[0].value;
	bool chunking = c->set[1].value != 0;

	assert_int_equal(p->n_preempted, 0);
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct genreq *r = p->item[i].req;

		assert_true(r->slot.n_blocks * stats->block_size >=
			    r->n_prompt + r->max_tokens - 1);
		assert_true(chunking || p->item[i].prefill == p->item[0].prefill);
		assert_true(chunking || p->item[i].emits);
	}
	/* What is left of the budget is filled up to a whole block, and each chunk has at least one
	 * token. */
	budget += stats->block_size - 1;
	assert_true(p->prefill_tokens <= budget || p->prefill_tokens <= p->n_items);
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 80; seed++) {
		struct rng g;
		bool chunking = seed % 2, caching = seed / 2 % 2;
		int32_t budget, max_seqs;

		rng_init(&g, seed, "crowd", 0);
		budget =
			chunking ? 1 + (int32_t)rng_below(&g, 60) : 90 + (int32_t)rng_below(&g, 60);
		max_seqs = chunking ? 0 : (int32_t)rng_below(&g, 12);
		run_crowd(
			&(struct crowd){
				.policy = &tgi,
				.set = (struct set[]){{"max_batch_prefill_tokens", budget},
						      {"prefill_chunking", chunking},
						      {"prefix_caching", caching},
						      {"block_size", caching ? 1 : 4},
						      {"max_batch_total_tokens",
						       125 + (double)rng_below(&g, 300)},
						      {"max_total_tokens", 120},
						      {"max_input_tokens", 90},
						      {"max_batch_size", max_seqs},
						      {"waiting_served_ratio", rng_unit(&g) * 2},
						      {"max_waiting_tokens",
						       (double)rng_below(&g, 10)},
						      {0}},
				.max_prompt = 90,
				.max_output = 30,
				.max_shared = 40,
				.max_len = 120,
				.max_tokens = budget + 64,
				.max_seqs = max_seqs ? max_seqs : 64,
				.check = check_worst_case},
			&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(who_is_put_back_leaves_no_trace),
		cmocka_unit_test(model_time),
		cmocka_unit_test(a_removed_request_frees_its_blocks_at_once),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(requests_that_can_never_run_are_refused),
		cmocka_unit_test(the_limit_of_requests_is_published),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
