/*
 * Owns which figures of a point have an interval over its requests, and what is drawn for them.
 * Pure. Must not know how resamples are drawn (bootstrap.c), nor who shows the intervals.
 */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "bootstrap.h"
#include "curve.h"
#include "metrics.h"

#define THREE_STATS(metric)                                                                        \
	{metric, S_MEAN}, {metric, S_P50},                                                         \
	{                                                                                          \
		metric, S_P99                                                                      \
	}

const struct interval_figure interval_figures[N_INTERVAL_FIGURES] = {
	THREE_STATS(M_TTFT), THREE_STATS(M_TTFT_SCHED), THREE_STATS(M_TPOT),
	THREE_STATS(M_E2EL), THREE_STATS(M_E2EL_SCHED),
};

static const double percentile_of[S_COUNT] = {[S_MEAN] = -1, [S_P50] = 50, [S_P99] = 99};

/* What is drawn: a row a request that ended ok, a column a metric, then tokens and seconds. */
struct rows {
	double *v[M_COUNT], *tokens, *seconds;
	size_t n;
};

static void rows_init(struct rows *t, const struct record *const *records, size_t n,
		      const enum metric *metrics, size_t n_metrics)
{
	*t = (struct rows){.tokens = xcalloc(n + 1, sizeof(double)),
			   .seconds = xcalloc(n + 1, sizeof(double))};
	for (size_t m = 0; m < n_metrics; m++)
		t->v[metrics[m]] = xcalloc(n + 1, sizeof(double));
	for (size_t i = 0; i < n; i++) {
		const struct record *r = records[i];

		if (r->outcome != OUTCOME_OK)
			continue;
		for (size_t m = 0; m < n_metrics; m++)
			t->v[metrics[m]][t->n] = record_metric_ms(r, metrics[m]);
		t->tokens[t->n] = r->output_tokens >= 0 ? r->output_tokens : NAN;
		t->seconds[t->n++] = ns_to_s(r->done_ns - r->send_ns);
	}
}

static void rows_release(struct rows *t)
{
	for (int m = 0; m < M_COUNT; m++)
		free(t->v[m]);
	free(t->tokens);
	free(t->seconds);
}

/* The draws say by which factors the quotient tokens / seconds may be off; the figure is the
 * table's own. */
static struct ends scaled_throughput(const struct point *p, const struct rows *t,
				     const struct draw_figure *f)
{
	double tokens = 0, seconds = 0, scale;

	for (size_t i = 0; i < t->n; i++) {
		if (isnan(t->tokens[i]))
			continue;
		tokens += t->tokens[i];
		seconds += t->seconds[i];
	}
	scale = tokens > 0 ? p->output_tokens_per_s * seconds / tokens : NAN;
	return (struct ends){scale * f->low, scale * f->high};
}

void point_intervals(struct point *p, const struct scenario *s, const struct record *const *records,
		     size_t n)
{
	const struct level *l = &s->levels[p->level];
	const enum metric metrics[] = {headline_ttft(l), M_TPOT, headline_e2el(l)};
	struct draw_figure f[1 + N_INTERVAL_FIGURES];
	struct ends *ends[1 + N_INTERVAL_FIGURES];
	size_t n_figures = 1;
	struct rows t;
	struct rng rng;

	rng_init(&rng, s->seed, "intervals",
		 ((uint64_t)p->target << 40) + ((uint64_t)p->level << 20) + (uint64_t)p->repeat);
	rows_init(&t, records, n, metrics, ARRAY_LEN(metrics));
	f[0] = (struct draw_figure){t.tokens, t.seconds, -1, NAN, NAN};
	for (size_t i = 0; i < N_INTERVAL_FIGURES; i++) {
		enum metric m = interval_figures[i].metric;
		enum metric_stat stat = interval_figures[i].stat;

		p->ci[m][stat] = (struct ends){NAN, NAN};
		/* redrawn, a percentile beyond the samples is one of the same few extremes */
		if (!t.v[m] || !point_enough(p, m, stat))
			continue;
		ends[n_figures] = &p->ci[m][stat];
		f[n_figures++] = (struct draw_figure){t.v[m], NULL, percentile_of[stat], NAN, NAN};
	}
	bootstrap_figures(f, n_figures, t.n, &rng);
	p->output_tokens_per_s_ci = scaled_throughput(p, &t, &f[0]);
	for (size_t i = 1; i < n_figures; i++)
		*ends[i] = (struct ends){f[i].low, f[i].high};
	rows_release(&t);
}
