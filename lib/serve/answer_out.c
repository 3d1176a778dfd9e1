/*
 * Owns what leaves of an answer, and in which order: the roles, the tokens, the ends, what follows
 * them. Loop thread. Must not know the engine, nor what a form says (wire.h).
 */
#include "answer.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/units.h"

/* ---- where it leaves ---- */

static void leave(struct answer *w, enum outlet_event what, const struct buf *b, bool more)
{
	if (w->outlet)
		w->outlet->type->event(w->outlet, what, buf_head(b), buf_size(b), more);
	else if (more)
		http_stream_hold(w->x, buf_head(b), buf_size(b));
	else
		http_stream_write(w->x, buf_head(b), buf_size(b));
}

static void leave_end(struct answer *w)
{
	if (w->outlet)
		w->outlet->type->end(w->outlet);
	else
		http_stream_end(w->x, NULL, 0);
	w->outlet = NULL;
	w->x = NULL;
}

static void leave_whole(struct answer *w, const char *extra, const struct buf *b)
{
	const char *type = w->a->c.wire->json_type;

	if (w->outlet)
		w->outlet->type->reply(w->outlet, w->x, type, extra, buf_head(b), buf_size(b));
	else
		http_reply(w->x, 200, type, extra, buf_head(b), buf_size(b));
	w->outlet = NULL;
	w->x = NULL;
}

static void leave_done(struct answer *w)
{
	struct buf *b = &w->a->event;

	if (!w->d->done)
		return;
	buf_clear(b);
	buf_puts(b, w->d->done);
	leave(w, OUT_DONE, b, true);
}

/* ---- what leaves ---- */

static const char *finish_word(const struct choice *c)
{
	const struct finish_words *words = &c->answer->d->words;

	if (!c->ended)
		return NULL;
	if (c->finish == FINISH_LENGTH)
		return words->length;
	return c->stop >= 0 ? words->stop : words->eos;
}

struct logprob_rows answer_logprobs(const struct choice *c, int32_t first, int32_t n)
{
	const struct sampling *s = c->answer->q.sampling;
	struct logprob_rows rows = {.n_tokens = n, .codec = c->answer->a->c.codec};
	const struct token_logprob *all;

	if (!answer_has_logprobs(c->answer))
		return rows;
	all = c->ended ? c->kept->logprob : c->r->logprob;
	if (!all)
		return rows;
	rows.n_alternatives = s->n_logprobs;
	rows.entry = all + (int64_t)first * (1 + s->n_logprobs);
	return rows;
}

struct progress answer_progress(const struct genreq *r)
{
	return (struct progress){r->cached_tokens,
				 ns_to_s(r->first_token_ns - r->first_scheduled_ns),
				 ns_to_s(r->last_token_ns - r->first_token_ns)};
}

static struct form_values values_of(const struct choice *c)
{
	const struct answer *w = c->answer;
	const struct api *a = w->a;
	struct progress now = c->ended || !c->r ? c->at_end : answer_progress(c->r);

	return (struct form_values){
		.flags = w->flags,
		.ascii = a->c.wire->ascii,
		.id = w->id,
		.model = w->q.model,
		.engine = a->c.engine_name,
		.fingerprint = a->fingerprint,
		.created_s = w->created_s,
		.index = c->index,
		.prompt = answer_prompt(c)->text,
		.prompt_id = answer_prompt(c)->tokens.id,
		.prompt_tokens = answer_prompt(c)->tokens.n,
		.cached_tokens = now.cached_tokens,
		.max_tokens = w->q.max_tokens,
		.temperature = w->q.temperature,
		.seed = w->q.seed,
		.stops = &w->q.stops,
		.whole = c->kept ? buf_head(&c->kept->whole) : "",
		.whole_len = c->kept ? buf_size(&c->kept->whole) : 0,
		.token_id = c->r      ? c->r->tokens + c->r->n_prompt
			    : c->kept ? c->kept->tokens
				      : NULL,
		.completion_tokens = c->n_tokens,
		.prefill_s = now.prefill_s,
		.decode_s = now.decode_s,
		.finish = finish_word(c),
		.stop = c->ended && c->stop >= 0 ? w->q.stops.text[c->stop] : NULL,
	};
}

/* Of all choices together. */
static struct form_values total_of(const struct answer *w)
{
	struct form_values v = values_of(&w->choice[0]);

	v.prompt_tokens = v.cached_tokens = v.completion_tokens = 0;
	for (int i = 0; i < w->q.n_prompts; i++)
		v.prompt_tokens += w->q.prompt[i].tokens.n;
	for (int i = 0; i < w->n_choices; i++) {
		v.completion_tokens += w->choice[i].n_tokens;
		if (i % w->q.n == 0)
			v.cached_tokens += w->choice[i].at_end.cached_tokens;
	}
	return v;
}

static void put_role(struct choice *c, struct buf *b)
{
	struct form_values v = values_of(c);

	v.completion_tokens = 0;
	form_put(b, c->answer->d->role, &v);
	c->has_role = true;
}

/* The first events bear the role: those of all choices with the first token of any, or each before
 * its own, even in one chunk with it. Leaves in `b` what the next event is to be put behind. */
