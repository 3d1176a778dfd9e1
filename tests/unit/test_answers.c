/*
 * What simulated answers say: texts come back byte for byte, of any bytes; the ids are those that
 * the same text has in a prompt; lengths are cut and extended; a set that cannot be read is refused
 * with its place; and in virtual time the tokens are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "fakeengine/answers.h"
#include "fakeengine/simulate.h"
#include "fakeengine/wordcodec.h"
#include "serve/script.h"

/* ---- splitting ---- */

static void check_split(const char *text, size_t len)
{
	struct token_list plain = {0}, id = {0}, ends = {0};
	int32_t before = 0;

	wordcodec.encode(&wordcodec, text, len, &plain);
	wordcodec_split(text, len, &id, &ends);
	assert_int_equal(id.n, plain.n);
	assert_int_equal(ends.n, plain.n);
	for (int32_t i = 0; i < id.n; i++) {
		assert_int_equal(id.id[i], plain.id[i]);
		assert_true(ends.id[i] >= before);
		before = ends.id[i];
	}
	if (id.n)
		assert_int_equal(before, len);
	token_list_release(&plain);
	token_list_release(&id);
	token_list_release(&ends);
}

static void test_split_covers_any_bytes(void **state)
{
	static const char *const texts[] = {"",
					    " ",
					    "a",
					    " the  end \n\n",
					    "don't <|im_end|> 12345",
					    "häßlich-unübersetzbar",
					    "日本語のテキスト"};
	struct rng rng;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		check_split(texts[i], strlen(texts[i]));
	rng_init(&rng, 1, "bytes", 0);
	for (int i = 0; i < 2000; i++) {
		char text[64];
		size_t n = rng_below(&rng, sizeof(text));

		for (size_t k = 0; k < n; k++)
			text[k] = (char)(rng_below(&rng, 3) ? rng_u32(&rng) : ' ');
		check_split(text, n);
	}
}

/* ---- planning ---- */

struct world {
	struct profile p;
	struct answers *a;
	char file[64];
};

static const char base[] = "{name: n, engine: e, description: d, source: s, model: {name: m},"
			   " scheduler: {policy: static}, cost: {constant: {prefill_ms: 1}}, %s}";

/* keys: of the profile, with %s where the set's file stands. */
static enum rc world_open(struct world *w, const char *keys, const char *set, struct err *e)
{
	char text[1024], with_file[512];
	int fd;

	*w = (struct world){.file = "/tmp/test_answers.XXXXXX"};
	fd = mkstemp(w->file);
	assert_true(fd >= 0 && write(fd, set, strlen(set)) == (ssize_t)strlen(set));
	close(fd);
	snprintf(with_file, sizeof(with_file), keys, w->file); /* NOLINT: our own formats */
	snprintf(text, sizeof(text), base, with_file);
	assert_int_equal(profile_parse(&w->p, "t", text, strlen(text), NULL, 0, e), RC_OK);
	return answers_open(&w->a, &w->p, 42, e);
}

static void world_close(struct world *w)
{
	answers_free(w->a);
	profile_release(&w->p);
	unlink(w->file);
}

/* said NULL: a prompt of ids. */
static struct genreq *plan(const struct world *w, const char *said, uint64_t seed)
{
	struct api_prompt p = {.said = said ? xstrdup(said) : NULL};
	struct genreq *r;

	wordcodec.encode(&wordcodec, said ? said : "the ids", strlen(said ? said : "the ids"),
			 &p.tokens);
	r = genreq_new(1, NULL, p.tokens.id, p.tokens.n, 1000);
	r->seed = seed;
	answers_plan(r, &p, w->a);
	token_list_release(&p.tokens);
	free(p.said);
	return r;
}

/* The first n tokens as they would leave; the caller frees. */
static char *recite(const struct genreq *r, int32_t n)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	for (int32_t i = 0; i < n; i++)
		assert_true(script_put(r->script, i, &b));
	buf_putc(&b, '\0');
	return buf_take(&b);
}

static void check_recital(const struct genreq *r, int32_t n, const char *want)
{
	char *got = recite(r, n);

	assert_string_equal(got, want);
	free(got);
}

static void test_words_have_no_script(void **state)
{
	int32_t got[3], want[3];
	struct genreq *r;
	struct world w;
	struct err e;

	(void)state;
	assert_int_equal(world_open(&w, "output: {ends_after: 9}", "", &e), RC_OK);
	r = plan(&w, "hello", 7);
	assert_null(r->script);
	assert_int_equal(r->eos_after, 9);
	answer_tokens(r, 5, 3, got);
	wordcodec_filler_run(7, 5, 3, want);
	assert_memory_equal(got, want, sizeof(want));
	genreq_free(r);
	world_close(&w);
}

static void test_echo(void **state)
{
	static const char *const said[] = {"Say don't  stop, 12345 times!", "Grüße aus 東京\n",
					   "x"};
	struct world w;
	struct err e;

	(void)state;
	assert_int_equal(world_open(&w, "text: echo, output: {ends_after: text}", "", &e), RC_OK);
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		struct genreq *r = plan(&w, said[i], i);
		int32_t *ids = xcalloc((size_t)r->n_prompt, sizeof(*ids));
		char *twice = xasprintf("%s %s", said[i], said[i]);

		assert_int_equal(r->eos_after, r->n_prompt);
		check_recital(r, r->n_prompt, said[i]);
		check_recital(r, 2 * r->n_prompt, twice);
		answer_tokens(r, 0, r->n_prompt, ids);
		assert_memory_equal(ids, r->tokens, (size_t)r->n_prompt * sizeof(*ids));
		free(twice);
		free(ids);
		genreq_free(r);
	}
	world_close(&w);
}

