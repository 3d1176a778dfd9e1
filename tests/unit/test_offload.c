/*
 * KV blocks in the host's memory: TTFT of prompts that come back, beside its closed form, the
 * counts, and what a profile may say.
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

/* 2 x 10 x 4 x 125 x 2 = 20 kB a token: 2 us at 10 GB/s. A prompt of 101 tokens and its answer take
 * all of the 7 usable blocks of 16; the first 6 get a name. */
static const char base[] =
	"name: n\nengine: e\ndescription: d\nsource: s\n"
	"model: {name: m, params: 5e9, weight_bits: 16, layers: 10, hidden: 1000, kv_heads: 4, "
	"head_dim: 125}\n"
	"scheduler: {policy: vllm-v1, max_num_seqs: 8, num_gpu_blocks: 8, num_cpu_blocks: 100}\n"
	"cost:\n  affine: {step: 10ms, per_prefill_token: 10us}\n"
	"offload: {bandwidth: 10GB/s, latency: 100us}\n";

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

/* Which of two prompts each request has; one comes when the one before it has ended. */
static const int32_t turns[] = {1, 2, 1, 1, 2};

static struct {
	struct evloop *loop;
	struct sim *sim;
	size_t asked;
	int64_t asked_ns, ttft_us[ARRAY_LEN(turns)];
	int32_t cached[ARRAY_LEN(turns)];
} seen;

static void ask(void)
{
	int32_t prompt[101];

	for (size_t i = 0; i < ARRAY_LEN(prompt); i++)
		prompt[i] = 1000 * turns[seen.asked] + (int32_t)i;
	seen.asked_ns = evloop_now_ns(seen.loop);
	assert_int_equal(sim_submit(seen.sim,
				    genreq_new(seen.asked++, NULL, prompt, ARRAY_LEN(prompt), 2),
				    NULL),
			 RC_OK);
}

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	(void)n;
	if (r->first_token_ns == t_ns[0])
		seen.ttft_us[seen.asked - 1] = (t_ns[0] - seen.asked_ns) / 1000;
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	(void)t_ns;
	seen.cached[seen.asked - 1] = r->cached_tokens;
	if (seen.asked < ARRAY_LEN(turns))
		ask();
}

static void run(const struct profile *p, struct sim_stats *stats)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct sim_setup setup = {.policy = p->policy, .cost = &p->cost};

	memcpy(setup.knobs, p->knobs, sizeof(setup.knobs));
	memset(&seen, 0, sizeof(seen));
	seen.loop = evloop_new_virtual(0);
	assert_int_equal(sim_new(&seen.sim, seen.loop, &setup, &sink, NULL), RC_OK);
	ask();
	evloop_run(seen.loop);
	assert_int_equal(seen.asked, ARRAY_LEN(turns));
	sim_stats(seen.sim, stats);
	sim_free(seen.sim);
	evloop_free(seen.loop);
}

