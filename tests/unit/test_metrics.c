/*
 * The definitions of measurement.md section 2 against closed forms: records of engines whose
 * figures can be worked out by hand.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/units.h"
#include "loadgen/metrics.h"
#include "synthetic.h"

#define START_NS INT64_C(7000000000)

static void near_percent(double got, double want, double percent)
{
	if (!(fabs(got - want) <= fabs(want) * percent / 100))
		print_error("got %.6g, want %.6g\n", got, want);
	assert_true(fabs(got - want) <= fabs(want) * percent / 100);
}

/* One closed level of n requests of 128 tokens. */
static struct point closed_point(const struct synth_engine *e, int concurrency, int64_t n,
				 struct slo slo)
{
	struct level level = {.kind = LOAD_CLOSED, .concurrency = concurrency, .requests = n};
	struct scenario s = {.levels = &level, .n_levels = 1, .slo = slo};
	struct synth_run run;
	struct point p;

	synth_run_init(&run, 1);
	synth_level(&run, e, &s, 0, 0, 0, 0, n, 128, START_NS);
	synth_point(&p, &run, &s, 0, run.n, START_NS);
	synth_run_release(&run);
	return p;
}

/* The seed benchmark's two engines: both readings, and every figure of a constant service. */
static void test_seed_demo(void **state)
{
	static const struct synth_engine vllm = {.prefill_ms = 84, .step_ms = 4, .constant = true};
	static const struct synth_engine friendli = {
		.prefill_ms = 32, .step_ms = 2, .constant = true};
	static const struct {
		const struct synth_engine *engine;
		int concurrency;
		double seed, aggregate;
	} cases[] = {
		{&vllm, 1, 38.89, 216.2},	{&vllm, 2, 63.33, 432.4},
		{&vllm, 4, 98.74, 864.9},	{&vllm, 8, 144.14, 1441.4},
		{&vllm, 16, 194.59, 2162.2},	{&friendli, 1, 80.51, 447.6},
		{&friendli, 2, 131.09, 895.1},	{&friendli, 4, 204.38, 1790.2},
		{&friendli, 8, 298.37, 2983.7}, {&friendli, 16, 402.80, 4475.5},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int c = cases[i].concurrency;
		const struct synth_engine *e = cases[i].engine;
		double latency_s = (e->prefill_ms + 127 * e->step_ms) / 1e3;
		struct point p = closed_point(e, c, 20, (struct slo){0});

		assert_int_equal(p.planned, 20);
		assert_int_equal(p.ok, 20);
		assert_int_equal(p.output_tokens, 20 * 128);
		near_percent(p.seed_mean_tps, cases[i].seed, 0.02);
		near_percent(p.output_tokens_per_s, cases[i].aggregate, 0.02);
		near_percent(p.requests_per_min, 60 * cases[i].aggregate / 128, 0.02);
		near_percent(p.single_stream_tps, 128 / latency_s, 1e-6);
		near_percent(p.m[M_TTFT][S_P50], e->prefill_ms, 1e-6);
		near_percent(p.m[M_TPOT][S_P99], e->step_ms, 1e-6);
		near_percent(p.m[M_ITL][S_MAX], e->step_ms, 1e-6);
		near_percent(p.m[M_ITL_PER_TOKEN][S_MEAN], e->step_ms, 1e-6);
		near_percent(p.m[M_E2EL][S_MEAN], 1e3 * latency_s, 1e-6);
		near_percent(p.steady_output_tokens_per_s, c * 128 / latency_s, 0.01);
		near_percent(p.peak_running, c, 0);
		near_percent(p.littles_ratio, 1, 1e-6);
		near_percent(p.batch_ratio, 1, 1e-6);
		assert_true(isnan(p.achieved_rate));
		assert_true(isnan(p.goodput_per_s));
		assert_int_equal(p.verdict, VERDICT_OK);
		assert_false(point_enough(&p, M_TTFT, S_P99));
		assert_false(point_trusted(&p));
	}
}

/* Four slots served in order: c * sum(out) / sum(wall) rises with c, what the server does does not.
 */
