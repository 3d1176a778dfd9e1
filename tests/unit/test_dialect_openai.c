/*
 * The OpenAI dialects: what they send, how they read what real servers answer, and that the fast
 * and the slow reading of an event never differ.
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
#include "base/jsonx.h"
#include "base/rng.h"
#include "loadgen/chunk_scan.h"
#include "loadgen/dialect.h"

/* ---- asking ---- */

static const struct {
	const char *what;
	const struct dialect *dialect;
	const char *prompt;
	struct request_opts opts;
	const char *body;
} asks[] = {
	{"chat",
	 &dialect_openai_chat,
	 "Hi",
	 {.stream = true, .ignore_eos = true},
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
	 "\"max_tokens\":128,\"stream\":true,\"stream_options\":{\"include_usage\":true},"
	 "\"ignore_eos\":true}"},
	{"completions",
	 &dialect_openai_completions,
	 "Hi",
	 {.stream = true, .ignore_eos = true},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":true,"
	 "\"stream_options\":{\"include_usage\":true},\"ignore_eos\":true}"},
	{"not streamed",
	 &dialect_openai_completions,
	 "Hi",
	 {.stream = false},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":false}"},
	{"temperature",
	 &dialect_openai_completions,
	 "Hi",
	 {.has_temperature = true, .temperature = 0.7},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":false,"
	 "\"temperature\":0.7}"},
	{"temperature 0",
	 &dialect_openai_completions,
	 "Hi",
	 {.has_temperature = true},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":false,"
	 "\"temperature\":0}"},
	{"escapes",
	 &dialect_openai_chat,
	 "a \"b\"\\\n\t\xe2\x82\xac\x01",
	 {.stream = false},
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
	 "\"a \\\"b\\\"\\\\\\n\\t\xe2\x82\xac\\u0001\"}],\"max_tokens\":128,\"stream\":false}"},
	{"extra",
	 &dialect_openai_completions,
	 "Hi",
	 {.extra_json = (char *)"{\"top_p\":0.5,\"stop\":[\"}\"]}"},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":false,\"top_p\":0.5,"
	 "\"stop\":[\"}\"]}"},
	{"extra stands for ours",
	 &dialect_openai_completions,
	 "Hi",
	 {.stream = true,
	  .extra_json = (char *)"{\"max_tokens\":null,\"stream_options\":{\"continuous_usage_"
				"stats\":true}}"},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"stream\":true,\"max_tokens\":null,"
	 "\"stream_options\":{\"continuous_usage_stats\":true}}"},
	{"extra with nothing in it",
	 &dialect_openai_completions,
	 "Hi",
	 {.extra_json = (char *)"{ }"},
	 "{\"model\":\"m\",\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":false}"},
	{"extra has the model",
	 &dialect_openai_completions,
	 "Hi",
	 {.extra_json = (char *)"{\"model\":\"x\"}"},
	 "{\"prompt\":\"Hi\",\"max_tokens\":128,\"stream\":false,\"model\":\"x\"}"},
};

static void test_build(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		struct ask a = {.model = "m",
				.prompt = asks[i].prompt,
				.prompt_len = strlen(asks[i].prompt),
				.output_tokens = 128,
				.opts = &asks[i].opts};
		struct buf out;
		cJSON *root;

		buf_init(&out, 1u << 20);
		assert_true(asks[i].dialect->build(&a, &out));
		if (strcmp(buf_cstr(&out), asks[i].body) != 0)
			fail_msg("%s: \"%s\"", asks[i].what, buf_cstr(&out));
		assert_int_equal(json_parse(&root, buf_head(&out), buf_size(&out), NULL), RC_OK);
		cJSON_Delete(root);
		buf_release(&out);
	}
}

