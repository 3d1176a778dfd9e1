/*
 * What goes into the results: the effective scenario, with absolute paths, without secrets, and
 * that it reads back as the same scenario, also elsewhere and later.
 */
#include <dirent.h>
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
#include "base/die.h"
#include "base/opt.h"
#include "loadgen/scenario.h"

#define WORKLOAD "workload: {prompts: {text: [hello]}}\n"
#define LOAD	 "load: {serial: {requests: 1}}\n"

static void assert_same_text(const char *a, const char *b)
{
	assert_string_equal(a ? a : "(none)", b ? b : "(none)");
}

static void assert_same_texts(char *const *a, char *const *b)
{
	for (; a && b && *a && *b; a++, b++)
		assert_same_text(*a, *b);
	assert_true(a ? b && !*a && !*b : !b);
}

static void assert_same_request(const struct request_opts *a, const struct request_opts *b)
{
	assert_int_equal(a->stream, b->stream);
	assert_int_equal(a->ignore_eos, b->ignore_eos);
	assert_int_equal(a->has_temperature, b->has_temperature);
	assert_true(a->temperature == b->temperature);
	assert_same_text(a->extra_json, b->extra_json);
}

static void assert_same_target(const struct target *a, const struct target *b)
{
	assert_same_text(a->name, b->name);
	assert_same_text(a->dialect, b->dialect);
	assert_same_text(a->model, b->model);
	assert_same_text(a->endpoint, b->endpoint);
	assert_same_text(a->row, b->row);
	assert_same_text(a->column, b->column);
	assert_true(a->published_tokens_per_s == b->published_tokens_per_s);
	assert_same_request(&a->request, &b->request);
	assert_int_equal(a->n_headers, b->n_headers);
	for (int i = 0; i < a->n_headers; i++)
		assert_same_text(a->headers[i].name, b->headers[i].name);
	assert_true(a->launch ? b->launch != NULL : !b->launch);
	if (a->launch && b->launch) {
		assert_same_text(a->launch->program, b->launch->program);
		assert_same_texts(a->launch->args, b->launch->args);
		assert_same_text(a->launch->ready, b->launch->ready);
		assert_int_equal(a->launch->timeout_ns, b->launch->timeout_ns);
	}
}

/* All that is no secret and no address, which ${...} may be part of. */
static void assert_same(const struct scenario *a, const struct scenario *b)
{
	assert_same_text(a->description, b->description);
	assert_int_equal(a->seed, b->seed);
	assert_int_equal(a->interleave, b->interleave);
	assert_int_equal(a->warmup_requests, b->warmup_requests);
	assert_int_equal(a->repeats, b->repeats);
	assert_memory_equal(&a->slo, &b->slo, sizeof(a->slo));
	assert_memory_equal(&a->limits, &b->limits, sizeof(a->limits));
	assert_int_equal(a->output.events, b->output.events);
	assert_same_texts(a->output.plots, b->output.plots);
	assert_int_equal(a->output.scrape_ns, b->output.scrape_ns);
	assert_same_texts(a->rows, b->rows);
	assert_same_texts(a->columns, b->columns);
	assert_same_text(a->workload.file, b->workload.file);
	assert_same_text(a->trace_file, b->trace_file);
	assert_same_texts(a->workload.text, b->workload.text);
	assert_int_equal(a->workload.format, b->workload.format);
	assert_int_equal(a->workload.pick, b->workload.pick);
	assert_int_equal(a->workload.limit, b->workload.limit);
	assert_int_equal(a->workload.output_reference, b->workload.output_reference);
	assert_int_equal(a->workload.output_cap, b->workload.output_cap);
	assert_true(a->workload.output_tokens.mean == b->workload.output_tokens.mean);
	assert_int_equal(a->n_levels, b->n_levels);
	for (int i = 0; i < a->n_levels; i++) {
		assert_int_equal(a->levels[i].kind, b->levels[i].kind);
		assert_int_equal(a->levels[i].concurrency, b->levels[i].concurrency);
		assert_true(a->levels[i].rate_per_s == b->levels[i].rate_per_s ||
			    a->levels[i].arrival == ARRIVAL_TRACE);
		assert_true(a->levels[i].speed == b->levels[i].speed);
		assert_int_equal(a->levels[i].requests, b->levels[i].requests);
		assert_int_equal(a->levels[i].duration_ns, b->levels[i].duration_ns);
	}
	assert_int_equal(a->n_targets, b->n_targets);
	for (int i = 0; i < a->n_targets; i++)
		assert_same_target(&a->targets[i], &b->targets[i]);
}

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* What a run writes and a report reads back, somewhere else and later. */
static struct scenario *through_results(const struct scenario *s, struct buf *out)
{
	char folder[] = "/tmp/test_scenario.XXXXXX", path[64];
	struct scenario *back;
	struct err e = {.msg = ""};

	buf_init(out, 1 << 20);
	assert_true(scenario_emit(s, out));
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/scenario.yaml", folder);
	write_file(path, buf_head(out), buf_size(out));
	if (scenario_load_archived(&back, path, &e) != RC_OK)
		fail_msg("%s\n%s", e.msg, buf_cstr(out));
	unlink(path);
	rmdir(folder);
	return back;
}

