/*
 * Several cards, and an engine derived from its hardware: the coefficients beside arithmetic done
 * here, and the pace of requests in virtual time beside its closed form.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/evloop.h"
#include "fakeengine/profile.h"
#include "fakeengine/simulate.h"

/* Round numbers: 10 GB of weights at 1 TB/s are 10 ms, a token at 100 TFLOP/s 0.1 ms. */
static const char base[] = "name: n\nengine: e\ndescription: d\nsource: s\n"
			   "model: {name: m, params: 5e9, weight_bits: 16, layers: 10, "
			   "hidden: 1000, kv_heads: 4, head_dim: 125}\n"
			   "card: {name: c, memory: 80GiB, bandwidth: 2000GB/s, flops: 2e14}\n"
			   "scheduler: {policy: vllm-v1, max_num_seqs: 8, num_gpu_blocks: 4k}\n"
			   "cost:\n"
			   "  analytic: {bandwidth_share: 0.5, flops_share: 0.5, host: 1ms, "
			   "per_decode_seq: 20us}\n";

static enum rc parse(struct profile *p, const char *const *sets, struct err *e)
{
	struct profile_set set[8];
	size_t n = 0;

	for (; sets && sets[n]; n++)
		set[n] = (struct profile_set){sets[n], "--set x"};
	return profile_parse(p, "f.yaml", base, strlen(base), set, n, e);
}

static void load(struct profile *p, const char *const *sets)
{
	struct err e;

	if (parse(p, sets, &e))
		fail_msg("%s", e.msg);
}

#define LINKS "parallel={tensor: 4, pipeline: 1, bandwidth: 100GB/s, latency: 5us}"

static void derived_coefficients(void **state)
{
	static const struct {
		const char *set;
		int64_t step, kv, knee, over, attention; /* ps; the knee in tokens */
	} row[] = {
		/* KV: 2 x 10 x 4 x 125 x 2 = 20 kB a token at 1 TB/s; a pair: 4 x 10 x 1000 FLOP.
		 */
		{NULL, 11 * PS_PER_MS, 20000, 100, 100000000, 400},
		{LINKS, 3500000000, 5000, 100, 25000000, 100},
		/* 8 cards share 4 heads: each two hold the same. */
		{"parallel={tensor: 8, bandwidth: 100GB/s, latency: 5us}", 2250000000, 5000, 100,
		 12500000, 50},
		/* Two stages are no faster for one sequence. */
		{"parallel={pipeline: 2, bandwidth: 100GB/s, latency: 5us}", 11 * PS_PER_MS, 20000,
		 100, 100000000, 400},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *sets[] = {row[i].set, NULL};
		struct profile p;

		load(&p, sets);
		assert_ptr_equal(p.cost.type, &cost_affine);
		assert_int_equal(p.cost.coef[AFFINE_STEP], row[i].step);
		assert_int_equal(p.cost.coef[AFFINE_DECODE_SEQ], 20000000);
		assert_int_equal(p.cost.coef[AFFINE_KV_TOKEN], row[i].kv);
		assert_int_equal(p.cost.coef[AFFINE_KNEE_TOKENS], row[i].knee);
		assert_int_equal(p.cost.coef[AFFINE_OVER_KNEE], row[i].over);
		assert_int_equal(p.cost.coef[AFFINE_PREFILL_ATTENTION], row[i].attention);
		profile_release(&p);
	}
}

#define FORMULA	    "cost={affine: {step: 1ms, per_prefill_token: 1us, per_decode_seq: 2us}}"
#define TENSOR(t)   "parallel.tensor=" #t
#define PIPELINE(s) "parallel.pipeline=" #s

/* On a formula of 1 ms + 1 us a prompt token + 2 us a sequence, what the links add. */
static void links_by_hand(void **state)
{
	static const struct {
		const char *tensor, *pipeline;
		int32_t seqs;
		int64_t prefill, decode, us;
	} row[] = {
		{TENSOR(1), PIPELINE(1), 4, 0, 4, 1008},
		/* 20 all-reduces of 5 us; a token 2 x 1/2 x 2000 bytes each: 20 ns x 20. */
		{TENSOR(2), PIPELINE(1), 4, 0, 5, 1000 + 10 + 100 + 2},
		{TENSOR(2), PIPELINE(1), 2, 99, 1, 1000 + 99 + 2 + 100 + 40},
		/* 4 cards: 2 x 3/4 x 2000 bytes, 30 ns x 20. */
		{TENSOR(4), PIPELINE(1), 4, 0, 5, 1000 + 10 + 100 + 3},
		/* Two stages: half of the batch at a time, 2 hops of 5 us, 20 ns a token each. */
		{TENSOR(1), PIPELINE(2), 50, 0, 50, 1000 + 50 + 10 + 1},
		/* One sequence cannot be in two places. */
		{TENSOR(1), PIPELINE(2), 1, 50, 0, 1000 + 50 + 10 + 2},
		/* Three parts for four stages; 4 hops. */
		{TENSOR(1), PIPELINE(4), 3, 75, 0, 1000 + 25 + 20 + 2},
		/* Both: 25 tokens a part, 20 all-reduces of 20 ns and 2 hops of 20 ns a token. */
		{TENSOR(2), PIPELINE(2), 50, 0, 50, 1000 + 50 + 110 + 11},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const struct step_plan plan = {.n_items = row[i].seqs,
					       .prefill_tokens = row[i].prefill,
					       .decode_seqs = row[i].decode};
		const char *sets[] = {FORMULA, LINKS, row[i].tensor, row[i].pipeline, NULL};
		struct profile p;
		int64_t ps;

		load(&p, sets);
		ps = cost_step_ps(&p.cost, &plan);
		if (ps != row[i].us * 1000000)
			fail_msg("row %zu: %lld ps, want %lld us", i, (long long)ps,
				 (long long)row[i].us);
		profile_release(&p);
	}
}

