/*
 * An answer that is known beforehand, token by token with its bytes: what a simulated model
 * recites. From its end it begins again, so that an answer may be as long as is asked. Shared by
 * counting, for many requests may recite the same; one thread.
 */
#ifndef SERVE_SCRIPT_H
#define SERVE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "textcodec.h"

struct script {
	int holders;
	char *text;
	struct token_list tokens; /* at least one */
	struct token_list ends;	  /* where in text each token's bytes end */
};

/* text is copied; tokens and ends are taken over, and zeroed. The maker holds it. */
struct script *script_new(const char *text, size_t len, struct token_list *tokens,
			  struct token_list *ends);
struct script *script_hold(struct script *s); /* returns s */
void script_drop(struct script *s);	      /* NULL legal; the last holder frees it */

/* The token at that place of the answer, from 0. */
static inline int32_t script_token(const struct script *s, int32_t index)
{
	return s->tokens.id[index % s->tokens.n];
}

/* Appends its bytes; a blank before each repetition. False at the cap of b. */
bool script_put(const struct script *s, int32_t index, struct buf *b);

#endif
