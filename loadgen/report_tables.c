/*
 * Owns the tables of a report: one a target with a row a level, and the matrices of measured beside
 * published. Pure. Must not know how a table is printed, nor how a figure is defined.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "curve.h"
#include "report_body.h"

/* ---- the columns of a target's table ---- */

/* Digits behind the point, the same in every row: as the column's largest value needs. Beside an
 * interval one less. */
static int decimals_for(double largest, bool interval)
{
	if (interval)
		return largest >= 100 ? 0 : largest >= 10 ? 1 : 2;
	return largest >= 10000 ? 0 : largest >= 100 ? 1 : 2;
}

struct measure {
	const char *group, *heading;
	size_t field; /* of struct point; latencies choose by the level */
	bool latency;
	enum metric metric;
	enum metric_stat stat;
	bool (*shown)(const struct curves *c, int target);
};

static bool has_figure(const struct curves *c, int target, size_t field)
{
	for (int i = 0; i < c->s->n_levels; i++)
		if (!isnan(curve_spread(curves_at(c, target, i), field).mean))
			return true;
	return false;
}

static bool has_seed_reading(const struct curves *c, int target)
{
	return has_figure(c, target, POINT_FIELD(seed_mean_tps));
}

static bool has_goodput(const struct curves *c, int target)
{
	return has_figure(c, target, POINT_FIELD(goodput_per_s));
}

static bool has_tpot(const struct curves *c, int target)
{
	return !c->s->targets[target].table && has_figure(c, target, POINT_METRIC(M_TPOT, S_MEAN));
}

static bool always(const struct curves *c, int target)
{
	(void)c;
	(void)target;
	return true;
}

/* A published table has means, a run of our own says more by its percentiles. */
static bool has_means(const struct curves *c, int target)
{
	return c->s->targets[target].table;
}

static bool has_requests(const struct curves *c, int target)
{
	return !has_means(c, target);
}

static const struct measure measures[] = {
	{"output tok/s", "total", POINT_FIELD(output_tokens_per_s), .shown = always},
	{"output tok/s", "seed", POINT_FIELD(seed_mean_tps), .shown = has_seed_reading},
	{"TTFT ms", "mean", .latency = true, .metric = M_TTFT, .stat = S_MEAN, .shown = has_means},
	{"TTFT ms", "p50", .latency = true, .metric = M_TTFT, .stat = S_P50, .shown = has_requests},
	{"TTFT ms", "p99", .latency = true, .metric = M_TTFT, .stat = S_P99, .shown = has_requests},
	{"TPOT ms", "mean", .latency = true, .metric = M_TPOT, .stat = S_MEAN, .shown = has_means},
	{"TPOT ms", "p50", .latency = true, .metric = M_TPOT, .stat = S_P50, .shown = has_tpot},
	{"TPOT ms", "p99", .latency = true, .metric = M_TPOT, .stat = S_P99, .shown = has_tpot},
	{"E2EL ms", "mean", .latency = true, .metric = M_E2EL, .stat = S_MEAN, .shown = has_means},
	{"E2EL ms", "p50", .latency = true, .metric = M_E2EL, .stat = S_P50, .shown = has_requests},
	{"E2EL ms", "p99", .latency = true, .metric = M_E2EL, .stat = S_P99, .shown = has_requests},
	{"goodput", "req/s", POINT_FIELD(goodput_per_s), .shown = has_goodput},
};

/* What the notes below the tables have to explain. */
struct marks {
	bool few, unstreamed, scheduled, seed_reading, repeats;
};

static enum metric metric_at(const struct measure *m, const struct level *l)
{
	if (m->metric == M_TTFT)
		return headline_ttft(l);
	return m->metric == M_E2EL ? headline_e2el(l) : m->metric;
}

static size_t field_at(const struct measure *m, const struct level *l)
{
	return m->latency ? POINT_METRIC(metric_at(m, l), m->stat) : m->field;
}

