/*
 * Traces: every kind's rows, every mistake with its place, and the public traces, read to the row
 * and the token.
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

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "loadgen/trace.h"

static struct trace parse(const char *text)
{
	struct trace t = {0};
	struct err e = {.msg = ""};

	if (trace_parse(&t, "t", text, strlen(text), &e) != RC_OK)
		fail_msg("%s\n%s", text, e.msg);
	return t;
}

static void expect_row(const struct trace *t, size_t i, int64_t at_us, int input, int output)
{
	assert_true(i < t->n);
	assert_int_equal(t->row[i].at_ns, at_us * 1000);
	assert_int_equal(t->row[i].input_tokens, input);
	assert_int_equal(t->row[i].output_tokens, output);
}

static void test_azure(void **state)
{
	struct trace t = parse("TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
			       "2023-11-16 18:15:46.6805900,374,44\r\n"
			       "2023-11-16 18:15:50.9951690,396,109\r\n"
			       "2023-11-17T00:00:00Z,879,55");

	(void)state;
	assert_int_equal(t.n, 3);
	expect_row(&t, 0, 0, 374, 44);
	expect_row(&t, 1, 4314579, 396, 109);
	expect_row(&t, 2, 20653319410, 879, 55);
	trace_release(&t);
}

/* Columns by name, in any order, others between; out of order; a failed request. */
static void test_burstgpt(void **state)
{
	struct trace t = parse("Timestamp,Session ID,Elapsed time,Model,Response tokens,Request "
			       "tokens\n"
			       "45.5,a,1,GPT-4,230,1087\n5,b,1,GPT-4,18,472\n6,c,1,GPT-4,0,0\n"
			       "45.5,d,1,GPT-4,1,2\n");

	(void)state;
	assert_int_equal(t.n, 3);
	assert_int_equal(t.skipped, 1);
	expect_row(&t, 0, 0, 472, 18);
	expect_row(&t, 1, 40500000, 1087, 230);
	expect_row(&t, 2, 40500000, 2, 1);
	trace_release(&t);
}

static void test_jsonl(void **state)
{
	struct trace t =
		parse("{\"timestamp\": 100, \"input_length\": 600, \"output_length\": 5, "
		      "\"hash_ids\": [7, 9]}\n\n"
		      "{\"timestamp\": 3100, \"input_length\": 5, \"output_length\": 6}\n");

	(void)state;
	assert_int_equal(t.n, 2);
	assert_int_equal(t.block_tokens, 512);
	expect_row(&t, 0, 0, 600, 5);
	expect_row(&t, 1, 3000000, 5, 6);
	assert_int_equal(t.row[0].n_blocks, 2);
	assert_int_equal(t.block[t.row[0].first_block + 1], 9);
	assert_int_equal(t.row[1].n_blocks, 0);
	trace_release(&t);

	t = parse("{\"chat_id\": 1, \"parent_chat_id\": -1, \"timestamp\": 1.5, \"input_length\": "
		  "40, \"output_length\": 5, \"type\": \"text\", \"turn\": 1, \"hash_ids\": [3, 4, "
		  "5]}\n"
		  "{\"chat_id\": 2, \"parent_chat_id\": 1, \"timestamp\": 2, \"input_length\": 16, "
		  "\"output_length\": 5, \"hash_ids\": [3]}\n");
	assert_int_equal(t.block_tokens, 16);
	expect_row(&t, 1, 500000, 16, 5);
	assert_int_equal(t.row[0].n_blocks, 3);
	trace_release(&t);
}

/* Of a plan: no warm-up, one point, and times from the level's start. */
static void test_plan(void **state)
{
	struct trace t = parse("request_id,point,sched_ms,output_tokens,prompt\n"
			       "0,-1,,8,w\n1,2,12.5,8,\"a, b\"\n2,2,13,9,c\n3,3,12.5,8,d\n");

	(void)state;
	assert_true(t.planned);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.row[0].at_ns, 12500 * NS_PER_US);
	assert_string_equal(t.row[0].prompt, "a, b");
	assert_int_equal(t.row[1].output_tokens, 9);
	trace_release(&t);
}

