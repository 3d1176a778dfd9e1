/*
 * Owns one request while it is under way: what has come, when, and the verdict on how it ended.
 * Loop thread; nothing allocates per token. Must not know sockets, load levels or files.
 *
 * A verdict (`finish`) marks the request as over and stops listening; on_end follows in the sweep
 * at the end of the loop's turn, when no callback of ours is on the stack any more.
 */
#include "request.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/die.h"
#include "request_form.h"

#define MAX_ANSWER_BYTES   (16u << 20) /* of an answer that is no stream */
#define MAX_FIRST_EVENTS   4096	       /* token events that get room before the first has come */
#define MAX_MORE_EVENTS	   (1 << 18)   /* beyond four times what was asked: it will never end */
#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

enum request_state { /* each may go to any below it, but STREAM and BODY exclude each other */
		     REQUEST_CONNECT, /* from the start: not written yet */
		     REQUEST_WAIT,    /* written, no response head yet */
		     REQUEST_STREAM,  /* 2xx, and events are coming */
		     REQUEST_BODY,    /* an answer of another kind, read when it is whole */
		     REQUEST_OVER,    /* the verdict stands; freed in the sweep */
};

/* What every event looks at stands together and first: with a thousand streams a cache line is a
 * miss. */
struct request {
	const struct request_env *env;
	struct xfer *xfer; /* NULL when it has ended */
	enum request_state state;
	int32_t token_events;
	int32_t running_tokens; /* after the last token event */
	int32_t cap_events, max_events;
	int32_t cancel_after_tokens; /* 0 = not on purpose */
	int64_t read_ns;	     /* stamp of the read in progress */
	int64_t last_byte_ns;
	int64_t usage_tokens; /* the last usage said; -1 = none */
	struct sse_in sse;
	struct chunk_shape shape;
	struct record rec;

	struct buf body;
	struct buf answer; /* with keep_text */
	char content_type[64], retry_after[32];
	size_t n_prompts, n_finished; /* a batch has several; events that told a finish reason */
	size_t place;		      /* the caller's */
	struct timer limit;
	struct deferred sweep;
};

static void set_state(struct request *q, enum request_state to)
{
	DCHECK(to > q->state && (q->state != REQUEST_STREAM || to == REQUEST_OVER));
	q->state = to;
}

/* ---- the verdict ---- */

static void on_sweep(struct deferred *d)
{
	struct request *q = CONTAINER(d, struct request, sweep);
	const struct request_env *env = q->env;

	/* After [DONE] the end of the body may still be on its way: the connection is worth it. */
	if (q->xfer)
		env->transport_type->leave(q->xfer);
	env->on_end(q, env->arg);
	sse_in_release(&q->sse);
	chunk_shape_release(&q->shape);
	buf_release(&q->body);
	buf_release(&q->answer);
	record_release(&q->rec);
	free(q);
}

static void count_tokens(struct request *q)
{
	if (q->usage_tokens >= 0) {
		q->rec.output_tokens = (int32_t)q->usage_tokens;
		q->rec.token_source = TOKENS_USAGE;
	} else if (q->token_events > 0) {
		q->rec.output_tokens = q->token_events;
		q->rec.token_source = TOKENS_EVENTS;
	}
}

static void end(struct request *q, enum outcome outcome, int64_t t_ns)
{
	set_state(q, REQUEST_OVER);
	q->rec.outcome = outcome;
	q->rec.done_ns = t_ns;
	count_tokens(q);
	evloop_timer_cancel(q->env->loop, &q->limit);
	if (q->xfer && outcome != OUTCOME_OK && outcome != OUTCOME_EMPTY) {
		q->env->transport_type->cancel(q->xfer);
		q->xfer = NULL;
	}
	evloop_defer(q->env->loop, &q->sweep);
}

