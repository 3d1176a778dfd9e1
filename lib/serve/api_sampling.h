/*
 * The fields of a request that say how tokens are chosen and which probabilities are told, under
 * OpenAI's and vLLM's names. Pure.
 */
#ifndef SERVE_API_SAMPLING_H
#define SERVE_API_SAMPLING_H

#include "api_request.h"
#include "base/jsonx.h"

/* Into q->sampling. All of them are read and checked; an engine without logits (terms) has no use
 * for them, and refuses logprobs. */
bool api_read_sampling(const cJSON *o, const struct api_terms *terms, struct api_request *q,
		       struct api_error *e);

#endif
