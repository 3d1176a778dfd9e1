/*
 * rng: the published vectors, streams that are what they were and never meet, and draws without
 * bias.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/rng.h"

/* kat_vectors of Random123, by the authors of the paper: "philox4x32 10". */
static void test_known_answers(void **state)
{
	static const struct {
		uint32_t ctr[4], key[2], want[4];
	} rows[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t out[4];

		philox4x32_10(rows[i].key, rows[i].ctr, out);
		assert_memory_equal(out, rows[i].want, sizeof(out));
	}
}

/* Worked out by a second implementation. Whoever changes these changes every run that was ever
 * seeded. */
static void test_streams_stay_what_they_are(void **state)
{
	static const struct {
		uint64_t seed;
		const char *purpose;
		uint64_t index;
		uint32_t want[6];
	} rows[] = {
		{0,
		 "prompts",
		 0,
		 {0x942cc790, 0x3dcd891b, 0xb48a8a1b, 0xfaeb85c4, 0x76ef9dcb, 0xb1dfe6f1}},
		{1,
		 "arrivals",
		 7,
		 {0xd5143224, 0xee085d67, 0x278ef64f, 0xd8948cd7, 0xf3e436a4, 0xf6ba43ad}},
		{UINT64_MAX,
		 "arrivals",
		 UINT64_C(1) << 40,
		 {0x078e6615, 0x65ff0d7c, 0x2874d893, 0xc05ad51b, 0xb2e53c9d, 0x1b49b976}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rng r;

		rng_init(&r, rows[i].seed, rows[i].purpose, rows[i].index);
		for (size_t k = 0; k < ARRAY_LEN(rows[i].want); k++)
			assert_int_equal(rng_u32(&r), rows[i].want[k]);
		rng_init(&r, rows[i].seed, rows[i].purpose, rows[i].index);
		assert_true(rng_u64(&r) == ((uint64_t)rows[i].want[1] << 32 | rows[i].want[0]));
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* 64 bits of 80,000 draws: two alike would be a one in 5 billion chance, or streams that share
 * blocks. */
static void test_streams_do_not_meet(void **state)
{
	static const char *const purposes[] = {"prompts", "arrivals", "lengths", "think", "a"};
	enum { SEEDS = 10, INDICES = 40, DRAWS = 40 };
	size_t n = 0, total = ARRAY_LEN(purposes) * SEEDS * INDICES * DRAWS;
	uint64_t *v = malloc(total * sizeof(*v));

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++)
		for (size_t p = 0; p < ARRAY_LEN(purposes); p++)
			for (uint64_t index = 0; index < INDICES; index++) {
				struct rng r;

				rng_init(&r, seed, purposes[p], index);
				for (int i = 0; i < DRAWS; i++)
					v[n++] = rng_u64(&r);
			}
	assert_int_equal(n, total);
	qsort(v, n, sizeof(*v), compare);
	for (size_t i = 1; i < n; i++)
		assert_true(v[i] != v[i - 1]);
	free(v);
}

/* The 2^32nd block is followed by the next one, not by the first, and the index stays as it is. */
static void test_long_stream(void **state)
{
	struct rng r, first;
	uint32_t ctr[4], want[4];

	(void)state;
	rng_init(&r, 1, "prompts", 0x500000003);
	first = r;
	r.ctr[0] = UINT32_MAX;
	for (int i = 0; i < 4; i++)
		rng_u32(&r);
	memcpy(ctr, (uint32_t[]){0, 1, 3, 5}, sizeof(ctr));
	philox4x32_10(first.key, ctr, want);
	for (int i = 0; i < 4; i++)
		assert_int_equal(rng_u32(&r), want[i]);
}

static void test_unit(void **state)
{
	enum { N = 200000 };
	double sum = 0, low = 1, high = 0;
	struct rng r;

	(void)state;
	rng_init(&r, 1, "unit", 0);
	for (int i = 0; i < N; i++) {
		double u = rng_unit(&r);

		assert_true(u >= 0 && u < 1);
		sum += u;
		low = u < low ? u : low;
		high = u > high ? u : high;
	}
	assert_true(sum / N > 0.4975 && sum / N < 0.5025); /* 4 standard errors */
	assert_true(low < 1e-4 && high > 1 - 1e-4);

	/* all bits set is the largest double below 1 */
	r.left = 2;
	r.out[2] = r.out[3] = UINT32_MAX;
	assert_true(rng_unit(&r) == 1 - 0x1p-53);
}

static void test_below(void **state)
{
	static const uint64_t bounds[] = {1, 2, 3, 10, 1000, UINT64_C(3) << 62, UINT64_MAX};
	enum { N = 30000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		uint64_t in_lowest_third = 0, third = bounds[i] / 3;
		double share = (double)third / (double)bounds[i];
		struct rng r;

		rng_init(&r, 1, "below", i);
		for (int k = 0; k < N; k++) {
			uint64_t x = rng_below(&r, bounds[i]);

			assert_true(x < bounds[i]);
			in_lowest_third += x < third;
		}
		/* a plain remainder would put half of the numbers below a third of 3 * 2^62 */
		assert_true((double)in_lowest_third > N * (share - 0.012));
		assert_true((double)in_lowest_third < N * (share + 0.012));
	}
}

/* Wherever a stream is met, and wherever it is left. */
static void test_below_many(void **state)
{
	static const uint64_t bounds[] = {1, 2, 3, 10, 8192, 100003, UINT32_MAX, UINT64_C(1) << 32};
	uint32_t many[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		for (size_t n = 0; n < ARRAY_LEN(many); n++) {
			struct rng a, b;

			rng_init(&a, 1, "below many", i);
			rng_init(&b, 1, "below many", i);
			a.ctr[0] = b.ctr[0] = UINT32_MAX - 3; /* its carry too */
			for (size_t k = 0; k < n % 7; k++)
				assert_int_equal(rng_u32(&a), rng_u32(&b));
			rng_below_many(&a, bounds[i], many, n);
			for (size_t k = 0; k < n; k++)
				assert_int_equal(many[k], rng_below(&b, bounds[i]));
			assert_int_equal(rng_u64(&a), rng_u64(&b));
		}
	}
}

static void test_shuffle(void **state)
{
	enum { N = 60000 };
	int times[27] = {0};
	uint32_t big[1000];
	bool seen[1000] = {false};
	int kinds = 0;
	struct rng r;

	(void)state;
	rng_init(&r, 1, "shuffle", 0);
	for (int i = 0; i < N; i++) {
		uint32_t v[3] = {0, 1, 2};

		rng_shuffle(&r, v, 3);
		times[9 * v[0] + 3 * v[1] + v[2]]++;
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		if (!times[i])
			continue;
		kinds++;
		assert_in_range(times[i], 10000 - 400, 10000 + 400); /* 4 standard deviations */
	}
	assert_int_equal(kinds, 6);

	for (uint32_t i = 0; i < 1000; i++)
		big[i] = i;
	rng_shuffle(&r, big, 1000);
	for (size_t i = 0; i < 1000; i++) {
		assert_false(seen[big[i]]);
		seen[big[i]] = true;
	}
	rng_shuffle(&r, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_streams_stay_what_they_are),
		cmocka_unit_test(test_streams_do_not_meet),
		cmocka_unit_test(test_long_stream),
		cmocka_unit_test(test_unit),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_below_many),
		cmocka_unit_test(test_shuffle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
