/*
 * Bodies and what is read from them, or why not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../support/toy_engine.h"
#include "base/check.h"
#include "serve/api_request.h"

static const char *const models[] = {"m", "m2", NULL};
static const struct api_terms terms = {.models = models, .codec = &toy_codec, .max_len = 64};

#define CHAT "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

struct refused {
	enum api_kind kind;
	int status;
	const char *body, *type, *param;
};

static const struct refused refused[] = {
	{API_CHAT, 400, "", API_BAD_FORM, "body"},
	{API_CHAT, 400, "{\"messages\":[", API_BAD_FORM, "body"},
	{API_CHAT, 400, "[]", API_BAD_FORM, "body"},
	{API_CHAT, 400, "{}", API_BAD_FORM, "body.messages"},
	{API_CHAT, 400, "{\"messages\":\"hi\"}", API_BAD_FORM, "body.messages"},
	{API_CHAT, 400, "{\"messages\":[]}", API_BAD_VALUE, "messages"},
	{API_CHAT, 400, "{\"messages\":[1]}", API_BAD_FORM, "body.messages[0]"},
	{API_CHAT, 400, "{\"messages\":[{\"content\":\"x\"}]}", API_BAD_FORM,
	 "body.messages[0].role"},
	{API_CHAT, 400, "{\"messages\":[{\"role\":\"user\",\"content\":5}]}", API_BAD_FORM,
	 "body.messages[0].content"},
	{API_CHAT, 400,
	 "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
	 API_BAD_VALUE, "body.messages[0].content"},
	{API_CHAT, 400, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
	 API_BAD_FORM, "body.messages[0].content"},
	{API_CHAT, 404, "{" CHAT ",\"model\":\"nope\"}", "NotFoundError", "model"},
	{API_CHAT, 400, "{" CHAT ",\"model\":3}", API_BAD_FORM, "body.model"},
	{API_CHAT, 400, "{" CHAT ",\"max_tokens\":0}", API_BAD_VALUE, "max_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"max_tokens\":-5}", API_BAD_VALUE, "max_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"max_tokens\":\"5\"}", API_BAD_FORM, "body.max_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"max_tokens\":1.5}", API_BAD_FORM, "body.max_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"max_completion_tokens\":0}", API_BAD_VALUE,
	 "max_completion_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"max_tokens\":4,\"min_tokens\":5}", API_BAD_VALUE,
	 "min_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"min_tokens\":-1}", API_BAD_VALUE, "min_tokens"},
	{API_CHAT, 400, "{" CHAT ",\"temperature\":-1}", API_BAD_VALUE, "temperature"},
	{API_CHAT, 400, "{" CHAT ",\"temperature\":\"hot\"}", API_BAD_FORM, "body.temperature"},
	{API_CHAT, 400, "{" CHAT ",\"top_p\":0}", API_BAD_VALUE, "top_p"},
	{API_CHAT, 400, "{" CHAT ",\"top_p\":1.01}", API_BAD_VALUE, "top_p"},
	{API_CHAT, 400, "{" CHAT ",\"n\":0}", API_BAD_VALUE, "n"},
	{API_CHAT, 400, "{" CHAT ",\"n\":1000000}", API_BAD_VALUE, "n"},
	{API_CHAT, 400, "{" CHAT ",\"seed\":\"x\"}", API_BAD_FORM, "body.seed"},
	{API_CHAT, 400, "{" CHAT ",\"stream\":\"yes\"}", API_BAD_FORM, "body.stream"},
	{API_CHAT, 400, "{" CHAT ",\"ignore_eos\":1}", API_BAD_FORM, "body.ignore_eos"},
	{API_CHAT, 400, "{" CHAT ",\"stream_options\":{\"include_usage\":true}}", API_BAD_VALUE,
	 "stream_options"},
	{API_CHAT, 400, "{" CHAT ",\"stream\":true,\"stream_options\":7}", API_BAD_FORM,
	 "body.stream_options"},
	{API_CHAT, 400, "{" CHAT ",\"stream\":true,\"stream_options\":{\"include_usage\":7}}",
	 API_BAD_FORM, "body.stream_options.include_usage"},
	{API_CHAT, 400, "{" CHAT ",\"stop\":5}", API_BAD_FORM, "body.stop"},
	{API_CHAT, 400, "{" CHAT ",\"stop\":[\"a\",5]}", API_BAD_FORM, "body.stop"},
	{API_CHAT, 400, "{" CHAT ",\"stop\":[\"\"]}", API_BAD_VALUE, "stop"},
	{API_CHAT, 400, "{" CHAT ",\"logprobs\":true}", API_BAD_VALUE, "logprobs"},
	{API_CHAT, 400, "{" CHAT ",\"logprobs\":true,\"top_logprobs\":2}", API_BAD_VALUE,
	 "top_logprobs"},
	{API_CHAT, 400, "{" CHAT ",\"logprobs\":2}", API_BAD_FORM, "body.logprobs"},
	{API_COMPLETIONS, 400, "{\"prompt\":\"hi\",\"logprobs\":0}", API_BAD_VALUE, "logprobs"},
	{API_COMPLETIONS, 400, "{\"prompt\":\"hi\",\"logprobs\":true}", API_BAD_FORM,
	 "body.logprobs"},
	{API_CHAT, 400, "{" CHAT ",\"top_k\":-2}", API_BAD_VALUE, "top_k"},
	{API_CHAT, 400, "{" CHAT ",\"min_p\":1.5}", API_BAD_VALUE, "min_p"},
	{API_CHAT, 400, "{" CHAT ",\"presence_penalty\":2.5}", API_BAD_VALUE, "presence_penalty"},
	{API_CHAT, 400, "{" CHAT ",\"frequency_penalty\":\"x\"}", API_BAD_FORM,
	 "body.frequency_penalty"},
	{API_CHAT, 400, "{" CHAT ",\"repetition_penalty\":0}", API_BAD_VALUE, "repetition_penalty"},
	{API_CHAT, 400, "{" CHAT ",\"logit_bias\":[1]}", API_BAD_FORM, "body.logit_bias"},
	{API_CHAT, 400, "{" CHAT ",\"logit_bias\":{\"a\":1}}", API_BAD_FORM, "body.logit_bias"},
	{API_CHAT, 400, "{" CHAT ",\"logit_bias\":{\"1\":101}}", API_BAD_VALUE, "logit_bias"},
	{API_CHAT, 400, "{" CHAT ",\"logit_bias\":{\"9999999\":1}}", API_BAD_VALUE, "logit_bias"},
	{API_CHAT, 400, "{" CHAT ",\"stop_token_ids\":[\"a\"]}", API_BAD_FORM,
	 "body.stop_token_ids"},
	{API_CHAT, 400, "{" CHAT ",\"stop_token_ids\":[-1]}", API_BAD_VALUE, "stop_token_ids"},
	{API_COMPLETIONS, 400, "{}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":5}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[]}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[[]]}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[1,\"a\"]}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[\"a\",1]}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[1.5]}", API_BAD_FORM, "body.prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[1,1e300]}", API_BAD_VALUE, ""},
	{API_COMPLETIONS, 400, "{\"prompt\":[1,2,9999999]}", API_BAD_VALUE, ""},
	{API_COMPLETIONS, 400, "{\"prompt\":[[1],[-1]]}", API_BAD_VALUE, ""},
	{API_COMPLETIONS, 400, "{\"prompt\":\"\"}", API_BAD_VALUE, "prompt"},
	{API_COMPLETIONS, 400, "{\"prompt\":[\"a\",\"b\"],\"n\":513}", API_BAD_VALUE, "n"},
	{API_COMPLETIONS, 400,
	 "{\"prompt\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
	 API_BAD_VALUE, "input_tokens"},
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct api_error e = {0};
		struct api_request q;

		if (api_request_read(&q, refused[i].kind, refused[i].body, strlen(refused[i].body),
				     &terms, &e))
			fail_msg("taken: %s", refused[i].body);
		if (e.status != refused[i].status || strcmp(e.type, refused[i].type) != 0 ||
		    strcmp(e.param, refused[i].param) != 0)
			fail_msg("%s: got %d %s %s: %s", refused[i].body, e.status, e.type, e.param,
				 e.message);
		assert_true(e.message[0]);
	}
}

static void read_ok(struct api_request *q, enum api_kind kind, const char *body)
{
	struct api_error e;

	if (!api_request_read(q, kind, body, strlen(body), &terms, &e))
		fail_msg("%s: %s", body, e.message);
}

static void test_all_fields(void **state)
{
	struct api_request q;

	(void)state;
	read_ok(&q, API_CHAT,
		"{" CHAT ",\"model\":\"m2\",\"max_tokens\":9,\"max_completion_tokens\":8,\"min_"
		"tokens\":2,\"n\":3,"
		"\"stop\":[\"a\",\"bc\"],\"stream\":true,\"stream_options\":{\"include_usage\":"
		"true,"
		"\"continuous_usage_stats\":true},\"seed\":-7,\"temperature\":0.5,\"top_p\":0.9,"
		"\"ignore_eos\":true,"
		"\"top_k\":-1,\"min_p\":0.1,\"presence_penalty\":-2,\"frequency_penalty\":1.5,"
		"\"repetition_penalty\":1.1,\"logit_bias\":{\"7\":-100,\"65535\":2.5},"
		"\"stop_token_ids\":[3,4],"
		"\"priority\":-2,\"user\":\"u\",\"logprobs\":false,\"no_such_field\":{\"x\":[1]}}");
	assert_string_equal(q.model, "m2");
	assert_int_equal(q.max_tokens, 8);
	assert_int_equal(q.min_tokens, 2);
	assert_int_equal(q.n, 3);
	assert_int_equal(q.stops.n, 2);
	assert_string_equal(q.stops.text[1], "bc");
	assert_true(q.stream && q.include_usage && q.continuous_usage && q.ignore_eos &&
		    q.has_seed && !q.echo);
	assert_int_equal(q.seed, -7);
	assert_true(q.temperature == 0.5);
	assert_int_equal(q.priority, -2);
	assert_true(q.sampling->temperature == 0.5 && q.sampling->top_p == 0.9 &&
		    q.sampling->top_k == 0 && q.sampling->min_p == 0.1 &&
		    q.sampling->presence_penalty == -2 && q.sampling->frequency_penalty == 1.5 &&
		    q.sampling->repetition_penalty == 1.1 && q.sampling->n_logprobs == -1);
	assert_int_equal(q.sampling->n_bias, 2);
	assert_int_equal(q.sampling->bias[1].token, 65535);
	assert_true(q.sampling->bias[1].bias == 2.5F);
	assert_int_equal(q.sampling->n_stop_ids, 2);
	assert_int_equal(q.sampling->stop_id[1], 4);
	api_request_release(&q);
}

static void test_neutral(void **state)
{
	struct api_request q;

	(void)state;
	read_ok(&q, API_CHAT,
		"{" CHAT ",\"model\":null,\"max_tokens\":null,\"stop\":null,\"stream\":null,"
		"\"stream_options\":null,"
		"\"seed\":null,\"n\":null,\"logprobs\":null,\"temperature\":null}");
	assert_string_equal(q.model, "m");
	assert_int_equal(q.max_tokens, 0);
	assert_int_equal(q.n, 1);
	assert_true(!q.stream && !q.has_seed && q.stops.n == 0 && q.temperature == 1);
	api_request_release(&q);

	/* Huge lengths are not an error: the context cuts them. Continuous usage without usage is
	 * none, as in vLLM. */
	read_ok(&q, API_CHAT,
		"{" CHAT ",\"max_tokens\":1e15,\"stream\":true,\"stream_options\":{\"continuous_"
		"usage_stats\":true}}");
	assert_int_equal(q.max_tokens, INT32_MAX);
	assert_false(q.continuous_usage);
	api_request_release(&q);
}

