/*
 * Owns the requests of an engine in virtual time, its steps while they are computed, and the steps
 * whose tokens are on their way out. Runs on the thread of its loop. Must not know text, HTTP or
 * why requests come; asks no policy for its name.
 *
 * All tokens of a step leave together, so what waits to leave is a queue of steps, not of tokens,
 * and nothing is allocated or moved per token.
 */
#include "simulate.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "answers.h"
#include "wordcodec.h"

/* Words are made several at a time: it is how they come cheapest (wordcodec.h). */
#define WORDS_AHEAD 8

/* Tokens of a run at most: they stay in the cache from their making to their end. */
#define MAX_RUN_TOKENS 65536

#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

/* What the simulation keeps of a request. */
struct flight {
	struct sim *s;
	struct genreq *r;
	struct timer ingest;
	bool cancelled;		   /* but part of a step that is being computed */
	int32_t word[WORDS_AHEAD]; /* the tokens [n_words - WORDS_AHEAD, n_words) it will make */
	int32_t n_words;
	struct flight *prev, *next;
};

/* A step: computed until its timer goes off, then waiting for its tokens to leave. Or a run of
 * equal steps, which is over when it is made and only waits. */
struct sim_step {
	struct step_plan plan;
	struct sim *s;
	struct timer timer;
	int32_t *token; /* 1 + max_draft an item, or in a run n_due an item */
	size_t cap_tokens;
	int64_t *due_ns; /* when the tokens leave */
	int32_t n_due, cap_due;
	int32_t n_left; /* of them: so many tokens an item have left */
	bool ends;	/* the last token of a request is among them */
	struct sim_step *next, *next_all;
};

struct sim {
	struct sim_setup c;
	struct evloop *loop;
	const struct sim_sink *sink;
	struct sched *sched;
	struct cost_clock clock;
	struct flight flights; /* head of a ring */
	int32_t n_flights, n_cancelled;
	int32_t max_requests; /* at once; 0 = no limit */
	struct sim_step *all, *idle;
	struct sim_step *out, **out_end; /* FIFO: their tokens have not left */
	int64_t *end_ns;		 /* scratch of run_ahead() */
	int32_t cap_ends;
	struct deferred turn_end;
	struct timer egress, wake; /* wake: the policy waits for a time to come */
	int32_t max_len;
	int64_t prompt_tokens, generation_tokens;
};

/* ---- requests ---- */

static void flight_add(struct sim *s, struct flight *f)
{
	f->prev = s->flights.prev;
	f->next = &s->flights;
	f->prev->next = f->next->prev = f;
	s->n_flights++;
}

/* The policy has let go of r. */
static void forget(struct genreq *r)
{
	struct flight *f = r->flight;

	f->prev->next = f->next;
	f->next->prev = f->prev;
	f->s->n_flights--;
	free(f);
	genreq_free(r);
}

static void enter_policy(struct flight *f)
{
	f->s->c.policy->add(f->s->sched, f->r);
	evloop_defer(f->s->loop, &f->s->turn_end);
}

static void on_ingested(struct timer *t, int64_t now_ns)
{
	(void)now_ns;
	enter_policy(CONTAINER(t, struct flight, ingest));
}

enum rc sim_submit(struct sim *s, struct genreq *r, struct err *e)
{
	struct flight *f;
	enum rc rc;

	if (s->max_requests > 0 && s->n_flights >= s->max_requests)
		return err_set(e, RC_LIMIT,
			       "%d requests are in the engine already, and it takes no more",
			       s->n_flights);
	rc = s->c.policy->check(s->sched, r, e);
	if (rc)
		return rc;
	f = xcalloc(1, sizeof(*f));
	f->s = s;
	f->r = r;
	f->ingest.fn = on_ingested;
	flight_add(s, f);
	r->flight = f;
	r->arrival_ns = r->ready_ns = evloop_now_ns(s->loop) + s->c.ingest_ns;
	if (s->c.ingest_ns > 0)
		evloop_timer(s->loop, &f->ingest, r->arrival_ns);
	else
		enter_policy(f);
	return RC_OK;
}

/* Tokens of r that are on their way out stay behind. */
static void silence(struct sim *s, const struct genreq *r)
{
	for (struct sim_step *step = s->out; step; step = step->next)
		for (int32_t i = 0; i < step->plan.n_items; i++)
			if (step->plan.item[i].req == r)
				step->plan.item[i].req = NULL;
}