static void finish(struct request *q, enum outcome outcome, int64_t t_ns, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void finish(struct request *q, enum outcome outcome, int64_t t_ns, const char *fmt, ...)
{
	struct err line;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&line, RC_PEER, fmt, ap);
	va_end(ap);
	record_set_text(q->rec.error, sizeof(q->rec.error), line.msg);
	end(q, outcome, t_ns);
}

static enum outcome outcome_of_status(int status)
{
	if (status == 429)
		return OUTCOME_HTTP_429;
	switch (status / 100) {
	case 3:
		return OUTCOME_HTTP_3XX;
	case 4:
		return OUTCOME_HTTP_4XX;
	case 5:
		return OUTCOME_HTTP_5XX;
	default:
		return OUTCOME_PROTOCOL;
	}
}

/* The body's own words if it has any, else its beginning. */
static void finish_by_status(struct request *q, int64_t t_ns)
{
	int status = q->rec.http_status;
	const char *retry = q->retry_after, *text = buf_cstr(&q->body);
	struct reading r = {0};

	if (q->env->dialect->read_body(text, buf_size(&q->body), &r, NULL, NULL) == RC_OK &&
	    r.is_error)
		text = r.error;
	finish(q, outcome_of_status(status), t_ns, "HTTP %d%s%s%s%s%.100s", status,
	       *retry ? ", Retry-After: " : "", retry,
	       status / 100 == 3 ? ", redirects are not followed" : "", *text ? ": " : "", text);
}

/* ---- tokens ---- */

static void make_room(struct request *q, int32_t n)
{
	if (n <= q->cap_events - q->rec.n_events)
		return;
	while (n > q->cap_events - q->rec.n_events)
		q->cap_events *= 2;
	q->rec.event = xreallocarray(q->rec.event, (size_t)q->cap_events, sizeof(*q->rec.event));
}

static void keep_event(struct request *q, int64_t t_ns, bool merged)
{
	struct record *rec = &q->rec;

	make_room(q, 1);
	rec->event[rec->n_events++] = (struct token_event){t_ns, q->running_tokens, merged};
}

static void take_token(struct request *q, const struct reading *r, int64_t t_ns)
{
	struct record *rec = &q->rec;
	bool merged = q->token_events > 0 && t_ns == rec->token_last_ns;

	q->token_events++;
	if (r->output_tokens > q->running_tokens)
		q->running_tokens = (int32_t)r->output_tokens;
	else if (r->output_tokens < 0)
		q->running_tokens++;
	if (rec->token1_ns < 0)
		rec->token1_ns = t_ns;
	if (r->has_output && rec->output1_ns < 0)
		rec->output1_ns = t_ns;
	rec->token_last_ns = t_ns;
	rec->merged_events += merged;
	if (q->env->keep_events)
		keep_event(q, t_ns, merged);
	if (q->env->on_tokens)
		q->env->on_tokens(q->env->arg, 1);
}

/* Of an event that repeats all the text so far only its count can tell whether some is new. */
static bool is_news(const struct request *q, const struct reading *r)
{
	return !r->is_cumulative || r->output_tokens < 0 || r->output_tokens > q->running_tokens;
}

static void take_reading(struct request *q, const struct reading *r, int64_t t_ns)
{
	struct record *rec = &q->rec;

	if (r->is_chunk && rec->event1_ns < 0 && !q->env->dialect->no_tokens)
		rec->event1_ns = t_ns;
	if (r->prompt_tokens >= 0)
		rec->prompt_tokens = (int32_t)r->prompt_tokens;
	if (r->output_tokens >= 0)
		q->usage_tokens = r->output_tokens;
	q->n_finished += r->finish_reason[0] != '\0';
	if (r->finish_reason[0])
		memcpy(rec->finish_reason, r->finish_reason, sizeof(rec->finish_reason));
	if (r->has_token && is_news(q, r))
		take_token(q, r, t_ns);
}