static void expect_prompt(const struct api_request *q, int i, const char *want)
{
	struct buf b;

	buf_init(&b, 4096);
	for (int32_t k = 0; k < q->prompt[i].tokens.n; k++)
		toy_decode(&toy_codec, q->prompt[i].tokens.id[k], k, &b);
	assert_string_equal(buf_cstr(&b), want);
	buf_release(&b);
}

static void test_prompts(void **state)
{
	static const struct api_terms wide = {
		.models = models, .codec = &toy_codec, .max_len = 4096};
	static const char chat[] =
		"{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\","
		"\"content\":"
		"[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
		"{\"role\":\"assistant\",\"content\":null}]}";
	struct api_request q;
	struct api_error e;

	(void)state;
	assert_true(api_request_read(&q, API_CHAT, chat, strlen(chat), &wide, &e));
	expect_prompt(&q, 0,
		      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nab<|im_end|>\n"
		      "<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n");
	api_request_release(&q);
	read_ok(&q, API_COMPLETIONS, "{\"prompt\":\"x y\"}");
	assert_int_equal(q.n_prompts, 1);
	expect_prompt(&q, 0, "x y");
	api_request_release(&q);
	read_ok(&q, API_COMPLETIONS, "{\"prompt\":[\"x\",\"yy\"],\"echo\":true}");
	assert_int_equal(q.n_prompts, 2);
	expect_prompt(&q, 1, "yy");
	assert_string_equal(q.prompt[1].text, "yy");
	api_request_release(&q);
	read_ok(&q, API_COMPLETIONS, "{\"prompt\":[504,65]}");
	assert_int_equal(q.n_prompts, 1);
	expect_prompt(&q, 0, "<504>A");
	assert_null(q.prompt[0].text);
	api_request_release(&q);
	read_ok(&q, API_COMPLETIONS, "{\"prompt\":[[504],[65,66]],\"echo\":true}");
	assert_int_equal(q.n_prompts, 2);
	assert_string_equal(q.prompt[1].text, "AB");
	api_request_release(&q);
	read_ok(&q, API_TOKENIZE, "{\"prompt\":\"abc\",\"max_tokens\":\"ignored here\"}");
	assert_int_equal(q.prompt[0].tokens.n, 3);
	api_request_release(&q);
}

