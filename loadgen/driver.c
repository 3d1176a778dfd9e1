/*
 * Owns who may start: the counts of one level, the slots of a closed loop, the timeline of an open
 * one. Pure; the caller brings the time and does what it is told. Must not know what a request is.
 */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/timerq.h"

/* Somebody in a conversation, or between two. */
struct user {
	struct timer ready; /* queued while thinking: when the next request is due */
	int64_t session;    /* -1: the last one is over */
	int64_t first_index;
	int turn, turns; /* the next one to ask */
};

struct driver {
	struct level level; /* `concurrency` of it counts only the share's */
	struct share share;
	int64_t start_ns, deadline_ns;
	int64_t *arrival_ns; /* open: absolute */
	int64_t n_arrivals;
	int64_t started, in_flight;
	bool stopped; /* nothing starts any more: asked for, or the level's time is over */
	bool expired; /* the latter */

	/* Closed: since when each free slot has been free, oldest first. A request is planned for
	 * the moment its slot became free, so a client that is late shows as dispatch delay and not
	 * as a faster server. */
	int64_t *free_since;
	int64_t first_free, n_free;

	/* Sessions. */
	struct session_source source;
	struct user *user;
	struct timerq ready;
	int64_t next_session, next_index; /* the first ones that nobody has begun */
	int64_t *first_index; /* by conversations: of each, and behind the last the sum */
	int64_t n_mine;	      /* ... requests of the share's */
	bool *was_started;    /* ... each request */
};

static bool in_share(struct share s, int64_t number)
{
	return number % s.step == s.first;
}

static struct driver *new_driver(const struct level *l, struct share share, int64_t start_ns)
{
	struct driver *d = xcalloc(1, sizeof(*d));

	CHECK(share.step > 0 && share.first >= 0 && share.first < share.step);
	CHECK(l->kind == LOAD_OPEN || share_of(share, l->concurrency) > 0);
	d->level = *l;
	d->level.concurrency = (int)share_of(share, l->concurrency);
	d->share = share;
	d->start_ns = start_ns;
	d->deadline_ns = l->duration_ns ? start_ns + l->duration_ns : INT64_MAX;
	return d;
}

struct driver *driver_new(const struct level *l, struct share share, int64_t start_ns,
			  const int64_t *arrivals, int64_t n_arrivals)
{
	struct driver *d = new_driver(l, share, start_ns);

	CHECK(l->kind == LOAD_OPEN || !arrivals);
	if (l->kind == LOAD_OPEN) {
		d->n_arrivals = n_arrivals;
		d->arrival_ns = xcalloc((size_t)n_arrivals + 1, sizeof(*d->arrival_ns));
		for (int64_t i = 0; i < n_arrivals; i++)
			d->arrival_ns[i] = start_ns + arrivals[i];
		return d;
	}
	d->n_free = d->level.concurrency;
	d->free_since = xcalloc((size_t)d->n_free, sizeof(*d->free_since));
	for (int64_t i = 0; i < d->n_free; i++)
		d->free_since[i] = start_ns;
	return d;
}

static void count_turns(struct driver *d)
{
	int64_t n = d->level.conversations, sum = 0;

	d->first_index = xcalloc((size_t)n + 1, sizeof(*d->first_index));
	for (int64_t s = 0; s < n; s++) {
		int turns = d->source.turns(d->source.arg, s);

		d->first_index[s] = sum;
		sum += turns;
		if (in_share(d->share, s))
			d->n_mine += turns;
	}
	d->first_index[n] = sum;
	d->was_started = xcalloc((size_t)sum + 1, sizeof(*d->was_started));
}

struct driver *driver_new_sessions(const struct level *l, struct share share, int64_t start_ns,
				   const struct session_source *source)
{
	struct driver *d = new_driver(l, share, start_ns);

	CHECK(l->kind == LOAD_SESSIONS);
	d->source = *source;
	d->user = xcalloc((size_t)d->level.concurrency, sizeof(*d->user));
	timerq_init(&d->ready);
	for (int i = 0; i < d->level.concurrency; i++) {
		d->user[i].session = -1;
		timerq_add(&d->ready, &d->user[i].ready, start_ns);
	}
	if (l->conversations)
		count_turns(d);
	return d;
}

