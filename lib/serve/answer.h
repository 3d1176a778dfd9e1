/*
 * An answer in the making, between api_answer.c, which knows the engine, and answer_out.c, which
 * knows what leaves. Nobody else's.
 */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "api.h"
#include "form.h"
#include "wire.h"

#define MAX_NAME 128 /* of a client's X-Request-Id */

/* What the engine says of a request by now. */
struct progress {
	int32_t cached_tokens;
	double prefill_s, decode_s;
};

/* What an answer needs again that is not a plain stream. */
struct kept {
	struct buf whole;	       /* all the text */
	int32_t *tokens;	       /* all the ids; from the end on */
	struct token_logprob *logprob; /* of all tokens, if they were asked for; from the end on */
	int64_t text_offset;	       /* of the last token's text, in characters ... */
	int64_t event_offset;	       /* ... and of the first one's in its event */
};

/* What each token reads stands first: with many streams it is cache lines that a token costs. */
struct choice {
	struct answer *answer;
	struct form event; /* stream: of a token that is not the last */
	const char *echo;  /* still to be put before the first token, or NULL */
	int32_t n_tokens, last_token;
	int32_t held;  /* of one step, whose text waits for that of the last */
	bool ended;    /* for the client */
	bool has_role; /* its role event has left, or there is none */
	struct text_stream text;

	struct genreq *r; /* NULL once the engine has let go of it */
	int index;
	enum genreq_finish finish;
	int stop;		/* which stop string, or -1 */
	struct progress at_end; /* once it has ended */
	struct kept *kept;	/* or NULL */
};

struct answer {
	struct api *a;
	struct http_exchange *x; /* NULL once it has ended */
	struct outlet *outlet;	 /* or NULL: the exchange itself takes what leaves */
	const struct api_dialect *d;
	unsigned flags; /* of its forms */
	int n_choices;
	int n_open; /* choices that have not ended for the client */
	int n_live; /* requests that the engine still has */
	struct api_request q;
	int64_t created_s;
	char *id;
	char *name; /* the client's own for it, or NULL */
	struct choice choice[];
};

static inline const struct api_prompt *answer_prompt(const struct choice *c)
{
	return &c->answer->q.prompt[c->index / c->answer->q.n];
}

static inline bool answer_has_logprobs(const struct answer *w)
{
	return w->flags & FORM_FLAG('l');
}

struct progress answer_progress(const struct genreq *r);

/* What was asked for of the probabilities of n tokens from `first` on. */
struct logprob_rows answer_logprobs(const struct choice *c, int32_t first, int32_t n);

/* The event of a choice's tokens, made ready. */
void answer_prepare(struct choice *c);

/* A stream: its head; one token, `text` of which may leave now, and the end of its choice if that
 * has come; when all choices have ended, the rest. After the last, w->x is NULL. */
void answer_begin(struct answer *w, void (*on_gone)(void *owner));
void answer_token(struct choice *c, const struct buf *text);
void answer_end_stream(struct answer *w);

/* No stream: all of it. w->x is NULL after it. */
void answer_body(struct answer *w);

/* Instead of the rest: an error, in the form that fits what the client has already got. */
void answer_fail(struct answer *w, enum refusal kind, const char *why);

#endif
