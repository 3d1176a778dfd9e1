/*
 * The executor behind vLLM's policy: a request's answer is the same bytes, logprobs included,
 * whatever else the engine does meanwhile. Each case first asks its questions one at a time, then
 * again under some burden, and compares. On tiny models with random weights, whose next token is
 * nearly a toss-up: a last bit that differs anywhere soon makes another answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "../support/cpu_engine.h"
#include "../support/ref_forward.h"
#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "cpu/executor_cpu.h"
#include "cpu/kernels.h"

/* Two kinds of model: byte products, shared kv heads; and floats, with windows and many norms. */
static const struct tiny_params models[] = {
	{.dtype = DTYPE_Q4_1, .n_heads = 9, .n_kv_heads = 3, .d_model = 96, .head_dim = 16},
	{.arch = "gemma3", .dtype = DTYPE_F16, .n_layers = 3, .n_kv_heads = 1, .mixed = true},
};

enum { N_QUESTIONS = 4, ANSWER_TOKENS = 20, N_LOGPROBS = 2 };

#define LOGPROB_TOLERANCE 0.005

static const int32_t question_tokens[N_QUESTIONS] = {5, 70, 33, 16};

/* A question is a function of its number; some begin alike, so that prefixes are there to be
 * found. */
static struct genreq *question(const struct model *m, int i, uint64_t id)
{
	int32_t tokens[128];
	struct genreq *r;
	struct rng rng;

	rng_init(&rng, 9, "question", (uint64_t)i);
	for (int32_t k = 0; k < question_tokens[i]; k++)
		tokens[k] = k < 16 && i > 0 ? k + 3
					    : (int32_t)rng_below(&rng, (uint64_t)m->config.n_vocab);
	r = genreq_new(id, NULL, tokens, question_tokens[i], ANSWER_TOKENS);
	r->seed = (uint64_t)i + 1;
	r->sampling = sampling_new();
	r->sampling->n_logprobs = N_LOGPROBS;
	if (i == 2)
		r->sampling->temperature = 0;
	if (i == 3) {
		r->sampling->top_p = 0.9;
		r->sampling->frequency_penalty = 0.5;
		r->sampling->repetition_penalty = 1.2;
	}
	return r;
}

static void open_engine(struct cpu_engine *g, const struct tiny_model *t,
			const struct cpu_engine_opts *o)
{
	struct err e;

	if (cpu_engine_open(g, t->model, t->file, o, &e) != RC_OK)
		fail_msg("%s", e.msg);
}

/* One after the other, each in an engine of its own. */
static void ask_alone(const struct tiny_model *t, const char *isa, struct answer *answers)
{
	const struct cpu_engine_opts o = {.isa = isa, .threads = 1};

	for (int i = 0; i < N_QUESTIONS; i++) {
		struct cpu_engine g;

		open_engine(&g, t, &o);
		cpu_engine_ask(&g, question(t->model, i, 1), &answers[i]);
		cpu_engine_wait(&g);
		assert_int_equal(answers[i].n, ANSWER_TOKENS);
		assert_int_equal(answers[i].finish, FINISH_LENGTH);
		assert_int_equal(answers[i].n_logprobs, ANSWER_TOKENS * (1 + N_LOGPROBS));
		cpu_engine_close(&g);
	}
}

static void expect_logprob(float got, const double *logits, int32_t n_vocab, int32_t token)
{
	double most = logits[0], sum = 0, want;

	for (int32_t i = 1; i < n_vocab; i++)
		most = fmax(most, logits[i]);
	for (int32_t i = 0; i < n_vocab; i++)
		sum += exp(logits[i] - most);
	want = logits[token] - most - log(sum);
	if (!(fabs((double)got - want) < LOGPROB_TOLERANCE))
		fail_msg("log p(%d) is %.6f, by the definition %.6f", token, (double)got, want);
}

static bool same_logprob(const struct token_logprob *a, const struct token_logprob *b)
{
	return a->token == b->token && a->logprob == b->logprob && a->rank == b->rank;
}

