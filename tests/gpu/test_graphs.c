/*
 * Steps as graphs, on whatever driver ENGINE_LIBCUDA names (ctest: the stand-in that interprets
 * PTX). Two forward passes with the same weights are given the same plans, one with graphs and one
 * without: tokens and logprobs are equal to the bit while sequences join and leave and contexts
 * grow over the bounds of buckets, and the steps that were a graph are those that should have been.
 * Then what can go wrong with graphs, none of which fails a step; and what is wrong with the card,
 * which does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "base/rng.h"
#include "cuda/forward_cuda.h"

enum { N = 9, MAX_LEN = 600, MAX_TOKENS = 40, PAGE = 16, PAGES_EACH = MAX_LEN / PAGE + 1 };

/* ---- two forward passes ---- */

static const struct tiny_params small = {.dtype = DTYPE_F16,
					 .n_layers = 1,
					 .n_heads = 2,
					 .d_model = 32,
					 .d_ff = 32,
					 .n_vocab = 260,
					 .max_len = MAX_LEN};

struct bench {
	struct tiny_model t;
	struct cuda *cuda;
	struct cuda_weights *weights;
	struct cuda_forward *plain, *graphed;
	struct graph_counts counts;
	struct genreq *r[N];
	int32_t computed[N];
};

static const struct cuda_limits limits = {
	.max_len = MAX_LEN,
	.max_seqs = N,
	.max_tokens = MAX_TOKENS,
	.num_blocks = N * PAGES_EACH + 1,
	.block_size = PAGE,
};

/* Two that end a little short of a split and two, and a few of ordinary lengths. */
static const int32_t prompt_tokens[N] = {5, 16, 2, 253, 31, 12, 510, 40, 9};

static struct genreq *request(int i, int32_t n_vocab)
{
	int32_t tokens[MAX_LEN];
	struct genreq *r;
	struct rng rng;

	rng_init(&rng, 7, "prompt", (uint64_t)i);
	for (int32_t k = 0; k < prompt_tokens[i]; k++)
		tokens[k] = (int32_t)rng_below(&rng, (uint64_t)n_vocab);
	r = genreq_new((uint64_t)i + 1, NULL, tokens, prompt_tokens[i], MAX_LEN);
	r->seed = (uint64_t)i;
	r->sampling = sampling_new();
	r->sampling->temperature = i % 2 == 0 ? 0 : 0.8;
	r->slot.n_blocks = PAGES_EACH;
	r->slot.block = xcalloc(PAGES_EACH, sizeof(*r->slot.block));
	for (int32_t k = 0; k < PAGES_EACH; k++)
		r->slot.block[k] = 1 + k * N + i;
	return r;
}

static bool bench_open(struct bench *b, const struct tiny_params *p)
{
	struct err e = {.rc = RC_OK};

	memset(b, 0, sizeof(*b));
	tiny_model_open(&b->t, p, MODEL_GGUF);
	if (cuda_open(&b->cuda, &e) ||
	    cuda_weights_load(&b->weights, b->t.model, b->t.file, b->cuda, &e) ||
	    cuda_forward_new(&b->plain, b->cuda, b->t.model, b->weights, &limits, NULL, 0, NULL,
			     &e) ||
	    cuda_forward_new(&b->graphed, b->cuda, b->t.model, b->weights, &limits, NULL, 0,
			     &b->counts, &e))
		fail_msg("%s", e.msg);
	for (int i = 0; i < N; i++)
		b->r[i] = request(i, b->t.model->config.n_vocab);
	return true;
}

static void bench_close(struct bench *b)
{
	for (int i = 0; i < N; i++)
		genreq_free(b->r[i]);
	cuda_forward_free(b->graphed);
	cuda_forward_free(b->plain);
	cuda_weights_free(b->weights);
	cuda_close(b->cuda);
	tiny_model_close(&b->t);
}

/* The next step of those that are named, as "036": a prompt, or up to MAX_TOKENS of it, or a
 * token. */
static void plan_of(struct bench *b, const char *who, struct step_plan *plan)
{
	int32_t left = MAX_TOKENS;

	step_plan_init(plan);
	for (; *who; who++) {
		int i = *who - '0';
		int32_t n = b->r[i]->n_tokens - b->computed[i];

		n = n < left ? n : left;
		step_plan_add(plan, b->r[i], b->computed[i], n);
		left -= n;
	}
}

struct yield {
	int32_t token[N];
	struct token_logprob logprob[N][LOGPROBS_AN_ITEM];
};

static const char *run(struct cuda_forward *f, const struct step_plan *plan, struct yield *y)
{
	struct step_output out = {y->token, y->logprob[0]};

	return cuda_forward_step(f, plan, &out);
}

