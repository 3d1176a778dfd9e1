/* Placing and attention over paged keys and values, against plain C in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"

#define PAGE 16

/* Sequences whose pages stand in a pool in any order; one page is never used, and is full of large
 * numbers. */
struct pool {
	int32_t n_sequences, stride, n_kv_heads, head_dim, n_pages;
	int32_t *table;	 /* the host's */
	uint16_t *pages; /* the host's copy of what is on the device */
	size_t halves;
	struct gpu_kv kv;
};

static void make_pool(struct pool *p, int32_t n_sequences, int32_t tokens, int32_t n_kv_heads,
		      int32_t head_dim)
{
	size_t n;

	*p = (struct pool){.n_sequences = n_sequences,
			   .stride = (tokens + PAGE - 1) / PAGE,
			   .n_kv_heads = n_kv_heads,
			   .head_dim = head_dim};
	p->n_pages = n_sequences * p->stride + 1;
	n = (size_t)n_sequences * (size_t)p->stride;
	p->table = host(n * sizeof(*p->table));
	for (size_t i = 0; i < n; i++) {
		size_t other = (size_t)next_int((int32_t)i + 1);

		p->table[i] = p->table[other];
		p->table[other] = (int32_t)i + 1;
	}
	p->halves = (size_t)p->n_pages * 2 * (size_t)n_kv_heads * PAGE * (size_t)head_dim;
	p->pages = half_numbers(p->halves, 1);
	for (size_t i = 0; i < p->halves / (size_t)p->n_pages; i++)
		p->pages[i] = f16_from_float(60000);
	p->kv = (struct gpu_kv){.pages = device_copy(p->pages, p->halves * sizeof(*p->pages)),
				.page_tokens = PAGE,
				.n_kv_heads = n_kv_heads,
				.head_dim = head_dim,
				.block_table = device_copy(p->table, n * sizeof(*p->table)),
				.table_stride = p->stride};
}

static size_t place_of(const struct pool *p, int32_t sequence, int32_t token, int values,
		       int32_t head)
{
	size_t page = (size_t)p->table[sequence * p->stride + token / PAGE];

	return (((page * 2 + (size_t)values) * (size_t)p->n_kv_heads + (size_t)head) * PAGE +
		(size_t)(token % PAGE)) *
	       (size_t)p->head_dim;
}

static void set_rows(struct pool *p, const int32_t *sequence, const int32_t *position, int32_t m)
{
	p->kv.row_sequence = device_copy(sequence, (size_t)m * sizeof(*sequence));
	p->kv.positions = device_copy(position, (size_t)m * sizeof(*position));
}

/* ---- attention ---- */

struct attention_case {
	int32_t n_heads, n_kv_heads, head_dim, window;
	bool alibi;
};

static void want_attention(const struct pool *p, const struct attention_case *c, const uint16_t *q,
			   int32_t sequence, int32_t position, int32_t head, float slope,
			   double *out)
{
	int32_t kv_head = head / (c->n_heads / c->n_kv_heads), d = c->head_dim;
	int32_t first = c->window > 0 && position >= c->window ? position - c->window + 1 : 0;
	double *score = host((size_t)(position + 1) * sizeof(*score)), most = -1e300, sum = 0;

	for (int32_t t = first; t <= position; t++) {
		const uint16_t *k = p->pages + place_of(p, sequence, t, 0, kv_head);

		for (int32_t i = 0; i < d; i++)
			score[t] += (double)f16_to_float(q[i]) * f16_to_float(k[i]);
		score[t] = score[t] * 0.3 - (double)slope * (position - t);
		most = fmax(most, score[t]);
	}
	memset(out, 0, (size_t)d * sizeof(*out));
	for (int32_t t = first; t <= position; t++) {
		const uint16_t *v = p->pages + place_of(p, sequence, t, 1, kv_head);
		double weight = exp(score[t] - most);

		sum += weight;
		for (int32_t i = 0; i < d; i++)
			out[i] += weight * f16_to_float(v[i]);
	}
	for (int32_t i = 0; i < d; i++)
		out[i] /= sum;
}

/* Rows of m queries at (sequence, position); those that are attended are compared, the others must
 * not have been touched. */
