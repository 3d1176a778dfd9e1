/*
 * Text <-> ids by a vocabulary, as the model was trained to see it: special pieces split out first,
 * then BPE by rank (byte_bpe) or by score (spm). Deterministic, thread-safe but for the word cache
 * (one tokenizer a thread). Held by tests to the ids of the reference implementation.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>

#include "serve/textcodec.h"
#include "vocab.h"

struct tokenizer; /* begins with a struct textcodec */

/* The vocab outlives it. chat: a template's name (chat.h), a file with a template's text, or NULL
 * for what the vocab brings. *warning gets a line if the template was not recognised (chatml is
 * then taken), else "". */
enum rc tokenizer_new(struct tokenizer **out, const struct vocab *v, const char *chat,
		      char warning[256], struct err *e);
void tokenizer_free(struct tokenizer *t);

/* encode: a prompt as /v1/completions has it: with BOS if the model wants one, and with control
 * pieces read only as the text they are. chat: a conversation by its template. */
const struct textcodec *tokenizer_codec(const struct tokenizer *t);

/* control: pieces of the kind PIECE_CONTROL in the text become their ids (a template's own marks);
 * bos: the one in front, if the model wants one; space: the prefix blank of SPM, if it has one. */
void tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool control,
		      bool bos, bool space, struct token_list *out);

#endif
