/*
 * Owns the tables of other engines' metric names. Loop thread. Must not know HTTP.
 */
#include "metrics_pages.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct number_row {
	const char *name, *kind, *help;
	double (*value)(const struct engine_stats *s);
};

struct hist_row {
	const char *name, *help;
	size_t at;
};

struct page {
	const struct number_row *numbers; /* both end with name NULL */
	const struct hist_row *hists;
	bool names_model; /* a label on every sample */
};

#define VALUE(name, expression)                                                                    \
	static double name(const struct engine_stats *s)                                           \
	{                                                                                          \
		return (double)(expression);                                                       \
	}

static double share(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

static double used_tokens(const struct engine_stats *s)
{
	return (double)(s->sched.usable_blocks - s->sched.free_blocks) * s->sched.block_size;
}

VALUE(running, s->sched.running)
VALUE(waiting, s->sched.waiting)
VALUE(usage, share(s->sched.usable_blocks - s->sched.free_blocks, s->sched.usable_blocks))
VALUE(hit_rate, share((double)s->sched.prefix_hits_tokens, (double)s->sched.prefix_queries_tokens))
VALUE(prompt_tokens, s->prompt_tokens)
VALUE(fresh_tokens, s->prompt_tokens - s->cached_tokens)
VALUE(cached_tokens, s->cached_tokens)
VALUE(generated, s->generation_tokens)
VALUE(finished, s->finished[FINISH_STOP] + s->finished[FINISH_LENGTH])
VALUE(aborted, s->finished[FINISH_ABORT])
VALUE(failed, s->finished[FINISH_ERROR])
VALUE(retracted, s->sched.preemptions)
VALUE(asked, finished(s) + aborted(s) + failed(s) + running(s) + waiting(s))
VALUE(capacity, (double)s->sched.usable_blocks * s->sched.block_size)
VALUE(steps, prom_hist_count(&s->iteration))
VALUE(prompt_s, s->prefill.sum)
VALUE(decode_s, s->decode.sum)
VALUE(prompt_speed, share((double)(s->prompt_tokens - s->cached_tokens), s->prefill.sum))
VALUE(decode_speed, share((double)s->generation_tokens, s->decode.sum))
VALUE(busy, share((double)s->generation_tokens, steps(s)))

#define AT(field) offsetof(struct engine_stats, field)
/* Ours, behind each server's own. */
#define OURS                                                                                       \
	{"fakeengine_token_lateness_seconds",                                                      \
	 "How long after the time the model gives it a token was sent.", AT(lateness)},            \
	{                                                                                          \
		"fakeengine_step_overhead_seconds",                                                \
			"Committing a step, planning the next one and handing it to the "          \
			"executor.",                                                               \
			AT(overhead)                                                               \
	}

static void show(const struct page *page, const struct engine_stats *s, const char *model,
		 struct buf *b)
{
	struct buf labels;

	buf_init(&labels, SIZE_MAX);
	if (page->names_model) {
		buf_puts(&labels, "model_name=\"");
		prom_label_value(&labels, model);
		buf_putc(&labels, '"');
	}
	for (const struct number_row *r = page->numbers; r->name; r++) {
		prom_family(b, r->name, r->kind, r->help);
		prom_sample(b, r->name, buf_cstr(&labels), r->value(s));
	}
	for (const struct hist_row *r = page->hists; r->name; r++) {
		prom_family(b, r->name, "histogram", r->help);
		prom_hist_samples(
			b, r->name, "", buf_cstr(&labels),
			(const struct prom_hist *)(const void *)((const char *)s + r->at));
	}
	buf_release(&labels);
}

void metrics_sglang(const struct engine_stats *s, const char *model, struct buf *b)
{
	static const struct number_row numbers[] = {
		{"sglang:num_running_reqs", "gauge", "Requests in the batch.", running},
		{"sglang:num_queue_reqs", "gauge", "Requests that wait for a place.", waiting},
		{"sglang:num_used_tokens", "gauge", "Tokens whose KV entries are held.",
		 used_tokens},
		{"sglang:token_usage", "gauge", "... as a share of all there is room for.", usage},
		{"sglang:cache_hit_rate", "gauge", "Share of prompt tokens found in the cache.",
		 hit_rate},
		{"sglang:prompt_tokens_total", "counter", "Prompt tokens.", prompt_tokens},
		{"sglang:cached_tokens_total", "counter", "Prompt tokens found in the cache.",
		 cached_tokens},
		{"sglang:generation_tokens_total", "counter", "Tokens generated.", generated},
		{"sglang:num_requests_total", "counter", "Requests that have ended.", finished},
		{"sglang:num_aborted_requests_total", "counter", "Requests broken off.", aborted},
		{"sglang:num_retracted_requests_total", "counter",
		 "Times a request lost its place for want of room.", retracted},
		{0},
	};
	static const struct hist_row hists[] = {
		{"sglang:time_to_first_token_seconds", "From arrival to the first token.",
		 AT(ttft)},
		{"sglang:inter_token_latency_seconds", "Between two tokens of a request.",
		 AT(inter_token)},
		{"sglang:e2e_request_latency_seconds", "From arrival to the last token.", AT(e2e)},
		{"sglang:queue_time_seconds", "From the queue to the first step.", AT(queue)},
		OURS,
		{0},
	};

	show(&(const struct page){numbers, hists, true}, s, model, b);
}

void metrics_tgi(const struct engine_stats *s, const char *model, struct buf *b)
{
	static const struct number_row numbers[] = {
		{"tgi_queue_size", "gauge", "Requests that wait for a place.", waiting},
		{"tgi_batch_current_size", "gauge", "Requests in the batch.", running},
		{"tgi_batch_current_max_tokens", "gauge", "Tokens the batch holds.", used_tokens},
		{"tgi_batch_max_total_tokens", "gauge", "Tokens a batch may hold.", capacity},
		{"tgi_request_count", "counter", "Requests that came.", asked},
		{"tgi_request_success", "counter", "Requests that ended well.", finished},
		{"tgi_request_failure", "counter", "Requests that did not.", failed},
		{"tgi_batch_inference_count", "counter", "Steps computed.", steps},
		{0},
	};
	static const struct hist_row hists[] = {
		{"tgi_request_duration", "From arrival to the last token, seconds.", AT(e2e)},
		{"tgi_request_queue_duration", "From the queue to the first step.", AT(queue)},
		{"tgi_request_inference_duration", "From the first step to the last token.",
		 AT(inference)},
		{"tgi_request_mean_time_per_token_duration", "Mean time between tokens.",
		 AT(time_per_output_token)},
		{"tgi_request_input_length", "Prompt tokens of a request.", AT(prompt)},
		{"tgi_request_generated_tokens", "Output tokens of a request.", AT(generation)},
		OURS,
		{0},
	};

	show(&(const struct page){numbers, hists, false}, s, model, b);
}

void metrics_llamacpp(const struct engine_stats *s, const char *model, struct buf *b)
{
	static const struct number_row numbers[] = {
		{"llamacpp:prompt_tokens_total", "counter",
		 "Prompt tokens computed, cached ones excluded.", fresh_tokens},
		{"llamacpp:prompt_tokens_cached_total", "counter",
		 "Prompt tokens found in the cache.", cached_tokens},
		{"llamacpp:prompt_seconds_total", "counter",
		 "Time from first steps to first tokens.", prompt_s},
		{"llamacpp:tokens_predicted_total", "counter", "Tokens generated.", generated},
		{"llamacpp:tokens_predicted_seconds_total", "counter",
		 "Time from first tokens to last ones.", decode_s},
		{"llamacpp:n_decode_total", "counter", "Steps computed.", steps},
		{"llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens a second, on average.",
		 prompt_speed},
		{"llamacpp:predicted_tokens_seconds", "gauge", "Tokens a second, on average.",
		 decode_speed},
		{"llamacpp:requests_processing", "gauge", "Requests in a slot.", running},
		{"llamacpp:requests_deferred", "gauge", "Requests that wait for a slot.", waiting},
		{"llamacpp:n_busy_slots_per_decode", "gauge", "Slots that got a token, a step.",
		 busy},
		{0},
	};
	static const struct hist_row hists[] = {OURS, {0}};

	show(&(const struct page){numbers, hists, false}, s, model, b);
}
