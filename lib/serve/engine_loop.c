/*
 * Owns the requests between submit and done, the steps in flight, and the tokens on their way out.
 * Loop thread. Must not know sockets or text; asks neither the policy nor the executor which one it
 * is.
 *
 * What happens in a turn of the event loop: requests are read and added to the policy, steps end
 * and are committed. When the turn ends, first the next steps are planned and submitted, so that
 * the executor works while we send, and all that came in meanwhile shares them; then the tokens go
 * out in one pass. A policy that plans nothing may name a time at which it wants to be asked again.
 */
#include "engine_loop.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/prefetch.h"
#include "base/units.h"
#include "engine_stats.h"
#include "truth.h"

enum flight_phase {
	FLIGHT_INGEST, /* on the way in: its timer is running, the policy has not seen it */
	FLIGHT_KNOWN,  /* the policy has it */
	FLIGHT_OVER,   /* the policy has let go of it; on_done is on its way */
};

/* The timer of a request on its way in. */
struct ingest {
	struct timer timer;
	struct flight *f;
};

/* A request as the engine loop sees it. Outlives the genreq as long as emissions point here. What
 * each token reads stands first. */
struct flight {
	struct genreq *r; /* NULL once reported */
	const struct engine_sink *sink;
	int64_t last_token_ns;
	int32_t n_made, n_sent; /* output tokens */
	int32_t n_pending;	/* emissions not yet out */
	bool cancelled;
	enum genreq_finish why; /* of the cancelling */
	enum flight_phase phase;
	struct engine *g;
	struct ingest *ingest; /* in that phase, if it takes time; else NULL */
	int64_t submitted_ns;
	struct flight *prev, *next;
	struct flight *next_report;
};

#define FLIGHT_HOT_BYTES (offsetof(struct flight, phase))
#define GENREQ_HOT_BYTES (offsetof(struct genreq, ready_ns) - offsetof(struct genreq, owner))

/* A token on its way out. */
struct emission {
	struct flight *f;
	int64_t due_ns;
	int32_t token;
	bool more; /* of the same step; else the last of it */
	bool last; /* of the request */
};

struct plan {
	struct step_plan p; /* first: the executor hands back a step_plan */
	struct plan *next_free, *next_all;
};

struct engine {
	struct engine_config c;
	struct evloop *loop;
	struct sched *sched;
	struct executor *executor;
	struct plan *plans, *free_plans; /* all there are; those not in flight */
	int32_t n_in_flight;
	struct flight *flights;
	struct flight *reports,
		**reports_end; /* over without a last token: cancelled, or their step failed */
	struct emission *out;  /* FIFO: out[out_head..out_n) */
	size_t out_head, out_n, out_cap;
	int32_t max_len;
	struct deferred turn_end;
	struct timer egress;
	struct timer wake;   /* the policy waits for a time to come */
	int64_t overhead_ns; /* of steps, since one was last handed to the executor */
	struct engine_stats stats;
};

/* ---- the ways out ---- */

static void emit(struct engine *g, struct flight *f, const struct emission *m)
{
	if (g->out_n == g->out_cap && g->out_head > g->out_cap / 2) {
		memmove(g->out, g->out + g->out_head, (g->out_n - g->out_head) * sizeof(*g->out));
		g->out_n -= g->out_head;
		g->out_head = 0;
	}
	if (g->out_n == g->out_cap) {
		g->out_cap = g->out_cap ? 2 * g->out_cap : 256;
		g->out = xreallocarray(g->out, g->out_cap, sizeof(*g->out));
	}
	g->out[g->out_n++] = *m;
	f->n_pending++;
}

