/*
 * Owns the engines of a fleet, who has which request, and the requests between two of them. Runs on
 * the thread of its loop. Must not know how requests are shared out (router.c) nor computed
 * (simulate.c).
 */
#include "fleet.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "base/evloop.h"
#include "serve/script.h"
#include "simulate.h"
#include "wordcodec.h"

#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

struct replica {
	struct pool *pool;
	struct sim *sim;
	int64_t link_free_ns; /* when the KV entries it has sent so far are gone */
};

/* Engines that do the same. */
struct pool {
	struct fleet *f;
	struct pool *next; /* goes on where these end; or NULL */
	struct router *router;
	struct replica *replica;
	int32_t n;
};

/* The client's request while it is in no engine: first a leg of one token stands for it in a
 * prefill replica, then its entries travel. The first token leaves as late as the last ones do,
 * which may be before or after the entries have arrived. */
struct handover {
	struct fleet *f;
	struct genreq *r, *leg; /* leg: NULL once its token is made; r: NULL if cancelled while that
				   is told */
	struct timer told, arrives;
	bool ends; /* with its first token */
	bool telling;
	struct handover *prev, *next;
};

struct fleet {
	struct evloop *loop;
	const struct sim_sink *sink;
	struct fleet_shape shape;
	int64_t egress_ns; /* of a leg's token, which leaves its engine at once */
	struct pool first, decode;
	struct handover handovers; /* head of a ring */
	int32_t n_moving;
};

/* ---- to one of a pool ---- */

static enum rc pool_submit(struct pool *p, struct genreq *r, struct err *e)
{
	int32_t i = router_pick(p->router, r);
	enum rc rc = sim_submit(p->replica[i].sim, r, e);

	if (rc == RC_OK)
		router_begin(p->router, i, r);
	return rc;
}

/* r leaves its engine. */
static struct replica *pool_leave(const struct genreq *r)
{
	struct replica *at = sim_owner(r);

	router_end(at->pool->router, (int32_t)(at - at->pool->replica), r);
	return at;
}

static void pool_cancel(struct genreq *r)
{
	sim_cancel(pool_leave(r)->sim, r);
}

/* ---- from prefill to decode ---- */

static void handover_free(struct handover *h)
{
	h->prev->next = h->next;
	h->next->prev = h->prev;
	evloop_timer_cancel(h->f->loop, &h->told);
	evloop_timer_cancel(h->f->loop, &h->arrives);
	free(h);
}

static bool on_its_way(const struct handover *h)
{
	return timer_queued(&h->arrives);
}

/* Already, while its first token is not out. */
static bool is_decoding(const struct handover *h)
{
	return !h->leg && !h->ends && !on_its_way(h);
}

/* Its other half is done when neither its token nor its entries are on their way. */
static void settle(struct handover *h)
{
	if (timer_queued(&h->told) || on_its_way(h))
		return;
	h->r->handover = NULL;
	handover_free(h);
}

static void tell_end(struct handover *h, int64_t now_ns)
{
	const struct sim_sink *sink = h->f->sink;
	struct genreq *r = h->r;

	h->telling = true;
	sink->on_tokens(r, &now_ns, 1);
	if (h->r) { /* else its reader has cancelled it */
		r->handover = NULL;
		sink->on_done(r, now_ns);
		genreq_free(r);
	}
	handover_free(h);
}

static void tell_first(struct handover *h, int64_t now_ns)
{
	const struct sim_sink *sink = h->f->sink;
	struct genreq *r = h->r;

	if (h->ends) {
		tell_end(h, now_ns);
		return;
	}
	settle(h);
	sink->on_tokens(r, &now_ns, 1);
}

static void on_told(struct timer *t, int64_t now_ns)
{
	(void)now_ns; /* it leaves at its time */
	tell_first(CONTAINER(t, struct handover, told), t->at_ns);
}

