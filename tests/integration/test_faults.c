/*
 * Faults byte by byte: the front end with a toy engine behind it, and what each fault makes of a
 * stream. What a load generator makes of them is tests/cli/test_faults.sh's matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/loopback.h"
#include "../support/toy_engine.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"
#include "fakeengine/fault.h"
#include "serve/api.h"

struct world {
	struct evloop *loop;
	struct toy toy;
	int32_t *script;
	struct engine *engine;
	struct api *api;
	struct http_server *http;
	struct fault_list list;
	struct faults *faults;
	struct client c;
};

static const char *const models[] = {"m", NULL};

/* planned: faults of the engine's own, NULL-terminated, or NULL. */
static void world_open(struct world *w, const char *const *planned, bool manual)
{
	struct engine_config engine = {.policy = &sched_static, .eos_token = TOY_EOS};
	struct http_config http = {
		.host = "127.0.0.1", .limits = http_limits_default(), .server_name = "toy"};
	struct api_config api = {
		.engine_name = "toy", .version = "1", .models = models, .codec = &toy_codec};
	struct err e;

	memset(w, 0, sizeof(*w));
	w->loop = evloop_new();
	w->script = toy_script("abcdefghij", &w->toy.n_script);
	w->toy.script = w->script;
	w->toy.loop = w->loop;
	w->toy.manual = manual;
	sched_defaults(engine.policy, engine.knobs);
	engine.executor = &toy_executor;
	engine.executor_config = &w->toy;
	assert_int_equal(engine_new(&w->engine, w->loop, &engine, &e), RC_OK);
	for (; planned && *planned; planned++)
		assert_int_equal(fault_list_add(&w->list, *planned, &e), RC_OK);
	w->faults = faults_new(&w->list, 11, w->loop);
	api.admit = faults_admit;
	api.admit_arg = w->faults;
	api.loop = w->loop;
	w->api = api_new(&api, w->engine);
	http.handle = api_handle;
	http.arg = w->api;
	assert_int_equal(http_server_new(&w->http, w->loop, &http, &e), RC_OK);
	client_open(&w->c, w->loop, http_server_port(w->http));
}

static void world_close(struct world *w)
{
	client_close(&w->c);
	http_server_free(w->http);
	engine_free(w->engine);
	api_free(w->api);
	faults_free(w->faults);
	fault_list_release(&w->list);
	evloop_free(w->loop);
	free(w->script);
}

