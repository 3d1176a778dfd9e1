/*
 * What the tests of a request share: a transport that is a script, a run of one request over it,
 * and the words to write a script in. The times are the script's own, so each stamp is known
 * exactly. Included by one test program at a time; inline, because not every program needs all of
 * it.
 */
#ifndef TESTS_REQUEST_STAGE_H
#define TESTS_REQUEST_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static inline struct xfer *fake_start(struct transport *t, const struct xfer_spec *spec,
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

static inline void fake_cancel(struct xfer *x)
{
	assert_false(x->cancelled || x->left);
	x->cancelled = true;
}

static inline void fake_leave(struct xfer *x)
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

static inline void on_request_end(struct request *q, void *arg)
{
	struct stage *g = arg;

	g->rec = request_take_record(q);
	g->ended++;
}

static inline void on_tokens(void *arg, int64_t n)
{
	((struct stage *)arg)->tokens += (int)n;
}

static inline void stage_open(struct stage *g)
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
		.on_tokens = on_tokens,
	};
	g->send_ns = monotonic_now_ns();
}

static inline struct request *stage_start_plan(struct stage *g, struct planned_request plan)
{
	struct record rec;

	record_init(&rec);
	rec.request_id = 17;
	rec.prompt_id = 3;
	rec.planned_output_tokens = 4;
	rec.sched_ns = g->send_ns - 5;
	return request_start(&g->env, &plan, &rec, g->send_ns);
}

static inline struct request *stage_start(struct stage *g)
{
	return stage_start_plan(
		g, (struct planned_request){.text = "Hi", .len = 2, .output_tokens = 4});
}

static inline void stage_close(struct stage *g)
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

static inline void play(struct stage *g, const struct step *step)
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

/* ---- the words of a script ---- */

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

static inline void check_stamp(const struct stage *g, const char *what, const char *which,
			       int64_t got_ns, int want)
{
	int64_t want_ns = want < 0 ? -1 : g->send_ns + want;

	if (got_ns != want_ns)
		fail_msg("%s: %s is %lld after the send, want %d", what, which,
			 (long long)(got_ns - g->send_ns), want);
}

#endif
