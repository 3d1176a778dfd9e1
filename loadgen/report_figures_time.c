/*
 * Owns the data of the figures made from single requests (distributions, the timeline). Pure but
 * for the file it is handed.
 */
#include "report_figures_time.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "stats.h"

/* Of the levels that most targets were put at, those of the least and the most load: a search or
 * runs laid on each other have levels that only one target saw. False if there is none. */
static bool outer_levels(const struct figure_input *f, int *lowest, int *highest)
{
	int most = 1;

	*lowest = *highest = -1;
	for (int i = 0; i < f->axis.n; i++) {
		int level = f->axis.levels[i], targets = 0;

		for (int t = 0; t < f->in->scenario->n_targets; t++)
			targets += curves_at(&f->curves, t, level)->n > 0;
		if (targets < most)
			continue;
		if (targets > most || *lowest < 0)
			*lowest = level;
		most = targets;
		*highest = level;
	}
	return *highest >= 0;
}

static void define_level(struct buf *defs, const char *name, const struct level *l)
{
	char label[32];

	level_label(l, label, sizeof(label));
	define_text(defs, name, label, 100);
}

/* ---- cdf ---- */

enum { CDF_STEPS = 200 }; /* more samples than this are drawn as so many quantiles */

struct range {
	double low, high;
};

static void collect(const struct figure_input *f, int target, int level, enum metric m,
		    struct sample *out)
{
	for (size_t i = 0; i < f->in->n_records; i++) {
		const struct record *r = &f->in->records[i];
		double v;

		if (r->point < 0 || r->target != target || r->level != level ||
		    r->outcome != OUTCOME_OK)
			continue;
		if (m == M_ITL) {
			record_add_gaps_ms(r, m, out);
			continue;
		}
		v = record_metric_ms(r, m);
		if (!isnan(v))
			sample_add(out, v);
	}
}

/* From share 0 at the smallest value up; each row is where the share is reached. */
static void put_cdf(FILE *dat, int target, int metric, int highest, struct sample *s,
		    struct range *range)
{
	size_t n = s->n < CDF_STEPS ? s->n : CDF_STEPS;

	for (size_t k = 0; k <= n && s->n; k++) {
		double share = (double)k / (double)n;
		double v = s->n <= CDF_STEPS ? sample_percentile(s, 0)
					     : sample_percentile(s, 100 * share);

		if (s->n <= CDF_STEPS && k > 0)
			v = s->v[k - 1]; /* sorted by sample_percentile() */
		fprintf(dat, "%d\t%d\t%d\t%.6g\t%.6g\n", target + 1, metric, highest, v, share);
		range->low = v > 0 ? fmin(range->low, v) : range->low;
		range->high = fmax(range->high, v);
	}
}

const char *write_cdf(struct figure_input *f)
{
	const struct scenario *s = f->in->scenario;
	struct range range[2] = {{HUGE_VAL, 0}, {HUGE_VAL, 0}};
	int levels[2];

	if (!outer_levels(f, &levels[0], &levels[1]))
		return "no request succeeded";
	fputs("target\tmetric\thighest\tms\tshare\n", f->dat);
	for (int t = 0; t < s->n_targets; t++) {
		for (int w = levels[0] == levels[1]; w < 2; w++) {
			const enum metric metrics[] = {headline_ttft(&s->levels[levels[w]]), M_ITL};

			for (int m = 0; m < 2; m++) {
				struct sample v = {0};

				collect(f, t, levels[w], metrics[m], &v);
				put_cdf(f->dat, t, m, w, &v, &range[m]);
				sample_release(&v);
			}
		}
	}
	if (range[0].high <= 0)
		return "no request succeeded";
	define_number(f->defs, "two_levels", levels[0] != levels[1]);
	define_level(f->defs, "low_label", &s->levels[levels[0]]);
	define_level(f->defs, "high_label", &s->levels[levels[1]]);
	define_number(f->defs, "has_itl", range[1].high > 0);
	define_number(f->defs, "log_ttft", range[0].high > 10 * range[0].low);
	define_number(f->defs, "log_itl", range[1].high > 10 * range[1].low);
	define_text(f->defs, "ttft_title",
		    f->axis.open_loop ? "TTFT: planned start to first token"
				      : "TTFT: send to first token",
		    100);
	return NULL;
}

/* ---- timeline ---- */

enum { MAX_PANELS = 4, MAX_BARS = 60 };