/* To the bit, as far as something was told. */
static bool same(const struct yield *a, const struct yield *b)
{
	bool all = memcmp(a->token, b->token, sizeof(a->token)) == 0;

	for (int i = 0; i < N; i++)
		for (int k = 0; k < LOGPROBS_AN_ITEM; k++) {
			const struct token_logprob *x = &a->logprob[i][k], *y = &b->logprob[i][k];

			all &= x->token == y->token && x->logprob == y->logprob &&
			       x->rank == y->rank;
		}
	return all;
}

static void take(struct bench *b, const struct step_plan *plan, const struct yield *y)
{
	for (int32_t k = 0; k < plan->n_items; k++) {
		const struct step_item *it = &plan->item[k];

		b->computed[it->req->id - 1] += it->n_tokens;
		if (it->emits)
			genreq_push_token(it->req, y->token[k], -1, MAX_LEN + 1);
	}
}

static void step(struct bench *b, const char *who)
{
	struct yield want = {0}, got = {0};
	struct step_plan plan;
	const char *why;

	plan_of(b, who, &plan);
	why = run(b->plain, &plan, &want);
	if (!why)
		why = run(b->graphed, &plan, &got);
	if (why)
		fail_msg("%s: %s", who, why);
	if (!same(&want, &got))
		fail_msg("%s, step %d: not the same with graphs", who, (int)b->counts.steps);
	take(b, &plan, &got);
	step_plan_release(&plan);
}

/* Their prompts. Of the long ones the middle is left out: its keys and values are the zeros that
 * were there, for both. */
static void prefill(struct bench *b, const char *who)
{
	for (; *who; who++) {
		const char one[] = {*who, '\0'};
		int i = *who - '0';

		while (genreq_output_tokens(b->r[i]) == 0) {
			step(b, one);
			if (b->computed[i] < prompt_tokens[i])
				b->computed[i] = prompt_tokens[i] - 3;
		}
	}
	b->counts = (struct graph_counts){0};
}

/* ---- graphs on and off ---- */

/* What a graph is made for, said once more. */
struct shape_count {
	int met[N + 1][5][2]; /* rows, splits, whether somebody wants logprobs */
	struct graph_counts want;
};

static void expect_step(struct shape_count *s, const struct bench *b, const char *who)
{
	static const int rows_of[N + 1] = {0, 1, 2, 4, 4, 8, 8, 8, 8, 9};
	int n = (int)strlen(who), splits = 1, told = 0;
	int *met;

	for (int k = 0; k < n; k++) {
		const struct genreq *r = b->r[who[k] - '0'];
		int own = r->n_tokens <= 256 ? 1 : r->n_tokens <= 512 ? 2 : 3;

		splits = own > splits ? own : splits;
		told |= r->sampling->n_logprobs >= 0;
	}
	met = &s->met[rows_of[n]][splits][told];
	s->want.steps++;
	s->want.launched += *met > 0;
	s->want.recorded += *met == 1;
	(*met)++;
}

static void expect_counts(const struct bench *b, const struct graph_counts *want)
{
	assert_int_equal(b->counts.steps, want->steps);
	assert_int_equal(b->counts.launched, want->launched);
	assert_int_equal(b->counts.recorded, want->recorded);
}

/* 2 and 5 want logprobs; 3 gets beyond 256 tokens on the way and 6 beyond 512. */
static void join_and_leave(const struct tiny_params *p, const char *prompts,
			   const char *const *batches, const struct graph_counts *least)
{
	struct shape_count s = {0};
	struct bench b;

	bench_open(&b, p);
	prefill(&b, prompts);
	b.r[2]->sampling->n_logprobs = 3;
	b.r[5]->sampling->n_logprobs = 0;
	for (; *batches; batches++) {
		expect_step(&s, &b, *batches);
		step(&b, *batches);
	}
	assert_true(b.r[3]->n_tokens > 257 && b.r[6]->n_tokens > 513);
	expect_counts(&b, &s.want);
	assert_true(s.want.recorded >= least->recorded && s.want.launched >= least->launched);
	bench_close(&b);
}

static void test_join_and_leave(void **state)
{
	static const char *const batches[] = {
		"0",	    "0",	"01",	     "01",	  "0134",      "013",	   "01347",
		"01234578", "01234568", "012345678", "012345678", "012345678", "12345678", "6",
		"6",	    "25",	"25",	     "1478",	  NULL,
	};

	(void)state;
	join_and_leave(&(struct tiny_params){.dtype = DTYPE_F16,
					     .n_heads = 2,
					     .n_kv_heads = 1,
					     .d_model = 32,
					     .d_ff = 32,
					     .n_vocab = 260,
					     .max_len = MAX_LEN},
		       "012345678", batches, &(struct graph_counts){7, 8, 0});
}

