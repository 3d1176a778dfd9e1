/*
 * Attention over paged keys and values, in every instruction set that this machine has: within its
 * error of a double-precision one over contexts that end anywhere in a strip or page, windows,
 * slopes and odd heads; and the same bits however a prompt is cut, whatever stands beside it in the
 * pages, and whichever heads are computed together.
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
#include "base/die.h"
#include "base/rng.h"
#include "cpu/kernels.h"

struct shape {
	int32_t n_heads, n_kv_heads, head_dim, page_tokens, window;
	bool alibi;
};

static const struct shape shapes[] = {
	{9, 3, 64, 16, 0, false},    /* SmolLM2 */
	{4, 1, 256, 16, 512, false}, /* Gemma 3 */
	{71, 1, 64, 16, 0, false},   /* Falcon */
	{4, 4, 128, 32, 0, true},    /* MPT */
	{6, 2, 20, 5, 7, true},	     /* nothing is a multiple of anything */
	{2, 1, 8, 1, 16, false},     {3, 3, 7, 48, 1, false},
};

/* A sequence of n tokens: the plain numbers, and the same in pages strewn about. Whatever is not
 * the sequence's is NaN, so that one look at it is seen. */
struct sequence {
	const struct shape *shape;
	int32_t n, n_pages;
	float *q, *k, *v; /* [n][heads][head_dim] */
	float *slope;
	uint16_t *pages;
	int32_t *block;
};

static float *random_floats(struct rng *r, int64_t n)
{
	float *x = xcalloc((size_t)n, sizeof(*x));

	for (int64_t i = 0; i < n; i++)
		x[i] = (float)((int32_t)(rng_u32(r) >> 21) - 1024) / 1024; /* all of them halves */
	return x;
}

static int64_t page_stride(const struct shape *s)
{
	return 2LL * s->n_kv_heads * s->page_tokens * s->head_dim;
}

static void store(struct sequence *s, const struct kernels *kernels, int32_t token)
{
	const struct shape *p = s->shape;
	int64_t run = (int64_t)p->page_tokens * p->head_dim;
	int32_t page = s->block[token / p->page_tokens], at = token % p->page_tokens;

	for (int32_t h = 0; h < p->n_kv_heads; h++) {
		int64_t from = ((int64_t)token * p->n_kv_heads + h) * p->head_dim;
		uint16_t *to =
			s->pages + page * page_stride(p) + h * run + (int64_t)at * p->head_dim;

		kernels->to_f16(s->k + from, p->head_dim, to);
		kernels->to_f16(s->v + from, p->head_dim, to + p->n_kv_heads * run);
	}
}

static void make(struct sequence *s, const struct shape *p, int32_t n, uint64_t index)
{
	struct rng r;
	uint32_t *order;

	rng_init(&r, 1, "attention", index);
	*s = (struct sequence){.shape = p, .n = n};
	s->n_pages = (n + p->page_tokens - 1) / p->page_tokens + 3;
	s->q = random_floats(&r, (int64_t)n * p->n_heads * p->head_dim);
	s->k = random_floats(&r, (int64_t)n * p->n_kv_heads * p->head_dim);
	s->v = random_floats(&r, (int64_t)n * p->n_kv_heads * p->head_dim);
	s->slope = xcalloc((size_t)p->n_heads, sizeof(*s->slope));
	for (int32_t h = 0; h < p->n_heads; h++)
		s->slope[h] = ldexpf(1, -h - 1);
	order = xcalloc((size_t)s->n_pages, sizeof(*order));
	s->block = xcalloc((size_t)s->n_pages, sizeof(*s->block));
	for (int32_t i = 0; i < s->n_pages; i++)
		order[i] = (uint32_t)i;
	rng_shuffle(&r, order, (size_t)s->n_pages);
	for (int32_t i = 0; i < s->n_pages; i++)
		s->block[i] = (int32_t)order[i];
	free(order);
	s->pages = xmalloc((size_t)s->n_pages * (size_t)page_stride(p) * sizeof(*s->pages));
	memset(s->pages, 0xff, (size_t)s->n_pages * (size_t)page_stride(p) * sizeof(*s->pages));
}

static void release(struct sequence *s)
{
	free(s->q);
	free(s->k);
	free(s->v);
	free(s->slope);
	free(s->pages);
	free(s->block);
}

