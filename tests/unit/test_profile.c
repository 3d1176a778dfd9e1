/*
 * Profiles: the format and its messages, what travels inside the program, and that each shipped
 * profile is as fast as its source says.
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
#include "base/clock.h"
#include "fakeengine/predict.h"
#include "fakeengine/profile.h"

static const char whole[] = "name: n\n"
			    "engine: e\n"
			    "description: d\n"
			    "source: s\n"
			    "model: {name: m, params: 7e9, weight_bits: 16, layers: 32, "
			    "kv_heads: 8, head_dim: 128}\n"
			    "card: {name: c, count: 2, memory: 80GiB, bandwidth: 2000GB/s, "
			    "flops: 3e14}\n"
			    "scheduler: {policy: vllm-v1, max_num_seqs: 8, num_gpu_blocks: 4k}\n"
			    "cost:\n"
			    "  affine: {step: 1.5ms, per_kv_token: 0.25ns, knee_tokens: 100}\n"
			    "  ingest: 2ms\n"
			    "  egress: 30us\n"
			    "  jitter_cv: 0.1\n"
			    "  stall: {per_step: 0.01, duration: 1s}\n"
			    "output:\n"
			    "  ends_after: {dist: lognormal, mean: 100, cv: 0.5, max: 300}\n"
			    "  default_max_tokens: 512\n"
			    "published: {tokens_per_s: [10, 20], ttft: 5ms}\n";

static enum rc parse(struct profile *p, const char *text, const char *set, struct err *e)
{
	struct profile_set s = {set, "--set x"};

	return profile_parse(p, "f.yaml", text, strlen(text), &s, set ? 1 : 0, e);
}

static void load(struct profile *p, const char *name)
{
	struct err e;

	if (profile_load(p, name, NULL, 0, &e))
		fail_msg("%s: %s", name, e.msg);
}

static void test_every_key_arrives(void **state)
{
	struct profile p;
	struct err e;

	(void)state;
	if (parse(&p, whole, NULL, &e))
		fail_msg("%s", e.msg);
	assert_string_equal(p.name, "n");
	assert_string_equal(p.engine, "e");
	assert_string_equal(p.description, "d");
	assert_string_equal(p.source, "s");
	assert_string_equal(p.model.name, "m");
	assert_true(p.model.params == 7e9 && p.model.weight_bits == 16);
	assert_true(p.model.layers == 32 && p.model.kv_heads == 8 && p.model.head_dim == 128);
	assert_true(p.card.count == 2 && p.card.memory_bytes == INT64_C(80) << 30);
	assert_true(p.card.bandwidth_bytes_per_s == 2e12 && p.card.flops_per_s == 3e14);
	assert_ptr_equal(p.policy, &sched_vllm_v1);
	assert_true(p.knobs[sched_knob(p.policy, "max_num_seqs")] == 8);
	assert_true(p.knobs[sched_knob(p.policy, "num_gpu_blocks")] == 4000);
	assert_true(p.knobs[sched_knob(p.policy, "block_size")] == 16); /* the default */
	assert_ptr_equal(p.cost.type, &cost_affine);
	assert_int_equal(p.cost.coef[AFFINE_STEP], 1500 * 1000 * 1000);
	assert_int_equal(p.cost.coef[AFFINE_KV_TOKEN], 250);
	assert_int_equal(p.cost.coef[AFFINE_KNEE_TOKENS], 100);
	assert_int_equal(p.cost.coef[AFFINE_DECODE_SEQ], 0);
	assert_true(p.ingest_ns == 2 * NS_PER_MS && p.egress_ns == 30 * NS_PER_US);
	assert_true(p.noise.jitter_cv == 0.1 && p.noise.stalls_per_step == 0.01);
	assert_int_equal(p.noise.stall_ps, INT64_C(1000000000000));
	assert_true(p.output.ends && p.output.default_max_tokens == 512);
	assert_true(p.output.length.kind == DIST_LOGNORMAL && p.output.length.mean == 100 &&
		    p.output.length.cv == 0.5 && p.output.length.max == 300);
	assert_true(p.published.tokens_per_s[0] == 10 && p.published.tokens_per_s[1] == 20);
	assert_true(p.published.ttft_ns[0] == 5 * NS_PER_MS &&
		    p.published.ttft_ns[1] == 5 * NS_PER_MS);
	profile_release(&p);
}

