/*
 * Several runs laid on each other: targets of results folders as if one run had measured them all,
 * and how each stands to the first at equal load. compare.c puts the runs together, compare_ratio.c
 * knows the intervals, compare_residual.c what a simulation is off by, compare_report.c says and
 * writes it.
 *
 * All are judged by one SLO, the first that a run has. Levels are equal when their names are
 * ("closed 4", "open 5/s").
 */
#ifndef LOADGEN_COMPARE_H
#define LOADGEN_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "curve.h"
#include "report.h"
#include "results.h"
#include "stats.h"

/* One target of one run. */
struct compared {
	const struct loaded_run *run;
	int target; /* of that run's scenario */
};

struct comparison {
	struct loaded_run **runs;
	int n_runs;
	struct compared *v; /* as many as s.targets */
	struct scenario s;  /* put together: names, levels, SLO; targets' members are the runs' */
	struct record *records; /* their events are the runs' */
	struct point *points;
	struct report_input in;
	struct curves curves;
	struct axis axis;
};

/* operands: "DIR" (all its targets) or "DIR:TARGET". dir: where figures and files will go; kept.
 * RC_INPUT for a folder without a run, a target that is not in it, a single target in all. */
enum rc comparison_load(struct comparison **out, const char *const *operands, size_t n,
			const char *dir, struct err *e);
void comparison_free(struct comparison *c); /* NULL legal */

/* What is compared at a level. */
enum measure {
	MEASURE_TPS, /* output tokens/s */
	MEASURE_TTFT_P50,
	MEASURE_TTFT_P99,
	MEASURE_TPOT_P50,
	MEASURE_E2EL_P50,
	MEASURE_COUNT
};
const char *measure_name(enum measure m); /* "output_tokens_per_s", "ttft_p50" ... */

enum interval_method { INTERVAL_NONE, INTERVAL_REPEATS, INTERVAL_BOOTSTRAP };
const char *interval_method_name(enum interval_method m);

struct contrasted {
	struct interval v; /* mid NaN: one of the two has no such figure here */
	enum interval_method method;
};

/* How target b stands to target a at a level: a ratio of a measure; and the difference between the
 * shares of requests that met the SLO. Welch's interval over repeats where both have them, else the
 * bootstrap over requests, seeded by the scenario's seed and the place. */
struct contrasted compare_ratio(const struct comparison *c, int a, int b, int level,
				enum measure m);
struct contrasted compare_share(const struct comparison *c, int a, int b, int level);

/* Is it larger than the noise? False also where nothing is known of the noise. */
bool contrast_is_real(const struct contrasted *x, enum contrast how);

/* A run under the virtual clock is a simulation: of the measured target of the same name, or of the
 * first that was measured. -1: `target` was measured itself, or nothing was. */
int compare_measured_of(const struct comparison *c, int target);

enum residual_figure {
	RESIDUAL_TPS, /* mean only */
	RESIDUAL_TTFT,
	RESIDUAL_TPOT,
	RESIDUAL_E2EL,
	RESIDUAL_FIGURES
};

/* What the simulated target says, what its measured one did, (simulated - measured) / measured; NaN
 * where one of them has no such figure. Latencies in ms, from the planned start in open loop. */
struct residual {
	double measured, simulated, error;
};
struct residual compare_residual(const struct comparison *c, int target, int level,
				 enum residual_figure f, enum metric_stat s);

/* The verdict in words, a sentence a call: who meets the SLO up to where, who does at the highest
 * load, by how much, beyond the noise or not. */
void compare_verdict(const struct comparison *c, void (*say)(void *arg, const char *words),
		     void *arg);

/* Tables and verdict; the figures, compare.json and report.html in the folder. note: as
 * report_plots(). */
bool compare_text(const struct comparison *c, struct buf *out);
enum rc compare_write(const struct comparison *c, bool plots, struct buf *note, struct err *e);

#endif
