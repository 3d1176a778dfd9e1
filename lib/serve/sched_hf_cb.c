/*
 * The policy of continuous batching in Hugging Face Transformers: candidates are looked at one by
 * one, each takes what is left of the token budget, and one that does not fit is passed over. Below
 * a margin of free blocks only decodes join. When blocks run out, requests that found none start
 * anew, the newest first, and nobody is admitted until one has ended. Pure, on one thread: one step
 * in flight, no clock. Must not know what a step costs.
 *
 * Read from generation/continuous_batching of 5.19 (scheduler.py, cache.py, cache_allocators,
 * offloading_manager.py). Not modelled: swapping to host memory (cpu_offload_space, off by
 * default), and async batching, which hides host time and computes one token too many for some
 * requests.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "kvpool.h"
#include "waitq.h"

enum {
	SCHEDULER_TYPE,
	MAX_BATCH_TOKENS,
	MAX_REQUESTS_PER_BATCH,
	PAGE_SIZE,
	NUM_BLOCKS,
	ALLOW_BLOCK_SHARING,
	MAX_BLOCKS_PER_REQUEST,
	SAFETY_MARGIN,
	MARGIN_CHECK,
};

#define MAX_TOKENS (1 << 30)

static const char *const scheduler_types[] = {"fifo", "prefill_first", NULL};
static const char *const margin_checks[] = {"step", "request", NULL};

/* Transformers infers the blocks from the memory left: here those of an 8B model on 80 GB, as for
 * the other policies (448000 tokens). */
static const struct knob knobs[] = {
	[SCHEDULER_TYPE] = {"scheduler_type", KNOB_CHOICE, 0, 0, 1, scheduler_types,
			    "fifo: decodes, begun prompts, new ones; prefill_first: begun prompts, "
			    "decodes, new ones"},
	[MAX_BATCH_TOKENS] = {"max_batch_tokens", KNOB_INT, 8192, 1, MAX_TOKENS, NULL,
			      "tokens a step at most"},
	[MAX_REQUESTS_PER_BATCH] = {"max_requests_per_batch", KNOB_INT, 1024, 1, MAX_TOKENS, NULL,
				    "requests a step at most"},
	[PAGE_SIZE] = {"page_size", KNOB_INT, 256, 4, 1 << 16, NULL,
		       "tokens a KV cache block (before 5.17: block_size)"},
	[NUM_BLOCKS] = {"num_blocks", KNOB_INT, 1750, 1, 1 << 24, NULL,
			"KV cache blocks (1750: 8B model, 80 GB card)"},
	[ALLOW_BLOCK_SHARING] = {"allow_block_sharing", KNOB_BOOL, 1, 0, 1, NULL,
				 "requests with equal prefixes share blocks"},
	[MAX_BLOCKS_PER_REQUEST] = {"max_blocks_per_request", KNOB_INT, 32, 0, 1 << 24, NULL,
				    "a step of decodes no longer than this reads as much of the "
				    "cache as it likes, others as much as it holds; 0 = always so"},
	[SAFETY_MARGIN] = {"safety_margin", KNOB_REAL, -1, -1, 1, NULL,
			   "share of free blocks below which prompts do not join others; -1 = 0.15 "
			   "(0.2 if checked by request), prefill_first 0"},
	[MARGIN_CHECK] = {"margin_check", KNOB_CHOICE, 0, 0, 1, margin_checks,
			  "step: once a step, after cached blocks were given up (5.19); request: "
			  "before each request, cached blocks counting as free (older)"},
	{.name = NULL},
};

struct starved {
	struct genreq *req;
	int32_t blocks; /* it asked for in vain */
};

struct sched {
	int32_t max_tokens, max_requests, page_size, max_model_len, fast_path_tokens;
	int64_t capacity_tokens;
	double margin;
	bool prefill_first, sharing, check_each;
	int32_t eos_token;

	struct kvpool *pool;
	struct reqlist waiting;
	struct reqlist active;	 /* in order of admission */
	struct starved *starved; /* active ones that the last round had no blocks for */
	int32_t n_starved, cap_starved;
	bool admission_closed; /* since somebody had to start anew, until somebody ends */
	bool in_flight;
	int64_t last_end_ns;

