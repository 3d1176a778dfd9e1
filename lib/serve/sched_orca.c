/*
 * Iteration-level scheduling as Orca describes it (OSDI 2022, Algorithm 1): first come, first
 * served; a request enters the batch when memory for all it may ever need can be set aside, its
 * whole prompt runs in one iteration beside the others' single tokens, and it stays until it ends.
 * No token budget, no preemption. Pure, on one thread, no clock. Must not know what an iteration
 * costs.
 *
 * The paper keeps as many batches in flight as its pipeline has stages; here it is one, and a
 * pipeline is a matter of cost.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "waitq.h"

enum { MAX_BS, N_SLOTS };

#define MAX_TOKENS (1 << 30)

/* The paper gives no defaults. The batch is that of Vidur's Orca; the slots are the KV cache of an
 * 8B model (128 KiB a token) on an 80 GB card, as for the other policies. */
static const struct knob knobs[] = {
	[MAX_BS] = {"max_bs", KNOB_INT, 128, 1, MAX_TOKENS, NULL, "requests in the batch at most"},
	[N_SLOTS] = {"n_slots", KNOB_INT, 448000, 2, MAX_TOKENS, NULL,
		     "KV cache in tokens; a request sets aside its prompt and max_tokens of them"},
	{.name = NULL},
};

struct sched {
	int32_t max_bs, n_slots;
	int32_t eos_token;

	struct reqlist waiting, running; /* in order of arrival */
	int64_t reserved;		 /* slots, the paper's n_rsrv */
	bool in_flight;
	int64_t last_end_ns;
	int64_t steps;
};

static enum rc orca_open(struct sched **out, const double *values, int32_t eos_token, struct err *e)
{
	(void)e;
	*out = xcalloc(1, sizeof(**out));
	(*out)->max_bs = (int32_t)values[MAX_BS];
	(*out)->n_slots = (int32_t)values[N_SLOTS];
	(*out)->eos_token = eos_token;
	(*out)->last_end_ns = INT64_MIN;
	return RC_OK;
}

static void orca_close(struct sched *s)
{
	free(s);
}

/* What a request may grow to: the paper's max_tokens. */
static int64_t needs_slots(const struct genreq *r)
{
	return (int64_t)r->n_prompt + r->max_tokens;
}

static enum rc orca_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	if (r->n_prompt < 1)
		return err_set(e, RC_INPUT, "the prompt is empty");
	if (needs_slots(r) > s->n_slots)
		return err_set(e, RC_INPUT,
			       "%d prompt tokens and max_tokens %d need %lld slots; there are %d",
			       r->n_prompt, r->max_tokens, (long long)needs_slots(r), s->n_slots);
	return RC_OK;
}

static void orca_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->waiting, r);
	r->slot.place = -1;
}

static void leave_running(struct sched *s, struct genreq *r)
{
	reqlist_remove(&s->running, r);
	s->reserved -= needs_slots(r);
}

static void orca_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	if (r->slot.place < 0)
		reqlist_remove(&s->waiting, r);
	else
		leave_running(s, r);
}

/* The paper's Select(). Whoever entered came before all who wait, so one pass over each list is a
 * pass over the pool in order of arrival; who does not fit holds up all behind him. */
static void select_requests(struct sched *s)
{
	struct genreq *r;

	while (s->running.n < s->max_bs && (r = s->waiting.head)) {
		if (s->reserved + needs_slots(r) > s->n_slots)
			break;
		s->reserved += needs_slots(r);
		reqlist_remove(&s->waiting, r);
		reqlist_push_back(&s->running, r);
		r->slot.place = 0;
	}
}

static bool orca_plan(struct sched *s, struct step_plan *p)
{
	if (s->in_flight)
		return false;
	select_requests(s);
	if (s->running.n == 0)
		return false;
	p->start_ns = s->last_end_ns;
	for (struct genreq *r = s->running.head; r; r = r->slot.next) {
		step_plan_add(p, r, r->slot.computed, r->n_tokens - r->slot.computed);
		r->slot.in_step = true;
		if (r->ready_ns > p->start_ns)
			p->start_ns = r->ready_ns;
	}
	for (struct genreq *r = s->running.tail; r && r->state == GENREQ_QUEUED; r = r->slot.prev) {
		genreq_set_state(r, GENREQ_PREFILL);
		r->first_scheduled_ns = p->start_ns;
	}
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void orca_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
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
		if (genreq_take_token(r, token[i], end_ns, s->eos_token, INT32_MAX))
			leave_running(s, r);
	}
	if (token)
		s->last_end_ns = end_ns;
}

static void orca_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->running.n,
		.waiting = s->waiting.n,
		.free_blocks = (int32_t)(s->n_slots - s->reserved),
		.usable_blocks = s->n_slots,
		.block_size = 1,
		.max_model_len = s->n_slots,
		.steps = s->steps,
	};
}

const struct sched_type sched_orca = {
	.name = "orca",
	.help = "iteration-level scheduling: whole prompts beside decodes, memory for max_tokens "
		"set aside",
	.knobs = knobs,
	.open = orca_open,
	.close = orca_close,
	.check = orca_check,
	.add = orca_add,
	.remove = orca_remove,
	.plan = orca_plan,
	.commit = orca_commit,
	.stats = orca_stats,
};
