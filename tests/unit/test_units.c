/*
 * Units: what is read and what is refused, to the last digit, and how numbers are shown.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/units.h"

#define BAD INT64_C(-4242) /* no row's value */

/* The value that `rc` and `out` stand for; sees to it that an error names the text and touches
 * nothing. */
static int64_t result(enum rc rc, const char *text, int64_t out, const struct err *e)
{
	if (rc == RC_OK)
		return out;
	assert_int_equal(rc, RC_INPUT);
	assert_int_equal(e->rc, RC_INPUT);
	if (!strstr(e->msg, text))
		fail_msg("\"%s\" is not in \"%s\"", text, e->msg);
	assert_int_equal(out, BAD);
	return BAD;
}

static void test_parse_int(void **state)
{
	static const struct {
		const char *text;
		int64_t min, max, want;
	} rows[] = {
		{"0", 0, 10, 0},
		{"10", 0, 10, 10},
		{"11", 0, 10, BAD},
		{"007", 0, 10, 7},
		{"-3", -5, 5, -3},
		{"-6", -5, 5, BAD},
		{"-3", 0, 5, BAD},
		{"-0", 0, 5, BAD},
		{"+3", -5, 5, BAD},
		{"", 0, 5, BAD},
		{"-", -5, 5, BAD},
		{" 3", 0, 5, BAD},
		{"3 ", 0, 5, BAD},
		{"3x", 0, 5, BAD},
		{"0x3", 0, 5, BAD},
		{"1e1", 0, 50, BAD},
		{"3.0", 0, 5, BAD},
		{"9007199254740993", 0, INT64_MAX, INT64_C(9007199254740993)},
		{"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX},
		{"9223372036854775808", INT64_MIN, INT64_MAX, BAD},
		{"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN},
		{"-9223372036854775809", INT64_MIN, INT64_MAX, BAD},
		{"18446744073709551617", 0, INT64_MAX, BAD},
		{"99999999999999999999999999", 0, INT64_MAX, BAD},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {0};
		int64_t out = BAD;
		enum rc rc = parse_int(rows[i].text, rows[i].min, rows[i].max, &out, &e);

		if (result(rc, rows[i].text, out, &e) != rows[i].want)
			fail_msg("\"%s\": %lld", rows[i].text, (long long)out);
	}
}

static void test_parse_double(void **state)
{
	static const struct {
		const char *text;
		double min, max, want; /* NAN = refused */
	} rows[] = {
		{"0", 0, 1, 0},
		{"1", 0, 1, 1},
		{"1.0001", 0, 1, NAN},
		{".5", 0, 1, 0.5},
		{"0.1", 0, 1, 0.1},
		{"5.", 0, 10, NAN},
		{".", 0, 10, NAN},
		{"", 0, 10, NAN},
		{"-0.5", -1, 1, -0.5},
		{"-0.5", 0, 1, NAN},
		{"+0.5", -1, 1, NAN},
		{"2e-3", 0, 1, 2e-3},
		{"2E+3", 0, 1e4, 2000},
		{"2e", 0, 10, NAN},
		{"1e999", 0, HUGE_VAL, NAN},
		{"inf", 0, HUGE_VAL, NAN},
		{"nan", 0, HUGE_VAL, NAN},
		{"0x10", 0, 100, NAN},
		{" 1", 0, 10, NAN},
		{"1 ", 0, 10, NAN},
		{"1,5", 0, 10, NAN},
		{"1.2.3", 0, 10, NAN},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {0};
		double out = -42;
		enum rc rc = parse_double(rows[i].text, rows[i].min, rows[i].max, &out, &e);

		if (isnan(rows[i].want)) {
			assert_int_equal(result(rc, rows[i].text, BAD, &e), BAD);
			assert_int_equal(rc, RC_INPUT);
			assert_true(out == -42);
		} else if (rc != RC_OK || out != rows[i].want) {
			fail_msg("\"%s\": %.17g", rows[i].text, out);
		}
	}
}

struct text_row {
	const char *text;
	int64_t want;
};

static void check_rows(const struct text_row *rows, size_t n,
		       enum rc (*parse)(const char *s, int64_t *out, struct err *e))
{
	for (size_t i = 0; i < n; i++) {
		struct err e = {0};
		int64_t out = BAD;
		enum rc rc = parse(rows[i].text, &out, &e);

		if (result(rc, rows[i].text, out, &e) != rows[i].want)
			fail_msg("\"%s\": %lld", rows[i].text, (long long)out);
	}
}

static void test_parse_duration(void **state)
{
	static const struct text_row rows[] = {
		{"0", 0},
		{"0s", 0},
		{"10ns", 10},
		{"80us", 80000},
		{"250ms", 250000000},
		{"1.5s", 1500000000},
		{"0.1us", 100},
		{".5s", 500000000},
		{"2m", INT64_C(120000000000)},
		{"1h", INT64_C(3600000000000)},
		{"0.000000001s", 1},
		{"1.000000000000000000000000000s", 1000000000},
		{"100ns", 100},
		{"1.5ns", 2}, /* to the nearest, halves up */
		{"1.4ns", 1},
		{"33.3333333333ms", 33333333},
		{"9223372036854775807ns", INT64_MAX},
		{"9223372036854775808ns", BAD},
		{"9223372036854775807.5ns", BAD},
		{"9223372036.854775807s", INT64_MAX},
		{"9223372036.854775808s", BAD},
		{"4812942422752975955.577798938365564483h", BAD}, /* fits, modulo 2^128 */
		{"2562047h", INT64_C(9223369200000000000)},
		{"2562048h", BAD},
		{"0.1234567890123456789s", BAD}, /* 19 digits */
		{"1", BAD},
		{"00", BAD},
		{"0.0", BAD},
		{"1.s", BAD},
		{"s", BAD},
		{"", BAD},
		{"-1s", BAD},
		{"+1s", BAD},
		{"1 s", BAD},
		{"1S", BAD},
		{"1sec", BAD},
		{"1min", BAD},
		{"1e3s", BAD},
		{"1m30s", BAD},
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows), parse_duration);
}

static void test_parse_bytes(void **state)
{
	static const struct text_row rows[] = {
		{"0", 0},
		{"1024", 1024},
		{"7B", 7},
		{"4kB", 4000},
		{"512KiB", 524288},
		{"3MB", 3000000},
		{"1.5MiB", 1572864},
		{"16GB", INT64_C(16000000000)},
		{"80GiB", INT64_C(85899345920)},
		{"79.6GiB", INT64_C(85469849190)}, /* .4 of a byte less */
		{"2TB", INT64_C(2000000000000)},
		{"1TiB", INT64_C(1099511627776)},
		{"8388607TiB", INT64_C(8388607) << 40},
		{"8388608TiB", BAD},
		{"1kb", BAD},
		{"1KB", BAD},
		{"1k", BAD},
		{"1 GB", BAD},
		{"-1", BAD},
		{"GB", BAD},
		{"", BAD},
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows), parse_bytes);
}

