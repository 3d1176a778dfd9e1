/*
 * gpu_check on the stand-in for the driver: what its report holds when all is well, and that it
 * says so when something is not: a launch that fails, results that are wrong, a phase that does not
 * end, no driver at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/jsonx.h"
#include "check.h"
#include "cuda/launch.h"

static char report_path[] = "/tmp/test_gpu_check.XXXXXX";

/* Its exit code; *report is the caller's. */
static int run(cJSON **report, const char *const *options)
{
	const char *argv[12] = {GPU_CHECK, "-o", report_path};
	struct err e = {.rc = RC_OK};
	int n = 3, status;
	struct buf b;
	pid_t pid;

	for (int i = 0; options[i]; i++)
		argv[n++] = options[i];
	assert_int_equal(truncate(report_path, 0), 0);
	pid = fork_bound();
	assert_true(pid >= 0);
	if (pid == 0) {
		execv(GPU_CHECK, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	buf_init(&b, 1 << 24);
	assert_int_equal(buf_read_file(&b, report_path, &e), RC_OK);
	*report = NULL;
	if (buf_size(&b) > 0)
		assert_int_equal(json_parse(report, buf_head(&b), buf_size(&b), &e), RC_OK);
	buf_release(&b);
	return WEXITSTATUS(status);
}

#define RUN(report, ...) run(report, (const char *const[]){__VA_ARGS__, NULL})

static const cJSON *at(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItem(o, key);

	if (!v)
		fail_msg("the report has no '%s'", key);
	return v;
}

static void expect_text(const cJSON *o, const char *key, const char *want)
{
	assert_string_equal(cJSON_GetStringValue(at(o, key)), want);
}

/* A line of the list has `what` in it. */
static void expect_line(const cJSON *report, const char *list, const char *what)
{
	const cJSON *line;

	cJSON_ArrayForEach(line, at(report, list))
	{
		if (strstr(line->valuestring, what))
			return;
	}
	fail_msg("no line of '%s' says '%s'", list, what);
}

static void expect_no_lines(const cJSON *report)
{
	const cJSON *line;

	cJSON_ArrayForEach(line, at(report, "wrong"))
	{
		fail_msg("%s", line->valuestring);
	}
	assert_int_equal(cJSON_GetArraySize(at(report, "slow")), 0);
}

/* Each has been launched by a test, and has a time. */
static void expect_every_kernel(const cJSON *report)
{
	for (int k = 0; k < GPU_KERNEL_COUNT; k++) {
		const char *name = gpu_kernel_info((enum gpu_kernel)k)->name;
		const cJSON *row;
		int rows = 0;

		assert_true(at(at(at(report, "kernels"), "launches"), name)->valuedouble > 0);
		cJSON_ArrayForEach(row, at(at(report, "times"), "kernels"))
		{
			if (strcmp(cJSON_GetStringValue(at(row, "kernel")), name) != 0)
				continue;
			assert_true(at(row, "time_s")->valuedouble > 0);
			assert_null(cJSON_GetObjectItem(row, "share_of_roof"));
			rows++;
		}
		assert_true(rows > 0);
	}
}

static void test_all_is_well(void **state)
{
	cJSON *report;

	(void)state;
	assert_int_equal(RUN(&report, "--sanitizer", SANITIZER), 0);
	expect_no_lines(report);
	expect_text(report, "verdict", "passed");
	expect_text(report, "note", "emulated: no speed");
	expect_text(at(report, "times"), "note", "emulated: no speed");
	expect_text(at(report, "speed"), "note", "emulated: no speed");
	expect_text(at(report, "card"), "generation", "sm_80");
	assert_true(at(at(report, "card"), "read_bytes_per_s")->valuedouble > 0);
	expect_every_kernel(report);
	assert_int_equal(cJSON_GetArraySize(at(at(report, "tokens"), "models")), 8);
	assert_int_equal(cJSON_GetArraySize(at(at(report, "invariance"), "groups")), 2);
	assert_int_equal(cJSON_GetArraySize(at(at(report, "speed"), "rows")), 12);
	assert_null(cJSON_GetObjectItem(at(report, "speed"), "goals"));
	assert_int_equal(cJSON_GetArraySize(at(at(report, "sanitizer"), "memcheck")),
			 cJSON_GetArraySize(at(at(report, "kernels"), "programs")));
	cJSON_Delete(report);
}

/* Each phase meets it in its own process, and all are told of. */
static void test_failing_launches(void **state)
{
	cJSON *report;

	(void)state;
	setenv("PTXSIM_FAULTS", "launch:5", 1);
	setenv("PTXSIM_ON_FAULT", "error", 1);
	assert_int_equal(RUN(&report, "--only", "kernels,invariance,times,speed"), 1);
	unsetenv("PTXSIM_FAULTS");
	unsetenv("PTXSIM_ON_FAULT");
	expect_text(report, "verdict", "failed");
	expect_line(report, "wrong", "kernels: test_card_rows: test_norms: ");
	expect_line(report, "wrong", "CUDA_ERROR_LAUNCH_FAILED");
	expect_line(report, "wrong", "invariance: tiny llama, Q4_1: ");
	expect_line(report, "wrong", "times: ");
	expect_line(report, "wrong", "speed: ");
	assert_null(cJSON_GetObjectItem(report, "tokens"));
	cJSON_Delete(report);
}

static void test_no_end(void **state)
{
	cJSON *report;

	(void)state;
	assert_int_equal(RUN(&report, "--limit", "1ms"), 2);
	expect_line(report, "wrong", "card: it did not come to its end: no end in time");
	expect_text(report, "verdict", "no card");
	cJSON_Delete(report);
}

static void test_no_driver(void **state)
{
	const char *driver = getenv("ENGINE_LIBCUDA");
	cJSON *report;

	(void)state;
	assert_true(driver != NULL);
	if (!driver)
		return;
	setenv("ENGINE_LIBCUDA", "/nowhere/libcuda.so.1", 1);
	assert_int_equal(RUN(&report, "--only", "kernels"), 2);
	setenv("ENGINE_LIBCUDA", driver, 1);
	expect_line(report, "wrong", "no CUDA driver: /nowhere/libcuda.so.1");
	assert_null(cJSON_GetObjectItem(report, "kernels"));
	cJSON_Delete(report);
}

static void test_wrong_input(void **state)
{
	cJSON *report;

	(void)state;
	assert_int_equal(RUN(&report, "--only", "kernels,nothing"), 2);
	assert_null(report);
	assert_int_equal(RUN(&report, "-m", "/nowhere/model.gguf", "--only", "speed"), 1);
	expect_line(report, "wrong", "speed: /nowhere/model.gguf");
	cJSON_Delete(report);
}

/* What no emulated card comes to: shares of limits, and goals. */
static void test_goals(void **state)
{
	const struct check c = {.peak_bytes_per_s = 4e12, .read_bytes_per_s = 3e12};
	const struct check emulated = {.emulated = true};
	cJSON *o = object_new();

	(void)state;
	add_goal(&emulated, o, "nothing", 0.1, 0.9);
	assert_null(cJSON_GetObjectItem(o, "goals"));
	add_goal(&c, o, "decode", 0.9, 0.88);
	add_goal(&c, o, "prefill", 0.4321, 0.55);
	assert_int_equal(cJSON_GetArraySize(at(o, "goals")), 2);
	assert_true(cJSON_IsTrue(at(cJSON_GetArrayItem(at(o, "goals"), 0), "met")));
	assert_true(cJSON_IsFalse(at(cJSON_GetArrayItem(at(o, "goals"), 1), "met")));
	assert_int_equal(cJSON_GetArraySize(at(o, "slow")), 1);
	expect_line(o, "slow", "prefill: 43.2 % of the card's limit, the goal is 55 %");
	assert_int_equal(cJSON_GetArraySize(at(o, "wrong")), 0);
	add_bytes_per_s(&c, o, 1.5e12);
	assert_true(at(o, "share_of_peak")->valuedouble == 0.375);
	assert_true(at(o, "share_of_read")->valuedouble == 0.5);
	cJSON_Delete(o);
}

/* usage: test_gpu_check [brief]: without the run in which everything passes, for sanitizers. */
int main(int argc, char **argv)
{
	const struct CMUnitTest whole[] = {cmocka_unit_test(test_all_is_well)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failing_launches),
		cmocka_unit_test(test_no_end),
		cmocka_unit_test(test_no_driver),
		cmocka_unit_test(test_wrong_input),
		cmocka_unit_test(test_goals),
	};
	int fd = mkstemp(report_path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (argc < 2 || strcmp(argv[1], "brief") != 0)
		failed += cmocka_run_group_tests(whole, NULL, NULL);
	unlink(report_path);
	return failed;
}
