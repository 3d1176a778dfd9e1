/*
 * The CUDA executor against the processor's, on whatever driver ENGINE_LIBCUDA names (ctest: the
 * stand-in that interprets PTX): tiny models of every architecture and number format are asked the
 * same questions through the same policy. Greedy answers are equal, or part where the processor saw
 * a tie; what is told of probabilities is near, as far as answers are equal; and what is told of a
 * prompt is near to the sums in double precision. Then the faults that the stand-in makes on
 * demand: each a failed request with a message, never a wait without end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/cpu_engine.h"
#include "../support/ref_forward.h"
#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/rng.h"
#include "cpu/executor_cpu.h"
#include "cuda/executor_cuda.h"

enum { N_QUESTIONS = 3, ANSWER_TOKENS = 6, N_LOGPROBS = 5, MAX_PROMPT = 64, BLOCKS = 64 };

/*
 * How far the two may be apart. Against quantised weights both round what they multiply to bytes,
 * and an input that differs in its last bit is now and then rounded the other way, so either is as
 * far from the exact sum as from the other; prompts, whose products take halves on the card, are
 * near the exact sum whatever the weights are.
 */
struct tolerance {
	double tie, logprob;
};
static const struct tolerance plain = {0.05, 0.05}, quantised = {0.15, 0.2};
#define PROMPT_TOLERANCE 0.05

/* Past one page, on its edge, and a single token. */
static const int32_t question_tokens[N_QUESTIONS] = {37, 16, 1};

static struct genreq *question(const struct model *m, int i)
{
	int32_t tokens[MAX_PROMPT];
	struct genreq *r;
	struct rng rng;

	rng_init(&rng, 5, "question", (uint64_t)i);
	for (int32_t k = 0; k < question_tokens[i]; k++)
		tokens[k] = (int32_t)rng_below(&rng, (uint64_t)m->config.n_vocab);
	r = genreq_new((uint64_t)i + 1, NULL, tokens, question_tokens[i], ANSWER_TOKENS);
	r->seed = (uint64_t)i + 1;
	r->sampling = sampling_new();
	r->sampling->temperature = 0;
	r->sampling->n_logprobs = N_LOGPROBS;
	return r;
}

/* ---- an engine on the card ---- */

struct cuda_engine {
	struct cpu_engine e; /* its loop and engine; the rest is not used */
	struct cuda_config config;
	struct graph_counts graphs;
};

static enum rc cuda_engine_open(struct cuda_engine *g, const struct tiny_model *t,
				int32_t max_tokens, struct err *e)
{
	struct engine_config c = {.policy = &sched_vllm_v1, .eos_token = -1};
	enum rc rc;

	memset(g, 0, sizeof(*g));
	g->e.loop = evloop_new();
	g->config = (struct cuda_config){
		.loop = g->e.loop,
		.model = t->model,
		.file = t->file,
		.limits = {.max_len = t->model->config.max_len,
			   .max_seqs = 8,
			   .max_tokens = max_tokens,
			   .num_blocks = BLOCKS,
			   .block_size = 16},
		.graphs = &g->graphs,
	};
	rc = cuda_open(&g->config.cuda, e);
	sched_defaults(c.policy, c.knobs);
	cpu_engine_set(&c, "max_num_seqs", 8);
	cpu_engine_set(&c, "max_num_batched_tokens", max_tokens);
	cpu_engine_set(&c, "block_size", 16);
	cpu_engine_set(&c, "num_gpu_blocks", BLOCKS);
	c.executor = &executor_cuda;
	c.executor_config = &g->config;
	if (rc == RC_OK)
		rc = engine_new(&g->e.engine, g->e.loop, &c, e);
	if (rc) {
		cuda_close(g->config.cuda);
		evloop_free(g->e.loop);
	}
	return rc;
}

static void cuda_engine_close(struct cuda_engine *g)
{
	engine_free(g->e.engine);
	cuda_close(g->config.cuda);
	evloop_free(g->e.loop);
}

/* ---- answers side by side ---- */