void sim_cancel(struct sim *s, struct genreq *r)
{
	struct flight *f = r->flight;

	silence(s, r);
	if (r->slot.in_step) {
		s->n_cancelled += !f->cancelled;
		f->cancelled = true;
		return;
	}
	if (timer_queued(&f->ingest)) {
		evloop_timer_cancel(s->loop, &f->ingest);
	} else if (r->state != GENREQ_DONE) {
		s->c.policy->remove(s->sched, r);
		evloop_defer(s->loop, &s->turn_end); /* its place may be another's now */
	}
	forget(r);
}

void *sim_owner(const struct genreq *r)
{
	return r->flight->s->c.owner;
}

/* ---- steps ---- */

static void step_give_back(struct sim *s, struct sim_step *step)
{
	step->next = s->idle;
	s->idle = step;
}

/* Requests that were cancelled while the step was computed leave with its end. */
static void drop_cancelled(struct sim *s, struct step_plan *p)
{
	for (int32_t i = 0; i < p->n_items; i++) {
		struct genreq *r = p->item[i].req;

		if (!r->flight->cancelled)
			continue;
		if (r->state != GENREQ_DONE)
			s->c.policy->remove(s->sched, r);
		s->n_cancelled--;
		p->item[i].req = NULL;
		forget(r);
	}
}

/* What is left in the plan are those who have something to say: a token, or that the policy gave
 * them up. True if somebody's last is among it. */
static bool count_tokens(struct sim *s, struct step_plan *p)
{
	bool ends = false;

	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item *it = &p->item[i];

		if (!it->req)
			continue;
		ends |= it->req->state == GENREQ_DONE;
		if (!it->emits) {
			if (it->req->state != GENREQ_DONE)
				it->req = NULL;
			continue;
		}
		s->generation_tokens += 1 + it->n_accepted;
		if (it->prefill && genreq_output_tokens(it->req) == 1)
			s->prompt_tokens += it->req->n_prompt;
	}
	return ends;
}

/* Room for the tokens of n steps and the times they leave. */
static void step_reserve(struct sim_step *step, int32_t n)
{
	size_t tokens = (size_t)step->plan.n_items * (size_t)n;

	if (step->cap_tokens < tokens) {
		step->cap_tokens = 2 * tokens;
		step->token = xreallocarray(step->token, step->cap_tokens, sizeof(*step->token));
	}
	if (step->cap_due < n) {
		step->cap_due = 2 * n;
		step->due_ns =
			xreallocarray(step->due_ns, (size_t)step->cap_due, sizeof(*step->due_ns));
	}
}

static void queue_out(struct sim *s, struct sim_step *step)
{
	step->n_left = 0;
	step->next = NULL;
	*s->out_end = step;
	s->out_end = &step->next;
	evloop_defer(s->loop, &s->turn_end);
}

static void on_step_end(struct timer *t, int64_t now_ns)
{
	struct sim_step *step = CONTAINER(t, struct sim_step, timer);
	struct sim *s = step->s;

	(void)now_ns; /* the step ends at its deadline */
	s->c.policy->commit(s->sched, &step->plan, step->token, t->at_ns);
	if (s->n_cancelled > 0)
		drop_cancelled(s, &step->plan);
	step->ends = count_tokens(s, &step->plan);
	step->due_ns[0] = t->at_ns + s->c.egress_ns;
	step->n_due = 1;
	queue_out(s, step);
}

static struct sim_step *step_take(struct sim *s)
{
	struct sim_step *step = s->idle;

	if (step) {
		s->idle = step->next;
		step_plan_clear(&step->plan);
		return step;
	}
	step = xcalloc(1, sizeof(*step));
	step_plan_init(&step->plan);
	step->s = s;
	step->timer.fn = on_step_end;
	step->next_all = s->all;
	s->all = step;
	return step;
}

/* Filler that nobody reads is not made: what matters of it is which tokens are the same, and of the
 * same answers they are. An id beyond all vocabularies, so that no prompt holds it. */
