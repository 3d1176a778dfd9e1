/*
 * The policy of vLLM before V1, in the form its simulators use: a step is either a batch of whole
 * prompts, as soon as the first in the queue fits, or one token of everybody who runs. Blocks are
 * taken as they are needed; when there are none left, the youngest starts again from the queue.
 * Pure, on one thread: one step in flight, no clock. Must not know what a step costs or who waits
 * for its tokens.
 *
 * Old engines counted a prefill batch as they padded it, every prompt as long as the longest; later
 * ones count its tokens. No prefix cache, no chunks: both came to stay with V1.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "kvpool.h"
#include "waitq.h"

enum {
	MAX_NUM_SEQS,
	MAX_NUM_BATCHED_TOKENS,
	MAX_MODEL_LEN,
	BLOCK_SIZE,
	NUM_GPU_BLOCKS,
	WATERMARK,
	COUNT_PADDING,
};

#define MAX_TOKENS (1 << 30)

static const struct knob knobs[] = {
	[MAX_NUM_SEQS] = {"max_num_seqs", KNOB_INT, 128, 1, MAX_TOKENS, NULL,
			  "requests that run at most (Vidur: batch_size_cap)"},
	[MAX_NUM_BATCHED_TOKENS] = {"max_num_batched_tokens", KNOB_INT, 4096, 1, MAX_TOKENS, NULL,
				    "tokens of a prefill batch at most (Vidur: "
				    "max_tokens_in_batch)"},
	[MAX_MODEL_LEN] = {"max_model_len", KNOB_INT, -1, -1, MAX_TOKENS, NULL,
			   "context: prompt + output tokens of a request; -1 = as many as the KV "
			   "cache and a prefill batch hold"},
	[BLOCK_SIZE] = {"block_size", KNOB_INT, 16, 1, 1024, NULL, "tokens a KV cache block"},
	[NUM_GPU_BLOCKS] = {"num_gpu_blocks", KNOB_INT, 28000, 2, 1 << 24, NULL,
			    "KV cache blocks (28000: 8B model, 80 GB card)"},
	[WATERMARK] = {"watermark", KNOB_REAL, 0.01, 0, 1, NULL,
		       "share of the blocks that admission leaves free"},
	[COUNT_PADDING] = {"count_padding", KNOB_BOOL, 1, 0, 1, NULL,
			   "a prefill batch counts as requests * longest prompt (vLLM up to 0.2), "
			   "else as the sum of its prompts"},
	{.name = NULL},
};

struct sched {
	int32_t max_seqs, max_tokens, max_model_len, watermark_blocks, block_size;
	bool count_padding;
	int32_t eos_token;

	struct kvpool *pool;
	struct reqlist waiting;
	struct reqlist running; /* in order of arrival: who starts again stands before all that
				   never ran */
	bool in_flight;
	int64_t last_end_ns; /* INT64_MIN before the first step */

	int64_t steps, preemptions;
};

/* ---- opening ---- */

/* The longest request that, alone, always finds its way: it can start again (its blocks beside the
 * watermark) and it can go on (one block free). Its last token needs no place. */
static int64_t longest(int32_t num_blocks, int32_t watermark_blocks, int32_t block_size)
{
	int32_t aside = watermark_blocks > 1 ? watermark_blocks : 1;

	return (int64_t)(num_blocks - aside) * block_size + 1;
}

static enum rc check_knobs(const struct sched *s, int32_t num_blocks, struct err *e)
{
	int64_t fits = longest(num_blocks, s->watermark_blocks, s->block_size);

	if ((int64_t)num_blocks * s->block_size > MAX_TOKENS)
		return err_set(e, RC_INPUT,
			       "num_gpu_blocks * block_size: %lld tokens, at most %d are supported",
			       (long long)num_blocks * s->block_size, MAX_TOKENS);
	if (fits < 2)
		return err_set(e, RC_INPUT,
			       "watermark: %d of %d blocks stay free, which leaves none to use",
			       s->watermark_blocks, num_blocks);
	if (s->max_model_len < 2)
		return err_set(e, RC_INPUT,
			       "max_model_len %d: at least 2 (a prompt and an answer), or -1",
			       s->max_model_len);
	if (s->max_model_len > fits)
		return err_set(e, RC_INPUT,
			       "max_model_len %d: the KV cache holds one request of at most %lld "
			       "tokens (num_gpu_blocks less the watermark): lower it, or give more "
			       "blocks",
			       s->max_model_len, (long long)fits);
	if (s->max_tokens < s->max_model_len)
		return err_set(e, RC_INPUT,
			       "max_num_batched_tokens %d is less than max_model_len %d: a longer "
			       "request could not start again after it lost its blocks",
			       s->max_tokens, s->max_model_len);
	return RC_OK;
}

static enum rc v0_open(struct sched **out, const double *values, int32_t eos_token, struct err *e)
{
	int32_t num_blocks = (int32_t)values[NUM_GPU_BLOCKS];
	struct sched s = {
		.max_seqs = (int32_t)values[MAX_NUM_SEQS],
		.max_tokens = (int32_t)values[MAX_NUM_BATCHED_TOKENS],
		.max_model_len = (int32_t)values[MAX_MODEL_LEN],
		.watermark_blocks = (int32_t)(values[WATERMARK] * num_blocks),
		.block_size = (int32_t)values[BLOCK_SIZE],
		.count_padding = values[COUNT_PADDING] != 0,
		.eos_token = eos_token,
		.last_end_ns = INT64_MIN,
	};

