/*
 * `loadgen plan`: the effective scenario and the whole timetable, nothing sent. What it prints is
 * what `run` sends: both walk phases.h and ask workload.h and arrival.h.
 */
#ifndef LOADGEN_PLAN_H
#define LOADGEN_PLAN_H

#include <stdio.h>

#include "base/err.h"
#include "scenario.h"

/* For people: the scenario as it is in force, then a list a phase. */
enum rc plan_print(const struct scenario *s, FILE *out, struct err *e);

/* For programs: a row a request and target. sched_ms is empty where a request starts when a slot is
 * free. A level that ends by time without planned arrivals has no rows: how many fit is not known
 * before. */
enum rc plan_csv(const struct scenario *s, const char *path, struct err *e);

/* For the batch interface of OpenAI and its kin: a line {"custom_id", "method", "url", "body"} for
 * each request to the first target but warm-ups, in that target's dialect, not streamed. Of a
 * session only the first turn: the others are made of answers. RC_INPUT if the target names no
 * model, or if no request is known before the run. */
enum rc plan_openai_batch(const struct scenario *s, FILE *out, struct err *e);

#endif
