/*
 * Owns points.csv: which columns in which order, and how a point becomes a row. Main thread. Must
 * not know how a figure comes about.
 */
#include "results_parts.h"

#include "results.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

enum { LEVEL_START, LEVEL_END };

/* Members of struct point by kind; the columns that are no member of it have their own. */
enum point_kind { P_TARGET, P_INT, P_INT64, P_BOOL, P_NUM, P_LEVEL, P_SPAN, P_VERDICT, P_TEXT };

struct point_column {
	const char *name;
	enum point_kind kind;
	size_t at; /* offset, or which of LEVEL_*, COL_* */
};

#define POINT(kind, member)                                                                        \
	{                                                                                          \
#member, kind, offsetof(struct point, member)                                      \
	}

static const struct point_column point_head[] = {
	{"target", P_TARGET, 0},
	{"point", P_INT, offsetof(struct point, id)},
	POINT(P_INT, repeat),
	{"load_kind", P_LEVEL, COL_LOAD_KIND},
	{"concurrency", P_LEVEL, COL_CONCURRENCY},
	{"rate", P_LEVEL, COL_RATE},
	POINT(P_INT64, planned),
	POINT(P_INT64, ok),
	POINT(P_INT64, failed),
	POINT(P_INT64, dropped),
	POINT(P_NUM, duration_s),
	POINT(P_NUM, achieved_rate),
	POINT(P_NUM, requests_per_s),
	POINT(P_NUM, requests_per_min),
	POINT(P_NUM, output_tokens_per_s),
	POINT(P_NUM, steady_output_tokens_per_s),
	POINT(P_NUM, total_tokens_per_s),
	POINT(P_NUM, seed_mean_tps),
	POINT(P_NUM, single_stream_tps),
	POINT(P_NUM, goodput_per_s),
	POINT(P_NUM, goodput_share),
	POINT(P_NUM, mean_running),
	POINT(P_NUM, peak_running),
};

static const struct point_column point_self[] = {
	{"loop_lag_p99_us", P_NUM, offsetof(struct point, self.loop_lag_p99_us)},
	{"receive_error_p99_us", P_NUM, offsetof(struct point, self.receive_error_p99_us)},
	{"send_late_p99_us", P_NUM, offsetof(struct point, self.send_late_p99_us)},
	{"cpu_share", P_NUM, offsetof(struct point, self.cpu_share)},
	{"verdict", P_VERDICT, 0},
};

static const struct point_column point_tail[] = {
	POINT(P_TEXT, verdict_text),
	POINT(P_INT, level),
	{"level_start_ns", P_SPAN, LEVEL_START},
	{"level_end_ns", P_SPAN, LEVEL_END},
	POINT(P_NUM, steady_s),
	POINT(P_NUM, peak_output_tokens_per_s),
	POINT(P_INT64, prompt_tokens),
	POINT(P_INT64, output_tokens),
	POINT(P_INT64, wasted_tokens),
	POINT(P_INT64, cancelled),
	POINT(P_INT64, events),
	POINT(P_INT64, merged_events),
	POINT(P_INT64, unstreamed),
	POINT(P_BOOL, tokens_by_events),
	POINT(P_BOOL, tokens_differ),
	POINT(P_NUM, littles_ratio),
	POINT(P_NUM, batch_ratio),
	POINT(P_NUM, dispatch_over_1ms_share),
};

enum { FIRST_METRICS = M_DISPATCH + 1 }; /* stand before `verdict`; later ones at the end */

/* The last columns: the ends of the intervals over requests, low and high of each figure. */
enum { N_ENDS = 2 * N_INTERVAL_FIGURES };

static const struct point_column throughput_ends[] = {
	{"output_tokens_per_s_low", P_NUM, offsetof(struct point, output_tokens_per_s_ci.low)},
	{"output_tokens_per_s_high", P_NUM, offsetof(struct point, output_tokens_per_s_ci.high)},
};