/* The user has seen enough: the connection is closed in mid-answer. */
static bool give_up(struct request *q, int64_t t_ns)
{
	if (!q->cancel_after_tokens || q->running_tokens < q->cancel_after_tokens)
		return false;
	q->rec.cancelled_as_planned = true;
	finish(q, OUTCOME_CANCELLED, t_ns, "given up after %d tokens, as load.cancel asks",
	       q->running_tokens);
	return true;
}

static struct buf *answer_of(struct request *q)
{
	return q->env->keep_text ? &q->answer : NULL;
}

static bool on_event(const struct sse_event *ev, void *arg)
{
	struct request *q = arg;
	struct reading r = {.shape = &q->shape};
	struct err e;

	if (q->env->dialect->read_event(ev, &r, answer_of(q), &e) != RC_OK) {
		finish(q, OUTCOME_PROTOCOL, q->read_ns, "an event that is %s: \"%.*s\"", e.msg,
		       ev->len < 60 ? (int)ev->len : 60, ev->data);
		return false;
	}
	take_reading(q, &r, q->read_ns);
	if (q->token_events > q->max_events)
		finish(q, OUTCOME_PROTOCOL, q->read_ns,
		       "more than %d events with tokens, of %d asked", q->max_events,
		       q->rec.planned_output_tokens);
	else if (r.is_error)
		finish(q, OUTCOME_IN_BAND_ERROR, q->read_ns, "%s", r.error);
	else if (r.done && q->token_events > 0)
		end(q, OUTCOME_OK, q->read_ns);
	else if (r.done)
		finish(q, OUTCOME_EMPTY, q->read_ns,
		       "HTTP %d, and the stream is done without a token", q->rec.http_status);
	else if (!r.finish_reason[0])
		give_up(q, q->read_ns);
	return q->state != REQUEST_OVER;
}

/* ---- what the transport tells ---- */

static int64_t after(int64_t t_ns, int64_t limit_ns)
{
	return limit_ns > 0 ? t_ns + limit_ns : INT64_MAX;
}

/* When the next limit is passed if nothing comes. While there is no connection only the transport
 * has a limit for that, beside the one on the whole request. */
static int64_t next_limit_ns(const struct request *q)
{
	int64_t whole_ns = after(q->rec.send_ns, q->env->limits->timeout_ns);
	int64_t idle_ns = q->state == REQUEST_CONNECT
				  ? INT64_MAX
				  : after(q->last_byte_ns, q->env->limits->idle_ns);

	return whole_ns < idle_ns ? whole_ns : idle_ns;
}

static void arm_limit(struct request *q)
{
	int64_t at_ns = next_limit_ns(q);

	if (at_ns < INT64_MAX)
		evloop_timer(q->env->loop, &q->limit, at_ns);
}

/* Before it is judged by what has come. */
static void catch_up(struct request *q)
{
	if (q->xfer && q->env->transport_type->catch_up)
		q->env->transport_type->catch_up(q->xfer);
}

/* The timer is not moved with every byte: it goes off at the earliest, looks, and is set again. */
static void on_limit(struct timer *timer, int64_t now_ns)
{
	struct request *q = CONTAINER(timer, struct request, limit);
	const struct limits *l = q->env->limits;

	catch_up(q);
	if (next_limit_ns(q) > now_ns)
		arm_limit(q);
	else if (now_ns >= after(q->rec.send_ns, l->timeout_ns))
		finish(q, OUTCOME_TIMEOUT, now_ns, "not over within %.6g s (limits.timeout)",
		       (double)l->timeout_ns / 1e9);
	else
		finish(q, OUTCOME_TIMEOUT, now_ns, "no byte for %.6g s (limits.idle)",
		       (double)l->idle_ns / 1e9);
}

static void on_connected(void *owner, int64_t t_ns)
{
	((struct request *)owner)->rec.connected_ns = t_ns;
}

static void on_written(void *owner, int64_t t_ns)
{
	struct request *q = owner;

	q->rec.written_ns = t_ns;
	if (q->state != REQUEST_CONNECT)
		return; /* it has been sent again */
	set_state(q, REQUEST_WAIT);
	q->last_byte_ns = t_ns;
	arm_limit(q);
}

