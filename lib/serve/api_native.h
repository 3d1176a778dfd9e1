/*
 * The bodies of the engines' own APIs: llama.cpp's /completion, SGLang's /generate, TGI's /generate
 * and /generate_stream. Pure.
 */
#ifndef SERVE_API_NATIVE_H
#define SERVE_API_NATIVE_H

#include "api_request.h"
#include "base/jsonx.h"

/* out->kind says which. What is read is released with the request, whatever comes back. */
bool api_read_native(const cJSON *body, const struct api_terms *terms, struct api_request *out,
		     struct api_error *e);

#endif
