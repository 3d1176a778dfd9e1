/*
 * What the processor's executor is given, and the refusals with their numbers before anything is
 * loaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "../support/tiny_model.h"
#include "base/check.h"
#include "gpu_engine/device.h"

#define TIB (1LL << 40)

struct world {
	struct tiny_model t;
	struct evloop *loop;
};

static struct device_wish wish(const struct world *w)
{
	return (struct device_wish){
		.loop = w->loop,
		.model = w->t.model,
		.file = w->t.file,
		.threads = 1,
		.isa = "scalar",
		.max_len = 100,
		.max_seqs = 3,
		.max_tokens = 32,
		.block_size = 16,
	};
}

static int world_open(void **state)
{
	static struct world w;

	tiny_model_open(&w.t, &(struct tiny_params){0}, MODEL_GGUF);
	w.loop = evloop_new();
	*state = &w;
	return 0;
}

static int world_close(void **state)
{
	struct world *w = *state;

	evloop_free(w->loop);
	tiny_model_close(&w->t);
	return 0;
}

/* Full contexts for all, in whole pages, and the null block; or as many as --kv-cache holds. */
static void test_sizes(void **state)
{
	struct device_wish d = wish(*state);
	struct device_plan p;
	int64_t page;
	struct err e;

	if (device_plan(&p, "auto", &d, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(p.num_blocks, 3 * 7 + 1);
	assert_true(p.weight_bytes > 0 && p.scratch_bytes > 0 && p.free_bytes > 0);
	assert_string_equal(p.where, "CPU, 1 threads, scalar");
	page = p.kv_bytes / p.num_blocks;
	assert_int_equal(page * p.num_blocks, p.kv_bytes);
	device_plan_release(&p);

	d.kv_bytes = 10 * page + 1;
	assert_int_equal(device_plan(&p, "cpu", &d, &e), RC_OK);
	assert_int_equal(p.num_blocks, 11);
	device_plan_release(&p);
}

static void expect_refusal(const struct device_wish *d, const char *name, const char *const *says)
{
	struct device_plan p;
	struct err e;

	assert_int_equal(device_plan(&p, name, d, &e), RC_INPUT);
	for (int i = 0; says[i]; i++)
		if (!strstr(e.msg, says[i]))
			fail_msg("\"%s\" does not say \"%s\"", e.msg, says[i]);
	device_plan_release(&p);
}

static void test_refusals(void **state)
{
	struct device_wish d = wish(*state);

	d.kv_bytes = 64 * TIB;
	expect_refusal(&d, "cpu",
		       (const char *const[]){"not enough memory", "weights ", "KV cache 64.0 TiB",
					     "scratch ", " are free", NULL});
	d.kv_bytes = 20000; /* a page, not the seven that a context takes */
	expect_refusal(
		&d, "cpu",
		(const char *const[]){"--kv-cache", "hold 32 tokens", "--ctx-size 100", NULL});
	d.graphs = "off";
	expect_refusal(&d, "cpu", (const char *const[]){"--graphs", NULL});
	d.graphs = NULL;
	d.isa = "mmx";
	expect_refusal(&d, "cpu", (const char *const[]){"mmx", "scalar", NULL});
	expect_refusal(&d, "tpu", (const char *const[]){"--device tpu", "auto", "cpu", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, world_open, world_close);
}