static const char chat[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":6,"
			   "\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
static const char text[] = "{\"prompt\":\"x\",\"max_tokens\":6,\"stream\":true,"
			   "\"stream_options\":{\"include_usage\":true}}";

static void ask(struct world *w, bool is_chat, const char *fault)
{
	const char *body = is_chat ? chat : text;
	char *request = xasprintf("POST /v1/%scompletions HTTP/1.1\r\n%s%s%sContent-Length: %zu\r\n"
				  "\r\n%s",
				  is_chat ? "chat/" : "", fault ? "X-Fault: " : "",
				  fault ? fault : "", fault ? "\r\n" : "", strlen(body), body);

	client_forget(&w->c);
	client_say(&w->c, request);
	free(request);
}

static int count(const char *in, const char *what)
{
	int n = 0;

	for (const char *s = in; (s = strstr(s, what)); s += strlen(what))
		n++;
	return n;
}

enum ending { OPEN, FIN, RST };

static const struct row {
	const char *fault;
	int status;	    /* 0: no head comes */
	int tokens;	    /* events that bring one; -1 not to be counted */
	const char *has;    /* or NULL */
	const char *has_no; /* or NULL */
	enum ending ending;
} rows[] = {
	{NULL, 200, 6, "data: [DONE]\n\n\r\n0\r\n\r\n", NULL, OPEN},
	{"400", 400, 0, "a planned fault", NULL, OPEN},
	{"401", 401, 0, "www-authenticate: Bearer", NULL, OPEN},
	{"404", 404, 0, "NotFoundError", NULL, OPEN},
	{"429", 429, 0, "retry-after: 1\r\n", NULL, OPEN},
	{"429=7s", 429, 0, "retry-after: 7\r\n", NULL, OPEN},
	{"500", 500, 0, "\"code\":500", NULL, OPEN},
	{"503", 503, 0, "\"code\":503", NULL, OPEN},
	{"429:0", 200, 6, "data: [DONE]\n\n\r\n0\r\n\r\n", NULL, OPEN},
	{"nonsense", 400, 0, "X-Fault", NULL, OPEN},
	{"no_answer", 0, 0, NULL, NULL, FIN},
	{"html", 200, 0, "content-type: text/html", "data:", OPEN},
	{"json", 200, -1, "content-type: application/json", "data:", OPEN},
	{"empty", 200, 0, "data: [DONE]", "usage", OPEN},
	{"cut_fin@0", 200, 0, NULL, "[DONE]", FIN},
	{"cut_fin@4", 200, 4, NULL, "[DONE]", FIN},
	{"cut_rst@2", 200, 2, NULL, "[DONE]", RST},
	{"cut_fin@100", 200, 5, NULL, "[DONE]", FIN}, /* at the last at the latest */
	{"half_chunk@2", 200, -1, NULL, "[DONE]", FIN},
	{"error_event@2", 200, 2, "data: {\"error\":", "usage\":{", FIN},
	{"split_utf8@1", 200, 6, "\xe4\r\n", NULL, OPEN},
	{"crlf", 200, 6, "data: [DONE]\r\n\r\n\r\n0\r\n\r\n", NULL, OPEN},
	{"no_space", 200, 6, "data:[DONE]\n\n", "data: ", OPEN},
	{"comments", 200, 6, ": keep-alive\n\n", NULL, OPEN},
	{"role_first", 200, 6, NULL, NULL, OPEN},
	{"no_done", 200, 6, "\"usage\":{", "[DONE]", OPEN},
	{"usage_twice", 200, 6, "[DONE]", NULL, OPEN},
	{"no_usage", 200, 6, "[DONE]", "usage", OPEN},
	{"late_usage", 200, 6, "[DONE]", NULL, OPEN},
};

static void wait_for_end(struct world *w, const struct row *r)
{
	if (r->ending != OPEN) {
		client_wait_closed(&w->c);
		return;
	}
	client_wait(&w->c, "\r\n\r\n");
	if (strstr(buf_cstr(&w->c.got), "chunked"))
		client_wait(&w->c, "\r\n0\r\n\r\n");
	else
		client_wait(&w->c, strstr(buf_cstr(&w->c.got), "html") ? "</html>" : "}");
}

static void check_row(struct world *w, const struct row *r, bool is_chat)
{
	const char *name = r->fault ? r->fault : "no fault", *got;
	int tokens = 0;

	ask(w, is_chat, r->fault);
	wait_for_end(w, r);
	got = buf_cstr(&w->c.got);
	if (r->status == 0)
		assert_int_equal(strlen(got), 0);
	else if (atoi(got + 9) != r->status)
		fail_msg("%s: %s", name, got);
	for (char t[2] = "a"; *t <= 'j'; (*t)++) {
		char *one = xasprintf("\"%s\":\"%s\"", is_chat ? "content" : "text", t);

		tokens += count(got, one);
		free(one);
	}
	if (r->fault && !strcmp(r->fault, "split_utf8@1"))
		tokens++; /* the one that was torn */
	if (r->tokens >= 0 && tokens != r->tokens)
		fail_msg("%s: %d tokens in %s", name, tokens, got);
	if (r->has && !strstr(got, r->has))
		fail_msg("%s: no %s in %s", name, r->has, got);
	if (r->has_no && strstr(got, r->has_no))
		fail_msg("%s: %s in %s", name, r->has_no, got);
}

static void test_each(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		struct world w;

		world_open(&w, NULL, false);
		check_row(&w, &rows[i / 2], i % 2);
		/* Whatever was cut off, the engine is rid of it, and serves the next. */
		while (engine_in_flight(w.engine) > 0)
			evloop_once(w.loop);
		client_close(&w.c);
		client_open(&w.c, w.loop, http_server_port(w.http));
		check_row(&w, &rows[0], i % 2);
		world_close(&w);
	}
}

/* What the strings of a row cannot say. */
static void test_details(void **state)
{
	static const struct {
		const char *fault, *what;
		int times;
	} counts[] = {
		{"usage_twice", "\"usage\":{", 2},
		{"late_usage", "\"usage\":{", 1},
		{"comments", ": keep-alive", 9}, /* role, six tokens, usage, [DONE] */
		{"role_first", "\"role\":\"assistant\"", 2},
		{"crlf", "}\n", 0},
	};
	const char *done, *usage;
	struct world w;

	(void)state;
	world_open(&w, NULL, false);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		ask(&w, true, counts[i].fault);
		client_wait(&w.c, "\r\n0\r\n\r\n");
		assert_int_equal(count(buf_cstr(&w.c.got), counts[i].what), counts[i].times);
	}
	ask(&w, false, "late_usage");
	client_wait(&w.c, "\r\n0\r\n\r\n");
	done = strstr(buf_cstr(&w.c.got), "[DONE]");
	usage = strstr(buf_cstr(&w.c.got), "\"usage\":{\"prompt_tokens\":1,");
	assert_true(done && usage && usage > done);
	world_close(&w);
}

