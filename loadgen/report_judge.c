/*
 * Owns the sentences of a report that judge the targets: which load meets the SLO, what a token
 * costs there, which expectations were missed. Pure.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "curve.h"
#include "expect.h"
#include "find.h"
#include "report_body.h"

static void say_found(struct body *b, const struct report_input *in)
{
	char words[512];

	for (int t = 0; t < in->scenario->n_targets && in->scenario->find; t++) {
		find_words(in->scenario, in->points, in->n_points, t, words, sizeof(words));
		body_say(b, BLOCK_LINE, "%s: %s.", in->scenario->targets[t].name, words);
	}
}

/* ---- the smallest of a sweep ---- */

static bool all_numbers(const struct sweep_axis *a)
{
	double v;

	for (int i = 0; i < a->n; i++)
		if (parse_double(a->values[i], -HUGE_VAL, HUGE_VAL, &v, NULL))
			return false;
	return a->n > 1;
}

static bool meets_slo(const struct curves *c, int target, int level)
{
	const struct curve_point *p = curves_at(c, target, level);

	return p->n && curve_spread(p, POINT_FIELD(goodput_share)).mean >= c->s->slo.share - 1e-9;
}

/* first: the target with the first value of a, the others follow. */
static void say_smallest(struct body *b, const struct curves *c, const struct sweep_axis *a,
			 int first, int level)
{
	const struct target *t = &c->s->targets[first];
	const char *dot = strrchr(a->key, '.'), *key = dot ? dot + 1 : a->key;
	int best = -1, below = -1;
	char label[32];

	for (int i = 0; i < a->n; i++)
		if (meets_slo(c, first + i, level) &&
		    (best < 0 || atof(a->values[i]) < atof(a->values[best])))
			best = i;
	for (int i = 0; best >= 0 && i < a->n; i++)
		if (atof(a->values[i]) < atof(a->values[best]) &&
		    (below < 0 || atof(a->values[i]) > atof(a->values[below])))
			below = i;
	level_label(&c->s->levels[level], label, sizeof(label));
	if (best < 0)
		body_say(b, BLOCK_LINE,
			 "%s: misses the SLO at %s, as does every other value of %s tried.",
			 t->name, label, key);
	else if (below < 0)
		body_say(b, BLOCK_LINE,
			 "%s: meets the SLO at %s, and no smaller value of %s was tried.",
			 t[best].name, label, key);
	else
		body_say(b, BLOCK_LINE,
			 "%s: the smallest value of %s tried that meets the SLO at %s; %s "
			 "misses it.",
			 t[best].name, key, label, a->values[below]);
}

/* Along the last key, whose values stand side by side, if they are numbers: how much is enough? */
static void say_enough(struct body *b, const struct curves *c)
{
	const struct scenario *s = c->s;
	const struct sweep_axis *a = s->n_sweep ? &s->sweep[s->n_sweep - 1] : NULL;

	if (!a || s->search || !slo_asked(&s->slo) || !all_numbers(a))
		return;
	for (int first = 0; first + a->n <= s->n_targets; first += a->n)
		for (int level = 0; level < s->n_levels; level++)
			say_smallest(b, c, a, first, level);
}

/* Of a run that was ended early nobody knows: a level that is missing, or was cut off, meets no
 * SLO.
 */
static bool has_standings(const struct report_input *in)
{
	const struct scenario *s = in->scenario;
	bool complete = in->ended && strcmp(in->ended, "complete") == 0;

	return complete && in->n_points && slo_asked(&s->slo) && !s->find && !s->n_sweep;
}

/* Where there is a price, say_costs() says it with that. */
static void say_standings(struct body *b, const struct scenario *s, const struct curves *c,
			  const struct axis *a)
{
	for (int t = 0; t < s->n_targets; t++) {
		int level = capacity_level(c, a, t);
		char label[32];

		if (s->targets[t].cost_per_hour > 0)
			continue;
		if (level < 0) {
			body_say(b, BLOCK_LINE, "%s: no load meets the SLO.", s->targets[t].name);
			continue;
		}
		level_label(&s->levels[level], label, sizeof(label));
		body_say(b, BLOCK_LINE, "%s: meets the SLO up to %s%s.", s->targets[t].name, label,
			 curve_capacity(c, a, t).beyond ? ", the highest load tried" : "");
	}
}

static void say_costs(struct body *b, const struct curves *c, const struct axis *a)
{
	const struct scenario *s = c->s;
	bool slo = slo_asked(&s->slo);

	for (int t = 0; t < s->n_targets; t++) {
		const struct target *at = &s->targets[t];
		int level = capacity_level(c, a, t);
		double tps = NAN;
		char label[32];

		if (at->cost_per_hour <= 0)
			continue;
		if (level < 0) {
			body_say(b, BLOCK_LINE, "%s: no cost: %s.", at->name,
				 slo ? "no load meets the SLO" : "nothing was measured");
			continue;
		}
		tps = curve_spread(curves_at(c, t, level), POINT_FIELD(output_tokens_per_s)).mean;
		level_label(&s->levels[level], label, sizeof(label));
		body_say(b, BLOCK_LINE,
			 "%s: %.4g per million output tokens (%.4g an hour, %.5g tokens/s at %s, "
			 "%s%s).",
			 at->name, cost_per_million(at->cost_per_hour, tps), at->cost_per_hour, tps,
			 label, slo ? "the highest load that meets the SLO" : "its fastest level",
			 slo && curve_capacity(c, a, t).beyond ? " of those tried" : "");
	}
}

static void say_missed(void *arg, const char *words)
{
	body_say(arg, BLOCK_WARNING, "%s.", words);
}

static void say_expectations(struct body *b, const struct report_input *in)
{
	struct expectations *x;
	size_t n;

	if (expect_new(&x, in->scenario, &(struct err){0}) != RC_OK)
		return; /* told when it was loaded to run */
	n = expect_count(x);
	if (n && !expect_judge(x, in->points, in->n_points, say_missed, b))
		body_say(b, BLOCK_LINE, "What was expected holds: %zu threshold%s.", n,
			 n > 1 ? "s" : "");
	expect_free(x);
}

void body_judgement(struct body *b, const struct report_input *in, const struct report_input *shown)
{
	struct curves c;
	struct axis a;

	body_say(b, BLOCK_HEADING, "Who passes?");
	curves_init(&c, shown->scenario, shown->points, shown->n_points);
	axis_init(&a, shown->scenario);
	say_found(b, shown);
	say_enough(b, &c);
	if (has_standings(in))
		say_standings(b, in->scenario, &c, &a);
	say_costs(b, &c, &a);
	if (has_standings(in) && in->scenario->n_targets > 1)
		body_say(b, BLOCK_LINE,
			 "Which is better, by how much, and whether that is more than noise: "
			 "`loadgen compare` on this folder.");
	say_expectations(b, in);
	axis_release(&a);
	curves_release(&c);
	body_drop_bare_heading(b);
}
