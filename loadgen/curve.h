/*
 * The points of a run as curves: for each target and level its repeats, and of each figure the mean
 * over them with its interval. What a table row and a plotted point show. Pure; points stay the
 * caller's.
 */
#ifndef LOADGEN_CURVE_H
#define LOADGEN_CURVE_H

#include <stdbool.h>
#include <stddef.h>

#include "metrics.h"
#include "scenario.h"
#include "stats.h"

struct curve_point {
	int target, level;
	const struct point **repeats; /* n of them, in order; NULL and 0: this target was not put at
					 this level */
	size_t n;
};

struct curves {
	const struct scenario *s;
	struct curve_point *v; /* n_targets * n_levels, target by target */
	const struct point **order;
};

void curves_init(struct curves *c, const struct scenario *s, const struct point *points, size_t n);
void curves_release(struct curves *c);
const struct curve_point *curves_at(const struct curves *c, int target, int level);

/* Over the repeats in which the figure exists; all NaN if there is none, half NaN for fewer than
 * two. */
struct spread {
	double mean, half; /* of the 95 % confidence interval */
	double low, high;  /* smallest and largest */
};

/* A double member of struct point is named by its offset. */
#define POINT_FIELD(member) offsetof(struct point, member)
#define POINT_METRIC(metric, stat)                                                                 \
	(offsetof(struct point, m) + ((size_t)(metric)*S_COUNT + (size_t)(stat)) * sizeof(double))
struct spread curve_spread(const struct curve_point *p, size_t field);

/* The 95 % interval of a figure: Student's t over the repeats where it exists in two or more, else
 * over the requests of the only one (metrics.h). NaN ends: none. */
struct interval curve_interval(const struct curve_point *p, size_t field);

/* What a figure draws around it: smallest to largest of the repeats, or that interval of the only
 * one. */
struct ends curve_band(const struct curve_point *p, size_t field);

/* Enough samples in every repeat? */
bool curve_enough(const struct curve_point *p, enum metric m, enum metric_stat s);

/* The first verdict that is not ok, and in how many repeats the client was not ok. */
enum verdict curve_verdict(const struct curve_point *p, size_t *n_bad);

/* Which of two metrics is the headline at this level: in open loop what counts from the planned
 * start. */
enum metric headline_ttft(const struct level *l);
enum metric headline_e2el(const struct level *l);

/* "closed 4", "open 5/s", "open inf", "ramp 1-20/s", "trace x2", "8 users", "batch 8",
 * "serial". */
void level_label(const struct level *l, char *out, size_t cap);

/* The load as a number: requests at once, or requests per second; HUGE_VAL for all at once; the
 * speed of a trace; the size of a batch. */
double level_load(const struct level *l);

/* The levels that make one axis, in order of load: those of an open loop, or the closed ones with
 * serial as one client. Where a scenario has both, the kind with more levels. */
struct axis {
	bool open_loop;
	int *levels;
	int n, left_out; /* levels of the other kind */
};
void axis_init(struct axis *a, const struct scenario *s);
void axis_release(struct axis *a);

/* Leaves the levels at which some target was measured: of a search those it tried. */
void axis_drop_unmeasured(struct axis *a, const struct curves *c);

/* The highest load at which at least slo.share of the requests sent met the SLO: the last one
 * before the first that misses. */
struct capacity {
	int at;	     /* index of a->levels; -1: none meets it, or there is no SLO */
	bool beyond; /* no load was tried that misses it: what it can take is more than that */
};
struct capacity curve_capacity(const struct curves *c, const struct axis *a, int target);

/* Where a figure marks the knee: that load, as an index of a->levels; -1 where there is none or it
 * lies beyond. */
int curve_knee(const struct curves *c, const struct axis *a, int target);

#endif
