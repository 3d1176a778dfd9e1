/*
 * Owns the list of servers that can be played. Must not know what any of them does.
 */
#include "wire.h"

#include <stddef.h>
#include <string.h>

const struct wire_habit *const wire_habits[] = {
	&wire_own,	    &wire_vllm,	    &wire_sglang,
	&wire_tgi,	    &wire_llamacpp, &wire_llamacpp_python,
	&wire_transformers, &wire_openai,   NULL,
};

const struct wire_habit *wire_find(const char *name)
{
	for (size_t i = 0; wire_habits[i]; i++)
		if (strcmp(wire_habits[i]->name, name) == 0)
			return wire_habits[i];
	return NULL;
}
