/*
 * Virtual time: how many output tokens a second one core simulates. A closed loop of 256 users who
 * ask for 256 tokens after a prompt of 512 that nobody shares, vLLM's policy, each token's time in
 * a histogram. Own: fakeengine/simulate, step by step and with runs of equal steps taken at once;
 * with blocks that are named by what they hold (prefix caching), or counted. Floor: the same load
 * in a loop of bare counters, without policy, ledger, tokens or a clock: what the histograms and a
 * walk over the batch cost.
 *
 * And what grows: time per token from 8 users to 1024; memory with ten times the tokens; with
 * BIN_DIR loadgen's memory a request, and a setting of a sweep over an hour of traffic as busy as
 * that of Azure's trace (19,366 requests, 1155 tokens in, 211 out).
 *
 * usage: bench_sim [REQUESTS [BIN_DIR]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/hist.h"
#include "bench.h"
#include "fakeengine/simulate.h"

enum { USERS = 256, PROMPT = 512, OUTPUT = 256, BUDGET = 8192, BLOCK = 16, BLOCKS = 16384 };
enum { FEW_USERS = 8, MANY_USERS = 1024, USER_BLOCKS = BLOCKS / USERS };

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
	struct user user[MANY_USERS];
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

/* One way to simulate, and what is remembered of it to be compared. */
struct way {
	bool step_by_step, prefix_caching;
	int users;
	int64_t end_ns;
	double itl_ns, ttft_ns;
};

static void run_sim(struct way *w, struct result *out)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct sim_setup c = {.policy = &sched_vllm_v1,
			      .cost = &cost,
			      .step_by_step = w->step_by_step,
			      .on_gap = on_gap};
	double started_s, started_cpu_s;
	struct err e;

	sched_defaults(c.policy, c.knobs);
	c.knobs[sched_knob(c.policy, "max_num_seqs")] = w->users;
	c.knobs[sched_knob(c.policy, "max_num_batched_tokens")] = BUDGET;
	c.knobs[sched_knob(c.policy, "num_gpu_blocks")] = (double)w->users * USER_BLOCKS;
	c.knobs[sched_knob(c.policy, "enable_prefix_caching")] = w->prefix_caching;
	b.loop = evloop_new_virtual(0);
	if (sim_new(&b.sim, b.loop, &c, &sink, &e) != RC_OK)
		die("bench_sim: %s", e.msg);
	b.asked = b.tokens = 0;
	hist_reset(b.ttft);
	hist_reset(b.itl);
	started_s = now_s();
	started_cpu_s = (double)thread_cpu_ns() / 1e9;
	for (int i = 0; i < w->users; i++)
		ask(&b.user[i]);
	evloop_run(b.loop);
	out->seconds = now_s() - started_s;
	out->cpu_s = (double)thread_cpu_ns() / 1e9 - started_cpu_s;
	out->tokens = (double)b.tokens;
	w->end_ns = evloop_now_ns(b.loop);
	w->itl_ns = hist_mean(b.itl) * (double)hist_count(b.itl);
	w->ttft_ns = hist_mean(b.ttft) * (double)hist_count(b.ttft);
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

/* ---- what is measured ---- */

static double tokens_per_cpu_s(const struct result *r)
{
	return 1e6 / cpu_us_per_token(r);
}

static void measure_speed(void)
{
	struct way way[] = {{true, true, USERS, 0, 0, 0},
			    {false, true, USERS, 0, 0, 0},
			    {false, false, USERS, 0, 0, 0}};
	struct result floor = {"sim", "bare", USERS, 0, 0, 0},
		      own[] = {{"sim", "steps", USERS, 0, 0, 0},
			       {"sim", "runs", USERS, 0, 0, 0},
			       {"sim", "runs, blocks counted", USERS, 0, 0, 0}};

	run_bare(&floor);
	print_result(&floor, 1);
	for (size_t i = 0; i < ARRAY_LEN(way); i++) {
		run_sim(&way[i], &own[i]);
		print_result(&own[i], cpu_us_per_token(&floor) / cpu_us_per_token(&own[i]));
		if (way[i].end_ns != way[0].end_ns || way[i].itl_ns != way[0].itl_ns ||
		    way[i].ttft_ns != way[0].ttft_ns)
			die("bench_sim: %s is not the same simulation", own[i].name);
	}
	print_goal(&(struct goal){.what = "simulation: step by step; a CPU second",
				  .unit = "tokens",
				  .streams = USERS,
				  .floor = tokens_per_cpu_s(&floor),
				  .own = tokens_per_cpu_s(&own[0]),
				  .least = 10e6});
	print_goal(&(struct goal){
		.what = "simulation: runs of steps at once, blocks counted; a CPU second",
		.unit = "tokens",
		.streams = USERS,
		.floor = tokens_per_cpu_s(&floor),
		.own = tokens_per_cpu_s(&own[2]),
		.least = 300e6});
}

