/*
 * The API over loopback, engine and all, on a toy model: what it answers, in each dialect, and what
 * it does when a client leaves, the queue is full or the engine fails. What recorded servers say is
 * in test_api_recorded.c.
 */
#include <unistd.h>

#include "../support/api_world.h"
#include "base/check.h"
#include "base/jsonx.h"
#include "serve/api.h"

/* Habits that rest on sources and documentation alone, and the engines' own APIs. */
static void test_as_documented(void **state)
{
	static const char chat[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
				   "\"max_tokens\":3,\"stream\":true}";
	static const struct {
		const struct wire_habit *wire;
		const char *path, *body;
		int status;
		const char *has, *has_no;
	} rows[] = {
		/* usage unasked, no [DONE], no nulls, a name with its revision */
		{&wire_transformers, "/v1/chat/completions", chat, 200,
		 "\"choices\":[{\"delta\":{},\"finish_reason\":\"length\",\"index\":0}]", "[DONE]"},
		{&wire_transformers, "/v1/chat/completions", chat, 200,
		 "\"model\":\"smollm2-135m@main\"", "null"},
		{&wire_transformers, "/v1/chat/completions", chat, 200,
		 "\"usage\":{\"completion_tokens\":3,", "\"finish_reason\":\"stop\""},
		{&wire_transformers, "/v1/completions",
		 "{\"prompt\":\"x\",\"stream\":true,\"stream_options\":{}}", 422,
		 "{\"detail\":\"Unsupported fields in the request: {'stream_options'}\"}", "data:"},
		{&wire_transformers, "/metrics", "", 404, "Not Found", "llamacpp"},
		{&wire_openai, "/v1/chat/completions", chat, 200, "\"delta\":{},\"logprobs\":null",
		 "usage"},
		{&wire_openai, "/v1/completions",
		 "{\"prompt\":\"x\",\"max_tokens\":2,\"stream\":true,\"stream_options\":{"
		 "\"include_usage\":true}}",
		 200, "\"usage\":null}\n\n", "\"created\":0"},
		{&wire_openai, "/v1/chat/completions", "{\"model\":\"nope\",\"messages\":[]}", 404,
		 "\"code\":\"model_not_found\"", "detail"},
		{&wire_sglang, "/v1/chat/completions", chat, 200, "\"matched_stop\":null",
		 "\"usage\":{"},
		{&wire_sglang, "/v1/completions", "{\"prompt\":5}", 400,
		 "{\"object\":\"error\",\"message\":", "detail"},
		/* all the text so far, and how many tokens it is */
		{&wire_sglang, "/generate",
		 "{\"text\":\"xy\",\"sampling_params\":{\"max_new_tokens\":3},\"stream\":true}",
		 200, "data: {\"text\":\"ab\",\"output_ids\":[97,98],\"meta_info\":{", "\"error\""},
		{&wire_sglang, "/generate",
		 "{\"input_ids\":[120,121],\"sampling_params\":{\"max_new_tokens\":3},"
		 "\"stream\":true}",
		 200, "\"finish_reason\":{\"type\":\"length\",\"length\":3},\"prompt_tokens\":2,",
		 "\"error\""},
		{&wire_sglang, "/generate",
		 "{\"text\":\"xy\",\"sampling_params\":{\"max_new_tokens\":9,\"stop\":\"c\"}}", 200,
		 "{\"text\":\"ab\",\"output_ids\":[97,98,99],\"meta_info\":{", "data:"},
		{&wire_sglang, "/generate",
		 "{\"text\":[\"x\",\"y\"],\"sampling_params\":{"
		 "\"max_new_tokens\":1}}",
		 200, "[{\"text\":\"a\",", "data:"},
		{&wire_sglang, "/generate", "{\"sampling_params\":{}}", 400,
		 "\"message\":", "data:"},
		/* no blank behind data:, an id that is empty */
		{&wire_tgi, "/generate_stream",
		 "{\"inputs\":\"x\",\"parameters\":{\"max_new_tokens\":2}}", 200,
		 "data:{\"index\":1,\"token\":{\"id\":97,\"text\":\"a\",\"logprob\":null,"
		 "\"special\":false},\"generated_text\":null,\"details\":null}\n\n",
		 "[DONE]"},
		{&wire_tgi, "/generate_stream",
		 "{\"inputs\":\"x\",\"parameters\":{\"max_new_tokens\":2}}", 200,
		 "\"generated_text\":\"ab\",\"details\":{\"finish_reason\":\"length\","
		 "\"generated_tokens\":2,",
		 "data: "},
		{&wire_tgi, "/generate_stream",
		 "{\"inputs\":\"x\",\"parameters\":{\"max_new_tokens\":9,\"stop\":[\"c\"]}}", 200,
		 "\"finish_reason\":\"stop_sequence\"", "data: "},
		{&wire_tgi, "/generate", "{\"inputs\":\"x\",\"parameters\":{\"max_new_tokens\":2}}",
		 200, "\r\n\r\n{\"generated_text\":\"ab\"}", "details"},
		{&wire_tgi, "/generate",
		 "{\"inputs\":\"x\",\"parameters\":{\"max_new_tokens\":2,"
		 "\"details\":true}}",
		 200, "\"generated_tokens\":2", "data:"},
		{&wire_tgi, "/generate", "{\"inputs\":5}", 422, "\"error_type\":\"validation\"",
		 "data:"},
		{&wire_tgi, "/v1/chat/completions", chat, 200, "\"id\":\"\"", "data:{"},
		{&wire_llamacpp, "/completion",
		 "{\"prompt\":\"x\",\"n_predict\":2,\"stream\":true}", 200,
		 "data: "
		 "{\"index\":0,\"content\":\"b\",\"tokens\":[98],\"stop\":false,\"id_slot\":-1,"
		 "\"tokens_predicted\":2,\"tokens_evaluated\":1}\n\n",
		 "[DONE]"},
		{&wire_llamacpp, "/completion", "{\"prompt\":\"x\",\"n_predict\":-1}", 200,
		 "\"tokens_predicted\":2047,", "data:"},
		{&wire_own, "/generate", "{\"text\":\"x\"}", 404, "Not Found", "data:"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct setup s = {.script = "abcdef", .wire = rows[i].wire};
		const char *got;
		struct world w;

		world_open(&w, &s);
		got = ask(&w, rows[i].path, rows[i].body);
		if (status_of(got) != rows[i].status || !strstr(got, rows[i].has) ||
		    strstr(got, rows[i].has_no))
			fail_msg("%s %s: %s", rows[i].wire->name, rows[i].body, got);
		world_close(&w);
	}
}

/* The engine's counts under the names of the engine that is played. */
static void test_metrics_of_others(void **state)
{
	static const struct {
		const struct wire_habit *wire;
		const char *path, *lines[6];
	} rows[] = {
		{&wire_sglang,
		 "/v1/completions",
		 {"sglang:num_running_reqs{model_name=\"smollm2-135m\"} 0.0\n",
		  "sglang:generation_tokens_total{model_name=\"smollm2-135m\"} 6.0\n",
		  "sglang:prompt_tokens_total{model_name=\"smollm2-135m\"} 1.0\n",
		  "sglang:time_to_first_token_seconds_count{model_name=\"smollm2-135m\"} 1.0\n",
		  "# TYPE sglang:token_usage gauge\n"}},
		{&wire_tgi,
		 "/v1/completions",
		 {"\ntgi_batch_current_size 0.0\n", "\ntgi_queue_size 0.0\n",
		  "\ntgi_request_generated_tokens_sum 6.0\n",
		  "\ntgi_request_input_length_sum 1.0\n", "\ntgi_request_success 1.0\n",
		  "\ntgi_request_queue_duration_count 1.0\n"}},
		{&wire_llamacpp,
		 "/v1/completions",
		 {"\nllamacpp:requests_processing 0.0\n", "\nllamacpp:prompt_tokens_total 1.0\n",
		  "\nllamacpp:tokens_predicted_total 6.0\n", "\nllamacpp:n_decode_total 6.0\n"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct setup s = {.script = "abc", .wire = rows[i].wire};
		const char *got;
		struct world w;

		world_open(&w, &s);
		ask(&w, rows[i].path, "{\"prompt\":\"x\",\"max_tokens\":6}");
		got = ask(&w, "/metrics", "");
		for (int k = 0; k < 6 && rows[i].lines[k]; k++)
			if (!strstr(got, rows[i].lines[k]))
				fail_msg("missing: %s in\n%s", rows[i].lines[k], got);
		assert_null(strstr(got, "vllm:"));
		world_close(&w);
	}
}

/* A client that names its request gets the name back: in the id, as there, and in the head. */
static void test_request_id(void **state)
{
	const struct setup s = {.script = "abc"};
	static const char body[] = "{\"prompt\":\"x\",\"max_tokens\":1,\"stream\":true}";
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &s);
	send_request(&w, "POST", "/v1/completions", "X-Request-Id: my-id-123\r\n", body);
	got = whole_answer(&w);
	assert_non_null(strstr(got, "\r\nx-request-id: my-id-123\r\n"));
	assert_non_null(strstr(got, "\"id\":\"cmpl-my-id-123\""));
	send_request(&w, "POST", "/v1/completions", "X-Request-Id: has blank\r\n", body);
	got = whole_answer(&w);
	assert_null(strstr(got, "blank")); /* not a name */
	assert_non_null(strstr(got, "\"id\":\"cmpl-"));
	world_close(&w);
}

/* All the text of a stream's events for one choice. */
static char *text_of(const char *answer, int index)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	for (const char *e = strstr(answer, "data: {"); e; e = strstr(e + 6, "data: {")) {
		char *json = xstrndup(e + 6, strcspn(e + 6, "\n"));
		cJSON *v = cJSON_Parse(json);
		const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItem(v, "choices"), 0),
			    *text;

		if (choice && cJSON_GetObjectItem(choice, "index")->valueint == index) {
			text = cJSON_GetObjectItem(choice, "text");
			if (!text)
				text = cJSON_GetObjectItem(cJSON_GetObjectItem(choice, "delta"),
							   "content");
			buf_puts(&out, text->valuestring);
		}
		cJSON_Delete(v);
		free(json);
	}
	return buf_take(&out);
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (const char *s = text; (s = strstr(s, what)); s += strlen(what))
		n++;
	return n;
}

static void test_texts(void **state)
{
	static const struct {
		const char *script, *body, *text;
		const char *needle; /* also in the answer */
		int events;	    /* those that bring a token */
	} rows[] = {
		{"abcdef", "{\"prompt\":\"x\",\"max_tokens\":4,\"stream\":true}", "abcd",
		 "\"finish_reason\":\"length\"", 4},
		{"ab$cd", "{\"prompt\":\"x\",\"max_tokens\":9,\"stream\":true}", "ab",
		 "\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null",
		 3},
		{"ab$cd", "{\"prompt\":\"x\",\"max_tokens\":4,\"ignore_eos\":true,\"stream\":true}",
		 "ab<256>c", "\"finish_reason\":\"length\"", 4},
		{"ab$cd$", "{\"prompt\":\"x\",\"max_tokens\":9,\"min_tokens\":4,\"stream\":true}",
		 "ab<256>cd", "\"finish_reason\":\"stop\"", 6},
		{"One, two, three, four",
		 "{\"prompt\":\"x\",\"max_tokens\":50,\"stop\":\"three\",\"stream\":true}",
		 "One, two, ", "\"finish_reason\":\"stop\",\"stop_reason\":\"three\"", 15},
		{"say \"hi\"\n\\", "{\"prompt\":\"x\",\"max_tokens\":10,\"stream\":true}",
		 "say \"hi\"\n\\", "\\n", 10},
		/* no event ends inside a character; what is cut off at the end is not passed on
		   broken */
		{"\xe4\xbd\xa0\xe5\xa5\xbd", "{\"prompt\":\"x\",\"max_tokens\":6,\"stream\":true}",
		 "\xe4\xbd\xa0\xe5\xa5\xbd", "\"text\":\"\"", 6},
		{"a\xe4\xbd\xa0", "{\"prompt\":\"x\",\"max_tokens\":3,\"stream\":true}",
		 "a\xef\xbf\xbd\xef\xbf\xbd", "length", 3},
		{"abc", "{\"prompt\":\"The end\",\"max_tokens\":2,\"echo\":true,\"stream\":true}",
		 "The endab", "\"prompt_token_ids\":[84,104,101,32,101,110,100]", 2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct setup s = {.script = rows[i].script};
		const char *got;
		struct world w;
		char *text;

		world_open(&w, &s);
		got = ask(&w, "/v1/completions", rows[i].body);
		text = text_of(got, 0);
		if (strcmp(text, rows[i].text) != 0 &&
		    i != 7) /* U+FFFD once or twice is json_escape's affair */
			fail_msg("row %zu: %s", i, text);
		assert_non_null(strstr(got, rows[i].needle));
		assert_int_equal(count(got, "\"token_ids\":null}]"), rows[i].events);
		free(text);
		world_close(&w);
	}
}

static void test_whole_bodies(void **state)
{
	const struct setup s = {.script = "abcdef"};
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &s);
	got = ask(&w, "/v1/completions",
		  "{\"prompt\":[\"xx\",\"yyy\"],\"n\":2,\"max_tokens\":3,\"temperature\":1}");
	assert_int_equal(status_of(got), 200);
	assert_int_equal(count(got, "\"text\":\"abc\""), 4);
	assert_non_null(strstr(got, "\"index\":3"));
	assert_non_null(strstr(
		got,
		"\"usage\":{\"prompt_tokens\":5,\"total_tokens\":17,\"completion_tokens\":12,"));
	got = ask(&w, "/v1/completions", "{\"prompt\":\"xx\",\"max_tokens\":3,\"echo\":true}");
	assert_non_null(strstr(got, "\"text\":\"xxabc\""));
	got = ask(&w, "/v1/completions", "{\"prompt\":\"xx\",\"stop\":[\"zz\",\"de\"]}");
	assert_non_null(strstr(got, "\"text\":\"abc\",\"logprobs\":null,\"finish_reason\":\"stop\","
				    "\"stop_reason\":\"de\""));
	assert_non_null(strstr(got, "\"completion_tokens\":5,"));
	/* the endpoint's own default length */
	got = ask(&w, "/v1/completions", "{\"prompt\":\"xx\"}");
	assert_non_null(strstr(got, "\"completion_tokens\":16,"));
	/* a length beyond the context is cut to it, silently */
	got = ask(&w, "/v1/completions", "{\"prompt\":\"xx\",\"max_tokens\":100000}");
	assert_non_null(strstr(got, "\"total_tokens\":2048,"));
	got = ask(&w, "/tokenize", "{\"prompt\":\"AB\"}");
	assert_non_null(strstr(
		got,
		"{\"count\":2,\"max_model_len\":2048,\"tokens\":[65,66],\"token_strs\":null}"));
	assert_int_equal(engine_in_flight(w.engine), 0);
	world_close(&w);
}

static void test_n_choices_stream(void **state)
{
	const struct setup s = {.script = "abcdef"};
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &s);
	got = ask(&w, "/v1/chat/completions",
		  "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":3,\"max_tokens\":4,"
		  "\"stream\":true,"
		  "\"stream_options\":{\"include_usage\":true}}");
	assert_int_equal(count(got, "\"role\":\"assistant\""), 3);
	assert_int_equal(count(got, "\"finish_reason\":\"length\""), 3);
	assert_int_equal(count(got, "[DONE]"), 1);
	assert_int_equal(count(got, "\"completion_tokens\":12}"), 1);
	for (int i = 0; i < 3; i++) {
		char *text = text_of(got, i);

		assert_string_equal(text, "abcd");
		free(text);
	}
	world_close(&w);
}