/* A history goes as messages, or as text in front; more prompts make an array. */
static void test_build_with_more(void **state)
{
	struct message before[] = {{"system", (char *)"Be \"brief\".", 11},
				   {"user", (char *)"a", 1},
				   {"assistant", (char *)"b\n", 2}},
		       also[] = {{NULL, (char *)"d", 1}, {NULL, (char *)"e", 1}};
	struct request_opts opts = {0};
	struct ask a = {.model = "m",
			.prompt = "c",
			.prompt_len = 1,
			.output_tokens = 8,
			.opts = &opts,
			.before = before,
			.n_before = ARRAY_LEN(before)};
	struct buf out;

	(void)state;
	buf_init(&out, 1u << 20);
	assert_true(dialect_openai_chat.build(&a, &out));
	assert_string_equal(
		buf_cstr(&out),
		"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be "
		"\\\"brief\\\".\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
		"\"content\":\"b\\n\"},{\"role\":\"user\",\"content\":\"c\"}],\"max_tokens\":8,"
		"\"stream\":false}");
	buf_clear(&out);
	assert_true(dialect_openai_completions.build(&a, &out));
	assert_string_equal(
		buf_cstr(&out),
		"{\"model\":\"m\",\"prompt\":\"Be "
		"\\\"brief\\\".\\n\\na\\n\\nb\\n\\n\\nc\",\"max_tokens\":8,\"stream\":false}");
	a.n_before = 0;
	a.also = also;
	a.n_also = ARRAY_LEN(also);
	buf_clear(&out);
	assert_true(dialect_openai_completions.build(&a, &out));
	assert_string_equal(buf_cstr(&out), "{\"model\":\"m\",\"prompt\":[\"c\",\"d\",\"e\"],"
					    "\"max_tokens\":8,\"stream\":false}");
	assert_true(dialect_openai_completions.batches && !dialect_openai_chat.batches);
	buf_release(&out);
}

static void test_build_at_the_cap(void **state)
{
	struct request_opts opts = {.stream = true};
	struct ask a = {.model = "m",
			.prompt = "prompt",
			.prompt_len = 6,
			.output_tokens = 128,
			.opts = &opts};
	struct buf out;

	(void)state;
	for (size_t cap = 1; cap < 110; cap++) {
		buf_init(&out, cap);
		assert_false(dialect_openai_chat.build(&a, &out));
		buf_release(&out);
	}
}

/* ---- reading ---- */

enum { CHUNK = 1, TOKEN = 2, OUTPUT = 4, DONE = 8, FAST = 16 };

