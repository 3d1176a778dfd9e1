/*
 * Owns the two forms that scripts written for vLLM's `bench serve` read: the console block and
 * summary.json. Labels and keys are vLLM's, figures are ours: where a definition differs (TTFT ends
 * at the first token, not at the first event) ours is what stands under vLLM's name, and "loadgen"
 * holds the other. Main thread.
 */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/units.h"
#include "curve.h"
#include "search.h"
#include "setting.h"

struct vllm_metric {
	enum metric m;
	const char *key, *label, *title;
};

/* In the order of both forms. */
static const struct vllm_metric vllm_metrics[] = {
	{M_TTFT, "ttft", "TTFT", "Time to First Token"},
	{M_TPOT, "tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
	{M_ITL, "itl", "ITL", "Inter-token Latency"},
	{M_E2EL, "e2el", "E2EL", "End-to-end Latency"},
};

/* ---- the console block ---- */

enum { BLOCK_WIDTH = 50 };

static bool put_title(struct buf *out, const char *title, char fill)
{
	size_t n = strlen(title), left = n < BLOCK_WIDTH ? (BLOCK_WIDTH - n) / 2 : 0;
	char line[BLOCK_WIDTH + 1];

	if (n >= BLOCK_WIDTH)
		return buf_printf(out, "%s\n", title);
	memset(line, fill, BLOCK_WIDTH);
	line[BLOCK_WIDTH] = '\0';
	memcpy(line + left, title, n);
	return buf_printf(out, "%s\n", line);
}

static bool put_count(struct buf *out, const char *label, int64_t v)
{
	return buf_printf(out, "%-40s %-10lld\n", label, (long long)v);
}

static bool put_value(struct buf *out, const char *label, double v)
{
	return isnan(v) ? buf_printf(out, "%-40s %-10s\n", label, "nan")
			: buf_printf(out, "%-40s %-10.2f\n", label, v);
}

static bool put_metric(struct buf *out, const struct point *p, const struct vllm_metric *v)
{
	char mean[40], median[40], p99[40];

	snprintf(mean, sizeof(mean), "Mean %s (ms):", v->label);
	snprintf(median, sizeof(median), "Median %s (ms):", v->label);
	snprintf(p99, sizeof(p99), "P99 %s (ms):", v->label);
	return put_title(out, v->title, '-') && put_value(out, mean, p->m[v->m][S_MEAN]) &&
	       put_value(out, median, p->m[v->m][S_P50]) && put_value(out, p99, p->m[v->m][S_P99]);
}

static bool put_load(struct buf *out, const struct level *l)
{
	if (l->kind != LOAD_OPEN || l->concurrency > 0)
		if (!put_count(out, "Maximum request concurrency:", l->concurrency))
			return false;
	return l->kind != LOAD_OPEN || !isfinite(l->rate_per_s) ||
	       put_value(out, "Request rate configured (RPS):", l->rate_per_s);
}

bool report_vllm_console(const struct report_input *in, const struct point *p, struct buf *out)
{
	const struct level *l = &in->scenario->levels[p->level];
	char label[32];
	bool ok;

	level_label(l, label, sizeof(label));
	ok = buf_printf(out, "%s, %s, repeat %d\n", in->scenario->targets[p->target].name, label,
			p->repeat + 1) &&
	     put_title(out, " Serving Benchmark Result ", '=') &&
	     put_count(out, "Successful requests:", p->ok) &&
	     put_count(out, "Failed requests:", p->failed + p->dropped) && put_load(out, l) &&
	     put_value(out, "Benchmark duration (s):", p->duration_s) &&
	     put_count(out, "Total input tokens:", p->prompt_tokens) &&
	     put_count(out, "Total generated tokens:", p->output_tokens) &&
	     put_value(out, "Request throughput (req/s):", p->requests_per_s) &&
	     (!slo_asked(&in->scenario->slo) ||
	      put_value(out, "Request goodput (req/s):", p->goodput_per_s)) &&
	     put_value(out, "Output token throughput (tok/s):", p->output_tokens_per_s) &&
	     put_value(out, "Peak output token throughput (tok/s):", p->peak_output_tokens_per_s) &&
	     put_value(out, "Peak concurrent requests:", p->peak_running) &&
	     put_value(out, "Total token throughput (tok/s):", p->total_tokens_per_s);
	for (size_t i = 0; i < ARRAY_LEN(vllm_metrics) && ok; i++)
		ok = put_metric(out, p, &vllm_metrics[i]);
	return ok && put_title(out, "", '=') && buf_putc(out, '\n');
}

/* ---- summary.json ---- */

/* Written as it comes: with --detailed there is a number a token. */
struct writer {
	FILE *f;
	int depth;
	bool first; /* nothing stands in this object yet */
	struct buf quoted;
};

static void put_newline(struct writer *w)
{
	fprintf(w->f, "\n%*s", 2 * w->depth, "");
}

static void put_string(struct writer *w, const char *s)
{
	buf_clear(&w->quoted);
	if (json_quote(&w->quoted, s))
		fwrite(buf_head(&w->quoted), 1, buf_size(&w->quoted), w->f);
	else
		fputs("null", w->f);
}

static void begin_item(struct writer *w)
{
	if (!w->first)
		fputc(',', w->f);
	w->first = false;
	put_newline(w);
}

static void begin_key(struct writer *w, const char *key)
{
	begin_item(w);
	fprintf(w->f, "\"%s\": ", key);
}

static void open_scope(struct writer *w, char bracket)
{
	fputc(bracket, w->f);
	w->depth++;
	w->first = true;
}

static void close_scope(struct writer *w, char bracket)
{
	w->depth--;
	put_newline(w);
	fputc(bracket, w->f);
	w->first = false;
}

static void put_num(struct writer *w, double v)
{
	fprintf(w->f, isfinite(v) ? "%.9g" : "null", v);
}

static void key_string(struct writer *w, const char *key, const char *s)
{
	begin_key(w, key);
	put_string(w, s);
}

static void key_int(struct writer *w, const char *key, int64_t v)
{
	begin_key(w, key);
	fprintf(w->f, "%lld", (long long)v);
}

static void key_num(struct writer *w, const char *key, double v)
{
	begin_key(w, key);
	put_num(w, v);
}

static void key_num_or_inf(struct writer *w, const char *key, double v)
{
	begin_key(w, key);
	if (isinf(v))
		fputs("\"inf\"", w->f);
	else
		put_num(w, v);
}

/* One value a request that was planned, in the order of their index. */
struct request_list {
	const struct record **v;
	size_t n;
};

static int by_index(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

	return (x->index > y->index) - (x->index < y->index);
}

static struct request_list requests_of(const struct report_input *in, const struct point *p)
{
	struct request_list list = {xcalloc(in->n_records + 1, sizeof(struct record *)), 0};

	for (size_t i = 0; i < in->n_records; i++)
		if (in->records[i].point == p->id && !in->records[i].cancelled_as_planned)
			list.v[list.n++] = &in->records[i];
	qsort(list.v, list.n, sizeof(struct record *), by_index);
	return list;
}

/* Of a request that failed vLLM's lists have 0. */
static double ok_seconds(const struct record *r, enum metric m)
{
	double ms = r->outcome == OUTCOME_OK ? record_metric_ms(r, m) : NAN;

	return isnan(ms) ? 0 : ms / 1e3;
}

static void key_seconds(struct writer *w, const char *key, const struct request_list *list,
			enum metric m)
{
	begin_key(w, key);
	fputc('[', w->f);
	for (size_t i = 0; i < list->n; i++) {
		fputs(i ? ", " : "", w->f);
		put_num(w, ok_seconds(list->v[i], m));
	}
	fputc(']', w->f);
}

static void key_lens(struct writer *w, const char *key, const struct request_list *list,
		     bool output)
{
	begin_key(w, key);
	fputc('[', w->f);
	for (size_t i = 0; i < list->n; i++) {
		const struct record *r = list->v[i];
		int32_t n = output ? (r->outcome == OUTCOME_OK ? r->output_tokens : 0)
				   : r->prompt_tokens;

		fprintf(w->f, "%s%d", i ? ", " : "", n > 0 ? n : 0);
	}
	fputc(']', w->f);
}

static void key_itls(struct writer *w, const struct request_list *list)
{
	begin_key(w, "itls");
	fputc('[', w->f);
	for (size_t i = 0; i < list->n; i++) {
		struct sample gaps = {0};

		if (list->v[i]->outcome == OUTCOME_OK)
			record_add_gaps_ms(list->v[i], M_ITL, &gaps);
		fputs(i ? ", [" : "[", w->f);
		for (size_t k = 0; k < gaps.n; k++) {
			fputs(k ? ", " : "", w->f);
			put_num(w, gaps.v[k] / 1e3);
		}
		fputc(']', w->f);
		sample_release(&gaps);
	}
	fputc(']', w->f);
}

static void key_start_times(struct writer *w, const struct request_list *list)
{
	begin_key(w, "start_times");
	fputc('[', w->f);
	for (size_t i = 0; i < list->n; i++) {
		fputs(i ? ", " : "", w->f);
		if (list->v[i]->send_ns >= 0)
			fprintf(w->f, "%.9f", ns_to_s(list->v[i]->send_ns));
		else
			fputs("null", w->f);
	}
	fputc(']', w->f);
}

/* Answers are not kept; the lists stay as long as the others. */
static void key_texts(struct writer *w, const struct request_list *list)
{
	begin_key(w, "generated_texts");
	fputc('[', w->f);
	for (size_t i = 0; i < list->n; i++)
		fputs(i ? ", \"\"" : "\"\"", w->f);
	fputc(']', w->f);
	begin_key(w, "errors");
	fputc('[', w->f);
	for (size_t i = 0; i < list->n; i++) {
		fputs(i ? ", " : "", w->f);
		put_string(w, list->v[i]->error);
	}
	fputc(']', w->f);
}

/* "2026-11-24T12:00:00Z" -> "20261124-120000" */
static void key_date(struct writer *w, const char *started_utc)
{
	char date[32] = "", *p = date;

	for (const char *c = started_utc ? started_utc : ""; *c && p < date + sizeof(date) - 1; c++)
		if (*c == 'T')
			*p++ = '-';
		else if (*c >= '0' && *c <= '9')
			*p++ = *c;
	key_string(w, "date", date);
}

static void put_head(struct writer *w, const struct report_input *in, const struct point *p)
{
	const struct target *t = &in->scenario->targets[p->target];
	const struct level *l = &in->scenario->levels[p->level];
	bool open = l->kind == LOAD_OPEN;

	key_date(w, in->started_utc);
	key_string(w, "endpoint_type", t->dialect);
	key_string(w, "backend", t->dialect);
	key_string(w, "label", t->name);
	key_string(w, "model_id", t->model);
	key_string(w, "tokenizer_id", t->model);
	key_int(w, "num_prompts", p->planned);
	key_num_or_inf(w, "request_rate", open ? l->rate_per_s : HUGE_VAL);
	key_num_or_inf(w, "burstiness",
		       open && l->arrival == ARRIVAL_CONSTANT ? HUGE_VAL
		       : open && l->arrival == ARRIVAL_GAMMA  ? l->burstiness
							      : 1);
	begin_key(w, "max_concurrency");
	if (l->concurrency > 0)
		fprintf(w->f, "%d", l->concurrency);
	else
		fputs("null", w->f);
}

static void put_metric_keys(struct writer *w, const struct point *p, enum metric m,
			    const char *name)
{
	static const struct {
		const char *key;
		enum metric_stat stat;
	} percentiles[] = {{"p50", S_P50}, {"p90", S_P90}, {"p95", S_P95}, {"p99", S_P99}};
	char key[64];

	snprintf(key, sizeof(key), "mean_%s_ms", name);
	key_num(w, key, p->m[m][S_MEAN]);
	snprintf(key, sizeof(key), "median_%s_ms", name);
	key_num(w, key, p->m[m][S_P50]);
	snprintf(key, sizeof(key), "std_%s_ms", name);
	key_num(w, key, p->std_ms[m]);
	for (size_t i = 0; i < ARRAY_LEN(percentiles); i++) {
		snprintf(key, sizeof(key), "%s_%s_ms", percentiles[i].key, name);
		key_num(w, key, p->m[m][percentiles[i].stat]);
	}
}

static void key_ends(struct writer *w, const char *key, struct ends e)
{
	if (isnan(e.low))
		return;
	begin_key(w, key);
	fputc('[', w->f);
	put_num(w, e.low);
	fputs(", ", w->f);
	put_num(w, e.high);
	fputc(']', w->f);
}

/* Under the names of points.csv; those that exist. */
static void put_intervals(struct writer *w, const struct point *p)
{
	begin_key(w, "intervals");
	open_scope(w, '{');
	key_ends(w, "output_tokens_per_s", p->output_tokens_per_s_ci);
	for (size_t i = 0; i < N_INTERVAL_FIGURES; i++) {
		const struct interval_figure *f = &interval_figures[i];
		char key[32];

		snprintf(key, sizeof(key), "%s_%s", metric_name(f->metric),
			 metric_stat_name(f->stat));
		key_ends(w, key, p->ci[f->metric][f->stat]);
	}
	close_scope(w, '}');
}

static void put_loadgen(struct writer *w, const struct report_input *in, const struct point *p)
{
	const struct level *l = &in->scenario->levels[p->level];

	begin_key(w, "loadgen");
	open_scope(w, '{');
	key_string(w, "version", PROJECT_VERSION);
	key_string(w, "scenario", in->scenario->name);
	key_int(w, "seed", (int64_t)in->scenario->seed);
	key_string(w, "ended", in->ended);
	key_int(w, "point", p->id);
	key_int(w, "repeat", p->repeat);
	key_string(w, "load_kind", load_kind_name(l->kind));
	key_string(w, "verdict", verdict_name(p->verdict));
	key_string(w, "verdict_text", p->verdict_text);
	key_int(w, "dropped", p->dropped);
	key_int(w, "unstreamed", p->unstreamed);
	key_int(w, "wasted_tokens", p->wasted_tokens);
	key_num(w, "achieved_rate", p->achieved_rate);
	key_num(w, "steady_output_throughput", p->steady_output_tokens_per_s);
	key_num(w, "seed_mean_tps", p->seed_mean_tps);
	key_num(w, "single_stream_tps", p->single_stream_tps);
	key_num(w, "goodput_share", p->goodput_share);
	key_num(w, "mean_running", p->mean_running);
	put_metric_keys(w, p, M_TTFT_VLLM, "ttft_vllm");
	put_metric_keys(w, p, M_TTFT_SCHED, "ttft_sched");
	put_metric_keys(w, p, M_E2EL_SCHED, "e2el_sched");
	put_metric_keys(w, p, M_ITL_PER_TOKEN, "itl_per_token");
	put_intervals(w, p);
	begin_key(w, "definitions");
	open_scope(w, '{');
	key_string(w, "ttft",
		   "first event with text, reasoning or a tool call - send; of an unstreamed "
		   "answer the whole latency");
	key_string(w, "ttft_vllm",
		   "first event with non-empty choices - send, as vLLM's client has it");
	key_string(w, "tpot", "(last token - first token) / (output tokens - 1)");
	key_string(w, "itl", "gap between consecutive token-bearing events");
	key_string(w, "itl_per_token", "that gap / tokens in it, weighted by tokens");
	key_string(w, "e2el", "last token - send");
	key_string(w, "sched", "the same ends - planned start");
	key_string(w, "percentiles", "linear interpolation between closest ranks");
	key_string(w, "intervals", "95 %, percentile bootstrap over the requests of this point");
	close_scope(w, '}');
	close_scope(w, '}');
}

static void put_point(struct writer *w, const struct report_input *in, const struct point *p,
		      bool detailed)
{
	struct request_list list = requests_of(in, p);

	open_scope(w, '{');
	put_head(w, in, p);
	key_num(w, "duration", p->duration_s);
	key_int(w, "completed", p->ok);
	key_int(w, "failed", p->failed + p->dropped);
	key_int(w, "total_input_tokens", p->prompt_tokens);
	key_int(w, "total_output_tokens", p->output_tokens);
	key_num(w, "request_throughput", p->requests_per_s);
	key_num(w, "request_goodput", p->goodput_per_s);
	key_num(w, "output_throughput", p->output_tokens_per_s);
	key_num(w, "total_token_throughput", p->total_tokens_per_s);
	if (detailed) {
		key_lens(w, "input_lens", &list, false);
		key_lens(w, "output_lens", &list, true);
		key_seconds(w, "ttfts", &list, M_TTFT);
		key_itls(w, &list);
	}
	key_seconds(w, "latencies", &list, M_E2EL);
	if (detailed)
		key_start_times(w, &list);
	key_seconds(w, "queue_times", &list, M_DISPATCH);
	if (detailed)
		key_texts(w, &list);
	key_num(w, "max_output_tokens_per_s", p->peak_output_tokens_per_s);
	key_num(w, "max_concurrent_requests", p->peak_running);
	key_num(w, "rtfx", 0); /* of speech; here for those who read it */
	for (size_t i = 0; i < ARRAY_LEN(vllm_metrics); i++)
		put_metric_keys(w, p, vllm_metrics[i].m, vllm_metrics[i].key);
	put_loadgen(w, in, p);
	close_scope(w, '}');
	free(list.v);
}

/* The settings of a sweep, best first. */
static void put_sweep(struct writer *w, const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	struct setting *v;
	struct curves c;
	struct axis a;

	curves_init(&c, s, in->points, in->n_points);
	axis_init(&a, s);
	axis_drop_unmeasured(&a, &c);
	v = settings_new(&c, &a);
	settings_rank(v, s->n_targets);
	begin_key(w, "sweep");
	open_scope(w, '[');
	for (int i = 0; i < s->n_targets && (v[i].tried || !s->search); i++) {
		char label[32] = "";

		begin_item(w);
		open_scope(w, '{');
		key_string(w, "target", s->targets[v[i].target].name);
		begin_key(w, "settings");
		open_scope(w, '{');
		for (int k = 0; k < s->n_sweep; k++)
			key_string(w, s->sweep[k].key,
				   s->sweep[k].values[sweep_value(s, v[i].target, k)]);
		close_scope(w, '}');
		if (v[i].level >= 0)
			level_label(&s->levels[v[i].level], label, sizeof(label));
		key_string(w, "load", *label ? label : NULL);
		key_num(w, "request_goodput", v[i].goodput_per_s);
		key_num(w, "output_throughput", v[i].tokens_per_s);
		key_num(w, "cost_per_million", v[i].per_million);
		close_scope(w, '}');
	}
	close_scope(w, ']');
	free(v);
	axis_release(&a);
	curves_release(&c);
}

enum rc report_summary(const struct report_input *in, bool detailed, struct err *e)
{
	char *path = xasprintf("%s/summary.json", in->dir), *tmp = xasprintf("%s.tmp", path);
	struct writer w = {.f = fopen(tmp, "w")};
	enum rc rc = RC_OK;
	bool failed = !w.f;

	buf_init(&w.quoted, 1u << 20);
	if (w.f && in->n_points == 1) {
		put_point(&w, in, &in->points[0], detailed);
	} else if (w.f) {
		open_scope(&w, '{');
		begin_key(&w, "points");
		open_scope(&w, '[');
		for (size_t i = 0; i < in->n_points; i++) {
			begin_item(&w);
			put_point(&w, in, &in->points[i], detailed);
		}
		close_scope(&w, ']');
		if (in->scenario->n_sweep)
			put_sweep(&w, in);
		close_scope(&w, '}');
	}
	if (w.f) {
		fputc('\n', w.f);
		failed = ferror(w.f) != 0;
		failed |= fclose(w.f) != 0;
	}
	if (failed || rename(tmp, path) != 0) {
		rc = err_set(e, RC_IO, "%s: %s", path, strerror(errno));
		unlink(tmp);
	}
	buf_release(&w.quoted);
	free(tmp);
	free(path);
	return rc;
}
