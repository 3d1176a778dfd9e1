/*
 * JSON: exactly RFC 8259 is taken, mistakes are placed, getters name path, value and what is
 * allowed, and text comes back as it went in.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/jsonx.h"

static void test_parse_and_print(void **state)
{
	static const struct {
		const char *text, *want; /* want: printed compact, or "! " and the message */
	} cases[] = {
		{" {\"a\" : [1, 2.5, -3e2, true, false, null, \"x\"], \"b\":{}, \"c\":[]}\r\n",
		 "{\"a\":[1,2.5,-300,true,false,null,\"x\"],\"b\":{},\"c\":[]}"},
		{"0", "0"},
		{"-0.5", "-0.5"},
		{"\"\"", "\"\""},
		{"0.1", "0.1"},
		{"1e15", "1000000000000000"},
		{"1E+2", "100"},
		{"0.30000000000000004", "0.30000000000000004"},
		{"1e999", "null"},
		{"\xef\xbb\xbf[]", "[]"},
		{"\"\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\u0001\"",
		 "\"\xc3\xa9\xf0\x9f\x98\x80/\\b\\f\\n\\r\\t\\u0001\""},
		{"\"a\\u0000b\"", "\"a\xef\xbf\xbd"
				  "b\""},
		{"\"\\ud800\\u0041\\udc00\\ud83dx\"", "\"\xef\xbf\xbd"
						      "A\xef\xbf\xbd\xef\xbf\xbdx\""},
		{"\"\xff\"", "\"\xef\xbf\xbd\""},
		{"{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"},

		{"", "! line 1, column 1: the text ends, want a value"},
		{"  \n ", "! line 2, column 2: the text ends, want a value"},
		{"{\"a\":1", "! line 1, column 7: the text ends, want ',' or '}'"},
		{"{\"a\":1,}", "! line 1, column 8: got '}', want a key in quotes"},
		{"{a:1}", "! line 1, column 2: got 'a', want a key in quotes"},
		{"{\"a\" 1}", "! line 1, column 6: got '1', want ':'"},
		{"[1,]", "! line 1, column 4: got ']', want a value"},
		{"[1 2]", "! line 1, column 4: got '2', want ',' or ']'"},
		{"{\n  \"\xc3\xa9\": \"\xc3\xa9\", x}",
		 "! line 2, column 13: got 'x', want a key in quotes"},
		{"[] x", "! line 1, column 4: got 'x', want nothing more"},
		{"[]\n\xc3\xa9", "! line 2, column 1: got '\xc3\xa9', want nothing more"},
		{"{}{}", "! line 1, column 3: got '{', want nothing more"},
		{"tru", "! line 1, column 1: got 't', want a value"},
		{"True", "! line 1, column 1: got 'T', want a value"},
		{"NaN", "! line 1, column 1: got 'N', want a value"},
		{"'a'", "! line 1, column 1: got ''', want a value"},
		{"+1", "! line 1, column 1: got '+', want a value"},
		{"-", "! line 1, column 2: the text ends, want a digit"},
		{"01", "! line 1, column 2: got '1', want nothing more"},
		{"1.", "! line 1, column 3: the text ends, want a digit"},
		{".5", "! line 1, column 1: got '.', want a value"},
		{"1e", "! line 1, column 3: the text ends, want a digit"},
		{"0x10", "! line 1, column 2: got 'x', want nothing more"},
		{"[1111111111111111111111111111111111111111111111111111111111111111]",
		 "! line 1, column 2: got '1', want a number of at most 63 characters"},
		{"\"abc", "! line 1, column 5: the text ends, want the string's closing quote"},
		{"\"a\nb\"", "! line 1, column 3: got byte 0x0a, want an escape instead of a "
			     "control character"},
		{"\"\\u12g4\"", "! line 1, column 4: got '1', want four hexadecimal digits"},
		{"\"\\u12", "! line 1, column 4: got '1', want four hexadecimal digits"},
		{"\"\\", "! line 1, column 3: the text ends, want an escape (one of \\\" \\\\ \\/ "
			 "\\b \\f \\n \\r \\t \\u)"},
		{"\"\\x\"", "! line 1, column 3: got 'x', want an escape (one of \\\" \\\\ \\/ \\b "
			    "\\f \\n \\r \\t \\u)"},
		{"[\f1]", "! line 1, column 2: got byte 0x0c, want a value"},
		{"\xff", "! line 1, column 1: got byte 0xff, want a value"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf got;
		struct err e;
		cJSON *v;
		enum rc rc = json_parse(&v, cases[i].text, strlen(cases[i].text), &e);

		buf_init(&got, 4096);
		if (rc == RC_OK) {
			assert_true(json_print(&got, v, false));
		} else {
			assert_int_equal(rc, RC_INPUT);
			assert_null(v);
			buf_printf(&got, "! %s", e.msg);
		}
		assert_string_equal(buf_cstr(&got), cases[i].want);
		buf_release(&got);
		cJSON_Delete(v);
	}
}

