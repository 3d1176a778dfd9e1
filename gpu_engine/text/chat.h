/*
 * Chat templates without a template language: a known template is recognised by a mark in its text
 * and its shape is a row of a table here (engine.md, "Chat templates"). Control marks become
 * special ids; what a user says never does.
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "base/err.h"
#include "tokenizer.h"

struct chat_shape; /* a row */

/* By name; RC_INPUT with the list of names. */
enum rc chat_shape_find(const struct chat_shape **out, const char *name, struct err *e);

/* By the marks in a template's text; NULL = not recognised. */
const struct chat_shape *chat_shape_sniff(const char *text);

const char *chat_shape_name(const struct chat_shape *s);

/* Appends the conversation, to where the assistant's turn begins. default_system: what the template
 * puts there if the conversation brings no system message, read from the template's text; or NULL.
 */
void chat_encode(const struct chat_shape *s, const struct tokenizer *t, const char *default_system,
		 const struct chat_message *m, int32_t n, struct token_list *out);

#endif
