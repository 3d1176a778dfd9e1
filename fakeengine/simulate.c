/*
 * Owns the requests of an engine in virtual time, its steps while they are computed, and the steps
 * whose tokens are on their way out. Runs on the thread of its loop. Must not know text, HTTP or
 * why requests come; asks no policy for its name.
 *
 * All tokens of a step leave together, so what waits to leave is a queue of steps, not of tokens.
 * Of a policy that leaves steady requests out of its plans (sched.h) a step has only those items to
 * which something happens. The others' tokens are told when theirs is, or when somebody asks: their
 * times are those of the last steps, all of which stand in one log. Nothing is allocated or moved
 * per token.
 */
#include "simulate.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "answers.h"
#include "wordcodec.h"

/* Words are made several at a time: it is how they come cheapest (wordcodec.h). */
#define WORDS_AHEAD 8

#define MAX_RUN_STEPS 4096

#define AT_ONCE 8 /* tokens that nobody reads */

/* Steps in the log before those of the past are told and forgotten. */
#define LOG_STEPS 65536

#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

/* What the simulation keeps of a request. */
struct flight {
	struct sim *s;
	struct genreq *r;
	struct timer ingest;
	struct flight *next_cancelled;
	bool cancelled;		   /* but part of a step that is being computed */
	int32_t n_told;		   /* of its output tokens, to the sink */
	int32_t word[WORDS_AHEAD]; /* the tokens [n_words - WORDS_AHEAD, n_words) it will make */
	int32_t n_words;
	struct flight *prev, *next;
};

/* A step: computed until its timer goes off, then waiting for its tokens to leave. */
struct sim_step {
	struct step_plan plan;
	struct sim *s;
	struct timer timer;
	int32_t *token; /* 1 + max_draft an item */
	size_t cap_tokens;
	int64_t due_ns;	 /* when its tokens leave */
	int64_t log_end; /* it is the last step before this place in the log */
	bool ends;	 /* the last token of a request is among them */
	struct sim_step *next, *next_all;
};

/* When the tokens of each step leave, of terse plans. Places count from the first step on. */
struct step_log {
	int64_t *due_ns; /* of places [first, end) */
	int64_t first, end;
	int64_t n_left; /* tokens of the steps before it have left, as far as they are told */
	int64_t cap;
};

