/*
 * From the bytes of tokens to text that may be shown: never cut inside a UTF-8 character, and never
 * showing what may still turn out to begin a stop string. What is shown does not depend on where
 * the tokens' borders lie.
 */
#ifndef SERVE_TEXT_STREAM_H
#define SERVE_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* The stop strings of a request, shared by its choices. */
struct stop_list {
	char **text;
	size_t *len; /* > 0 */
	size_t n;
};

void stop_list_add(struct stop_list *l, const char *text, size_t len); /* copies */
void stop_list_release(struct stop_list *l);

struct text_stream {
	const struct stop_list *stops;
	struct buf *held; /* not yet shown; NULL: nothing ever was, as in most streams */
};

void text_stream_init(struct text_stream *t, const struct stop_list *stops);
void text_stream_release(struct text_stream *t);

/* Takes the bytes of a token and appends to out what can be shown. Returns the index of the stop
 * string that is complete with them, or -1; the text shown then ends before it, and nothing is held
 * any more. Without `may_stop` (the answer has to be longer first) stop strings are not looked for.
 * Of two stop strings the one that is complete first counts, then the one that stands first in the
 * list. */
int text_stream_push(struct text_stream *t, const char *bytes, size_t len, bool may_stop,
		     struct buf *out);

/* The answer ends: the rest is shown, half a character included (as U+FFFD, once it is written as
 * JSON). */
void text_stream_end(struct text_stream *t, struct buf *out);

#endif