/* The same number of requests, by few and by many at once. */
static void measure_growth(void)
{
	static const char *const names[] = {"runs", "steps"};

	for (int step_by_step = 0; step_by_step < 2; step_by_step++) {
		struct way few = {step_by_step, true, FEW_USERS, 0, 0, 0},
			   many = {step_by_step, true, MANY_USERS, 0, 0, 0};
		struct result of_few = {"sim", names[step_by_step], FEW_USERS, 0, 0, 0},
			      of_many = {"sim", names[step_by_step], MANY_USERS, 0, 0, 0};
		char what[64];

		run_sim(&few, &of_few);
		run_sim(&many, &of_many);
		print_result(&of_few, 1);
		print_result(&of_many, cpu_us_per_token(&of_few) / cpu_us_per_token(&of_many));
		snprintf(what, sizeof(what), "simulation: CPU per token, 1024 users over 8, %s",
			 names[step_by_step]);
		print_goal(&(struct goal){.what = what,
					  .unit = "us",
					  .streams = MANY_USERS,
					  .floor = cpu_us_per_token(&of_few),
					  .own = cpu_us_per_token(&of_many),
					  .ratio = cpu_us_per_token(&of_many) /
						   cpu_us_per_token(&of_few),
					  .most = 1.5});
	}
}

/* In a process of its own. */
static int simulate_requests(void *arg)
{
	struct way w = {false, true, USERS, 0, 0, 0};
	struct result out = {"sim", "memory", USERS, 0, 0, 0};

	b.requests = *(const int64_t *)arg;
	run_sim(&w, &out);
	return 0;
}

static void measure_memory(int64_t requests)
{
	int64_t ten_times = 10 * requests;
	double one = wait_usage(spawn(CLIENT_CORE, simulate_requests, &requests), "simulation")
			     .peak_bytes,
	       ten = wait_usage(spawn(CLIENT_CORE, simulate_requests, &ten_times), "simulation")
			     .peak_bytes;

	print_goal(&(struct goal){.what = "simulation: memory with ten times the tokens",
				  .unit = "bytes",
				  .streams = USERS,
				  .floor = one,
				  .own = ten,
				  .ratio = ten / one,
				  .most = 1.05});
}

/* ---- loadgen in virtual time ---- */

static const char scenario[] =
	"name: bench-sim\n"
	"clock: virtual\n"
	"targets: [{name: a, profile: kind-vllm-a100, set: {replicas: 2}}]\n";
static const char hour[] =
	"sweep: {target.profile.scheduler.max_num_seqs: [64, 128, 192, 256],\n"
	"        target.profile.scheduler.max_num_batched_tokens: [512, 1024, 1536, 2048, 3072, "
	"4096]}\n"
	"workload: {prompts: {synthetic: {input_tokens: {dist: lognormal, mean: 1155, cv: 1, max: "
	"3000}}},\n"
	"           output_tokens: {dist: lognormal, mean: 211, cv: 0.8, max: 1000}}\n"
	"load: {open: {rate: 5.38, arrival: poisson, requests: 19366}}\n"
	"slo: {ttft: 1s, tpot: 100ms}\n"
	"limits: {idle: 3600s, timeout: 3600s}\n" /* the worst settings are late, and no failure */
	"output: {rows: false, scrape: 0, plots: []}\n";
static const char closed[] =
	"workload: {prompts: {synthetic: {input_tokens: 64}}, output_tokens: 64}\n"
	"load: {closed: {concurrency: 64, requests: 20000}}\n"
	"output: {events: false, scrape: 0, plots: []}\n";

static struct usage run_loadgen(const char *bin_dir, const char *load, const char *set,
				const char *jobs)
{
	char folder[] = "/tmp/bench_sim.XXXXXX", *file, *out, *program;
	struct usage used;
	FILE *f;

	if (!mkdtemp(folder))
		die("bench_sim: no folder in /tmp");
	file = xasprintf("%s/scenario.yaml", folder);
	out = xasprintf("%s/out", folder);
	program = xasprintf("%s/loadgen", bin_dir);
	f = fopen(file, "w");
	if (!f)
		die("bench_sim: %s cannot be written", file);
	fprintf(f, "%s%s", scenario, load);
	fclose(f);
	used = wait_usage(
		spawn_program(CLIENT_CORE,
			      (char *[]){program, (char *)"run", file, (char *)"--out", out,
					 (char *)"--jobs", (char *)jobs, (char *)"--no-plots",
					 (char *)"--progress", (char *)"none", (char *)"--set",
					 (char *)set, NULL},
			      NULL),
		"loadgen");
	remove_folder(folder);
	free(program);
	free(out);
	free(file);
	return used;
}

static void measure_loadgen(const char *bin_dir)
{
	enum { SETTINGS = 24, MORE_REQUESTS = 180000 };
	double small = run_loadgen(bin_dir, closed, "repeats=1", "1").peak_bytes,
	       large = run_loadgen(bin_dir, closed, "load.closed.requests=200000", "1").peak_bytes;

	print_goal(
		&(struct goal){.what = "virtual time: a setting of a sweep over an hour; CPU",
			       .unit = "s",
			       .own = run_loadgen(bin_dir, hour, "repeats=1", "2").cpu_s / SETTINGS,
			       .most = 0.12});
	print_goal(&(struct goal){.what = "virtual time: memory a finished request",
				  .unit = "bytes",
				  .own = (large - small) / MORE_REQUESTS,
				  .most = 300});
}

int main(int argc, char **argv)
{
	die_set_program("bench_sim");
	b.requests = argc > 1 ? strtoll(argv[1], NULL, 10) : 20000;
	b.ttft = hist_new();
	b.itl = hist_new();
	print_head();
	measure_speed();
	measure_growth();
	measure_memory(b.requests);
	if (argc > 2)
		measure_loadgen(argv[2]);
	hist_free(b.ttft);
	hist_free(b.itl);
	return 0;
}
