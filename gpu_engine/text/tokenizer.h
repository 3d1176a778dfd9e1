/*
 * Text <-> ids by a vocabulary, as the model was trained to see it: special pieces split out first,
 * then BPE by rank (byte_bpe) or by score (spm). Deterministic, thread-safe but for the word cache
 * (one tokenizer a thread). Held by tests to the ids of the reference implementation.
 *
 * Text that is no UTF-8 is read as utf8_lossy.h mends it: nothing is refused, and what cannot be
 * read is seen by the model as U+FFFD.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>

#include "serve/textcodec.h"
#include "specials.h"
#include "vocab.h"

struct tokenizer; /* begins with a struct textcodec */

/* The vocab outlives it. chat: a template's name (chat.h), a file with a template's text, or NULL
 * for what the vocab brings. RC_INPUT: `chat` is neither. *warning gets a line if there is no
 * template or it was not recognised (chatml is then taken), or if the vocabulary lacks a mark of
 * it, else "". */
enum rc tokenizer_new(struct tokenizer **out, const struct vocab *v, const char *chat,
		      char warning[256], struct err *e);
void tokenizer_free(struct tokenizer *t);

/* encode: a prompt as /v1/completions has it: with BOS if the model wants one, and with control
 * pieces read only as the text they are. No EOS is put behind it: the model is to go on.
 * chat: a conversation by its template.
 * decode: control pieces are no text, as with vLLM's skip_special_tokens; of SPM's the blank at the
 * beginning of the output is left out; an id beyond the vocabulary (padding of the weights) is
 * nothing. */
const struct textcodec *tokenizer_codec(const struct tokenizer *t);

const struct vocab *tokenizer_vocab(const struct tokenizer *t);

/* The name of the conversation's shape. */
const char *tokenizer_chat_name(const struct tokenizer *t);

/* control: pieces of the kind PIECE_CONTROL in the text become their ids (a template's own marks);
 * bos: the one in front, if the model wants one; space: the prefix blank of SPM, if it has one. */
void tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool control,
		      bool bos, bool space, struct token_list *out);

/* The same for a text of which only some spans are trusted with control pieces; the words are those
 * of the whole, whatever the spans. The spans' places hold only if the text is UTF-8, so it has to
 * be. */
void tokenizer_encode_spans(const struct tokenizer *t, const char *text, size_t len,
			    const struct text_span *trusted, int32_t n_trusted, bool space,
			    struct token_list *out);

#endif