static void test_nul_byte_is_refused(void **state)
{
	struct err e;
	cJSON *v;

	(void)state;
	assert_int_equal(json_parse(&v, "[]\0", 3, &e), RC_INPUT);
	assert_string_equal(e.msg, "line 1, column 3: got byte 0x00, want nothing more");
	assert_int_equal(json_parse(&v, "\"a\0b\"", 5, &e), RC_INPUT);
	assert_int_equal(json_parse(&v, "\"\\\0\"", 4, &e), RC_INPUT);
	assert_int_equal(json_parse(&v, NULL, 0, &e), RC_INPUT);
	assert_int_equal(json_parse(&v, "[1", 2, NULL), RC_INPUT);
}

static void test_depth(void **state)
{
	char text[2 * (JSON_MAX_DEPTH + 1)];
	struct err e;
	cJSON *v;

	(void)state;
	memset(text, '[', JSON_MAX_DEPTH + 1);
	memset(text + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
	assert_int_equal(json_parse(&v, text + 1, sizeof(text) - 2, &e), RC_OK);
	cJSON_Delete(v);
	assert_int_equal(json_parse(&v, text, sizeof(text), &e), RC_LIMIT);
	assert_string_equal(e.msg, "line 1, column 65: nested deeper than 64");
}

static void test_getters(void **state)
{
	static const char text[] =
		"{\"t\":true,\"f\":false,\"i\":42,\"big\":9223372036854775808,\"huge\":1e999,"
		"\"half\":2.5,"
		"\"s\":\"text\",\"none\":null,\"a\":[1],\"o\":{\"x\":1},\"twice\":1,\"twice\":2,"
		"\"long\":\"0123456789012345678901234567890123456789more\",\"min\":-"
		"9223372036854775808}";
	const char *s = "unset";
	const cJSON *sub = NULL;
	int64_t i = -1;
	double x = -1;
	bool b = false;
	struct err e;
	cJSON *v;

	(void)state;
	assert_int_equal(json_parse(&v, text, strlen(text), &e), RC_OK);

	assert_int_equal(json_get_bool(v, "", "t", &b, &e), RC_OK);
	assert_true(b);
	assert_int_equal(json_get_bool(v, "", "f", &b, &e), RC_OK);
	assert_false(b);
	assert_int_equal(json_get_bool(v, "body", "i", &b, &e), RC_INPUT);
	assert_string_equal(e.msg, "body.i: got 42, want true or false");

	assert_int_equal(json_get_int(v, "", "i", 0, 42, &i, &e), RC_OK);
	assert_int_equal(i, 42);
	assert_int_equal(json_get_int(v, "", "min", INT64_MIN, INT64_MAX, &i, &e), RC_OK);
	assert_true(i == INT64_MIN);
	i = 7;
	assert_int_equal(json_get_int(v, "", "i", 0, 41, &i, &e), RC_INPUT);
	assert_string_equal(e.msg, "i: got 42, want an integer from 0 to 41");
	assert_int_equal(json_get_int(v, "", "i", 43, INT64_MAX, &i, &e), RC_INPUT);
	assert_string_equal(e.msg, "i: got 42, want an integer of at least 43");
	assert_int_equal(json_get_int(v, "", "big", INT64_MIN, INT64_MAX, &i, &e), RC_INPUT);
	assert_string_equal(e.msg, "big: got 9.22337203685478e+18, want an integer");
	assert_int_equal(json_get_int(v, "", "huge", INT64_MIN, INT64_MAX, &i, &e), RC_INPUT);
	assert_int_equal(json_get_int(v, "a.b", "half", 0, 9, &i, &e), RC_INPUT);
	assert_string_equal(e.msg, "a.b.half: got 2.5, want an integer from 0 to 9");
	assert_int_equal(json_get_int(v, "", "s", 0, 9, &i, &e), RC_INPUT);
	assert_string_equal(e.msg, "s: got \"text\", want an integer from 0 to 9");
	assert_int_equal(json_get_int(v, "", "t", 0, 9, &i, NULL), RC_INPUT);
	assert_int_equal(i, 7);
	assert_int_equal(json_get_int(v, "", "none", 0, 9, &i, &e), RC_OK);
	assert_int_equal(json_get_int(v, "", "absent", 0, 9, &i, &e), RC_OK);
	assert_int_equal(json_get_int(NULL, "", "absent", 0, 9, &i, &e), RC_OK);
	assert_int_equal(i, 7);
	assert_int_equal(json_get_int(v, "", "twice", 0, 9, &i, &e), RC_OK);
	assert_int_equal(i, 1);

	assert_int_equal(json_get_num(v, "", "half", 0, 3, &x, &e), RC_OK);
	assert_true(x == 2.5);
	assert_int_equal(json_get_num(v, "", "half", 0, 2, &x, &e), RC_INPUT);
	assert_string_equal(e.msg, "half: got 2.5, want a number from 0 to 2");
	assert_int_equal(json_get_num(v, "", "huge", -HUGE_VAL, HUGE_VAL, &x, &e), RC_INPUT);
	assert_string_equal(e.msg, "huge: got inf, want a number");

	assert_int_equal(json_get_str(v, "", "none", &s, &e), RC_OK);
	assert_string_equal(s, "unset");
	assert_int_equal(json_get_str(v, "", "s", &s, &e), RC_OK);
	assert_string_equal(s, "text");
	assert_int_equal(json_get_str(v, "", "a", &s, &e), RC_INPUT);
	assert_string_equal(e.msg, "a: got an array, want a string");

	assert_int_equal(json_get_array(v, "", "a", &sub, &e), RC_OK);
	assert_int_equal(cJSON_GetArraySize(sub), 1);
	assert_int_equal(json_get_array(v, "", "o", &sub, &e), RC_INPUT);
	assert_string_equal(e.msg, "o: got an object, want an array");
	assert_int_equal(json_get_object(v, "", "o", &sub, &e), RC_OK);
	assert_true(cJSON_IsObject(sub));
	assert_int_equal(json_get_object(v, "", "long", &sub, &e), RC_INPUT);
	assert_string_equal(
		e.msg, "long: got \"0123456789012345678901234567890123456789...\", want an object");
	cJSON_Delete(v);
}

static void test_escape(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *want;
	} cases[] = {
		{"", 0, ""},
		{"plain", 5, "plain"},
		{"a\"b\\c/d", 7, "a\\\"b\\\\c/d"},
		{"\0\x01\x1f\x7f", 4, "\\u0000\\u0001\\u001f\x7f"},
		{"\b\f\n\r\t", 5, "\\b\\f\\n\\r\\t"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"a\x80z", 3, "a\xef\xbf\xbdz"}, /* stray continuation */
		{"\xc3", 1, "\xef\xbf\xbd"},	 /* cut short */
		{"\xe2\x82"
		 "a",
		 3,
		 "\xef\xbf\xbd\xef\xbf\xbd"
		 "a"},
		{"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd"},		     /* overlong */
		{"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
		{"\xf4\x90\x80\x80", 4,
		 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* > U+10FFFF */
		{"\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;

		buf_init(&b, 256);
		assert_true(json_escape(&b, cases[i].in, cases[i].len));
		assert_string_equal(buf_cstr(&b), cases[i].want);
		buf_release(&b);
	}
}

/* At every cap: whole or not at all. */
static void test_caps(void **state)
{
	static const char text[] = "{\"a\":[1,\"x\\ny\"],\"b\":null}";
	struct err e;
	cJSON *v;

	(void)state;
	assert_int_equal(json_parse(&v, text, strlen(text), &e), RC_OK);
	for (size_t max = 2; max < 2 + strlen(text); max++) {
		struct buf b;

		buf_init(&b, max);
		assert_true(buf_puts(&b, "ab"));
		assert_false(json_print(&b, v, false));
		assert_string_equal(buf_cstr(&b), "ab");
		if (max < 9) {
			assert_false(json_escape(&b, "12\n\"345", 7));
			assert_false(json_quote(&b, "12345"));
			assert_string_equal(buf_cstr(&b), "ab");
		}
		buf_release(&b);
	}
	cJSON_Delete(v);
}

static void test_pretty_and_quote(void **state)
{
	static const char text[] = "{\"a\":[1,{\"b\":2}],\"c\":{},\"d\":[]}";
	struct buf b;
	struct err e;
	cJSON *v;

	(void)state;
	assert_int_equal(json_parse(&v, text, strlen(text), &e), RC_OK);
	buf_init(&b, 4096);
	assert_true(json_print(&b, v, true));
	assert_string_equal(buf_cstr(&b),
			    "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n"
			    "  \"c\": {},\n  \"d\": []\n}");
	buf_clear(&b);
	assert_true(json_quote(&b, "a\"b") && json_quote(&b, NULL) && json_quote(&b, ""));
	assert_string_equal(buf_cstr(&b), "\"a\\\"b\"null\"\"");
	buf_release(&b);
	cJSON_Delete(v);
}

/* Property: a double comes back bit by bit, in no more digits than needed. */
static void test_numbers_round_trip(void **state)
{
	static const double some[] = {
		0.1,	 1.0 / 3, 123456789.125, 1e-7, 9007199254740991, 9007199254740993, DBL_MAX,
		DBL_MIN, 5e-324,  -1e22,	 1e21, 0.1 + 0.2};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(some); i++) {
		cJSON *v = cJSON_CreateNumber(some[i]), *again;
		struct buf b;
		struct err e;

		buf_init(&b, 64);
		assert_true(json_print(&b, v, false));
		assert_int_equal(json_parse(&again, buf_head(&b), buf_size(&b), &e), RC_OK);
		assert_true(again->valuedouble == some[i]);
		cJSON_Delete(v);
		cJSON_Delete(again);
		buf_release(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_nul_byte_is_refused),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_getters),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_caps),
		cmocka_unit_test(test_pretty_and_quote),
		cmocka_unit_test(test_numbers_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