struct batch {
	int32_t m, *sequence, *position;
	bool *attended;
	uint16_t *q;
	float *slope;
	struct gpu_attention a;
};

static void make_batch(struct batch *b, const struct attention_case *c, struct pool *p)
{
	size_t width = (size_t)c->n_heads * (size_t)c->head_dim;

	b->q = half_numbers((size_t)b->m * width, 1);
	b->slope = host((size_t)c->n_heads * sizeof(float));
	for (int32_t h = 0; h < c->n_heads; h++)
		b->slope[h] = c->alibi ? 0.5F / (float)(h + 1) : 0;
	b->attended = host((size_t)b->m * sizeof(bool));
	set_rows(p, b->sequence, b->position, b->m);
	b->a = (struct gpu_attention){
		.q = device_copy(b->q, (size_t)b->m * width * sizeof(*b->q)),
		.q_stride = (int32_t)width,
		.n_heads = c->n_heads,
		.scale = 0.3F,
		.window = c->window,
		.alibi_slope =
			c->alibi ? device_copy(b->slope, (size_t)c->n_heads * sizeof(float)) : NULL,
		.out = device((size_t)b->m * (width + 8) * sizeof(uint16_t)),
		.out_stride = (int32_t)width + 8};
}

static void check_batch(const struct batch *b, const struct attention_case *c, const struct pool *p)
{
	size_t d = (size_t)c->head_dim, width = (size_t)c->n_heads * d;
	double *want = host(d * sizeof(*want));

	for (int32_t r = 0; r < b->m; r++) {
		const uint16_t *out = b->a.out + (size_t)r * (size_t)b->a.out_stride;

		for (size_t i = width; i < width + 8; i++)
			assert_int_equal(out[i], 0xffff);
		for (int32_t h = 0; h < c->n_heads; h++) {
			if (b->attended[r])
				want_attention(p, c, b->q + (size_t)r * width + (size_t)h * d,
					       b->sequence[r], b->position[r], h, b->slope[h],
					       want);
			for (size_t i = 0; i < d; i++) {
				uint16_t got = out[(size_t)h * d + i];

				if (b->attended[r])
					expect_near("out",
						    ((size_t)r * (size_t)c->n_heads + (size_t)h) *
								    d +
							    i,
						    f16_to_float(got), want[i], 1.5e-3);
				else
					assert_int_equal(got, 0xffff);
			}
		}
	}
}

/* Without a second kernel the rows are the same to the last bit. */
static void check_single_split(const struct batch *b, const struct pool *p, const int32_t *rows,
			       int32_t n)
{
	size_t bytes = (size_t)b->m * (size_t)b->a.out_stride * sizeof(uint16_t);
	struct gpu_attention single = b->a;

	single.out = device(bytes);
	OK(gpu_attend_decode(&bench_queue, &single, &p->kv,
			     device_copy(rows, (size_t)n * sizeof(*rows)), n, 1, NULL, NULL));
	assert_memory_equal(single.out, b->a.out, bytes);
}

/* Two sequences of each context, rows in between that are not decoded, and one that is nobody's. */
static void check_decode(const struct attention_case *c, const int32_t *contexts, int32_t n)
{
	int32_t m = 2 * n, longest = 0, splits, *rows = host((size_t)(m + 1) * sizeof(*rows));
	struct batch b = {.m = m};
	struct pool p;

	for (int32_t i = 0; i < n; i++)
		longest = contexts[i] > longest ? contexts[i] : longest;
	make_pool(&p, n, longest, c->n_kv_heads, c->head_dim);
	b.sequence = host((size_t)m * sizeof(int32_t));
	b.position = host((size_t)m * sizeof(int32_t));
	for (int32_t r = 0; r < m; r++) {
		b.sequence[r] = r / 2;
		b.position[r] = contexts[r / 2] - 1;
	}
	make_batch(&b, c, &p);
	for (int32_t i = 0; i < n; i++) {
		rows[i] = 2 * (n - 1 - i);
		b.attended[rows[i]] = true;
	}
	rows[n] = -1;
	splits = gpu_splits(longest) + 1;
	OK(gpu_attend_decode(&bench_queue, &b.a, &p.kv,
			     device_copy(rows, (size_t)(n + 1) * sizeof(*rows)), n + 1, splits,
			     device(gpu_partial_bytes(n + 1, c->n_heads, splits, c->head_dim)),
			     NULL));
	check_batch(&b, c, &p);
	if (longest <= GPU_SPLIT_TOKENS)
		check_single_split(&b, &p, rows, n);
	bench_release();
}

