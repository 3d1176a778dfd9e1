/*
 * What the engine loop counts, and how /metrics shows it: under vLLM's names, labels and bucket
 * bounds, so that dashboards and scrapers of the real one work. Times are those of the model, but
 * for the lateness, which is how far the wire was behind it, and the overhead of a step.
 */
#ifndef SERVE_ENGINE_STATS_H
#define SERVE_ENGINE_STATS_H

#include <stdint.h>

#include "base/buf.h"
#include "genreq.h"
#include "prom.h"
#include "sched.h"

struct engine_stats {
	/* gauges and counters of the policy, refreshed when asked for */
	struct sched_stats sched;
	const char *const *adapters; /* names, NULL-terminated; or NULL */

	/* counters */
	int64_t prompt_tokens; /* of requests that have had their first token */
	int64_t cached_tokens; /* those of them found in the prefix cache */
	int64_t generation_tokens;
	int64_t finished[FINISH_ERROR + 1]; /* by enum genreq_finish */
	int64_t rejected;		    /* refused for a full queue */

	/* histograms, seconds */
	struct prom_hist ttft, inter_token,
		e2e; /* from the request's arrival, egress delay included */
	struct prom_hist queue, prefill, decode, inference; /* inside the engine */
	struct prom_hist time_per_output_token;
	struct prom_hist lateness; /* of each token: sent minus due */
	struct prom_hist overhead; /* of each step: the scheduler's part of it, wall time */

	/* histograms, tokens */
	struct prom_hist prompt, generation, iteration;
	double token_bound[PROM_MAX_BOUNDS]; /* of prompt and generation: 1-2-5 up to max_model_len
					      */
};

void engine_stats_init(struct engine_stats *s, int32_t max_model_len);

/* A request that ended with FINISH_STOP or FINISH_LENGTH after output_tokens, asked for at
 * submitted_ns. */
void engine_stats_finished(struct engine_stats *s, const struct genreq *r, int32_t output_tokens,
			   int64_t submitted_ns, int64_t egress_ns);

/* Appends the whole page. */
void engine_stats_show(const struct engine_stats *s, const char *model_name, struct buf *b);

#endif