static void test_fifo_server_stays_flat(void **state)
{
	static const struct synth_engine four = {
		.prefill_ms = 80, .step_ms = 30, .slots = 4, .constant = true};
	static const struct {
		int concurrency;
		double naive;
	} cases[] = {{4, 131.6}, {16, 140.0}, {32, 153.0}, {64, 188.0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int c = cases[i].concurrency;
		struct point p = closed_point(&four, c, 100, (struct slo){0});
		double mean_latency_s = p.m[M_E2EL][S_MEAN] / 1e3;

		near_percent(c * 128 / mean_latency_s, cases[i].naive,
			     0.1); /* the trap is really there */
		near_percent(p.output_tokens_per_s, 131.6, 0.1);
		near_percent(p.steady_output_tokens_per_s, 131.6,
			     3); /* the first tokens take the prefill */
		/* X = C * tokens / E2EL with the concurrency that was really there */
		near_percent(p.output_tokens_per_s, p.mean_running * 128 / mean_latency_s, 1e-6);
		near_percent(p.littles_ratio, 1, 1e-6);
	}
}

/* Fewer requests than clients: the asked concurrency was never there, so there is no steady figure.
 */
static void test_never_steady(void **state)
{
	static const struct synth_engine e = {.prefill_ms = 10, .step_ms = 1, .constant = true};
	struct point p = closed_point(&e, 32, 20, (struct slo){0});

	(void)state;
	assert_true(isnan(p.steady_output_tokens_per_s));
	near_percent(p.peak_running, 20, 0);
}

static void test_goodput(void **state)
{
	/* 20 requests at once on 4 slots: TTFT 100, 227 + 100, ... ms in five waves */
	static const struct synth_engine e = {
		.prefill_ms = 100, .step_ms = 1, .slots = 4, .constant = true};
	static const struct {
		struct slo slo;
		int good;
	} cases[] = {
		{{.ttft_ns = 100 * NS_PER_MS}, 4},
		{{.ttft_ns = 99 * NS_PER_MS}, 0},
		{{.ttft_ns = 327 * NS_PER_MS}, 8},
		{{.e2el_ns = 700 * NS_PER_MS}, 12},
		{{.ttft_ns = 327 * NS_PER_MS, .e2el_ns = 300 * NS_PER_MS}, 4},
		{{.tpot_ns = 1 * NS_PER_MS}, 20},
		{{.tpot_ns = 1 * NS_PER_MS - 1}, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct point p = closed_point(&e, 20, 20, cases[i].slo);

		near_percent(p.goodput_per_s, cases[i].good / (5 * 0.227), 1e-6);
		near_percent(p.goodput_share, cases[i].good / 20.0, 1e-6);
	}
}

/* ---- records by hand ---- */

struct hand {
	struct level level;
	struct scenario s;
	struct synth_run run;
};

static void hand_init(struct hand *h, struct level level)
{
	h->level = level;
	h->s = (struct scenario){.levels = &h->level, .n_levels = 1};
	synth_run_init(&h->run, 1);
}

/* Tokens at the given ms after START_NS, sent at sent_ms, planned for sched_ms. */
static struct record *hand_add(struct hand *h, double sched_ms, double sent_ms,
			       const double *token_ms, int n)
{
	struct record *r = synth_add(&h->run, 0, 0, 0, 0, (int64_t)h->run.n, n > 0 ? n : 1,
				     START_NS + (int64_t)llround(sched_ms * 1e6));

	synth_send(r, START_NS + (int64_t)llround(sent_ms * 1e6));
	for (int i = 0; i < n; i++)
		synth_token(r, START_NS + (int64_t)llround(token_ms[i] * 1e6));
	synth_end(r, r->token_last_ns);
	return r;
}

static struct point hand_point(struct hand *h)
{
	struct point p;

	synth_point(&p, &h->run, &h->s, 0, h->run.n, START_NS);
	synth_run_release(&h->run);
	return p;
}

static const struct level closed1 = {.kind = LOAD_CLOSED, .concurrency = 1};

/* planned = ok + failed + dropped; the tokens of failures are wasted, their latencies in no figure.
 */
static void test_outcomes(void **state)
{
	static const double quick[] = {10, 20, 30}, slow[] = {1000, 5000};
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	hand_add(&h, 0, 0, quick, 3);
	r = hand_add(&h, 30, 30, slow, 2);
	r->outcome = OUTCOME_TRUNCATED;
	r = hand_add(&h, 5000, 5000, NULL, 0);
	r->outcome = OUTCOME_HTTP_5XX;
	r->output_tokens = -1;
	r->done_ns = START_NS + 6000 * NS_PER_MS;
	synth_add(&h.run, 0, 0, 0, 0, 3, 5, START_NS);
	p = hand_point(&h);

	assert_int_equal(p.planned, 4);
	assert_int_equal(p.ok, 1);
	assert_int_equal(p.failed, 2);
	assert_int_equal(p.dropped, 1);
	assert_int_equal(p.by_outcome[OUTCOME_TRUNCATED], 1);
	assert_int_equal(p.by_outcome[OUTCOME_HTTP_5XX], 1);
	assert_int_equal(p.wasted_tokens, 2);
	assert_int_equal(p.samples[M_TTFT], 1);
	near_percent(p.m[M_TTFT][S_MAX], 10, 1e-9);
	near_percent(p.duration_s, 6,
		     1e-9); /* first send to the end of the last, failures included */
	near_percent(p.output_tokens_per_s, 0.5, 1e-9);
	assert_true(isnan(p.littles_ratio));
}

/* Requests that load.cancel has given up are none of the planned, no failures, and in no latency.
 */
static void test_cancelled_as_planned(void **state)
{
	static const double quick[] = {10, 20, 30};
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	hand_add(&h, 0, 0, quick, 3);
	r = hand_add(&h, 30, 30, quick, 2);
	r->outcome = OUTCOME_CANCELLED;
	r->cancelled_as_planned = true;
	r = hand_add(&h, 60, 60, quick, 1); /* and this one ran into the grace period */
	r->outcome = OUTCOME_CANCELLED;
	p = hand_point(&h);
	assert_int_equal(p.planned, 2);
	assert_int_equal(p.ok, 1);
	assert_int_equal(p.failed, 1);
	assert_int_equal(p.dropped, 0);
	assert_int_equal(p.cancelled, 1);
	assert_int_equal(p.by_outcome[OUTCOME_CANCELLED], 1);
	assert_int_equal(p.wasted_tokens, 3);
	assert_int_equal(p.samples[M_TTFT], 1);
}

static void test_all_failed(void **state)
{
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0, NULL, 0);
	r->outcome = OUTCOME_CONNECT;
	r->output_tokens = -1;
	r->done_ns = r->send_ns;
	p = hand_point(&h);
	assert_int_equal(p.verdict, VERDICT_FAILED);
	assert_string_equal(p.verdict_text, "none of 1 requests succeeded");
	assert_true(isnan(p.m[M_TTFT][S_MEAN]));
	assert_true(isnan(p.duration_s));
	assert_true(isnan(p.seed_mean_tps));
}

static void test_nothing_sent(void **state)
{
	static const struct level open = {.kind = LOAD_OPEN, .rate_per_s = 5};
	struct hand h;
	struct point p;

	(void)state;
	hand_init(&h, open);
	synth_add(&h.run, 0, 0, 0, 0, 0, 5, START_NS);
	p = hand_point(&h);
	assert_int_equal(p.dropped, 1);
	assert_true(isnan(p.duration_s));
	assert_true(isnan(p.mean_running));
	assert_true(isnan(p.achieved_rate));
	assert_true(isnan(p.goodput_share));
	assert_int_equal(p.verdict, VERDICT_FAILED);
}

/* A role-only first event is not a token: TTFT is later than what vLLM's client calls so. */
static void test_first_event_is_not_first_token(void **state)
{
	static const double tokens[] = {24.5, 30, 35.5};
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0.5, tokens, 3);
	r->event1_ns = START_NS + 3 * NS_PER_MS;
	r->output1_ns = START_NS + 30 * NS_PER_MS; /* the first token was reasoning */
	r->done_ns = START_NS + 40 * NS_PER_MS;
	p = hand_point(&h);
	near_percent(p.m[M_TTFT][S_P50], 24, 1e-9);
	near_percent(p.m[M_TTFT_VLLM][S_P50], 2.5, 1e-9);
	near_percent(p.m[M_TTFT_SCHED][S_P50], 24.5, 1e-9);
	near_percent(p.m[M_TTFO][S_P50], 29.5, 1e-9);
	near_percent(p.m[M_E2EL][S_P50], 35, 1e-9);
	near_percent(p.m[M_E2EL_DONE][S_P50], 39.5, 1e-9);
	near_percent(p.m[M_TPOT][S_P50], 5.5, 1e-9);
	near_percent(p.m[M_DISPATCH][S_P50], 0.5, 1e-9);
	near_percent(p.dispatch_over_1ms_share, 0, 0);
}

