/*
 * Scenarios: what each key becomes, addresses, --set and --target. Mistakes are in
 * test_scenario_errors.c, what goes into the results in test_scenario_emit.c.
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

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/opt.h"
#include "loadgen/scenario.h"

#define TARGET	 "targets: [{name: a, url: \"http://h:1\"}]\n"
#define WORKLOAD "workload: {prompts: {text: [hello]}}\n"
#define LOAD	 "load: {serial: {requests: 1}}\n"

static struct scenario *parse_with(const char *text, const struct opt_list *sets,
				   const struct opt_list *only)
{
	struct scenario *s;
	struct err e = {.msg = ""};

	if (scenario_parse(&s, "s.yaml", text, strlen(text), sets, only, &e) != RC_OK)
		fail_msg("%s\n%s", text, e.msg);
	return s;
}

static struct scenario *parse(const char *text)
{
	return parse_with(text, NULL, NULL);
}

static void refused_with(const char *text, const struct opt_list *sets, const struct opt_list *only,
			 const char *message)
{
	struct scenario *s = NULL;
	struct err e = {.msg = ""};

	assert_int_equal(scenario_parse(&s, "s.yaml", text, strlen(text), sets, only, &e),
			 RC_INPUT);
	assert_null(s);
	if (strcmp(e.msg, message) != 0)
		fail_msg("%s\ngot:  %s\nwant: %s", text, e.msg, message);
}

/* ---- what each key becomes ---- */

static const char whole[] =
	"name: whole\n"
	"description: >\n"
	"  Two lines\n"
	"  of text\n"
	"seed: 7\n"
	"matrix: {rows: [r1, r2], columns: [c1, c2]}\n"
	"targets:\n"
	"  - name: first\n"
	"    url: http://127.0.0.1:8000/v1/\n"
	"    dialect: openai-completions\n"
	"    model: m\n"
	"    endpoint: /other\n"
	"    headers: {X-Team: bench}\n"
	"    request: {stream: false, extra: {top_p: 0.5, stop: [a, \"1\"]}}\n"
	"    row: r2\n"
	"    column: c1\n"
	"    published_tokens_per_s: 84.37\n"
	"  - name: second\n"
	"    launch: {program: bin/engine, args: [--port, \"0\", 5], ready: /up, timeout: 5s}\n"
	"  - name: third\n"
	"    profile: kind-x\n"
	"    set: {scheduler.max_num_seqs: 64, jitter: 0.1}\n"
	"workload:\n"
	"  prompts: {text: [one, \"two\\n${HOME}\"], pick: sequential, limit: 1}\n"
	"  output_tokens: {dist: lognormal, mean: 96, cv: 0.5, min: 16, max: 4k}\n"
	"  request: {temperature: 0, ignore_eos: false}\n"
	"load:\n"
	"  interleave: true\n"
	"  serial: {requests: 3}\n"
	"  closed: {concurrency: [1, 4k], requests: 20, duration: 2m}\n"
	"  open: {rate: [5, 600/min], arrival: {gamma: {burstiness: 0.5}}, duration: 60s, "
	"max_concurrency: 9, renewal: true}\n"
	"warmup: {requests: 2}\n"
	"repeats: 3\n"
	"slo: {ttft: 500ms, tpot: 50ms, e2el: 2s}\n"
	"limits: {connect: 1s, timeout: 60s, idle: 20s, grace: 0, max_failures: 100}\n"
	"output: {events: false, plots: [cdf], scrape: 0}\n";

