/*
 * The engine loop with an executor whose steps end when the test says so. Model times are the
 * test's own; the event loop is real, but nothing waits for a time to pass except the two tests of
 * the delays, whose deadlines lie in the past.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/toy_engine.h"
#include "base/buf.h"
#include "base/clock.h"
#include "serve/engine_loop.h"
#include "serve/engine_stats.h"
#include "serve/truth.h"

#define MS NS_PER_MS

/* What the sink saw, one line an event. */
struct seen {
	struct buf log;
	struct engine *engine;
	uint64_t cancel_at_token; /* id of a request that is cancelled from inside on_token; 0 =
				     none */
	int32_t delivered[16];	  /* tokens, by request id */
};

static struct seen seen;

/* "!" marks the last token. With an egress delay finish may be set before: the end is known, but
 * not yet out. */
static void on_token(struct genreq *r, int32_t token, int64_t due_ns, bool more)
{
	bool last = ++seen.delivered[r->id] == genreq_output_tokens(r) && r->finish != FINISH_NONE;

	buf_printf(&seen.log, "%llu:%c@%lld%s%s", (unsigned long long)r->id, token,
		   (long long)(due_ns / MS), last ? "!" : "", more ? "+" : " ");
	if (seen.cancel_at_token == r->id)
		engine_cancel(seen.engine, r, FINISH_STOP);
}

static void on_done(struct genreq *r)
{
	buf_printf(&seen.log, "%llu=%s,%s ", (unsigned long long)r->id,
		   genreq_finish_name(r->finish), genreq_state_name(r->state));
	genreq_free(r);
}

static const struct engine_sink sink = {.on_token = on_token, .on_done = on_done};

struct world {
	struct evloop *loop;
	struct toy toy;
	int32_t *script;
	struct engine *engine;
};

static void world_open(struct world *w, const struct sched_type *policy,
		       const struct engine_config *extra)
{
	struct engine_config c = extra ? *extra : (struct engine_config){0};
	struct err e;

	memset(w, 0, sizeof(*w));
	w->loop = evloop_new();
	w->script = toy_script("abcdefgh", &w->toy.n_script);
	w->toy.script = w->script;
	w->toy.loop = w->loop;
	w->toy.manual = true;
	c.policy = policy;
	sched_defaults(policy, c.knobs);
	c.executor = &toy_executor;
	c.executor_config = &w->toy;
	c.eos_token = TOY_EOS;
	assert_int_equal(engine_new(&w->engine, w->loop, &c, &e), RC_OK);
	memset(&seen, 0, sizeof(seen));
	buf_init(&seen.log, 1 << 20);
	seen.engine = w->engine;
}

static void world_close(struct world *w)
{
	engine_free(w->engine);
	evloop_free(w->loop);
	free(w->script);
	buf_release(&seen.log);
}

static void submit(struct world *w, uint64_t id, int32_t max_tokens, int64_t now_ns)
{
	static const int32_t prompt[] = {1, 2, 3};
	char name[16];
	struct err e;

	snprintf(name, sizeof(name), "r%llu", (unsigned long long)id);
	assert_int_equal(engine_submit(w->engine, genreq_new(id, name, prompt, 3, max_tokens),
				       &sink, now_ns, &e),
			 RC_OK);
}

/* One turn of the loop that does not block: there is deferred work. */
static void turn(struct world *w)
{
	evloop_once(w->loop);
}

static void step(struct world *w, int64_t end_ns)
{
	toy_end_step(&w->toy, end_ns, NULL);
	turn(w);
}

static void expect_log(const char *want)
{
	assert_string_equal(buf_cstr(&seen.log), want);
	buf_clear(&seen.log);
}

static const int32_t one_prompt[] = {7};

static void test_one_request(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &sched_vllm_v1, NULL);
	submit(&w, 1, 3, 1000 * MS);
	assert_int_equal(engine_in_flight(w.engine), 1);
	turn(&w);
	assert_int_equal(w.toy.n_submitted, 1);
	expect_log("");
	step(&w, 1010 * MS);
	expect_log("1:a@1010 ");
	step(&w, 1014 * MS);
	expect_log("1:b@1014 ");
	step(&w, 1018 * MS);
	expect_log("1:c@1018! 1=length,done ");
	assert_int_equal(engine_in_flight(w.engine), 0);
	assert_null(w.toy.executor->steps);
	world_close(&w);
}

/* All that is submitted in a turn shares the next step, in order of coming; all of a step goes out
 * in one pass. */
