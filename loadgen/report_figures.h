/*
 * What each figure shows: its data file and its definitions. Private to report_plots.c, which puts
 * them beside the template of the same name under plots/ and runs gnuplot.
 */
#ifndef LOADGEN_REPORT_FIGURES_H
#define LOADGEN_REPORT_FIGURES_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "curve.h"
#include "report.h"

struct figure_input {
	const struct report_input *in;
	struct curves curves;
	struct axis axis;
	FILE *dat;	  /* tab-separated, a head line that names the columns */
	struct buf *defs; /* gnuplot assignments that the template reads */
};

struct figure {
	const char *name;
	/* NULL, or why there is nothing to draw: half a sentence. */
	const char *(*write)(struct figure_input *f);
	bool whole; /* of a search every setting that was tried, not only the best ones */
};
extern const struct figure figures[]; /* ends with name NULL */

/* `name = 'text'` as gnuplot reads it: single-quoted, so that nothing in it is expanded; cut to
 * max_columns. */
void define_text(struct buf *defs, const char *name, const char *text, size_t max_columns);
void define_number(struct buf *defs, const char *name, double v);

/* A tab and the number, or NaN as gnuplot is told to read it. */
void put_figure(FILE *dat, double v);

#endif
