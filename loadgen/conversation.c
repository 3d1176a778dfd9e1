/*
 * Owns the history of a conversation. Loop thread. Must not know who asks or how it is sent.
 */
#include "conversation.h"

#include <stdlib.h>

#include "base/die.h"

void conversation_release(struct conversation *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->said[i].text);
	free(c->said);
	*c = (struct conversation){0};
}

void conversation_add(struct conversation *c, const char *role, const char *text, size_t len)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 8;
		c->said = xreallocarray(c->said, c->cap, sizeof(*c->said));
	}
	c->said[c->n++] = (struct message){role, xstrndup(text, len), len};
}

void conversation_begin(struct conversation *c, const struct message *lead, size_t n_lead)
{
	conversation_release(c);
	for (size_t i = 0; i < n_lead; i++)
		conversation_add(c, lead[i].role, lead[i].text, lead[i].len);
}
