/*
 * Owns the answers in the making. Loop thread. Must not know which fields an event has
 * (api_events.h) nor how requests are read.
 *
 * Two ends hold an answer: the exchange (until it has ended, or its peer is gone) and the engine
 * (until on_done has come for each request). It is freed when both have let go. A choice may be
 * over for the client while the engine still computes it: a stop string is found here, and the step
 * under way cannot be called back.
 */
#include "api_answer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_events.h"
#include "api_genreq.h"
#include "base/check.h"
#include "base/die.h"

#define MAX_NAME 128 /* of a client's X-Request-Id */

struct choice {
	struct answer *answer;
	struct genreq *r; /* NULL once the engine has let go of it */
	int index;
	bool ended; /* for the client */
	enum genreq_finish finish;
	int stop; /* which stop string, or -1 */
	int32_t n_tokens;
	struct text_stream text;
	struct sse_template event; /* stream: of a token that is not the last */
	struct buf whole;	   /* no stream: all the text */
	const char *echo;	   /* still to be put before the first token, or NULL */
};

struct answer {
	struct api *a;
	struct http_exchange *x; /* NULL once it has ended */
	struct api_request q;
	struct answer_head head;
	char *id;
	bool named; /* by the client: it gets its X-Request-Id back */
	struct usage usage;
	bool role_sent;
	int n_choices;
	int n_open; /* choices that have not ended for the client */
	int n_live; /* requests that the engine still has */
	struct choice choice[];
};

static void answer_free_if_over(struct answer *w)
{
	if (w->x || w->n_live > 0)
		return;
	for (int i = 0; i < w->n_choices; i++) {
		text_stream_release(&w->choice[i].text);
		sse_template_release(&w->choice[i].event);
		buf_release(&w->choice[i].whole);
	}
	api_request_release(&w->q);
	free(w->id);
	free(w);
}

/* ---- what leaves ---- */

static struct choice_end end_of(const struct choice *c)
{
	return (struct choice_end){
		.finish_reason = genreq_finish_name(c->finish),
		.stop = c->stop >= 0 ? c->answer->q.stops.text[c->stop] : NULL,
	};
}

static const struct api_prompt *prompt_of(const struct choice *c)
{
	return &c->answer->q.prompt[c->index / c->answer->q.n];
}

/* The first events of a chat bear the role, one a choice, and leave with the first token of any of
 * them. */
static void hold_roles(struct answer *w)
{
	struct buf *b = &w->a->event;

	w->role_sent = true;
	for (int i = 0; i < w->n_choices && w->q.kind == API_CHAT; i++) {
		buf_clear(b);
		event_role(b, &w->head, i, prompt_of(&w->choice[i])->tokens.n);
		http_stream_hold(w->x, buf_head(b), buf_size(b));
	}
}

/* Makes the event that brings `text`, in w->a->event. Only tokens in the middle have theirs
 * prepared. */
static void make_event(struct choice *c, const struct buf *text)
{
	struct answer *w = c->answer;
	struct buf *b = &w->a->event;
	struct sse_values v = {
		.text = buf_head(text),
		.len = buf_size(text),
		.total_tokens = prompt_of(c)->tokens.n + c->n_tokens,
		.completion_tokens = c->n_tokens,
	};

	buf_clear(b);
	if (c->ended || c->echo) {
		const struct api_prompt *p = prompt_of(c);
		struct choice_end end = end_of(c);
		struct sse_template t;

		sse_template_init(&t);
		event_token(&t, &w->head, c->index, p->tokens.n, c->ended ? &end : NULL,
			    c->echo ? p->tokens.id : NULL, p->tokens.n);
		CHECK(sse_fill(&t, &v, b));
		sse_template_release(&t);
	} else {
		CHECK(sse_fill(&c->event, &v, b));
	}
}

