/*
 * SGLang's policy: new prompts first, whoever decodes stands still meanwhile (or takes part, with
 * enable_mixed_chunk); a radix tree of everything computed so far; memory for answers set aside by
 * an estimate (the new-token ratio) that falls step by step, until it was too low and somebody has
 * to be put back. Pure, on one thread: one step in flight, no clock. Must not know what a step
 * costs or who waits for its tokens.
 *
 * As its scheduler with --disable-overlap-schedule. With overlap the next step is planned before
 * the tokens of this one are known: ends are seen one step late, and a request that ended computes
 * one token more for nothing. A plan of ours cannot hold a token that does not exist yet.
 * Left out: page_size above 1, priorities, and the policies dfs-weight and random.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "radix.h"
#include "tokenpool.h"
#include "waitq.h"

enum {
	MAX_RUNNING_REQUESTS,
	MAX_TOTAL_TOKENS,
	CONTEXT_LENGTH,
	MAX_PREFILL_TOKENS,
	CHUNKED_PREFILL_SIZE,
	ENABLE_MIXED_CHUNK,
	SCHEDULE_POLICY,
	SCHEDULE_CONSERVATIVENESS,
	DISABLE_RADIX_CACHE,
};

enum { FCFS, LPM, LOF };
static const char *const policies[] = {"fcfs", "lpm", "lof", NULL};

#define MAX_TOKENS (1 << 30)

/* Constants of the engine, where it has environment variables at most. */
#define CLIP_MAX_NEW_TOKENS    4096 /* of an answer still to come, what is reckoned with */
#define PAGE_TOKENS	       1    /* set aside beside each request for a page half used */
#define INIT_RATIO	       0.7
#define MIN_RATIO_FACTOR       0.14
#define RATIO_DECAY_STEPS      600
#define RETRACT_DECODE_STEPS   20  /* a retraction makes room for so many */
#define LPM_MAX_QUEUE	       128 /* a longer queue is not sorted */
#define IN_BATCH_PREFIX_TOKENS 32  /* prompts of the queue that share so many wait for the first */

static const struct knob knobs[] = {
	[MAX_RUNNING_REQUESTS] = {"max_running_requests", KNOB_INT, 2048, 1, MAX_TOKENS, NULL,
				  "requests in the batch at most"},
	[MAX_TOTAL_TOKENS] = {"max_total_tokens", KNOB_INT, 440000, 1, MAX_TOKENS, NULL,
			      "tokens the KV cache holds (440000: 8B model, 80 GB card)"},
	[CONTEXT_LENGTH] = {"context_length", KNOB_INT, -1, -1, MAX_TOKENS, NULL,
			    "context: prompt + output tokens of a request; -1 = as many as the KV "
			    "cache holds"},
	[MAX_PREFILL_TOKENS] = {"max_prefill_tokens", KNOB_INT, 16384, 1, MAX_TOKENS, NULL,
				"prompt tokens of a step; a longer prompt is taken alone"},
	[CHUNKED_PREFILL_SIZE] = {"chunked_prefill_size", KNOB_INT, 8192, -1, MAX_TOKENS, NULL,
				  "prompt tokens of a step at most, longer prompts are cut (2048 "
				  "below 35 GB, 16384 from 160 GB on); -1 = whole prompts"},
	[ENABLE_MIXED_CHUNK] = {"enable_mixed_chunk", KNOB_BOOL, 0, 0, 1, NULL,
				"prompts and decodes share a step"},
	[SCHEDULE_POLICY] = {"schedule_policy", KNOB_CHOICE, FCFS, 0, 2, policies,
			     "order of the queue: fcfs, lpm (longest prefix in the cache first), "
			     "lof (longest output first)"},
	[SCHEDULE_CONSERVATIVENESS] = {"schedule_conservativeness", KNOB_REAL, 1, 0, 100, NULL,
				       "factor of the new-token ratio: more sets more memory "
				       "aside for answers"},
	[DISABLE_RADIX_CACHE] = {"disable_radix_cache", KNOB_BOOL, 0, 0, 1, NULL,
				 "no reuse of prefixes"},
	{.name = NULL},
};