/* Of ids what they decode to; of nothing said, words. */
static void test_echo_without_text(void **state)
{
	struct genreq *r;
	struct world w;
	struct err e;

	(void)state;
	assert_int_equal(world_open(&w, "text: echo", "", &e), RC_OK);
	r = plan(&w, NULL, 1);
	check_recital(r, 1, "the");
	assert_int_equal(script_token(r->script, 0), r->tokens[0]);
	assert_int_equal(r->eos_after, 0);
	genreq_free(r);
	r = plan(&w, "", 1);
	assert_null(r->script);
	genreq_free(r);
	world_close(&w);
}

static const char two[] = "{\"conversations\": [\"What is a tree?\", \"A tree has leaves.\", \"And "
			  "then?\", \"A bird.\"], "
			  "\"reference_tokens\": 7}\n"
			  "\n"
			  "{\"conversations\": [\"Who are you?\", \"No one.\"]}\n";

/* Each prompt finds its answer, blanks at its ends or not; its length is the record's, or the
 * text's; beyond the text it begins again. */
static void test_reference(void **state)
{
	static const struct {
		const char *said, *answer;
		int32_t tokens, eos_after;
	} rows[] = {{"What is a tree?", "A tree has leaves.", 5, 7},
		    {" What is a tree?\n", "A tree has leaves.", 5, 7},
		    {"And then?", "A bird.", 3, 3},
		    {"Who are you?", "No one.", 3, 3}};
	struct world w;
	struct err e;

	(void)state;
	assert_int_equal(world_open(&w, "text: reference=%s, output: {ends_after: text}", two, &e),
			 RC_OK);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct genreq *r = plan(&w, rows[i].said, i);

		assert_int_equal(r->script->tokens.n, rows[i].tokens);
		assert_int_equal(r->eos_after, rows[i].eos_after);
		check_recital(r, rows[i].tokens, rows[i].answer);
		genreq_free(r);
	}
	world_close(&w);
}

/* Who asks for something else gets one of the answers, by what is asked and not by the request. */
static void test_reference_unknown(void **state)
{
	struct script *seen[2] = {NULL, NULL};
	struct world w;
	struct err e;
	int differ = 0;

	(void)state;
	assert_int_equal(world_open(&w, "text: reference=%s", two, &e), RC_OK);
	for (int i = 0; i < 20; i++) {
		char said[32];
		struct genreq *r, *again;

		snprintf(said, sizeof(said), "question %d", i);
		r = plan(&w, said, 1);
		again = plan(&w, said, 2);
		assert_ptr_equal(r->script, again->script);
		assert_int_equal(r->eos_after, 0);
		seen[i % 2] = r->script;
		differ += i > 0 && seen[0] != seen[1];
		genreq_free(r);
		genreq_free(again);
	}
	assert_true(differ > 0);
	world_close(&w);
}

static void test_bad_sets(void **state)
{
	static const struct {
		const char *set, *says;
	} rows[] = {
		{"", ": there is no answer in it"},
		{"{\"conversations\": [\"only asked\"]}", ": there is no answer in it"},
		{"\n{\"conversations\": [1, 2]}", ":2: conversations: want strings"},
		{"{\"turns\": []}", ":1: conversations: the key is missing"},
		{"{\"conversations\": [\"a\", \"b\"], \"reference_tokens\": 0}",
		 ":1: reference_tokens"},
		{"[]", ":1: want an object"},
		{"{\"conversations\"", ":1: "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		struct err e;

		assert_int_equal(world_open(&w, "text: reference=%s", rows[i].set, &e), RC_INPUT);
		assert_memory_equal(e.msg, w.file, strlen(w.file));
		assert_memory_equal(e.msg + strlen(w.file), rows[i].says, strlen(rows[i].says));
		world_close(&w);
	}
}

/* ---- in virtual time ---- */

static int32_t simulated[64], n_simulated;

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	(void)r;
	(void)t_ns;
	(void)n;
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	(void)t_ns;
	n_simulated = genreq_output_tokens(r);
	memcpy(simulated, r->tokens + r->n_prompt, (size_t)n_simulated * sizeof(*simulated));
}

static void test_simulated(void **state)
{
	static const struct sim_sink sink = {on_tokens, on_done};

	(void)state;
	for (int step_by_step = 0; step_by_step < 2; step_by_step++) {
		struct evloop *loop = evloop_new_virtual(0);
		struct sim_setup setup = {.step_by_step = step_by_step};
		struct sim *s;
		struct genreq *r;
		struct world w;
		struct err e;

		assert_int_equal(
			world_open(&w, "text: reference=%s, output: {ends_after: text}", two, &e),
			RC_OK);
		setup.policy = w.p.policy;
		setup.cost = &w.p.cost;
		memcpy(setup.knobs, w.p.knobs, sizeof(setup.knobs));
		assert_int_equal(sim_new(&s, loop, &setup, &sink, &e), RC_OK);
		r = plan(&w, "What is a tree?", 3);
		n_simulated = 0;
		assert_int_equal(sim_submit(s, r, &e), RC_OK);
		evloop_run(loop);
		assert_int_equal(n_simulated, 7);
		for (int32_t i = 0; i < 7; i++) {
			struct token_list want = {0};

			wordcodec.encode(&wordcodec, "A tree has leaves.", 18, &want);
			assert_int_equal(simulated[i], want.id[i % want.n]);
			token_list_release(&want);
		}
		sim_free(s);
		evloop_free(loop);
		world_close(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_covers_any_bytes),
		cmocka_unit_test(test_words_have_no_script),
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_echo_without_text),
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_reference_unknown),
		cmocka_unit_test(test_bad_sets),
		cmocka_unit_test(test_simulated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
