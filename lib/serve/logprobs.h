/*
 * How the probabilities of tokens are shown, in the two shapes of the OpenAI API. Pure.
 */
#ifndef SERVE_LOGPROBS_H
#define SERVE_LOGPROBS_H

#include <stdint.h>

#include "base/buf.h"
#include "sampling.h"
#include "textcodec.h"

/* What is known of n_tokens tokens: 1 + n_alternatives entries each, the chosen one first. entry
 * NULL: nobody asked. */
struct logprob_rows {
	const struct token_logprob *entry;
	int32_t n_tokens, n_alternatives;
	const struct textcodec *codec;
};

/* {"content":[{"token","logprob","bytes","top_logprobs":[...]}]}, or null. */
void logprobs_put_chat(struct buf *b, const struct logprob_rows *r);

/* {"text_offset":[],"token_logprobs":[],"tokens":[],"top_logprobs":[{}]}, or null. offset: in
 * characters, where the first of them stands in the text. */
void logprobs_put_text(struct buf *b, const struct logprob_rows *r, int64_t offset);

/* Characters of n tokens' texts, as text_offset counts them. */
int64_t logprobs_text_length(const struct logprob_rows *r);

#endif
