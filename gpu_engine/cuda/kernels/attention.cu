/*
 * From products of q, k and v to what attention gives back for a decoded token: biases, norms and
 * rotations, keys and values into their pages, and the sums over them. Those of a prompt:
 * prefill.cu.
 *
 * A page holds, for each kv head, [page_tokens][head_dim] halves of keys and, for all heads behind
 * them, of values: [page][k|v][kv_head][page_tokens][head_dim]. Token t of a sequence stands in
 * page block_table[t / page_tokens].
 *
 * Attention takes the tokens 32 at a time, from multiples of 32 on: lane = token while a warp
 * scores them for one of its rows (a row: a head of the query), lane = a pair of dimensions while
 * it sums their values. Keys and values are read once for all rows of the block. A row's sum has
 * one order, whoever is computed beside it.
 */
#include "gpu.h"

#define TILE	    GPU_TILE_TOKENS
#define SPLIT	    GPU_SPLIT_TOKENS
#define DECODE_ROWS (GPU_DECODE_ROWS / GPU_WARPS) /* a warp */
#define WIDE	    128, 4

/* ---- placing ---- */

GPU_FN float clamped(float v, float limit)
{
	return limit > 0 ? fminf(fmaxf(v, -limit), limit) : v;
}

/*
 * A block is a head of a row: first those of q, then of k, then of v. norm_n: what q_norm and
 * k_norm go over: 0 = there are none, head_dim, or -1 = all heads of the row. rope: cos and sin for
 * each position and each of n_rot/2. A row of sequence -1 is nobody's.
 */
KERNEL(128, place_qkv,
       (const float *__restrict__ qkv, const float *__restrict__ bias, float clamp, int32_t norm_n,
	int32_t norm_kind, float eps, const float *__restrict__ q_weight,
	const float *__restrict__ q_bias, const float *__restrict__ k_weight,
	const float *__restrict__ k_bias, int32_t rope_style, int32_t n_rot,
	const float2 *__restrict__ rope, const int32_t *__restrict__ positions,
	const int32_t *__restrict__ row_sequence, const int32_t *__restrict__ block_table,
	int32_t table_stride, int32_t page_tokens, int32_t n_heads, int32_t n_kv_heads,
	int32_t head_dim, uint16_t *__restrict__ q_out, int32_t q_stride,
	uint16_t *__restrict__ pages))
{
	SHARED(float, head_values, [GPU_MAX_HEAD_DIM]);
	int32_t head = (int32_t)blockIdx.x, row = (int32_t)blockIdx.y;
	int32_t first = (int32_t)threadIdx.x, step = (int32_t)blockDim.x;
	int32_t sequence = row_sequence[row], position = positions[row];
	bool is_q = head < n_heads, is_k = !is_q && head < n_heads + n_kv_heads;
	const float *x = qkv + (size_t)row * (size_t)(n_heads + 2 * n_kv_heads) * (size_t)head_dim;
	const float *weight = is_q ? q_weight : is_k ? k_weight : NULL;
	const float *norm_bias = is_q ? q_bias : k_bias;
	int32_t begin = head * head_dim, norm_begin = begin, n = norm_n;
	float mean = 0, by = 1;
	uint16_t *out;

	if (sequence < 0)
		return;
	if (norm_n < 0) {
		norm_begin = is_q ? 0 : n_heads * head_dim;
		n = (is_q ? n_heads : n_kv_heads) * head_dim;
	}
	if (n != 0 && weight) {
		float sum = 0, squares = 0;

		if (norm_kind == GPU_NORM_LAYER) {
			for (int32_t i = norm_begin + first; i < norm_begin + n; i += step)
				sum += clamped(x[i] + (bias ? bias[i] : 0.0f), clamp);
			mean = __fdividef(block_sum(sum), (float)n);
		}
		for (int32_t i = norm_begin + first; i < norm_begin + n; i += step) {
			float v = clamped(x[i] + (bias ? bias[i] : 0.0f), clamp) - mean;

			squares = fmaf(v, v, squares);
		}
		by = rsqrtf(__fdividef(block_sum(squares), (float)n) + eps);
	}
	for (int32_t i = first; i < head_dim; i += step) {
		float v = clamped(x[begin + i] + (bias ? bias[begin + i] : 0.0f), clamp);

		if (n != 0 && weight) {
			int32_t at = begin + i - norm_begin;

			v = (v - mean) * by * weight[at] + (norm_bias ? norm_bias[at] : 0.0f);
		}
		head_values[i] = v;
	}
	__syncthreads();
	if (is_q) {
		out = q_out + (size_t)row * (size_t)q_stride + (size_t)begin;
	} else {
		int32_t kv_head = head - n_heads - (is_k ? 0 : n_kv_heads);
		size_t page = (size_t)block_table[(size_t)sequence * (size_t)table_stride +
						  (size_t)(position / page_tokens)];

		out = pages +
		      (((page * 2 + (is_k ? 0 : 1)) * (size_t)n_kv_heads + (size_t)kv_head) *
			       (size_t)page_tokens +
		       (size_t)(position % page_tokens)) *
			      (size_t)head_dim;
	}
	for (int32_t i = first; i < head_dim; i += step) {
		float v = head_values[i];

		if (rope_style != GPU_ROPE_NONE && i < n_rot && (is_q || is_k)) {
			int32_t half = n_rot / 2;
			bool second = rope_style == GPU_ROPE_PAIRS ? i % 2 != 0 : i >= half;
			int32_t pair = rope_style == GPU_ROPE_PAIRS ? i / 2 : i % half;
			int32_t partner = rope_style == GPU_ROPE_PAIRS ? i ^ 1
					  : second		       ? i - half
								       : i + half;
			float2 turn = rope[(size_t)position * (size_t)half + (size_t)pair];
			float other = head_values[partner] * turn.y;

			v = v * turn.x + (second ? other : -other);
		}
		out[i] = float_to_half(v);
	}
}