/* What the one could run, the other can. */
static void on_arrived(struct timer *t, int64_t now_ns)
{
	struct handover *h = CONTAINER(t, struct handover, arrives);
	struct genreq *r = h->r;

	(void)now_ns;
	h->f->n_moving--;
	r->kv_tokens = r->n_prompt;
	CHECK(pool_submit(&h->f->decode, r, NULL) == RC_OK);
	settle(h);
}

static void send_entries(struct handover *h, struct replica *from, int64_t now_ns)
{
	const struct fleet_shape *s = &h->f->shape;
	int64_t begins_ns = from->link_free_ns > now_ns ? from->link_free_ns : now_ns;

	from->link_free_ns = begins_ns + ps_to_ns(h->r->n_prompt * s->kv_token_ps);
	evloop_timer(h->f->loop, &h->arrives, from->link_free_ns + s->kv_latency_ns);
	h->f->n_moving++;
}

/* The leg has ended, with its one token. */
static void handover_made(struct handover *h, struct replica *from, int64_t now_ns)
{
	struct fleet *f = h->f;
	struct genreq *r = h->r, *leg = h->leg;

	CHECK(genreq_output_tokens(leg) == 1);
	h->leg = NULL;
	r->first_scheduled_ns = leg->first_scheduled_ns;
	r->first_token_ns = r->last_token_ns = leg->last_token_ns;
	r->cached_tokens = leg->cached_tokens;
	h->ends = genreq_push_token(r, leg->tokens[leg->n_prompt], wordcodec.eos_token,
				    fleet_max_len(f));
	if (h->ends)
		genreq_set_state(r, GENREQ_DONE);
	else
		send_entries(h, from, now_ns);
	if (f->egress_ns > 0)
		evloop_timer(f->loop, &h->told, now_ns + f->egress_ns);
	else
		tell_first(h, now_ns);
}

static enum rc handover_begin(struct fleet *f, struct genreq *r, struct err *e)
{
	struct genreq *leg = genreq_new(r->id, NULL, r->tokens, r->n_prompt, 1);
	struct handover *h;
	enum rc rc;

	leg->seed = r->seed;
	leg->priority = r->priority;
	leg->adapter = r->adapter;
	leg->script = r->script ? script_hold(r->script) : NULL;
	rc = pool_submit(&f->first, leg, e);
	if (rc) {
		genreq_free(leg);
		return rc;
	}
	h = xcalloc(1, sizeof(*h));
	h->f = f;
	h->r = r;
	h->leg = leg;
	h->told.fn = on_told;
	h->arrives.fn = on_arrived;
	h->prev = f->handovers.prev;
	h->next = &f->handovers;
	h->prev->next = h->next->prev = h;
	leg->owner = r->handover = h;
	return RC_OK;
}

static void handover_cancel(struct handover *h)
{
	struct genreq *r = h->r;
	bool arrived = is_decoding(h);

	if (h->leg)
		pool_cancel(h->leg);
	h->f->n_moving -= on_its_way(h);
	if (arrived)
		pool_cancel(r);
	else
		genreq_free(r);
	if (h->telling)
		h->r = NULL;
	else
		handover_free(h);
}

/* ---- what comes from the engines ---- */

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	const struct pool *p = ((const struct replica *)sim_owner(r))->pool;

	if (!p->next) /* of a leg there is only one: its end tells it */
		p->f->sink->on_tokens(r, t_ns, n);
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	struct replica *at = pool_leave(r);

	if (at->pool->next)
		handover_made(r->owner, at, t_ns);
	else
		at->pool->f->sink->on_done(r, t_ns);
}

/* ---- the fleet ---- */

enum rc fleet_submit(struct fleet *f, struct genreq *r, struct err *e)
{
	return f->first.next ? handover_begin(f, r, e) : pool_submit(&f->first, r, e);
}

/* Until it decodes, all there is to tell was told. */
void fleet_catch_up(struct fleet *f, struct genreq *r)
{
	const struct replica *at;

	(void)f;
	if (r->handover && !is_decoding(r->handover))
		return;
	at = sim_owner(r);
	sim_catch_up(at->sim, r);
}

void fleet_cancel(struct fleet *f, struct genreq *r)
{
	(void)f;
	if (r->handover)
		handover_cancel(r->handover);
	else
		pool_cancel(r);
}

