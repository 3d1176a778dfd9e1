/*
 * The policy of Text Generation Inference's router (version 3): first come, first served, all the
 * memory a request may ever need set aside before it starts, so nobody is ever put back. Without
 * chunks new prompts get a step of their own while the others stand still, and wait until enough
 * of them have come (waiting_served_ratio) or long enough (max_waiting_tokens). With chunks every
 * step is filled up with prompt tokens to max_batch_prefill_tokens. Pure, on one thread: one step
 * in flight, no clock. Must not know what a step costs or who waits for its tokens.
 *
 * The router looks into its queue once before each decode. After it took somebody from it, the
 * decode follows without another look.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "tokenpool.h"
#include "waitq.h"

enum {
	MAX_CONCURRENT_REQUESTS,
	WAITING_SERVED_RATIO,
	MAX_WAITING_TOKENS,
	MAX_BATCH_PREFILL_TOKENS,
	MAX_BATCH_TOTAL_TOKENS,
	MAX_BATCH_SIZE,
	MAX_INPUT_TOKENS,
	MAX_TOTAL_TOKENS,
	BLOCK_SIZE,
	PREFIX_CACHING,
	PREFILL_CHUNKING,
};

#define MAX_TOKENS (1 << 30)

static const struct knob knobs[] = {
	[MAX_CONCURRENT_REQUESTS] = {"max_concurrent_requests", KNOB_INT, 128, 1, MAX_TOKENS, NULL,
				     "requests in the server at most; the next one gets a 429"},
	[WAITING_SERVED_RATIO] = {"waiting_served_ratio", KNOB_REAL, 0.3, 0, 1000, NULL,
				  "running ones are interrupted for so many waiting ones as a "
				  "share of them (without prefill_chunking)"},
	[MAX_WAITING_TOKENS] = {"max_waiting_tokens", KNOB_INT, 20, 0, MAX_TOKENS, NULL,
				"decode steps after which any number of waiting ones interrupts "
				"(without prefill_chunking)"},
	[MAX_BATCH_PREFILL_TOKENS] = {"max_batch_prefill_tokens", KNOB_INT, -1, -1, MAX_TOKENS,
				      NULL,
				      "prompt tokens a step at most; -1 = max_input_tokens + 50"},
	[MAX_BATCH_TOTAL_TOKENS] = {"max_batch_total_tokens", KNOB_INT, 440000, 2, MAX_TOKENS, NULL,
				    "tokens the KV cache holds (440000: 8B model, 80 GB card)"},
	[MAX_BATCH_SIZE] = {"max_batch_size", KNOB_INT, 0, 0, MAX_TOKENS, NULL,
			    "requests that run at most (without prefill_chunking); 0 = no limit"},
	[MAX_INPUT_TOKENS] = {"max_input_tokens", KNOB_INT, -1, -1, MAX_TOKENS, NULL,
			      "prompt tokens of a request; -1 = max_total_tokens - 1"},
	[MAX_TOTAL_TOKENS] = {"max_total_tokens", KNOB_INT, -1, -1, MAX_TOKENS, NULL,
			      "prompt + output tokens of a request; -1 = as many as the KV cache "
			      "holds"},
	[BLOCK_SIZE] = {"block_size", KNOB_INT, 1, 1, 1024, NULL,
			"tokens a KV cache block (attention: flashinfer 1, paged 16, "
			"flashdecoding 256)"},
	[PREFIX_CACHING] = {"prefix_caching", KNOB_BOOL, 1, 0, 1, NULL,
			    "reuse the KV entries of prompts that are done"},
	[PREFILL_CHUNKING] = {"prefill_chunking", KNOB_BOOL, 1, 0, 1, NULL,
			      "prompts in chunks, together with those that decode"},
	{.name = NULL},
};

struct sched {
	double waiting_served_ratio;
	int32_t max_concurrent, max_waiting_tokens, max_prefill_tokens, max_batch_size,
		max_input_tokens, max_total_tokens, block_size;
	bool chunking;
	int32_t eos_token;

	struct tokenpool *pool; /* of blocks; with prefix caching, of one token each */
	struct reqlist waiting;
	struct reqlist running; /* in order of admission */
	bool in_flight;
	bool must_decode; /* the router has looked into the queue already */
	int32_t waiting_tokens;
	int32_t last_items;  /* requests in the step before this one, those that ended included */
	int64_t last_end_ns; /* INT64_MIN before the first step */

	int64_t steps, prefix_queries_tokens, prefix_hits_tokens;
};

