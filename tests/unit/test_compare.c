/*
 * Runs laid on each other: two folders written as a run would, read back as one comparison, its
 * ratios against closed forms and its verdict in words.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/jsonx.h"
#include "loadgen/compare.h"
#include "synthetic_runs.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_compare.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char *command = xasprintf("rm -rf %s", dir);
	int rc = system(command);

	(void)state;
	free(command);
	return rc;
}

/* ended NULL: killed, without an end in run.json. */
static char *write_run(const char *name, const char *yaml, const struct synth_engine *engines,
		       const char *ended)
{
	char *path = xasprintf("%s/%s", dir, name);
	struct synth_report r;
	struct results *out;
	struct err e;

	synth_report_init(&r, yaml, engines, 32);
	if (results_create(&out, path, r.s, 0, &e) != RC_OK)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < r.run.n; i++)
		results_add_record(out, &r.run.records[i]);
	for (size_t i = 0; i < r.in.n_points; i++)
		results_add_point(out, &r.points[i], 0, 1);
	assert_int_equal(results_close(out, ended, &e), RC_OK);
	synth_report_release(&r);
	return path;
}

#define RUN(name, load, more)                                                                      \
	"name: " name "\nseed: 9\n"                                                                \
	"targets: [{name: A, url: 'http://127.0.0.1:1', cost_per_hour: 3.6}, "                     \
	"{name: B, url: 'http://127.0.0.1:2', cost_per_hour: 3.6}]\n"                              \
	"workload: {prompts: {text: [hello]}, output_tokens: 32}\n"                                \
	"load: " load "\n" more
#define CLOSED "{closed: {concurrency: [1, 2, 4, 8], requests: 40}}"

/* B takes half the time for everything, at any load; A is past its SLO from four clients on. */
static const struct synth_engine engines[] = {
	{.prefill_ms = 40, .step_ms = 4, .constant = true, .slots = 2, .jitter = 0.1},
	{.prefill_ms = 20, .step_ms = 2, .constant = true, .jitter = 0.1},
};

static struct comparison *compare(const char *const *operands, size_t n)
{
	struct comparison *c;
	struct err e;

	if (comparison_load(&c, operands, n, dir, &e) != RC_OK)
		fail_msg("%s", e.msg);
	return c;
}

static void near_two(struct contrasted x)
{
	assert_true(x.v.low < 2.06 && x.v.high > 1.94 && x.v.low <= x.v.mid);
	assert_true(x.v.high - x.v.low < 0.2);
	assert_true(contrast_is_real(&x, CONTRAST_RATIO));
}

static void test_ratios(void **state)
{
	char *once = write_run("once", RUN("once", CLOSED, ""), engines, "complete");
	char *thrice =
		write_run("thrice", RUN("thrice", CLOSED, "repeats: 3\n"), engines, "complete");
	struct comparison *c = compare((const char *const[]){once}, 1);
	struct contrasted x = compare_ratio(c, 0, 1, 0, MEASURE_TPS), y;

	(void)state;
	assert_int_equal(x.method, INTERVAL_BOOTSTRAP);
	near_two(x);
	y = compare_ratio(c, 0, 1, 0, MEASURE_TPS);
	assert_true(x.v.low == y.v.low); /* drawn the same each time */
	x = compare_ratio(c, 1, 0, 0, MEASURE_TPOT_P50);
	near_two(x);
	x = compare_ratio(c, 0, 1, 0, MEASURE_TTFT_P99); /* 40 requests have no p99 */
	assert_int_equal(x.method, INTERVAL_NONE);
	assert_true(isnan(x.v.low) && !isnan(x.v.mid));
	x = compare_ratio(c, 0, 0, 1, MEASURE_E2EL_P50);
	assert_false(contrast_is_real(&x, CONTRAST_RATIO));
	comparison_free(c);

	c = compare((const char *const[]){thrice}, 1);
	x = compare_ratio(c, 0, 1, 1, MEASURE_TPS);
	assert_int_equal(x.method, INTERVAL_REPEATS);
	near_two(x);
	comparison_free(c);
	free(once);
	free(thrice);
}

