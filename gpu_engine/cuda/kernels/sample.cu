/*
 * From a row of logits to a token, in the order of serve/sampling.h, a block a row. Nothing is
 * sorted: what top_k and top_p keep is found by halving the range of weights, a bit of their float
 * at a time. Sums have one order, and the draw is a function of seed and position alone.
 */
#include "gpu.h"

#define THREADS	  512
#define IN_PROMPT 0x80000000u /* of a count in `seen` */
#define NOBODY	  0x7fffffff

/* ---- the highest of a row ---- */

struct highest {
	float value;
	int32_t token;
};

/* Of equal ones the lower token; no NaN. */
GPU_FN struct highest higher(struct highest a, struct highest b)
{
	return b.value > a.value || (b.value == a.value && b.token < a.token) ? b : a;
}

GPU_FN struct highest warp_highest(struct highest h)
{
	UNROLL
	for (int32_t d = WARP / 2; d > 0; d /= 2) {
		struct highest other;

		other.value = __shfl_xor_sync(ALL_LANES, h.value, d);
		other.token = __shfl_xor_sync(ALL_LANES, h.token, d);
		h = higher(h, other);
	}
	return h;
}

/* Of all threads of the block. */
GPU_FN struct highest block_highest(struct highest h)
{
	SHARED(struct highest, part, [WARP]);
	int32_t lane = (int32_t)threadIdx.x % WARP, warps = (int32_t)blockDim.x / WARP;

	h = warp_highest(h);
	if (lane == 0)
		part[threadIdx.x / WARP] = h;
	__syncthreads();
	h = warp_highest(part[lane < warps ? lane : 0]);
	__syncthreads();
	return h;
}

/* Of those that rank below `than`. */
GPU_FN struct highest highest_below(const float *logits, int32_t n, struct highest than)
{
	struct highest h = {-INFINITY, NOBODY};

	for (int32_t i = (int32_t)threadIdx.x; i < n; i += (int32_t)blockDim.x) {
		struct highest one = {logits[i], i};

		if (one.value < than.value || (one.value == than.value && i > than.token))
			h = higher(h, one);
	}
	return block_highest(h);
}

GPU_FN struct highest highest_of(const float *logits, int32_t n)
{
	struct highest all = {INFINITY, -1}, h = highest_below(logits, n, all);

	h.token = h.token == NOBODY ? 0 : h.token;
	return h;
}

/* ---- what moves single logits ---- */

/*
 * out = logits with biases and penalties. seen: a count a token of the vocabulary for each row, all
 * zero before and after. Each token of the history is counted, and whoever takes the count away
 * deals with the token.
 */
KERNEL(THREADS, adjust_logits,
       (float *__restrict__ out, const float *__restrict__ logits, int32_t n_vocab,
	const struct gpu_sampling *__restrict__ sampling, const int32_t *__restrict__ history,
	const struct gpu_logit_bias *__restrict__ bias, const int32_t *__restrict__ forbidden,
	uint32_t *__restrict__ seen))
{
	const struct gpu_sampling *how = sampling + blockIdx.x;
	size_t row = (size_t)blockIdx.x * (size_t)n_vocab;
	int32_t first = (int32_t)threadIdx.x, step = (int32_t)blockDim.x;
	bool penalised = how->repetition != 1 || how->presence != 0 || how->frequency != 0;

	out += row;
	logits += row;
	seen += row;
	history += how->first_token;
	for (int32_t i = first; i < n_vocab; i += step)
		out[i] = logits[i];
	__syncthreads();
	for (int32_t i = first; i < how->n_bias; i += step) {
		struct gpu_logit_bias b = bias[how->first_bias + i];

		if (b.token >= 0 && b.token < n_vocab)
			out[b.token] += b.bias;
	}
	for (int32_t i = first; penalised && i < how->n_tokens; i += step) {
		if (i < how->n_prompt)
			atomicOr(&seen[history[i]], IN_PROMPT);
		else
			atomicAdd(&seen[history[i]], 1u);
	}
	__syncthreads();
	for (int32_t i = first; penalised && i < how->n_tokens; i += step) {
		int32_t token = history[i];
		uint32_t count = atomicExch(&seen[token], 0u), times = count & ~IN_PROMPT;

		if (count != 0) {
			float v = out[token];

			if (how->repetition != 1)
				v = v > 0 ? __fdividef(v, how->repetition) : v * how->repetition;
			if (times != 0)
				v -= fmaf((float)times, how->frequency, how->presence);
			out[token] = v;
		}
	}
	__syncthreads();
	for (int32_t i = first; i < how->n_forbidden; i += step) {
		int32_t token = forbidden[how->first_forbidden + i];

		if (token >= 0 && token < n_vocab)
			out[token] = -INFINITY;
	}
}

/* ---- the draw ---- */

