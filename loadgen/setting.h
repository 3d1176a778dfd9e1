/*
 * What a target achieves, as one row: its goodput at the highest load that meets the SLO decides,
 * then the tokens a second there, then the cost of a token, then the order of the targets. The
 * settings of a sweep are told apart by it, in a report and by a search (search.h). Pure.
 */
#ifndef LOADGEN_SETTING_H
#define LOADGEN_SETTING_H

#include <stdbool.h>

#include "curve.h"

struct setting {
	int target;
	int level; /* the highest that meets the SLO; without an SLO its fastest; -1: none */
	double goodput_per_s, tokens_per_s, per_million; /* there; NaN: does not exist */
	double most_good_per_s; /* at any load: leads where no setting meets the SLO; NaN: none */
	bool tried;
	bool beyond; /* no load was tried that misses the SLO */
};

/* malloc'd, one a target, in the order of the targets. */
struct setting *settings_new(const struct curves *c, const struct axis *a);
struct setting *settings_of_points(const struct scenario *s, const struct point *points, size_t n);

/* Best first; those without a level behind the others, those that were not tried last. */
void settings_rank(struct setting *v, int n);
bool setting_is_better(const struct setting *a, const struct setting *b);

/* The level at which a target's cost counts: the highest load that meets the SLO, or without an SLO
 * its fastest. -1: none. And what a million tokens cost at so many a second; NaN without a price.
 */
int capacity_level(const struct curves *c, const struct axis *a, int target);
double cost_per_million(double cost_per_hour, double tokens_per_s);

#endif
