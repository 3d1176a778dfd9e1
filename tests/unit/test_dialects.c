/*
 * The dialects beside OpenAI's chat and completions: what each sends and how it reads what its
 * servers say, by tables; and what holds for every one of them.
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
#include "loadgen/dialect.h"

/* ---- asking ---- */

static const char *const no_eos[] = {"ignore_eos", "ignore_eos_token", "stream_options", NULL};

static const struct {
	const char *what, *dialect;
	struct request_opts opts;
	const char *const *left_out;
	const char *body;
} asks[] = {
	{"as usual",
	 "sglang-generate",
	 {.stream = true, .ignore_eos = true},
	 NULL,
	 "{\"text\":\"Hi\",\"sampling_params\":{\"max_new_tokens\":9,\"ignore_eos\":true},"
	 "\"stream\":true}"},
	{"extra in the nested object joins ours",
	 "sglang-generate",
	 {.has_temperature = true,
	  .extra_json = (char *)"{\"sampling_params\":{\"top_p\":0.5,\"max_new_tokens\":3},"
				"\"return_logprob\":true}"},
	 NULL,
	 "{\"text\":\"Hi\",\"sampling_params\":{\"temperature\":0,\"top_p\":0.5,\"max_new_tokens\":"
	 "3},"
	 "\"stream\":false,\"return_logprob\":true}"},
	{"extra that is no object stands for ours",
	 "sglang-generate",
	 {.stream = true, .extra_json = (char *)"{\"sampling_params\":[1]}"},
	 NULL,
	 "{\"text\":\"Hi\",\"stream\":true,\"sampling_params\":[1]}"},
	{"an empty nested object",
	 "tgi-generate-stream",
	 {.stream = true, .extra_json = (char *)"{\"parameters\":{}}"},
	 NULL,
	 "{\"inputs\":\"Hi\",\"parameters\":{\"max_new_tokens\":9,\"details\":true}}"},
	{"temperature 0 is what it does anyway",
	 "tgi-generate-stream",
	 {.stream = true, .ignore_eos = true, .has_temperature = true},
	 NULL,
	 "{\"inputs\":\"Hi\",\"parameters\":{\"max_new_tokens\":9,\"details\":true,"
	 "\"ignore_eos_token\":true}}"},
	{"temperature",
	 "tgi-generate-stream",
	 {.stream = true, .has_temperature = true, .temperature = 0.5},
	 NULL,
	 "{\"inputs\":\"Hi\",\"parameters\":{\"max_new_tokens\":9,\"details\":true,"
	 "\"do_sample\":true,\"temperature\":0.5}}"},
	{"refused members are left out",
	 "tgi-generate-stream",
	 {.stream = true, .ignore_eos = true},
	 no_eos,
	 "{\"inputs\":\"Hi\",\"parameters\":{\"max_new_tokens\":9,\"details\":true}}"},
	{"as usual",
	 "llamacpp-completion",
	 {.stream = true, .ignore_eos = true, .has_temperature = true},
	 NULL,
	 "{\"prompt\":\"Hi\",\"n_predict\":9,\"stream\":true,\"ignore_eos\":true,"
	 "\"temperature\":0}"},
	{"as usual",
	 "openai-responses",
	 {.stream = true, .ignore_eos = true},
	 NULL,
	 "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
	 "\"max_output_tokens\":9,\"stream\":true}"},
	{"as usual",
	 "anthropic-messages",
	 {.stream = true, .ignore_eos = true},
	 NULL,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
	 "\"max_tokens\":9,\"stream\":true}"},
	{"as usual",
	 "openai-embeddings",
	 {.stream = true, .ignore_eos = true},
	 NULL,
	 "{\"model\":\"m\",\"input\":\"Hi\"}"},
	{"refused members are left out",
	 "openai-chat",
	 {.stream = true, .ignore_eos = true},
	 no_eos,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
	 "\"max_tokens\":9,\"stream\":true}"},
	{"but not where the user asks for them",
	 "openai-chat",
	 {.ignore_eos = true, .extra_json = (char *)"{\"ignore_eos\":true}"},
	 no_eos,
	 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
	 "\"max_tokens\":9,\"stream\":false,\"ignore_eos\":true}"},
};

