/*
 * One request from start to record: every way an answer can go, told by a transport that is a
 * script.
 */
#include "../support/request_stage.h"
#include "base/check.h"
#include "loadgen/request.h"

/* ---- the table ---- */

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

/* ---- given up, and batches ---- */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_cancel_as_planned),
		cmocka_unit_test(test_batch_finishes),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
