/*
 * Prompt files: what each format's records become, how they are told apart, every mistake with its
 * place, and the sets that people use, read to the record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "loadgen/prompts.h"

static struct prompt_set parse(enum prompt_format format, const char *text, size_t len)
{
	struct prompt_set set = {0};
	struct err e = {.msg = ""};

	if (prompts_parse(&set, format, "f", text, len, &e) != RC_OK)
		fail_msg("%s\n%s", text, e.msg);
	return set;
}

/* ---- each format ---- */

#define GPT(text)    "{\"from\": \"gpt\", \"value\": \"" text "\"}"
#define HUMAN(text)  "{\"from\": \"human\", \"value\": \"" text "\"}"
#define SYSTEM(text) "{\"from\": \"system\", \"value\": \"" text "\"}"

/* One record or two in a text; of the last its lead and its turns, each with its reference. */
static const struct {
	enum prompt_format format;
	const char *text;
	size_t n, skipped;
	const char *lead, *turns; /* "role:text|", "text=reference|" */
} shapes[] = {
	{PROMPTS_LIMA, "{\"conversations\": [\"What is 1+1?\", \"Two, of course.\"]}", 1, 0, "",
	 "What is 1+1?=4|"},
	{PROMPTS_LIMA,
	 "\xef\xbb\xbf{\"conversations\": [\"x\"]}\r\n\n{\"conversations\": "
	 "[\"Gr\\u00fc\\u00dfe \\ud83d\\ude00\"], \"source\": \"x\"}\n",
	 2, 0, "", "Grüße 😀=0|"},
	{PROMPTS_LIMA,
	 "  {\"conversations\": [\"q\", \"a\", \"q2\", \"a b c\", \"q3\"], \"reference_tokens\": "
	 "900, \"more\": {}}",
	 1, 0, "", "q=900|q2=4|q3=0|"},
	{PROMPTS_SHAREGPT,
	 "[{\"id\": \"1\", \"conversations\": [" HUMAN("a") ", " GPT("b c") ", " HUMAN("d") "]}]",
	 1, 0, "", "a=3|d=0|"},
	{PROMPTS_SHAREGPT,
	 "[\n {\"conversations\": []},\n {\"conversations\": [" GPT(
		 "x") "]},\n {\"conversations\": "
		      "[" SYSTEM("be brief") "," GPT("hi") "," HUMAN("a") "," GPT("b") "," GPT(
			      "c d e f") "]}\n]",
	 1, 2, "system:be brief|", "a=1|"},
	{PROMPTS_SHAREGPT, "{\"conversations\": [" HUMAN("[,]}") "]}\n", 1, 0, "", "[,]}=0|"},
	{PROMPTS_MT_BENCH,
	 "{\"question_id\": 81, \"turns\": [\"a\", \"b\"], \"reference\": [\"x y\", null]}", 1, 0,
	 "", "a=3|b=0|"},
	{PROMPTS_MT_BENCH, "{\"turns\": [\"a\"]}\n{\"turns\": [\"b\"]}", 2, 0, "", "b=0|"},
	{PROMPTS_OPENAI_BATCH,
	 "{\"custom_id\": \"1\", \"body\": {\"messages\": [{\"role\": \"system\", \"content\": "
	 "\"s\"}, {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, "
	 "{\"type\": \"text\", \"text\": \"b\"}]}], \"max_tokens\": 7}}",
	 1, 0, "system:s|", "ab=7|"},
	{PROMPTS_OPENAI_BATCH,
	 "{\"body\": {\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "
	 "\"assistant\", \"content\": \"b\"}, {\"role\": \"user\", \"content\": \"c\"}]}}",
	 1, 0, "user:a|assistant:b|", "c=0|"},
	{PROMPTS_OPENAI_BATCH, "{\"body\": {\"prompt\": \"p\", \"max_completion_tokens\": 3}}", 1,
	 0, "", "p=3|"},
	{PROMPTS_CUSTOM, "{\"prompt\": \"p\", \"output_tokens\": 12}\n{\"prompt\": \"q\"}", 2, 0,
	 "", "q=0|"},
	{PROMPTS_CUSTOM, "[{\"prompt\": \"p\\\"]\", \"output_tokens\": 12}]", 1, 0, "", "p\"]=12|"},
	{PROMPTS_CSV, "id,prompt,output_tokens\n1,\"a, \"\"b\"\"\nc\",9\n", 1, 0, "",
	 "a, \"b\"\nc=9|"},
	{PROMPTS_CSV, "\"prompt\"\nhello\nworld", 2, 0, "", "world=0|"},
	{PROMPTS_PLAIN, "one\r\n\n   \n two ", 2, 0, "", " two =0|"},
};

