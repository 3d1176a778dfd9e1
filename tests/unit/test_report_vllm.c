/*
 * vLLM's console block byte for byte and summary.json key by key: what scripts written for vLLM
 * read.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/jsonx.h"
#include "loadgen/report.h"
#include "../golden.h"
#include "synthetic_runs.h"

static void check_console(const struct synth_report *r, int point, const char *golden)
{
	struct buf out;

	buf_init(&out, 1u << 20);
	assert_true(report_vllm_console(&r->in, &r->points[point], &out));
	golden_check(golden, buf_head(&out), buf_size(&out));
	buf_release(&out);
}

static void test_console(void **state)
{
	struct synth_report r;

	(void)state;
	synth_demo(&r);
	check_console(&r, 4, "vllm_console_closed.txt");
	synth_report_release(&r);
	synth_open_loop(&r);
	r.s->slo = (struct slo){0};
	check_console(&r, 6, "vllm_console_open.txt");
	synth_report_release(&r);
}

/* Every label of measurement.md section 5, at the start of a line, in order. */
static void test_labels(void **state)
{
	static const char *const labels[] = {
		"============ Serving Benchmark Result ============",
		"Successful requests:                     ",
		"Failed requests:                         ",
		"Maximum request concurrency:             ",
		"Benchmark duration (s):                  ",
		"Total input tokens:                      ",
		"Total generated tokens:                  ",
		"Request throughput (req/s):              ",
		"Request goodput (req/s):                 ",
		"Output token throughput (tok/s):         ",
		"Peak output token throughput (tok/s):    ",
		"Peak concurrent requests:                ",
		"Total token throughput (tok/s):          ",
		"---------------Time to First Token----------------",
		"Mean TTFT (ms):                          ",
		"Median TTFT (ms):                        ",
		"P99 TTFT (ms):                           ",
		"-----Time per Output Token (excl. 1st token)------",
		"Mean TPOT (ms):                          ",
		"Median TPOT (ms):                        ",
		"P99 TPOT (ms):                           ",
		"---------------Inter-token Latency----------------",
		"Mean ITL (ms):                           ",
		"Median ITL (ms):                         ",
		"P99 ITL (ms):                            ",
		"----------------End-to-end Latency----------------",
		"Mean E2EL (ms):                          ",
		"Median E2EL (ms):                        ",
		"P99 E2EL (ms):                           ",
		"==================================================",
	};
	struct synth_report r;
	struct buf out;
	const char *line;

	(void)state;
	synth_demo(&r);
	buf_init(&out, 1u << 20);
	assert_true(report_vllm_console(&r.in, &r.points[0], &out));
	line = strchr(buf_cstr(&out), '\n') + 1; /* behind the line that names the point */
	for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
		if (strncmp(line, labels[i], strlen(labels[i])) != 0)
			fail_msg("want \"%s\" at: %.60s", labels[i], line);
		line = strchr(line, '\n') + 1;
	}
	buf_release(&out);
	synth_report_release(&r);
}

/* ---- summary.json ---- */

static cJSON *summary(struct synth_report *r, bool detailed)
{
	char dir[] = "/tmp/test_report_vllm.XXXXXX", *path;
	struct buf b;
	cJSON *root;
	struct err e;

	assert_non_null(mkdtemp(dir));
	r->in.dir = dir;
	if (report_summary(&r->in, detailed, &e) != RC_OK)
		fail_msg("%s", e.msg);
	path = xasprintf("%s/summary.json", dir);
	buf_init(&b, 256u << 20);
	assert_int_equal(buf_read_file(&b, path, &e), RC_OK);
	if (json_parse(&root, buf_head(&b), buf_size(&b), &e) != RC_OK)
		fail_msg("%s", e.msg);
	buf_release(&b);
	r->in.dir = NULL;
	unlink(path);
	rmdir(dir);
	free(path);
	return root;
}

static void check_keys(const cJSON *o, const char *const *keys, size_t n)
{
	const cJSON *item = o->child;

	for (size_t i = 0; i < n; i++, item = item->next) {
		assert_non_null(item);
		assert_string_equal(item->string, keys[i]);
	}
	assert_null(item);
}

static double number(const cJSON *o, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);

	assert_true(cJSON_IsNumber(item));
	return item->valuedouble;
}

static const char *string(const cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	assert_non_null(s);
	return s;
}

#define METRIC(m)                                                                                  \
	"mean_" m "_ms", "median_" m "_ms", "std_" m "_ms", "p50_" m "_ms", "p90_" m "_ms",        \
		"p95_" m "_ms", "p99_" m "_ms"