static int32_t unread_token(const struct genreq *r, int32_t at)
{
	uint64_t of_answer = (r->seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t first = (uint32_t)(of_answer >> 32), stride = (uint32_t)of_answer | 1;

	return (int32_t)(UINT32_C(0x40000000) | (first + (uint32_t)at * stride) >> 2);
}

/* Only tokens that may end an answer, or repeat a text, have to be the words they are. */
static bool is_read(const struct genreq *r)
{
	return r->script || genreq_has_stop_ids(r);
}

static void tokens_from(const struct genreq *r, int32_t at, int32_t n, int32_t *out)
{
	if (is_read(r)) {
		answer_tokens(r, at, n, out);
		return;
	}
	for (int32_t i = 0; i < n; i++)
		out[i] = unread_token(r, at + i);
}

static int32_t word_at(const struct genreq *r, int32_t at)
{
	int32_t from = at - at % WORDS_AHEAD;
	struct flight *f = r->flight;

	if (!is_read(r))
		return unread_token(r, at);
	if (f->n_words != from + WORDS_AHEAD) {
		answer_tokens(r, from, WORDS_AHEAD, f->word);
		f->n_words = from + WORDS_AHEAD;
	}
	return f->word[at % WORDS_AHEAD];
}

static void make_tokens(struct sim_step *step)
{
	const struct step_plan *p = &step->plan;

	int32_t each = 1 + p->max_draft;

	step_reserve(step, each);
	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item *it = &p->item[i];
		int32_t *token = step->token + (size_t)i * (size_t)each;
		int32_t at = genreq_output_tokens(it->req);

		if (it->n_draft > 0)
			it->n_accepted = drafter_accepted(step->s->c.drafter, it->req->seed, at,
							  it->n_draft);
		for (int32_t k = 0; it->emits && k <= it->n_accepted; k++)
			token[k] = word_at(it->req, at + k);
	}
}

/* ---- runs of equal steps ---- */

/* Before that time nobody comes, goes or looks. */
static int64_t quiet_until(const struct sim *s)
{
	int64_t ns = evloop_next_ns(s->loop);

	for (const struct sim_step *step = s->out; step; step = step->next)
		if (step->ends && step->due_ns[0] < ns)
			ns = step->due_ns[0];
	return ns;
}

/* n steps of p's batch have ended at end_ns[]; p becomes the one behind them. */
static void take_run(struct sim *s, struct step_plan *p, const int64_t *end_ns, int32_t n)
{
	struct sim_step *run = step_take(s);

	for (int32_t i = 0; i < p->n_items; i++)
		step_plan_add(&run->plan, p->item[i].req, p->item[i].computed, 1);
	step_reserve(run, n);
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct genreq *r = p->item[i].req;

		tokens_from(r, genreq_output_tokens(r), n, run->token + (size_t)i * (size_t)n);
	}
	s->c.policy->repeat(s->sched, p, n, run->token, end_ns);
	for (int32_t k = 0; k < n; k++)
		run->due_ns[k] = end_ns[k] + s->c.egress_ns;
	run->n_due = n;
	run->ends = false;
	s->generation_tokens += (int64_t)n * p->n_items;
	queue_out(s, run);
}

/* When the step just planned ends. As long as the batch is known to stay what it is, and nobody
 * comes, goes or looks, the steps behind it are taken on the way, each with the cost it has by
 * itself: the same numbers as one by one, at a fraction of the work. */
static int64_t run_ahead(struct sim *s, struct step_plan *p)
{
	int64_t end_ns = p->start_ns + cost_clock_step_ns(&s->clock, p), quiet_ns;
	struct step_plan next = *p; /* its numbers move on; its items are p's */
	int32_t most, n = 0;

	if (s->c.step_by_step || !s->c.policy->horizon)
		return end_ns;
	quiet_ns = quiet_until(s);
	if (end_ns >= quiet_ns)
		return end_ns;
	most = s->c.policy->horizon(s->sched, p);
	if (most > MAX_RUN_TOKENS / p->n_items)
		most = MAX_RUN_TOKENS / p->n_items;
	while (n + 1 < most && end_ns < quiet_ns) {
		if (n == s->cap_ends) {
			s->cap_ends = s->cap_ends ? 2 * s->cap_ends : 256;
			s->end_ns =
				xreallocarray(s->end_ns, (size_t)s->cap_ends, sizeof(*s->end_ns));
		}
		s->end_ns[n++] = end_ns;
		next.decode_kv_tokens += next.decode_seqs;
		end_ns += cost_clock_step_ns(&s->clock, &next);
	}
	if (n > 0)
		take_run(s, p, s->end_ns, n);
	return end_ns;
}

/* As many steps as the policy allows. */
static void on_wake(struct timer *t, int64_t now_ns)
{
	struct sim *s = CONTAINER(t, struct sim, wake);

	s->c.policy->wake(s->sched, now_ns);
	evloop_defer(s->loop, &s->turn_end);
}

static void set_wake(struct sim *s)
{
	int64_t at_ns = s->c.policy->wake_ns ? s->c.policy->wake_ns(s->sched) : INT64_MAX;

	if (at_ns == INT64_MAX)
		evloop_timer_cancel(s->loop, &s->wake);
	else
		evloop_timer(s->loop, &s->wake, at_ns);
}

static void pump(struct sim *s)
{
	for (;;) {
		struct sim_step *step = step_take(s);

		if (!s->c.policy->plan(s->sched, &step->plan)) {
			step_give_back(s, step);
			set_wake(s);
			return;
		}
		evloop_timer(s->loop, &step->timer, run_ahead(s, &step->plan));
		make_tokens(step);
	}
}