/* ---- attention ---- */

/* Of a sequence's kv head, tokens [begin, end) as far as they are seen. */
struct attention {
	const uint16_t *q, *pages; /* q: of the query's row */
	const int32_t *table;	   /* the sequence's own */
	int32_t page_tokens, n_heads, n_kv_heads, head_dim, kv_head;
	float scale;
	const float *alibi_slope;
	int32_t position, begin, end;
};

/* What a warp's row has summed so far: 2 dimensions a lane in each of 4 strips of 64. */
struct row_sum {
	float maximum, weights;
	float value[GPU_MAX_HEAD_DIM / 64][2];
};

/* Keys or values of tokens [first, first + TILE) before end, zeros behind. */
GPU_FN void fill_tile(const struct attention &a, uint16_t *tile, int32_t pitch, int32_t values,
		      int32_t first)
{
	int32_t chunks = a.head_dim / 8;

	for (int32_t i = (int32_t)threadIdx.x; i < TILE * chunks; i += GPU_WARPS * WARP) {
		int32_t at = i / chunks, chunk = i % chunks, token = min(first + at, a.end - 1);
		size_t page = (size_t)a.table[token / a.page_tokens];
		size_t head =
			(page * 2 + (size_t)values) * (size_t)a.n_kv_heads + (size_t)a.kv_head;
		size_t from = head * (size_t)a.page_tokens + (size_t)(token % a.page_tokens);

		copy_async(tile + at * pitch + chunk * 8,
			   a.pages + from * (size_t)a.head_dim + (size_t)(chunk * 8),
			   first + at < a.end ? 16 : 0);
	}
}

GPU_FN float dot_pair(uint32_t a, uint32_t b, float sum)
{
	return fmaf(low_half(a), low_half(b), fmaf(high_half(a), high_half(b), sum));
}

GPU_FN float score_of(const uint16_t *q, const uint16_t *key, int32_t head_dim)
{
	float sum = 0;

	for (int32_t d = 0; d < head_dim; d += 8) {
		uint4 a = *(const uint4 *)(q + d), b = *(const uint4 *)(key + d);

		sum = dot_pair(a.x, b.x, sum);
		sum = dot_pair(a.y, b.y, sum);
		sum = dot_pair(a.z, b.z, sum);
		sum = dot_pair(a.w, b.w, sum);
	}
	return sum;
}

/* The kv head's heads from first_head on, DECODE_ROWS of them in each warp; beyond the last one it
 * is that again. */