static bool unstreamed(const struct curve_point *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->repeats[i]->unstreamed)
			return true;
	return false;
}

static void put_measure(struct table *t, const struct curves *c, const struct curve_point *p,
			const struct measure *m, int decimals, struct marks *marks)
{
	const struct level *l = &c->s->levels[p->level];
	struct spread v = curve_spread(p, field_at(m, l));
	const char *few = "", *whole = "";

	if (isnan(v.mean)) {
		table_cell(t, "-");
		return;
	}
	if (m->latency && !curve_enough(p, metric_at(m, l), m->stat))
		few = "~";
	if (m->latency && m->metric == M_TTFT && unstreamed(p))
		whole = "*";
	marks->few |= *few != '\0';
	marks->unstreamed |= *whole != '\0';
	marks->scheduled |= m->latency && l->kind == LOAD_OPEN;
	marks->seed_reading |= m->field == POINT_FIELD(seed_mean_tps) && !m->latency;
	marks->repeats |= !isnan(v.half);
	if (isnan(v.half))
		table_cell(t, "%s%s%.*f", few, whole, decimals, v.mean);
	else
		table_cell(t, "%s%s%.*f±%.*f", few, whole, decimals, v.mean,
			   v.half * pow(10, decimals) < 0.5 ? 0 : decimals, v.half);
}

static int measure_decimals(const struct curves *c, int target, const struct measure *m)
{
	double largest = 0;

	for (int i = 0; i < c->s->n_levels; i++)
		largest = fmax(
			largest,
			curve_spread(curves_at(c, target, i), field_at(m, &c->s->levels[i])).mean);
	return decimals_for(largest, c->s->repeats > 1);
}

/* All levels of one kind that is told by a number of clients or a rate: the numbers alone are the
 * rows' names. */
static bool one_kind(const struct scenario *s)
{
	for (int i = 0; i < s->n_levels; i++) {
		const struct level *l = &s->levels[i];

		if (l->kind != s->levels[0].kind || l->arrival == ARRIVAL_RAMP ||
		    l->arrival == ARRIVAL_TRACE)
			return false;
	}
	return s->levels[0].kind == LOAD_OPEN || s->levels[0].kind == LOAD_CLOSED;
}

static const char *load_heading(const struct scenario *s)
{
	return !one_kind(s) ? "load" : s->levels[0].kind == LOAD_OPEN ? "rate" : "clients";
}

static void put_load(struct table *t, const struct level *l, bool alone)
{
	char label[32];

	level_label(l, label, sizeof(label));
	table_cell(t, "%s", alone && strchr(label, ' ') ? strchr(label, ' ') + 1 : label);
}

static void put_verdict(struct table *t, const struct curve_point *p)
{
	size_t n_bad;
	enum verdict v = curve_verdict(p, &n_bad);

	if (v != VERDICT_OK && p->n > 1)
		table_cell(t, "%s %zu/%zu", verdict_name(v), n_bad, p->n);
	else
		table_cell(t, "%s", verdict_name(v));
}

static void target_table(struct body *b, const struct curves *c, int target, struct marks *marks)
{
	const struct scenario *s = c->s;
	bool shown[ARRAY_LEN(measures)], alone = one_kind(s), counted = has_requests(c, target);
	int decimals[ARRAY_LEN(measures)];
	struct table *t = body_table(b);

	table_column(t, NULL, load_heading(s), !alone);
	if (counted) {
		table_column(t, "requests", "ok", false);
		table_column(t, "requests", "failed", false);
	}
	for (size_t i = 0; i < ARRAY_LEN(measures); i++) {
		shown[i] = measures[i].shown(c, target);
		decimals[i] = measure_decimals(c, target, &measures[i]);
		if (shown[i])
			table_column(t, measures[i].group, measures[i].heading, false);
	}
	if (counted)
		table_column(t, NULL, "client", true);
	for (int level = 0; level < s->n_levels; level++) {
		const struct curve_point *p = curves_at(c, target, level);
		int64_t ok = 0, failed = 0;

		if (!p->n)
			continue;
		for (size_t i = 0; i < p->n; i++) {
			ok += p->repeats[i]->ok;
			failed += p->repeats[i]->failed;
		}
		put_load(t, &s->levels[level], alone);
		if (counted) {
			table_cell(t, "%lld", (long long)ok);
			table_cell(t, "%lld", (long long)failed);
		}
		for (size_t i = 0; i < ARRAY_LEN(measures); i++)
			if (shown[i])
				put_measure(t, c, p, &measures[i], decimals[i], marks);
		if (counted)
			put_verdict(t, p);
	}
}

