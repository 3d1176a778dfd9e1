/*
 * Owns the view of points as curves over load. Pure.
 */
#include "curve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "stats.h"

static int by_place(const void *a, const void *b)
{
	const struct point *x = *(struct point *const *)a, *y = *(struct point *const *)b;

	if (x->target != y->target)
		return x->target - y->target;
	if (x->level != y->level)
		return x->level - y->level;
	return x->repeat != y->repeat ? x->repeat - y->repeat : x->id - y->id;
}

void curves_init(struct curves *c, const struct scenario *s, const struct point *points, size_t n)
{
	size_t cells = (size_t)s->n_targets * (size_t)s->n_levels;

	c->s = s;
	c->v = xcalloc(cells + 1, sizeof(*c->v));
	c->order = xcalloc(n + 1, sizeof(struct point *));
	for (size_t i = 0; i < n; i++)
		c->order[i] = &points[i];
	qsort(c->order, n, sizeof(struct point *), by_place);
	for (size_t i = 0; i < cells; i++) {
		c->v[i].target = (int)i / s->n_levels;
		c->v[i].level = (int)i % s->n_levels;
	}
	for (size_t i = 0; i < n; i++) {
		const struct point *p = c->order[i];
		struct curve_point *at = &c->v[p->target * s->n_levels + p->level];

		if (!at->n++)
			at->repeats = &c->order[i];
	}
}

void curves_release(struct curves *c)
{
	free(c->v);
	free(c->order);
}

const struct curve_point *curves_at(const struct curves *c, int target, int level)
{
	return &c->v[target * c->s->n_levels + level];
}

struct spread curve_spread(const struct curve_point *p, size_t field)
{
	struct spread out = {NAN, NAN, NAN, NAN};
	struct sample s = {0};

	for (size_t i = 0; i < p->n; i++) {
		double v = *(const double *)((const char *)p->repeats[i] + field);

		if (!isnan(v))
			sample_add(&s, v);
	}
	if (s.n) {
		out.mean = sample_mean(&s);
		out.half = mean_ci95(s.v, s.n);
		out.low = sample_percentile(&s, 0);
		out.high = sample_max(&s);
	}
	sample_release(&s);
	return out;
}

/* The interval that a point itself has for a figure. */
static struct ends ends_of(const struct point *p, size_t field)
{
	if (field == POINT_FIELD(output_tokens_per_s))
		return p->output_tokens_per_s_ci;
	for (size_t i = 0; i < N_INTERVAL_FIGURES; i++) {
		const struct interval_figure *f = &interval_figures[i];

		if (field == POINT_METRIC(f->metric, f->stat))
			return p->ci[f->metric][f->stat];
	}
	return (struct ends){NAN, NAN};
}

struct interval curve_interval(const struct curve_point *p, size_t field)
{
	struct spread v = curve_spread(p, field);
	struct interval out = {v.mean, v.mean - v.half, v.mean + v.half};

	if (p->n == 1) {
		struct ends e = ends_of(p->repeats[0], field);

		out = (struct interval){v.mean, e.low, e.high};
	}
	return out;
}

struct ends curve_band(const struct curve_point *p, size_t field)
{
	struct spread v = curve_spread(p, field);
	struct ends e = {v.low, v.high};

	if (p->n == 1)
		e = ends_of(p->repeats[0], field);
	if (isnan(e.low)) /* none: a band without width */
		e = (struct ends){v.mean, v.mean};
	return e;
}

bool curve_enough(const struct curve_point *p, enum metric m, enum metric_stat s)
{
	for (size_t i = 0; i < p->n; i++)
		if (!point_enough(p->repeats[i], m, s))
			return false;
	return true;
}

enum verdict curve_verdict(const struct curve_point *p, size_t *n_bad)
{
	enum verdict v = VERDICT_OK;

	*n_bad = 0;
	for (size_t i = 0; i < p->n; i++) {
		if (p->repeats[i]->verdict == VERDICT_OK)
			continue;
		if (v == VERDICT_OK)
			v = p->repeats[i]->verdict;
		++*n_bad;
	}
	return v;
}