static void add_line(void *arg, const char *words)
{
	buf_printf(arg, "%s\n", words);
}

static void has(const char *text, const char *want)
{
	if (!strstr(text, want))
		fail_msg("\"%s\" is not in:\n%s", want, text);
}

static void test_verdict(void **state)
{
	char *run =
		write_run("slo", RUN("slo", CLOSED, "slo: {ttft: 60ms}\n"), engines, "complete");
	struct comparison *c = compare((const char *const[]){run}, 1);
	struct contrasted share = compare_share(c, 0, 1, 3);
	struct buf words;

	(void)state;
	buf_init(&words, 1u << 16);
	compare_verdict(c, add_line, &words);
	has(buf_cstr(&words), "A: meets the SLO up to closed 2, with ");
	has(buf_cstr(&words),
	    "B: meets the SLO up to closed 8 (no higher load was tried that misses it)");
	has(buf_cstr(&words),
	    "B meets the SLO at the highest load: closed 8, against closed 2 for A, at "
	    "least 4 times as much.");
	has(buf_cstr(&words), "points, larger than the noise.");
	has(buf_cstr(&words), "At closed 2 B gives ");
	has(buf_cstr(&words), "x [");
	assert_true(share.v.mid > 0.9 && contrast_is_real(&share, CONTRAST_DIFFERENCE));
	comparison_free(c);

	free(run);
	run = write_run("none", RUN("none", CLOSED, ""), engines, "complete");
	c = compare((const char *const[]){run}, 1);
	buf_clear(&words);
	compare_verdict(c, add_line, &words);
	has(buf_cstr(&words), "No SLO was given, so speed decides: B is the fastest.");
	buf_release(&words);
	comparison_free(c);
	free(run);
}

/* Same name in two runs, levels that only one has, an SLO that only the second has, a killed one.
 */
static void test_two_runs(void **state)
{
	char *a = write_run("a", RUN("a", CLOSED, ""), engines, "complete");
	char *b = write_run(
		"b",
		RUN("b", "{closed: {concurrency: [2, 16], requests: 40}}", "slo: {ttft: 60ms}\n"),
		engines, NULL);
	char *b_only = xasprintf("%s:A", b);
	struct comparison *c = compare((const char *const[]){a, b_only}, 2);
	struct buf text;

	(void)state;
	assert_int_equal(c->s.n_targets, 3);
	assert_string_equal(c->s.targets[0].name, "A (a)");
	assert_string_equal(c->s.targets[1].name, "B");
	assert_string_equal(c->s.targets[2].name, "A (b)");
	assert_int_equal(c->s.n_levels, 5);
	assert_int_equal(c->in.n_points, 4 + 4 + 2);
	assert_int_equal(c->in.n_records, 400);
	for (size_t i = 0; i < c->in.n_points; i++)
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(c->points[i].id, c->points[k].id);
	assert_true(c->points[0].goodput_share >= 0); /* judged by the other's SLO */
	buf_init(&text, 1u << 20);
	assert_true(compare_text(c, &text));
	has(buf_cstr(&text), "killed");
	has(buf_cstr(&text), "A (b) over A (a), at equal load");
	has(buf_cstr(&text), "≈");
	buf_release(&text);
	comparison_free(c);
	free(a);
	free(b);
	free(b_only);
}

static void test_mistakes(void **state)
{
	char *run = write_run("run", RUN("run", CLOSED, ""), engines, "complete");
	char *absent = xasprintf("%s:C", run), *alone = xasprintf("%s:A", run);
	struct comparison *c;
	struct err e;

	(void)state;
	assert_int_equal(comparison_load(&c, (const char *const[]){absent}, 1, dir, &e), RC_INPUT);
	has(e.msg, "no target C there, want A, B");
	assert_null(c);
	assert_int_equal(comparison_load(&c, (const char *const[]){alone}, 1, dir, &e), RC_INPUT);
	has(e.msg, "one target, want two or more");
	assert_int_equal(comparison_load(&c, (const char *const[]){"/nowhere"}, 1, dir, &e),
			 RC_INPUT);
	has(e.msg, "/nowhere: no such folder");
	free(run);
	free(absent);
	free(alone);
}