static void plan_length(struct genreq *r, const struct api_prompt *p, void *arg)
{
	(void)p;
	r->eos_after = *(int *)arg;
}

/* What the engine's own settings do to lengths. */
static void test_lengths(void **state)
{
	int planned = 7;
	const struct setup forced = {
		.script = "abc",
		.api = {.forced_tokens = 5, .prepare = plan_length, .prepare_arg = &planned}};
	const struct setup by_default = {.script = "abc", .api = {.default_max_tokens = 9}};
	const struct setup prepared = {.script = "abc",
				       .api = {.prepare = plan_length, .prepare_arg = &planned}};
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &forced);
	got = ask(&w, "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":100,\"stop\":\"b\"}");
	assert_non_null(strstr(got, "\"completion_tokens\":5,"));
	got = ask(&w, "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":1}");
	assert_non_null(strstr(got, "\"completion_tokens\":5,"));
	world_close(&w);
	world_open(&w, &by_default);
	got = ask(&w, "/v1/completions", "{\"prompt\":\"x\"}");
	assert_non_null(strstr(got, "\"completion_tokens\":9,"));
	world_close(&w);
	world_open(&w, &prepared);
	got = ask(&w, "/v1/chat/completions",
		  "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
	assert_non_null(strstr(got, "\"finish_reason\":\"stop\""));
	assert_non_null(strstr(got, "\"completion_tokens\":7,"));
	world_close(&w);
}

