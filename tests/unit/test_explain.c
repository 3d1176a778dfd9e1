/*
 * Explain and its predictions: memory from model numbers beside what is published, the closed form
 * beside the real policy stepped through virtual time, and the words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "fakeengine/explain.h"
#include "fakeengine/predict.h"

/* ---- memory ---- */

static void test_memory(void **state)
{
	/* Models of these sizes by their cards: TinyLlama-1.1B, Llama-2. */
	static const struct {
		const char *size;
		struct profile_model model;
		int64_t cards;
		bool four_bit;
		double tolerance; /* of what is published, which is rounded to whole GB */
	} row[] = {
		{"1B",
		 {.params = 1.1e9, .layers = 22, .kv_heads = 4, .head_dim = 64},
		 1,
		 false,
		 0.25},
		{"7B",
		 {.params = 6.74e9, .layers = 32, .kv_heads = 32, .head_dim = 128},
		 1,
		 false,
		 0.1},
		{"13B",
		 {.params = 13.02e9, .layers = 40, .kv_heads = 40, .head_dim = 128},
		 1,
		 false,
		 0.1},
		{"70B",
		 {.params = 68.98e9, .layers = 80, .kv_heads = 8, .head_dim = 128},
		 2,
		 false,
		 0.1},
		{"1B",
		 {.params = 1.1e9, .layers = 22, .kv_heads = 4, .head_dim = 64},
		 1,
		 true,
		 0.5},
		{"7B",
		 {.params = 6.74e9, .layers = 32, .kv_heads = 32, .head_dim = 128},
		 1,
		 true,
		 0.5},
		{"13B",
		 {.params = 13.02e9, .layers = 40, .kv_heads = 40, .head_dim = 128},
		 1,
		 true,
		 0.25},
		{"70B",
		 {.params = 68.98e9, .layers = 80, .kv_heads = 8, .head_dim = 128},
		 1,
		 true,
		 0.1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct profile_card card = {.count = row[i].cards};
		struct profile_model m = row[i].model;
		const struct published_memory *pub;
		struct memory_need need;
		double gb;

		m.weight_bits = row[i].four_bit ? 4.5 : 16;
		memory_need(&m, &card, &need);
		pub = published_memory_find(&m);
		assert_non_null(pub);
		assert_string_equal(pub->size, row[i].size);
		assert_true(pub->four_bit == row[i].four_bit);
		gb = need.least_bytes / 1e9;
		print_message("%4s %s: derived %6.2f GB, published %g and %g\n", row[i].size,
			      row[i].four_bit ? "4-bit" : "BF16 ", gb, pub->server_gb,
			      pub->native_gb);
		if (fabs(gb / pub->server_gb - 1) > row[i].tolerance)
			fail_msg("%s: %.2f GB derived, %.0f GB published", row[i].size, gb,
				 pub->server_gb);
	}
}

static void test_memory_parts(void **state)
{
	const struct profile_model m = {
		.params = 7e9,
		.weight_bits = 16,
		.layers = 32,
		.kv_heads = 32,
		.head_dim = 128,
	};
	struct memory_need need;

	(void)state;
	memory_need(&m, &(struct profile_card){.count = 2}, &need);
	assert_true(need.weights_bytes == 14e9);
	assert_true(need.kv_bytes_per_token == 524288);
	assert_true(need.one_sequence_bytes == 2048 * 524288.0);
	assert_true(need.overhead_bytes == 1.6e9);
	assert_true(need.least_bytes ==
		    need.weights_bytes + need.one_sequence_bytes + need.overhead_bytes);
	assert_null(
		published_memory_find(&(struct profile_model){.params = 125e6, .weight_bits = 16}));
	assert_null(
		published_memory_find(&(struct profile_model){.params = 7e9, .weight_bits = 8}));
}

/* ---- the closed form beside the policy itself ---- */

struct user {
	struct genreq *r;
	int64_t sent_ns, first_ns;
	bool waiting; /* sent, not yet schedulable */
};

struct closed_loop {
	const struct profile *p;
	struct sched *s;
	struct user user[64];
	int32_t prompt, output;
	uint64_t next_id;
	double ttft_sum, e2el_sum;
	int64_t done;
};

static void ask(struct closed_loop *l, struct user *u, int64_t now_ns)
{
	int32_t *tokens = calloc((size_t)l->prompt, sizeof(*tokens));

	l->next_id++;
	for (int32_t i = 0; i < l->prompt; i++)
		tokens[i] = (int32_t)l->next_id;
	u->r = genreq_new(l->next_id, NULL, tokens, l->prompt, l->output);
	u->r->arrival_ns = u->r->ready_ns = now_ns + l->p->ingest_ns;
	u->sent_ns = now_ns;
	u->first_ns = 0;
	u->waiting = true;
	free(tokens);
}

/* The users in a closed loop for so many steps, the first third left out of the sums. They start
 * gap_ns apart: all at once they would stay together, their answers being equally long. */
static void run_closed_loop(struct closed_loop *l, int users, int steps, int64_t gap_ns)
{
	static const int32_t tokens[64];
	struct step_plan plan;
	int64_t now_ns = 0;

	step_plan_init(&plan);
	for (int i = 0; i < users; i++)
		ask(l, &l->user[i], i * gap_ns);
	for (int step = 0; step < steps; step++) {
		int64_t next_ns = INT64_MAX;

		for (int i = 0; i < users; i++) {
			struct user *u = &l->user[i];

			/* who becomes ready just when a step ends is too late for the next */
			if (u->waiting && u->r->arrival_ns < now_ns) {
				l->p->policy->add(l->s, u->r);
				u->waiting = false;
			} else if (u->waiting && u->r->arrival_ns < next_ns) {
				next_ns = u->r->arrival_ns;
			}
		}
		step_plan_clear(&plan);
		if (!l->p->policy->plan(l->s, &plan)) {
			int64_t wake_ns =
				l->p->policy->wake_ns ? l->p->policy->wake_ns(l->s) : INT64_MAX;

			if (wake_ns <= next_ns)
				l->p->policy->wake(l->s, wake_ns);
			now_ns = wake_ns <= next_ns ? wake_ns : next_ns + 1;
			continue;
		}
		now_ns += ps_to_ns(cost_step_ps(&l->p->cost, &plan));
		l->p->policy->commit(l->s, &plan, tokens, now_ns);
		for (int i = 0; i < users; i++) {
			struct user *u = &l->user[i];

			if (u->waiting || u->r->state != GENREQ_DONE)
				continue;
			if (step > steps / 3) {
				l->ttft_sum += (double)(u->r->first_token_ns - u->sent_ns +
							l->p->egress_ns);
				l->e2el_sum += (double)(now_ns - u->sent_ns + l->p->egress_ns);
				l->done++;
			}
			genreq_free(u->r);
			ask(l, u, now_ns + l->p->egress_ns);
		}
	}
	l->p->policy->close(l->s);
	for (int i = 0; i < users; i++)
		genreq_free(l->user[i].r);
	step_plan_release(&plan);
}

static void test_prediction_is_what_the_policy_does(void **state)
{
	/* tolerance: of E2EL; TTFT gets a step on top, it depends on where in a step one arrives */
	static const struct {
		const char *profile, *set;
		int users;
		int32_t prompt, output;
		bool at_once; /* they come together, not spread out */
		double tolerance;
	} row[] = {
		{"kind-vllm-a100", NULL, 1, 64, 128, false, 0.001},
		{"kind-vllm-a100", NULL, 4, 64, 128, false, 0.02},
		{"kind-vllm-a100", NULL, 16, 64, 128, false, 0.02},
		{"kind-vllm-a100", NULL, 64, 64, 128, false, 0.03},
		{"kind-vllm-a100", NULL, 32, 400, 100, false, 0.05},
		{"kind-vllm-a100", "scheduler.max_num_seqs=8", 32, 64, 128, false, 0.03},
		{"kind-vllm-a100", "scheduler.num_gpu_blocks=257", 64, 200, 56, false, 0.10},
		{"kind-transformers-a100", NULL, 8, 64, 64, false, 0.02},
		{"lima-vllm-mpt-7b-chat", NULL, 8, 58, 128, false, 0.02},
		{"lima-tgi-mpt-7b-chat", NULL, 4, 58, 128, false, 0.02},
		{"lima-tgi-mpt-7b-chat", NULL, 32, 58, 128, false, 0.05},
		{"policy-vllm-v0-7b", NULL, 32, 400, 100, false, 0.05},
		{"policy-sglang-7b", NULL, 32, 400, 100, false, 0.05},
		{"policy-vllm-v0-7b", NULL, 16, 64, 128, false, 0.02},
		{"policy-sglang-7b", NULL, 16, 64, 128, false, 0.02},
		{"policy-tgi-7b", NULL, 32, 64, 128, false, 0.03},
		{"policy-llamacpp-7b", NULL, 4, 64, 128, false, 0.03},
		{"policy-llamacpp-7b", NULL, 32, 64, 128, false, 0.03},
		{"policy-hf-cb-7b", NULL, 32, 64, 128, false, 0.03},
		{"policy-orca-7b", NULL, 32, 64, 128, false, 0.03},
		{"policy-sarathi-7b", NULL, 32, 64, 128, false, 0.03},
		{"policy-static-batch-7b", NULL, 1, 64, 128, true, 0.001},
		{"policy-static-batch-7b", NULL, 8, 64, 128, true, 0.02},
		{"policy-static-batch-7b", NULL, 16, 64, 128, true, 0.02},
		{"policy-static-batch-7b", NULL, 32, 64, 128, true, 0.02},
	};
	int off = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		static struct closed_loop l;
		struct profile_set set = {row[i].set, "--set"};
		struct prediction d;
		struct profile p;
		double ttft, e2el;

		assert_int_equal(profile_load(&p, row[i].profile, &set, row[i].set ? 1 : 0, NULL),
				 RC_OK);
		l = (struct closed_loop){.p = &p, .prompt = row[i].prompt, .output = row[i].output};
		assert_int_equal(predict(&p, row[i].users, row[i].prompt, row[i].output, &d, NULL),
				 RC_OK);
		assert_int_equal(p.policy->open(&l.s, p.knobs, -1, NULL), RC_OK);
		run_closed_loop(&l, row[i].users, 30000,
				row[i].at_once ? 0 : (int64_t)d.e2el_ns / row[i].users);
		assert_true(l.done > INT64_C(10) * row[i].users);
		ttft = l.ttft_sum / (double)l.done;
		e2el = l.e2el_sum / (double)l.done;
		print_message(
			"%-24s %2d users: TTFT %8.2f closed form %8.2f, E2EL %9.2f %9.2f ms\n",
			row[i].profile, row[i].users, ttft / 1e6, d.ttft_ns / 1e6, e2el / 1e6,
			d.e2el_ns / 1e6);
		if (fabs(d.e2el_ns / e2el - 1) > row[i].tolerance ||
		    fabs(d.ttft_ns - ttft) > row[i].tolerance * e2el + d.tpot_ns)
			off++;
		profile_release(&p);
	}
	assert_int_equal(off, 0);
}