/* The noise of each replica is its own; the first one's is that of an engine alone. */
static uint64_t replica_seed(uint64_t seed, int32_t number)
{
	struct rng rng;

	if (number == 0)
		return seed;
	rng_init(&rng, seed, "replica", (uint64_t)number);
	return rng_u64(&rng);
}

/* first: the number of its first replica in the fleet. */
static enum rc pool_open(struct pool *p, struct fleet *f, const struct sim_setup *engine,
			 int32_t first, int32_t n, struct err *e)
{
	static const struct sim_sink sink = {on_tokens, on_done};
	struct sim_setup one = *engine;
	enum rc rc = RC_OK;

	p->f = f;
	p->router = router_new(f->shape.router, f->shape.router_knobs, n,
			       replica_seed(engine->seed, first));
	p->replica = xcalloc((size_t)n, sizeof(*p->replica));
	for (; rc == RC_OK && p->n < n; p->n++) {
		struct replica *at = &p->replica[p->n];

		at->pool = p;
		one.seed = replica_seed(engine->seed, first + p->n);
		one.owner = at;
		rc = sim_new(&at->sim, f->loop, &one, &sink, e);
	}
	return rc;
}

static void pool_close(struct pool *p)
{
	for (int32_t i = 0; i < p->n; i++)
		sim_free(p->replica[i].sim);
	free(p->replica);
	router_free(p->router);
}

enum rc fleet_new(struct fleet **out, struct evloop *loop, const struct sim_setup *engine,
		  const struct fleet_shape *shape, const struct sim_sink *sink, struct err *e)
{
	struct fleet *f = xcalloc(1, sizeof(*f));
	struct sim_setup front = *engine, back = *engine;
	enum rc rc;

	*out = NULL;
	f->loop = loop;
	f->sink = sink;
	f->shape = *shape;
	f->handovers.prev = f->handovers.next = &f->handovers;
	if (shape->decode_replicas > 0) {
		CHECK(engine->policy->takes_kv);
		f->first.next = &f->decode;
		f->egress_ns = engine->egress_ns;
		front.egress_ns = back.ingest_ns = 0;
	}
	rc = pool_open(&f->first, f, &front, 0, shape->replicas, e);
	if (rc == RC_OK && f->first.next)
		rc = pool_open(&f->decode, f, &back, shape->replicas, shape->decode_replicas, e);
	if (rc) {
		fleet_free(f);
		return rc;
	}
	*out = f;
	return RC_OK;
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	for (struct handover *h = f->handovers.next, *next; h != &f->handovers; h = next) {
		next = h->next;
		if (!is_decoding(h))
			genreq_free(h->r);
		evloop_timer_cancel(f->loop, &h->told);
		evloop_timer_cancel(f->loop, &h->arrives);
		free(h);
	}
	pool_close(&f->first);
	pool_close(&f->decode);
	free(f);
}

static void pool_stats(const struct pool *p, struct fleet_stats *sum)
{
	for (int32_t i = 0; i < p->n; i++) {
		struct sim_stats s;

		sim_stats(p->replica[i].sim, &s);
		sum->running += s.sched.running;
		sum->waiting += s.sched.waiting;
		sum->free_blocks += s.sched.free_blocks;
		sum->usable_blocks += s.sched.usable_blocks;
		sum->preemptions += s.sched.preemptions;
		sum->prompt_tokens += s.prompt_tokens;
		sum->generation_tokens += s.generation_tokens;
		sum->prefix_queries_tokens += s.sched.prefix_queries_tokens;
		sum->prefix_hits_tokens += s.sched.prefix_hits_tokens;
	}
}

void fleet_stats(const struct fleet *f, struct fleet_stats *out)
{
	*out = (struct fleet_stats){.waiting = f->n_moving};
	pool_stats(&f->first, out);
	pool_stats(&f->decode, out);
}

int32_t fleet_max_len(const struct fleet *f)
{
	return sim_max_len(f->first.replica[0].sim);
}