/* A step that computes n tokens and reads back m takes 10 ms + n x 10 us + 100 us + m x 2 us. */
static void what_was_evicted_is_read_back(void **state)
{
	static const struct {
		const char *set, *other;
		int64_t us[ARRAY_LEN(turns)];
		int32_t cached[ARRAY_LEN(turns)];
		int64_t queries, hits, external_queries, external_hits;
	} row[] = {
		{NULL,
		 NULL,
		 {11010, 11010, 10050 + 292, 10050, 10050 + 292},
		 {0, 0, 96, 96, 96},
		 505,
		 96,
		 409,
		 192},
		/* Two stages and two cards a stage read at the same time. */
		{"parallel={tensor: 2, pipeline: 2, bandwidth: 1000GB/s, latency: 0}",
		 "cost.affine.per_prefill_token=0",
		 {10000, 10000, 10000 + 148, 10000, 10000 + 148},
		 {0, 0, 96, 96, 96},
		 505,
		 96,
		 409,
		 192},
		/* Room for four: the heads come last, and stay; then those of the other prompt. */
		{"scheduler.num_cpu_blocks=4",
		 NULL,
		 {11010, 11010, 10370 + 228, 10050, 10370 + 228},
		 {0, 0, 64, 96, 64},
		 505,
		 96,
		 409,
		 128},
		{"scheduler.num_cpu_blocks=0",
		 NULL,
		 {11010, 11010, 11010, 10050, 11010},
		 {0, 0, 0, 96, 0},
		 505,
		 96,
		 0,
		 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct sim_stats stats;
		struct profile p;

		load(&p, row[i].set, row[i].other);
		if (row[i].other) /* the links are not what is asked about */
			p.cost.links = (struct cost_links){0};
		run(&p, &stats);
		for (size_t k = 0; k < ARRAY_LEN(turns); k++) {
			if (seen.ttft_us[k] != row[i].us[k])
				fail_msg("row %zu, request %zu: %lld us, want %lld", i, k,
					 (long long)seen.ttft_us[k], (long long)row[i].us[k]);
			assert_int_equal(seen.cached[k], row[i].cached[k]);
		}
		assert_int_equal(stats.sched.prefix_queries_tokens, row[i].queries);
		assert_int_equal(stats.sched.prefix_hits_tokens, row[i].hits);
		assert_int_equal(stats.sched.external_queries_tokens, row[i].external_queries);
		assert_int_equal(stats.sched.external_hits_tokens, row[i].external_hits);
		profile_release(&p);
	}
}

static void what_has_no_effect_is_refused(void **state)
{
	static const struct {
		const char *set, *other, *says;
	} row[] = {
		{"offload.latency=0", NULL, NULL},
		{"offload={latency: 1us}", NULL, "\"bandwidth\" is missing"},
		{"offload.bandwidth=10", NULL, "GB/s"},
		{"offload.size=10", NULL, "size"},
		{"model={name: m}", NULL, "the model's numbers"},
		{"scheduler.enable_prefix_caching=false", NULL, "num_cpu_blocks 100"},
		{"scheduler={policy: vllm-v1}", NULL, "no effect without scheduler.num_cpu_blocks"},
		{"scheduler={policy: sarathi}", NULL, "policy sarathi knows nothing of it"},
	};
	static const char bare[] = "name: n\nengine: e\ndescription: d\nsource: s\n"
				   "model: {name: m}\nscheduler:\n  policy: vllm-v1\n"
				   "  num_cpu_blocks: 2\ncost: {affine: {step: 1ms}}\n";
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
	assert_non_null(strstr(e.msg, "f.yaml:8:19: scheduler.num_cpu_blocks"));
}

/* Of a second cache and of guesses /metrics speaks where there are any. */
static void metrics_speak_of_what_there_is(void **state)
{
	struct engine_stats s;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	engine_stats_init(&s, 4096);
	engine_stats_show(&s, "m", &b);
	assert_null(strstr(buf_cstr(&b), "external_prefix_cache"));
	assert_null(strstr(buf_cstr(&b), "spec_decode"));
	s.sched.host_blocks = 1;
	s.sched.external_queries_tokens = 409;
	s.sched.external_hits_tokens = 192;
	s.sched.max_draft = 2;
	s.sched.accepted_at[1] = 77;
	engine_stats_show(&s, "m", &b);
	assert_non_null(strstr(buf_cstr(&b),
			       "vllm:external_prefix_cache_queries_total{engine=\"0\","
			       "model_name=\"m\"} 409.0\n"));
	assert_non_null(strstr(buf_cstr(&b), "vllm:external_prefix_cache_hits_total{engine=\"0\","
					     "model_name=\"m\"} 192.0\n"));
	assert_non_null(strstr(buf_cstr(&b), "position=\"1\"} 77.0\n"));
	assert_null(strstr(buf_cstr(&b), "position=\"2\""));
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_evicted_is_read_back),
		cmocka_unit_test(what_has_no_effect_is_refused),
		cmocka_unit_test(metrics_speak_of_what_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
