/*
 * From points and records to what a person reads and another tool loads. report_text.c the console
 * tables, report_vllm.c vLLM's console block and summary.json, report_plots.c data files and
 * gnuplot.
 */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "metrics.h"
#include "record.h"
#include "results.h"
#include "scenario.h"

struct comparison;

/* Everything a report reads; points in the order they ran. A finished run and a loaded one look
 * alike. */
struct report_input {
	const struct scenario *scenario;
	const struct point *points;
	size_t n_points;
	const struct record *records;
	size_t n_records;
	const char *dir; /* results folder */
	const char *started_utc;
	const char *ended;
	const struct comparison *comparison; /* NULL: one run, not several laid on each other */
};

/* One table per target (a row per level, repeats as mean +- half-width of the 95 % interval), where
 * the scenario has row/column labels the matrix of measured beside published, then identities and
 * verdicts in words. */
bool report_text(const struct report_input *in, struct buf *out);

/* vLLM's block for one point, its labels byte for byte. */
bool report_vllm_console(const struct report_input *in, const struct point *p, struct buf *out);

/* summary.json: for one point the object of vLLM's --save-result; for several, {"points": [object,
 * ...]} with the same object each. Our own keys under "loadgen". detailed adds the arrays. */
enum rc report_summary(const struct report_input *in, bool detailed, struct err *e);

/* plots/<name>.{dat,gp,svg,png} for each of scenario.output.plots; the .gp runs again by itself in
 * that folder. Waits for gnuplot. What makes no figure (one level, no SLO, no engine metrics) and a
 * gnuplot that is not installed become lines of *note. RC_IO. */
enum rc report_plots(const struct report_input *in, struct buf *note, struct err *e);

/* report.html: tables, sentences and the figures that report_plots() has drawn, in one file that
 * loads nothing. */
enum rc report_html(const struct report_input *in, struct err *e);

#endif