	int64_t steps, preemptions, prefix_queries_tokens, prefix_hits_tokens;
};

/* What is left while the candidates of a step are looked at. */
struct round {
	int32_t tokens, requests;
	int64_t cache_tokens;	/* to be read */
	bool fast_path;		/* so far, all are single tokens of short enough requests */
	bool prompts_may_join;	/* the margin was kept before the step */
	bool allocation_failed; /* somebody was passed over for lack of blocks */
};

/* ---- opening ---- */

static double default_margin(bool prefill_first, bool check_each)
{
	if (prefill_first)
		return 0;
	return check_each ? 0.2 : 0.15;
}

static enum rc hf_open(struct sched **out, const double *values, int32_t eos_token, struct err *e)
{
	int32_t num_blocks = (int32_t)values[NUM_BLOCKS];
	double margin = values[SAFETY_MARGIN];
	struct sched s = {
		.max_tokens = (int32_t)values[MAX_BATCH_TOKENS],
		.max_requests = (int32_t)values[MAX_REQUESTS_PER_BATCH],
		.page_size = (int32_t)values[PAGE_SIZE],
		.capacity_tokens = (int64_t)num_blocks * (int32_t)values[PAGE_SIZE],
		.prefill_first = values[SCHEDULER_TYPE] != 0,
		.sharing = values[ALLOW_BLOCK_SHARING] != 0,
		.check_each = values[MARGIN_CHECK] != 0,
		.eos_token = eos_token,
		.last_end_ns = INT64_MIN,
	};
	int64_t fast_path_tokens = (int64_t)values[MAX_BLOCKS_PER_REQUEST] * s.page_size;

	if (s.capacity_tokens > MAX_TOKENS)
		return err_set(e, RC_INPUT,
			       "num_blocks * page_size: %lld tokens, at most %d are supported",
			       (long long)s.capacity_tokens, MAX_TOKENS);
	if (margin < 0 && margin != -1)
		return err_set(e, RC_INPUT, "safety_margin %g: 0 to 1, or -1", margin);
	if (margin == -1)
		margin = default_margin(s.prefill_first, s.check_each);
	s.margin = margin;
	s.max_model_len = (int32_t)s.capacity_tokens;
	s.fast_path_tokens =
		(int32_t)(fast_path_tokens < MAX_TOKENS ? fast_path_tokens : MAX_TOKENS);
	s.pool = kvpool_new(num_blocks + 1, s.page_size, s.sharing);
	*out = xmalloc(sizeof(s));
	**out = s;
	return RC_OK;
}

static void hf_close(struct sched *s)
{
	if (!s)
		return;
	kvpool_free(s->pool);
	free(s->starved);
	free(s);
}

/* ---- requests come and go ---- */

/* The engine has no such limit: it dies when a lone request outgrows the cache. Here the answer
 * ends there. */
static enum rc hf_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (r->n_prompt >= s->max_model_len)
		return err_set(e, RC_INPUT,
			       "the prompt has %d tokens; the KV cache leaves room for at most %d "
			       "and one output token",
			       r->n_prompt, s->max_model_len - 1);
	return RC_OK;
}

static void hf_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->waiting, r);
}

/* The engine opens the admission again when a request ends, and forgets to when the last one is
 * cancelled: then it would wait forever. */
static void leave_active(struct sched *s, struct genreq *r)
{
	reqlist_remove(&s->active, r);
	kvpool_release(s->pool, r);
	r->slot.computed = 0;
	s->admission_closed = false;
}

/* Who is active holds blocks, who waits holds none. */
static void hf_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.n_blocks)
		leave_active(s, r);
	else
		reqlist_remove(&s->waiting, r);
}

/* ---- one candidate ---- */

static void activate(struct sched *s, struct genreq *r, int32_t hit)
{
	reqlist_remove(&s->waiting, r);
	reqlist_push_back(&s->active, r);
	genreq_set_state(r, GENREQ_PREFILL);
	r->slot.computed = hit;
	if (r->slot.preemptions == 0) {
		r->cached_tokens = hit;
		s->prefix_queries_tokens += r->n_tokens;
		s->prefix_hits_tokens += hit;
	}
}

