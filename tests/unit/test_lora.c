/*
 * LoRA adapters in the model: what they cost, who is passed over and for how long, the metric, and
 * what a profile may say. The schedules worked out by hand stand in test_sched_vllm_v1.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/evloop.h"
#include "fakeengine/profile.h"
#include "fakeengine/simulate.h"
#include "serve/engine_stats.h"

static const char base[] = "name: n\nengine: e\ndescription: d\nsource: s\nmodel: {name: m}\n"
			   "scheduler: {policy: vllm-v1, max_num_seqs: 8, num_gpu_blocks: 4k, "
			   "max_loras: 2}\n"
			   "cost: {affine: {step: 10ms}}\n"
			   "lora: {adapters: [sql, chat, code], per_adapter: 1ms}\n";

static enum rc parse(struct profile *p, const char *set, struct err *e)
{
	const struct profile_set sets[] = {{set, "--set x"}};

	return profile_parse(p, "f.yaml", base, strlen(base), sets, set != NULL, e);
}

/* ---- the pace ---- */

enum { REQUESTS = 4, ANSWER = 10 };

static struct {
	int64_t first_ms[REQUESTS], last_ms[REQUESTS];
} seen;

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	int64_t *first = &seen.first_ms[r->id];

	if (*first == 0)
		*first = t_ns[0] / 1000000;
	seen.last_ms[r->id] = t_ns[n - 1] / 1000000;
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	(void)r;
	(void)t_ns;
}

static void run(const struct profile *p, const int32_t adapter[REQUESTS], bool step_by_step)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct evloop *loop = evloop_new_virtual(0);
	struct sim_setup setup = {
		.policy = p->policy, .cost = &p->cost, .step_by_step = step_by_step};
	struct sim *sim;

	memcpy(setup.knobs, p->knobs, sizeof(setup.knobs));
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sim_new(&sim, loop, &setup, &sink, NULL), RC_OK);
	for (int32_t i = 0; i < REQUESTS; i++) {
		struct genreq *r = genreq_new((uint64_t)i, NULL, &i, 1, ANSWER);

		r->adapter = adapter[i];
		assert_int_equal(sim_submit(sim, r, NULL), RC_OK);
	}
	evloop_run(loop);
	sim_free(sim);
	evloop_free(loop);
}

/* Steps of 10 ms, and 1 ms for each adapter in them: a round of ten takes 100 ms + 10 ms each. Who
 * lacks an adapter waits for the round to end. */
