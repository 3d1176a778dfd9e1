/*
 * The figures: their data, that gnuplot draws each, that no name can reach gnuplot as a command,
 * that what makes no figure is said and leaves no file. KEEP_FIGURES=DIR keeps what is drawn there,
 * to be looked at.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/csv.h"
#include "loadgen/report.h"
#include "loadgen/results.h"
#include "synthetic_runs.h"

static char dir[512];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_report_plots.XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int teardown(void **state)
{
	char *command = xasprintf("rm -rf %s", dir);

	(void)state;
	assert_int_equal(system(command), 0);
	free(command);
	return 0;
}

static bool have_gnuplot(void)
{
	return system("gnuplot --version >/dev/null 2>&1") == 0;
}

static bool exists(const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	struct stat st;
	bool there = stat(path, &st) == 0 && st.st_size > 0;

	free(path);
	return there;
}

static void keep(const char *run)
{
	const char *to = getenv("KEEP_FIGURES");
	char *command;

	if (!to)
		return;
	command = xasprintf("mkdir -p '%s/%s' && cp -r %s/. '%s/%s'", to, run, dir, to, run);
	assert_int_equal(system(command), 0);
	free(command);
}

static struct buf slurp(const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	struct buf b;
	struct err e;

	buf_init(&b, 64u << 20);
	if (buf_read_file(&b, path, &e) != RC_OK)
		fail_msg("%s", e.msg);
	free(path);
	return b;
}

static void plot(struct synth_report *r, struct buf *note)
{
	struct err e;

	r->in.dir = dir;
	buf_init(note, 1u << 20);
	if (report_plots(&r->in, note, &e) != RC_OK)
		fail_msg("%s", e.msg);
}

/* Every figure of the scenario has its four files. */
static void check_drawn(const struct synth_report *r)
{
	static const char *const endings[] = {"dat", "gp", "svg", "png"};

	for (char **name = r->s->output.plots; *name; name++) {
		for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
			char *file = xasprintf("plots/%s.%s", *name, endings[i]);

			if (!exists(file))
				fail_msg("%s is not there", file);
			free(file);
		}
	}
}

static void check_all(const struct synth_report *r, struct buf *note, const char *run)
{
	assert_int_equal(report_html(&r->in, &(struct err){0}), RC_OK);
	keep(run);
	if (!have_gnuplot())
		return;
	assert_string_equal(buf_cstr(note), "");
	check_drawn(r);
}

/* A server.csv as the run would have scraped it: running and waiting from the records, KV from
 * running. */
static void write_server_csv(const struct synth_report *r, int slots)
{
	static const char *const columns[] = {"t_ns", "target", "point", "name", "value", NULL};
	char *path = xasprintf("%s/server.csv", dir);
	struct csv_writer *w;
	struct err e;

	assert_int_equal(csv_create(&w, path, columns, &e), RC_OK);
	for (size_t p = 0; p < r->in.n_points; p++) {
		int64_t from = INT64_MAX, to = 0;

		for (size_t i = 0; i < r->run.n; i++) {
			const struct record *q = &r->run.records[i];

			if (q->point != r->points[p].id)
				continue;
			from = q->sched_ns < from ? q->sched_ns : from;
			to = q->done_ns > to ? q->done_ns : to;
		}
		for (int64_t t = from; t < to; t += 500 * NS_PER_MS) {
			const char *const names[] = {"running", "waiting", "kv_usage",
						     "preemptions"};
			double v[4] = {0};

			for (size_t i = 0; i < r->run.n; i++)
				v[0] += r->run.records[i].point == r->points[p].id &&
					r->run.records[i].send_ns <= t &&
					r->run.records[i].done_ns > t;
			v[1] = v[0] > slots ? v[0] - slots : 0;
			v[0] -= v[1];
			v[2] = v[0] / slots * 0.8;
			for (size_t k = 0; k < ARRAY_LEN(names); k++) {
				csv_int(w, t);
				csv_str(w, r->s->targets[r->points[p].target].name);
				csv_int(w, r->points[p].id);
				csv_str(w, names[k]);
				csv_num(w, v[k], 6);
				assert_int_equal(csv_end(w, &e), RC_OK);
			}
		}
	}
	assert_int_equal(csv_close(w, &e), RC_OK);
	free(path);
}

