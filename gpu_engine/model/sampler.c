/*
 * Owns the way from a row of logits to a token: the steps of serve/sampling.h in their order, and
 * the logprobs beside them. Pure, with scratch for one row: a thread has a sampler of its own. Must
 * not know where logits come from.
 *
 * Nothing here sorts the vocabulary. The likeliest tokens come off a heap one by one, and only as
 * many as top_k and top_p keep; what the nucleus can not reach never enters the heap.
 */
#include "sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"

/* A token that may still be drawn. Weights are relative to the likeliest, which has 1. */
struct candidate {
	float weight;
	int32_t token;
};

struct sampler {
	int32_t n_vocab;
	float *raw;		/* the logits as they came, for the logprobs */
	int32_t *seen;		/* times among the tokens so far; all zero between two picks */
	struct candidate *heap; /* the likeliest on top */
};

struct sampler *sampler_new(int32_t n_vocab)
{
	struct sampler *s = xcalloc(1, sizeof(*s));

	CHECK(n_vocab > 0);
	s->n_vocab = n_vocab;
	s->raw = xcalloc((size_t)n_vocab, sizeof(*s->raw));
	s->seen = xcalloc((size_t)n_vocab, sizeof(*s->seen));
	s->heap = xcalloc((size_t)n_vocab, sizeof(*s->heap));
	return s;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	free(s->raw);
	free(s->seen);
	free(s->heap);
	free(s);
}

/* The highest, of equal ones the lowest id. */
static int32_t highest(const float *logits, int32_t n)
{
	int32_t best = 0;

	for (int32_t i = 1; i < n; i++)
		if (logits[i] > logits[best] || isnan(logits[best]))
			best = i;
	return best;
}

/* ---- what moves single logits ---- */

static void add_bias(const struct sampler *s, const struct sampling *how, float *logits)
{
	for (int32_t i = 0; i < how->n_bias; i++)
		if (how->bias[i].token >= 0 && how->bias[i].token < s->n_vocab)
			logits[how->bias[i].token] += how->bias[i].bias;
}

/* Each token once, however often it was said; so seen[] says who has been dealt with. */
static void repetition_penalty(struct sampler *s, const struct genreq *r, double penalty,
			       float *logits)
{
	for (int32_t i = 0; i < r->n_tokens; i++) {
		float *l = &logits[r->tokens[i]];

		if (s->seen[r->tokens[i]]++ == 0)
			*l = (float)(*l > 0 ? *l / penalty : *l * penalty);
	}
	for (int32_t i = 0; i < r->n_tokens; i++)
		s->seen[r->tokens[i]] = 0;
}

/* Both of the output alone: presence once a token, frequency as often as it was said. */
static void output_penalties(struct sampler *s, const struct genreq *r, const struct sampling *how,
			     float *logits)
{
	for (int32_t i = r->n_prompt; i < r->n_tokens; i++)
		s->seen[r->tokens[i]]++;
	for (int32_t i = r->n_prompt; i < r->n_tokens; i++) {
		int32_t token = r->tokens[i], times = s->seen[token];

		if (times > 0)
			logits[token] -=
				(float)(how->presence_penalty + times * how->frequency_penalty);
		s->seen[token] = 0;
	}
}

static void forbid(const struct sampler *s, const int32_t *ids, int32_t n, float *logits)
{
	for (int32_t i = 0; i < n; i++)
		if (ids[i] >= 0 && ids[i] < s->n_vocab)
			logits[ids[i]] = -INFINITY;
}

static void adjust(struct sampler *s, const struct genreq *r, float *logits, const int32_t *end_ids,
		   int32_t n_end_ids)
{
	const struct sampling *how = r->sampling;

	if (how) {
		add_bias(s, how, logits);
		if (how->repetition_penalty != 1)
			repetition_penalty(s, r, how->repetition_penalty, logits);
		if (how->presence_penalty != 0 || how->frequency_penalty != 0)
			output_penalties(s, r, how, logits);
	}
	if (genreq_output_tokens(r) >= r->min_tokens)
		return;
	forbid(s, end_ids, n_end_ids, logits);
	if (how)
		forbid(s, how->stop_id, how->n_stop_ids, logits);
}

/* ---- the likeliest first ---- */

static bool likelier(struct candidate a, struct candidate b)
{
	return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
}

static void sift_down(struct candidate *heap, int32_t n, int32_t at)
{
	struct candidate moved = heap[at];

	for (int32_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && likelier(heap[child + 1], heap[child]))
			child++;
		if (!likelier(heap[child], moved))
			break;
		heap[at] = heap[child];
	}
	heap[at] = moved;
}

static void heapify(struct candidate *heap, int32_t n)
{
	for (int32_t i = n / 2 - 1; i >= 0; i--)
		sift_down(heap, n, i);
}

/* Takes the top off a heap of n; it goes to heap[n - 1], where the heap no longer is. */
static struct candidate pop(struct candidate *heap, int32_t n)
{
	struct candidate top = heap[0];

	heap[0] = heap[n - 1];
	heap[n - 1] = top;
	sift_down(heap, n - 1, 0);
	return top;
}

/* ---- the draw ---- */

/* Logits to weights, in place; returns their sum. The difference is taken before the temperature,
 * so that a tiny one makes no infinities. */
static double to_weights(float *logits, int32_t n, double temperature)
{
	float most = logits[highest(logits, n)];
	double total = 0;

	for (int32_t i = 0; i < n; i++) {
		logits[i] = logits[i] == most
				    ? 1.0F
				    : expf((float)((logits[i] - (double)most) / temperature));
		total += isnan(logits[i]) ? 0 : logits[i];
	}
	return total;
}