enum metric headline_ttft(const struct level *l)
{
	return l->kind == LOAD_OPEN ? M_TTFT_SCHED : M_TTFT;
}

enum metric headline_e2el(const struct level *l)
{
	return l->kind == LOAD_OPEN ? M_E2EL_SCHED : M_E2EL;
}

void level_label(const struct level *l, char *out, size_t cap)
{
	if (l->kind == LOAD_BATCH)
		snprintf(out, cap, "batch %d", l->batch);
	else if (l->kind == LOAD_SESSIONS)
		snprintf(out, cap, "%d user%s", l->concurrency, l->concurrency > 1 ? "s" : "");
	else if (l->kind == LOAD_CLOSED)
		snprintf(out, cap, "closed %d", l->concurrency);
	else if (l->kind == LOAD_OPEN && isinf(l->rate_per_s))
		snprintf(out, cap, "open inf");
	else if (l->kind == LOAD_OPEN && l->arrival == ARRIVAL_TRACE)
		snprintf(out, cap, "trace x%.4g", l->speed);
	else if (l->kind == LOAD_OPEN && l->arrival == ARRIVAL_RAMP)
		snprintf(out, cap, "ramp %.4g-%.4g/s", l->from_per_s, l->to_per_s);
	else if (l->kind == LOAD_OPEN)
		snprintf(out, cap, "open %.4g/s", l->rate_per_s);
	else
		snprintf(out, cap, "%s", load_kind_name(l->kind));
}

double level_load(const struct level *l)
{
	if (l->kind != LOAD_OPEN)
		return l->kind == LOAD_SERIAL  ? 1
		       : l->kind == LOAD_BATCH ? l->batch
					       : l->concurrency;
	return l->arrival == ARRIVAL_TRACE ? l->speed : l->rate_per_s;
}

void axis_init(struct axis *a, const struct scenario *s)
{
	int open = 0;

	for (int i = 0; i < s->n_levels; i++)
		open += s->levels[i].kind == LOAD_OPEN;
	*a = (struct axis){.open_loop = open > s->n_levels - open};
	a->levels = xcalloc((size_t)s->n_levels + 1, sizeof(int));
	for (int i = 0; i < s->n_levels; i++) {
		int k = a->n;

		if ((s->levels[i].kind == LOAD_OPEN) != a->open_loop) {
			a->left_out++;
			continue;
		}
		for (;
		     k > 0 && level_load(&s->levels[a->levels[k - 1]]) > level_load(&s->levels[i]);
		     k--)
			a->levels[k] = a->levels[k - 1];
		a->levels[k] = i;
		a->n++;
	}
}

void axis_release(struct axis *a)
{
	free(a->levels);
}

void axis_drop_unmeasured(struct axis *a, const struct curves *c)
{
	int kept = 0;

	for (int i = 0; i < a->n; i++) {
		bool any = false;

		for (int t = 0; t < c->s->n_targets; t++)
			any |= curves_at(c, t, a->levels[i])->n > 0;
		if (any)
			a->levels[kept++] = a->levels[i];
	}
	a->n = kept;
}

struct capacity curve_capacity(const struct curves *c, const struct axis *a, int target)
{
	struct capacity out = {.at = -1, .beyond = true};

	for (int i = 0; i < a->n; i++) {
		const struct curve_point *p = curves_at(c, target, a->levels[i]);
		double share = curve_spread(p, POINT_FIELD(goodput_share)).mean;

		if (!p->n)
			continue;
		if (!(share >=
		      c->s->slo.share - 1e-9)) { /* a mean of quotients: met exactly is met */
			out.beyond = false;
			return out;
		}
		out.at = i;
	}
	return out;
}

int curve_knee(const struct curves *c, const struct axis *a, int target)
{
	struct capacity k = curve_capacity(c, a, target);

	return k.beyond ? -1 : k.at;
}
