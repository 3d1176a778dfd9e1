/*
 * Owns the definitions of measurement.md section 2: what each column of points.csv is, from the records of one point.
 * Pure; knows no file and no clock.
 */
#include "metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/units.h"

/*
 * When the client is no longer to be believed. A loop that is late by p99 1 ms blurs every TTFT and ITL by as much; a
 * send that is late by p99 5 ms moves open-loop arrivals visibly; a load thread above 80 % of its core queues; an
 * achieved rate 5 % below the asked one is another experiment.
 */
static const struct {
	double loop_lag_p99_us, receive_error_p99_us, send_late_p99_us, cpu_share, rate_shortfall;
} limit = {1000, 1000, 5000, 0.80, 0.05};

static const char *const metric_names[M_COUNT] = {"ttft", "ttft_sched", "ttft_vllm", "tpot",
						   "itl",  "e2el",	 "e2el_sched", "dispatch"};
static const char *const stat_names[S_COUNT] = {"mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"};
static const char *const verdict_names[] = {"ok", "saturated", "late", "few_samples", "unstreamed", "failed"};

const char *metric_name(enum metric m)
{
	return metric_names[m];
}

const char *metric_stat_name(enum metric_stat s)
{
	return stat_names[s];
}

const char *verdict_name(enum verdict v)
{
	return verdict_names[v];
}

static double span_ms(int64_t from_ns, int64_t to_ns)
{
	return from_ns < 0 || to_ns < 0 ? NAN : ns_to_ms(to_ns - from_ns);
}

/* The end of the last token: of an unstreamed answer the moment it was there. */
static int64_t last_token_ns(const struct record *r)
{
	return r->token_last_ns >= 0 ? r->token_last_ns : r->done_ns;
}

double record_metric_ms(const struct record *r, enum metric m)
{
	switch (m) {
	case M_TTFT:
		return span_ms(r->send_ns, r->token1_ns);
	case M_TTFT_SCHED:
		return span_ms(r->sched_ns, r->token1_ns);
	case M_TTFT_VLLM:
		return span_ms(r->send_ns, r->event1_ns);
	case M_TPOT:
		if (!r->streamed || r->output_tokens < 2)
			return NAN;
		return span_ms(r->token1_ns, r->token_last_ns) / (r->output_tokens - 1);
	case M_E2EL:
		return span_ms(r->send_ns, last_token_ns(r));
	case M_E2EL_SCHED:
		return span_ms(r->sched_ns, last_token_ns(r));
	case M_DISPATCH:
		return span_ms(r->sched_ns, r->send_ns);
	default:
		return NAN; /* ITL is many values a record */
	}
}

static bool is_good(const struct record *r, const struct slo *slo)
{
	double ttft = record_metric_ms(r, M_TTFT_SCHED), tpot = record_metric_ms(r, M_TPOT);
	double e2el = record_metric_ms(r, M_E2EL_SCHED);

	if (r->outcome != OUTCOME_OK)
		return false;
	if (slo->ttft_ns && !(ttft <= ns_to_ms(slo->ttft_ns)))
		return false;
	if (slo->tpot_ns && r->output_tokens > 1 && !(tpot <= ns_to_ms(slo->tpot_ns)))
		return false;
	return !slo->e2el_ns || e2el <= ns_to_ms(slo->e2el_ns);
}

static void add_metrics(struct sample sets[M_COUNT], const struct record *r)
{
	for (int m = 0; m < M_COUNT; m++) {
		double v = record_metric_ms(r, (enum metric)m);

		if (!isnan(v))
			sample_add(&sets[m], v);
	}
	for (int i = 1; r->streamed && i < r->n_events; i++)
		sample_add(&sets[M_ITL], ns_to_ms(r->event[i].t_ns - r->event[i - 1].t_ns));
}

static void summarise(struct point *p, struct sample sets[M_COUNT])
{
	static const double pct[] = {0, 50, 90, 95, 99};

	for (int m = 0; m < M_COUNT; m++) {
		p->samples[m] = sets[m].n;
		p->std_ms[m] = sample_std(&sets[m]);
		p->m[m][S_MEAN] = sample_mean(&sets[m]);
		for (int k = S_P50; k <= S_P99; k++)
			p->m[m][k] = sample_percentile(&sets[m], pct[k]);
		p->m[m][S_MAX] = sample_max(&sets[m]);
	}
}

/* Starts and ends of requests, tokens as they came: the point as a line of time. */
struct moment {
	int64_t t_ns;
	int running;  /* +1, -1 */
	double tokens;
};

static int by_time(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;

	if (x->t_ns != y->t_ns)
		return x->t_ns < y->t_ns ? -1 : 1;
	return x->running - y->running; /* ends before starts: a closed loop hands its slot over at one instant */
}

/* One moment a start, an end and a token-bearing event. Where events count fewer tokens than usage told (several in one
 * event), each event carries its share. */
static struct moment *make_moments(const struct record *const *recs, size_t n, size_t *count)
{
	size_t cap = 0, k = 0;
	struct moment *v;

