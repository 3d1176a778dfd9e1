/*
 * One request from start to record: every way an answer can go, told by a transport that is a
 * script. The times are the script's own, so each stamp is known exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/evloop.h"
#include "loadgen/request.h"

/* ---- a transport that waits for the test to speak ---- */

struct xfer {
	const struct xfer_handler *handler;
	void *owner;
	bool cancelled, left;
	char method[8], path[64];
	char *headers, *body;
};

static struct xfer fake; /* one request at a time */

static struct xfer *fake_start(struct transport *t, const struct xfer_spec *spec,
			       const struct xfer_handler *h, void *owner)
{
	(void)t;
	free(fake.headers);
	free(fake.body);
	memset(&fake, 0, sizeof(fake));
	fake.handler = h;
	fake.owner = owner;
	snprintf(fake.method, sizeof(fake.method), "%s", spec->method);
	snprintf(fake.path, sizeof(fake.path), "%s", spec->path);
	fake.headers = strdup(spec->headers);
	fake.body = strndup(spec->body, spec->body_len);
	return &fake;
}

static void fake_cancel(struct xfer *x)
{
	assert_false(x->cancelled || x->left);
	x->cancelled = true;
}

static void fake_leave(struct xfer *x)
{
	assert_false(x->cancelled || x->left);
	x->left = true;
}

static const struct transport_type fake_transport = {
	.name = "fake",
	.stamps = STAMP_KERNEL,
	.start = fake_start,
	.cancel = fake_cancel,
	.leave = fake_leave,
};

/* ---- a run of one request ---- */

struct stage {
	struct evloop *loop;
	struct target target;
	struct limits limits;
	struct request_env env;
	struct record rec;
	int ended, tokens;
	int64_t send_ns;
};

static void on_request_end(struct request *q, void *arg)
{
	struct stage *g = arg;

	g->rec = request_take_record(q);
	g->ended++;
}

static void on_token(void *arg, int64_t t_ns)
{
	(void)t_ns;
	((struct stage *)arg)->tokens++;
}

static void stage_open(struct stage *g)
{
	memset(g, 0, sizeof(*g));
	g->loop = evloop_new();
	g->target.prefix = (char *)"/proxy";
	g->target.request.stream = true;
	g->target.request.ignore_eos = true;
	g->limits = (struct limits){.timeout_ns = 60 * NS_PER_S, .idle_ns = 30 * NS_PER_S};
	g->env = (struct request_env){
		.loop = g->loop,
		.target = &g->target,
		.model = "m",
		.dialect = &dialect_openai_chat,
		.transport_type = &fake_transport,
		.limits = &g->limits,
		.keep_events = true,
		.on_end = on_request_end,
		.arg = g,
		.on_token = on_token,
	};
	g->send_ns = monotonic_now_ns();
}

static struct request *stage_start_plan(struct stage *g, struct planned_request plan)
{
	struct record rec;

	record_init(&rec);
	rec.request_id = 17;
	rec.prompt_id = 3;
	rec.planned_output_tokens = 4;
	rec.sched_ns = g->send_ns - 5;
	return request_start(&g->env, &plan, &rec, g->send_ns);
}

static struct request *stage_start(struct stage *g)
{
	return stage_start_plan(
		g, (struct planned_request){.text = "Hi", .len = 2, .output_tokens = 4});
}

static void stage_close(struct stage *g)
{
	record_release(&g->rec);
	evloop_free(g->loop);
	free(fake.headers);
	free(fake.body);
	memset(&fake, 0, sizeof(fake));
}

/* What the transport tells, and when: t is ns after the send. */
enum op { END_OF_SCRIPT, CONNECTED, WRITTEN, HEAD, BODY, END };

struct step {
	enum op op;
	int t;
	const char *text; /* HEAD: content type; BODY: bytes; END: why */
	int code;	  /* HEAD: status; END: enum xfer_end */
	const char *retry_after;
};

static void play(struct stage *g, const struct step *step)
{
	for (; step->op != END_OF_SCRIPT && !fake.cancelled; step++) {
		const struct xfer_handler *h = fake.handler;
		struct xfer_head head = {step->code, step->text,
					 step->retry_after ? step->retry_after : ""};
		int64_t t_ns = g->send_ns + step->t;

		switch (step->op) {
		case CONNECTED:
			h->connected(fake.owner, t_ns);
			break;
		case WRITTEN:
			h->written(fake.owner, t_ns);
			break;
		case HEAD:
			h->head(fake.owner, &head, t_ns);
			break;
		case BODY:
			h->body(fake.owner, step->text, strlen(step->text), t_ns);
			break;
		default:
			h->end(fake.owner, (enum xfer_end)step->code, step->text, t_ns);
			return;
		}
	}
}