/* ---- opening ---- */

static int64_t blocks_for(const struct sched *s, int64_t tokens)
{
	return (tokens + s->block_size - 1) / s->block_size;
}

static enum rc check_knobs(const struct sched *s, int32_t usable_blocks, bool prefix_caching,
			   struct err *e)
{
	int64_t holds = (int64_t)usable_blocks * s->block_size;

	if (prefix_caching && s->block_size != 1)
		return err_set(e, RC_INPUT,
			       "block_size %d: prefix_caching works with blocks of 1 token only",
			       s->block_size);
	if (usable_blocks < 1)
		return err_set(e, RC_INPUT,
			       "max_batch_total_tokens: at least 2 blocks of %d tokens, the first "
			       "of which is set aside",
			       s->block_size);
	if (s->max_input_tokens < 1 || s->max_total_tokens <= s->max_input_tokens)
		return err_set(e, RC_INPUT,
			       "max_input_tokens %d and max_total_tokens %d: the first at least 1, "
			       "the second more than the first",
			       s->max_input_tokens, s->max_total_tokens);
	if (s->max_total_tokens - 1 > holds)
		return err_set(e, RC_INPUT,
			       "max_total_tokens %d: the KV cache holds one request of at most "
			       "%lld tokens (max_batch_total_tokens less one block)",
			       s->max_total_tokens, (long long)holds + 1);
	if (s->max_prefill_tokens < 1)
		return err_set(e, RC_INPUT, "max_batch_prefill_tokens %d: at least 1, or -1",
			       s->max_prefill_tokens);
	if (!s->chunking && s->max_prefill_tokens < s->max_input_tokens)
		return err_set(e, RC_INPUT,
			       "max_batch_prefill_tokens %d is less than max_input_tokens %d: "
			       "without prefill_chunking longer prompts could never run",
			       s->max_prefill_tokens, s->max_input_tokens);
	if (s->chunking && s->max_batch_size)
		return err_set(e, RC_INPUT, "max_batch_size %d has no effect with prefill_chunking",
			       s->max_batch_size);
	return RC_OK;
}

static int32_t at_most(int64_t n, int32_t max)
{
	return n < max ? (int32_t)n : max;
}

static enum rc tgi_open(struct sched **out, const double *values, int32_t eos_token, struct err *e)
{
	int32_t block_size = (int32_t)values[BLOCK_SIZE],
		usable_blocks = (int32_t)values[MAX_BATCH_TOTAL_TOKENS] / block_size - 1;
	bool prefix_caching = values[PREFIX_CACHING] != 0;
	struct sched s = {
		.waiting_served_ratio = values[WAITING_SERVED_RATIO],
		.max_concurrent = (int32_t)values[MAX_CONCURRENT_REQUESTS],
		.max_waiting_tokens = (int32_t)values[MAX_WAITING_TOKENS],
		.max_prefill_tokens = (int32_t)values[MAX_BATCH_PREFILL_TOKENS],
		.max_batch_size = (int32_t)values[MAX_BATCH_SIZE],
		.max_input_tokens = (int32_t)values[MAX_INPUT_TOKENS],
		.max_total_tokens = (int32_t)values[MAX_TOTAL_TOKENS],
		.block_size = block_size,
		.chunking = values[PREFILL_CHUNKING] != 0,
		.eos_token = eos_token,
		.last_end_ns = INT64_MIN,
	};

	if (s.max_total_tokens == -1)
		s.max_total_tokens = at_most((int64_t)usable_blocks * block_size + 1, MAX_TOKENS);
	if (s.max_input_tokens == -1)
		s.max_input_tokens = s.max_total_tokens - 1;
	if (s.max_prefill_tokens == -1)
		s.max_prefill_tokens = at_most((int64_t)s.max_input_tokens + 50, MAX_TOKENS);
	if (check_knobs(&s, usable_blocks, prefix_caching, e) != RC_OK)
		return RC_INPUT;
	s.pool = tokenpool_new(usable_blocks, prefix_caching, true);
	*out = xmalloc(sizeof(s));
	**out = s;
	return RC_OK;
}

static void tgi_close(struct sched *s)
{
	if (!s)
		return;
	tokenpool_free(s->pool);
	free(s);
}

/* ---- memory ---- */

