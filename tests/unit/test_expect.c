/*
 * Thresholds: their grammar, every mistake with its place, and what is missed by which points.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "loadgen/expect.h"

#define HEAD                                                                                       \
	"targets: [{name: a, url: \"http://h:1\"}, {name: b, url: \"http://h:2\"}]\n"              \
	"workload: {prompts: {text: [hello]}}\n"                                                   \
	"load: {closed: {concurrency: [1, 4], requests: 8}}\n"

static struct scenario *load(const char *expect)
{
	char text[1024];
	struct scenario *s;
	struct err e;

	snprintf(text, sizeof(text), HEAD "expect: %s\n", expect);
	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	return s;
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"[a]", "s.yaml:4:9: expect: want a map, as in {ttft_p99: \"< 500ms\"}"},
		{"{ttft_p98: \"< 1ms\"}", "s.yaml:4:20: expect.ttft_p98: no such column in "
					  "points.csv (did you mean ttft_p90?)"},
		{"{target: \"= 1\"}", "s.yaml:4:18: expect.target: no such column in points.csv"},
		{"{requests_per: \"> 1s\"}",
		 "s.yaml:4:24: expect.requests_per: no such column in points.csv"},
		{"{failed: 0}",
		 "s.yaml:4:18: expect.failed: got \"0\", want one of < <= > >= = and "
		 "a value"},
		{"{failed: \"=\"}", "s.yaml:4:18: expect.failed: \"\" is not a number, such as 1"},
		{"{ttft_p99: \"< 500\"}",
		 "s.yaml:4:20: expect.ttft_p99: \"500\" is not a duration, "
		 "such as 250ms or 1.5s (ns, us, ms, s, m, h)"},
		{"{ttft_p99_ms: \"< 5ms\"}", "s.yaml:4:23: expect.ttft_p99_ms: \"5ms\" is not a "
					     "number, such as 1"},
		{"{ttft_p99: [1]}",
		 "s.yaml:4:20: expect.ttft_p99: want a threshold, as in \"< 500ms\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scenario *s = load(cases[i].text);
		struct expectations *x;
		struct err e;

		assert_int_equal(expect_new(&x, s, &e), RC_INPUT);
		if (strncmp(e.msg, cases[i].message, strlen(cases[i].message)) != 0)
			fail_msg("%s\ngot:  %s\nwant: %s", cases[i].text, e.msg, cases[i].message);
		assert_null(x);
		scenario_free(s);
	}
}

static void keep(void *arg, const char *words)
{
	buf_printf(arg, "%s\n", words);
}

/* Two targets, two levels: b is slow under load and lost a request. */
static void test_judge(void **state)
{
	static const struct {
		const char *text, *missed;
	} cases[] = {
		{"{failed: \"= 0\"}", "b: expected failed = 0, it was 1 at closed 4\n"},
		{"{failed: \"<= 1\", ok: \"> 0\"}", ""},
		{"{ttft_p99: \"< 500ms\"}",
		 "b: expected ttft_p99 < 500ms, it was 600 ms at closed 4\n"},
		{"{ttft_p99_ms: \"<= 600\"}", ""},
		{"{ttft_p99: \"<60ms\"}", "b: expected ttft_p99 <60ms, it was 600 ms at closed 4, "
					  "and it was missed elsewhere too\n"},
		{"{duration: \">= 2s\"}", ""},
		{"{duration: \"> 2s\"}",
		 "a: expected duration > 2s, it was 2 s at closed 1, and it was missed elsewhere "
		 "too\n"
		 "b: expected duration > 2s, it was 2 s at closed 1, and it was missed elsewhere "
		 "too\n"},
		{"{goodput_share: \">= 95%\"}",
		 "a: expected goodput_share >= 95%, there is none at closed 1, and it was missed "
		 "elsewhere too\n"
		 "b: expected goodput_share >= 95%, it was 0.5 at closed 4\n"},
	};
	struct point points[4] = {{.target = 0, .level = 0},
				  {.target = 0, .level = 1},
				  {.target = 1, .level = 0},
				  {.target = 1, .level = 1}};

	(void)state;
	for (int i = 0; i < 4; i++) {
		points[i].ok = 8;
		points[i].duration_s = 2;
		points[i].m[M_TTFT][S_P99] = i == 2 ? 60 : 50;
		points[i].goodput_share = i < 2 ? NAN : 0.97;
	}
	points[3].failed = 1;
	points[3].m[M_TTFT][S_P99] = 600;
	points[3].goodput_share = 0.5;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scenario *s = load(cases[i].text);
		struct expectations *x;
		struct buf missed;
		struct err e;

		buf_init(&missed, 1u << 16);
		if (expect_new(&x, s, &e) != RC_OK)
			fail_msg("%s", e.msg);
		assert_int_equal(expect_judge(x, points, 4, keep, &missed) > 0,
				 *cases[i].missed != '\0');
		assert_string_equal(buf_cstr(&missed), cases[i].missed);
		buf_release(&missed);
		expect_free(x);
		scenario_free(s);
	}
}

/* Every number of points.csv has a name, and no name comes twice. */
static void test_figures(void **state)
{
	struct point_figure f;
	char name[32], other[32];
	size_t n = 0;

	(void)state;
	for (; point_figure_at(n, name, &f); n++)
		for (size_t k = 0; k < n; k++) {
			assert_true(point_figure_at(k, other, &f));
			assert_string_not_equal(name, other);
		}
	assert_true(n > (size_t)M_COUNT * S_COUNT + 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_figures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
