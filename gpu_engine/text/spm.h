/*
 * SentencePiece's BPE: a word's characters, blanks as U+2581, merged by the score of what they
 * become; by rank where the vocabulary lists its merges. Characters that are no piece become byte
 * pieces <0xXX>, or the unknown piece where those are missing.
 */
#ifndef TEXT_SPM_H
#define TEXT_SPM_H

#include <stddef.h>

#include "serve/textcodec.h"
#include "vocab.h"

#define SPM_BLANK "\xe2\x96\x81" /* U+2581 */

struct spm;

struct spm *spm_new(const struct vocab *v); /* v outlives it */
void spm_free(struct spm *s);

/* Calls word() for each piece of a text (UTF-8, blanks already U+2581) across whose borders no
 * merge reaches: at blanks, unless a piece of the vocabulary has one inside. */
void spm_split(const struct spm *s, const char *text, size_t len,
	       void (*word)(void *arg, const char *s, size_t n), void *arg);

/* Appends the ids of such a piece. */
void spm_encode(struct spm *s, const char *word, size_t len, struct token_list *out);

#endif
