/*
 * The filled form of a request is what the dialect itself would write: for every dialect, whatever
 * the prompt, the length and the user's own members are.
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
#include "loadgen/request_form.h"
#include "loadgen/request_headers.h"

static const char *const no_eos[] = {"ignore_eos", "ignore_eos_token", NULL};

/* What a target may ask in its own way. */
static const struct {
	const char *extra_json;
	const char *const *left_out;
} ways[] = {
	{NULL, NULL},
	{"{\"top_p\":0.5}", NULL},
	{NULL, no_eos},
	/* our marks, and members of the user's in our place */
	{"{\"stop\":[\"\\u0001\"],\"seed\":1111111111}", NULL},
	{"{\"max_tokens\":1111111111,\"n_predict\":7}", NULL},
	{"{\"prompt\":\"\\u0001\",\"messages\":[],\"text\":\"\\u0002\"}", NULL},
	{"{\"sampling_params\":{\"max_new_tokens\":3},\"parameters\":{\"a\":1}}", NULL},
	{"{\"sampling_params\":[1],\"inputs\":\"\\u0001\\u0001\"}", NULL},
};

static const struct planned_request plans[] = {
	{.text = "Hi", .len = 2, .output_tokens = 1},
	{.text = "", .len = 0, .output_tokens = 2147483647},
	{.text = "a \"b\"\\\n\x01 1111111111", .len = 18, .output_tokens = 1111111111},
	{.text = "\xe2\x82\xac", .len = 3, .output_tokens = 128},
};

static void assert_form(struct request_form *f, const struct request_aim *aim,
			const struct planned_request *p, int64_t id)
{
	struct xfer_spec spec = request_form_fill(f, p, id);
	struct ask ask = {.model = p->model ? p->model : aim->model,
			  .prompt = p->text,
			  .prompt_len = p->len,
			  .before = p->before,
			  .n_before = p->n_before,
			  .also = p->also,
			  .n_also = p->n_also,
			  .output_tokens = p->output_tokens,
			  .opts = &aim->target->request,
			  .left_out = aim->left_out};
	struct buf body, headers;
	char name[32];

	buf_init(&body, 1u << 20);
	buf_init(&headers, 1u << 20);
	request_name(name, id);
	assert_true(aim->dialect->build(&ask, &body));
	request_headers(&headers, aim->target, aim->dialect, true,
			request_streams(aim->target, aim->dialect), name, aim->left_out);
	assert_string_equal(spec.headers, buf_cstr(&headers));
	if (spec.body_len != buf_size(&body) ||
	    memcmp(spec.body, buf_head(&body), spec.body_len) != 0)
		fail_msg("\"%.*s\" is not \"%s\"", (int)spec.body_len, spec.body, buf_cstr(&body));
	buf_release(&body);
	buf_release(&headers);
}

static void test_bodies(void **state)
{
	struct message said = {"system", (char *)"Be brief.", 9};

	(void)state;
	for (int d = 0; dialects[d]; d++) {
		for (size_t w = 0; w < ARRAY_LEN(ways) * 2; w++) {
			struct target t = {.prefix = (char *)"/p"};
			struct request_aim aim = {&t, dialects[d], "m", NULL, false};
			struct planned_request more = plans[0];
			struct request_form *f;

			t.request.stream = w % 2;
			t.request.ignore_eos = w % 2;
			t.request.extra_json = (char *)ways[w / 2].extra_json;
			aim.left_out = ways[w / 2].left_out;
			f = request_form_new(&aim);
			for (size_t i = 0; i < ARRAY_LEN(plans); i++)
				assert_form(f, &aim, &plans[i], (int64_t)i * 1000000000);
			more.before = &said;
			more.n_before = 1;
			assert_form(f, &aim, &more, -1);
			more = plans[0];
			more.model = "another";
			assert_form(f, &aim, &more, -1);
			assert_form(f, &aim, &plans[1], INT64_MAX);
			request_form_free(f);
		}
	}
}

/* The name stands where it is ours to send. */
static void test_names(void **state)
{
	struct header own = {(char *)"x-request-id", (char *)"mine"};
	struct target t = {.headers = &own, .n_headers = 1, .endpoint = (char *)"/e"};
	struct request_aim aim = {&t, &dialect_openai_chat, "m", NULL, false};
	struct request_form *f = request_form_new(&aim);
	struct xfer_spec spec = request_form_fill(f, &plans[0], 5);

	(void)state;
	assert_string_equal(spec.path, "/e");
	assert_null(strstr(spec.headers, "req-5"));
	assert_non_null(strstr(spec.headers, "x-request-id: mine\r\n"));
	request_form_free(f);
	t.n_headers = 0;
	f = request_form_new(&aim);
	spec = request_form_fill(f, &plans[0], 5);
	assert_non_null(strstr(spec.headers, "X-Request-Id: req-5\r\n"));
	spec = request_form_fill(f, &plans[0], -1);
	assert_non_null(strstr(spec.headers, "X-Request-Id: preflight\r\n"));
	request_form_free(f);
}

/* A prompt of words is spelled, or told as words to whom they are enough. */
static void test_words(void **state)
{
	static const uint8_t word[] = {0, 1, 2};
	struct planned_request p = {.text = "", .output_tokens = 9, .word = word, .n_words = 3};
	struct target t = {.name = (char *)"t"};
	struct request_aim aim = {&t, &dialect_openai_completions, "m", NULL, false};
	struct request_form *f = request_form_new(&aim);
	struct xfer_spec spec = request_form_fill(f, &p, 0);

	(void)state;
	assert_null(spec.word);
	assert_non_null(memmem(spec.body, spec.body_len, "\"prompt\":\"the of and\"",
			       strlen("\"prompt\":\"the of and\"")));
	request_form_free(f);
	aim.takes_words = true;
	f = request_form_new(&aim);
	spec = request_form_fill(f, &p, 0);
	assert_ptr_equal(spec.word, word);
	assert_int_equal(spec.n_words, 3);
	assert_non_null(memmem(spec.body, spec.body_len, "\"prompt\":\"\\u0001\"",
			       strlen("\"prompt\":\"\\u0001\"")));
	request_form_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
