/*
 * Owns the table of policies and the questions that are the same for all of them: by name,
 * defaults, knobs. Must not know what any of them does.
 */
#include "sched.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"

const struct sched_type *const sched_types[] = {&sched_vllm_v1,
						&sched_vllm_v0,
						&sched_sglang,
						&sched_tgi,
						&sched_llamacpp,
						&sched_hf_cb,
						&sched_static_batch,
						&sched_orca,
						&sched_sarathi,
						&sched_static,
						NULL};

enum rc sched_find(const char *name, const struct sched_type **out, struct err *e)
{
	char names[256] = "";
	size_t len = 0;

	for (const struct sched_type *const *t = sched_types; *t; t++) {
		if (strcmp((*t)->name, name) == 0) {
			*out = *t;
			return RC_OK;
		}
		CHECK(len + strlen((*t)->name) + 3 < sizeof(names));
		if (len)
			len = (size_t)(stpcpy(names + len, ", ") - names);
		len = (size_t)(stpcpy(names + len, (*t)->name) - names);
	}
	return err_set(e, RC_INPUT, "\"%s\": no such scheduling policy; there are %s", name, names);
}

void sched_defaults(const struct sched_type *t, double values[SCHED_MAX_KNOBS])
{
	for (int i = 0; t->knobs[i].name; i++) {
		CHECK(i < SCHED_MAX_KNOBS);
		values[i] = t->knobs[i].def;
	}
}

int sched_knob(const struct sched_type *t, const char *name)
{
	for (int i = 0; t->knobs[i].name; i++)
		if (strcmp(t->knobs[i].name, name) == 0)
			return i;
	return -1;
}
