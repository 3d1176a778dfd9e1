/*
 * Attention over paged keys and values, over the vectors of the file that includes this.
 *
 * Keys are taken in strips of 16 that begin at multiples of 16 tokens. A strip's keys are turned so
 * that lane = key, its values are widened, and then every row (a head of a query) of the call that
 * sees any of it has its turn: scores, the running maximum, weights, and their sum over the values.
 * What a row does not see has weight 0, and adding 0 times a finite value changes nothing: so a
 * row's bits are the same whoever is computed beside it.
 */
#include "kernels.h"

#define STRIP 16

/* A maximum before the first score; exp(score - it) of a masked one must be 0, not NaN. */
#define NO_MAXIMUM (-1e30f)
#define MASKED	   (-INFINITY)

/* Rows whose scores are computed side by side, each in two chains, and vectors of values. */
#define SCORE_ROWS    (V_ROWS / 2)
#define VALUE_VECTORS 4

struct attention_work {
	const struct attention *a;
	const struct attention_part *part;
	int32_t dim; /* head_dim in whole vectors, in floats */
	int32_t kv_head;
	int32_t position;  /* of the part's first query */
	float *keys;	   /* [dim][STRIP] */
	float *values;	   /* [STRIP][dim] */
	float *weights;	   /* [rows][STRIP]: scores, then weights */
	float *weight_sum; /* [rows][STRIP] */
	float *sum;	   /* [rows][dim]: weights times values */
	float *maximum;	   /* [rows] */
};

static void lay_out_scratch(struct attention_work *w, int32_t rows, float *scratch)
{
	w->keys = scratch;
	w->values = w->keys + (size_t)w->dim * STRIP;
	w->weights = w->values + (size_t)w->dim * STRIP;
	w->weight_sum = w->weights + (size_t)rows * STRIP;
	w->sum = w->weight_sum + (size_t)rows * STRIP;
	w->maximum = w->sum + (size_t)rows * (size_t)w->dim;
	for (int32_t i = 0; i < rows * STRIP; i++)
		w->weight_sum[i] = 0;
	for (int32_t i = 0; i < rows * w->dim; i++)
		w->sum[i] = 0;
	for (int32_t i = 0; i < rows; i++)
		w->maximum[i] = NO_MAXIMUM;
}

static inline vf load_halves(const uint16_t *p, int32_t n)
{
	uint16_t whole[LANES] = {0};

	if (n >= LANES)
		return v_load_f16(p);
	memcpy(whole, p, (size_t)n * sizeof(*p));
	return v_load_f16(whole);
}

/* Where the strip's keys stand: n of them, from token `first` on. */
static void find_keys(const struct attention_work *w, int32_t first, int32_t n,
		      const uint16_t *key[STRIP])
{
	const struct kv_view *kv = &w->a->kv;
	int32_t page = first / kv->page_tokens, at = first % kv->page_tokens;

	for (int32_t i = 0; i < n; i++) {
		int64_t token = (int64_t)w->kv_head * kv->page_tokens + at;

		key[i] = kv->data + kv->block[page] * kv->page_stride + token * kv->head_dim;
		if (++at == kv->page_tokens) {
			at = 0;
			page++;
		}
	}
}

static void load_strip(const struct attention_work *w, int32_t first, int32_t n)
{
	const struct kv_view *kv = &w->a->kv;
	const uint16_t *key[STRIP];

	find_keys(w, first, n, key);
	for (int32_t d = 0; d < w->dim; d += LANES) {
		vf turned[STRIP];

		for (int32_t i = 0; i < STRIP; i++)
			turned[i] = i < n ? load_halves(key[i] + d, kv->head_dim - d) : v_set1(0);
		v_transpose(turned);
		for (int32_t i = 0; i < LANES; i++)
			v_store(w->keys + (size_t)(d + i) * STRIP, turned[i]);
		for (int32_t i = 0; i < n; i++)
			v_store(w->values + (size_t)i * (size_t)w->dim + d,
				load_halves(key[i] + kv->value_offset + d, kv->head_dim - d));
	}
}

