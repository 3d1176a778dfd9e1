/*
 * The policy of Sarathi-Serve as Vidur simulates it: no step computes more than chunk_size tokens
 * of prompts beside its decodes, so that decodes never stall. Decodes come first, then prompts that
 * have begun, then new ones; blocks for the whole prompt are taken at admission, one by one for the
 * answer; who is out of blocks restarts the last in line. Pure, on one thread: one step in flight,
 * no clock. Must not know what a step costs.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "kvpool.h"
#include "waitq.h"

enum { CHUNK_SIZE, BATCH_SIZE_CAP, BLOCK_SIZE, NUM_BLOCKS, WATERMARK_BLOCKS_FRACTION };

#define MAX_TOKENS (1 << 30)

/* Vidur's names and defaults, but for the blocks, which it derives from the card: here those of an
 * 8B model on 80 GB, as for the other policies. */
static const struct knob knobs[] = {
	[CHUNK_SIZE] = {"chunk_size", KNOB_INT, 512, 1, MAX_TOKENS, NULL,
			"tokens a step up to which prompts fill it; decodes count"},
	[BATCH_SIZE_CAP] = {"batch_size_cap", KNOB_INT, 128, 1, MAX_TOKENS, NULL,
			    "requests in the batch at most"},
	[BLOCK_SIZE] = {"block_size", KNOB_INT, 16, 1, 1024, NULL, "tokens a KV cache block"},
	[NUM_BLOCKS] = {"num_blocks", KNOB_INT, 28000, 1, 1 << 24, NULL,
			"KV cache blocks (28000: 8B model, 80 GB card)"},
	[WATERMARK_BLOCKS_FRACTION] = {"watermark_blocks_fraction", KNOB_REAL, 0.01, 0, 1, NULL,
				       "share of the blocks that admission leaves free"},
	{.name = NULL},
};

struct sched {
	int32_t chunk_size, max_seqs, block_size, watermark_blocks, max_model_len;
	int32_t eos_token;

	struct kvpool *pool;
	struct reqlist waiting;
	struct reqlist
		running; /* in the order of the last step: decodes, begun prompts, new ones */
	bool in_flight;
	int64_t last_end_ns;
	int64_t steps, preemptions;
};

/* ---- opening ---- */

/* A lone request can have all blocks but those that admission leaves free; one of these at least,
 * because a decode starts only while a block is free. */
static enum rc sarathi_open(struct sched **out, const double *values, int32_t eos_token,
			    struct err *e)
{
	int32_t num_blocks = (int32_t)values[NUM_BLOCKS];
	int64_t len;
	struct sched s = {
		.chunk_size = (int32_t)values[CHUNK_SIZE],
		.max_seqs = (int32_t)values[BATCH_SIZE_CAP],
		.block_size = (int32_t)values[BLOCK_SIZE],
		.watermark_blocks = (int32_t)(values[WATERMARK_BLOCKS_FRACTION] * num_blocks),
		.eos_token = eos_token,
		.last_end_ns = INT64_MIN,
	};

	len = (int64_t)(num_blocks - (s.watermark_blocks ? s.watermark_blocks : 1)) * s.block_size;
	if (len > MAX_TOKENS)
		return err_set(e, RC_INPUT,
			       "num_blocks * block_size: %lld tokens, at most %d are supported",
			       (long long)len, MAX_TOKENS);
	if (len < 2)
		return err_set(e, RC_INPUT,
			       "num_blocks %d less the watermark of %d leave a request room for "
			       "%lld tokens: at least 2 (a prompt and an answer)",
			       num_blocks, s.watermark_blocks, (long long)len);
	s.max_model_len = (int32_t)len;
	s.pool = kvpool_new(num_blocks + 1, s.block_size, false);
	*out = xmalloc(sizeof(s));
	**out = s;
	return RC_OK;
}

static void sarathi_close(struct sched *s)
{
	if (!s)
		return;
	kvpool_free(s->pool);
	free(s);
}

/* ---- requests come and go ---- */

static enum rc sarathi_check(const struct sched *s, const struct genreq *r, struct err *e)
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

static void sarathi_add(struct sched *s, struct genreq *r)
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
static void sarathi_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.n_blocks)
		leave_running(s, r);
	else
		reqlist_remove(&s->waiting, r);
}