static void test_batch(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &sched_vllm_v1, NULL);
	submit(&w, 1, 2, 0);
	submit(&w, 2, 3, 0);
	turn(&w);
	assert_int_equal(w.toy.n_submitted, 1);
	submit(&w, 3, 1, 5 * MS); /* comes while the step runs: joins the next */
	turn(&w);
	assert_int_equal(w.toy.n_submitted, 1);
	step(&w, 10 * MS);
	expect_log("1:a@10 2:a@10 ");
	step(&w, 20 * MS);
	expect_log("1:b@20! 1=length,done 2:b@20 3:a@20! 3=length,done ");
	step(&w, 30 * MS);
	expect_log("2:c@30! 2=length,done ");
	world_close(&w);
}

/* The static policy has a step in flight for each request, and they end in any order. */
static void test_many_steps_in_flight(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &sched_static, NULL);
	submit(&w, 1, 2, 0);
	submit(&w, 2, 1, 0);
	turn(&w);
	assert_int_equal(w.toy.n_submitted, 2);
	toy_finish(w.toy.executor, w.toy.executor->steps->next, 7 * MS, NULL);
	turn(&w);
	expect_log("2:a@7! 2=length,done ");
	step(&w, 9 * MS);
	assert_int_equal(w.toy.n_submitted, 3);
	step(&w, 12 * MS);
	expect_log("1:a@9 1:b@12! 1=length,done ");
	world_close(&w);
}

/* Steps are noticed late by 5 ms each; the model's time does not know. */
static void test_lateness_does_not_add_up(void **state)
{
	const struct sched_type *policies[] = {&sched_static, &sched_vllm_v1};

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		int64_t start_ns = monotonic_now_ns();
		struct buf want;
		struct world w;

		world_open(&w, policies[p], NULL);
		w.toy.manual = false;
		w.toy.cost_ns = 2 * MS;
		w.toy.late_ns = 5 * MS;
		submit(&w, 1, 6, start_ns);
		while (engine_in_flight(w.engine) > 0)
			evloop_once(w.loop);
		buf_init(&want, 4096);
		for (int i = 1; i <= 6; i++)
			buf_printf(&want, "1:%c@%lld%s ", "abcdef"[i - 1],
				   (long long)((start_ns + (int64_t)i * 2 * MS) / MS),
				   i == 6 ? "!" : "");
		buf_puts(&want, "1=length,done ");
		expect_log(buf_cstr(&want));
		buf_release(&want);
		world_close(&w);
	}
}

/* static-batch waits for company: the loop asks again when the time has come, which it has as soon
 * as the clock is read, and the step starts when it should have, however late that is noticed. Who
 * leaves is not waited for. */
static void test_policy_wakes_up(void **state)
{
	struct sched_type patient = sched_static_batch;
	struct knob knobs[SCHED_MAX_KNOBS + 1];
	int64_t t0 = monotonic_now_ns() - 3600 * NS_PER_S;
	struct genreq *r = genreq_new(2, "r2", one_prompt, 1, 5);
	struct buf want;
	struct world w;
	struct err e;

	(void)state;
	for (int i = 0; i == 0 || knobs[i - 1].name; i++)
		knobs[i] = sched_static_batch.knobs[i];
	knobs[sched_knob(&sched_static_batch, "batch_size")].def = 2;
	knobs[sched_knob(&sched_static_batch, "max_wait_ms")].def = 25;
	patient.knobs = knobs;
	world_open(&w, &patient, NULL);
	w.toy.manual = false;
	w.toy.cost_ns = 10 * MS;
	submit(&w, 1, 2, t0);
	turn(&w);
	assert_int_equal(w.toy.n_submitted, 0); /* the end of the turn only set the timer */
	while (engine_in_flight(w.engine) > 0)
		evloop_once(w.loop);
	buf_init(&want, 4096);
	buf_printf(&want, "1:a@%lld 1:b@%lld! 1=length,done ", (long long)((t0 + 35 * MS) / MS),
		   (long long)((t0 + 45 * MS) / MS));
	expect_log(buf_cstr(&want));
	buf_release(&want);

	assert_int_equal(
		engine_submit(w.engine, r, &sink, monotonic_now_ns() + 3600 * NS_PER_S, &e), RC_OK);
	turn(&w);
	engine_cancel(w.engine, r, FINISH_ABORT); /* an hour early, and the timer goes with it */
	turn(&w);
	expect_log("2=abort,failed ");
	assert_int_equal(w.toy.n_submitted, 2);
	world_close(&w);
}

