/*
 * Owns what a simulated run says against the measured one it stands for: the errors figure by
 * figure, and in words what the model explains and what it does not. Pure.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "compare.h"
#include "compare_residual.h"

/* Off by no more than that, a figure is explained: the design's bound for means, and twice as much
 * where few requests decide. */
#define EXPLAINED_CENTRE 0.05
#define EXPLAINED_TAIL	 0.10

#define N_STATS 4 /* mean, p50, p90, p99 */

static const enum metric_stat stats[N_STATS] = {S_MEAN, S_P50, S_P90, S_P99};
static const char *const stat_names[N_STATS] = {"mean", "p50", "p90", "p99"};

/* What it may mean that the simulated figure is lower or higher. */
static const struct {
	const char *name, *low, *high;
} figure[RESIDUAL_FIGURES] = {
	[RESIDUAL_TPS] = {"output tok/s", "The model is slower under this load than the engine",
			  "The engine loses time under this load that the model does not know"},
	[RESIDUAL_TTFT] = {"TTFT", "Requests waited, or were read in, longer than in the model",
			   "The model queues, or prefills, longer than the engine"},
	[RESIDUAL_TPOT] = {"TPOT",
			   "Decode steps took longer: a cost of batch, context or mixed-in prefill "
			   "is missing",
			   "The model's decode steps are too dear at this batch or context"},
	[RESIDUAL_E2EL] = {"E2EL", "It is made of TTFT and TPOT", "It is made of TTFT and TPOT"},
};

const char *residual_figure_name(enum residual_figure f)
{
	static const char *const names[] = {"output_tokens_per_s", "ttft", "tpot", "e2el"};

	return names[f];
}

static bool is_simulated(const struct comparison *c, int target)
{
	return c->v[target].run->scenario->clock == RUN_CLOCK_VIRTUAL;
}

static const char *own_name(const struct comparison *c, int target)
{
	return c->v[target].run->scenario->targets[c->v[target].target].name;
}

int compare_measured_of(const struct comparison *c, int target)
{
	int first = -1;

	if (!is_simulated(c, target))
		return -1;
	for (int i = 0; i < c->s.n_targets; i++) {
		if (is_simulated(c, i))
			continue;
		if (strcmp(own_name(c, i), own_name(c, target)) == 0)
			return i;
		if (first < 0)
			first = i;
	}
	return first;
}

static size_t field_of(const struct comparison *c, int level, enum residual_figure f,
		       enum metric_stat s)
{
	const struct level *l = &c->s.levels[level];

	switch (f) {
	case RESIDUAL_TTFT:
		return POINT_METRIC(headline_ttft(l), s);
	case RESIDUAL_TPOT:
		return POINT_METRIC(M_TPOT, s);
	case RESIDUAL_E2EL:
		return POINT_METRIC(headline_e2el(l), s);
	default:
		return POINT_FIELD(output_tokens_per_s);
	}
}

struct residual compare_residual(const struct comparison *c, int target, int level,
				 enum residual_figure f, enum metric_stat s)
{
	int measured = compare_measured_of(c, target);
	size_t field = field_of(c, level, f, s);
	struct residual r = {NAN, NAN, NAN};

	if (measured < 0 || (f == RESIDUAL_TPS && s != S_MEAN))
		return r;
	r.measured = curve_spread(curves_at(&c->curves, measured, level), field).mean;
	r.simulated = curve_spread(curves_at(&c->curves, target, level), field).mean;
	if (r.measured > 0)
		r.error = (r.simulated - r.measured) / r.measured;
	return r;
}

/* Is the difference of the figure's centre, or of its tail, no larger than chance makes it? By the
 * interval of its ratio, p50 for the centre; where there is none, nothing is excused. */
static bool is_noise(const struct comparison *c, int target, int level, enum residual_figure f,
		     enum metric_stat s)
{
	static const enum measure centre[RESIDUAL_FIGURES] = {
		[RESIDUAL_TPS] = MEASURE_TPS,
		[RESIDUAL_TTFT] = MEASURE_TTFT_P50,
		[RESIDUAL_TPOT] = MEASURE_TPOT_P50,
		[RESIDUAL_E2EL] = MEASURE_E2EL_P50,
	};
	bool tail = s == S_P90 || s == S_P99;
	struct contrasted x;

	if (tail && f != RESIDUAL_TTFT)
		return false;
	x = compare_ratio(c, compare_measured_of(c, target), target, level,
			  tail ? MEASURE_TTFT_P99 : centre[f]);
	return x.method != INTERVAL_NONE && !contrast_is_real(&x, CONTRAST_RATIO);
}

static double bound_of(enum metric_stat s)
{
	return s == S_P90 || s == S_P99 ? EXPLAINED_TAIL : EXPLAINED_CENTRE;
}

static bool both_measured(const struct comparison *c, int target, int level)
{
	int measured = compare_measured_of(c, target);

	return curves_at(&c->curves, target, level)->n && curves_at(&c->curves, measured, level)->n;
}

/* ---- the table ---- */

static void error_cell(struct table *t, const struct comparison *c, int target, int level,
		       enum residual_figure f, enum metric_stat s)
{
	struct residual r = compare_residual(c, target, level, f, s);