/* ---- the table ---- */

#define SSE  "text/event-stream; charset=utf-8"
#define JSON "application/json"
#define SENT                                                                                       \
	{CONNECTED, 1, "", 0, NULL},                                                               \
	{                                                                                          \
		WRITTEN, 2, "", 0, NULL                                                            \
	}
#define STREAMING                                                                                  \
	SENT,                                                                                      \
	{                                                                                          \
		HEAD, 3, SSE, 200, NULL                                                            \
	}
#define ANSWER(status, type)                                                                       \
	SENT,                                                                                      \
	{                                                                                          \
		HEAD, 3, type, status, NULL                                                        \
	}
#define AT(t, text)                                                                                \
	{                                                                                          \
		BODY, t, text, 0, NULL                                                             \
	}
#define ENDS(t, how, why)                                                                          \
	{END, t, why, how, NULL},                                                                  \
	{                                                                                          \
		END_OF_SCRIPT, 0, NULL, 0, NULL                                                    \
	}
#define OPEN                                                                                       \
	{                                                                                          \
		END_OF_SCRIPT, 0, NULL, 0, NULL                                                    \
	}
#define TOKEN(s) "data: {\"choices\":[{\"delta\":{\"content\":\"" s "\"}}]}\n\n"
#define ROLE	 "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define FINISH	 "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE(p, c)                                                                                \
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":" #p ",\"completion_tokens\":" #c      \
	"}}\n\n"
#define DONE "data: [DONE]\n\n"

#define MAX_STEPS 12