/* Of one request alone no formula is needed: what is predicted is what the policy does, so what
 * test_profile.c holds against published numbers, too. */
static void test_alone_it_is_exact(void **state)
{
	static const int32_t lengths[][2] = {{8, 32}, {58, 128}, {190, 256}};

	(void)state;
	for (const struct embedded *f = builtin_profiles; f->name; f++) {
		for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
			int32_t prompt = lengths[i][0], output = lengths[i][1];
			static struct closed_loop l;
			struct prediction d;
			struct profile p;

			assert_int_equal(profile_load(&p, f->name, NULL, 0, NULL), RC_OK);
			l = (struct closed_loop){.p = &p, .prompt = prompt, .output = output};
			assert_int_equal(predict(&p, 1, prompt, output, &d, NULL), RC_OK);
			assert_int_equal(p.policy->open(&l.s, p.knobs, -1, NULL), RC_OK);
			run_closed_loop(&l, 1, 3000, 0);
			if (fabs(d.e2el_ns / (l.e2el_sum / (double)l.done) - 1) > 0.001 ||
			    fabs(d.ttft_ns / (l.ttft_sum / (double)l.done) - 1) > 0.001)
				fail_msg("%s %d+%d: TTFT %.3f ms predicted, %.3f done; E2EL %.3f, "
					 "%.3f",
					 f->name, prompt, output, d.ttft_ns / 1e6,
					 l.ttft_sum / (double)l.done / 1e6, d.e2el_ns / 1e6,
					 l.e2el_sum / (double)l.done / 1e6);
			profile_release(&p);
		}
	}
}

