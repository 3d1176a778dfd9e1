/*
 * Owns the definitions of measurement.md section 2: what each column of points.csv is, from the
 * records of one point, and when the client is no longer to be believed. Pure: runs wherever it is
 * called, knows no file and no clock. Percentiles are numpy's default (stats.h).
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
#include "gaps.h"

/*
 * The limits of the client verdict. What blurs no figure by more than a hundredth is not worth a
 * warning, so where the blur is relative to a request the limit is the larger of an absolute one
 * and 1 % of the median E2EL.
 *
 * loop_lag_us, backlog_us: p99. With kernel receive stamps a late loop hands a closed loop's slot
 * over late and moves no time stamp, so the relative limit holds; without, it moves every TTFT and
 * ITL, and the absolute one does. send_late_us: p99 of send - planned start; absolute in open loop,
 * where it bends the arrival process, relative in a closed one. cpu_share: of a core; above it the
 * load thread queues its own work. rate_shortfall: an achieved rate so far below the planned one is
 * another experiment.
 */
static const struct {
	double loop_lag_us, backlog_us, send_late_us, cpu_share, rate_shortfall, share_of_e2el;
} limit = {1000, 1000, 5000, 0.80, 0.05, 0.01};

static const char *const metric_names[M_COUNT] = {"ttft", "ttft_sched",	   "ttft_vllm",	 "tpot",
						  "itl",  "e2el",	   "e2el_sched", "dispatch",
						  "ttfo", "itl_per_token", "e2el_done"};
static const char *const stat_names[S_COUNT] = {"mean_ms", "p50_ms", "p90_ms",
						"p95_ms",  "p99_ms", "max_ms"};
static const double stat_percentiles[S_COUNT] = {0, 50, 90, 95, 99, 0};
static const char *const verdict_names[] = {"ok", "saturated", "late", "failed"};

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

bool point_enough(const struct point *p, enum metric m, enum metric_stat s)
{
	return s == S_MEAN || s == S_MAX || sample_enough(p->samples[m], stat_percentiles[s]);
}

bool point_trusted(const struct point *p)
{
	return p->verdict == VERDICT_OK && point_enough(p, M_TTFT, S_P99);
}

/* ---- one record ---- */

static double span_ms(int64_t from_ns, int64_t to_ns)
{
	return from_ns < 0 || to_ns < 0 ? NAN : ns_to_ms(to_ns - from_ns);
}

/* Of an unstreamed answer all tokens come when it is there, if it has any: an embedding has none.
 */
static int64_t first_token_ns(const struct record *r)
{
	bool is_told = r->token1_ns >= 0 || r->streamed || r->token_source == TOKENS_NONE;

	return is_told ? r->token1_ns : r->done_ns;
}

static int64_t last_token_ns(const struct record *r)
{
	return r->token_last_ns >= 0 || r->streamed ? r->token_last_ns : r->done_ns;
}

double record_metric_ms(const struct record *r, enum metric m)
{
	switch (m) {
	case M_TTFT:
		return span_ms(r->send_ns, first_token_ns(r));
	case M_TTFT_SCHED:
		return span_ms(r->sched_ns, first_token_ns(r));
	case M_TTFT_VLLM:
		return span_ms(r->send_ns,
			       r->event1_ns >= 0 || r->streamed ? r->event1_ns : first_token_ns(r));
	case M_TTFO:
		return span_ms(r->send_ns, r->output1_ns);
	case M_TPOT:
		if (!r->streamed || r->output_tokens < 2)
			return NAN;
		return span_ms(r->token1_ns, r->token_last_ns) / (r->output_tokens - 1);
	case M_E2EL:
		return span_ms(r->send_ns, last_token_ns(r));
	case M_E2EL_SCHED:
		return span_ms(r->sched_ns, last_token_ns(r));
	case M_E2EL_DONE:
		return span_ms(r->send_ns, r->done_ns);
	case M_DISPATCH:
		return span_ms(r->sched_ns, r->send_ns);
	case M_ITL:
	case M_ITL_PER_TOKEN:
	case M_COUNT:
		break;
	}
	return NAN;
}

/* Events that shared a read have one time: their tokens share the gap before that read. Only where
 * the events account for every token that usage told. */
