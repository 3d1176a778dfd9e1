/*
 * When a level is given up: late first tokens in a row, time limits among them, and the queue.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "loadgen/stop_rule.h"

static struct record answer(enum outcome outcome, int64_t ttft_ms)
{
	struct record r;

	record_init(&r);
	r.outcome = outcome;
	r.streamed = true;
	r.sched_ns = 0;
	r.send_ns = 90 * NS_PER_MS; /* late itself: it counts from the plan */
	r.token1_ns = ttft_ms * NS_PER_MS;
	return r;
}

static void test_late_in_a_row(void **state)
{
	/* l = late, t = ran into a time limit, f = failed at once, . = in time, c = cancelled */
	static const struct {
		const char *answers;
		bool stops; /* with the last of them */
	} row[] = {
		{"lllll", true}, {"llll.lllll", true},	{"llll.llll", false},
		{"ltltl", true}, {"llllf", false},	{"llllflllll", true},
		{"llll", false}, {"cccccccccc", false}, {"..........", false},
	};
	const struct stop_spec spec = {.ttft_ns = 100 * NS_PER_MS}, none = {.waiting = 5};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct stop_rule rule = {0}, quiet = {0};
		bool stops = false;
		char why[96];

		for (const char *c = row[i].answers; *c; c++) {
			enum outcome o = *c == 't'   ? OUTCOME_TIMEOUT
					 : *c == 'f' ? OUTCOME_HTTP_5XX
					 : *c == 'c' ? OUTCOME_CANCELLED
						     : OUTCOME_OK;
			struct record r = answer(o, *c == 'l' ? 101 : 100);

			assert_false(stops); /* not before the last */
			stops = stop_rule_ended(&rule, &spec, &r, why);
			assert_false(stop_rule_ended(&quiet, &none, &r, why));
		}
		assert_int_equal(stops, row[i].stops);
	}
}

static void test_waiting(void **state)
{
	const struct stop_spec spec = {.waiting = 5}, none = {.ttft_ns = 1};
	char why[96];

	(void)state;
	assert_false(stop_rule_waiting(&spec, 5, why));
	assert_true(stop_rule_waiting(&spec, 6, why));
	assert_string_equal(why, "6 requests waiting in the engine (load.stop_when.waiting)");
	assert_false(stop_rule_waiting(&none, 1e6, why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late_in_a_row),
		cmocka_unit_test(test_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
