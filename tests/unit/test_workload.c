/*
 * What is asked: the draw of prompts and lengths, and that it is a function of (seed, level,
 * repeat, k) alone. And the shipped set, held to what it claims to be. Prompt files themselves are
 * in test_prompts.c.
 */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "loadgen/scenario.h"
#include "loadgen/workload.h"

#define SET SOURCE_DIR "/scenarios/prompts/lima_style.jsonl"

/* ---- the draw ---- */

static struct scenario *scenario(const char *workload)
{
	struct scenario *s;
	struct err e = {.msg = ""};
	char *text = xasprintf("targets: [{name: a, url: \"http://h\"}]\n"
			       "load: {serial: {requests: 1}}\nseed: 5\nworkload: {%s}\n",
			       workload);

	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s\n%s", text, e.msg);
	free(text);
	return s;
}

static struct workload *workload(const struct scenario *s)
{
	struct workload *w;
	struct err e = {.msg = ""};

	if (workload_new(&w, s, &e) != RC_OK)
		fail_msg("%s", e.msg);
	return w;
}

static struct planned_request plan(struct workload *w, int level, int repeat, int64_t k)
{
	struct planned_request r;

	workload_plan(w, level, repeat, k, &r);
	return r;
}

static void test_shuffle(void **state)
{
	struct scenario *s = scenario("prompts: {file: \"" SET "\", limit: 50}");
	struct workload *w = workload(s);
	int64_t first[50];
	int same = 0;

	(void)state;
	assert_int_equal(workload_prompts(w), 50);
	for (int cycle = 0; cycle < 3; cycle++) { /* each prompt once a cycle */
		int seen[50] = {0};

		for (int k = 0; k < 50; k++) {
			struct planned_request r = plan(w, 0, 0, 50 * cycle + k);

			assert_true(r.prompt_id >= 0 && r.prompt_id < 50);
			assert_int_equal(r.input_tokens, -1);
			assert_int_equal(r.output_tokens, 128);
			assert_int_equal(strlen(r.text), r.len);
			seen[r.prompt_id]++;
			if (!cycle)
				first[k] = r.prompt_id;
			else
				same += first[k] == r.prompt_id;
		}
		for (int i = 0; i < 50; i++)
			assert_int_equal(seen[i], 1);
	}
	assert_true(same < 12); /* of 100; by chance 2 */
	workload_free(w);
	scenario_free(s);
}