static void add_gaps_per_token(const struct record *r, struct sample *out)
{
	int32_t i = 1, before = 0;

	if (r->token_source != TOKENS_USAGE || r->event[r->n_events - 1].tokens != r->output_tokens)
		return;
	while (i < r->n_events && r->event[i].merged)
		before = i++;
	for (; i < r->n_events; i++) {
		int32_t last = i, tokens;

		while (last + 1 < r->n_events && r->event[last + 1].merged)
			last++;
		tokens = r->event[last].tokens - r->event[before].tokens;
		for (int32_t k = 0; k < tokens; k++)
			sample_add(out,
				   ns_to_ms(r->event[i].t_ns - r->event[before].t_ns) / tokens);
		before = i = last;
	}
}

void record_add_gaps_ms(const struct record *r, enum metric m, struct sample *out)
{
	if (!r->streamed || r->n_events < 2)
		return;
	if (m == M_ITL_PER_TOKEN) {
		add_gaps_per_token(r, out);
		return;
	}
	CHECK(m == M_ITL);
	for (int32_t i = 1; i < r->n_events; i++)
		sample_add(out, ns_to_ms(r->event[i].t_ns - r->event[i - 1].t_ns));
}

bool slo_asked(const struct slo *slo)
{
	return slo->ttft_ns || slo->tpot_ns || slo->e2el_ns;
}

bool record_is_good(const struct record *r, const struct slo *slo)
{
	if (r->outcome != OUTCOME_OK)
		return false;
	if (slo->ttft_ns && !(record_metric_ms(r, M_TTFT_SCHED) <= ns_to_ms(slo->ttft_ns)))
		return false;
	/* one token, or all at once, has no time per token to miss */
	if (slo->tpot_ns && record_metric_ms(r, M_TPOT) > ns_to_ms(slo->tpot_ns))
		return false;
	return !slo->e2el_ns || record_metric_ms(r, M_E2EL_SCHED) <= ns_to_ms(slo->e2el_ns);
}

/* ---- sums and means over the records of a point ---- */

/* What is summed up on the way to rates; not part of the point. */
struct sums {
	struct sample metric[M_COUNT]; /* but of M_ITL, and where `plain` of M_ITL_PER_TOKEN: */
	struct gaps itl;
	bool plain; /* every event is one token, so that both are the same */
	int64_t level_start_ns;
	int64_t sent, good, with_prompt, with_output, late_1ms;
	int64_t first_send_ns, last_send_ns, last_sched_ns, last_end_ns;
	double seed_tps, single_tps; /* sums over requests */
	double latency_s;	     /* send -> done, of ok requests */
	double decode_s;	     /* first -> last token, of streamed ok requests */
	int64_t decoded_tokens;	     /* the tokens behind those first ones */
};

static void add_gaps(const struct record *r, struct gaps *out)
{
	int64_t *ns;

	if (!r->streamed || r->n_events < 2)
		return;
	ns = gaps_extend(out, (size_t)r->n_events - 1);
	for (int32_t i = 1; i < r->n_events; i++)
		ns[i - 1] = r->event[i].t_ns - r->event[i - 1].t_ns;
}

/* Each of its events is one token, and has a time of its own. */
static bool is_plain(const struct record *r)
{
	return r->token_source == TOKENS_USAGE && r->merged_events == 0 && r->n_events > 0 &&
	       r->n_events == r->output_tokens && r->event[r->n_events - 1].tokens == r->n_events;
}

static bool all_plain(const struct record *const *records, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (records[i]->outcome == OUTCOME_OK && records[i]->streamed &&
		    records[i]->n_events > 1 && !is_plain(records[i]))
			return false;
	return true;
}

static void add_metrics(struct sums *z, const struct record *r)
{
	for (int m = 0; m < M_COUNT; m++) {
		double v = record_metric_ms(r, (enum metric)m);

		if (!isnan(v))
			sample_add(&z->metric[m], v);
	}
	add_gaps(r, &z->itl);
	if (!z->plain)
		record_add_gaps_ms(r, M_ITL_PER_TOKEN, &z->metric[M_ITL_PER_TOKEN]);
}

