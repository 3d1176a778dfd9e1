/*
 * The policy of vLLM's V1 engine: no phases, one token budget a step, chunked prefill, prefix
 * cache, preemption by recomputation, head-of-line admission. A request's `computed` moves towards
 * its n_tokens; whoever lacks one token is decoding, whoever lacks more is in prefill, and the loop
 * below does not care which. Pure, on one thread: one step in flight, no clock. Must not know what
 * a step costs or who waits for its tokens.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "kvpool.h"
#include "steady.h"
#include "waitq.h"

enum {
	MAX_NUM_SEQS,
	MAX_NUM_BATCHED_TOKENS,
	MAX_MODEL_LEN,
	BLOCK_SIZE,
	NUM_GPU_BLOCKS,
	ENABLE_PREFIX_CACHING,
	ENABLE_CHUNKED_PREFILL,
	LONG_PREFILL_TOKEN_THRESHOLD,
	SCHEDULER_RESERVE_FULL_ISL,
	WATERMARK,
	POLICY,
	NUM_SPECULATIVE_TOKENS,
	NUM_CPU_BLOCKS,
	MAX_LORAS,
};

static const char *const policies[] = {"fcfs", "priority", NULL};

#define MAX_TOKENS (1 << 30)

/*
 * vLLM chooses by card: an API server on one of 70 GiB or more that is not an A100 (H100, H200,
 * B200: what it is mostly deployed on) gets 8192 tokens and 1024 sequences; on an A100 or a smaller
 * card 2048 and 256. The number of blocks it measures; here it is that of an 8B model in 16 bits
 * with 8 KV heads of 128 in 32 layers (2 MiB a block) on 80 GB: 72 GiB less 15 for weights and 2
 * for activations.
 */
static const struct knob knobs[] = {
	[MAX_NUM_SEQS] =
		{"max_num_seqs", KNOB_INT, 1024, 1, MAX_TOKENS, NULL,
		 "requests in the batch at most (vLLM: 1024 from 70 GiB on, else and on A100 256)"},
	[MAX_NUM_BATCHED_TOKENS] =
		{"max_num_batched_tokens", KNOB_INT, 8192, 1, MAX_TOKENS, NULL,
		 "tokens a step at most (vLLM: 8192 from 70 GiB on, else and on A100 2048)"},
	[MAX_MODEL_LEN] = {"max_model_len", KNOB_INT, -1, -1, MAX_TOKENS, NULL,
			   "context: prompt + output tokens of a request; -1 = as many as the KV "
			   "cache holds"},
	[BLOCK_SIZE] = {"block_size", KNOB_INT, 16, 1, 1024, NULL, "tokens a KV cache block"},
	[NUM_GPU_BLOCKS] =
		{"num_gpu_blocks", KNOB_INT, 28000, 2, 1 << 24, NULL,
		 "KV cache blocks, the null block among them (28000: 8B model, 80 GB card)"},
	[ENABLE_PREFIX_CACHING] = {"enable_prefix_caching", KNOB_BOOL, 1, 0, 1, NULL,
				   "reuse the KV blocks of equal prefixes"},
	[ENABLE_CHUNKED_PREFILL] = {"enable_chunked_prefill", KNOB_BOOL, 1, 0, 1, NULL,
				    "a prompt may be computed over several steps"},
	[LONG_PREFILL_TOKEN_THRESHOLD] =
		{"long_prefill_token_threshold", KNOB_INT, 0, 0, MAX_TOKENS, NULL,
		 "tokens of one request a step at most; 0 = the whole budget"},
	[SCHEDULER_RESERVE_FULL_ISL] = {"scheduler_reserve_full_isl", KNOB_BOOL, 1, 0, 1, NULL,
					"admit only if blocks for the whole prompt are free, not "
					"for its first chunk only"},
	[WATERMARK] = {"watermark", KNOB_REAL, 0, 0, 1, NULL,
		       "share of the blocks that admission leaves free while others run"},
	[POLICY] = {"scheduling_policy", KNOB_CHOICE, 0, 0, 1, policies,
		    "fcfs, or priority: lower numbers run first and preempt higher ones"},
	[NUM_SPECULATIVE_TOKENS] =
		{"num_speculative_tokens", KNOB_INT, 0, 0, SCHED_MAX_DRAFT, NULL,
		 "tokens drafted for each request that decodes, in every step; 0 = none"},
	[NUM_CPU_BLOCKS] = {"num_cpu_blocks", KNOB_INT, 0, 0, 1 << 24, NULL,
			    "KV cache blocks in the host's memory, for what the card gives up; 0 = "
			    "none"},
	[MAX_LORAS] = {"max_loras", KNOB_INT, 0, 0, SCHED_MAX_ADAPTERS, NULL,
		       "LoRA adapters in a step at most; 0 = none are served"},
	{.name = NULL},
};

