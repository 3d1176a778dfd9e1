/*
 * The figures of very many gaps against those of a struct sample of the same values.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"
#include "base/units.h"
#include "loadgen/gaps.h"
#include "loadgen/stats.h"

static const double wanted[] = {0, 50, 90, 95, 99, 100};

static void compare(const struct gaps *g)
{
	double got[ARRAY_LEN(wanted)];
	struct gap_figures f;
	struct sample s = {0};

	gaps_figures(g, wanted, got, ARRAY_LEN(wanted), &f);
	for (size_t i = 0; i < g->n; i++)
		sample_add(&s, ns_to_ms(g->ns[i]));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		assert_true(fabs(got[i] - sample_percentile(&s, wanted[i])) <= 1e-12 * got[i]);
	assert_true(fabs(f.mean_ms - sample_mean(&s)) <= 1e-9 * f.mean_ms);
	assert_true(fabs(f.std_ms - sample_std(&s)) <= 1e-6 * f.mean_ms);
	assert_true(f.max_ms == sample_max(&s));
	sample_release(&s);
}

/* From one value to many; all alike, in a few bins, over all magnitudes. */
static void test_as_a_sample(void **state)
{
	static const uint64_t below[] = {1, 100, 4000000, UINT64_C(1) << 45};
	static const size_t sizes[] = {1, 2, 3, 64, 20000};
	struct rng r;

	(void)state;
	rng_init(&r, 3, "gaps", 0);
	for (size_t k = 0; k < ARRAY_LEN(below); k++) {
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			struct gaps g = {0};

			for (size_t n = 0; n < sizes[i]; n++)
				*gaps_extend(&g, 1) =
					(int64_t)(rng_below(&r, below[k]) >> rng_below(&r, 8));
			compare(&g);
			gaps_release(&g);
		}
	}
}

static void test_none(void **state)
{
	const struct gaps none = {0};
	double got[ARRAY_LEN(wanted)];
	struct gap_figures f;

	(void)state;
	gaps_figures(&none, wanted, got, ARRAY_LEN(wanted), &f);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		assert_true(isnan(got[i]));
	assert_true(isnan(f.mean_ms) && isnan(f.std_ms) && isnan(f.max_ms));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_a_sample),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
