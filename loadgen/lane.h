/*
 * One target being driven through one level at a time: its driver, its requests in flight, its
 * conversations, what is cancelled, when it is given up. What lanes have in common is the run's,
 * and comes as a struct lane_load. Main thread, nothing blocks.
 *
 *     lane_begin() > lane_pump() > ... load->over() > lane_end(), and the same again
 */
#ifndef LOADGEN_LANE_H
#define LOADGEN_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/evloop.h"
#include "deployment.h"
#include "driver.h"
#include "phases.h"
#include "record.h"
#include "scenario.h"
#include "workload.h"

/* What is put on lanes, and who hears of it. Plain data, the run's, the same for all lanes;
 * outlives them. phase, level, share and start_ns change only while no lane is between begin and
 * end. */
struct lane_load {
	const struct scenario *scenario;
	struct evloop *loop;
	struct workload *workload;

	const struct phase *phase;
	struct level level; /* phase_level() of it */
	struct share share; /* what of the level is driven here */
	int64_t start_ns;   /* of the level */

	/* A row: a request has ended, or (OUTCOME_DROPPED, from lane_end()) was never sent. What
	 * rec owns goes to who is called. The driver has not heard of it yet. */
	void (*keep)(void *arg, const struct record *rec, int64_t now_ns);
	/* Behind keep() of a request that ended, when driver and load.stop_when know of it and
	 * nothing new has started yet; may lane_stop(). */
	void (*settled)(void *arg, int64_t now_ns);
	void (*tokens)(void *arg, int64_t n); /* so many more have come */
	void (*over)(void *arg); /* a lane has nothing to start and nothing in flight any more */
	void *arg;
};

struct lane;

/* target: its index in the scenario; at: where it stands, open from lane_begin() to lane_end().
 * Both pointers are kept. */
struct lane *lane_new(const struct lane_load *load, int target, const struct deployment *at);
void lane_free(struct lane *l); /* after lane_end(), or never begun */

/* Takes up load->level, as this point (-1: a warm-up); arrivals: see driver_new(). False: it is not
 * tried, as a lower level of its kind was given up in this repeat. */
bool lane_begin(struct lane *l, int point, const int64_t *arrivals, int64_t n_arrivals);

/* Starts what is due, and sees to it that the rest is. Once behind lane_begin(); later the lane
 * does it by itself. May call load->over(). Nothing if it is over or not tried. */
void lane_pump(struct lane *l, int64_t now_ns);

/* The run ends early: nothing new starts, what is in flight is cancelled with `why` as its error,
 * and over() follows when the loop turns. Nothing if it is over or not begun. */
void lane_stop(struct lane *l, const char *why, int64_t now_ns);

/* The engine's own metrics say that so many requests wait in its queue: load.stop_when may give the
 * level up, so that nothing new starts and what is in flight has limits.grace to end. May be
 * called at any time. */
void lane_waiting(struct lane *l, double waiting);

/* After over(): keep()s a row for each request planned and never sent. ended: why the run ends
 * early or NULL. Nothing if the level was not tried. */
void lane_end(struct lane *l, const char *ended, int64_t now_ns);

/* Behind lane_begin(), instead of all else: somebody else drove load->share, and was lost. keep()s
 * a row for each planned request but those whose number k < n has_row[k]. */
void lane_lose(struct lane *l, const bool *has_row, int64_t n, const char *why, int64_t now_ns);

/* How far it is, between begin and end; else all zero. */
struct lane_counts {
	bool driven;
	int64_t done, failed; /* ended, and those of them that failed */
	int64_t in_flight;
	int64_t planned; /* driver_planned() */
};
struct lane_counts lane_count(const struct lane *l);

#endif
