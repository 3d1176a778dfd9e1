/*
 * The policy without limits: each request alone, the moment it comes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "serve/sched.h"

#define PREFILL_NS 80
#define TOKEN_NS   4

static struct genreq *request(uint64_t id, int32_t n_prompt, int32_t max_tokens, int64_t arrival_ns)
{
	int32_t prompt[16] = {0};
	struct genreq *r = genreq_new(id, NULL, prompt, n_prompt, max_tokens);

	r->arrival_ns = r->ready_ns = arrival_ns;
	return r;
}

static struct sched *opened(void)
{
	double values[SCHED_MAX_KNOBS];
	struct sched *s = NULL;
	struct err e;

	sched_defaults(&sched_static, values);
	assert_int_equal(sched_static.open(&s, values, -1, &e), RC_OK);
	return s;
}

static void finish(struct sched *s, struct step_plan *p)
{
	const struct step_item *it = &p->item[0];

	sched_static.commit(s, p, (int32_t[]){42},
			    p->start_ns + (it->prefill ? PREFILL_NS : TOKEN_NS));
}

/* The closed form: first token after the prefill, one every TOKEN_NS behind it, whoever else is
 * there. */
static void requests_do_not_feel_each_other(void **state)
{
	enum { N = 5 };
	struct sched *s = opened();
	struct step_plan plan[N];
	struct genreq *r[N];
	struct sched_stats stats;

	(void)state;
	for (int i = 0; i < N; i++) {
		step_plan_init(&plan[i]);
		r[i] = request((uint64_t)i, 1 + i, 1 + 2 * i, 1000L * i);
		sched_static.add(s, r[i]);
	}
	for (int round = 0; round < 2 * N; round++) {
		int n = 0;

		/* Every one that is not done has its own step, until plan() says that there is no
		 * more. */
		while (n < N && (step_plan_clear(&plan[n]), sched_static.plan(s, &plan[n]))) {
			assert_int_equal(plan[n].n_items, 1);
			assert_int_equal(plan[n].item[0].prefill, round == 0);
			assert_true(plan[n].item[0].emits);
			assert_true(plan[n].item[0].req->slot.in_step);
			assert_int_equal(plan[n].start_ns, plan[n].item[0].req->ready_ns);
			n++;
		}
		assert_int_equal(n, N - (round + 1) / 2);
		sched_static.stats(s, &stats);
		assert_int_equal(stats.running, n);
		assert_int_equal(stats.waiting, 0);
		for (int i = n - 1; i >= 0; i--) /* they end in any order */
			finish(s, &plan[i]);
	}
	for (int i = 0; i < N; i++) {
		assert_int_equal(r[i]->state, GENREQ_DONE);
		assert_int_equal(r[i]->finish, FINISH_LENGTH);
		assert_int_equal(genreq_output_tokens(r[i]), 1 + 2 * i);
		assert_int_equal(r[i]->first_scheduled_ns, 1000L * i);
		assert_int_equal(r[i]->first_token_ns, 1000 * i + PREFILL_NS);
		assert_int_equal(r[i]->last_token_ns, 1000 * i + PREFILL_NS + 2 * i * TOKEN_NS);
		genreq_free(r[i]);
		step_plan_release(&plan[i]);
	}
	sched_static.close(s);
}

static void a_removed_request_is_forgotten(void **state)
{
	struct genreq *a = request(0, 3, 9, 0), *b = request(1, 3, 9, 0);
	struct sched *s = opened();
	struct sched_stats stats;
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_static.add(s, a);
	sched_static.add(s, b);
	assert_true(sched_static.plan(s, &p));
	assert_ptr_equal(p.item[0].req, a);
	finish(s, &p);
	sched_static.remove(s, a); /* between two steps */
	step_plan_clear(&p);
	assert_true(sched_static.plan(s, &p));
	assert_ptr_equal(p.item[0].req, b);
	step_plan_clear(&p);
	assert_false(sched_static.plan(s, &p));
	sched_static.stats(s, &stats);
	assert_int_equal(stats.running, 1);
	sched_static.close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

static void a_lost_step_changes_nothing(void **state)
{
	struct genreq *r = request(0, 3, 9, 0);
	struct sched *s = opened();
	struct step_plan p;

	(void)state;
	step_plan_init(&p);
	sched_static.add(s, r);
	assert_true(sched_static.plan(s, &p));
	sched_static.commit(s, &p, NULL, 99);
	assert_false(r->slot.in_step);
	assert_int_equal(r->slot.computed, 0);
	assert_int_equal(genreq_output_tokens(r), 0);
	sched_static.remove(s, r);
	step_plan_clear(&p);
	assert_false(sched_static.plan(s, &p));
	sched_static.close(s);
	genreq_free(r);
	step_plan_release(&p);
}

static void an_empty_prompt_is_refused(void **state)
{
	struct genreq *r = request(0, 0, 9, 0);
	struct sched *s = opened();
	struct err e;

	(void)state;
	assert_int_equal(sched_static.check(s, r, &e), RC_INPUT);
	sched_static.close(s);
	genreq_free(r);
}

static void policies_are_found_by_name(void **state)
{
	const struct sched_type *t = NULL;
	struct err e;

	(void)state;
	assert_int_equal(sched_find("static", &t, &e), RC_OK);
	assert_ptr_equal(t, &sched_static);
	assert_int_equal(sched_find("vllm-v1", &t, &e), RC_OK);
	assert_ptr_equal(t, &sched_vllm_v1);
	assert_int_equal(sched_find("fcfs", &t, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "fcfs"));
	assert_non_null(strstr(e.msg, "there are vllm-v1, "));
	assert_non_null(strstr(e.msg, ", static"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_do_not_feel_each_other),
		cmocka_unit_test(a_removed_request_is_forgotten),
		cmocka_unit_test(a_lost_step_changes_nothing),
		cmocka_unit_test(an_empty_prompt_is_refused),
		cmocka_unit_test(policies_are_found_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
