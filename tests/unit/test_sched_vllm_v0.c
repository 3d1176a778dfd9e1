/*
 * The policy of vLLM before V1: schedules worked out by hand, then the edges, then random
 * workloads. How to read a schedule: support/sched_golden.h.
 *
 * Blocks are of 4 tokens: blocks held = tokens computed after the step / 4, rounded up. Of 100
 * blocks 1 is the watermark, of the few that some cases have none.
 */
#include "../support/sched_golden.h"
#include "serve/sched.h"

static const struct set common[] = {{"block_size", 4}, {"num_gpu_blocks", 100}, {0}};
static const struct policy v0 = {&sched_vllm_v0, common};

static const struct golden goldens[] = {
	{
		/*
		 * B comes while A decodes: the next step is its prompt and nothing else, A stands
		 * still. Then both decode. Blocks: A 2, B 1.
		 */
		.title = "a prompt stops the decodes",
		.request = {{5, 3}, {3, 2, 0, 1}},
		.step = {"A@0+5 | - | 98", "B@0+3 | - | 97", "A@5+1 B@3+1 | - | 97",
			 "A@6+1 | - | 98"},
	},
	{
		/*
		 * 16 tokens a batch. A and B count 2 * 8 = 16 as they are padded, with C it would
		 * be 3 * 8, though all three have but 13 tokens: C gets a step of its own. In step
		 * 2 A's 9th token takes a third block.
		 */
		.title = "padding counts",
		.set = {{"max_num_batched_tokens", 16}},
		.request = {{8, 2}, {2, 2}, {3, 2}},
		.step = {"A@0+8 B@0+2 | - | 97", "C@0+3 | - | 96", "A@8+1 B@2+1 C@3+1 | - | 95"},
	},
	{
		.title = "padding does not count",
		.set = {{"max_num_batched_tokens", 16}, {"count_padding", 0}},
		.request = {{8, 2}, {2, 2}, {3, 2}},
		.step = {"A@0+8 B@0+2 C@0+3 | - | 96", "A@8+1 B@2+1 C@3+1 | - | 95"},
	},
	{
		/* Two may run: C waits until B is through, though it would fit. */
		.title = "max_num_seqs",
		.set = {{"max_num_seqs", 2}},
		.request = {{4, 3}, {4, 2}, {4, 1}},
		.step = {"A@0+4 B@0+4 | - | 98", "A@4+1 B@4+1 | - | 96", "C@0+4 | - | 97",
			 "A@5+1 | - | 98"},
	},
	{
		/*
		 * 2 of 10 blocks stay free at admission. A and B take 4 each; C's one would leave
		 * 1. A ends with its first token; then C's leaves 5. B's 17th token takes a fifth.
		 */
		.title = "watermark",
		.set = {{"num_gpu_blocks", 10}, {"watermark", 0.2}},
		.request = {{16, 1}, {16, 2}, {4, 1}},
		.step = {"A@0+16 B@0+16 | - | 2", "C@0+4 | - | 5", "B@16+1 | - | 5"},
	},
	{
		/*
		 * 5 blocks. Step 1: A's 8th token fits into its second block, B's 9th takes the
		 * last one. Step 2: none is free for A, so B, the youngest, gives back its 3 and
		 * waits, and A takes one of them. B's tokens are now 8 + 2 = 10, 3 blocks, and only
		 * 2 are free until A is done with its 6th token. C came before step 3 and would
		 * fit, but stands behind B. Step 6: B computes all its 10 tokens anew and yields
		 * its third, C its only one.
		 */
		.title = "the youngest starts again, at the head of the queue",
		.set = {{"num_gpu_blocks", 5}},
		.request = {{7, 6}, {8, 4}, {4, 1, 0, 3}},
		.step = {"A@0+7 B@0+8 | - | 1", "A@7+1 B@8+1 | - | 0", "A@8+1 | B | 2",
			 "A@9+1 | - | 2", "A@10+1 | - | 2", "A@11+1 | - | 2",
			 "B@0+10 C@0+4 | - | 1", "B@10+1 | - | 2"},
		.preemptions = 1,
	},
	{
		/*
		 * 4 blocks, 2 each. A's 7th token has its place, but a block must be free all the
		 * same: B goes. Its 7 tokens fit into the 2 free blocks, so step 2 computes them
		 * again, and step 3 throws them out again. With A's third token A is done.
		 */
		.title = "a free block is asked for even if it is not needed",
		.set = {{"num_gpu_blocks", 4}},
		.request = {{6, 3}, {6, 3}},
		.step = {"A@0+6 B@0+6 | - | 0", "A@6+1 | B | 2", "B@0+7 | - | 0", "A@7+1 | B | 2",
			 "B@0+8 | - | 2"},
		.preemptions = 2,
	},
	{
		/*
		 * 6 blocks, 2 each. Step 1 has none for A's 9th token: C goes, and A and B take
		 * one each of its two. Step 2 has none again: B goes, to stand before C in the
		 * queue. A is done, and in step 3 both start again with 3 blocks each.
		 */
		.title = "two start again in their order",
		.set = {{"num_gpu_blocks", 6}},
		.request = {{8, 3}, {8, 3}, {8, 2}},
		.step = {"A@0+8 B@0+8 C@0+8 | - | 0", "A@8+1 B@8+1 | C | 0", "A@9+1 | B | 3",
			 "B@0+10 C@0+9 | - | 0"},
		.preemptions = 2,
	},
	{
		.title = "max_model_len",
		.set = {{"max_model_len", 8}},
		.request = {{5, 9}},
		.step = {"A@0+5 | - | 98", "A@5+1 | - | 98", "A@6+1 | - | 98"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&v0, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

static void model_time(void **state)
{
	(void)state;
	check_model_time(&v0);
}

static void a_removed_request_frees_its_blocks_at_once(void **state)
{
	(void)state;
	check_removal(&v0, (struct set[]){{"max_num_seqs", 2}, {0}});
	check_removal_in_step_aborts(&v0);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&v0);
}

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"max_model_len", 398}}, "one request of at most 397 tokens"},
		{{{"num_gpu_blocks", 5}, {"max_model_len", 18}}, "at most 17 tokens"},
		{{{"max_model_len", 0}}, "at least 2"},
		{{{"max_num_batched_tokens", 99}, {"max_model_len", 100}},
		 "less than max_model_len 100"},
		{{{"watermark", 1}}, "leaves none to use"},
		{{{"num_gpu_blocks", 1 << 24}, {"block_size", 1024}},
		 "num_gpu_blocks * block_size"},
	};

	(void)state;
	check_knob_table(&sched_vllm_v0);
	check_refusals(&v0, cases, sizeof(cases) / sizeof(cases[0]));
}