static void test_shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		const char *text = shapes[i].text;
		struct prompt_set set = parse(shapes[i].format, text, strlen(text));
		enum prompt_format format;
		const struct prompt *p;
		struct buf lead, turns;
		struct err e;

		assert_int_equal(prompts_detect("f", text, strlen(text), &format, &e), RC_OK);
		if (format != shapes[i].format)
			fail_msg("%s\ntaken for format %d", text, format);
		assert_int_equal(set.n, shapes[i].n);
		assert_int_equal(set.skipped, shapes[i].skipped);
		p = &set.v[set.n - 1];
		buf_init(&lead, 4096);
		buf_init(&turns, 4096);
		for (size_t k = 0; k < p->n_lead; k++) {
			assert_int_equal(strlen(p->lead[k].text), p->lead[k].len);
			buf_printf(&lead, "%s:%s|", p->lead[k].role, p->lead[k].text);
		}
		for (size_t k = 0; k < p->n_turns; k++) {
			assert_int_equal(strlen(p->turn[k].text), p->turn[k].len);
			buf_printf(&turns, "%s=%d|", p->turn[k].text, p->turn[k].reference_tokens);
		}
		assert_string_equal(buf_cstr(&lead), shapes[i].lead);
		assert_string_equal(buf_cstr(&turns), shapes[i].turns);
		buf_release(&lead);
		buf_release(&turns);
		prompts_release(&set);
	}
}

/* ---- mistakes ---- */

static const struct {
	enum prompt_format format;
	const char *text, *message; /* the message's beginning */
} mistakes[] = {
	{PROMPTS_LIMA, "{\"conversations\": [\"a\"]}\n{\"conversations\": [\"b\"}\n",
	 "f:2: line 1, column 23: "},
	{PROMPTS_LIMA, "[1]", "f:1: want an object"},
	{PROMPTS_LIMA, "{}",
	 "f:1: conversations: want a list of strings, the first of which is the user's"},
	{PROMPTS_LIMA, "{\"conversations\": []}",
	 "f:1: conversations: want a list of strings, the first of which is the user's"},
	{PROMPTS_LIMA, "{\"conversations\": \"a\"}", "f:1: conversations: got "},
	{PROMPTS_LIMA, "{\"conversations\": [{\"from\": \"human\", \"value\": \"hi\"}]}",
	 "f:1: conversations: want strings, user and assistant in turn"},
	{PROMPTS_LIMA, "{\"conversations\": [\"a\", 5]}",
	 "f:1: conversations: want strings, user and assistant in turn"},
	{PROMPTS_LIMA, "{\"conversations\": [\" \\n\", \"x\"]}",
	 "f:1: conversations[0]: an empty prompt"},
	{PROMPTS_LIMA, "{\"conversations\": [\"a\"], \"reference_tokens\": 0}",
	 "f:1: reference_tokens: "},
	{PROMPTS_LIMA, "{\"conversations\": [\"a\"], \"reference_tokens\": \"9\"}",
	 "f:1: reference_tokens: "},
	{PROMPTS_LIMA, "\n{\"conversations\": [\"\xff\"]}", "f:2: not UTF-8 text"},
	{PROMPTS_LIMA, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	 "f:1: "},
	{PROMPTS_SHAREGPT, "[\n{\"conversations\": []},\n\n{}\n]", "f:4: conversations: missing"},
	{PROMPTS_SHAREGPT, "[{\"conversations\": []}",
	 "f:1: want an array of records that ends "
	 "with ]"},
	{PROMPTS_SHAREGPT, "[{\"conversations\": []}]\n\nx",
	 "f:1: want an array of records that ends with ]"},
	{PROMPTS_SHAREGPT, "[{\"conversations\": []}\n{\"conversations\": []}]", "f:1: line 2"},
	{PROMPTS_SHAREGPT, "{\"conversations\": [\"a\"]}", "f:1: conversations: want objects"},
	{PROMPTS_SHAREGPT, "{\"conversations\": [{\"from\": \"human\"}]}",
	 "f:1: conversations[]: value is missing"},
	{PROMPTS_MT_BENCH, "{\"turns\": []}", "f:1: turns: want a list of the user's questions"},
	{PROMPTS_MT_BENCH, "{\"turns\": [\"a\", 3]}", "f:1: turns[1]: want a string"},
	{PROMPTS_MT_BENCH, "{\"turns\": [\"a\", \"\"]}", "f:1: turns[1]: an empty prompt"},
	{PROMPTS_OPENAI_BATCH, "{\"messages\": []}", "f:1: body: missing"},
	{PROMPTS_OPENAI_BATCH, "{\"body\": {}}", "f:1: body: neither messages nor a prompt"},
	{PROMPTS_OPENAI_BATCH,
	 "{\"body\": {\"messages\": [{\"role\": \"robot\", \"content\": \"a\"}]}}",
	 "f:1: body.messages[0].role: want user"},
	{PROMPTS_OPENAI_BATCH,
	 "{\"body\": {\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}}",
	 "f:1: body.messages[0]: the last one is not a user's"},
	{PROMPTS_OPENAI_BATCH,
	 "{\"body\": {\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
	 "\"image_url\"}]}]}}",
	 "f:1: body.messages[0].content: a part that is no text"},
	{PROMPTS_CUSTOM, "{\"prompt\": \"a\"}\n{\"prompt\": \"\"}", "f:2: prompt: an empty prompt"},
	{PROMPTS_CUSTOM, "{\"text\": \"a\"}", "f:1: prompt: missing"},
	{PROMPTS_CUSTOM, "{\"prompt\": \"a\", \"output_tokens\": -1}", "f:1: output_tokens: "},
	{PROMPTS_CSV, "a,b\n1,2\n", "f: no column \"prompt\" (there are: a, b)"},
	{PROMPTS_CSV, "prompt,output_tokens\na,4\nb,x\n", "f:3: output_tokens: "},
	{PROMPTS_CSV, "prompt,output_tokens\na,4\nb,-2\n", "f:3: output_tokens: want 1 to"},
	{PROMPTS_CSV, "prompt,x\n ,1\n", "f:2: prompt: an empty prompt"},
	{PROMPTS_CSV, "prompt,x\n\xff,1\n", "f:2: prompt: not UTF-8 text"},
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct prompt_set set = {0};
		struct err e = {.msg = ""};

		assert_int_not_equal(prompts_parse(&set, mistakes[i].format, "f", mistakes[i].text,
						   strlen(mistakes[i].text), &e),
				     RC_OK);
		if (strncmp(e.msg, mistakes[i].message, strlen(mistakes[i].message)) != 0)
			fail_msg("%s\ngot:  %s\nwant: %s", mistakes[i].text, e.msg,
				 mistakes[i].message);
		prompts_release(&set);
	}
}

