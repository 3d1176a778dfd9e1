/*
 * Virtual time: how many output tokens a second one core simulates. A closed loop of 256 users who
 * ask for 256 tokens after a prompt of 512 that nobody shares, vLLM's policy with prefix hashing,
 * each token's time in a histogram. Own: fakeengine/simulate, step by step and with runs of equal
 * steps taken at once. Floor: the same load in a loop of bare counters, without policy, ledger,
 * tokens or a clock: what the histograms and a walk over the batch cost.
 *
 * usage: bench_sim [REQUESTS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/hist.h"
#include "bench.h"
#include "fakeengine/simulate.h"

enum { USERS = 256, PROMPT = 512, OUTPUT = 256, BUDGET = 8192, BLOCK = 16, BLOCKS = 16384 };

static const struct cost cost = {
	.type = &cost_affine,
	.coef = {[AFFINE_STEP] = 8 * PS_PER_MS,
		 [AFFINE_PREFILL_TOKEN] = 40000000,
		 [AFFINE_DECODE_SEQ] = 12000000,
		 [AFFINE_KV_TOKEN] = 30000},
};

/* What a user knows of his request. */
struct user {
	int64_t sent_ns, last_ns;
};

static struct {
	struct sim *sim;
	struct evloop *loop;
	struct hist *ttft, *itl;
	struct user user[USERS];
	int64_t asked, requests, tokens;
} b;

/* ---- the simulation ---- */

static void ask(struct user *u)
{
	static int32_t prompt[PROMPT]; /* from its first token on nobody else's */
	struct genreq *r;

	if (b.asked == b.requests)
		return;
	prompt[0] = (int32_t)b.asked;
	r = genreq_new((uint64_t)b.asked, NULL, prompt, PROMPT, OUTPUT);
	r->seed = (uint64_t)b.asked++;
	r->owner = u;
	u->sent_ns = evloop_now_ns(b.loop);
	u->last_ns = -1;
	if (sim_submit(b.sim, r, NULL) != RC_OK)
		die("bench_sim: a request was refused");
}

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	struct user *u = r->owner;

	if (u->last_ns < 0)
		hist_record(b.ttft, t_ns[0] - u->sent_ns);
	u->last_ns = t_ns[n - 1];
	b.tokens += n;
}

static void on_gap(void *owner, int64_t gap_ns, int32_t n)
{
	(void)owner;
	hist_record_n(b.itl, gap_ns, (uint64_t)n);
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	(void)t_ns;
	ask(r->owner);
}

static void run_sim(struct result *out, bool step_by_step, bool caching)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct sim_setup c = {.policy = &sched_vllm_v1,
			      .cost = &cost,
			      .step_by_step = step_by_step,
			      .on_gap = on_gap};
	double started_s, started_cpu_s;
	struct err e;

	sched_defaults(c.policy, c.knobs);
	c.knobs[sched_knob(c.policy, "max_num_seqs")] = USERS;
	c.knobs[sched_knob(c.policy, "max_num_batched_tokens")] = BUDGET;
	c.knobs[sched_knob(c.policy, "num_gpu_blocks")] = BLOCKS;
	c.knobs[sched_knob(c.policy, "enable_prefix_caching")] = caching;
	b.loop = evloop_new_virtual(0);
	if (sim_new(&b.sim, b.loop, &c, &sink, &e) != RC_OK)
		die("bench_sim: %s", e.msg);
	b.asked = b.tokens = 0;
	hist_reset(b.ttft);
	hist_reset(b.itl);
	started_s = now_s();
	started_cpu_s = (double)thread_cpu_ns() / 1e9;
	for (int i = 0; i < USERS; i++)
		ask(&b.user[i]);
	evloop_run(b.loop);
	out->seconds = now_s() - started_s;
	out->cpu_s = (double)thread_cpu_ns() / 1e9 - started_cpu_s;
	out->tokens = (double)b.tokens;
	sim_free(b.sim);
	evloop_free(b.loop);
}

/* ---- the floor ---- */

struct bare {
	int64_t last_ns;
	int32_t left, context, blocks;
	bool started;
};

