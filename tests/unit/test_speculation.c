/*
 * Speculative decoding in the model: the luck of guesses, what they cost, the pace of an answer
 * beside its closed form, and what a profile may say. The schedules worked out by hand stand in
 * test_sched_vllm_v1.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/evloop.h"
#include "fakeengine/predict.h"
#include "fakeengine/profile.h"
#include "fakeengine/simulate.h"

static const char base[] =
	"name: n\nengine: e\ndescription: d\nsource: s\nmodel: {name: m}\n"
	"scheduler: {policy: vllm-v1, max_num_seqs: 8, num_gpu_blocks: 4k, "
	"num_speculative_tokens: 3}\n"
	"cost:\n  affine: {step: 10ms, per_decode_seq: 100us, knee_tokens: 6, "
	"per_token_over_knee: 50us}\n"
	"speculation: {acceptance: [0.8, 0.6, 0.5], draft_pass: 1ms, per_draft_token: 10us}\n";

static enum rc parse(struct profile *p, const char *set, const char *other, struct err *e)
{
	const struct profile_set sets[] = {{set, "--set x"}, {other, "--set x"}};

	return profile_parse(p, "f.yaml", base, strlen(base), sets, (set != NULL) + (other != NULL),
			     e);
}

static void load(struct profile *p, const char *set, const char *other)
{
	struct err e;

	if (parse(p, set, other, &e))
		fail_msg("%s", e.msg);
}

/* ---- the guesses ---- */

static void guesses_are_right_as_often_as_said(void **state)
{
	enum { N = 40000 };
	static const struct drafter d = {{0.8, 0.6, 0.5}};
	int32_t reached[4] = {0};

	(void)state;
	for (int32_t i = 0; i < N; i++) {
		int32_t right = drafter_accepted(&d, 7 + (uint64_t)(i % 4), i / 4, 3);

		assert_in_range(right, 0, 3);
		assert_int_equal(drafter_accepted(&d, 7 + (uint64_t)(i % 4), i / 4, 3), right);
		for (int32_t k = 1; k <= right; k++)
			reached[k]++;
	}
	/* 0.8, 0.48 and 0.24 of the time; four standard deviations are 0.01 at most. */
	assert_true(fabs(reached[1] / (double)N - 0.8) < 0.01);
	assert_true(fabs(reached[2] / (double)N - 0.48) < 0.01);
	assert_true(fabs(reached[3] / (double)N - 0.24) < 0.01);
	assert_true(fabs(drafter_tokens_per_step(&d, 3) - 2.52) < 1e-12);
	assert_true(drafter_tokens_per_step(&d, 0) == 1);
	assert_int_equal(drafter_accepted(&d, 7, 0, 0), 0);
}

/* ---- what they cost ---- */

static void verified_tokens_are_computed_like_prompt_tokens(void **state)
{
	static const struct cost cost = {.type = &cost_affine,
					 .coef = {[AFFINE_STEP] = 1000000,
						  [AFFINE_PREFILL_TOKEN] = 1000,
						  [AFFINE_DECODE_SEQ] = 100,
						  [AFFINE_KV_TOKEN] = 10,
						  [AFFINE_OVER_KNEE] = 7,
						  [AFFINE_KNEE_TOKENS] = 5,
						  [AFFINE_PREFILL_ATTENTION] = 2},
					 .draft = {500000, 30000}};
	static const int32_t prompt[8] = {0};
	struct genreq *a = genreq_new(1, NULL, prompt, 8, 9),
		      *b = genreq_new(2, NULL, prompt, 4, 9);
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	a->state = b->state = GENREQ_DECODE;
	step_plan_add(&p, a, 7, 1);
	assert_int_equal(cost_step_ps(&cost, &p), 1000000 + 100 + 80);
	/* Three guesses behind 8 tokens: 3 x (8 + 1.5) pairs; 4 tokens are below the knee. */
	step_plan_verify(&p, 3);
	assert_int_equal(p.draft_tokens, 3);
	assert_true(p.prefill_attention == 28.5);
	assert_int_equal(cost_step_ps(&cost, &p),
			 1000000 + 100 + 80 + 3000 + 57 + 3 * 500000 + 3 * 30000);
	/* One more for the other: 6 tokens in all; the longest draft says how many passes. */
	step_plan_add(&p, b, 3, 1);
	step_plan_verify(&p, 1);
	assert_int_equal(p.max_draft, 3);
	assert_int_equal(cost_step_ps(&cost, &p),
			 1000000 + 200 + 120 + 4000 + 7 + 66 + 3 * 500000 + 4 * 30000);
	/* What is taken out again was never there. */
	assert_int_equal(step_plan_drop(&p, a), 4);
	assert_int_equal(p.max_draft, 1);
	assert_int_equal(cost_step_ps(&cost, &p), 1000000 + 100 + 40 + 1000 + 9 + 500000 + 30000);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* ---- the pace ---- */

enum { ANSWER = 20001 };

static struct {
	int64_t first_ns, last_ns;
	int32_t events, tokens;
	struct sim_stats stats;
} seen;

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	(void)r;
	if (seen.events == 0)
		seen.first_ns = t_ns[0];
	seen.last_ns = t_ns[n - 1];
	seen.events += n;
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	(void)t_ns;
	seen.tokens += genreq_output_tokens(r);
}