static const struct {
	const char *what;
	struct step step[MAX_STEPS];
	const char *error; /* part of it; "" = it must be empty */
	enum outcome outcome;
	int tokens; /* -1 = none known */
	enum token_source source;
	int event1, token1, last, done; /* -1 = never */
	bool cancelled, left;		/* what became of the transfer; neither: it had ended */
} cases[] = {
	{"a stream as it should be",
	 {STREAMING, AT(4, ROLE), AT(5, TOKEN("a")), AT(6, TOKEN("b")), AT(7, FINISH),
	  AT(8, USAGE(7, 3)), AT(9, DONE), ENDS(10, XFER_COMPLETE, "")},
	 "",
	 OUTCOME_OK,
	 3,
	 TOKENS_USAGE,
	 4,
	 5,
	 6,
	 9,
	 false,
	 false},
	{"no usage: tokens by events",
	 {STREAMING, AT(4, ROLE), AT(5, TOKEN("a")), AT(6, TOKEN("b")), AT(7, FINISH), AT(9, DONE),
	  ENDS(10, XFER_COMPLETE, "")},
	 "",
	 OUTCOME_OK,
	 2,
	 TOKENS_EVENTS,
	 4,
	 5,
	 6,
	 9,
	 false,
	 false},
	{"no [DONE], finish_reason is enough",
	 {STREAMING, AT(5, TOKEN("a")), AT(7, FINISH), ENDS(10, XFER_COMPLETE, "")},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 10,
	 false,
	 false},
	{"no finish_reason, [DONE] is enough",
	 {STREAMING, AT(5, TOKEN("a")), AT(7, DONE), ENDS(10, XFER_COMPLETE, "")},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 7,
	 false,
	 false},
	{"finish_reason, then the connection is cut",
	 {STREAMING, AT(5, TOKEN("a")), AT(7, FINISH), ENDS(10, XFER_TRUNCATED, "cut")},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 10,
	 false,
	 false},
	{"left open after [DONE]",
	 {STREAMING, AT(5, TOKEN("a")), AT(7, DONE), OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 7,
	 false,
	 true},
	{"bytes behind [DONE] are not read",
	 {STREAMING, AT(5, TOKEN("a")), AT(7, DONE TOKEN("b")), AT(8, TOKEN("c")), OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 7,
	 false,
	 true},
	{"usage with the finish",
	 {STREAMING, AT(5, TOKEN("a")),
	  AT(7, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":"
		"{\"prompt_tokens\":1,\"completion_tokens\":9}}\n\n"),
	  AT(8, DONE), OPEN},
	 "",
	 OUTCOME_OK,
	 9,
	 TOKENS_USAGE,
	 5,
	 5,
	 5,
	 8,
	 false,
	 true},
	{"an empty event, comments, a null",
	 {STREAMING, AT(4, "data:\n\n: ping\n\ndata: null\n\n"), AT(5, TOKEN("a")), AT(8, DONE),
	  OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 8,
	 false,
	 true},
	{"an event in two reads has the second one's time",
	 {STREAMING, AT(4, "data: {\"choices\":[{\"delta\":{\"cont"), AT(6, "ent\":\"a\"}}]}\n\n"),
	  AT(8, DONE), OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 6,
	 6,
	 6,
	 8,
	 false,
	 true},
	{"a stream under another type",
	 {ANSWER(200, "text/plain"), AT(5, TOKEN("a")), AT(8, DONE), OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 8,
	 false,
	 true},
	{"a stream without a type",
	 {ANSWER(200, ""), AT(5, TOKEN("a")), AT(8, DONE), OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 8,
	 false,
	 true},
	{"the whole answer instead of a stream",
	 {ANSWER(200, JSON),
	  AT(5, "{\"choices\":[{\"message\":{\"content\":\"a b\"},\"finish_reason\":\"stop\"}],"),
	  AT(6, "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}"),
	  ENDS(7, XFER_COMPLETE, "")},
	 "",
	 OUTCOME_OK,
	 2,
	 TOKENS_USAGE,
	 7,
	 7,
	 7,
	 7,
	 false,
	 false},
	{"sent again after a reuse race",
	 {{WRITTEN, 1, "", 0, NULL},
	  {CONNECTED, 2, "", 0, NULL},
	  {WRITTEN, 3, "", 0, NULL},
	  {HEAD, 4, SSE, 200, NULL},
	  AT(5, TOKEN("a")),
	  AT(8, DONE),
	  OPEN},
	 "",
	 OUTCOME_OK,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 8,
	 false,
	 true},

	{"refused",
	 {ENDS(4, XFER_CONNECT, "connect: refused")},
	 "connect: refused",
	 OUTCOME_CONNECT,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 4,
	 false,
	 false},
	{"TLS",
	 {ENDS(4, XFER_TLS, "self-signed")},
	 "self-signed",
	 OUTCOME_TLS,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 4,
	 false,
	 false},
	{"closed before a head",
	 {SENT, ENDS(4, XFER_CLOSED, "gone")},
	 "gone",
	 OUTCOME_CLOSED,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 4,
	 false,
	 false},
	{"not HTTP",
	 {SENT, ENDS(4, XFER_PROTOCOL, "not HTTP")},
	 "not HTTP",
	 OUTCOME_PROTOCOL,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 4,
	 false,
	 false},
	{"301",
	 {ANSWER(301, "text/html"), AT(4, "moved"), ENDS(5, XFER_COMPLETE, "")},
	 "HTTP 301, redirects are not followed: moved",
	 OUTCOME_HTTP_3XX,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"404 as vllm says it",
	 {ANSWER(404, JSON),
	  AT(4, "{\"error\":{\"message\":\"no model x\",\"type\":\"T\",\"code\":404}}"),
	  ENDS(5, XFER_COMPLETE, "")},
	 "HTTP 404: code 404: no model x",
	 OUTCOME_HTTP_4XX,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"404 as fastapi says it",
	 {ANSWER(404, JSON), AT(4, "{\"detail\":\"Not Found\"}"), ENDS(5, XFER_COMPLETE, "")},
	 "HTTP 404: Not Found",
	 OUTCOME_HTTP_4XX,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"404 with a stream's type",
	 {ANSWER(404, SSE), AT(4, "{\"detail\":\"Not Found\"}"), ENDS(5, XFER_COMPLETE, "")},
	 "HTTP 404: Not Found",
	 OUTCOME_HTTP_4XX,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"429 with Retry-After",
	 {SENT, {HEAD, 3, JSON, 429, "7"}, ENDS(5, XFER_COMPLETE, "")},
	 "HTTP 429, Retry-After: 7",
	 OUTCOME_HTTP_429,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"500 in plain text, cut",
	 {ANSWER(500, "text/plain"), AT(4, "Internal\nError"), ENDS(5, XFER_TRUNCATED, "cut")},
	 "HTTP 500: Internal?Error",
	 OUTCOME_HTTP_5XX,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"a status that is none",
	 {ANSWER(600, ""), ENDS(5, XFER_COMPLETE, "")},
	 "HTTP 600",
	 OUTCOME_PROTOCOL,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"HTML instead of a stream",
	 {ANSWER(200, "text/html"), AT(4, "<html>hello"), ENDS(5, XFER_COMPLETE, "")},
	 "text/html",
	 OUTCOME_PROTOCOL,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"JSON that is no answer",
	 {ANSWER(200, JSON), AT(4, "{\"status\":\"ok\"}"), ENDS(5, XFER_COMPLETE, "")},
	 "without an answer",
	 OUTCOME_PROTOCOL,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"an event that is no JSON",
	 {STREAMING, AT(5, TOKEN("a")), AT(6, "data: {oops\n\n"), OPEN},
	 "{oops",
	 OUTCOME_PROTOCOL,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 6,
	 true,
	 false},
	{"200 and nothing",
	 {STREAMING, ENDS(5, XFER_COMPLETE, "")},
	 "ended without a token",
	 OUTCOME_EMPTY,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"200 and no body",
	 {ANSWER(200, JSON), ENDS(5, XFER_COMPLETE, "")},
	 "without a body",
	 OUTCOME_EMPTY,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 false,
	 false},
	{"only [DONE]",
	 {STREAMING, AT(4, ROLE), AT(5, DONE), OPEN},
	 "done without a token",
	 OUTCOME_EMPTY,
	 -1,
	 TOKENS_NONE,
	 4,
	 -1,
	 -1,
	 5,
	 false,
	 true},
	{"a finish and a usage, no token",
	 {STREAMING, AT(4, FINISH USAGE(5, 1)), ENDS(6, XFER_COMPLETE, "")},
	 "\"stop\" without a token",
	 OUTCOME_EMPTY,
	 1,
	 TOKENS_USAGE,
	 4,
	 -1,
	 -1,
	 6,
	 false,
	 false},
	{"a whole answer without text",
	 {ANSWER(200, JSON), AT(4, "{\"choices\":[{\"message\":{\"content\":\"\"}}]}"),
	  ENDS(6, XFER_COMPLETE, "")},
	 "without a token",
	 OUTCOME_EMPTY,
	 -1,
	 TOKENS_NONE,
	 6,
	 -1,
	 -1,
	 6,
	 false,
	 false},
	{"ended without a word of farewell",
	 {STREAMING, AT(5, TOKEN("a")), ENDS(6, XFER_COMPLETE, "")},
	 "without finish_reason",
	 OUTCOME_TRUNCATED,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 6,
	 false,
	 false},
	{"cut after tokens",
	 {STREAMING, AT(5, TOKEN("a")), ENDS(6, XFER_TRUNCATED, "reset")},
	 "reset",
	 OUTCOME_TRUNCATED,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 6,
	 false,
	 false},
	{"cut after the head",
	 {STREAMING, ENDS(6, XFER_TRUNCATED, "reset")},
	 "reset",
	 OUTCOME_TRUNCATED,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 6,
	 false,
	 false},
	{"ended inside an event",
	 {STREAMING, AT(5, "data: {\"choices\""), ENDS(6, XFER_COMPLETE, "")},
	 "without finish_reason",
	 OUTCOME_TRUNCATED,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 6,
	 false,
	 false},
	{"a whole answer cut short",
	 {ANSWER(200, JSON), AT(5, "{\"choices\""), ENDS(6, XFER_TRUNCATED, "short")},
	 "short",
	 OUTCOME_TRUNCATED,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 6,
	 false,
	 false},
	{"an error before the tokens",
	 {STREAMING, AT(5, "data: {\"error\":{\"message\":\"OOM\",\"code\":500}}\n\n"), OPEN},
	 "code 500: OOM",
	 OUTCOME_IN_BAND_ERROR,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 true,
	 false},
	{"an error after tokens",
	 {STREAMING, AT(5, TOKEN("a")), AT(6, "data: {\"error\":\"gone\"}\n\n"), OPEN},
	 "gone",
	 OUTCOME_IN_BAND_ERROR,
	 1,
	 TOKENS_EVENTS,
	 5,
	 5,
	 5,
	 6,
	 true,
	 false},
	{"an error event",
	 {STREAMING, AT(5, "event: error\ndata: {\"message\":\"gone\"}\n\n"), OPEN},
	 "gone",
	 OUTCOME_IN_BAND_ERROR,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 5,
	 true,
	 false},
	{"an error as the whole answer",
	 {ANSWER(200, JSON), AT(5, "{\"error\":{\"message\":\"no\"}}"), ENDS(6, XFER_COMPLETE, "")},
	 "no",
	 OUTCOME_IN_BAND_ERROR,
	 -1,
	 TOKENS_NONE,
	 -1,
	 -1,
	 -1,
	 6,
	 false,
	 false},
};

static void check_stamp(const struct stage *g, const char *what, const char *which, int64_t got_ns,
			int want)
{
	int64_t want_ns = want < 0 ? -1 : g->send_ns + want;

	if (got_ns != want_ns)
		fail_msg("%s: %s is %lld after the send, want %d", what, which,
			 (long long)(got_ns - g->send_ns), want);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *what = cases[i].what;
		struct record *r;
		struct stage g;

		stage_open(&g);
		stage_start(&g);
		play(&g, cases[i].step);
		assert_int_equal(g.ended, 0); /* not before the end of the turn */
		evloop_run(g.loop);
		assert_int_equal(g.ended, 1);
		r = &g.rec;
		if (r->outcome != cases[i].outcome)
			fail_msg("%s: %s (%s), want %s", what, outcome_name(r->outcome), r->error,
				 outcome_name(cases[i].outcome));
		if (*cases[i].error ? !strstr(r->error, cases[i].error) : *r->error)
			fail_msg("%s: error \"%s\"", what, r->error);
		assert_int_equal(r->output_tokens, cases[i].tokens);
		assert_int_equal(r->token_source, cases[i].source);
		check_stamp(&g, what, "event1", r->event1_ns, cases[i].event1);
		check_stamp(&g, what, "token1", r->token1_ns, cases[i].token1);
		check_stamp(&g, what, "token_last", r->token_last_ns, cases[i].last);
		check_stamp(&g, what, "done", r->done_ns, cases[i].done);
		if (fake.cancelled != cases[i].cancelled || fake.left != cases[i].left)
			fail_msg("%s: cancelled %d, left %d", what, fake.cancelled, fake.left);
		assert_int_equal(r->request_id, 17);
		assert_int_equal(r->sched_ns, g.send_ns - 5);
		assert_int_equal(r->send_ns, g.send_ns);
		stage_close(&g);
	}
}

/* ---- stamps and counts, looked at closely ---- */

static void run(struct stage *g, const struct step *steps)
{
	stage_open(g);
	stage_start(g);
	play(g, steps);
	evloop_run(g->loop);
	assert_int_equal(g->ended, 1);
}

static void test_all_stamps(void **state)
{
	static const struct step steps[] = {
		SENT,
		{HEAD, 3, SSE, 200, NULL},
		AT(4, ": wait\n\n"),
		AT(5, ROLE),
		AT(6, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n"),
		AT(7, TOKEN("a")),
		AT(8, TOKEN("b")),
		AT(9, FINISH),
		AT(10, USAGE(11, 12)),
		AT(13, DONE),
		OPEN,
	};
	struct stage g;

	(void)state;
	run(&g, steps);
	check_stamp(&g, "", "connected", g.rec.connected_ns, 1);
	check_stamp(&g, "", "written", g.rec.written_ns, 2);
	check_stamp(&g, "", "headers", g.rec.headers_ns, 3);
	check_stamp(&g, "", "byte1", g.rec.byte1_ns, 4);
	check_stamp(&g, "", "event1", g.rec.event1_ns, 5);
	check_stamp(&g, "", "token1", g.rec.token1_ns, 6);
	check_stamp(&g, "", "output1", g.rec.output1_ns, 7);
	check_stamp(&g, "", "token_last", g.rec.token_last_ns, 8);
	check_stamp(&g, "", "done", g.rec.done_ns, 13);
	assert_int_equal(g.rec.prompt_tokens, 11);
	assert_int_equal(g.rec.output_tokens, 12);
	assert_int_equal(g.rec.prompt_id, 3);
	assert_int_equal(g.rec.planned_output_tokens, 4);
	assert_int_equal(g.rec.stamp_source, STAMP_KERNEL);
	assert_int_equal(g.rec.http_status, 200);
	assert_true(g.rec.streamed);
	assert_string_equal(g.rec.finish_reason, "stop");
	assert_int_equal(g.rec.n_events, 3);
	assert_int_equal(g.tokens, 3);
	stage_close(&g);
}

static void check_event(const struct stage *g, int i, int t, int tokens, bool merged)
{
	check_stamp(g, "event", "t", g->rec.event[i].t_ns, t);
	assert_int_equal(g->rec.event[i].tokens, tokens);
	assert_int_equal(g->rec.event[i].merged, merged);
}

static void test_merged_events(void **state)
{
	/* the third piece of the second read: the transport hands on a read in several pieces */
	static const struct step steps[] = {STREAMING,
					    AT(5, TOKEN("a")),
					    AT(6, TOKEN("b") TOKEN("c")),
					    AT(6, TOKEN("d")),
					    AT(7, TOKEN("e")),
					    AT(8, TOKEN("f") DONE),
					    OPEN};
	struct stage g;

	(void)state;
	run(&g, steps);
	assert_int_equal(g.rec.merged_events, 2);
	assert_int_equal(g.rec.n_events, 6); /* more than was planned: the array has grown */
	check_event(&g, 0, 5, 1, false);
	check_event(&g, 1, 6, 2, false);
	check_event(&g, 2, 6, 3, true);
	check_event(&g, 3, 6, 4, true);
	check_event(&g, 4, 7, 5, false);
	check_event(&g, 5, 8, 6, false);
	stage_close(&g);
}

#define COUNTED(s, n)                                                                              \
	"data: {\"choices\":[{\"delta\":{\"content\":\"" s "\"}}],\"usage\":{\"prompt_tokens\":7," \
	"\"completion_tokens\":" #n "}}\n\n"

/* Tokens of events by usage: one event may carry several, and a token may carry no text. */
static void test_continuous_usage(void **state)
{
	static const struct step steps[] = {STREAMING,
					    AT(4, COUNTED("", 0)),
					    AT(5, COUNTED("a", 1)),
					    AT(6, COUNTED("bcd", 4)),
					    AT(7, COUNTED("", 5)),
					    AT(8, COUNTED("e", 6)),
					    AT(9, FINISH USAGE(7, 6) DONE),
					    OPEN};
	struct stage g;

	(void)state;
	run(&g, steps);
	assert_int_equal(g.rec.output_tokens, 6);
	assert_int_equal(g.rec.token_source, TOKENS_USAGE);
	assert_int_equal(g.rec.n_events, 3);
	check_event(&g, 0, 5, 1, false);
	check_event(&g, 1, 6, 4, false);
	check_event(&g, 2, 8, 6, false);
	stage_close(&g);
}

static void test_unstreamed(void **state)
{
	static const struct step steps[] = {
		ANSWER(200, JSON), AT(5, "{\"choices\":[{\"message\":{\"content\":\"a\"}}]}"),
		ENDS(6, XFER_COMPLETE, "")};
	struct stage g;

	(void)state;
	run(&g, steps);
	assert_false(g.rec.streamed);
	check_stamp(&g, "", "byte1", g.rec.byte1_ns, 5);
	check_stamp(&g, "", "token1", g.rec.token1_ns, 6);
	stage_close(&g);
}

/* ---- what is sent ---- */

static void test_what_is_sent(void **state)
{
	static struct header headers[] = {{(char *)"X-Team", (char *)"bench"},
					  {(char *)"accept", (char *)"*/*"},
					  {(char *)"X-Request-Id", (char *)""}};
	struct stage g;

	(void)state;
	stage_open(&g);
	g.target.api_key = (char *)"secret";
	stage_start(&g);
	assert_string_equal(fake.method, "POST");
	assert_string_equal(fake.path, "/proxy/v1/chat/completions");
	assert_string_equal(fake.headers, "Content-Type: application/json\r\n"
					  "Accept: text/event-stream\r\n"
					  "User-Agent: loadgen/" PROJECT_VERSION "\r\n"
					  "X-Request-Id: req-17\r\n"
					  "Authorization: Bearer secret\r\n");
	assert_string_equal(
		fake.body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
			   "\"max_tokens\":4,\"stream\":true,\"stream_options\":"
			   "{\"include_usage\":true},\"ignore_eos\":true}");
	fake.handler->end(fake.owner, XFER_CONNECT, "x", 0);
	evloop_run(g.loop);
	record_release(&g.rec);

	record_release(&g.rec);
	g.target.api_key = NULL;
	g.target.headers = headers;
	g.target.n_headers = 3;
	g.target.endpoint = (char *)"/own";
	stage_start(&g);
	assert_string_equal(fake.path, "/proxy/own");
	assert_string_equal(fake.headers, "Content-Type: application/json\r\n"
					  "User-Agent: loadgen/" PROJECT_VERSION "\r\n"
					  "X-Team: bench\r\naccept: */*\r\n");
	fake.handler->end(fake.owner, XFER_CONNECT, "x", 0);
	evloop_run(g.loop);
	stage_close(&g);
}

/* ---- limits and aborts ---- */

static void test_abort(void **state)
{
	static const struct step steps[] = {STREAMING, AT(5, TOKEN("a")), OPEN};
	struct request *q;
	struct stage g;

	(void)state;
	stage_open(&g);
	q = stage_start(&g);
	play(&g, steps);
	request_abort(q, OUTCOME_CANCELLED, "interrupted", g.send_ns + 9);
	request_abort(q, OUTCOME_TIMEOUT, "too late to matter", g.send_ns + 10);
	assert_true(fake.cancelled);
	evloop_run(g.loop);
	assert_int_equal(g.ended, 1);
	assert_int_equal(g.rec.outcome, OUTCOME_CANCELLED);
	assert_string_equal(g.rec.error, "interrupted");
	check_stamp(&g, "", "done", g.rec.done_ns, 9);
	assert_int_equal(g.rec.output_tokens, 1);
	stage_close(&g);
}

/* The limits run on the real clock; what is checked is which one ends the request. */
static void run_into_limit(struct stage *g, int64_t timeout_ns, int64_t idle_ns,
			   const struct step *steps)
{
	stage_open(g);
	g->limits = (struct limits){.timeout_ns = timeout_ns, .idle_ns = idle_ns};
	stage_start(g);
	play(g, steps);
	evloop_run(g->loop);
	assert_int_equal(g->ended, 1);
	assert_int_equal(g->rec.outcome, OUTCOME_TIMEOUT);
	assert_true(fake.cancelled);
}

static void test_limits(void **state)
{
	static const struct step connecting[] = {OPEN};
	static const struct step waiting[] = {SENT, OPEN};
	static const struct step streaming[] = {STREAMING, AT(5, TOKEN("a")), OPEN};
	struct stage g;

	(void)state;
	run_into_limit(&g, 3 * NS_PER_MS, NS_PER_MS, connecting); /* no idle without a connection */
	assert_string_equal(g.rec.error, "not over within 0.003 s (limits.timeout)");
	stage_close(&g);
	run_into_limit(&g, 60 * NS_PER_S, 2 * NS_PER_MS, waiting);
	assert_string_equal(g.rec.error, "no byte for 0.002 s (limits.idle)");
	stage_close(&g);
	run_into_limit(&g, 60 * NS_PER_S, 2 * NS_PER_MS, streaming);
	assert_string_equal(g.rec.error, "no byte for 0.002 s (limits.idle)");
	stage_close(&g);
	run_into_limit(&g, 2 * NS_PER_MS, 60 * NS_PER_S, streaming);
	assert_string_equal(g.rec.error, "not over within 0.002 s (limits.timeout)");
	assert_true(g.rec.done_ns - g.rec.send_ns >= 2 * NS_PER_MS);
	stage_close(&g);
}

/* A byte moves the idle limit, a comment too. */
static void test_bytes_reset_idle(void **state)
{
	static const struct step ping[] = {SENT, {HEAD, 3, SSE, 200, NULL}, OPEN};
	struct stage g;
	int64_t last_ns;

	(void)state;
	stage_open(&g);
	g.limits = (struct limits){.timeout_ns = 60 * NS_PER_S, .idle_ns = 4 * NS_PER_MS};
	stage_start(&g);
	play(&g, ping);
	do {
		last_ns = monotonic_now_ns();
		fake.handler->body(fake.owner, ":\n\n", 3, last_ns);
	} while (last_ns < g.send_ns + 20 * NS_PER_MS);
	evloop_run(g.loop);
	assert_int_equal(g.rec.outcome, OUTCOME_TIMEOUT);
	assert_true(g.rec.done_ns >= last_ns + 4 * NS_PER_MS);
	stage_close(&g);
}

static void test_names(void **state)
{
	enum outcome o;

	(void)state;
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		assert_true(outcome_parse(outcome_name((enum outcome)i), &o));
		assert_int_equal(o, i);
	}
	assert_false(outcome_parse("fine", &o));
	assert_string_equal(outcome_name(OUTCOME_HTTP_4XX), "http_4xx");
	assert_string_equal(token_source_name(TOKENS_EVENTS), "events");
	assert_string_equal(stamp_source_name(STAMP_KERNEL), "kernel");
}

/* Given up on purpose after so many tokens; an answer that ends before is as good as any. */
static void test_cancel_as_planned(void **state)
{
	static const struct step script[] = {STREAMING, AT(5, TOKEN("a")), AT(6, TOKEN("b")),
					     AT(7, TOKEN("c")), OPEN};
	static const struct step short_script[] = {STREAMING, AT(5, TOKEN("a")), AT(6, DONE), OPEN};
	struct planned_request plan = {
		.text = "Hi", .len = 2, .output_tokens = 4, .cancel_after_tokens = 2};
	struct stage g;

	(void)state;
	stage_open(&g);
	stage_start_plan(&g, plan);
	play(&g, script);
	assert_true(fake.cancelled);
	evloop_run(g.loop);
	assert_int_equal(g.ended, 1);
	assert_int_equal(g.rec.outcome, OUTCOME_CANCELLED);
	assert_true(g.rec.cancelled_as_planned);
	assert_int_equal(g.rec.output_tokens, 2);
	assert_int_equal(g.rec.done_ns - g.send_ns, 6);
	stage_close(&g);

	stage_open(&g);
	stage_start_plan(&g, plan);
	play(&g, short_script);
	evloop_run(g.loop);
	assert_int_equal(g.rec.outcome, OUTCOME_OK);
	assert_false(g.rec.cancelled_as_planned);
	stage_close(&g);
}

/* What a session says next is made of it: streamed, and whole. */
static void test_keep_text(void **state)
{
	static const struct step script[] = {
		STREAMING,   AT(4, ROLE), AT(5, TOKEN("a")), AT(6, TOKEN(" b\\n")), AT(7, FINISH),
		AT(8, DONE), OPEN};
	static const struct step whole[] = {
		ANSWER(200, JSON), AT(5, "{\"choices\":[{\"message\":{\"content\":\"a b\"}}]}"),
		ENDS(7, XFER_COMPLETE, "")};
	struct request *q;
	struct stage g;
	size_t len;

	(void)state;
	stage_open(&g);
	g.env.keep_text = true;
	q = stage_start(&g);
	play(&g, script);
	assert_string_equal(request_text(q, &len), "a b\n");
	assert_int_equal(len, 4);
	evloop_run(g.loop);
	assert_int_equal(g.rec.outcome, OUTCOME_OK);
	stage_close(&g);

	stage_open(&g);
	g.env.keep_text = true;
	q = stage_start(&g);
	play(&g, whole);
	assert_string_equal(request_text(q, &len), "a b");
	evloop_run(g.loop);
	stage_close(&g);
}

/* A batch that ends without [DONE] has to have finished each of its prompts. */
static void test_batch_finishes(void **state)
{
#define PART(i, more) "data: {\"choices\":[{\"index\":" #i ",\"text\":\"x\"" more "}]}\n\n"
	static const struct step half[] = {STREAMING, AT(5, PART(0, "") PART(1, "")),
					   AT(6, PART(1, ",\"finish_reason\":\"length\"")),
					   ENDS(9, XFER_COMPLETE, "")};
	static const struct step all[] = {STREAMING, AT(5, PART(0, "") PART(1, "")),
					  AT(6, PART(1, ",\"finish_reason\":\"length\"")
							PART(0, ",\"finish_reason\":\"length\"")),
					  ENDS(9, XFER_COMPLETE, "")};
	struct message also[] = {{NULL, (char *)"there", 5}};
	struct planned_request plan = {
		.text = "Hi", .len = 2, .output_tokens = 4, .also = also, .n_also = 1};
	struct stage g;

	(void)state;
	stage_open(&g);
	g.env.dialect = &dialect_openai_completions;
	stage_start_plan(&g, plan);
	assert_non_null(strstr(fake.body, "\"prompt\":[\"Hi\",\"there\"]"));
	play(&g, half);
	evloop_run(g.loop);
	assert_int_equal(g.rec.outcome, OUTCOME_TRUNCATED);
	stage_close(&g);

	stage_open(&g);
	g.env.dialect = &dialect_openai_completions;
	stage_start_plan(&g, plan);
	play(&g, all);
	evloop_run(g.loop);
	assert_int_equal(g.rec.outcome, OUTCOME_OK);
	assert_int_equal(g.rec.output_tokens, 4);
	stage_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_all_stamps),
		cmocka_unit_test(test_merged_events),
		cmocka_unit_test(test_continuous_usage),
		cmocka_unit_test(test_unstreamed),
		cmocka_unit_test(test_what_is_sent),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bytes_reset_idle),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_cancel_as_planned),
		cmocka_unit_test(test_keep_text),
		cmocka_unit_test(test_batch_finishes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
