/*
 * Answers are written from forms: the bytes a server sends, with names in the place of what
 * differs. A form that is used once a token is prepared once a request, and then filled in without
 * printing, searching or allocating.
 *
 *     data: {'id':'$id','choices':[{'delta':{'content':'$text'}}]$?c{,'usage':{...}$}}
 *
 * ' stands for a double quote; $name is a place (form.c has their table); $?x{ ... $} is there only
 * if flag x is set, $!x{ ... $} only if it is not. Flags: u usage was asked for; c ... in every
 * event; e the answer echoes its prompt; d details were asked for; m several choices; s a stream;
 * t a stop string was completed; l probabilities were asked for.
 */
#ifndef SERVE_FORM_H
#define SERVE_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "logprobs.h"
#include "text_stream.h"
#include "textcodec.h"

/* The words a protocol has for the end of an answer. */
struct finish_words {
	const char *eos, *stop, *length;
};

#define FORM_FLAG(letter) (1u << ((letter) - 'a'))

/* What may stand in a place. Fields that no place of the form asks for may be left out. */
struct form_values {
	unsigned flags; /* FORM_FLAG('u') | ... */
	bool ascii;	/* text is written with \u escapes for all that is not ASCII */

	/* of the answer */
	const char *id, *model, *engine, *fingerprint;
	int64_t created_s;
	int index;
	const char *prompt;	  /* its text */
	const int32_t *prompt_id; /* n_prompt of them; shown with flag e */
	int64_t prompt_tokens;	  /* of this choice, or of all of them where a form is about all */
	int64_t cached_tokens;
	int32_t max_tokens;
	double temperature;
	int64_t seed;
	const struct stop_list *stops;

	/* of the moment */
	const char *text; /* UTF-8; what is not becomes U+FFFD */
	size_t len;
	const char *whole; /* all the text so far */
	size_t whole_len;
	int32_t token;
	const int32_t *token_id; /* completion_tokens of them */
	int64_t completion_tokens;
	double prefill_s, decode_s;
	struct logprob_rows logprobs;
	int64_t text_offset;
	const char *finish; /* the protocol's word, or NULL */
	const char *stop;   /* the stop string that ended it, or NULL */

	/* of an error */
	const char *message, *type, *param;
	int status;
};

#define FORM_MAX_HOLES 12

/* A form whose lasting values are filled in. */
struct form {
	struct form_hole *hole; /* n_holes of them, and behind them the fixed parts, one after the
				   other: one block, since a token touches all of it */
	uint32_t len;		/* of the fixed parts */
	uint8_t n_holes;
	bool text_only; /* of the values, only the text and how it is written matter to it */
};

struct form_hole {
	uint32_t at; /* the hole lies before that byte of the fixed parts */
	uint8_t place;
};

static inline size_t form_bytes(const struct form *f)
{
	return f->n_holes * sizeof(*f->hole) + f->len;
}

void form_init(struct form *f);
void form_release(struct form *f);

/* For events before the end of their choice: what is said of the end, and of probabilities that
 * nobody asked for, stays as it is in v. */
void form_prepare(struct form *f, const char *text, const struct form_values *v);

/* Appends the bytes. b has no cap: what an answer may hold is bounded by its request. */
void form_fill(const struct form *f, const struct form_values *v, struct buf *b);

/* All at once, for forms that are used once. */
void form_put(struct buf *b, const char *text, const struct form_values *v);

/* NULL, or what is wrong with a form: the tests ask of every row. */
const char *form_check(const char *text);

#endif