/* Queries [first, first + n) as one chunk of a prompt, cut into parts of these sizes. */
static void attend(const struct sequence *s, const struct kernels *kernels, int32_t first,
		   int32_t n, int32_t part_heads, int32_t part_queries, float *out)
{
	const struct shape *p = s->shape;
	int64_t stride = (int64_t)p->n_heads * p->head_dim;
	int32_t group = p->n_heads / p->n_kv_heads;
	struct attention a = {
		.kv = {.data = s->pages,
		       .block = s->block,
		       .page_stride = page_stride(p),
		       .value_offset = page_stride(p) / 2,
		       .page_tokens = p->page_tokens,
		       .head_dim = p->head_dim},
		.q = s->q + first * stride,
		.out = out + first * stride,
		.q_stride = stride,
		.out_stride = stride,
		.position = first,
		.n_queries = n,
		.n_heads = p->n_heads,
		.n_kv_heads = p->n_kv_heads,
		.scale = 3 / sqrtf((float)p->head_dim),
		.window = p->window,
		.alibi_slope = p->alibi ? s->slope : NULL,
	};
	float *scratch =
		xcalloc((size_t)attention_scratch_floats(part_heads * part_queries, p->head_dim),
			sizeof(*scratch));

	for (int32_t h = 0; h < p->n_heads; h += group)
		for (int32_t i = 0; i < group; i += part_heads)
			for (int32_t q = 0; q < n; q += part_queries) {
				struct attention_part part = {
					.head = h + i,
					.n_heads = group - i < part_heads ? group - i : part_heads,
					.query = q,
					.n_queries = n - q < part_queries ? n - q : part_queries,
				};

				kernels->attention(&a, &part, scratch);
			}
	free(scratch);
}

/* One head of one query in double precision. */
static void reference(const struct sequence *s, int32_t query, int32_t head, double *out)
{
	const struct shape *p = s->shape;
	int32_t kv_head = head / (p->n_heads / p->n_kv_heads), dim = p->head_dim;
	int32_t first = p->window > 0 && query >= p->window ? query - p->window + 1 : 0;
	double *weight = xcalloc((size_t)query + 1, sizeof(*weight)), largest = -1e300, sum = 0;

	for (int32_t t = first; t <= query; t++) {
		const float *q = s->q + ((int64_t)query * p->n_heads + head) * dim;
		const float *k = s->k + ((int64_t)t * p->n_kv_heads + kv_head) * dim;

		for (int32_t d = 0; d < dim; d++)
			weight[t] += (double)q[d] * k[d];
		weight[t] *= 3 / sqrt(dim);
		if (p->alibi)
			weight[t] += s->slope[head] * (double)(t - query);
		largest = fmax(largest, weight[t]);
	}
	memset(out, 0, (size_t)dim * sizeof(*out));
	for (int32_t t = first; t <= query; t++) {
		const float *v = s->v + ((int64_t)t * p->n_kv_heads + kv_head) * dim;
		double w = exp(weight[t] - largest);

		sum += w;
		for (int32_t d = 0; d < dim; d++)
			out[d] += w * v[d];
	}
	for (int32_t d = 0; d < dim; d++)
		out[d] /= sum;
	free(weight);
}

/* Weights sum to 1 and values are below 1, so the error is that of the weights: a few units of the
 * last place of the score's size, which is 3 sqrt(dim) at most, or of the slope's. */
static void check_query(const struct sequence *s, const struct kernels *kernels, int32_t query,
			const float *out)
{
	const struct shape *p = s->shape;
	double want[256];

	for (int32_t h = 0; h < p->n_heads; h++) {
		const float *got = out + ((int64_t)query * p->n_heads + h) * p->head_dim;

		reference(s, query, h, want);
		for (int32_t d = 0; d < p->head_dim; d++)
			if (!(fabs(got[d] - want[d]) <= 2e-5))
				fail_msg("%s, %d heads of %d, query %d, head %d, %d: %g, want %g",
					 kernels->name, p->n_heads, p->head_dim, query, h, d,
					 (double)got[d], want[d]);
	}
}