static void test_build(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		struct ask a = {.model = "m",
				.prompt = "Hi",
				.prompt_len = 2,
				.output_tokens = 9,
				.opts = &asks[i].opts,
				.left_out = asks[i].left_out};
		struct buf out;

		buf_init(&out, 1u << 20);
		assert_true(dialect_find(asks[i].dialect)->build(&a, &out));
		if (strcmp(buf_cstr(&out), asks[i].body) != 0)
			fail_msg("%s, %s: \"%s\"", asks[i].dialect, asks[i].what, buf_cstr(&out));
		buf_release(&out);
	}
}

/* ---- reading ---- */

enum { CHUNK = 1, TOKEN = 2, OUTPUT = 4, DONE = 8, SO_FAR = 16, BODY = 32 };

struct read_case {
	const char *type, *data;
	int flags; /* BODY: it is a whole answer, not an event */
	const char *finish;
	int prompt_tokens, output_tokens;
	const char *error, *text;
};

static const struct read_case sglang[] = {
	{"",
	 "{\"text\":\" Paris\",\"output_ids\":[12],\"meta_info\":{\"id\":\"a\",\"finish_reason\":"
	 "null,\"prompt_tokens\":6,\"completion_tokens\":1,\"cached_tokens\":0}}",
	 CHUNK | TOKEN | OUTPUT | SO_FAR, "", 6, 1, "", " Paris"},
	{"",
	 "{\"text\":\" "
	 "Paris.\",\"meta_info\":{\"finish_reason\":{\"type\":\"length\",\"length\":2},"
	 "\"prompt_tokens\":6,\"completion_tokens\":2}}",
	 CHUNK | TOKEN | OUTPUT | SO_FAR, "length", 6, 2, "", " Paris."},
	{"",
	 "{\"text\":\"\",\"meta_info\":{\"finish_reason\":null,\"prompt_tokens\":6,"
	 "\"completion_tokens\":1}}",
	 CHUNK | SO_FAR, "", 6, 1, "", ""},
	{"",
	 "{\"text\":\"\",\"meta_info\":{\"finish_reason\":{\"type\":\"abort\",\"message\":\"no "
	 "room\"},\"prompt_tokens\":6,\"completion_tokens\":0}}",
	 CHUNK | SO_FAR, "abort", 6, 0, "abort: no room", ""},
	{"", "{\"error\":{\"message\":\"too long\"}}", SO_FAR, "", -1, -1, "too long", ""},
	{"", "[DONE]", DONE, "", -1, -1, "", ""},
	{"",
	 "{\"text\":\"a b\",\"meta_info\":{\"finish_reason\":\"stop\",\"prompt_tokens\":6,"
	 "\"completion_tokens\":2}}",
	 BODY | CHUNK | TOKEN | OUTPUT | SO_FAR, "stop", 6, 2, "", "a b"},
	{"", "{\"object\":\"error\",\"message\":\"bad\",\"type\":\"BadRequest\",\"code\":400}",
	 BODY | SO_FAR, "", -1, -1, "code 400: bad", ""},
	{NULL},
};

static const struct read_case tgi[] = {
	{"",
	 "{\"index\":1,\"token\":{\"id\":5,\"text\":\" a\",\"logprob\":-0.1,\"special\":false},"
	 "\"generated_text\":null,\"details\":null}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", " a"},
	{"",
	 "{\"index\":2,\"token\":{\"id\":2,\"text\":\"</s>\",\"logprob\":0,\"special\":true},"
	 "\"generated_text\":\" a\",\"details\":{\"finish_reason\":\"eos_token\","
	 "\"generated_tokens\":2,\"input_length\":7,\"seed\":null}}",
	 CHUNK, "eos_token", 7, 2, "", ""},
	{"", "{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}", 0, "", -1, -1,
	 "overloaded: Model is overloaded", ""},
	{"",
	 "{\"generated_text\":\" a b\",\"details\":{\"finish_reason\":\"length\","
	 "\"generated_tokens\":2,\"prefill\":[]}}",
	 BODY | CHUNK | TOKEN | OUTPUT, "length", -1, 2, "", " a b"},
	{NULL},
};

