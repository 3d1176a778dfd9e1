/*
 * Histograms and the text format, and the truth log's rows: small things whose bytes others read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "serve/prom.h"
#include "serve/truth.h"

static void test_histogram(void **state)
{
	static const double bounds[] = {0.01, 0.1, 1};
	static const double values[] = {0, 0.01, 0.0100001, 0.1, 0.5, 1, 1.5, 1e9};
	struct prom_hist h;
	struct buf b;

	(void)state;
	prom_hist_init(&h, bounds, 3);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		prom_hist_observe(&h, values[i]);
	assert_int_equal(prom_hist_count(&h), 8);
	buf_init(&b, 4096);
	prom_family(&b, "x_seconds", "histogram", "What it is.");
	h.sum = 0.1 + 0.2; /* the shortest text that reads back the same */
	prom_hist_samples(&b, "x_seconds", "a=\"1\"", "z=\"2\"", &h);
	assert_string_equal(buf_cstr(&b),
			    "# HELP x_seconds What it is.\n# TYPE x_seconds histogram\n"
			    "x_seconds_bucket{a=\"1\",le=\"0.01\",z=\"2\"} 2.0\n"
			    "x_seconds_bucket{a=\"1\",le=\"0.1\",z=\"2\"} 4.0\n"
			    "x_seconds_bucket{a=\"1\",le=\"1.0\",z=\"2\"} 6.0\n"
			    "x_seconds_bucket{a=\"1\",le=\"+Inf\",z=\"2\"} 8.0\n"
			    "x_seconds_count{a=\"1\",z=\"2\"} 8.0\n"
			    "x_seconds_sum{a=\"1\",z=\"2\"} 0.30000000000000004\n");
	buf_clear(&b);
	prom_sample(&b, "g", "", 0.25);
	prom_sample(&b, "g", "m=\"q\"", 5e-6);
	prom_label_value(&b, "a\"b\\c\nd");
	assert_string_equal(buf_cstr(&b), "g 0.25\ng{m=\"q\"} 5e-06\na\\\"b\\\\c\\nd");
	buf_release(&b);
}

static void test_truth(void **state)
{
	char path[] = "/tmp/test_prom.XXXXXX";
	int fd = mkstemp(path);
	struct truth_log *t;
	struct buf b;
	struct err e;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(truth_open(&t, path, &e), RC_OK);
	truth_token(t, "plain", 0, 1, INT64_MAX);
	truth_token(t, "with,comma", 12, -5, 0);
	truth_token(t, "with\"quote", 1, 2, 3);
	buf_init(&b, 1 << 20);
	assert_int_equal(buf_read_file(&b, path, &e), RC_OK);
	assert_string_equal(buf_cstr(&b),
			    "request_id,token_index,due_ns,sent_ns\n"); /* rows wait */
	truth_settle(t);
	truth_close(t);
	buf_clear(&b);
	assert_int_equal(buf_read_file(&b, path, &e), RC_OK);
	assert_string_equal(buf_cstr(&b),
			    "request_id,token_index,due_ns,sent_ns\nplain,0,1,9223372036854775807\n"
			    "\"with,comma\",12,-5,0\n\"with\"\"quote\",1,2,3\n");
	buf_release(&b);
	close(fd);
	unlink(path);
	assert_int_equal(truth_open(&t, "/no/such/folder/x", &e), RC_IO);
	assert_null(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_truth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