/* Slopes, and a window that a split lies before; bytes as inputs. */
static void test_long_contexts(void **state)
{
	static const struct tiny_params models[] = {
		{.arch = "mpt",
		 .dtype = DTYPE_Q4_1,
		 .n_heads = 2,
		 .d_model = 32,
		 .d_ff = 32,
		 .n_vocab = 260,
		 .n_layers = 1,
		 .max_len = MAX_LEN},
		{.arch = "gemma3",
		 .dtype = DTYPE_Q8_0,
		 .n_heads = 2,
		 .n_kv_heads = 1,
		 .d_model = 32,
		 .d_ff = 32,
		 .n_vocab = 260,
		 .window = 200,
		 .n_layers = 1,
		 .max_len = MAX_LEN},
	};
	static const char *const batches[] = {"3", "3", "36", "36", "36", NULL};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		join_and_leave(&models[i], "36", batches, &(struct graph_counts){2, 2, 0});
}

/* Lists, a chunk of a prompt, and an item that emits nothing are for steps without a graph; lists
 * that are longer than the room for them move a step's data, and all graphs are made anew. */
static void test_what_has_no_graph(void **state)
{
	struct bench b;
	struct sampling *s;

	(void)state;
	bench_open(&b, &small);
	prefill(&b, "014");
	s = b.r[1]->sampling;
	step(&b, "0");
	step(&b, "0");
	step(&b, "0");
	expect_counts(&b, &(struct graph_counts){1, 2, 3});

	s->repetition_penalty = 1.5;
	step(&b, "1");
	step(&b, "1");
	s->repetition_penalty = 1;
	s->bias = xcalloc(1, sizeof(*s->bias));
	s->bias[0] = (struct logit_bias){7, 2};
	s->n_bias = 1;
	step(&b, "1");
	step(&b, "1");
	s->n_bias = 0;
	b.computed[4] -= 3; /* three tokens again */
	step(&b, "4");
	step(&b, "0");
	expect_counts(&b, &(struct graph_counts){1, 3, 9});

	b.r[1]->min_tokens = MAX_LEN;
	for (int32_t i = 0; i < 30000; i++)
		sampling_add_stop_id(s, i % 100);
	step(&b, "1");
	b.r[1]->min_tokens = 0;
	step(&b, "0");
	expect_counts(&b, &(struct graph_counts){1, 3, 11});
	step(&b, "0");
	expect_counts(&b, &(struct graph_counts){2, 4, 12});
	bench_close(&b);
}

/* ---- which are kept ---- */

struct put {
	struct cuda *cuda;
	void *at;
	struct err e;
	bool waits; /* which is not allowed while it is recorded */
	int calls;
};

static void put_clear(void *arg)
{
	struct put *p = arg;

	p->calls++;
	cuda_clear(p->cuda, p->at, 16, &p->e);
	if (p->waits)
		cuda_wait(p->cuda, &p->e);
}

static void put_open(struct put *p)
{
	memset(p, 0, sizeof(*p));
	if (cuda_open(&p->cuda, &p->e) || cuda_alloc(p->cuda, &p->at, 16, "a test", &p->e))
		fail_msg("%s", p->e.msg);
}

static void put_close(struct put *p)
{
	cuda_free(p->cuda, p->at);
	cuda_close(p->cuda);
}

/* Returns whether it was one launch, of a graph that was there before. */
static bool run_shape(struct step_graphs *g, struct put *p, int32_t n_rows)
{
	const struct step_data d = {.n = {.n_rows = n_rows}, .n_splits = 1, .padded = true};
	int calls = p->calls;

	step_graphs_run(g, &d, put_clear, p, &p->e);
	if (cuda_wait(p->cuda, &p->e))
		fail_msg("%s", p->e.msg);
	return p->calls == calls;
}

static void test_least_used_makes_room(void **state)
{
	struct graph_counts counts = {0};
	struct step_graphs g;
	struct put p;

	(void)state;
	put_open(&p);
	step_graphs_init(&g, p.cuda, &counts);
	for (int32_t i = 0; i < MAX_GRAPHS; i++) {
		assert_false(run_shape(&g, &p, i));
		assert_false(run_shape(&g, &p, i)); /* recorded */
		assert_true(run_shape(&g, &p, i));
	}
	assert_true(run_shape(&g, &p, 0));
	assert_false(run_shape(&g, &p, 1000)); /* in the place of 1 */
	assert_true(run_shape(&g, &p, 0));
	assert_true(run_shape(&g, &p, 2));
	assert_false(run_shape(&g, &p, 1)); /* in the place of 3 */
	assert_false(run_shape(&g, &p, 3));
	assert_int_equal(counts.recorded, MAX_GRAPHS);
	step_graphs_release(&g);
	put_close(&p);
}