struct order {
	struct genreq *r;
	int32_t key, place; /* equal keys keep their places */
};

struct sched {
	int32_t max_running, max_len, max_prefill_tokens, chunk_tokens;
	bool chunking, mixed;
	int schedule_policy;
	int32_t eos_token;
	double init_ratio, min_ratio, ratio_decay;

	struct tokenpool *pool;
	double ratio;		/* the new-token ratio */
	struct reqlist waiting; /* the order is kept from one sorting to the next */
	struct reqlist running;
	struct genreq *chunked; /* in the middle of its prompt, in no list; or NULL */

	/* Somebody did not fit: no look into the queue until the batch shrinks. */
	bool full;
	/* The engine drops those that ended in a decode when it plans the next decode. Until then
	 * they take their places, and what they might have gone on to. */
	struct {
		int32_t n;
		int64_t tokens_to_come;
	} ended;
	bool in_flight;
	bool in_prefill, renews; /* the step in flight; renews: the batch is a new one after it */
	int64_t last_end_ns;	 /* INT64_MIN before the first step */

	struct order *order; /* room to sort in */
	int32_t cap_order;
	struct radix *queue_prefixes; /* lpm: of the prompts that were sorted so far */

	int64_t steps, preemptions, prefix_queries_tokens, prefix_hits_tokens;
};

/* What a prefill may still take. */
struct budget {
	double total; /* tokens of the KV cache, less the answers reckoned with */
	int32_t now;  /* tokens of it that can be had at once */
	int32_t input, chunk;
	int32_t places;
	int32_t needed; /* tokens to be had at once, for those taken so far */
	int32_t n_taken;
};

/* ---- opening ---- */

static double capped(double ratio)
{
	return ratio < 1 ? ratio : 1;
}

/* What the engine refuses at its start, and what would change nothing. */
static enum rc check_knobs(const struct sched *s, const double *values, struct err *e)
{
	if (values[CONTEXT_LENGTH] > values[MAX_TOTAL_TOKENS])
		return err_set(e, RC_INPUT,
			       "context_length %.0f does not fit the KV cache of %.0f tokens "
			       "(max_total_tokens): lower it, or give more",
			       values[CONTEXT_LENGTH], values[MAX_TOTAL_TOKENS]);
	if (s->max_len < 6)
		return err_set(e, RC_INPUT,
			       "context_length, max_total_tokens: both at least 8, as the engine "
			       "keeps 7 of them back from a prompt");
	if (s->mixed && !s->chunking)
		return err_set(e, RC_INPUT,
			       "enable_mixed_chunk has no effect without chunked_prefill_size");
	if (s->schedule_policy == LPM && values[DISABLE_RADIX_CACHE] != 0)
		return err_set(e, RC_INPUT,
			       "schedule_policy lpm has no effect with disable_radix_cache");
	return RC_OK;
}

static void sglang_close(struct sched *s)
{
	if (!s)
		return;
	tokenpool_free(s->pool);
	radix_free(s->queue_prefixes);
	free(s->order);
	free(s);
}

static enum rc sglang_open(struct sched **out, const double *values, int32_t eos_token,
			   struct err *e)
{
	struct sched *s = xcalloc(1, sizeof(*s));
	double context =
		values[CONTEXT_LENGTH] == -1 ? values[MAX_TOTAL_TOKENS] : values[CONTEXT_LENGTH];

