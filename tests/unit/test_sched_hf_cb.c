/*
 * Transformers' continuous batching: schedules worked out by hand, the edges, random workloads. How
 * to read a schedule: support/sched_golden.h. Blocks are of 4 tokens, 20 of them, shared by nobody
 * unless the case says so; blocks that are kept for their content count as free. 8 tokens a step.
 */
#include "serve/sched.h"
#include "../support/sched_golden.h"

static const struct set common[] = {{"page_size", 4},
				    {"num_blocks", 20},
				    {"max_batch_tokens", 8},
				    {"allow_block_sharing", 0},
				    {0}};
static const struct policy hf = {&sched_hf_cb, common};

static const struct golden goldens[] = {
	{
		/*
		 * Step 0: all 8 are A's. Step 1: A's other 2, B's 5, 1 for C, come meanwhile.
		 * Step 2: A and B decode first, and 6 are left for C, who has begun. Step 3: B has
		 * ended; A's third token, C's last 2 of 9. Blocks: A 2; A 3, B 2, C 1; the same
		 * with C 2; A 3 (12 tokens), C 3.
		 */
		.title = "fifo: decodes, begun prompts, new ones",
		.request = {{10, 3}, {5, 2}, {9, 1, 0, 1}},
		.step = {"A@0+8 | - | 18", "A@8+2 B@0+5 C@0+1 | - | 14",
			 "A@10+1 B@5+1 C@1+6 | - | 13", "A@11+1 C@7+2 | - | 14"},
	},
	{
		/* The same until step 2: there C has begun and takes all 8, and the decodes wait.
		 */
		.title = "prefill_first",
		.set = {{"scheduler_type", 1}},
		.request = {{10, 3}, {5, 2}, {9, 1, 0, 1}},
		.step = {"A@0+8 | - | 18", "A@8+2 B@0+5 C@0+1 | - | 14", "C@1+8 | - | 12",
			 "A@10+1 B@5+1 | - | 15", "A@11+1 | - | 17"},
	},
	{
		.title = "max_requests_per_batch",
		.set = {{"max_requests_per_batch", 1}},
		.request = {{4, 2}, {4, 1}},
		.step = {"A@0+4 | - | 19", "A@4+1 | - | 18", "B@0+4 | - | 19"},
	},
	{
		/*
		 * Half of 10 blocks. It is looked at once, before step 0, when all are free: A, B
		 * and C take 7. Step 1: C is gone, 4 are free, less than half: the decodes take
		 * one each, and D waits. Step 2: D.
		 */
		.title = "safety_margin, once a step",
		.set = {{"num_blocks", 10}, {"safety_margin", 0.5}, {"max_batch_tokens", 64}},
		.request = {{16, 2}, {8, 2}, {4, 1}, {4, 1, 0, 1}},
		.step = {"A@0+16 B@0+8 C@0+4 | - | 3", "A@16+1 B@8+1 | - | 2", "D@0+4 | - | 9"},
	},
	{
		/* Before each request: A leaves 6, B 4, and that is too few for C. */
		.title = "safety_margin, before each request",
		.set = {{"num_blocks", 10},
			{"safety_margin", 0.5},
			{"max_batch_tokens", 64},
			{"margin_check", 1}},
		.request = {{16, 2}, {8, 2}, {4, 1}, {4, 1, 0, 1}},
		.step = {"A@0+16 B@0+8 | - | 4", "A@16+1 B@8+1 | - | 2", "C@0+4 D@0+4 | - | 8"},
	},
	{
		/* 0.15 of 20 are 3. In step 1 so many are free, and C joins. */
		.title = "the default margin, just kept",
		.set = {{"max_batch_tokens", 200}},
		.request = {{36, 2}, {32, 2}, {4, 1, 0, 1}},
		.step = {"A@0+36 B@0+32 | - | 3", "A@36+1 B@32+1 C@0+4 | - | 0"},
	},
	{
		/* In step 1 two are free: C waits. */
		.title = "the default margin, not kept",
		.set = {{"max_batch_tokens", 200}},
		.request = {{36, 2}, {36, 2}, {4, 1, 0, 1}},
		.step = {"A@0+36 B@0+36 | - | 2", "A@36+1 B@36+1 | - | 0", "C@0+4 | - | 19"},
	},
	{
		/* Checked before each request it is 0.2, 4 of 20. A and B leave 3, so C waits. */
		.title = "the older default margin",
		.set = {{"max_batch_tokens", 200}, {"margin_check", 1}},
		.request = {{36, 2}, {24, 2}, {4, 1, 0, 1}},
		.step = {"A@0+36 B@0+24 | - | 5", "A@36+1 B@24+1 | - | 3", "C@0+4 | - | 19"},
	},
	{
		/* prefill_first has none: with 2 free, B joins. */
		.title = "no margin with prefill_first",
		.set = {{"max_batch_tokens", 200}, {"scheduler_type", 1}},
		.request = {{72, 2}, {4, 1, 0, 1}},
		.step = {"A@0+72 | - | 2", "A@72+1 B@0+4 | - | 0"},
	},
	{
		/* 6 blocks. A has 4; B's 3 are not there, and C, behind it, goes ahead. */
		.title = "who does not fit is passed over",
		.set = {{"num_blocks", 6}, {"safety_margin", 0}, {"max_batch_tokens", 64}},
		.request = {{16, 2}, {12, 1}, {4, 1}},
		.step = {"A@0+16 C@0+4 | - | 1", "A@16+1 | - | 1", "B@0+12 | - | 3"},
	},
	{
		/*
		 * 5 blocks. Step 1: A's and B's 5th tokens take the last two, C's finds none: it
		 * starts anew after the step and queues up behind D, who came before step 1 and
		 * found none either. Steps 2 and 3: one block is free, which D would need, but
		 * nobody is admitted before somebody has ended. Step 4: D, then C with its prompt
		 * and its first token.
		 */
		.title = "who starves starts anew",
		.set = {{"num_blocks", 5}, {"safety_margin", 0}, {"max_batch_tokens", 64}},
		.request = {{4, 4}, {4, 4}, {4, 4}, {3, 1, 0, 1}},
		.step = {"A@0+4 B@0+4 C@0+4 | - | 2", "A@4+1 B@4+1 | C | 1", "A@5+1 B@5+1 | - | 1",
			 "A@6+1 B@6+1 | - | 1", "D@0+3 C@0+5 | - | 2", "C@5+1 | - | 3",
			 "C@6+1 | - | 3"},
		.preemptions = 1,
	},
	{
		/*
		 * 4 blocks. Step 1: A's 5th token takes the last; B and C starve. C, the newest,
		 * starts anew, which is enough for B in step 2. A ends with step 3. Step 4: B's
		 * fourth token, and C.
		 */
		.title = "the newest first, and no more than needed",
		.set = {{"num_blocks", 4}, {"safety_margin", 0}, {"max_batch_tokens", 64}},
		.request = {{4, 4}, {4, 4}, {4, 4}},
		.step = {"A@0+4 B@0+4 C@0+4 | - | 1", "A@4+1 | C | 1", "A@5+1 B@4+1 | - | 0",
			 "A@6+1 B@5+1 | - | 0", "B@6+1 C@0+5 | - | 0", "C@5+1 | - | 2",
			 "C@6+1 | - | 2"},
		.preemptions = 1,
	},
	{
		/*
		 * 2 blocks, all taken, and neither A nor B can go on: nothing is scheduled. B
		 * starts anew within the same planning, so that the step has A.
		 */
		.title = "nobody can go on",
		.set = {{"num_blocks", 2}, {"safety_margin", 0}},
		.request = {{4, 3}, {4, 2}},
		.step = {"A@0+4 B@0+4 | - | 0", "A@4+1 | B | 0", "A@5+1 | - | 0", "B@0+5 | - | 0"},
		.preemptions = 1,
	},
	{
		/*
		 * 3 blocks, all taken. C, then B start anew, which makes room for A; they queue up
		 * again in the order in which they came.
		 */
		.title = "two start anew",
		.set = {{"num_blocks", 3}, {"safety_margin", 0}, {"max_batch_tokens", 64}},
		.request = {{4, 3}, {4, 2}, {4, 2}},
		.step = {"A@0+4 B@0+4 C@0+4 | - | 0", "A@4+1 | C B | 1", "A@5+1 | - | 1",
			 "B@0+5 | - | 1", "C@0+5 | - | 1"},
		.preemptions = 2,
	},
	{
		/*
		 * "the newest first" again, with blocks that are kept for their content. C's, full
		 * as it is, is not kept when C starts anew: it is free for B. A leaves a kept one
		 * and a free one, so C's 2 are not free before B has ended, too.
		 */
		.title = "nothing is kept of who starts anew",
		.set = {{"num_blocks", 4},
			{"safety_margin", 0},
			{"max_batch_tokens", 64},
			{"allow_block_sharing", 1}},
		.request = {{4, 4}, {4, 4}, {4, 4}},
		.step = {"A@0+4 B@0+4 C@0+4 | - | 1", "A@4+1 | C | 1", "A@5+1 B@4+1 | - | 0",
			 "A@6+1 B@5+1 | - | 0", "B@6+1 | - | 2", "C@0+5 | - | 2", "C@5+1 | - | 2",
			 "C@6+1 | - | 2"},
		.preemptions = 1,
	},
	{
		/*
		 * Both begin with the same 8 tokens, but blocks get their names when they are
		 * computed: in step 0 both compute all, 3 blocks each. Then B gives its first two
		 * back for A's, so 4 are held. C, come when they have ended, finds 8 tokens.
		 */
		.title = "allow_block_sharing",
		.set = {{"allow_block_sharing", 1}, {"max_batch_tokens", 64}},
		.request = {{9, 2, 8}, {10, 2, 8}, {12, 1, 8, 2, 0, 8}},
		.step = {"A@0+9 B@0+10 | - | 14", "A@9+1 B@10+1 | - | 16", "C@8+4 | - | 17"},
	},
	{
		/*
		 * 6 blocks. A leaves 2 that are kept for their content, and 4 that are free. B's 5
		 * do not fit, and nothing else is to be done: the kept ones are given up, both, and
		 * B has its 5. It leaves 5 kept ones. C would have found A's 8 tokens, and must
		 * give up B's.
		 */
		.title = "kept blocks are given up together, for want of blocks",
		.set = {{"allow_block_sharing", 1},
			{"num_blocks", 6},
			{"safety_margin", 0},
			{"max_batch_tokens", 64}},
		.request = {{8, 1, 8}, {20, 1, 0, 1}, {9, 1, 8, 2}},
		.step = {"A@0+8 | - | 4", "B@0+20 | - | 1", "C@0+9 | - | 3"},
	},
	{
		/* Half of 10 blocks. A leaves 6 kept ones, so 4 are free: the kept ones are given
		   up before B, who would have found 24 tokens there, is looked at. */
		.title = "kept blocks are given up for the margin",
		.set = {{"allow_block_sharing", 1},
			{"num_blocks", 10},
			{"safety_margin", 0.5},
			{"max_batch_tokens", 64}},
		.request = {{24, 1, 24}, {25, 1, 24, 1}},
		.step = {"A@0+24 | - | 4", "B@0+25 | - | 3"},
	},
	{
		/* The older rule: kept blocks are free blocks. B leaves 9 of 10, C finds its 24
		   tokens. */
		.title = "kept blocks are kept",
		.set = {{"allow_block_sharing", 1},
			{"num_blocks", 10},
			{"safety_margin", 0.5},
			{"max_batch_tokens", 64},
			{"margin_check", 1}},
		.request = {{24, 1, 24}, {4, 1, 0, 1}, {25, 1, 24, 1, 0, 24}},
		.step = {"A@0+24 | - | 4", "B@0+4 C@24+1 | - | 2"},
	},
	{
		/*
		 * 6 blocks, 24 tokens to be read a step. Step 1: A reads 13; B and C find 12
		 * tokens, take those blocks, and are passed over, as 12 is more than the 11 left.
		 * So in step 2. Step 3: A has ended; B and C read 12 each. Then B's 13 leave 11
		 * again, and C waits.
		 */
		.title = "cache to be read",
		.set = {{"allow_block_sharing", 1},
			{"num_blocks", 6},
			{"safety_margin", 0},
			{"max_batch_tokens", 64},
			{"max_blocks_per_request", 0}},
		.request = {{13, 3, 12}, {13, 3, 12, 1, 0, 12}, {13, 3, 12, 1, 0, 12}},
		.step = {"A@0+13 | - | 2", "A@13+1 | - | 2", "A@14+1 | - | 2",
			 "B@12+1 C@12+1 | - | 1", "B@13+1 | - | 1", "B@14+1 | - | 1",
			 "C@13+1 | - | 2", "C@14+1 | - | 2"},
	},
	{
		/* The same with steps that read what they like, for requests below 3 blocks: these
		   are not. */
		.title = "cache to be read, and long requests",
		.set = {{"allow_block_sharing", 1},
			{"num_blocks", 6},
			{"safety_margin", 0},
			{"max_batch_tokens", 64},
			{"max_blocks_per_request", 3}},
		.request = {{13, 3, 12}, {13, 3, 12, 1, 0, 12}, {13, 3, 12, 1, 0, 12}},
		.step = {"A@0+13 | - | 2", "A@13+1 | - | 2", "A@14+1 | - | 2",
			 "B@12+1 C@12+1 | - | 1", "B@13+1 | - | 1", "B@14+1 | - | 1",
			 "C@13+1 | - | 2", "C@14+1 | - | 2"},
	},
	{
		/* Steps of single tokens of requests below 4 blocks read what they like. */
		.title = "max_blocks_per_request",
		.set = {{"allow_block_sharing", 1},
			{"num_blocks", 6},
			{"safety_margin", 0},
			{"max_batch_tokens", 64},
			{"max_blocks_per_request", 4}},
		.request = {{13, 3, 12}, {13, 3, 12, 1, 0, 12}, {13, 3, 12, 1, 0, 12}},
		.step = {"A@0+13 | - | 2", "A@13+1 B@12+1 C@12+1 | - | 0",
			 "A@14+1 B@13+1 C@13+1 | - | 0", "B@14+1 C@14+1 | - | 1"},
	},
	{
		/* 20 blocks: 80 tokens, the last of which needs no place. */
		.title = "a full cache",
		.set = {{"max_batch_tokens", 200}},
		.request = {{78, 9}},
		.step = {"A@0+78 | - | 0", "A@78+1 | - | 0"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&hf, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

static void prefix_statistics_count_first_admissions(void **state)
{
	struct sched *s = opened(
		&hf, (struct set[]){{"allow_block_sharing", 1}, {"max_batch_tokens", 64}, {0}});
	struct genreq *a = request(0, 9, 8, 1), *b = request(1, 10, 8, 1);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_hf_cb.add(s, a);
	sched_hf_cb.plan(s, &p);
	commit(&hf, s, &p);
	sched_hf_cb.add(s, b);
	step_plan_clear(&p);
	sched_hf_cb.plan(s, &p);
	assert_int_equal(stats_of(&hf, s).prefix_queries_tokens, 9 + 10);
	assert_int_equal(stats_of(&hf, s).prefix_hits_tokens, 8);
	assert_int_equal(stats_of(&hf, s).steps, 2);
	sched_hf_cb.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* As in "who starves starts anew", but those who run are cancelled before any of them ends. */
static void admission_opens_when_the_last_one_leaves(void **state)
{
	struct sched *s = opened(&hf, (struct set[]){{"num_blocks", 5},
						     {"safety_margin", 0},
						     {"max_batch_tokens", 64},
						     {0}});
	struct genreq *r[3];
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	for (int i = 0; i < 3; i++) {
		r[i] = request((uint64_t)i, 4, 0, 4);
		sched_hf_cb.add(s, r[i]);
	}
	for (int step = 0; step < 2; step++) {
		step_plan_clear(&p);
		assert_true(sched_hf_cb.plan(s, &p));
		commit(&hf, s, &p);
	}
	assert_int_equal(r[2]->state, GENREQ_QUEUED);
	sched_hf_cb.remove(s, r[0]);
	sched_hf_cb.remove(s, r[1]);
	step_plan_clear(&p);
	assert_true(sched_hf_cb.plan(s, &p));
	assert_ptr_equal(p.item[0].req, r[2]);
	sched_hf_cb.close(s);
	for (int i = 0; i < 3; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
}

/* ---- the contract ---- */

static void steps_start_when_the_model_says(void **state)
{
	(void)state;
	check_model_time(&hf);
}

static void requests_may_leave(void **state)
{
	static const struct set two_run[] = {
		{"max_requests_per_batch", 2}, {"max_batch_tokens", 64}, {0}};

	(void)state;
	check_removal(&hf, two_run);
	check_removal_in_step_aborts(&hf);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	static const struct set sharing[] = {
		{"page_size", 4}, {"num_blocks", 20}, {"max_batch_tokens", 64}, {0}};

	(void)state;
	check_lost_step(&hf);
	check_lost_step(&(struct policy){&sched_hf_cb, sharing});
}

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"safety_margin", -0.5}}, "safety_margin -0.5: 0 to 1, or -1"},
		{{{"num_blocks", 1 << 24}, {"page_size", 1024}}, "num_blocks * page_size"},
	};

	(void)state;
	check_refusals(&hf, cases, sizeof(cases) / sizeof(cases[0]));
	check_knob_table(&sched_hf_cb);
}