/* A step: whoever has begun decodes; others get their prompt while the budget lasts. */
static int64_t bare_step(struct bare *u, int64_t now_ns, int64_t *asked, int32_t *free_blocks)
{
	int64_t budget = BUDGET, prefill = 0, decode = 0, kv = 0, end_ns;

	for (int i = 0; i < USERS; i++) {
		int32_t tokens = u[i].started ? 1 : PROMPT, need;

		if (u[i].left == 0 || tokens > budget)
			continue;
		budget -= tokens;
		u[i].context += tokens;
		need = (u[i].context + BLOCK - 1) / BLOCK;
		*free_blocks -= need - u[i].blocks;
		u[i].blocks = need;
		prefill += u[i].started ? 0 : tokens;
		decode += u[i].started;
		kv += u[i].started ? u[i].context : 0;
	}
	end_ns = now_ns + (8000000000 + prefill * 40000000 + decode * 12000000 + kv * 30000) / 1000;
	for (int i = 0; i < USERS; i++) {
		if (u[i].context == 0 || u[i].left == 0)
			continue;
		hist_record(u[i].started ? b.itl : b.ttft, end_ns - u[i].last_ns);
		u[i].started = true;
		u[i].last_ns = end_ns;
		b.tokens++;
		if (--u[i].left > 0)
			continue;
		*free_blocks += u[i].blocks;
		u[i] = (struct bare){.last_ns = end_ns, .left = *asked < b.requests ? OUTPUT : 0};
		*asked += u[i].left > 0;
	}
	return end_ns;
}

static void run_bare(struct result *out)
{
	struct bare u[USERS] = {{0}};
	double started_s = now_s(), started_cpu_s = (double)thread_cpu_ns() / 1e9;
	int64_t now_ns = 0, asked = 0;
	int32_t free_blocks = BLOCKS;

	b.tokens = 0;
	hist_reset(b.ttft);
	hist_reset(b.itl);
	for (; asked < USERS && asked < b.requests; asked++)
		u[asked].left = OUTPUT;
	while (b.tokens < b.requests * OUTPUT)
		now_ns = bare_step(u, now_ns, &asked, &free_blocks);
	out->seconds = now_s() - started_s;
	out->cpu_s = (double)thread_cpu_ns() / 1e9 - started_cpu_s;
	out->tokens = (double)b.tokens;
}

int main(int argc, char **argv)
{
	struct result floor = {"sim", "bare", USERS, 0, 0, 0},
		      steps = {"sim", "steps", USERS, 0, 0, 0},
		      runs = {"sim", "runs", USERS, 0, 0, 0},
		      counts = {"sim", "counts", USERS, 0, 0, 0};

	die_set_program("bench_sim");
	b.requests = argc > 1 ? strtoll(argv[1], NULL, 10) : 20000;
	b.ttft = hist_new();
	b.itl = hist_new();
	run_bare(&floor);
	run_sim(&steps, true, true);
	run_sim(&runs, false, true);
	run_sim(&counts, false, false);
	print_head();
	print_result(&floor, 1);
	print_result(&steps, cpu_us_per_token(&floor) / cpu_us_per_token(&steps));
	print_result(&counts, cpu_us_per_token(&floor) / cpu_us_per_token(&counts));
	print_result(&runs, cpu_us_per_token(&floor) / cpu_us_per_token(&runs));
	print_goal(&(struct goal){.what = "simulation: step by step; a CPU second",
				  .unit = "tokens",
				  .streams = USERS,
				  .floor = 1e6 / cpu_us_per_token(&floor),
				  .own = 1e6 / cpu_us_per_token(&steps),
				  .least = 10e6});
	print_goal(&(struct goal){.what = "simulation: runs of steps at once; a CPU second",
				  .unit = "tokens",
				  .streams = USERS,
				  .floor = 1e6 / cpu_us_per_token(&floor),
				  .own = 1e6 / cpu_us_per_token(&runs),
				  .least = 300e6});
	hist_free(b.ttft);
	hist_free(b.itl);
	return 0;
}
