/*
 * Owns the forms that all phases' objects share. Must not know any of them.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/jsonx.h"
#include "base/log.h"
#include "check.h"

cJSON *object_new(void)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddArrayToObject(o, "wrong");
	cJSON_AddArrayToObject(o, "slow");
	return o;
}

static void add_line(cJSON *o, const char *list, const char *line)
{
	cJSON_AddItemToArray(cJSON_GetObjectItem(o, list), cJSON_CreateString(line));
}

void add_wrong(cJSON *o, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&e, RC_INPUT, fmt, ap);
	va_end(ap);
	log_info("wrong: %s", e.msg);
	add_line(o, "wrong", e.msg);
}

void add_note(const struct check *c, cJSON *o)
{
	if (c->emulated)
		cJSON_AddStringToObject(o, "note", "emulated: no speed");
}

void add_goal(const struct check *c, cJSON *o, const char *what, double share, double goal)
{
	cJSON *goals = cJSON_GetObjectItem(o, "goals"), *one;
	char line[160];

	if (c->emulated || share <= 0)
		return;
	if (!goals)
		goals = cJSON_AddArrayToObject(o, "goals");
	one = cJSON_CreateObject();
	cJSON_AddStringToObject(one, "what", what);
	json_add_number(one, "share", share);
	json_add_number(one, "goal", goal);
	cJSON_AddBoolToObject(one, "met", share >= goal);
	cJSON_AddItemToArray(goals, one);
	if (share >= goal)
		return;
	snprintf(line, sizeof(line), "%s: %.1f %% of the card's limit, the goal is %.0f %%", what,
		 100 * share, 100 * goal);
	add_line(o, "slow", line);
}

void add_bytes_per_s(const struct check *c, cJSON *o, double bytes_per_s)
{
	json_add_number(o, "bytes_per_s", bytes_per_s);
	if (c->peak_bytes_per_s > 0)
		json_add_number(o, "share_of_peak", bytes_per_s / c->peak_bytes_per_s);
	if (c->read_bytes_per_s > 0)
		json_add_number(o, "share_of_read", bytes_per_s / c->read_bytes_per_s);
}