static void prompts_that_can_never_run_are_refused(void **state)
{
	static const int32_t length[] = {0, 1, 79, 80, 500};
	static const bool fine[] = {false, true, true, false, false};
	struct sched *s = opened(&hf, NULL);

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct genreq *r = request(0, length[i], 0, 5);
		struct err e;

		assert_int_equal(sched_hf_cb.check(s, r, &e), fine[i] ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_hf_cb.close(s);
}

/* ---- random workloads ---- */

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 120; seed++) {
		int32_t max_requests, budget, num_blocks;
		bool sharing;
		struct rng g;

		rng_init(&g, seed, "crowd", 0);
		max_requests = 1 + (int32_t)rng_below(&g, 12);
		budget = 1 + (int32_t)rng_below(&g, 60);
		sharing = rng_below(&g, 2) != 0;
		num_blocks = 23 + (int32_t)rng_below(&g, 40);
		run_crowd(
			&(struct crowd){
				.policy = &hf,
				.set = (struct set[]){{"num_blocks", num_blocks},
						      {"max_requests_per_batch", max_requests},
						      {"max_batch_tokens", budget},
						      {"allow_block_sharing", sharing},
						      {"scheduler_type", (double)rng_below(&g, 2)},
						      {"max_blocks_per_request",
						       (double)rng_below(&g, 2) * 32},
						      {"safety_margin",
						       rng_below(&g, 2) ? 0.3 : -1},
						      {"margin_check", (double)rng_below(&g, 2)},
						      {0}},
				.max_prompt = 90,
				.max_output = 30,
				.max_shared = 40,
				.max_len = 4 * num_blocks,
				.max_tokens = budget,
				.max_seqs = CROWD,
				.no_sharing = !sharing},
			&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(prefix_statistics_count_first_admissions),
		cmocka_unit_test(admission_opens_when_the_last_one_leaves),
		cmocka_unit_test(steps_start_when_the_model_says),
		cmocka_unit_test(requests_may_leave),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(prompts_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