static const struct token_logprob *find(const struct token_logprob *of, int32_t token)
{
	for (int i = 1; i <= N_LOGPROBS; i++)
		if (of[i].token == token)
			return &of[i];
	return NULL;
}

/* Returns the largest difference of a logprob, as far as the answers are the same. */
static double compare(const char *what, int i, double tie, const struct answer *cpu,
		      const struct answer *card)
{
	double worst = 0;

	assert_int_equal(card->finish, FINISH_LENGTH);
	assert_int_equal(card->n, cpu->n);
	assert_int_equal(card->n_logprobs, cpu->n_logprobs);
	for (int32_t k = 0; k < cpu->n; k++) {
		const struct token_logprob *want = cpu->logprob + (ptrdiff_t)k * (1 + N_LOGPROBS);
		const struct token_logprob *got = card->logprob + (ptrdiff_t)k * (1 + N_LOGPROBS);
		const struct token_logprob *rival = find(want, card->token[k]);

		assert_int_equal(got->token, card->token[k]);
		if (card->token[k] == cpu->token[k]) {
			assert_int_equal(got->rank, want->rank);
			worst = fmax(worst, fabs((double)got->logprob - want->logprob));
			continue;
		}
		if (!rival || want->logprob - rival->logprob > tie)
			fail_msg("%s, question %d: token %d is %d (%.3f), on the processor %d "
				 "(%.3f) before %.3f",
				 what, i, k, card->token[k], (double)got->logprob, cpu->token[k],
				 (double)want->logprob, rival ? (double)rival->logprob : -INFINITY);
		break; /* from here on they are asked different things */
	}
	return worst;
}

/* Of a prompt's tokens, from the exact logits. */
static double prompt_distance(const struct model *m, int i, const struct answer *card)
{
	int32_t n = question_tokens[i], n_vocab = m->config.n_vocab;
	double *logits = xcalloc((size_t)n * (size_t)n_vocab, sizeof(*logits));
	double worst = 0;

	ref_forward(m, card->prompt, n, logits);
	for (int32_t k = 1; k < n; k++) {
		const double *row = logits + (ptrdiff_t)(k - 1) * n_vocab;
		double sum = 0;

		for (int32_t t = 0; t < n_vocab; t++)
			sum += exp(row[t] - row[card->prompt[k]]);
		worst = fmax(worst, fabs(card->prompt_logprob[k] + log(sum)));
	}
	free(logits);
	return worst;
}

static void ask(struct cpu_engine *g, const struct model *m,
		void (*change)(struct genreq *r, int i), struct answer *answers)
{
	for (int i = 0; i < N_QUESTIONS; i++) {
		struct genreq *r = question(m, i);

		if (change)
			change(r, i);
		cpu_engine_ask(g, r, &answers[i]);
	}
	cpu_engine_wait(g);
}

static bool is_quantised(const struct tiny_params *p)
{
	return p->mixed || dtype_info(p->dtype)->block > 1;
}

/* All questions at once, on both. The prompts come in pieces if max_tokens is less than they
 * have. */
