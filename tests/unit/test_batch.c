/*
 * Plans laid flat: which row is whose, where chunks begin, whose logits are wanted; and the plans
 * that break the contract, each refused with its reason and nothing computed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "cpu/batch.h"

static const struct batch_limits limits = {
	.n_vocab = 100,
	.max_positions = 40,
	.n_pages = 8,
	.page_tokens = 4,
	.chunk_rows = 3,
};

/* Tokens id*10, id*10 + 1, ...; pages 1, 2, ... for all of them. */
static struct genreq *request(uint64_t id, int32_t n)
{
	int32_t tokens[64];
	struct genreq *r;

	for (int32_t i = 0; i < n; i++)
		tokens[i] = (int32_t)id * 10 + i;
	r = genreq_new(id, NULL, tokens, n, 10);
	r->slot.n_blocks = (n + limits.page_tokens - 1) / limits.page_tokens;
	r->slot.block = xcalloc((size_t)r->slot.n_blocks, sizeof(*r->slot.block));
	for (int32_t i = 0; i < r->slot.n_blocks; i++)
		r->slot.block[i] = i + 1;
	return r;
}

static void test_rows(void **state)
{
	static const int32_t token[] = {12, 13, 14, 15, 20, 31, 32, 33, 34};
	static const int32_t position[] = {2, 3, 4, 5, 0, 1, 2, 3, 4};
	static const int32_t item[] = {0, 0, 0, 0, 1, 2, 2, 2, 2};
	static const struct query_chunk chunk[] = {
		{0, 0, 3}, {0, 3, 1}, {1, 4, 1}, {2, 5, 3}, {2, 8, 1}};
	struct genreq *r[] = {request(1, 6), request(2, 1), request(3, 9)};
	struct step_plan plan;
	struct batch b;

	(void)state;
	step_plan_init(&plan);
	step_plan_add(&plan, r[0], 2, 4);
	step_plan_add(&plan, r[1], 0, 1);
	step_plan_add(&plan, r[2], 1, 4); /* a chunk in the middle: nothing comes of it yet */
	batch_init(&b, 9);
	for (int again = 0; again < 2; again++) {
		assert_null(batch_fill(&b, &plan, &limits));
		assert_int_equal(b.n_rows, 9);
		assert_memory_equal(b.token, token, sizeof(token));
		assert_memory_equal(b.position, position, sizeof(position));
		assert_memory_equal(b.item, item, sizeof(item));
		assert_int_equal(b.n_chunks, ARRAY_LEN(chunk));
		assert_memory_equal(b.chunk, chunk, sizeof(chunk));
		assert_int_equal(b.n_logits, 2);
		assert_int_equal(b.logits_row[0], 3);
		assert_int_equal(b.logits_row[1], 4);
	}
	batch_release(&b);
	step_plan_release(&plan);
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		genreq_free(r[i]);
}

/* Of a prompt whose tokens' probabilities are wanted: the rows behind each token that another one
 * of the prompt follows, beside the one that emits. */
static void test_prompt_logprobs(void **state)
{
	static const int32_t want[] = {1, 2, 3, 4, 5, 6, 8};
	struct genreq *r[] = {request(1, 3), request(2, 5), request(3, 3)};
	struct step_plan plan;
	struct batch b;

	(void)state;
	r[1]->prompt_logprob = xcalloc(5, sizeof(float));
	r[2]->prompt_logprob = xcalloc(2, sizeof(float));
	r[2]->n_prompt =
		2; /* its third token belongs to the answer: recomputed, preempted before */
	step_plan_init(&plan);
	step_plan_add(&plan, r[0], 0, 1);
	step_plan_add(&plan, r[1], 0, 5);
	step_plan_add(&plan, r[2], 0, 3);
	batch_init(&b, 9);
	assert_null(batch_fill(&b, &plan, &limits));
	assert_int_equal(b.n_logits, ARRAY_LEN(want));
	assert_memory_equal(b.logits_row, want, sizeof(want));
	step_plan_clear(&plan);
	step_plan_add(&plan, r[1], 1, 2); /* a chunk: the next one's first token is known, too */
	assert_null(batch_fill(&b, &plan, &limits));
	assert_int_equal(b.n_logits, 2);
	batch_release(&b);
	step_plan_release(&plan);
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		genreq_free(r[i]);
}

static void no_fault(struct genreq *r)
{
	(void)r;
}

static void no_table(struct genreq *r)
{
	free(r->slot.block);
	r->slot.block = NULL;
}

static void short_table(struct genreq *r)
{
	r->slot.n_blocks = 2;
}

static void page_beyond(struct genreq *r)
{
	r->slot.block[1] = limits.n_pages;
}

static void page_below(struct genreq *r)
{
	r->slot.block[0] = -1;
}

static void token_beyond(struct genreq *r)
{
	r->tokens[8] = limits.n_vocab;
}

static void token_below(struct genreq *r)
{
	r->tokens[0] = -1;
}

static void test_faults(void **state)
{
	static const struct {
		const char *what;
		void (*spoil)(struct genreq *r);
		int32_t n, max_rows;
		const char *want; /* part of the reason; NULL = none */
	} cases[] = {
		{"sound", no_fault, 9, 9, NULL},
		{"no block table", no_table, 9, 9, "no KV pages"},
		{"short block table", short_table, 9, 9, "no KV pages"},
		{"page beyond", page_beyond, 9, 9, "KV page"},
		{"page below", page_below, 9, 9, "KV page"},
		{"token beyond", token_beyond, 9, 9, "vocabulary"},
		{"token below", token_below, 9, 9, "vocabulary"},
		{"more rows than room", no_fault, 9, 8, "more tokens"},
		{"beyond the positions", no_fault, 41, 64, "positions"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct genreq *r = request(1, cases[i].n);
		struct step_plan plan;
		struct batch b;
		const char *got;

		cases[i].spoil(r);
		step_plan_init(&plan);
		step_plan_add(&plan, r, 0, cases[i].n);
		batch_init(&b, cases[i].max_rows);
		got = batch_fill(&b, &plan, &limits);
		if (!got != !cases[i].want || (got && !strstr(got, cases[i].want)))
			fail_msg("%s: %s", cases[i].what, got ? got : "no fault");
		batch_release(&b);
		step_plan_release(&plan);
		genreq_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_prompt_logprobs),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