void driver_free(struct driver *d)
{
	if (!d)
		return;
	if (d->user)
		timerq_release(&d->ready);
	free(d->user);
	free(d->first_index);
	free(d->was_started);
	free(d->arrival_ns);
	free(d->free_since);
	free(d);
}

static struct driver_step end_step(const struct driver *d)
{
	return (struct driver_step){.what = d->in_flight ? DRIVER_DRAIN : DRIVER_OVER};
}

/* Not of sessions: the one to be started next. */
static int64_t next_index(const struct driver *d)
{
	return d->share.first + d->started * d->share.step;
}

static struct driver_step start_step(struct driver *d, int64_t index, int64_t sched_ns)
{
	d->in_flight++;
	d->started++;
	return (struct driver_step){.what = DRIVER_START, .index = index, .sched_ns = sched_ns};
}

/* Nothing can start before a request ends. The level's end must be noticed all the same. */
static struct driver_step blocked_step(const struct driver *d)
{
	if (d->deadline_ns == INT64_MAX)
		return (struct driver_step){.what = DRIVER_BLOCK};
	return (struct driver_step){.what = DRIVER_WAIT, .at_ns = d->deadline_ns};
}

static void expire(struct driver *d)
{
	d->expired = true;
	d->stopped = true;
}

static struct driver_step next_closed(struct driver *d, int64_t now_ns)
{
	int64_t sched_ns;

	if (!d->stopped && now_ns >= d->deadline_ns)
		expire(d);
	if (d->stopped || (d->level.requests && next_index(d) >= d->level.requests))
		return end_step(d);
	if (!d->n_free)
		return blocked_step(d);
	sched_ns = d->free_since[d->first_free];
	d->first_free = (d->first_free + 1) % d->level.concurrency;
	d->n_free--;
	return start_step(d, next_index(d), sched_ns);
}

static bool at_cap(const struct driver *d)
{
	return d->level.concurrency && d->in_flight >= d->level.concurrency;
}

/* Arrivals lie before the deadline, all of them: a caller that comes late starts them late. Only
 * those that the cap holds back until then are dropped. */
static struct driver_step next_open(struct driver *d, int64_t now_ns)
{
	int64_t sched_ns, index = next_index(d);

	if (d->stopped || index >= d->n_arrivals)
		return end_step(d);
	if (at_cap(d)) {
		if (now_ns < d->deadline_ns)
			return blocked_step(d);
		expire(d);
		return end_step(d);
	}
	sched_ns = d->arrival_ns[index];
	if (sched_ns > now_ns)
		return (struct driver_step){.what = DRIVER_WAIT, .at_ns = sched_ns};
	return start_step(d, index, sched_ns);
}

/* False: there are no more. Those of other shares are counted past, so that requests have the
 * level's numbers. */
static bool begin_session(struct driver *d, struct user *u)
{
	while (!in_share(d->share, d->next_session) &&
	       !(d->level.conversations && d->next_session == d->level.conversations))
		d->next_index += d->source.turns(d->source.arg, d->next_session++);
	if (d->level.conversations && d->next_session == d->level.conversations)
		return false;
	u->session = d->next_session++;
	u->first_index = d->next_index;
	u->turn = 0;
	u->turns = d->source.turns(d->source.arg, u->session);
	d->next_index += u->turns;
	return true;
}

static struct driver_step next_of_sessions(struct driver *d, int64_t now_ns)
{
	struct driver_step step;
	struct user *u;

	if (!d->stopped && now_ns >= d->deadline_ns)
		expire(d);
	if (d->stopped)
		return end_step(d);
	for (;;) {
		u = (struct user *)timerq_peek(&d->ready); /* `ready` is a user's first member */
		if (!u)
			return d->in_flight ? blocked_step(d) : end_step(d);
		if (u->ready.at_ns > now_ns)
			return (struct driver_step){.what = DRIVER_WAIT,
						    .at_ns = u->ready.at_ns < d->deadline_ns
								     ? u->ready.at_ns
								     : d->deadline_ns};
		timerq_remove(&d->ready, &u->ready);
		if (u->session >= 0 || begin_session(d, u))
			break; /* else the user leaves */
	}
	step = start_step(d, u->first_index + u->turn, u->ready.at_ns);
	step.user = d->share.first + (int)(u - d->user) * d->share.step;
	step.session = u->session;
	step.turn = u->turn;
	if (d->was_started)
		d->was_started[step.index] = true;
	return step;
}