/* "ttft_mean_low_ms" and its place in struct point. */
static struct point_figure end_column(size_t i, char name[32])
{
	const struct interval_figure *f = &interval_figures[i / 2];
	const char *stat = metric_stat_name(f->stat);

	CHECK(i < N_ENDS);
	snprintf(name, 32, "%s_%.*s_%s_ms", metric_name(f->metric), (int)strcspn(stat, "_"), stat,
		 i % 2 ? "high" : "low");
	return (struct point_figure){
		.kind = FIGURE_NUM,
		.offset = offsetof(struct point, ci) +
			  (size_t)(f->metric * S_COUNT + f->stat) * sizeof(struct ends) +
			  (i % 2 ? offsetof(struct ends, high) : offsetof(struct ends, low))};
}

void put_level_field(struct csv_writer *w, const struct level *l, enum column_kind kind)
{
	if (kind == COL_LOAD_KIND)
		csv_str(w, l ? load_kind_name(l->kind) : "warmup");
	else if (kind == COL_CONCURRENCY && l && l->concurrency > 0)
		csv_int(w, l->concurrency);
	else if (kind == COL_RATE && l && l->kind == LOAD_OPEN && isinf(l->rate_per_s))
		csv_str(w, "inf");
	else if (kind == COL_RATE && l && l->kind == LOAD_OPEN)
		csv_num(w, l->rate_per_s, 6);
	else
		csv_empty(w);
}

static void put_point_field(struct csv_writer *w, const struct point_column *c,
			    const struct scenario *s, const struct point *p,
			    const int64_t span_ns[2])
{
	const void *at = (const char *)p + c->at;

	switch (c->kind) {
	case P_TARGET:
		csv_str(w, s->targets[p->target].name);
		break;
	case P_INT:
		csv_int(w, *(const int *)at);
		break;
	case P_INT64:
		csv_int(w, *(const int64_t *)at);
		break;
	case P_BOOL:
		csv_int(w, *(const bool *)at);
		break;
	case P_NUM:
		csv_num(w, *(const double *)at, 6);
		break;
	case P_LEVEL:
		put_level_field(w, &s->levels[p->level], (enum column_kind)c->at);
		break;
	case P_SPAN:
		csv_int(w, span_ns[c->at]);
		break;
	case P_VERDICT:
		csv_str(w, verdict_name(p->verdict));
		break;
	case P_TEXT:
		csv_str(w, at);
		break;
	}
}

enum rc points_create(struct csv_writer **out, const char *path, struct err *e)
{
	const char *names[ARRAY_LEN(point_head) + ARRAY_LEN(point_self) + ARRAY_LEN(point_tail) +
			  (size_t)M_COUNT * S_COUNT + ARRAY_LEN(throughput_ends) + N_ENDS + 1] = {
		NULL};
	char metric[M_COUNT * S_COUNT][32], end[N_ENDS][32];
	size_t n = 0;

	for (int m = 0; m < M_COUNT; m++)
		for (int k = 0; k < S_COUNT; k++)
			snprintf(metric[m * S_COUNT + k], sizeof(metric[0]), "%s_%s",
				 metric_name((enum metric)m),
				 metric_stat_name((enum metric_stat)k));
	for (size_t i = 0; i < ARRAY_LEN(point_head); i++)
		names[n++] = point_head[i].name;
	for (int i = 0; i < FIRST_METRICS * S_COUNT; i++)
		names[n++] = metric[i];
	for (size_t i = 0; i < ARRAY_LEN(point_self); i++)
		names[n++] = point_self[i].name;
	for (size_t i = 0; i < ARRAY_LEN(point_tail); i++)
		names[n++] = point_tail[i].name;
	for (int i = FIRST_METRICS * S_COUNT; i < M_COUNT * S_COUNT; i++)
		names[n++] = metric[i];
	for (size_t i = 0; i < ARRAY_LEN(throughput_ends); i++)
		names[n++] = throughput_ends[i].name;
	for (size_t i = 0; i < N_ENDS; i++) {
		end_column(i, end[i]);
		names[n++] = end[i];
	}
	return csv_create(out, path, names, e);
}