/* The extra line of the head, or NULL. */
static const char *name_header(const struct answer *w, char out[MAX_NAME + 32])
{
	if (!w->named)
		return NULL;
	snprintf(out, MAX_NAME + 32, "x-request-id: %s\r\n", strchr(w->id, '-') + 1);
	return out;
}

/* All choices have ended. */
static void finish_body(struct answer *w)
{
	char extra[MAX_NAME + 32];
	struct buf b;

	buf_init(&b, SIZE_MAX);
	body_start(&b, &w->head);
	for (int i = 0; i < w->n_choices; i++) {
		struct choice *c = &w->choice[i];
		struct choice_end end = end_of(c);
		const struct api_prompt *p = prompt_of(c);

		body_choice(&b, &w->head, i, buf_head(&c->whole), buf_size(&c->whole), &end,
			    w->q.echo ? p->tokens.id : NULL, p->tokens.n);
	}
	body_end(&b, &w->head, &w->usage);
	http_reply(w->x, 200, "application/json", name_header(w, extra), buf_head(&b),
		   buf_size(&b));
	w->x = NULL;
	buf_release(&b);
}

/* The event just made is the last of its choice, and all choices have ended. All that is left goes
 * out in one send. */
static void finish_stream(struct answer *w)
{
	struct buf *b = &w->a->event;

	http_stream_hold(w->x, buf_head(b), buf_size(b));
	if (w->q.include_usage) {
		buf_clear(b);
		event_usage(b, &w->head, &w->usage);
		http_stream_hold(w->x, buf_head(b), buf_size(b));
	}
	http_stream_end(w->x, EVENT_DONE, strlen(EVENT_DONE));
	w->x = NULL;
}

/* The engine broke off: the client is told in the form that fits what it has already got. */
static void fail_exchange(struct answer *w, int status, const char *why)
{
	struct http_exchange *x = w->x;
	struct api_error e;

	w->x = NULL;
	api_refuse(&e, status, "InternalServerError", NULL, "%s", why);
	for (int i = 0; i < w->n_choices; i++) {
		struct choice *c = &w->choice[i];

		if (!c->ended && c->r)
			engine_cancel(w->a->engine, c->r, FINISH_ABORT);
		c->ended = true;
	}
	w->n_open = 0;
	if (!w->q.stream) {
		api_error_reply(x, &e);
		return;
	}
	buf_clear(&w->a->event);
	buf_puts(&w->a->event, "data: ");
	api_error_put(&w->a->event, &e);
	buf_puts(&w->a->event, "\n\n");
	http_stream_hold(x, buf_head(&w->a->event), buf_size(&w->a->event));
	http_stream_end(x, EVENT_DONE, strlen(EVENT_DONE));
}

/* ---- what comes from the engine ---- */

/* `shown` may leave now; the choice may have ended with it. */
static void show(struct choice *c, const struct buf *shown)
{
	struct answer *w = c->answer;

	if (w->q.stream) {
		if (!w->role_sent)
			hold_roles(w);
		make_event(c, shown);
		if (w->n_open == 0)
			finish_stream(w);
		else
			http_stream_write(w->x, buf_head(&w->a->event), buf_size(&w->a->event));
	} else {
		CHECK(buf_append(&c->whole, buf_head(shown), buf_size(shown)));
		if (w->n_open == 0)
			finish_body(w);
	}
	c->echo = NULL;
}

static void end_choice(struct choice *c, enum genreq_finish finish, int stop)
{
	c->ended = true;
	c->finish = finish;
	c->stop = stop;
	c->answer->n_open--;
	c->answer->usage.completion_tokens += c->n_tokens;
}