static void test_json(void **state)
{
	char *run = write_run("j", RUN("j", CLOSED, "slo: {ttft: 60ms}\n"), engines, "complete");
	char *path = xasprintf("%s/compare.json", dir);
	struct comparison *c = compare((const char *const[]){run}, 1);
	const cJSON *targets = NULL, *ratios = NULL;
	struct buf note, text;
	cJSON *root;
	double load = 0, cost = 0, tps = 0;
	struct err e;

	(void)state;
	buf_init(&note, 1u << 20);
	buf_init(&text, 1u << 20);
	assert_int_equal(compare_write(c, false, &note, &e), RC_OK);
	assert_int_equal(buf_read_file(&text, path, &e), RC_OK);
	assert_int_equal(json_parse(&root, buf_head(&text), buf_size(&text), &e), RC_OK);
	json_get_array(root, "", "targets", &targets, &e);
	json_get_array(root, "", "ratios", &ratios, &e);
	assert_int_equal(cJSON_GetArraySize(targets), 2);
	assert_int_equal(cJSON_GetArraySize(ratios), 4 * MEASURE_COUNT);
	targets = cJSON_GetArrayItem(targets, 1);
	json_get_num(targets, "", "highest_load_within_slo", 0, 1e9, &load, &e);
	json_get_num(targets, "", "cost_per_million_output_tokens", 0, 1e9, &cost, &e);
	json_get_num(targets, "", "output_tokens_per_s_there", 0, 1e9, &tps, &e);
	assert_true(load == 8);
	assert_true(fabs(cost - 1e3 / tps) < 1e-9 * cost); /* 3.6 an hour is 0.001 a second */
	cJSON_Delete(root);
	comparison_free(c);
	buf_release(&note);
	buf_release(&text);
	free(path);
	free(run);
}

/* A simulation of A that prefills twice as fast and decodes as it does; B was measured only. */
static void test_residuals(void **state)
{
	static const struct synth_engine model[] = {
		{.prefill_ms = 20, .step_ms = 4, .constant = true, .slots = 2, .jitter = 0.1},
	};
	char *real = write_run("real", RUN("real", CLOSED, ""), engines, "complete");
	char *simulated = write_run("simulated",
				    "name: simulated\nseed: 9\nclock: virtual\n"
				    "targets: [{name: A, profile: seed-vllm}]\n"
				    "workload: {prompts: {text: [hello]}, output_tokens: 32}\n"
				    "load: " CLOSED "\n",
				    model, "complete");
	struct comparison *c = compare((const char *const[]){real, simulated}, 2);
	struct residual r;
	struct buf text;

	(void)state;
	assert_int_equal(compare_measured_of(c, 0), -1);
	assert_int_equal(compare_measured_of(c, 1), -1);
	assert_int_equal(compare_measured_of(c, 2), 0); /* by its name */
	r = compare_residual(c, 2, 0, RESIDUAL_TTFT, S_MEAN);
	assert_true(fabs(r.error + 0.5) < 0.05 && fabs(r.simulated / r.measured - 0.5) < 0.05);
	r = compare_residual(c, 2, 0, RESIDUAL_TPOT, S_P90);
	assert_true(fabs(r.error) < 0.1);
	assert_true(isnan(compare_residual(c, 2, 0, RESIDUAL_TPS, S_P50).error));
	assert_true(isnan(compare_residual(c, 0, 0, RESIDUAL_TPOT, S_MEAN).error));
	buf_init(&text, 1u << 20);
	assert_true(compare_text(c, &text));
	has(buf_cstr(&text), "A (simulated), simulated, against A (real), measured");
	has(buf_cstr(&text), "Explained at every load: TPOT");
	has(buf_cstr(&text), "Not explained: TTFT");
	has(buf_cstr(&text), "Requests waited");
	buf_release(&text);
	comparison_free(c);
	free(real);
	free(simulated);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_ratios),   TEST(test_verdict), TEST(test_two_runs),
		TEST(test_mistakes), TEST(test_json),	 TEST(test_residuals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