/* `users` answers of so many tokens, all at once. */
static void run(const struct profile *p, int users)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct evloop *loop = evloop_new_virtual(0);
	struct sim_setup setup = {.policy = p->policy, .cost = &p->cost, .drafter = &p->drafter};
	struct sim *sim;

	memcpy(setup.knobs, p->knobs, sizeof(setup.knobs));
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sim_new(&sim, loop, &setup, &sink, NULL), RC_OK);
	for (int i = 0; i < users; i++) {
		int32_t prompt = i;
		struct genreq *r = genreq_new((uint64_t)i, NULL, &prompt, 1, ANSWER / users);

		r->seed = (uint64_t)i;
		assert_int_equal(sim_submit(sim, r, NULL), RC_OK);
	}
	evloop_run(loop);
	sim_stats(sim, &seen.stats);
	assert_int_equal(seen.tokens, users * (ANSWER / users));
	assert_int_equal(seen.stats.generation_tokens, seen.tokens);
	sim_free(sim);
	evloop_free(loop);
}

/* TPOT = (step + 100 us + k x 1 ms + k x 10 us) / Y with Y = 1 + a1 + a1 a2 + ...: a step has 1 + k
 * tokens, which are below the knee. 8,000 steps and more: four standard errors are 2 %. */
static void an_answer_has_the_pace_of_the_closed_form(void **state)
{
	static const struct {
		const char *tokens, *acceptance;
		double k, yield;
	} row[] = {
		{"scheduler.num_speculative_tokens=0", NULL, 0, 1},
		{"scheduler.num_speculative_tokens=1", NULL, 1, 1.8},
		{"scheduler.num_speculative_tokens=2", NULL, 2, 2.28},
		{"scheduler.num_speculative_tokens=3", NULL, 3, 2.52},
		{"scheduler.num_speculative_tokens=3", "speculation.acceptance=0", 3, 1},
		{"scheduler.num_speculative_tokens=3", "speculation.acceptance=1", 3, 4},
		{"scheduler.num_speculative_tokens=5", "speculation.acceptance=0.7", 5,
		 1 + 0.7 + 0.49 + 0.343 + 0.2401 + 0.16807},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		double want_ms = (10 + 0.1 + row[i].k * 1.01) / row[i].yield, ms;
		struct prediction d;
		struct profile p;

		load(&p, row[i].tokens, row[i].acceptance);
		run(&p, 1);
		ms = (double)(seen.last_ns - seen.first_ns) / 1e6 / (ANSWER - 1);
		if (fabs(ms / want_ms - 1) > (row[i].yield == floor(row[i].yield) ? 1e-9 : 0.02))
			fail_msg("%s %s: TPOT %.4f ms, want %.4f", row[i].tokens,
				 row[i].acceptance ? row[i].acceptance : "", ms, want_ms);
		assert_int_equal(predict(&p, 1, 1, ANSWER, &d, NULL), RC_OK);
		assert_true(fabs(d.tpot_ns / 1e6 / want_ms - 1) < 1e-9);
		/* The first step yields one token, every other one event. */
		assert_int_equal(seen.events, seen.stats.sched.steps);
		assert_int_equal(seen.stats.sched.max_draft, (int)row[i].k);
		assert_int_equal(seen.stats.sched.drafts, row[i].k > 0 ? seen.events - 1 : 0);
		profile_release(&p);
	}
}

