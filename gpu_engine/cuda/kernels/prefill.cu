/*
 * Attention of prompt chunks over paged keys and values, on the tensor cores. A row is a head of a
 * query; a warp holds 16 of them and what they have summed so far in registers, and takes the
 * tokens a tile at a time, from multiples of a tile on: scores are products of queries and keys,
 * their exponentials become halves, and those times the values are added up. Keys and values are
 * read once for all rows of the block; while one of the two is used, the other is on its way.
 *
 * Lane l has rows l / 4 and l / 4 + 8 of its warp, and of each 8 tokens or dimensions those at
 * l % 4 * 2 and behind it: what one product gives is what the next one takes. A row's sum has one
 * order, whoever is computed beside it and however its prompt was cut.
 *
 * Pages are described in attention.cu. Heads are taken 16 dimensions at a time, with zeros behind
 * the last one.
 */
#include "gpu.h"

#define STRIP 16 /* dimensions of a product */

struct prefill {
	const uint16_t *q, *pages;
	const int32_t *table; /* the sequence's own */
	int32_t q_stride, page_tokens, n_heads, n_kv_heads, head_dim;
	float scale;
	int32_t window;
	int32_t kv_head, first_row, first_pair, n_pairs, end; /* tokens before end are seen */
};

/* Pair p is head p % shared of the kv head's, for the query in row first_row + p / shared; beyond
 * the last one it is that again: computed, and not written. */
struct place {
	int32_t row, head;
};

GPU_FN struct place place_of(const struct prefill &a, int32_t pair)
{
	int32_t shared = a.n_heads / a.n_kv_heads, p = min(pair, a.n_pairs - 1);

	return {a.first_row + p / shared, a.kv_head * shared + p % shared};
}

GPU_FN void copy_piece(uint16_t *to, const uint16_t *row, int32_t d, int32_t head_dim, bool wanted)
{
	bool inside = wanted && d < head_dim;

	copy_async(to + d, row + (inside ? d : 0), inside ? 16 : 0);
}

template <int threads, int rows, int pitch>
GPU_FN void fill_queries(const struct prefill &a, uint16_t *tile)
{
	int32_t pieces = (a.head_dim + STRIP - 1) / STRIP * 2;

	for (int32_t i = (int32_t)threadIdx.x; i < rows * pieces; i += threads) {
		struct place p = place_of(a, a.first_pair + i / pieces);

		copy_piece(tile + i / pieces * pitch,
			   a.q + (size_t)p.row * (size_t)a.q_stride + (size_t)(p.head * a.head_dim),
			   i % pieces * 8, a.head_dim, true);
	}
}

/* Keys or values of tokens [first, first + n) before the end, zeros behind. */
template <int threads, int n, int pitch>
GPU_FN void fill_tokens(const struct prefill &a, uint16_t *tile, int32_t values, int32_t first)
{
	int32_t pieces = (a.head_dim + STRIP - 1) / STRIP * 2;

	for (int32_t i = (int32_t)threadIdx.x; i < n * pieces; i += threads) {
		int32_t at = i / pieces, token = min(first + at, a.end - 1);
		size_t page = (size_t)a.table[token / a.page_tokens];
		size_t head =
			(page * 2 + (size_t)values) * (size_t)a.n_kv_heads + (size_t)a.kv_head;
		size_t from = head * (size_t)a.page_tokens + (size_t)(token % a.page_tokens);

		copy_piece(tile + at * pitch, a.pages + from * (size_t)a.head_dim, i % pieces * 8,
			   a.head_dim, first + at < a.end);
	}
}

/* Over the four lanes that share a row. */
GPU_FN float row_max(float v)
{
	v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 1));
	return fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 2));
}

GPU_FN float row_total(float v)
{
	v += __shfl_xor_sync(ALL_LANES, v, 1);
	return v + __shfl_xor_sync(ALL_LANES, v, 2);
}

