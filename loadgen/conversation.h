/*
 * What was said in one conversation so far: the history that goes with its next request. Embedded
 * by value, zeroed at first.
 */
#ifndef LOADGEN_CONVERSATION_H
#define LOADGEN_CONVERSATION_H

#include <stddef.h>

#include "message.h"

struct conversation {
	struct message *said; /* oldest first; texts owned */
	size_t n, cap;
};

/* A new one, in which `lead` stands in front. */
void conversation_begin(struct conversation *c, const struct message *lead, size_t n_lead);
void conversation_add(struct conversation *c, const char *role, const char *text, size_t len);
void conversation_release(struct conversation *c);

#endif