static const float *query_of(const struct attention_work *w, int32_t row)
{
	int32_t query = w->part->query + row / w->part->n_heads;
	int32_t head = w->part->head + row % w->part->n_heads;

	return w->a->q + query * w->a->q_stride + (int64_t)head * w->a->kv.head_dim;
}

TEMPLATE void scores_of(const struct attention_work *w, int32_t row, int rows)
{
	const float *keys = w->keys;
	const int32_t n = w->a->kv.head_dim;
	const float *q[8];
	vf even[8], odd[8];

#pragma GCC unroll 8
	for (int m = 0; m < rows; m++) {
		q[m] = query_of(w, row + m);
		even[m] = odd[m] = v_set1(0);
	}
	for (int32_t d = 0; d + 1 < n; d += 2) {
		vf first = v_load(keys + (size_t)d * STRIP);
		vf second = v_load(keys + (size_t)(d + 1) * STRIP);

#pragma GCC unroll 8
		for (int m = 0; m < rows; m++) {
			even[m] = v_fma(v_set1(q[m][d]), first, even[m]);
			odd[m] = v_fma(v_set1(q[m][d + 1]), second, odd[m]);
		}
	}
#pragma GCC unroll 8
	for (int m = 0; m < rows; m++) {
		if (n % 2)
			even[m] = v_fma(v_set1(q[m][n - 1]), v_load(keys + (size_t)(n - 1) * STRIP),
					even[m]);
		v_store(w->weights + (size_t)(row + m) * STRIP, v_add(even[m], odd[m]));
	}
}

/* Scores become weights under the row's maximum, which may rise: then what was summed shrinks. */
static void weigh(const struct attention_work *w, int32_t row, int32_t strip)
{
	const struct attention *a = w->a;
	int32_t position = w->position + row / w->part->n_heads;
	int32_t head = w->part->head + row % w->part->n_heads;
	int32_t first = a->window > 0 ? position - a->window + 1 - strip : 0;
	int32_t end = position + 1 - strip;
	float *weights = w->weights + (size_t)row * STRIP;
	float *weight_sum = w->weight_sum + (size_t)row * STRIP;
	vf score = v_mul(v_load(weights), v_set1(a->scale));
	float largest;

	if (a->alibi_slope) {
		vf back = v_add(v_iota(), v_set1((float)(strip - position)));

		score = v_fma(back, v_set1(a->alibi_slope[head]), score);
	}
	if (first > 0 || end < STRIP)
		score = v_keep(score, first > 0 ? first : 0, end < STRIP ? end : STRIP, MASKED);
	largest = v_largest(score);
	if (largest > w->maximum[row]) {
		vf by = v_exp(v_set1(w->maximum[row] - largest));
		float *sum = w->sum + (size_t)row * (size_t)w->dim;

		w->maximum[row] = largest;
		v_store(weight_sum, v_mul(v_load(weight_sum), by));
		for (int32_t d = 0; d < w->dim; d += LANES)
			v_store(sum + d, v_mul(v_load(sum + d), by));
	}
	score = v_exp(v_sub(score, v_set1(w->maximum[row])));
	v_store(weights, score);
	v_store(weight_sum, v_add(v_load(weight_sum), score));
}