static const struct {
	const char *what, *type, *data;
	int flags; /* FAST: chunk_scan() must recognise it */
	const char *finish;
	int prompt_tokens, output_tokens;
	const char *error, *text;
} events[] = {
	{"vllm role", "",
	 "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
	 "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
	 "\"logprobs\":null,\"finish_reason\":null}],\"prompt_token_ids\":null}",
	 CHUNK | FAST, "", -1, -1, "", ""},
	{"llama.cpp role", "",
	 "{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\","
	 "\"content\":null}}],\"created\":1}",
	 CHUNK | FAST, "", -1, -1, "", ""},
	{"llama-cpp-python role", "",
	 "{\"id\": \"c\", \"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\"}, "
	 "\"logprobs\": null, \"finish_reason\": null}]}",
	 CHUNK | FAST, "", -1, -1, "", ""},
	{"chat token", "", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"1\"}}]}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", -1, -1, "", "1"},
	{"chat token, usage and finish null", "",
	 "{\"choices\":[{\"delta\":{\"content\":\" \\u00e9\\n\"},\"finish_reason\":null}],"
	 "\"usage\":null}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", -1, -1, "", " \xc3\xa9\n"},
	{"completions token", "", "{\"choices\":[{\"text\":\" a\",\"finish_reason\":null}]}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", -1, -1, "", " a"},
	{"token inside a character", "", "{\"choices\":[{\"text\":\"\"}]}", CHUNK | FAST, "", -1,
	 -1, "", ""},
	{"logprobs", "",
	 "{\"choices\":[{\"text\":\"x\",\"logprobs\":{\"content\":[{\"token\":\"x\","
	 "\"logprob\":-0.5e-3,\"bytes\":[49],\"top\":[]}]}}]}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", -1, -1, "", "x"},
	{"text that looks like keys", "",
	 "{\"choices\":[{\"text\":\"\\\"finish_reason\\\":\\\"stop\\\"}],\\\"usage\\\":{\"}]}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", -1, -1, "", "\"finish_reason\":\"stop\"}],\"usage\":{"},
	{"reasoning", "", "{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}",
	 CHUNK | TOKEN | FAST, "", -1, -1, "", ""},
	{"reasoning, the other name", "",
	 "{\"choices\":[{\"delta\":{\"reasoning\":\"hm\",\"content\":null,\"tool_calls\":null}}]}",
	 CHUNK | TOKEN | FAST, "", -1, -1, "", ""},
	{"tool call", "",
	 "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]"
	 "}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", ""},
	{"no tool call", "", "{\"choices\":[{\"delta\":{\"tool_calls\":[]}}]}", CHUNK | FAST, "",
	 -1, -1, "", ""},
	{"finish", "", "{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}", CHUNK | FAST,
	 "length", -1, -1, "", ""},
	{"finish with the last token", "",
	 "{\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}",
	 CHUNK | TOKEN | OUTPUT | FAST, "stop", -1, -1, "", "x"},
	{"usage alone", "",
	 "{\"choices\":[],\"usage\":{\"prompt_tokens\":37,\"total_tokens\":69,"
	 "\"completion_tokens\":32}}",
	 FAST, "", 37, 32, "", ""},
	{"usage in every chunk", "",
	 "{\"choices\":[{\"delta\":{\"content\":\"1\"}}],\"usage\":{\"prompt_tokens\":37,"
	 "\"completion_tokens\":1,\"completion_tokens_details\":null}}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", 37, 1, "", "1"},
	{"usage that is none", "",
	 "{\"choices\":[],\"usage\":{\"prompt_tokens\":\"many\","
	 "\"completion_tokens\":-3}}",
	 0, "", -1, -1, "", ""},
	{"two choices", "", "{\"choices\":[{\"text\":\"\"},{\"text\":\"b\"}]}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", "b"},
	{"[DONE]", "", "[DONE]", DONE, "", -1, -1, "", ""},
	{"[DONE] and blanks", "", "[DONE]  ", DONE, "", -1, -1, "", ""},
	{"null", "", "null", 0, "", -1, -1, "", ""},
	{"nothing", "", "", 0, "", -1, -1, "", ""},
	{"vllm error", "",
	 "{\"error\":{\"message\":\"out of\\nmemory\",\"type\":\"BadRequestError\",\"param\":null,"
	 "\"code\":400}}",
	 0, "", -1, -1, "code 400: out of?memory", ""},
	{"error with a code as text", "",
	 "{\"error\":{\"message\":\"x\",\"code\":\"context_length\"}}", 0, "", -1, -1,
	 "code context_length: x", ""},
	{"error with nothing but a type", "",
	 "{\"error\":{\"message\":\"\",\"type\":\"internal_server_error\",\"code\":null}}", 0, "",
	 -1, -1, "internal_server_error", ""},
	{"error as text", "", "{\"error\":\"overloaded\",\"error_type\":\"overloaded_error\"}", 0,
	 "", -1, -1, "overloaded_error: overloaded", ""},
	{"error as anything", "", "{\"error\":[1,2]}", 0, "", -1, -1, "[1,2]", ""},
	{"error as true", "", "{\"error\":true,\"message\":\"no\"}", 0, "", -1, -1, "no", ""},
	{"fastapi", "", "{\"detail\":\"Not Found\"}", 0, "", -1, -1, "Not Found", ""},
	{"older vllm", "",
	 "{\"object\":\"error\",\"message\":\"bad\",\"type\":\"T\",\"code\":40001}", 0, "", -1, -1,
	 "code 40001: bad", ""},
	{"error event", "error", "{\"message\":\"gone\"}", 0, "", -1, -1, "gone", ""},
	{"error null is none", "", "{\"error\":null,\"choices\":[{\"text\":\"x\"}]}",
	 CHUNK | TOKEN | OUTPUT | FAST, "", -1, -1, "", "x"},
};

static void compare(const char *what, const struct reading *r, int flags, const char *finish,
		    int prompt_tokens, int output_tokens, const char *error)
{
	int got = (r->is_chunk ? CHUNK : 0) | (r->has_token ? TOKEN : 0) |
		  (r->has_output ? OUTPUT : 0) | (r->done ? DONE : 0);

	if (got != (flags & ~FAST))
		fail_msg("%s: flags %d, want %d", what, got, flags & ~FAST);
	assert_string_equal(r->finish_reason, finish);
	assert_int_equal(r->prompt_tokens, prompt_tokens);
	assert_int_equal(r->output_tokens, output_tokens);
	assert_int_equal(r->is_error, *error != '\0');
	assert_string_equal(r->error, error);
}

