/*
 * llama.cpp's policy: schedules worked out by hand, the edges, random workloads. A recorded server
 * is replayed by tests/replay/llama_steps.c. How to read a schedule: support/sched_golden.h.
 *
 * Items stand in the order of the batch: who generates, in slot order, then prompts, in slot order.
 * Of two slots never used the last one is taken first: A runs in slot 1, B in slot 0, so B stands
 * before A. The number at the end is that of KV cells: 64 less all that running requests have
 * computed after the step. What idle slots keep counts as free.
 */
#include "serve/sched.h"
#include "../support/sched_golden.h"

static const struct set common[] = {{"n_parallel", 2}, {"n_ctx", 64}, {"n_batch", 8}, {0}};
static const struct policy llama = {&sched_llamacpp, common};

static const struct golden goldens[] = {
	{
		/*
		 * 8 tokens a batch. Slot 0 comes first: B's 5, then 3 of A's 10. Then B generates,
		 * and A gets the 7 that are left: its last 7. Each first token comes with the last
		 * of its prompt.
		 */
		.title = "prompts fill the batch in slot order",
		.request = {{10, 2}, {5, 2}},
		.step = {"B@0+5 A@0+3 | - | 56", "B@5+1 A@3+7 | - | 48", "A@10+1 | - | 53"},
	},
	{
		/* Slot 0 takes all 4 tokens of the batch, and A, who came first, gets none. */
		.title = "a full batch",
		.set = {{"n_batch", 4}},
		.request = {{4, 2}, {6, 1}},
		.step = {"B@0+4 | - | 60", "B@4+2 A@0+2 | - | 56", "A@2+2 | - | 60",
			 "A@4+1 | - | 59"},
	},
	{
		/* 2 tokens a batch, and both are those of who generates (slots 2 and 1): C waits
		   until they have ended. */
		.title = "n_batch counts who generates",
		.set = {{"n_batch", 2}, {"n_parallel", 3}},
		.request = {{1, 4}, {1, 4}, {4, 1, 0, 1}},
		.step = {"B@0+1 A@0+1 | - | 62", "B@1+1 A@1+1 | - | 60", "B@2+1 A@2+1 | - | 58",
			 "B@3+1 A@3+1 | - | 56", "C@0+2 | - | 62", "C@2+2 | - | 60"},
	},
	{
		/* Without it, B's prompt waits until nobody generates. */
		.title = "no cont_batching",
		.set = {{"cont_batching", 0}},
		.request = {{4, 3}, {4, 1, 0, 1}},
		.step = {"A@0+4 | - | 60", "A@4+1 | - | 59", "A@5+1 | - | 58", "B@0+4 | - | 60"},
	},
	{
		/*
		 * All begin with the same 6 tokens. A leaves 9 cells in slot 1 (8 + the first of
		 * its 2 tokens; nobody computed the second). B shares 6 of its 7 with them, so it
		 * takes slot 1 although slot 0 was never used, and computes 1. C is those 6 and
		 * nothing else; its last token is computed in any case.
		 */
		.title = "the slot that holds the prompt",
		.request = {{8, 2, 6}, {7, 1, 6, 2, 0, 6}, {6, 1, 6, 3, 0, 5}},
		.step = {"A@0+8 | - | 56", "A@8+1 | - | 55", "B@6+1 | - | 57", "C@5+1 | - | 58"},
	},
	{
		/*
		 * A leaves 8 cells in slot 1. B shares 4 of 10, less than half: it takes the slot
		 * least recently used, 0, where it finds nothing. C shares 4 of 8 with what either
		 * slot holds, which is not more than half: the least recently used one is slot 1
		 * now, and there its 4 are found, though it was not taken for them. D gets slot 0.
		 */
		.title = "slot_prompt_similarity",
		.set = {{"slot_prompt_similarity", 0.5}},
		.request = {{8, 1, 4}, {10, 1, 4, 1}, {8, 1, 4, 3, 0, 4}, {3, 1, 0, 3}},
		.step = {"A@0+8 | - | 56", "B@0+8 | - | 56", "B@8+2 | - | 54",
			 "D@0+3 C@4+4 | - | 53"},
	},
	{
		/* Both slots hold the 6 tokens: C takes the first, though it was released later. */
		.title = "equal similarity",
		.set = {{"n_batch", 16}},
		.request = {{8, 2, 6}, {8, 3, 6}, {7, 1, 6, 3, 0, 6}, {7, 1, 6, 3, 0, 6}},
		.step = {"B@0+8 A@0+8 | - | 48", "B@8+1 A@8+1 | - | 46", "B@9+1 | - | 54",
			 "C@6+1 D@6+1 | - | 50"},
	},
	{
		/* 0: always the least recently used. B does not look at what slot 1 holds. */
		.title = "no slot_prompt_similarity",
		.set = {{"slot_prompt_similarity", 0}},
		.request = {{8, 1, 6}, {7, 1, 6, 1}},
		.step = {"A@0+8 | - | 56", "B@0+7 | - | 57"},
	},
	{
		/* B takes A's slot, and throws away what is there. */
		.title = "no cache_prompt",
		.set = {{"cache_prompt", 0}},
		.request = {{8, 1, 6}, {7, 1, 6, 1}},
		.step = {"A@0+8 | - | 56", "B@0+7 | - | 57"},
	},
	{
		/*
		 * C, D and E find no slot. Slots 0 and 1 are released after the same batch: C goes
		 * to the front of the queue, then D before it. So D is the first to get a slot, the
		 * one released first, 0, and C gets 1. After them, E gets slot 0.
		 */
		.title = "two of the deferred change places",
		.set = {{"n_batch", 32}},
		.request = {{2, 2}, {2, 2}, {2, 1}, {3, 1}, {4, 1}},
		.step = {"B@0+2 A@0+2 | - | 60", "B@2+1 A@2+1 | - | 58", "D@0+3 C@0+2 | - | 59",
			 "E@0+4 | - | 60"},
	},
	{
		/*
		 * Who comes when a deferred one has returned to the queue stands behind it: slot 0
		 * (B) is released first, C takes it, and D, come meanwhile, is deferred until A
		 * ends.
		 */
		.title = "the deferred before the newcomers",
		.set = {{"n_batch", 32}},
		.request = {{2, 3}, {2, 1}, {2, 3}, {2, 1, 0, 1}},
		.step = {"B@0+2 A@0+2 | - | 60", "A@2+1 C@0+2 | - | 59", "C@2+1 A@3+1 | - | 57",
			 "C@3+1 D@0+2 | - | 58"},
	},
	{
		/* 16 cells for two slots: 8 each. 5 + 3 tokens, of which the last needs no cell. */
		.title = "a full slot",
		.set = {{"n_ctx", 16}},
		.request = {{5, 9}},
		.step = {"A@0+5 | - | 11", "A@5+1 | - | 10", "A@6+1 | - | 9"},
	},
	{
		/*
		 * 16 cells that the slots share. A leaves 9 of them in slot 1, and B has 7 beside
		 * them. B's next token finds none, so A's are purged. C would have found 8 there;
		 * its 10 purge B's, in turn.
		 */
		.title = "kv_unified: idle cells are purged",
		.set = {{"n_ctx", 16}, {"n_batch", 16}, {"kv_unified", 2}},
		.request = {{8, 2, 8}, {7, 2, 0, 2}, {10, 1, 8, 4}},
		.step = {"A@0+8 | - | 8", "A@8+1 | - | 7", "B@0+7 | - | 9", "B@7+1 | - | 8",
			 "C@0+10 | - | 6"},
	},
	{
		/* With one more, they are not. */
		.title = "kv_unified: idle cells are kept",
		.set = {{"n_ctx", 17}, {"n_batch", 16}, {"kv_unified", 2}},
		.request = {{8, 2, 8}, {7, 2, 0, 2}, {10, 1, 8, 4, 0, 8}},
		.step = {"A@0+8 | - | 9", "A@8+1 | - | 8", "B@0+7 | - | 10", "B@7+1 | - | 9",
			 "C@8+2 | - | 7"},
	},
	{
		/*
		 * 16 cells: after step 2 A and B have them all, and neither has ended. llama.cpp
		 * gives up both; C, deferred so far, starts in an empty cache, though its first 6
		 * tokens are theirs.
		 */
		.title = "kv_unified: out of cells",
		.set = {{"n_ctx", 16}, {"n_batch", 16}, {"kv_unified", 2}},
		.request = {{6, 9, 6}, {6, 9, 6}, {7, 1, 6}},
		.step = {"B@0+6 A@0+6 | - | 4", "B@6+1 A@6+1 | - | 2", "B@7+1 A@7+1 | - | 0",
			 "C@0+7 | - | 9"},
	},
	{
		/*
		 * As before, but B ends with step 2, and so its cells may go: A, of whom there was
		 * room for nothing, goes on.
		 */
		.title = "kv_unified: cells come back in time",
		.set = {{"n_ctx", 15}, {"n_batch", 16}, {"kv_unified", 2}},
		.request = {{6, 4}, {6, 3}},
		.step = {"B@0+6 A@0+6 | - | 3", "B@6+1 A@6+1 | - | 1", "B@7+1 | - | 0",
			 "A@7+1 | - | 7", "A@8+1 | - | 6"},
	},
	{
		/*
		 * 16 cells. A leaves 7 in slot 1, and B has 9 in slot 0 when C comes for A's 7.
		 * With them all cells would be in use, and nobody could go on: they are given up.
		 * Of C's 8 tokens 6 fit, and that is the end of both.
		 */
		.title = "kv_unified: a prefix that leaves no cell",
		.set = {{"n_ctx", 16}, {"n_batch", 16}, {"kv_unified", 2}},
		.request = {{7, 1, 7}, {6, 9, 0, 1}, {8, 1, 7, 5}},
		.step = {"A@0+7 | - | 9", "B@0+6 | - | 10", "B@6+1 | - | 9", "B@7+1 | - | 8",
			 "B@8+1 | - | 7", "B@9+1 C@0+6 | - | 0"},
	},
	{
		/*
		 * 15 cells: in step 2 there is one for B and none for A. B is given up with what it
		 * has; A, of whom nothing was in the batch, goes on with the cells that are free
		 * now.
		 */
		.title = "kv_unified: a batch cut short",
		.set = {{"n_ctx", 15}, {"n_batch", 16}, {"kv_unified", 2}},
		.request = {{6, 4}, {6, 9}},
		.step = {"B@0+6 A@0+6 | - | 3", "B@6+1 A@6+1 | - | 1", "B@7+1 | - | 0",
			 "A@7+1 | - | 7", "A@8+1 | - | 6"},
	},
	{
		/* -1: four slots that share all cells. A has the 63 it needs, in one slot. */
		.title = "n_parallel by itself",
		.set = {{"n_parallel", -1}, {"n_batch", 64}},
		.request = {{60, 4}},
		.step = {"A@0+60 | - | 4", "A@60+1 | - | 3", "A@61+1 | - | 2", "A@62+1 | - | 1"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&llama, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

static void who_is_given_up_ends_with_an_error(void **state)
{
	static const struct {
		int32_t n_ctx, prompt_a, prompt_b, tokens_a, tokens_b;
		enum genreq_finish finish_a, finish_b;
	} cases[] = {
		{16, 6, 6, 3, 3, FINISH_ERROR, FINISH_ERROR},  /* as in "out of cells" */
		{15, 6, 6, 4, 3, FINISH_LENGTH, FINISH_ERROR}, /* as in "a batch cut short" */
		{13, 3, 11, 0, 1, FINISH_ERROR, FINISH_ERROR}, /* cut in the middle of A's prompt */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sched *s = opened(&llama, (struct set[]){{"n_ctx", cases[i].n_ctx},
								{"n_batch", 32},
								{"kv_unified", 2},
								{0}});
		struct genreq *a = request(0, cases[i].prompt_a, 0, 4),
			      *b = request(1, cases[i].prompt_b, 0, 4);
		struct step_plan p;

		step_plan_init(&p);
		sched_llamacpp.add(s, a);
		sched_llamacpp.add(s, b);
		while (step_plan_clear(&p), sched_llamacpp.plan(s, &p))
			commit(&llama, s, &p);
		assert_int_equal(a->state, GENREQ_DONE);
		assert_int_equal(b->state, GENREQ_DONE);
		assert_int_equal(a->finish, cases[i].finish_a);
		assert_int_equal(b->finish, cases[i].finish_b);
		assert_int_equal(genreq_output_tokens(a), cases[i].tokens_a);
		assert_int_equal(genreq_output_tokens(b), cases[i].tokens_b);
		assert_int_equal(stats_of(&llama, s).running, 0);
		sched_llamacpp.close(s);
		genreq_free(a);
		genreq_free(b);
		step_plan_release(&p);
	}
}

/* ---- the contract ---- */

static void steps_start_when_the_model_says(void **state)
{
	(void)state;
	check_model_time(&llama);
}

static void requests_may_leave(void **state)
{
	(void)state;
	check_removal(&llama, NULL);
	check_removal_in_step_aborts(&llama);
}

/* A deferred one leaves; a slot whose request leaves takes up the next, and keeps its cells. */
static void a_slot_left_early_is_a_slot_released(void **state)
{
	struct genreq *r[4];
	struct sched *s = opened(&llama, NULL);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	for (int i = 0; i < 4; i++) {
		r[i] = request((uint64_t)i, 4, i == 1 ? 0 : 3, 9);
		sched_llamacpp.add(s, r[i]);
	}
	assert_true(sched_llamacpp.plan(s, &p));
	sched_llamacpp.remove(s, r[2]); /* deferred */
	commit(&llama, s, &p);
	sched_llamacpp.remove(s, r[0]);
	step_plan_clear(&p);
	assert_true(sched_llamacpp.plan(s, &p));
	assert_int_equal(r[3]->slot.place, 1);
	assert_int_equal(r[3]->cached_tokens, 3);
	assert_int_equal(stats_of(&llama, s).waiting, 0);
	sched_llamacpp.close(s);
	for (int i = 0; i < 4; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
}

/* C has a slot but no tokens, as B fills the batch: what the slot holds from A is still there when
 * C leaves. */
static void a_slot_never_started_keeps_its_cells(void **state)
{
	struct genreq *r[4] = {request(0, 8, 6, 1), request(1, 8, 0, 9), request(2, 7, 6, 9),
			       request(3, 7, 6, 9)};
	struct sched *s = opened(&llama, NULL);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	for (int i = 0; i < 3; i++) {
		sched_llamacpp.add(s, r[i]);
		if (i == 1) /* B and C come together */
			continue;
		step_plan_clear(&p);
		assert_true(sched_llamacpp.plan(s, &p));
		commit(&llama, s, &p);
	}
	assert_int_equal(r[2]->slot.place, 1);
	assert_int_equal(r[2]->state, GENREQ_PREFILL);
	sched_llamacpp.remove(s, r[2]);
	sched_llamacpp.add(s, r[3]);
	step_plan_clear(&p);
	assert_true(sched_llamacpp.plan(s, &p));
	assert_int_equal(r[3]->slot.place, 1);
	assert_int_equal(r[3]->cached_tokens, 6);
	sched_llamacpp.close(s);
	for (int i = 0; i < 4; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&llama);
}

static void prefix_statistics(void **state)
{
	struct sched *s = opened(&llama, NULL);
	struct genreq *a = request(0, 8, 6, 1), *b = request(1, 7, 6, 1);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_llamacpp.add(s, a);
	sched_llamacpp.plan(s, &p);
	commit(&llama, s, &p);
	sched_llamacpp.add(s, b);
	step_plan_clear(&p);
	sched_llamacpp.plan(s, &p);
	assert_int_equal(stats_of(&llama, s).prefix_queries_tokens, 8 + 7);
	assert_int_equal(stats_of(&llama, s).prefix_hits_tokens, 6);
	assert_int_equal(stats_of(&llama, s).steps, 2);
	sched_llamacpp.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"n_parallel", 0}}, "at least 1, or -1"},
		{{{"n_parallel", 33}}, "leaves each of 33 slots 1 tokens"},
	};

	(void)state;
	check_refusals(&llama, cases, sizeof(cases) / sizeof(cases[0]));
	check_knob_table(&sched_llamacpp);
}

