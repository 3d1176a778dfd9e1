/*
 * The life of a request: which ways the state may go, and with which token an answer ends, and why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve/genreq.h"

#define EOS 7

static void keeps_a_copy_of_the_prompt(void **state)
{
	int32_t prompt[] = {11, 12, 13};
	struct genreq *r = genreq_new(5, "abc", prompt, 3, 1 << 30);

	(void)state;
	prompt[0] = 0;
	assert_int_equal(r->id, 5);
	assert_string_equal(r->name, "abc");
	assert_int_equal(r->tokens[0], 11);
	assert_int_equal(r->n_prompt, 3);
	assert_int_equal(genreq_output_tokens(r), 0);
	assert_int_equal(r->state, GENREQ_QUEUED);
	assert_true(r->cap_tokens <
		    1 << 16); /* a huge max_tokens does not take its memory at once */
	genreq_free(r);
	genreq_free(NULL);
	genreq_free(genreq_new(0, NULL, NULL, 0, 1));
}

static void grows_with_its_answer(void **state)
{
	struct genreq *r = genreq_new(0, NULL, (int32_t[]){1}, 1, 1 << 30);

	(void)state;
	for (int32_t i = 0; i < 10000; i++)
		assert_false(genreq_push_token(r, i, -1, INT32_MAX));
	for (int32_t i = 0; i < 10000; i++)
		assert_int_equal(r->tokens[1 + i], i);
	genreq_free(r);
}

/* 3 prompt tokens, then 100, 101, ... but EOS at eos_at (counted from 1). */
static const struct ending {
	const char *why;
	int32_t max_tokens, min_tokens, eos_after, max_len;
	int32_t eos_at, eos_token;
	bool ignore_eos;
	int32_t tokens;
	enum genreq_finish finish;
} endings[] = {
	{"max_tokens", 5, 0, 0, 100, 0, EOS, false, 5, FINISH_LENGTH},
	{"one token", 1, 0, 0, 100, 0, EOS, false, 1, FINISH_LENGTH},
	{"end of sequence", 5, 0, 0, 100, 3, EOS, false, 3, FINISH_STOP},
	{"end of sequence, ignored", 5, 0, 0, 100, 3, EOS, true, 5, FINISH_LENGTH},
	{"end of sequence before min_tokens", 5, 4, 0, 100, 3, EOS, false, 5, FINISH_LENGTH},
	{"end of sequence at min_tokens", 5, 3, 0, 100, 3, EOS, false, 3, FINISH_STOP},
	{"end of sequence at max_tokens", 5, 0, 0, 100, 5, EOS, false, 5, FINISH_STOP},
	{"a model without end of sequence", 5, 0, 0, 100, 3, -1, false, 5, FINISH_LENGTH},
	{"planned answer", 9, 0, 4, 100, 0, -1, false, 4, FINISH_STOP},
	{"planned answer, ignored", 9, 0, 4, 100, 0, -1, true, 9, FINISH_LENGTH},
	{"planned answer, min_tokens", 9, 6, 4, 100, 0, -1, false, 6, FINISH_STOP},
	{"context full", 9, 0, 0, 6, 0, -1, false, 3, FINISH_LENGTH},
	{"context full before min_tokens", 9, 8, 0, 6, 0, -1, false, 3, FINISH_LENGTH},
};

static void ends_where_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		const struct ending *c = &endings[i];
		struct genreq *r = genreq_new(0, NULL, (int32_t[]){1, EOS, 2}, 3, c->max_tokens);
		int32_t n = 0;
		bool ends;

		r->min_tokens = c->min_tokens;
		r->eos_after = c->eos_after;
		r->ignore_eos = c->ignore_eos;
		do {
			n++;
			assert_int_equal(r->finish, FINISH_NONE);
			ends = genreq_push_token(r, n == c->eos_at ? EOS : 99 + n, c->eos_token,
						 c->max_len);
		} while (!ends && n < 20);
		if (n != c->tokens || r->finish != c->finish)
			fail_msg("%s: %d tokens, finish %d", c->why, n, r->finish);
		genreq_free(r);
	}
}

static void takes_tokens_in_time(void **state)
{
	struct genreq *r = genreq_new(0, NULL, (int32_t[]){1}, 1, 3);

	(void)state;
	genreq_set_state(r, GENREQ_PREFILL);
	assert_false(genreq_take_token(r, 1, 0, -1, 100)); /* virtual time begins at 0 */
	assert_int_equal(r->state, GENREQ_DECODE);
	assert_false(genreq_take_token(r, 2, 20, -1, 100));
	genreq_set_state(r, GENREQ_QUEUED); /* preempted */
	genreq_set_state(r, GENREQ_PREFILL);
	assert_true(genreq_take_token(r, 3, 30, -1, 100));
	assert_int_equal(r->first_token_ns, 0);
	assert_int_equal(r->last_token_ns, 30);
	assert_int_equal(r->state, GENREQ_DONE);
	genreq_free(r);
}

static const enum genreq_state Q = GENREQ_QUEUED, P = GENREQ_PREFILL, D = GENREQ_DECODE,
			       OK = GENREQ_DONE, F = GENREQ_FAILED;

static void state_goes_only_along_its_edges(void **state)
{
	const enum genreq_state to[] = {Q, P, D, OK, F};
	const char *const allowed[] = {"P O F", "Q D O F", "Q O F", "", ""};
	const char letter[] = "QPDOF";

	(void)state;
	for (size_t from = 0; from < 5; from++) {
		for (size_t i = 0; i < 5; i++) {
			int status;
			pid_t child = fork();

			assert_true(child >= 0);
			if (child == 0) {
				struct genreq r = {.state = to[from]};

				close(2); /* the complaint is expected */
				genreq_set_state(&r, to[i]);
				_exit(r.state == to[i] ? 0 : 1);
			}
			assert_int_equal(waitpid(child, &status, 0), child);
			if (strchr(allowed[from], letter[i]))
				assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
			else
				assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		}
	}
}

static void names_are_those_of_the_api(void **state)
{
	(void)state;
	assert_string_equal(genreq_finish_name(FINISH_STOP), "stop");
	assert_string_equal(genreq_finish_name(FINISH_LENGTH), "length");
	assert_string_equal(genreq_finish_name(FINISH_ABORT), "abort");
	assert_null(genreq_finish_name(FINISH_NONE));
	assert_string_equal(genreq_state_name(GENREQ_PREFILL), "prefill");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_a_copy_of_the_prompt),
		cmocka_unit_test(grows_with_its_answer),
		cmocka_unit_test(ends_where_it_should),
		cmocka_unit_test(takes_tokens_in_time),
		cmocka_unit_test(state_goes_only_along_its_edges),
		cmocka_unit_test(names_are_those_of_the_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
