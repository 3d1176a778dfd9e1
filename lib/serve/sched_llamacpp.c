/*
 * The policy of llama.cpp's server: a fixed number of slots, each with one request and the KV cells
 * of its last one; every generating slot adds a token to the batch, then prompts fill it up to
 * n_batch in slot order. No preemption, no priorities; what finds no slot is deferred. Pure, on one
 * thread: one batch in flight, no clock. Must not know what a batch costs.
 *
 * Read from tools/server (update_slots, get_available_slot, server_queue) and checked batch by
 * batch against a recording (tests/replay/llama_steps.c). Not modelled: context shift, chunk reuse
 * (n_cache_reuse), and the prompt cache in host memory (cache_ram): a slot keeps its own cells
 * only.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "waitq.h"

enum {
	N_PARALLEL,
	N_CTX,
	KV_UNIFIED,
	N_BATCH,
	N_UBATCH,
	CONT_BATCHING,
	CACHE_PROMPT,
	SLOT_PROMPT_SIMILARITY,
};

#define MAX_TOKENS  (1 << 30)
#define MAX_SLOTS   1024
#define AUTO_SLOTS  4
#define LLAMA_N_CTX 131072 /* llama.cpp takes the model's: here that of Llama 3.1 */

static const char *const auto_off_on[] = {"auto", "off", "on", NULL};

static const struct knob knobs[] = {
	[N_PARALLEL] = {"n_parallel", KNOB_INT, -1, -1, MAX_SLOTS, NULL,
			"slots: requests at a time; -1 = 4 that share one KV cache"},
	[N_CTX] = {"n_ctx", KNOB_INT, LLAMA_N_CTX, 2, MAX_TOKENS, NULL,
		   "KV cells in tokens, of all slots together (llama.cpp: the model's context)"},
	[KV_UNIFIED] = {"kv_unified", KNOB_CHOICE, 0, 0, 2, auto_off_on,
			"slots share n_ctx cells instead of n_ctx / n_parallel each; auto = if "
			"n_parallel is -1"},
	[N_BATCH] = {"n_batch", KNOB_INT, 2048, 1, MAX_TOKENS, NULL,
		     "tokens a batch up to which prompts fill it; generating slots count"},
	[N_UBATCH] = {"n_ubatch", KNOB_INT, 512, 1, MAX_TOKENS, NULL,
		      "tokens a physical batch; what is batched does not depend on it, only what "
		      "an executor pays"},
	[CONT_BATCHING] = {"cont_batching", KNOB_BOOL, 1, 0, 1, NULL,
			   "prompts join while others generate; off = only when none does"},
	[CACHE_PROMPT] = {"cache_prompt", KNOB_BOOL, 1, 0, 1, NULL,
			  "reuse what the slot still holds of an equal prefix"},
	[SLOT_PROMPT_SIMILARITY] = {"slot_prompt_similarity", KNOB_REAL, 0.1, 0, 1, NULL,
				    "take the slot that holds more than this share of the prompt, "
				    "else the least recently used; 0 = always the latter"},
	{.name = NULL},
};

/* Where a request without a slot waits (sched_slot.place). */
enum { IN_QUEUE = -1, DEFERRED = -2 };

struct slot {
	struct genreq *req; /* NULL = idle */
	bool started;	    /* its prompt was looked at: cells are req's first `computed` tokens */

	/* Not started: tokens whose cells the slot still holds from the last request. */
	int32_t *kept;
	int32_t n_kept, cap_kept;

	int64_t last_used; /* number of its last release; 0 = none */
};

struct sched {
	int32_t n_slots, n_ctx, slot_ctx, n_batch;
	bool kv_unified, cont_batching, cache_prompt;
	float similarity;
	int32_t eos_token;

	struct slot *slot;
	struct reqlist queue;	 /* looked at before each batch */
	struct reqlist deferred; /* found no slot; the first returns to the queue at each release */
	int64_t releases;
	bool in_flight;
	int64_t flying_tokens; /* it computes */
	int64_t last_end_ns;

