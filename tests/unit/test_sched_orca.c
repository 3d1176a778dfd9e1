/*
 * Orca's iteration-level scheduling: worked out by hand, the edges, random workloads. How to read a
 * schedule: support/sched_golden.h. The number at the end is that of slots nobody has set aside, of
 * 100: a request sets aside its prompt and all of its output from its first step to its last.
 */
#include "serve/sched.h"
#include "../support/sched_golden.h"

static const struct set common[] = {{"max_bs", 2}, {"n_slots", 100}, {0}};
static const struct policy orca = {&sched_orca, common};

static const struct golden goldens[] = {
	{
		/* Whole prompts in one iteration; then all decode together. 13 + 7 + 5 are set
		   aside; those of B and C come back together. */
		.title = "one iteration for all",
		.set = {{"max_bs", 8}},
		.request = {{10, 3}, {5, 2}, {3, 2}},
		.step = {"A@0+10 B@0+5 C@0+3 | - | 75", "A@10+1 B@5+1 C@3+1 | - | 75",
			 "A@11+1 | - | 87"},
	},
	{
		/* C takes A's place and runs its whole prompt beside B's decode: B's step lasts
		   as long as that. 6 + 7, then 7 + 5. */
		.title = "max_bs, and prompts beside decodes",
		.request = {{4, 2}, {4, 3}, {4, 1}},
		.step = {"A@0+4 B@0+4 | - | 87", "A@4+1 B@4+1 | - | 87", "B@5+1 C@0+4 | - | 88"},
	},
	{
		/* 20 slots. A sets aside 12, so B's 10 must wait, though A's prompt takes 8 only;
		   C's 3 would fit, but stand behind B. */
		.title = "n_slots, head of line",
		.set = {{"n_slots", 20}, {"max_bs", 8}},
		.request = {{8, 4}, {8, 2}, {2, 1}},
		.step = {"A@0+8 | - | 8", "A@8+1 | - | 8", "A@9+1 | - | 8", "A@10+1 | - | 8",
			 "B@0+8 C@0+2 | - | 7", "B@8+1 | - | 10"},
	},
	{
		/* All slots can be set aside: 10 + 10 of 20. */
		.title = "to the last slot",
		.set = {{"n_slots", 20}},
		.request = {{8, 2}, {9, 1}},
		.step = {"A@0+8 B@0+9 | - | 0", "A@8+1 | - | 10"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&orca, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

static void steps_start_when_the_model_says(void **state)
{
	(void)state;
	check_model_time(&orca);
}

static void requests_may_leave(void **state)
{
	(void)state;
	check_removal(&orca, NULL);
	check_removal_in_step_aborts(&orca);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&orca);
}

/* An answer that ends early gives back all that was set aside for it. */
static void an_early_end_gives_all_slots_back(void **state)
{
	struct genreq *r = request(0, 10, 0, 50);
	struct sched *s = opened(&orca, NULL);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	r->eos_after = 1;
	sched_orca.add(s, r);
	assert_true(sched_orca.plan(s, &p));
	assert_int_equal(stats_of(&orca, s).free_blocks, 40);
	commit(&orca, s, &p);
	assert_int_equal(r->finish, FINISH_STOP);
	assert_int_equal(stats_of(&orca, s).free_blocks, 100);
	sched_orca.close(s);
	genreq_free(r);
	step_plan_release(&p);
}

static void requests_that_can_never_run_are_refused(void **state)
{
	static const struct {
		int32_t prompt, output;
		bool fine;
	} cases[] = {{0, 5, false}, {1, 1, true}, {90, 10, true}, {91, 10, false}, {2, 99, false}};
	struct sched *s = opened(&orca, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct genreq *r = request(0, cases[i].prompt, 0, cases[i].output);
		struct err e;

		assert_int_equal(sched_orca.check(s, r, &e), cases[i].fine ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_orca.close(s);
	check_knob_table(&sched_orca);
}

/* Everybody in the batch takes part in every step, and all of a prompt is in one. What they may
 * need is set aside, and no more. */
static void check_whole(const struct step_plan *p, const struct sched_stats *stats,
			const struct crowd *c)
{
	int64_t aside = 0;

	(void)c;
	assert_int_equal(p->n_items, stats->running);
	for (int32_t i = 0; i < p->n_items; i++) {
		assert_true(p->item[i].emits);
		aside += p->item[i].req->n_prompt + p->item[i].req->max_tokens;
	}
	assert_int_equal(stats->usable_blocks - stats->free_blocks, aside);
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		int32_t max_bs;
		struct rng g;

		rng_init(&g, seed, "crowd", 0);
		max_bs = 1 + (int32_t)rng_below(&g, 12);
		run_crowd(&(struct crowd){.policy = &orca,
					  .set = (struct set[]){{"max_bs", max_bs},
								{"n_slots",
								 120 + (double)rng_below(&g, 400)},
								{0}},
					  .max_prompt = 90,
					  .max_output = 30,
					  .max_shared = 40,
					  .max_len = INT32_MAX,
					  .max_tokens = INT32_MAX,
					  .max_seqs = max_bs,
					  .counts_tokens = true,
					  .check = check_whole},
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
		cmocka_unit_test(an_early_end_gives_all_slots_back),
		cmocka_unit_test(requests_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
