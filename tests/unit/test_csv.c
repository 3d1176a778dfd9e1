/*
 * CSV: what is read from every kind of line end and quote, what is refused and where, and that rows
 * come back as they were written and leave whole.
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
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"

/* The table as "a|b/c|d": columns, then rows. */
static void show(struct buf *b, const struct csv_table *t)
{
	for (size_t i = 0; i < csv_columns(t); i++)
		buf_printf(b, "%s%s", i ? "|" : "", csv_column_name(t, i));
	for (size_t r = 0; r < csv_rows(t); r++)
		for (size_t i = 0; i < csv_columns(t); i++)
			buf_printf(b, "%s%s", i ? "|" : "/", csv_field(t, r, (int)i));
}

static void test_read(void **state)
{
	static const struct {
		const char *text, *want; /* want: the table, or "! " and the message */
		bool torn_tail_ok;
	} cases[] = {
		{"a,b\n1,2\n3,4\n", "a|b/1|2/3|4", false},
		{"a,b\r\n1,2\r\n", "a|b/1|2", false},
		{"a,b\n1,2", "a|b/1|2", false},
		{"a,b\n1,2\r", "a|b/1|2", false},
		{"a,b\n", "a|b", false},
		{"a,b", "a|b", false},
		{"\xef\xbb\xbf"
		 "a,b\n1,2\n",
		 "a|b/1|2", false},
		{"a,b\n,\n", "a|b/|", false},
		{"a,b\n\n1,2\n\r\n\n", "a|b/1|2", false},
		{"a\n\"\"\n\nx\n", "a//x", false},
		{"a,b\n\"x,y\",\"p\"\"q\"\n", "a|b/x,y|p\"q", false},
		{"a,b\n\"two\nlines\",\"\"\n", "a|b/two\nlines|", false},
		{"a,b\n\"two\r\nlines\",x\r\n", "a|b/two\r\nlines|x", false},
		{"a,b\n\"1\",\"2\"", "a|b/1|2", false},
		{"\"a \",\"b,c\"\n1,2\n", "a |b,c/1|2", false},
		{"a,b\nsay \"x\",2\n", "a|b/say \"x\"|2", false},
		{"a,b\nx\ry,2\n", "a|b/x\ry|2", false},
		/* what a killed writer leaves */
		{"a,b\n1,2\n3", "a|b/1|2", true},
		{"a,b\n1,2\n\"3", "a|b/1|2", true},
		{"a,b\n1,2\n3,\"4", "a|b/1|2", true},
		{"a,b\n1,2\n3,4", "a|b/1|2", true},
		{"a,b\n1,2\n3,4\n", "a|b/1|2/3|4", true},
		{"a,b\n1,2,3", "a|b", true},
		{"a,b\n1\n3,4\n", "! t.csv:2: 1 fields under 2 columns", true},
		{"a,b\n1,2\n3", "! t.csv:3: 1 fields under 2 columns", false},
		{"a,b\n1,2\n3,\"4", "! t.csv:3: a quote is never closed", false},
		{"a,b\n1,2,3\n", "! t.csv:2: 3 fields under 2 columns", false},
		{"a,b\n\"1\n2\",x\n3\n", "! t.csv:4: 1 fields under 2 columns", false},
		{"a,b\n\"1\"x,2\n", "! t.csv:2: text behind a closing quote", false},
		{"a,b,a\n", "! t.csv:1: column \"a\" twice", false},
		{"\"a\n", "! t.csv:1: a quote is never closed", true},
		{"", "! t.csv: empty: a line with the column names is missing", false},
		{"\n\n", "! t.csv: empty: a line with the column names is missing", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct csv_table *t;
		struct err e;
		struct buf got;
		enum rc rc = csv_parse(&t, "t.csv", cases[i].text, strlen(cases[i].text),
				       cases[i].torn_tail_ok, &e);

		buf_init(&got, 4096);
		if (rc == RC_OK) {
			show(&got, t);
		} else {
			assert_int_equal(rc, RC_INPUT);
			assert_null(t);
			buf_printf(&got, "! %s", e.msg);
		}
		assert_string_equal(buf_cstr(&got), cases[i].want);
		buf_release(&got);
		csv_table_free(t);
	}
}

static void test_nul_byte_is_refused(void **state)
{
	struct csv_table *t;
	struct err e;

	(void)state;
	assert_int_equal(csv_parse(&t, "t.csv", "a,b\n1\0,2\n", 9, false, &e), RC_INPUT);
	assert_string_equal(e.msg, "t.csv: holds a NUL byte: no CSV");
}

static void test_fields(void **state)
{
	static const char text[] =
		"n,x,s\n12,0.5,\"a\nb\"\n,,\nabc,1e3,\n9223372036854775808,zero,\n0,-inf,\n";
	struct csv_table *t;
	struct err e;
	int64_t n;
	double x;
	int col;

	(void)state;
	assert_int_equal(csv_parse(&t, "t.csv", text, strlen(text), false, &e), RC_OK);
	assert_int_equal(csv_find(t, "s"), 2);
	assert_int_equal(csv_find(t, "S"), -1);
	assert_int_equal(csv_need(t, "x", &col, &e), RC_OK);
	assert_int_equal(col, 1);
	assert_int_equal(csv_need(t, "ttft", &col, &e), RC_INPUT);
	assert_string_equal(e.msg, "t.csv: no column \"ttft\" (there are: n, x, s)");

	assert_int_equal(csv_field_int(t, 0, 0, -7, &n, &e), RC_OK);
	assert_int_equal(n, 12);
	assert_int_equal(csv_field_num(t, 0, 1, NAN, &x, &e), RC_OK);
	assert_true(x == 0.5);
	assert_int_equal(csv_field_int(t, 1, 0, -7, &n, &e), RC_OK);
	assert_int_equal(n, -7);
	assert_int_equal(csv_field_num(t, 1, 1, NAN, &x, &e), RC_OK);
	assert_true(isnan(x));
	assert_int_equal(csv_field_int(t, 1, -1, 5, &n, &e), RC_OK);
	assert_int_equal(n, 5);
	assert_string_equal(csv_field(t, 1, -1), "");

	/* The row's line of the file, behind the two lines of the first row. */
	assert_int_equal(csv_field_int(t, 2, 0, 0, &n, &e), RC_INPUT);
	assert_memory_equal(e.msg, "t.csv:5: n: ", 12);
	assert_non_null(strstr(e.msg, "abc"));
	assert_int_equal(csv_field_int(t, 3, 0, 0, &n, &e), RC_INPUT);
	assert_int_equal(csv_field_num(t, 3, 1, 0, &x, &e), RC_INPUT);
	assert_memory_equal(e.msg, "t.csv:6: x: ", 12);
	assert_int_equal(csv_field_num(t, 3, 1, 0, &x, NULL), RC_INPUT);
	assert_int_equal(csv_field_num(t, 4, 1, 0, &x, &e), RC_OK);
	assert_true(x == -HUGE_VAL);
	csv_table_free(t);
}

/* A file of its own in the test's folder; freed by the caller. */
static char *scratch_file(void)
{
	char *path = xasprintf("%s/test_csv_XXXXXX", BINARY_DIR);
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	return path;
}

static char *slurp(const char *path)
{
	struct buf b;
	struct err e;

	buf_init(&b, 1 << 20);
	assert_int_equal(buf_read_file(&b, path, &e), RC_OK);
	return buf_take(&b);
}

static void assert_file(const char *path, const char *want)
{
	char *got = slurp(path);

	assert_string_equal(got, want);
	free(got);
}

static void test_write(void **state)
{
	static const char *const columns[] = {"id", "note", "ms", NULL};
	char *path = scratch_file();
	struct csv_writer *w;
	struct csv_table *t;
	struct err e;

	(void)state;
	assert_int_equal(csv_create(&w, path, columns, &e), RC_OK);
	assert_file(path, "id,note,ms\n");
	csv_int(w, INT64_MIN);
	csv_str(w, "say \"a, b\"\r\nc");
	assert_file(path, "id,note,ms\n"); /* nothing of a row before its end */
	csv_num(w, 1.23456, 3);
	assert_int_equal(csv_end(w, &e), RC_OK);
	assert_file(path, "id,note,ms\n-9223372036854775808,\"say \"\"a, b\"\"\r\nc\",1.235\n");
	csv_empty(w);
	csv_str(w, NULL);
	csv_num(w, NAN, 3);
	assert_int_equal(csv_end(w, &e), RC_OK);
	csv_int(w, 1); /* a row that is never ended leaves no trace */
	assert_int_equal(csv_close(w, &e), RC_OK);
	assert_file(path, "id,note,ms\n-9223372036854775808,\"say \"\"a, b\"\"\r\nc\",1.235\n,,\n");

	assert_int_equal(csv_read(&t, path, false, &e), RC_OK);
	assert_int_equal(csv_rows(t), 2);
	assert_string_equal(csv_field(t, 0, 1), "say \"a, b\"\r\nc");
	csv_table_free(t);
	unlink(path);
	free(path);
}

static void test_one_column_of_nothing(void **state)
{
	static const char *const columns[] = {"x", NULL};
	char *path = scratch_file();
	struct csv_writer *w;
	struct csv_table *t;
	struct err e;

	(void)state;
	assert_int_equal(csv_create(&w, path, columns, &e), RC_OK);
	csv_empty(w);
	assert_int_equal(csv_end(w, &e), RC_OK);
	assert_int_equal(csv_close(w, &e), RC_OK);
	assert_int_equal(csv_read(&t, path, false, &e), RC_OK);
	assert_int_equal(csv_rows(t), 1);
	csv_table_free(t);
	unlink(path);
	free(path);
}

static void test_buffered(void **state)
{
	static const char *const columns[] = {"x", NULL};
	char *path = scratch_file(), *text;
	struct csv_writer *w;
	struct err e;
	size_t len;

	(void)state;
	assert_int_equal(csv_create(&w, path, columns, &e), RC_OK);
	csv_set_buffered(w, true);
	csv_str(w, "held");
	assert_int_equal(csv_end(w, &e), RC_OK);
	assert_file(path, "x\n");
	assert_int_equal(csv_flush(w, &e), RC_OK);
	assert_file(path, "x\nheld\n");
	for (int i = 0; i < 20000; i++) { /* 140,000 bytes: leaves by itself, in whole rows */
		csv_str(w, "abcdef");
		assert_int_equal(csv_end(w, &e), RC_OK);
	}
	text = slurp(path);
	len = strlen(text);
	assert_true(len >= 128 << 10 && len < 140000);
	assert_string_equal(text + len - 8, "\nabcdef\n");
	free(text);
	assert_int_equal(csv_close(w, &e), RC_OK);
	text = slurp(path);
	assert_int_equal(strlen(text), 2 + 5 + 20000 * 7);
	free(text);
	unlink(path);
	free(path);
}

static void test_errors_of_files(void **state)
{
	static const char *const columns[] = {"x", NULL};
	struct csv_writer *w;
	struct csv_table *t;
	struct err e;

	(void)state;
	assert_int_equal(csv_create(&w, BINARY_DIR "/none/x.csv", columns, &e), RC_IO);
	assert_non_null(strstr(e.msg, "/none/x.csv: No such file"));
	assert_null(w);
	assert_int_equal(csv_read(&t, BINARY_DIR "/none/x.csv", false, &e), RC_IO);
	assert_null(t);
	assert_int_equal(csv_close(NULL, &e), RC_OK);
	if (access("/dev/full", W_OK) == 0) {
		assert_int_equal(csv_create(&w, "/dev/full", columns, &e), RC_IO);
		assert_non_null(strstr(e.msg, "/dev/full: No space left"));
	}
}

/* Property: whatever text is written comes back. */
static void test_round_trip(void **state)
{
	static const char *const columns[] = {"a", "b", "c", NULL};
	static const char alphabet[] = "ab,\"\r\n \t\xc3\xa9";
	char *path = scratch_file(), field[500][3][12];
	struct csv_writer *w;
	struct csv_table *t;
	struct err e;
	unsigned seed = 1;

	(void)state;
	assert_int_equal(csv_create(&w, path, columns, &e), RC_OK);
	for (size_t r = 0; r < 500; r++) {
		for (size_t c = 0; c < 3; c++) {
			size_t n = (size_t)rand_r(&seed) % 11;

			for (size_t i = 0; i < n; i++)
				field[r][c][i] =
					alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
			field[r][c][n] = '\0';
			csv_str(w, field[r][c]);
		}
		assert_int_equal(csv_end(w, &e), RC_OK);
	}
	assert_int_equal(csv_close(w, &e), RC_OK);
	assert_int_equal(csv_read(&t, path, true, &e), RC_OK);
	assert_int_equal(csv_rows(t), 500);
	for (size_t r = 0; r < 500; r++)
		for (int c = 0; c < 3; c++)
			assert_string_equal(csv_field(t, r, c), field[r][c]);
	csv_table_free(t);
	unlink(path);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_nul_byte_is_refused),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_one_column_of_nothing),
		cmocka_unit_test(test_buffered),
		cmocka_unit_test(test_errors_of_files),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
