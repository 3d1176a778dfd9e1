/*
 * The program gpu_engine on a card, as a user starts it: the unchanged binary on the driver that
 * ENGINE_LIBCUDA names (ctest: the stand-in that interprets PTX). What it answers over loopback is
 * the processor's; what a card, its driver or its memory can do to it is told in a line, by an exit
 * code or by a status, and never by silence: alarm() ends a test that waits in vain.
 */
#define PROGRAM BINARY_DIR "/bin/gpu_engine"

#include "../support/program.h"
#include "../support/tiny_model.h"
#include "base/check.h"
#include "model/model_file.h"

#define COMPLETIONS "/v1/completions"

static char *model; /* its path */

static char *driver; /* what ENGINE_LIBCUDA names at the start */

/* The driver, or another one, and the stand-in's variables, "NAME=value" each, for the programs
 * that are started from now on. */
#define MAX_VARIABLES 4

static const char *const variables[] = {"PTXSIM_FAULTS", "PTXSIM_DEVICES", "PTXSIM_MEMORY",
					"PTXSIM_ASYNC"};

static void surroundings(const char *const *set)
{
	setenv("ENGINE_LIBCUDA", driver, 1);
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		unsetenv(variables[i]);
	setenv("PTXSIM_ON_FAULT", "error", 1);
	for (; set && *set; set++) {
		char *name = xstrdup(*set), *value = strchr(name, '=');

		*value++ = '\0';
		setenv(name, value, 1);
		free(name);
	}
}

static void start_on(struct engine *g, const char *device)
{
	const char *const args[] = {"-m",
				    model,
				    "--device",
				    device,
				    "--port",
				    "0",
				    "--ctx-size",
				    "128",
				    "--served-model-name",
				    "tiny",
				    "--max-num-batched-tokens",
				    "64",
				    NULL};

	start(g, args);
}

/* The status of an answer of `tokens`, and the rest of it. */
static int ask(const struct engine *g, int tokens, struct buf *answer)
{
	char *body = xasprintf("{\"model\":\"tiny\",\"prompt\":\"Once upon a time\","
			       "\"temperature\":0,\"ignore_eos\":true,\"max_tokens\":%d}",
			       tokens);
	int status = 0;

	request(g, "POST", COMPLETIONS, "", body, answer);
	assert_int_equal(sscanf(buf_head(answer), "HTTP/1.1 %d", &status), 1);
	free(body);
	return status;
}

/* From "text" to its end. */
static char *text_of(const struct buf *answer)
{
	const char *at = strstr(buf_head(answer), "\"text\":");

	assert_non_null(at);
	return xasprintf("%.*s", (int)strcspn(at, "}"), at);
}

/* ---- answers ---- */

static char *said_on(const char *device)
{
	struct engine g;
	struct buf b;
	char *text;

	start_on(&g, device);
	assert_int_equal(ask(&g, 6, &b), 200);
	text = text_of(&b);
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
	return text;
}

/* Work that a driver does at once, and work that it does when somebody waits for it. */
static void test_says_the_same(void **state)
{
	const char *const late[] = {"PTXSIM_ASYNC=late", NULL};
	char *cpu, *card, *behind;

	(void)state;
	surroundings(NULL);
	cpu = said_on("cpu");
	card = said_on("cuda");
	surroundings(late);
	behind = said_on("cuda");
	assert_string_equal(card, cpu);
	assert_string_equal(behind, cpu);
	free(cpu);
	free(card);
	free(behind);
}

/* ---- what fails while it answers ---- */

/* It fails in the middle of an answer, and is not mended: 503 then and ever after; what is not
 * about the card is answered still, and the program can be stopped. */
static void expect_broken(const char *fault)
{
	const char *const set[] = {fault, NULL};
	struct engine g;
	struct buf b;

	surroundings(set);
	start_on(&g, "cuda");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask(&g, 20, &b), 503);
		says(&b, "the engine failed while it computed this answer");
		buf_release(&b);
	}
	request(&g, "GET", "/metrics", "", "", &b);
	says(&b, "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 0.0");
	says(&b, "finished_reason=\"error\",model_name=\"tiny\"} 2.0");
	buf_release(&b);
	kill(g.pid, SIGTERM);
	read_all(g.err, &b);
	says(&b, "a step of 1 requests failed: CUDA: ");
	buf_release(&b);
	assert_int_equal(wait_for(&g), 0);
}