static bool was_run(const struct curves *c, int target)
{
	for (int level = 0; level < c->s->n_levels; level++)
		if (curves_at(c, target, level)->n)
			return true;
	return false;
}

static void say_marks(struct body *b, const struct scenario *s, const struct marks *m)
{
	if (m->repeats)
		body_say(b, BLOCK_LINE,
			 "±: half-width of the 95 %% interval of the mean over %d repeats.",
			 s->repeats);
	if (m->seed_reading)
		body_say(b, BLOCK_LINE,
			 "total: tokens of completed requests / (first send to last end). seed: "
			 "mean over requests of tokens / time since the level began, the client's "
			 "own queue included, as the seed benchmark reads it.");
	if (m->scheduled)
		body_say(b, BLOCK_LINE, "Open loop: TTFT and E2EL count from the planned start.");
	if (m->unstreamed)
		body_say(b, BLOCK_LINE,
			 "*: answers were not streamed, so TTFT is the whole latency.");
	if (m->few)
		body_say(b, BLOCK_LINE,
			 "~: too few samples for this percentile (p99 wants 662): little "
			 "more than an extreme.");
}

/* ---- how far the figures may be off ---- */

#define NARROW_PERCENT 1.0

/* With the group's heading; the throughput has no metric. */
static const struct {
	const char *group, *heading;
	enum metric metric;
	enum metric_stat stat;
} bounded[] = {
	{NULL, "tok/s", M_COUNT, S_MEAN}, {"TTFT", "mean", M_TTFT, S_MEAN},
	{"TTFT", "p50", M_TTFT, S_P50},	  {"TTFT", "p99", M_TTFT, S_P99},
	{"TPOT", "mean", M_TPOT, S_MEAN}, {"TPOT", "p50", M_TPOT, S_P50},
	{"TPOT", "p99", M_TPOT, S_P99},	  {"E2EL", "mean", M_E2EL, S_MEAN},
	{"E2EL", "p50", M_E2EL, S_P50},	  {"E2EL", "p99", M_E2EL, S_P99},
};

static struct interval bounded_at(const struct curves *c, int target, int level, size_t i)
{
	const struct level *l = &c->s->levels[level];
	enum metric m = bounded[i].metric;

	if (m == M_TTFT)
		m = headline_ttft(l);
	else if (m == M_E2EL)
		m = headline_e2el(l);
	return curve_interval(curves_at(c, target, level),
			      m == M_COUNT ? POINT_FIELD(output_tokens_per_s)
					   : POINT_METRIC(m, bounded[i].stat));
}

/* Does a column say something that the tables above do not? Over repeats they show all but the
 * means. */
static bool bounded_says(const struct curves *c, size_t i)
{
	bool mean = bounded[i].metric != M_COUNT && bounded[i].stat == S_MEAN;

	for (int t = 0; t < c->s->n_targets; t++)
		for (int level = 0; level < c->s->n_levels; level++)
			if (!isnan(bounded_at(c, t, level, i).low) &&
			    (mean || curves_at(c, t, level)->n == 1))
				return true;
	return false;
}