static void decode(void)
{
	static const int32_t contexts[] = {1, 15, 16, 17, 33, 256, 257, 600};
	static const int32_t few[] = {1, 31, 300}, full[] = {5, 256};
	static const struct attention_case cases[] = {
		{9, 3, 64, 0, false},  {4, 1, 256, 40, false}, {8, 8, 16, 0, true},
		{12, 4, 80, 5, false}, {20, 2, 128, 0, false}, {9, 3, 16, 0, false},
	};
	static const struct attention_case many_heads = {71, 1, 64, 0, false};

	check_decode(&cases[0], contexts, 8);
	for (size_t i = 1; i < sizeof(cases) / sizeof(*cases); i++)
		check_decode(&cases[i], few, 3);
	check_decode(&many_heads, few, 2);
	check_decode(&cases[1], full, 2);
	check_decode(&cases[2], full, 2);
}

static void test_decode(void **state)
{
	static const struct attention_case c = {3, 1, 64, 0, false},
					   windowed = {3, 1, 64, 512, true};
	static const int32_t longest[] = {4095};

	(void)state;
	bench_orders(decode);
	check_decode(&c, longest, 1);
	check_decode(&windowed, longest, 1);
}

/* However the prompts were cut, a row is the same to the last bit: here each is a chunk alone. */
static void check_cut(const struct batch *b, const struct pool *p)
{
	size_t bytes = (size_t)b->m * (size_t)b->a.out_stride * sizeof(uint16_t);
	int32_t *first = host((size_t)b->m * sizeof(*first));
	int32_t *rows = host((size_t)b->m * sizeof(*rows)), n = 0;
	struct gpu_attention alone = b->a;

	for (int32_t r = 0; r < b->m; r++) {
		if (!b->attended[r])
			continue;
		first[n] = r;
		rows[n++] = 1;
	}
	alone.out = device(bytes);
	OK(gpu_attend_prefill(&bench_queue, &alone, &p->kv,
			      device_copy(first, (size_t)n * sizeof(*first)),
			      device_copy(rows, (size_t)n * sizeof(*rows)), n, NULL));
	assert_memory_equal(alone.out, b->a.out, bytes);
}

/* A prompt of `end` tokens whose last `fresh` are in the batch, behind the rows of another one. */
static void check_prefill(const struct attention_case *c, int32_t end, int32_t fresh)
{
	int32_t m = fresh + 5, most = gpu_chunk_rows(c->n_heads, c->n_kv_heads), n = 0;
	int32_t *first = host((size_t)m * sizeof(*first)), *rows = host((size_t)m * sizeof(*rows));
	struct batch b = {.m = m};
	struct pool p;

	make_pool(&p, 2, end > 5 ? end : 5, c->n_kv_heads, c->head_dim);
	b.sequence = host((size_t)m * sizeof(int32_t));
	b.position = host((size_t)m * sizeof(int32_t));
	for (int32_t r = 0; r < m; r++) {
		b.sequence[r] = r >= 5;
		b.position[r] = r < 5 ? r : end - fresh + r - 5;
	}
	make_batch(&b, c, &p);
	for (int32_t r = 1; r < m; n++) { /* row 0 is somebody else's affair */
		int32_t behind = r < 5 ? 5 : m;

		first[n] = r;
		rows[n] = behind - r < most ? behind - r : most;
		for (int32_t i = 0; i < rows[n]; i++)
			b.attended[r + i] = true;
		r += rows[n];
	}
	OK(gpu_attend_prefill(&bench_queue, &b.a, &p.kv,
			      device_copy(first, (size_t)n * sizeof(*first)),
			      device_copy(rows, (size_t)n * sizeof(*rows)), n, NULL));
	check_batch(&b, c, &p);
	check_cut(&b, &p);
	bench_release();
}