/* What a lane knows of one of its two rows. */
struct row_state {
	int32_t position;
	float slope, maximum, weights;
};

/* Scores of `tile` tokens to weights, and what the sums so far are to be multiplied with. half: 0
 * or 1, the row of the two. */
template <int tile>
GPU_FN float weigh(const struct prefill &a, struct row_state *r, float (*score)[4], int32_t half,
		   int32_t first)
{
	int32_t lane = (int32_t)threadIdx.x % WARP;
	float maximum = r->maximum, shrink, sum = 0;

	UNROLL
	for (int32_t i = 0; i < tile / 4; i++) {
		float *v = &score[i / 2][half * 2 + i % 2];
		int32_t back = r->position - (first + i / 2 * 8 + lane % 4 * 2 + i % 2);
		bool seen = back >= 0 && (a.window <= 0 || back < a.window);

		*v = seen ? *v * a.scale - r->slope * (float)back : NO_MAXIMUM;
		maximum = fmaxf(maximum, *v);
	}
	maximum = row_max(maximum);
	shrink = __expf(r->maximum - maximum);
	UNROLL
	for (int32_t i = 0; i < tile / 4; i++) {
		float *v = &score[i / 2][half * 2 + i % 2];

		*v = *v > NO_MAXIMUM ? __expf(*v - maximum) : 0.0f;
		sum += *v;
	}
	r->maximum = maximum;
	r->weights = r->weights * shrink + sum; /* the lane's own share */
	return shrink;
}

/* wide: what head_dim is at most. */
template <int warps, int tile, int wide>
GPU_FN void attend(const struct prefill &a, const int32_t *positions, const float *alibi_slope,
		   uint16_t *out, int32_t out_stride)
{
	constexpr int32_t threads = warps * WARP, rows = warps * 16, pitch = wide + 8;
	DYN_SHARED(uint16_t, queries); /* [rows][pitch]; pitch: rows begin in different banks */
	uint16_t *keys = queries + rows * pitch, *values = keys + tile * pitch; /* [tile][pitch] */
	int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
	int32_t first = positions[a.first_row];
	struct row_state row[2];
	float sum[wide / 8][4] = {};

	first = a.window > 0 ? max(0, first - a.window + 1) / tile * tile : 0;
	UNROLL
	for (int32_t h = 0; h < 2; h++) {
		struct place p = place_of(a, a.first_pair + warp * 16 + h * 8 + lane / 4);

		row[h].position = positions[p.row];
		row[h].slope = alibi_slope ? alibi_slope[p.head] : 0.0f;
		row[h].maximum = NO_MAXIMUM;
		row[h].weights = 0;
	}
	fill_queries<threads, rows, pitch>(a, queries);
	fill_tokens<threads, tile, pitch>(a, keys, 0, first);
	copy_commit();
	for (; first < a.end; first += tile) {
		float score[tile / 8][4] = {}, shrink[2];

		copy_wait<0>();
		__syncthreads(); /* the keys are here; nobody reads the values that are replaced */
		fill_tokens<threads, tile, pitch>(a, values, 1, first);
		copy_commit();
		UNROLL
		for (int32_t d = 0; d < wide; d += STRIP) {
			uint32_t of_q[4], of_k[4];

			if (d >= a.head_dim)
				break;
			load_matrices(of_q, queries + (warp * 16 + lane % 16) * pitch + d +
						    lane / 16 * 8);
			UNROLL
			for (int32_t t = 0; t < tile; t += 16) {
				load_matrices(of_k, keys + (t + lane % 8 + lane / 16 * 8) * pitch +
							    d + lane / 8 % 2 * 8);
				mma_16816(score[t / 8], of_q, of_k);
				mma_16816(score[t / 8 + 1], of_q, of_k + 2);
			}
		}
		shrink[0] = weigh<tile>(a, &row[0], score, 0, first);
		shrink[1] = weigh<tile>(a, &row[1], score, 1, first);
		UNROLL
		for (int32_t i = 0; i < wide / 8 * 4; i++)
			sum[i / 4][i % 4] *= shrink[i % 4 / 2];
		copy_wait<0>();
		__syncthreads(); /* the values are here; nobody reads the keys any more */
		if (first + tile < a.end)
			fill_tokens<threads, tile, pitch>(a, keys, 0, first + tile);
		copy_commit();
		UNROLL
		for (int32_t t = 0; t < tile; t += 16) {
			const float *near = score[t / 8], *far = score[t / 8 + 1];
			uint32_t weight[4] = {
				pack_halves(near[0], near[1]), pack_halves(near[2], near[3]),
				pack_halves(far[0], far[1]), pack_halves(far[2], far[3])};

			UNROLL
			for (int32_t d = 0; d < wide; d += STRIP) {
				uint32_t of_v[4];

				if (d >= a.head_dim)
					break;
				load_matrices_turned(of_v, values + (t + lane % 16) * pitch + d +
								   lane / 16 * 8);
				mma_16816(sum[d / 8], weight, of_v);
				mma_16816(sum[d / 8 + 1], weight, of_v + 2);
			}
		}
	}
	UNROLL
	for (int32_t h = 0; h < 2; h++) {
		int32_t pair = a.first_pair + warp * 16 + h * 8 + lane / 4;
		struct place p = place_of(a, pair);
		uint16_t *to = out + (size_t)p.row * (size_t)out_stride +
			       (size_t)(p.head * a.head_dim + lane % 4 * 2);
		float by = __fdividef(1.0f, row_total(row[h].weights));

		UNROLL
		for (int32_t d = 0; d < wide; d += 8)
			if (pair < a.n_pairs && d < a.head_dim)
				*(uint32_t *)(to + d) = pack_halves(sum[d / 8][h * 2] * by,
								    sum[d / 8][h * 2 + 1] * by);
	}
}