static const struct {
	const char *text, *message;
} mistakes[] = {
	{"", "t: empty"},
	{"a,b\n1,2\n", "t: no trace: want columns TIMESTAMP, ContextTokens, GeneratedTokens"},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n", "t: holds no requests"},
	{"Timestamp,Request tokens,Response tokens\n1,0,0\n",
	 "t: holds no requests but such of 0 tokens"},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,1\nyesterday,1,1\n",
	 "t:3: TIMESTAMP: got \"yesterday\", want a time"},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-16 18:15:46,1,1\n",
	 "t:2: TIMESTAMP: got "},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46x,1,1\n",
	 "t:2: TIMESTAMP: got "},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,many,1\n",
	 "t:2: ContextTokens: "},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,-1\n",
	 "t:2: GeneratedTokens: got \"-1\", want 0 to 10000000 tokens"},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,\n",
	 "t:2: GeneratedTokens: got \"\", want 0 to"},
	{"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1\n",
	 "t:2: 2 fields under 3 columns"},
	{"Timestamp,Request tokens,Response tokens\n-4,1,1\n",
	 "t:2: Timestamp: got \"-4\", want a time of 0 or more"},
	{"Timestamp,Request tokens,Response tokens\nnan,1,1\n", "t:2: Timestamp: "},
	{"Timestamp,Request tokens,Response tokens\n1e300,1,1\n", "t:2: Timestamp: "},
	{"sched_ms,output_tokens,prompt\n,5,a\n", "t:2: sched_ms: got \"\", want a time"},
	{"sched_ms,output_tokens,prompt\n1,5,\n", "t:2: prompt: an empty prompt"},
	{"{\"timestamp\": 1", "t:1: line 1, column "},
	{"{\"timestamp\": 1}\n", "t:1: input_length: missing"},
	{"{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1}\n[]",
	 "t:2: want an object"},
	{"{\"timestamp\": \"1\", \"input_length\": 1, \"output_length\": 1}",
	 "t:1: timestamp: got "},
	{"{\"timestamp\": 1, \"input_length\": -1, \"output_length\": 1}", "t:1: input_length: "},
	{"{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1.5}", "t:1: output_length: "},
	{"{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [\"a\"]}",
	 "t:1: hash_ids: want whole numbers from 0"},
	{"{\"timestamp\": 1, \"input_length\": 512, \"output_length\": 1, \"hash_ids\": [1, 2]}",
	 "t:1: hash_ids: 2 blocks of 512 tokens, but input_length is 512"},
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct trace t = {0};
		struct err e = {.msg = ""};
		const char *text = mistakes[i].text;

		assert_int_not_equal(trace_parse(&t, "t", text, strlen(text), &e), RC_OK);
		if (strncmp(e.msg, mistakes[i].message, strlen(mistakes[i].message)) != 0)
			fail_msg("%s\ngot:  %s\nwant: %s", text, e.msg, mistakes[i].message);
		trace_release(&t);
	}
}

/* ---- the public traces ---- */

static struct trace shared(const char *file)
{
	struct trace t = {0};
	struct err e = {.msg = ""};
	char path[512];

	snprintf(path, sizeof(path), SHARED_DIR "/data/traces/%s", file);
	if (access(path, R_OK) != 0) {
		print_message("skipped: no ../shared/data\n");
		skip();
	}
	if (trace_read(&t, path, &e) != RC_OK)
		fail_msg("%s", e.msg);
	return t;
}

static int by_tokens(const void *a, const void *b)
{
	return *(const int32_t *)a - *(const int32_t *)b;
}

/* Linear interpolation between the closest ranks. */
static double percentile(const struct trace *t, bool input, double p)
{
	int32_t *v = xcalloc(t->n, sizeof(*v));
	double at = p / 100 * (double)(t->n - 1), out;
	size_t i = (size_t)at;

	for (size_t k = 0; k < t->n; k++)
		v[k] = input ? t->row[k].input_tokens : t->row[k].output_tokens;
	qsort(v, t->n, sizeof(*v), by_tokens);
	out = v[i] + (at - (double)i) * (v[i + 1 < t->n ? i + 1 : i] - v[i]);
	free(v);
	return out;
}

