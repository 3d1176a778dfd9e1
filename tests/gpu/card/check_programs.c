/*
 * Owns the test programs of ../simt as they are built for a card: runs them, and reads from their
 * TAP which tests passed; the same again under compute-sanitizer. Also whether each kernel has been
 * launched by some test. Must not know what is tested.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "check.h"
#include "children.h"
#include "cuda/launch.h"

#define PROGRAM_S      120  /* a kernel that waits for itself is not the whole check's end */
#define SANITIZER_CODE "86" /* no code of cmocka's */
#define MAX_MESSAGE    400
#define MAX_COUNTS     (1U << 20)

static const char *const programs[] = {CARD_PROGRAMS};

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- TAP ---- */

/* "# what failed" lines behind a test's own, as one. */
static void take_message(char *out, size_t size, const char *rest)
{
	size_t n = 0;

	while (*rest == '#' && strncmp(rest, "# ok", 4) != 0 && strncmp(rest, "# not ok", 8) != 0) {
		size_t line = strcspn(rest, "\n");

		n += (size_t)snprintf(out + n, size - n, "%s%.*s", n ? "; " : "",
				      (int)(line > 2 ? line - 2 : 0), rest + 2);
		if (n >= size)
			break;
		rest += line + (rest[line] == '\n');
	}
}

/* Every test a member of `tests`: true, or why not. Returns how many have passed. */
static int read_tap(cJSON *tests, const char *text)
{
	int passed = 0;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		char name[64] = "", message[MAX_MESSAGE] = "it failed";
		int number;

		if (sscanf(line, "ok %d - %63[A-Za-z0-9_]", &number, name) == 2) {
			cJSON_AddTrueToObject(tests, name);
			passed++;
		} else if (sscanf(line, "not ok %d - %63[A-Za-z0-9_]", &number, name) == 2) {
			const char *next = strchr(line, '\n');

			take_message(message, sizeof(message), next ? next + 1 : "");
			cJSON_AddStringToObject(tests, name, message);
		}
	}
	return passed;
}

/* ---- one run ---- */

struct run {
	const char *program;
	const char *wrapper[6]; /* NULL-terminated; empty = none */
	const char *environment[4];
	int64_t end_ns;
};

/* The last lines of what was said, where a crash or a sanitizer tells why. */
static const char *tail_of(const struct child *child)
{
	const char *text = buf_head(&child->said);
	size_t n = buf_size(&child->said);

	return n > MAX_MESSAGE ? text + n - MAX_MESSAGE : text;
}

/* True if all of its tests passed. */
static bool run_tests(const struct check *c, const struct run *run, cJSON *list, cJSON *phase)
{
	char *path = xasprintf("%s/%s", c->folder, run->program);
	cJSON *o = cJSON_CreateObject(), *tests, *test;
	const char *argv[8];
	struct child child;
	int n = 0, passed;

	for (int i = 0; run->wrapper[i]; i++)
		argv[n++] = run->wrapper[i];
	argv[n++] = path;
	argv[n] = NULL;
	child_program(&child, argv, run->environment, run->end_ns);
	cJSON_AddStringToObject(o, "program", run->program);
	json_add_number(o, "took_s", child.took_s);
	tests = cJSON_AddObjectToObject(o, "tests");
	passed = read_tap(tests, buf_head(&child.said));
	cJSON_ArrayForEach(test, tests)
	{
		if (cJSON_IsString(test))
			add_wrong(phase, "%s: %s: %s", run->program, test->string,
				  test->valuestring);
	}
	if (child.how[0] && passed == cJSON_GetArraySize(tests))
		add_wrong(phase, "%s: %s: %s", run->program, child.how, tail_of(&child));
	else if (passed == 0 && !child.how[0])
		add_wrong(phase, "%s: no test has run", run->program);
	cJSON_AddItemToArray(list, o);
	child_release(&child);
	free(path);
	return passed > 0 && passed == cJSON_GetArraySize(tests) && !child.how[0];
}

/* ---- each kernel ---- */

/* Lines "kernel launches", one program's behind another's. */
static void add_launches(cJSON *phase, const char *path)
{
	cJSON *launches = cJSON_AddObjectToObject(phase, "launches");
	int64_t count[GPU_KERNEL_COUNT] = {0};
	FILE *f = fopen(path, "r");
	char name[64];
	long long n;

	while (f && fscanf(f, "%63s %lld", name, &n) == 2)
		for (int k = 0; k < GPU_KERNEL_COUNT; k++)
			if (strcmp(gpu_kernel_info((enum gpu_kernel)k)->name, name) == 0)
				count[k] += n;
	if (f)
		fclose(f);
	for (int k = 0; k < GPU_KERNEL_COUNT; k++) {
		const char *kernel = gpu_kernel_info((enum gpu_kernel)k)->name;

		json_add_number(launches, kernel, (double)count[k]);
		if (count[k] == 0)
			add_wrong(phase, "%s: no test has launched it", kernel);
	}
}

cJSON *check_kernels(const struct check *c)
{
	char counts[] = "/tmp/gpu-check.XXXXXX", *counts_env;
	cJSON *phase = object_new(), *list = cJSON_AddArrayToObject(phase, "programs");
	int fd = mkstemp(counts);

	if (fd < 0)
		die("%s: can not be made", counts);
	close(fd);
	counts_env = xasprintf("BENCH_COUNTS=%s", counts);
	for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
		int64_t now_ns = monotonic_now_ns();
		const struct run run = {.program = programs[i],
					.environment = {"CMOCKA_MESSAGE_OUTPUT=TAP", counts_env},
					.end_ns =
						earlier(c->end_ns, now_ns + PROGRAM_S * NS_PER_S)};

		log_info("kernels: %s", programs[i]);
		run_tests(c, &run, list, phase);
	}
	add_launches(phase, counts);
	unlink(counts);
	free(counts_env);
	return phase;
}

/* ---- compute-sanitizer ---- */

cJSON *check_sanitizer(const struct check *c)
{
	static const char *const tools[] = {"memcheck", "racecheck", "synccheck"};
	cJSON *phase = object_new();

	if (!c->sanitizer) {
		cJSON_AddStringToObject(phase, "skipped", "compute-sanitizer is not installed");
		return phase;
	}
	/* The stand-in proves the way, once. */
	for (size_t t = 0; t < (c->emulated ? 1 : ARRAY_LEN(tools)); t++) {
		cJSON *list = cJSON_AddArrayToObject(phase, tools[t]);

		for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
			const struct run run = {
				.program = programs[i],
				.wrapper = {c->sanitizer, "--tool", tools[t], "--error-exitcode",
					    SANITIZER_CODE},
				.environment = {"CMOCKA_MESSAGE_OUTPUT=TAP", "BENCH_EXACT=1"},
				.end_ns = c->end_ns};

			log_info("sanitizer: %s, %s", tools[t], programs[i]);
			run_tests(c, &run, list, phase);
		}
	}
	return phase;
}