/* ---- a step ---- */

static void schedule(struct sched *s, struct step_plan *p, struct genreq *r, int32_t n)
{
	reqlist_push_back(&s->running, r);
	step_plan_add(p, r, r->slot.computed, n);
	r->slot.in_step = true;
	if (r->ready_ns > p->start_ns)
		p->start_ns = r->ready_ns;
}

static int32_t chunk(const struct sched *s, const struct step_plan *p, const struct genreq *r)
{
	int64_t left = s->chunk_size - (p->decode_seqs + p->prefill_tokens);
	int32_t n = r->n_tokens - r->slot.computed;

	return left <= 0 ? 0 : n < left ? n : (int32_t)left;
}

/* Back to the front of the queue, to be computed anew. */
static void restart(struct sched *s, struct step_plan *p, struct genreq *victim)
{
	kvpool_release(s->pool, victim);
	victim->slot.computed = 0;
	victim->slot.preemptions++;
	genreq_set_state(victim, GENREQ_QUEUED);
	reqlist_push_front(&s->waiting, victim);
	step_plan_add_preempted(p, victim);
	s->preemptions++;
}

/* Every decode, in order; chunk_size does not bind them. A decode wants a free block even if it has
 * room in its last one; the victims are the last of those not yet looked at. Returns the prompt
 * that has begun: there is at most one, since nobody is admitted while it leaves no tokens. It had
 * one of the last step's, so the decodes of this one leave it one. */
static struct genreq *advance_decodes(struct sched *s, struct step_plan *p)
{
	struct reqlist todo = s->running;
	struct genreq *r, *begun = NULL;

	s->running = (struct reqlist){0};
	while ((r = todo.head)) {
		reqlist_remove(&todo, r);
		if (r->state != GENREQ_DECODE) {
			DCHECK(!begun);
			begun = r;
			continue;
		}
		while (kvpool_free_blocks(s->pool) == 0 && todo.tail) {
			struct genreq *victim = todo.tail;

			reqlist_remove(&todo, victim);
			restart(s, p, victim);
		}
		if (kvpool_free_blocks(s->pool) == 0) {
			restart(s, p, r);
			continue;
		}
		kvpool_grow(s->pool, r, r->n_tokens);
		schedule(s, p, r, 1);
	}
	return begun;
}

static void admit_waiting(struct sched *s, struct step_plan *p)
{
	struct genreq *r;

	while (s->running.n < s->max_seqs && (r = s->waiting.head)) {
		int32_t n = chunk(s, p, r);

		if (n == 0 || !kvpool_admit(s->pool, r, 0, r->n_tokens, 0, s->watermark_blocks))
			break;
		reqlist_remove(&s->waiting, r);
		genreq_set_state(r, GENREQ_PREFILL);
		schedule(s, p, r, n);
	}
}

static bool sarathi_plan(struct sched *s, struct step_plan *p)
{
	struct genreq *begun;

	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	begun = advance_decodes(s, p);
	if (begun)
		schedule(s, p, begun, chunk(s, p, begun));
	admit_waiting(s, p);
	if (p->n_items == 0)
		return false;
	for (int32_t i = 0; i < p->n_items; i++)
		if (p->item[i].prefill && p->item[i].computed == 0 &&
		    p->item[i].req->slot.preemptions == 0)
			p->item[i].req->first_scheduled_ns = p->start_ns;
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void sarathi_commit(struct sched *s, struct step_plan *p, const int32_t *token,
			   int64_t end_ns)
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
		    genreq_take_token(r, token[i], end_ns, s->eos_token, s->max_model_len))
			leave_running(s, r);
	}
	if (token)
		s->last_end_ns = end_ns;
}

static void sarathi_stats(const struct sched *s, struct sched_stats *out)
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

const struct sched_type sched_sarathi = {
	.name = "sarathi",
	.help = "Sarathi-Serve: decodes first, prompts in chunks beside them, all within "
		"chunk_size",
	.knobs = knobs,
	.open = sarathi_open,
	.close = sarathi_close,
	.check = sarathi_check,
	.add = sarathi_add,
	.remove = sarathi_remove,
	.plan = sarathi_plan,
	.commit = sarathi_commit,
	.stats = sarathi_stats,
};