/* A value put over the whole profile -> a part of the message; NULL: it is fine. */
static void test_messages(void **state)
{
	static const struct {
		const char *set, *says;
	} row[] = {
		{"scheduler.max_num_seqs=16", NULL},
		{"scheduler.scheduling_policy=priority", NULL},
		{"cost.affine.step=0", NULL},
		{"cost.affine.step=3600s", NULL},
		{"model={name: m}", NULL}, /* nothing to derive from, nothing derived */
		{"output={ends_after: 12}", NULL},
		{"output={forced_tokens: 12}", NULL},
		{"sheduler.policy=static", "scheduler"},
		{"scheduler.policy=vlm", "there are vllm-v1, "},
		{"scheduler.policy=static", "max_num_seqs"}, /* not a knob of that policy */
		{"scheduler.max_num_seq=16", "max_num_seqs"},
		{"scheduler.max_num_seqs=0", "scheduler.max_num_seqs"},
		{"scheduler.max_num_seqs=-1", "scheduler.max_num_seqs"},
		{"scheduler.max_model_len=-1", NULL}, /* derive it */
		{"scheduler.max_model_len=-2", "scheduler.max_model_len"},
		{"scheduler.max_num_seqs=1.5", "scheduler.max_num_seqs"},
		{"scheduler.max_num_seqs=[1]", "scheduler.max_num_seqs"},
		{"scheduler.enable_prefix_caching=7", "scheduler.enable_prefix_caching"},
		{"scheduler.scheduling_policy=lifo", "fcfs"},
		{"scheduler.watermark=2", "scheduler.watermark"},
		{"scheduler=3", "want keys and values"},
		{"scheduler={}", "policy"},
		{"cost.affine.step=12", "unit"},
		{"cost.affine.step=-1ms", "want a time from 0"},
		{"cost.affine.step=1m", "unit"},
		{"cost.affine.step=3601s", "3600s"},
		{"cost.affine.step=nanms", "unit"},
		{"cost.affine.step=infs", "unit"},
		{"cost.affine.step=ms", "unit"},
		{"cost.affine.steps=12ms", "step"},
		{"cost.affine.knee_tokens=-1", "knee_tokens"},
		{"cost.constant={prefill_ms: 1}", "another formula already: affine"},
		{"cost={ingest: 1ms}", "affine, phases, constant"},
		{"cost={constant: {prefill_ms: 1ms}}", "prefill_ms"},
		{"cost.ingest=-1ms", "cost.ingest"},
		{"cost.jitter_cv=-0.1", "cost.jitter_cv"},
		{"cost.stall={per_step: 0.1}", "duration"},
		{"cost.stall.per_step=1.5", "cost.stall.per_step"},
		{"model.params=0", "model.params"},
		{"model.name=''", "empty"},
		{"model={name: m, params: 7e9}", "weight_bits"},
		{"card.bandwidth=2000", "GB/s"},
		{"card.bandwidth=2000GB", "GB/s"},
		{"card.memory=80", NULL}, /* bytes, if somebody insists */
		{"card={name: c}", "memory"},
		{"output.forced_tokens=5", "nothing to say"},
		{"output.ends_after=0", "output.ends_after"},
		{"output.ends_after=text", "words have no end"},
		{"text=words", NULL},
		{"text=echo", NULL},
		{"text=reference=set.jsonl", NULL},
		{"text=reference=", "reference=FILE"},
		{"text=poem", "words, echo or reference=FILE"},
		{"text=[echo]", "text"},
		{"output.ends_after.dist=zipf", "lognormal"},
		{"output.ends_after={mean: 3}", "dist"},
		{"output.ends_after={dist: uniform}", "output.ends_after"},
		{"published.ttft=[1ms, 2ms, 3ms]", "[low, high]"},
		{"published.tokens_per_s=fast", "published.tokens_per_s"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct profile p;
		struct err e;
		enum rc rc = parse(&p, whole, row[i].set, &e);

		if (rc == RC_OK)
			profile_release(&p);
		if (!row[i].says && rc)
			fail_msg("%s: %s", row[i].set, e.msg);
		if (row[i].says && (rc != RC_INPUT || !strstr(e.msg, row[i].says)))
			fail_msg("%s: rc %d, \"%s\", want \"%s\"", row[i].set, rc, rc ? e.msg : "",
				 row[i].says);
	}
}

static void test_places(void **state)
{
	struct profile p;
	struct err e;

	(void)state;
	assert_int_equal(parse(&p,
			       "name: n\nengine: e\ndescription: d\nsource: s\nmodel: {name: m}\n"
			       "scheduler:\n  policy: static\ncost:\n  constant: {per_token: 4}\n",
			       NULL, &e),
			 RC_INPUT);
	assert_true(strncmp(e.msg, "f.yaml:9:14: ", 13) == 0);
	assert_non_null(strstr(e.msg, "per_token_ms"));
	assert_int_equal(parse(&p, "name: n\n", NULL, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "engine"));
	assert_int_equal(parse(&p, "- 1\n", NULL, &e), RC_INPUT);
	assert_int_equal(parse(&p, "name: [", NULL, &e), RC_INPUT);
	assert_int_equal(parse(&p, "", NULL, &e), RC_INPUT);
	assert_int_equal(profile_load(&p, "kind-vlm-a100", NULL, 0, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "did you mean kind-vllm-a100?"));
	assert_int_equal(profile_load(&p, "/nowhere/x.yaml", NULL, 0, &e), RC_IO);
	assert_non_null(strstr(e.msg, "/nowhere/x.yaml"));
}

static void test_built_in_ones(void **state)
{
	const char *before = "";
	int n = 0, lima = 0;

	(void)state;
	for (const struct embedded *b = builtin_profiles; b->name; b++, n++) {
		struct profile p;

		load(&p, b->name);
		assert_string_equal(p.name, b->name);
		assert_true(strcmp(before, b->name) < 0);
		lima += strncmp(b->name, "lima-", 5) == 0;
		before = b->name;
		profile_release(&p);
	}
	assert_int_equal(n, 35);
	assert_int_equal(lima, 13);
}

/* ---- as fast as published ---- */

static double alone(const struct profile *p, int32_t prompt, int32_t output, struct prediction *d)
{
	struct err e;

	if (predict(p, 1, prompt, output, d, &e))
		fail_msg("%s: %s", p->name, e.msg);
	return d->tokens_per_s;
}

/* Lengths in tokens of prompts as LIMA has them (median 24, mean 58, p90 154), each as frequent. */
static const int32_t lima_prompts[] = {8, 12, 16, 20, 24, 34, 58, 90, 130, 190};
static const int32_t lima_outputs[] = {32, 64, 96, 128, 192, 256};

static void test_lima_table(void **state)
{
	static const struct {
		const char *name;
		double tokens_per_s;
	} cell[] = {
		{"lima-vllm-mpt-7b-chat", 84.37},
		{"lima-tgi-mpt-7b-chat", 67.16},
		{"lima-vllm-falcon-7b-instruct", 82.68},
		{"lima-vllm-vicuna-13b-v1.3", 41.14},
		{"lima-transformers-vicuna-13b-v1.5", 30.40},
		{"lima-vllm-vicuna-13b-v1.5", 48.42},
		{"lima-tgi-vicuna-13b-v1.5", 49.48},
		{"lima-transformers-oasst-30b", 14.89},
		{"lima-vllm-oasst-30b", 21.80},
		{"lima-tgi-oasst-30b", 22.05},
		{"lima-transformers-llama2-70b-chat", 9.53},
		{"lima-vllm-llama2-70b-chat", 17.00},
		{"lima-tgi-llama2-70b-chat", 18.61},
	};
	enum { N_PROMPTS = ARRAY_LEN(lima_prompts) };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cell); i++) {
		struct prediction d;
		struct profile p;

		load(&p, cell[i].name);
		assert_true(p.published.tokens_per_s[0] == cell[i].tokens_per_s);
		/* for each length of the answer alone, so for any mixture of them as well */
		for (size_t o = 0; o < ARRAY_LEN(lima_outputs); o++) {
			double sum = 0, error;

			for (size_t k = 0; k < N_PROMPTS; k++)
				sum += alone(&p, lima_prompts[k], lima_outputs[o], &d);
			error = sum / N_PROMPTS / cell[i].tokens_per_s - 1;
			if (fabs(error) > 0.01)
				fail_msg("%s, %d tokens: %+.2f %%", cell[i].name, lima_outputs[o],
					 error * 100);
		}
		profile_release(&p);
	}
}

