/*
 * Remembers the ids of words: most of a text is words that came before. Bounded; when it is full it
 * forgets everything and starts over. One a thread.
 */
#ifndef TEXT_WORD_CACHE_H
#define TEXT_WORD_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define WORD_CACHE_MAX_LEN 64 /* bytes of a word that is remembered */

struct word_cache;

struct word_cache *word_cache_new(void);
void word_cache_free(struct word_cache *c);

/* The ids of a word, valid until the next put; NULL if it is not known. */
const int32_t *word_cache_get(const struct word_cache *c, const char *word, size_t len, int32_t *n);

/* A word that is not in it, n > 0. One too long to be kept is passed over. */
void word_cache_put(struct word_cache *c, const char *word, size_t len, const int32_t *id,
		    int32_t n);

#endif
