/*
 * From a row of logits to a token, by serve/sampling.h. Counter-based: the draw for output token i
 * of a request depends on its seed and i alone, so neither batching nor recomputation changes an
 * answer. Pure; any thread, a scratch each.
 */
#ifndef MODEL_SAMPLER_H
#define MODEL_SAMPLER_H

#include <stdint.h>

#include "serve/genreq.h"

struct sampler; /* scratch for a vocabulary's size */

struct sampler *sampler_new(int32_t n_vocab);
void sampler_free(struct sampler *s);

/* The next token of r, whose tokens so far are r->tokens[0 .. r->n_tokens). logits: n_vocab,
 * changed on the way. end_ids are not drawn before r->min_tokens. logprobs: room for 1 +
 * n_logprobs, filled if r->sampling asks for it; the chosen token first, then the likeliest in
 * order. */
int32_t sampler_pick(struct sampler *s, const struct genreq *r, float *logits,
		     const int32_t *end_ids, int32_t n_end_ids, struct token_logprob *logprobs);

/* The logarithm of token's probability, of the logits as they are. */
float sampler_logprob(const struct sampler *s, const float *logits, int32_t token);

#endif