static void test_plain_nul(void **state)
{
	struct prompt_set set = {0};
	struct err e;

	(void)state;
	assert_int_equal(prompts_parse(&set, PROMPTS_PLAIN, "f", "ok\na\0b", 6, &e), RC_INPUT);
	assert_string_equal(e.msg, "f:2: not UTF-8 text");
	prompts_release(&set);
}

static void test_not_detected(void **state)
{
	static const char *const texts[] = {"{\"a\": \"b\"}", "{not json", "[1, 2]", "[", "[[[["};
	static const char *const plain[] = {"Explain {\"conversations\"}", "a prompt, perhaps", "",
					    "\n \n"};
	enum prompt_format format;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(prompts_detect("f", texts[i], strlen(texts[i]), &format, &e),
				 RC_INPUT);
		assert_non_null(strstr(e.msg, "say format: plain"));
	}
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		assert_int_equal(prompts_detect("f", plain[i], strlen(plain[i]), &format, &e),
				 RC_OK);
		assert_int_equal(format, PROMPTS_PLAIN);
	}
}

/* ---- the sets that people use ---- */

static void test_known_sets(void **state)
{
	static const struct {
		const char *file;
		enum prompt_format format;
		size_t prompts, turns;
	} row[] = {
		{"mt_bench_question.jsonl", PROMPTS_MT_BENCH, 80, 160},
		{"vicuna_bench_question.jsonl", PROMPTS_MT_BENCH, 80, 80},
		{"sharegpt_format_fastchat_dummy_conversation.json", PROMPTS_SHAREGPT, 500, 1000},
	};

	(void)state;
	if (access(SHARED_DIR "/data/prompts", R_OK) != 0) {
		print_message("skipped: no ../shared/data\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		enum prompt_format format;
		struct prompt_set set;
		size_t turns = 0;
		char path[512];
		struct buf b;
		struct err e;

		snprintf(path, sizeof(path), SHARED_DIR "/data/prompts/%s", row[i].file);
		buf_init(&b, 64u << 20);
		assert_int_equal(buf_read_file(&b, path, &e), RC_OK);
		assert_int_equal(prompts_detect(path, buf_head(&b), buf_size(&b), &format, &e),
				 RC_OK);
		assert_int_equal(format, row[i].format);
		set = parse(format, buf_head(&b), buf_size(&b));
		for (size_t k = 0; k < set.n; k++)
			turns += set.v[k].n_turns;
		assert_int_equal(set.n, row[i].prompts);
		assert_int_equal(set.skipped, 0);
		assert_int_equal(turns, row[i].turns);
		prompts_release(&set);
		buf_release(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),	   cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_plain_nul),  cmocka_unit_test(test_not_detected),
		cmocka_unit_test(test_known_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