static void test_kinds(void **state)
{
	static const struct {
		const char *name;
		double speed[2];
		double ttft_ms[2];
		int32_t longest; /* prompt up to which the range of TTFT holds */
	} kind[] = {
		{"kind-vllm-a100", {100, 150}, {50, 100}, 400},
		{"kind-transformers-a100", {30, 50}, {100, 200}, 400},
		{"kind-llamacpp-cpu", {10, 30}, {200, 500}, 100},
		{"kind-llamacpp-gpu", {50, 80}, {100, 200}, 150},
		{"kind-vllm-remote", {80, 130}, {100 + 40, 200 + 40}, 400}, /* 40 ms of network */
		{"kind-sglang-a100", {100, 150}, {50, 100}, 400},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		double middle = (kind[i].speed[0] + kind[i].speed[1]) / 2, speed;
		struct prediction d;
		struct profile p;

		load(&p, kind[i].name);
		for (int32_t prompt = 16; prompt <= kind[i].longest; prompt += 12) {
			for (int32_t output = 64; output <= 256; output += 64) {
				speed = alone(&p, prompt, output, &d);
				if (speed < kind[i].speed[0] || speed > kind[i].speed[1] ||
				    d.ttft_ns < kind[i].ttft_ms[0] * 1e6 ||
				    d.ttft_ns > kind[i].ttft_ms[1] * 1e6)
					fail_msg("%s %d+%d: %.1f tokens/s, TTFT %.1f ms", p.name,
						 prompt, output, speed, d.ttft_ns / 1e6);
			}
		}
		speed = alone(&p, 60, 128, &d);
		if (fabs(speed / middle - 1) > 0.1)
			fail_msg("%s: %.1f tokens/s, the middle is %.1f", p.name, speed, middle);
		assert_true(p.published.tokens_per_s[0] == kind[i].speed[0] &&
			    p.published.tokens_per_s[1] == kind[i].speed[1]);
		profile_release(&p);
	}
}