	if (isnan(r.error))
		table_cell(t, "-");
	else
		table_cell(t, "%s%+.1f %%",
			   fabs(r.error) <= bound_of(s)	      ? ""
			   : is_noise(c, target, level, f, s) ? "≈"
							      : "!",
			   100 * r.error);
}

static void error_table(struct body *b, const struct comparison *c, int target)
{
	struct table *t = body_table(b);

	table_column(t, NULL, "load", true);
	table_column(t, NULL, "figure", true);
	for (int k = 0; k < N_STATS; k++)
		table_column(t, NULL, stat_names[k], false);
	for (int level = 0; level < c->s.n_levels; level++) {
		char label[32];

		if (!both_measured(c, target, level))
			continue;
		level_label(&c->s.levels[level], label, sizeof(label));
		for (int f = 0; f < RESIDUAL_FIGURES; f++) {
			table_cell(t, "%s", f == 0 ? label : "");
			table_cell(t, "%s", figure[f].name);
			for (int k = 0; k < N_STATS; k++)
				error_cell(t, c, target, level, (enum residual_figure)f, stats[k]);
		}
	}
}

/* ---- in words ---- */

struct worst {
	double centre; /* the error farthest from 0 of what is explained, mean and p50 */
	int level;     /* of the error that is the most times its bound; -1: all is explained */
	double times, error;
	int stat;
};

static struct worst worst_of(const struct comparison *c, int target, enum residual_figure f)
{
	struct worst w = {.level = -1, .times = 1};

	for (int level = 0; level < c->s.n_levels; level++) {
		for (int k = 0; k < N_STATS && both_measured(c, target, level); k++) {
			double error = compare_residual(c, target, level, f, stats[k]).error;
			double times = fabs(error) / bound_of(stats[k]);

			if (times <= 1 && k < 2 && fabs(error) > fabs(w.centre))
				w.centre = error;
			if (times > w.times && !is_noise(c, target, level, f, stats[k])) {
				w.times = times;
				w.level = level;
				w.error = error;
				w.stat = k;
			}
		}
	}
	return w;
}

static void say_worst(struct body *b, const struct comparison *c, int target,
		      enum residual_figure f)
{
	struct worst w = worst_of(c, target, f);
	char label[32];

	if (w.level < 0) {
		body_say(b, BLOCK_LINE, "Explained at every load: %s (%+.1f %% at most, or noise).",
			 figure[f].name, 100 * w.centre);
		return;
	}
	level_label(&c->s.levels[w.level], label, sizeof(label));
	body_say(b, BLOCK_LINE, "Not explained: %s%s%s at %s, off by %+.1f %%. %s.", figure[f].name,
		 f == RESIDUAL_TPS ? "" : " ", f == RESIDUAL_TPS ? "" : stat_names[w.stat], label,
		 100 * w.error, w.error < 0 ? figure[f].low : figure[f].high);
}

void residual_body(struct body *b, const struct comparison *c)
{
	for (int i = 0; i < c->s.n_targets; i++) {
		int measured = compare_measured_of(c, i), shared = 0;

		if (measured < 0)
			continue;
		body_say(b, BLOCK_HEADING, "%s, simulated, against %s, %s", c->s.targets[i].name,
			 c->s.targets[measured].name,
			 c->s.targets[measured].table ? "a table" : "measured");
		for (int level = 0; level < c->s.n_levels; level++)
			shared += both_measured(c, i, level);
		if (!shared) {
			body_say(b, BLOCK_LINE, "No load was put on both.");
			continue;
		}
		for (int f = 0; f < RESIDUAL_FIGURES; f++)
			say_worst(b, c, i, (enum residual_figure)f);
		error_table(b, c, i);
		body_say(b, BLOCK_LINE,
			 "(simulated - measured) / measured. !: farther off than %g %% (mean, p50) "
			 "or "
			 "%g %% (p90, p99).",
			 100 * EXPLAINED_CENTRE, 100 * EXPLAINED_TAIL);
	}
}

/* ---- compare.json ---- */

static void add_residual(cJSON *list, const struct comparison *c, int target, int level, int f,
			 int k)
{
	struct residual r = compare_residual(c, target, level, (enum residual_figure)f, stats[k]);
	cJSON *o;
	char label[32];

	if (isnan(r.error))
		return;
	level_label(&c->s.levels[level], label, sizeof(label));
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "target", c->s.targets[target].name);
	cJSON_AddStringToObject(o, "measured_target",
				c->s.targets[compare_measured_of(c, target)].name);
	cJSON_AddStringToObject(o, "level", label);
	json_add_number(o, "load", level_load(&c->s.levels[level]));
	cJSON_AddStringToObject(o, "figure", residual_figure_name((enum residual_figure)f));
	cJSON_AddStringToObject(o, "stat", stat_names[k]);
	json_add_number(o, "measured", r.measured);
	json_add_number(o, "simulated", r.simulated);
	json_add_number(o, "error", r.error);
	cJSON_AddItemToArray(list, o);
}

void residual_json(cJSON *root, const struct comparison *c)
{
	cJSON *list = cJSON_AddArrayToObject(root, "residuals");

	for (int i = 0; i < c->s.n_targets; i++)
		for (int level = 0; level < c->s.n_levels && compare_measured_of(c, i) >= 0;
		     level++)
			for (int f = 0; f < RESIDUAL_FIGURES; f++)
				for (int k = 0; k < N_STATS; k++)
					add_residual(list, c, i, level, f, k);
}