static void test_events(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		struct sse_event ev = {events[i].data, strlen(events[i].data), events[i].type};
		struct reading fast = {0}, slow = {0};
		struct chunk_scan scan;
		struct buf text;

		buf_init(&text, 1u << 16);
		assert_int_equal(dialect_openai_chat.read_event(&ev, &fast, NULL, NULL), RC_OK);
		assert_int_equal(dialect_openai_chat.read_event(&ev, &slow, &text, NULL), RC_OK);
		compare(events[i].what, &fast, events[i].flags, events[i].finish,
			events[i].prompt_tokens, events[i].output_tokens, events[i].error);
		compare(events[i].what, &slow, events[i].flags, events[i].finish,
			events[i].prompt_tokens, events[i].output_tokens, events[i].error);
		assert_string_equal(buf_cstr(&text), events[i].text);
		if (chunk_scan(ev.data, ev.len, &scan) != !!(events[i].flags & FAST))
			fail_msg("%s: fast path %s", events[i].what,
				 events[i].flags & FAST ? "missed it" : "took it");
		buf_release(&text);
	}
}

/* Whatever was read before: each event says behind each other what it says by itself. */
static void test_shapes(void **state)
{
	struct chunk_shape shape;
	struct chunk_scan like, scan;
	size_t words = 0;

	(void)state;
	chunk_shape_init(&shape);
	for (size_t k = 0; k < 2 * ARRAY_LEN(events) * ARRAY_LEN(events); k++) {
		size_t i = k % 2 ? k / 2 % ARRAY_LEN(events) : k / 2 / ARRAY_LEN(events);
		const char *data = events[i].data;
		bool usual = chunk_scan(data, strlen(data), &scan);

		assert_int_equal(chunk_scan_like(&shape, data, strlen(data), &like), usual);
		if (!usual)
			continue;
		assert_int_equal(like.has_text, scan.has_text);
		assert_int_equal(like.has_reasoning, scan.has_reasoning);
		assert_ptr_equal(like.word, scan.word);
		assert_int_equal(like.word_len, scan.word_len);
		words += scan.word != NULL;
	}
	assert_true(words > 0);
	chunk_shape_release(&shape);
}

static const struct {
	const char *what, *data;
	bool usual, has_text;
} behind_a_word[] = {
	{"another word", "{\"choices\":[{\"text\":\"another\",\"n\":1}]}", true, true},
	{"a long one", "{\"choices\":[{\"text\":\"somewhat longer\",\"n\":1}]}", true, true},
	{"none", "{\"choices\":[{\"text\":\"\",\"n\":1}]}", true, false},
	{"an escape", "{\"choices\":[{\"text\":\"a\\n\",\"n\":1}]}", true, true},
	{"a broken escape", "{\"choices\":[{\"text\":\"a\\q\",\"n\":1}]}", false, false},
	{"a control character", "{\"choices\":[{\"text\":\"a\tb\",\"n\":1}]}", false, false},
	{"an end inside", "{\"choices\":[{\"text\":\"a\",\"n\":0},{\"x\":\"\",\"n\":1}]}", false,
	 false},
	{"a finish", "{\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\",\"n\":1}]}", true,
	 true},
	{"cut", "{\"choices\":[{\"text\":\"another\",\"n\":1}]", false, false},
	{"too short", "{\"choices\":[{\"text\":\"", false, false},
};

static void test_like_a_word(void **state)
{
	static const char word[] = "{\"choices\":[{\"text\":\"word\",\"n\":1}]}";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(behind_a_word); i++) {
		size_t len = strlen(behind_a_word[i].data);
		char *exact = malloc(len);
		struct chunk_shape shape;
		struct chunk_scan scan;

		memcpy(exact, behind_a_word[i].data, len);
		chunk_shape_init(&shape);
		assert_true(chunk_scan_like(&shape, word, strlen(word), &scan));
		assert_true(scan.word_len == 4 && memcmp(scan.word, "word", 4) == 0);
		if (chunk_scan_like(&shape, exact, len, &scan) != behind_a_word[i].usual ||
		    (behind_a_word[i].usual && scan.has_text != behind_a_word[i].has_text))
			fail_msg("%s", behind_a_word[i].what);
		assert_int_equal(scan.finish != NULL,
				 strcmp(behind_a_word[i].what, "a finish") == 0);
		chunk_shape_release(&shape);
		free(exact);
	}
}