struct sim {
	struct sim_setup c;
	struct evloop *loop;
	const struct sim_sink *sink;
	struct sched *sched;
	struct cost_clock clock;
	struct flight flights;	  /* head of a ring */
	struct flight *cancelled; /* that leave with the end of their step */
	int32_t n_flights;
	int32_t n_computing;  /* steps */
	int32_t max_requests; /* at once; 0 = no limit */
	struct sim_step *all, *idle;
	struct sim_step *out, **out_end; /* FIFO: their tokens have not left */
	int64_t *end_ns;		 /* scratch of run_ahead() */
	bool terse;
	int32_t n_steady; /* of the last plan */
	struct step_log log;
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
	f->n_told = genreq_output_tokens(r);
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
	if (r->slot.in_step || (r->slot.steady && s->n_computing > 0)) {
		if (!f->cancelled) {
			f->next_cancelled = s->cancelled;
			s->cancelled = f;
		}
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

/* Its item in p, or the number of items, if it is steady; -1: it is in another step. */
static int32_t place_in(const struct step_plan *p, const struct genreq *r)
{
	for (int32_t i = 0; i < p->n_items; i++)
		if (p->item[i].req == r)
			return i;
	return r->slot.steady ? p->n_items : -1;
}

/* The one of those in p whom the policy has had for longest. */
static struct flight **first_cancelled(struct sim *s, const struct step_plan *p)
{
	struct flight **first = NULL;
	int32_t at = 0;

	for (struct flight **f = &s->cancelled; *f; f = &(*f)->next_cancelled) {
		const struct genreq *r = (*f)->r, *best = first ? (*first)->r : NULL;
		int32_t place = place_in(p, r);

		if (place < 0 || (best && (r->slot.order > best->slot.order ||
					   (r->slot.order == best->slot.order && place > at))))
			continue;
		first = f;
		at = place;
	}
	return first;
}

/* Requests that were cancelled while the step was computed leave with its end, in order of
 * admission, as the policy had them. */
static void drop_cancelled(struct sim *s, struct step_plan *p)
{
	struct flight **link;

	while ((link = first_cancelled(s, p))) {
		struct flight *f = *link;
		int32_t at = place_in(p, f->r);

		*link = f->next_cancelled;
		if (at < p->n_items)
			p->item[at].req = NULL;
		else
			s->generation_tokens--; /* which are counted with those of the others */
		if (f->r->state != GENREQ_DONE)
			s->c.policy->remove(s->sched, f->r);
		forget(f->r);
	}
}

/* What is left in the plan are those who have something to say: a token, or that the policy gave
 * them up. False if there are none. *ends: somebody's last is among it. */
static bool count_tokens(struct sim *s, struct step_plan *p, bool *ends)
{
	bool any = false;

	*ends = false;
	s->generation_tokens += p->n_steady;

	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item *it = &p->item[i];

		if (!it->req)
			continue;
		if (!it->emits && it->req->state != GENREQ_DONE) {
			it->req = NULL;
			continue;
		}
		any = true;
		*ends |= it->req->state == GENREQ_DONE;
		if (!it->emits)
			continue;
		s->generation_tokens += 1 + it->n_accepted;
		if (it->prefill && genreq_output_tokens(it->req) == 1)
			s->prompt_tokens += it->req->n_prompt;
	}
	return any;
}

static void queue_out(struct sim *s, struct sim_step *step)
{
	step->next = NULL;
	*s->out_end = step;
	s->out_end = &step->next;
}

static void log_add(struct step_log *l, int64_t due_ns)
{
	if (l->end - l->first == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 1024;
		l->due_ns = xreallocarray(l->due_ns, (size_t)l->cap, sizeof(*l->due_ns));
	}
	l->due_ns[l->end++ - l->first] = due_ns;
}

static const int64_t *log_at(const struct step_log *l, int64_t place)
{
	return l->due_ns + (place - l->first);
}

/* A step is over: for the log, and for whoever counts gaps. */
static void step_made(struct sim *s, int32_t n_steady, int64_t end_ns)
{
	int64_t due_ns = end_ns + s->c.egress_ns;

	if (n_steady > 0 && s->c.on_gap)
		s->c.on_gap(s->c.owner, due_ns - *log_at(&s->log, s->log.end - 1), n_steady);
	if (s->terse)
		log_add(&s->log, due_ns);
}

/* Before their new tokens are theirs. */
static void tell_gaps(const struct sim *s, const struct step_plan *p, int64_t end_ns)
{
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct genreq *r = p->item[i].req;

		if (p->item[i].emits && genreq_output_tokens(r) > 0)
			s->c.on_gap(s->c.owner, end_ns - r->last_token_ns, 1);
	}
}