static void expect_same(const char *what, const struct tiny_params *p, int32_t max_tokens,
			void (*change)(struct genreq *r, int i))
{
	const struct cpu_engine_opts o = {.threads = 1, .max_tokens = max_tokens, .max_seqs = 8};
	const struct tolerance *allowed = is_quantised(p) ? &quantised : &plain;
	struct answer on_cpu[N_QUESTIONS] = {0}, on_card[N_QUESTIONS] = {0};
	double worst = 0, worst_prompt = 0;
	struct cuda_engine card;
	struct cpu_engine cpu;
	struct tiny_model t;
	struct err e;

	tiny_model_open(&t, p, MODEL_GGUF);
	if (cpu_engine_open(&cpu, t.model, t.file, &o, &e) != RC_OK)
		fail_msg("%s: %s", what, e.msg);
	ask(&cpu, t.model, change, on_cpu);
	cpu_engine_close(&cpu);
	if (cuda_engine_open(&card, &t, max_tokens, &e) != RC_OK)
		fail_msg("%s: %s", what, e.msg);
	ask(&card.e, t.model, change, on_card);
	cuda_engine_close(&card);
	for (int i = 0; i < N_QUESTIONS; i++) {
		worst = fmax(worst, compare(what, i, allowed->tie, &on_cpu[i], &on_card[i]));
		if (on_card[i].prompt_logprob)
			worst_prompt = fmax(worst_prompt, prompt_distance(t.model, i, &on_card[i]));
	}
	if (getenv("VERBOSE"))
		print_message("%s: logprobs within %.5f, the prompts' within %.5f\n", what, worst,
			      worst_prompt);
	if (!(worst < allowed->logprob) || !(worst_prompt < PROMPT_TOLERANCE))
		fail_msg("%s: logprobs differ by %.4f, the prompts' by %.4f, allowed is %.4f and "
			 "%.4f",
			 what, worst, worst_prompt, allowed->logprob, PROMPT_TOLERANCE);
	for (int i = 0; i < N_QUESTIONS; i++) {
		answer_release(&on_cpu[i]);
		answer_release(&on_card[i]);
	}
	tiny_model_close(&t);
}

static void want_prompt_logprobs(struct genreq *r, int i)
{
	(void)i;
	r->prompt_logprob = xcalloc((size_t)r->n_prompt, sizeof(*r->prompt_logprob));
}

static bool everything; /* every architecture against quantised weights as well */