GPU_FN void attend(const struct attention &a, struct row_sum *rows, uint16_t *shared_memory,
		   int32_t first_head)
{
	int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
	int32_t shared = a.n_heads / a.n_kv_heads, key_pitch = a.head_dim + 8;
	uint16_t *q = shared_memory; /* [GPU_DECODE_ROWS][head_dim] */
	uint16_t *keys = q + GPU_DECODE_ROWS * a.head_dim;
	uint16_t *values = keys + TILE * key_pitch;

	for (int32_t i = (int32_t)threadIdx.x; i < GPU_DECODE_ROWS * a.head_dim;
	     i += GPU_WARPS * WARP) {
		int32_t head = a.kv_head * shared + min(first_head + i / a.head_dim, shared - 1);

		q[i] = a.q[head * a.head_dim + i % a.head_dim];
	}
	UNROLL
	for (int32_t j = 0; j < DECODE_ROWS; j++) {
		rows[j].maximum = NO_MAXIMUM;
		rows[j].weights = 0;
		UNROLL
		for (int32_t s = 0; s < GPU_MAX_HEAD_DIM / 64; s++)
			rows[j].value[s][0] = rows[j].value[s][1] = 0;
	}
	for (int32_t first = a.begin / TILE * TILE; first < a.end; first += TILE) {
		int32_t token = first + lane;
		bool seen = token >= a.begin && token < a.end;
		float weight[DECODE_ROWS];

		fill_tile(a, keys, key_pitch, 0, first);
		fill_tile(a, values, a.head_dim, 1, first);
		copy_commit();
		copy_wait<0>();
		__syncthreads();
		UNROLL
		for (int32_t j = 0; j < DECODE_ROWS; j++) {
			int32_t slot = warp * DECODE_ROWS + j;
			int32_t head = a.kv_head * shared + min(first_head + slot, shared - 1);
			float score = score_of(q + slot * a.head_dim, keys + lane * key_pitch,
					       a.head_dim) *
				      a.scale;
			float maximum, shrink;

			if (a.alibi_slope)
				score -= a.alibi_slope[head] * (float)(a.position - token);
			score = seen ? score : NO_MAXIMUM;
			maximum = fmaxf(rows[j].maximum, warp_max(score));
			shrink = __expf(rows[j].maximum - maximum);
			weight[j] = seen ? __expf(score - maximum) : 0.0f;
			rows[j].maximum = maximum;
			rows[j].weights = rows[j].weights * shrink + warp_sum(weight[j]);
			UNROLL
			for (int32_t s = 0; s < GPU_MAX_HEAD_DIM / 64; s++) {
				rows[j].value[s][0] *= shrink;
				rows[j].value[s][1] *= shrink;
			}
		}
		for (int32_t t = 0; t < TILE; t++) {
			float w[DECODE_ROWS];

			UNROLL
			for (int32_t j = 0; j < DECODE_ROWS; j++)
				w[j] = __shfl_sync(ALL_LANES, weight[j], t);
			UNROLL
			for (int32_t s = 0; s < GPU_MAX_HEAD_DIM / 64; s++) {
				if (s * 64 < a.head_dim) {
					/* A lane beyond the last pair sums that again. */
					int32_t d = min(s * 64 + lane * 2, a.head_dim - 2);
					uint32_t v =
						*(const uint32_t *)(values + t * a.head_dim + d);

					UNROLL
					for (int32_t j = 0; j < DECODE_ROWS; j++) {
						rows[j].value[s][0] = fmaf(w[j], low_half(v),
									   rows[j].value[s][0]);
						rows[j].value[s][1] = fmaf(w[j], high_half(v),
									   rows[j].value[s][1]);
					}
				}
			}
		}
		__syncthreads(); /* nobody reads the tile that is filled next */
	}
}

/* As combine_splits writes it. */
GPU_FN void write_result(const struct row_sum &r, uint16_t *out, int32_t head_dim)
{
	UNROLL
	for (int32_t s = 0; s < GPU_MAX_HEAD_DIM / 64; s++) {
		int32_t d = s * 64 + (int32_t)threadIdx.x % WARP * 2;

		if (d < head_dim)
			*(uint32_t *)(out + d) = pack_halves(__fdividef(r.value[s][0], r.weights),
							     __fdividef(r.value[s][1], r.weights));
	}
}

GPU_FN void write_partial(const struct row_sum &r, float *out, int32_t head_dim)
{
	int32_t lane = (int32_t)threadIdx.x % WARP;

	UNROLL
	for (int32_t s = 0; s < GPU_MAX_HEAD_DIM / 64; s++) {
		int32_t d = s * 64 + lane * 2;

		if (d < head_dim) {
			out[d] = r.value[s][0];
			out[d + 1] = r.value[s][1];
		}
	}
	if (lane == 0) {
		out[head_dim] = r.maximum;
		out[head_dim + 1] = r.weights;
	}
}

