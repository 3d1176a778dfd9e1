/*
 * Owns the table of metric families: name, kind, help and where the number stands. Loop thread.
 * Must not know HTTP.
 */
#include "engine_stats.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"

static const double ttft_bounds[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,	.75,
				     1,	   2.5,	 5,   7.5, 10,	20,  40,  80, 160, 640, 2560};
static const double token_time_bounds[] = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
					   .75, 1,    2.5, 5,	 7.5, 10,  20, 40, 80};
static const double request_time_bounds[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,	 10,   15,  20,
					     30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
static const double iteration_bounds[] = {1,   8,    16,   32,	 64,   128,  256,
					  512, 1024, 2048, 4096, 8192, 16384};

/* Ours alone: how late a token leaves, and what a step costs beside what computes it, are matters
 * of microseconds. */
static const double lateness_bounds[] = {5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, .001,
					 .002, .005, .01,  .02,	 .05,  .1,   1};

#define INIT(h, bounds) prom_hist_init(h, bounds, (int)ARRAY_LEN(bounds))

void engine_stats_init(struct engine_stats *s, int32_t max_model_len)
{
	static const int step[] = {1, 2, 5};
	int64_t decade = 1;
	int n = 0;

	memset(s, 0, sizeof(*s));
	INIT(&s->ttft, ttft_bounds);
	INIT(&s->inter_token, token_time_bounds);
	INIT(&s->time_per_output_token, token_time_bounds);
	INIT(&s->e2e, request_time_bounds);
	INIT(&s->queue, request_time_bounds);
	INIT(&s->prefill, request_time_bounds);
	INIT(&s->decode, request_time_bounds);
	INIT(&s->inference, request_time_bounds);
	INIT(&s->lateness, lateness_bounds);
	INIT(&s->overhead, lateness_bounds);
	INIT(&s->iteration, iteration_bounds);
	for (int i = 0; step[i % 3] * decade <= max_model_len && n < PROM_MAX_BOUNDS; i++) {
		s->token_bound[n++] = (double)(step[i % 3] * decade);
		if (i % 3 == 2)
			decade *= 10;
	}
	prom_hist_init(&s->prompt, s->token_bound, n > 0 ? n : 1);
	prom_hist_init(&s->generation, s->token_bound, n > 0 ? n : 1);
}

void engine_stats_finished(struct engine_stats *s, const struct genreq *r, int32_t output_tokens,
			   int64_t submitted_ns, int64_t egress_ns)
{
	double decode_s = ns_to_s(r->last_token_ns - r->first_token_ns);

	prom_hist_observe(&s->e2e, ns_to_s(r->last_token_ns + egress_ns - submitted_ns));
	prom_hist_observe(&s->queue, ns_to_s(r->first_scheduled_ns - r->arrival_ns));
	prom_hist_observe(&s->prefill, ns_to_s(r->first_token_ns - r->first_scheduled_ns));
	prom_hist_observe(&s->decode, decode_s);
	prom_hist_observe(&s->inference, ns_to_s(r->last_token_ns - r->first_scheduled_ns));
	prom_hist_observe(&s->time_per_output_token,
			  output_tokens > 1 ? decode_s / (output_tokens - 1) : 0);
	prom_hist_observe(&s->prompt, r->n_prompt);
	prom_hist_observe(&s->generation, output_tokens);
}

#define AT(field) offsetof(struct engine_stats, field)

/* In the order of vLLM's page. */
static const struct gauge_row {
	const char *name, *kind, *help;
	size_t at;
	bool wide; /* int64_t, else int32_t */
} gauges[] = {
	{"vllm:num_requests_running", "gauge", "Requests that hold a place in the batch.",
	 AT(sched.running), false},
	{"vllm:num_requests_waiting", "gauge",
	 "Requests that wait for a place, preempted ones included.", AT(sched.waiting), false},
};

static const struct gauge_row counters[] = {
	{"vllm:prefix_cache_queries_total", "counter", "Tokens looked up in the prefix cache.",
	 AT(sched.prefix_queries_tokens), true},
	{"vllm:prefix_cache_hits_total", "counter", "Tokens found in the prefix cache.",
	 AT(sched.prefix_hits_tokens), true},
	{"vllm:num_preemptions_total", "counter",
	 "Requests thrown back to the queue for want of KV blocks.", AT(sched.preemptions), true},
	{"vllm:prompt_tokens_total", "counter", "Prompt tokens of requests past their prefill.",
	 AT(prompt_tokens), true},
	{"vllm:prompt_tokens_cached_total", "counter", "Prompt tokens taken from the prefix cache.",
	 AT(cached_tokens), true},
	{"vllm:generation_tokens_total", "counter", "Tokens generated.", AT(generation_tokens),
	 true},
};

static const struct {
	const char *name, *help;
	size_t at;
} hists[] = {
	{"vllm:request_prompt_tokens", "Prompt tokens of a finished request.", AT(prompt)},
	{"vllm:request_generation_tokens", "Output tokens of a finished request.", AT(generation)},
	{"vllm:iteration_tokens_total",
	 "Tokens of a step: prompts that got their first token, and tokens generated.",
	 AT(iteration)},
	{"vllm:time_to_first_token_seconds", "From the request's arrival to its first token.",
	 AT(ttft)},
	{"vllm:inter_token_latency_seconds", "Between two tokens of a request.", AT(inter_token)},
	{"vllm:request_time_per_output_token_seconds",
	 "Mean time between the tokens of a finished request.", AT(time_per_output_token)},
	{"vllm:e2e_request_latency_seconds", "From the request's arrival to its last token.",
	 AT(e2e)},
	{"vllm:request_queue_time_seconds", "From the queue to the first step.", AT(queue)},
	{"vllm:request_inference_time_seconds", "From the first step to the last token.",
	 AT(inference)},
	{"vllm:request_prefill_time_seconds", "From the first step to the first token.",
	 AT(prefill)},
	{"vllm:request_decode_time_seconds", "From the first token to the last.", AT(decode)},
	{"fakeengine_token_lateness_seconds",
	 "How long after the time the model gives it a token was sent.", AT(lateness)},
	{"fakeengine_step_overhead_seconds",
	 "Committing a step, planning the next one and handing it to the executor.", AT(overhead)},
};

static void show_rows(const struct engine_stats *s, const struct gauge_row *row, size_t n,
		      const char *labels, struct buf *b)
{
	for (size_t i = 0; i < n; i++) {
		const char *at = (const char *)s + row[i].at;
		double v = row[i].wide ? (double)*(const int64_t *)(const void *)at
				       : (double)*(const int32_t *)(const void *)at;

		prom_family(b, row[i].name, row[i].kind, row[i].help);
		prom_sample(b, row[i].name, labels, v);
	}
}

/* Only for policies that keep a KV ledger: there is no usage of what does not exist. */
static void show_cache(const struct engine_stats *s, const char *labels, struct buf *b)
{
	const struct sched_stats *v = &s->sched;

	if (v->usable_blocks == 0)
		return;
	prom_family(b, "vllm:kv_cache_usage_perc", "gauge",
		    "KV blocks that are held by requests, 1 = all.");
	prom_sample(b, "vllm:kv_cache_usage_perc", labels,
		    1 - (double)v->free_blocks / v->usable_blocks);
	/* One block is set aside, as vLLM does (kvpool.h). */
	prom_family(b, "vllm:cache_config_info", "gauge", "Settings of the KV cache.");
	buf_printf(b,
		   "vllm:cache_config_info{block_size=\"%d\",engine=\"0\",num_gpu_blocks=\"%d\"} "
		   "1.0\n",
		   v->block_size, v->usable_blocks + 1);
}

/* The names whose bits are set, with commas between. */
static void put_adapters(struct buf *b, const char *const *name, uint64_t bits)
{
	const char *before = "";

	for (int i = 0; name && name[i] && i < SCHED_MAX_ADAPTERS; i++) {
		if (!(bits >> i & 1))
			continue;
		buf_puts(b, before);
		prom_label_value(b, name[i]);
		before = ",";
	}
}

/* Only where adapters are served. The value is the wall time of the page, as vLLM has it. */
static void show_adapters(const struct engine_stats *s, struct buf *b)
{
	const char *name = "vllm:lora_requests_info";

	if (s->sched.max_loras == 0)
		return;
	prom_family(b, name, "gauge", "LoRA adapters of requests that run and that wait.");
	buf_printf(b, "%s{max_lora=\"%d\",running_lora_adapters=\"", name, s->sched.max_loras);
	put_adapters(b, s->adapters, s->sched.running_adapters);
	buf_puts(b, "\",waiting_lora_adapters=\"");
	put_adapters(b, s->adapters, s->sched.waiting_adapters);
	buf_printf(b, "\"} %lld.0\n", (long long)time(NULL));
}

/* Only where there is a second cache. */
static void show_offload(const struct engine_stats *s, const char *labels, struct buf *b)
{
	static const struct gauge_row rows[] = {
		{"vllm:external_prefix_cache_queries_total", "counter",
		 "Tokens looked up in the host's memory.", AT(sched.external_queries_tokens), true},
		{"vllm:external_prefix_cache_hits_total", "counter",
		 "Tokens found in the host's memory.", AT(sched.external_hits_tokens), true},
	};

	if (s->sched.host_blocks > 0)
		show_rows(s, rows, ARRAY_LEN(rows), labels, b);
}

/* Only where it guesses at all. */
static void show_speculation(const struct engine_stats *s, const char *labels, struct buf *b)
{
	static const struct gauge_row rows[] = {
		{"vllm:spec_decode_num_drafts_total", "counter", "Drafts that were verified.",
		 AT(sched.drafts), true},
		{"vllm:spec_decode_num_draft_tokens_total", "counter", "Tokens in them.",
		 AT(sched.draft_tokens), true},
		{"vllm:spec_decode_num_accepted_tokens_total", "counter",
		 "Those of them that were right.", AT(sched.accepted_tokens), true},
	};
	const char *name = "vllm:spec_decode_num_accepted_tokens_per_pos_total";

	if (s->sched.max_draft == 0)
		return;
	show_rows(s, rows, ARRAY_LEN(rows), labels, b);
	prom_family(b, name, "counter", "... by their place in the draft, from 0.");
	for (int32_t k = 0; k < s->sched.max_draft; k++)
		buf_printf(b, "%s{%s,position=\"%d\"} %lld.0\n", name, labels, k,
			   (long long)s->sched.accepted_at[k]);
}

static void show_finished(const struct engine_stats *s, const char *model, struct buf *b)
{
	static const enum genreq_finish order[] = {FINISH_STOP, FINISH_LENGTH, FINISH_ABORT,
						   FINISH_ERROR};

	prom_family(b, "vllm:request_success_total", "counter", "Requests that ended, by reason.");
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		buf_printf(b,
			   "vllm:request_success_total{engine=\"0\",finished_reason=\"%s\",%s} "
			   "%lld.0\n",
			   genreq_finish_name(order[i]), model, (long long)s->finished[order[i]]);
	prom_family(b, "vllm:admission_rejections_total", "counter",
		    "Requests refused because the queue was full.");
	buf_printf(b, "vllm:admission_rejections_total{%s,reason=\"max_num_queued_reqs\"} %lld.0\n",
		   model, (long long)s->rejected);
}

void engine_stats_show(const struct engine_stats *s, const char *model_name, struct buf *b)
{
	struct buf model, labels;

	buf_init(&model, SIZE_MAX);
	buf_init(&labels, SIZE_MAX);
	buf_puts(&model, "model_name=\"");
	prom_label_value(&model, model_name);
	buf_putc(&model, '"');
	buf_printf(&labels, "engine=\"0\",%s", buf_cstr(&model));
	show_rows(s, gauges, ARRAY_LEN(gauges), buf_cstr(&labels), b);
	show_cache(s, buf_cstr(&labels), b);
	show_rows(s, counters, ARRAY_LEN(counters), buf_cstr(&labels), b);
	show_adapters(s, b);
	show_offload(s, buf_cstr(&labels), b);
	show_speculation(s, buf_cstr(&labels), b);
	show_finished(s, buf_cstr(&model), b);
	for (size_t i = 0; i < ARRAY_LEN(hists); i++) {
		prom_family(b, hists[i].name, "histogram", hists[i].help);
		prom_hist_samples(
			b, hists[i].name, "engine=\"0\"", buf_cstr(&model),
			(const struct prom_hist *)(const void *)((const char *)s + hists[i].at));
	}
	buf_release(&model);
	buf_release(&labels);
}