static void test_whole_top(void **state)
{
	struct scenario *s = parse(whole);

	(void)state;
	assert_string_equal(s->name, "whole");
	assert_string_equal(s->description, "Two lines of text");
	assert_int_equal(s->seed, 7);
	assert_int_equal(s->warmup_requests, 2);
	assert_int_equal(s->repeats, 3);
	assert_int_equal(s->slo.ttft_ns, 500 * NS_PER_MS);
	assert_int_equal(s->slo.tpot_ns, 50 * NS_PER_MS);
	assert_int_equal(s->slo.e2el_ns, 2 * NS_PER_S);
	assert_int_equal(s->limits.connect_ns, NS_PER_S);
	assert_int_equal(s->limits.timeout_ns, 60 * NS_PER_S);
	assert_int_equal(s->limits.idle_ns, 20 * NS_PER_S);
	assert_int_equal(s->limits.grace_ns, 0);
	assert_int_equal(s->limits.max_failures, 100);
	assert_false(s->output.events);
	assert_string_equal(s->output.plots[0], "cdf");
	assert_null(s->output.plots[1]);
	assert_int_equal(s->output.scrape_ns, 0);
	assert_string_equal(s->rows[1], "r2");
	assert_string_equal(s->columns[1], "c2");
	assert_null(s->columns[2]);
	scenario_free(s);
}

static void test_whole_targets(void **state)
{
	struct scenario *s = parse(whole);
	const struct target *t = s->targets;
	char cwd[4096], program[4200];

	(void)state;
	assert_int_equal(s->n_targets, 3);
	assert_string_equal(t->url, "http://127.0.0.1:8000/v1/");
	assert_string_equal(t->prefix, "");
	assert_string_equal(t->dialect, "openai-completions");
	assert_string_equal(t->model, "m");
	assert_string_equal(t->endpoint, "/other");
	assert_int_equal(t->n_headers, 1);
	assert_string_equal(t->headers[0].name, "X-Team");
	assert_string_equal(t->headers[0].value, "bench");
	assert_false(t->request.stream);
	assert_false(t->request.ignore_eos); /* the workload's */
	assert_true(t->request.has_temperature);
	assert_string_equal(t->request.extra_json, "{\"top_p\":0.5,\"stop\":[\"a\",\"1\"]}");
	assert_string_equal(t->row, "r2");
	assert_string_equal(t->column, "c1");
	assert_true(t->published_tokens_per_s == 84.37);
	assert_null(t->launch);

	t = &s->targets[1];
	assert_null(t->url);
	assert_string_equal(t->dialect, "openai-chat");
	assert_true(t->request.stream);
	assert_null(t->request.extra_json);
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(program, sizeof(program), "%s/bin/engine", cwd);
	assert_string_equal(t->launch->program, program);
	assert_string_equal(t->launch->args[2], "5");
	assert_null(t->launch->args[3]);
	assert_string_equal(t->launch->ready, "/up");
	assert_int_equal(t->launch->timeout_ns, 5 * NS_PER_S);

	t = &s->targets[2];
	static const char *const args[] = {"--profile", "kind-x",    "--port",
					   "0",		"--set",     "scheduler.max_num_seqs=64",
					   "--set",	"jitter=0.1"};
	assert_string_equal(t->launch->program, "fakeengine");
	for (size_t i = 0; i < ARRAY_LEN(args); i++)
		assert_string_equal(t->launch->args[i], args[i]);
	assert_null(t->launch->args[ARRAY_LEN(args)]);
	assert_string_equal(t->launch->ready, "/health");
	assert_int_equal(t->launch->timeout_ns, 60 * NS_PER_S);
	scenario_free(s);
}

