/*
 * SGLang's policy: schedules worked out by hand, then the edges, then random workloads. How to
 * read a schedule: support/sched_golden.h.
 *
 * Blocks are tokens here, 100 of them but where said. Free are those that nobody holds: what only
 * the cache has counts as free. To be admitted, a request must need less than is free: the tokens
 * it lacks, its whole answer and one more, beside what the answers of those that run are reckoned
 * to take: the new-token ratio (0.7 at first) times what they may still have.
 */
#include "../support/sched_golden.h"
#include "serve/sched.h"

static const struct set common[] = {{"max_total_tokens", 100}, {0}};
static const struct policy sglang = {&sched_sglang, common};

static const struct golden goldens[] = {
	{
		/* B comes while A decodes: A stands still for its prompt. */
		.title = "prompts first",
		.request = {{5, 3}, {3, 2, 0, 1}},
		.step = {"A@0+5 | - | 95", "B@0+3 | - | 92", "A@5+1 B@3+1 | - | 90",
			 "A@6+1 | - | 93"},
	},
	{
		/*
		 * Two may run. A ends in step 1, but is dropped from the batch only when the next
		 * decode is planned, so C, who might have begun in step 2, does in step 3.
		 */
		.title = "max_running_requests",
		.set = {{"max_running_requests", 2}},
		.request = {{4, 2}, {4, 4}, {4, 1}},
		.step = {"A@0+4 B@0+4 | - | 92", "A@4+1 B@4+1 | - | 90", "B@5+1 | - | 94",
			 "C@0+4 | - | 90", "B@6+1 | - | 93"},
	},
	{
		/* The same for C, who comes only when A has ended: A still has its place. */
		.title = "max_running_requests: one decode late",
		.set = {{"max_running_requests", 2}},
		.request = {{4, 2}, {4, 4}, {4, 1, 0, 2}},
		.step = {"A@0+4 B@0+4 | - | 92", "A@4+1 B@4+1 | - | 90", "B@5+1 | - | 94",
			 "C@0+4 | - | 90", "B@6+1 | - | 93"},
	},
	{
		/*
		 * B takes the last place and C finds none: full. B ends with its prompt, so the
		 * batch shrinks before a decode, and C is next.
		 */
		.title = "max_running_requests: an answer of one token",
		.set = {{"max_running_requests", 2}},
		.request = {{4, 3}, {4, 1, 0, 1}, {4, 1, 0, 1}},
		.step = {"A@0+4 | - | 96", "B@0+4 | - | 92", "C@0+4 | - | 92", "A@4+1 | - | 95",
			 "A@5+1 | - | 94"},
	},
	{
		/*
		 * 4 tokens a step. A's last 2 leave room for 2 of B, which is then the one in
		 * chunks. Its last token comes before A's second: chunks are prompts, too.
		 */
		.title = "chunked_prefill_size",
		.set = {{"chunked_prefill_size", 4}},
		.request = {{10, 2}, {3, 1}},
		.step = {"A@0+4 | - | 96", "A@4+4 | - | 92", "A@8+2 B@0+2 | - | 88",
			 "B@2+1 | - | 87", "A@10+1 | - | 89"},
	},
	{
		/* A's decode goes with B's chunks and takes one token of each 4. From then on B
		   stands before A. */
		.title = "enable_mixed_chunk",
		.set = {{"chunked_prefill_size", 4}, {"enable_mixed_chunk", 1}},
		.request = {{3, 5}, {6, 2, 0, 1}},
		.step = {"A@0+3 | - | 97", "B@0+3 A@3+1 | - | 93", "B@3+3 A@4+1 | - | 89",
			 "B@6+1 A@5+1 | - | 87", "A@6+1 | - | 93"},
	},
	{
		/*
		 * 31 tokens; one of A and one of B a step. In step 1 B needs 12 + 1 + 1, and there
		 * are 28 - 0.7 * 19 = 14.7. Each step takes 2 and makes A's answer 1 shorter, which
		 * is 1.3 less: in step 12 it is 0.4, and B's last token goes past what is set
		 * aside.
		 */
		.title = "a prompt that was begun goes on",
		.set = {{"chunked_prefill_size", 2},
			{"enable_mixed_chunk", 1},
			{"max_total_tokens", 31}},
		.request = {{2, 20}, {12, 1, 0, 1}},
		.step = {"A@0+2 | - | 29",	  "B@0+1 A@2+1 | - | 27", "B@1+1 A@3+1 | - | 25",
			 "B@2+1 A@4+1 | - | 23",  "B@3+1 A@5+1 | - | 21", "B@4+1 A@6+1 | - | 19",
			 "B@5+1 A@7+1 | - | 17",  "B@6+1 A@8+1 | - | 15", "B@7+1 A@9+1 | - | 13",
			 "B@8+1 A@10+1 | - | 11", "B@9+1 A@11+1 | - | 9", "B@10+1 A@12+1 | - | 7",
			 "B@11+1 A@13+1 | - | 5", "A@14+1 | - | 16",	  "A@15+1 | - | 15",
			 "A@16+1 | - | 14",	  "A@17+1 | - | 13",	  "A@18+1 | - | 12",
			 "A@19+1 | - | 11",	  "A@20+1 | - | 10"},
	},
	{
		/*
		 * Whole prompts, up to 10 tokens a step. A's 12 may pass, as the first. C's 6 would
		 * fill up what B leaves, which is not enough: it must be less.
		 */
		.title = "max_prefill_tokens",
		.set = {{"chunked_prefill_size", -1}, {"max_prefill_tokens", 10}},
		.request = {{12, 1}, {4, 1}, {6, 1}},
		.step = {"A@0+12 | - | 88", "B@0+4 | - | 96", "C@0+6 | - | 94"},
	},
	{
		/*
		 * 30 tokens. In step 0 A sets aside 10 + 10 + 1, and B's 5 + 5 + 1 do not fit into
		 * the other 9. In step 1 A counts with what it holds and 0.7 * 9 only: 20 - 6.3 are
		 * more than B's 11.
		 */
		.title = "the new-token ratio",
		.set = {{"max_total_tokens", 30}},
		.request = {{10, 10}, {5, 5}},
		.step = {"A@0+10 | - | 20", "B@0+5 | - | 15", "A@10+1 B@5+1 | - | 13",
			 "A@11+1 B@6+1 | - | 11", "A@12+1 B@7+1 | - | 9", "A@13+1 B@8+1 | - | 7",
			 "A@14+1 | - | 15", "A@15+1 | - | 14", "A@16+1 | - | 13", "A@17+1 | - | 12",
			 "A@18+1 | - | 11"},
	},
	{
		/* 15 tokens. A takes 5 + 3 + 1 out of account; B's 4 + 1 + 1 are not less than the
		   other 6. In step 1 they are less than 10 - 0.7 * 2. */
		.title = "one token more for each",
		.set = {{"max_total_tokens", 15}},
		.request = {{5, 3}, {4, 1}},
		.step = {"A@0+5 | - | 10", "B@0+4 | - | 6", "A@5+1 | - | 9", "A@6+1 | - | 8"},
	},
	{
		/*
		 * 20 tokens and a ratio of 0.07: B gets in beside A. In step 7 nothing is left for
		 * two more. Both have 6 tokens out, so the one with the longer prompt goes: A. Its
		 * 5 beyond the prompt are free at once; room for 20 steps of B is wished for, so
		 * the 6 of the prompt are forgotten as well. The ratio is now (6 + 20) / 9, that
		 * is, 1. Step 8: A needs 12 + 4 + 1, and not even 10 are free. Then B is done. The
		 * next plan drops it, finds nothing to run and starts over: of the 20 that nobody
		 * holds A takes 12, prompt and answer so far.
		 */
		.title = "retraction",
		.set = {{"max_total_tokens", 20}, {"schedule_conservativeness", 0.1}},
		.request = {{6, 10}, {4, 8}},
		.step = {"A@0+6 | - | 14", "B@0+4 | - | 10", "A@6+1 B@4+1 | - | 8",
			 "A@7+1 B@5+1 | - | 6", "A@8+1 B@6+1 | - | 4", "A@9+1 B@7+1 | - | 2",
			 "A@10+1 B@8+1 | - | 0", "B@9+1 | A | 10", "B@10+1 | - | 9",
			 "A@0+12 | - | 8", "A@12+1 | - | 7", "A@13+1 | - | 6", "A@14+1 | - | 5"},
		.preemptions = 1,
	},
	{
		/*
		 * B came later and has one token less out than A: it goes, though its prompt is not
		 * the point then. A goes on to its end; B computes its 11 tokens anew, and its last
		 * comes with them.
		 */
		.title = "the fewest output tokens go",
		.set = {{"max_total_tokens", 20}, {"schedule_conservativeness", 0.1}},
		.request = {{4, 10}, {5, 7, 0, 2}},
		.step = {"A@0+4 | - | 16", "A@4+1 | - | 15", "B@0+5 | - | 10",
			 "A@5+1 B@5+1 | - | 8", "A@6+1 B@6+1 | - | 6", "A@7+1 B@7+1 | - | 4",
			 "A@8+1 B@8+1 | - | 2", "A@9+1 B@9+1 | - | 0", "A@10+1 | B | 9",
			 "A@11+1 | - | 8", "A@12+1 | - | 7", "B@0+11 | - | 9"},
		.preemptions = 1,
	},
	{
		/*
		 * The first 8 tokens are the same. What is computed is found from the next step on:
		 * A, B and C find nothing. D finds 8. E's prompt is those 8: its last token is
		 * computed all the same. Free: all but the 8, D's 4 and E's 1.
		 */
		.title = "prefixes",
		.request = {{11, 1, 8},
			    {10, 1, 8},
			    {8, 1, 8},
			    {12, 1, 8, 1, 0, 8},
			    {8, 1, 8, 1, 0, 7}},
		.step = {"A@0+11 B@0+10 C@0+8 | - | 71", "D@8+4 E@7+1 | - | 87"},
	},
	{
		.title = "disable_radix_cache",
		.set = {{"disable_radix_cache", 1}},
		.request = {{11, 2, 8}, {10, 1, 8, 1}},
		.step = {"A@0+11 | - | 89", "B@0+10 | - | 79", "A@11+1 | - | 88"},
	},
	{
		/* One may run. C came after B, but finds A's 8 tokens. */
		.title = "lpm: the longest prefix first",
		.set = {{"schedule_policy", 1}, {"max_running_requests", 1}},
		.request = {{8, 1, 8}, {4, 1, 0, 1}, {10, 1, 8, 1, 0, 8}},
		.step = {"A@0+8 | - | 92", "C@8+2 | - | 90", "B@0+4 | - | 96"},
	},
	{
		/*
		 * A and B share 36 tokens that nobody has computed yet. B waits behind C, and finds
		 * them.
		 */
		.title = "lpm: the same prefix twice in the queue",
		.set = {{"schedule_policy", 1},
			{"max_running_requests", 2},
			{"max_total_tokens", 200}},
		.request = {{40, 1, 36}, {40, 1, 36, 0, 0, 36}, {4, 1}},
		.step = {"A@0+40 C@0+4 | - | 156", "B@36+4 | - | 160"},
	},
	{
		.title = "lof: the longest output first",
		.set = {{"schedule_policy", 2}, {"max_running_requests", 1}},
		.request = {{4, 1}, {4, 3}},
		.step = {"B@0+4 | - | 96", "B@4+1 | - | 95", "B@5+1 | - | 94", "A@0+4 | - | 96"},
	},
	{
		/* The engine keeps 2 of a context of 12. */
		.title = "context_length",
		.set = {{"context_length", 12}},
		.request = {{5, 9}},
		.step = {"A@0+5 | - | 95", "A@5+1 | - | 94", "A@6+1 | - | 93", "A@7+1 | - | 92",
			 "A@8+1 | - | 91"},
	},
};

