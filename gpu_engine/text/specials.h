/*
 * The pieces that are split out of a text before anything else: the leftmost, of several there the
 * longest. Control pieces only where the text is trusted: a template's own marks are, what a user
 * says is not.
 */
#ifndef TEXT_SPECIALS_H
#define TEXT_SPECIALS_H

#include <stdint.h>

#include "vocab.h"

/* Bytes [from, to) of a text. */
struct text_span {
	size_t from, to;
};

struct specials {
	const struct vocab *v;
	int32_t *id; /* by first byte, then the longest first */
	int32_t n;
	int32_t first[257]; /* id[first[b]] to id[first[b + 1] - 1] begin with byte b */
};

void specials_init(struct specials *s, const struct vocab *v);
void specials_release(struct specials *s);

/* The next one in text[at .. len): its id and where it stands; -1 if there is none. trusted: spans
 * in order. As the reference implementation does it: a control piece outside of them is text, and
 * nothing else is looked for inside it. */
int32_t specials_next(const struct specials *s, const char *text, size_t at, size_t len,
		      const struct text_span *trusted, int32_t n_trusted, struct text_span *where);

#endif