/* A model for each request, drawn alike often and the same every time. */
static void test_lora_modules(void **state)
{
	struct scenario *s = scenario("prompts: {text: [a]}, lora_modules: [sql, chat, code]");
	struct scenario *none = scenario("prompts: {text: [a]}");
	struct workload *w = workload(s), *plain = workload(none);
	static const char *const names[] = {"sql", "chat", "code"};
	int seen[3] = {0};

	(void)state;
	for (int64_t k = 0; k < 600; k++) {
		struct planned_request r = plan(w, 0, 0, k);

		assert_in_range(r.lora_module, 0, 2);
		assert_string_equal(r.model, names[r.lora_module]);
		assert_int_equal(plan(w, 0, 0, k).lora_module, r.lora_module);
		seen[r.lora_module]++;
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(seen[i], 150, 250); /* 200 and four standard deviations */
	assert_null(plan(plain, 0, 0, 0).model);
	assert_int_equal(plan(plain, 0, 0, 0).lora_module, -1);
	workload_free(w);
	workload_free(plain);
	scenario_free(s);
	scenario_free(none);
}

static void test_sequential(void **state)
{
	struct scenario *s = scenario("prompts: {text: [a, b, c], pick: sequential}");
	struct workload *w = workload(s);

	(void)state;
	for (int64_t k = 0; k < 10; k++) {
		assert_int_equal(plan(w, 3, 1, k).prompt_id, k % 3);
		assert_int_equal(plan(w, 3, 1, k).text[0], 'a' + (int)(k % 3));
	}
	workload_free(w);
	scenario_free(s);
}

/* Whoever asks, in whatever order, gets the same; another seed, level or repeat gives another. */
static void test_pure(void **state)
{
	static const char *const kinds[] = {
		"prompts: {file: \"" SET
		"\"}, output_tokens: {dist: uniform, min: 1, max: 1000000}",
		"prompts: {synthetic: {input_tokens: {dist: uniform, min: 1, max: 900}}}, "
		"output_tokens: {dist: uniform, min: 1, max: 1000000}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct scenario *s = scenario(kinds[i]);
		struct workload *a = workload(s), *b = workload(s), *c;
		int level_same = 0, repeat_same = 0, seed_same = 0, warmup_same = 0;

		s->seed++;
		c = workload(s);
		for (int64_t k = 999; k >= 0; k -= 3)
			plan(b, 7, 2, k); /* another order of calls */
		for (int64_t k = 0; k < 400; k++) {
			struct planned_request x = plan(a, 7, 2, k), y = plan(b, 7, 2, k);
			int32_t tokens = x.output_tokens;

			assert_int_equal(x.prompt_id, y.prompt_id);
			assert_int_equal(x.input_tokens, y.input_tokens);
			assert_int_equal(x.output_tokens, y.output_tokens);
			assert_int_equal(x.len, y.len);
			assert_memory_equal(x.text, y.text, x.len);
			level_same += plan(b, 8, 2, k).output_tokens == tokens;
			repeat_same += plan(b, 7, 3, k).output_tokens == tokens;
			warmup_same += plan(b, -1, 2, k).output_tokens == tokens;
			seed_same += plan(c, 7, 2, k).output_tokens == tokens;
		}
		assert_true(level_same < 3 && repeat_same < 3 && seed_same < 3 && warmup_same < 3);
		workload_free(a);
		workload_free(b);
		workload_free(c);
		scenario_free(s);
	}
}

/* Lengths have a stream of their own: another way to pick prompts does not move them. */
static void test_streams_apart(void **state)
{
	struct scenario *s = scenario("prompts: {text: [a, b, c]}, output_tokens: {dist: gamma, "
				      "mean: 500, cv: 1}"),
			*t = scenario(
				"prompts: {synthetic: {input_tokens: 9}}, output_tokens: {dist: "
				"gamma, mean: 500, cv: 1}");
	struct workload *w = workload(s), *v = workload(t);

	(void)state;
	for (int64_t k = 0; k < 100; k++)
		assert_int_equal(plan(w, 0, 0, k).output_tokens, plan(v, 0, 0, k).output_tokens);
	workload_free(w);
	workload_free(v);
	scenario_free(s);
	scenario_free(t);
}

static int64_t words_of(const char *s)
{
	int64_t n = 0;

	for (bool inside = false; *s; s++) {
		n += *s != ' ' && !inside;
		inside = *s != ' ';
	}
	return n;
}

/* All turns of a conversation are one record's; it has a level's as many as are asked. */
static void test_turns(void **state)
{
	static const char records[] =
		"{\"turns\": [\"a1\", \"a2\", \"a3\"]}\n{\"turns\": [\"b1\"]}\n";
	char path[] = "/tmp/test_workload.XXXXXX", *keys;
	struct planned_request r;
	struct scenario *s;
	struct workload *w;
	int fd = mkstemp(path), long_ones = 0;

	(void)state;
	assert_int_equal(write(fd, records, sizeof(records) - 1), sizeof(records) - 1);
	close(fd);
	keys = xasprintf("prompts: {file: \"%s\"}", path);
	s = scenario(keys);
	w = workload(s);
	for (int64_t c = 0; c < 10; c++) {
		int n = workload_turns(w, 0, 0, c, 0);

		workload_plan_turn(w, 0, 0, c, n - 1, 77, &r);
		assert_string_equal(r.text, n == 3 ? "a3" : "b1");
		assert_int_equal(workload_turns(w, 0, 0, c, 2), n == 3 ? 2 : 1);
		long_ones += n == 3;
	}
	assert_int_equal(long_ones, 5);
	workload_free(w);
	scenario_free(s);
	free(keys);
	remove(path);

	s = scenario("prompts: {synthetic: {input_tokens: 9, shared_prefix: {tokens: 50}}}");
	w = workload(s);
	assert_int_equal(workload_turns(w, 0, 0, 3, 4), 4);
	workload_plan_turn(w, 0, 0, 3, 0, 12, &r);
	assert_int_equal(r.input_tokens, 59);
	workload_plan_turn(w, 0, 0, 3, 2, 14, &r); /* the prefix stands in its history */
	assert_int_equal(r.input_tokens, 9);
	assert_int_equal(words_of(r.text), 9);
	workload_free(w);
	scenario_free(s);
}

static void test_synthetic(void **state)
{
	struct scenario *s = scenario(
		"prompts: {synthetic: {input_tokens: {dist: lognormal, mean: 300, cv: 0.6, min: 8, "
		"max: 2048}}}, output_tokens: {dist: exponential, mean: 100, max: 400}");
	struct workload *w = workload(s);
	double in = 0, out = 0;
	char before[64] = "";

	(void)state;
	assert_int_equal(workload_prompts(w), 0);
	for (int64_t k = 0; k < 4000; k++) {
		struct planned_request r = plan(w, 0, 0, k);

		assert_int_equal(r.prompt_id, k);
		assert_int_equal(words_of(r.text), r.input_tokens);
		assert_true(r.input_tokens >= 8 && r.input_tokens <= 2048);
		assert_true(r.output_tokens >= 1 && r.output_tokens <= 400);
		assert_int_not_equal(strncmp(before, r.text, 40), 0); /* no shared prefix */
		snprintf(before, sizeof(before), "%.60s", r.text);
		in += r.input_tokens;
		out += r.output_tokens;
	}
	assert_true(fabs(in / 4000 - 300) < 10);
	assert_true(fabs(out / 4000 - 100 * (1 - exp(-4))) < 6);
	workload_free(w);
	scenario_free(s);
}

/* How many words the two begin with alike. */
static int64_t common_words(const char *a, const char *b)
{
	int64_t n = 0;

	for (size_t i = 0;; i++) {
		n += (a[i] == ' ' || !a[i]) && (b[i] == ' ' || !b[i]);
		if (a[i] != b[i] || !a[i])
			return n;
	}
}

static void test_shared_prefix(void **state)
{
	struct scenario *s = scenario("prompts: {synthetic: {input_tokens: 20, shared_prefix: "
				      "{tokens: 100, groups: 4}}}");
	struct workload *w = workload(s);
	char *seen[4] = {NULL}, *other;
	int count[4] = {0}, groups = 0;

	(void)state;
	for (int64_t k = 0; k < 400; k++) {
		struct planned_request r = plan(w, 0, 0, k);
		int g = 0;

		assert_int_equal(r.input_tokens, 120);
		assert_int_equal(words_of(r.text), 120);
		while (g < groups && common_words(seen[g], r.text) < 100)
			g++;
		assert_true(g < 4);
		if (g == groups)
			seen[groups++] = xstrdup(r.text);
		else
			assert_true(common_words(seen[g], r.text) < 108); /* then their own */
		count[g]++;
	}
	assert_int_equal(groups, 4);
	for (int g = 0; g < 4; g++)
		assert_true(count[g] > 60 && count[g] < 140);
	/* Another level or repeat has other prefixes: it starts with a cold cache. */
	other = xstrdup(plan(w, 1, 0, 0).text);
	for (int g = 0; g < 4; g++) {
		assert_true(common_words(seen[g], other) < 10);
		assert_true(common_words(seen[g], plan(w, 0, 1, 0).text) < 10);
		free(seen[g]);
	}
	free(other);
	workload_free(w);
	scenario_free(s);
}

/* Prompts as long as a trace's, of its blocks, with its answers. */
static void test_from_trace(void **state)
{
	static const char rows[] = "{\"timestamp\": 0, \"input_length\": 1030, \"output_length\": "
				   "7, \"hash_ids\": [0, 1, "
				   "2]}\n"
				   "{\"timestamp\": 9, \"input_length\": 1100, \"output_length\": "
				   "8, \"hash_ids\": [0, 1, "
				   "3]}\n"
				   "{\"timestamp\": 9, \"input_length\": 600, \"output_length\": "
				   "9, \"hash_ids\": [0]}\n";
	static const int32_t input[] = {1030, 1100, 600}, output[] = {7, 8, 9};
	char path[] = "/tmp/test_workload.XXXXXX", *text, *prompt[3];
	struct scenario *s = NULL;
	struct workload *w;
	struct err e = {.msg = ""};
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, rows, sizeof(rows) - 1), sizeof(rows) - 1);
	close(fd);
	text = xasprintf("targets: [{name: a, url: \"http://h\"}]\n"
			 "load: {open: {trace: \"%s\"}}\nworkload: {prompts: trace}\n",
			 path);
	if (scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	w = workload(s);
	assert_int_equal(workload_trace(w)->n, 3);
	for (int i = 0; i < 3; i++) {
		struct planned_request r = plan(w, 0, 0, i);

		assert_int_equal(r.prompt_id, i);
		assert_int_equal(r.input_tokens, input[i]);
		assert_int_equal(r.output_tokens, output[i]);
		assert_int_equal(words_of(r.text), input[i]);
		prompt[i] = xstrdup(r.text);
	}
	assert_int_equal(common_words(prompt[0], prompt[1]) / 1024, 1);
	assert_true(common_words(prompt[0], prompt[1]) < 1030);
	assert_true(common_words(prompt[0], prompt[2]) >= 512);
	assert_true(common_words(prompt[0], prompt[2]) < 520);
	assert_true(common_words(prompt[0], plan(w, 1, 0, 0).text) < 10);
	assert_int_equal(plan(w, -1, 0, 0).prompt_id, 2); /* a warm-up comes from the end */
	for (int i = 0; i < 3; i++)
		free(prompt[i]);
	workload_free(w);
	scenario_free(s);
	free(text);
	remove(path);
}