static void send_roles(struct choice *c, struct buf *b)
{
	struct answer *w = c->answer;

	buf_clear(b);
	if (c->has_role)
		return;
	for (int i = 0; w->d->roles_together && i < w->n_choices; i++) {
		buf_clear(b);
		put_role(&w->choice[i], b);
		leave(w, OUT_ROLE, b, true);
	}
	if (!w->d->roles_together) {
		put_role(c, b);
		if (w->d->role_joins)
			return;
		leave(w, OUT_ROLE, b, true);
	}
	buf_clear(b);
}

/* Nearly every token of most servers: its text in the middle of a prepared event. */
static void plain_token(struct answer *w, struct choice *c, const struct buf *text)
{
	const struct form_values v = {
		.ascii = w->a->c.wire->ascii, .text = buf_head(text), .len = buf_size(text)};
	struct buf *b = &w->a->event;

	if (v.len == 0 && !w->d->shows_nothing)
		return;
	buf_clear(b);
	form_fill(&c->event, &v, b);
	leave(w, OUT_TOKEN, b, false);
}

/* Only tokens in the middle have their event prepared. */
void answer_token(struct choice *c, const struct buf *text)
{
	const struct api_dialect *d = c->answer->d;
	struct answer *w = c->answer;
	struct buf *b = &w->a->event;
	struct form_values v;
	bool over = w->n_open == 0;

	if (!c->ended && !c->echo && c->has_role && c->event.text_only) {
		plain_token(w, c, text);
		return;
	}
	send_roles(c, b);
	v = values_of(c);
	v.text = buf_head(text);
	v.len = buf_size(text);
	v.token = c->last_token;
	v.logprobs = answer_logprobs(c, c->n_tokens - 1 - c->held, 1 + c->held);
	v.text_offset = c->kept ? c->kept->event_offset : 0;
	if (c->echo)
		v.flags |= FORM_FLAG('e');
	if (c->ended && c->stop >= 0)
		v.flags |= FORM_FLAG('t');
	if (c->ended && d->last) {
		form_put(b, d->last, &v);
		leave(w, OUT_LAST, b, over);
		return;
	}
	if (buf_size(text) > 0 || (c->ended ? d->shows_stop && c->stop >= 0 : d->shows_nothing)) {
		if (c->echo || c->ended)
			form_put(b, d->token, &v);
		else
			form_fill(&c->event, &v, b);
	}
	if (buf_size(b) > 0) /* or else it was the role alone */
		leave(w, OUT_TOKEN, b, c->ended);
	if (!c->ended)
		return;
	buf_clear(b);
	form_put(b, d->end, &v);
	leave(w, OUT_LAST, b, over);
}

/* The extra line of the head, or NULL. */
static const char *name_header(const struct answer *w, char out[MAX_NAME + 32])
{
	if (!w->name)
		return NULL;
	snprintf(out, MAX_NAME + 32, "x-request-id: %s\r\n", w->name);
	return out;
}

void answer_body(struct answer *w)
{
	char extra[MAX_NAME + 32];
	struct form_values v = total_of(w);
	struct buf b;

	buf_init(&b, SIZE_MAX);
	form_put(&b, w->d->body, &v);
	for (int i = 0; i < w->n_choices; i++) {
		struct form_values one = values_of(&w->choice[i]);

		if (i > 0)
			buf_putc(&b, ',');
		one.text = one.whole;
		one.len = one.whole_len;
		one.logprobs = answer_logprobs(&w->choice[i], 0, w->choice[i].n_tokens);
		if (w->q.echo)
			one.flags |= FORM_FLAG('e');
		form_put(&b, w->d->body_choice, &one);
	}
	form_put(&b, w->d->body_end, &v);
	leave_whole(w, name_header(w, extra), &b);
	buf_release(&b);
}

/* What is left goes out in one send with the last event. */
void answer_end_stream(struct answer *w)
{
	struct buf *b = &w->a->event;

	if (w->q.include_usage && w->d->usage) {
		struct form_values v = total_of(w);

		buf_clear(b);
		form_put(b, w->d->usage, &v);
		leave(w, OUT_USAGE, b, true);
	}
	leave_done(w);
	leave_end(w);
}

void answer_prepare(struct choice *c)
{
	const struct form_values v = values_of(c);

	form_prepare(&c->event, c->answer->d->token, &v);
}

void answer_begin(struct answer *w, void (*on_gone)(void *owner))
{
	const char *type = w->a->c.wire->stream_type;
	char extra[MAX_NAME + 32];
	const char *line = name_header(w, extra);

	if (w->outlet)
		w->outlet->type->begin(w->outlet, w->x, type, line, w, on_gone);
	else
		http_stream_begin(w->x, 200, type, line);
	if (w->d->opening && w->q.n_prompts > 1) {
		buf_clear(&w->a->event);
		buf_puts(&w->a->event, w->d->opening);
		leave(w, OUT_ROLE, &w->a->event, false);
	}
}

void answer_fail(struct answer *w, enum refusal kind, const char *why)
{
	struct buf *b = &w->a->event;
	struct http_exchange *x = w->x;
	struct api_error e;

	api_refuse(&e, kind, NULL, "%s", why);
	if (!w->q.stream) {
		w->x = NULL;
		if (w->outlet)
			w->outlet->type->drop(w->outlet);
		w->outlet = NULL;
		api_error_reply(w->a, x, &e);
		return;
	}
	buf_clear(b);
	api_error_event(w->a->c.wire, &e, b);
	leave(w, OUT_ERROR, b, true);
	leave_done(w);
	leave_end(w);
}