static void on_token(struct genreq *r, int32_t token, int64_t due_ns)
{
	struct choice *c = r->owner;
	struct answer *w = c->answer;
	const struct textcodec *codec = w->a->c.codec;
	struct buf *bytes = &w->a->bytes, *shown = &w->a->shown;
	/* Later tokens may have been made already; only the last one ends the answer. */
	bool last = r->finish != FINISH_NONE && c->n_tokens + 1 == genreq_output_tokens(r);
	bool is_end_mark = last && r->finish == FINISH_STOP && token == codec->eos_token;
	int stop;

	(void)due_ns;
	if (c->ended || !w->x)
		return;
	buf_clear(bytes);
	buf_clear(shown);
	if (c->echo)
		CHECK(buf_puts(shown, c->echo));
	if (!is_end_mark)
		CHECK(codec->decode(codec, token, c->n_tokens, bytes));
	c->n_tokens++;
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
	show(c, shown);
}

static void on_done(struct genreq *r)
{
	struct choice *c = r->owner;
	struct answer *w = c->answer;

	c->r = NULL;
	w->n_live--;
	if (!c->ended && w->x)
		fail_exchange(w, 500,
			      r->finish == FINISH_ERROR
				      ? "the engine failed while it computed this answer"
				      : "the engine broke this answer off");
	genreq_free(r);
	answer_free_if_over(w);
}

static const struct engine_sink sink = {.on_token = on_token, .on_done = on_done};

/* The client left: nobody needs the rest. */
static void on_gone(void *owner)
{
	struct answer *w = owner;

	w->x = NULL;
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
			return api_refuse(e, 429, "TooManyRequestsError", NULL, "%s", why.msg);
		return api_refuse(e, 400, API_BAD_VALUE, NULL, "%s", why.msg);
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

static struct answer *answer_new(struct api *a, struct http_exchange *x, struct api_request *q,
				 const char *name)
{
	int n = q->n * q->n_prompts;
	struct answer *w = xcalloc(1, sizeof(*w) + (size_t)n * sizeof(w->choice[0]));

	w->a = a;
	w->x = x;
	w->q = *q;
	w->id = xasprintf("%s-%s", q->kind == API_CHAT ? "chatcmpl" : "cmpl", name);
	w->head = (struct answer_head){
		.kind = q->kind,
		.id = w->id,
		.model = q->model,
		.fingerprint = a->fingerprint,
		.created_s = time(NULL),
		.include_usage = q->include_usage,
		.continuous_usage = q->continuous_usage,
	};
	for (int i = 0; i < q->n_prompts; i++)
		w->usage.prompt_tokens += q->prompt[i].tokens.n;
	w->n_choices = w->n_open = n;
	for (int i = 0; i < n; i++) {
		struct choice *c = &w->choice[i];

		c->answer = w;
		c->index = i;
		c->stop = -1;
		c->echo = q->echo ? prompt_of(c)->text : NULL;
		/* A forced length is kept even where a stop string would end the answer. */
		text_stream_init(&c->text, a->c.forced_tokens > 0 ? NULL : &w->q.stops);
		buf_init(&c->whole, SIZE_MAX);
		sse_template_init(&c->event);
		if (q->stream) {
			event_token(&c->event, &w->head, i, prompt_of(c)->tokens.n, NULL, NULL, 0);
			sse_template_seal(&c->event);
		}
	}
	return w;
}

void answer_start(struct api *a, struct http_exchange *x, struct api_request *q)
{
	const char *given = client_name(x), *name = given;
	char made[17], extra[MAX_NAME + 32];
	struct api_error e;
	struct answer *w;

	if (!given) {
		snprintf(made, sizeof(made), "%016llx",
			 (unsigned long long)api_scramble(a->id_salt + a->next_id));
		name = made;
	}
	w = answer_new(a, x, q, name);
	w->named = given != NULL;
	if (!submit_all(w, name, http_received_ns(x), &e)) {
		api_error_reply(x, &e);
		on_gone(w); /* what was taken already is taken back */
		return;
	}
	http_set_owner(x, w, on_gone);
	http_drop_request(x);
	drop_prompts(w);
	if (w->q.stream)
		http_stream_begin(x, 200, "text/event-stream; charset=utf-8",
				  name_header(w, extra));
}
