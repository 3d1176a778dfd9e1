/*
 * Forms: what they become, prepared or at once; and that every form of every server is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "serve/form.h"
#include "serve/wire.h"

#define USAGE FORM_FLAG('u')

static const struct {
	const char *form, *want;
	struct form_values v;
} rows[] = {
	{"data: {'t':'$text','total':$total_tokens,'out':$completion_tokens}\n\n",
	 "data: {\"t\":\"a\",\"total\":12,\"out\":3}\n\n",
	 {.text = "a", .len = 1, .prompt_tokens = 9, .completion_tokens = 3}},
	{"{'t':'$text','total':$total_tokens}", "{\"t\":\"\",\"total\":0}", {.text = ""}},
	{"'$text'", "\"\\\"\\\\\\n\\u0001\"", {.text = "\"\\\n\x01", .len = 4}},
	{"$text", "\xe4\xbd\xa0", {.text = "\xe4\xbd\xa0", .len = 3}},
	{"$text", "\xef\xbf\xbd", {.text = "\xff", .len = 1}},
	{"$text",
	 "\\u4f60\\ud83c\\udf89 a\\n",
	 {.ascii = true, .text = "\xe4\xbd\xa0\xf0\x9f\x8e\x89 a\n", .len = 10}},
	{"$completion_tokens", "9223372036854775807", {.completion_tokens = INT64_MAX}},
	{"a$?u{,'u':$completion_tokens$}b$!u{,none$}c",
	 "a,\"u\":5bc",
	 {.flags = USAGE, .completion_tokens = 5}},
	{"a$?u{,'u':$completion_tokens$}b$!u{,none$}c", "ab,nonec", {.completion_tokens = 5}},
	{"$finish $stop $param", "null null null", {0}},
	{"$finish $stop", "\"stop\" \"x\\\"\"", {.finish = "stop", .stop = "x\""}},
	{"$finish_object",
	 "{\"type\":\"length\",\"length\":7}",
	 {.finish = "length", .completion_tokens = 7}},
	{"$finish_object", "{\"type\":\"stop\",\"matched\":null}", {.finish = "stop"}},
	{"$context $prompt_ids", "null null", {.max_tokens = INT32_MAX}},
	{"$prompt_ids",
	 "[4,5]",
	 {.flags = FORM_FLAG('e'), .prompt_id = (const int32_t[]){4, 5}, .prompt_tokens = 2}},
	{"$model@main", "m\\\"@main", {.model = "m\""}},
	{"no place", "no place", {0}},
	{"", "", {0}},
};

static void test_put_and_fill(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf at_once, prepared;
		struct form f;

		assert_null(form_check(rows[i].form));
		buf_init(&at_once, SIZE_MAX);
		buf_init(&prepared, SIZE_MAX);
		form_init(&f);
		form_put(&at_once, rows[i].form, &rows[i].v);
		form_prepare(&f, rows[i].form, &rows[i].v);
		form_fill(&f, &rows[i].v, &prepared);
		assert_string_equal(buf_cstr(&at_once), rows[i].want);
		assert_string_equal(buf_cstr(&prepared), rows[i].want);
		form_release(&f);
		buf_release(&at_once);
		buf_release(&prepared);
	}
}

static void test_wrong_forms(void **state)
{
	static const char many[] =
		"$text$text$text$text$text$text$text$text$text$text$text$text$text";
	static const char *const wrong[] = {"$nothing",	    "$",      "$?u{a", "a$}",
					    "$?u{$?c{$}$}", "$?U{$}", "$?u",   many};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (!form_check(wrong[i]))
			fail_msg("taken: %s", wrong[i]);
}

static void check(const struct wire_habit *w, const char *form)
{
	if (form && form_check(form))
		fail_msg("%s: %s: %s", w->name, form, form_check(form));
}

/* What the front end takes for granted of every row. */
static void test_every_server(void **state)
{
	(void)state;
	for (size_t i = 0; wire_habits[i]; i++) {
		const struct wire_habit *w = wire_habits[i];

		assert_ptr_equal(wire_find(w->name), w);
		assert_true(w->help && w->basis && w->http && w->json_type && w->stream_type);
		assert_non_null(w->text_type);
		check(w, w->error);
		check(w, w->error_event);
		check(w, w->health);
		check(w, w->models);
		check(w, w->models_item);
		for (int k = 0; k < N_REFUSALS; k++)
			check(w, w->refusals[k].form);
		for (const struct route *r = w->routes; r->path; r++) {
			const struct api_dialect *d = r->dialect;

			if (!strcmp(r->path, "/metrics"))
				assert_true(w->metrics && w->metrics_type);
			if (!d)
				continue;
			assert_true(d->id && d->token && (d->last || d->end) && d->body);
			assert_true(d->words.eos && d->words.stop && d->words.length);
			check(w, d->role);
			check(w, d->token);
			check(w, d->last);
			check(w, d->end);
			check(w, d->usage);
			check(w, d->body);
			check(w, d->body_choice);
			check(w, d->body_end);
		}
	}
	assert_null(wire_find("nobody"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_and_fill),
		cmocka_unit_test(test_wrong_forms),
		cmocka_unit_test(test_every_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
