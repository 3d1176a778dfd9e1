/*
 * Byte-level BPE: a word's bytes, each a piece of its own, merged by rank. Vocabularies spell a
 * byte as a printable character (GPT-2's map): here is the way there and back.
 */
#ifndef TEXT_BYTE_BPE_H
#define TEXT_BYTE_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "serve/textcodec.h"
#include "vocab.h"

/* Appends the bytes that a piece's spelling stands for; false, with b unchanged, if a character of
 * it stands for none. */
bool byte_bpe_unspell(const char *spelled, size_t len, struct buf *b);

struct byte_bpe;

struct byte_bpe *byte_bpe_new(const struct vocab *v); /* v outlives it */
void byte_bpe_free(struct byte_bpe *b);

/* Appends the ids of a word. A byte that is no piece becomes the unknown piece, or is left out
 * where there is none, as in the reference implementation. */
void byte_bpe_encode(struct byte_bpe *b, const char *word, size_t len, struct token_list *out);

#endif