static void test_unstreamed(void **state)
{
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0, NULL, 0);
	r->streamed = false;
	r->output_tokens = 86;
	r->done_ns = START_NS + 1515 * NS_PER_MS;
	p = hand_point(&h);
	assert_int_equal(p.unstreamed, 1);
	near_percent(p.m[M_TTFT][S_MEAN], 1515, 1e-9);
	near_percent(p.m[M_E2EL][S_MEAN], 1515, 1e-9);
	assert_int_equal(p.samples[M_TPOT], 0);
	assert_int_equal(p.samples[M_ITL], 0);
	near_percent(p.single_stream_tps, 86 / 1.515, 1e-9);
	assert_int_equal(p.verdict,
			 VERDICT_OK); /* not the client's fault: the report marks the figure */
}

/* Gaps 10, 20, 0 ms with 2, 2, 2 tokens, the last two in one read: that read brought 4 tokens in 20
 * ms. */
static void test_gaps(void **state)
{
	static const double events[] = {10, 20, 40, 40};
	static const int32_t totals[] = {1, 3, 5, 7};
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0, events, 4);
	for (int i = 0; i < 4; i++)
		r->event[i].tokens = totals[i];
	r->event[3].merged = true;
	r->merged_events = 1;
	r->output_tokens = 7;
	p = hand_point(&h);
	assert_int_equal(p.samples[M_ITL], 3);
	near_percent(p.m[M_ITL][S_MEAN], 10, 1e-9);
	near_percent(p.m[M_ITL][S_P50], 10, 1e-9);
	assert_int_equal(p.samples[M_ITL_PER_TOKEN], 6);
	near_percent(p.m[M_ITL_PER_TOKEN][S_MEAN], 5, 1e-9);
	near_percent(p.m[M_ITL_PER_TOKEN][S_MAX], 5, 1e-9);
	near_percent(p.m[M_TPOT][S_MEAN], 30.0 / 6, 1e-9);
	assert_int_equal(p.merged_events, 1);

	/* events that do not account for every token say nothing about a token's gap */
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0, events, 4);
	r->output_tokens = 9;
	p = hand_point(&h);
	assert_int_equal(p.samples[M_ITL], 3);
	assert_int_equal(p.samples[M_ITL_PER_TOKEN], 0);
}