	for (size_t i = 0; i < n; i++)
		cap += 3 + (size_t)recs[i]->n_events;
	v = xcalloc(cap ? cap : 1, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		const struct record *r = recs[i];
		double share;

		if (r->send_ns < 0 || r->done_ns < 0)
			continue;
		v[k++] = (struct moment){r->send_ns, 1, 0};
		v[k++] = (struct moment){r->done_ns, -1, 0};
		if (r->outcome != OUTCOME_OK || r->output_tokens <= 0)
			continue;
		if (!r->n_events) {
			v[k++] = (struct moment){last_token_ns(r), 0, r->output_tokens};
			continue;
		}
		share = (double)r->output_tokens / r->event[r->n_events - 1].tokens;
		for (int j = 0; j < r->n_events; j++) {
			int before = j ? r->event[j - 1].tokens : 0;

			v[k++] = (struct moment){r->event[j].t_ns, 0, share * (r->event[j].tokens - before)};
		}
	}
	qsort(v, k, sizeof(*v), by_time);
	*count = k;
	return v;
}

/* Mean and peak of requests running, the busiest second, and the steady window: the longest stretch in which at least
 * `asked` requests ran without a gap longer than 1 % of the point or 20 ms (a slot being handed over). */
static void walk_moments(struct point *p, const struct moment *v, size_t n, int asked)
{
	int64_t span_ns = n ? v[n - 1].t_ns - v[0].t_ns : 0;
	int64_t tolerance_ns = span_ns / 100 > 20 * NS_PER_MS ? 20 * NS_PER_MS : span_ns / 100;
	int64_t from_ns = -1, dip_ns = -1, best_from = 0, best_to = -1;
	double area = 0, in_second = 0, peak = 0, steady = 0;
	int running = 0, top = 0;
	size_t tail = 0;

	for (size_t i = 0; i < n; i++) {
		if (i)
			area += (double)running * (double)(v[i].t_ns - v[i - 1].t_ns);
		in_second += v[i].tokens;
		while (v[i].t_ns - v[tail].t_ns >= NS_PER_S)
			in_second -= v[tail++].tokens;
		peak = fmax(peak, in_second);
		running += v[i].running;
		top = running > top ? running : top;
		if (running >= asked) {
			if (from_ns < 0 || (dip_ns >= 0 && v[i].t_ns - dip_ns > tolerance_ns))
				from_ns = v[i].t_ns;
			dip_ns = -1;
		} else if (from_ns >= 0 && dip_ns < 0) {
			dip_ns = v[i].t_ns;
			if (dip_ns - from_ns > best_to - best_from) {
				best_from = from_ns;
				best_to = dip_ns;
			}
		}
	}
	for (size_t i = 0; i < n; i++)
		if (v[i].t_ns > best_from && v[i].t_ns <= best_to)
			steady += v[i].tokens;
	p->mean_running = span_ns > 0 ? area / (double)span_ns : NAN;
	p->peak_running = top;
	p->peak_output_tokens_per_s = peak;
	p->steady_output_tokens_per_s = best_to > best_from ? steady * 1e9 / (double)(best_to - best_from) : NAN;
}

/* Sums over the records; the readings of the seed benchmark and of a single stream are means over requests. */
static void count_records(struct point *p, const struct scenario *s, const struct record *const *recs, size_t n,
			  int64_t level_start_ns, struct sample sets[M_COUNT])
{
	bool has_slo = s->slo.ttft_ns || s->slo.tpot_ns || s->slo.e2el_ns;
	double seed = 0, single = 0, e2e_s = 0;
	int64_t first_ns = INT64_MAX, last_ns = INT64_MIN, good = 0, started = 0, last_send_ns = INT64_MIN;

	p->planned = (int64_t)n;
	p->streamed = true;
	for (size_t i = 0; i < n; i++) {
		const struct record *r = recs[i];

		p->by_outcome[r->outcome]++;
		if (r->send_ns >= 0) {
			started++;
			first_ns = r->send_ns < first_ns ? r->send_ns : first_ns;
			last_send_ns = r->send_ns > last_send_ns ? r->send_ns : last_send_ns;
			last_ns = r->done_ns > last_ns ? r->done_ns : last_ns;
		}
		if (r->outcome == OUTCOME_DROPPED) {
			p->dropped++;
			continue;
		}
		if (r->outcome != OUTCOME_OK) {
			p->failed++;
			p->wasted_tokens += r->output_tokens > 0 ? r->output_tokens : 0;
			continue;
		}
		p->ok++;
		p->prompt_tokens += r->prompt_tokens > 0 ? r->prompt_tokens : 0;
		p->output_tokens += r->output_tokens > 0 ? r->output_tokens : 0;
		p->events += r->n_events;
		p->merged_events += r->merged_events;
		p->streamed &= r->streamed;
		p->tokens_by_events |= r->token_source == TOKENS_EVENTS;
		p->tokens_differ |= r->output_tokens != r->planned_output_tokens;
		good += is_good(r, &s->slo);
		add_metrics(sets, r);
		if (r->output_tokens > 0 && r->done_ns > r->send_ns) {
			seed += r->output_tokens / ns_to_s(r->done_ns - level_start_ns);
			single += r->output_tokens / ns_to_s(r->done_ns - r->send_ns);
		}
		e2e_s += ns_to_s(r->done_ns - r->send_ns);
	}
	p->duration_s = started && last_ns > first_ns ? ns_to_s(last_ns - first_ns) : NAN;
	p->requests_per_s = (double)p->ok / p->duration_s;
	p->requests_per_min = 60 * p->requests_per_s;
	p->output_tokens_per_s = (double)p->output_tokens / p->duration_s;
	p->total_tokens_per_s = p->prompt_tokens > 0 ? (double)(p->output_tokens + p->prompt_tokens) / p->duration_s : NAN;
	p->achieved_rate = last_send_ns > level_start_ns ? (double)started / ns_to_s(last_send_ns - level_start_ns) : NAN;
	p->seed_mean_tps = p->ok ? seed / (double)p->ok : NAN;
	p->single_stream_tps = p->ok ? single / (double)p->ok : NAN;
	p->goodput_per_s = has_slo ? (double)good / p->duration_s : NAN;
	p->goodput_share = has_slo && n ? (double)good / (double)n : NAN;
	p->littles_ratio = p->ok ? p->requests_per_s * e2e_s / (double)p->ok : NAN; /* mean running by Little's law */
}