/* Writes roles and contents apart, in a form of its own. */
static void bare_chat(const struct textcodec *c, const struct chat_message *m, int32_t n,
		      struct token_list *out)
{
	for (int32_t i = 0; i < n; i++) {
		token_list_push(out, 1000 + i);
		c->encode(c, m[i].role, strlen(m[i].role), out);
		c->encode(c, "=", 1, out);
		c->encode(c, m[i].text, m[i].len, out);
	}
}

/* A codec with a template of its own gets the messages as they are, whoever asks. */
static void test_chat_of_the_codec(void **state)
{
	static const enum api_kind kinds[] = {API_CHAT, API_TOKENIZE};
	struct textcodec codec = toy_codec;
	struct api_terms chatty = terms;

	(void)state;
	codec.chat = bare_chat;
	chatty.codec = &codec;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const char *body = "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
				   "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
				   "\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
				   "{\"role\":\"assistant\",\"content\":null}]}";
		struct api_request q;
		struct api_error e;

		assert_true(api_request_read(&q, kinds[i], body, strlen(body), &chatty, &e));
		assert_int_equal(q.n_prompts, 1);
		expect_prompt(&q, 0, "<1000>system=S<1001>user=ab<1002>assistant=");
		api_request_release(&q);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),		  cmocka_unit_test(test_all_fields),
		cmocka_unit_test(test_neutral),		  cmocka_unit_test(test_prompts),
		cmocka_unit_test(test_chat_of_the_codec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