static bool type_has(const char *content_type, const char *what)
{
	return strcasestr(content_type, what) != NULL;
}

/* Some servers stream under a type of their own; JSON and HTML surely are no streams. */
static bool is_stream(const struct request *q, int status, const char *content_type)
{
	if (status / 100 != 2)
		return false;
	if (type_has(content_type, "event-stream"))
		return true;
	return request_streams(q->env->target, q->env->dialect) &&
	       !type_has(content_type, "json") && !type_has(content_type, "html");
}

static void on_head(void *owner, const struct xfer_head *h, int64_t t_ns)
{
	struct request *q = owner;

	if (q->state == REQUEST_OVER)
		return;
	q->rec.http_status = h->status;
	q->rec.headers_ns = t_ns;
	q->last_byte_ns = t_ns;
	record_set_text(q->content_type, sizeof(q->content_type), h->content_type);
	record_set_text(q->retry_after, sizeof(q->retry_after), h->retry_after);
	q->rec.streamed = is_stream(q, h->status, h->content_type);
	set_state(q, q->rec.streamed ? REQUEST_STREAM : REQUEST_BODY);
}

static void on_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	struct request *q = owner;
	struct err e;

	if (q->state == REQUEST_OVER)
		return;
	if (q->rec.byte1_ns < 0)
		q->rec.byte1_ns = t_ns;
	q->last_byte_ns = t_ns;
	q->read_ns = t_ns;
	if (q->state == REQUEST_STREAM) {
		if (sse_in_feed(&q->sse, bytes, n, on_event, q, &e) != RC_OK)
			finish(q, OUTCOME_PROTOCOL, t_ns, "%s", e.msg);
	} else if (!buf_append(&q->body, bytes, n)) {
		if (q->rec.http_status / 100 == 2)
			finish(q, OUTCOME_PROTOCOL, t_ns, "an answer longer than %u MiB",
			       MAX_ANSWER_BYTES >> 20);
		else
			finish_by_status(q, t_ns);
	}
}

/* ---- without a wire ---- */

/* As many events, each of one token of text. */
static void take_tokens(struct request *q, const int64_t *t_ns, int32_t n)
{
	struct record *rec = &q->rec;
	int32_t tokens = q->running_tokens, n_merged = 0;
	struct token_event *event = NULL;
	int64_t last_ns;

	if (rec->token1_ns < 0)
		rec->byte1_ns = rec->event1_ns = rec->token1_ns = rec->output1_ns = t_ns[0];
	if (q->env->keep_events) {
		make_room(q, n);
		event = rec->event + rec->n_events;
	}
	last_ns = q->token_events > 0 ? rec->token_last_ns : -1;
	for (int32_t i = 0; i < n; i++) {
		bool merged = t_ns[i] == last_ns;

		last_ns = t_ns[i];
		n_merged += merged;
		if (event)
			*event++ = (struct token_event){last_ns, ++tokens, merged};
	}
	rec->n_events += event ? n : 0;
	rec->merged_events += n_merged;
	rec->token_last_ns = last_ns;
	q->token_events += n;
	q->running_tokens += n;
	if (q->env->on_tokens)
		q->env->on_tokens(q->env->arg, n);
}

static void on_tokens(void *owner, const int64_t *t_ns, int32_t n)
{
	struct request *q = owner;
	int32_t left = q->cancel_after_tokens - q->running_tokens;

	if (q->state == REQUEST_OVER)
		return;
	q->last_byte_ns = t_ns[n - 1];
	if (q->cancel_after_tokens && left < n)
		n = left;
	take_tokens(q, t_ns, n);
	give_up(q, t_ns[n - 1]);
}

