/*
 * Owns what a report says of a sweep or a search: which setting is the best, in order, the table of
 * them, what lies beside the best, and which settings the rest of a report shows. Pure. Must not
 * know what the keys mean.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/die.h"
#include "report_shown.h"
#include "report_body.h"
#include "search.h"

#define MAX_ROWS 10

static bool has_price(const struct scenario *s)
{
	for (int t = 0; t < s->n_targets; t++)
		if (s->targets[t].cost_per_hour > 0)
			return true;
	return false;
}

static void add_columns(struct table *t, bool price)
{
	static const char there[] = "highest load that meets the SLO";

	table_column(t, NULL, "setting", true);
	table_column(t, there, "load", false);
	table_column(t, there, "goodput/s", false);
	table_column(t, there, "tokens/s", false);
	if (price)
		table_column(t, there, "per million", false);
}

static void put_number(struct table *t, const char *fmt, double v)
{
	char text[32];

	snprintf(text, sizeof(text), fmt, v);
	table_cell(t, "%s", isnan(v) ? "-" : text);
}

static void put_setting(struct table *t, const struct scenario *s, const struct setting *x,
			bool price)
{
	char label[32] = "none";

	table_cell(t, "%s", s->targets[x->target].name);
	if (x->level >= 0)
		level_label(&s->levels[x->level], label, sizeof(label));
	table_cell(t, "%s%s", label, x->level >= 0 && x->beyond ? " +" : "");
	put_number(t, "%.2f", x->goodput_per_s);
	put_number(t, "%.1f", x->tokens_per_s);
	if (price)
		put_number(t, "%.4g", x->per_million);
}

/* What one step along a key changes: nothing much, where the optimum is flat. of: by target. */
static void say_neighbours(struct body *b, const struct scenario *s, const struct setting *of,
			   int best, bool price)
{
	int *beside = xcalloc((size_t)s->n_targets, sizeof(*beside)), tried = 0;
	int n = search_neighbours(s, best, beside);
	struct table *t;

	for (int i = 0; i < n; i++)
		tried += of[beside[i]].tried;
	if (tried) {
		body_say(b, BLOCK_HEADING, "Beside the best: %s", s->targets[best].name);
		t = body_table(b);
		add_columns(t, price);
		put_setting(t, s, &of[best], price);
		for (int i = 0; i < n; i++)
			if (of[beside[i]].tried)
				put_setting(t, s, &of[beside[i]], price);
	}
	free(beside);
}

static void say_search(struct body *b, const struct scenario *s, const struct setting *of,
		       bool price)
{
	char words[512];

	for (int first = 0; first < s->n_targets; first += sweep_places(s)) {
		int best = search_state(s, of, first).best;

		if (best >= 0)
			say_neighbours(b, s, of, best, price);
	}
	for (int first = 0; first < s->n_targets; first += sweep_places(s)) {
		search_words(s, of, first, words, sizeof(words));
		body_say(b, BLOCK_LINE, "%s.", words);
	}
}

/* ranked: of its n settings the first `met` meet the SLO at some load, the first `tried` were
 * tried. */
static void say_ranked(struct body *b, const struct scenario *s, const struct setting *ranked,
		       int met, int tried, bool price)
{
	int shown = met < MAX_ROWS ? met : MAX_ROWS;
	bool any_beyond = false;
	struct table *t;

	if (shown) {
		t = body_table(b);
		add_columns(t, price);
		for (int i = 0; i < shown; i++) {
			put_setting(t, s, &ranked[i], price);
			any_beyond |= ranked[i].beyond;
		}
	}
	if (any_beyond)
		body_say(b, BLOCK_LINE,
			 "+: no load was tried that misses the SLO; this setting may take more.");
	if (shown < met)
		body_say(b, BLOCK_LINE, "The best %d of %d; %s.", shown, met,
			 s->search ? "points.csv and summary.json have all that were tried"
				   : "plots and summary.json have all");
	if (met < tried)
		body_say(b, BLOCK_LINE, "%d of %d settings meet the SLO at no load tried.",
			 tried - met, tried);
}

void body_best(struct body *b, const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	struct setting *of, *ranked;
	int met = 0, tried = 0;
	bool price;

	if (!s->n_sweep || !slo_asked(&s->slo))
		return;
	price = has_price(s);
	of = settings_of_points(s, in->points, in->n_points);
	ranked = settings_of_points(s, in->points, in->n_points);
	settings_rank(ranked, s->n_targets);
	while (met < s->n_targets && ranked[met].level >= 0)
		met++;
	for (int t = 0; t < s->n_targets; t++)
		tried += of[t].tried;
	body_say(b, BLOCK_HEADING, "The best of the %s", s->search ? "search" : "sweep");
	say_ranked(b, s, ranked, met, s->search ? tried : s->n_targets, price);
	if (s->search)
		say_search(b, s, of, price);
	free(ranked);
	free(of);
}

/* ---- what the tables and curves show of a search ---- */

/* The rows of the targets that are shown, under their new numbers: to[] by target, -1 = not shown.
 */
static void take_rows(struct shown *x, const struct report_input *in, const int *to)
{
	x->points = xcalloc(in->n_points + 1, sizeof(*x->points));
	x->records = xcalloc(in->n_records + 1, sizeof(*x->records));
	x->in.points = x->points;
	x->in.records = x->records;
	x->in.n_points = x->in.n_records = 0;
	for (size_t i = 0; i < in->n_points; i++) {
		if (to[in->points[i].target] < 0)
			continue;
		x->points[x->in.n_points] = in->points[i];
		x->points[x->in.n_points++].target = to[in->points[i].target];
	}
	for (size_t i = 0; i < in->n_records; i++) {
		if (to[in->records[i].target] < 0)
			continue;
		x->records[x->in.n_records] = in->records[i];
		x->records[x->in.n_records++].target = to[in->records[i].target];
	}
}

void shown_init(struct shown *x, const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	struct setting *ranked;
	int n = 0, *to;

	*x = (struct shown){.in = *in};
	if (!s->search)
		return;
	ranked = settings_of_points(s, in->points, in->n_points);
	settings_rank(ranked, s->n_targets);
	to = xcalloc((size_t)s->n_targets, sizeof(*to));
	for (int t = 0; t < s->n_targets; t++)
		to[t] = -1;
	x->targets = xcalloc(MAX_ROWS, sizeof(*x->targets));
	for (; n < MAX_ROWS && n < s->n_targets && ranked[n].tried; n++) {
		x->targets[n] = s->targets[ranked[n].target];
		to[ranked[n].target] = n;
	}
	x->s = *s;
	x->s.targets = x->targets;
	x->s.n_targets = n;
	x->in.scenario = &x->s;
	take_rows(x, in, to);
	free(to);
	free(ranked);
}

void shown_release(struct shown *x)
{
	free(x->targets);
	free(x->points);
	free(x->records);
}