static void test_demo(void **state)
{
	struct synth_report r;
	struct buf note, dat;

	(void)state;
	synth_demo(&r);
	plot(&r, &note);
	dat = slurp("plots/throughput.dat");
	assert_non_null(strstr(buf_cstr(&dat), "target\tload\tsaturated\ttps\t"));
	assert_non_null(
		strstr(buf_cstr(&dat), "\n1\t16\t0\t2162.16216\t2162.16216\t2162.16216\t194.594"));
	assert_non_null(strstr(buf_cstr(&dat), "\n2\t1\t0\t447.552448\t"));
	buf_release(&dat);
	check_all(&r, &note, "demo");
	buf_release(&note);
	synth_report_release(&r);
}

static void test_batching(void **state)
{
	struct synth_report r;
	struct buf note;

	(void)state;
	synth_batching(&r);
	write_server_csv(&r, 32);
	plot(&r, &note);
	check_all(&r, &note, "batching");
	buf_release(&note);
	synth_report_release(&r);
}

static void test_open_loop(void **state)
{
	struct synth_report r;
	struct buf note;

	(void)state;
	synth_open_loop(&r);
	write_server_csv(&r, 48);
	plot(&r, &note);
	check_all(&r, &note, "open-loop");
	buf_release(&note);
	synth_report_release(&r);
}

/* Thirteen targets; a closed level and a serial one make two loads. */
static void test_matrix(void **state)
{
	struct synth_report r;
	struct buf note;

	(void)state;
	synth_matrix(&r);
	plot(&r, &note);
	check_all(&r, &note, "matrix");
	buf_release(&note);
	synth_report_release(&r);
}

/* One level: no curves, but distributions and a timeline; no metrics, no SLO, a name that is none.
 */
static void test_what_makes_no_figure(void **state)
{
	static const struct synth_engine e = {
		.prefill_ms = 20, .step_ms = 2, .constant = true, .jitter = 0.3};
	static const char *const notes[] = {"figure throughput: one load level makes no curve",
					    "figure latency: one load level makes no curve",
					    "figure server: no engine told its metrics",
					    "figure goodput: goodput needs an SLO"};
	static const char *const absent[] = {"throughput", "latency", "server", "goodput"};
	static const char *const endings[] = {"dat", "gp", "svg", "png", "log"};
	struct synth_report r;
	struct buf note;

	(void)state;
	synth_report_init(
		&r,
		"name: single\n"
		"targets: [{name: one, url: 'http://127.0.0.1:1', model: m}]\n"
		"workload: {prompts: {text: [hello]}, output_tokens: 32}\n"
		"load: {closed: {concurrency: 8, requests: 300}}\n"
		"output: {plots: [throughput, latency, cdf, timeline, server, goodput]}\n",
		&e, 32);
	plot(&r, &note);
	for (size_t i = 0; i < ARRAY_LEN(notes); i++)
		if (!strstr(buf_cstr(&note), notes[i]))
			fail_msg("no \"%s\" in: %s", notes[i], buf_cstr(&note));
	for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
		for (size_t k = 0; k < ARRAY_LEN(endings); k++) {
			char *file = xasprintf("plots/%s.%s", absent[i], endings[k]);

			if (exists(file))
				fail_msg("%s is there", file);
			free(file);
		}
	}
	assert_true(exists("plots/cdf.gp"));
	assert_true(exists("plots/timeline.gp"));
	keep("single");
	buf_release(&note);
	synth_report_release(&r);
}

/* Names are the scenario's: whatever they hold, gnuplot prints it and does nothing else. */
static void test_injection(void **state)
{
	static const char *const names[] = {
		"`touch HACKED`",
		"'; system('touch HACKED'); '",
		"\"; system(\"touch HACKED\"); \"",
		"'.system('touch HACKED').'",
		"@system {^2}_x %s %d \\n \\",
		"</text></svg><script>alert(1)</script>",
	};
	static const struct synth_engine e = {.prefill_ms = 20, .step_ms = 2, .constant = true};
	struct synth_engine engines[ARRAY_LEN(names)];
	struct synth_report r;
	struct buf note, svg;

	(void)state;
	if (!have_gnuplot())
		skip();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		engines[i] = e;
	synth_report_init(
		&r,
		"name: injection\n"
		"description: \"'; system('touch HACKED') `touch HACKED` \\n!touch HACKED\"\n"
		"targets:\n"
		"  - {name: a, url: 'http://127.0.0.1:1', model: \"'`touch HACKED`\"}\n"
		"  - {name: b, url: 'http://127.0.0.1:1', model: \"'`touch HACKED`\"}\n"
		"  - {name: c, url: 'http://127.0.0.1:1', model: \"'`touch HACKED`\"}\n"
		"  - {name: d, url: 'http://127.0.0.1:1', model: \"'`touch HACKED`\"}\n"
		"  - {name: e, url: 'http://127.0.0.1:1', model: \"'`touch HACKED`\"}\n"
		"  - {name: f, url: 'http://127.0.0.1:1', model: \"'`touch HACKED`\"}\n"
		"workload: {prompts: {text: [hello]}, output_tokens: 8}\n"
		"load: {closed: {concurrency: [1, 2], requests: 8}}\n"
		"slo: {ttft: 1s}\n"
		"output: {plots: [throughput, latency, cdf, timeline, server, goodput]}\n",
		engines, 8);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		free(r.s->targets[i].name);
		r.s->targets[i].name = xstrdup(names[i]);
	}
	write_server_csv(&r, 2);
	plot(&r, &note);
	check_all(&r, &note, "injection");
	assert_false(exists("plots/HACKED"));
	assert_int_not_equal(access("HACKED", F_OK), 0);
	svg = slurp("plots/throughput.svg");
	assert_null(strstr(buf_cstr(&svg), "<script"));
	assert_non_null(strstr(buf_cstr(&svg), "`touch HACKED`"));
	buf_release(&svg);
	svg = slurp("report.html");
	assert_null(strstr(strstr(buf_cstr(&svg), "<script>") + 1, "<script"));
	assert_non_null(strstr(buf_cstr(&svg), "&lt;script&gt;alert(1)"));
	buf_release(&svg);
	buf_release(&note);
	synth_report_release(&r);
}