static const struct read_case llamacpp[] = {
	{"",
	 "{\"index\":0,\"content\":\" a\",\"tokens\":[7],\"stop\":false,\"id_slot\":-1,"
	 "\"tokens_predicted\":1,\"tokens_evaluated\":5}",
	 CHUNK | TOKEN | OUTPUT, "", 5, 1, "", " a"},
	{"",
	 "{\"index\":0,\"content\":\"\",\"tokens\":[0],\"stop\":false,\"tokens_predicted\":0,"
	 "\"tokens_evaluated\":9,\"prompt_progress\":{\"total\":9,\"processed\":4}}",
	 CHUNK, "", 9, 0, "", ""},
	{"",
	 "{\"index\":0,\"content\":\"\",\"stop\":true,\"tokens_predicted\":16,\"tokens_evaluated\":"
	 "5,\"stop_type\":\"limit\",\"stopping_word\":\"\",\"timings\":{\"predicted_n\":16}}",
	 CHUNK | DONE, "limit", 5, 16, "", ""},
	{"",
	 "{\"content\":\" z\",\"stop\":true,\"timings\":{\"cache_n\":4,\"prompt_n\":1,"
	 "\"predicted_n\":3}}",
	 CHUNK | TOKEN | OUTPUT | DONE, "stop", 5, 3, "", " z"},
	{"", "{\"error\":{\"code\":500,\"message\":\"out of slots\",\"type\":\"server_error\"}}", 0,
	 "", -1, -1, "code 500: out of slots", ""},
	{NULL},
};

static const struct read_case responses[] = {
	{"response.created",
	 "{\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\",\"error\":null,"
	 "\"usage\":null,\"output\":[]},\"sequence_number\":0}",
	 0, "", -1, -1, "", ""},
	{"response.output_text.delta",
	 "{\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,"
	 "\"content_index\":0,\"delta\":\" a\"}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", " a"},
	{"response.output_text.delta", "{\"delta\":\" a\"}", CHUNK | TOKEN | OUTPUT, "", -1, -1, "",
	 " a"},
	{"", "{\"type\":\"response.output_text.delta\",\"delta\":\"\"}", CHUNK, "", -1, -1, "", ""},
	{"", "{\"type\":\"response.reasoning_text.delta\",\"delta\":\"hm\"}", CHUNK | TOKEN, "", -1,
	 -1, "", ""},
	{"", "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\"}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", ""},
	{"", "{\"type\":\"response.output_text.done\",\"text\":\" a\"}", 0, "", -1, -1, "", ""},
	{"",
	 "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{"
	 "\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\" a\"}]}],"
	 "\"usage\":{\"input_tokens\":3,\"output_tokens\":1,\"total_tokens\":4}}}",
	 DONE, "completed", 3, 1, "", ""},
	{"",
	 "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
	 "\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{\"input_tokens\":3,"
	 "\"output_tokens\":9}}}",
	 DONE, "max_output_tokens", 3, 9, "", ""},
	{"",
	 "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":"
	 "\"server_error\",\"message\":\"broke\"}}}",
	 0, "", -1, -1, "code server_error: broke", ""},
	{"error", "{\"type\":\"error\",\"code\":\"rate_limit\",\"message\":\"slow down\"}", 0, "",
	 -1, -1, "code rate_limit: slow down", ""},
	{"",
	 "{\"object\":\"response\",\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":"
	 "\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":\"hm\"}]},{\"type\":"
	 "\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"a b\"}]}],\"usage\":{"
	 "\"input_tokens\":3,\"output_tokens\":5}}",
	 BODY | CHUNK | TOKEN | OUTPUT, "completed", 3, 5, "", "a b"},
	{"", "{\"error\":{\"message\":\"no such model\",\"code\":\"model_not_found\"}}", BODY, "",
	 -1, -1, "code model_not_found: no such model", ""},
	{NULL},
};