/*
 * Block (kv head and part of its rows, chunk). Chunk c is chunk_rows[c] rows of the batch that
 * follow each other in one sequence, from chunk_first[c] on.
 */
#define PREFILL(wide, warps, tile)                                                                 \
	KERNEL(warps *WARP, attend_prefill_##wide,                                                 \
	       (uint16_t *__restrict__ out, int32_t out_stride, const uint16_t *__restrict__ q,    \
		int32_t q_stride, const uint16_t *__restrict__ pages,                              \
		const int32_t *__restrict__ chunk_first, const int32_t *__restrict__ chunk_rows,   \
		const int32_t *__restrict__ positions, const int32_t *__restrict__ row_sequence,   \
		const int32_t *__restrict__ block_table, int32_t table_stride,                     \
		int32_t page_tokens, int32_t n_heads, int32_t n_kv_heads, int32_t head_dim,        \
		float scale, int32_t window, const float *__restrict__ alibi_slope))               \
	{                                                                                          \
		int32_t part = (int32_t)blockIdx.x / n_kv_heads;                                   \
		int32_t first = chunk_first[blockIdx.y], n = chunk_rows[blockIdx.y];               \
		struct prefill a = {q,                                                             \
				    pages,                                                         \
				    block_table +                                                  \
					    (size_t)row_sequence[first] * (size_t)table_stride,    \
				    q_stride,                                                      \
				    page_tokens,                                                   \
				    n_heads,                                                       \
				    n_kv_heads,                                                    \
				    head_dim,                                                      \
				    scale,                                                         \
				    window,                                                        \
				    (int32_t)blockIdx.x % n_kv_heads,                              \
				    first,                                                         \
				    part * warps * 16,                                             \
				    n * (n_heads / n_kv_heads),                                    \
				    positions[first + n - 1] + 1};                                 \
                                                                                                   \
		if (a.first_pair >= a.n_pairs)                                                     \
			return;                                                                    \
		attend<warps, tile, wide>(a, positions, alibi_slope, out, out_stride);             \
	}

GPU_PREFILLS(PREFILL)