static void test_contexts(void **state)
{
	static const int32_t contexts[] = {1, 2, 15, 16, 17, 33, 130, 600};
	const struct kernels *kernels;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		for (size_t c = 0; c < ARRAY_LEN(contexts); c++) {
			int32_t n = contexts[c], group = shapes[i].n_heads / shapes[i].n_kv_heads;
			struct sequence s;
			float *out;

			make(&s, &shapes[i], n, i * 100 + c);
			out = xcalloc((size_t)n * (size_t)shapes[i].n_heads *
					      (size_t)shapes[i].head_dim,
				      sizeof(*out));
			for (int32_t k = 0; (kernels = kernels_at(k)); k++) {
				if (k == 0)
					for (int32_t t = 0; t < n; t++)
						store(&s, kernels, t);
				attend(&s, kernels, n - 1, 1, group, 1, out);
				check_query(&s, kernels, n - 1, out);
			}
			free(out);
			release(&s);
		}
}

/* A context of 4095 as a decode has it; every page full but the last. */
static void test_long_context(void **state)
{
	struct sequence s;
	const struct kernels *kernels;
	float *out = xcalloc((size_t)4095 * 9 * 64, sizeof(*out));

	(void)state;
	make(&s, &shapes[0], 4095, 7);
	for (int32_t k = 0; (kernels = kernels_at(k)); k++) {
		for (int32_t t = 0; k == 0 && t < s.n; t++)
			store(&s, kernels, t);
		attend(&s, kernels, 4094, 1, 3, 1, out);
		check_query(&s, kernels, 4094, out);
	}
	free(out);
	release(&s);
}

/* A prompt in one piece against the same in chunks, each stored before it is attended to, as steps
 * do it; with other parts of heads and queries. Equal to the bit, and right. */
static void test_same_bits(void **state)
{
	static const struct {
		int32_t chunk, part_heads, part_queries;
	} cuts[] = {{1, 100, 1}, {1, 1, 1}, {16, 2, 5}, {17, 100, 3}, {40, 1, 11}, {83, 5, 100}};
	const struct kernels *kernels;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		const struct shape *p = &shapes[i];
		int32_t n = 83;
		size_t bytes = (size_t)n * (size_t)p->n_heads * (size_t)p->head_dim * sizeof(float);
		float *whole = xmalloc(bytes), *cut = xmalloc(bytes);
		struct sequence s;

		for (int32_t k = 0; (kernels = kernels_at(k)); k++) {
			make(&s, p, n, 1000 + i);
			for (int32_t t = 0; t < n; t++)
				store(&s, kernels, t);
			attend(&s, kernels, 0, n, p->n_heads / p->n_kv_heads, 8, whole);
			for (int32_t q = 0; q < n; q += 9)
				check_query(&s, kernels, q, whole);
			release(&s);
			for (size_t c = 0; c < ARRAY_LEN(cuts); c++) {
				memset(cut, 0xff, bytes);
				make(&s, p, n, 1000 + i);
				for (int32_t t = 0, m; t < n; t += m) {
					m = n - t < cuts[c].chunk ? n - t : cuts[c].chunk;
					for (int32_t j = t; j < t + m; j++)
						store(&s, kernels, j);
					attend(&s, kernels, t, m, cuts[c].part_heads,
					       cuts[c].part_queries, cut);
				}
				assert_memory_equal(whole, cut, bytes);
				release(&s);
			}
		}
		free(whole);
		free(cut);
	}
}

/* Numbers beyond a half's range, in a later token: the earlier ones of the same chunk do not see
 * them, and nothing is NaN. */
static void test_huge_values(void **state)
{
	struct sequence s;
	const struct kernels *kernels;
	float *out = xcalloc((size_t)16 * 9 * 64, sizeof(*out));

	(void)state;
	make(&s, &shapes[0], 16, 8);
	for (int32_t i = 0; i < 3 * 64; i++) {
		s.v[15 * 3 * 64 + i] = i % 2 ? 1e30f : -INFINITY;
		s.k[15 * 3 * 64 + i] = 1e6f;
	}
	for (int32_t k = 0; (kernels = kernels_at(k)); k++) {
		for (int32_t t = 0; t < s.n; t++)
			store(&s, kernels, t);
		attend(&s, kernels, 0, 16, 3, 16, out);
		check_query(&s, kernels, 14, out);
		for (int32_t i = 0; i < 16 * 9 * 64; i++)
			assert_true(isfinite(out[i]));
	}
	free(out);
	release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_long_context),
		cmocka_unit_test(test_same_bits),
		cmocka_unit_test(test_huge_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