/* ---- what goes wrong ---- */

static const char *library; /* what ENGINE_LIBCUDA named */
static int n_lines;

static void count_line(void *arg)
{
	(void)arg;
	n_lines++;
}

static void with_faults(const char *driver, const char *faults)
{
	setenv("ENGINE_LIBCUDA", driver, 1);
	setenv("PTXSIM_FAULTS", faults, 1);
	setenv("PTXSIM_ON_FAULT", "error", 1);
	n_lines = 0;
	log_set_hooks(count_line, NULL, NULL);
}

static void without_faults(void)
{
	setenv("ENGINE_LIBCUDA", library, 1);
	unsetenv("PTXSIM_FAULTS");
	unsetenv("PTXSIM_ON_FAULT");
	log_set_hooks(NULL, NULL, NULL);
}

/* One line, and the same tokens, kernel by kernel. */
static void test_goes_on_without(void **state)
{
	static const struct {
		const char *faults;
		bool old; /* a driver without graphs */
		int recorded, launched;
	} rows[] = {
		{"capture:1", false, 0, 0},	{"capture:2", false, 1, 2},
		{"instantiate:1", false, 0, 0}, {"graph:1", false, 1, 0},
		{"graph:2", false, 1, 1},	{"version:11030", true, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bench b;

		with_faults(rows[i].old ? OLD_LIBRARY : library, rows[i].faults);
		bench_open(&b, &small);
		prefill(&b, "02");
		for (int k = 0; k < 3; k++)
			step(&b, "0");
		for (int k = 0; k < 2; k++)
			step(&b, "02");
		expect_counts(&b, &(struct graph_counts){rows[i].recorded, rows[i].launched, 5});
		assert_int_equal(n_lines, 1);
		bench_close(&b);
		without_faults();
	}
}

static void test_wait_in_a_capture(void **state)
{
	struct graph_counts counts = {0};
	struct step_graphs g;
	struct put p;

	(void)state;
	with_faults(library, "");
	put_open(&p);
	p.waits = true;
	step_graphs_init(&g, p.cuda, &counts);
	for (int k = 0; k < 4; k++)
		assert_false(run_shape(&g, &p, 1));
	assert_int_equal(p.calls, 5);
	assert_int_equal(counts.recorded, 0);
	assert_int_equal(n_lines, 1);
	step_graphs_release(&g);
	put_close(&p);
	without_faults();
}

/* A card that fails in a graph: that step is lost and says why, and so are all behind it. late: it
 * is not known before somebody waits. */
static void expect_loss(const char *fault, const char *says, bool late)
{
	struct step_plan plan;
	const char *why = NULL;
	struct yield y = {0};
	struct bench b;
	int good = 0;

	with_faults(library, fault);
	if (late)
		setenv("PTXSIM_ASYNC", "late", 1);
	bench_open(&b, &small);
	for (; !why && good < 100; good += !why) {
		plan_of(&b, "0", &plan);
		why = run(b.graphed, &plan, &y);
		if (!why)
			take(&b, &plan, &y);
		step_plan_release(&plan);
	}
	assert_non_null(why);
	if (!strstr(why, says))
		fail_msg("%s: \"%s\"", fault, why);
	assert_true(b.counts.recorded == 1 && b.counts.launched > 1);
	plan_of(&b, "0", &plan);
	assert_non_null(run(b.graphed, &plan, &y));
	step_plan_release(&plan);
	bench_close(&b);
	unsetenv("PTXSIM_ASYNC");
	without_faults();
}

static void test_broken_in_a_graph(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		expect_loss("launch:100", "CUDA_ERROR_LAUNCH_FAILED", late);
		expect_loss("lost:100", "CUDA_ERROR_DEVICE_UNAVAILABLE", late);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join_and_leave),
		cmocka_unit_test(test_long_contexts),
		cmocka_unit_test(test_what_has_no_graph),
		cmocka_unit_test(test_least_used_makes_room),
		cmocka_unit_test(test_goes_on_without),
		cmocka_unit_test(test_wait_in_a_capture),
		cmocka_unit_test(test_broken_in_a_graph),
	};
	const char *named = getenv("ENGINE_LIBCUDA");

	library = xstrdup(named ? named : "libcuda.so.1");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