static void test_static_users_do_not_wait(void **state)
{
	struct prediction one, many;
	struct profile p;

	(void)state;
	assert_int_equal(profile_load(&p, "seed-vllm", NULL, 0, NULL), RC_OK);
	assert_int_equal(predict(&p, 1, 50, 128, &one, NULL), RC_OK);
	assert_int_equal(predict(&p, 16, 50, 128, &many, NULL), RC_OK);
	assert_true(one.e2el_ns == many.e2el_ns && one.ttft_ns == many.ttft_ns);
	assert_true(fabs(many.tokens_per_s / (16 * one.tokens_per_s) - 1) < 1e-12);
	assert_int_equal(many.running, 16);
	profile_release(&p);
}

static void test_impossible_request(void **state)
{
	struct prediction d;
	struct profile p;
	struct err e;

	(void)state;
	assert_int_equal(profile_load(&p, "kind-vllm-a100", NULL, 0, NULL), RC_OK);
	assert_int_equal(predict(&p, 1, 5000, 10, &d, &e), RC_INPUT); /* context 4096 */
	profile_release(&p);
}

/* ---- the words ---- */

static void explained(struct buf *b, const char *name, const char *set)
{
	struct profile_set s = {set, "--set"};
	struct profile p;
	struct err e;

	if (profile_load(&p, name, &s, set ? 1 : 0, &e))
		fail_msg("%s", e.msg);
	buf_init(b, 1 << 20);
	assert_true(explain(b, &p, 64, 128));
	profile_release(&p);
}

