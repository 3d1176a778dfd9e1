/*
 * From the prompts of a request, in all their forms, to token ids. Pure.
 */
#ifndef SERVE_API_PROMPT_H
#define SERVE_API_PROMPT_H

#include "api_request.h"
#include "base/jsonx.h"

/* `messages`: one prompt, which ends where the assistant's turn begins: by the codec's own chat(),
 * or in the ChatML form. */
bool api_read_messages(const cJSON *body, const struct api_terms *terms, struct api_request *q,
		       struct api_error *e);

/* `key`: a string, an array of strings, an array of token ids, or an array of such arrays. */
bool api_read_prompts(const cJSON *body, const char *key, const struct api_terms *terms,
		      struct api_request *q, struct api_error *e);

#endif