static void test_events_that_are_none(void **state)
{
	static const char *const bad[] = {"{",
					  "hello",
					  "<html>",
					  "{\"choices\":[}",
					  "[1]",
					  "7",
					  "\"x\"",
					  "[DONE",
					  "{\"choices\":[{\"text\":\"\t\"}]}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct sse_event ev = {bad[i], strlen(bad[i]), ""};
		struct reading r = {0};
		struct err e;

		assert_int_equal(dialect_openai_chat.read_event(&ev, &r, NULL, &e), RC_PEER);
		assert_true(e.msg[0]);
	}
}

static void test_bodies(void **state)
{
	static const struct {
		const char *body;
		enum rc rc;
		int flags;
		const char *finish;
		int prompt_tokens, output_tokens;
		const char *error, *text;
	} bodies[] = {
		{"{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
		 "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,"
		 "\"completion_tokens\":2}}",
		 RC_OK, CHUNK | TOKEN | OUTPUT, "stop", 5, 2, "", "Hi"},
		{"{\"choices\":[{\"text\":\"a\",\"finish_reason\":\"length\"}]}", RC_OK,
		 CHUNK | TOKEN | OUTPUT, "length", -1, -1, "", "a"},
		{"\n{\"error\":{\"message\":\"no\",\"code\":404}}\n", RC_OK, 0, "", -1, -1,
		 "code 404: no", ""},
		{"{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}", RC_OK, 0, "", -1,
		 -1, "[{\"loc\":[\"body\"],\"msg\":\"field required\"}]", ""},
		/* vLLM's */
		{"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":"
		 "\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
		 "\"content\":\"Hi\\n\",\"refusal\":null,\"tool_calls\":[],\"reasoning\":null},"
		 "\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}],"
		 "\"usage\":{\"prompt_tokens\":5,\"total_tokens\":7,\"completion_tokens\":2,"
		 "\"prompt_tokens_details\":null}}\n",
		 RC_OK, CHUNK | TOKEN | OUTPUT, "length", 5, 2, "", "Hi\n"},
		{"{\"status\":\"ok\"}", RC_OK, 0, "", -1, -1, "", ""},
		{"<html>", RC_PEER, 0, "", -1, -1, "", ""},
		{"", RC_PEER, 0, "", -1, -1, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct reading r = {0};
		struct buf text;

		buf_init(&text, 1u << 16);
		assert_int_equal(dialect_openai_completions.read_body(
					 bodies[i].body, strlen(bodies[i].body), &r, &text, NULL),
				 bodies[i].rc);
		compare(bodies[i].body, &r, bodies[i].flags, bodies[i].finish,
			bodies[i].prompt_tokens, bodies[i].output_tokens, bodies[i].error);
		assert_string_equal(buf_cstr(&text), bodies[i].text);
		r = (struct reading){0};
		assert_int_equal(dialect_openai_completions.read_body(
					 bodies[i].body, strlen(bodies[i].body), &r, NULL, NULL),
				 bodies[i].rc);
		compare(bodies[i].body, &r, bodies[i].flags, bodies[i].finish,
			bodies[i].prompt_tokens, bodies[i].output_tokens, bodies[i].error);
		buf_release(&text);
	}
}

static void test_long_error_is_cut_between_characters(void **state)
{
	struct reading r = {0};
	struct buf body;

	(void)state;
	buf_init(&body, 4096);
	buf_puts(&body, "{\"error\":\"");
	for (int i = 0; i < 200; i++)
		buf_puts(&body, "\xe2\x82\xac");
	buf_puts(&body, "\"}");
	assert_int_equal(
		dialect_openai_chat.read_body(buf_head(&body), buf_size(&body), &r, NULL, NULL),
		RC_OK);
	assert_int_equal(strlen(r.error), 159 / 3 * 3);
	buf_release(&body);
}

/* ---- the two readings of an event are one ---- */

/* A random chunk: mostly what servers send, with odd members, blanks, escapes, keys twice and, now
 * and then, a byte changed. */
static const char *pick(struct rng *r, const char *const *from, size_t n)
{
	return from[rng_below(r, n)];
}

#define PICK(r, ...)                                                                               \
	pick(r, (const char *const[]){__VA_ARGS__}, ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static const char *random_string(struct rng *r)
{
	if (rng_below(r, 12) == 0)
		return PICK(r, "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\q\"",
			    "\"\\u00\"", "\"\xff\"", "\"");
	return PICK(r, "\"\"", "\"a\"", "\" the\"", "\"\\\"\"", "\"\\\\\"", "\"\\u20ac\"",
		    "\"}],{[\"", "\"\xe2\x82\xac\"", "\"choices\"", "\"\\n\"");
}

static const char *random_value(struct rng *r)
{
	if (rng_below(r, 20) == 0)
		return PICK(r, "nul", "01", "-", "1.", "1e", "[1,]", "[}", "",
			    "1234567890123456789012345678901234567890123456789012345678901234",
			    "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]");
	if (rng_below(r, 2))
		return PICK(r, "null", "null", "true", "false", "0", "-1", "1795311562", "1.5e-3",
			    "1E+9");
	if (rng_below(r, 2))
		return random_string(r);
	return PICK(r, "{}", "[]", "[ ]", "{ }", "[1,2]", "{\"a\":[{\"b\":\"c\"}]}",
		    "{\"content\":\"x\"}");
}

static void add(struct buf *b, struct rng *r, const char *s)
{
	buf_puts(b, s);
	if (rng_below(r, 8) == 0)
		buf_putc(b, rng_below(r, 20) ? ' ' : '\n');
}

static void random_members(struct buf *b, struct rng *r, const char *const *keys, size_t n,
			   void (*value)(struct buf *b, struct rng *r, const char *key))
{
	size_t members = rng_below(r, 4);

	add(b, r, "{");
	for (size_t i = 0; i < members; i++) {
		const char *key = keys[rng_below(r, n)];

		buf_printf(b, "%s\"%s\"", i ? "," : "", key);
		add(b, r, ":");
		value(b, r, key);
	}
	add(b, r, "}");
}

static void usage_value(struct buf *b, struct rng *r, const char *key)
{
	(void)key;
	add(b, r,
	    rng_below(r, 4) ? PICK(r, "0", "7", "123456789", "42")
			    : PICK(r, "-1", "00", "3.0", "1e2", "1234567890", "99999999999", "null",
				   "\"7\"", "7.5", "2147483648"));
}

static const char *random_finish(struct rng *r)
{
	return PICK(r, "\"stop\"", "\"length\"", "\"\"", "null", "\"a\\nb\"", "7", "[\"stop\"]",
		    "\"exactly-23-bytes-long-ok\"", "\"exactly-24-bytes-long-oh\"",
		    "\"much-longer-than-the-field-has-room-for\"");
}

static void delta_value(struct buf *b, struct rng *r, const char *key)
{
	(void)key;
	add(b, r, rng_below(r, 4) ? random_string(r) : random_value(r));
}

static void choice_value(struct buf *b, struct rng *r, const char *key)
{
	static const char *const keys[] = {"content",		"role",	      "reasoning",
					   "reasoning_content", "tool_calls", "text"};

	if ((strcmp(key, "delta") == 0 || strcmp(key, "message") == 0) && rng_below(r, 8))
		random_members(b, r, keys, ARRAY_LEN(keys), delta_value);
	else if (strcmp(key, "finish_reason") == 0 && rng_below(r, 2))
		add(b, r, random_finish(r));
	else
		add(b, r, strcmp(key, "text") == 0 ? random_string(r) : random_value(r));
}

static void top_value(struct buf *b, struct rng *r, const char *key)
{
	static const char *const keys[] = {
		"delta",	 "delta",    "text",	"finish_reason",
		"finish_reason", "logprobs", "message", "finish\\u005freason"};
	static const char *const usage_keys[] = {"prompt_tokens", "completion_tokens",
						 "total_tokens"};

	if (strcmp(key, "choices") == 0 && rng_below(r, 8)) {
		add(b, r, "[");
		random_members(b, r, keys, ARRAY_LEN(keys), choice_value);
		if (rng_below(r, 8) == 0) {
			add(b, r, ",");
			random_members(b, r, keys, ARRAY_LEN(keys), choice_value);
		}
		add(b, r, "]");
	} else if (strcmp(key, "usage") == 0 && rng_below(r, 8)) {
		random_members(b, r, usage_keys, ARRAY_LEN(usage_keys), usage_value);
	} else {
		add(b, r, random_value(r));
	}
}

/* The event again with bytes of chance for its word: read by its shape or by itself. */
static void another_word(struct chunk_shape *shape, const char *data, size_t len,
			 const struct chunk_scan *scan, struct rng *r)
{
	size_t before = (size_t)(scan->word - data), behind = len - before - scan->word_len;
	size_t n = rng_below(r, 12);
	char *exact = malloc(before + n + behind);
	struct chunk_scan like, alone;
	bool usual;

	memcpy(exact, data, before);
	for (size_t i = 0; i < n; i++)
		exact[before + i] =
			(char)(rng_below(r, 8) ? 'a' + rng_below(r, 26) : rng_below(r, 256));
	memcpy(exact + before + n, data + before + scan->word_len, behind);
	chunk_scan_like(shape, data, len, &like);
	usual = chunk_scan(exact, before + n + behind, &alone);
	assert_int_equal(chunk_scan_like(shape, exact, before + n + behind, &like), usual);
	if (usual) {
		assert_int_equal(like.has_text, alone.has_text);
		assert_int_equal(like.has_reasoning, alone.has_reasoning);
		assert_ptr_equal(like.word, alone.word);
		assert_ptr_equal(like.finish, alone.finish);
		assert_int_equal(like.output_tokens, alone.output_tokens);
	}
	free(exact);
}

/* The same as a whole answer. */
static void assert_bodies_equal(const char *data, size_t len, struct buf *text)
{
	struct reading fast = {0}, slow = {0};

	assert_int_equal(dialect_openai_chat.read_body(data, len, &fast, NULL, NULL),
			 dialect_openai_chat.read_body(data, len, &slow, text, NULL));
	assert_memory_equal(&fast, &slow, sizeof(fast));
}

static void test_both_readings_are_equal(void **state)
{
	static const char *const keys[] = {"choices", "choices", "choices", "usage",  "usage",
					   "created", "error",	 "detail",  "message"};
	size_t recognised = 0, valid = 0, finished = 0, counted = 0;
	struct chunk_shape shape;
	struct buf json, text;
	struct rng r;

	(void)state;
	chunk_shape_init(&shape);
	buf_init(&json, 1u << 16);
	buf_init(&text, 1u << 16);
	for (uint64_t i = 0; i < 60000; i++) {
		struct reading fast = {0}, slow = {0};
		struct sse_event ev = {NULL, 0, ""};
		struct chunk_scan scan;
		enum rc fast_rc, slow_rc;
		char *exact;

		rng_init(&r, 7, "chunks", i);
		buf_clear(&json);
		buf_clear(&text);
		random_members(&json, &r, keys, ARRAY_LEN(keys), top_value);
		ev.len = buf_size(&json);
		exact = malloc(ev.len);
		memcpy(exact, buf_head(&json), ev.len);
		if (rng_below(&r, 16) == 0)
			exact[rng_below(&r, ev.len)] = (char)rng_below(&r, 256);
		ev.data = exact;
		fast_rc = dialect_openai_chat.read_event(&ev, &fast, NULL, NULL);
		slow_rc = dialect_openai_chat.read_event(&ev, &slow, &text, NULL);
		if (chunk_scan(ev.data, ev.len, &scan)) {
			recognised++;
			finished += scan.finish != NULL;
			counted += scan.output_tokens >= 0;
			if (scan.word)
				another_word(&shape, ev.data, ev.len, &scan, &r);
		}
		valid += slow_rc == RC_OK;
		assert_int_equal(fast_rc, slow_rc);
		assert_memory_equal(&fast, &slow, sizeof(fast));
		assert_bodies_equal(ev.data, ev.len, &text);
		free(exact);
	}
	/* The test means something only if both paths were taken often. */
	assert_true(recognised > 3000);
	assert_true(valid - recognised > 3000);
	assert_true(finished > 100 && counted > 100);
	chunk_shape_release(&shape);
	buf_release(&json);
	buf_release(&text);
}

static void test_find(void **state)
{
	(void)state;
	assert_ptr_equal(dialect_find("openai-chat"), &dialect_openai_chat);
	assert_ptr_equal(dialect_find("openai-completions"), &dialect_openai_completions);
	assert_null(dialect_find("openai"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_build_with_more),
		cmocka_unit_test(test_build_at_the_cap),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_like_a_word),
		cmocka_unit_test(test_events_that_are_none),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_long_error_is_cut_between_characters),
		cmocka_unit_test(test_both_readings_are_equal),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
