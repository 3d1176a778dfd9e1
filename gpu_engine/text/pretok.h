/*
 * Pre-tokenisation: where byte-level BPE may not merge across. A text is cut by a chain of
 * published patterns: each stage isolates its matches in the pieces that the stage before left
 * (engine.md section 2, "Pre-tokenisers"). The only user of PCRE2 here.
 *
 * `\s` in the patterns is Unicode's White_Space, as in the reference implementation; PCRE2's own
 * counts U+180E as well.
 */
#ifndef TEXT_PRETOK_H
#define TEXT_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define PRETOK_MAX_STAGES 3

/* A row of the table: names that mean the same chain. */
struct pretok_kind {
	const char *name[6]; /* the first is ours; NULL-terminated */
	const char *stage[PRETOK_MAX_STAGES + 1];
	/* What vocabularies of this kind want where their file does not say. */
	bool add_bos, ignore_merges;
	bool nfc; /* trained on text in Unicode's composed form */
};

/* By any of its names; RC_INPUT with the list. */
enum rc pretok_find(const struct pretok_kind **out, const char *name, struct err *e);

/* The kind whose only stage is this pattern; or NULL. */
const struct pretok_kind *pretok_by_pattern(const char *pattern);

struct pretok; /* compiled; one a thread */

struct pretok *pretok_new(const struct pretok_kind *k);
void pretok_free(struct pretok *p);

/* Calls word() for each piece, in order; together they are the text. It must be UTF-8. */
void pretok_split(const struct pretok *p, const char *text, size_t len,
		  void (*word)(void *arg, const char *s, size_t n), void *arg);

#endif