/* ---- the pace ---- */

static struct {
	int64_t first_ns, last_ns;
	int n;
} seen;

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	(void)r;
	if (seen.n == 0)
		seen.first_ns = t_ns[0];
	seen.last_ns = t_ns[n - 1];
	seen.n += n;
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	(void)r;
	(void)t_ns;
}

/* One prompt of 200 tokens and 101 tokens of answer: TTFT, and the time of the other 100. */
static void run_alone(const struct profile *p, bool step_by_step)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct evloop *loop = evloop_new_virtual(0);
	struct sim_setup setup = {
		.policy = p->policy, .cost = &p->cost, .step_by_step = step_by_step};
	int32_t prompt[200] = {0};
	struct sim *sim;

	memcpy(setup.knobs, p->knobs, sizeof(setup.knobs));
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sim_new(&sim, loop, &setup, &sink, NULL), RC_OK);
	assert_int_equal(sim_submit(sim, genreq_new(1, NULL, prompt, 200, 101), NULL), RC_OK);
	evloop_run(loop);
	sim_free(sim);
	evloop_free(loop);
	assert_int_equal(seen.n, 101);
}

/*
 * With t cards, by the forms of hardware.h:
 *     TTFT = host + 10 ms/t + (200 - 100) x 0.1 ms/t + 20,000 x 400 ps/t + links(200)
 *     decode = 100 x (host + 10 ms/t + 20 us + links(1)) + the contexts 201..300 x 20 ns/t
 *     links(n) = 20 x (5 us + n x 2 (t - 1)/t x 2000 bytes / 100 GB/s)
 */
static void more_cards_are_faster_by_the_closed_form(void **state)
{
	static const char *const parallel[] = {
		NULL, LINKS, "parallel={tensor: 2, bandwidth: 100GB/s, latency: 5us}"};
	static const double cards[] = {1, 4, 2};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parallel); i++) {
		const char *sets[] = {parallel[i], NULL};
		double t = cards[i], latency_ms = t > 1 ? 20 * 0.005 : 0;
		double byte_ms = 20 * 2 * (t - 1) / t * 2000 / 100e9 * 1e3;
		double ttft_ms = 1 + 10 / t + 10 / t + 0.008 / t + latency_ms + 200 * byte_ms;
		double decode_ms = 100 * (1 + 10 / t + 0.02 + latency_ms + byte_ms) +
				   (201 + 300) * 50 * 20e-6 / t;

		for (int step_by_step = 0; step_by_step < 2; step_by_step++) {
			struct profile p;

			load(&p, sets);
			run_alone(&p, step_by_step);
			assert_true(fabs((double)seen.first_ns / 1e6 - ttft_ms) < 1e-5);
			assert_true(fabs((double)(seen.last_ns - seen.first_ns) / 1e6 - decode_ms) <
				    1e-3);
			profile_release(&p);
		}
	}
}

static void what_contradicts_is_refused(void **state)
{
	static const struct {
		const char *set, *other, *says;
	} row[] = {
		{"parallel={tensor: 2}", NULL, "\"bandwidth\" is missing"},
		{"parallel={tensor: 3, bandwidth: 1GB/s, latency: 0}", NULL, "does not divide"},
		{"parallel={tensor: 0, bandwidth: 1GB/s, latency: 0}", NULL, "parallel.tensor"},
		{"parallel={pipeline: 11, bandwidth: 1GB/s, latency: 0}", NULL, "10 layers"},
		{"parallel={tensors: 2, bandwidth: 1GB/s, latency: 0}", NULL, "tensor"},
		{LINKS, "card.count=2", "tensor x pipeline is 4, card.count is 2"},
		{LINKS, "card.count=1", "card.count is 1"},
		{LINKS, "card.count=4", NULL},
		{"card.count=4", NULL, "`parallel` says how they share"},
		{"cost.analytic.bandwidth_share=1.5", NULL, "cost.analytic.bandwidth_share"},
		{"cost.analytic.flops=1", NULL, "flops_share"},
		{"cost.affine={step: 1ms}", NULL, "another formula already: analytic"},
		{"model={name: m}", NULL, "model"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *sets[] = {row[i].set, row[i].other, NULL};
		struct profile p;
		struct err e;
		enum rc rc = parse(&p, sets, &e);

		if (rc == RC_OK)
			profile_release(&p);
		if (!row[i].says && rc)
			fail_msg("%s: %s", row[i].set, e.msg);
		if (row[i].says && (rc != RC_INPUT || !strstr(e.msg, row[i].says)))
			fail_msg("%s: rc %d, \"%s\", want \"%s\"", row[i].set, rc, rc ? e.msg : "",
				 row[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(derived_coefficients),
		cmocka_unit_test(links_by_hand),
		cmocka_unit_test(more_cards_are_faster_by_the_closed_form),
		cmocka_unit_test(what_contradicts_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