static int by_send(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

	if (x->send_ns != y->send_ns)
		return x->send_ns < y->send_ns ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* The requests of a point that were sent, in the order in which they were. */
static const struct record **sent_of(const struct figure_input *f, int point, size_t *n)
{
	const struct record **list = xcalloc(f->in->n_records + 1, sizeof(struct record *));

	*n = 0;
	for (size_t i = 0; i < f->in->n_records; i++) {
		const struct record *r = &f->in->records[i];

		if (r->point == point && r->send_ns >= 0 && r->done_ns >= 0)
			list[(*n)++] = r;
	}
	qsort(list, *n, sizeof(struct record *), by_send);
	return list;
}

static void put_bar(FILE *dat, int panel, size_t row, const struct record *r, int64_t zero_ns)
{
	bool failed = r->outcome != OUTCOME_OK;
	int64_t token1_ns = r->token1_ns >= 0 ? r->token1_ns : r->done_ns;

	fprintf(dat, "%d\t%zu\t%d\t%.6f\t%.6f\t%.6f\t%.6f\n", panel, row, failed,
		ns_to_s(r->sched_ns - zero_ns), ns_to_s(r->send_ns - zero_ns),
		ns_to_s(token1_ns - zero_ns), ns_to_s(r->done_ns - zero_ns));
}

/* What is drawn of a point: of a long one the middle, where the load is steady. */
struct panel {
	const struct point *p;
	const struct record **sent;
	size_t n, first, count;
	int64_t zero_ns, from_ns, to_ns; /* from, to: of the bars */
};

static struct panel panel_of(const struct figure_input *f, const struct point *p)
{
	struct panel v = {.p = p, .zero_ns = INT64_MAX, .from_ns = INT64_MAX, .to_ns = INT64_MIN};

	v.sent = sent_of(f, p->id, &v.n);
	v.count = v.n < MAX_BARS ? v.n : MAX_BARS;
	v.first = (v.n - v.count) / 2;
	for (size_t i = 0; i < v.n; i++) {
		const struct record *r = v.sent[i];

		v.zero_ns = r->sched_ns < v.zero_ns ? r->sched_ns : v.zero_ns;
		if (i < v.first || i >= v.first + v.count)
			continue;
		v.from_ns = r->sched_ns < v.from_ns ? r->sched_ns : v.from_ns;
		v.to_ns = r->done_ns > v.to_ns ? r->done_ns : v.to_ns;
	}
	return v;
}

static void define_element(struct buf *defs, const char *array, int i, double v)
{
	char name[32];

	snprintf(name, sizeof(name), "%s[%d]", array, i);
	define_number(defs, name, v);
}

static void put_panel(struct figure_input *f, int i, const struct panel *v, bool *any_failed,
		      bool *any_queued)
{
	const struct scenario *s = f->in->scenario;
	char title[512], level[32], name[32];

	for (size_t k = v->first; k < v->first + v->count; k++) {
		const struct record *r = v->sent[k];

		put_bar(f->dat, i, k + 1, r, v->zero_ns);
		*any_failed |= r->outcome != OUTCOME_OK;
		*any_queued |= r->send_ns - r->sched_ns > (v->to_ns - v->from_ns) / 200;
	}
	level_label(&s->levels[v->p->level], level, sizeof(level));
	if (v->count < v->n)
		snprintf(title, sizeof(title), "%.60s, %s, requests %zu-%zu of %zu",
			 s->targets[v->p->target].name, level, v->first + 1, v->first + v->count,
			 v->n);
	else
		snprintf(title, sizeof(title), "%.60s, %s", s->targets[v->p->target].name, level);
	snprintf(name, sizeof(name), "panel_title[%d]", i);
	define_text(f->defs, name, title, 64);
	define_element(f->defs, "first_row", i, (double)v->first + 1);
	define_element(f->defs, "last_row", i, (double)(v->first + v->count));
}

/* Panels that show whole points share one axis, so that the eye may compare. */
static void define_time_axes(struct figure_input *f, const struct panel *v, int n)
{
	double longest = 0;
	bool whole = true;

	for (int i = 0; i < n; i++) {
		whole &= v[i].count == v[i].n;
		longest = fmax(longest, ns_to_s(v[i].to_ns - v[i].zero_ns));
	}
	for (int i = 0; i < n; i++) {
		double from = whole ? 0 : ns_to_s(v[i].from_ns - v[i].zero_ns);
		double to = whole ? longest : ns_to_s(v[i].to_ns - v[i].zero_ns);

		define_element(f->defs, "from_s", i + 1, from);
		define_element(f->defs, "to_s", i + 1, to + 0.02 * (to - from) + 1e-6);
	}
}

/* Of many targets the busiest ones, busiest first. Returns how many points were chosen. */
static int choose_points(const struct figure_input *f, int level,
			 const struct point *chosen[MAX_PANELS])
{
	int n_targets = f->in->scenario->n_targets, n = 0;

	for (int t = 0; t < n_targets; t++) {
		const struct curve_point *p = curves_at(&f->curves, t, level);
		int k = n;

		if (!p->n || isnan(p->repeats[0]->mean_running))
			continue;
		while (n_targets > MAX_PANELS && k > 0 &&
		       chosen[k - 1]->mean_running < p->repeats[0]->mean_running)
			k--;
		if (k == MAX_PANELS)
			continue;
		n += n < MAX_PANELS;
		for (int i = n - 1; i > k; i--)
			chosen[i] = chosen[i - 1];
		chosen[k] = p->repeats[0];
	}
	return n;
}

const char *write_timeline(struct figure_input *f)
{
	static const char *const arrays[] = {"panel_title", "first_row", "last_row", "from_s",
					     "to_s"};
	const struct point *chosen[MAX_PANELS];
	struct panel panels[MAX_PANELS];
	bool any_failed = false, any_queued = false;
	int lowest, highest, n;

	if (!outer_levels(f, &lowest, &highest))
		return "nothing was measured";
	n = choose_points(f, highest, chosen);
	if (!n)
		return "no request was sent at the highest load";
	fputs("panel\trow\tfailed\tsched_s\tsend_s\ttoken1_s\tdone_s\n", f->dat);
	define_number(f->defs, "n_panels", n);
	for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
		buf_printf(f->defs, "array %s[%d]\n", arrays[i], n);
	for (int i = 0; i < n; i++) {
		panels[i] = panel_of(f, chosen[i]);
		put_panel(f, i + 1, &panels[i], &any_failed, &any_queued);
	}
	define_time_axes(f, panels, n);
	define_number(f->defs, "any_failed", any_failed);
	define_number(f->defs, "any_queued", any_queued);
	for (int i = 0; i < n; i++)
		free(panels[i].sent);
	return NULL;
}