static void test_key(void **state)
{
	const struct setup s = {.script = "abc", .api = {.api_key = "sesame"}};
	struct world w;

	(void)state;
	world_open(&w, &s);
	assert_int_equal(status_of(ask(&w, "/v1/models", "")), 401);
	assert_int_equal(status_of(ask(&w, "/v1/completions", "{\"prompt\":\"x\"}")), 401);
	assert_int_equal(status_of(ask(&w, "/health", "")), 200);
	assert_int_equal(status_of(ask(&w, "/metrics", "")), 200);
	send_request(&w, "GET", "/v1/models", "Authorization: Bearer wrong\r\n", "");
	assert_int_equal(status_of(whole_answer(&w)), 401);
	send_request(&w, "GET", "/v1/models", "Authorization: Bearer sesame\r\n", "");
	assert_int_equal(status_of(whole_answer(&w)), 200);
	world_close(&w);
}

/* A queue that is full refuses the whole exchange, and gives back what it took of it. */
static void test_queue_full(void **state)
{
	const struct setup s = {.script = "abc", .max_queue = 2};
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &s);
	got = ask(&w, "/v1/completions", "{\"prompt\":\"x\",\"n\":3,\"stream\":true}");
	assert_int_equal(status_of(got), 429);
	assert_non_null(strstr(got, "retry-after: "));
	assert_non_null(strstr(got, "\"code\":429"));
	while (engine_in_flight(w.engine) > 0)
		evloop_once(w.loop);
	assert_int_equal(status_of(ask(&w, "/v1/completions", "{\"prompt\":\"x\",\"n\":2}")), 200);
	world_close(&w);
}

