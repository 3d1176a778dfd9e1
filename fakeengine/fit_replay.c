/*
 * Owns the requests of a measured run while they pass through a simulated engine again. Runs on the
 * thread of the virtual loop that it makes, a loop a run. Must not know what is compared with what
 * comes out.
 */
#include "fit_replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/evloop.h"
#include "simulate.h"

#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

struct replay;

struct visitor {
	struct replay *replay;
	struct timer arrival, taken_in;
	size_t at; /* row */
};

struct replay {
	const struct fit_rows *rows;
	const struct fit_run *run;
	struct evloop *loop;
	struct sim *sim;
	struct fit_times *times; /* of all rows */
	struct visitor *visitor; /* of the run's */
	size_t next;		 /* row that the next free client sends */
	int64_t front_end_free_ns;
	int64_t end_ns;
	int32_t *prompt; /* scratch */
	enum rc rc;
	struct err *e;
};

void fit_replayed_init(struct fit_replayed *r, const struct fit_rows *rows)
{
	r->times = xcalloc(rows->n + 1, sizeof(*r->times));
	r->run_end_ns = xcalloc((size_t)rows->n_runs + 1, sizeof(*r->run_end_ns));
	r->preemptions = 0;
}

void fit_replayed_release(struct fit_replayed *r)
{
	free(r->times);
	free(r->run_end_ns);
	*r = (struct fit_replayed){0};
}

/* ---- requests ---- */

/* No two prompts begin alike, so no prefix is found again but a request's own. */
static struct genreq *make_request(struct visitor *v)
{
	struct replay *p = v->replay;
	const struct fit_row *w = &p->rows->row[v->at];
	struct genreq *r;

	p->prompt[0] = (int32_t)(v->at + 1);
	r = genreq_new(v->at, NULL, p->prompt, w->prompt_tokens, w->output_tokens);
	r->owner = v;
	r->ignore_eos = true;
	r->seed = v->at;
	return r;
}

static void submit(struct visitor *v)
{
	struct replay *p = v->replay;
	struct genreq *r;
	enum rc rc;

	if (p->rc)
		return;
	r = make_request(v);
	rc = sim_submit(p->sim, r, p->e);
	if (rc) {
		genreq_free(r);
		p->rc = RC_INPUT;
		if (p->e)
			err_prefix(p->e,
				   "the model refuses a request that was answered (%d prompt and "
				   "%d output tokens): ",
				   p->rows->row[v->at].prompt_tokens,
				   p->rows->row[v->at].output_tokens);
	}
}

static void on_taken_in(struct timer *t, int64_t now_ns)
{
	(void)now_ns;
	submit(CONTAINER(t, struct visitor, taken_in));
}

static void come(struct visitor *v)
{
	struct replay *p = v->replay;
	int64_t now_ns = evloop_now_ns(p->loop), at_ns = p->front_end_free_ns;

	p->times[v->at].arrival_ns = now_ns;
	if (p->rows->front_end_ns == 0) {
		submit(v);
		return;
	}
	at_ns = (at_ns > now_ns ? at_ns : now_ns) + p->rows->front_end_ns;
	p->front_end_free_ns = at_ns;
	evloop_timer(p->loop, &v->taken_in, at_ns);
}

static void on_arrival(struct timer *t, int64_t now_ns)
{
	(void)now_ns;
	come(CONTAINER(t, struct visitor, arrival));
}

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	struct visitor *v = r->owner;
	struct fit_times *t = &v->replay->times[v->at];

	if (t->first_ns < 0)
		t->first_ns = t_ns[0];
	t->last_ns = t_ns[n - 1];
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	struct visitor *v = r->owner;
	struct replay *p = v->replay;

	const struct fit_row *w = &p->rows->row[v->at];

	p->end_ns = t_ns;
	if (w->next >= 0 && p->run->concurrency == 0) {
		evloop_timer(p->loop, &p->visitor[(size_t)w->next - p->run->from].arrival,
			     t_ns + w->pause_ns);
		return;
	}
	if (p->run->concurrency == 0 || p->next == p->run->to)
		return;
	come(&p->visitor[p->next++ - p->run->from]);
}

static const struct sim_sink sink = {on_tokens, on_done};

/* ---- a run ---- */

static void come_in(struct replay *p)
{
	for (size_t i = p->run->from; i < p->run->to; i++) {
		struct visitor *v = &p->visitor[i - p->run->from];

		*v = (struct visitor){.replay = p, .at = i};
		v->arrival.fn = on_arrival;
		v->taken_in.fn = on_taken_in;
		p->times[i] = (struct fit_times){0, -1, -1};
		if (p->run->concurrency == 0 && !p->rows->row[i].waits)
			evloop_timer(p->loop, &v->arrival, p->rows->row[i].arrival_ns);
	}
	p->next = p->run->from;
	p->front_end_free_ns = 0;
	for (int32_t i = 0; i < p->run->concurrency && p->next < p->run->to; i++) {
		struct visitor *v = &p->visitor[p->next++ - p->run->from];

		evloop_timer(p->loop, &v->arrival, p->rows->row[v->at].arrival_ns);
	}
}

static enum rc play_run(struct replay *p, const struct sim_setup *setup, int64_t *preemptions)
{
	struct sim_stats stats;

	p->loop = evloop_new_virtual(0);
	p->rc = sim_new(&p->sim, p->loop, setup, &sink, p->e);
	if (p->rc == RC_OK) {
		come_in(p);
		evloop_run(p->loop);
		sim_stats(p->sim, &stats);
		*preemptions += stats.sched.preemptions;
		for (size_t i = p->run->from; p->rc == RC_OK && i < p->run->to; i++)
			if (p->times[i].last_ns < 0)
				p->rc = err_set(p->e, RC_INPUT,
						"the model never answers a request that was "
						"answered");
	}
	for (size_t i = p->run->from; i < p->run->to; i++)
		evloop_timer_cancel(p->loop, &p->visitor[i - p->run->from].arrival);
	sim_free(p->sim);
	p->sim = NULL;
	evloop_free(p->loop);
	return p->rc;
}

enum rc fit_replay(const struct profile *p, const struct fit_rows *rows, struct fit_replayed *out,
		   struct err *e)
{
	struct sim_setup setup = {
		.policy = p->policy,
		.cost = &p->cost,
		.ingest_ns = p->ingest_ns,
		.egress_ns = p->egress_ns,
	};
	struct replay replay = {.rows = rows, .times = out->times, .e = e};
	int32_t longest = 1;
	enum rc rc = RC_OK;

	memcpy(setup.knobs, p->knobs, sizeof(setup.knobs));
	for (size_t i = 0; i < rows->n; i++)
		if (rows->row[i].prompt_tokens > longest)
			longest = rows->row[i].prompt_tokens;
	replay.prompt = xcalloc((size_t)longest, sizeof(*replay.prompt));
	replay.visitor = xcalloc(rows->n + 1, sizeof(*replay.visitor));
	out->preemptions = 0;
	for (int k = 0; rc == RC_OK && k < rows->n_runs; k++) {
		replay.run = &rows->run[k];
		replay.end_ns = 0;
		rc = play_run(&replay, &setup, &out->preemptions);
		out->run_end_ns[k] = replay.end_ns;
	}
	free(replay.visitor);
	free(replay.prompt);
	return rc;
}
