/*
 * The report as text against goldens, and the layout of tables.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "loadgen/curve.h"
#include "loadgen/report.h"
#include "loadgen/table.h"
#include "../golden.h"
#include "synthetic_runs.h"

static void check_report(const struct synth_report *r, const char *golden)
{
	struct buf out;

	buf_init(&out, 1u << 20);
	assert_true(report_text(&r->in, &out));
	golden_check(golden, buf_head(&out), buf_size(&out));
	for (const char *line = buf_cstr(&out), *end; *line; line = end + 1) { /* fits a terminal */
		char copy[512] = "";

		end = strchr(line, '\n');
		assert_non_null(end);
		memcpy(copy, line,
		       (size_t)(end - line) < sizeof(copy) ? (size_t)(end - line)
							   : sizeof(copy) - 1);
		assert_true(display_width(copy) <= 120);
	}
	buf_release(&out);
}

static void test_demo(void **state)
{
	struct synth_report r;

	(void)state;
	synth_demo(&r);
	check_report(&r, "report_demo.txt");
	synth_report_release(&r);
}

static void test_repeats(void **state)
{
	struct synth_report r;

	(void)state;
	synth_batching(&r);
	check_report(&r, "report_batching.txt");
	synth_report_release(&r);
}

/* Who meets the SLO is said of a whole run only: a level that was cut off meets none. */
static void test_standings(void **state)
{
	static const char *const ended[] = {"complete", "interrupted"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ended); i++) {
		struct synth_report r;
		struct buf out;

		buf_init(&out, 1u << 20);
		synth_demo(&r);
		r.in.ended = ended[i];
		assert_true(report_text(&r.in, &out));
		assert_int_equal(strstr(buf_cstr(&out), "meets the SLO") != NULL, i == 0);
		buf_release(&out);
		synth_report_release(&r);
	}
}

/* What brought several tokens in one event is said to have done so; what came whole is not. */
static void test_tokens_an_event(void **state)
{
	static const struct {
		int64_t tokens_each, unstreamed;
		bool said;
	} cases[] = {{1, 0, false}, {2, 0, true}, {2, 1, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct synth_report r;
		struct buf out;

		buf_init(&out, 1u << 20);
		synth_demo(&r);
		for (size_t k = 0; k < r.in.n_points; k++) {
			if (r.points[k].target != 0)
				continue;
			r.points[k].output_tokens *= cases[i].tokens_each;
			r.points[k].unstreamed = cases[i].unstreamed;
		}
		assert_true(report_text(&r.in, &out));
		assert_int_equal(strstr(buf_cstr(&out), "(fake): 2.00 tokens an event") != NULL,
				 cases[i].said);
		buf_release(&out);
		synth_report_release(&r);
	}
}

static void test_open_loop(void **state)
{
	struct synth_report r;

	(void)state;
	synth_open_loop(&r);
	check_report(&r, "report_open_loop.txt");
	synth_report_release(&r);
}

static void test_matrix(void **state)
{
	struct synth_report r;

	(void)state;
	synth_matrix(&r);
	check_report(&r, "report_matrix.txt");
	synth_report_release(&r);
}

/* A run that was killed before its first point. */
static void test_nothing(void **state)
{
	struct synth_report r;

	(void)state;
	synth_demo(&r);
	r.in.n_points = r.in.n_records = 0;
	r.in.ended = "killed";
	check_report(&r, "report_nothing.txt");
	synth_report_release(&r);
}

static void test_table(void **state)
{
	static const char want[] = "        a wide group\n"
				   "name           x   y  last\n"
				   "é±漢字         1  22  a\n"
				   "a?b      1234567   -  b c\n";
	static const char want_html[] =
		"<table>\n<thead>\n<tr><th colspan=\"1\"></th><th colspan=\"2\">a wide "
		"group</th><th colspan=\"1\"></th>"
		"</tr>\n<tr><th class=\"l\">name</th><th>x</th><th>y</th><th "
		"class=\"l\">last</th></tr>\n</thead>\n<tbody>\n"
		"<tr><td class=\"l\">&lt;b&gt;&amp;&quot;&#39;</td><td>1</td><td>2</td><td "
		"class=\"l\"></td></tr>\n"
		"</tbody>\n</table>\n";
	struct table t;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	table_init(&t);
	table_column(&t, NULL, "name", true);
	table_column(&t, "a wide group", "x", false);
	table_column(&t, "a wide group", "y", false);
	table_column(&t, NULL, "last", true);
	table_cell(&t, "é±漢字");
	table_cell(&t, "1");
	table_cell(&t, "22");
	table_cell(&t, "a");
	table_cell(&t, "a\033b");
	table_cell(&t, "%d", 1234567);
	table_cell(&t, "-");
	table_cell(&t, "b c");
	assert_true(table_text(&t, &out));
	assert_string_equal(buf_cstr(&out), want);
	table_release(&t);

	buf_clear(&out);
	table_column(&t, NULL, "name", true);
	table_column(&t, "a wide group", "x", false);
	table_column(&t, "a wide group", "y", false);
	table_column(&t, NULL, "last", true);
	table_cell(&t, "<b>&\"'");
	table_cell(&t, "1");
	table_cell(&t, "2");
	table_cell(&t, "%s", "");
	assert_true(table_html(&t, &out));
	assert_string_equal(buf_cstr(&out), want_html);
	table_release(&t);
	buf_release(&out);
}

static void test_display_width(void **state)
{
	static const struct {
		const char *s;
		size_t width;
	} cases[] = {{"", 0},	       {"abc", 3},	{"±", 1},	 {"漢字", 4}, {"é", 1},
		     {"e\xcc\x81", 1}, {"\xff\xfe", 2}, {"\xe6\xbc", 2}, {"🙂", 2}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(display_width(cases[i].s), cases[i].width);
}

/* The knee is the last load before the first that misses, not the last that meets by luck. */
static void test_knee(void **state)
{
	static const double shares[] = {1, 0.95, 0.89, 0.91};
	struct level *levels = xcalloc(4, sizeof(*levels));
	struct scenario s = {.n_targets = 2, .levels = levels, .n_levels = 4, .slo.share = 0.9};
	struct point points[4];
	struct curves c;
	struct axis a;

	(void)state;
	for (int i = 0; i < 4; i++) {
		levels[i] = (struct level){.kind = LOAD_OPEN,
					   .rate_per_s = i == 0	  ? 10
							 : i == 1 ? 5
								  : 10 * i};
		points[i] = (struct point){.target = 0, .level = i, .goodput_share = shares[i]};
	}
	curves_init(&c, &s, points, 4);
	axis_init(&a, &s);
	assert_true(a.open_loop);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.levels[0], 1); /* in order of rate */
	assert_int_equal(a.levels[1], 0);
	assert_int_equal(curve_knee(&c, &a, 0), 1);
	assert_int_equal(curve_knee(&c, &a, 1), -1);
	axis_release(&a);
	curves_release(&c);
	free(levels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_demo),	      cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_open_loop),     cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_nothing),	      cmocka_unit_test(test_table),
		cmocka_unit_test(test_display_width), cmocka_unit_test(test_knee),
		cmocka_unit_test(test_standings),     cmocka_unit_test(test_tokens_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