static void test_words(void **state)
{
	static const struct {
		const char *profile, *set, *says;
	} row[] = {
		{"kind-vllm-a100", NULL, "published      7B BF16: vLLM about 16 GB (derived is -"},
		{"kind-vllm-a100", NULL, "Source: A guide"},
		{"kind-vllm-a100", NULL,
		 "published for one request at a time: 100 to 150 tokens/s"},
		{"kind-vllm-a100", NULL, "KV cache       116784 tokens"},
		{"kind-vllm-a100", NULL, "(assumed: 0.8 GB a card"},
		{"kind-vllm-a100", "cost.affine.step=5ms", "WARNING, faster than the hardware"},
		{"kind-vllm-a100", "scheduler.num_gpu_blocks=20000", "WARNING, it does not fit"},
		{"kind-llamacpp-cpu", NULL, "7B 4-bit: llama.cpp about 4 GB"},
		{"lima-tgi-oasst-30b", NULL, "nothing for a model of this size"},
		{"lima-tgi-oasst-30b", NULL, "22.05 tokens/s"},
		{"seed-vllm", NULL, "nothing to derive"},
		{"seed-vllm", NULL, "    592.0"},
		{"seed-vllm", NULL, "128 tokens long, whatever is asked"},
		{"offline-vllm-125m", NULL, "after 86 tokens"},
		{"kind-vllm-a100", "scheduler.max_model_len=50", "can never run"},
		{"policy-vllm-v1-7b", NULL, "beside the others' decodes"},
		{"policy-vllm-v0-7b", NULL, "the others stand still"},
		{"policy-sglang-7b", NULL, "the others stand still"},
		{"policy-sglang-7b", "scheduler.enable_mixed_chunk=true",
		 "beside the others' decodes"},
		{"policy-tgi-7b", NULL, "beside the others' decodes"},
		{"policy-tgi-7b", "scheduler.prefill_chunking=false", "the others stand still"},
		{"policy-llamacpp-7b", NULL, "beside the others' decodes"},
		{"policy-llamacpp-7b", "scheduler.cont_batching=false", "begins and ends together"},
		{"policy-hf-cb-7b", NULL, "beside the others' decodes"},
		{"policy-orca-7b", NULL, "beside the others' decodes"},
		{"policy-sarathi-7b", NULL, "beside the others' decodes"},
		{"policy-static-batch-7b", NULL, "begins and ends together"},
		{"kind-transformers-a100", NULL, "begins and ends together"},
		{"seed-vllm", NULL, "share no step"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct buf b;

		explained(&b, row[i].profile, row[i].set);
		if (!strstr(buf_cstr(&b), row[i].says))
			fail_msg("%s: no \"%s\" in\n%s", row[i].profile, row[i].says, buf_cstr(&b));
		buf_release(&b);
	}
}

/* No shipped profile is faster than its hardware or bigger than its memory. */
static void test_shipped_ones_are_possible(void **state)
{
	(void)state;
	for (const struct embedded *f = builtin_profiles; f->name; f++) {
		struct buf b;

		explained(&b, f->name, NULL);
		if (strstr(buf_cstr(&b), "WARNING"))
			fail_msg("%s", buf_cstr(&b));
		buf_release(&b);
	}
}

static void test_list(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	assert_int_equal(explain_list(&b, NULL), RC_OK);
	for (const struct embedded *f = builtin_profiles; f->name; f++)
		assert_non_null(strstr(buf_cstr(&b), f->name));
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_parts),
		cmocka_unit_test(test_prediction_is_what_the_policy_does),
		cmocka_unit_test(test_alone_it_is_exact),
		cmocka_unit_test(test_static_users_do_not_wait),
		cmocka_unit_test(test_impossible_request),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_shipped_ones_are_possible),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