/* The busiest second counts tokens, not events, in buckets from the first send on. */
static void test_peak(void **state)
{
	static const double events[] = {100, 900, 1100, 1150, 1900, 2500};
	static const int32_t totals[] = {1, 2, 12, 22, 23, 24};
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0, events, 6);
	for (int i = 0; i < 6; i++)
		r->event[i].tokens = totals[i];
	r->output_tokens = 48; /* usage: each event carries twice what it counted */
	p = hand_point(&h);
	near_percent(p.peak_output_tokens_per_s, 42, 1e-9);
}

static void test_untold_tokens(void **state)
{
	static const double tokens[] = {10, 20};
	struct hand h;
	struct record *r;
	struct point p;

	(void)state;
	hand_init(&h, closed1);
	r = hand_add(&h, 0, 0, tokens, 2);
	r->prompt_tokens = -1;
	r->token_source = TOKENS_EVENTS;
	p = hand_point(&h);
	assert_true(isnan(p.total_tokens_per_s));
	assert_true(p.tokens_by_events);
	near_percent(p.output_tokens_per_s, 100, 1e-9);
	assert_int_equal(p.samples[M_ITL_PER_TOKEN], 0);
}

/* ---- open loop and verdicts ---- */

/* n requests planned each gap_ms, sent late_ms + k * drift_ms after the plan, one token each 5 ms
 * later. */
static struct point open_point(int n, double gap_ms, double late_ms, double drift_ms)
{
	struct level open = {.kind = LOAD_OPEN, .rate_per_s = 1e3 / gap_ms, .requests = n};
	struct hand h;

	hand_init(&h, open);
	for (int k = 0; k < n; k++) {
		double sched = gap_ms * (k + 1), sent = sched + late_ms + k * drift_ms,
		       token = sent + 5;

		hand_add(&h, sched, sent, &token, 1);
	}
	return hand_point(&h);
}