TEMPLATE void sum_values_of(const struct attention_work *w, int32_t row, int rows, int32_t d,
			    int vectors, int32_t n)
{
	const float *weights = w->weights + (size_t)row * STRIP;
	float *to = w->sum + (size_t)row * (size_t)w->dim + d;
	vf sum[2][VALUE_VECTORS];

#pragma GCC unroll 2
	for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
		for (int v = 0; v < vectors; v++)
			sum[m][v] = v_load(to + (size_t)m * (size_t)w->dim + (size_t)v * LANES);
	for (int32_t i = 0; i < n; i++) {
		const float *value = w->values + (size_t)i * (size_t)w->dim + d;

#pragma GCC unroll 4
		for (int v = 0; v < vectors; v++) {
			vf x = v_load(value + (size_t)v * LANES);

#pragma GCC unroll 2
			for (int m = 0; m < rows; m++)
				sum[m][v] = v_fma(v_set1(weights[m * STRIP + i]), x, sum[m][v]);
		}
	}
#pragma GCC unroll 2
	for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
		for (int v = 0; v < vectors; v++)
			v_store(to + (size_t)m * (size_t)w->dim + (size_t)v * LANES, sum[m][v]);
}

TEMPLATE void sum_values(const struct attention_work *w, int32_t row, int rows, int32_t n)
{
	int32_t d = 0;

	for (; d + VALUE_VECTORS * LANES <= w->dim; d += VALUE_VECTORS * LANES)
		sum_values_of(w, row, rows, d, VALUE_VECTORS, n);
	for (; d < w->dim; d += LANES)
		sum_values_of(w, row, rows, d, 1, n);
}

/* Rows [row, end) with the strip that was loaded. */
static void attend_strip(const struct attention_work *w, int32_t strip, int32_t n, int32_t row,
			 int32_t end)
{
	int32_t r = row;

	for (int32_t rows; r < end; r += rows) {
		rows = end - r < SCORE_ROWS ? end - r : SCORE_ROWS;
#define CALL(m) scores_of(w, r, m)
		switch (rows) {
		case 1:
			CALL(1);
			break;
		case 2:
			CALL(2);
			break;
		case 3:
			CALL(3);
			break;
		default:
			CALL(4);
			break;
		}
#undef CALL
	}
	for (r = row; r < end; r++)
		weigh(w, r, strip);
	for (r = row; r + 2 <= end; r += 2)
		sum_values(w, r, 2, n);
	if (r < end)
		sum_values(w, r, 1, n);
}

static void write_rows(const struct attention_work *w, int32_t rows)
{
	const struct attention *a = w->a;

	for (int32_t r = 0; r < rows; r++) {
		int32_t query = w->part->query + r / w->part->n_heads;
		int32_t head = w->part->head + r % w->part->n_heads;
		float *out = a->out + query * a->out_stride + (int64_t)head * a->kv.head_dim;
		vf by = v_set1(1 / v_sum(v_load(w->weight_sum + (size_t)r * STRIP)));

		for (int32_t d = 0; d < w->dim; d += LANES)
			store_up_to(out + d,
				    v_mul(v_load(w->sum + (size_t)r * (size_t)w->dim + d), by),
				    a->kv.head_dim - d);
	}
}

static void attention(const struct attention *a, const struct attention_part *part, float *scratch)
{
	struct attention_work w = {
		.a = a,
		.part = part,
		.dim = (a->kv.head_dim + LANES - 1) / LANES * LANES,
		.kv_head = part->head / (a->n_heads / a->n_kv_heads),
		.position = a->position + part->query,
	};
	int32_t end = w.position + part->n_queries; /* of the keys that any of them sees */
	int32_t strip = a->window > 0 ? w.position - a->window + 1 : 0;

	lay_out_scratch(&w, part->n_queries * part->n_heads, scratch);
	for (strip = strip > 0 ? strip / STRIP * STRIP : 0; strip < end; strip += STRIP) {
		int32_t n = end - strip < STRIP ? end - strip : STRIP;
		int32_t first =
			strip > w.position ? strip - w.position : 0; /* query that sees it */
		int32_t last = part->n_queries;

		if (a->window > 0 && last > strip + STRIP - 1 + a->window - w.position)
			last = strip + STRIP - 1 + a->window - w.position;
		load_strip(&w, strip, n);
		attend_strip(&w, strip, n, first * part->n_heads, last * part->n_heads);
	}
	write_rows(&w, part->n_queries * part->n_heads);
}