static void test_whole_workload_and_load(void **state)
{
	static const struct level want[] = {
		{.kind = LOAD_SERIAL,
		 .concurrency = 1,
		 .rate_per_s = 0,
		 .burstiness = 1,
		 .arrival = ARRIVAL_POISSON,
		 .renewal = false,
		 .requests = 3,
		 .duration_ns = 0},
		{.kind = LOAD_CLOSED,
		 .concurrency = 1,
		 .rate_per_s = 0,
		 .burstiness = 1,
		 .arrival = ARRIVAL_POISSON,
		 .renewal = false,
		 .requests = 20,
		 .duration_ns = 120 * NS_PER_S},
		{.kind = LOAD_CLOSED,
		 .concurrency = 4000,
		 .rate_per_s = 0,
		 .burstiness = 1,
		 .arrival = ARRIVAL_POISSON,
		 .renewal = false,
		 .requests = 20,
		 .duration_ns = 120 * NS_PER_S},
		{.kind = LOAD_OPEN,
		 .concurrency = 9,
		 .rate_per_s = 5,
		 .burstiness = 0.5,
		 .arrival = ARRIVAL_GAMMA,
		 .renewal = true,
		 .requests = 0,
		 .duration_ns = 60 * NS_PER_S},
		{.kind = LOAD_OPEN,
		 .concurrency = 9,
		 .rate_per_s = 10,
		 .burstiness = 0.5,
		 .arrival = ARRIVAL_GAMMA,
		 .renewal = true,
		 .requests = 0,
		 .duration_ns = 60 * NS_PER_S},
	};
	struct scenario *s = parse(whole);
	const struct workload_spec *w = &s->workload;

	(void)state;
	assert_string_equal(w->text[1], "two\n${HOME}");
	assert_null(w->text[2]);
	assert_int_equal(w->pick, PICK_SEQUENTIAL);
	assert_int_equal(w->limit, 1);
	assert_int_equal(w->output_tokens.kind, DIST_LOGNORMAL);
	assert_true(w->output_tokens.mean == 96 && w->output_tokens.cv == 0.5);
	assert_true(w->output_tokens.min == 16 && w->output_tokens.max == 4000);
	assert_true(s->interleave);
	assert_int_equal(s->n_levels, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		const struct level *a = &s->levels[i], *b = &want[i];

		assert_int_equal(a->kind, b->kind);
		assert_int_equal(a->concurrency, b->concurrency);
		assert_true(a->rate_per_s == b->rate_per_s);
		assert_int_equal(a->arrival, b->arrival);
		assert_true(a->burstiness == b->burstiness);
		assert_int_equal(a->renewal, b->renewal);
		assert_int_equal(a->requests, b->requests);
		assert_int_equal(a->duration_ns, b->duration_ns);
	}
	scenario_free(s);
}

static void test_trace_and_ramp(void **state)
{
	struct scenario *s = parse(
		TARGET "workload: {prompts: trace}\n"
		       "load: {open: {trace: /etc/passwd, speed: [1, 2.5], span: 1m, spread: 3s, "
		       "max_concurrency: 7}}\n");
	const struct level *l = &s->levels[1];

	(void)state;
	assert_string_equal(s->trace_file, "/etc/passwd");
	assert_true(s->workload.from_trace && s->workload.output_trace);
	assert_int_equal(s->n_levels, 2);
	assert_true(s->levels[0].speed == 1 && l->speed == 2.5);
	assert_int_equal(l->kind, LOAD_OPEN);
	assert_int_equal(l->arrival, ARRIVAL_TRACE);
	assert_int_equal(l->span_ns, 60 * NS_PER_S);
	assert_int_equal(l->spread_ns, 3 * NS_PER_S);
	assert_int_equal(l->concurrency, 7);
	assert_true(isnan(l->rate_per_s));
	scenario_free(s);

	s = parse(TARGET
		  "workload: {prompts: {synthetic: {input_tokens: 9, shared_prefix: {tokens: "
		  "64}}}}\n"
		  "load: {open: {arrival: {ramp: {from: 1, to: 600/min}}, duration: 30s}}\n");
	l = &s->levels[0];
	assert_int_equal(s->n_levels, 1);
	assert_int_equal(l->arrival, ARRIVAL_RAMP);
	assert_true(l->from_per_s == 1 && l->to_per_s == 10 && l->rate_per_s == 5.5);
	assert_int_equal(s->workload.prefix_tokens, 64);
	assert_int_equal(s->workload.prefix_groups, 1);
	assert_null(s->trace_file);
	scenario_free(s);

	s = parse(TARGET "workload: {prompts: trace, output_tokens: 5}\n"
			 "load: {open: {trace: /etc/passwd}}\n");
	assert_int_equal(s->n_levels, 1);
	assert_true(s->levels[0].speed == 1 && !s->workload.output_trace);
	scenario_free(s);
}

