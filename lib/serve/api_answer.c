/*
 * Owns the answers in the making. Loop thread. Must not know what an event looks like
 * (wire.h) nor how requests are read.
 *
 * Two ends hold an answer: the exchange (until it has ended, or its peer is gone) and the engine
 * (until on_done has come for each request). It is freed when both have let go. A choice may be
 * over for the client while the engine still computes it: a stop string is found here, and the step
 * under way cannot be called back.
 */
#include "api_answer.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer.h"
#include "api_genreq.h"
#include "base/check.h"
#include "base/die.h"
#include "base/prefetch.h"
#include "base/units.h"
#include "script.h"

static struct kept *kept_new(void)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	buf_init(&k->whole, SIZE_MAX);
	return k;
}

static void kept_free(struct kept *k)
{
	if (!k)
		return;
	free(k->tokens);
	free(k->logprob);
	buf_release(&k->whole);
	free(k);
}

static void answer_free_if_over(struct answer *w)
{
	if (w->x || w->n_live > 0)
		return;
	for (int i = 0; i < w->n_choices; i++) {
		text_stream_release(&w->choice[i].text);
		form_release(&w->choice[i].event);
		kept_free(w->choice[i].kept);
	}
	api_request_release(&w->q);
	free(w->id);
	free(w->name);
	free(w);
}

/* ---- what comes from the engine ---- */

/* `shown` may leave now; the choice may have ended with it. */
static void show(struct choice *c, const struct buf *shown)
{
	struct answer *w = c->answer;

	const bool stream = w->flags & FORM_FLAG('s');

	if (!stream || w->d->keeps_whole)
		CHECK(buf_append(&c->kept->whole, buf_head(shown), buf_size(shown)));
	if (stream)
		answer_token(c, shown);
	c->echo = NULL;
	if (w->n_open > 0)
		return;
	if (stream)
		answer_end_stream(w);
	else
		answer_body(w);
}

static void end_choice(struct choice *c, enum genreq_finish finish, int stop)
{
	struct genreq *r = c->r;

	c->ended = true;
	c->finish = finish;
	c->stop = stop;
	c->answer->n_open--;
	/* The engine lets go of all this before the answer may. */
	c->at_end = answer_progress(r);
	if (answer_has_logprobs(c->answer)) {
		c->kept->logprob = r->logprob;
		r->logprob = NULL;
		r->n_logprobs = r->cap_logprobs = 0;
	}
	if (c->answer->d->keeps_tokens) {
		c->kept->tokens = xreallocarray(NULL, (size_t)c->n_tokens, sizeof(int32_t));
		memcpy(c->kept->tokens, r->tokens + r->n_prompt,
		       (size_t)c->n_tokens * sizeof(int32_t));
	}
}

/* Where the latest token's text stands. */
static void note_offset(struct choice *c)
{
	struct logprob_rows last;

	if (c->n_tokens >= 2) {
		last = answer_logprobs(c, c->n_tokens - 2, 1);
		c->kept->text_offset += logprobs_text_length(&last);
	}
	if (c->held == 0)
		c->kept->event_offset = c->kept->text_offset;
}

/* The engine broke off: nobody waits for the rest. */
static void fail_exchange(struct answer *w, enum refusal kind, const char *why)
{
	for (int i = 0; i < w->n_choices; i++) {
		struct choice *c = &w->choice[i];

		if (!c->ended && c->r)
			engine_cancel(w->a->engine, c->r, FINISH_ABORT);
		c->ended = true;
	}
	w->n_open = 0;
	answer_fail(w, kind, why);
}

/* Ends the answer and is no part of its text. */
static bool is_end_mark(const struct genreq *r, const struct textcodec *codec, int32_t token)
{
	if (r->finish != FINISH_STOP)
		return false;
	for (int32_t i = 0; r->sampling && i < r->sampling->n_stop_ids; i++)
		if (r->sampling->stop_id[i] == token)
			return true;
	return token == codec->eos_token;
}

