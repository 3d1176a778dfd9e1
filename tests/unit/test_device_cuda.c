/*
 * The card's row of the device table where there is no card: each thing that is missing is one
 * line, --device cuda ends with it, --device auto goes on with the processor. ENGINE_LIBCUDA stands
 * for the drivers of other machines. What the executor computes: tests/gpu/test_executor_cuda.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../support/tiny_model.h"
#include "base/check.h"
#include "cuda/modules.h"
#include "gpu_engine/device.h"

static struct device_wish wish(const struct tiny_model *t, struct evloop *loop)
{
	return (struct device_wish){
		.loop = loop,
		.model = t->model,
		.file = t->file,
		.max_len = 100,
		.max_seqs = 3,
		.max_tokens = 32,
		.block_size = 16,
	};
}

static void expect_refusal(const struct device_wish *w, enum rc rc, const char *says)
{
	struct device_plan p;
	struct err e;

	assert_int_equal(device_plan(&p, "cuda", w, &e), rc);
	if (!strstr(e.msg, says) || strchr(e.msg, '\n'))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
	assert_null(p.device); /* nothing is left to be released */

	assert_int_equal(device_plan(&p, "auto", w, &e), RC_OK);
	assert_string_equal(p.device->name, "cpu");
	device_plan_release(&p);
}

/* A library that is not there, and one that is no driver. */
static void test_no_driver(void **state)
{
	static const struct {
		const char *library, *says;
	} rows[] = {
		{"/no/such/libcuda.so.1", "no CUDA driver: /no/such/libcuda.so.1"},
		{"libm.so.6", "too old: it has no function cuInit"},
	};
	struct tiny_model t;
	struct evloop *loop = evloop_new();
	struct device_wish w;

	(void)state;
	tiny_model_open(&t, &(struct tiny_params){0}, MODEL_GGUF);
	w = wish(&t, loop);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		setenv("ENGINE_LIBCUDA", rows[i].library, 1);
		expect_refusal(&w, RC_IO, gpu_n_modules > 0 ? rows[i].says : "built without nvcc");
	}
	unsetenv("ENGINE_LIBCUDA");
	tiny_model_close(&t);
	evloop_free(loop);
}

/* Flags of the processor, and a model that the kernels do not have: told before any driver is
 * looked for. */
static void test_what_it_can_not(void **state)
{
	struct tiny_model t;
	struct evloop *loop = evloop_new();
	struct device_wish w;

	(void)state;
	setenv("ENGINE_LIBCUDA", "/no/such/libcuda.so.1", 1);
	tiny_model_open(&t, &(struct tiny_params){.head_dim = 4}, MODEL_GGUF);
	w = wish(&t, loop);
	expect_refusal(&w, RC_INPUT, "heads of 4 dimensions");
	w.threads = 1;
	expect_refusal(&w, RC_INPUT, "--threads");
	w.isa = "scalar";
	expect_refusal(&w, RC_INPUT, "--isa");
	unsetenv("ENGINE_LIBCUDA");
	tiny_model_close(&t);
	evloop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_driver),
		cmocka_unit_test(test_what_it_can_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
