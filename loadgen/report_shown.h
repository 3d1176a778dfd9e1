/*
 * The part of a run that a report's tables and curves show: all of it, but of a search the best
 * settings, best first; the others are in points.csv. Private to report_*.c; report_sweep.c.
 */
#ifndef LOADGEN_REPORT_SHOWN_H
#define LOADGEN_REPORT_SHOWN_H

#include "report.h"

struct shown {
	struct report_input in;
	struct scenario s; /* of a search: the run's, but for its targets */
	struct target *targets;
	struct point *points;
	struct record *records;
};

void shown_init(struct shown *x, const struct report_input *in);
void shown_release(struct shown *x);

#endif
