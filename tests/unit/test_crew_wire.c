/*
 * What workers say: rows with their events, cut anywhere, come out whole, in order and once; what
 * is cut short by a death does not come out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "loadgen/crew_wire.h"

enum { ROWS = 50 };

static struct record make_row(int i)
{
	struct record r;

	record_init(&r);
	r.request_id = 1000 + i;
	r.index = i;
	r.n_events = i % 7;
	snprintf(r.error, sizeof(r.error), "row %d", i);
	if (r.n_events)
		r.event = calloc((size_t)r.n_events, sizeof(*r.event));
	for (int k = 0; k < r.n_events; k++)
		r.event[k] = (struct token_event){100 * i + k, k + 1, k % 2 == 1};
	return r;
}

static void put_all(struct buf *out)
{
	for (int i = 0; i < ROWS; i++) {
		struct crew_tick tick = {.t_ns = i, .tokens = INT64_C(3) * i};
		struct record r = make_row(i);

		assert_true(crew_put_row(out, &r, INT64_C(10) * i));
		assert_true(crew_put(out, CREW_TICK, &tick, sizeof(tick), NULL, 0));
		record_release(&r);
	}
}

static void check_row(const struct crew_message *m, int i)
{
	struct crew_row row = crew_read_row(m);
	char error[32];

	snprintf(error, sizeof(error), "row %d", i);
	assert_int_equal(row.t_ns, 10 * i);
	assert_int_equal(row.rec.request_id, 1000 + i);
	assert_string_equal(row.rec.error, error);
	assert_int_equal(row.rec.n_events, i % 7);
	for (int k = 0; k < row.rec.n_events; k++) {
		assert_int_equal(row.rec.event[k].t_ns, 100 * i + k);
		assert_int_equal(row.rec.event[k].tokens, k + 1);
		assert_int_equal(row.rec.event[k].merged, k % 2 == 1);
	}
	record_release(&row.rec);
}

/* Feeds the first `bytes` of what was put, in random pieces; returns how many messages came out. */
static int take_all(const char *text, size_t bytes, uint64_t seed)
{
	struct crew_message m;
	struct buf in;
	struct rng r;
	int n = 0;

	rng_init(&r, seed, "crew wire", 0);
	buf_init(&in, 1u << 20);
	for (size_t at = 0, piece; at < bytes; at += piece) {
		piece = 1 + (size_t)rng_below(&r, 700);
		if (piece > bytes - at)
			piece = bytes - at;
		assert_true(buf_append(&in, text + at, piece));
		while (crew_take(&in, &m)) {
			struct crew_tick tick;

			if (n % 2 == 0) {
				check_row(&m, n / 2);
			} else {
				assert_int_equal(m.what, CREW_TICK);
				memcpy(&tick, m.body, sizeof(tick));
				assert_int_equal(tick.tokens, 3 * (n / 2));
			}
			n++;
		}
	}
	buf_release(&in);
	return n;
}

static void test_cuts(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1u << 20);
	put_all(&out);
	for (uint64_t seed = 0; seed < 20; seed++)
		assert_int_equal(take_all(buf_head(&out), buf_size(&out), seed), 2 * ROWS);
	assert_int_equal(take_all(buf_head(&out), buf_size(&out) - 1, 0), 2 * ROWS - 1);
	buf_release(&out);
}

static void test_cap(void **state)
{
	struct record r = make_row(6);
	struct buf out;

	(void)state;
	buf_init(&out, 64);
	assert_false(crew_put_row(&out, &r, 0));
	assert_int_equal(buf_size(&out), 0);
	buf_release(&out);
	record_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
