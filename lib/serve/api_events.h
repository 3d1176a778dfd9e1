/*
 * The JSON of answers, field by field in the order of vLLM's: what one event of a stream looks
 * like, and a whole body. Pure: values in, bytes out.
 */
#ifndef SERVE_API_EVENTS_H
#define SERVE_API_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "api_request.h"
#include "sse_out.h"

/* What all events of an answer have in common. */
struct answer_head {
	enum api_kind kind;
	const char *id; /* with its prefix */
	const char *model;
	const char *fingerprint;
	int64_t created_s;
	bool include_usage, continuous_usage;
};

struct usage {
	int64_t prompt_tokens, completion_tokens;
};

/* How a choice ended. */
struct choice_end {
	const char *finish_reason;
	const char *stop; /* the stop string that ended it, or NULL */
};

/* Makes t the event of a token of choice `index`; its holes are the text and, with continuous
 * usage, the counts. end: it is the last one of the choice; NULL otherwise. prompt_ids: n_prompt of
 * them, shown by the first event of an echo; NULL otherwise. */
void event_token(struct sse_template *t, const struct answer_head *h, int index,
		 int64_t prompt_tokens, const struct choice_end *end, const int32_t *prompt_ids,
		 int32_t n_prompt);

/* Append one whole event. */
void event_role(struct buf *b, const struct answer_head *h, int index, int64_t prompt_tokens);
void event_usage(struct buf *b, const struct answer_head *h, const struct usage *u);

#define EVENT_DONE "data: [DONE]\n\n"

/* A whole body: head, choices, tail. */
void body_start(struct buf *b, const struct answer_head *h);
void body_choice(struct buf *b, const struct answer_head *h, int index, const char *text,
		 size_t len, const struct choice_end *end, const int32_t *prompt_ids,
		 int32_t n_prompt);
void body_end(struct buf *b, const struct answer_head *h, const struct usage *u);

#endif