static void prefill(void)
{
	static const struct attention_case cases[] = {
		{9, 3, 64, 0, false},  {4, 4, 80, 0, true},    {4, 1, 256, 7, false},
		{71, 1, 64, 0, false}, {6, 2, 128, 20, false}, {2, 2, 8, 0, false},
		{3, 3, 24, 9, true},   {2, 1, 136, 0, false},  {9, 3, 16, 0, false},
		{71, 1, 8, 0, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		check_prefill(&cases[i], 37, 21);
		check_prefill(&cases[i], 16, 16);
		check_prefill(&cases[i], 49, 1);
	}
}

static void test_prefill(void **state)
{
	static const struct attention_case c = {3, 3, 64, 0, false};

	(void)state;
	bench_orders(prefill);
	check_prefill(&c, 300, 100);
	check_prefill(&c, 4095, 2);
}

static void test_limits(void **state)
{
	struct gpu_kv kv = {.head_dim = 20, .n_kv_heads = 1};
	struct gpu_attention a = {.n_heads = 1};
	struct err e = {RC_OK, ""};

	(void)state;
	assert_int_equal(gpu_attend_decode(&bench_queue, &a, &kv, NULL, 1, 1, NULL, &e), RC_LIMIT);
	kv.head_dim = 264;
	assert_int_equal(gpu_attend_prefill(&bench_queue, &a, &kv, NULL, NULL, 1, &e), RC_LIMIT);
	assert_non_null(strstr(e.msg, "264"));
}

/* ---- placing ---- */

struct place_case {
	int32_t n_heads, n_kv_heads, head_dim, n_rot;
	enum gpu_rope rope;
	bool bias, clamp, norm, whole_row;
	enum gpu_norm_kind kind;
};

static void want_norm(const struct place_case *c, double *x, int32_t n, const float *weight,
		      const float *bias)
{
	double mean = 0, squares = 0;

	for (int32_t i = 0; i < n; i++)
		mean += c->kind == GPU_NORM_LAYER ? x[i] / n : 0;
	for (int32_t i = 0; i < n; i++)
		squares += (x[i] - mean) * (x[i] - mean);
	for (int32_t i = 0; i < n; i++)
		x[i] = (x[i] - mean) / sqrt(squares / n + 1e-6) * weight[i] + bias[i];
}

static void want_rope(const struct place_case *c, double *x, int32_t position, const double *turn)
{
	int32_t half = c->n_rot / 2;

	for (int32_t i = 0; c->rope != GPU_ROPE_NONE && i < half; i++) {
		double *a = c->rope == GPU_ROPE_PAIRS ? &x[(ptrdiff_t)2 * i] : &x[i];
		double *b = c->rope == GPU_ROPE_PAIRS ? a + 1 : a + half;
		double was = *a, angle = position * turn[i];

		*a = was * cos(angle) - *b * sin(angle);
		*b = was * sin(angle) + *b * cos(angle);
	}
}

/* The row as it should be: q, k and v behind each other. */
static void want_placed(const struct place_case *c, const float *qkv, const float *bias,
			float *const weight[4], const double *turn, int32_t position, double *x)
{
	int32_t heads = c->n_heads + c->n_kv_heads, d = c->head_dim;
	int32_t width = (heads + c->n_kv_heads) * d, q_width = c->n_heads * d;

	for (int32_t i = 0; i < width; i++) {
		x[i] = qkv[i] + (c->bias ? bias[i] : 0);
		if (c->clamp)
			x[i] = fmin(fmax(x[i], -1.5), 1.5);
	}
	if (c->norm && c->whole_row) {
		want_norm(c, x, q_width, weight[0], weight[1]);
		want_norm(c, x + q_width, c->n_kv_heads * d, weight[2], weight[3]);
	}
	for (int32_t h = 0; h < heads; h++) {
		int which = h < c->n_heads ? 0 : 2;

		if (c->norm && !c->whole_row)
			want_norm(c, x + (ptrdiff_t)h * d, d, weight[which], weight[which + 1]);
		want_rope(c, x + (ptrdiff_t)h * d, position, turn);
	}
}

static void check_place(const struct place_case *c)
{
	enum { M = 5 };
	int32_t sequence[M] = {1, 0, -1, 1, 0}, position[M] = {17, 0, 3, 15, 16};
	int32_t d = c->head_dim, heads = c->n_heads + 2 * c->n_kv_heads, half = c->n_rot / 2;
	size_t width = (size_t)heads * (size_t)d, q_width = (size_t)c->n_heads * (size_t)d;
	float *qkv = numbers(M * width, 3), *bias = numbers(width, 1), *weight[4];
	double *turn = host((size_t)(half + 1) * sizeof(*turn)),
	       *want = host(width * sizeof(*want));
	float *table = host((size_t)18 * (size_t)(half + 1) * 2 * sizeof(*table));
	uint16_t *q = device(M * (q_width + 8) * sizeof(*q));
	struct gpu_place place = {.qkv = device_copy(qkv, M * width * sizeof(*qkv)),
				  .n_heads = c->n_heads,
				  .clamp = c->clamp ? 1.5F : 0,
				  .norm_kind = c->kind,
				  .eps = 1e-6F,
				  .norm_whole_row = c->whole_row,
				  .rope = c->rope,
				  .n_rot = c->n_rot};
	struct pool p;

	make_pool(&p, 2, 18, c->n_kv_heads, d);
	set_rows(&p, sequence, position, M);
	for (int32_t i = 0; i < half; i++)
		turn[i] = pow(10000, -2.0 * i / c->n_rot);
	gpu_rope_table(table, turn, half, 18);
	place.rope_table = device_copy(table, (size_t)18 * (size_t)half * 2 * sizeof(*table));
	place.bias = c->bias ? device_copy(bias, width * sizeof(*bias)) : NULL;
	for (int i = 0; i < 4; i++)
		weight[i] = numbers(width, 1);
	if (c->norm) {
		place.q_norm = (struct gpu_norm_weights){device_copy(weight[0], width * 4),
							 device_copy(weight[1], width * 4)};
		place.k_norm = (struct gpu_norm_weights){device_copy(weight[2], width * 4),
							 device_copy(weight[3], width * 4)};
	}
	OK(gpu_place(&bench_queue, &place, &p.kv, M, q, (int32_t)q_width + 8, NULL));
	for (int32_t r = 0; r < M; r++) {
		const uint16_t *row = q + (size_t)r * (q_width + 8);

		if (sequence[r] >= 0)
			want_placed(c, qkv + (size_t)r * width, bias, weight, turn, position[r],
				    want);
		for (size_t i = 0; i < q_width + 8; i++) {
			if (sequence[r] >= 0 && i < q_width)
				expect_near("q", (size_t)r * width + i, f16_to_float(row[i]),
					    want[i], 1e-3 * (1 + fabs(want[i])));
			else
				assert_int_equal(row[i], 0xffff);
		}
		for (int32_t h = 0; sequence[r] >= 0 && h < 2 * c->n_kv_heads; h++) {
			size_t at = place_of(&p, sequence[r], position[r], h / c->n_kv_heads,
					     h % c->n_kv_heads);

			for (int32_t i = 0; i < d; i++) {
				double v = want[q_width + (size_t)(h * d + i)];

				expect_near("kv", at + (size_t)i,
					    f16_to_float(p.kv.pages[at + (size_t)i]), v,
					    1e-3 * (1 + fabs(v)));
				p.pages[at + (size_t)i] = p.kv.pages[at + (size_t)i];
			}
		}
	}
	assert_memory_equal(p.kv.pages, p.pages, p.halves * sizeof(*p.pages)); /* nothing else */
	bench_release();
}

static void placing(void)
{
	static const struct place_case cases[] = {
		{9, 3, 64, 64, GPU_ROPE_PAIRS, false, false, false, false, GPU_NORM_RMS},
		{4, 2, 80, 80, GPU_ROPE_HALVES, true, false, false, false, GPU_NORM_RMS},
		{2, 1, 256, 256, GPU_ROPE_HALVES, false, false, true, false, GPU_NORM_RMS},
		{3, 3, 128, 32, GPU_ROPE_HALVES, true, false, true, true, GPU_NORM_LAYER},
		{4, 4, 16, 0, GPU_ROPE_NONE, true, true, true, true, GPU_NORM_LAYER},
		{71, 1, 64, 64, GPU_ROPE_HALVES, false, false, false, false, GPU_NORM_RMS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_place(&cases[i]);
}

static void test_placing(void **state)
{
	(void)state;
	bench_orders(placing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_placing),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_prefill),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
