/*
 * Rows of other tools: every format whose names are known, --columns, what is left out and why, and
 * closed loops found by their times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/opt.h"
#include "fakeengine/fit_events.h"
#include "fakeengine/fit_read.h"

static enum rc read_text(struct fit_rows *rows, const char *text, const char *columns,
			 const struct fit_source *source, struct err *e)
{
	struct fit_source s = source ? *source : (struct fit_source){0};
	struct opt_list list = {&columns, columns ? 1 : 0};
	struct fit_table *t = NULL;
	enum rc rc = fit_table_parse(&t, "f", text, strlen(text), e);

	s.columns = &list;
	if (rc == RC_OK)
		rc = fit_read_table(rows, t, "f", &s, e);
	if (rc == RC_OK)
		rc = fit_rows_finish(rows, e);
	fit_table_free(t);
	return rc;
}

/* The same two requests, 0.5 s apart: 100 and 200 prompt tokens, 11 and 21 output tokens, first
 * token after 0.2 and 0.3 s, last after 1.2 and 2.3 s. */
static void test_formats(void **state)
{
	static const struct {
		const char *tool, *text, *columns;
	} formats[] = {
		{"loadgen",
		 "request_id,target,point,load_kind,send_ns,token1_ns,token_last_ns,prompt_tokens,"
		 "output_tokens,outcome,streamed\n"
		 "0,a,-1,warmup,1,2,3,4,5,ok,1\n"
		 "1,a,0,closed,1000000000,1200000000,2200000000,100,11,ok,1\n"
		 "2,a,0,closed,1500000000,1800000000,3800000000,200,21,ok,1\n",
		 NULL},
		{"vLLM",
		 "{\"duration\": 4, \"input_lens\": [100, 200], \"output_lens\": [11, 21],\n"
		 " \"ttfts\": [0.2, 0.3], \"itls\": [[0.5, 0.5], [1, 0.5, 0.5]],\n"
		 " \"start_times\": [10.0, 10.5], \"errors\": [\"\", \"\"]}",
		 NULL},
		{"GuideLLM",
		 "{\"benchmarks\": [{\"requests\": {\"successful\": [\n"
		 "{\"prompt_tokens\": 100, \"output_tokens\": 11, \"info\": {\"timings\": "
		 "{\"request_start\": 10, \"first_token_iteration\": 10.2, "
		 "\"last_token_iteration\": 11.2}}},\n"
		 "{\"prompt_tokens\": 200, \"output_tokens\": 21, \"info\": {\"timings\": "
		 "{\"request_start\": 10.5, \"first_token_iteration\": 10.8, "
		 "\"last_token_iteration\": 12.8}}}], \"errored\": []}}]}",
		 NULL},
		{"GuideLLM before",
		 "{\"benchmarks\": [{\"requests\": {\"successful\": [\n"
		 "{\"prompt_tokens\": 100, \"output_tokens\": 11, \"start_time\": 10, "
		 "\"first_token_time\": 10.2, \"last_token_time\": 11.2},\n"
		 "{\"prompt_tokens\": 200, \"output_tokens\": 21, \"start_time\": 10.5, "
		 "\"first_token_time\": 10.8, \"last_token_time\": 12.8}]}}]}",
		 NULL},
		{"AIPerf",
		 "{\"metadata\": {\"request_start_ns\": 5000000000, \"benchmark_phase\": "
		 "\"warmup\"}, "
		 "\"metrics\": {}}\n"
		 "{\"metadata\": {\"request_start_ns\": 10000000000, \"benchmark_phase\": "
		 "\"profiling\"}, \"metrics\": {\"input_sequence_length\": {\"value\": 100}, "
		 "\"output_sequence_length\": {\"value\": 11}, \"time_to_first_token\": "
		 "{\"value\": "
		 "200, \"unit\": \"ms\"}, \"request_latency\": {\"value\": 1200}}, \"error\": "
		 "null}\n"
		 "{\"metadata\": {\"request_start_ns\": 10500000000}, \"metrics\": "
		 "{\"input_sequence_length\": {\"value\": 200}, \"output_sequence_length\": "
		 "{\"value\": 21}, \"time_to_first_token\": {\"value\": 300}, \"request_latency\": "
		 "{\"value\": 2300}}}\n",
		 NULL},
		{"LLMServingSim: the engine's clock is 1000 s behind, its queue takes 0 and 50 ms",
		 "{\"input_toks\": 100, \"output_toks\": 11, \"arrival_time\": 2010.0, "
		 "\"queued_ts\": "
		 "1010.0, \"first_token_ts\": 1010.2, \"last_token_ts\": 1011.2}\n"
		 "{\"input_toks\": 200, \"output_toks\": 21, \"arrival_time\": 2010.5, "
		 "\"queued_ts\": "
		 "1010.55, \"first_token_ts\": 1010.8, \"last_token_ts\": 1012.8}\n",
		 NULL},
		{"anything, by --columns",
		 "ts;skip,n in,n out,wait,total\n10000,100,11,200,1.2\n10500,200,21,300,2.3\n",
		 "arrival=ts;skip:ms,prompt_tokens=n in,output_tokens=n "
		 "out,ttft=wait:ms,latency=total"},
		{"its own names",
		 "arrival,prompt_tokens,output_tokens,first_token,last_token\n"
		 "10,100,11,10.2,11.2\n10.5,200,21,10.8,12.8\n",
		 NULL},
		{"a mean gap",
		 "arrival,prompt_tokens,output_tokens,ttft,tpot\n"
		 "10,100,11,0.2,0.1\n10.5,200,21,0.3,0.1\n",
		 "tpot=tpot"},
		{"gaps as text",
		 "arrival,prompt_tokens,output_tokens,ttft,gaps\n"
		 "10,100,11,0.2,\"[0.4, 0.6]\"\n10.5,200,21,0.3,\"[2]\"\n",
		 "itls=gaps"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		struct fit_rows rows = {0};
		struct err e = {.msg = ""};

		if (read_text(&rows, formats[i].text, formats[i].columns, NULL, &e))
			fail_msg("%s: %s", formats[i].tool, e.msg);
		CHECK(rows.n == 2 && rows.row);
		assert_int_equal(rows.n_runs, 1);
		for (size_t k = 0; k < 2; k++) {
			const struct fit_row *w = &rows.row[k];

			assert_int_equal(w->prompt_tokens, k ? 200 : 100);
			assert_int_equal(w->output_tokens, k ? 21 : 11);
			assert_in_range(w->arrival_ns + 1000, k * 500000000, k * 500000000 + 2000);
			assert_in_range(w->first_ns - w->arrival_ns, k ? 299999000 : 199999000,
					k ? 300001000 : 200001000);
			assert_in_range(w->last_ns - w->first_ns, k ? 1999999000 : 999999000,
					k ? 2000001000 : 1000001000);
			assert_true(w->scored);
		}
		fit_rows_release(&rows);
	}
}

static void test_runs(void **state)
{
	static const char text[] = "run,send_ns,prompt_tokens,output_tokens,first_token_ns,"
				   "last_token_ns\n"
				   "b,500,1,2,600,700\na,90,1,2,100,110\nb,100,1,2,200,300\n";
	static const struct fit_source only_a = {.points = "a,x"};
	struct fit_rows rows = {0};
	struct err e;

	(void)state;
	assert_int_equal(read_text(&rows, text, NULL, NULL, &e), RC_OK);
	CHECK(rows.n_runs == 2 && rows.row && rows.run);
	assert_string_equal(rows.run[0].name, "f b");
	assert_int_equal(rows.run[0].to - rows.run[0].from, 2);
	assert_int_equal(rows.row[0].arrival_ns, 0); /* in order of arrival, from the run's first */
	assert_int_equal(rows.row[1].arrival_ns, 400);
	assert_int_equal(rows.row[2].first_ns, 10);
	fit_rows_release(&rows);
	assert_int_equal(read_text(&rows, text, NULL, &only_a, &e), RC_OK);
	assert_int_equal(rows.n, 1);
	fit_rows_release(&rows);
}

/* No arrivals: a closed loop of as many as the file, or the user, says. */
static void test_closed(void **state)
{
	static const char sglang[] = "{\"max_concurrency\": 4, \"input_lens\": [100, 200], "
				     "\"output_lens\": [11, 21], \"ttfts\": [0.2, 0.3], "
				     "\"itls\": [[1], [2]], \"errors\": [\"\", \"\"]}\n";
	static const char bench[] = "{\"success\": true, \"wall_time\": 1.2, \"ttft\": 0.2, "
				    "\"output_tokens\": 11}\n"
				    "{\"success\": true, \"wall_time\": 2.3, \"ttft\": 0.3, "
				    "\"output_tokens\": 21}\n";
	static const struct fit_source eight = {.concurrency = 8};
	struct fit_rows rows = {0};
	struct err e;

	(void)state;
	assert_int_equal(read_text(&rows, sglang, NULL, NULL, &e), RC_OK);
	CHECK(rows.row && rows.run);
	assert_int_equal(rows.run[0].concurrency, 4);
	assert_int_equal(rows.row[1].first_ns, 300000000);
	assert_int_equal(rows.row[1].last_ns, 2300000000);
	fit_rows_release(&rows);
	assert_int_equal(read_text(&rows, bench, "prompt_tokens=30", &eight, &e), RC_OK);
	CHECK(rows.row && rows.run);
	assert_int_equal(rows.run[0].concurrency, 8);
	assert_int_equal(rows.row[1].prompt_tokens, 30);
	fit_rows_release(&rows);
	assert_int_equal(read_text(&rows, bench, "prompt_tokens=30", NULL, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "--concurrency N"));
	fit_rows_release(&rows);
}

/* A row of means is so many requests of a loop that neither begins nor ends. */
static void test_means(void **state)
{
	static const char table[] =
		"concurrency,prompt_tokens,output_tokens,ttft_ms,itl_ms,output_tokens_per_s\n"
		"1,10,5,100,20,27\n2,10,5,150,25,40\n";
	static const char rows_of_one[] = "arrival,prompt_tokens,output_tokens,ttft,latency\n"
					  "1,10,5,0.1,0.2\n2,10,5,0.1,0.2\n";
	static const struct fit_source second = {.points = "2"};
	struct fit_rows rows = {0};
	struct fit_peak peak;
	struct err e;

	(void)state;
	assert_int_equal(read_text(&rows, table, "requests=3", &second, &e), RC_OK);
	CHECK(rows.row && rows.run);
	assert_int_equal(rows.n_runs, 1);
	assert_int_equal(rows.run[0].concurrency, 2);
	assert_int_equal(rows.n, 2 + 3 + 2);
	for (size_t i = 0; i < rows.n; i++) {
		assert_int_equal(rows.row[i].scored, i >= 2 && i < 5);
		assert_int_equal(rows.row[i].first_ns, 150000000);
		assert_int_equal(rows.row[i].last_ns, 250000000);
	}
	/* Of 2 clients, 100 of 250 ms: 0.8 of them decode; 0.8 * (10 + 5 / 2) tokens. */
	peak = fit_rows_peak(&rows, NULL, true);
	assert_int_equal(peak.requests, 1);
	assert_int_equal(peak.tokens, 10);
	fit_rows_release(&rows);
	assert_int_equal(read_text(&rows, rows_of_one, "requests=3", NULL, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "its rows are no means"));
	fit_rows_release(&rows);
}

static void test_left_out(void **state)
{
	static const char head[] =
		"arrival,prompt_tokens,output_tokens,first_token,last_token,success\n";
	static const struct {
		const char *row;
		enum fit_reason why;
	} bad[] = {
		{"1,10,5,2,3,0\n", LEFT_FAILED},  {"1,0,5,2,3,1\n", LEFT_ZERO},
		{"1,10,0,2,3,1\n", LEFT_ZERO},	  {"1,,5,2,3,1\n", LEFT_MISSING},
		{"1,10,5,,3,1\n", LEFT_MISSING},  {"1,10,5,2,,1\n", LEFT_MISSING},
		{",10,5,2,3,1\n", LEFT_MISSING},  {"1,10,5,x,3,1\n", LEFT_MISSING},
		{"1,10,5,0.5,3,1\n", LEFT_SKEW},  {"1,10,5,2,1.5,1\n", LEFT_SKEW},
		{"1,10,5,2,2,1\n", LEFT_SKEW},	  {"1,10,5,1e30,2,1\n", LEFT_SKEW},
		{"1,-3,5,2,3,1\n", LEFT_MISSING},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct fit_rows rows = {0};
		struct err e = {.msg = ""};
		struct buf text, account;

		buf_init(&text, 4096);
		buf_init(&account, 4096);
		buf_puts(&text, head);
		buf_puts(&text, bad[i].row);
		for (int k = 0; k < 4; k++)
			buf_puts(&text, "1,10,5,2,3,1\n");
		if (read_text(&rows, buf_cstr(&text), NULL, NULL, &e))
			fail_msg("%s: %s", bad[i].row, e.msg);
		assert_int_equal(rows.n, 4);
		if (rows.left_out[bad[i].why].n != 1)
			fail_msg("row %s left out for another reason", bad[i].row);
		fit_rows_account(&rows, &account);
		assert_non_null(strstr(buf_cstr(&account), "1 of 5 rows left out: 1 "));
		assert_non_null(strstr(buf_cstr(&account), "(f row 1)"));
		fit_rows_release(&rows);

		/* One more of them is more than a fifth. */
		buf_puts(&text, bad[i].row);
		assert_int_equal(read_text(&rows, buf_cstr(&text), NULL, NULL, &e), RC_INPUT);
		assert_non_null(strstr(e.msg, "2 of 6 rows left out"));
		assert_non_null(strstr(e.msg, "at most a fifth"));
		fit_rows_release(&rows);
		buf_release(&text);
		buf_release(&account);
	}
}

static void test_refused(void **state)
{
	static const struct fit_source none = {0}, target = {.target = "b"},
				       point = {.points = "1"}, clients = {.concurrency = 3};
	static const char plain[] = "arrival,prompt_tokens,output_tokens,first_token,last_token\n"
				    "1,10,5,2,3\n";
	static const struct {
		const char *text, *columns;
		const struct fit_source *source;
		const char *says;
	} cases[] = {
		{"a,b\n1,2\n", NULL, &none, "nothing in it says prompt_tokens. It has: a, b."},
		{"a,b\n1,2\n", NULL, &none, "--columns prompt_tokens=COLUMN"},
		{"{\"x\": {\"y\": 1}, \"z\": 2}\n{}\n", NULL, &none, "It has: x.y, z."},
		{"prompt_tokens,output_tokens\n1,2\n", NULL, &none, "says first_token or ttft"},
		{"prompt_tokens,output_tokens,ttft\n1,2,3\n", NULL, &none,
		 "says last_token, latency, tpot or itls"},
		{"success,wall_time,ttft,output_tokens\n1,2,3,4\n", NULL, &none,
		 "most like inference-bench"},
		{plain, "prompts=x", &none, "\"prompts=x\", want QUANTITY=COLUMN"},
		{plain, "arrival", &none, "\"arrival\", want QUANTITY=COLUMN"},
		{plain, "arrival=t:h", &none, "unit \"h\", want s, ms, us or ns"},
		{plain, NULL, &target, "does not tell targets apart"},
		{plain, NULL, &clients, "says when requests were sent (arrival)"},
		{"arrival,prompt_tokens,output_tokens,ttft,latency\n1,10,5,2,3\n", "run=1", &point,
		 "no requests in it"},
		{"target,send_ns,token1_ns,token_last_ns,prompt_tokens,output_tokens\n"
		 "a,1,2,3,4,5\nb,1,2,3,4,5\n",
		 NULL, &none, "several targets (\"a\", \"b\", ...)"},
		{"target,send_ns,token1_ns,token_last_ns,prompt_tokens,output_tokens\na,1,2,3,4,"
		 "5\n",
		 NULL, &target, "has no target \"b\" (it has \"a\")"},
		{"{\"a\": 1}\n{\"a\": \n", NULL, &none, "f:2: "},
		{"{\"benchmarks\": []}", NULL, &none, "f: no rows in it"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fit_rows rows = {0};
		struct err e = {.msg = ""};

		assert_int_equal(
			read_text(&rows, cases[i].text, cases[i].columns, cases[i].source, &e),
			RC_INPUT);
		if (!strstr(e.msg, cases[i].says))
			fail_msg("case %zu says: %s", i, e.msg);
		fit_rows_release(&rows);
	}
}

/* Two clients whose next request comes 1 ms after an answer; a third row of numbers breaks it. */
static void test_closed_loop_is_found(void **state)
{
	struct fit_rows rows = {0};
	struct err e;

	(void)state;
	fit_rows_begin(&rows, "closed", 0);
	for (int i = 0; i < 12; i++)
		fit_rows_add(&rows,
			     (struct fit_row){.arrival_ns = INT64_C(101000000) * (i / 2) +
							    INT64_C(1000000) * (i % 2),
					      .first_ns = INT64_C(101000000) * (i / 2) + 50000000,
					      .last_ns = INT64_C(101000000) * (i / 2) + 100000000,
					      .prompt_tokens = 1,
					      .output_tokens = 2,
					      .scored = true},
			     "");
	fit_rows_begin(&rows, "open", 0);
	for (int i = 0; i < 12; i++)
		fit_rows_add(&rows,
			     (struct fit_row){.arrival_ns = INT64_C(80000000) * i,
					      .first_ns = INT64_C(80000000) * i + 50000000,
					      .last_ns = INT64_C(80000000) * i + 100000000,
					      .prompt_tokens = 1,
					      .output_tokens = 2,
					      .scored = true},
			     "");
	assert_int_equal(fit_rows_finish(&rows, &e), RC_OK);
	assert_false(rows.row[0].waits || rows.row[1].waits);
	assert_int_equal(rows.row[0].next, 2);
	assert_int_equal(rows.row[0].pause_ns, 1000000);
	assert_int_equal(rows.row[1].next, 3);
	assert_int_equal(rows.row[9].next, 11);
	assert_int_equal(rows.row[10].next, -1);
	for (size_t i = 12; i < 24; i++)
		assert_int_equal(rows.row[i].next, -1);
	assert_int_equal(fit_rows_peak(&rows, NULL, true).requests, 2);
	assert_int_equal(fit_rows_peak(&rows, NULL, true).tokens, 4);
	fit_rows_release(&rows);
}

static void test_events(void **state)
{
	static const unsigned char head[16] = {'L', 'G', 'E', 'V', 'E', 'N', 'T', 'S', 1};
	unsigned char bytes[16 + 2 * (12 + 32)] = {0}, *p = bytes + 16;
	struct fit_events *f = NULL;
	struct fit_event *event;
	int32_t n;
	struct err e;

	(void)state;
	memcpy(bytes, head, sizeof(head));
	for (unsigned char id = 9; id >= 8; id--) { /* in no order */
		p[0] = id;
		p[8] = 2;
		p[12] = 100;
		p[20] = 1;
		p[28] = 200;
		p[36] = 3;
		p += 12 + 32;
	}
	assert_int_equal(fit_events_parse(&f, "f", bytes, sizeof(bytes), &e), RC_OK);
	event = fit_events_take(f, 9, &n);
	assert_int_equal(n, 2);
	assert_int_equal(event[0].t_ns, 100);
	assert_int_equal(event[1].tokens, 3);
	free(event);
	assert_null(fit_events_take(f, 9, &n)); /* taken */
	assert_null(fit_events_take(f, 7, &n));
	fit_events_free(f);

	/* Cut short: the block before it stays. */
	assert_int_equal(fit_events_parse(&f, "f", bytes, sizeof(bytes) - 1, &e), RC_OK);
	assert_null(fit_events_take(f, 8, &n));
	free(fit_events_take(f, 9, &n));
	assert_int_equal(n, 2);
	fit_events_free(f);
	bytes[8] = 2;
	assert_int_equal(fit_events_parse(&f, "f", bytes, sizeof(bytes), &e), RC_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_means),
		cmocka_unit_test(test_left_out),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_closed_loop_is_found),
		cmocka_unit_test(test_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
