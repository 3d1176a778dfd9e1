/*
 * A text codec without a model: deterministic words <-> token ids, made so that lengths are right.
 * Stateless.
 *
 * How it counts. Text is cut into runs of letters (bytes above 0x7f are letters), runs of digits,
 * runs of white space, and single other bytes. A blank before a run belongs to that run, as in the
 * byte-pair vocabularies of real models.
 *
 *     letters      one if the run is among the codec's 441 words, in lower case or capitalised;
 *                  else one for every 7 bytes begun
 *     digits       one for every 3 begun
 *     white space  one for every 16 begun, after the blank that belongs to what follows
 *     other        one a byte, but a chat template's mark, <|name|>, is one
 *
 * On the English prompts and answers of scenarios/prompts that makes 1.30 tokens a word and 4.1
 * characters a token: what vocabularies of 32k to 128k entries make of such text.
 *
 * Ids: [0, 256) single bytes, then the words, then the words capitalised; the rest of the
 * vocabulary belongs to all other pieces, by hash. Bytes and words decode to what they were, so an
 * answer of ours that comes back inside the next prompt has the ids it was made of, and a prefix
 * cache hits. Of a hashed piece only the number is left: it decodes to "<number>".
 */
#ifndef FAKEENGINE_WORDCODEC_H
#define FAKEENGINE_WORDCODEC_H

#include <stdint.h>

#include "serve/textcodec.h"

#define WORDCODEC_VOCAB 131072

/* It has no end-of-sequence token: simulated answers end by genreq.eos_after. */
extern const struct textcodec wordcodec;

/* encode(), and where in text each token's bytes end: a blank before a piece belongs to it, blanks
 * at the end of text to the last one. Ends lie between characters of UTF-8; a token of which all
 * bytes belong to a character that is not complete has none. */
void wordcodec_split(const char *text, size_t len, struct token_list *out, struct token_list *ends);

/* The id at place `index` of the filler text that belongs to seed: words in sentences, no two
 * punctuation marks side by side, the first word of a sentence capitalised. A pure function:
 * recomputing a preempted answer changes nothing. */
int32_t wordcodec_filler(uint64_t seed, int32_t index);

/* n of them, from place `index` on. */
void wordcodec_filler_run(uint64_t seed, int32_t index, int32_t n, int32_t *out);

#endif