	int64_t steps, prefix_queries_tokens, prefix_hits_tokens;
};

/* ---- opening ---- */

static enum rc llama_open(struct sched **out, const double *values, int32_t eos_token,
			  struct err *e)
{
	int32_t n_parallel = (int32_t)values[N_PARALLEL], unified = (int32_t)values[KV_UNIFIED];
	struct sched s = {
		.n_slots = n_parallel == -1 ? AUTO_SLOTS : n_parallel,
		.n_ctx = (int32_t)values[N_CTX],
		.n_batch = (int32_t)values[N_BATCH],
		.kv_unified = unified == 0 ? n_parallel == -1 : unified == 2,
		.cont_batching = values[CONT_BATCHING] != 0,
		.cache_prompt = values[CACHE_PROMPT] != 0,
		.similarity = (float)values[SLOT_PROMPT_SIMILARITY],
		.eos_token = eos_token,
		.last_end_ns = INT64_MIN,
	};

	if (s.n_slots < 1)
		return err_set(e, RC_INPUT, "n_parallel 0: at least 1, or -1");
	s.slot_ctx = s.kv_unified ? s.n_ctx : s.n_ctx / s.n_slots;
	if (s.slot_ctx < 2)
		return err_set(e, RC_INPUT,
			       "n_ctx %d leaves each of %d slots %d tokens: at least 2 (a prompt "
			       "and an answer)",
			       s.n_ctx, s.n_slots, s.slot_ctx);
	s.slot = xcalloc((size_t)s.n_slots, sizeof(*s.slot));
	*out = xmalloc(sizeof(s));
	**out = s;
	return RC_OK;
}

static void llama_close(struct sched *s)
{
	if (!s)
		return;
	for (int32_t i = 0; i < s->n_slots; i++)
		free(s->slot[i].kept);
	free(s->slot);
	free(s);
}

/* ---- slots and their cells ---- */

static int32_t cells(const struct slot *l)
{
	return l->started ? l->req->slot.computed : l->n_kept;
}

static int64_t all_cells(const struct sched *s)
{
	int64_t n = 0;

	for (int32_t i = 0; i < s->n_slots; i++)
		n += cells(&s->slot[i]);
	return n;
}

/* Those that cannot be purged. */
static int64_t started_cells(const struct sched *s)
{
	int64_t n = 0;

	for (int32_t i = 0; i < s->n_slots; i++)
		n += s->slot[i].started ? cells(&s->slot[i]) : 0;
	return n;
}

static void keep_cells(struct slot *l)
{
	int32_t n = l->req->slot.computed;

	l->n_kept = n;
	if (n == 0)
		return;
	if (n > l->cap_kept) {
		l->cap_kept = 2 * n;
		l->kept = xreallocarray(l->kept, (size_t)l->cap_kept, sizeof(*l->kept));
	}
	memcpy(l->kept, l->req->tokens, (size_t)n * sizeof(*l->kept));
}

/* The first of the deferred goes to the front of the queue: of two that return after the same
 * batch, the later one is looked at first. */
static void release(struct sched *s, struct slot *l)
{
	struct genreq *next = s->deferred.head;

	if (l->started)
		keep_cells(l);
	l->req = NULL;
	l->started = false;
	l->last_used = ++s->releases;
	if (next) {
		reqlist_remove(&s->deferred, next);
		reqlist_push_front(&s->queue, next);
		next->slot.place = IN_QUEUE;
	}
}

static int32_t common_prefix(const struct slot *l, const struct genreq *r)
{
	int32_t n = 0;

	while (n < l->n_kept && n < r->n_prompt && l->kept[n] == r->tokens[n])
		n++;
	return n;
}

/* In single precision, as llama.cpp compares. */
static struct slot *most_similar(struct sched *s, const struct genreq *r)
{
	struct slot *found = NULL;
	float best = s->similarity;