static void say(struct point *p, enum verdict v, const char *fmt, double a, double b)
{
	p->verdict = v;
	snprintf(p->verdict_text, sizeof(p->verdict_text), fmt, a, b);
}

/* The first thing that is wrong decides; what invalidates every number stands before what touches one. */
static void judge(struct point *p, const struct level *l)
{
	const struct self_watch_point *w = &p->self;

	p->verdict = VERDICT_OK;
	p->verdict_text[0] = '\0';
	if (!p->ok && p->planned)
		say(p, VERDICT_FAILED, "none of %.0f requests succeeded", (double)p->planned, 0);
	else if (w->cpu_share > limit.cpu_share)
		say(p, VERDICT_SATURATED, "the load thread used %.0f %% of a core (limit %.0f %%)", 100 * w->cpu_share,
		    100 * limit.cpu_share);
	else if (w->loop_lag_p99_us > limit.loop_lag_p99_us)
		say(p, VERDICT_SATURATED, "the client's own loop was late by %.0f us at p99 (limit %.0f us)",
		    w->loop_lag_p99_us, limit.loop_lag_p99_us);
	else if (w->receive_error_p99_us > limit.receive_error_p99_us)
		say(p, VERDICT_SATURATED, "received bytes waited %.0f us at p99 before they were read (limit %.0f us)",
		    w->receive_error_p99_us, limit.receive_error_p99_us);
	else if (w->send_late_p99_us > limit.send_late_p99_us)
		say(p, VERDICT_LATE, "requests left %.0f us after their plan at p99 (limit %.0f us)", w->send_late_p99_us,
		    limit.send_late_p99_us);
	else if (l->kind == LOAD_OPEN && l->requests > 0 && isfinite(l->rate_per_s) &&
		 p->achieved_rate < (1 - limit.rate_shortfall) * (double)(p->planned - p->dropped) / (double)l->requests *
					    l->rate_per_s)
		say(p, VERDICT_LATE, "asked for %.4g requests/s, sent %.4g", l->rate_per_s, p->achieved_rate);
	else if (!p->streamed)
		say(p, VERDICT_UNSTREAMED, "answers were not streamed: TTFT is the whole latency (%.1f ms on average)",
		    p->m[M_TTFT][S_MEAN], 0);
	else if (!sample_enough((size_t)p->ok, 99))
		say(p, VERDICT_FEW_SAMPLES, "%.0f requests: p99 is little more than the maximum (662 needed)",
		    (double)p->ok, 0);
}

void point_compute(struct point *p, const struct scenario *s, const struct record *const *records, size_t n,
		   int64_t level_start_ns, const struct self_watch_point *self)
{
	const struct level *l = &s->levels[p->level];
	struct sample sets[M_COUNT] = {{0}};
	struct moment *moments;
	double expected;
	size_t n_moments;

	p->self = *self;
	count_records(p, s, records, n, level_start_ns, sets);
	p->self.send_late_p99_us = sets[M_DISPATCH].n ? 1e3 * sample_percentile(&sets[M_DISPATCH], 99) : NAN;
	summarise(p, sets);
	moments = make_moments(records, n, &n_moments);
	walk_moments(p, moments, n_moments, l->kind == LOAD_OPEN ? 1 : l->concurrency);
	free(moments);
	expected = p->mean_running;
	p->littles_ratio = p->failed ? NAN : p->littles_ratio / expected;
	judge(p, l);
	for (int m = 0; m < M_COUNT; m++)
		sample_release(&sets[m]);
	CHECK(p->planned == p->ok + p->failed + p->dropped);
}