struct sched {
	int32_t max_seqs, max_tokens, max_model_len, long_prefill_tokens, watermark_blocks,
		block_size, max_draft, host_blocks, max_loras;
	bool prefix_caching, chunked_prefill, reserve_full, by_priority;
	int32_t eos_token;

	struct kvpool *pool;
	struct waitq waiting;
	struct reqlist running; /* in order of admission; those who are steady are there instead: */
	struct steady steady;	/* all zero unless plans are terse */
	int64_t admissions;
	bool in_flight;
	int64_t last_end_ns; /* INT64_MIN before the first step */

	int64_t steps, preemptions, prefix_queries_tokens, prefix_hits_tokens;
	int64_t external_queries_tokens, external_hits_tokens;

	int64_t drafts, draft_tokens, accepted_tokens, accepted_at[SCHED_MAX_DRAFT];
};

/* ---- opening ---- */

/* What vLLM refuses at its start, and what our numbers cannot hold. */
static enum rc check_knobs(const struct sched *s, int64_t capacity_tokens, struct err *e)
{
	if (capacity_tokens > MAX_TOKENS)
		return err_set(e, RC_INPUT,
			       "num_gpu_blocks * block_size: %lld tokens, at most %d are supported",
			       (long long)capacity_tokens, MAX_TOKENS);
	if (s->max_model_len < 2)
		return err_set(e, RC_INPUT,
			       "max_model_len %d: at least 2 (a prompt and an answer), or -1",
			       s->max_model_len);
	if (s->max_model_len > capacity_tokens)
		return err_set(e, RC_INPUT,
			       "max_model_len %d does not fit the KV cache of %lld tokens "
			       "((num_gpu_blocks - 1) * block_size): lower it, or give more blocks",
			       s->max_model_len, (long long)capacity_tokens);
	if (s->max_tokens < s->max_seqs)
		return err_set(e, RC_INPUT,
			       "max_num_batched_tokens %d is less than max_num_seqs %d",
			       s->max_tokens, s->max_seqs);
	if (!s->chunked_prefill && s->max_tokens < s->max_model_len)
		return err_set(e, RC_INPUT,
			       "max_num_batched_tokens %d is less than max_model_len %d: without "
			       "enable_chunked_prefill longer prompts could never run",
			       s->max_tokens, s->max_model_len);
	if (s->host_blocks > 0 && !s->prefix_caching)
		return err_set(e, RC_INPUT,
			       "num_cpu_blocks %d: without enable_prefix_caching nothing is looked "
			       "up there",
			       s->host_blocks);
	if (s->long_prefill_tokens > s->max_model_len)
		return err_set(e, RC_INPUT,
			       "long_prefill_token_threshold %d is more than max_model_len %d",
			       s->long_prefill_tokens, s->max_model_len);
	return RC_OK;
}

