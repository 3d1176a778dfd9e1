/*
 * Owns the verdict of a comparison in words: who meets the SLO up to which load, who does at the
 * highest, by how much, and whether that is more than noise. Pure.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "compare.h"
#include "report_body.h"

struct standing {
	int target, level; /* level: where its capacity is; -1: nowhere */
	bool beyond;
	double load, tps;
};

static struct standing standing_of(const struct comparison *c, int target)
{
	struct standing s = {.target = target,
			     .level = capacity_level(&c->curves, &c->axis, target)};

	s.beyond = slo_asked(&c->s.slo) && curve_capacity(&c->curves, &c->axis, target).beyond;
	if (s.level < 0) {
		s.beyond = false;
		return s;
	}
	s.load = level_load(&c->s.levels[s.level]);
	s.tps = curve_spread(curves_at(&c->curves, target, s.level),
			     POINT_FIELD(output_tokens_per_s))
			.mean;
	return s;
}

/* With an SLO the load it is met at counts first, without one the speed alone. */
static bool stands_above(const struct comparison *c, const struct standing *x,
			 const struct standing *y)
{
	if ((x->level < 0) != (y->level < 0))
		return y->level < 0;
	if (slo_asked(&c->s.slo) && x->load != y->load)
		return x->load > y->load;
	return x->tps > y->tps;
}

struct telling {
	void (*say)(void *arg, const char *words);
	void *arg;
};

__attribute__((format(printf, 2, 3))) static void tell(const struct telling *t, const char *fmt,
						       ...)
{
	char words[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	t->say(t->arg, words);
}

/* ---- each target ---- */

static void tell_standing(const struct comparison *c, const struct standing *s,
			  const struct telling *t)
{
	const struct target *at = &c->s.targets[s->target];
	double cost = cost_per_million(at->cost_per_hour, s->tps);
	char label[32], price[64] = "";

	if (s->level < 0) {
		tell(t, "%s: %s.", at->name,
		     slo_asked(&c->s.slo) ? "meets the SLO at none of its loads"
					  : "nothing was measured");
		return;
	}
	level_label(&c->s.levels[s->level], label, sizeof(label));
	if (!isnan(cost))
		snprintf(price, sizeof(price), ", %.4g per million of them", cost);
	if (slo_asked(&c->s.slo))
		tell(t, "%s: meets the SLO up to %s%s, with %.5g output tokens/s there%s.",
		     at->name, label, s->beyond ? " (no higher load was tried that misses it)" : "",
		     s->tps, price);
	else
		tell(t, "%s: fastest at %s, %.5g output tokens/s%s.", at->name, label, s->tps,
		     price);
}

/* ---- the first against the second ---- */

static const char *noise_words(const struct contrasted *x, enum contrast how)
{
	if (x->method == INTERVAL_NONE || isnan(x->v.low))
		return "too few requests to say whether that is more than noise";
	return contrast_is_real(x, how) ? "larger than the noise" : "not larger than the noise";
}

/* "1.86x [1.80, 1.93]" */
static void ratio_words(const struct contrasted *x, char *out, size_t cap)
{
	if (isnan(x->v.low))
		snprintf(out, cap, "%.3fx", x->v.mid);
	else
		snprintf(out, cap, "%.3fx [%.3f, %.3f]", x->v.mid, x->v.low, x->v.high);
}

/* The two at one level: speed against speed. */
static void tell_speed(const struct comparison *c, const struct standing *first,
		       const struct standing *second, int level, const struct telling *t)
{
	struct contrasted x = compare_ratio(c, second->target, first->target, level, MEASURE_TPS);
	char ratio[64], label[32];

	if (isnan(x.v.mid))
		return;
	ratio_words(&x, ratio, sizeof(ratio));
	level_label(&c->s.levels[level], label, sizeof(label));
	tell(t, "At %s %s gives %s the output tokens/s of %s: %s.", label,
	     c->s.targets[first->target].name, ratio, c->s.targets[second->target].name,
	     noise_words(&x, CONTRAST_RATIO));
}

/* At the load that only the first withstands: how many met the SLO there. */
static void tell_shares(const struct comparison *c, const struct standing *first,
			const struct standing *second, const struct telling *t)
{
	const struct curve_point *pa = curves_at(&c->curves, second->target, first->level);
	const struct curve_point *pb = curves_at(&c->curves, first->target, first->level);
	struct contrasted x = compare_share(c, second->target, first->target, first->level);
	char label[32], interval[64] = "";

	level_label(&c->s.levels[first->level], label, sizeof(label));
	if (!pa->n || isnan(x.v.mid)) {
		tell(t, "%s was not measured at %s, so how much of that is noise is not known.",
		     c->s.targets[second->target].name, label);
		return;
	}
	if (!isnan(x.v.low))
		snprintf(interval, sizeof(interval), " [%.3g, %.3g]", 100 * x.v.low,
			 100 * x.v.high);
	tell(t,
	     "At %s %.4g %% of %s's requests met the SLO and %.4g %% of %s's: a difference of "
	     "%.3g%s "
	     "points, %s.",
	     label, 100 * curve_spread(pb, POINT_FIELD(goodput_share)).mean,
	     c->s.targets[first->target].name,
	     100 * curve_spread(pa, POINT_FIELD(goodput_share)).mean,
	     c->s.targets[second->target].name, 100 * x.v.mid, interval,
	     noise_words(&x, CONTRAST_DIFFERENCE));
}

static void tell_winner(const struct comparison *c, const struct standing *first,
			const struct standing *second, const struct telling *t)
{
	const char *winner = c->s.targets[first->target].name,
		   *other = c->s.targets[second->target].name;
	char label[32], other_label[32];

	if (first->level < 0) {
		tell(t, "No target meets the SLO at any load.");
		return;
	}
	level_label(&c->s.levels[first->level], label, sizeof(label));
	if (!slo_asked(&c->s.slo)) {
		tell(t, "No SLO was given, so speed decides: %s is the fastest.", winner);
		tell_speed(c, first, second, first->level, t);
		return;
	}
	if (second->level < 0) {
		tell(t, "%s alone meets the SLO, up to %s.", winner, label);
		tell_shares(c, first, second, t);
		return;
	}
	level_label(&c->s.levels[second->level], other_label, sizeof(other_label));
	if (first->load > second->load) {
		tell(t,
		     "%s meets the SLO at the highest load: %s, against %s for %s, %s%.3g times as "
		     "much.",
		     winner, label, other_label, other, first->beyond ? "at least " : "",
		     first->load / second->load);
		tell_shares(c, first, second, t);
		tell_speed(c, first, second, second->level, t);
		return;
	}
	tell(t, "%s and %s meet the SLO up to the same load, %s.", winner, other, label);
	tell_speed(c, first, second, first->level, t);
}

void compare_verdict(const struct comparison *c, void (*say)(void *arg, const char *words),
		     void *arg)
{
	const struct telling t = {say, arg};
	struct standing first = standing_of(c, 0), second = {.target = -1};

	tell_standing(c, &first, &t);
	for (int i = 1; i < c->s.n_targets; i++) {
		struct standing s = standing_of(c, i);

		tell_standing(c, &s, &t);
		if (stands_above(c, &s, &first)) {
			second = first;
			first = s;
		} else if (second.target < 0 || stands_above(c, &s, &second)) {
			second = s;
		}
	}
	tell_winner(c, &first, &second, &t);
}