/* A prefix found is taken at once, and so is a place among the active: also if the rest of the
 * prompt then finds no blocks. */
static void share_prefix(struct sched *s, struct genreq *r)
{
	int32_t hit = kvpool_lookup(s->pool, r, r->n_tokens - 1);

	if (hit > 0) {
		bool taken = kvpool_admit(s->pool, r, hit, hit, 0, 0);

		CHECK(taken); /* it needs no block that is not found */
		activate(s, r, hit);
	}
}

static int32_t lacks_blocks(const struct sched *s, const struct genreq *r, int32_t tokens)
{
	return (tokens + s->page_size - 1) / s->page_size - r->slot.n_blocks;
}

/* Blocks that may be handed out. */
static int32_t free_blocks(const struct sched *s)
{
	return kvpool_free_blocks(s->pool) - (s->check_each ? 0 : kvpool_cached_blocks(s->pool));
}

static bool margin_kept(const struct sched *s)
{
	return (double)free_blocks(s) / kvpool_usable_blocks(s->pool) >= s->margin;
}

static void starve(struct sched *s, struct genreq *r, int32_t blocks)
{
	if (s->n_starved == s->cap_starved) {
		s->cap_starved = s->cap_starved ? 2 * s->cap_starved : 16;
		s->starved = xreallocarray(s->starved, (size_t)s->cap_starved, sizeof(*s->starved));
	}
	s->starved[s->n_starved++] = (struct starved){r, blocks};
}

static void schedule(struct sched *s, struct step_plan *p, struct round *w, struct genreq *r,
		     int32_t n, bool fast)
{
	bool grown = kvpool_grow(s->pool, r, r->slot.computed + n);

	DCHECK(grown);
	(void)grown;
	if (r->state == GENREQ_QUEUED)
		activate(s, r, 0);
	step_plan_add(p, r, r->slot.computed, n);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
	w->fast_path = w->fast_path && fast;
	w->tokens -= n;
	w->cache_tokens -= r->slot.computed;
	w->requests--;
}

/* False ends the round. */
static bool consider(struct sched *s, struct step_plan *p, struct round *w, struct genreq *r)
{
	bool joins = s->check_each ? margin_kept(s) : w->prompts_may_join;
	int32_t n, blocks;
	bool fast;

	if (!joins && p->n_items > 0 && r->state != GENREQ_DECODE)
		return false;
	if (r->state == GENREQ_QUEUED)
		share_prefix(s, r);
	n = r->n_tokens - r->slot.computed;
	if (n > w->tokens)
		n = w->tokens;
	fast = n == 1 && r->slot.computed < s->fast_path_tokens;
	if (!(w->fast_path && fast) && w->cache_tokens < r->slot.computed)
		return true;
	blocks = lacks_blocks(s, r, r->slot.computed + n);
	if (blocks > free_blocks(s)) {
		w->allocation_failed = true;
		if (r->state != GENREQ_QUEUED)
			starve(s, r, blocks);
		return true;
	}
	schedule(s, p, w, r, n, fast);
	return w->tokens > 0 && w->requests > 0 && (w->cache_tokens > 0 || w->fast_path);
}

/* ---- a round ---- */

/* Active ones in one state, in order of admission. */
static bool consider_active(struct sched *s, struct step_plan *p, struct round *w,
			    enum genreq_state state)
{
	for (struct genreq *r = s->active.head; r; r = r->slot.next)
		if (r->state == state && !consider(s, p, w, r))
			return false;
	return true;
}

static bool keep_margin(struct sched *s)
{
	if (!margin_kept(s))
		kvpool_forget_cached(s->pool);
	return margin_kept(s);
}