static void expect_same(const char *what, int i, const struct answer *got,
			const struct answer *want)
{
	assert_int_equal(got->n, want->n);
	for (int32_t k = 0; k < want->n; k++)
		if (got->token[k] != want->token[k])
			fail_msg("%s: question %d: token %d is %d, alone it was %d", what, i, k,
				 got->token[k], want->token[k]);
	assert_int_equal(got->n_logprobs, want->n_logprobs);
	for (int32_t k = 0; k < want->n_logprobs; k++)
		if (!same_logprob(&got->logprob[k], &want->logprob[k]))
			fail_msg("%s: question %d: logprob %d is %.9g of %d, alone it was %.9g of "
				 "%d",
				 what, i, k, (double)got->logprob[k].logprob, got->logprob[k].token,
				 (double)want->logprob[k].logprob, want->logprob[k].token);
}

/* All questions at once, `copies` times over, in one engine; twice, so that the second round finds
 * what the first left behind. */
static void ask_together(const char *what, const struct tiny_model *t,
			 const struct cpu_engine_opts *o, int copies, const struct answer *alone,
			 struct sched_stats *stats)
{
	struct answer *got = xcalloc((size_t)copies * N_QUESTIONS, sizeof(*got));
	struct cpu_engine g;

	open_engine(&g, t, o);
	for (int round = 0; round < 2; round++) {
		for (int k = 0; k < copies * N_QUESTIONS; k++)
			cpu_engine_ask(&g,
				       question(t->model, k % N_QUESTIONS,
						(uint64_t)round * 1000 + (uint64_t)k + 1),
				       &got[k]);
		cpu_engine_wait(&g);
		for (int k = 0; k < copies * N_QUESTIONS; k++) {
			expect_same(what, k % N_QUESTIONS, &got[k], &alone[k % N_QUESTIONS]);
			answer_release(&got[k]);
		}
	}
	*stats = engine_stats(g.engine)->sched;
	cpu_engine_close(&g);
	free(got);
}

static void test_same_bytes(void **state)
{
	static const struct {
		const char *what;
		struct cpu_engine_opts opts;
		int copies;
		bool preempts, hits, chunks;
	} cases[] = {
		{"together", {.no_prefix_caching = true}, 1, false, false, false},
		{"32 at once", {.threads = 2}, 8, false, true, false},
		{"three threads", {.threads = 3}, 2, false, true, false},
		{"chunked",
		 {.max_tokens = 7, .max_seqs = 7, .no_prefix_caching = true},
		 2,
		 false,
		 false,
		 true},
		{"chunked, with hits", {.max_tokens = 11, .max_seqs = 4}, 4, false, true, true},
		{"preempted", {.num_blocks = 12, .no_prefix_caching = true}, 4, true, false, false},
		{"preempted, with hits", {.num_blocks = 12, .threads = 2}, 4, true, true, false},
		{"pages of one token", {.block_size = 1, .num_blocks = 600}, 3, false, true, false},
		{"large pages", {.block_size = 64, .num_blocks = 40}, 3, false, false, false},
	};
	struct tiny_model t;

	(void)state;
	for (size_t model = 0; model < ARRAY_LEN(models); model++) {
		struct answer alone[N_QUESTIONS];

		tiny_model_open(&t, &models[model], MODEL_GGUF);
		ask_alone(&t, NULL, alone);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			struct sched_stats stats;

			ask_together(cases[i].what, &t, &cases[i].opts, cases[i].copies, alone,
				     &stats);
			assert_true(stats.preemptions > 0 || !cases[i].preempts);
			assert_true(stats.prefix_hits_tokens > 0 || !cases[i].hits);
			assert_true(stats.steps > 60 || !cases[i].chunks);
			assert_int_equal(stats.free_blocks, stats.usable_blocks);
		}
		for (int i = 0; i < N_QUESTIONS; i++)
			answer_release(&alone[i]);
		tiny_model_close(&t);
	}
}

/* Each instruction set is as indifferent to the burden as the others; among each other they may
 * differ. */