static void test_cancel(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &sched_vllm_v1, NULL);

	/* before its first step */
	struct genreq *r = genreq_new(1, "r1", one_prompt, 1, 5);
	struct err e;

	assert_int_equal(engine_submit(w.engine, r, &sink, 0, &e), RC_OK);
	engine_cancel(w.engine, r, FINISH_ABORT);
	expect_log(""); /* never from inside the call */
	turn(&w);
	expect_log("1=abort,failed ");
	assert_int_equal(w.toy.n_submitted, 0);

	/* in a step: at its end, without a token; twice does no harm */
	r = genreq_new(2, "r2", one_prompt, 1, 5);
	assert_int_equal(engine_submit(w.engine, r, &sink, 0, &e), RC_OK);
	submit(&w, 3, 5, 0);
	turn(&w);
	engine_cancel(w.engine, r, FINISH_ABORT);
	engine_cancel(w.engine, r, FINISH_ABORT);
	expect_log("");
	step(&w, 10 * MS);
	expect_log("3:a@10 2=abort,failed ");
	assert_int_equal(w.toy.executor->steps->plan->n_items, 1); /* it is not in the next step */

	/* from inside on_token, as a stop string does: its next step is under way already and
	 * brings no token */
	seen.cancel_at_token = 3;
	step(&w, 20 * MS);
	expect_log("3:b@20 ");
	step(&w, 30 * MS);
	expect_log("3=stop,done ");

	/* with its last token: what the step says does not matter any more */
	submit(&w, 4, 1, 30 * MS);
	seen.cancel_at_token = 4;
	turn(&w);
	step(&w, 40 * MS);
	expect_log("4:a@40! 4=stop,done ");
	assert_int_equal(engine_in_flight(w.engine), 0);
	world_close(&w);
}

static void test_failed_step(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &sched_vllm_v1, NULL);
	submit(&w, 1, 5, 0);
	submit(&w, 2, 5, 0);
	turn(&w);
	toy_end_step(&w.toy, 10 * MS, "the device has fallen off");
	submit(&w, 3, 1, 0);
	turn(&w);
	expect_log("1=error,failed 2=error,failed ");
	step(&w, 20 * MS); /* and life goes on */
	expect_log("3:a@20! 3=length,done ");

	w.toy.refuse = true;
	submit(&w, 4, 1, 0);
	turn(&w);
	expect_log("4=error,failed ");
	world_close(&w);
}

/* Four slots of llama.cpp that share five KV cells: of two prompts of three tokens one is computed
 * and has its first token, of the other there are two; then both are given up. */
static void test_policy_gives_up(void **state)
{
	struct sched_type five_cells = sched_llamacpp;
	struct knob knobs[SCHED_MAX_KNOBS + 1];
	int n_ctx = sched_knob(&sched_llamacpp, "n_ctx");
	struct world w;

	(void)state;
	for (int i = 0; i == 0 || knobs[i - 1].name; i++)
		knobs[i] = sched_llamacpp.knobs[i];
	knobs[n_ctx].def = 5;
	five_cells.knobs = knobs;
	world_open(&w, &five_cells, NULL);
	submit(&w, 1, 9, 0);
	submit(&w, 2, 9, 0);
	turn(&w);
	step(&w, 10 * MS);
	expect_log("2:a@10! 2=error,done 1=error,done ");
	assert_int_equal(engine_in_flight(w.engine), 0);
	world_close(&w);
}

static void test_queue_limit_and_bad_requests(void **state)
{
	struct engine_config c = {.max_queue = 1};
	struct genreq *r = genreq_new(2, "r2", one_prompt, 1, 5);
	struct world w;
	struct err e;

	(void)state;
	world_open(&w, &sched_vllm_v1, &c);
	submit(&w, 1, 1, 0);
	assert_int_equal(engine_submit(w.engine, r, &sink, 0, &e), RC_LIMIT);
	assert_int_equal(engine_stats(w.engine)->rejected, 1);
	turn(&w);
	step(&w, 1 * MS);
	expect_log("1:a@1! 1=length,done ");
	genreq_free(r);
	r = genreq_new(3, "r3", one_prompt, 0, 5);
	assert_int_equal(engine_submit(w.engine, r, &sink, 0, &e), RC_INPUT);
	genreq_free(r);
	world_close(&w);
}

/* A policy that turns requests away says how many it takes; those still on their way in count. */
static void test_limit_of_the_policy(void **state)
{
	struct engine_config c = {.ingest_ns = 3600 * NS_PER_S};
	struct genreq *r = genreq_new(999, "r999", one_prompt, 1, 5);
	struct world w;
	struct err e;

	(void)state;
	world_open(&w, &sched_tgi, &c);
	for (uint64_t id = 0; id < 128; id++) /* max_concurrent_requests */
		submit(&w, id, 1, monotonic_now_ns());
	assert_int_equal(engine_submit(w.engine, r, &sink, monotonic_now_ns(), &e), RC_LIMIT);
	genreq_free(r);
	world_close(&w);
}

/* Deadlines of the delays lie in the past as soon as the clock is read, so order is tested, not
 * waiting. */