static void test_exact_ones(void **state)
{
	static const struct {
		const char *name;
		int32_t tokens;
		double ttft_ms, latency_ms, tokens_per_s;
	} row[] = {
		{"seed-vllm", 128, 84, 592, 216.2},
		{"seed-friendli", 128, 32, 286, 447.6},
		{"offline-vllm-125m", 86, NAN, 1514.9, 56.77},
		{"offline-transformers-125m", 82, NAN, 757.9, 108.19},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct prediction d;
		struct profile p;

		load(&p, row[i].name);
		for (int32_t prompt = 1; prompt < 1000; prompt *= 3) {
			alone(&p, prompt, row[i].tokens, &d);
			if (fabs(d.e2el_ns / 1e6 - row[i].latency_ms) > 1e-5 ||
			    fabs(d.tokens_per_s - row[i].tokens_per_s) > 0.05 ||
			    fabs(d.ttft_ns / 1e6 - row[i].ttft_ms) > 1e-5)
				fail_msg("%s: TTFT %.6f, latency %.6f ms, %.3f tokens/s", p.name,
					 d.ttft_ns / 1e6, d.e2el_ns / 1e6, d.tokens_per_s);
		}
		if (p.output.forced_tokens)
			assert_int_equal(p.output.forced_tokens, row[i].tokens);
		else
			assert_true(p.output.length.mean == row[i].tokens);
		profile_release(&p);
	}
}

/* ---- lengths ---- */

static void test_answer_lengths(void **state)
{
	enum { N = 2000 };
	struct genreq *r;
	struct profile p;
	double sum = 0;
	int same = 0;

	(void)state;
	assert_int_equal(parse(&p, whole, NULL, NULL), RC_OK);
	for (int32_t i = 0; i < N; i++) {
		int32_t prompt[2] = {i, 7}, a, b;

		r = genreq_new((uint64_t)i, NULL, prompt, 2, 1000);
		a = profile_answer_tokens(&p, r, 42);
		r->id += 500; /* when it comes does not matter */
		assert_int_equal(profile_answer_tokens(&p, r, 42), a);
		assert_in_range(a, 1, 300);
		r->seed++;
		b = profile_answer_tokens(&p, r, 42);
		same += a == b;
		sum += a;
		genreq_free(r);
	}
	assert_true(sum / N > 95 && sum / N < 103); /* the cut at 300 takes a little off 100 */
	assert_true(same < N / 20);
	profile_release(&p);
	load(&p, "seed-vllm");
	r = genreq_new(1, NULL, (int32_t[]){1}, 1, 10);
	assert_int_equal(profile_answer_tokens(&p, r, 42), 0);
	genreq_free(r);
	profile_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_key_arrives),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_built_in_ones),
		cmocka_unit_test(test_lima_table),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_exact_ones),
		cmocka_unit_test(test_answer_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