/* A stream that stalls, or whose head is late, keeps its order and holds up no other. */
static void test_delays(void **state)
{
	static const char *const faults[] = {"stall=60ms@2", "slow_headers=60ms",
					     "slow_accept=60ms"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct client other;
		struct world w;
		int64_t t0;

		world_open(&w, NULL, false);
		client_open(&other, w.loop, http_server_port(w.http));
		t0 = monotonic_now_ns();
		ask(&w, false, faults[i]);
		while (i < 2 && engine_in_flight(w.engine) == 0)
			evloop_once(w.loop);
		client_say(&other, "GET /health HTTP/1.1\r\n\r\n");
		client_wait(&other, "200 OK");
		client_wait(&w.c, "\r\n0\r\n\r\n");
		assert_true(monotonic_now_ns() - t0 >= 60 * NS_PER_MS);
		for (const char *t = "abcdef", *at = buf_cstr(&w.c.got); *t; t++) {
			char piece[] = {'"', 't', 'e', 'x', 't', '"', ':', '"', *t, '"', '\0'};

			at = strstr(at, piece);
			assert_non_null(at);
		}
		client_close(&other);
		world_close(&w);
	}
}

/* The client leaves while its stream is held back, and while its request is not looked at yet. */
static void test_client_leaves(void **state)
{
	static const char *const faults[] = {"stall=1h@1", "slow_headers=1h", "slow_accept=1h",
					     "usage_twice"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct world w;

		world_open(&w, NULL, i == 3);
		ask(&w, true, faults[i]);
		while (http_server_open_exchanges(w.http) == 0)
			evloop_once(w.loop);
		while (i == 0 && !strstr(buf_cstr(&w.c.got), "\"content\":\"a\""))
			evloop_once(w.loop);
		client_close(&w.c);
		while (http_server_open_exchanges(w.http) > 0)
			evloop_once(w.loop);
		if (i == 3)
			toy_end_step(&w.toy, 1, NULL);
		while (engine_in_flight(w.engine) > 0)
			evloop_once(w.loop);
		world_close(&w);
	}
}

/* The server ends while all kinds of answers hang in it. */
static void test_server_ends(void **state)
{
	static const char *const faults[] = {"stall=1h@1", "slow_headers=1h", "slow_accept=1h"};
	struct client c[ARRAY_LEN(faults)];
	struct world w;

	(void)state;
	world_open(&w, NULL, false);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct client first = w.c;

		client_open(&w.c, w.loop, http_server_port(w.http));
		ask(&w, true, faults[i]);
		c[i] = w.c;
		w.c = first;
	}
	while (http_server_open_exchanges(w.http) < 3)
		evloop_once(w.loop);
	http_server_free(w.http);
	w.http = NULL;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		event_free(c[i].readable);
		close(c[i].fd);
		buf_release(&c[i].got);
	}
	world_close(&w);
}

/* The share that is hit is the rate, and the same ones for the same seed. */
static void test_rates(void **state)
{
	enum { N = 400 };
	static const char *const planned[] = {"429:0.25", "no_done:0.1", NULL};
	char hit[2][N];
	int refused = 0;

	(void)state;
	for (int run = 0; run < 2; run++) {
		struct world w;

		world_open(&w, planned, false);
		for (int i = 0; i < N; i++) {
			const struct row plain = {NULL, 200, 0, NULL, NULL, OPEN};

			ask(&w, false, NULL);
			client_wait(&w.c, "\r\n\r\n");
			hit[run][i] = strstr(buf_cstr(&w.c.got), " 429 ") != NULL;
			if (!hit[run][i])
				wait_for_end(&w, &plain);
			else
				client_wait(&w.c, "}}");
			refused += hit[run][i];
		}
		world_close(&w);
	}
	assert_memory_equal(hit[0], hit[1], N);
	assert_in_range(refused / 2, 70, 130);
}

static void test_specs(void **state)
{
	static const struct {
		const char *spec, *wrong; /* part of the message, or NULL: it is right */
	} specs[] = {
		{"429", NULL},
		{"429=2s:0.5", NULL},
		{"stall=10ms@4:0.1", NULL},
		{"cut_rst@0", NULL},
		{"crlf:1", NULL},
		{"crlf:0", NULL},
		{"cut_rts", "cut_rst"},
		{"crlf=1s", "no value"},
		{"crlf@2", "no token"},
		{"stall=2", "stall"},
		{"stall=2s@-1", "token"},
		{"429:1.5", "rate"},
		{"429:", "rate"},
		{"", "want one of 400, 401"},
		{"cut_fin@x", "token"},
	};
	struct fault f;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		enum rc rc = fault_parse(&f, specs[i].spec, &e);

		if (!specs[i].wrong)
			assert_int_equal(rc, RC_OK);
		else if (rc != RC_INPUT || !strstr(e.msg, specs[i].wrong))
			fail_msg("%s: %s", specs[i].spec, rc ? e.msg : "taken");
	}
	assert_int_equal(fault_parse(&f, "stall=2s@3:0.25", &e), RC_OK);
	assert_true(f.value_ns == 2 * NS_PER_S && f.at_token == 3 && f.rate == 0.25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_specs),	      cmocka_unit_test(test_each),
		cmocka_unit_test(test_details),	      cmocka_unit_test(test_delays),
		cmocka_unit_test(test_client_leaves), cmocka_unit_test(test_server_ends),
		cmocka_unit_test(test_rates),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