/* What each architecture has of its own is in tests/unit/test_forward.c. */
static void test_architectures(void **state)
{
	static const struct tiny_params kinds[] = {
		{.arch = "llama", .n_heads = 9, .n_kv_heads = 3, .head_dim = 16, .d_model = 96},
		{.arch = "llama", .untied = true, .rope_scaling = "llama3", .n_layers = 3},
		{.arch = "llama", .mixed = true, .rope_scaling = "linear"},
		{.arch = "qwen2", .n_kv_heads = 2},
		{.arch = "qwen3", .n_kv_heads = 2, .head_dim = 32},
		{.arch = "gemma3", .n_layers = 7, .n_kv_heads = 1, .head_dim = 32},
		{.arch = "gpt2"},
		{.arch = "opt"},
		{.arch = "falcon", .n_heads = 71, .head_dim = 8, .d_model = 568, .n_vocab = 300},
		{.arch = "falcon", .two_norms = true, .n_kv_heads = 2},
		{.arch = "mpt", .n_heads = 6, .d_model = 96, .d_ff = 192},
		{.arch = "mpt", .clamp = 0.5F, .qk_norm = true, .learned = true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct tiny_params p = kinds[i];
		char what[64];

		p.dtype = DTYPE_F16;
		snprintf(what, sizeof(what), "%s (%zu) F16", p.arch, i);
		expect_same(what, &p, 32, want_prompt_logprobs);
		if (!everything)
			continue;
		p.dtype = DTYPE_Q4_1;
		snprintf(what, sizeof(what), "%s (%zu) Q4_1", p.arch, i);
		expect_same(what, &p, 64, want_prompt_logprobs);
	}
}

static void test_formats(void **state)
{
	(void)state;
	for (int t = 0; t < DTYPE_COUNT; t++) {
		struct tiny_params p = {.dtype = (enum dtype)t, .n_kv_heads = 2, .untied = true};

		if (dtype_info(p.dtype)->block == 256)
			p.d_model = p.d_ff = 256;
		expect_same(dtype_info(p.dtype)->name, &p, 64, want_prompt_logprobs);
	}
}

/* ---- how a token is chosen ---- */

/* Of the first question penalties and biases, one of them twice; of the second what must not be
 * said yet; the third is as ever. */
static void want_all_kinds(struct genreq *r, int i)
{
	static const struct logit_bias biases[] = {{7, 3}, {9, -100}, {7, 1.5F}};

	if (i == 0) {
		r->sampling->repetition_penalty = 1.3;
		r->sampling->presence_penalty = 0.4;
		r->sampling->frequency_penalty = 0.7;
		r->sampling->bias = xcalloc(ARRAY_LEN(biases), sizeof(*biases));
		memcpy(r->sampling->bias, biases, sizeof(biases));
		r->sampling->n_bias = ARRAY_LEN(biases);
	}
	if (i == 1) {
		r->min_tokens = ANSWER_TOKENS;
		for (int32_t id = 0; id < 200; id++)
			sampling_add_stop_id(r->sampling, id);
	}
}

static void test_choices(void **state)
{
	const struct tiny_params p = {.dtype = DTYPE_F16};

	(void)state;
	expect_same("choices", &p, 64, want_all_kinds);
}

/* ---- faults ---- */

static void with_faults(const char *faults, void (*run)(struct tiny_model *t))
{
	struct tiny_model t;

	tiny_model_open(&t, &(struct tiny_params){.dtype = DTYPE_F16}, MODEL_GGUF);
	setenv("PTXSIM_FAULTS", faults, 1);
	setenv("PTXSIM_ON_FAULT", "error", 1);
	run(&t);
	unsetenv("PTXSIM_FAULTS");
	unsetenv("PTXSIM_ON_FAULT");
	tiny_model_close(&t);
}

/* Allocations: weights, activations, pages, a step's data. */
static void expect_no_open(struct tiny_model *t)
{
	struct cuda_engine g;
	struct err e;

	assert_int_equal(cuda_engine_open(&g, t, 64, &e), RC_LIMIT);
	assert_non_null(strstr(e.msg, "CUDA_ERROR_OUT_OF_MEMORY"));
	assert_non_null(strstr(e.msg, " for "));
}

static void test_no_memory_at_load(void **state)
{
	(void)state;
	for (int i = 1; i <= 4; i++) {
		char faults[32];

		snprintf(faults, sizeof(faults), "alloc:%d", i);
		with_faults(faults, expect_no_open);
	}
}

/* Every request fails, those that come later as well, and the engine can be closed. */
static void expect_failures(struct tiny_model *t)
{
	struct answer a[N_QUESTIONS] = {0};
	struct cuda_engine g;
	struct err e;

	if (cuda_engine_open(&g, t, 64, &e) != RC_OK)
		fail_msg("%s", e.msg);
	for (int round = 0; round < 2; round++) {
		ask(&g.e, t->model, NULL, a);
		for (int i = 0; i < N_QUESTIONS; i++) {
			assert_int_equal(a[i].finish, FINISH_ERROR);
			answer_release(&a[i]);
		}
	}
	cuda_engine_close(&g);
}

static void test_broken_in_mid_run(void **state)
{
	(void)state;
	with_faults("launch:40", expect_failures);
	with_faults("lost:40", expect_failures);
}

/* Lists longer than there is room for: this step fails, the next one, which needs no more room,
 * does not. */
static void expect_one_failure(struct tiny_model *t)
{
	struct answer a = {0};
	struct cuda_engine g;
	struct err e;

	if (cuda_engine_open(&g, t, 64, &e) != RC_OK)
		fail_msg("%s", e.msg);
	for (int round = 0; round < 2; round++) {
		struct genreq *r = question(t->model, 0);

		r->min_tokens = round == 0 ? ANSWER_TOKENS : 0;
		for (int32_t i = 0; round == 0 && i < 5000; i++)
			sampling_add_stop_id(r->sampling, i % 100);
		cpu_engine_ask(&g.e, r, &a);
		cpu_engine_wait(&g.e);
		assert_int_equal(a.finish, round == 0 ? FINISH_ERROR : FINISH_LENGTH);
		answer_release(&a);
	}
	cuda_engine_close(&g);
}

static void test_no_memory_in_mid_run(void **state)
{
	(void)state;
	with_faults("alloc:5", expect_one_failure);
}

/* usage: test_executor_cuda [all]: a minute or two more. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_architectures),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_no_memory_at_load),
		cmocka_unit_test(test_broken_in_mid_run),
		cmocka_unit_test(test_no_memory_in_mid_run),
	};

	everything = argc > 1 && strcmp(argv[1], "all") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