static void test_parse_count(void **state)
{
	static const struct {
		const char *text;
		int64_t min, max, want;
	} rows[] = {
		{"20", 0, 100, 20},
		{"0", 0, 100, 0},
		{"4k", 0, 10000, 4000},
		{"4Ki", 0, 10000, 4096},
		{"2M", 0, INT64_MAX, 2000000},
		{"2Mi", 0, INT64_MAX, 2097152},
		{"3G", 0, INT64_MAX, INT64_C(3000000000)},
		{"1Gi", 0, INT64_MAX, INT64_C(1073741824)},
		{"1.5k", 0, 10000, 1500},
		{"1.5Ki", 0, 10000, 1536},
		{"1.234k", 0, 10000, 1234},
		{"1.2345k", 0, 10000, BAD},
		{"0.3Ki", 0, 10000, BAD},
		{"1.5", 0, 10000, BAD},
		{"2.0", 0, 10000, 2},
		{"9007199254740993", 0, INT64_MAX, INT64_C(9007199254740993)},
		{"9223372036854775807", 0, INT64_MAX, INT64_MAX},
		{"9223372036854775808", 0, INT64_MAX, BAD},
		{"9223372036854775.807k", 0, INT64_MAX, INT64_MAX},
		{"9223372036854775.808k", 0, INT64_MAX, BAD},
		{"18446744073709551616k", 0, INT64_MAX, BAD},
		{"11k", 0, 10000, BAD},
		{"1", 2, 10000, BAD},
		{"4K", 0, 10000, BAD},
		{"4 k", 0, 10000, BAD},
		{"-4", -10, 10000, BAD},
		{"1e3", 0, 10000, BAD},
		{"k", 0, 10000, BAD},
		{"", 0, 10000, BAD},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {0};
		int64_t out = BAD;
		enum rc rc = parse_count(rows[i].text, rows[i].min, rows[i].max, &out, &e);

		if (result(rc, rows[i].text, out, &e) != rows[i].want)
			fail_msg("\"%s\": %lld", rows[i].text, (long long)out);
	}
}