static void test_open_loop(void **state)
{
	struct point p = open_point(100, 10, 2, 0);

	(void)state;
	near_percent(p.achieved_rate, 100 / 1.002, 1e-9);
	near_percent(p.m[M_TTFT][S_P50], 5, 1e-9);
	near_percent(p.m[M_TTFT_SCHED][S_P50], 7,
		     1e-9); /* the wait for the client is the user's wait */
	near_percent(p.dispatch_over_1ms_share, 1, 0);
	near_percent(p.self.send_late_p99_us, 2000, 1e-9);
	near_percent(p.steady_s, 0.99, 1e-9); /* first to last send */
	near_percent(p.steady_output_tokens_per_s, 99 / 0.99, 1e-9);
	assert_true(isnan(p.seed_mean_tps));
	assert_int_equal(p.verdict, VERDICT_OK);

	p = open_point(100, 10, 6, 0);
	assert_int_equal(p.verdict, VERDICT_LATE);
	assert_non_null(strstr(p.verdict_text, "6000 us"));
	p = open_point(100, 1, 0,
		       0.04); /* under 5 ms late at any time, yet 4 % slower than planned */
	assert_int_equal(p.verdict, VERDICT_OK);
	p = open_point(100, 0.5, 0, 0.04);
	assert_int_equal(p.verdict, VERDICT_LATE);
	assert_string_equal(p.verdict_text, "planned 2000 requests/s, sent 1853");
}

static void test_verdicts(void **state)
{
	/* median E2EL 592 ms in a closed loop: 1 % of it is 5.92 ms */
	static const struct {
		struct self_watch_point self;
		enum verdict verdict;
	} cases[] = {
		{{100, 20, NAN, 0.1}, VERDICT_OK},
		{{NAN, NAN, NAN, NAN}, VERDICT_OK},
		{{900, NAN, NAN, 0.1}, VERDICT_OK},
		{{1100, NAN, NAN, 0.1}, VERDICT_SATURATED}, /* no kernel stamps: it blurs ITL */
		{{1100, 20, NAN, 0.1}, VERDICT_OK},
		{{5900, 20, NAN, 0.1}, VERDICT_OK},
		{{5950, 20, NAN, 0.1}, VERDICT_SATURATED},
		{{100, 5950, NAN, 0.1}, VERDICT_SATURATED},
		{{100, 20, NAN, 0.79}, VERDICT_OK},
		{{100, 20, NAN, 0.81}, VERDICT_SATURATED},
	};
	static const struct synth_engine e = {.prefill_ms = 84, .step_ms = 4, .constant = true};
	struct level level = {.kind = LOAD_CLOSED, .concurrency = 4};
	struct scenario s = {.levels = &level, .n_levels = 1};
	struct synth_run run;
	const struct record *list[700];

	(void)state;
	synth_run_init(&run, 1);
	synth_level(&run, &e, &s, 0, 0, 0, 0, 700, 128, START_NS);
	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		list[i] = &run.records[i];
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct point p = {0};

		point_compute(&p, &s, list, ARRAY_LEN(list), START_NS, &cases[i].self);
		assert_int_equal(p.verdict, cases[i].verdict);
		assert_int_equal(p.verdict_text[0] != '\0', p.verdict != VERDICT_OK);
		assert_int_equal(point_trusted(&p),
				 p.verdict == VERDICT_OK); /* 700 samples are enough */
	}
	synth_run_release(&run);
}

/* A batching engine: X * TPOT is the running batch although every step costs something else. */
static void test_batched_identities(void **state)
{
	static const struct synth_engine e = {
		.prefill_ms = 12, .step_ms = 8, .seq_ms = 0.4, .slots = 24, .jitter = 0.1};
	static const int levels[] = {1, 4, 16, 64};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		struct point p = closed_point(&e, levels[i], 200, (struct slo){0});

		near_percent(p.littles_ratio, 1, 1e-6);
		near_percent(p.batch_ratio, 1, 1);
		assert_true(p.mean_running <= levels[i] && p.mean_running > 0.7 * levels[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seed_demo),
		cmocka_unit_test(test_fifo_server_stays_flat),
		cmocka_unit_test(test_never_steady),
		cmocka_unit_test(test_goodput),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_cancelled_as_planned),
		cmocka_unit_test(test_all_failed),
		cmocka_unit_test(test_nothing_sent),
		cmocka_unit_test(test_first_event_is_not_first_token),
		cmocka_unit_test(test_unstreamed),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_peak),
		cmocka_unit_test(test_untold_tokens),
		cmocka_unit_test(test_open_loop),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_batched_identities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