static void add_ok(struct point *p, struct sums *z, const struct record *r)
{
	double latency_s = ns_to_s(r->done_ns - r->send_ns);

	p->ok++;
	p->events += r->n_events;
	p->merged_events += r->merged_events;
	p->unstreamed += !r->streamed && r->token_source != TOKENS_NONE;
	p->tokens_by_events |= r->token_source == TOKENS_EVENTS;
	p->tokens_differ |= r->output_tokens >= 0 && r->output_tokens != r->planned_output_tokens;
	add_metrics(z, r);
	z->latency_s += latency_s;
	if (r->prompt_tokens >= 0) {
		z->with_prompt++;
		p->prompt_tokens += r->prompt_tokens;
	}
	if (r->output_tokens < 0)
		return;
	z->with_output++;
	p->output_tokens += r->output_tokens;
	if (latency_s <= 0)
		return;
	z->seed_tps += r->output_tokens / ns_to_s(r->done_ns - z->level_start_ns);
	z->single_tps += r->output_tokens / latency_s;
	if (!isnan(record_metric_ms(r, M_TPOT))) {
		z->decode_s += ns_to_s(r->token_last_ns - r->token1_ns);
		z->decoded_tokens += r->output_tokens - 1;
	}
}

static void add_sent(struct sums *z, const struct record *r)
{
	z->sent++;
	z->late_1ms += r->send_ns - r->sched_ns > NS_PER_MS;
	z->first_send_ns = r->send_ns < z->first_send_ns ? r->send_ns : z->first_send_ns;
	z->last_send_ns = r->send_ns > z->last_send_ns ? r->send_ns : z->last_send_ns;
	z->last_sched_ns = r->sched_ns > z->last_sched_ns ? r->sched_ns : z->last_sched_ns;
	z->last_end_ns = r->done_ns > z->last_end_ns ? r->done_ns : z->last_end_ns;
}

static void add_record(struct point *p, struct sums *z, const struct record *r)
{
	if (r->send_ns >= 0)
		add_sent(z, r);
	if (r->cancelled_as_planned) {
		p->cancelled++;
		p->wasted_tokens += r->output_tokens > 0 ? r->output_tokens : 0;
		return;
	}
	p->planned++;
	p->by_outcome[r->outcome]++;
	if (r->outcome == OUTCOME_OK) {
		add_ok(p, z, r);
		return;
	}
	if (r->outcome == OUTCOME_DROPPED)
		p->dropped++;
	else
		p->failed++;
	p->wasted_tokens += r->output_tokens > 0 ? r->output_tokens : 0;
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : NAN;
}

static void compute_rates(struct point *p, const struct sums *z, bool open_loop, bool has_slo)
{
	double ok = (double)p->ok;
	bool outputs_told = p->ok == z->with_output, prompts_told = p->ok == z->with_prompt;

	p->duration_s = z->last_end_ns > z->first_send_ns
				? ns_to_s(z->last_end_ns - z->first_send_ns)
				: NAN;
	p->requests_per_s = ok / p->duration_s;
	p->requests_per_min = 60 * p->requests_per_s;
	p->output_tokens_per_s = outputs_told ? (double)p->output_tokens / p->duration_s : NAN;
	p->total_tokens_per_s =
		outputs_told && prompts_told && p->ok
			? (double)(p->output_tokens + p->prompt_tokens) / p->duration_s
			: NAN;
	p->achieved_rate =
		open_loop && z->sent
			? ratio((double)z->sent, ns_to_s(z->last_send_ns - z->level_start_ns))
			: NAN;
	p->seed_mean_tps = open_loop ? NAN : ratio(z->seed_tps, (double)z->with_output);
	p->single_stream_tps = ratio(z->single_tps, (double)z->with_output);
	p->goodput_per_s = has_slo ? (double)z->good / p->duration_s : NAN;
	p->goodput_share = has_slo ? ratio((double)z->good, (double)z->sent) : NAN;
	p->dispatch_over_1ms_share = ratio((double)z->late_1ms, (double)z->sent);
}

static void summarise_gaps(struct point *p, const struct gaps *g, enum metric m)
{
	struct gap_figures f;

	gaps_figures(g, &stat_percentiles[S_P50], &p->m[m][S_P50], S_P99 - S_P50 + 1, &f);
	p->samples[m] = g->n;
	p->std_ms[m] = f.std_ms;
	p->m[m][S_MEAN] = f.mean_ms;
	p->m[m][S_MAX] = f.max_ms;
}