/* ---- the way out ---- */

/* The next n tokens of each item. */
static void deliver_tokens(struct sim *s, struct sim_step *step, int32_t n)
{
	const int64_t *due_ns = step->due_ns + step->n_left;

	for (int32_t i = 0; i < step->plan.n_items; i++) {
		const struct step_item *it = &step->plan.item[i];
		struct genreq *r = it->req;
		bool last;

		if (!r)
			continue;
		/* It may be over already while earlier tokens leave: its last stands at the end. */
		last = step->ends && r->state == GENREQ_DONE &&
		       (!it->emits ||
			it->computed + it->n_tokens + it->n_accepted == r->n_tokens - 1);
		if (it->emits)
			s->sink->on_tokens(r, due_ns, n);
		if (last && it->req) { /* else it was cancelled by its own reader */
			s->sink->on_done(r, due_ns[0]);
			forget(r);
		}
	}
	step->n_left += n;
}

/* How many tokens an item of the first step in the queue may leave. Those that nobody does anything
 * about may do so before their time has come, if nothing else happens until then. */
static int32_t may_leave(const struct sim *s, const struct sim_step *step)
{
	int64_t now_ns = evloop_now_ns(s->loop), before_ns = now_ns + 1;
	int32_t n = step->n_left;

	if (!step->ends && !s->c.step_by_step && evloop_next_ns(s->loop) > before_ns)
		before_ns = evloop_next_ns(s->loop);
	while (n < step->n_due && step->due_ns[n] < before_ns)
		n++;
	return n - step->n_left;
}

static void deliver(struct sim *s)
{
	evloop_timer_cancel(s->loop, &s->egress);
	while (s->out) {
		struct sim_step *step = s->out;
		int32_t n = may_leave(s, step);

		if (n > 0)
			deliver_tokens(s, step, n); /* in the queue: a reader may cancel somebody */
		if (step->n_left < step->n_due) {
			evloop_timer(s->loop, &s->egress, step->due_ns[step->n_left]);
			break;
		}
		s->out = step->next;
		if (!s->out)
			s->out_end = &s->out;
		step_give_back(s, step);
	}
}

static void on_turn_end(struct deferred *d)
{
	struct sim *s = CONTAINER(d, struct sim, turn_end);

	pump(s);
	deliver(s);
}

static void on_egress(struct timer *t, int64_t now_ns)
{
	struct sim *s = CONTAINER(t, struct sim, egress);

	(void)now_ns;
	evloop_defer(s->loop, &s->turn_end);
}

/* ---- the engine ---- */

enum rc sim_new(struct sim **out, struct evloop *loop, const struct sim_setup *c,
		const struct sim_sink *sink, struct err *e)
{
	struct sim *s = xcalloc(1, sizeof(*s));
	struct sched_stats at_start;
	enum rc rc;

	*out = NULL;
	s->c = *c;
	s->loop = loop;
	s->sink = sink;
	s->flights.prev = s->flights.next = &s->flights;
	s->out_end = &s->out;
	s->turn_end.fn = on_turn_end;
	s->wake.fn = on_wake;
	s->egress.fn = on_egress;
	cost_clock_init(&s->clock, c->cost, &c->noise, c->seed);
	rc = c->policy->open(&s->sched, c->knobs, wordcodec.eos_token, e);
	if (rc) {
		free(s);
		return rc;
	}
	c->policy->stats(s->sched, &at_start);
	s->max_len = at_start.max_model_len;
	s->max_requests = at_start.max_requests;
	*out = s;
	return RC_OK;
}

void sim_free(struct sim *s)
{
	if (!s)
		return;
	evloop_undefer(s->loop, &s->turn_end);
	evloop_timer_cancel(s->loop, &s->egress);
	evloop_timer_cancel(s->loop, &s->wake);
	s->c.policy->close(s->sched);
	while (s->all) {
		struct sim_step *step = s->all;

		s->all = step->next_all;
		evloop_timer_cancel(s->loop, &step->timer);
		step_plan_release(&step->plan);
		free(step->token);
		free(step->due_ns);
		free(step);
	}
	while (s->flights.next != &s->flights) {
		evloop_timer_cancel(s->loop, &s->flights.next->ingest);
		forget(s->flights.next->r);
	}
	free(s->end_ns);
	free(s);
}

void sim_stats(const struct sim *s, struct sim_stats *out)
{
	s->c.policy->stats(s->sched, &out->sched);
	out->prompt_tokens = s->prompt_tokens;
	out->generation_tokens = s->generation_tokens;
}

int32_t sim_max_len(const struct sim *s)
{
	return s->max_len;
}
