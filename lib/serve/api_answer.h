/*
 * The answer to one exchange: one generation request in the engine a choice, and what leaves on the
 * wire as their tokens come. Frees itself once the exchange is over and the engine has let go of
 * every request.
 */
#ifndef SERVE_API_ANSWER_H
#define SERVE_API_ANSWER_H

#include "api.h"

/* Puts q's requests into the engine and answers x, in d's forms, sooner or later, whatever happens.
 * Takes what q owns, and the outlet, if there is one. */
void answer_start(struct api *a, struct http_exchange *x, struct api_request *q,
		  const struct api_dialect *d, struct outlet *outlet);

#endif