static void prompts_that_can_never_run_are_refused(void **state)
{
	static const int32_t length[] = {0, 1, 31, 32, 500};
	static const bool fine[] = {false, true, true, false, false};
	struct sched *s = opened(&llama, NULL);

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct genreq *r = request(0, length[i], 0, 5);
		struct err e;

		assert_int_equal(sched_llamacpp.check(s, r, &e), fine[i] ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_llamacpp.close(s);
}

/* ---- random workloads ---- */

/* Who generates in slot order, then prompts in slot order; one request a slot. All that is computed
 * has its cell. */
static void check_order(const struct step_plan *p, const struct sched_stats *stats,
			const struct crowd *c)
{
	int64_t cells = 0;

	for (int32_t i = 0; i < p->n_items; i++) {
		const struct step_item *it = &p->item[i], *next = it + 1;

		assert_in_range(it->req->slot.place, 0, c->max_seqs - 1);
		cells += it->computed + it->n_tokens;
		if (i + 1 == p->n_items)
			continue;
		assert_true(it->prefill <= next->prefill);
		assert_true(it->prefill < next->prefill ||
			    it->req->slot.place < next->req->slot.place);
	}
	assert_true(stats->usable_blocks - stats->free_blocks >= cells);
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		int32_t n_parallel, n_batch, n_ctx;
		bool unified;
		struct rng g;

		rng_init(&g, seed, "crowd", 0);
		n_parallel = 1 + (int32_t)rng_below(&g, 12);
		n_batch = n_parallel + (int32_t)rng_below(&g, 60);
		unified = rng_below(&g, 2) != 0;
		n_ctx = unified ? 91 + (int32_t)rng_below(&g, 600) : 100 * n_parallel;
		run_crowd(
			&(struct crowd){
				.policy = &llama,
				.set = (struct set[]){{"n_parallel", n_parallel},
						      {"n_batch", n_batch},
						      {"n_ctx", n_ctx},
						      {"kv_unified", unified ? 2 : 1},
						      {"cont_batching", (double)rng_below(&g, 2)},
						      {"cache_prompt", (double)rng_below(&g, 2)},
						      {"slot_prompt_similarity",
						       rng_below(&g, 2) ? 0.1 : 0},
						      {0}},
				.max_prompt = 90,
				.max_output = 30,
				.max_shared = 40,
				.max_len = unified ? n_ctx : 100,
				.max_tokens = n_batch,
				.max_seqs = n_parallel,
				.counts_tokens = true,
				.may_fail = unified,
				.check = check_order},
			&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(who_is_given_up_ends_with_an_error),
		cmocka_unit_test(steps_start_when_the_model_says),
		cmocka_unit_test(requests_may_leave),
		cmocka_unit_test(a_slot_left_early_is_a_slot_released),
		cmocka_unit_test(a_slot_never_started_keeps_its_cells),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(prefix_statistics),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(prompts_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