/* The policy has let go of r without a last token to say so. */
static void end_without_token(struct engine *g, struct flight *f, enum genreq_finish why)
{
	struct genreq *r = f->r;

	f->phase = FLIGHT_OVER;
	f->cancelled = true; /* tokens that are on their way out stay behind */
	f->why = r->finish = why;
	if (r->state != GENREQ_DONE && r->state != GENREQ_FAILED)
		genreq_set_state(r, why == FINISH_STOP && r->state == GENREQ_DECODE
					    ? GENREQ_DONE
					    : GENREQ_FAILED);
	*g->reports_end = f;
	g->reports_end = &f->next_report;
	evloop_defer(g->loop, &g->turn_end);
}

/* Tells the sink. The flight goes with its last emission. */
static void report_done(struct flight *f)
{
	struct engine *g = f->g;
	struct genreq *r = f->r;

	f->r = NULL;
	r->flight = NULL;
	g->stats.finished[r->finish]++;
	if ((r->finish == FINISH_STOP || r->finish == FINISH_LENGTH) && f->n_made > 0)
		engine_stats_finished(&g->stats, r, f->n_made, f->submitted_ns, g->c.egress_ns);
	if (f->prev)
		f->prev->next = f->next;
	else
		g->flights = f->next;
	if (f->next)
		f->next->prev = f->prev;
	g->n_in_flight--;
	f->sink->on_done(r);
}

/* ---- steps ---- */

static struct plan *plan_take(struct engine *g)
{
	struct plan *p = g->free_plans;

	if (!p) {
		p = xcalloc(1, sizeof(*p));
		step_plan_init(&p->p);
		p->next_all = g->plans;
		g->plans = p;
		return p;
	}
	g->free_plans = p->next_free;
	step_plan_clear(&p->p);
	return p;
}

static void plan_give_back(struct engine *g, struct plan *p)
{
	p->next_free = g->free_plans;
	g->free_plans = p;
}

/* n tokens of r were made in the step that ended at end_ns. */
static void count_tokens(struct engine *g, struct flight *f, int32_t n, int64_t end_ns,
			 int64_t *made)
{
	struct engine_stats *s = &g->stats;

	if (f->n_made == 0) {
		s->prompt_tokens += f->r->n_prompt;
		s->cached_tokens += f->r->cached_tokens;
		*made += f->r->n_prompt;
		prom_hist_observe(&s->ttft, ns_to_s(end_ns + g->c.egress_ns - f->submitted_ns));
	} else {
		prom_hist_observe(&s->inter_token, ns_to_s(end_ns - f->last_token_ns));
	}
	f->n_made += n;
	f->last_token_ns = end_ns;
	s->generation_tokens += n;
	*made += n;
}

static void emit_tokens(struct engine *g, struct flight *f, const int32_t *token, int32_t n,
			int64_t end_ns, bool over)
{
	for (int32_t k = 0; k < n; k++)
		emit(g, f,
		     &(const struct emission){.f = f,
					      .due_ns = end_ns + g->c.egress_ns,
					      .token = token[k],
					      .more = k < n - 1,
					      .last = over && k == n - 1});
}

static void step_over(struct engine *g, struct plan *plan, const int32_t *token, int64_t end_ns)
{
	const struct step_plan *p = &plan->p;
	int64_t made = 0;
	int32_t n;

	g->c.policy->commit(g->sched, &plan->p, token, end_ns);
	for (int32_t i = 0; i < p->n_items; i++) {
		struct genreq *r = p->item[i].req;
		struct flight *f = r->flight;
		bool over = r->state == GENREQ_DONE;

		if (f->cancelled) {
			if (!over)
				g->c.policy->remove(g->sched, r);
			end_without_token(g, f, f->why);
			continue;
		}
		if (!p->item[i].emits) {
			if (over) /* the policy gave it up */
				end_without_token(g, f, r->finish);
			continue;
		}
		n = 1 + p->item[i].n_accepted;
		count_tokens(g, f, n, end_ns, &made);
		if (over)
			f->phase = FLIGHT_OVER;
		emit_tokens(g, f, step_tokens(p, token, i), n, end_ns, over);
	}
	if (made > 0)
		prom_hist_observe(&g->stats.iteration, (double)made);
	plan_give_back(g, plan);
	evloop_defer(g->loop, &g->turn_end);
}