	s->max_running = (int32_t)values[MAX_RUNNING_REQUESTS];
	s->max_len = (int32_t)context - 2; /* both the engine's own reserves */
	s->max_prefill_tokens = (int32_t)values[MAX_PREFILL_TOKENS];
	s->chunking = values[CHUNKED_PREFILL_SIZE] > 0;
	s->chunk_tokens = s->chunking ? (int32_t)values[CHUNKED_PREFILL_SIZE] : INT32_MAX;
	s->mixed = values[ENABLE_MIXED_CHUNK] != 0;
	s->schedule_policy = (int)values[SCHEDULE_POLICY];
	s->eos_token = eos_token;
	s->init_ratio = capped(INIT_RATIO * values[SCHEDULE_CONSERVATIVENESS]);
	s->min_ratio = s->init_ratio * MIN_RATIO_FACTOR;
	s->ratio_decay = (s->init_ratio - s->min_ratio) / RATIO_DECAY_STEPS;
	s->ratio = s->init_ratio;
	s->last_end_ns = INT64_MIN;
	if (check_knobs(s, values, e) != RC_OK) {
		free(s);
		return RC_INPUT;
	}
	s->pool = tokenpool_new((int32_t)values[MAX_TOTAL_TOKENS], values[DISABLE_RADIX_CACHE] == 0,
				false);
	if (s->schedule_policy == LPM)
		s->queue_prefixes = radix_new(false);
	*out = s;
	return RC_OK;
}

/* ---- requests come and go ---- */

static int32_t min_tokens(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

/* The engine cuts what was asked for to what the context has room for. */
static int32_t max_new_tokens(const struct sched *s, const struct genreq *r)
{
	return min_tokens(r->max_tokens, s->max_len - r->n_prompt);
}

/* Of its answer, what is still reckoned with. */
static int32_t tokens_to_come(const struct sched *s, const struct genreq *r)
{
	return min_tokens(max_new_tokens(s, r) - genreq_output_tokens(r), CLIP_MAX_NEW_TOKENS);
}

/* What r computed stays in the cache, answer and all. */
static void let_go(struct sched *s, struct genreq *r)
{
	tokenpool_cache(s->pool, r, r->slot.computed);
	tokenpool_release(s->pool, r);
	r->slot.computed = 0;
}

static enum rc sglang_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (r->n_prompt > s->max_len - 5)
		return err_set(e, RC_INPUT,
			       "the prompt has %d tokens; the context of %d leaves room for at "
			       "most %d",
			       r->n_prompt, s->max_len + 2, s->max_len - 5);
	return RC_OK;
}

static void sglang_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->waiting, r);
}

/* Who has begun holds tokens, who waits holds none. */
static void sglang_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.n_blocks == 0) {
		reqlist_remove(&s->waiting, r);
		return;
	}
	if (s->chunked == r)
		s->chunked = NULL;
	else
		reqlist_remove(&s->running, r);
	let_go(s, r);
	s->full = false;
}

/* ---- the order of the queue ---- */

static int by_key(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->place - y->place;
}

/* Longest cached prefix first. Of several prompts that share a longer beginning among themselves
 * than with the cache, the first goes before all others, which then find it in the cache. */
static int32_t lpm_key(struct sched *s, const struct genreq *r)
{
	int32_t cached = tokenpool_lookup(s->pool, r), shared;

	if (cached <= IN_BATCH_PREFIX_TOKENS) {
		radix_match(s->queue_prefixes, r->tokens, r->n_tokens, &shared);
		if (shared >= IN_BATCH_PREFIX_TOKENS)
			return INT32_MAX;
		radix_insert(s->queue_prefixes, r->tokens, r->n_tokens, &shared);
	}
	return -min_tokens(cached, r->n_tokens - 1);
}