static void test_reference(void **state)
{
	struct scenario *s = scenario("prompts: {file: \"" SET "\", pick: sequential}, "
				      "output_tokens: {reference: {max: 500}}"),
			*t = scenario("prompts: {file: \"" SET "\", pick: sequential}, "
				      "output_tokens: reference");
	struct workload *w = workload(s), *v = workload(t);
	int cut = 0;

	(void)state;
	for (int64_t k = 0; k < 340; k++) {
		int32_t whole = plan(v, 0, 0, k).output_tokens;

		assert_true(whole > 0);
		assert_int_equal(plan(w, 0, 0, k).output_tokens, whole > 500 ? 500 : whole);
		cut += whole > 500;
	}
	assert_true(cut > 30 && cut < 200);
	workload_free(w);
	workload_free(v);
	scenario_free(s);
	scenario_free(t);
}

static void test_too_many_turns(void **state)
{
	static const char text[] =
		"targets: [{name: a, url: \"http://h\"}]\nworkload: {prompts: {synthetic: "
		"{input_tokens: 5}}}\nload: {sessions: {users: 1, turns: 1000, conversations: "
		"10k}}\n";
	struct scenario *s = NULL;
	struct workload *w = NULL;
	struct err e = {.msg = ""};

	(void)state;
	assert_int_equal(scenario_parse(&s, "s.yaml", text, sizeof(text) - 1, NULL, NULL, &e),
			 RC_OK);
	assert_int_equal(workload_new(&w, s, &e), RC_INPUT);
	assert_string_equal(e.msg,
			    "load.sessions: 10000 conversations of up to 1000 turns are more "
			    "than the 9999999 requests that a level may have");
	s->levels[0].conversations = 9999;
	assert_int_equal(workload_new(&w, s, &e), RC_OK);
	workload_free(w);
	scenario_free(s);
}