static void on_step_end(struct timer *t, int64_t now_ns)
{
	struct sim_step *step = CONTAINER(t, struct sim_step, timer);
	struct sim *s = step->s;

	(void)now_ns; /* the step ends at its deadline */
	s->n_computing--;
	if (s->c.on_gap)
		tell_gaps(s, &step->plan, t->at_ns);
	s->c.policy->commit(s->sched, &step->plan, step->token, t->at_ns);
	step_made(s, step->plan.n_steady, t->at_ns);
	if (s->cancelled)
		drop_cancelled(s, &step->plan);
	step->due_ns = t->at_ns + s->c.egress_ns;
	step->log_end = s->log.end;
	if (count_tokens(s, &step->plan, &step->ends))
		queue_out(s, step);
	else
		step_give_back(s, step);
	evloop_defer(s->loop, &s->turn_end);
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
static void unread_tokens(const struct genreq *r, int32_t at, int32_t n, int32_t *out)
{
	uint64_t of_answer = (r->seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t stride = (uint32_t)of_answer | 1;
	uint32_t next = (uint32_t)(of_answer >> 32) + (uint32_t)at * stride;

	/* several at a time, which the compiler makes a vector of */
	for (; n >= AT_ONCE; n -= AT_ONCE, out += AT_ONCE, next += AT_ONCE * stride)
		for (uint32_t k = 0; k < AT_ONCE; k++)
			out[k] = (int32_t)(UINT32_C(0x40000000) | (next + k * stride) >> 2);
	for (int32_t i = 0; i < n; i++, next += stride)
		out[i] = (int32_t)(UINT32_C(0x40000000) | next >> 2);
}

/* Only tokens that may end an answer, or repeat a text, have to be the words they are. */
static bool is_read(const struct genreq *r)
{
	return r->script || genreq_has_stop_ids(r);
}

static void tokens_from(const struct genreq *r, int32_t at, int32_t n, int32_t *out)
{
	if (is_read(r))
		answer_tokens(r, at, n, out);
	else
		unread_tokens(r, at, n, out);
}

/* For a policy that has left r out for n steps. */
static void append_tokens(struct genreq *r, int32_t n)
{
	int32_t at = genreq_output_tokens(r);

	tokens_from(r, at, n, genreq_extend(r, n));
}

static int32_t word_at(const struct genreq *r, int32_t at)
{
	int32_t from = at - at % WORDS_AHEAD;
	struct flight *f = r->flight;

	if (!is_read(r)) {
		int32_t token;

		unread_tokens(r, at, 1, &token);
		return token;
	}
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
	size_t tokens = (size_t)p->n_items * (size_t)each + 1; /* none at all: the step is lost */

	if (step->cap_tokens < tokens) {
		step->cap_tokens = 2 * tokens;
		step->token = xreallocarray(step->token, step->cap_tokens, sizeof(*step->token));
	}
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
		if (step->ends && step->due_ns < ns)
			ns = step->due_ns;
	return ns;
}

/* When the step just planned ends. As long as the batch is known to stay what it is, and nobody
 * comes, goes or looks, the steps behind it are taken on the way, each with the cost it has by
 * itself: the same numbers as one by one, at a fraction of the work. p becomes the one behind them.
 */
static int64_t run_ahead(struct sim *s, struct step_plan *p)
{
	int64_t end_ns = p->start_ns + cost_clock_step_ns(&s->clock, p), quiet_ns;
	struct step_plan next = *p; /* its numbers move on */
	int32_t most, n = 0;

	if (p->n_steady == 0)
		return end_ns;
	quiet_ns = quiet_until(s);
	if (end_ns >= quiet_ns)
		return end_ns;
	most = s->c.policy->horizon(s->sched, p);
	if (most > MAX_RUN_STEPS)
		most = MAX_RUN_STEPS;
	while (n + 1 < most && end_ns < quiet_ns) {
		s->end_ns[n++] = end_ns;
		step_made(s, p->n_steady, end_ns);
		next.decode_kv_tokens += next.decode_seqs;
		end_ns += cost_clock_step_ns(&s->clock, &next);
	}
	if (n > 0) {
		s->c.policy->repeat(s->sched, p, n, s->end_ns);
		s->generation_tokens += (int64_t)n * p->n_steady;
	}
	return end_ns;
}

/* Those who were left out so far may be items now, or preempted, or have to wait: their tokens up
 * to here are those of steps one after the other, which later ones need not be. */
static void queue_left_out(struct sim *s)
{
	struct sim_step *step = step_take(s);

	for (struct flight *f = s->flights.next; f != &s->flights; f = f->next) {
		if (f->r->state == GENREQ_DONE || genreq_output_tokens(f->r) <= f->n_told)
			continue; /* who ends has an item that brings all */
		step_plan_add(&step->plan, f->r, f->r->n_tokens - 1, 1);
		step->plan.item[step->plan.n_items - 1].computed--; /* it yielded the last one */
	}
	step->ends = false;
	step->log_end = s->log.end;
	if (step->plan.n_items == 0) {
		step_give_back(s, step);
		return;
	}
	step->due_ns = *log_at(&s->log, s->log.end - 1);
	queue_out(s, step);
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
		if (s->n_steady > 0 && step->plan.n_steady == 0)
			queue_left_out(s);
		s->n_steady = step->plan.n_steady;
		s->n_computing++;
		evloop_timer(s->loop, &step->timer, run_ahead(s, &step->plan));
		make_tokens(step);
	}
}

/* ---- the way out ---- */

/* Tells r's tokens up to its made-th, which was made in the last step before place `end` of the
 * log: those of the steps before n_left. */
static void tell_up_to(struct sim *s, struct genreq *r, int32_t made, int64_t end, int64_t n_left)
{
	struct flight *f = r->flight;
	int64_t first = end - (made - f->n_told), n = (end < n_left ? end : n_left) - first;

	if (n <= 0)
		return;
	f->n_told += (int32_t)n;
	s->sink->on_tokens(r, log_at(&s->log, first), (int32_t)n);
}

/* How many r has made behind its item. */
static int32_t made_behind(const struct step_item *it)
{
	return it->computed + it->n_tokens + 1 - it->req->n_prompt;
}

/* By the end of the turn in which they were due. */
static int64_t n_left(const struct sim *s)
{
	int64_t now_ns = evloop_now_ns(s->loop), n = s->log.n_left;

	while (n < s->log.end && *log_at(&s->log, n) < now_ns)
		n++;
	return n;
}

void sim_catch_up(struct sim *s, struct genreq *r)
{
	int32_t told_of = r->flight->n_told; /* ... or about to be, by steps in the queue */
	int64_t left;

	if (!s->terse)
		return;
	left = n_left(s);
	for (struct sim_step *step = s->out; step; step = step->next) {
		for (int32_t i = 0; i < step->plan.n_items; i++) {
			const struct step_item *it = &step->plan.item[i];

			if (it->req != r || !it->emits)
				continue;
			told_of = made_behind(it);
			tell_up_to(s, r, told_of, step->log_end, left);
		}
	}
	if (r->slot.steady)
		s->c.policy->catch_up(s->sched, r);
	if (r->flight->n_told == told_of && genreq_output_tokens(r) > told_of)
		tell_up_to(s, r, genreq_output_tokens(r), s->log.end, left);
}

static void tell_tokens(struct sim *s, const struct sim_step *step, struct step_item *it)
{
	if (s->terse)
		tell_up_to(s, it->req, made_behind(it), step->log_end, step->log_end);
	else
		s->sink->on_tokens(it->req, &step->due_ns, 1);
}

/* In the queue: a reader may cancel somebody. */
static void deliver_step(struct sim *s, struct sim_step *step)
{
	for (int32_t i = 0; i < step->plan.n_items; i++) {
		struct step_item *it = &step->plan.item[i];
		struct genreq *r = it->req;
		bool last;

		if (!r)
			continue;
		/* It may be over already while earlier tokens leave: its last stands at the end. */
		last = step->ends && r->state == GENREQ_DONE &&
		       (!it->emits ||
			it->computed + it->n_tokens + it->n_accepted == r->n_tokens - 1);
		if (it->emits)
			tell_tokens(s, step, it);
		if (last && it->req) { /* else it was cancelled by its own reader */
			s->sink->on_done(r, step->due_ns);
			forget(r);
		}
	}
}

/* Of what has left, all is told, and the rest kept. */
static void shorten_log(struct sim *s)
{
	struct step_log *l = &s->log;
	int64_t from;

	if (l->end - l->first < LOG_STEPS)
		return;
	for (struct flight *f = s->flights.next; f != &s->flights; f = f->next)
		sim_catch_up(s, f->r);
	from = n_left(s);
	if (from == l->end)
		from--; /* whose time the next gap begins at */
	memmove(l->due_ns, log_at(l, from), (size_t)(l->end - from) * sizeof(*l->due_ns));
	l->first = from;
}

static void deliver(struct sim *s)
{
	int64_t now_ns = evloop_now_ns(s->loop);

	evloop_timer_cancel(s->loop, &s->egress);
	while (s->out && s->out->due_ns <= now_ns) {
		struct sim_step *step = s->out;

		deliver_step(s, step);
		s->out = step->next;
		if (!s->out)
			s->out_end = &s->out;
		step_give_back(s, step);
	}
	if (s->out)
		evloop_timer(s->loop, &s->egress, s->out->due_ns);
	while (s->log.n_left < s->log.end && *log_at(&s->log, s->log.n_left) <= now_ns)
		s->log.n_left++;
	shorten_log(s);
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
	s->terse = c->policy->set_terse && !c->step_by_step && at_start.max_draft == 0;
	if (s->terse) {
		c->policy->set_terse(s->sched, append_tokens);
		s->end_ns = xcalloc(MAX_RUN_STEPS, sizeof(*s->end_ns));
	}
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
		free(step);
	}
	while (s->flights.next != &s->flights) {
		evloop_timer_cancel(s->loop, &s->flights.next->ingest);
		forget(s->flights.next->r);
	}
	free(s->end_ns);
	free(s->log.due_ns);
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