static const struct read_case anthropic[] = {
	{"message_start",
	 "{\"type\":\"message_start\",\"message\":{\"content\":[],\"stop_reason\":null,\"usage\":{"
	 "\"input_tokens\":20,\"cache_read_input_tokens\":4,\"cache_creation_input_tokens\":1,"
	 "\"output_tokens\":1}}}",
	 0, "", 25, -1, "", ""},
	{"content_block_start",
	 "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
	 "\"text\":\"\"}}",
	 CHUNK, "", -1, -1, "", ""},
	{"ping", "{\"type\":\"ping\"}", 0, "", -1, -1, "", ""},
	{"content_block_delta",
	 "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
	 "\"text\":"
	 "\"Hello\"}}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", "Hello"},
	{"content_block_delta",
	 "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":"
	 "\"hm\"}}",
	 CHUNK | TOKEN, "", -1, -1, "", ""},
	{"content_block_delta",
	 "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\","
	 "\"partial_json\":\"{\"}}",
	 CHUNK | TOKEN | OUTPUT, "", -1, -1, "", ""},
	{"content_block_delta",
	 "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"signature_delta\",\"signature\":"
	 "\"EqQB\"}}",
	 CHUNK, "", -1, -1, "", ""},
	{"message_delta",
	 "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":"
	 "null},\"usage\":{\"output_tokens\":15}}",
	 0, "max_tokens", -1, 15, "", ""},
	{"message_stop", "{\"type\":\"message_stop\"}", DONE, "", -1, -1, "", ""},
	{"error",
	 "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"
	 "}",
	 0, "", -1, -1, "overloaded_error: Overloaded", ""},
	{"",
	 "{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"a b\"}],\"stop_reason\":"
	 "\"end_turn\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}",
	 BODY | CHUNK | TOKEN | OUTPUT, "end_turn", 3, 2, "", "a b"},
	{"",
	 "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"model: x\"}}",
	 BODY, "", -1, -1, "not_found_error: model: x", ""},
	{NULL},
};

static const struct read_case embeddings[] = {
	{"",
	 "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.1,"
	 "-2e-3]}],\"usage\":{\"prompt_tokens\":4,\"total_tokens\":4}}",
	 BODY | CHUNK, "", 4, -1, "", ""},
	{"", "{\"data\":[{\"embedding\":\"AACAPw==\"}]}", BODY | CHUNK, "", -1, -1, "", ""},
	{"", "{\"data\":[]}", BODY, "", -1, -1, "", ""},
	{"", "{\"detail\":\"no such model\"}", BODY, "", -1, -1, "no such model", ""},
	{NULL},
};

static void check_reading(const char *name, size_t row, const struct read_case *c)
{
	const struct dialect *d = dialect_find(name);
	struct sse_event ev = {c->data, strlen(c->data), c->type};
	struct reading r = {0};
	struct buf text;
	struct err e;
	int flags;

	buf_init(&text, 1u << 20);
	if ((c->flags & BODY ? d->read_body(ev.data, ev.len, &r, &text, &e)
			     : d->read_event(&ev, &r, &text, &e)) != RC_OK)
		fail_msg("%s, row %zu: %s", name, row, e.msg);
	flags = (r.is_chunk ? CHUNK : 0) | (r.has_token ? TOKEN : 0) | (r.has_output ? OUTPUT : 0) |
		(r.done ? DONE : 0) | (r.is_cumulative ? SO_FAR : 0) | (c->flags & BODY);
	if (flags != c->flags)
		fail_msg("%s, row %zu: flags %d, want %d", name, row, flags, c->flags);
	assert_string_equal(r.finish_reason, c->finish);
	assert_int_equal(r.prompt_tokens, c->prompt_tokens);
	assert_int_equal(r.output_tokens, c->output_tokens);
	assert_int_equal(r.is_error, c->error[0] != '\0');
	assert_string_equal(r.error, c->error);
	assert_string_equal(buf_cstr(&text), c->text);
	buf_release(&text);
}