/* Mistakes that only the content of a file shows. */
static void test_file_mistakes(void **state)
{
	static const struct {
		const char *content, *keys, *message;
	} row[] = {
		{"", "", "holds no prompts"},
		{"\n \n", "format: lima", "holds no prompts"},
		{"{\"a\": 1}\n", "", "1: JSON, but no record of a kind that is known"},
		{"hello\n", "format: lima", "1: line 1, column 1: "},
		{"{\"conversations\": [\"a\", \"b\"]}\n{\"conversations\": [\"a\"]}\n",
		 "}, output_tokens: reference, request: {", "record 2 has no answer"},
		{"hello\n", "}, output_tokens: reference, request: {", "record 1 has no answer"},
	};
	char path[] = "/tmp/test_workload.XXXXXX";

	(void)state;
	close(mkstemp(path));
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char *keys =
			xasprintf("prompts: {file: \"%s\"%s%s}", path,
				  *row[i].keys && *row[i].keys != '}' ? ", " : "", row[i].keys);
		FILE *f = fopen(path, "w");
		struct workload *w = NULL;
		struct scenario *s;
		struct err e = {.msg = ""};

		assert_non_null(f);
		fputs(row[i].content, f);
		fclose(f);
		s = scenario(keys);
		assert_int_equal(workload_new(&w, s, &e), RC_INPUT);
		assert_null(w);
		if (!strstr(e.msg, row[i].message) || strncmp(e.msg, path, strlen(path)) != 0)
			fail_msg("got:  %s\nwant: %s", e.msg, row[i].message);
		scenario_free(s);
		free(keys);
	}
	remove(path);
}