static void summarise(struct point *p, struct sums *z)
{
	for (int m = 0; m < M_COUNT; m++) {
		struct sample *s = &z->metric[m];

		if (m == M_ITL || (m == M_ITL_PER_TOKEN && z->plain))
			continue;
		p->samples[m] = s->n;
		p->std_ms[m] = sample_std(s);
		p->m[m][S_MEAN] = sample_mean(s);
		for (int k = S_P50; k <= S_P99; k++)
			p->m[m][k] = sample_percentile(s, stat_percentiles[k]);
		p->m[m][S_MAX] = sample_max(s);
	}
	summarise_gaps(p, &z->itl, M_ITL);
	if (!z->plain)
		return;
	p->samples[M_ITL_PER_TOKEN] = p->samples[M_ITL];
	p->std_ms[M_ITL_PER_TOKEN] = p->std_ms[M_ITL];
	memcpy(p->m[M_ITL_PER_TOKEN], p->m[M_ITL], sizeof(p->m[M_ITL]));
}

/* ---- the point as a line of time ---- */

/* A request starts or ends. */
struct moment {
	int64_t t_ns;
	int running; /* +1, -1 */
};

/* Ends before starts: a closed loop hands its slot over at one instant. */
static int by_time(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;

	if (x->t_ns != y->t_ns)
		return x->t_ns < y->t_ns ? -1 : 1;
	return x->running - y->running;
}

static bool has_run(const struct record *r)
{
	return r->send_ns >= 0 && r->done_ns >= 0;
}

/* In order of time. Tokens are no moments: there may be millions, and nobody needs them sorted. */
static struct moment *make_moments(const struct record *const *records, size_t n, size_t *count)
{
	struct moment *v = xcalloc(2 * n + 1, sizeof(*v));
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (!has_run(records[i]))
			continue;
		v[k++] = (struct moment){records[i]->send_ns, 1};
		v[k++] = (struct moment){records[i]->done_ns, -1};
	}
	qsort(v, k, sizeof(*v), by_time);
	*count = k;
	return v;
}

static void walk_running(struct point *p, const struct moment *v, size_t n)
{
	int running = 0, top = 0;
	double area = 0;

	for (size_t i = 0; i < n; i++) {
		if (i)
			area += (double)running * (double)(v[i].t_ns - v[i - 1].t_ns);
		running += v[i].running;
		top = running > top ? running : top;
	}
	p->mean_running = n ? ratio(area, (double)(v[n - 1].t_ns - v[0].t_ns)) : NAN;
	p->peak_running = n ? top : NAN;
}

struct window {
	int64_t from_ns, to_ns;
};

/* The longest stretch in which `asked` requests ran. A dip of up to 1 % of the point or 20 ms does
 * not end it: that is a slot being handed over. */
static struct window held_window(const struct moment *v, size_t n, int asked)
{
	int64_t span_ns = n ? v[n - 1].t_ns - v[0].t_ns : 0;
	int64_t tolerance_ns = span_ns / 100 < 20 * NS_PER_MS ? span_ns / 100 : 20 * NS_PER_MS;
	int64_t from_ns = -1, dip_ns = -1; /* -1: not held; not below at the moment */
	struct window best = {0, 0};
	int running = 0;

	for (size_t i = 0; i < n; i++) {
		running += v[i].running;
		if (running >= asked) {
			if (from_ns < 0 || (dip_ns >= 0 && v[i].t_ns - dip_ns > tolerance_ns))
				from_ns = v[i].t_ns;
			dip_ns = -1;
		} else if (from_ns >= 0 && dip_ns < 0) {
			dip_ns = v[i].t_ns;
			if (dip_ns - from_ns > best.to_ns - best.from_ns)
				best = (struct window){from_ns, dip_ns};
		}
	}
	return best;
}

/* Tokens by when they came: in each second of the point, as vLLM's bench cuts it, but of tokens,
 * not chunks; and in the steady window. */
struct token_times {
	struct window point, steady;
	double *per_s, in_steady;
};

