/*
 * Owns the limits of load.stop_when. Pure. Must not know what giving up means.
 */
#include "stop_rule.h"

#include <stdio.h>

#include "base/units.h"
#include "metrics.h"

bool stop_rule_ended(struct stop_rule *r, const struct stop_spec *s, const struct record *rec,
		     char why[96])
{
	char limit[32];
	bool late = rec->outcome == OUTCOME_TIMEOUT ||
		    (rec->outcome == OUTCOME_OK &&
		     record_metric_ms(rec, M_TTFT_SCHED) > ns_to_ms(s->ttft_ns));

	r->late = late ? r->late + 1 : 0;
	if (!s->ttft_ns || r->late < STOP_LATE_IN_A_ROW)
		return false;
	snprintf(why, 96, "%d first tokens in a row later than %s (load.stop_when.ttft)", r->late,
		 format_duration(limit, sizeof(limit), s->ttft_ns));
	return true;
}

bool stop_rule_waiting(const struct stop_spec *s, double waiting, char why[96])
{
	if (!s->waiting || !(waiting > (double)s->waiting))
		return false;
	snprintf(why, 96, "%.0f requests waiting in the engine (load.stop_when.waiting)", waiting);
	return true;
}