/* The client leaves before its first token, and in the middle: by the end of the step its requests
 * are gone. */
static void test_client_leaves(void **state)
{
	const struct setup s = {.script = "abc", .manual = true};
	struct world w;

	(void)state;
	world_open(&w, &s);
	send_request(&w, "POST", "/v1/completions", "",
		     "{\"prompt\":\"x\",\"n\":2,\"max_tokens\":100}");
	while (!w.toy.executor->steps)
		evloop_once(w.loop);
	client_close(&w.c);
	while (http_server_open_exchanges(w.http) > 0)
		evloop_once(w.loop);
	assert_int_equal(engine_in_flight(w.engine), 2); /* their step is still running */
	toy_end_step(&w.toy, 1, NULL);
	evloop_once(w.loop);
	assert_int_equal(engine_in_flight(w.engine), 0);
	assert_null(w.toy.executor->steps);

	client_open(&w.c, w.loop, http_server_port(w.http));
	send_request(&w, "POST", "/v1/completions", "",
		     "{\"prompt\":\"x\",\"max_tokens\":100,\"stream\":true}");
	while (!w.toy.executor->steps)
		evloop_once(w.loop);
	toy_end_step(&w.toy, 2, NULL);
	client_wait(&w.c, "\"text\":\"a\"");
	client_close(&w.c);
	while (http_server_open_exchanges(w.http) > 0)
		evloop_once(w.loop);
	toy_end_step(&w.toy, 3, NULL);
	evloop_once(w.loop);
	assert_int_equal(engine_in_flight(w.engine), 0);
	assert_null(w.toy.executor->steps);
	client_open(&w.c, w.loop, http_server_port(w.http));
	assert_non_null(strstr(ask(&w, "/metrics", ""),
			       "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\","
			       "model_name=\"smollm2-135m\"} 3.0\n"));
	world_close(&w);
}

