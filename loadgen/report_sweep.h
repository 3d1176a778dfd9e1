/*
 * The settings of a sweep, best first: the goodput at the highest load that meets the SLO decides,
 * then the tokens a second there, then the cost of a token, then the order of the grid. Private to
 * report_*.c.
 */
#ifndef LOADGEN_REPORT_SWEEP_H
#define LOADGEN_REPORT_SWEEP_H

#include <stdbool.h>

#include "curve.h"

struct setting {
	int target;
	int level; /* the highest that meets the SLO; without an SLO its fastest; -1: none */
	double goodput_per_s, tokens_per_s, per_million; /* there; NaN: does not exist */
	bool beyond;					 /* no load was tried that misses it */
};

/* malloc'd, one a target, best first; those without a level are last. */
struct setting *sweep_settings(const struct curves *c, const struct axis *a);

#endif