/* A stream's tokens have all been told; a whole answer comes now. */
static void on_answered(void *owner, const struct xfer_answer *a, int64_t t_ns)
{
	struct request *q = owner;
	struct reading r = {.is_chunk = true,
			    .prompt_tokens = a->prompt_tokens,
			    .output_tokens = a->output_tokens};

	if (q->state == REQUEST_OVER)
		return;
	if (q->state == REQUEST_BODY) {
		q->rec.byte1_ns = t_ns;
		r.has_token = r.has_output = true;
	}
	record_set_text(r.finish_reason, sizeof(r.finish_reason), a->finish_reason);
	take_reading(q, &r, t_ns);
	/* Nothing was dressed as text: as many words stand for it. */
	for (int32_t i = 0; q->env->keep_text && i < a->output_tokens; i++)
		buf_puts(&q->answer, i ? " so" : "so");
	end(q, OUTCOME_OK, t_ns);
}

/* ---- the end of the bytes ---- */

static void end_of_stream(struct request *q, enum xfer_end how, const char *why, int64_t t_ns)
{
	bool finished = q->n_finished >= q->n_prompts;

	if (finished && q->token_events > 0)
		end(q, OUTCOME_OK, t_ns);
	else if (finished)
		finish(q, OUTCOME_EMPTY, t_ns, "finish_reason \"%s\" without a token",
		       q->rec.finish_reason);
	else if (how == XFER_TRUNCATED)
		finish(q, OUTCOME_TRUNCATED, t_ns, "%s", why);
	else if (q->token_events > 0 || sse_in_pending(&q->sse))
		finish(q, OUTCOME_TRUNCATED, t_ns,
		       "the stream ended without finish_reason or [DONE]");
	else
		finish(q, OUTCOME_EMPTY, t_ns, "HTTP %d, and the stream ended without a token",
		       q->rec.http_status);
}

/* The whole answer in one: every stamp of a token is that of its end. */
static void end_of_body(struct request *q, int64_t t_ns)
{
	const char *body = buf_cstr(&q->body);
	size_t len = buf_size(&q->body);
	struct reading r = {0};
	struct err e;

	if (len == 0) {
		finish(q, OUTCOME_EMPTY, t_ns, "HTTP %d without a body", q->rec.http_status);
		return;
	}
	if (q->env->dialect->read_body(body, len, &r, answer_of(q), &e) != RC_OK) {
		finish(q, OUTCOME_PROTOCOL, t_ns, "the answer (%s) is %s: \"%.60s\"",
		       q->content_type[0] ? q->content_type : "no content type", e.msg, body);
		return;
	}
	take_reading(q, &r, t_ns);
	if (r.is_error)
		finish(q, OUTCOME_IN_BAND_ERROR, t_ns, "%s", r.error);
	else if (!r.is_chunk)
		finish(q, OUTCOME_PROTOCOL, t_ns, "JSON without an answer: \"%.60s\"", body);
	else if (!r.has_token && !q->env->dialect->no_tokens)
		finish(q, OUTCOME_EMPTY, t_ns, "HTTP %d, and an answer without a token",
		       q->rec.http_status);
	else
		end(q, OUTCOME_OK, t_ns);
}

static void on_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	static const enum outcome no_answer[] = {
		[XFER_CONNECT] = OUTCOME_CONNECT,
		[XFER_TLS] = OUTCOME_TLS,
		[XFER_CLOSED] = OUTCOME_CLOSED,
		[XFER_PROTOCOL] = OUTCOME_PROTOCOL,
	};
	struct request *q = owner;

	q->xfer = NULL;
	if (q->state == REQUEST_OVER)
		return;
	if (how != XFER_COMPLETE && how != XFER_TRUNCATED)
		finish(q, no_answer[how], t_ns, "%s", why);
	else if (q->rec.http_status / 100 != 2)
		finish_by_status(q, t_ns);
	else if (q->state == REQUEST_STREAM)
		end_of_stream(q, how, why, t_ns);
	else if (how == XFER_TRUNCATED)
		finish(q, OUTCOME_TRUNCATED, t_ns, "%s", why);
	else
		end_of_body(q, t_ns);
}

/* ---- sending ---- */

