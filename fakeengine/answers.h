/*
 * What a simulated engine says, and for how long: words without sense, the prompt, or the answer
 * that a prompt set holds to it. The plan of an answer depends on the prompt and the request's
 * seed, not on when it comes.
 */
#ifndef FAKEENGINE_ANSWERS_H
#define FAKEENGINE_ANSWERS_H

#include <stdint.h>

#include "base/err.h"
#include "profile.h"
#include "serve/api_request.h"
#include "serve/genreq.h"

struct answers;

/* Reads the file of `text: reference=FILE`: LIMA's format, an object a line with
 * {"conversations": [asked, answered, ...]} and perhaps "reference_tokens", how long the first
 * answer is to be taken. RC_IO, RC_INPUT with file:line. p outlives it; seed: the engine's. */
enum rc answers_open(struct answers **out, const struct profile *p, uint64_t seed, struct err *e);
void answers_free(struct answers *a);

/* Before r is queued: how long its answer is, and where it is not words, what it says. A prompt
 * that the set does not hold gets one of its answers, the same each time. arg: struct answers;
 * p: with what was said (api_terms.keep_said), or NULL. */
void answers_plan(struct genreq *r, const struct api_prompt *p, void *arg);

/* The n tokens of r's answer from place index on. */
void answer_tokens(const struct genreq *r, int32_t index, int32_t n, int32_t *out);

#endif