static void test_defaults(void **state)
{
	struct scenario *s = parse(TARGET WORKLOAD LOAD);
	static const char *const plots[] = {"throughput", "latency", "cdf", "timeline"};

	(void)state;
	assert_string_equal(s->name, "s"); /* of the file */
	assert_string_equal(s->description, "");
	assert_int_equal(s->repeats, 1);
	assert_int_equal(s->warmup_requests, 0);
	assert_int_equal(s->limits.connect_ns, 10 * NS_PER_S);
	assert_int_equal(s->limits.timeout_ns, 600 * NS_PER_S);
	assert_int_equal(s->limits.idle_ns, 60 * NS_PER_S);
	assert_int_equal(s->limits.grace_ns, 30 * NS_PER_S);
	assert_int_equal(s->limits.max_failures, 0);
	assert_true(s->output.events);
	assert_int_equal(s->output.scrape_ns, 500 * NS_PER_MS);
	for (size_t i = 0; i < ARRAY_LEN(plots); i++)
		assert_string_equal(s->output.plots[i], plots[i]);
	assert_true(s->workload.output_tokens.mean == 128);
	assert_int_equal(s->workload.pick, PICK_SHUFFLE);
	assert_false(s->interleave);
	assert_true(s->targets[0].request.stream && s->targets[0].request.ignore_eos);
	assert_false(s->targets[0].request.has_temperature);
	assert_null(s->targets[0].api_key);
	assert_null(s->targets[0].model);
	assert_null(s->rows);
	scenario_free(s);
}

/* Without `matrix:` the labels of the targets make it, in the order they come. */
static void test_matrix_of_labels(void **state)
{
	struct scenario *s = parse("targets:\n"
				   "  - {name: a, url: \"http://h:1\", row: r1, column: c2}\n"
				   "  - {name: b, url: \"http://h:1\", row: r2, column: c1}\n"
				   "  - {name: c, url: \"http://h:1\", row: r1, column: c1}\n"
				   "  - {name: d, url: \"http://h:1\"}\n" WORKLOAD LOAD);

	(void)state;
	assert_string_equal(s->rows[0], "r1");
	assert_string_equal(s->rows[1], "r2");
	assert_null(s->rows[2]);
	assert_string_equal(s->columns[0], "c2");
	assert_string_equal(s->columns[1], "c1");
	assert_null(s->columns[2]);
	scenario_free(s);
}

