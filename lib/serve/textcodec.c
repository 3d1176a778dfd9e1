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

void token_list_reserve(struct token_list *l, int32_t n)
{
	if (n <= l->cap - l->n)
		return;
	l->cap = l->cap > n ? 2 * l->cap : l->cap + n + 64;
	l->id = xreallocarray(l->id, (size_t)l->cap, sizeof(*l->id));
}

void token_list_append(struct token_list *l, const int32_t *id, int32_t n)
{
	if (n == 0)
		return;
	token_list_reserve(l, n);
	memcpy(l->id + l->n, id, (size_t)n * sizeof(*id));
	l->n += n;
}

void token_list_release(struct token_list *l)
{
	free(l->id);
	memset(l, 0, sizeof(*l));
}