static void on_token(struct genreq *r, int32_t token, int64_t due_ns, bool more)
{
	struct choice *c = r->owner;
	struct answer *w = c->answer;
	const struct textcodec *codec = w->a->c.codec;
	struct buf *bytes = &w->a->bytes, *shown = &w->a->shown;
	/* Later tokens may have been made already; only the last one ends the answer. */
	bool last = r->finish != FINISH_NONE && c->n_tokens + 1 == genreq_output_tokens(r);
	int stop;

	(void)due_ns;
	if (c->ended || !w->x)
		return;
	buf_clear(bytes);
	if (c->held == 0) {
		buf_clear(shown);
		if (c->echo)
			CHECK(buf_puts(shown, c->echo));
	}
	if (!last || !is_end_mark(r, codec, token))
		CHECK(r->script ? script_put(r->script, c->n_tokens, bytes)
				: codec->decode(codec, token, c->n_tokens, bytes));
	c->n_tokens++;
	c->last_token = token;
	if (answer_has_logprobs(w))
		note_offset(c);
	stop = text_stream_push(&c->text, buf_head(bytes), buf_size(bytes),
				c->n_tokens > r->min_tokens, shown);
	if (stop >= 0) {
		end_choice(c, FINISH_STOP, stop);
		if (!last)
			engine_cancel(w->a->engine, r, FINISH_STOP);
	} else if (last) {
		text_stream_end(&c->text, shown);
		end_choice(c, r->finish, -1);
	}
	if (more && !c->ended) {
		c->held++;
		return;
	}
	show(c, shown);
	c->held = 0;
}

static void on_done(struct genreq *r)
{
	struct choice *c = r->owner;
	struct answer *w = c->answer;
	/* A step that failed says nothing against the request: elsewhere it may be answered. */
	bool step_failed = r->finish == FINISH_ERROR && r->state == GENREQ_FAILED;

	c->r = NULL;
	w->n_live--;
	if (!c->ended && w->x)
		fail_exchange(w, step_failed ? REFUSE_UNREADY : REFUSE_ENGINE,
			      r->finish == FINISH_ERROR
				      ? "the engine failed while it computed this answer"
				      : "the engine broke this answer off");
	genreq_free(r);
	answer_free_if_over(w);
}

/* First the answer and its choice (the first one: most have no other), then what they point to. */
static void on_soon(const struct genreq *r, int calls_away)
{
	const struct choice *c = r->owner;

	if (calls_away == 2) {
		prefetch((const char *)c - sizeof(struct answer), CACHE_LINE_BYTES);
		prefetch(c, offsetof(struct choice, r));
		return;
	}
	prefetch(c->event.hole, form_bytes(&c->event));
	if (c->answer->x)
		http_prefetch(c->answer->x);
}

static const struct engine_sink sink = {
	.on_token = on_token, .on_done = on_done, .on_soon = on_soon};

/* The client left: nobody needs the rest. */
static void on_gone(void *owner)
{
	struct answer *w = owner;

	w->x = NULL;
	w->outlet = NULL;
	w->n_open = 0;
	for (int i = 0; i < w->n_choices; i++) {
		w->choice[i].ended = true;
		if (w->choice[i].r)
			engine_cancel(w->a->engine, w->choice[i].r, FINISH_ABORT);
	}
	answer_free_if_over(w);
}

/* ---- the start ---- */

/* What the client calls its request, if that can stand in a header, a log and an id. */
static const char *client_name(const struct http_exchange *x)
{
	const char *name = http_header(x, "x-request-id");
	size_t len = name ? strlen(name) : 0;

	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)name[i]))
			return NULL;
	return len > 0 && len <= MAX_NAME ? name : NULL;
}

static struct genreq *make_genreq(struct choice *c, const char *name)
{
	struct answer *w = c->answer;
	struct api *a = w->a;
	char numbered[MAX_NAME + 16];
	struct genreq *r;

	snprintf(numbered, sizeof(numbered), "%s-%d", name, c->index);
	r = api_genreq_new(&a->c, &w->q, c->index, a->next_id++, w->n_choices > 1 ? numbered : name,
			   a->terms.max_len);
	r->owner = c;
	return r;
}