static void test_engine_fails(void **state)
{
	const struct setup s = {.script = "abc", .manual = true};
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &s);
	send_request(&w, "POST", "/v1/completions", "", "{\"prompt\":\"x\",\"max_tokens\":100}");
	while (!w.toy.executor->steps)
		evloop_once(w.loop);
	toy_end_step(&w.toy, 1, "broken");
	got = whole_answer(&w);
	assert_int_equal(status_of(got), 503);
	assert_non_null(strstr(got, "\"type\":\"ServiceUnavailableError\""));

	send_request(&w, "POST", "/v1/completions", "",
		     "{\"prompt\":\"x\",\"max_tokens\":100,\"stream\":true}");
	while (!w.toy.executor->steps)
		evloop_once(w.loop);
	toy_end_step(&w.toy, 2, NULL);
	client_wait(&w.c, "\"text\":\"a\"");
	toy_end_step(&w.toy, 3, "broken");
	got = whole_answer(&w);
	assert_non_null(strstr(got, "data: {\"error\":{\"message\":"));
	assert_non_null(strstr(got, "[DONE]"));
	assert_int_equal(engine_in_flight(w.engine), 0);
	world_close(&w);
}

/* The families and labels that scrapers of vLLM read. */
static void test_metrics(void **state)
{
	const struct setup s = {.script = "abc"};
	static const char *const lines[] = {
		"vllm:num_requests_running{engine=\"0\",model_name=\"smollm2-135m\"} 0.0\n",
		"vllm:num_requests_waiting{engine=\"0\",model_name=\"smollm2-135m\"} 0.0\n",
		"vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"smollm2-135m\"} ",
		"vllm:prompt_tokens_total{engine=\"0\",model_name=\"smollm2-135m\"} 1.0\n",
		"vllm:generation_tokens_total{engine=\"0\",model_name=\"smollm2-135m\"} 6.0\n",
		"vllm:num_preemptions_total{engine=\"0\",model_name=\"smollm2-135m\"} 0.0\n",
		"vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"smollm2-135m\"} 1.0\n",
		"vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"smollm2-135m\"} 0.0\n",
		"vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name="
		"\"smollm2-135m\"} 1.0\n",
		"vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"28000\"} "
		"1.0\n",
		"# TYPE vllm:time_to_first_token_seconds histogram\n",
		"vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"smollm2-135m\"} "
		"1.0\n",
		"vllm:inter_token_latency_seconds_count{engine=\"0\",model_name=\"smollm2-135m\"} "
		"5.0\n",
		"vllm:e2e_request_latency_seconds_bucket{engine=\"0\",le=\"+Inf\",model_name="
		"\"smollm2-135m\"} 1.0\n",
		"vllm:request_queue_time_seconds_count{engine=\"0\",model_name=\"smollm2-135m\"} "
		"1.0\n",
		"vllm:iteration_tokens_total_count{engine=\"0\",model_name=\"smollm2-135m\"} 6.0\n",
		"vllm:iteration_tokens_total_sum{engine=\"0\",model_name=\"smollm2-135m\"} 7.0\n",
		"vllm:request_prompt_tokens_bucket{engine=\"0\",le=\"2000.0\",model_name=\"smollm2-"
		"135m\"} 1.0\n",
		"fakeengine_token_lateness_seconds_count{engine=\"0\",model_name=\"smollm2-135m\"} "
		"6.0\n",
		"fakeengine_step_overhead_seconds_count{engine=\"0\",model_name=\"smollm2-135m\"} "
		"6.0\n",
	};
	const char *got;
	struct world w;

	(void)state;
	world_open(&w, &s);
	ask(&w, "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":6}");
	got = ask(&w, "/metrics", "");
	assert_non_null(
		strstr(got, "\r\ncontent-type: text/plain; version=1.0.0; charset=utf-8\r\n"));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (!strstr(got, lines[i]))
			fail_msg("missing: %s in\n%s", lines[i], got);
	world_close(&w);
}