	if (s.max_model_len == -1) {
		int64_t fits = longest(num_blocks, s.watermark_blocks, s.block_size);

		s.max_model_len = fits < s.max_tokens ? (int32_t)fits : s.max_tokens;
	}
	if (check_knobs(&s, num_blocks, e) != RC_OK)
		return RC_INPUT;
	s.pool = kvpool_new(num_blocks + 1, s.block_size, false); /* V0 has no null block */
	*out = xmalloc(sizeof(s));
	**out = s;
	return RC_OK;
}

static void v0_close(struct sched *s)
{
	if (!s)
		return;
	kvpool_free(s->pool);
	free(s);
}

/* ---- requests come and go ---- */

static enum rc v0_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (r->n_prompt >= s->max_model_len)
		return err_set(
			e, RC_INPUT,
			"the prompt has %d tokens; the context of %d leaves room for at most %d "
			"and one output token",
			r->n_prompt, s->max_model_len, s->max_model_len - 1);
	return RC_OK;
}

static void v0_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->waiting, r);
}

static void leave_running(struct sched *s, struct genreq *r)
{
	reqlist_remove(&s->running, r);
	kvpool_release(s->pool, r);
	r->slot.computed = 0;
}

/* Who runs holds blocks, who waits holds none. */
static void v0_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.n_blocks)
		leave_running(s, r);
	else
		reqlist_remove(&s->waiting, r);
}

/* ---- a step ---- */

static void schedule(struct step_plan *p, struct genreq *r)
{
	step_plan_add(p, r, r->slot.computed, r->n_tokens - r->slot.computed);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
}

/* What a batch of n prompts counts, of which the longest and all together have so many tokens. */
static int64_t counted_tokens(const struct sched *s, int32_t n, int32_t longest_tokens, int64_t sum)
{
	return s->count_padding ? (int64_t)n * longest_tokens : sum;
}

/* From the head of the queue, as long as they fit; the first that does not holds up the rest. */
static void plan_prefill(struct sched *s, struct step_plan *p)
{
	int32_t longest_tokens = 0;
	int64_t sum = 0;
	struct genreq *r;

	while ((r = s->waiting.head) && s->running.n < s->max_seqs) {
		if (r->n_tokens > longest_tokens)
			longest_tokens = r->n_tokens;
		sum += r->n_tokens;
		if (counted_tokens(s, p->n_items + 1, longest_tokens, sum) > s->max_tokens)
			break;
		if (!kvpool_admit(s->pool, r, 0, r->n_tokens, 0, s->watermark_blocks))
			break;
		reqlist_remove(&s->waiting, r);
		reqlist_push_back(&s->running, r);
		schedule(p, r);
	}
	for (int32_t i = 0; i < p->n_items; i++) {
		genreq_set_state(p->item[i].req, GENREQ_PREFILL);
		if (p->item[i].req->slot.preemptions == 0)
			p->item[i].req->first_scheduled_ns = p->start_ns;
	}
}

static void restart(struct sched *s, struct step_plan *p, struct genreq *victim)
{
	leave_running(s, victim);
	victim->slot.preemptions++;
	genreq_set_state(victim, GENREQ_QUEUED);
	reqlist_push_front(&s->waiting, victim);
	step_plan_add_preempted(p, victim);
	s->preemptions++;
}

/* A block must be free for each of them when its turn comes, whether it needs one or not: the
 * engine does not look that closely. */
static void plan_decode(struct sched *s, struct step_plan *p)
{
	for (struct genreq *r = s->running.head, *next; r; r = next) {
		while (kvpool_free_blocks(s->pool) < 1 && s->running.tail != r)
			restart(s, p, s->running.tail);
		next = r->slot.next;
		if (kvpool_free_blocks(s->pool) < 1) {
			restart(s, p, r);
			return;
		}
		CHECK(kvpool_grow(s->pool, r, r->n_tokens));
		schedule(p, r);
	}
}

static bool v0_plan(struct sched *s, struct step_plan *p)
{
	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	plan_prefill(s, p);
	if (p->n_items == 0)
		plan_decode(s, p);
	if (p->n_items == 0)
		return false;
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void v0_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
{
	CHECK(s->in_flight);
	s->in_flight = false;
	for (int32_t i = 0; i < p->n_items; i++) {
		struct genreq *r = p->item[i].req;

		r->slot.in_step = false;
		if (!token)
			continue;
		r->slot.computed = r->n_tokens;
		r->ready_ns = end_ns;
		if (genreq_take_token(r, token[i], end_ns, s->eos_token, s->max_model_len))
			leave_running(s, r);
	}
	if (token)
		s->last_end_ns = end_ns;
}

static void v0_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->running.n,
		.waiting = s->waiting.n,
		.free_blocks = kvpool_free_blocks(s->pool),
		.usable_blocks = kvpool_usable_blocks(s->pool),
		.block_size = s->block_size,
		.max_model_len = s->max_model_len,
		.preemptions = s->preemptions,
		.steps = s->steps,
	};
}

const struct sched_type sched_vllm_v0 = {
	.name = "vllm-v0",
	.help = "vLLM before V1: a batch of whole prompts if the first in the queue fits, else one "
		"token of each that runs",
	.knobs = knobs,
	.open = v0_open,
	.close = v0_close,
	.check = v0_check,
	.add = v0_add,
	.remove = v0_remove,
	.plan = v0_plan,
	.commit = v0_commit,
	.stats = v0_stats,
};
