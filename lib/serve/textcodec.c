/*
 * Owns nothing: the growing of token lists. Pure.
 */
#include "textcodec.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

void token_list_push(struct token_list *l, int32_t id)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->id = xreallocarray(l->id, (size_t)l->cap, sizeof(*l->id));
	}
	l->id[l->n++] = id;
}

void token_list_release(struct token_list *l)
{
	free(l->id);
	memset(l, 0, sizeof(*l));
}