/* ---- the shipped set ---- */

static int64_t code_points(const char *s)
{
	int64_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Linear interpolation, numpy's default. v is sorted. */
static double quantile(const double *v, size_t n, double q)
{
	double at = q * (double)(n - 1);
	size_t i = (size_t)at;

	return i + 1 < n ? v[i] + (at - (double)i) * (v[i + 1] - v[i]) : v[n - 1];
}

static void assert_near(const char *what, double got, double want, double share)
{
	if (fabs(got - want) > share * want)
		fail_msg("%s: got %.1f, want %.1f within %.0f %%", what, got, want, 100 * share);
}

static void test_shipped_set(void **state)
{
	static const struct {
		const char *what;
		double q, lima;
	} shape[] = {{"p50", 0.5, 96}, {"p90", 0.9, 571}, {"p95", 0.95, 757}, {"p99", 0.99, 1694}};
	double chars[1000], references[1000], sum = 0;
	int single = 0, dialogues = 0;
	size_t n = 0, n_references = 0;
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, 16 << 20);
	assert_int_equal(buf_read_file(&b, SET, &e), RC_OK);
	for (char *line = strtok((char *)buf_cstr(&b), "\n"); line;
	     line = strtok(NULL, "\n"), n++) {
		const cJSON *turns, *turn;
		int64_t reference = 0;
		cJSON *record;
		int count;

		assert_true(n < ARRAY_LEN(chars));
		if (json_parse(&record, line, strlen(line), &e) != RC_OK)
			fail_msg("line %zu: %s", n + 1, e.msg);
		turns = cJSON_GetObjectItemCaseSensitive(record, "conversations");
		assert_int_equal(
			json_get_int(record, "", "reference_tokens", 65, 3000, &reference, &e),
			RC_OK);
		assert_true(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(record, "source")));
		count = cJSON_GetArraySize(turns);
		assert_true(count >= 2 && count % 2 == 0); /* it ends with an answer */
		single += count == 2;
		dialogues += count > 2;
		cJSON_ArrayForEach(turn, turns)
		{
			assert_true(cJSON_IsString(turn) && *turn->valuestring);
		}
		if (reference) {
			assert_int_equal(count, 2);
			references[n_references++] = (double)reference;
		}
		chars[n] = (double)code_points(turns->child->valuestring);
		sum += chars[n];
		cJSON_Delete(record);
	}
	buf_release(&b);
	assert_true(single >= 300);
	assert_true(dialogues >= 30);
	qsort(chars, n, sizeof(*chars), by_value);
	assert_near("mean", sum / (double)n, 229, 0.15);
	for (size_t i = 0; i < ARRAY_LEN(shape); i++)
		assert_near(shape[i].what, quantile(chars, n, shape[i].q), shape[i].lima, 0.15);

	/* What its README says of the answers. */
	assert_int_equal(n, 340);
	assert_int_equal(single, 309);
	assert_int_equal(dialogues, 31);
	assert_int_equal(n_references, 248);
	qsort(references, n_references, sizeof(*references), by_value);
	assert_near("reference p50", quantile(references, n_references, 0.5), 355, 0.01);
	assert_near("reference p90", quantile(references, n_references, 0.9), 1600, 0.01);
}

