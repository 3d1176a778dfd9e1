/*
 * Owns what a report says of a sweep: which setting is the best, in order, and the table of them.
 * Pure. Must not know what the keys mean.
 */
#include "report_sweep.h"

#include <math.h>
#include <stdlib.h>

#include "base/die.h"
#include "report_body.h"

#define MAX_ROWS 10

/* Not a number is less than any. */
static int descending(double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return (a < b) - (a > b);
}

static int best_first(const void *pa, const void *pb)
{
	const struct setting *a = pa, *b = pb;
	int d = (a->level < 0) - (b->level < 0);

	if (!d)
		d = descending(a->goodput_per_s, b->goodput_per_s);
	if (!d)
		d = descending(a->tokens_per_s, b->tokens_per_s);
	if (!d)
		d = descending(-a->per_million, -b->per_million);
	return d ? d : a->target - b->target;
}

struct setting *sweep_settings(const struct curves *c, const struct axis *a)
{
	const struct scenario *s = c->s;
	struct setting *v = xcalloc((size_t)s->n_targets, sizeof(*v));

	for (int t = 0; t < s->n_targets; t++) {
		int level = capacity_level(c, a, t);
		struct setting *x = &v[t];

		*x = (struct setting){t, level, NAN, NAN, NAN, curve_capacity(c, a, t).beyond};
		if (level < 0)
			continue;
		x->goodput_per_s =
			curve_spread(curves_at(c, t, level), POINT_FIELD(goodput_per_s)).mean;
		x->tokens_per_s =
			curve_spread(curves_at(c, t, level), POINT_FIELD(output_tokens_per_s)).mean;
		x->per_million = cost_per_million(s->targets[t].cost_per_hour, x->tokens_per_s);
	}
	qsort(v, (size_t)s->n_targets, sizeof(*v), best_first);
	return v;
}

static bool has_price(const struct scenario *s)
{
	for (int t = 0; t < s->n_targets; t++)
		if (s->targets[t].cost_per_hour > 0)
			return true;
	return false;
}

static void put_setting(struct table *t, const struct scenario *s, const struct setting *x,
			bool price)
{
	char label[32];

	table_cell(t, "%s", s->targets[x->target].name);
	level_label(&s->levels[x->level], label, sizeof(label));
	table_cell(t, "%s%s", label, x->beyond ? " +" : "");
	table_cell(t, "%.2f", x->goodput_per_s);
	table_cell(t, "%.1f", x->tokens_per_s);
	if (price && isnan(x->per_million))
		table_cell(t, "-");
	else if (price)
		table_cell(t, "%.4g", x->per_million);
}

void body_best(struct body *b, const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	bool price = has_price(s), any_beyond = false;
	int met = 0, shown;
	struct setting *v;
	struct curves c;
	struct axis a;
	struct table *t;

	if (!s->n_sweep || !slo_asked(&s->slo))
		return;
	curves_init(&c, s, in->points, in->n_points);
	axis_init(&a, s);
	axis_drop_unmeasured(&a, &c);
	v = sweep_settings(&c, &a);
	while (met < s->n_targets && v[met].level >= 0)
		met++;
	shown = met < MAX_ROWS ? met : MAX_ROWS;
	body_say(b, BLOCK_HEADING, "The best of the sweep");
	if (shown) {
		t = body_table(b);
		table_column(t, NULL, "setting", true);
		table_column(t, "highest load that meets the SLO", "load", false);
		table_column(t, "highest load that meets the SLO", "goodput/s", false);
		table_column(t, "highest load that meets the SLO", "tokens/s", false);
		if (price)
			table_column(t, "highest load that meets the SLO", "per million", false);
		for (int i = 0; i < shown; i++) {
			put_setting(t, s, &v[i], price);
			any_beyond |= v[i].beyond;
		}
	}
	if (any_beyond)
		body_say(b, BLOCK_LINE,
			 "+: no load was tried that misses the SLO; this setting may take more.");
	if (shown < met)
		body_say(b, BLOCK_LINE, "The best %d of %d; plots and summary.json have all.",
			 shown, met);
	if (met < s->n_targets)
		body_say(b, BLOCK_LINE, "%d of %d settings meet the SLO at no load tried.",
			 s->n_targets - met, s->n_targets);
	free(v);
	axis_release(&a);
	curves_release(&c);
}
