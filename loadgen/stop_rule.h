/*
 * When a level is given up because the target has more to do than it can: load.stop_when. Pure; one
 * a target and level, zeroed at first.
 */
#ifndef LOADGEN_STOP_RULE_H
#define LOADGEN_STOP_RULE_H

#include <stdbool.h>

#include "record.h"
#include "scenario.h"

/* One late answer is an accident. */
#define STOP_LATE_IN_A_ROW 5

struct stop_rule {
	int late; /* answers in a row whose first token came too late */
};

/* A request has ended. True: give up, and `why` has the reason. Late is a TTFT above stop_when.ttft
 * from the planned start, and a request that ran into a time limit. */
bool stop_rule_ended(struct stop_rule *r, const struct stop_spec *s, const struct record *rec,
		     char why[96]);

/* The engine's own metrics say that so many requests wait in its queue. */
bool stop_rule_waiting(const struct stop_spec *s, double waiting, char why[96]);

#endif