/* The lengths that loadgen makes of them, as the README has them too. */
static void test_shipped_lengths(void **state)
{
	struct scenario *s = scenario("prompts: {file: \"" SET "\", pick: sequential}, "
				      "output_tokens: reference");
	struct workload *w = workload(s);
	double tokens[340];

	(void)state;
	assert_int_equal(workload_prompts(w), 340);
	for (int64_t k = 0; k < 340; k++)
		tokens[k] = plan(w, 0, 0, k).output_tokens;
	qsort(tokens, 340, sizeof(*tokens), by_value);
	assert_near("p50", quantile(tokens, 340, 0.5), 230, 0.01);
	assert_near("p90", quantile(tokens, 340, 0.9), 1155, 0.01);
	workload_free(w);
	scenario_free(s);
}

/* The numbers of a prompt's words, spelled, are its text. */
static void test_words(void **state)
{
	struct scenario *s = scenario("prompts: {synthetic: {input_tokens: {dist: uniform, min: 1, "
				      "max: 90}, shared_prefix: {tokens: 7, groups: 2}}}");
	struct workload *spelled = workload(s), *counted = workload(s);
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	workload_keep_words(counted);
	for (int64_t k = 0; k < 50; k++) {
		struct planned_request a = plan(spelled, 0, 0, k), b = plan(counted, 0, 0, k);

		assert_null(a.word);
		assert_int_equal(b.len, 0);
		assert_int_equal(b.n_words, a.input_tokens);
		assert_int_equal(b.input_tokens, a.input_tokens);
		assert_int_equal(b.output_tokens, a.output_tokens);
		buf_clear(&text);
		assert_true(workload_spell(b.word, b.n_words, &text));
		assert_string_equal(buf_cstr(&text), a.text);
	}
	buf_release(&text);
	workload_free(spelled);
	workload_free(counted);
	scenario_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_too_many_turns),	cmocka_unit_test(test_shuffle),
		cmocka_unit_test(test_sequential),	cmocka_unit_test(test_pure),
		cmocka_unit_test(test_streams_apart),	cmocka_unit_test(test_synthetic),
		cmocka_unit_test(test_turns),		cmocka_unit_test(test_shared_prefix),
		cmocka_unit_test(test_from_trace),	cmocka_unit_test(test_reference),
		cmocka_unit_test(test_file_mistakes),	cmocka_unit_test(test_shipped_set),
		cmocka_unit_test(test_shipped_lengths), cmocka_unit_test(test_lora_modules),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
