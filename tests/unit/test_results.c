/*
 * The results folder there and back: every column, a run killed at any byte, folders that cannot be
 * written, files that were tampered with.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/csv.h"
#include "base/jsonx.h"
#include "loadgen/results.h"
#include "synthetic.h"

static const char yaml[] = "name: there and back (1)\n"
			   "description: \"quotes \\\" and \\\\ backslashes\"\n"
			   "seed: 9000000000000000\n"
			   "targets:\n"
			   "  - {name: 'a, \"b\"', url: 'http://127.0.0.1:1', model: m}\n"
			   "  - {name: c, url: 'http://127.0.0.1:2', model: m}\n"
			   "workload: {prompts: {text: [hello]}, output_tokens: 32}\n"
			   "load: {closed: {concurrency: [2, 4], requests: 12}}\n"
			   "repeats: 2\n"
			   "slo: {ttft: 40ms}\n";

#define START_NS INT64_C(5000000000)

struct fixture {
	char dir[64]; /* a fresh one; the run goes to dir/run */
	char *run_dir;
	struct scenario *s;
	struct synth_run run;
	struct point points[8];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;

	strcpy(f->dir, "/tmp/test_results.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->run_dir = xasprintf("%s/run", f->dir);
	if (scenario_parse(&f->s, "test", yaml, sizeof(yaml) - 1, NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	synth_run_init(&f->run, 3);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *command = xasprintf("rm -rf %s", f->dir);

	assert_int_equal(system(command), 0);
	free(command);
	scenario_free(f->s);
	synth_run_release(&f->run);
	free(f->run_dir);
	free(f);
	return 0;
}

/* Two repeats of two levels on two targets, a warm-up, a failure and a dropped one. */
static void write_run(struct fixture *f)
{
	static const struct synth_engine engines[] = {
		{.prefill_ms = 20, .step_ms = 2, .seq_ms = 0.3, .slots = 3, .jitter = 0.2},
		{.prefill_ms = 30, .step_ms = 1, .constant = true},
	};
	int64_t t = START_NS + 1000;
	struct results *r;
	struct err e;
	int id = 0;

	if (results_create(&r, f->run_dir, f->s, START_NS, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_string_equal(results_dir(r), f->run_dir);
	for (int target = 0; target < 2; target++) {
		struct record *warm = synth_add(&f->run, target, -1, -1, 0, 0, 4, t);

		synth_send(warm, t);
		synth_token(warm, t + 5);
		synth_end(warm, t + 6);
		results_add_record(r, warm);
		for (int level = 0; level < 2; level++) {
			for (int repeat = 0; repeat < 2; repeat++, id++) {
				size_t first = synth_level(&f->run, &engines[target], f->s, target,
							   id, level, repeat, 12, 32, t);
				struct record *bad = &f->run.records[first + 3];

				bad->outcome = OUTCOME_TRUNCATED;
				bad->http_status = 200;
				strcpy(bad->error, "closed after 3, \"tokens\"");
				bad->finish_reason[0] = '\0';
				synth_add(&f->run, target, id, level, repeat, 12, 32, t)
					->prompt_tokens = -1;
				f->run.records[first + 5].event[4].merged = true;
				f->run.records[first + 5].merged_events = 1;
				f->run.records[first + 6].streamed = false;
				for (size_t i = first; i < f->run.n; i++)
					results_add_record(r, &f->run.records[i]);
				synth_point(&f->points[id], &f->run, f->s, first, f->run.n - first,
					    t);
				results_add_server(r, target, id, t, "running", 3);
				results_add_point(r, &f->points[id], t, t + NS_PER_S);
				t += NS_PER_S;
			}
		}
	}
	if (results_close(r, "complete", &e) != RC_OK)
		fail_msg("%s", e.msg);
}

static char *file_in(const struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->run_dir, name);
}

static void slurp(struct buf *b, const struct fixture *f, const char *name)
{
	char *path = file_in(f, name);
	struct err e;

	buf_init(b, 64u << 20);
	if (buf_read_file(b, path, &e) != RC_OK)
		fail_msg("%s", e.msg);
	free(path);
}

static void spew(const struct fixture *f, const char *name, const void *p, size_t n)
{
	char *path = file_in(f, name);
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(p, 1, n, out), n);
	assert_int_equal(fclose(out), 0);
	free(path);
}

static int64_t shift(int64_t t_ns)
{
	return t_ns < 0 ? -1 : t_ns - START_NS;
}

static void assert_same_record(const struct record *got, const struct record *want)
{
	assert_int_equal(got->request_id, want->request_id);
	assert_int_equal(got->target, want->target);
	assert_int_equal(got->point, want->point);
	assert_int_equal(got->level, want->level);
	assert_int_equal(got->repeat, want->repeat);
	assert_int_equal(got->index, want->index);
	assert_int_equal(got->sched_ns, shift(want->sched_ns));
	assert_int_equal(got->send_ns, shift(want->send_ns));
	assert_int_equal(got->connected_ns, shift(want->connected_ns));
	assert_int_equal(got->written_ns, shift(want->written_ns));
	assert_int_equal(got->headers_ns, shift(want->headers_ns));
	assert_int_equal(got->byte1_ns, shift(want->byte1_ns));
	assert_int_equal(got->event1_ns, shift(want->event1_ns));
	assert_int_equal(got->token1_ns, shift(want->token1_ns));
	assert_int_equal(got->output1_ns, shift(want->output1_ns));
	assert_int_equal(got->token_last_ns, shift(want->token_last_ns));
	assert_int_equal(got->done_ns, shift(want->done_ns));
	assert_int_equal(got->prompt_id, want->prompt_id);
	assert_int_equal(got->planned_output_tokens, want->planned_output_tokens);
	assert_int_equal(got->prompt_tokens, want->prompt_tokens);
	assert_int_equal(got->output_tokens, want->output_tokens);
	assert_int_equal(got->token_source, want->token_source);
	assert_int_equal(got->stamp_source, want->stamp_source);
	assert_int_equal(got->streamed, want->streamed);
	assert_int_equal(got->merged_events, want->merged_events);
	assert_int_equal(got->outcome, want->outcome);
	assert_int_equal(got->http_status, want->http_status);
	assert_string_equal(got->error, want->error);
	assert_string_equal(got->finish_reason, want->finish_reason);
	assert_int_equal(got->n_events, want->n_events);
	for (int32_t i = 0; i < want->n_events; i++) {
		assert_int_equal(got->event[i].t_ns, shift(want->event[i].t_ns));
		assert_int_equal(got->event[i].tokens, want->event[i].tokens);
		assert_int_equal(got->event[i].merged, want->event[i].merged);
	}
}

static void assert_same_number(double got, double want)
{
	if (isnan(want))
		assert_true(isnan(got));
	else
		assert_float_equal(got, want, 1e-9 * (1 + fabs(want)));
}

static void assert_same_point(const struct point *got, const struct point *want)
{
	assert_int_equal(got->id, want->id);
	assert_int_equal(got->target, want->target);
	assert_int_equal(got->level, want->level);
	assert_int_equal(got->repeat, want->repeat);
	assert_int_equal(got->planned, want->planned);
	assert_int_equal(got->ok, want->ok);
	assert_int_equal(got->failed, want->failed);
	assert_int_equal(got->dropped, want->dropped);
	assert_same_number(got->output_tokens_per_s, want->output_tokens_per_s);
	assert_same_number(got->steady_output_tokens_per_s, want->steady_output_tokens_per_s);
	assert_same_number(got->seed_mean_tps, want->seed_mean_tps);
	assert_same_number(got->goodput_per_s, want->goodput_per_s);
	assert_same_number(got->self.loop_lag_p99_us, want->self.loop_lag_p99_us);
	assert_same_number(got->self.receive_error_p99_us, want->self.receive_error_p99_us);
	assert_same_number(got->self.cpu_share, want->self.cpu_share);
	for (int m = 0; m < M_COUNT; m++)
		for (int k = 0; k < S_COUNT; k++)
			assert_same_number(got->m[m][k], want->m[m][k]);
	assert_int_equal(got->verdict, want->verdict);
	assert_string_equal(got->verdict_text, want->verdict_text);
}

static void test_there_and_back(void **state)
{
	struct fixture *f = *state;
	struct loaded_run *l;
	struct err e;

	write_run(f);
	if (results_load(&l, f->run_dir, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_string_equal(l->ended, "complete");
	assert_int_equal(strlen(l->started_utc), strlen("2026-11-24T12:00:00Z"));
	assert_string_equal(l->scenario->name, "there and back (1)");
	assert_int_equal(l->n_records, f->run.n);
	for (size_t i = 0; i < l->n_records; i++)
		assert_same_record(&l->records[i], &f->run.records[i]);
	assert_int_equal(l->n_points, 8);
	for (size_t i = 0; i < 8; i++)
		assert_same_point(&l->points[i], &f->points[i]);
	loaded_run_free(l);
}

/* measurement.md, section 5: these names in this order; more may follow. */
static void assert_columns(const struct fixture *f, const char *name, const char *const *want,
			   size_t n)
{
	char *path = file_in(f, name);
	struct csv_table *t;
	struct err e;

	if (csv_read(&t, path, false, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_true(csv_columns(t) >= n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(csv_column_name(t, i), want[i]);
	csv_table_free(t);
	free(path);
}

static void test_columns(void **state)
{
	static const char *const requests[] = {
		"request_id",	 "target",	  "point",	   "repeat",	  "load_kind",
		"concurrency",	 "rate",	  "sched_ns",	   "send_ns",	  "connected_ns",
		"headers_ns",	 "token1_ns",	  "token_last_ns", "done_ns",	  "prompt_tokens",
		"output_tokens", "token_source",  "outcome",	   "http_status", "error",
		"finish_reason", "merged_events", "clock_source",  "worker"};
	static const char *const points_head[] = {"target",
						  "point",
						  "repeat",
						  "load_kind",
						  "concurrency",
						  "rate",
						  "planned",
						  "ok",
						  "failed",
						  "dropped",
						  "duration_s",
						  "achieved_rate",
						  "requests_per_s",
						  "requests_per_min",
						  "output_tokens_per_s",
						  "steady_output_tokens_per_s",
						  "total_tokens_per_s",
						  "seed_mean_tps",
						  "single_stream_tps",
						  "goodput_per_s",
						  "goodput_share",
						  "mean_running",
						  "peak_running"};
	static const char *const metrics[] = {"ttft", "ttft_sched", "ttft_vllm",  "tpot",
					      "itl",  "e2el",	    "e2el_sched", "dispatch"};
	static const char *const stats[] = {"mean_ms", "p50_ms", "p90_ms",
					    "p95_ms",  "p99_ms", "max_ms"};
	static const char *const points_self[] = {"loop_lag_p99_us", "receive_error_p99_us",
						  "send_late_p99_us", "cpu_share", "verdict"};
	char names[ARRAY_LEN(metrics) * ARRAY_LEN(stats)][32];
	const char *points[ARRAY_LEN(points_head) + ARRAY_LEN(points_self) + ARRAY_LEN(names)];
	struct fixture *f = *state;
	size_t n = 0;

	write_run(f);
	assert_columns(f, "requests.csv", requests, ARRAY_LEN(requests));
	for (size_t i = 0; i < ARRAY_LEN(points_head); i++)
		points[n++] = points_head[i];
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(names[i], sizeof(names[i]), "%s_%s", metrics[i / ARRAY_LEN(stats)],
			 stats[i % ARRAY_LEN(stats)]);
		points[n++] = names[i];
	}
	for (size_t i = 0; i < ARRAY_LEN(points_self); i++)
		points[n++] = points_self[i];
	assert_columns(f, "points.csv", points, n);
}

/* What does not exist is empty, never 0. */
static void test_empty_fields(void **state)
{
	struct fixture *f = *state;
	struct csv_table *t;
	struct err e;
	char *path;
	size_t row;

	write_run(f);
	path = file_in(f, "requests.csv");
	assert_int_equal(csv_read(&t, path, false, &e), RC_OK);
	free(path);
	row = csv_rows(t) - 1; /* the dropped one */
	assert_string_equal(csv_field(t, row, csv_find(t, "outcome")), "dropped");
	assert_string_equal(csv_field(t, row, csv_find(t, "send_ns")), "");
	assert_string_equal(csv_field(t, row, csv_find(t, "output_tokens")), "");
	assert_string_equal(csv_field(t, row, csv_find(t, "http_status")), "");
	assert_string_equal(csv_field(t, row, csv_find(t, "rate")), "");
	assert_string_equal(csv_field(t, row, csv_find(t, "load_kind")), "closed");
	assert_string_equal(csv_field(t, 0, csv_find(t, "load_kind")), "warmup");
	assert_string_equal(csv_field(t, 0, csv_find(t, "concurrency")), "");
	csv_table_free(t);
}

static void test_run_json(void **state)
{
	static const char *const keys[] = {
		"versions",	      "host",	     "limits",
		"start_monotonic_ns", "started_utc", "wall_minus_monotonic_ns",
		"identities",	      "verdicts",    "ended_ns"};
	struct fixture *f = *state;
	char host[256] = "";
	struct buf b;
	cJSON *root;
	struct err e;

	write_run(f);
	slurp(&b, f, "run.json");
	if (json_parse(&root, buf_head(&b), buf_size(&b), &e) != RC_OK)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!cJSON_GetObjectItemCaseSensitive(root, keys[i]))
			fail_msg("no %s", keys[i]);
	assert_non_null(strstr(buf_cstr(&b), "9000000000000000"));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "verdicts")), 8);
	assert_true(cJSON_IsTrue(
		cJSON_GetObjectItem(cJSON_GetObjectItem(root, "identities"), "balanced")));
	assert_int_equal(
		cJSON_GetObjectItem(cJSON_GetObjectItem(root, "identities"), "planned")->valueint,
		8 * 13);
	gethostname(host, sizeof(host) - 1);
	if (strlen(host) > 3)
		assert_null(strstr(buf_cstr(&b), host));
	cJSON_Delete(root);
	buf_release(&b);
}

/* A run that was killed: run.json has no end, and each file stops anywhere. Whatever is left is a
 * beginning of what was there, and every point that is whole has its figures. */
static void test_killed_anywhere(void **state)
{
	static const char *const files[] = {"requests.csv", "events.bin", "points.csv"};
	struct fixture *f = *state;
	struct buf whole[ARRAY_LEN(files)], json;
	char *began;
	struct rng rng;

	write_run(f);
	slurp(&json, f, "run.json");
	began = strstr(buf_cstr(&json), ",\n  \"ended\""); /* the file as it was at the start */
	if (!began)
		began = strstr(buf_cstr(&json), ",\n\t\"ended\"");
	assert_non_null(began);
	memcpy(began, "}\n", 3);
	spew(f, "run.json", buf_head(&json), strlen(buf_head(&json)));
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		slurp(&whole[i], f, files[i]);
	rng_init(&rng, 1, "cuts", 0);
	for (int round = 0; round < 400; round++) {
		struct loaded_run *l;
		struct err e;

		for (size_t i = 0; i < ARRAY_LEN(files); i++) {
			size_t size = buf_size(&whole[i]);

			spew(f, files[i], buf_head(&whole[i]),
			     round == 0 ? size : rng_below(&rng, size + 1));
		}
		if (results_load(&l, f->run_dir, &e) != RC_OK)
			fail_msg("round %d: %s", round, e.msg);
		assert_string_equal(l->ended, "killed");
		assert_true(l->n_records <= f->run.n);
		assert_true(l->n_points <= 8);
		for (size_t i = 0; i < l->n_records; i++) {
			struct record want = f->run.records[i];

			if (l->records[i].n_events == 0)
				want.n_events = 0; /* events.bin ended before */
			assert_same_record(&l->records[i], &want);
		}
		for (size_t i = 0; i < l->n_points; i++)
			assert_true(l->points[i].planned ==
				    l->points[i].ok + l->points[i].failed + l->points[i].dropped);
		if (l->n_records == f->run.n)
			assert_same_number(l->points[7].m[M_TTFT][S_P50],
					   f->points[7].m[M_TTFT][S_P50]);
		if (round == 0)
			assert_int_equal(l->n_records, f->run.n);
		loaded_run_free(l);
	}
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		buf_release(&whole[i]);
	buf_release(&json);
}

/* Bytes changed at random: a message with the file's name or a run, never a crash. */
static void test_tampered(void **state)
{
	static const char *const files[] = {"requests.csv", "events.bin", "points.csv"};
	struct fixture *f = *state;
	struct rng rng;
	int refused = 0;

	write_run(f);
	rng_init(&rng, 2, "tampering", 0);
	for (int round = 0; round < 300; round++) {
		const char *name = files[round % (int)ARRAY_LEN(files)];
		struct loaded_run *l;
		struct buf b;
		struct err e;
		char *was;

		slurp(&b, f, name);
		was = xcalloc(buf_size(&b), 1);
		memcpy(was, buf_head(&b), buf_size(&b));
		for (int k = 0; k < 3; k++)
			b.data[b.off + rng_below(&rng, buf_size(&b))] =
				"0-9,\"\nx\xff"[rng_below(&rng, 8)];
		spew(f, name, buf_head(&b), buf_size(&b));
		if (results_load(&l, f->run_dir, &e) == RC_OK) {
			loaded_run_free(l);
		} else {
			refused++;
			assert_non_null(strstr(e.msg, f->run_dir));
		}
		spew(f, name, was, buf_size(&b));
		free(was);
		buf_release(&b);
	}
	assert_true(refused > 20);
}

static void test_refused_folders(void **state)
{
	struct fixture *f = *state;
	char *below = xasprintf("%s/file/run", f->dir), *file = xasprintf("%s/file", f->dir);
	struct results *r;
	struct loaded_run *l;
	struct err e;

	assert_int_equal(close(open(file, O_CREAT | O_WRONLY, 0666)), 0);
	assert_int_equal(results_create(&r, below, f->s, START_NS, &e), RC_IO);
	assert_non_null(strstr(e.msg, below));
	assert_null(r);
	assert_int_equal(results_create(&r, "", f->s, START_NS, &e), RC_INPUT);
	assert_int_equal(results_create(&r, "/proc/nowhere", f->s, START_NS, &e), RC_IO);

	assert_int_equal(results_create(&r, f->run_dir, f->s, START_NS, &e), RC_OK);
	assert_int_equal(results_close(r, "complete", &e), RC_OK);
	assert_int_equal(results_create(&r, f->run_dir, f->s, START_NS, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "holds a run already"));

	assert_int_equal(results_load(&l, f->dir, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "holds no run"));
	assert_null(l);
	free(below);
	free(file);
}

/* Nothing of a full disk is lost silently. */
static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	struct record *rec = synth_add(&f->run, 0, 0, 0, 0, 0, 4, START_NS);
	char *requests;
	struct results *r;
	struct err e;

	if (access("/dev/full", W_OK) != 0)
		skip();
	assert_int_equal(mkdir(f->run_dir, 0777), 0);
	requests = file_in(f, "events.bin");
	assert_int_equal(symlink("/dev/full", requests), 0);
	assert_int_equal(results_create(&r, f->run_dir, f->s, START_NS, &e), RC_OK);
	synth_send(rec, START_NS);
	synth_token(rec, START_NS + 1);
	synth_end(rec, START_NS + 1);
	results_add_record(r, rec);
	assert_int_equal(results_close(r, "complete", &e), RC_IO);
	assert_non_null(strstr(e.msg, "events.bin: No space left on device"));
	free(requests);
}

static void test_default_folder(void **state)
{
	struct fixture *f = *state;
	char *was = getcwd(NULL, 0);
	struct results *r[2];
	struct err e;

	assert_int_equal(chdir(f->dir), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(results_create(&r[i], NULL, f->s, START_NS, &e), RC_OK);
		assert_int_equal(strncmp(results_dir(r[i]), "results/there-and-back-1-20", 26), 0);
	}
	assert_string_not_equal(results_dir(r[0]), results_dir(r[1]));
	for (int i = 0; i < 2; i++)
		assert_int_equal(results_close(r[i], "complete", &e), RC_OK);
	assert_int_equal(chdir(was), 0);
	free(was);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_there_and_back),  TEST(test_columns),		TEST(test_empty_fields),
		TEST(test_run_json),	    TEST(test_killed_anywhere), TEST(test_tampered),
		TEST(test_refused_folders), TEST(test_full_disk),	TEST(test_default_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
