/*
 * From a request as it was read to what the engine computes: how many tokens it may make, from what
 * seed. Pure: whoever answers, over HTTP or in process, gets the same request.
 */
#ifndef SERVE_API_GENREQ_H
#define SERVE_API_GENREQ_H

#include <stdint.h>

#include "api.h"

/* The choice-th answer to q (n to each prompt, prompt by prompt) as request `id` of the engine. */
struct genreq *api_genreq_new(const struct api_config *c, const struct api_request *q, int choice,
			      uint64_t id, const char *name, int32_t max_len);

/* splitmix64's finaliser: ids and seeds that look unlike each other. */
uint64_t api_scramble(uint64_t v);

#endif