static double gap_cv(const struct trace *t)
{
	double n = (double)(t->n - 1), mean = (double)t->row[t->n - 1].at_ns / n, square = 0;

	for (size_t i = 1; i < t->n; i++)
		square += pow((double)(t->row[i].at_ns - t->row[i - 1].at_ns) - mean, 2);
	return sqrt(square / n) / mean;
}

static int peak_in_a_second(const struct trace *t)
{
	int64_t second = -1;
	int n = 0, peak = 0;

	for (size_t i = 0; i < t->n; i++) {
		n = t->row[i].at_ns / NS_PER_S == second ? n + 1 : 1;
		second = t->row[i].at_ns / NS_PER_S;
		peak = n > peak ? n : peak;
	}
	return peak;
}

static void expect_sums(const struct trace *t, size_t n, int64_t input, int64_t output)
{
	int64_t in = 0, out = 0;

	assert_int_equal(t->n, n);
	assert_int_equal(t->skipped, 0);
	for (size_t i = 0; i < t->n; i++) {
		in += t->row[i].input_tokens;
		out += t->row[i].output_tokens;
	}
	assert_int_equal(in, input);
	assert_int_equal(out, output);
}

static void test_azure_conv(void **state)
{
	struct trace t = shared("AzureLLMInferenceTrace_conv.csv");

	(void)state;
	expect_sums(&t, 19366, 22361870, 4088665);
	assert_true(fabs((double)t.n * 1e9 / (double)t.row[t.n - 1].at_ns - 5.53) < 0.005);
	assert_true(fabs(gap_cv(&t) - 1.09) < 0.005);
	assert_int_equal(percentile(&t, true, 25), 396);
	assert_int_equal(lround(percentile(&t, true, 50)), 1020);
	assert_int_equal(percentile(&t, true, 75), 1189);
	assert_int_equal(peak_in_a_second(&t), 16);
	trace_release(&t);
}

static void test_azure_code(void **state)
{
	struct trace t = shared("AzureLLMInferenceTrace_code.csv");

	(void)state;
	expect_sums(&t, 8819, 18059974, 245896);
	assert_true(fabs(gap_cv(&t) - 13.2) < 0.05);
	assert_int_equal(peak_in_a_second(&t), 67);
	assert_int_equal(percentile(&t, false, 95), 90);
	trace_release(&t);
}

static void test_mooncake(void **state)
{
	struct trace t = shared("mooncake_conversation_trace.jsonl");
	char *seen = xcalloc(UINT16_MAX * 8, 1);
	int64_t distinct = 0, hits = 0;

	(void)state;
	expect_sums(&t, 12031, 144793823, 4122048);
	assert_int_equal(t.block_tokens, 512);
	for (size_t i = 0; i < t.n; i++) {
		const struct trace_row *r = &t.row[i];

		assert_int_equal(r->n_blocks, (r->input_tokens + 511) / 512);
		for (size_t k = 0; k < r->n_blocks; k++) {
			uint32_t id = t.block[r->first_block + k];

			assert_true(id < UINT16_MAX * 8);
			hits += seen[id];
			distinct += !seen[id];
			seen[id] = 1;
		}
	}
	assert_int_equal(distinct, 182790);
	assert_true(fabs((double)hits / (double)t.n_blocks - 0.366) < 0.0005);
	free(seen);
	trace_release(&t);
}

static void test_burstgpt_head(void **state)
{
	struct trace t = shared("burstgpt_head30.csv");

	(void)state;
	assert_int_equal(t.n, 29);
	assert_int_equal(t.skipped, 1);
	expect_row(&t, 28, 2288000000, 507, 448);
	trace_release(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_azure),	      cmocka_unit_test(test_burstgpt),
		cmocka_unit_test(test_jsonl),	      cmocka_unit_test(test_plan),
		cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_azure_conv),
		cmocka_unit_test(test_azure_code),    cmocka_unit_test(test_mooncake),
		cmocka_unit_test(test_burstgpt_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