static void test_parse_rate(void **state)
{
	static const struct {
		const char *text;
		double want; /* 0 = refused */
	} rows[] = {
		{"10", 10},    {"10/s", 10},	  {"0.5/s", 0.5}, {"600/min", 10}, {"7200/h", 2},
		{"1e3", 1000}, {"inf", HUGE_VAL}, {"0", 0},	  {"0/s", 0},	   {"-1", 0},
		{"inf/s", 0},  {"nan", 0},	  {"10/m", 0},	  {"10 /s", 0},	   {"/s", 0},
		{"", 0},       {"10/sec", 0},	  {"1e999", 0},	  {"ten", 0},	   {"INF", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {0};
		double out = 0;
		enum rc rc = parse_rate(rows[i].text, &out, &e);

		assert_int_equal(rc, rows[i].want > 0 ? RC_OK : RC_INPUT);
		assert_true(out == rows[i].want);
		if (rc != RC_OK)
			assert_non_null(strstr(e.msg, rows[i].text));
	}
}

static void test_messages(void **state)
{
	struct err e = {0};
	char long_text[3000];
	double d;
	int64_t n;

	(void)state;
	parse_int("many", 5, 9, &n, &e);
	assert_string_equal(e.msg, "\"many\" is not a whole number, such as 5");
	parse_int("12", 5, 9, &n, &e);
	assert_string_equal(e.msg, "12 is out of range: 5 to 9 is allowed");
	parse_double("half", 0, 0.5, &d, &e);
	assert_string_equal(e.msg, "\"half\" is not a number, such as 0.5");
	parse_duration("5", &n, &e);
	assert_string_equal(e.msg,
			    "\"5\" is not a duration, such as 250ms or 1.5s (ns, us, ms, s, m, h)");
	parse_count("0.5", 0, 9, &n, &e);
	assert_string_equal(e.msg, "0.5 does not come out as a whole number, as 20 and 1.5k do");
	assert_int_equal(parse_rate("fast", &d, NULL), RC_INPUT);

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	parse_rate(long_text, &d, &e);
	assert_true(strlen(e.msg) < 200);
}

static void test_format_duration(void **state)
{
	static const struct {
		int64_t ns;
		const char *want;
	} rows[] = {
		{0, "0 ns"},
		{999, "999 ns"},
		{1000, "1.00 us"},
		{12345, "12.3 us"},
		{999499, "999 us"},
		{999500, "1.00 ms"},
		{9994999, "9.99 ms"},
		{9995000, "10.0 ms"},
		{84200000, "84.2 ms"},
		{99950000, "100 ms"},
		{1500000000, "1.50 s"},
		{INT64_C(119000000000), "119 s"},
		{INT64_C(150000000000), "2.50 min"},
		{INT64_C(9000000000000), "2.50 h"},
		{-84200000, "-84.2 ms"},
		{INT64_MAX, "2562048 h"},
		{INT64_MIN, "-2562048 h"},
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(format_duration(out, sizeof(out), rows[i].ns), rows[i].want);
}

static void test_format_count_and_bytes(void **state)
{
	static const struct {
		double n;
		const char *count, *bytes;
	} rows[] = {
		{0, "0", "0 B"},
		{7, "7", "7 B"},
		{3.14159, "3.14", "3 B"},
		{999, "999", "999 B"},
		{999.6, "1.00k", "1000 B"},
		{1000, "1.00k", "1000 B"},
		{1024, "1.02k", "1.00 KiB"},
		{12345, "12.3k", "12.1 KiB"},
		{999500, "1.00M", "976 KiB"},
		{2.5e9, "2.50G", "2.33 GiB"},
		{15.8 * 1073741824, "17.0G", "15.8 GiB"},
		{-12345, "-12.3k", "-12.1 KiB"},
		{NAN, "-", "-"},
		{HUGE_VAL, "inf", "inf"},
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(format_count(out, sizeof(out), rows[i].n), rows[i].count);
		assert_string_equal(format_bytes(out, sizeof(out), rows[i].n), rows[i].bytes);
	}
	assert_true(ns_to_ms(1500000) == 1.5 && ns_to_s(1500000000) == 1.5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_int),
		cmocka_unit_test(test_parse_double),
		cmocka_unit_test(test_parse_duration),
		cmocka_unit_test(test_parse_bytes),
		cmocka_unit_test(test_parse_count),
		cmocka_unit_test(test_parse_rate),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_format_duration),
		cmocka_unit_test(test_format_count_and_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