/* Returns whether somebody was passed over for lack of blocks. */
static bool look_round(struct sched *s, struct step_plan *p)
{
	struct round w = {
		.tokens = s->max_tokens,
		.requests = s->max_requests,
		.cache_tokens = s->capacity_tokens,
		.fast_path = s->fast_path_tokens > 0,
		.prompts_may_join = s->check_each || keep_margin(s),
	};

	s->n_starved = 0;
	if (!consider_active(s, p, &w, s->prefill_first ? GENREQ_PREFILL : GENREQ_DECODE) ||
	    !consider_active(s, p, &w, s->prefill_first ? GENREQ_DECODE : GENREQ_PREFILL))
		return w.allocation_failed;
	for (struct genreq *r = s->waiting.head, *next; r && !s->admission_closed; r = next) {
		next = r->slot.next;
		if (!consider(s, p, &w, r))
			break;
	}
	return w.allocation_failed;
}

/* ---- when blocks run out ---- */

/* Would all who starve get their blocks, one after the other? */
static bool all_storable(const struct sched *s)
{
	int64_t wanted = 0;

	for (int32_t i = 0; i < s->n_starved; i++)
		wanted += s->starved[i].blocks;
	return wanted <= free_blocks(s);
}

/* Cached blocks go first. Then who starves starts anew, the newest first, until the rest would fit
 * or one active request is left; they queue up behind all others, the oldest of them first. Returns
 * whether that made room. */
static bool make_room(struct sched *s, struct step_plan *p)
{
	bool room = kvpool_cached_blocks(s->pool) > 0;
	struct reqlist victims = {0};
	struct genreq *r;

	kvpool_forget_cached(s->pool);
	while (s->n_starved > 0 && s->active.n > 1 && !all_storable(s)) {
		r = s->starved[--s->n_starved].req;
		reqlist_remove(&s->active, r);
		kvpool_discard(s->pool, r);
		r->slot.computed = 0;
		r->slot.preemptions++;
		genreq_set_state(r, GENREQ_QUEUED);
		reqlist_push_front(&victims, r);
		step_plan_add_preempted(p, r);
		s->preemptions++;
		s->admission_closed = room = true;
	}
	while ((r = victims.head)) {
		reqlist_remove(&victims, r);
		reqlist_push_back(&s->waiting, r);
	}
	return room;
}

/* ---- a step ---- */

/* With nothing scheduled for lack of blocks there is a round more; a step that left some without
 * makes room for the next one. */
static bool hf_plan(struct sched *s, struct step_plan *p)
{
	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	while (look_round(s, p) && p->n_items == 0)
		if (!make_room(s, p))
			break;
	if (p->n_items == 0)
		return false;
	if (s->n_starved > 0)
		make_room(s, p);
	for (int32_t i = 0; i < p->n_items; i++) {
		struct genreq *r = p->item[i].req;

		if (p->item[i].prefill && p->item[i].computed == r->cached_tokens &&
		    r->slot.preemptions == 0)
			r->first_scheduled_ns = p->start_ns;
	}
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void hf_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
{
	CHECK(s->in_flight);
	s->in_flight = false;
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct step_item *it = &p->item[i];
		struct genreq *r = it->req;

		r->slot.in_step = false;
		if (!token)
			continue;
		r->slot.computed = it->computed + it->n_tokens;
		r->ready_ns = end_ns;
		kvpool_share_full(s->pool, r, r->slot.computed);
		if (it->emits &&
		    genreq_take_token(r, token[i], end_ns, s->eos_token, s->max_model_len))
			leave_active(s, r);
	}
	if (token)
		s->last_end_ns = end_ns;
}

static void hf_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->active.n,
		.waiting = s->waiting.n,
		.free_blocks = kvpool_free_blocks(s->pool),
		.usable_blocks = kvpool_usable_blocks(s->pool),
		.block_size = s->page_size,
		.max_model_len = s->max_model_len,
		.preemptions = s->preemptions,
		.prefix_queries_tokens = s->prefix_queries_tokens,
		.prefix_hits_tokens = s->prefix_hits_tokens,
		.steps = s->steps,
	};
}

const struct sched_type sched_hf_cb = {
	.name = "hf-cb",
	.help = "Transformers' continuous batching: one token budget, who does not fit is passed "
		"over, a margin of free blocks for decodes",
	.knobs = knobs,
	.open = hf_open,
	.close = hf_close,
	.check = hf_check,
	.add = hf_add,
	.remove = hf_remove,
	.plan = hf_plan,
	.commit = hf_commit,
	.stats = hf_stats,
};
