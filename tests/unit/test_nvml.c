/*
 * The watch over cards, by a stand-in for the driver's library: which cards it looks at, that a
 * sample is there from the first moment, and that others follow. What is said where there is none:
 * test_gpu_watch.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/nvml.h"

#define STANDIN BINARY_DIR "/bin/libstandin_nvml.so"
#define NEVER	3600000000000 /* ns */

static void test_all_cards(void **state)
{
	struct nvml_sample first, later;
	struct nvml_watch *w;
	struct err e;

	(void)state;
	assert_int_equal(nvml_watch_new(&w, STANDIN, NULL, 1000000, &e), RC_OK);
	nvml_watch_newest(w, &first);
	assert_int_equal(first.n_cards, 2);
	assert_true(first.card[0].memory_bytes == 20.0 * (1 << 30));
	assert_true(first.card[0].utilisation == 0.5 && first.card[0].power_w == 312.5);
	assert_true(first.card[1].utilisation == 0.8 && isnan(first.card[1].power_w));
	do { /* until the thread has asked again */
		sched_yield();
		nvml_watch_newest(w, &later);
	} while (later.t_ns == first.t_ns);
	assert_true(later.t_ns > first.t_ns && later.n_cards == 2);
	nvml_watch_free(w);
}

static void test_one_card(void **state)
{
	struct nvml_sample sample;
	struct nvml_watch *w;
	struct err e;

	(void)state;
	assert_int_equal(nvml_watch_new(&w, STANDIN, "0000:01:00.0", NEVER, &e), RC_OK);
	nvml_watch_newest(w, &sample);
	assert_int_equal(sample.n_cards, 1);
	assert_true(sample.card[0].utilisation == 0.8);
	nvml_watch_free(w); /* does not wait for the next sample */
	assert_int_equal(nvml_watch_new(&w, STANDIN, "0000:77:00.0", NEVER, &e), RC_IO);
	assert_non_null(strstr(e.msg, "the driver finds none"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_cards),
		cmocka_unit_test(test_one_card),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
