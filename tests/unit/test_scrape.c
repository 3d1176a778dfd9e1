/*
 * Metrics pages of real engines and the corners of their format, as the internal names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "loadgen/scrape.h"

static const struct {
	const char *what, *page, *values;
} cases[] = {
	{"vllm",
	 "# HELP vllm:num_requests_running Number.\n# TYPE vllm:num_requests_running gauge\n"
	 "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n"
	 "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 4.0\n"
	 "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 99.0\n"
	 "vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n"
	 "vllm:prefix_cache_queries_total{engine=\"0\"} 2439.0\n"
	 "vllm:prefix_cache_queries_created{engine=\"0\"} 1.79e+09\n"
	 "vllm:prefix_cache_hits_total{engine=\"0\"} 16.0\n"
	 "vllm:num_preemptions_total{engine=\"0\"} 2.0\n"
	 "vllm:prompt_tokens_total{engine=\"0\"} 2.4e+03\n"
	 "vllm:generation_tokens_total{engine=\"0\"} 1120.0\n",
	 "running 3 waiting 4 kv_usage 0.25 preemptions 2 prompt_tokens 2400 "
	 "generation_tokens 1120 prefix_queries 2439 prefix_hits 16 "},
	{"several engines: sums, and the mean of a share",
	 "vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 5\n"
	 "vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:kv_cache_usage_perc{engine=\"1\"} "
	 "0.75\n",
	 "running 8 kv_usage 0.5 "},
	{"an older vllm", "vllm:gpu_cache_usage_perc{model_name=\"m\"} 0.5\n", "kv_usage 0.5 "},
	{"the new name stands before the old",
	 "vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc 0.125\n", "kv_usage 0.125 "},
	{"sglang",
	 "sglang:num_running_reqs{m=\"x\"} 1.0\nsglang:num_queue_reqs 2.0\nsglang:token_usage 0.5\n"
	 "sglang:prompt_tokens_total 100\nsglang:generation_tokens_total 7\n"
	 "sglang:cached_tokens_total 60\n",
	 "running 1 waiting 2 kv_usage 0.5 prompt_tokens 100 generation_tokens 7 "
	 "prefix_queries 100 prefix_hits 60 "},
	{"tgi",
	 "tgi_queue_size 2\ntgi_batch_current_size 8\n"
	 "tgi_request_generated_tokens_bucket{le=\"1\"} 5\ntgi_request_generated_tokens_sum 640\n"
	 "tgi_request_input_length_sum 320\n",
	 "running 8 waiting 2 prompt_tokens 320 generation_tokens 640 "},
	{"llama.cpp",
	 "llamacpp:prompt_tokens_total 305\nllamacpp:tokens_predicted_total 553\n"
	 "llamacpp:requests_processing 4\nllamacpp:requests_deferred 2\n",
	 "running 4 waiting 2 prompt_tokens 305 generation_tokens 553 "},
	{"labels that hold what ends labels",
	 "vllm:num_requests_running{a=\"} 9\",b=\"\\\"} 8\",c=\"\\\\\"} 3\n", "running 3 "},
	{"time stamps, tabs, CRLF, no last newline",
	 "vllm:num_requests_running\t3 1395066363000\r\nvllm:num_requests_waiting  4\r",
	 "running 3 waiting 4 "},
	{"no numbers",
	 "vllm:num_requests_running NaN\nvllm:num_requests_waiting +Inf\n"
	 "vllm:kv_cache_usage_perc x\nvllm:num_preemptions_total\nvllm:prompt_tokens_total \n"
	 "vllm:generation_tokens_total{a=\"b\n",
	 ""},
	{"not a metrics page", "<html>\n{}\n\n{ 5\n \x01\xff\n", ""},
	{"nothing", "", ""},
};

static void on_value(void *arg, int64_t t_ns, const char *name, double value)
{
	assert_int_equal(t_ns, 77);
	buf_printf(arg, "%s %.15g ", name, value);
}

static void test_pages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].page);
		char *page = malloc(len ? len : 1); /* no byte behind it */
		struct buf values;

		memcpy(page, cases[i].page, len);
		buf_init(&values, 1u << 16);
		scrape_parse(page, len, on_value, &values, 77);
		if (strcmp(buf_cstr(&values), cases[i].values) != 0)
			fail_msg("%s: \"%s\"", cases[i].what, buf_cstr(&values));
		buf_release(&values);
		free(page);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
