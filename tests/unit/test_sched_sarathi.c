/*
 * Sarathi's policy: schedules worked out by hand, the edges, random workloads. How to read a
 * schedule: support/sched_golden.h. Decodes stand first, then the prompt that has begun, then new
 * ones. Blocks are of 4 tokens, 100 of them, 1 of which admission leaves free.
 */
#include "serve/sched.h"
#include "../support/sched_golden.h"

static const struct set common[] = {
	{"chunk_size", 8}, {"block_size", 4}, {"num_blocks", 100}, {"batch_size_cap", 8}, {0}};
static const struct policy sarathi = {&sched_sarathi, common};

static const struct golden goldens[] = {
	{
		/*
		 * 8 tokens a step. A's 5, then 3 of B's 10, for all of which B gets its 3 blocks at
		 * once. Step 1: A decodes, and B's 7 are just what is left. A has its third token
		 * and B its second after step 2.
		 */
		.title = "chunks beside decodes",
		.request = {{5, 3}, {10, 2}},
		.step = {"A@0+5 B@0+3 | - | 95", "A@5+1 B@3+7 | - | 95", "A@6+1 B@10+1 | - | 95"},
	},
	{
		/*
		 * Step 1: C came, but B has begun and stands before it: A's decode, 7 of B's other
		 * 9, and nothing is left. Step 2: A, B's last 2, 5 of C.
		 */
		.title = "begun prompts before new ones",
		.request = {{5, 4}, {12, 1}, {6, 1, 0, 1}},
		.step = {"A@0+5 B@0+3 | - | 95", "A@5+1 B@3+7 | - | 95",
			 "A@6+1 B@10+2 C@0+5 | - | 93", "A@7+1 C@5+1 | - | 96"},
	},
	{
		/* Two decodes are the whole chunk of 2: C waits. */
		.title = "chunk_size counts decodes",
		.set = {{"chunk_size", 2}},
		.request = {{1, 3}, {1, 3}, {3, 1}},
		.step = {"A@0+1 B@0+1 | - | 98", "A@1+1 B@1+1 | - | 98", "A@2+1 B@2+1 | - | 98",
			 "C@0+2 | - | 99", "C@2+1 | - | 99"},
	},
	{
		/* Whoever has no place waits, though tokens and blocks are free. */
		.title = "batch_size_cap",
		.set = {{"batch_size_cap", 1}},
		.request = {{4, 2}, {3, 1}},
		.step = {"A@0+4 | - | 99", "A@4+1 | - | 98", "B@0+3 | - | 99"},
	},
	{
		/*
		 * A fifth of 10 blocks stays free: 2. A and B have 8, and C's block must wait. In
		 * step 1 A is gone; B's 17th token takes its fifth block, and there is room.
		 */
		.title = "watermark_blocks_fraction",
		.set = {{"num_blocks", 10}, {"watermark_blocks_fraction", 0.2}, {"chunk_size", 64}},
		.request = {{16, 1}, {16, 2}, {4, 1}},
		.step = {"A@0+16 B@0+16 | - | 2", "B@16+1 C@0+4 | - | 4"},
	},
	{
		/*
		 * 4 blocks, no watermark. Step 1: A's 5th token takes the last block; B's 9th finds
		 * none, and since nobody stands behind it, B starts anew. Its 9 tokens need 3
		 * blocks, and 2 are free until A has its 4 tokens.
		 */
		.title = "restart",
		.set = {{"num_blocks", 4}, {"watermark_blocks_fraction", 0}, {"chunk_size", 16}},
		.request = {{4, 4}, {8, 3}},
		.step = {"A@0+4 B@0+8 | - | 1", "A@4+1 | B | 2", "A@5+1 | - | 2", "A@6+1 | - | 2",
			 "B@0+9 | - | 1", "B@9+1 | - | 1"},
		.preemptions = 1,
	},
	{
		/*
		 * 3 blocks, no watermark, all taken. A's 4th token has room in its block, but a
		 * decode wants a free one: B, behind it, starts anew, and there is room for all of
		 * B again in the same step. Then A's 5th token.
		 */
		.title = "a decode wants a free block",
		.set = {{"num_blocks", 3}, {"watermark_blocks_fraction", 0}, {"chunk_size", 16}},
		.request = {{3, 3}, {5, 2}},
		.step = {"A@0+3 B@0+5 | - | 0", "A@3+1 B@0+6 | B | 0", "A@4+1 | - | 1"},
		.preemptions = 1,
	},
	{
		/*
		 * 6 blocks, no watermark. A, B and C fill them. Step 1: A's 8th token has room, but
		 * wants a free block: C, the last, starts anew and gives back 2, of which B's 9th
		 * token takes one. C's 9 tokens need 3, and D, come meanwhile, stands behind C.
		 * Step 2: A's 9th token takes the last block. B wants one and is alone: it starts
		 * anew, stands before C, and gets its 3 blocks again for 10 tokens. Both end.
		 */
		.title = "the last in line is the victim, and returns to the front",
		.set = {{"num_blocks", 6}, {"watermark_blocks_fraction", 0}, {"chunk_size", 32}},
		.request = {{7, 3}, {8, 3}, {8, 2}, {4, 1, 0, 1}},
		.step = {"A@0+7 B@0+8 C@0+8 | - | 0", "A@7+1 B@8+1 | C | 1", "A@8+1 B@0+10 | B | 0",
			 "C@0+9 D@0+4 | - | 2"},
		.preemptions = 2,
	},
	{
		/* 10 blocks, of which a lone request may have 9: 36 tokens, the last of which needs
		   no place. */
		.title = "a full cache",
		.set = {{"num_blocks", 10}, {"chunk_size", 64}},
		.request = {{33, 9}},
		.step = {"A@0+33 | - | 1", "A@33+1 | - | 1", "A@34+1 | - | 1"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&sarathi, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

static void steps_start_when_the_model_says(void **state)
{
	(void)state;
	check_model_time(&sarathi);
}

static void requests_may_leave(void **state)
{
	static const struct set two_run[] = {{"batch_size_cap", 2}, {"chunk_size", 64}, {0}};

	(void)state;
	check_removal(&sarathi, two_run);
	check_removal_in_step_aborts(&sarathi);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&sarathi);
}

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"num_blocks", 1}}, "num_blocks 1 less the watermark of 0"},
		{{{"watermark_blocks_fraction", 1}}, "the watermark of 100"},
		{{{"num_blocks", 1 << 24}, {"block_size", 1024}}, "num_blocks * block_size"},
	};

	(void)state;
	check_refusals(&sarathi, cases, sizeof(cases) / sizeof(cases[0]));
	check_knob_table(&sched_sarathi);
}