static void test_every_isa(void **state)
{
	struct tiny_model t;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	for (int32_t i = 0; kernels_at(i); i++) {
		struct answer alone[N_QUESTIONS];
		struct cpu_engine_opts o = {.isa = kernels_at(i)->name,
					    .max_tokens = 40,
					    .max_seqs = 8,
					    .num_blocks = 14};
		struct sched_stats stats;

		ask_alone(&t, o.isa, alone);
		ask_together(o.isa, &t, &o, 3, alone, &stats);
		assert_true(stats.preemptions > 0);
		for (int k = 0; k < N_QUESTIONS; k++)
			answer_release(&alone[k]);
	}
	tiny_model_close(&t);
}

/* Two engines of different seeds answer differently: the comparisons above can fail. */
static void test_seed_matters(void **state)
{
	const struct cpu_engine_opts o = {0};
	struct answer a = {0}, b = {0};
	struct tiny_model t;
	struct cpu_engine g;
	struct genreq *r;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	open_engine(&g, &t, &o);
	cpu_engine_ask(&g, question(t.model, 0, 1), &a);
	r = question(t.model, 0, 2);
	r->seed = 4711;
	cpu_engine_ask(&g, r, &b);
	cpu_engine_wait(&g);
	assert_memory_not_equal(a.token, b.token, (size_t)a.n * sizeof(*a.token));
	answer_release(&a);
	answer_release(&b);
	cpu_engine_close(&g);
	tiny_model_close(&t);
}

/* The likeliest token is the end: it is not said before min_tokens. */
static void test_min_tokens(void **state)
{
	int32_t end_ids[1];
	const struct cpu_engine_opts o = {.end_ids = end_ids, .n_end_ids = 1};
	struct answer a = {0};
	struct tiny_model t;
	struct cpu_engine g;
	struct genreq *r;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	open_engine(&g, &t, &o);
	r = question(t.model, 2, 1);
	end_ids[0] = -1;
	cpu_engine_ask(&g, r, &a);
	cpu_engine_wait(&g);
	end_ids[0] = a.token[0];
	answer_release(&a);
	r = question(t.model, 2, 2);
	r->min_tokens = 3;
	cpu_engine_ask(&g, r, &a);
	cpu_engine_wait(&g);
	for (int k = 0; k < 3; k++)
		assert_int_not_equal(a.token[k], end_ids[0]);
	answer_release(&a);
	cpu_engine_close(&g);
	tiny_model_close(&t);
}

/* How likely each token of a prompt was, however it is cut: as the definition of the model has it.
 * Others are computed in the same steps. Weights whose products leave activations as they are: what
 * bytes lose in layers this small is more than a slip would be. */
static void test_prompt_logprobs(void **state)
{
	static const struct cpu_engine_opts cases[] = {
		{.no_prefix_caching = true, .threads = 2},
		{.no_prefix_caching = true, .max_tokens = 7, .max_seqs = 7},
	};
	static const struct tiny_params exact[] = {
		{.dtype = DTYPE_F32, .n_heads = 9, .n_kv_heads = 3, .d_model = 96, .head_dim = 16},
		{.arch = "gpt2", .dtype = DTYPE_F32},
	};
	const int asked = 1; /* of 70 tokens: more than a round of logits */
	struct tiny_model t;

	(void)state;
	for (size_t model = 0; model < ARRAY_LEN(exact); model++) {
		double *logits;
		struct genreq *r;
		int32_t n = question_tokens[asked], n_vocab;

		tiny_model_open(&t, &exact[model], MODEL_GGUF);
		n_vocab = t.model->config.n_vocab;
		r = question(t.model, asked, 1);
		logits = xcalloc((size_t)n * (size_t)n_vocab, sizeof(*logits));
		ref_forward(t.model, r->tokens, n, logits);
		genreq_free(r);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			struct answer a = {0}, others[2] = {0};
			struct cpu_engine g;

			open_engine(&g, &t, &cases[i]);
			r = question(t.model, asked, 2);
			r->prompt_logprob = xcalloc((size_t)n, sizeof(*r->prompt_logprob));
			cpu_engine_ask(&g, question(t.model, 0, 1), &others[0]);
			cpu_engine_ask(&g, r, &a);
			cpu_engine_ask(&g, question(t.model, 2, 3), &others[1]);
			cpu_engine_wait(&g);
			assert_int_equal(a.n, ANSWER_TOKENS);
			for (int32_t k = 1; k < n; k++)
				expect_logprob(a.prompt_logprob[k],
					       logits + (size_t)(k - 1) * (size_t)n_vocab, n_vocab,
					       a.prompt[k]);
			answer_release(&a);
			answer_release(&others[0]);
			answer_release(&others[1]);
			cpu_engine_close(&g);
		}
		free(logits);
		tiny_model_close(&t);
	}
}