void driver_turn_ended(struct driver *d, int user, bool ok, int64_t now_ns)
{
	struct user *u = &d->user[user / d->share.step];
	int64_t index = u->first_index + u->turn;

	CHECK(d->in_flight > 0 && in_share(d->share, user));
	CHECK(user / d->share.step < d->level.concurrency);
	DCHECK(!timer_queued(&u->ready) && u->session >= 0);
	d->in_flight--;
	u->turn++;
	if (!ok || u->turn == u->turns)
		u->session = -1;
	timerq_add(&d->ready, &u->ready, now_ns + d->source.think_ns(d->source.arg, index));
}

struct driver_step driver_next(struct driver *d, int64_t now_ns)
{
	if (d->level.kind == LOAD_SESSIONS)
		return next_of_sessions(d, now_ns);
	return d->level.kind == LOAD_OPEN ? next_open(d, now_ns) : next_closed(d, now_ns);
}

void driver_ended(struct driver *d, int64_t now_ns)
{
	CHECK(d->in_flight > 0 && d->level.kind != LOAD_SESSIONS);
	if (d->level.kind == LOAD_OPEN) {
		/* The slot comes too late for whom it was held back from, even if nobody asked in
		 * between. */
		if (at_cap(d) && now_ns >= d->deadline_ns && next_index(d) < d->n_arrivals)
			expire(d);
	} else {
		d->free_since[(d->first_free + d->n_free) % d->level.concurrency] = now_ns;
		d->n_free++;
	}
	d->in_flight--;
}

void driver_stop(struct driver *d)
{
	d->stopped = true;
}

void driver_cut(struct driver *d, int64_t now_ns)
{
	if (now_ns < d->deadline_ns)
		d->deadline_ns = now_ns;
	while (d->n_arrivals > next_index(d) && d->arrival_ns[d->n_arrivals - 1] > now_ns)
		d->n_arrivals--;
}

int64_t driver_planned(const struct driver *d)
{
	if (d->level.kind == LOAD_OPEN)
		return share_of(d->share, d->n_arrivals);
	if (d->first_index)
		return d->expired ? d->started : d->n_mine;
	/* With both ends the time may come first, and then what was not started was not planned. */
	return d->level.requests && !d->expired ? share_of(d->share, d->level.requests)
						: d->started;
}

int64_t driver_started(const struct driver *d)
{
	return d->started;
}

/* Sessions: a conversation that ended early has left some of its turns. */
static int64_t unsent_turn_after(const struct driver *d, int64_t index)
{
	int64_t session;
	int turn;

	if (d->expired || !d->was_started)
		return -1;
	while (++index < d->first_index[d->level.conversations]) {
		if (d->was_started[index])
			continue;
		driver_find_turn(d, index, &session, &turn);
		if (in_share(d->share, session))
			return index;
	}
	return -1;
}

int64_t driver_unsent_after(const struct driver *d, int64_t index)
{
	int64_t next = next_index(d);

	if (d->level.kind == LOAD_SESSIONS)
		return unsent_turn_after(d, index);
	if (index >= next)
		next = index + d->share.step;
	return share_of(d->share, next) < driver_planned(d) ? next : -1;
}

void driver_find_turn(const struct driver *d, int64_t index, int64_t *session, int *turn)
{
	int64_t low = 0, high = d->level.conversations;

	CHECK(d->first_index && index >= 0 && index < d->first_index[high]);
	while (high - low > 1) {
		int64_t middle = low + (high - low) / 2;

		if (d->first_index[middle] <= index)
			low = middle;
		else
			high = middle;
	}
	*session = low;
	*turn = (int)(index - d->first_index[low]);
}

int64_t driver_in_flight(const struct driver *d)
{
	return d->in_flight;
}

int64_t driver_sched_ns(const struct driver *d, int64_t index)
{
	if (d->level.kind != LOAD_OPEN)
		return d->start_ns;
	CHECK(index >= 0 && index < d->n_arrivals);
	return d->arrival_ns[index];
}

int64_t driver_deadline_ns(const struct driver *d)
{
	return d->deadline_ns;
}