static struct request_aim aim_of(const struct request_env *env)
{
	const struct transport_type *type = env->transport_type;

	return (struct request_aim){
		.target = env->target,
		.dialect = env->dialect,
		.model = env->model,
		.left_out = env->left_out,
		.takes_words = type->takes_words && type->takes_words(env->transport),
	};
}

struct request_form *request_env_form(const struct request_env *env)
{
	struct request_aim aim = aim_of(env);

	return request_form_new(&aim);
}

static const struct xfer_handler handler = {on_connected, on_written, on_head,	  on_body,
					    on_end,	  on_tokens,  on_answered};

/* Whoever has read the same request before needs no other body of it. */
static bool send_again(struct request *q, const struct planned_request *plan)
{
	const struct request_env *env = q->env;
	struct xfer_spec spec = {.watched = plan->cancel_after_tokens > 0, .plan = plan->word};

	if (!plan->kept || !env->transport_type->remembers ||
	    !env->transport_type->remembers(env->transport, plan->word))
		return false;
	q->xfer = env->transport_type->start(env->transport, &spec, &handler, q);
	return true;
}

static void send_request(struct request *q, const struct planned_request *plan)
{
	const struct request_env *env = q->env;
	struct request_form *form = env->form ? env->form : request_env_form(env);
	struct xfer_spec spec = request_form_fill(form, plan, q->rec.request_id);

	spec.watched = plan->cancel_after_tokens > 0;
	spec.plan = plan->kept ? plan->word : NULL;
	q->xfer = env->transport_type->start(env->transport, &spec, &handler, q);
	if (form != env->form)
		request_form_free(form);
}

struct request *request_start(const struct request_env *env, const struct planned_request *plan,
			      const struct record *rec, int64_t now_ns)
{
	struct request *q = xcalloc(1, sizeof(*q));
	int64_t most;

	DCHECK(plan->output_tokens >= 1);
	q->env = env;
	q->rec = *rec;
	q->rec.send_ns = now_ns;
	q->rec.stamp_source = env->transport_type->stamps;
	q->usage_tokens = -1;
	q->cancel_after_tokens = plan->cancel_after_tokens;
	q->n_prompts = 1 + plan->n_also;
	most = MAX_MORE_EVENTS + 4 * (int64_t)plan->output_tokens * (int64_t)q->n_prompts;
	q->max_events = most < INT32_MAX ? (int32_t)most : INT32_MAX;
	q->limit.fn = on_limit;
	q->sweep.fn = on_sweep;
	sse_in_init(&q->sse);
	chunk_shape_init(&q->shape);
	buf_init(&q->body, MAX_ANSWER_BYTES);
	buf_init(&q->answer, MAX_ANSWER_BYTES);
	if (env->keep_events) {
		/* One more than asked for: the last event often carries no token of its own. */
		q->cap_events = plan->output_tokens < MAX_FIRST_EVENTS ? plan->output_tokens + 1
								       : MAX_FIRST_EVENTS;
		q->rec.event = xreallocarray(NULL, (size_t)q->cap_events, sizeof(*q->rec.event));
	}
	arm_limit(q);
	if (!send_again(q, plan))
		send_request(q, plan);
	return q;
}

void request_abort(struct request *q, enum outcome why, const char *error, int64_t now_ns)
{
	if (q->state != REQUEST_OVER)
		catch_up(q);
	if (q->state != REQUEST_OVER)
		finish(q, why, now_ns, "%s", error);
}

const char *request_answer(struct request *q)
{
	return buf_cstr(&q->body);
}

void request_set_place(struct request *q, size_t place)
{
	q->place = place;
}

size_t request_place(const struct request *q)
{
	return q->place;
}

struct record request_take_record(struct request *q)
{
	struct record rec = q->rec;

	q->rec.event = NULL;
	q->rec.n_events = 0;
	return rec;
}

const char *request_text(struct request *q, size_t *len)
{
	*len = buf_size(&q->answer);
	return buf_cstr(&q->answer);
}