static void hand_worked_schedules(void **state)
{
	(void)state;
	play_all(&sglang, goldens, sizeof(goldens) / sizeof(goldens[0]));
}

/* The next turn of a conversation finds prompt and answer of the one before, but for the answer's
 * last token, which was never computed. */
static void answers_are_found_again(void **state)
{
	struct sched *s = opened(&sglang, NULL);
	struct genreq *a = request(0, 4, 0, 3), *b;
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_sglang.add(s, a);
	while (step_plan_clear(&p), sched_sglang.plan(s, &p))
		commit(&sglang, s, &p);
	assert_int_equal(a->n_tokens, 7);
	b = genreq_new(1, "B", a->tokens, a->n_tokens, 1);
	sched_sglang.add(s, b);
	step_plan_clear(&p);
	assert_true(sched_sglang.plan(s, &p));
	assert_int_equal(p.item[0].computed, 6);
	assert_int_equal(b->cached_tokens, 6);
	assert_int_equal(stats_of(&sglang, s).prefix_queries_tokens, 4 + 7);
	assert_int_equal(stats_of(&sglang, s).prefix_hits_tokens, 6);
	commit(&sglang, s, &p);
	sched_sglang.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* ---- the new-token ratio ---- */

static void run_steps(struct sched *s, struct step_plan *p, int n)
{
	for (int i = 0; i < n; i++) {
		step_plan_clear(p);
		assert_true(sched_sglang.plan(s, p));
		commit(&sglang, s, p);
	}
}

/* True if a prompt of n tokens with an answer of one is in the next step. It is forgotten again; a
 * decode that comes instead is lost. */
static bool would_be_taken(struct sched *s, uint64_t id, int32_t n, struct step_plan *p)
{
	struct genreq *r = request(id, n, 0, 1);
	bool taken;

	sched_sglang.add(s, r);
	step_plan_clear(p);
	assert_true(sched_sglang.plan(s, p));
	taken = p->item[0].req == r;
	sched_sglang.commit(s, p, NULL, 0); /* as if it had not been */
	sched_sglang.remove(s, r);
	genreq_free(r);
	return taken;
}

/* The largest prompt that gets in beside one that may still have `to_come` tokens: n + 1 + 1 must
 * be less than what is free after the ratio's share of them. */
static void expect_room(struct sched *s, struct step_plan *p, double to_come, double ratio)
{
	double room = stats_of(&sglang, s).free_blocks - to_come * ratio;
	int32_t n = (int32_t)room - 2;

	if (n + 2 >= room)
		n--;
	assert_true(would_be_taken(s, 1, n, p));
	assert_false(would_be_taken(s, 2, n + 1, p));
}

/* 0.7, then 0.602 / 600 less each decode, down to 0.098; and back when nobody runs. */
static void the_ratio_falls(void **state)
{
	static const int decodes[] = {0, 1, 299, 599, 600, 700};

	(void)state;
	for (size_t i = 0; i < sizeof(decodes) / sizeof(decodes[0]); i++) {
		double ratio = 0.7 - decodes[i] * 0.602 / 600;
		struct sched *s = opened(&sglang, (struct set[]){{"max_total_tokens", 3000}, {0}});
		struct genreq *a = request(0, 10, 0, 1001);
		struct step_plan p;

		step_plan_init(&p);
		sched_sglang.add(s, a);
		run_steps(s, &p, 1 + decodes[i]);
		expect_room(s, &p, 1000 - decodes[i], ratio > 0.098 ? ratio : 0.098);
		sched_sglang.remove(s, a);
		genreq_free(a);
		step_plan_clear(&p);
		assert_false(sched_sglang.plan(s, &p));
		a = request(0, 10, 0, 1001);
		sched_sglang.add(s, a);
		run_steps(s, &p, 1);
		expect_room(s, &p, 1000, 0.7);
		sched_sglang.close(s);
		genreq_free(a);
		step_plan_release(&p);
	}
}

/*
 * A ratio of 0.035 lets both in; the 300 tokens are used up when they have about 147 out. Then B
 * goes, and the ratio is what A has out and 20 more, as a share of what it may have and 1.
 */
static void the_ratio_learns_from_a_retraction(void **state)
{
	struct sched *s = opened(&sglang, (struct set[]){{"max_total_tokens", 300},
							 {"schedule_conservativeness", 0.05},
							 {0}});
	struct genreq *a = request(10, 4, 0, 200), *b = request(11, 4, 0, 200);
	struct step_plan p;
	int32_t made;

	(void)state;
	step_plan_init(&p);
	sched_sglang.add(s, a);
	sched_sglang.add(s, b);
	do {
		made = genreq_output_tokens(a);
		run_steps(s, &p, 1);
	} while (p.n_preempted == 0);
	assert_ptr_equal(p.preempted[0], b);
	assert_int_equal(p.n_items, 1);
	sched_sglang.remove(s, b); /* or it would be first in the queue */
	expect_room(s, &p, 200 - (made + 1), (made + 20) / 201.0);
	sched_sglang.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* The retracted stand behind those who wait. */
static void who_is_retracted_goes_to_the_end_of_the_queue(void **state)
{
	struct sched *s = opened(
		&sglang,
		(struct set[]){{"max_total_tokens", 40}, {"schedule_conservativeness", 0.05}, {0}});
	struct genreq *a = request(0, 14, 0, 10), *b = request(1, 14, 0, 8),
		      *c = request(2, 4, 0, 1);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_sglang.add(s, a);
	sched_sglang.add(s, b);
	run_steps(s, &p, 2 + 6);
	assert_int_equal(stats_of(&sglang, s).free_blocks, 0);
	sched_sglang.add(s, c);
	run_steps(s, &p, 1);
	/* As many out, prompts as long: the last in the batch. */
	assert_int_equal(p.n_preempted, 1);
	assert_ptr_equal(p.preempted[0], b);
	run_steps(s, &p, 1);
	assert_ptr_equal(p.item[0].req, c);
	sched_sglang.close(s);
	genreq_free(a);
	genreq_free(b);
	genreq_free(c);
	step_plan_release(&p);
}

/* A ends long before its 1000th token, and B goes on. Until the next decode A's answer is still
 * reckoned with. */
static void who_ended_is_reckoned_with_until_the_next_decode(void **state)
{
	struct sched *s = opened(&sglang, (struct set[]){{"max_total_tokens", 3000}, {0}});
	struct genreq *a = request(0, 10, 0, 1000), *b = request(1, 10, 0, 101),
		      *c = request(2, 2500, 0, 1);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	a->eos_after = 2;
	sched_sglang.add(s, a);
	sched_sglang.add(s, b);
	run_steps(s, &p, 2);
	assert_int_equal(a->state, GENREQ_DONE);
	sched_sglang.add(s, c);
	run_steps(s, &p, 1);
	assert_ptr_equal(p.item[0].req, b);
	run_steps(s, &p, 1);
	assert_ptr_equal(p.item[0].req, c);
	sched_sglang.close(s);
	genreq_free(a);
	genreq_free(b);
	genreq_free(c);
	step_plan_release(&p);
}

/* A queue of more than 128 is not sorted. */
static void a_long_queue_is_not_sorted(void **state)
{
	(void)state;
	for (int n = 128; n <= 129; n++) {
		struct sched *s = opened(
			&sglang,
			(struct set[]){{"schedule_policy", 1}, {"max_running_requests", 1}, {0}});
		struct genreq *r[130];
		struct step_plan p;

		step_plan_init(&p);
		for (int i = 0; i <= n; i++)
			r[i] = request((uint64_t)i, i == 0 || i == n ? 12 : 4,
				       i == 0 || i == n ? 8 : 0, 1);
		sched_sglang.add(s, r[0]);
		run_steps(s, &p, 1);
		for (int i = 1; i <= n; i++)
			sched_sglang.add(s, r[i]);
		step_plan_clear(&p);
		assert_true(sched_sglang.plan(s, &p));
		assert_ptr_equal(p.item[0].req, n == 128 ? r[n] : r[1]);
		sched_sglang.close(s);
		for (int i = 0; i <= n; i++)
			genreq_free(r[i]);
		step_plan_release(&p);
	}
}

static void model_time(void **state)
{
	(void)state;
	check_model_time(&sglang);
}

static void a_removed_request_frees_its_tokens_at_once(void **state)
{
	(void)state;
	check_removal(&sglang, (struct set[]){{"max_running_requests", 2}, {0}});
	check_removal(&sglang,
		      (struct set[]){{"max_running_requests", 2}, {"disable_radix_cache", 1}, {0}});
	check_removal_in_step_aborts(&sglang);
}

/* In the middle of its prompt. */
static void a_chunked_request_can_be_removed(void **state)
{
	struct sched *s = opened(&sglang, (struct set[]){{"chunked_prefill_size", 4}, {0}});
	struct genreq *a = request(0, 10, 0, 1), *b = request(1, 10, 6, 1);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_sglang.add(s, a);
	assert_true(sched_sglang.plan(s, &p));
	commit(&sglang, s, &p);
	assert_int_equal(stats_of(&sglang, s).running, 1);
	sched_sglang.remove(s, a);
	assert_int_equal(stats_of(&sglang, s).running, 0);
	assert_int_equal(stats_of(&sglang, s).free_blocks, 100);
	step_plan_clear(&p);
	assert_false(sched_sglang.plan(s, &p));
	sched_sglang.add(s, b);
	assert_true(sched_sglang.plan(s, &p));
	assert_int_equal(p.item[0].n_tokens, 4);
	sched_sglang.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

static void a_lost_step_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lost_step(&sglang);
}

static void settings_that_contradict_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{{{"context_length", 101}}, "does not fit the KV cache of 100 tokens"},
		{{{"context_length", 7}}, "both at least 8"},
		{{{"max_total_tokens", 7}}, "both at least 8"},
		{{{"enable_mixed_chunk", 1}, {"chunked_prefill_size", -1}},
		 "without chunked_prefill_size"},
		{{{"schedule_policy", 1}, {"disable_radix_cache", 1}}, "lpm has no effect"},
	};

	(void)state;
	check_knob_table(&sched_sglang);
	check_refusals(&sglang, cases, sizeof(cases) / sizeof(cases[0]));
}