/* "-3.1 +4.0": how far below and above the figure its ends lie, in per cent. */
static void put_interval(struct table *t, struct interval v)
{
	double below = 100 * (v.low / v.mid - 1), above = 100 * (v.high / v.mid - 1);

	if (!(v.mid > 0) || isnan(v.low))
		table_cell(t, "-");
	else if (below > -0.05 && above < 0.05)
		table_cell(t, "±0.0");
	else
		table_cell(t, "%+.*f %+.*f", below > -9.95, below, above < 9.95, above);
}

static bool any_interval(const struct curves *c, int target, int level)
{
	for (size_t i = 0; i < ARRAY_LEN(bounded); i++)
		if (!isnan(bounded_at(c, target, level, i).low))
			return true;
	return false;
}

/* How far an interval's farther end lies from its figure, in per cent; 0 without one. */
static double off_by(struct interval v)
{
	if (!(v.mid > 0) || isnan(v.low))
		return 0;
	return 100 * fmax(v.high / v.mid - 1, 1 - v.low / v.mid);
}

static double farthest_off(const struct curves *c, const bool says[ARRAY_LEN(bounded)])
{
	double most = 0;

	for (size_t i = 0; i < ARRAY_LEN(bounded); i++)
		for (int t = 0; says[i] && t < c->s->n_targets; t++)
			for (int level = 0; level < c->s->n_levels; level++)
				most = fmax(most, off_by(bounded_at(c, t, level, i)));
	return most;
}

static void put_intervals(struct body *b, const struct curves *c,
			  const bool says[ARRAY_LEN(bounded)])
{
	bool alone = one_kind(c->s);
	struct table *t = body_table(b);

	table_column(t, NULL, "target", true);
	table_column(t, NULL, load_heading(c->s), !alone);
	for (size_t i = 0; i < ARRAY_LEN(bounded); i++)
		if (says[i])
			table_column(t, bounded[i].group, bounded[i].heading, false);
	for (int target = 0; target < c->s->n_targets; target++) {
		for (int level = 0; level < c->s->n_levels; level++) {
			if (!any_interval(c, target, level))
				continue;
			table_cell(t, "%s", c->s->targets[target].name);
			put_load(t, &c->s->levels[level], alone);
			for (size_t i = 0; i < ARRAY_LEN(bounded); i++)
				if (says[i])
					put_interval(t, bounded_at(c, target, level, i));
		}
	}
}

/* A table of intervals that nobody would mind is one line. */
static void interval_table(struct body *b, const struct curves *c)
{
	bool says[ARRAY_LEN(bounded)], any = false;
	double most;

	for (size_t i = 0; i < ARRAY_LEN(bounded); i++) {
		says[i] = bounded_says(c, i);
		any |= says[i];
	}
	if (!any)
		return;
	most = farthest_off(c, says);
	body_say(b, BLOCK_HEADING,
		 "How far may the figures be off? (95 %% intervals, per cent below and above)");
	if (most < NARROW_PERCENT)
		body_say(b, BLOCK_LINE, "Nowhere by more than %.1f %%.",
			 fmax(0.1, ceil(10 * most) / 10));
	else
		put_intervals(b, c, says);
	if (c->s->repeats > 1)
		body_say(b, BLOCK_LINE,
			 "Of the mean over the repeats, by Student's t; where only one was run, "
			 "over "
			 "its requests (bootstrap).");
	else
		body_say(b, BLOCK_LINE,
			 "By drawing each point's requests again (bootstrap): the noise between "
			 "requests. That between runs only `repeats:` shows. points.csv has the "
			 "ends.");
}

/* ---- measured beside published ---- */

/* The targets of a cell share row and column; the first one stands for it. */
static const struct target *find_cell(const struct scenario *s, const char *row, const char *column,
				      int *index)
{
	for (int i = 0; i < s->n_targets; i++) {
		const struct target *t = &s->targets[i];

		if (t->row && t->column && strcmp(t->row, row) == 0 &&
		    strcmp(t->column, column) == 0) {
			*index = i;
			return t;
		}
	}
	return NULL;
}

/* The level at which one request runs at a time: serial before closed with one client. -1: there is
 * none. */