/* One page with every figure in it that asks for nothing from anywhere. */
static void test_html(void **state)
{
	static const char *const fetches[] = {"src=",	  "<link",	 "<iframe",   "@import",
					      "url(http", "href=\"http", "href='http"};
	struct synth_report r;
	struct buf note, page;
	int figures = 0;

	(void)state;
	if (!have_gnuplot())
		skip();
	synth_demo(&r);
	plot(&r, &note);
	assert_int_equal(report_html(&r.in, &(struct err){0}), RC_OK);
	page = slurp("report.html");
	for (const char *p = buf_cstr(&page); (p = strstr(p, "<svg")); p++)
		figures++;
	assert_int_equal(figures, 4);
	for (size_t i = 0; i < ARRAY_LEN(fetches); i++)
		if (strstr(buf_cstr(&page), fetches[i]))
			fail_msg("the page holds %s", fetches[i]);
	assert_non_null(strstr(buf_cstr(&page), "<td>2162.2</td>"));
	assert_non_null(
		strstr(buf_cstr(&page), "planned = ok + failed + dropped: 200 = 200 + 0 + 0"));
	buf_release(&page);
	buf_release(&note);
	synth_report_release(&r);
}

/* The .gp in the folder draws the figure again, by itself. */
static void test_runs_again(void **state)
{
	struct synth_report r;
	struct buf note;
	char *command;

	(void)state;
	if (!have_gnuplot())
		skip();
	synth_demo(&r);
	plot(&r, &note);
	command = xasprintf(
		"cd %s/plots && rm *.svg *.png && for f in *.gp; do gnuplot $f 2>/dev/null; done",
		dir);
	assert_int_equal(system(command), 0);
	check_drawn(&r);
	free(command);
	buf_release(&note);
	synth_report_release(&r);
}

static void test_without_gnuplot(void **state)
{
	char *path = xstrdup(getenv("PATH"));
	struct synth_report r;
	struct buf note;

	(void)state;
	synth_demo(&r);
	setenv("PATH", dir, 1);
	plot(&r, &note);
	setenv("PATH", path, 1);
	assert_non_null(strstr(buf_cstr(&note), "apt-get install gnuplot-nox"));
	assert_null(strchr(buf_cstr(&note), '\n')); /* said once */
	assert_true(exists("plots/throughput.dat"));
	assert_true(exists("plots/throughput.gp"));
	assert_true(exists("plots/timeline.gp"));
	assert_false(exists("plots/throughput.svg"));
	free(path);
	buf_release(&note);
	synth_report_release(&r);
}

/* Nothing measured: nothing drawn, no crash. */
static void test_nothing(void **state)
{
	struct synth_report r;
	struct buf note;

	(void)state;
	synth_demo(&r);
	r.in.n_points = r.in.n_records = 0;
	plot(&r, &note);
	assert_int_equal(report_html(&r.in, &(struct err){0}), RC_OK);
	buf_release(&note);
	synth_report_release(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_demo),
		TEST(test_batching),
		TEST(test_open_loop),
		TEST(test_matrix),
		TEST(test_what_makes_no_figure),
		TEST(test_injection),
		TEST(test_html),
		TEST(test_runs_again),
		TEST(test_without_gnuplot),
		TEST(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