/* All of the vocabulary, in order of id. */
static int32_t draw_from_all(const float *weights, int32_t n, double total, double min_p,
			     double unit)
{
	double sum = 0;
	int32_t last = 0;

	if (min_p > 0) {
		total = 0;
		for (int32_t i = 0; i < n; i++)
			total += weights[i] >= min_p ? weights[i] : 0;
	}
	for (int32_t i = 0; i < n; i++) {
		if (!(weights[i] > 0 && weights[i] >= min_p))
			continue;
		sum += weights[i];
		last = i;
		if (sum > unit * total)
			break;
	}
	return last;
}

/*
 * The candidates that top_k and top_p could keep. The nucleus is what is left when the unlikeliest
 * tokens are taken away as long as they weigh (1 - top_p) * total together; n tokens of less than
 * an n-th of that each are surely among them. Behind a top_k the total is not yet known, and all
 * stay.
 */
static int32_t gather(struct sampler *s, const struct sampling *how, const float *weights,
		      double total)
{
	double floor = how->top_k > 0 ? 0 : (1 - how->top_p) * total / s->n_vocab;
	int32_t n = 0;

	for (int32_t i = 0; i < s->n_vocab; i++)
		if (weights[i] > 0 && weights[i] >= floor)
			s->heap[n++] = (struct candidate){weights[i], i};
	heapify(s->heap, n);
	return n;
}

static int32_t draw_from_likeliest(struct sampler *s, const struct sampling *how,
				   const float *weights, double total, double unit)
{
	int32_t n = gather(s, how, weights, total), popped = 0, kept = 0;
	int32_t limit = how->top_k > 0 && how->top_k < n ? how->top_k : n;
	const struct candidate *popped_end = s->heap + n; /* the k-th likeliest is popped_end[-k] */
	double mass = 0, sum = 0;

	if (n == 0)
		return 0;
	if (how->top_k > 0)
		for (total = 0; popped < limit; popped++)
			total += pop(s->heap, n - popped).weight;
	while (kept < limit && (kept == 0 || mass < how->top_p * total)) {
		if (kept == popped)
			pop(s->heap, n - popped++);
		if (popped_end[-kept - 1].weight < how->min_p)
			break;
		kept++;
		mass += popped_end[-kept].weight;
	}
	for (int32_t k = 1; k < kept; k++) {
		sum += popped_end[-k].weight;
		if (sum > unit * mass)
			return popped_end[-k].token;
	}
	return popped_end[-kept].token;
}

static int32_t draw(struct sampler *s, const struct genreq *r, float *logits)
{
	const struct sampling *how = r->sampling;
	double total = to_weights(logits, s->n_vocab, how->temperature), unit;
	struct rng rng;

	rng_init(&rng, r->seed, "sampling", (uint64_t)genreq_output_tokens(r));
	unit = rng_unit(&rng);
	if ((how->top_k == 0 || how->top_k >= s->n_vocab) && how->top_p >= 1)
		return draw_from_all(logits, s->n_vocab, total, how->min_p, unit);
	return draw_from_likeliest(s, how, logits, total, unit);
}

/* ---- logprobs ---- */

/* Of equal logits the lower id ranks first, as everywhere. */
static bool outranks(const float *logits, int32_t a, int32_t b)
{
	return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

static void fill_logprobs(const struct sampler *s, const float *raw, int32_t chosen,
			  int32_t n_alternatives, struct token_logprob *out)
{
	float most = raw[highest(raw, s->n_vocab)];
	struct token_logprob *likeliest = out + 1;
	int32_t n = 0, rank = 1;
	double sum = 0, log_sum;

	for (int32_t i = 0; i < s->n_vocab; i++) {
		int32_t at = n;

		sum += expf(raw[i] - most);
		rank += outranks(raw, i, chosen);
		while (at > 0 && outranks(raw, i, likeliest[at - 1].token))
			at--;
		if (at == n_alternatives)
			continue;
		if (n < n_alternatives)
			n++;
		memmove(&likeliest[at + 1], &likeliest[at],
			(size_t)(n - 1 - at) * sizeof(*likeliest));
		likeliest[at].token = i;
	}
	log_sum = most + log(sum);
	out[0] = (struct token_logprob){chosen, (float)(raw[chosen] - log_sum), rank};
	for (int32_t i = 0; i < n; i++) {
		likeliest[i].logprob = (float)(raw[likeliest[i].token] - log_sum);
		likeliest[i].rank = i + 1;
	}
	for (int32_t i = n; i < n_alternatives; i++) /* a vocabulary smaller than the wish */
		likeliest[i] = (struct token_logprob){-1, -INFINITY, i + 1};
}

float sampler_logprob(const struct sampler *s, const float *logits, int32_t token)
{
	float most = logits[highest(logits, s->n_vocab)];
	double sum = 0;

	for (int32_t i = 0; i < s->n_vocab; i++)
		sum += expf(logits[i] - most);
	return (float)(logits[token] - most - log(sum));
}

int32_t sampler_pick(struct sampler *s, const struct genreq *r, float *logits,
		     const int32_t *end_ids, int32_t n_end_ids, struct token_logprob *logprobs)
{
	const struct sampling *how = r->sampling;
	bool wants_logprobs = how && how->n_logprobs >= 0;
	int32_t chosen;

	if (wants_logprobs)
		memcpy(s->raw, logits, (size_t)s->n_vocab * sizeof(*logits));
	adjust(s, r, logits, end_ids, n_end_ids);
	if (!how || how->temperature <= 0)
		chosen = highest(logits, s->n_vocab);
	else
		chosen = draw(s, r, logits);
	if (wants_logprobs)
		fill_logprobs(s, s->raw, chosen, how->n_logprobs, logprobs);
	return chosen;
}