static void test_delays(void **state)
{
	struct engine_config c = {.ingest_ns = 20 * MS, .egress_ns = 30 * MS};
	int64_t t0 = monotonic_now_ns();
	struct world w;

	(void)state;
	world_open(&w, &sched_vllm_v1, &c);
	w.toy.manual = false;
	w.toy.cost_ns = 1 * MS;
	submit(&w, 1, 2, t0);
	while (engine_in_flight(w.engine) > 0)
		evloop_once(w.loop);
	assert_true(monotonic_now_ns() >= t0 + 20 * MS + 2 * MS + 30 * MS);

	struct buf want;

	buf_init(&want, 4096);
	buf_printf(&want, "1:a@%lld 1:b@%lld! 1=length,done ", (long long)((t0 + 51 * MS) / MS),
		   (long long)((t0 + 52 * MS) / MS));
	expect_log(buf_cstr(&want));
	buf_release(&want);
	world_close(&w);
}

/* What is on its way when the engine goes is given back. */
static void test_free_in_flight(void **state)
{
	struct engine_config c = {.egress_ns = 3600 * NS_PER_S};
	struct world w;
	struct err e;

	(void)state;
	world_open(&w, &sched_vllm_v1, &c);
	submit(&w, 1, 1, 0); /* done, its token waits for the egress */
	turn(&w);
	toy_end_step(&w.toy, monotonic_now_ns(), NULL);
	submit(&w, 2, 9, 0); /* in a step */
	turn(&w);
	submit(&w, 3, 9, 0); /* queued */
	struct genreq *r = genreq_new(4, "r4", one_prompt, 1, 5);

	assert_int_equal(engine_submit(w.engine, r, &sink, 0, &e), RC_OK);
	engine_cancel(w.engine, r, FINISH_ABORT); /* cancelled, not yet told */
	engine_free(w.engine);
	w.engine = NULL;
	for (int id = 1; id <= 4; id++) {
		char want[24];

		snprintf(want, sizeof(want), "%d=abort,", id);
		assert_non_null(strstr(buf_cstr(&seen.log), want));
	}
	world_close(&w);
}

static void test_stats(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, &sched_vllm_v1, NULL);
	submit(&w, 1, 3, 1000 * MS);
	turn(&w);
	step(&w, 1100 * MS);
	step(&w, 1130 * MS);
	assert_int_equal(engine_stats(w.engine)->sched.running, 1);
	step(&w, 1160 * MS);

	const struct engine_stats *s = engine_stats(w.engine);

	assert_int_equal(s->prompt_tokens, 3);
	assert_int_equal(s->generation_tokens, 3);
	assert_int_equal(s->finished[FINISH_LENGTH], 1);
	assert_int_equal(prom_hist_count(&s->ttft), 1);
	assert_int_equal(prom_hist_count(&s->inter_token), 2);
	assert_int_equal(prom_hist_count(&s->lateness), 3);
	assert_int_equal(prom_hist_count(&s->iteration), 3);
	assert_true(s->iteration.sum == 4 + 1 + 1);
	assert_true(s->inter_token.sum > 0.0599 && s->inter_token.sum < 0.0601);
	assert_true(s->ttft.sum > 0.0999 && s->ttft.sum < 0.1001);
	assert_true(s->e2e.sum > 0.1599 && s->e2e.sum < 0.1601);
	assert_true(s->decode.sum > 0.0599 && s->decode.sum < 0.0601);
	assert_true(s->generation.sum == 3);
	world_close(&w);
}

static void test_truth(void **state)
{
	char path[] = "/tmp/test_engine_loop.XXXXXX", want[64];
	struct engine_config c = {0};
	int fd = mkstemp(path);
	struct world w;
	struct buf b;
	struct err e;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(truth_open(&c.truth, path, &e), RC_OK);
	world_open(&w, &sched_static, &c);
	submit(&w, 8, 2, 0);
	turn(&w);
	step(&w, 5 * MS);
	step(&w, 9 * MS);
	buf_init(&b, 1 << 16); /* the run has paused: the rows are there without a close */
	assert_int_equal(buf_read_file(&b, path, &e), RC_OK);
	snprintf(want, sizeof(want), "request_id,token_index,due_ns,sent_ns\nr8,0,%lld,",
		 (long long)(5 * MS));
	assert_memory_equal(buf_cstr(&b), want, strlen(want));
	snprintf(want, sizeof(want), "\nr8,1,%lld,", (long long)(9 * MS));
	assert_non_null(strstr(buf_cstr(&b), want));
	buf_release(&b);
	world_close(&w);
	truth_close(c.truth);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_request),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_many_steps_in_flight),
		cmocka_unit_test(test_lateness_does_not_add_up),
		cmocka_unit_test(test_policy_wakes_up),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_failed_step),
		cmocka_unit_test(test_policy_gives_up),
		cmocka_unit_test(test_queue_limit_and_bad_requests),
		cmocka_unit_test(test_limit_of_the_policy),
		cmocka_unit_test(test_delays),
		cmocka_unit_test(test_free_in_flight),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_truth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