static void add_tokens(struct token_times *z, int64_t t_ns, double tokens)
{
	if (t_ns < z->point.from_ns || t_ns > z->point.to_ns)
		return; /* only a damaged file says so */
	z->per_s[(t_ns - z->point.from_ns) / NS_PER_S] += tokens;
	if (t_ns > z->steady.from_ns && t_ns <= z->steady.to_ns)
		z->in_steady += tokens;
}

/* How many of the events, which come in order, came by then. */
static size_t events_by(const struct record *r, int64_t t_ns)
{
	size_t low = 0, high = (size_t)r->n_events;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->event[mid].t_ns <= t_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* As add_tokens() of one each, in one go. */
static void add_events(struct token_times *z, const struct record *r)
{
	const struct token_event *v = r->event, *end = v + r->n_events;
	int64_t from_ns = z->point.from_ns;

	while (v < end) {
		int64_t second = (v->t_ns - from_ns) / NS_PER_S;
		int64_t next_ns = from_ns + (second + 1) * NS_PER_S;
		const struct token_event *first = v;

		if (v->t_ns < from_ns || v->t_ns > z->point.to_ns) {
			v++; /* only a damaged file says so */
			continue;
		}
		while (v < end && v->t_ns < next_ns)
			v++;
		z->per_s[second] += (double)(v - first);
	}
	if (z->steady.to_ns > z->steady.from_ns)
		z->in_steady +=
			(double)(events_by(r, z->steady.to_ns) - events_by(r, z->steady.from_ns));
}

/* Where events count fewer tokens than usage told (several in one event), each carries its share.
 */
static void add_tokens_of(struct token_times *z, const struct record *r)
{
	double share;

	if (!has_run(r) || r->outcome != OUTCOME_OK || r->output_tokens <= 0)
		return;
	if (!r->n_events || r->event[r->n_events - 1].tokens <= 0) {
		add_tokens(z, r->done_ns, r->output_tokens);
		return;
	}
	if (is_plain(r)) {
		add_events(z, r);
		return;
	}
	share = (double)r->output_tokens / r->event[r->n_events - 1].tokens;
	for (int32_t i = 0; i < r->n_events; i++) {
		int32_t before = i ? r->event[i - 1].tokens : 0;

		add_tokens(z, r->event[i].t_ns, share * (r->event[i].tokens - before));
	}
}

static void compute_token_times(struct point *p, const struct record *const *records, size_t n,
				struct window point, struct window steady)
{
	size_t seconds = (size_t)((point.to_ns - point.from_ns) / NS_PER_S) + 1;
	struct token_times z = {point, steady, xcalloc(seconds, sizeof(*z.per_s)), 0};
	double peak = 0;

	for (size_t i = 0; i < n; i++)
		add_tokens_of(&z, records[i]);
	for (size_t i = 0; i < seconds; i++)
		peak = fmax(peak, z.per_s[i]);
	free(z.per_s);
	p->peak_output_tokens_per_s = peak;
	p->steady_s = steady.to_ns > steady.from_ns ? ns_to_s(steady.to_ns - steady.from_ns) : NAN;
	p->steady_output_tokens_per_s =
		isnan(p->output_tokens_per_s) ? NAN : z.in_steady / p->steady_s;
}

/* asked: how many were to run at once; 0: it is not said, and what is steady is the sending. */
static void compute_line_of_time(struct point *p, const struct record *const *records, size_t n,
				 const struct sums *z, int asked)
{
	struct window steady = {z->first_send_ns, z->last_send_ns};
	size_t n_moments;
	struct moment *v = make_moments(records, n, &n_moments);

	walk_running(p, v, n_moments);
	if (asked)
		steady = held_window(v, n_moments, asked);
	p->peak_output_tokens_per_s = p->steady_s = p->steady_output_tokens_per_s = NAN;
	if (n_moments)
		compute_token_times(p, records, n,
				    (struct window){v[0].t_ns, v[n_moments - 1].t_ns}, steady);
	free(v);
}

/* ---- identities and verdict ---- */

static void compute_identities(struct point *p, const struct sums *z)
{
	double mean_latency_s = ratio(z->latency_s, (double)p->ok);
	bool unanswered = p->failed || p->cancelled; /* they run, and are in no latency */
	double decoded_per_s = (double)z->decoded_tokens / p->duration_s;

	p->littles_ratio =
		unanswered ? NAN : ratio(p->requests_per_s * mean_latency_s, p->mean_running);
	p->batch_ratio = unanswered ? NAN
				    : ratio(decoded_per_s * p->m[M_TPOT][S_MEAN] / 1e3,
					    z->decode_s / p->duration_s);
}

static void say(struct point *p, enum verdict v, const char *fmt, double a, double b)
{
	p->verdict = v;
	snprintf(p->verdict_text, sizeof(p->verdict_text), fmt, a, b);
}

/* The first thing that is wrong decides. A comparison with NaN is false: what is not known is not
 * held against the client. */
static void judge(struct point *p, const struct sums *z, bool open_loop)
{
	const struct self_watch_point *w = &p->self;
	double relative_us = fmax(0, limit.share_of_e2el * 1e3 * p->m[M_E2EL][S_P50]);
	double lag_us = isnan(w->receive_error_p99_us) ? limit.loop_lag_us
						       : fmax(limit.loop_lag_us, relative_us);
	double backlog_us = fmax(limit.backlog_us, relative_us);
	double send_us = open_loop ? limit.send_late_us : fmax(limit.send_late_us, relative_us);
	double planned_rate =
		!z->sent ? NAN
			 : ratio((double)z->sent, ns_to_s(z->last_sched_ns - z->level_start_ns));

	p->verdict = VERDICT_OK;
	p->verdict_text[0] = '\0';
	if (!p->ok && p->planned)
		say(p, VERDICT_FAILED, "none of %.0f requests succeeded", (double)p->planned, 0);
	else if (w->cpu_share > limit.cpu_share)
		say(p, VERDICT_SATURATED, "the load thread used %.0f %% of a core (limit %.0f %%)",
		    100 * w->cpu_share, 100 * limit.cpu_share);
	else if (w->loop_lag_p99_us > lag_us)
		say(p, VERDICT_SATURATED,
		    "the client's own loop was %.0f us late at p99 (limit %.0f us)",
		    w->loop_lag_p99_us, lag_us);
	else if (w->receive_error_p99_us > backlog_us)
		say(p, VERDICT_SATURATED,
		    "received bytes waited %.0f us at p99 to be read (limit %.0f us)",
		    w->receive_error_p99_us, backlog_us);
	else if (w->send_late_p99_us > send_us)
		say(p, VERDICT_LATE,
		    "requests left %.0f us after their planned start at p99 (limit %.0f us)",
		    w->send_late_p99_us, send_us);
	else if (open_loop && p->achieved_rate < (1 - limit.rate_shortfall) * planned_rate)
		say(p, VERDICT_LATE, "planned %.4g requests/s, sent %.4g", planned_rate,
		    p->achieved_rate);
}

void point_compute(struct point *p, const struct scenario *s, const struct record *const *records,
		   size_t n, int64_t level_start_ns, const struct self_watch_point *self)
{
	const struct level *l = &s->levels[p->level];
	struct point identity = {.target = p->target,
				 .level = p->level,
				 .repeat = p->repeat,
				 .id = p->id,
				 .self = *self};
	struct sums z = {.level_start_ns = level_start_ns,
			 .first_send_ns = INT64_MAX,
			 .last_send_ns = INT64_MIN,
			 .last_sched_ns = INT64_MIN,
			 .last_end_ns = INT64_MIN};
	bool open_loop = l->kind == LOAD_OPEN;

	*p = identity;
	z.plain = all_plain(records, n);
	for (size_t i = 0; i < n; i++) {
		add_record(p, &z, records[i]);
		z.good += record_is_good(records[i], &s->slo);
	}
	CHECK(p->planned == p->ok + p->failed + p->dropped);
	compute_rates(p, &z, open_loop, slo_asked(&s->slo));
	summarise(p, &z);
	p->self.send_late_p99_us = 1e3 * p->m[M_DISPATCH][S_P99];

	compute_line_of_time(p, records, n, &z, open_loop ? 0 : l->concurrency);
	compute_identities(p, &z);
	judge(p, &z, open_loop);
	point_intervals(p, s, records, n);
	for (int m = 0; m < M_COUNT; m++)
		sample_release(&z.metric[m]);
	gaps_release(&z.itl);
}
