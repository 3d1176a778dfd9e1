/*
 * Chat templates without a template language: a known template is recognised by a mark in its text
 * and its shape is a row of a table here (engine.md, "Chat templates"). Control marks become
 * special ids; what a user says, and what a client calls a role, never does.
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "base/buf.h"
#include "base/err.h"
#include "tokenizer.h"

struct chat_shape; /* a row */

/* By name; RC_INPUT with the list of names. */
enum rc chat_shape_find(const struct chat_shape **out, const char *name, struct err *e);

/* By the marks in a template's text; NULL = not recognised. */
const struct chat_shape *chat_shape_sniff(const char *text);

const char *chat_shape_name(const struct chat_shape *s);

/* The shape for want of a better one. */
const struct chat_shape *chat_shape_chatml(void);

/* A mark of the shape that the vocabulary has not as a special piece, so that it would be read as
 * the letters it is made of; or NULL. */
const char *chat_shape_missing_mark(const struct chat_shape *s, const struct vocab *v);

/* The system message that a template's text puts there if a conversation brings none, the caller's
 * to free; or NULL. */
char *chat_default_system(const struct chat_shape *s, const char *text);

/* A conversation written out: its text, and which spans of it are the template's own. */
struct chat_text {
	struct buf text;
	struct text_span *span;
	int32_t n_spans;
};

/* Everything up to where the assistant's turn begins. default_system: or NULL. bos: begin with the
 * vocabulary's first token where the shape leaves that open. */
void chat_write(const struct chat_shape *s, const struct vocab *v, const char *default_system,
		bool bos, const struct chat_message *m, int32_t n, struct chat_text *out);
void chat_text_release(struct chat_text *t);

/* The same, appended as ids. */
void chat_encode(const struct chat_shape *s, const struct tokenizer *t, const char *default_system,
		 bool bos, const struct chat_message *m, int32_t n, struct token_list *out);

#endif