static void sort_queue(struct sched *s)
{
	int32_t n = 0;

	if (s->schedule_policy == FCFS ||
	    (s->schedule_policy == LPM && s->waiting.n > LPM_MAX_QUEUE))
		return;
	if (s->waiting.n > s->cap_order) {
		s->cap_order = 2 * s->waiting.n;
		s->order = xreallocarray(s->order, (size_t)s->cap_order, sizeof(*s->order));
	}
	for (struct genreq *r = s->waiting.head; r; r = r->slot.next, n++) {
		int32_t key = s->schedule_policy == LPM ? lpm_key(s, r) : -max_new_tokens(s, r);

		s->order[n] = (struct order){r, key, n};
	}
	qsort(s->order, (size_t)n, sizeof(*s->order), by_key);
	for (int32_t i = 0; i < n; i++) {
		reqlist_remove(&s->waiting, s->order[i].r);
		reqlist_push_back(&s->waiting, s->order[i].r);
	}
	if (s->queue_prefixes)
		radix_evict(s->queue_prefixes, INT32_MAX);
}

/* ---- prefill ---- */

static void schedule(struct step_plan *p, struct genreq *r, int32_t n)
{
	step_plan_add(p, r, r->slot.computed, n);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
}

static struct budget budget_of(const struct sched *s)
{
	int64_t to_come = s->ended.tokens_to_come;
	int32_t n = s->running.n + s->ended.n, decodes = s->mixed ? n : 0,
		now = tokenpool_available(s->pool) - decodes;

	for (const struct genreq *r = s->running.head; r; r = r->slot.next)
		to_come += tokens_to_come(s, r);
	return (struct budget){
		.total = now - (double)to_come * s->ratio,
		.now = now,
		.input = s->max_prefill_tokens - decodes,
		.chunk = s->chunk_tokens - decodes,
		.places = s->max_running - n,
	};
}

/* r computes n tokens in this step; if that is the rest of its prompt, its answer is reckoned with
 * in full. */
static void take(struct sched *s, struct step_plan *p, struct budget *b, struct genreq *r,
		 int32_t n)
{
	bool whole = r->slot.computed + n == r->n_tokens;
	int32_t answer = whole ? min_tokens(max_new_tokens(s, r), CLIP_MAX_NEW_TOKENS) : 0;

	b->total -= (double)n + answer + PAGE_TOKENS;
	b->now -= n + PAGE_TOKENS;
	b->input -= n;
	b->chunk -= n;
	b->needed += n;
	b->n_taken++;
	if (whole)
		reqlist_push_back(&s->running, r);
	if (!whole)
		s->chunked = r;
	else if (s->chunked == r)
		s->chunked = NULL;
	schedule(p, r, n);
}

/* The prompt that was begun goes on first, past what is set aside for answers if there is no other
 * way. */
static void take_chunked(struct sched *s, struct step_plan *p, struct budget *b)
{
	struct genreq *r = s->chunked;
	int32_t n = b->total >= 1 ? (int32_t)b->total : b->now;

	n = min_tokens(min_tokens(n, b->chunk), r->n_tokens - r->slot.computed);
	if (n > 0)
		take(s, p, b, r, n);
}

/* Locks the longest cached prefix; its last token is computed in any case. What is locked cannot be
 * evicted any more. */
static void find_prefix(struct sched *s, struct budget *b, struct genreq *r)
{
	int32_t before = tokenpool_available(s->pool);

	tokenpool_share(s->pool, r, r->n_tokens - 1);
	b->total -= before - tokenpool_available(s->pool);
	b->now -= before - tokenpool_available(s->pool);
}

static void begin(struct sched *s, struct genreq *r)
{
	int32_t hit = r->slot.n_prefix;

	reqlist_remove(&s->waiting, r);
	r->slot.computed = hit;
	if (r->slot.preemptions == 0) {
		r->cached_tokens = hit;
		s->prefix_queries_tokens += r->n_tokens;
		s->prefix_hits_tokens += hit;
	}
}

/* False if the head of the queue is not taken, and nobody behind it. */
static bool take_head(struct sched *s, struct step_plan *p, struct budget *b)
{
	struct genreq *r = s->waiting.head;
	int32_t lacks;

	find_prefix(s, b, r);
	lacks = r->n_tokens - r->slot.n_prefix;
	if ((double)lacks + tokens_to_come(s, r) + PAGE_TOKENS >= b->total) {
		s->full = true;
		tokenpool_release(s->pool, r);
		return false;
	}
	if ((!s->chunking && b->n_taken > 0 && lacks >= b->input) || b->chunk <= 0) {
		tokenpool_release(s->pool, r);
		return false;
	}
	begin(s, r);
	take(s, p, b, r, min_tokens(lacks, b->chunk));
	return true;
}