static void adapters_cost_steps_and_turns(void **state)
{
	static const struct {
		int32_t adapter[REQUESTS];
		int64_t first_ms[REQUESTS], last_ms[REQUESTS];
	} row[] = {
		{{0, 0, 0, 0}, {10, 10, 10, 10}, {100, 100, 100, 100}},
		{{1, 1, 0, 1}, {11, 11, 11, 11}, {110, 110, 110, 110}},
		{{1, 2, 0, 1}, {12, 12, 12, 12}, {120, 120, 120, 120}},
		{{1, 2, 3, 0}, {12, 12, 120 + 11, 12}, {120, 120, 120 + 110, 120}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		for (int step_by_step = 0; step_by_step < 2; step_by_step++) {
			struct profile p;

			assert_int_equal(parse(&p, NULL, NULL), RC_OK);
			run(&p, row[i].adapter, step_by_step);
			assert_memory_equal(seen.first_ms, row[i].first_ms, sizeof(seen.first_ms));
			assert_memory_equal(seen.last_ms, row[i].last_ms, sizeof(seen.last_ms));
			profile_release(&p);
		}
	}
}

/* ---- the metric ---- */

static void the_metric_names_them(void **state)
{
	static const char *const names[] = {"sql", "chat", "code", NULL};
	struct engine_stats s;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	engine_stats_init(&s, 4096);
	engine_stats_show(&s, "m", &b);
	assert_null(strstr(buf_cstr(&b), "lora"));
	s.adapters = names;
	s.sched.max_loras = 2;
	s.sched.running_adapters = 5;
	engine_stats_show(&s, "m", &b);
	assert_non_null(strstr(buf_cstr(&b),
			       "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters="
			       "\"sql,code\",waiting_lora_adapters=\"\"} 1"));
	buf_release(&b);
}

/* Who runs and who waits, as the policy says it: by order of coming and by priority. */
static void the_policy_says_who_has_which(void **state)
{
	(void)state;
	for (int by_priority = 0; by_priority < 2; by_priority++) {
		double knobs[SCHED_MAX_KNOBS];
		struct genreq *r[3];
		struct sched_stats stats;
		struct step_plan p;
		struct sched *s;

		sched_defaults(&sched_vllm_v1, knobs);
		knobs[sched_knob(&sched_vllm_v1, "max_loras")] = 1;
		knobs[sched_knob(&sched_vllm_v1, "scheduling_policy")] = by_priority;
		assert_int_equal(sched_vllm_v1.open(&s, knobs, -1, NULL), RC_OK);
		step_plan_init(&p);
		for (int32_t i = 0; i < 3; i++) {
			r[i] = genreq_new((uint64_t)i, NULL, &i, 1, 4);
			r[i]->adapter = i + 1;
			assert_int_equal(sched_vllm_v1.check(s, r[i], NULL), RC_OK);
			sched_vllm_v1.add(s, r[i]);
		}
		assert_true(sched_vllm_v1.plan(s, &p));
		assert_int_equal(p.adapters, 1);
		sched_vllm_v1.stats(s, &stats);
		assert_int_equal(stats.max_loras, 1);
		assert_int_equal(stats.running_adapters, 1);
		assert_int_equal(stats.waiting_adapters, 6);
		sched_vllm_v1.close(s);
		step_plan_release(&p);
		for (int i = 0; i < 3; i++)
			genreq_free(r[i]);
	}
}

/* ---- profiles ---- */

static void what_has_no_effect_is_refused(void **state)
{
	static const struct {
		const char *set, *says;
	} row[] = {
		{"lora={adapters: [a]}", NULL},
		{"scheduler.max_loras=0", NULL}, /* as a sweep says it */
		{"lora={per_adapter: 1ms}", "\"adapters\" is missing"},
		{"lora.adapters=[]", "want a list of 1 to 64 names"},
		{"lora.adapters=sql", "want a list"},
		{"lora.adapters=[a, b, a]", "\"a\" is there twice"},
		{"lora.adapters=[a, m]", "\"m\" is no name for an adapter"},
		{"lora.adapters=[{a: 1}]", "lora.adapters"},
		{"lora.per_adapter=1", "unit"},
		{"lora.rank=8", "rank"},
		{"scheduler.max_loras=65", "max_loras"},
		{"scheduler={policy: vllm-v1}", "no effect without scheduler.max_loras"},
		{"scheduler={policy: tgi}", "policy tgi knows nothing of it"},
	};
	struct profile p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		enum rc rc = parse(&p, row[i].set, &e);

		if (rc == RC_OK)
			profile_release(&p);
		if (!row[i].says && rc)
			fail_msg("%s: %s", row[i].set, e.msg);
		if (row[i].says && (rc != RC_INPUT || !strstr(e.msg, row[i].says)))
			fail_msg("%s: rc %d, \"%s\", want \"%s\"", row[i].set, rc, rc ? e.msg : "",
				 row[i].says);
	}
	assert_int_equal(parse(&p, NULL, NULL), RC_OK);
	assert_string_equal(p.models[0], "m");
	assert_string_equal(p.models[3], "code");
	assert_null(p.models[4]);
	profile_release(&p);
	assert_int_equal(parse(&p, "scheduler.max_loras=0", NULL), RC_OK);
	assert_null(p.models[1]); /* none are served then */
	profile_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adapters_cost_steps_and_turns),
		cmocka_unit_test(the_metric_names_them),
		cmocka_unit_test(the_policy_says_who_has_which),
		cmocka_unit_test(what_has_no_effect_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
