/*
 * Thresholds of a scenario: `expect: {ttft_p99: "< 500ms", failed: "= 0"}` at the top or under a
 * target. A name is a column of points.csv; one that ends in a unit (ttft_p99_ms, duration_s) may
 * leave it off and then takes a value with its own. They hold at every point of the target; of a
 * search (find.h) at the points that met the SLO, since the others are how it found out.
 */
#ifndef LOADGEN_EXPECT_H
#define LOADGEN_EXPECT_H

#include <stddef.h>

#include "base/err.h"
#include "results.h"
#include "scenario.h"

struct expectations;

/* Reads and checks all of them: RC_INPUT with file:line:col. Keeps s. */
enum rc expect_new(struct expectations **out, const struct scenario *s, struct err *e);
void expect_free(struct expectations *x); /* NULL legal */

size_t expect_count(const struct expectations *x);

/* The missed ones, one call a target and threshold, in words: what was wanted, the worst that was
 * seen, where. Returns how many. */
size_t expect_judge(const struct expectations *x, const struct point *points, size_t n,
		    void (*on_missed)(void *arg, const char *words), void *arg);

#endif
