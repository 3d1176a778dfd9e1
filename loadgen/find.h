/*
 * The highest load that still meets the SLO, by bisection over the scenario's levels (a grid in
 * rising order). The state of the search is the points measured so far, nothing else: a run asks
 * what to try next, a report and a killed run's report read the answer off the same rows.
 *
 * A probe meets the SLO when at least slo.share of the requests it sent did, over all its repeats.
 */
#ifndef LOADGEN_FIND_H
#define LOADGEN_FIND_H

#include <stdbool.h>
#include <stddef.h>

#include "metrics.h"
#include "phases.h"
#include "scenario.h"

struct found {
	int best;   /* highest level that met the SLO; -1: none of those tried did */
	int missed; /* lowest level that missed it; n_levels: none did */
	int next;   /* level to try next; -1: the search is over */
	int probes; /* so far */
};

struct found find_state(const struct scenario *s, const struct point *points, size_t n, int target);

/* The phase behind `at` (-1: the first of all): the next repeat, or the first of the next probe, or
 * the next target's first; n_phases when the run is over. */
int find_phase_after(const struct scenario *s, const struct phase *phases, int n_phases, int at,
		     const struct point *points, size_t n_points);

/* The first phase of a target. */
int find_first_phase(const struct scenario *s, const struct phase *phases, int n_phases,
		     const struct point *points, size_t n_points, int target);

/* How many probes a target takes at most. */
int find_probes(const struct scenario *s);

/* The answer in a sentence. */
void find_words(const struct scenario *s, const struct point *points, size_t n, int target,
		char *out, size_t cap);

#endif