static void test_forms_of_lengths(void **state)
{
	static const struct {
		const char *workload;
		double mean;
		int64_t cap;
		enum dist_kind kind;
		bool reference, synthetic;
	} row[] = {
		{"prompts: {text: [a]}, output_tokens: 4k", 4000, 0, DIST_CONSTANT, false, false},
		{"prompts: {file: " SOURCE_DIR
		 "/scenarios/prompts/lima_style.jsonl}, output_tokens: reference",
		 128, 0, DIST_CONSTANT, true, false},
		{"prompts: {file: " SOURCE_DIR
		 "/scenarios/prompts/lima_style.jsonl, format: lima, turns: first}, output_tokens: "
		 "{reference: {max: 64}}",
		 128, 64, DIST_CONSTANT, true, false},
		{"prompts: {synthetic: {input_tokens: 512}}, output_tokens: {dist: exponential, "
		 "mean: 10}",
		 10, 0, DIST_EXPONENTIAL, false, true},
		{"prompts: {text: [a]}, output_tokens: {dist: uniform, min: 1, max: 9}", 0, 0,
		 DIST_UNIFORM, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char *text = xasprintf(TARGET LOAD "workload: {%s}\n", row[i].workload);
		struct scenario *s = parse(text);
		const struct workload_spec *w = &s->workload;

		assert_int_equal(w->output_reference, row[i].reference);
		assert_int_equal(w->synthetic, row[i].synthetic);
		assert_int_equal(w->output_cap, row[i].cap);
		assert_int_equal(w->output_tokens.kind, row[i].kind);
		assert_true(w->output_tokens.mean == row[i].mean);
		scenario_free(s);
		free(text);
	}
}

/* ---- addresses ---- */

static void test_addresses(void **state)
{
	static const struct {
		const char *url, *host, *prefix;
		enum url_scheme scheme;
		int port;
	} row[] = {
		{"http://h", "h", "", URL_HTTP, 80},
		{"http://h/", "h", "", URL_HTTP, 80},
		{"HTTP://h:8000", "h", "", URL_HTTP, 8000},
		{"http://127.0.0.1:8000/v1", "127.0.0.1", "", URL_HTTP, 8000},
		{"http://h:8000/v1/", "h", "", URL_HTTP, 8000},
		{"http://h:8000/proxy/a/", "h", "/proxy/a", URL_HTTP, 8000},
		{"http://h:8000/proxy/v1", "h", "/proxy", URL_HTTP, 8000},
		{"http://h:8000/av1", "h", "/av1", URL_HTTP, 8000},
		{"https://host.example/v1", "host.example", "", URL_HTTPS, 443},
		{"https://host:8443/x", "host", "/x", URL_HTTPS, 8443},
		{"http://[::1]:8000/v1", "::1", "", URL_HTTP, 8000},
		{"http://[::1]", "::1", "", URL_HTTP, 80},
		{"unix:/run/engine.sock", "/run/engine.sock", "", URL_UNIX, 0},
		{"http://h:65535", "h", "", URL_HTTP, 65535},
	};
	struct target t = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct err e;

		assert_int_equal(target_set_url(&t, row[i].url, &e), RC_OK);
		assert_string_equal(t.url, row[i].url);
		assert_int_equal(t.scheme, row[i].scheme);
		assert_string_equal(t.host, row[i].host);
		assert_int_equal(t.port, row[i].port);
		assert_string_equal(t.prefix, row[i].prefix);
	}
	/* One that is wrong leaves what was there. */
	assert_int_equal(target_set_url(&t, "http://h:1:2", NULL), RC_INPUT);
	assert_string_equal(t.url, "http://h:65535");
	assert_int_equal(target_set_url(&t, t.url, NULL), RC_OK);
	assert_int_equal(t.port, 65535);
	free(t.url);
	free(t.host);
	free(t.prefix);
}

/* ---- --set and --target ---- */

static void test_set(void **state)
{
	const char *items[] = {"load.concurrency=[1,4]", "load.requests=7",
			       "load.interleave=true",	 "targets[a].model=m",
			       "limits.timeout=5s",	 "seed=9"};
	struct opt_list sets = {items, ARRAY_LEN(items)};
	struct scenario *s = parse_with(
		TARGET WORKLOAD "load: {closed: {concurrency: 2, requests: 5}}\n", &sets, NULL);

	(void)state;
	assert_int_equal(s->n_levels, 2);
	assert_int_equal(s->levels[1].concurrency, 4);
	assert_int_equal(s->levels[1].requests, 7);
	assert_true(s->interleave);
	assert_string_equal(s->targets[0].model, "m");
	assert_int_equal(s->limits.timeout_ns, 5 * NS_PER_S);
	assert_int_equal(s->seed, 9);
	scenario_free(s);
}