static void step_failed(struct engine *g, struct plan *plan, const char *msg, int64_t end_ns)
{
	const struct step_plan *p = &plan->p;

	log_error("a step of %d requests failed: %s", p->n_items, msg ? msg : "no reason given");
	g->c.policy->commit(g->sched, &plan->p, NULL, end_ns);
	for (int32_t i = 0; i < p->n_items; i++) {
		struct flight *f = p->item[i].req->flight;

		g->c.policy->remove(g->sched, f->r);
		end_without_token(g, f, f->cancelled ? f->why : FINISH_ERROR);
	}
	plan_give_back(g, plan);
}

static void on_step_done(const struct step_result *result, void *arg)
{
	struct engine *g = arg;
	struct plan *plan = (struct plan *)result->plan;
	int64_t begun_ns = monotonic_now_ns();

	if (result->failed)
		step_failed(g, plan, result->msg, result->end_ns);
	else
		step_over(g, plan, result->token, result->end_ns);
	g->overhead_ns += monotonic_now_ns() - begun_ns;
}

static void on_wake(struct timer *t, int64_t now_ns)
{
	struct engine *g = (struct engine *)((char *)t - offsetof(struct engine, wake));

	(void)now_ns; /* the model's time does not know how late the loop is */
	g->c.policy->wake(g->sched, t->at_ns);
	evloop_defer(g->loop, &g->turn_end);
}

static void set_wake(struct engine *g)
{
	int64_t at_ns = g->c.policy->wake_ns(g->sched);

	if (at_ns == INT64_MAX)
		evloop_timer_cancel(g->loop, &g->wake);
	else
		evloop_timer(g->loop, &g->wake, at_ns);
}

/* Plans and submits as many steps as the policy allows. */
static void pump(struct engine *g)
{
	for (;;) {
		int64_t begun_ns = monotonic_now_ns();
		struct plan *plan = plan_take(g);

		if (!g->c.policy->plan(g->sched, &plan->p)) {
			plan_give_back(g, plan);
			if (g->c.policy->wake_ns)
				set_wake(g);
			return;
		}
		if (g->c.executor->submit(g->executor, &plan->p) != RC_OK)
			step_failed(g, plan, "the executor did not take it", plan->p.start_ns);
		g->overhead_ns += monotonic_now_ns() - begun_ns;
		prom_hist_observe(&g->stats.overhead, ns_to_s(g->overhead_ns));
		g->overhead_ns = 0;
	}
}

/* ---- the end of a turn ---- */

static void deliver_one(struct engine *g, const struct emission *m)
{
	struct flight *f = m->f;

	f->n_pending--;
	if (!f->cancelled) {
		/* Before it is sent: on the way through send() the client may have it already, and
		 * run in our place. */
		int64_t sent_ns = evloop_now_ns(g->loop);

		f->sink->on_token(f->r, m->token, m->due_ns, m->more);
		prom_hist_observe(&g->stats.lateness, ns_to_s(sent_ns - m->due_ns));
		if (g->c.truth)
			truth_token(g->c.truth, f->r->name, f->n_sent, m->due_ns, sent_ns);
		f->n_sent++;
	}
	if (m->last && f->r) {
		if (f->cancelled)
			f->r->finish = f->why;
		report_done(f);
	}
	if (!f->r && f->n_pending == 0)
		free(f);
}

/* Between two tokens the kernel sends one, and that takes the cache: what the next ones need is
 * asked for meanwhile, a pointer further with each (at 1,024 streams 0.5 us a token of 6.5). */