static void take_waiting(struct sched *s, struct step_plan *p, struct budget *b)
{
	while (s->waiting.head) {
		if (b->n_taken >= b->places) {
			s->full = true;
			return;
		}
		if (!take_head(s, p, b))
			return;
		if (b->total <= 0 || b->now <= 0) {
			s->full = true;
			return;
		}
		if (b->input <= 0 || b->chunk <= 0)
			return;
	}
}

static void drop_ended(struct sched *s)
{
	if (s->ended.n > 0)
		s->full = false;
	s->ended.n = 0;
	s->ended.tokens_to_come = 0;
}

/* Those who decode take part. The engine makes one batch of them and the new ones, which stand in
 * front from then on. */
static void mix_with_running(struct sched *s, struct step_plan *p)
{
	int32_t n = s->running.n;

	for (struct genreq *r = s->running.head, *next; n > 0; n--, r = next) {
		next = r->slot.next;
		if (r->slot.in_step)
			continue;
		reqlist_remove(&s->running, r);
		reqlist_push_back(&s->running, r);
		tokenpool_hold(s->pool, r, 1);
		schedule(p, r, 1);
	}
	drop_ended(s);
}

static void start_new(struct step_plan *p)
{
	for (int32_t i = 0; i < p->n_items; i++) {
		struct genreq *r = p->item[i].req;

		if (r->state != GENREQ_QUEUED)
			continue;
		genreq_set_state(r, GENREQ_PREFILL);
		if (r->slot.preemptions == 0)
			r->first_scheduled_ns = p->start_ns;
	}
}

static bool plan_prefill(struct sched *s, struct step_plan *p)
{
	bool was_empty = s->running.n + s->ended.n == 0;
	int32_t decodes = s->mixed ? s->running.n : 0;
	struct budget b;

	if (!s->chunked && (s->full || !s->waiting.head))
		return false;
	b = budget_of(s);
	if (!s->chunked && b.places <= 0) {
		s->full = true;
		return false;
	}
	sort_queue(s);
	if (s->chunked)
		take_chunked(s, p, &b);
	take_waiting(s, p, &b);
	if (p->n_items == 0)
		return false;
	CHECK(tokenpool_make_free(s->pool, b.needed + decodes));
	for (int32_t i = 0; i < p->n_items; i++)
		tokenpool_hold(s->pool, p->item[i].req, p->item[i].n_tokens);
	s->in_prefill = true;
	s->renews = was_empty || s->mixed;
	if (s->mixed)
		mix_with_running(s, p);
	start_new(p);
	return true;
}

/* ---- decode ---- */

/* Fewest output tokens, then the longest prompt, then the last of the batch: little is lost, and
 * much is won. */
static struct genreq *pick_victim(const struct sched *s)
{
	struct genreq *victim = s->running.head;

	for (struct genreq *r = victim->slot.next; r; r = r->slot.next) {
		int32_t n = genreq_output_tokens(r), least = genreq_output_tokens(victim);

		if (n < least || (n == least && r->n_prompt >= victim->n_prompt))
			victim = r;
	}
	return victim;
}

/* To the end of the queue, with its answer so far. Its prompt stays in the cache for now. */
static void retract(struct sched *s, struct step_plan *p, struct genreq *r)
{
	reqlist_remove(&s->running, r);
	tokenpool_release(s->pool, r);
	r->slot.computed = 0;
	r->slot.preemptions++;
	genreq_set_state(r, GENREQ_QUEUED);
	reqlist_push_back(&s->waiting, r);
	step_plan_add_preempted(p, r);
	s->preemptions++;
	tokenpool_make_free(s->pool, s->running.n * RETRACT_DECODE_STEPS);
}