static void prompts_that_can_never_run_are_refused(void **state)
{
	static const int32_t length[] = {0, 1, 395, 396, 500};
	static const bool fine[] = {false, true, true, false, false};
	struct sched *s = opened(&sarathi, NULL);

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct genreq *r = request(0, length[i], 0, 5);
		struct err e;

		assert_int_equal(sched_sarathi.check(s, r, &e), fine[i] ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_sarathi.close(s);
}

/* Every decode is in every step; prompts only as far as chunk_size goes; at most one is left in
 * the middle. */
static void check_chunks(const struct step_plan *p, const struct sched_stats *stats,
			 const struct crowd *c)
{
	int32_t in_the_middle = 0;

	assert_int_equal(p->n_items, stats->running);
	assert_true(p->prefill_tokens == 0 || p->prefill_tokens + p->decode_seqs <= c->max_tokens);
	for (int32_t i = 0; i < p->n_items; i++) {
		in_the_middle += !p->item[i].emits;
		if (i > 0)
			assert_true(p->item[i - 1].prefill <= p->item[i].prefill);
	}
	assert_true(in_the_middle <= 1);
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		int32_t max_seqs, chunk, num_blocks, watermark;
		double fraction;
		struct rng g;

		rng_init(&g, seed, "crowd", 0);
		max_seqs = 1 + (int32_t)rng_below(&g, 12);
		chunk = max_seqs + (int32_t)rng_below(&g, 60);
		num_blocks = 30 + (int32_t)rng_below(&g, 40);
		fraction = rng_below(&g, 2) ? 0.1 : 0;
		watermark = (int32_t)(fraction * num_blocks);
		run_crowd(&(struct crowd){.policy = &sarathi,
					  .set = (struct set[]){{"batch_size_cap", max_seqs},
								{"chunk_size", chunk},
								{"num_blocks", num_blocks},
								{"watermark_blocks_fraction",
								 fraction},
								{0}},
					  .max_prompt = 90,
					  .max_output = 30,
					  .max_shared = 40,
					  .max_len = 4 * (num_blocks - (watermark ? watermark : 1)),
					  .max_tokens = chunk,
					  .max_seqs = max_seqs,
					  .no_sharing = true,
					  .check = check_chunks},
			  &g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(steps_start_when_the_model_says),
		cmocka_unit_test(requests_may_leave),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(prompts_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
