/*
 * The cards of a machine sampled through a stand-in for the driver's library, and what is said
 * where there is no library, no driver, no card, or a library of something else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "loadgen/gpu_watch.h"

#define STANDIN BINARY_DIR "/bin/libstandin_nvml.so"

/* In the order in which they come; card 1 tells no power. */
static const struct {
	const char *name;
	double value;
} figures[] = {
	{"gpu0_memory_bytes", 20.0 * (1 << 30)}, {"gpu0_utilisation", 0.5}, {"gpu0_power_w", 312.5},
	{"gpu1_memory_bytes", 21.0 * (1 << 30)}, {"gpu1_utilisation", 0.8},
};

struct seen {
	struct evloop *loop;
	size_t n;
	int64_t t_ns; /* of the sample that comes */
};

/* Three whole samples, each with one time of its own. */
static void on_value(void *arg, int64_t t_ns, const char *name, double value)
{
	struct seen *s = arg;
	size_t at = s->n++ % ARRAY_LEN(figures);

	assert_string_equal(name, figures[at].name);
	assert_true(value == figures[at].value);
	assert_true(at ? t_ns == s->t_ns : t_ns > s->t_ns);
	s->t_ns = t_ns;
	if (s->n == 3 * ARRAY_LEN(figures))
		evloop_stop(s->loop);
}

static void test_samples(void **state)
{
	struct seen seen = {.loop = evloop_new()};
	struct gpu_watch *w = NULL;
	struct err e;

	(void)state;
	setenv(GPU_LIBRARY_ENV, STANDIN, 1);
	unsetenv("STANDIN_NVML");
	assert_int_equal(gpu_watch_new(&w, seen.loop, 1000000, on_value, &seen, &e), RC_OK);
	evloop_run(seen.loop);
	gpu_watch_free(w);
	assert_int_equal(seen.n, 3 * ARRAY_LEN(figures));
	evloop_free(seen.loop);
}

/* Freed while its thread waits, or asks: nothing is left behind. */
static void test_freed_at_once(void **state)
{
	struct evloop *loop = evloop_new();
	struct gpu_watch *w = NULL;
	struct err e;

	(void)state;
	setenv(GPU_LIBRARY_ENV, STANDIN, 1);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(gpu_watch_new(&w, loop, 3600000000000, on_value, NULL, &e), RC_OK);
		gpu_watch_free(w);
	}
	gpu_watch_free(NULL);
	evloop_free(loop);
}

static void test_without(void **state)
{
	static const struct {
		const char *library, *standin, *says;
	} rows[] = {
		{"/nowhere/libnvidia-ml.so.1", "", "/nowhere/libnvidia-ml.so.1"},
		{"libc.so.6", "", "libc.so.6 has no nvmlInit_v2"},
		{STANDIN, "init", "nvmlInit gives error 9"},
		{STANDIN, "none", "the driver finds none"},
	};
	struct evloop *loop = evloop_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct gpu_watch *w = NULL;
		struct err e;

		setenv(GPU_LIBRARY_ENV, rows[i].library, 1);
		setenv("STANDIN_NVML", rows[i].standin, 1);
		assert_int_equal(gpu_watch_new(&w, loop, 1000000, on_value, NULL, &e), RC_IO);
		assert_null(w);
		assert_non_null(strstr(e.msg, rows[i].says));
		assert_null(strchr(e.msg, '\n'));
	}
	unsetenv("STANDIN_NVML");
	evloop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_freed_at_once),
		cmocka_unit_test(test_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