/* Sets aside all that r can ever need: its last output token needs no place. False if there is not
 * enough. */
static bool reserve(struct sched *s, struct genreq *r)
{
	int32_t need = (int32_t)blocks_for(s, (int64_t)r->n_prompt + r->max_tokens - 1);

	tokenpool_share(s->pool, r, r->n_prompt);
	if (!tokenpool_make_free(s->pool, need - r->slot.n_prefix)) {
		tokenpool_release(s->pool, r);
		return false;
	}
	tokenpool_hold(s->pool, r, need - r->slot.n_prefix);
	return true;
}

/* Gives all of it back; the prompt stays in the cache as far as it was computed. Only now do others
 * find it, not while it runs. */
static void let_go(struct sched *s, struct genreq *r)
{
	int32_t computed = at_most(r->slot.computed, r->n_prompt);

	if (computed > r->slot.n_prefix)
		tokenpool_cache(s->pool, r, computed);
	tokenpool_release(s->pool, r);
	r->slot.computed = 0;
}

/* ---- requests come and go ---- */

static enum rc tgi_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (r->n_prompt > s->max_input_tokens)
		return err_set(e, RC_INPUT, "the prompt has %d tokens, at most %d are allowed",
			       r->n_prompt, s->max_input_tokens);
	if ((int64_t)r->n_prompt + r->max_tokens > s->max_total_tokens)
		return err_set(e, RC_INPUT,
			       "a prompt of %d tokens and an answer of up to %d are more than the "
			       "%d allowed for both",
			       r->n_prompt, r->max_tokens, s->max_total_tokens);
	return RC_OK;
}

static void tgi_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->waiting, r);
}

static void leave_running(struct sched *s, struct genreq *r)
{
	reqlist_remove(&s->running, r);
	let_go(s, r);
}

/* Who runs has his blocks, who waits has none. */
static void tgi_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.n_blocks)
		leave_running(s, r);
	else
		reqlist_remove(&s->waiting, r);
}

/* ---- a step ---- */

static void schedule(struct step_plan *p, struct genreq *r, int32_t n)
{
	step_plan_add(p, r, r->slot.computed, n);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
}

/* Takes the head of the queue in, for n tokens in this step. */
static void begin(struct sched *s, struct step_plan *p, struct genreq *r, int32_t hit, int32_t n)
{
	reqlist_remove(&s->waiting, r);
	reqlist_push_back(&s->running, r);
	r->slot.computed = r->cached_tokens = hit;
	s->prefix_queries_tokens += r->n_prompt;
	s->prefix_hits_tokens += hit;
	schedule(p, r, n);
}

/* Puts the newly taken in back, in their order: there were not enough of them. */
static void put_back(struct sched *s, struct step_plan *p)
{
	while (p->n_items > 0) {
		struct genreq *r = p->item[p->n_items - 1].req;

		step_plan_drop(p, r);
		r->slot.in_step = false;
		s->prefix_queries_tokens -= r->n_prompt;
		s->prefix_hits_tokens -= r->cached_tokens;
		r->slot.computed = r->cached_tokens = 0;
		leave_running(s, r);
		reqlist_push_front(&s->waiting, r);
	}
	p->start_ns = s->last_end_ns;
}

/* From the head of the queue, as long as memory and the tokens of this step last. The last token
 * of a prompt is computed even if all of it is cached. */
static void take_from_queue(struct sched *s, struct step_plan *p, int32_t min_size,
			    int32_t max_size, int64_t budget)
{
	struct genreq *r;
	int32_t n = 0;

	if (s->waiting.n < min_size)
		return;
	budget = blocks_for(s, budget) * s->block_size;
	while ((r = s->waiting.head) && n < max_size) {
		int32_t hit, lacks, take;

		if (!reserve(s, r))
			break;
		hit = r->slot.n_prefix < r->n_prompt ? r->slot.n_prefix : r->n_prompt - 1;
		lacks = r->n_prompt - hit;
		if (lacks > budget && (!s->chunking || budget == 0)) {
			let_go(s, r);
			break;
		}
		take = at_most(budget, lacks);
		begin(s, p, r, hit, take);
		budget -= take;
		n++;
		if (take < lacks)
			break;
	}
}

/* What a running request computes in the next step: a token, or the next chunk of its prompt. The
 * chunks share what is left of max_batch_prefill_tokens beside one token for each of the others, as
 * many as there were in the last step; the older ones come first, and nobody gets nothing. */