/*
 * One query each of many sequences: block (kv head and part of its heads, i, split) takes row
 * rows[i] of the batch (-1: nobody's) and the tokens of one split. A single split leaves the
 * result; one of several, for [i][head][split], the head_dim sums of values, their maximum and
 * their sum of weights.
 */
KERNEL(WIDE, attend_decode,
       (uint16_t *__restrict__ out, int32_t out_stride, float *__restrict__ partial,
	const uint16_t *__restrict__ q, int32_t q_stride, const uint16_t *__restrict__ pages,
	const int32_t *__restrict__ rows, const int32_t *__restrict__ positions,
	const int32_t *__restrict__ row_sequence, const int32_t *__restrict__ block_table,
	int32_t table_stride, int32_t page_tokens, int32_t n_heads, int32_t n_kv_heads,
	int32_t head_dim, float scale, int32_t window, const float *__restrict__ alibi_slope))
{
	DYN_SHARED(uint16_t, shared_memory);
	int32_t shared = n_heads / n_kv_heads, kv_head = (int32_t)blockIdx.x % n_kv_heads;
	int32_t part = (int32_t)blockIdx.x / n_kv_heads, split = (int32_t)blockIdx.z;
	int32_t row = rows[blockIdx.y];
	int32_t slot = (int32_t)threadIdx.x / WARP * DECODE_ROWS;
	int32_t position, begin, end, first_head = part * GPU_DECODE_ROWS;
	struct row_sum sums[DECODE_ROWS];

	if (row < 0)
		return;
	position = positions[row];
	begin = max(split * SPLIT, window > 0 ? position - window + 1 : 0);
	end = min(split * SPLIT + SPLIT, position + 1);
	if (begin >= end)
		return;

	struct attention a = {q + (size_t)row * (size_t)q_stride,
			      pages,
			      block_table + (size_t)row_sequence[row] * (size_t)table_stride,
			      page_tokens,
			      n_heads,
			      n_kv_heads,
			      head_dim,
			      kv_head,
			      scale,
			      alibi_slope,
			      position,
			      begin,
			      end};

	attend(a, sums, shared_memory, first_head);
	UNROLL
	for (int32_t j = 0; j < DECODE_ROWS; j++) {
		int32_t head = first_head + slot + j;

		if (head >= shared)
			break;
		head += kv_head * shared;
		if (gridDim.z == 1)
			write_result(sums[j],
				     out + (size_t)row * (size_t)out_stride +
					     (size_t)(head * head_dim),
				     head_dim);
		else
			write_partial(
				sums[j],
				partial + (((size_t)blockIdx.y * (size_t)n_heads + (size_t)head) *
						   gridDim.z +
					   (size_t)split) *
						  (size_t)(head_dim + 2),
				head_dim);
	}
}

/* Block (head, i): the splits of row rows[i] that see anything, in ascending order. */
KERNEL(128, combine_splits,
       (uint16_t *__restrict__ out, int32_t out_stride, const float *__restrict__ partial,
	const int32_t *__restrict__ rows, const int32_t *__restrict__ positions, int32_t n_splits,
	int32_t head_dim, int32_t window))
{
	int32_t head = (int32_t)blockIdx.x, n_heads = (int32_t)gridDim.x;
	int32_t row = rows[blockIdx.y], pitch = head_dim + 2, first, end;
	const float *from = partial + ((size_t)blockIdx.y * (size_t)n_heads + (size_t)head) *
					      (size_t)n_splits * (size_t)pitch;
	float maximum = NO_MAXIMUM, weights = 0;

	if (row < 0)
		return;
	first = window > 0 ? max(0, positions[row] - window + 1) / SPLIT : 0;
	end = positions[row] / SPLIT + 1;
	for (int32_t s = first; s < end; s++)
		maximum = fmaxf(maximum, from[s * pitch + head_dim]);
	for (int32_t s = first; s < end; s++)
		weights += __expf(from[s * pitch + head_dim] - maximum) *
			   from[s * pitch + head_dim + 1];
	for (int32_t d = (int32_t)threadIdx.x; d < head_dim; d += (int32_t)blockDim.x) {
		float sum = 0;

		for (int32_t s = first; s < end; s++)
			sum = fmaf(__expf(from[s * pitch + head_dim] - maximum),
				   from[s * pitch + d], sum);
		out[(size_t)row * (size_t)out_stride + (size_t)(head * head_dim + d)] =
			float_to_half(__fdividef(sum, weights));
	}
}