static void test_summary_keys(void **state)
{
	static const char *const plain[] = {"date",
					    "endpoint_type",
					    "backend",
					    "label",
					    "model_id",
					    "tokenizer_id",
					    "num_prompts",
					    "request_rate",
					    "burstiness",
					    "max_concurrency",
					    "duration",
					    "completed",
					    "failed",
					    "total_input_tokens",
					    "total_output_tokens",
					    "request_throughput",
					    "request_goodput",
					    "output_throughput",
					    "total_token_throughput",
					    "latencies",
					    "queue_times",
					    "max_output_tokens_per_s",
					    "max_concurrent_requests",
					    "rtfx",
					    METRIC("ttft"),
					    METRIC("tpot"),
					    METRIC("itl"),
					    METRIC("e2el"),
					    "loadgen"};
	static const char *const detailed[] = {"date",
					       "endpoint_type",
					       "backend",
					       "label",
					       "model_id",
					       "tokenizer_id",
					       "num_prompts",
					       "request_rate",
					       "burstiness",
					       "max_concurrency",
					       "duration",
					       "completed",
					       "failed",
					       "total_input_tokens",
					       "total_output_tokens",
					       "request_throughput",
					       "request_goodput",
					       "output_throughput",
					       "total_token_throughput",
					       "input_lens",
					       "output_lens",
					       "ttfts",
					       "itls",
					       "latencies",
					       "start_times",
					       "queue_times",
					       "generated_texts",
					       "errors",
					       "max_output_tokens_per_s",
					       "max_concurrent_requests",
					       "rtfx",
					       METRIC("ttft"),
					       METRIC("tpot"),
					       METRIC("itl"),
					       METRIC("e2el"),
					       "loadgen"};
	struct synth_report r;
	cJSON *root;

	(void)state;
	synth_demo(&r);
	r.in.n_points = 1;
	root = summary(&r, false);
	check_keys(root, plain, ARRAY_LEN(plain));
	cJSON_Delete(root);
	root = summary(&r, true);
	check_keys(root, detailed, ARRAY_LEN(detailed));
	cJSON_Delete(root);
	synth_report_release(&r);
}

static void test_summary_values(void **state)
{
	struct synth_report r;
	cJSON *root, *itls;

	(void)state;
	synth_demo(&r);
	r.in.n_points = 1;
	root = summary(&r, true);
	assert_string_equal(string(root, "date"), "20261124-120000");
	assert_string_equal(string(root, "backend"), "openai-chat");
	assert_string_equal(string(root, "request_rate"), "inf");
	assert_float_equal(number(root, "max_concurrency"), 1, 0);
	assert_float_equal(number(root, "num_prompts"), 20, 0);
	assert_float_equal(number(root, "output_throughput"), 128 / 0.592, 1e-3);
	assert_float_equal(number(root, "mean_ttft_ms"), 84, 1e-6);
	assert_float_equal(number(root, "p99_e2el_ms"), 592, 1e-6);
	assert_float_equal(number(root, "std_tpot_ms"), 0, 1e-6);
	assert_float_equal(number(root, "request_goodput"), 20 / (20 * 0.592), 1e-6);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "ttfts")), 20);
	assert_float_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "ttfts"), 3)->valuedouble,
			   0.084, 1e-9);
	itls = cJSON_GetObjectItem(root, "itls");
	assert_int_equal(cJSON_GetArraySize(itls), 20);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetArrayItem(itls, 0)), 127);
	assert_float_equal(cJSON_GetArrayItem(cJSON_GetArrayItem(itls, 0), 5)->valuedouble, 0.004,
			   1e-9);
	cJSON_Delete(root);
	synth_report_release(&r);
}

/* Several points, failures, a rate; text that wants escaping; figures that do not exist are null.
 */
static void test_summary_points(void **state)
{
	struct synth_report r;
	const cJSON *points, *p;
	cJSON *root;

	(void)state;
	synth_open_loop(&r);
	r.points[0].m[M_TPOT][S_P99] = NAN;
	root = summary(&r, true);
	points = cJSON_GetObjectItem(root, "points");
	assert_int_equal(cJSON_GetArraySize(points), (int)r.in.n_points);
	p = cJSON_GetArrayItem(points, 6);
	assert_float_equal(number(p, "request_rate"), 40, 0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(p, "max_concurrency")));
	assert_float_equal(number(p, "num_prompts"), number(p, "completed") + number(p, "failed"),
			   0);
	assert_float_equal(number(p, "failed"), 12, 0);
	assert_string_equal(string(cJSON_GetObjectItem(p, "loadgen"), "verdict"), "saturated");
	assert_string_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(p, "errors"), 0)->valuestring,
			    "503 Service Unavailable");
	assert_float_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(p, "ttfts"), 0)->valuedouble, 0,
			   0);
	assert_string_equal(string(cJSON_GetArrayItem(points, 7), "label"), "it's_\"odd\"\\ `x` {");
	assert_true(
		cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetArrayItem(points, 0), "p99_tpot_ms")));
	cJSON_Delete(root);
	synth_report_release(&r);
}

static void test_unwritable(void **state)
{
	struct synth_report r;
	struct err e;

	(void)state;
	synth_demo(&r);
	r.in.dir = "/proc/nowhere";
	assert_int_equal(report_summary(&r.in, false, &e), RC_IO);
	assert_non_null(strstr(e.msg, "/proc/nowhere/summary.json"));
	synth_report_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_console),	       cmocka_unit_test(test_labels),
		cmocka_unit_test(test_summary_keys),   cmocka_unit_test(test_summary_values),
		cmocka_unit_test(test_summary_points), cmocka_unit_test(test_unwritable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