static enum rc vllm_open(struct sched **out, const double *values, int32_t eos_token, struct err *e)
{
	int32_t num_blocks = (int32_t)values[NUM_GPU_BLOCKS],
		block_size = (int32_t)values[BLOCK_SIZE];
	int64_t capacity_tokens = (int64_t)(num_blocks - 1) * block_size;
	struct sched s = {
		.max_seqs = (int32_t)values[MAX_NUM_SEQS],
		.max_tokens = (int32_t)values[MAX_NUM_BATCHED_TOKENS],
		.max_model_len = (int32_t)values[MAX_MODEL_LEN],
		.long_prefill_tokens = (int32_t)values[LONG_PREFILL_TOKEN_THRESHOLD],
		.watermark_blocks = (int32_t)(values[WATERMARK] * num_blocks),
		.block_size = block_size,
		.max_draft = (int32_t)values[NUM_SPECULATIVE_TOKENS],
		.host_blocks = (int32_t)values[NUM_CPU_BLOCKS],
		.max_loras = (int32_t)values[MAX_LORAS],
		.prefix_caching = values[ENABLE_PREFIX_CACHING] != 0,
		.chunked_prefill = values[ENABLE_CHUNKED_PREFILL] != 0,
		.reserve_full = values[SCHEDULER_RESERVE_FULL_ISL] != 0,
		.by_priority = values[POLICY] != 0,
		.eos_token = eos_token,
		.last_end_ns = INT64_MIN,
	};

	if (s.max_model_len == -1) {
		s.max_model_len =
			(int32_t)(capacity_tokens < MAX_TOKENS ? capacity_tokens : MAX_TOKENS);
		if (!s.chunked_prefill && s.max_model_len > s.max_tokens)
			s.max_model_len = s.max_tokens;
	}
	if (check_knobs(&s, capacity_tokens, e) != RC_OK)
		return RC_INPUT;
	s.pool = kvpool_new(num_blocks, block_size, s.prefix_caching);
	if (s.host_blocks > 0)
		kvpool_offload(s.pool, s.host_blocks);
	waitq_init(&s.waiting, s.by_priority);
	*out = xmalloc(sizeof(s));
	**out = s;
	return RC_OK;
}

static void vllm_close(struct sched *s)
{
	if (!s)
		return;
	kvpool_free(s->pool);
	waitq_release(&s->waiting);
	steady_release(&s->steady);
	free(s);
}

/* ---- requests come and go ---- */

/* What passes here runs to its end: max_model_len fits the cache, and the watermark binds only
 * while others run. */
static enum rc vllm_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (r->adapter && s->max_loras == 0)
		return err_set(e, RC_INPUT, "no adapters are served (max_loras is 0)");
	if (r->n_prompt >= s->max_model_len)
		return err_set(
			e, RC_INPUT,
			"the prompt has %d tokens; the context of %d leaves room for at most %d "
			"and one output token",
			r->n_prompt, s->max_model_len, s->max_model_len - 1);
	return RC_OK;
}

static void vllm_add(struct sched *s, struct genreq *r)
{
	waitq_add(&s->waiting, r);
}

static int32_t n_running(const struct sched *s)
{
	return s->running.n + s->steady.n;
}

static void leave_running(struct sched *s, struct genreq *r)
{
	if (r->slot.steady)
		steady_remove(&s->steady, r);
	else
		reqlist_remove(&s->running, r);
	kvpool_release(s->pool, r);
	r->slot.computed = r->slot.n_draft = 0;
}

/* Who runs holds blocks, who waits holds none. (Not by state: the caller may have ended the request
 * already.) */
static void vllm_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.n_blocks)
		leave_running(s, r);
	else
		waitq_remove(&s->waiting, r);
}

/* ---- a step ---- */