/* All of the answer's requests, or none; e says why not. */
static bool submit_all(struct answer *w, const char *name, int64_t now_ns, struct api_error *e)
{
	for (int i = 0; i < w->n_choices; i++) {
		struct choice *c = &w->choice[i];
		struct err why;
		enum rc rc;

		c->r = make_genreq(c, name);
		rc = engine_submit(w->a->engine, c->r, &sink, now_ns, &why);
		if (rc == RC_OK) {
			w->n_live++;
			continue;
		}
		genreq_free(c->r);
		c->r = NULL;
		if (rc == RC_LIMIT)
			return api_refuse(e, REFUSE_BUSY, NULL, "%s", why.msg);
		return api_refuse(e, REFUSE_VALUE, NULL, "%s", why.msg);
	}
	return true;
}

/* The engine has its copies; here their lengths are enough, but for an echo. */
static void drop_prompts(struct answer *w)
{
	for (int i = 0; i < w->q.n_prompts && !w->q.echo; i++) {
		free(w->q.prompt[i].tokens.id);
		w->q.prompt[i].tokens.id = NULL;
	}
}

/* x: a hexadecimal digit, A: a letter or a digit. A client's own name goes behind the '-'. */
static char *make_id(const char *pattern, const char *name, uint64_t seed)
{
	static const char digits[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t prefix = strcspn(pattern, "-") + 1;
	char *id;

	if (name)
		return xasprintf("%.*s%s", (int)prefix, pattern, name);
	id = xstrdup(pattern);
	for (char *c = id; *c; c++) {
		if (*c != 'x' && *c != 'A')
			continue;
		seed = api_scramble(seed + 1);
		*c = digits[(seed >> 32) % (*c == 'x' ? 16 : 62)];
	}
	return id;
}

static unsigned flags_of(const struct api_request *q, int n_choices)
{
	bool logprobs = q->sampling && q->sampling->n_logprobs >= 0;

	return (q->include_usage ? FORM_FLAG('u') : 0) |
	       (q->continuous_usage ? FORM_FLAG('c') : 0) | (q->details ? FORM_FLAG('d') : 0) |
	       (n_choices > 1 ? FORM_FLAG('m') : 0) | (q->stream ? FORM_FLAG('s') : 0) |
	       (logprobs ? FORM_FLAG('l') : 0);
}

static struct answer *answer_new(struct api *a, struct http_exchange *x, struct api_request *q,
				 const struct api_dialect *d)
{
	int n = q->n * q->n_prompts;
	struct answer *w = xcalloc(1, sizeof(*w) + (size_t)n * sizeof(w->choice[0]));
	const char *name = a->c.wire->takes_request_id ? client_name(x) : NULL;

	w->a = a;
	w->x = x;
	w->d = d;
	w->q = *q;
	w->name = name ? xstrdup(name) : NULL;
	w->id = make_id(d->id, name, a->id_salt + a->next_id);
	w->flags = flags_of(q, n);
	w->created_s = time(NULL);
	w->n_choices = w->n_open = n;
	for (int i = 0; i < n; i++) {
		struct choice *c = &w->choice[i];

		c->answer = w;
		c->index = i;
		c->stop = -1;
		c->has_role = !d->role;
		c->echo = q->echo ? answer_prompt(c)->text : NULL;
		/* A forced length is kept even where a stop string would end the answer. */
		text_stream_init(&c->text, a->c.forced_tokens > 0 ? NULL : &w->q.stops);
		if (!q->stream || d->keeps_whole || d->keeps_tokens || answer_has_logprobs(w))
			c->kept = kept_new();
		form_init(&c->event);
		if (q->stream)
			answer_prepare(c);
	}
	return w;
}

void answer_start(struct api *a, struct http_exchange *x, struct api_request *q,
		  const struct api_dialect *d, struct outlet *outlet)
{
	const char *given = client_name(x);
	struct answer *w = answer_new(a, x, q, d);
	const char *dash = strchr(w->id, '-');
	struct api_error e;

	if (!given)
		given = dash ? dash + 1 : w->id;
	/* In the truth log a request goes by the client's name for it, whatever the wire does. */
	if (!submit_all(w, given, http_received_ns(x), &e)) {
		if (outlet)
			outlet->type->drop(outlet);
		api_error_reply(a, x, &e);
		on_gone(w); /* what was taken already is taken back */
		return;
	}
	w->outlet = outlet;
	http_set_owner(x, w, on_gone);
	http_drop_request(x);
	drop_prompts(w);
	if (w->q.stream)
		answer_begin(w, on_gone);
}
