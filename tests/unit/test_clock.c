/*
 * clock: the virtual one to the nanosecond; of the real ones only what no scheduler can change.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_virtual(void **state)
{
	struct clock c = clock_virtual(50);

	(void)state;
	assert_int_equal(clock_now_ns(&c), 50);
	clock_advance_to(&c, 50);
	clock_advance_to(&c, 3 * NS_PER_S);
	assert_int_equal(clock_now_ns(&c), 3000000000);
}

static void advance_back(void)
{
	struct clock c = clock_virtual(50);

	clock_advance_to(&c, 49);
}

static void advance_real_time(void)
{
	struct clock c = clock_monotonic();

	clock_advance_to(&c, INT64_MAX);
}

static void test_misuse_aborts(void **state)
{
	static void (*const misuse[])(void) = {advance_back, advance_real_time};

	(void)state;
	for (size_t i = 0; i < sizeof(misuse) / sizeof(misuse[0]); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			struct rlimit no_core = {0, 0};

			setrlimit(RLIMIT_CORE, &no_core);
			close(STDERR_FILENO);
			misuse[i]();
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void test_monotonic(void **state)
{
	struct clock c = clock_monotonic();
	int64_t before = monotonic_now_ns(), cpu_before = thread_cpu_ns();

	(void)state;
	for (int i = 0; i < 10000; i++) {
		int64_t now = clock_now_ns(&c);

		assert_true(now >= before);
		before = now;
	}
	assert_true(monotonic_now_ns() >= before);
	assert_true(thread_cpu_ns() > cpu_before);
}

/* The offset of a second look lies within what passes between readings, unless somebody sets the
 * clock just now. */
static void test_wall(void **state)
{
	int64_t monotonic_ns = monotonic_now_ns() + wall_minus_monotonic_ns();
	int64_t wall_ns = (int64_t)time(NULL) * NS_PER_S;

	(void)state;
	assert_true(llabs(wall_ns - monotonic_ns) < 60 * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_virtual),
		cmocka_unit_test(test_misuse_aborts),
		cmocka_unit_test(test_monotonic),
		cmocka_unit_test(test_wall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