/* Eight answers: 32 tokens a step, 26 of them beyond the knee. */
static void company_pays_for_verification(void **state)
{
	double want_ms = (10 + 0.8 + 26 * 0.05 + 3 + 24 * 0.01) / 2.52, ms;
	const struct sched_stats *s = &seen.stats.sched;
	struct profile p;
	int64_t by_place = 0;
	int32_t gaps = ANSWER / 8 - 1;

	(void)state;
	load(&p, NULL, NULL);
	run(&p, 8);
	ms = (double)(seen.last_ns - seen.first_ns) / 1e6 / gaps;
	/* The last of eight to end counts, so it is a little late. */
	assert_true(ms > want_ms * 0.99 && ms < want_ms * 1.04);
	for (int k = 0; k < 3; k++)
		by_place += s->accepted_at[k];
	assert_int_equal(by_place, s->accepted_tokens);
	assert_int_equal(s->draft_tokens, 3 * s->drafts);
	assert_true(fabs((double)s->accepted_at[2] / (double)s->drafts - 0.24) < 0.02);
	profile_release(&p);
}

/* ---- profiles ---- */

static void what_has_no_effect_is_refused(void **state)
{
	static const struct {
		const char *set, *other, *says;
	} row[] = {
		{"speculation.acceptance=0.5", NULL, NULL},
		{"scheduler.num_speculative_tokens=0", NULL, NULL}, /* as a sweep says it */
		{"scheduler.num_speculative_tokens=4", NULL,
		 "3 probabilities, want one for each of 4"},
		{"scheduler.num_speculative_tokens=17", NULL, "num_speculative_tokens"},
		{"speculation.acceptance=[0.5, 2, 0.1]", NULL, "speculation.acceptance"},
		{"speculation.acceptance={a: 1}", NULL, "speculation.acceptance"},
		{"speculation={draft_pass: 1ms}", NULL, "\"acceptance\" is missing"},
		{"speculation.drafts=1ms", NULL, "drafts"},
		{"scheduler={policy: vllm-v1, num_speculative_tokens: 2}", NULL, NULL},
		{"scheduler={policy: vllm-v1}", NULL,
		 "no effect without scheduler.num_speculative_tokens"},
		{"scheduler={policy: sglang}", NULL, "policy sglang knows nothing of it"},
		{"scheduler={policy: sglang, num_speculative_tokens: 2}", NULL,
		 "num_speculative_tokens"},
	};
	static const char bare[] = "name: n\nengine: e\ndescription: d\nsource: s\n"
				   "model: {name: m}\nscheduler:\n  policy: vllm-v1\n"
				   "  num_speculative_tokens: 2\ncost: {affine: {step: 1ms}}\n";
	struct profile p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		enum rc rc = parse(&p, row[i].set, row[i].other, &e);

		if (rc == RC_OK)
			profile_release(&p);
		if (!row[i].says && rc)
			fail_msg("%s: %s", row[i].set, e.msg);
		if (row[i].says && (rc != RC_INPUT || !strstr(e.msg, row[i].says)))
			fail_msg("%s: rc %d, \"%s\", want \"%s\"", row[i].set, rc, rc ? e.msg : "",
				 row[i].says);
	}
	assert_int_equal(profile_parse(&p, "f.yaml", bare, strlen(bare), NULL, 0, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "f.yaml:8:27: scheduler.num_speculative_tokens"));
	assert_non_null(strstr(e.msg, "`speculation`"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guesses_are_right_as_often_as_said),
		cmocka_unit_test(verified_tokens_are_computed_like_prompt_tokens),
		cmocka_unit_test(an_answer_has_the_pace_of_the_closed_form),
		cmocka_unit_test(company_pays_for_verification),
		cmocka_unit_test(what_has_no_effect_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