static void look_ahead(const struct engine *g)
{
	const struct emission *m = g->out + g->out_head;
	size_t n = g->out_n - g->out_head;
	const struct flight *f;

	if (n > 3)
		prefetch(m[3].f, FLIGHT_HOT_BYTES);
	if (n > 2 && (f = m[2].f)->r)
		prefetch(&f->r->owner, GENREQ_HOT_BYTES);
	for (int i = 1; i >= 0; i--)
		if (n > (size_t)i && (f = m[i].f)->r && f->sink->on_soon)
			f->sink->on_soon(f->r, i + 1);
}

static void deliver(struct engine *g)
{
	int64_t now_ns = g->c.egress_ns > 0 ? evloop_now_ns(g->loop) : INT64_MAX;

	while (g->out_head < g->out_n && g->out[g->out_head].due_ns <= now_ns) {
		struct emission m =
			g->out[g->out_head++]; /* a copy: the sink may make the array move */

		look_ahead(g);
		deliver_one(g, &m);
	}
	if (g->out_head < g->out_n)
		evloop_timer(g->loop, &g->egress, g->out[g->out_head].due_ns);
	else
		g->out_head = g->out_n = 0;
}

static void report(struct engine *g)
{
	while (g->reports) {
		struct flight *f = g->reports;

		g->reports = f->next_report;
		if (!g->reports)
			g->reports_end = &g->reports;
		report_done(f);
		if (f->n_pending == 0)
			free(f);
	}
}

static void on_turn_end(struct deferred *d)
{
	struct engine *g = (struct engine *)((char *)d - offsetof(struct engine, turn_end));

	pump(g);
	deliver(g);
	report(g);
	if (g->c.truth && g->n_in_flight == 0)
		truth_flush(g->c.truth);
	else if (g->c.truth)
		truth_settle(g->c.truth);
}

static void on_egress(struct timer *t, int64_t now_ns)
{
	struct engine *g = (struct engine *)((char *)t - offsetof(struct engine, egress));

	(void)now_ns;
	evloop_defer(g->loop, &g->turn_end);
}

/* ---- the way in ---- */

static void enter_policy(struct flight *f)
{
	f->phase = FLIGHT_KNOWN;
	f->g->c.policy->add(f->g->sched, f->r);
	evloop_defer(f->g->loop, &f->g->turn_end);
}

static void stop_ingest(struct flight *f)
{
	if (!f->ingest)
		return;
	evloop_timer_cancel(f->g->loop, &f->ingest->timer);
	free(f->ingest);
	f->ingest = NULL;
}

static void on_ingested(struct timer *t, int64_t now_ns)
{
	struct flight *f = ((struct ingest *)((char *)t - offsetof(struct ingest, timer)))->f;

	(void)now_ns;
	stop_ingest(f);
	enter_policy(f);
}

static void start_ingest(struct flight *f, int64_t until_ns)
{
	f->ingest = xcalloc(1, sizeof(*f->ingest));
	f->ingest->f = f;
	f->ingest->timer.fn = on_ingested;
	evloop_timer(f->g->loop, &f->ingest->timer, until_ns);
}

enum rc engine_submit(struct engine *g, struct genreq *r, const struct engine_sink *sink,
		      int64_t now_ns, struct err *e)
{
	struct flight *f;
	enum rc rc;

	if (g->c.max_queue > 0 && g->n_in_flight >= g->c.max_queue) {
		g->stats.rejected++;
		return err_set(e, RC_LIMIT,
			       "%d requests are in the engine already, and it takes no more",
			       g->n_in_flight);
	}
	rc = g->c.policy->check(g->sched, r, e);
	if (rc)
		return rc;
	f = xcalloc(1, sizeof(*f));
	f->g = g;
	f->r = r;
	f->sink = sink;
	f->submitted_ns = now_ns;
	f->next = g->flights;
	if (g->flights)
		g->flights->prev = f;
	g->flights = f;
	g->n_in_flight++;
	r->flight = f;
	r->arrival_ns = r->ready_ns = now_ns + g->c.ingest_ns;
	if (g->c.ingest_ns > 0)
		start_ingest(f, r->arrival_ns);
	else
		enter_policy(f);
	return RC_OK;
}

