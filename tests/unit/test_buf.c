/*
 * buf: against a model under random use; then the cap, what stays in place, handing over, and
 * files.
 */
#include <errno.h>
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
#include "base/err.h"
#include "base/rng.h"

#define CAP 3000

static void assert_content(struct buf *b, const char *want, size_t n)
{
	assert_int_equal(buf_size(b), n);
	assert_memory_equal(buf_head(b), want, n);
	assert_true(b->off <= b->len && b->len <= b->cap);
}

/* Every operation, at random, beside a plain array that does the same in the dullest way. */
static void test_against_a_model(void **state)
{
	char model[CAP], chunk[CAP + 1];
	size_t n = 0;
	struct rng r;
	struct buf b;

	(void)state;
	rng_init(&r, 1, "buf", 0);
	buf_init(&b, CAP);
	for (int step = 0; step < 20000; step++) {
		size_t k = rng_below(&r, rng_below(&r, 10) ? 200 : CAP);
		bool fits = k <= CAP - n, did = false;
		char *room;

		for (size_t i = 0; i < k; i++)
			chunk[i] = (char)('a' + rng_below(&r, 26));
		chunk[k] = '\0';
		switch (rng_below(&r, 7)) {
		case 0:
			did = buf_append(&b, chunk, k);
			break;
		case 1:
			did = buf_puts(&b, chunk);
			break;
		case 2:
			did = buf_printf(&b, "%s", chunk);
			break;
		case 3:
			room = buf_reserve(&b, k);
			did = room != NULL;
			if (did) {
				memcpy(room, chunk, k);
				buf_commit(&b, k);
			}
			break;
		case 4:
			k = k < n ? k : n;
			buf_consume(&b, k);
			memmove(model, model + k, n - k);
			n -= k;
			assert_content(&b, model, n);
			continue;
		case 5:
			assert_int_equal(strlen(buf_cstr(&b)), n);
			assert_memory_equal(buf_cstr(&b), model, n);
			continue;
		case 6:
			if (rng_below(&r, 100) == 0) {
				buf_clear(&b);
				n = 0;
			}
			continue;
		}
		assert_int_equal(did, fits);
		if (fits) {
			memcpy(model + n, chunk, k);
			n += k;
		}
		assert_content(&b, model, n);
	}
	/* twice what is live, rounded up by doubling, and never more, however much has gone through
	 */
	assert_true(b.cap <= 2 * ((size_t)CAP + 1));
	buf_release(&b);
}

static void test_cap(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	assert_true(buf_puts(&b, "abc"));
	assert_false(buf_puts(&b, "def"));
	assert_false(buf_printf(&b, "%d", 123));
	assert_null(buf_reserve(&b, 3));
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_content(&b, "abc", 3);
	assert_true(buf_printf(&b, "%d", 45));
	assert_false(buf_putc(&b, 'x'));
	assert_string_equal(buf_cstr(&b), "abc45");

	/* the cap is on what has not been consumed */
	buf_consume(&b, 2);
	assert_true(buf_puts(&b, "67"));
	assert_string_equal(buf_cstr(&b), "c4567");
	buf_release(&b);

	buf_init(&b, 0);
	assert_true(buf_append(&b, NULL, 0));
	assert_false(buf_putc(&b, 'x'));
	assert_string_equal(buf_cstr(&b), "");
	buf_release(&b);
}

static void test_putint(void **state)
{
	static const int64_t v[] = {0, 7, -1, 10, -10, 1234567890123, INT64_MAX, INT64_MIN};
	char want[32];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		buf_init(&b, 20);
		assert_true(buf_putint(&b, v[i]));
		snprintf(want, sizeof(want), "%lld", (long long)v[i]);
		assert_string_equal(buf_cstr(&b), want);
		buf_release(&b);
	}
	buf_init(&b, 1);
	assert_false(buf_putint(&b, -1));
	assert_int_equal(buf_size(&b), 0);
	buf_release(&b);
}

static void assert_fixed(double v)
{
	char want[400];
	struct buf b;

	buf_init(&b, sizeof(want));
	for (int decimals = 0; decimals <= 8; decimals++) {
		buf_clear(&b);
		assert_true(buf_putfixed(&b, v, decimals));
		snprintf(want, sizeof(want), "%.*f", decimals, v);
		assert_string_equal(buf_cstr(&b), want);
	}
	buf_release(&b);
}

/* Every digit and every rounding as printf has it. */
static void test_numbers_as_printf(void **state)
{
	static const double edges[] = {
		0,	-0.0,  0.5,	 1.5,	    2.5,      0.125,	     0.375,   1e-7,
		4.9e-7, 5e-7,  0.000488, 0.9999995, 9.9999,   99999.5,	     0x1p53,  0x1p62,
		0x1p63, 1e300, 5e-324,	 NAN,	    INFINITY, 0x1p-11,	     0x1p-12, 1.0000005,
		1e15,	1e16,  123456.7, 0.999999,  1e6,      999999.9999995};
	struct rng r;

	(void)state;
	rng_init(&r, 1, "numbers", 0);
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		assert_fixed(edges[i]);
		assert_fixed(-edges[i]);
		assert_fixed(nextafter(edges[i], 0));
		assert_fixed(nextafter(edges[i], INFINITY));
	}
	for (int i = 0; i < 5000; i++) {
		int64_t n = (int64_t)(rng_u64(&r) >> rng_below(&r, 64));
		char want[32];
		struct buf b;

		/* halves of the last digit, where rounding is to even, are among the quarters */
		assert_fixed((double)n / 4);
		assert_fixed(ldexp((double)n, (int)rng_below(&r, 90) - 70));
		assert_fixed(((double)(n % 1000000) + 0.5) / 1e6);
		n = i % 2 ? n : -n;
		buf_init(&b, sizeof(want));
		assert_true(buf_putint(&b, n));
		snprintf(want, sizeof(want), "%lld", (long long)n);
		assert_string_equal(buf_cstr(&b), want);
		buf_release(&b);
	}
}

