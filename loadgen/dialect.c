/*
 * Owns the list of dialects, made of the table in dialect_names.h.
 */
#include "dialect.h"

#include <string.h>

#define DIALECT_ROW(id, name) &dialect_##id,

const struct dialect *const dialects[] = {DIALECTS(DIALECT_ROW) NULL};

static const char *const names[] = {DIALECTS(DIALECT_NAME)};

const struct dialect *dialect_find(const char *name)
{
	for (int i = 0; dialects[i]; i++)
		if (strcmp(names[i], name) == 0)
			return dialects[i];
	return NULL;
}