	if (s->similarity == 0)
		return NULL;
	for (int32_t i = 0; i < s->n_slots; i++) {
		struct slot *l = &s->slot[i];
		float similar;

		if (l->req || l->n_kept == 0)
			continue;
		similar = (float)common_prefix(l, r) / (float)r->n_prompt;
		if (similar > best) {
			best = similar;
			found = l;
		}
	}
	return found;
}

/* Of those never used the last. */
static struct slot *least_recently_used(struct sched *s)
{
	struct slot *found = NULL;

	for (int32_t i = 0; i < s->n_slots; i++) {
		struct slot *l = &s->slot[i];

		if (!l->req && (!found || l->last_used <= found->last_used))
			found = l;
	}
	return found;
}

/* ---- requests come and go ---- */

static enum rc llama_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (r->n_prompt >= s->slot_ctx)
		return err_set(e, RC_INPUT,
			       "request (%d tokens) exceeds the available context size (%d tokens)",
			       r->n_prompt, s->slot_ctx);
	return RC_OK;
}

static void llama_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->queue, r);
	r->slot.place = IN_QUEUE;
}

static void llama_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.place >= 0)
		release(s, &s->slot[r->slot.place]);
	else
		reqlist_remove(r->slot.place == DEFERRED ? &s->deferred : &s->queue, r);
}

static void take_up_queue(struct sched *s)
{
	struct genreq *r;

	while ((r = s->queue.head)) {
		struct slot *l = most_similar(s, r);

		if (!l)
			l = least_recently_used(s);
		reqlist_remove(&s->queue, r);
		if (!l) {
			reqlist_push_back(&s->deferred, r);
			r->slot.place = DEFERRED;
			continue;
		}
		l->req = r;
		r->slot.place = (int32_t)(l - s->slot);
		genreq_set_state(r, GENREQ_PREFILL);
	}
}

/* ---- a batch ---- */

static void schedule(struct step_plan *p, struct genreq *r, int32_t n)
{
	step_plan_add(p, r, r->slot.computed, n);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
}

static void add_generating(struct sched *s, struct step_plan *p)
{
	for (int32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i].req && s->slot[i].req->state == GENREQ_DECODE)
			schedule(p, s->slot[i].req, 1);
}

/* The slot's cells behind the common prefix are given up; the last token of the prompt is computed
 * in any case. If the prefix would leave no cell for a token, it is given up, too. */
static void start_prompt(struct sched *s, struct slot *l)
{
	struct genreq *r = l->req;
	int32_t hit = s->cache_prompt ? common_prefix(l, r) : 0;

	if (hit == r->n_prompt)
		hit--;
	if (s->kv_unified && started_cells(s) + hit >= s->n_ctx)
		hit = 0;
	l->started = true;
	l->n_kept = 0;
	r->slot.computed = r->cached_tokens = hit;
	s->prefix_queries_tokens += r->n_prompt;
	s->prefix_hits_tokens += hit;
}

static void add_prompts(struct sched *s, struct step_plan *p)
{
	int64_t room = s->n_batch - p->decode_seqs;

	for (int32_t i = 0; i < s->n_slots && room > 0; i++) {
		struct slot *l = &s->slot[i];
		int32_t n;

		if (!l->req || l->req->state != GENREQ_PREFILL)
			continue;
		if (!l->started)
			start_prompt(s, l);
		n = l->req->n_prompt - l->req->slot.computed;
		if (n > room)
			n = (int32_t)room;
		schedule(p, l->req, n);
		room -= n;
	}
}

static int64_t batch_tokens(const struct step_plan *p)
{
	return p->decode_seqs + p->prefill_tokens;
}

/* One cache for all may be full though no slot is: cells that nobody computes with go first, one
 * slot at a time. Then llama.cpp halves the batch until a part fits, which in the end computes as
 * much of it as there are cells. */
