/*
 * vLLM V1's policy: schedules worked out by hand, then the edges (knobs, refusals, removal, lost
 * steps, model time), then random workloads. How to read a schedule: support/sched_golden.h.
 *
 * Running ones stand first, in order of admission. Blocks are of 4 tokens, so that a schedule fits
 * on paper: blocks held = tokens computed after the step / 4, rounded up. A step takes 10 ms.
 */
#include "../support/sched_golden.h"
#include "serve/sched.h"

static const struct set common[] = {
	{"block_size", 4}, {"num_gpu_blocks", 101}, {"max_num_seqs", 2}, {0}};
static const struct policy vllm = {&sched_vllm_v1, common};

static const struct golden goldens[] = {
	{
		/*
		 * 8 tokens a step. Step 0: A needs 10, gets all 8. Step 1: A runs already and gets
		 * its last 2 first (and yields its first token), B's 5 fit into the 6 left, C gets
		 * the last 1: it is in the batch, in chunks. Step 2: A and B decode, C gets its
		 * other 2. B has its 2 tokens and leaves. Step 3: A's third, C's second. Blocks of
		 * 100: A 2; then A 3, B 2, C 1; the same; then A 3 (12 tokens), C 1, B's are back.
		 */
		.title = "chunked prefill",
		.set = {{"max_num_batched_tokens", 8}, {"max_num_seqs", 8}},
		.request = {{10, 3}, {5, 2}, {3, 2}},
		.step = {"A@0+8 | - | 98", "A@8+2 B@0+5 C@0+1 | - | 94",
			 "A@10+1 B@5+1 C@1+2 | - | 94", "A@11+1 C@3+1 | - | 96"},
	},
	{
		/*
		 * The budget is spent in order of admission: three decoders before one prefill. 4
		 * tokens a step: A, B, C come first (step 0: A 3 and 1 of B; step 1: A 1, B's other
		 * 2, 1 of C; step 2: A 1, B 1, C's other 2), D finds nothing left in step 2 and one
		 * token in step 3, then no more than one a step while they decode.
		 */
		.title = "budget exhaustion",
		.set = {{"max_num_batched_tokens", 4}, {"max_num_seqs", 4}},
		.request = {{3, 4}, {3, 4}, {3, 4}, {3, 1}},
		.step = {"A@0+3 B@0+1 | - | 98", "A@3+1 B@1+2 C@0+1 | - | 97",
			 "A@4+1 B@3+1 C@1+2 | - | 96", "A@5+1 B@4+1 C@3+1 D@0+1 | - | 94",
			 "B@5+1 C@4+1 D@1+2 | - | 95", "C@5+1 | - | 98"},
	},
	{
		/* Whoever has no place in the batch waits, though tokens and blocks are free. */
		.title = "max_num_seqs",
		.set = {{"max_num_seqs", 2}},
		.request = {{4, 1}, {4, 2}, {4, 1}},
		.step = {"A@0+4 B@0+4 | - | 98", "B@4+1 C@0+4 | - | 97"},
	},
	{
		/* At most 4 tokens of one request a step: long prompts go side by side. */
		.title = "long_prefill_token_threshold",
		.set = {{"long_prefill_token_threshold", 4}},
		.request = {{10, 1}, {6, 1}},
		.step = {"A@0+4 B@0+4 | - | 98", "A@4+4 B@4+2 | - | 96", "A@8+2 | - | 97"},
	},
	{
		/*
		 * Without chunks B's 5 tokens do not fit beside A's 5 into 8, and C's 2, which
		 * would, wait behind B. In step 1 A decodes, and 7 are just enough for both.
		 */
		.title = "no chunked prefill",
		.set = {{"enable_chunked_prefill", 0},
			{"max_num_batched_tokens", 8},
			{"max_model_len", 8},
			{"max_num_seqs", 8}},
		.request = {{5, 2}, {5, 1}, {2, 1}},
		.step = {"A@0+5 | - | 98", "A@5+1 B@0+5 C@0+2 | - | 95"},
	},
	{
		/*
		 * All begin with the same 8 tokens. A computes 11 and so fills its blocks 1 and 2,
		 * which are named as soon as they are scheduled: B, admitted in the same step,
		 * finds 8 tokens there. C's prompt is those 8 tokens and nothing else; its last
		 * token must be computed, so it finds only the first block. Blocks: A 3, B 1 more,
		 * C 1 more. Step 1: each decodes once; C's 9th token needs a block. Then all leave.
		 * D comes when nobody holds anything: its 8 tokens are found among the free blocks,
		 * which leave the queue for it.
		 */
		.title = "prefix hits, in the same step and later",
		.set = {{"max_num_seqs", 8}},
		.request = {{11, 2, 8, 0, 0, 0},
			    {10, 2, 8, 0, 0, 8},
			    {8, 2, 8, 0, 0, 4},
			    {12, 1, 8, 2, 0, 8}},
		.step = {"A@0+11 B@8+2 C@4+4 | - | 95", "A@11+1 B@10+1 C@8+1 | - | 94",
			 "D@8+4 | - | 97"},
	},
	{
		/* The same without the cache: nothing is found, nothing is shared. */
		.title = "no prefix caching",
		.set = {{"max_num_seqs", 8}, {"enable_prefix_caching", 0}},
		.request = {{11, 2, 8}, {10, 2, 8}, {8, 2, 8}},
		.step = {"A@0+11 B@0+10 C@0+8 | - | 92", "A@11+1 B@10+1 C@8+1 | - | 91"},
	},
	{
		/*
		 * 5 blocks, 1 to 5. Step 0: A takes 1 2, B takes 3 4. Step 1: B's 9th token
		 * takes 5. Step 2: A's 9th token finds none; the last admitted, B, must go. B's
		 * blocks return from the last to the first: 5 has no name and goes in front, then
		 * 4, 3. A takes 5. B's tokens are now 8 + 2 = 10. Steps 3 to 5: B would find its
		 * blocks 3 4 again and need one more, but of free blocks there are 2 only, and hits
		 * on free ones count. Step 6: A's 13th token takes 4, and B's second block is
		 * forgotten. Step 7: A's 8th token; its blocks return: 4 (without a name) in front,
		 * 5 2 1 behind 3. Step 8: B finds 3, its first block, and computes positions 4 to 9
		 * anew in 4 and 5: prompt and output in one go. Then it decodes to its 6th.
		 */
		.title = "preemption, and the way back through its own blocks",
		.set = {{"num_gpu_blocks", 6}},
		.request = {{7, 8}, {8, 6}},
		.step = {"A@0+7 B@0+8 | - | 1", "A@7+1 B@8+1 | - | 0", "A@8+1 | B | 2",
			 "A@9+1 | - | 2", "A@10+1 | - | 2", "A@11+1 | - | 2", "A@12+1 | - | 1",
			 "A@13+1 | - | 1", "B@4+6 | - | 2", "B@10+1 | - | 2", "B@11+1 | - | 2",
			 "B@12+1 | - | 1"},
		.preemptions = 1,
	},
	{
		/*
		 * 3 blocks. In step 1 A's 5th token takes the last, and B, the last admitted, has
		 * to preempt itself. It returns in front of C, which came meanwhile, and holds it
		 * up although C would fit: B's 5 tokens need 2 blocks. After A's 4th token both
		 * begin.
		 */
		.title = "the preempted return to the front",
		.set = {{"num_gpu_blocks", 4}, {"enable_prefix_caching", 0}, {"max_num_seqs", 8}},
		.request = {{4, 4}, {4, 3}, {4, 1, 0, 1}},
		.step = {"A@0+4 B@0+4 | - | 1", "A@4+1 | B | 1", "A@5+1 | - | 1", "A@6+1 | - | 1",
			 "B@0+5 C@0+4 | - | 0", "B@5+1 | - | 1"},
		.preemptions = 1,
	},
	{
		/*
		 * 5 blocks. A holds 3, B needs 3 and waits; C would fit, but stands behind B. After
		 * A's third token all blocks are free, and both begin.
		 */
		.title = "head-of-line blocking",
		.set = {{"num_gpu_blocks", 6}, {"max_num_seqs", 8}},
		.request = {{12, 3}, {12, 1}, {4, 2}},
		.step = {"A@0+12 | - | 2", "A@12+1 | - | 1", "A@13+1 | - | 1",
			 "B@0+12 C@0+4 | - | 1", "C@4+1 | - | 3"},
	},
	{
		/*
		 * 8 tokens a step, 5 blocks. B's prompt of 16 needs 4 blocks, and 2 are free: it
		 * waits as a whole, although its first chunk of 7 would fit.
		 */
		.title = "scheduler_reserve_full_isl",
		.set = {{"num_gpu_blocks", 6},
			{"max_num_batched_tokens", 8},
			{"enable_prefix_caching", 0}},
		.request = {{8, 4}, {16, 1}},
		.step = {"A@0+8 | - | 3", "A@8+1 | - | 2", "A@9+1 | - | 2", "A@10+1 | - | 2",
			 "B@0+8 | - | 3", "B@8+8 | - | 1"},
	},
	{
		/*
		 * Without it, step 1 admits the chunk of 7; step 2 has no blocks for the next one,
		 * so B preempts itself; step 3 does it all again, step 4 (A's last) too. What the
		 * setting is there for.
		 */
		.title = "no scheduler_reserve_full_isl",
		.set = {{"num_gpu_blocks", 6},
			{"max_num_batched_tokens", 8},
			{"enable_prefix_caching", 0},
			{"scheduler_reserve_full_isl", 0}},
		.request = {{8, 5}, {16, 1}},
		.step = {"A@0+8 | - | 3", "A@8+1 B@0+7 | - | 0", "A@9+1 | B | 2",
			 "A@10+1 B@0+7 | - | 0", "A@11+1 | B | 2", "B@0+8 | - | 3",
			 "B@8+8 | - | 1"},
		.preemptions = 2,
	},
	{
		/*
		 * A fifth of 10 blocks stays free: 2 of 9. A takes 4 of them; beside it B's 4 would
		 * leave 1 and wait. Once A is gone the watermark does not bind, as nobody runs: C's
		 * 8 blocks leave 1 free.
		 */
		.title = "watermark",
		.set = {{"num_gpu_blocks", 10}, {"watermark", 0.2}},
		.request = {{16, 1}, {16, 1}, {32, 1}},
		.step = {"A@0+16 | - | 5", "B@0+16 | - | 5", "C@0+32 | - | 1"},
	},
	{
		/*
		 * Priority, lower first; 4 blocks. A (2) and B (1) come together, so B is first; C
		 * (0) comes before step 1, needs 2 blocks for its 7 tokens and never preempts
		 * anybody from the queue. In step 5 B's 9th token needs a block: A, the least
		 * important, goes. B ends with its 6th token. Step 6: C stands before A now; A's 9
		 * tokens (3 blocks) do not fit beside it. C ends with its third token, then A
		 * computes all 9 again.
		 */
		.title = "priority: order and victim",
		.set = {{"num_gpu_blocks", 5},
			{"scheduling_policy", 1},
			{"enable_prefix_caching", 0},
			{"max_num_seqs", 8}},
		.request = {{4, 6, 0, 0, 2}, {4, 6, 0, 0, 1}, {7, 3, 0, 1, 0}},
		.step = {"B@0+4 A@0+4 | - | 2", "B@4+1 A@4+1 | - | 0", "B@5+1 A@5+1 | - | 0",
			 "B@6+1 A@6+1 | - | 0", "B@7+1 A@7+1 | - | 0", "B@8+1 | A | 1",
			 "C@0+7 | - | 2", "C@7+1 | - | 2", "C@8+1 | - | 1", "A@0+9 | - | 1"},
		.preemptions = 1,
	},
	{
		/*
		 * 3 blocks. A (5) runs, B (0) joins in step 1. In step 2 A is scheduled first, with
		 * its 6th token in the block it has; then B's 5th token needs a block, and the
		 * victim is A, which stands before it: its token is taken out of the step again.
		 * A's 6 tokens need 2 blocks, and it waits for B's end.
		 */
		.title = "priority: a victim that was scheduled already",
		.set = {{"num_gpu_blocks", 4},
			{"scheduling_policy", 1},
			{"enable_prefix_caching", 0}},
		.request = {{4, 3, 0, 0, 5}, {4, 4, 0, 1, 0}},
		.step = {"A@0+4 | - | 2", "A@4+1 B@0+4 | - | 0", "B@4+1 | A | 1", "B@5+1 | - | 1",
			 "B@6+1 | - | 1", "A@0+6 | - | 1"},
		.preemptions = 1,
	},
	{
		/*
		 * 4 tokens a step, 4 blocks. In step 3 A (5) has 1 of them when B (0) needs a
		 * block; A's token goes back to the budget, so C (1) gets 3, not 2. B ends with it.
		 * C takes 4, then its last 3, and A, whose 7 tokens are computed anew, begins with
		 * the one that is left.
		 */
		.title = "priority: the victim's tokens go back to the budget",
		.set = {{"num_gpu_blocks", 5},
			{"scheduling_policy", 1},
			{"enable_prefix_caching", 0},
			{"scheduler_reserve_full_isl", 0},
			{"max_num_batched_tokens", 4},
			{"max_num_seqs", 3}},
		.request = {{4, 4, 0, 0, 5}, {3, 3, 0, 1, 0}, {12, 1, 0, 2, 1}},
		.step = {"A@0+4 | - | 3", "A@4+1 B@0+3 | - | 1", "A@5+1 B@3+1 C@0+2 | - | 0",
			 "B@4+1 C@2+3 | A | 0", "C@5+4 | - | 1", "C@9+3 A@0+1 | - | 0",
			 "A@1+4 | - | 2", "A@5+2 | - | 2"},
		.preemptions = 1,
	},
	{
		/*
		 * 3 blocks. A (9) needs a second block in step 2 and is itself the least important:
		 * it goes, which ends vLLM's round with nothing scheduled. The next round follows
		 * at once and has B alone; A (5 tokens, 2 blocks) does not fit beside it.
		 */
		.title = "priority: an empty round",
		.set = {{"num_gpu_blocks", 4},
			{"scheduling_policy", 1},
			{"enable_prefix_caching", 0}},
		.request = {{3, 3, 0, 0, 9}, {7, 2, 0, 1, 0}},
		.step = {"A@0+3 | - | 2", "A@3+1 B@0+7 | - | 0", "B@7+1 | A | 1", "A@0+5 | - | 1"},
		.preemptions = 1,
	},
	{
		/* A full context ends a request before its max_tokens: 8 tokens, of which the last
		   needs no block. */
		.title = "max_model_len",
		.set = {{"max_model_len", 8}},
		.request = {{5, 9}},
		.step = {"A@0+5 | - | 98", "A@5+1 | - | 98", "A@6+1 | - | 98"},
	},
	{
		/*
		 * Two guesses a step ("~2"), and room for two more ahead of them: step 0 computes 5
		 * tokens, yields the 6th and has blocks for 7; step 1 computes position 5 and the
		 * guesses at 6 and 7, and has blocks for 10. Of the guesses (number + tokens) mod 3
		 * are right: of 6 tokens none, of 7 one (step 2 yields two), of 9 none, of 10 one,
		 * but the sixth token of the answer is the last.
		 */
		.title = "speculation",
		.set = {{"num_speculative_tokens", 2}},
		.request = {{5, 6}},
		.step = {"A@0+5 | - | 98", "A@5+1~2 | - | 97", "A@6+1~2 | - | 97",
			 "A@8+1~2 | - | 96", "A@9+1~2 | - | 96"},
	},
	{
		/*
		 * Guesses count in the budget: of 4 tokens A takes 3, B has one left and no guess.
		 * Blocks: for 4 tokens each, then for 7 and 5, then for 8 and 6.
		 */
		.title = "speculation within the budget",
		.set = {{"num_speculative_tokens", 2}, {"max_num_batched_tokens", 4}},
		.request = {{2, 4}, {2, 3}},
		.step = {"A@0+2 B@0+2 | - | 98", "A@2+1~2 B@2+1 | - | 96",
			 "A@3+1~2 B@3+1 | - | 96"},
	},
	{
		/* No guess reaches the last place of the context, which is never computed. */
		.title = "speculation up to max_model_len",
		.set = {{"num_speculative_tokens", 2}, {"max_model_len", 8}},
		.request = {{5, 9}},
		.step = {"A@0+5 | - | 98", "A@5+1~1 | - | 98", "A@6+1 | - | 98"},
	},
	{
		/*
		 * 3 blocks, and 8 in the host's memory. A fills two and names them, B takes all
		 * three, and A's two go to the host, the second first. C begins like A: its 8
		 * tokens are read back ("^8") into blocks of its own, and the last is computed.
		 */
		.title = "offload: what was evicted comes back from the host",
		.set = {{"num_gpu_blocks", 4}, {"num_cpu_blocks", 8}},
		.request = {{9, 1, 8, 0}, {9, 1, 0, 1}, {9, 1, 8, 2, 0, 8}},
		.step = {"A@0+9 | - | 0", "B@0+9 | - | 0", "C@8^8+1 | - | 0"},
	},
	{
		/* The same with room for one: the last to come there is A's first block. */
		.title = "offload: the host gives up the least recently used",
		.set = {{"num_gpu_blocks", 4}, {"num_cpu_blocks", 1}},
		.request = {{9, 1, 8, 0}, {9, 1, 0, 1}, {9, 1, 8, 2, 0, 4}},
		.step = {"A@0+9 | - | 0", "B@0+9 | - | 0", "C@4^4+5 | - | 0"},
	},
	{
		/* 4 blocks: B takes A's third, the fourth and A's second. C finds the first where
		   it was and the second in the host's memory. */
		.title = "offload: the rest of a prefix",
		.set = {{"num_gpu_blocks", 5}, {"num_cpu_blocks", 8}},
		.request = {{9, 1, 8, 0}, {9, 1, 0, 1}, {9, 1, 8, 2, 0, 8}},
		.step = {"A@0+9 | - | 1", "B@0+9 | - | 1", "C@8^4+1 | - | 1"},
	},
	{
		/*
		 * One adapter at a time. A has the first. B wants the second and is passed over; C
		 * wants none and D the first, so they come in. B waits for A's end, though there is
		 * room for it.
		 */
		.title = "LoRA: passing over",
		.set = {{"max_loras", 1}, {"max_num_seqs", 4}},
		.request = {{.prompt = 4, .output = 2, .adapter = 1},
			    {.prompt = 4, .output = 2, .adapter = 2},
			    {.prompt = 4, .output = 1},
			    {.prompt = 4, .output = 1, .adapter = 1}},
		.step = {"A@0+4 C@0+4 D@0+4 | - | 97", "A@4+1 | - | 98", "B@0+4 | - | 99",
			 "B@4+1 | - | 98"},
	},
	{
		/* Whoever is passed over keeps his place: B before C, D with B, as it has the same.
		 */
		.title = "LoRA: the order of those who wait",
		.set = {{"max_loras", 1}, {"max_num_seqs", 4}},
		.request = {{.prompt = 4, .output = 1, .adapter = 1},
			    {.prompt = 4, .output = 1, .adapter = 2},
			    {.prompt = 4, .output = 1, .adapter = 3},
			    {.prompt = 4, .output = 1, .adapter = 2}},
		.step = {"A@0+4 | - | 99", "B@0+4 D@0+4 | - | 98", "C@0+4 | - | 99"},
	},
	{
		/* By priority the least important of those passed over does not overtake. */
		.title = "LoRA: by priority",
		.set = {{"max_loras", 1}, {"max_num_seqs", 4}, {"scheduling_policy", 1}},
		.request = {{.prompt = 4, .output = 1, .priority = 1, .adapter = 1},
			    {.prompt = 4, .output = 1, .priority = 3, .adapter = 2},
			    {.prompt = 4, .output = 1, .priority = 2, .adapter = 3}},
		.step = {"A@0+4 | - | 99", "C@0+4 | - | 99", "B@0+4 | - | 99"},
	},
	{
		/* The same 8 tokens under another adapter are not the same. */
		.title = "LoRA: prefixes",
		.set = {{"max_loras", 2}},
		.request = {{9, 1, 8, 0, 0, 0, 1}, {9, 1, 8, 1, 0, 0, 2}, {9, 1, 8, 2, 0, 8, 1}},
		.step = {"A@0+9 | - | 97", "B@0+9 | - | 97", "C@8+1 | - | 97"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&vllm, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

/* ---- the plan in numbers ---- */

/* Step 2 of "priority: a victim ..." with a budget: what is taken out leaves sums, budget and flags
 * as if never there. */
static void sums_follow_what_is_taken_out(void **state)
{
	struct sched *s = opened(&vllm, (struct set[]){{"num_gpu_blocks", 4},
						       {"scheduling_policy", 1},
						       {"enable_prefix_caching", 0},
						       {"max_num_batched_tokens", 8},
						       {0}});
	struct genreq *a = request(0, 4, 0, 3), *b = request(1, 4, 0, 4);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	a->priority = 5;
	sched_vllm_v1.add(s, a);
	sched_vllm_v1.plan(s, &p);
	assert_int_equal(p.prefill_tokens, 4);
	assert_true(p.prefill_attention == 8); /* 4 * (0 + 4 / 2) */
	assert_int_equal(p.decode_seqs, 0);
	commit(&vllm, s, &p);
	sched_vllm_v1.add(s, b);
	step_plan_clear(&p);
	sched_vllm_v1.plan(s, &p);
	assert_int_equal(p.n_items, 2);
	assert_int_equal(p.prefill_tokens, 4);
	assert_int_equal(p.decode_seqs, 1);
	assert_int_equal(p.decode_kv_tokens, 5);
	commit(&vllm, s, &p);
	step_plan_clear(&p);
	sched_vllm_v1.plan(s, &p);
	assert_int_equal(p.n_items, 1);
	assert_ptr_equal(p.item[0].req, b);
	assert_int_equal(p.decode_seqs, 1);
	assert_int_equal(p.decode_kv_tokens, 5);
	assert_false(a->slot.in_step);
	assert_int_equal(a->state, GENREQ_QUEUED);
	assert_int_equal(a->slot.n_blocks, 0);
	sched_vllm_v1.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

static void prefix_statistics_count_first_admissions(void **state)
{
	struct sched *s = opened(&vllm, (struct set[]){{"max_num_seqs", 8}, {0}});
	struct genreq *r[3] = {request(0, 11, 8, 1), request(1, 10, 8, 1), request(2, 8, 8, 1)};
	struct sched_stats stats;
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	for (int i = 0; i < 3; i++)
		sched_vllm_v1.add(s, r[i]);
	sched_vllm_v1.plan(s, &p);
	sched_vllm_v1.stats(s, &stats);
	assert_int_equal(stats.prefix_queries_tokens, 11 + 10 + 8);
	assert_int_equal(stats.prefix_hits_tokens, 0 + 8 + 4);
	assert_int_equal(stats.steps, 1);
	sched_vllm_v1.close(s);
	for (int i = 0; i < 3; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
}

/* ---- model time ---- */

static void steps_start_when_the_model_says(void **state)
{
	struct genreq *a = request(0, 4, 0, 3), *b = request(1, 4, 0, 2);
	struct sched *s = opened(&vllm, NULL);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	a->arrival_ns = a->ready_ns = 0; /* virtual time begins at 0 */
	sched_vllm_v1.add(s, a);
	assert_true(sched_vllm_v1.plan(s, &p));
	assert_int_equal(p.start_ns, 0);
	assert_false(sched_vllm_v1.plan(s, &p)); /* one step in flight */
	sched_vllm_v1.commit(s, &p, (int32_t[]){1}, 100);
	/* b came while the step ran: the next starts with its end. */
	b->arrival_ns = b->ready_ns = 60;
	sched_vllm_v1.add(s, b);
	step_plan_clear(&p);
	assert_true(sched_vllm_v1.plan(s, &p));
	assert_int_equal(p.start_ns, 100);
	sched_vllm_v1.commit(s, &p, (int32_t[]){2, 2}, 200);
	step_plan_clear(&p);
	assert_true(sched_vllm_v1.plan(s, &p));
	sched_vllm_v1.commit(s, &p, (int32_t[]){3, 3}, 300);
	assert_int_equal(a->first_scheduled_ns, 0);
	assert_int_equal(a->first_token_ns, 100);
	assert_int_equal(a->last_token_ns, 300);
	assert_int_equal(b->first_scheduled_ns, 100);
	assert_int_equal(b->first_token_ns, 200);
	assert_int_equal(b->last_token_ns, 300);
	genreq_free(a);
	genreq_free(b);
	/* Nobody of that step is left, but it was still running when this one came. */
	a = request(2, 4, 0, 1);
	a->arrival_ns = a->ready_ns = 250;
	sched_vllm_v1.add(s, a);
	step_plan_clear(&p);
	assert_true(sched_vllm_v1.plan(s, &p));
	assert_int_equal(p.start_ns, 300);
	sched_vllm_v1.commit(s, &p, (int32_t[]){4}, 400);
	/* The engine was idle: the step starts with the arrival. */
	b = request(3, 4, 0, 1);
	b->arrival_ns = b->ready_ns = 1000;
	sched_vllm_v1.add(s, b);
	step_plan_clear(&p);
	assert_true(sched_vllm_v1.plan(s, &p));
	assert_int_equal(p.start_ns, 1000);
	sched_vllm_v1.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* ---- leaving early ---- */

static void a_removed_request_frees_its_blocks_at_once(void **state)
{
	(void)state;
	check_removal(&vllm, NULL); /* two may run */
}

static void a_request_in_a_step_cannot_be_removed(void **state)
{
	(void)state;
	check_removal_in_step_aborts(&vllm);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&vllm);
}

/* ---- knobs and refusals ---- */

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"max_model_len", 401}}, "does not fit the KV cache of 400 tokens"},
		{{{"max_model_len", 0}}, "at least 2"},
		{{{"max_num_seqs", 9000}}, "less than max_num_seqs 9000"},
		{{{"enable_chunked_prefill", 0},
		  {"max_num_batched_tokens", 99},
		  {"max_model_len", 100}},
		 "less than max_model_len 100"},
		{{{"long_prefill_token_threshold", 401}}, "long_prefill_token_threshold 401"},
		{{{"num_cpu_blocks", 9}, {"enable_prefix_caching", 0}}, "num_cpu_blocks 9"},
		{{{"num_gpu_blocks", 1 << 24}, {"block_size", 1024}},
		 "num_gpu_blocks * block_size"},
	};

	(void)state;
	check_refusals(&vllm, cases, sizeof(cases) / sizeof(cases[0]));
}