static void test_set_mistakes(void **state)
{
	static const struct {
		const char *load, *set, *message;
	} row[] = {
		{"load: {serial: {requests: 1}, closed: {concurrency: 1, requests: 1}}\n",
		 "load.requests=3",
		 "--set load.requests: the scenario has several kinds of load, say "
		 "load.closed.requests or load.serial.requests"},
		{"", "load.requests=3",
		 "--set load.requests: the scenario has no load to set it of"},
		{LOAD, "load.concurrency=4",
		 "--set load.serial.concurrency: unknown key, want requests or duration"},
		{LOAD, "load.requests=none",
		 "--set load.serial.requests: \"none\" is not a count, such as 20, 1.5k or 4Ki (k, "
		 "M, G, Ki, Mi, Gi)"},
		{LOAD, "repeats",
		 "--set repeats: got \"repeats\", want path=value as in "
		 "load.closed.requests=20 or targets[0].model=m"},
		{LOAD, "targets[b].model=m",
		 "--set targets[b].model: no element [b] in a list of 1 "
		 "(a)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *items[] = {row[i].set};
		struct opt_list sets = {items, 1};
		char *text = xasprintf(TARGET WORKLOAD "%s", row[i].load);

		refused_with(text, &sets, NULL, row[i].message);
		free(text);
	}
	/* A kind that is named is meant, also where there are several. */
	const char *items[] = {"load.serial.requests=3"};
	struct scenario *s =
		parse_with(TARGET WORKLOAD
			   "load: {closed: {concurrency: 1, requests: 1}, serial: {requests: 1}}\n",
			   &(struct opt_list){items, 1}, NULL);
	assert_int_equal(s->levels[1].requests, 3);
	scenario_free(s);
}

static const char three[] = "targets:\n"
			    "- {name: a, url: \"http://h:1\"}\n"
			    "- {name: b, url: \"http://h:2\", api_key_env: SCENARIO_TEST_UNSET}\n"
			    "- {name: c, url: \"http://${SCENARIO_TEST_UNSET}\", headers: {X: "
			    "\"${SCENARIO_TEST_UNSET}\"}}"
			    "\n" WORKLOAD LOAD;

/* A target that is not wanted needs no environment, and leaves no trace in the results. */
static void test_target(void **state)
{
	const char *items[] = {"a"}, *wrong[] = {"a", "x"}, *needy[] = {"b"};
	struct scenario *s;
	struct buf out;

	(void)state;
	unsetenv("SCENARIO_TEST_UNSET");
	s = parse_with(three, NULL, &(struct opt_list){items, 1});
	assert_int_equal(s->n_targets, 1);
	assert_string_equal(s->targets[0].name, "a");
	buf_init(&out, 1 << 20);
	assert_true(scenario_emit(s, &out));
	assert_null(strstr(buf_cstr(&out), "SCENARIO_TEST"));
	buf_release(&out);
	scenario_free(s);

	refused_with(three, NULL, &(struct opt_list){wrong, 2},
		     "--target x: no such target, want a, b, c");
	refused_with(three, NULL, &(struct opt_list){needy, 1},
		     "s.yaml:3:45: targets[1].api_key_env: environment variable "
		     "SCENARIO_TEST_UNSET is not set");
}

/* Paths start at the scenario's folder, wherever the program was started. */
static void test_relative_paths(void **state)
{
	struct scenario *s;
	struct err e = {.msg = ""};

	(void)state;
	if (scenario_load(&s, SOURCE_DIR "/tests/../scenarios/demo.yaml", NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_string_equal(s->workload.file, SOURCE_DIR "/scenarios/prompts/lima_style.jsonl");
	assert_string_equal(s->name, "demo");
	scenario_free(s);
	assert_int_not_equal(scenario_load(&s, "/no/such.yaml", NULL, NULL, &e), RC_OK);
	assert_non_null(strstr(e.msg, "/no/such.yaml"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_top),
		cmocka_unit_test(test_whole_targets),
		cmocka_unit_test(test_whole_workload_and_load),
		cmocka_unit_test(test_trace_and_ramp),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_matrix_of_labels),
		cmocka_unit_test(test_forms_of_lengths),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_mistakes),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_relative_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