static void test_readings(void **state)
{
	static const struct {
		const char *dialect;
		const struct read_case *cases;
	} tables[] = {
		{"sglang-generate", sglang},	   {"tgi-generate-stream", tgi},
		{"llamacpp-completion", llamacpp}, {"openai-responses", responses},
		{"anthropic-messages", anthropic}, {"openai-embeddings", embeddings},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		for (size_t row = 0; tables[i].cases[row].data; row++)
			check_reading(tables[i].dialect, row, &tables[i].cases[row]);
}

/* ---- all of them ---- */

static void test_at_every_cap(void **state)
{
	struct request_opts opts = {.stream = true, .ignore_eos = true, .has_temperature = true};
	struct ask a = {
		.model = "m", .prompt = "Hi", .prompt_len = 2, .output_tokens = 9, .opts = &opts};

	(void)state;
	for (int i = 0; dialects[i]; i++) {
		struct buf out;
		size_t len;

		buf_init(&out, 1u << 16);
		assert_true(dialects[i]->build(&a, &out));
		len = buf_size(&out);
		buf_release(&out);
		for (size_t cap = 1; cap < len; cap++) {
			buf_init(&out, cap);
			assert_false(dialects[i]->build(&a, &out));
			buf_release(&out);
		}
	}
}

/* Whatever comes, a reading makes sense, and what is no JSON is the peer's fault. */
static void test_nonsense(void **state)
{
	static const char *const pieces[] = {
		"{",	    "}",	   "[",		"]",	       ",",
		":",	    "\"text\"",	   "\"delta\"", "\"choices\"", "\"error\"",
		"\"type\"", "\"content\"", "null",	"1",	       "true",
		"\"stop\"", "\"usage\"",   "\"data\"",	"\"token\"",   "\"meta_info\"",
	};
	struct rng rng;

	(void)state;
	rng_init(&rng, 7, "nonsense", 0);
	for (int k = 0; k < 20000; k++) {
		const struct dialect *d = dialects[rng_below(&rng, 8)];
		struct reading r = {0};
		struct sse_event ev = {.type = k % 5 ? "" : "error"};
		struct buf b, text;

		buf_init(&b, 4096);
		buf_init(&text, 4096);
		for (uint64_t n = rng_below(&rng, 12); n > 0; n--)
			buf_puts(&b, pieces[rng_below(&rng, ARRAY_LEN(pieces))]);
		ev.data = buf_head(&b);
		ev.len = buf_size(&b);
		if (d->read_event(&ev, &r, &text, NULL) == RC_OK) {
			assert_true(!r.has_output || r.has_token);
			assert_true(!r.has_token || r.is_chunk);
			assert_int_equal(r.is_error, r.error[0] != '\0');
		}
		memset(&r, 0, sizeof(r));
		d->read_body(ev.data, ev.len, &r, &text, NULL);
		buf_release(&b);
		buf_release(&text);
	}
}

static void test_rows(void **state)
{
	(void)state;
	assert_null(dialect_find("openai"));
	for (int i = 0; dialects[i]; i++) {
		assert_true(dialects[i]->path[0] == '/');
		assert_non_null(dialects[i]->build);
		assert_non_null(dialects[i]->read_event);
		assert_non_null(dialects[i]->read_body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build),	     cmocka_unit_test(test_readings),
		cmocka_unit_test(test_at_every_cap), cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