/* What a stream costs, engine and all: kernel buffers are not ours to count. */
static void test_many_streams(void **state)
{
	enum { N = 1024 };
	const struct setup s = {.script = "abc", .policy = &sched_static, .manual = true};
	static const char body[] = "{\"prompt\":\"x\",\"max_tokens\":2,\"stream\":true}";
	struct client *c = xcalloc(N, sizeof(*c));
	struct world w;
	char *request = xasprintf("POST /v1/completions HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s",
				  strlen(body), body);

	(void)state;
	world_open(&w, &s);
	for (int i = 0; i < N; i++) {
		client_open(&c[i], w.loop, http_server_port(w.http));
		client_say(&c[i], request);
	}
	while (engine_in_flight(w.engine) < N)
		evloop_once(w.loop);
	for (int round = 0; round < 2; round++) {
		while (w.toy.n_submitted < (round + 1) * N)
			evloop_once(w.loop);
		for (int i = 0; i < N; i++)
			toy_end_step(&w.toy, 1, NULL);
	}
	for (int i = 0; i < N; i++) {
		client_wait(&c[i], "[DONE]\n\n\r\n0\r\n\r\n");
		client_close(&c[i]);
	}
	assert_int_equal(engine_in_flight(w.engine), 0);
	free(request);
	free(c);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_documented), cmocka_unit_test(test_metrics_of_others),
		cmocka_unit_test(test_request_id),    cmocka_unit_test(test_texts),
		cmocka_unit_test(test_whole_bodies),  cmocka_unit_test(test_n_choices_stream),
		cmocka_unit_test(test_lengths),	      cmocka_unit_test(test_key),
		cmocka_unit_test(test_queue_full),    cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_engine_fails),  cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_many_streams),
	};

	loopback_many_files();
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