static void test_launch_fails(void **state)
{
	(void)state;
	expect_broken("PTXSIM_FAULTS=launch:60");
}

static void test_card_is_lost(void **state)
{
	(void)state;
	expect_broken("PTXSIM_FAULTS=lost:60");
}

/* Who was streaming gets what there was, the error as an event, and the end. */
static void test_breaks_a_stream(void **state)
{
	const char *const set[] = {"PTXSIM_FAULTS=lost:60", NULL};
	struct engine g;
	struct buf b;

	(void)state;
	surroundings(set);
	start_on(&g, "cuda");
	request(&g, "POST", COMPLETIONS, "",
		"{\"model\":\"tiny\",\"prompt\":\"Once upon a time\",\"ignore_eos\":true,"
		"\"max_tokens\":20,\"stream\":true}",
		&b);
	says(&b, "HTTP/1.1 200");
	says(&b, "\"text\":");
	says(&b, "data: {\"error\":{\"message\":\"the engine failed");
	says(&b, "data: [DONE]");
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
}

/* ---- what fails at the start ---- */

/* Exit code 2, nothing on stdout, one error on stderr. */
static void expect_refusal(const char *const *set, const char *what)
{
	const char *const args[] = {"-m", model, "--device", "cuda", "--port", "0", NULL};
	struct buf out, err;
	struct engine g;

	surroundings(set);
	spawn(&g, args);
	read_all(g.out, &out);
	read_all(g.err, &err);
	assert_int_equal(wait_for(&g), 2);
	assert_int_equal(buf_size(&out), 0);
	assert_int_equal(count(buf_head(&err), "error: "), 1);
	says(&err, what);
	buf_release(&out);
	buf_release(&err);
}

/* The processor serves, and a line says why. */
static void expect_fallback(const char *const *set, const char *what)
{
	struct engine g;
	struct buf b;

	surroundings(set);
	start_on(&g, "auto");
	assert_int_equal(ask(&g, 2, &b), 200);
	buf_release(&b);
	kill(g.pid, SIGTERM);
	read_all(g.err, &b);
	says(&b, what);
	assert_int_equal(count(buf_head(&b), "going on with --device cpu\n"), 1);
	buf_release(&b);
	assert_int_equal(wait_for(&g), 0);
}

static void test_at_the_start(void **state)
{
	static const struct {
		const char *set[MAX_VARIABLES];
		const char *says;
		bool fallback; /* it is known before the card is chosen */
	} rows[] = {
		{{"ENGINE_LIBCUDA=libm.so.6"}, "too old: it has no function cuInit", true},
		{{"PTXSIM_DEVICES=0"}, "a CUDA driver but no card", true},
		{{"PTXSIM_MEMORY=200000"}, "not enough memory", true},
		{{"PTXSIM_FAULTS=alloc:1"}, "CUDA_ERROR_OUT_OF_MEMORY", false},
		{{"PTXSIM_FAULTS=alloc:3"}, "CUDA_ERROR_OUT_OF_MEMORY", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		expect_refusal(rows[i].set, rows[i].says);
		if (rows[i].fallback)
			expect_fallback(rows[i].set, rows[i].says);
	}
}

static int make_model(void **state)
{
	int rc = make_folder(state);

	driver = xstrdup(getenv("ENGINE_LIBCUDA"));
	alarm(300); /* the stand-in under the sanitizers is slow */
	model = tiny_model_write(&(struct tiny_params){.dtype = DTYPE_F16, .untied = true},
				 MODEL_GGUF, folder);
	return rc;
}

static int remove_model(void **state)
{
	unlink(model);
	free(model);
	free(driver);
	return remove_folder(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_says_the_same), cmocka_unit_test(test_launch_fails),
		cmocka_unit_test(test_card_is_lost),  cmocka_unit_test(test_breaks_a_stream),
		cmocka_unit_test(test_at_the_start),
	};

	return cmocka_run_group_tests(tests, make_model, remove_model);
}