static bool figure_of(const struct point_column *c, size_t n, size_t *index, char name[32],
		      struct point_figure *out)
{
	for (size_t i = 0; i < n; i++) {
		static const int kinds[] = {[P_INT] = FIGURE_INT,
					    [P_INT64] = FIGURE_INT64,
					    [P_BOOL] = FIGURE_BOOL,
					    [P_NUM] = FIGURE_NUM};

		if (c[i].kind < P_INT || c[i].kind > P_NUM || (*index)--)
			continue;
		snprintf(name, 32, "%s", c[i].name);
		*out = (struct point_figure){.kind = kinds[c[i].kind], .offset = c[i].at};
		return true;
	}
	return false;
}

bool point_figure_at(size_t index, char name[32], struct point_figure *out)
{
	if (figure_of(point_head, ARRAY_LEN(point_head), &index, name, out) ||
	    figure_of(point_self, ARRAY_LEN(point_self), &index, name, out) ||
	    figure_of(point_tail, ARRAY_LEN(point_tail), &index, name, out))
		return true;
	if (index >= (size_t)M_COUNT * S_COUNT) {
		index -= (size_t)M_COUNT * S_COUNT;
		if (figure_of(throughput_ends, ARRAY_LEN(throughput_ends), &index, name, out))
			return true;
		if (index < N_ENDS)
			*out = end_column(index, name);
		return index < N_ENDS;
	}
	snprintf(name, 32, "%s_%s", metric_name((enum metric)(index / S_COUNT)),
		 metric_stat_name((enum metric_stat)(index % S_COUNT)));
	*out = (struct point_figure){.kind = FIGURE_NUM,
				     .offset = offsetof(struct point, m) + index * sizeof(double)};
	return true;
}

double point_figure_value(const struct point *p, struct point_figure f)
{
	const void *at = (const char *)p + f.offset;

	switch (f.kind) {
	case FIGURE_INT:
		return *(const int *)at;
	case FIGURE_INT64:
		return (double)*(const int64_t *)at;
	case FIGURE_BOOL:
		return *(const bool *)at;
	case FIGURE_NUM:
		break;
	}
	return *(const double *)at;
}

static void put_metrics(struct csv_writer *w, const struct point *p, int from, int to)
{
	for (int m = from; m < to; m++)
		for (int k = 0; k < S_COUNT; k++)
			csv_num(w, p->m[m][k], 6);
}

enum rc points_put(struct csv_writer *w, const struct scenario *s, const struct point *p,
		   int64_t start_ns, int64_t level_start_ns, int64_t level_end_ns, struct err *e)
{
	const int64_t span_ns[] = {level_start_ns - start_ns, level_end_ns - start_ns};

	for (size_t i = 0; i < ARRAY_LEN(point_head); i++)
		put_point_field(w, &point_head[i], s, p, span_ns);
	put_metrics(w, p, 0, FIRST_METRICS);
	for (size_t i = 0; i < ARRAY_LEN(point_self); i++)
		put_point_field(w, &point_self[i], s, p, span_ns);
	for (size_t i = 0; i < ARRAY_LEN(point_tail); i++)
		put_point_field(w, &point_tail[i], s, p, span_ns);
	put_metrics(w, p, FIRST_METRICS, M_COUNT);
	for (size_t i = 0; i < ARRAY_LEN(throughput_ends); i++)
		put_point_field(w, &throughput_ends[i], s, p, span_ns);
	for (size_t i = 0; i < N_ENDS; i++) {
		char name[32];

		csv_num(w, point_figure_value(p, end_column(i, name)), 6);
	}
	return csv_end(w, e);
}