static void prompts_that_can_never_run_are_refused(void **state)
{
	struct sched *s = opened(&sglang, (struct set[]){{"context_length", 20}, {0}});
	static const int32_t length[] = {0, 1, 13, 14};
	static const bool fine[] = {false, true, true, false};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct genreq *r = request(0, length[i], 0, 5);
		struct err e;

		assert_int_equal(sched_sglang.check(s, r, &e), fine[i] ? RC_OK : RC_INPUT);
		genreq_free(r);
	}
	sched_sglang.close(s);
}

/* ---- random workloads ---- */

/* One prompt in chunks at most, and unless they are mixed, a step is prompts or a decode of all. */
static void check_kind(const struct step_plan *p, const struct sched_stats *stats,
		       const struct crowd *c)
{
	bool mixed = c->set[0].value != 0;
	int chunked = 0;

	for (int32_t i = 0; i < p->n_items; i++) {
		chunked += !p->item[i].emits;
		assert_true(mixed || p->item[i].prefill == p->item[0].prefill);
	}
	assert_true(chunked <= 1);
	if (!p->item[0].prefill)
		assert_true(p->n_items >= stats->running - 1);
}

static int32_t larger(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

static void crowds_come_to_their_end(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 120; seed++) {
		struct rng g;
		int32_t max_running, chunk, max_prefill;
		bool mixed, caching;

		rng_init(&g, seed, "crowd", 0);
		max_running = 1 + (int32_t)rng_below(&g, 12);
		chunk = rng_below(&g, 3) ? 1 + (int32_t)rng_below(&g, 60) : -1;
		max_prefill = 1 + (int32_t)rng_below(&g, 120);
		mixed = chunk > 0 && rng_below(&g, 2);
		caching = rng_below(&g, 3) > 0;
		run_crowd(
			&(struct crowd){
				.policy = &sglang,
				.set = (struct set[]){{"enable_mixed_chunk", mixed},
						      {"chunked_prefill_size", chunk},
						      {"max_prefill_tokens", max_prefill},
						      {"max_running_requests", max_running},
						      {"max_total_tokens",
						       102 + (double)rng_below(&g, 200)},
						      {"context_length", 102},
						      {"disable_radix_cache", !caching},
						      {"schedule_policy",
						       caching ? (double)rng_below(&g, 3) : 0},
						      {"schedule_conservativeness", rng_unit(&g)},
						      {0}},
				.max_prompt = 90,
				.max_output = 30,
				.max_shared = 40,
				.max_len = 100,
				.max_tokens = chunk > 0 ? larger(chunk, max_running)
							: larger(100, max_prefill),
				.max_seqs = max_running,
				.no_sharing = !caching,
				.check = check_kind},
			&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hand_worked_schedules),
		cmocka_unit_test(answers_are_found_again),
		cmocka_unit_test(the_ratio_falls),
		cmocka_unit_test(the_ratio_learns_from_a_retraction),
		cmocka_unit_test(who_is_retracted_goes_to_the_end_of_the_queue),
		cmocka_unit_test(who_ended_is_reckoned_with_until_the_next_decode),
		cmocka_unit_test(a_long_queue_is_not_sorted),
		cmocka_unit_test(model_time),
		cmocka_unit_test(a_removed_request_frees_its_tokens_at_once),
		cmocka_unit_test(a_chunked_request_can_be_removed),
		cmocka_unit_test(a_lost_step_leaves_nothing_behind),
		cmocka_unit_test(settings_that_contradict_are_refused),
		cmocka_unit_test(prompts_that_can_never_run_are_refused),
		cmocka_unit_test(crowds_come_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