/* Philox 4x32, 10 rounds (Salmon et al. 2011); the first word as a number in [0, 1). */
GPU_FN float philox_unit(uint64_t seed, uint32_t position)
{
	uint32_t c0 = position, c1 = 0, c2 = 0, c3 = 0;
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

	UNROLL
	for (int32_t i = 0; i < 10; i++) {
		uint32_t high0 = __umulhi(0xd2511f53u, c0), low0 = 0xd2511f53u * c0;
		uint32_t high1 = __umulhi(0xcd9e8d57u, c2), low1 = 0xcd9e8d57u * c2;

		c0 = high1 ^ c1 ^ k0;
		c1 = low1;
		c2 = high0 ^ c3 ^ k1;
		c3 = low0;
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
	return (float)(c0 >> 8) * (1.0f / 16777216.0f);
}

/* What is kept: weights above `least`, and of those equal to it the tokens below `tied`. Weights
 * are positive floats, whose bits order them. */
struct kept {
	uint32_t least;
	int32_t tied;
};

GPU_FN bool keeps(struct kept k, uint32_t bits, int32_t token)
{
	return bits > k.least || (bits == k.least && token < k.tied);
}

/* The sum of weights that are kept and not below `least`; or how many they are. */
GPU_FN float mass_from(const float *weights, int32_t n, struct kept k, uint32_t least, bool count)
{
	float sum = 0;

	for (int32_t i = (int32_t)threadIdx.x; i < n; i += (int32_t)blockDim.x) {
		float w = weights[i];
		uint32_t bits = __float_as_uint(w);

		if (bits >= least && keeps(k, bits, i))
			sum += count ? 1.0f : w;
	}
	return block_sum(sum);
}

/* How many of the kept have the weight `equal`, below token `bound`. */
GPU_FN float count_equal(const float *weights, int32_t n, struct kept k, uint32_t equal,
			 int32_t bound)
{
	float count = 0;

	for (int32_t i = (int32_t)threadIdx.x; i < n && i < bound; i += (int32_t)blockDim.x) {
		uint32_t bits = __float_as_uint(weights[i]);

		if (bits == equal && keeps(k, bits, i))
			count += 1;
	}
	return block_sum(count);
}

/* The fewest of the kept, likeliest first, that are `enough`: so many, or so much mass. */
GPU_FN struct kept keep_enough(const float *weights, int32_t n, struct kept k, float enough,
			       bool count)
{
	struct kept r = {0, NOBODY};
	float above, ties;

	for (int32_t bit = 29; bit >= 0; bit--) { /* 1 is 0x3f800000 */
		uint32_t least = r.least | 1u << bit;

		if (mass_from(weights, n, k, least, count) >= enough)
			r.least = least;
	}
	if (r.least == 0)
		return k;
	above = mass_from(weights, n, k, r.least + 1, count);
	ties = fmaxf(1.0f,
		     ceilf(__fdividef(enough - above, count ? 1.0f : __uint_as_float(r.least))));
	r.tied = r.least == k.least ? k.tied : NOBODY;
	if (count_equal(weights, n, k, r.least, NOBODY) <= ties)
		return r;
	/* The lowest of the equal ones: the greatest bound with fewer of them below it, plus 1. */
	r.tied = 0;
	for (int32_t bit = 30; bit >= 0; bit--) {
		int32_t bound = r.tied | 1 << bit;

		if (count_equal(weights, n, k, r.least, bound) < ties)
			r.tied = bound;
	}
	r.tied++;
	return r;
}

/* In order of tokens: each warp has a range, the warp in whose range the target lies walks it. */
GPU_FN void draw_from(const float *weights, int32_t n, struct kept k, float unit, int32_t otherwise,
		      int32_t *out)
{
	SHARED(float, mass_of, [THREADS / WARP]);
	int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
	int32_t warps = (int32_t)blockDim.x / WARP;
	int32_t range = (n + WARP * warps - 1) / (WARP * warps) * WARP;
	int32_t begin = warp * range, end = min(n, begin + range), chosen = -1, last = -1;
	float mass = 0, target, before = 0, total = 0;

	for (int32_t i = begin + lane; i < end; i += WARP)
		mass += keeps(k, __float_as_uint(weights[i]), i) ? weights[i] : 0.0f;
	mass = warp_sum(mass);
	if (lane == 0)
		mass_of[warp] = mass;
	__syncthreads();
	for (int32_t w = 0; w < warps; w++)
		total += mass_of[w];
	target = unit * total;
	for (int32_t w = 0; w < warps && chosen < 0; w++) {
		if (mass_of[w] > 0)
			last = w;
		if (before + mass_of[w] > target)
			chosen = w;
		else
			before += mass_of[w];
	}
	if (chosen < 0 && last >= 0) { /* the target is the total, by rounding */
		chosen = last;
		before = target;
	}
	if (chosen < 0 && threadIdx.x == 0)
		*out = otherwise;
	if (chosen != warp)
		return;
	last = otherwise;
	for (int32_t from = begin; from < end; from += WARP) {
		int32_t i = from + lane;
		bool kept = i < end && keeps(k, __float_as_uint(weights[i]), i) && weights[i] > 0;
		float sum = kept ? weights[i] : 0.0f;
		uint32_t all, reached;

		UNROLL
		for (uint32_t d = 1; d < WARP; d *= 2) {
			float other = __shfl_up_sync(ALL_LANES, sum, d);

			sum += lane >= (int32_t)d ? other : 0.0f;
		}
		all = __ballot_sync(ALL_LANES, kept);
		reached = __ballot_sync(ALL_LANES, kept && before + sum > target);
		if (reached != 0) {
			last = from + __ffs((int32_t)reached) - 1;
			break;
		}
		if (all != 0)
			last = from + WARP - 1 - __clz((int32_t)all);
		before += __shfl_sync(ALL_LANES, sum, WARP - 1);
	}
	if (lane == 0)
		*out = last;
}

/* tokens[row]: chosen from its logits, which are scratch from then on. */
KERNEL(THREADS, pick_tokens,
       (int32_t *__restrict__ tokens, float *__restrict__ logits, int32_t n_vocab,
	const struct gpu_sampling *__restrict__ sampling))
{
	const struct gpu_sampling *how = sampling + blockIdx.x;
	float *weights = logits + (size_t)blockIdx.x * (size_t)n_vocab;
	struct highest best = highest_of(weights, n_vocab);
	struct kept k = {0, NOBODY};

	if (how->temperature <= 0) {
		if (threadIdx.x == 0)
			tokens[blockIdx.x] = best.token;
		return;
	}
	/* A thread reads the weights that it wrote itself, until draw_from(). */
	for (int32_t i = (int32_t)threadIdx.x; i < n_vocab; i += (int32_t)blockDim.x) {
		float v = weights[i];

		if (v == best.value)
			v = 1;
		else
			v = __expf(__fdividef(v - best.value, how->temperature));
		weights[i] = v > 0 ? fminf(v, 1.0f) : 0.0f; /* no NaN, no -0 */
	}
	if (how->top_k > 0 && how->top_k < n_vocab)
		k = keep_enough(weights, n_vocab, k, (float)how->top_k, true);
	if (how->top_p < 1) {
		float total = mass_from(weights, n_vocab, k, 0, false);

		k = keep_enough(weights, n_vocab, k, how->top_p * total, false);
	}
	if (how->min_p > 0 && __float_as_uint(how->min_p) > k.least) {
		k.least = __float_as_uint(fminf(how->min_p, 1.0f));
		k.tied = NOBODY;
	}
	__syncthreads();
	draw_from(weights, n_vocab, k, philox_unit(how->seed, (uint32_t)how->position), best.token,
		  &tokens[blockIdx.x]);
}

/* ---- logprobs ---- */

/* out: [row][1 + GPU_MAX_LOGPROBS], the chosen one, then the likeliest, under the softmax of raw
 * logits. */
KERNEL(THREADS, token_logprobs,
       (struct gpu_logprob *__restrict__ out, const float *__restrict__ raw, int32_t n_vocab,
	const int32_t *__restrict__ tokens, const struct gpu_sampling *__restrict__ sampling))
{
	const float *logits = raw + (size_t)blockIdx.x * (size_t)n_vocab;
	int32_t n_alternatives = sampling[blockIdx.x].n_logprobs;
	struct highest best, chosen = {0, tokens[blockIdx.x]};
	float sum = 0, above = 0, log_sum;

	if (n_alternatives < 0)
		return;
	out += (size_t)blockIdx.x * (1 + GPU_MAX_LOGPROBS);
	chosen.value = logits[chosen.token];
	best = highest_of(logits, n_vocab);
	for (int32_t i = (int32_t)threadIdx.x; i < n_vocab; i += (int32_t)blockDim.x) {
		struct highest one = {logits[i], i};

		sum += __expf(one.value - best.value);
		if (one.value > chosen.value || (one.value == chosen.value && i < chosen.token))
			above += 1;
	}
	log_sum = best.value + __logf(block_sum(sum));
	above = block_sum(above);
	if (threadIdx.x == 0) {
		out[0].token = chosen.token;
		out[0].logprob = chosen.value - log_sum;
		out[0].rank = (int32_t)above + 1;
	}
	for (int32_t a = 1; a <= n_alternatives && a <= GPU_MAX_LOGPROBS; a++) {
		if (a > 1)
			best = highest_below(logits, n_vocab, best);
		if (threadIdx.x == 0) {
			out[a].token = best.token == NOBODY ? -1 : best.token;
			out[a].logprob = best.value - log_sum;
			out[a].rank = a;
		}
	}
}