static void defaults_are_in_their_ranges(void **state)
{
	static const struct policy bare = {&sched_vllm_v1, NULL};
	struct sched *s = opened(&bare, NULL);

	(void)state;
	check_knob_table(&sched_vllm_v1);
	assert_int_equal(sched_knob(&sched_vllm_v1, "max_seqs"), -1);
	assert_int_equal(stats_of(&bare, s).max_model_len, 27999 * 16);
	sched_vllm_v1.close(s);
}

static void prompts_that_can_never_run_are_refused(void **state)
{
	struct sched *s = opened(&vllm, (struct set[]){{"max_model_len", 20}, {0}});
	static const int32_t length[] = {0, 1, 19, 20, 500};
	static const bool fine[] = {false, true, true, false, false};

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct genreq *r = request(0, length[i], 0, 5);
		struct err e;

		assert_int_equal(sched_vllm_v1.check(s, r, &e), fine[i] ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_vllm_v1.close(s);
}

/* ---- random workloads ---- */

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct rng g;
		int32_t max_seqs, budget, loras;
		bool caching;

		rng_init(&g, seed, "crowd", 0);
		caching = rng_below(&g, 2);
		loras = (int32_t)rng_below(&g, 4);
		max_seqs = 1 + (int32_t)rng_below(&g, 12);
		budget = max_seqs + (int32_t)rng_below(&g, 60);
		run_crowd(
			&(struct crowd){
				.policy = &vllm,
				.set = (struct set[]){{"num_gpu_blocks",
						       27 + (double)rng_below(&g, 40)},
						      {"max_model_len", 100},
						      {"max_num_seqs", max_seqs},
						      {"max_num_batched_tokens", budget},
						      {"enable_prefix_caching", caching},
						      {"num_cpu_blocks",
						       caching ? (double)rng_below(&g, 60) : 0},
						      {"scheduler_reserve_full_isl",
						       (double)rng_below(&g, 2)},
						      {"watermark", rng_below(&g, 2) ? 0.1 : 0},
						      {"scheduling_policy",
						       (double)rng_below(&g, 2)},
						      {"max_loras", loras},
						      {"num_speculative_tokens",
						       rng_below(&g, 2) ? (double)rng_below(&g, 5)
									: 0},
						      {0}},
				.max_prompt = 90,
				.max_output = 30,
				.max_shared = 40,
				.max_len = 100,
				.max_tokens = budget,
				.adapters = 2 * loras,
				.max_loras = loras,
				.max_seqs = max_seqs},
			&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(sums_follow_what_is_taken_out),
		cmocka_unit_test(prefix_statistics_count_first_admissions),
		cmocka_unit_test(steps_start_when_the_model_says),
		cmocka_unit_test(a_removed_request_frees_its_blocks_at_once),
		cmocka_unit_test(a_request_in_a_step_cannot_be_removed),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(defaults_are_in_their_ranges),
		cmocka_unit_test(prompts_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