static void prompts_that_can_never_run_are_refused(void **state)
{
	struct sched *s = opened(&v0, (struct set[]){{"max_model_len", 20}, {0}});
	static const int32_t length[] = {0, 1, 19, 20};
	static const bool fine[] = {false, true, true, false};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct genreq *r = request(0, length[i], 0, 5);
		struct err e;

		assert_int_equal(sched_vllm_v0.check(s, r, &e), fine[i] ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_vllm_v0.close(s);
}

/* ---- random workloads ---- */

/* A step is prompts or decodes, never both, and a decode leaves nobody out. */
static void check_kind(const struct step_plan *p, const struct sched_stats *stats,
		       const struct crowd *c)
{
	int32_t longest = 0;

	for (int32_t i = 0; i < p->n_items; i++) {
		assert_int_equal(p->item[i].prefill, p->item[0].prefill);
		longest = p->item[i].n_tokens > longest ? p->item[i].n_tokens : longest;
	}
	if (p->item[0].prefill)
		assert_true(p->n_items * longest <= c->max_tokens && p->n_preempted == 0);
	else
		assert_int_equal(p->n_items, stats->running);
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct rng g;
		int32_t max_seqs, budget;

		rng_init(&g, seed, "crowd", 0);
		max_seqs = 1 + (int32_t)rng_below(&g, 12);
		budget = 100 + (int32_t)rng_below(&g, 200);
		run_crowd(&(struct crowd){.policy = &v0,
					  .set = (struct set[]){{"num_gpu_blocks",
								 30 + (double)rng_below(&g, 40)},
								{"max_model_len", 100},
								{"max_num_seqs", max_seqs},
								{"max_num_batched_tokens", budget},
								{"watermark",
								 rng_below(&g, 2) ? 0.1 : 0.01},
								{0}},
					  .max_prompt = 90,
					  .max_output = 30,
					  .max_shared = 40,
					  .max_len = 100,
					  .max_tokens = budget,
					  .max_seqs = max_seqs,
					  .no_sharing = true,
					  .check = check_kind},
			  &g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(model_time),
		cmocka_unit_test(a_removed_request_frees_its_blocks_at_once),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(prompts_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
