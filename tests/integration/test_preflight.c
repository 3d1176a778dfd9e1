/*
 * The look at a target before the load, at servers that are scripts: each has the habits of one
 * that exists, and what is found must be those. Then a whole run at one of them, which leaves out
 * what the look has learnt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "../support/child.h"
#include "../support/scripted_server.h"
#include "base/clock.h"
#include "base/jsonx.h"
#include "loadgen/preflight.h"
#include "loadgen/run.h"

/* ---- servers ---- */

#define HEAD(status, type)                                                                         \
	"HTTP/1.1 " status "\r\nContent-Type: " type "\r\nConnection: close\r\n\r\n"
#define JSON(status) HEAD(status, "application/json")

static const char usage16[] =
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":16}}\n\n";

static bool asks_for(const char *request, const char *path)
{
	const char *at = strchr(request, ' ');

	return strncmp(at + 1, path, strlen(path)) == 0;
}

static void serve_models(struct buf *out)
{
	buf_puts(out,
		 JSON("200 OK") "{\"object\":\"list\",\"data\":[{\"id\":\"m\"},{\"id\":\"n\"}]}");
}

static void stream(struct buf *out, int events, bool usage)
{
	buf_puts(out, HEAD("200 OK", "text/event-stream"));
	for (int i = 0; i < events; i++)
		buf_puts(out, "data: {\"choices\":[{\"delta\":{\"content\":\"a \"}}]}\n\n");
	buf_puts(out, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n");
	buf_printf(out, "%sdata: [DONE]\n\n", usage ? usage16 : "");
}

static void vllm(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else
		stream(out, 16, strstr(request, "include_usage") != NULL);
}

static void lagging(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else
		stream(out, 5, true);
}

/* 422 to what it does not know; usage comes unasked. */
static void transformers(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else if (strstr(request, "\"ignore_eos\"") || strstr(request, "\"stream_options\""))
		buf_puts(out,
			 JSON("422 Unprocessable Entity") "{\"detail\":\"Unexpected fields in the "
							  "request: {'ignore_eos', "
							  "'stream_options'}\"}");
	else
		stream(out, 16, true);
}

/* Names one at a time. */
static void strict(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else if (strstr(request, "\"ignore_eos\""))
		buf_puts(out,
			 JSON("400 Bad Request") "{\"error\":{\"message\":\"Unrecognized request "
						 "argument supplied: ignore_eos\"}}");
	else if (strstr(request, "\"stream_options\""))
		buf_puts(out,
			 JSON("400 Bad Request") "{\"error\":{\"message\":\"Unknown parameter\","
						 "\"param\":\"stream_options\"}}");
	else
		stream(out, 16, false);
}

/* An X-Request-Id that is no UUID is an empty 400; stream_options is passed over. */
static void llama_cpp_python(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else if (strstr(request, "X-Request-Id"))
		buf_puts(out, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
	else
		stream(out, 16, false);
}

/* Refuses for a reason of its own, and repeats all that it was sent. */
static void echo(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else
		buf_printf(out,
			   JSON("422 Unprocessable Entity") "{\"detail\":\"no room\",\"input\":%s}",
			   strstr(request, "\r\n\r\n") + 4);
}

static void locked(const char *request, struct buf *out)
{
	(void)request;
	buf_puts(out, JSON("401 Unauthorized") "{\"error\":{\"message\":\"no key\"}}");
}

static void no_such_model(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		buf_puts(out, JSON("200 OK") "{\"data\":[{\"id\":\"other\"}]}");
	else
		buf_puts(out, JSON("404 Not Found") "{\"error\":{\"message\":\"no model m\"}}");
}

static void in_one_piece(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else
		buf_puts(out,
			 JSON("200 OK") "{\"choices\":[{\"message\":{\"content\":\"a b\"},"
					"\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
					"7,\"completion_tokens\":2}}");
}

static void broken(const char *request, struct buf *out)
{
	(void)request;
	buf_puts(out, HEAD("500 Internal Server Error", "text/plain") "oops");
}

static void mute(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
}

static void embedding(const char *request, struct buf *out)
{
	if (asks_for(request, "/v1/models"))
		serve_models(out);
	else if (!strstr(request, "text/event-stream"))
		buf_puts(out, JSON("200 OK") "{\"data\":[{\"embedding\":[1]}],\"usage\":{\"prompt_"
					     "tokens\":3}}");
}

/* Wants its key and its version in headers of its own, on both pages. */
static void anthropic(const char *request, struct buf *out)
{
	if (!strstr(request, "\r\nx-api-key: secret\r\n") ||
	    !strstr(request, "\r\nanthropic-version: 2023-06-01\r\n") ||
	    strstr(request, "Authorization"))
		locked(request, out);
	else if (asks_for(request, "/v1/models"))
		serve_models(out);
	else
		buf_puts(out, HEAD("200 OK",
				   "text/event-stream") "event: content_block_delta\ndata: {"
							"\"type\":\"content_block_delta\","
							"\"delta\":{\"type\":\"text_delta\","
							"\"text\":\"a\"}}\n\nevent: message_"
							"delta\ndata: {\"type\":\"message_"
							"delta\",\"delta\":{\"stop_reason\":"
							"\"max_tokens\"},\"usage\":{\"output_"
							"tokens\":16}}\n\nevent: message_stop\n"
							"data: {\"type\":\"message_stop\"}\n\n");
}

/* SGLang's requests name no model, so none need be served. */
static void sglang(const char *request, struct buf *out)
{
	if (!asks_for(request, "/generate"))
		buf_puts(out, JSON("404 Not Found") "{\"detail\":\"Not Found\"}");
	else
		buf_puts(out, HEAD("200 OK",
				   "text/event-stream") "data: {\"text\":\"a b\",\"meta_info\":"
							"{\"finish_reason\":{\"type\":"
							"\"length\"},\"prompt_tokens\":7,"
							"\"completion_tokens\":16}}\n\ndata: "
							"[DONE]\n\n");
}

/* ---- what is found ---- */

enum { REACHABLE = 1, SERVED = 2, STREAMS = 4, USAGE = 8, MERGED = 16, HOPELESS = 32, WARNS = 64 };
#define WELL (REACHABLE | SERVED | STREAMS | USAGE)

static const struct {
	const char *what, *dialect, *model;
	scripted_answer *server;
	int flags;
	enum outcome outcome;
	int tokens, requests; /* that the server saw, the models page among them */
	const char *left_out; /* ", " between */
	const char *line;     /* part of it */
} cases[] = {
	{"vllm", "openai-chat", "m", vllm, WELL, OUTCOME_OK, 16, 2, "",
	 "streams, tells usage: 16 tokens in 16 events"},
	{"vllm, no model named", "openai-completions", NULL, vllm, WELL, OUTCOME_OK, 16, 2, "",
	 "16 tokens in 16 events"},
	{"a front end that lags", "openai-chat", "m", lagging, WELL | MERGED, OUTCOME_OK, 16, 2, "",
	 "16 tokens in 5 events (some hold several"},
	{"transformers serve", "openai-chat", "m", transformers, WELL | WARNS, OUTCOME_OK, 16, 3,
	 "ignore_eos, stream_options", "leaves out: ignore_eos, stream_options"},
	{"one refusal at a time", "openai-chat", "m", strict, REACHABLE | SERVED | STREAMS | WARNS,
	 OUTCOME_OK, 16, 4, "ignore_eos, stream_options", "tells no usage"},
	{"llama-cpp-python", "openai-chat", "m", llama_cpp_python,
	 REACHABLE | SERVED | STREAMS | WARNS, OUTCOME_OK, 16, 3, "X-Request-Id",
	 "tells no usage: tokens are counted by their events (16)"},
	{"a refusal that repeats the request", "openai-chat", "m", echo, REACHABLE | SERVED | WARNS,
	 OUTCOME_HTTP_4XX, -1, 3, "", "http_4xx: HTTP 422: no room"},
	{"no key", "openai-chat", "m", locked, REACHABLE | SERVED | HOPELESS | WARNS,
	 OUTCOME_HTTP_4XX, -1, 2, "", "HTTP 401: no key"},
	{"no such model", "openai-chat", "m", no_such_model, REACHABLE | HOPELESS | WARNS,
	 OUTCOME_HTTP_4XX, -1, 2, "", "HTTP 404: no model m"},
	{"no stream", "openai-chat", "m", in_one_piece, REACHABLE | SERVED | USAGE | WARNS,
	 OUTCOME_OK, 2, 2, "", "TTFT is the whole latency"},
	{"broken", "openai-chat", "m", broken, REACHABLE | SERVED | WARNS, OUTCOME_HTTP_5XX, -1, 2,
	 "", "HTTP 500: oops"},
	{"mute", "openai-chat", "m", mute, REACHABLE | SERVED | WARNS, OUTCOME_TIMEOUT, -1, 2, "",
	 "limits.idle"},
	{"embeddings", "openai-embeddings", "m", embedding, REACHABLE | SERVED, OUTCOME_OK, -1, 2,
	 "", "answers"},
	{"anthropic", "anthropic-messages", "m", anthropic, WELL | MERGED, OUTCOME_OK, 16, 2, "",
	 "16 tokens in 1 event"},
	{"sglang", "sglang-generate", NULL, sglang, WELL | MERGED, OUTCOME_OK, 16, 2, "",
	 "16 tokens in 1 event"},
};

static int flags_of(const struct preflight_found *f, bool warns)
{
	return (f->reachable ? REACHABLE : 0) | (f->model_served ? SERVED : 0) |
	       (f->streams ? STREAMS : 0) | (f->usage ? USAGE : 0) | (f->merged ? MERGED : 0) |
	       (preflight_is_hopeless(f) ? HOPELESS : 0) | (warns ? WARNS : 0);
}

static void join(const char *const *list, struct buf *out)
{
	for (int i = 0; list[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "", list[i]);
}

static void look_at(struct evloop *loop, size_t i, struct scripted_server *s)
{
	static const volatile sig_atomic_t never = 0;
	struct target t = {.name = (char *)"t",
			   .scheme = URL_HTTP,
			   .host = (char *)"127.0.0.1",
			   .port = s->port,
			   .prefix = (char *)"",
			   .model = (char *)cases[i].model,
			   .api_key = (char *)"secret",
			   .request = {.stream = true, .ignore_eos = true}};
	struct limits limits = {.connect_ns = NS_PER_S, .idle_ns = 100 * NS_PER_MS};
	struct request_env env = {.loop = loop,
				  .target = &t,
				  .model = t.model,
				  .dialect = dialect_find(cases[i].dialect),
				  .transport_type = &transport_http1,
				  .limits = &limits};
	struct preflight_found found;
	struct buf line, left_out;
	struct err e;
	int flags;

	buf_init(&line, 4096);
	buf_init(&left_out, 4096);
	preflight_found_init(&found);
	assert_int_equal(preflight(&env, true, &never, &found, &e), RC_OK);
	assert_true(found.asked);
	flags = flags_of(&found, preflight_tell(&found, &line));
	join(found.left_out, &left_out);
	if (flags != cases[i].flags || found.outcome != cases[i].outcome ||
	    !strstr(buf_cstr(&line), cases[i].line))
		fail_msg("%s: flags %d, outcome %s, \"%s\"", cases[i].what, flags,
			 outcome_name(found.outcome), buf_cstr(&line));
	assert_int_equal(found.tokens, cases[i].tokens);
	assert_int_equal(s->requests, cases[i].requests);
	assert_string_equal(buf_cstr(&left_out), cases[i].left_out);
	preflight_found_release(&found);
	buf_release(&line);
	buf_release(&left_out);
}

static void test_servers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct evloop *loop = evloop_new();
		struct scripted_server s;

		scripted_bind(&s);
		scripted_serve(&s, loop, cases[i].server);
		look_at(loop, i, &s);
		scripted_close(&s);
		evloop_free(loop);
	}
}

static void test_dead(void **state)
{
	static const volatile sig_atomic_t never = 0;
	struct evloop *loop = evloop_new();
	struct target t = {.scheme = URL_HTTP, .host = (char *)"127.0.0.1", .prefix = (char *)""};
	struct limits limits = {.connect_ns = NS_PER_S};
	struct request_env env = {.loop = loop,
				  .target = &t,
				  .dialect = &dialect_openai_chat,
				  .transport_type = &transport_http1,
				  .limits = &limits};
	struct preflight_found found;
	struct scripted_server s;
	struct err e;

	(void)state;
	scripted_bind(&s); /* a port that nobody else takes, and where nobody listens any more */
	t.port = s.port;
	close(s.fd);
	preflight_found_init(&found);
	assert_int_equal(preflight(&env, true, &never, &found, &e), RC_OK);
	assert_false(found.reachable);
	assert_false(found.asked);
	assert_true(preflight_is_hopeless(&found));
	assert_non_null(strstr(found.why, "refused"));
	preflight_found_release(&found);
	evloop_free(loop);
}

/* An interrupt while it waits: it comes back, and nothing is left behind. */
static void test_interrupt(void **state)
{
	static const volatile sig_atomic_t interrupted = 1;
	struct evloop *loop = evloop_new();
	struct target t = {.scheme = URL_HTTP,
			   .host = (char *)"127.0.0.1",
			   .prefix = (char *)"",
			   .model = (char *)"m",
			   .request = {.stream = true}};
	struct limits limits = {.connect_ns = NS_PER_S};
	struct request_env env = {.loop = loop,
				  .target = &t,
				  .model = "m",
				  .dialect = &dialect_openai_chat,
				  .transport_type = &transport_http1,
				  .limits = &limits};
	struct preflight_found found;
	struct scripted_server s;
	struct err e;

	(void)state;
	scripted_bind(&s);
	scripted_serve(&s, loop, mute);
	t.port = s.port;
	preflight_found_init(&found);
	assert_int_equal(preflight(&env, true, &interrupted, &found, &e), RC_OK);
	assert_false(found.asked);
	preflight_found_release(&found);
	scripted_close(&s);
	evloop_free(loop);
}

/* ---- a run ---- */

static void serve_in_child(struct scripted_server *s, scripted_answer *answer)
{
	struct evloop *loop = evloop_new();

	scripted_serve(s, loop, answer);
	for (;;)
		evloop_run(loop);
}

/* Every request of the run does without what was refused, or it would have failed; run.json says
 * what was left out. */
static void test_run(void **state)
{
	static const char text[] = "name: p\ntargets: [{name: t, url: 'http://127.0.0.1:%d'}]\n"
				   "workload: {prompts: {text: [hello]}, output_tokens: 16}\n"
				   "load: {closed: {concurrency: 2, requests: 6}}\n"
				   "output: {plots: []}\n";
	char dir[] = "/tmp/test_preflight.XXXXXX", *run_dir, *path, *yaml;
	struct run_opts opts = {.progress = PROGRESS_NONE, .preflight = true};
	struct scripted_server s;
	struct scenario *scenario = NULL;
	struct run_done done = {0};
	struct buf run_json;
	struct err e = {0};
	pid_t child;

	(void)state;
	scripted_bind(&s);
	child = fork_bound();
	assert_true(child >= 0);
	if (child == 0)
		serve_in_child(&s, transformers);
	close(s.fd);
	assert_non_null(mkdtemp(dir));
	run_dir = xasprintf("%s/r", dir);
	yaml = xasprintf(text, s.port);
	opts.out_dir = run_dir;
	if (scenario_parse(&scenario, "s.yaml", yaml, strlen(yaml), NULL, NULL, &e) != RC_OK ||
	    run_scenario(scenario, &opts, &done, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(done.n_records, 6);
	for (size_t i = 0; i < done.n_records; i++)
		assert_int_equal(done.records[i].outcome, OUTCOME_OK);
	path = xasprintf("%s/run.json", run_dir);
	buf_init(&run_json, 1u << 20);
	assert_int_equal(buf_read_file(&run_json, path, &e), RC_OK);
	assert_non_null(strstr(buf_cstr(&run_json), "\"left_out\": [\n        \"ignore_eos\",\n"
						    "        \"stream_options\"\n"));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	run_done_release(&done);
	scenario_free(scenario);
	buf_release(&run_json);
	free(path);
	path = xasprintf("rm -rf '%s'", dir);
	assert_int_equal(system(path), 0);
	free(path);
	free(run_dir);
	free(yaml);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_run),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