void engine_cancel(struct engine *g, struct genreq *r, enum genreq_finish why)
{
	struct flight *f = r->flight;

	if (!f || f->cancelled)
		return;
	f->cancelled = true;
	f->why = why;
	if (f->phase == FLIGHT_INGEST) {
		stop_ingest(f);
		end_without_token(g, f, why);
	} else if (f->phase == FLIGHT_KNOWN && !r->slot.in_step) {
		g->c.policy->remove(g->sched, r);
		end_without_token(g, f, why);
	} /* else its step, or its last token, brings it out */
}

/* ---- the engine ---- */

enum rc engine_new(struct engine **out, struct evloop *loop, const struct engine_config *c,
		   struct err *e)
{
	struct engine *g = xcalloc(1, sizeof(*g));
	struct executor_opts opts = {.done = on_step_done, .arg = g, .config = c->executor_config};
	struct sched_stats at_start;
	enum rc rc;

	*out = NULL;
	g->c = *c;
	g->loop = loop;
	g->reports_end = &g->reports;
	g->turn_end.fn = on_turn_end;
	g->egress.fn = on_egress;
	g->wake.fn = on_wake;
	rc = c->policy->open(&g->sched, c->knobs, c->eos_token, e);
	if (rc) {
		free(g);
		return rc;
	}
	rc = c->executor->open(&g->executor, &opts, e);
	if (rc) {
		c->policy->close(g->sched);
		free(g);
		return rc;
	}
	c->policy->stats(g->sched, &at_start);
	g->max_len = at_start.max_model_len;
	if (at_start.max_requests > 0 &&
	    (g->c.max_queue == 0 || at_start.max_requests < g->c.max_queue))
		g->c.max_queue = at_start.max_requests;
	engine_stats_init(&g->stats, g->max_len);
	g->stats.adapters = c->adapters;
	*out = g;
	return RC_OK;
}

void engine_free(struct engine *g)
{
	if (!g)
		return;
	evloop_undefer(g->loop, &g->turn_end);
	evloop_timer_cancel(g->loop, &g->egress);
	evloop_timer_cancel(g->loop, &g->wake);
	g->c.executor->close(g->executor);
	g->c.policy->close(g->sched);
	for (size_t i = g->out_head; i < g->out_n; i++) {
		struct flight *f = g->out[i].f;

		if (--f->n_pending == 0 && !f->r)
			free(f);
	}
	for (struct flight *f = g->flights; f; f = f->next)
		f->cancelled = true; /* a sink that cancels now cancels nothing */
	for (struct flight *f = g->flights, *next; f; f = next) {
		next = f->next;
		stop_ingest(f);
		f->r->finish = FINISH_ABORT;
		report_done(f);
		free(f);
	}
	while (g->plans) {
		struct plan *p = g->plans;

		g->plans = p->next_all;
		step_plan_release(&p->p);
		free(p);
	}
	if (g->c.truth)
		truth_flush(g->c.truth);
	free(g->out);
	free(g);
}

void engine_visit(const struct engine *g, void (*fn)(const struct genreq *r, void *arg), void *arg)
{
	for (const struct flight *f = g->flights; f; f = f->next)
		if (f->r && f->phase == FLIGHT_KNOWN && !f->cancelled)
			fn(f->r, arg);
}

int32_t engine_in_flight(const struct engine *g)
{
	return g->n_in_flight;
}

bool engine_has_logits(const struct engine *g)
{
	return g->c.executor->logits;
}

int32_t engine_max_len(const struct engine *g)
{
	return g->max_len;
}

const struct engine_stats *engine_stats(struct engine *g)
{
	g->c.policy->stats(g->sched, &g->stats.sched);
	return &g->stats;
}
