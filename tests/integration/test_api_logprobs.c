/*
 * What an engine that has logits tells of them, and the tokens that a request names as its ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../support/api_world.h"
#include "serve/api.h"

static void test_answers(void **state)
{
	static const struct {
		const char *route, *script, *body, *needle;
	} rows[] = {
		{"/v1/chat/completions", "ab",
		 "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":2,"
		 "\"logprobs\":true,\"top_logprobs\":1}",
		 "\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97],"
		 "\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-1.5,\"bytes\":[98]}]},"
		 "{\"token\":\"b\",\"logprob\":-0.5,\"bytes\":[98],"
		 "\"top_logprobs\":[{\"token\":\"c\",\"logprob\":-1.5,\"bytes\":[99]}]}]}"},
		{"/v1/chat/completions", "ab",
		 "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":2,"
		 "\"logprobs\":true,\"stream\":true}",
		 "\"delta\":{\"content\":\"b\"},\"logprobs\":{\"content\":[{\"token\":\"b\","
		 "\"logprob\":-0.5,\"bytes\":[98],\"top_logprobs\":[]}]}"},
		{"/v1/completions",
		 "a\xc3\xa4"
		 "b",
		 "{\"prompt\":\"x\",\"max_tokens\":4,\"logprobs\":0}",
		 "\"logprobs\":{\"text_offset\":[0,1,2,3],\"token_logprobs\":[-0.5,-0.5,-0.5,-0.5],"
		 "\"tokens\":[\"a\",\"\xef\xbf\xbd\",\"\xef\xbf\xbd\",\"b\"],"
		 "\"top_logprobs\":[{},{},{},{}]}"},
		{"/v1/completions", "ab",
		 "{\"prompt\":\"x\",\"max_tokens\":2,\"logprobs\":2,\"stream\":true}",
		 "\"text\":\"b\",\"logprobs\":{\"text_offset\":[1],\"token_logprobs\":[-0.5],"
		 "\"tokens\":[\"b\"],\"top_logprobs\":[{\"c\":-1.5,\"d\":-2.5}]}"},
		/* nobody asked */
		{"/v1/completions", "ab", "{\"prompt\":\"x\",\"max_tokens\":2}",
		 "\"text\":\"ab\",\"logprobs\":null"},
		/* each of several answers has its own */
		{"/v1/completions", "ab",
		 "{\"prompt\":[\"x\",\"y\"],\"max_tokens\":1,\"logprobs\":0}",
		 "\"index\":1,\"text\":\"a\",\"logprobs\":{\"text_offset\":[0],"},
		/* found by the text, ended by the engine a step later */
		{"/v1/completions", "abcd",
		 "{\"prompt\":\"x\",\"max_tokens\":9,\"stop\":\"c\",\"logprobs\":0}",
		 "\"tokens\":[\"a\",\"b\",\"c\"]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct setup s = {.script = rows[i].script};
		const char *got;
		struct world w;

		world_open(&w, &s);
		got = ask(&w, rows[i].route, rows[i].body);
		if (!strstr(got, rows[i].needle))
			fail_msg("row %zu: %s", i, got);
		world_close(&w);
	}
}

static void test_limits(void **state)
{
	const struct setup s = {.script = "ab"};
	struct world w;

	(void)state;
	world_open(&w, &s);
	assert_non_null(strstr(ask(&w, "/v1/completions", "{\"prompt\":\"x\",\"logprobs\":21}"),
			       "want 0 .. 20"));
	assert_non_null(strstr(ask(&w, "/v1/chat/completions",
				   "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
				   "\"top_logprobs\":2}"),
			       "only with logprobs: true"));
	world_close(&w);
}

/* It is the last one and not part of the text; min_tokens come first. */
static void test_stop_token_ids(void **state)
{
	static const struct {
		const char *body, *text;
	} rows[] = {
		{"{\"prompt\":\"x\",\"max_tokens\":9,\"stop_token_ids\":[99]}",
		 "\"text\":\"ab\",\"logprobs\":null,\"finish_reason\":\"stop\""},
		{"{\"prompt\":\"x\",\"max_tokens\":9,\"stop_token_ids\":[99],\"ignore_eos\":true}",
		 "\"text\":\"ab\",\"logprobs\":null,\"finish_reason\":\"stop\""},
		{"{\"prompt\":\"x\",\"max_tokens\":9,\"min_tokens\":4,\"stop_token_ids\":[99]}",
		 "\"text\":\"abcdab\",\"logprobs\":null,\"finish_reason\":\"stop\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct setup s = {.script = "abcd"};
		struct world w;

		world_open(&w, &s);
		if (!strstr(ask(&w, "/v1/completions", rows[i].body), rows[i].text))
			fail_msg("row %zu", i);
		world_close(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_stop_token_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
