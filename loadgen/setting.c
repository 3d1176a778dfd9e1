/*
 * Owns the order of settings: what counts of a target's points, and which of two targets is the
 * better one. Pure. Must not know what the keys of a sweep mean, nor who asks.
 */
#include "setting.h"

#include <math.h>
#include <stdlib.h>

#include "base/die.h"

double cost_per_million(double cost_per_hour, double tokens_per_s)
{
	return cost_per_hour > 0 && tokens_per_s > 0 ? cost_per_hour / 3600 / tokens_per_s * 1e6
						     : NAN;
}

int capacity_level(const struct curves *c, const struct axis *a, int target)
{
	int best = -1;
	double most = 0;

	if (slo_asked(&c->s->slo)) {
		int at = curve_capacity(c, a, target).at;

		return at < 0 ? -1 : a->levels[at];
	}
	for (int i = 0; i < a->n; i++) {
		double v = curve_spread(curves_at(c, target, a->levels[i]),
					POINT_FIELD(output_tokens_per_s))
				   .mean;

		if (v > most) {
			most = v;
			best = a->levels[i];
		}
	}
	return best;
}

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
		d = b->tried - a->tried;
	if (!d)
		d = descending(a->goodput_per_s, b->goodput_per_s);
	if (!d && a->level < 0)
		d = descending(a->most_good_per_s, b->most_good_per_s);
	if (!d)
		d = descending(a->tokens_per_s, b->tokens_per_s);
	if (!d)
		d = descending(-a->per_million, -b->per_million);
	return d ? d : a->target - b->target;
}

bool setting_is_better(const struct setting *a, const struct setting *b)
{
	return best_first(a, b) < 0;
}

void settings_rank(struct setting *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), best_first);
}

static struct setting setting_of(const struct curves *c, const struct axis *a, int target)
{
	struct setting x = {
		.target = target,
		.level = capacity_level(c, a, target),
		.goodput_per_s = NAN,
		.tokens_per_s = NAN,
		.per_million = NAN,
		.most_good_per_s = NAN,
		.beyond = curve_capacity(c, a, target).beyond,
	};

	for (int i = 0; i < a->n; i++) {
		const struct curve_point *p = curves_at(c, target, a->levels[i]);

		x.tried |= p->n > 0;
		x.most_good_per_s =
			fmax(x.most_good_per_s, curve_spread(p, POINT_FIELD(goodput_per_s)).mean);
	}
	if (x.level >= 0) {
		const struct curve_point *p = curves_at(c, target, x.level);

		x.goodput_per_s = curve_spread(p, POINT_FIELD(goodput_per_s)).mean;
		x.tokens_per_s = curve_spread(p, POINT_FIELD(output_tokens_per_s)).mean;
		x.per_million =
			cost_per_million(c->s->targets[target].cost_per_hour, x.tokens_per_s);
	}
	return x;
}

struct setting *settings_new(const struct curves *c, const struct axis *a)
{
	struct setting *v = xcalloc((size_t)c->s->n_targets, sizeof(*v));

	for (int t = 0; t < c->s->n_targets; t++)
		v[t] = setting_of(c, a, t);
	return v;
}

struct setting *settings_of_points(const struct scenario *s, const struct point *points, size_t n)
{
	struct setting *v;
	struct curves c;
	struct axis a;

	curves_init(&c, s, points, n);
	axis_init(&a, s);
	v = settings_new(&c, &a);
	axis_release(&a);
	curves_release(&c);
	return v;
}
