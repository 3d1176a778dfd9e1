/*
 * Owns the list of dialects: a new one is a file of its own and a line here.
 */
#include "dialect.h"

#include <string.h>

const struct dialect *const dialects[] = {&dialect_openai_chat, &dialect_openai_completions, NULL};

const struct dialect *dialect_find(const char *name)
{
	for (int i = 0; dialects[i]; i++)
		if (strcmp(dialects[i]->name, name) == 0)
			return dialects[i];
	return NULL;
}
