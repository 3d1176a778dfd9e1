/*
 * The policy of a server around generate() of Hugging Face Transformers: when nothing runs, up to
 * batch_size waiting requests become a batch; it runs until the last of them has ended, and who
 * comes later waits for that. With batch_size 1, one request after the other. A batch that is not
 * full may wait for company, max_wait_ms from the coming of its first request on, as servers with a
 * dynamic batcher do. Pure, on one thread: one step in flight, no clock; that time has passed it
 * learns from the times of what happens, and from wake(). Must not know what a step costs.
 *
 * The batch is a rectangle: prompts are padded to the longest one, and the lane of a request that
 * has ended computes padding to the end. Items are the real tokens; the sums of the plan, which a
 * cost model reads, are those of the rectangle.
 */
#include "sched.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "waitq.h"

enum { BATCH_SIZE, MAX_WAIT_MS };

static const struct knob knobs[] = {
	[BATCH_SIZE] =
		{"batch_size", KNOB_INT, 1, 1, 1 << 20, NULL,
		 "requests a batch at most; it forms of who waits when the last one is over"},
	[MAX_WAIT_MS] =
		{"max_wait_ms", KNOB_REAL, 0, 0, 3600e3, NULL,
		 "milliseconds a request waits for others to fill its batch; 0 = none does"},
	{.name = NULL},
};

/* Where a request is (sched_slot.place). */
enum { WAITS = -1, IN_BATCH = 0 };

struct sched {
	int32_t batch_size;
	int64_t max_wait_ns;
	int32_t eos_token;

	struct reqlist waiting;
	struct reqlist batch; /* those that have not ended */
	int32_t lanes;	      /* requests the batch began with */
	int32_t lane_tokens;  /* length of each lane, padding included, after the step */
	bool in_flight;
	int64_t last_end_ns;
	int64_t known_ns; /* it is so late at least */
	int64_t steps;
};

static enum rc batch_open(struct sched **out, const double *values, int32_t eos_token,
			  struct err *e)
{
	(void)e;
	*out = xcalloc(1, sizeof(**out));
	(*out)->batch_size = (int32_t)values[BATCH_SIZE];
	(*out)->max_wait_ns = llround(values[MAX_WAIT_MS] * (double)NS_PER_MS);
	(*out)->eos_token = eos_token;
	(*out)->last_end_ns = (*out)->known_ns = INT64_MIN;
	return RC_OK;
}

static void batch_close(struct sched *s)
{
	free(s);
}

static enum rc batch_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	(void)s;
	return r->n_prompt > 0 ? RC_OK : err_set(e, RC_INPUT, "the prompt is empty");
}

static void pass_time(struct sched *s, int64_t now_ns)
{
	if (now_ns > s->known_ns)
		s->known_ns = now_ns;
}

static void batch_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->waiting, r);
	r->slot.place = WAITS;
	pass_time(s, r->arrival_ns);
}

/* Its lane stays: generate() does not know that the client has left. */
static void batch_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	reqlist_remove(r->slot.place == WAITS ? &s->waiting : &s->batch, r);
}

/* When the batch of those who wait forms at the latest; INT64_MAX if nobody does. */
static int64_t deadline_ns(const struct sched *s)
{
	return s->waiting.head ? s->waiting.head->arrival_ns + s->max_wait_ns : INT64_MAX;
}

static void form_batch(struct sched *s)
{
	struct genreq *r;

	s->lane_tokens = 0;
	while (s->batch.n < s->batch_size && (r = s->waiting.head)) {
		reqlist_remove(&s->waiting, r);
		reqlist_push_back(&s->batch, r);
		r->slot.place = IN_BATCH;
		if (r->n_prompt > s->lane_tokens)
			s->lane_tokens = r->n_prompt;
	}
	s->lanes = s->batch.n;
}

static void count_padding(const struct sched *s, struct step_plan *p, bool prefill)
{
	int64_t tokens = (int64_t)s->lanes * s->lane_tokens;

	if (prefill) {
		p->prefill_tokens = tokens;
		p->prefill_attention = (double)tokens * s->lane_tokens / 2;
	} else {
		p->decode_seqs = s->lanes;
		p->decode_kv_tokens = tokens;
	}
}

static bool batch_plan(struct sched *s, struct step_plan *p)
{
	bool prefill;

	if (s->in_flight)
		return false;
	p->start_ns = s->last_end_ns;
	if (s->batch.n > 0) {
		s->lane_tokens++;
	} else if (s->waiting.n >= s->batch_size) {
		form_batch(s);
	} else if (s->waiting.n > 0 && s->known_ns >= deadline_ns(s)) {
		if (deadline_ns(s) > p->start_ns)
			p->start_ns = deadline_ns(s);
		form_batch(s);
	} else {
		return false;
	}
	prefill = s->batch.head->state == GENREQ_QUEUED;
	for (struct genreq *r = s->batch.head; r; r = r->slot.next) {
		step_plan_add(p, r, r->slot.computed, r->n_tokens - r->slot.computed);
		r->slot.in_step = true;
		if (r->ready_ns > p->start_ns)
			p->start_ns = r->ready_ns;
	}
	count_padding(s, p, prefill);
	for (struct genreq *r = s->batch.head; prefill && r; r = r->slot.next) {
		genreq_set_state(r, GENREQ_PREFILL);
		r->first_scheduled_ns = p->start_ns;
	}
	p->id = (uint64_t)s->steps++;
	s->in_flight = true;
	return true;
}

static void batch_commit(struct sched *s, struct step_plan *p, const int32_t *token, int64_t end_ns)
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
			reqlist_remove(&s->batch, r);
	}
	if (token)
		s->last_end_ns = end_ns;
	pass_time(s, end_ns);
}

static int64_t batch_wake_ns(const struct sched *s)
{
	return s->in_flight || s->batch.n > 0 ? INT64_MAX : deadline_ns(s);
}

static void batch_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->batch.n,
		.waiting = s->waiting.n,
		.max_model_len = INT32_MAX,
		.steps = s->steps,
	};
}

const struct sched_type sched_static_batch = {
	.name = "static-batch",
	.help = "Transformers generate(): a padded batch runs until its last request has ended, "
		"then the next one forms",
	.knobs = knobs,
	.open = batch_open,
	.close = batch_close,
	.check = batch_check,
	.add = batch_add,
	.remove = batch_remove,
	.plan = batch_plan,
	.commit = batch_commit,
	.stats = batch_stats,
	.wake_ns = batch_wake_ns,
	.wake = pass_time,
};