static void test_no_cap(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	for (int i = 0; i < 1000; i++)
		assert_true(buf_printf(&b, "%03d", i));
	assert_int_equal(buf_size(&b), 3000);
	assert_string_equal(buf_cstr(&b) + 2994, "998999");
	buf_release(&b);
}

/* What a parser has been shown is still there after it has been consumed. */
static void test_consumed_bytes_stay_until_the_next_append(void **state)
{
	const char *shown;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	buf_puts(&b, "first second");
	shown = buf_head(&b);
	buf_consume(&b, 6);
	assert_ptr_equal(buf_head(&b), shown + 6);
	assert_memory_equal(shown, "first ", 6);
	buf_consume(&b, 6);
	assert_memory_equal(shown, "first second", 12);
	buf_release(&b);
}

/* A steady stream through a small buffer: the front is taken back, so memory does not grow with
 * what has gone by. */
static void test_stream_in_constant_memory(void **state)
{
	char line[100];
	struct buf b;

	(void)state;
	memset(line, 'x', sizeof(line));
	buf_init(&b, SIZE_MAX);
	buf_append(&b, line, 10); /* never empty, so never rewound for free */
	for (int i = 0; i < 10000; i++) {
		buf_append(&b, line, sizeof(line));
		buf_consume(&b, sizeof(line));
	}
	assert_int_equal(buf_size(&b), 10);
	assert_true(b.cap <= 512);
	buf_release(&b);
}

static void test_take(void **state)
{
	struct buf b;
	char *s;

	(void)state;
	buf_init(&b, 100);
	s = buf_take(&b);
	assert_string_equal(s, "");
	free(s);

	buf_puts(&b, "take me");
	buf_consume(&b, 5);
	s = buf_take(&b);
	assert_string_equal(s, "me");
	free(s);

	assert_content(&b, "", 0);
	assert_int_equal(b.max, 100);
	assert_true(buf_puts(&b, "again"));
	assert_content(&b, "again", 5);
	buf_release(&b);
	buf_release(&b);
}

static void write_file(char *path, size_t size)
{
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	assert_non_null(f);
	for (size_t i = 0; i < size; i++)
		putc((int)(i % 251), f);
	fclose(f);
}

static void test_read_file(void **state)
{
	static const struct {
		size_t size, max;
		enum rc rc;
	} rows[] = {
		{0, 0, RC_OK},
		{0, 10, RC_OK},
		{10, 10, RC_OK},
		{11, 10, RC_LIMIT},
		{1, 0, RC_LIMIT},
		{65536, 65536, RC_OK},
		{200000, 200000, RC_OK},
		{200001, 200000, RC_LIMIT},
		{200000, SIZE_MAX, RC_OK},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[] = "/tmp/test_buf_XXXXXX";
		struct err e = {0};
		struct buf b;

		write_file(path, rows[i].size);
		buf_init(&b, rows[i].max);
		assert_int_equal(buf_read_file(&b, path, &e), rows[i].rc);
		if (rows[i].rc == RC_OK) {
			assert_int_equal(buf_size(&b), rows[i].size);
			for (size_t k = 0; k < rows[i].size; k++)
				assert_int_equal((unsigned char)buf_head(&b)[k], k % 251);
		} else {
			assert_int_equal(e.rc, RC_LIMIT);
			assert_non_null(strstr(e.msg, path));
			assert_int_equal(buf_size(&b), 0);
		}
		buf_release(&b);
		unlink(path);
	}
}

static void test_read_file_errors(void **state)
{
	struct err e = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_puts(&b, "kept");
	assert_int_equal(buf_read_file(&b, "/nowhere/at/all", &e), RC_IO);
	assert_string_equal(e.msg, "/nowhere/at/all: No such file or directory");
	assert_int_equal(buf_read_file(&b, "/", &e), RC_IO);
	assert_string_equal(e.msg, "/: Is a directory");
	assert_content(&b, "kept", 4);
	buf_release(&b);
}

static void test_read_standard_input(void **state)
{
	int saved = dup(STDIN_FILENO), ends[2];
	struct err e = {0};
	struct buf b;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "from a pipe", 11), 11);
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	buf_init(&b, 100);
	assert_int_equal(buf_read_file(&b, "-", &e), RC_OK);
	assert_content(&b, "from a pipe", 11);
	buf_release(&b);
	dup2(saved, STDIN_FILENO);
	close(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_model),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_putint),
		cmocka_unit_test(test_numbers_as_printf),
		cmocka_unit_test(test_no_cap),
		cmocka_unit_test(test_consumed_bytes_stay_until_the_next_append),
		cmocka_unit_test(test_stream_in_constant_memory),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_read_file),
		cmocka_unit_test(test_read_file_errors),
		cmocka_unit_test(test_read_standard_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