/* The ratio, as the answers so far show it to be, and room for some steps more. */
static double ratio_of_running(const struct sched *s)
{
	int64_t made = (int64_t)s->running.n * RETRACT_DECODE_STEPS, max = 1;

	for (const struct genreq *r = s->running.head; r; r = r->slot.next) {
		made += genreq_output_tokens(r);
		max += max_new_tokens(s, r);
	}
	return capped((double)made / (double)max);
}

/* One at least, and as many as it takes. The last one the engine would fail; here it waits for the
 * prompt in chunks that has the memory. */
static void retract_some(struct sched *s, struct step_plan *p)
{
	do {
		retract(s, p, pick_victim(s));
	} while (s->running.n > 0 && !tokenpool_make_free(s->pool, s->running.n));
	s->ratio = ratio_of_running(s);
	s->full = false;
}

static bool plan_decode(struct sched *s, struct step_plan *p)
{
	drop_ended(s);
	if (s->running.n == 0) {
		s->full = false;
		return false;
	}
	if (!tokenpool_make_free(s->pool, s->running.n))
		retract_some(s, p);
	else if (s->ratio - s->ratio_decay > s->min_ratio)
		s->ratio -= s->ratio_decay;
	else
		s->ratio = s->min_ratio;
	for (struct genreq *r = s->running.head; r; r = r->slot.next) {
		tokenpool_hold(s->pool, r, 1);
		schedule(p, r, 1);
	}
	s->in_prefill = false;
	return s->running.n > 0;
}

/* ---- a step ---- */

/* A round without a step is the engine's idle moment, in which it forgets what it learned. If
 * something changed in it, the next round follows at once. */
static bool sglang_plan(struct sched *s, struct step_plan *p)
{
	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	for (;;) {
		bool ended = s->ended.n > 0;
		int32_t preempted = p->n_preempted;

		if (plan_prefill(s, p) || plan_decode(s, p))
			break;
		s->ratio = s->init_ratio;
		if (!ended && p->n_preempted == preempted)
			return false;
	}
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void end(struct sched *s, struct genreq *r)
{
	reqlist_remove(&s->running, r);
	if (!s->in_prefill) {
		s->ended.n++;
		s->ended.tokens_to_come += tokens_to_come(s, r);
	}
	let_go(s, r);
}

static void sglang_commit(struct sched *s, struct step_plan *p, const int32_t *token,
			  int64_t end_ns)
{
	bool shrunk = false;

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
		if (it->emits && genreq_take_token(r, token[i], end_ns, s->eos_token, s->max_len)) {
			end(s, r);
			shrunk = true;
		} else if (it->prefill) {
			tokenpool_cache(s->pool, r, r->slot.computed);
		}
	}
	if (s->in_prefill && (s->renews || shrunk || s->chunked))
		s->full = false;
	if (token)
		s->last_end_ns = end_ns;
}

/* What only the cache has can be had at once, so it counts as free. */
static void sglang_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->running.n + (s->chunked != NULL),
		.waiting = s->waiting.n,
		.free_blocks = tokenpool_available(s->pool),
		.usable_blocks = tokenpool_capacity(s->pool),
		.block_size = 1,
		.max_model_len = s->max_len,
		.preemptions = s->preemptions,
		.prefix_queries_tokens = s->prefix_queries_tokens,
		.prefix_hits_tokens = s->prefix_hits_tokens,
		.steps = s->steps,
	};
}

const struct sched_type sched_sglang = {
	.name = "sglang",
	.help = "SGLang: prompts first, a radix tree of prefixes, memory for answers by estimate, "
		"retraction",
	.knobs = knobs,
	.open = sglang_open,
	.close = sglang_close,
	.check = sglang_check,
	.add = sglang_add,
	.remove = sglang_remove,
	.plan = sglang_plan,
	.commit = sglang_commit,
	.stats = sglang_stats,
};