static int single_stream_level(const struct scenario *s)
{
	int found = -1;

	for (int i = 0; i < s->n_levels; i++) {
		if (s->levels[i].kind == LOAD_SERIAL)
			return i;
		if (found < 0 && s->levels[i].kind == LOAD_CLOSED && s->levels[i].concurrency == 1)
			found = i;
	}
	return found;
}

static void put_number(struct table *t, const char *fmt, double v)
{
	char text[64];

	snprintf(text, sizeof(text), fmt, v);
	table_cell(t, "%s", isnan(v) ? "-" : text);
}

static void published_matrix(struct body *b, const struct curves *c, int level)
{
	const struct scenario *s = c->s;
	struct table *t;
	char label[32];

	level_label(&s->levels[level], label, sizeof(label));
	body_say(b, BLOCK_HEADING, "Tokens/s of a single request, measured beside published (%s)",
		 label);
	t = body_table(b);
	table_column(t, NULL, "", true);
	for (char **column = s->columns; *column; column++) {
		table_column(t, *column, "measured", false);
		table_column(t, *column, "published", false);
		table_column(t, *column, "off by", false);
	}
	for (char **row = s->rows; *row; row++) {
		table_cell(t, "%s", *row);
		for (char **column = s->columns; *column; column++) {
			int i = 0;
			const struct target *cell = find_cell(s, *row, *column, &i);
			double measured = NAN, published = NAN;

			if (cell)
				measured = curve_spread(curves_at(c, i, level),
							POINT_FIELD(single_stream_tps))
						   .mean;
			if (cell && cell->published_tokens_per_s > 0)
				published = cell->published_tokens_per_s;
			put_number(t, "%.2f", measured);
			put_number(t, "%.2f", published);
			put_number(t, "%+.1f %%", 100 * (measured / published - 1));
		}
	}
	body_say(b, BLOCK_LINE,
		 "measured: mean over requests of completion tokens / full round trip. -: nobody "
		 "published it, or there "
		 "is no such target.");
}

static void requests_matrix(struct body *b, const struct curves *c, int level)
{
	const struct scenario *s = c->s;
	struct table *t;
	char label[32];

	level_label(&s->levels[level], label, sizeof(label));
	body_say(b, BLOCK_HEADING, "Requests per minute (%s)", label);
	t = body_table(b);
	table_column(t, NULL, "", true);
	for (char **column = s->columns; *column; column++)
		table_column(t, NULL, *column, false);
	for (char **row = s->rows; *row; row++) {
		table_cell(t, "%s", *row);
		for (char **column = s->columns; *column; column++) {
			int i = 0;

			put_number(t, "%.1f",
				   find_cell(s, *row, *column, &i)
					   ? curve_spread(curves_at(c, i, level),
							  POINT_FIELD(requests_per_min))
						     .mean
					   : NAN);
		}
	}
}

static void matrices(struct body *b, const struct curves *c)
{
	const struct scenario *s = c->s;
	int single = single_stream_level(s);

	if (single >= 0)
		published_matrix(b, c, single);
	for (int i = 0; i < s->n_levels; i++)
		if (i != single && s->levels[i].kind == LOAD_CLOSED)
			requests_matrix(b, c, i);
}

void body_tables(struct body *b, const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	struct marks marks = {0};
	struct curves c;

	curves_init(&c, s, in->points, in->n_points);
	for (int i = 0; i < s->n_targets; i++) {
		const struct target *t = &s->targets[i];

		if (t->model)
			body_say(b, BLOCK_HEADING, "%s, model %s", t->name, t->model);
		else
			body_say(b, BLOCK_HEADING, "%s", t->name);
		if (was_run(&c, i))
			target_table(b, &c, i, &marks);
		else
			body_say(b, BLOCK_LINE, "Nothing was measured here.");
	}
	say_marks(b, s, &marks);
	interval_table(b, &c);
	if (s->rows && s->columns)
		matrices(b, &c);
	curves_release(&c);
}