static void test_round_trip(void **state)
{
	const char *items[] = {"load.closed.concurrency=3", "description=\"a: b # c\""};
	const struct opt_list sets = {items, ARRAY_LEN(items)};
	struct scenario *s = NULL, *back;
	struct err e = {.msg = ""};
	struct buf out;

	(void)state;
	if (scenario_load(&s, SOURCE_DIR "/tests/fuzz/corpus/scenario/whole.yaml", &sets, NULL,
			  &e) != RC_OK)
		fail_msg("%s", e.msg);
	back = through_results(s, &out);
	assert_same(s, back);
	assert_same_text(s->name, back->name);
	assert_string_equal(back->description, "a: b # c");
	assert_string_equal(back->targets[0].url, s->targets[0].url);
	assert_string_equal(back->targets[0].headers[0].value, "bench");
	buf_release(&out);
	scenario_free(back);
	scenario_free(s);
}

static void test_secrets(void **state)
{
	char folder[] = "/tmp/test_scenario.XXXXXX", file[64], text[2048];
	struct scenario *s = NULL, *back;
	struct err e = {.msg = ""};
	struct buf out;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/key", folder);
	write_file(file, "  s3cret-file\n", 14);
	setenv("SCENARIO_TEST_KEY", "s3cret-env\n", 1);
	setenv("SCENARIO_TEST_HOST", "s3cret-host", 1);
	snprintf(text, sizeof(text),
		 "targets:\n"
		 "- {name: a, url: \"http://${SCENARIO_TEST_HOST}:${SCENARIO_TEST_PORT}/x\", "
		 "api_key_env: SCENARIO_TEST_KEY}\n"
		 "- name: b\n"
		 "  url: http://h\n"
		 "  api_key_file: %s\n"
		 "  headers: {X-Team: \"a $5 ${SCENARIO_TEST_HOST}-b\", X-Plain: bench, cookie: "
		 "s3cret-literal, X-Api-Key: s3cret-literal}\n" WORKLOAD LOAD,
		 file);
	setenv("SCENARIO_TEST_PORT", "81", 1);
	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_string_equal(s->targets[0].host, "s3cret-host");
	assert_int_equal(s->targets[0].port, 81);
	assert_string_equal(s->targets[0].api_key, "s3cret-env");
	assert_string_equal(s->targets[1].api_key, "s3cret-file");
	assert_string_equal(s->targets[1].headers[0].value, "a $5 s3cret-host-b");
	assert_string_equal(s->targets[1].headers[2].value, "s3cret-literal");
	unlink(file);
	rmdir(folder);
	unsetenv("SCENARIO_TEST_KEY");
	unsetenv("SCENARIO_TEST_HOST");
	unsetenv("SCENARIO_TEST_PORT");

	back = through_results(s, &out);
	assert_null(strstr(buf_cstr(&out), "s3cret"));
	assert_same(s, back);
	assert_null(back->targets[0].api_key);
	assert_string_equal(back->targets[0].url,
			    "http://${SCENARIO_TEST_HOST}:${SCENARIO_TEST_PORT}/x");
	assert_string_equal(back->targets[1].headers[0].value, "[redacted]");
	assert_string_equal(back->targets[1].headers[1].value, "bench");
	assert_string_equal(back->targets[1].headers[3].value, "[redacted]");
	buf_release(&out);
	scenario_free(back);
	scenario_free(s);
}

static void test_shipped_scenarios(void **state)
{
	DIR *d = opendir(SOURCE_DIR "/scenarios");
	int found = 0;

	(void)state;
	assert_non_null(d);
	for (struct dirent *f; (f = readdir(d));) {
		struct scenario *s, *back;
		struct err e = {.msg = ""};
		struct buf out;
		char *path;

		if (!strstr(f->d_name, ".yaml"))
			continue;
		path = xasprintf(SOURCE_DIR "/scenarios/%s", f->d_name);
		if (scenario_load(&s, path, NULL, NULL, &e) != RC_OK)
			fail_msg("%s", e.msg);
		back = through_results(s, &out);
		assert_same(s, back);
		buf_release(&out);
		scenario_free(back);
		scenario_free(s);
		free(path);
		found++;
	}
	closedir(d);
	assert_true(found >= 5);
}

/* Each figure that the program can draw may be asked for. */
static void test_figures(void **state)
{
	DIR *d = opendir(SOURCE_DIR "/plots");

	(void)state;
	if (!d) {
		skip();
		return;
	}
	for (struct dirent *f; (f = readdir(d));) {
		const char *dot = strstr(f->d_name, ".gp");
		struct scenario *s = NULL;
		struct err e = {.msg = ""};
		char *text;

		if (!dot || strcmp(f->d_name, "common.gp") == 0)
			continue;
		/* a comparison's, not a run's */
		if (strcmp(f->d_name, "ratio.gp") == 0 || strcmp(f->d_name, "overlay.gp") == 0)
			continue;
		text = xasprintf("targets: [{name: a, url: \"http://h\"}]\n" WORKLOAD LOAD
				 "output: {plots: [%.*s]}\n",
				 (int)(dot - f->d_name), f->d_name);
		if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
			fail_msg("%s", e.msg);
		scenario_free(s);
		free(text);
	}
	closedir(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_shipped_scenarios),
		cmocka_unit_test(test_figures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
