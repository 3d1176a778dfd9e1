/*
 * One request looked at closely, over a transport that is a script: its stamps and counts, the text
 * it keeps, what is sent, and the limits it runs into.
 */
#include "../support/request_stage.h"
#include "loadgen/request.h"

/* ---- stamps, counts and text ---- */

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

/* ---- limits ---- */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_stamps),	 cmocka_unit_test(test_merged_events),
		cmocka_unit_test(test_continuous_usage), cmocka_unit_test(test_unstreamed),
		cmocka_unit_test(test_keep_text),	 cmocka_unit_test(test_what_is_sent),
		cmocka_unit_test(test_limits),		 cmocka_unit_test(test_bytes_reset_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