static void fit_into_cells(struct sched *s, struct step_plan *p)
{
	int64_t over = all_cells(s) + batch_tokens(p) - s->n_ctx;

	for (int32_t i = 0; i < s->n_slots && over > 0; i++) {
		if (s->slot[i].started)
			continue;
		over -= s->slot[i].n_kept;
		s->slot[i].n_kept = 0;
	}
	while (over > 0) {
		struct genreq *r = p->item[p->n_items - 1].req;
		int32_t n = step_plan_drop(p, r), stay = n > over ? n - (int32_t)over : 0;

		over -= n - stay;
		r->slot.in_step = false;
		if (stay > 0)
			schedule(p, r, stay);
	}
}

static bool llama_plan(struct sched *s, struct step_plan *p)
{
	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	take_up_queue(s);
	add_generating(s, p);
	if (s->cont_batching || p->n_items == 0)
		add_prompts(s, p);
	if (p->n_items == 0)
		return false;
	if (s->kv_unified)
		fit_into_cells(s, p);
	for (int32_t i = 0; i < p->n_items; i++)
		if (p->item[i].prefill && p->item[i].computed == p->item[i].req->cached_tokens)
			p->item[i].req->first_scheduled_ns = p->start_ns;
	s->flying_tokens = batch_tokens(p);
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

/* "Context size has been exceeded": there is no cell left for anybody's next token. Every request
 * of the batch ends, and its slot forgets its cells. (llama.cpp also gives up those of whom nothing
 * was in the batch; here they live on.) */
static void give_up(struct sched *s, struct step_plan *p)
{
	for (int32_t i = 0; i < p->n_items; i++) {
		struct genreq *r = p->item[i].req;

		if (r->state == GENREQ_DONE)
			continue;
		r->finish = FINISH_ERROR;
		genreq_set_state(r, GENREQ_DONE);
		release(s, &s->slot[r->slot.place]);
		s->slot[r->slot.place].n_kept = 0;
	}
}

/* Slots are released in their order, whatever that of the batch. */
static void llama_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
{
	CHECK(s->in_flight);
	s->in_flight = false;
	s->flying_tokens = 0;
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct step_item *it = &p->item[i];
		struct genreq *r = it->req;

		r->slot.in_step = false;
		if (!token)
			continue;
		r->slot.computed = it->computed + it->n_tokens;
		r->ready_ns = end_ns;
		if (it->emits)
			genreq_take_token(r, token[i], end_ns, s->eos_token, s->slot_ctx);
	}
	if (!token)
		return;
	s->last_end_ns = end_ns;
	for (int32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i].req && s->slot[i].req->state == GENREQ_DONE)
			release(s, &s->slot[i]);
	if (s->kv_unified && started_cells(s) >= s->n_ctx)
		give_up(s, p);
}

/* As in vLLM, what nobody needs any more counts as free though it is kept. */
static void llama_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.waiting = s->queue.n + s->deferred.n,
		.free_blocks = (int32_t)(s->n_ctx - started_cells(s) - s->flying_tokens),
		.usable_blocks = s->n_ctx,
		.block_size = 1,
		.max_model_len = s->slot_ctx,
		.slots = s->n_slots,
		.prefix_queries_tokens = s->prefix_queries_tokens,
		.prefix_hits_tokens = s->prefix_hits_tokens,
		.steps = s->steps,
	};
	for (int32_t i = 0; i < s->n_slots; i++)
		out->running += s->slot[i].req != NULL;
}

const struct sched_type sched_llamacpp = {
	.name = "llamacpp",
	.help = "llama.cpp's server: slots with their own prompt cache, prompts fill up the batch "
		"of "
		"those who generate",
	.knobs = knobs,
	.open = llama_open,
	.close = llama_close,
	.check = llama_check,
	.add = llama_add,
	.remove = llama_remove,
	.plan = llama_plan,
	.commit = llama_commit,
	.stats = llama_stats,
};