static int32_t min_tokens(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

/* The tokens r lacks, and those drafted behind them, as far as one request may have them in one
 * step. Only drafts can reach beyond the context: check() and commit() keep n_tokens below it. */
static int32_t lacks(const struct sched *s, const struct genreq *r, int32_t computed)
{
	int32_t n = r->n_tokens + r->slot.n_draft - computed;

	if (s->long_prefill_tokens)
		n = min_tokens(n, s->long_prefill_tokens);
	return min_tokens(n, s->max_model_len - 1 - computed);
}

/* Positions to have blocks for when so many are computed: the drafter writes ahead of them. */
static int32_t with_lookahead(const struct sched *s, int32_t tokens)
{
	return min_tokens(tokens + s->max_draft, s->max_model_len);
}

/* Its blocks that this step fills are named now: a request admitted later in the same step may
 * already share them. */
static void schedule(struct sched *s, struct step_plan *p, struct genreq *r, int32_t computed,
		     int32_t n)
{
	int32_t known = min_tokens(n, r->n_tokens - computed);

	kvpool_cache_full(s->pool, r, computed + known);
	step_plan_add(p, r, computed, known);
	if (n > known)
		step_plan_verify(p, n - known);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
}

/* First come, first served: the last admitted. By priority: the last in that order, wherever it
 * stands. */
static struct genreq *pick_victim(const struct sched *s)
{
	struct genreq *victim = s->running.tail;

	if (s->by_priority)
		for (struct genreq *r = victim->slot.prev; r; r = r->slot.prev)
			if (genreq_before(victim, r))
				victim = r;
	return victim;
}

/* Back to the queue, to be computed anew. A victim by priority may be part of this step already:
 * its tokens return to the budget. */
static void preempt(struct sched *s, struct step_plan *p, struct genreq *victim, int32_t *budget)
{
	if (victim->slot.in_step) {
		*budget += step_plan_drop(p, victim);
		victim->slot.in_step = false;
	}
	leave_running(s, victim);
	victim->slot.preemptions++;
	victim->kv_tokens = 0;
	genreq_set_state(victim, GENREQ_QUEUED);
	waitq_put_back(&s->waiting, victim);
	step_plan_add_preempted(p, victim);
	s->preemptions++;
}

/* Those who run, in order of admission. It ends early when somebody had to preempt himself. */
static void advance_running(struct sched *s, struct step_plan *p, int32_t *budget)
{
	for (struct genreq *r = s->running.head; r && *budget > 0; r = r->slot.next) {
		int32_t n = min_tokens(lacks(s, r, r->slot.computed), *budget);

		while (!kvpool_grow(s->pool, r, with_lookahead(s, r->slot.computed + n))) {
			struct genreq *victim = pick_victim(s);

			preempt(s, p, victim, budget);
			if (victim == r)
				return;
		}
		schedule(s, p, r, r->slot.computed, n);
		*budget -= n;
	}
}

/* ---- terse plans ---- */

/* Behind those who were admitted before it. */
static void return_to_running(struct sched *s, struct genreq *r)
{
	struct genreq *before = s->running.tail;

	while (before && before->slot.order > r->slot.order)
		before = before->slot.prev;
	reqlist_insert(&s->running, before, r);
}

static void return_all_to_running(struct sched *s)
{
	struct genreq **back;
	int32_t n = steady_remove_all(&s->steady, &back);

	for (int32_t i = 0; i < n; i++)
		return_to_running(s, back[i]);
}

/* Whether everybody who runs gets what he lacks, his blocks included, though those who are steady
 * have their token first: only the last one may be short of budget. */
static bool all_advance(struct sched *s, int32_t budget)
{
	int32_t blocks = steady_blocks_due(&s->steady);

	budget -= s->steady.n;
	for (const struct genreq *r = s->running.head; r; r = r->slot.next) {
		int32_t lack = lacks(s, r, r->slot.computed), n = min_tokens(lack, budget);

		if (n < lack && s->steady.newest > r->slot.order)
			return false;
		blocks += kvpool_lacks(s->pool, r, r->slot.computed + n);
		budget -= n;
	}
	return blocks <= kvpool_free_blocks(s->pool);
}

/* Those who end in this step are items of it. */
static void recall_who_ends(struct sched *s)
{
	struct genreq **due;
	int32_t n = steady_due(&s->steady, &due);

	if (s->steady.next_end > s->steady.step)
		return;
	for (int32_t i = 0; i < n;) {
		struct genreq *r = due[i];

		if (r->slot.last_step > s->steady.step) {
			i++;
			continue;
		}
		steady_remove(&s->steady, r);
		return_to_running(s, r);
		n--;
	}
	steady_find_next_end(&s->steady);
}

/* The same as advance_running(), but that those who are steady stay out of the plan. Everybody gets
 * his blocks in his turn. */
static void advance_tersely(struct sched *s, struct step_plan *p, int32_t *budget)
{
	struct genreq **due, *r;
	int32_t n_due, at = 0;

	recall_who_ends(s);
	*budget -= s->steady.n;
	n_due = steady_due(&s->steady, &due);
	for (r = s->running.head; r || at < n_due;) {
		if (at < n_due && (!r || due[at]->slot.order < r->slot.order)) {
			steady_pass(&s->steady, due[at++]);
		} else {
			int32_t n = min_tokens(lacks(s, r, r->slot.computed), *budget);

			if (n > 0) {
				CHECK(kvpool_grow(s->pool, r, r->slot.computed + n));
				schedule(s, p, r, r->slot.computed, n);
			}
			*budget -= n;
			r = r->slot.next;
		}
	}
	steady_none_due(&s->steady);
	p->n_steady = s->steady.n;
	p->decode_seqs += s->steady.n;
	p->decode_kv_tokens += s->steady.kv_tokens;
	p->adapters |= s->steady.adapters;
}

static void advance(struct sched *s, struct step_plan *p, int32_t *budget)
{
	if (s->steady.n > 0 && all_advance(s, *budget)) {
		advance_tersely(s, p, budget);
		return;
	}
	if (s->steady.n > 0)
		return_all_to_running(s);
	advance_running(s, p, budget);
}

/* ---- who waits ---- */

/* have: tokens that need not be computed; hit: those found in the prefix cache, loaded: behind
 * them, in the host's. */
static void begin(struct sched *s, struct genreq *r, int32_t have, int32_t hit, int32_t loaded)
{
	waitq_remove(&s->waiting, r);
	reqlist_push_back(&s->running, r);
	r->slot.order = s->admissions++;
	r->slot.computed = have;
	/* What it finds again of its own, or was counted where its prompt was computed, says
	 * nothing about the workload. */
	if (r->slot.preemptions == 0 && r->kv_tokens == 0) {
		r->cached_tokens = have;
		s->external_queries_tokens += s->host_blocks > 0 ? r->n_tokens - hit : 0;
		s->external_hits_tokens += loaded;
		s->prefix_queries_tokens += r->n_tokens;
		s->prefix_hits_tokens += hit;
	}
}

/* One adapter more would be too many. */
static bool lacks_adapter(const struct sched *s, const struct step_plan *p, const struct genreq *r)
{
	return r->adapter && !(p->adapters >> (r->adapter - 1) & 1) &&
	       __builtin_popcountll(p->adapters) >= s->max_loras;
}

/* False if there is no room for r. The last token is computed even if all of them are cached,
 * because its output is what is wanted. */
static bool admit(struct sched *s, struct step_plan *p, struct genreq *r, int32_t *budget)
{
	int32_t hit = kvpool_lookup(s->pool, r, r->n_tokens - 1);
	int32_t loaded = r->kv_tokens ? 0 : kvpool_lookup_host(s->pool, r, hit, r->n_tokens - 1);
	int32_t have = r->kv_tokens ? r->kv_tokens : hit + loaded, n = lacks(s, r, have);

	if (n > *budget && !s->chunked_prefill)
		return false;
	n = min_tokens(n, *budget);
	if (!kvpool_admit(s->pool, r, hit, with_lookahead(s, have + n),
			  s->reserve_full ? r->n_tokens : 0,
			  n_running(s) ? s->watermark_blocks : 0))
		return false;
	begin(s, r, have, hit, loaded);
	schedule(s, p, r, have, n);
	if (loaded > 0)
		step_plan_load(p, loaded);
	*budget -= n;
	return true;
}

/* Those who wait, in their order; whoever does not fit holds up all behind him, but for those who
 * lack an adapter: they are passed over and keep their place. */
static void admit_waiting(struct sched *s, struct step_plan *p, int32_t *budget)
{
	struct reqlist passed_over = {0};
	struct genreq *r;

	while (*budget > 0 && n_running(s) < s->max_seqs && (r = waitq_first(&s->waiting))) {
		if (lacks_adapter(s, p, r)) {
			waitq_remove(&s->waiting, r);
			reqlist_push_back(&passed_over, r);
		} else if (!admit(s, p, r, budget)) {
			break;
		}
	}
	while ((r = passed_over.tail)) {
		reqlist_remove(&passed_over, r);
		waitq_put_back(&s->waiting, r);
	}
}

/* The newly admitted stand behind those who ran already, and only they are still QUEUED. */
static void start_admitted(struct step_plan *p)
{
	for (int32_t i = p->n_items - 1; i >= 0 && p->item[i].req->state == GENREQ_QUEUED; i--) {
		genreq_set_state(p->item[i].req, GENREQ_PREFILL);
		if (p->item[i].req->slot.preemptions == 0)
			p->item[i].req->first_scheduled_ns = p->start_ns;
	}
}

/* A round may preempt and schedule nothing (by priority, when the first in line is the least
 * important one); vLLM then runs an empty step and plans again at once. */
static bool vllm_plan(struct sched *s, struct step_plan *p)
{
	int32_t budget, preempted;

	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	do {
		budget = s->max_tokens;
		preempted = p->n_preempted;
		advance(s, p, &budget);
		if (p->n_preempted == preempted)
			admit_waiting(s, p, &budget);
	} while (p->n_items + p->n_steady == 0 && p->n_preempted > preempted);
	if (p->n_items + p->n_steady == 0)
		return false;
	start_admitted(p);
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

/* True if r ends with one of the tokens that its item yields. */
static bool take_tokens(struct sched *s, struct step_item *it, const int32_t *token, int64_t end_ns)
{
	int32_t yielded = 1 + it->n_accepted;

	s->drafts += it->n_draft > 0;
	s->draft_tokens += it->n_draft;
	s->accepted_tokens += it->n_accepted;
	for (int32_t k = 0; k < it->n_accepted; k++)
		s->accepted_at[k]++;
	it->req->slot.computed += it->n_accepted;
	it->req->slot.n_draft = s->max_draft;
	for (int32_t k = 0; k < yielded; k++) {
		if (genreq_take_token(it->req, token[k], end_ns, s->eos_token, s->max_model_len)) {
			it->n_accepted = k;
			return true;
		}
	}
	return false;
}

static bool becomes_steady(const struct sched *s, const struct genreq *r)
{
	return s->steady.append && !r->watched && !genreq_has_stop_ids(r);
}

static void make_steady(struct sched *s, struct genreq *r)
{
	reqlist_remove(&s->running, r);
	steady_add(&s->steady, r, genreq_tokens_left(r, s->max_model_len));
}

static void vllm_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
{
	CHECK(s->in_flight);
	s->in_flight = false;
	if (token)
		steady_step_over(&s->steady, end_ns);
	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item *it = &p->item[i];
		struct genreq *r = it->req;

		r->slot.in_step = false;
		if (!token)
			continue;
		r->slot.computed = it->computed + it->n_tokens;
		r->ready_ns = end_ns;
		if (!it->emits)
			continue;
		if (take_tokens(s, it, step_tokens(p, token, i), end_ns))
			leave_running(s, r);
		else if (becomes_steady(s, r))
			make_steady(s, r);
	}
	if (token)
		s->last_end_ns = end_ns;
}

/* ---- many steps at once ---- */

/* Drafts are guesses at tokens that are not known before, and so is an end-of-sequence token. */
static void vllm_set_terse(struct sched *s, void (*append)(struct genreq *r, int32_t n))
{
	if (s->max_draft == 0 && s->eos_token < 0)
		steady_init(&s->steady, s->pool, s->block_size, append);
}

static void vllm_catch_up(struct sched *s, struct genreq *r)
{
	steady_catch_up(&s->steady, r);
}

/* Who waits stays out if the batch is full. If it is memory that he lacks he could get it only by a
 * hit: without a prefix cache there is none, and memory only shrinks while nobody ends. */
static bool admits_nobody(const struct sched *s)
{
	return s->waiting.n == 0 || n_running(s) >= s->max_seqs || !s->prefix_caching;
}

/* In a block's length nobody needs more than one. */
static int32_t vllm_horizon(const struct sched *s, const struct step_plan *p)
{
	int64_t most, memory;

	if (p->n_items > 0 || p->n_preempted > 0 || s->running.n > 0 || !admits_nobody(s))
		return 1;
	memory = 1 + (int64_t)kvpool_free_blocks(s->pool) / s->steady.n * s->block_size;
	most = s->steady.next_end - s->steady.step;
	most = most < memory ? most : memory;
	return most < INT32_MAX ? (int32_t)most : INT32_MAX;
}

static void vllm_repeat(struct sched *s, struct step_plan *p, int32_t n, const int64_t *end_ns)
{
	CHECK(s->in_flight && n > 0);
	for (int32_t k = 0; k < n; k++) {
		struct genreq **due;
		int32_t n_due;

		steady_step_over(&s->steady, end_ns[k]);
		n_due = steady_due(&s->steady, &due);
		for (int32_t i = 0; i < n_due; i++)
			steady_pass(&s->steady, due[i]);
		steady_none_due(&s->steady);
	}
	p->decode_kv_tokens = s->steady.kv_tokens;
	p->id += (uint64_t)n;
	p->start_ns = s->last_end_ns = end_ns[n - 1];
	s->steps += n;
}

static uint64_t adapters_of(const struct genreq *r)
{
	uint64_t bits = 0;

	for (; r; r = r->slot.next)
		bits |= r->adapter ? UINT64_C(1) << (r->adapter - 1) : 0;
	return bits;
}

static uint64_t waiting_adapters(const struct waitq *q)
{
	uint64_t bits = adapters_of(q->list.head);

	for (int32_t i = 0; q->by_priority && i < q->n; i++)
		bits |= q->heap[i]->adapter ? UINT64_C(1) << (q->heap[i]->adapter - 1) : 0;
	return bits;
}

static void vllm_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = n_running(s),
		.waiting = s->waiting.n,
		.free_blocks = kvpool_free_blocks(s->pool),
		.usable_blocks = kvpool_usable_blocks(s->pool),
		.block_size = s->block_size,
		.max_model_len = s->max_model_len,
		.preemptions = s->preemptions,
		.prefix_queries_tokens = s->prefix_queries_tokens,
		.prefix_hits_tokens = s->prefix_hits_tokens,
		.host_blocks = s->host_blocks,
		.external_queries_tokens = s->external_queries_tokens,
		.external_hits_tokens = s->external_hits_tokens,
		.steps = s->steps,
		.max_loras = s->max_loras,
		.max_draft = s->max_draft,
		.drafts = s->drafts,
		.draft_tokens = s->draft_tokens,
		.accepted_tokens = s->accepted_tokens,
	};
	if (s->max_loras > 0) {
		out->running_adapters = adapters_of(s->running.head) | s->steady.adapters;
		out->waiting_adapters = waiting_adapters(&s->waiting);
	}
	memcpy(out->accepted_at, s->accepted_at, sizeof(out->accepted_at));
}

const struct sched_type sched_vllm_v1 = {
	.name = "vllm-v1",
	.help = "vLLM's V1 engine: one token budget, chunked prefill, prefix cache, preemption by "
		"recomputation",
	.knobs = knobs,
	.takes_kv = true,
	.open = vllm_open,
	.close = vllm_close,
	.check = vllm_check,
	.add = vllm_add,
	.remove = vllm_remove,
	.plan = vllm_plan,
	.commit = vllm_commit,
	.stats = vllm_stats,
	.set_terse = vllm_set_terse,
	.catch_up = vllm_catch_up,
	.horizon = vllm_horizon,
	.repeat = vllm_repeat,
};