static int32_t next_tokens(const struct genreq *r, int64_t *budget)
{
	int32_t n, lacks = r->n_prompt - r->slot.computed;

	if (lacks <= 0)
		return 1;
	n = at_most(*budget, lacks);
	if (n < 1)
		n = 1;
	*budget -= n;
	return n;
}

static int64_t chunk_budget(const struct sched *s)
{
	return (int64_t)s->max_prefill_tokens - (s->last_items - 1);
}

/* All who ran before this step. */
static void advance_running(struct sched *s, struct step_plan *p)
{
	int64_t budget = chunk_budget(s);

	for (struct genreq *r = s->running.head; r; r = r->slot.next)
		if (!r->slot.in_step)
			schedule(p, r, next_tokens(r, &budget));
}

/* With chunks: new prompts get what the running ones leave of the budget, in the same step. */
static void plan_mixed(struct sched *s, struct step_plan *p)
{
	int64_t budget = chunk_budget(s), current = 0;

	for (const struct genreq *r = s->running.head; r; r = r->slot.next)
		current += next_tokens(r, &budget);
	if (current < s->max_prefill_tokens)
		take_from_queue(s, p, 0, INT32_MAX, s->max_prefill_tokens - current);
}

/* Without: they get a step of their own, if they are many enough or have waited long enough. */
static void plan_interruption(struct sched *s, struct step_plan *p)
{
	int32_t size = s->running.n, min_size = 0, max_size = INT32_MAX;

	if (s->waiting_tokens < s->max_waiting_tokens)
		min_size = at_most((int64_t)(size * s->waiting_served_ratio), INT32_MAX);
	if (s->max_batch_size)
		max_size = s->max_batch_size - size;
	take_from_queue(s, p, min_size, max_size, s->max_prefill_tokens);
	if (p->n_items < min_size)
		put_back(s, p);
}

static void plan_step(struct sched *s, struct step_plan *p)
{
	bool alone = s->running.n == 0;

	if (alone)
		take_from_queue(s, p, 0, s->max_batch_size ? s->max_batch_size : INT32_MAX,
				s->max_prefill_tokens);
	else if (!s->must_decode && s->chunking)
		plan_mixed(s, p);
	else if (!s->must_decode)
		plan_interruption(s, p);
	if (p->n_items > 0) {
		s->waiting_tokens = 1;
		s->must_decode = !alone;
	} else {
		s->waiting_tokens++;
		s->must_decode = false;
	}
	if (p->n_items == 0 || s->chunking)
		advance_running(s, p);
}

static bool tgi_plan(struct sched *s, struct step_plan *p)
{
	if (s->in_flight || (s->running.n == 0 && s->waiting.n == 0))
		return false;
	p->start_ns = s->last_end_ns;
	plan_step(s, p);
	if (p->n_items == 0)
		return false;
	for (int32_t i = 0; i < p->n_items && p->item[i].req->state == GENREQ_QUEUED; i++) {
		genreq_set_state(p->item[i].req, GENREQ_PREFILL);
		p->item[i].req->first_scheduled_ns = p->start_ns;
	}
	s->last_items = p->n_items;
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void tgi_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
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
		if (it->emits &&
		    genreq_take_token(r, token[i], end_ns, s->eos_token, s->max_total_tokens))
			leave_running(s, r);
	}
	if (token)
		s->last_end_ns = end_ns;
}

/* What only the cache has can be had at once, so it counts as free. */
static void tgi_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->running.n,
		.waiting = s->waiting.n,
		.free_blocks = tokenpool_available(s->pool),
		.usable_blocks = tokenpool_capacity(s->pool),
		.block_size = s->block_size,
		.max_model_len = s->max_total_tokens,
		.max_requests = s->max_concurrent,
		.prefix_queries_tokens = s->prefix_queries_tokens,
		.prefix_hits_tokens = s->prefix_hits_tokens,
		.steps = s->steps,
	};
}

const struct sched_type sched_tgi = {
	.name = "tgi",
	.help = "TGI's router: the worst case set aside in advance, nobody put back, new prompts "
		"by waiting_served_ratio or in chunks",
	.knobs = knobs,
	.open = tgi_open,
	.close = tgi_close,
	.check = tgi_check,
	.add = tgi_add,
	.remove = tgi_remove,
	.plan = tgi_plan,
	.commit = tgi_commit,
	.stats = tgi_stats,
};