/* A policy that names pages the executor does not have: the step is lost and its requests with it,
 * the engine lives. */
static void test_failed_step(void **state)
{
	const struct cpu_engine_opts o = {.num_blocks = 100, .pages = 4};
	static const enum genreq_finish want[] = {FINISH_LENGTH, FINISH_ERROR, FINISH_ERROR};
	struct tiny_model t;
	struct cpu_engine g;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	open_engine(&g, &t, &o);
	for (int i = 0; i < 3; i++) { /* of 5, 70 and 33 tokens; four pages have 64 */
		struct answer a = {0};

		cpu_engine_ask(&g, question(t.model, i, (uint64_t)i), &a);
		cpu_engine_wait(&g);
		assert_int_equal(a.finish, want[i]);
		assert_int_equal(a.n, want[i] == FINISH_ERROR ? 0 : ANSWER_TOKENS);
		answer_release(&a);
	}
	cpu_engine_close(&g);
	tiny_model_close(&t);
}

/* The engine is closed while a step is being computed. */
static void test_close_in_flight(void **state)
{
	const struct cpu_engine_opts o = {0};
	struct answer a = {0};
	struct tiny_model t;
	struct cpu_engine g;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	open_engine(&g, &t, &o);
	cpu_engine_ask(&g, question(t.model, 1, 1), &a);
	evloop_once(g.loop); /* the end of this turn submits */
	assert_int_equal(engine_stats(g.engine)->sched.steps, 1);
	cpu_engine_close(&g);
	assert_int_equal(a.finish, FINISH_ABORT);
	answer_release(&a);
	tiny_model_close(&t);
}

static int64_t process_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Between requests no thread runs. The pause is no wait for a state: it is what is measured. */
static void test_idle_is_asleep(void **state)
{
	const struct cpu_engine_opts o = {.threads = 2};
	const struct timespec pause = {0, 100 * NS_PER_MS};
	struct answer a = {0};
	struct tiny_model t;
	struct cpu_engine g;
	int64_t before_ns;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	open_engine(&g, &t, &o);
	cpu_engine_ask(&g, question(t.model, 0, 1), &a);
	cpu_engine_wait(&g);
	answer_release(&a);
	nanosleep(&(struct timespec){0, 5 * NS_PER_MS}, NULL); /* the last barrier's spinning */
	before_ns = process_cpu_ns();
	nanosleep(&pause, NULL);
	assert_in_range(process_cpu_ns() - before_ns, 0, 5 * NS_PER_MS);
	cpu_engine_close(&g);
	tiny_model_close(&t);
}

static void test_refused(void **state)
{
	static const struct {
		struct cpu_engine_opts opts;
		const char *want;
	} cases[] = {
		{{.isa = "mmx"}, "mmx"},
	};
	struct tiny_model t;

	(void)state;
	tiny_model_open(&t, &models[0], MODEL_GGUF);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cpu_engine g;
		struct err e;

		assert_int_equal(cpu_engine_open(&g, t.model, t.file, &cases[i].opts, &e),
				 RC_INPUT);
		if (!strstr(e.msg, cases[i].want))
			fail_msg("\"%s\" does not say \"%s\"", e.msg, cases[i].want);
	}
	tiny_model_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bytes),	cmocka_unit_test(test_every_isa),
		cmocka_unit_test(test_seed_matters),	cmocka_unit_test(test_min_tokens),
		cmocka_unit_test(test_prompt_logprobs), cmocka_unit_test(test_failed_step),
		cmocka_unit_test(test_close_in_flight), cmocka_unit_test(test_idle_is_asleep),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
