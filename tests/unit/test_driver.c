/*
 * Who may start: single steps by hand, then a simulated server of random service times behind every
 * kind of level, with callers who come on time and late, and the laws that must hold for all.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "loadgen/arrival.h"
#include "loadgen/driver.h"

#define MS NS_PER_MS

static const struct share whole = {0, 1};

static struct driver_step expect(struct driver *d, int64_t now_ns, enum driver_what what)
{
	struct driver_step step = driver_next(d, now_ns);

	assert_int_equal(step.what, what);
	return step;
}

static void expect_start(struct driver *d, int64_t now_ns, int64_t index, int64_t sched_ns)
{
	struct driver_step step = expect(d, now_ns, DRIVER_START);

	assert_int_equal(step.index, index);
	assert_int_equal(step.sched_ns, sched_ns);
}

/* ---- by hand ---- */

static void test_closed_by_requests(void **state)
{
	struct level l = {.kind = LOAD_CLOSED, .concurrency = 2, .requests = 4};
	struct driver *d = driver_new(&l, whole, 100, NULL, 0);

	(void)state;
	assert_int_equal(driver_planned(d), 4);
	assert_int_equal(driver_deadline_ns(d), INT64_MAX);
	expect_start(d, 103, 0, 100);
	expect_start(d, 105, 1, 100);
	expect(d, 106, DRIVER_BLOCK);
	/* Slots are planned for when they became free, first freed first, however late one asks. */
	driver_ended(d, 200);
	driver_ended(d, 210);
	expect_start(d, 300, 2, 200);
	expect_start(d, 301, 3, 210);
	expect(d, 302, DRIVER_DRAIN);
	driver_ended(d, 400);
	expect(d, 400, DRIVER_DRAIN);
	driver_ended(d, 401);
	expect(d, 401, DRIVER_OVER);
	assert_int_equal(driver_started(d), 4);
	assert_int_equal(driver_in_flight(d), 0);
	assert_int_equal(driver_planned(d), 4);
	driver_free(d);
}

static void test_closed_by_duration(void **state)
{
	struct level l = {.kind = LOAD_CLOSED, .concurrency = 1, .duration_ns = 1000};
	struct driver *d = driver_new(&l, whole, 100, NULL, 0);

	(void)state;
	assert_int_equal(driver_deadline_ns(d), 1100);
	expect_start(d, 100, 0, 100);
	/* Blocked, but not beyond the level's end: the caller starts the grace period then. */
	assert_int_equal(expect(d, 101, DRIVER_WAIT).at_ns, 1100);
	driver_ended(d, 1099);
	expect_start(d, 1099, 1, 1099);
	assert_int_equal(expect(d, 1099, DRIVER_WAIT).at_ns, 1100);
	expect(d, 1100, DRIVER_DRAIN);
	driver_ended(d, 1200);
	expect(d, 1200, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 2);
	driver_free(d);
}

static void test_closed_by_both(void **state)
{
	struct level l = {
		.kind = LOAD_CLOSED, .concurrency = 1, .requests = 3, .duration_ns = 1000};
	struct driver *d = driver_new(&l, whole, 0, NULL, 0);

	(void)state;
	expect_start(d, 0, 0, 0);
	assert_int_equal(driver_planned(d), 3); /* as far as one knows */
	driver_ended(d, 1000);
	expect(d, 1000, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 1); /* the time came first: no request was dropped */
	driver_free(d);

	d = driver_new(&l, whole, 0, NULL, 0);
	for (int64_t i = 0; i < 3; i++) {
		expect_start(d, 10 * i, i, 10 * i);
		driver_ended(d, 10 * (i + 1));
	}
	expect(d, 30, DRIVER_OVER); /* and here the count: nobody waits for the end */
	assert_int_equal(driver_planned(d), 3);
	driver_free(d);
}

static void test_open(void **state)
{
	static const int64_t at[] = {10, 20, 30, 1000};
	struct level l = {.kind = LOAD_OPEN, .rate_per_s = 1, .requests = 4};
	struct driver *d = driver_new(&l, whole, 100, at, 4);

	(void)state;
	assert_int_equal(driver_planned(d), 4);
	assert_int_equal(expect(d, 100, DRIVER_WAIT).at_ns, 110);
	/* A late caller gets all that is due at once, each with its own time. */
	expect_start(d, 125, 0, 110);
	expect_start(d, 125, 1, 120);
	assert_int_equal(expect(d, 125, DRIVER_WAIT).at_ns, 130);
	expect_start(d, 130, 2, 130);
	driver_ended(d, 500); /* an end moves nothing */
	assert_int_equal(expect(d, 500, DRIVER_WAIT).at_ns, 1100);
	assert_int_equal(driver_sched_ns(d, 3), 1100);
	expect_start(d, 5000, 3, 1100);
	expect(d, 5000, DRIVER_DRAIN);
	for (int i = 0; i < 3; i++)
		driver_ended(d, 6000);
	expect(d, 6000, DRIVER_OVER);
	driver_free(d);
}

static void test_open_cap(void **state)
{
	static const int64_t at[] = {10, 20, 30, 40};
	struct level l = {.kind = LOAD_OPEN, .rate_per_s = 1, .concurrency = 1, .duration_ns = 100};
	struct driver *d = driver_new(&l, whole, 0, at, 4);

	(void)state;
	expect_start(d, 10, 0, 10);
	assert_int_equal(expect(d, 35, DRIVER_WAIT).at_ns, 100);
	driver_ended(d, 50);
	expect_start(d, 50, 1, 20); /* held back, not moved */
	expect(d, 100, DRIVER_DRAIN);
	driver_ended(d, 120);
	expect(d, 120, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 4);
	assert_int_equal(driver_started(d), 2);
	driver_free(d);

	/* Nobody asked at the deadline: what was held back until then is dropped all the same. */
	d = driver_new(&l, whole, 0, at, 4);
	expect_start(d, 10, 0, 10);
	driver_ended(d, 130);
	expect(d, 130, DRIVER_OVER);
	driver_free(d);

	/* Not held back, only asked for late: it starts. */
	d = driver_new(&l, whole, 0, at, 1);
	expect_start(d, 101, 0, 10);
	driver_free(d);
}

static void test_nothing_to_do(void **state)
{
	struct level l = {.kind = LOAD_OPEN, .rate_per_s = 1, .duration_ns = 100};
	struct driver *d = driver_new(&l, whole, 0, NULL, 0);

	(void)state;
	expect(d, 0, DRIVER_OVER);
	driver_free(d);
	driver_free(NULL);
}

/* Cut short: what was due by then is planned, what was to come is not. */
static void test_cut(void **state)
{
	static const int64_t at[] = {10, 20, 30, 1000};
	struct level open = {.kind = LOAD_OPEN, .rate_per_s = 1, .requests = 4, .concurrency = 1};
	struct level closed = {.kind = LOAD_CLOSED, .concurrency = 1, .requests = 50};
	struct driver *d = driver_new(&open, whole, 0, at, 4);

	(void)state;
	expect_start(d, 10, 0, 10);
	driver_cut(d, 25);
	assert_int_equal(driver_deadline_ns(d), 25);
	expect(d, 25, DRIVER_DRAIN);
	driver_ended(d, 40);
	expect(d, 40, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 2); /* the second was held back by the cap: dropped */
	assert_int_equal(driver_started(d), 1);
	driver_free(d);

	d = driver_new(&closed, whole, 0, NULL, 0);
	expect_start(d, 0, 0, 0);
	driver_cut(d, 25);
	driver_ended(d, 40);
	expect(d, 40, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 1);
	driver_free(d);
}

/* ---- sessions by hand ---- */

static int two_turns(void *arg, int64_t session)
{
	(void)arg;
	return session == 1 ? 1 : 2;
}

static int64_t think_by_index(void *arg, int64_t index)
{
	(void)arg;
	return 10 * (index + 1);
}

static const struct session_source by_hand = {two_turns, think_by_index, NULL};

static void expect_turn(struct driver *d, int64_t now_ns, int64_t index, int user, int64_t session,
			int turn, int64_t sched_ns)
{
	struct driver_step step = expect(d, now_ns, DRIVER_START);

	assert_int_equal(step.index, index);
	assert_int_equal(step.user, user);
	assert_int_equal(step.session, session);
	assert_int_equal(step.turn, turn);
	assert_int_equal(step.sched_ns, sched_ns);
}

/* Three conversations of 2, 1 and 2 turns, held by two users. */
static void test_sessions(void **state)
{
	struct level l = {.kind = LOAD_SESSIONS, .concurrency = 2, .conversations = 3};
	struct driver *d = driver_new_sessions(&l, whole, 1000, &by_hand);
	int64_t session;
	int turn;

	(void)state;
	assert_int_equal(driver_planned(d), 5);
	expect_turn(d, 1000, 0, 0, 0, 0, 1000);
	expect_turn(d, 1001, 2, 1, 1, 0, 1000);
	expect(d, 1001, DRIVER_BLOCK);
	/* The next turn is planned for the end of the answer and the time to think. */
	driver_turn_ended(d, 0, true, 2000);
	assert_int_equal(expect(d, 2000, DRIVER_WAIT).at_ns, 2010);
	driver_turn_ended(d, 1, true, 2005);
	assert_int_equal(expect(d, 2005, DRIVER_WAIT).at_ns, 2010);
	expect_turn(d, 2050, 1, 0, 0, 1, 2010);
	expect_turn(d, 2050, 3, 1, 2, 0, 2035); /* the next conversation goes to who is free */
	driver_turn_ended(d, 0, true, 2060);
	expect(d, 2080, DRIVER_BLOCK); /* and user 0 leaves: there is none left */
	driver_turn_ended(d, 1, true, 2090);
	expect_turn(d, 2140, 4, 1, 2, 1, 2130);
	driver_turn_ended(d, 1, true, 3000);
	assert_int_equal(expect(d, 3000, DRIVER_WAIT).at_ns, 3050);
	expect(d, 3050, DRIVER_OVER);
	assert_int_equal(driver_started(d), 5);
	driver_find_turn(d, 3, &session, &turn);
	assert_true(session == 2 && turn == 0);
	driver_find_turn(d, 1, &session, &turn);
	assert_true(session == 0 && turn == 1);
	driver_find_turn(d, 2, &session, &turn);
	assert_true(session == 1 && turn == 0);
	driver_free(d);
}

/* A turn that fails takes the rest of its conversation along. */
static void test_sessions_failure(void **state)
{
	struct level l = {.kind = LOAD_SESSIONS, .concurrency = 1, .conversations = 2};
	struct driver *d = driver_new_sessions(&l, whole, 0, &by_hand);

	(void)state;
	expect_turn(d, 0, 0, 0, 0, 0, 0);
	driver_turn_ended(d, 0, false, 100);
	expect_turn(d, 110, 2, 0, 1, 0, 110);
	driver_turn_ended(d, 0, true, 200);
	expect(d, 230, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 3);
	assert_int_equal(driver_started(d), 2);
	assert_int_equal(driver_unsent_after(d, -1), 1);
	assert_int_equal(driver_unsent_after(d, 1), -1);
	driver_free(d);
}

static void test_sessions_by_duration(void **state)
{
	struct level l = {.kind = LOAD_SESSIONS, .concurrency = 1, .duration_ns = 1000};
	struct driver *d = driver_new_sessions(&l, whole, 0, &by_hand);

	(void)state;
	expect_turn(d, 0, 0, 0, 0, 0, 0);
	assert_int_equal(expect(d, 0, DRIVER_WAIT).at_ns, 1000);
	driver_turn_ended(d, 0, true, 995);
	/* Thinking beyond the end: the end comes first, and nothing was dropped. */
	assert_int_equal(expect(d, 995, DRIVER_WAIT).at_ns, 1000);
	expect(d, 1000, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 1);
	assert_int_equal(driver_unsent_after(d, -1), -1);
	driver_free(d);

	l.conversations = 5; /* both ends, and the time is over first */
	d = driver_new_sessions(&l, whole, 0, &by_hand);
	expect_turn(d, 0, 0, 0, 0, 0, 0);
	assert_int_equal(driver_planned(d), 9);
	expect(d, 1000, DRIVER_DRAIN);
	driver_turn_ended(d, 0, true, 1100);
	expect(d, 1100, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 1);
	driver_free(d);

	d = driver_new_sessions(&l, whole, 0, &by_hand); /* stopped: what was planned is dropped */
	expect_turn(d, 0, 0, 0, 0, 0, 0);
	driver_stop(d);
	driver_turn_ended(d, 0, false, 100);
	expect(d, 100, DRIVER_OVER);
	assert_int_equal(driver_planned(d), 9);
	assert_int_equal(driver_unsent_after(d, -1), 1);
	assert_int_equal(driver_unsent_after(d, 6), 7);
	assert_int_equal(driver_unsent_after(d, 8), -1);
	driver_free(d);
}

/* ---- shares ---- */

enum { SHARED_REQUESTS = 20 };

/* Which requests a share starts, each ending at once; how often each was seen goes up. */
static void play_share(const struct level *l, struct share share, const int64_t *arrivals,
		       int *seen, bool stop_halfway)
{
	bool sessions = l->kind == LOAD_SESSIONS;
	struct driver *d = sessions ? driver_new_sessions(l, share, 0, &by_hand)
				    : driver_new(l, share, 0, arrivals, SHARED_REQUESTS);
	int64_t now_ns = 0, started = 0;

	for (;;) {
		struct driver_step step = driver_next(d, now_ns);

		if (step.what == DRIVER_OVER)
			break;
		if (step.what == DRIVER_WAIT) {
			now_ns = step.at_ns;
			continue;
		}
		assert_int_equal(step.what, DRIVER_START);
		assert_in_range(step.index, 0, SHARED_REQUESTS - 1);
		seen[step.index]++;
		started++;
		if (arrivals)
			assert_int_equal(step.sched_ns, arrivals[step.index]);
		if (sessions) {
			assert_int_equal(step.session % share.step, share.first);
			assert_int_equal(step.user % share.step, share.first);
			assert_in_range(step.user, 0, l->concurrency - 1);
			driver_turn_ended(d, step.user, true, now_ns);
		} else {
			assert_int_equal(step.index % share.step, share.first);
			driver_ended(d, now_ns);
		}
		if (stop_halfway && started == 2)
			driver_stop(d);
	}
	for (int64_t k = -1; (k = driver_unsent_after(d, k)) >= 0; started++)
		seen[k]++;
	assert_int_equal(started, driver_planned(d));
	driver_free(d);
}

/* Whatever the number of shares and whether or not all is sent: each request is in one of them. */
static void test_shares(void **state)
{
	static const struct level levels[] = {
		{.kind = LOAD_CLOSED, .concurrency = 7, .requests = SHARED_REQUESTS},
		{.kind = LOAD_OPEN, .duration_ns = 10000},
		{.kind = LOAD_SESSIONS, .concurrency = 7, .conversations = 10},
	};
	static const int requests[] = {SHARED_REQUESTS, SHARED_REQUESTS, 19};
	int64_t arrivals[SHARED_REQUESTS];

	(void)state;
	for (int i = 0; i < SHARED_REQUESTS; i++)
		arrivals[i] = 100 * i + i % 3;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		for (int n = 1; n <= 7; n++) {
			for (int stop = 0; stop < 2; stop++) {
				int seen[SHARED_REQUESTS] = {0};

				for (int w = 0; w < n; w++)
					play_share(&levels[i], (struct share){w, n},
						   levels[i].kind == LOAD_OPEN ? arrivals : NULL,
						   seen, stop);
				for (int k = 0; k < requests[i]; k++)
					assert_int_equal(seen[k], 1);
			}
		}
	}
}

/* ---- laws ---- */

enum { MAX_IN_FLIGHT = 4096 };

struct server {
	int64_t end_ns[MAX_IN_FLIGHT]; /* of what is in flight */
	int n;
};

static int earliest(const struct server *s)
{
	int first = -1;

	for (int i = 0; i < s->n; i++)
		if (first < 0 || s->end_ns[i] < s->end_ns[first])
			first = i;
	return first;
}

struct play {
	struct level level;
	int64_t late_ns;    /* the caller comes up to so much later than it was told to */
	int64_t service_ns; /* mean */
	int64_t stop_ns;    /* driver_stop() is called then; 0 = never */
};

struct outcome {
	int64_t started, dropped, peak, last_start_ns, over_ns;
};

static int64_t up_to(struct rng *r, int64_t bound)
{
	return bound ? (int64_t)rng_below(r, (uint64_t)bound + 1) : 0;
}

static void check_start(const struct driver *d, const struct level *l,
			const struct driver_step *step, int64_t now_ns, int64_t start_ns,
			const int64_t *arrivals)
{
	assert_true(step->sched_ns <= now_ns);
	if (arrivals) /* never moved */
		assert_int_equal(step->sched_ns, start_ns + arrivals[step->index]);
	else if (l->duration_ns)
		assert_true(now_ns < start_ns + l->duration_ns);
	if (l->kind != LOAD_OPEN || l->concurrency)
		assert_true(driver_in_flight(d) <= l->concurrency);
}

/* Plays a level to its end and checks every step on the way. */
static struct outcome play(const struct play *p, uint64_t seed)
{
	const struct level *l = &p->level;
	int64_t *arrivals = NULL, n = 0, now_ns = 5 * NS_PER_S, start_ns = now_ns, dropped;
	struct outcome o = {0};
	struct server server = {.n = 0};
	bool over = false, stopped = false;
	struct driver *d;
	struct rng r;

	rng_init(&r, seed, "driver test", 0);
	if (l->kind == LOAD_OPEN)
		arrivals = arrival_times(l, NULL, seed, 0, 0, &n);
	d = driver_new(l, whole, start_ns, arrivals, n);
	while (!over) {
		struct driver_step step;
		int64_t wake_ns = INT64_MAX;

		if (p->stop_ns && now_ns >= start_ns + p->stop_ns && !stopped) {
			driver_stop(d);
			stopped = true;
		}
		step = driver_next(d, now_ns);
		switch (step.what) {
		case DRIVER_START:
			assert_false(stopped);
			assert_int_equal(step.index, o.started);
			check_start(d, l, &step, now_ns, start_ns, arrivals);
			assert_true(server.n < MAX_IN_FLIGHT);
			server.end_ns[server.n++] = now_ns + 1 + up_to(&r, 2 * p->service_ns);
			o.started++;
			o.last_start_ns = now_ns - start_ns;
			o.peak = driver_in_flight(d) > o.peak ? driver_in_flight(d) : o.peak;
			assert_int_equal(driver_in_flight(d), server.n);
			continue;
		case DRIVER_WAIT:
			assert_true(step.at_ns > now_ns);
			wake_ns = step.at_ns + up_to(&r, p->late_ns);
			break;
		case DRIVER_BLOCK:
		case DRIVER_DRAIN:
			assert_true(server.n > 0); /* else nobody would ever wake it */
			break;
		case DRIVER_OVER:
			assert_int_equal(server.n, 0);
			over = true;
			continue;
		}
		if (p->stop_ns && !stopped && start_ns + p->stop_ns < wake_ns)
			wake_ns = start_ns + p->stop_ns;
		/* Whatever comes first: the time asked for, or a request's end. */
		if (earliest(&server) >= 0 && server.end_ns[earliest(&server)] <= wake_ns) {
			int first = earliest(&server);

			now_ns = server.end_ns[first] > now_ns ? server.end_ns[first] : now_ns;
			server.end_ns[first] = server.end_ns[--server.n];
			driver_ended(d, now_ns);
		} else {
			now_ns = wake_ns;
		}
	}
	assert_int_equal(driver_started(d), o.started);
	dropped = driver_planned(d) - driver_started(d);
	assert_true(dropped >= 0);
	for (int64_t k = -1; (k = driver_unsent_after(d, k)) >= 0; dropped--) /* lane.c's rows */
		assert_true(driver_sched_ns(d, k) >= start_ns);
	assert_int_equal(dropped, 0);
	dropped = driver_planned(d) - driver_started(d);
	if (l->kind == LOAD_OPEN)
		assert_int_equal(driver_planned(d), n);
	o.dropped = dropped;
	o.over_ns = now_ns - start_ns;
	driver_free(d);
	free(arrivals);
	return o;
}

#define OPEN(rate)                                                                                 \
	.kind = LOAD_OPEN, .rate_per_s = (rate), .arrival = ARRIVAL_POISSON, .burstiness = 1

static void test_laws(void **state)
{
	static const struct {
		struct play play;
		int64_t started; /* -1: any number but 0 */
		bool drops;	 /* some; else none */
	} row[] = {
		{{{LOAD_SERIAL, .concurrency = 1, .requests = 20}, 0, 7 * MS, 0}, 20, false},
		{{{LOAD_CLOSED, .concurrency = 1, .requests = 50}, 0, 7 * MS, 0}, 50, false},
		{{{LOAD_CLOSED, .concurrency = 8, .requests = 50}, 3 * MS, 7 * MS, 0}, 50, false},
		{{{LOAD_CLOSED, .concurrency = 64, .requests = 5}, 0, 7 * MS, 0}, 5, false},
		{{{LOAD_CLOSED, .concurrency = 8, .duration_ns = NS_PER_S}, 0, 7 * MS, 0},
		 -1,
		 false},
		{{{LOAD_CLOSED, .concurrency = 8, .duration_ns = NS_PER_S}, 9 * MS, MS, 0},
		 -1,
		 false},
		{{{LOAD_CLOSED, .concurrency = 8, .duration_ns = NS_PER_S, .requests = 30},
		  0,
		  7 * MS,
		  0},
		 30,
		 false},
		{{{LOAD_CLOSED, .concurrency = 8, .duration_ns = NS_PER_S, .requests = 100000},
		  0,
		  7 * MS,
		  0},
		 -1,
		 false},
		{{{LOAD_CLOSED, .concurrency = 8, .requests = 5000}, 0, 7 * MS, 400 * MS},
		 -1,
		 true},
		{{{LOAD_CLOSED, .concurrency = 8, .duration_ns = NS_PER_S}, 0, 7 * MS, 400 * MS},
		 -1,
		 false},
		{{{OPEN(200), .requests = 300}, 0, 20 * MS, 0}, 300, false},
		{{{OPEN(200), .requests = 300}, 50 * MS, 20 * MS, 0}, 300, false},
		{{{OPEN(200), .duration_ns = NS_PER_S}, 5 * MS, 20 * MS, 0}, -1, false},
		{{{OPEN(HUGE_VAL), .requests = 300}, 0, 20 * MS, 0}, 300, false},
		{{{OPEN(HUGE_VAL), .requests = 300, .concurrency = 7}, 0, 20 * MS, 0}, 300, false},
		{{{OPEN(200), .requests = 300, .concurrency = 2}, 0, 20 * MS, 0}, 300, false},
		{{{OPEN(200), .duration_ns = NS_PER_S, .concurrency = 2}, 0, 40 * MS, 0}, -1, true},
		{{{OPEN(200), .duration_ns = NS_PER_S, .concurrency = 2}, 5 * MS, 40 * MS, 0},
		 -1,
		 true},
		{{{OPEN(200), .requests = 300}, 0, 20 * MS, 500 * MS}, -1, true},
		{{{OPEN(200), .requests = 300, .duration_ns = 60 * NS_PER_S}, 0, 20 * MS, 0},
		 300,
		 false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const struct level *l = &row[i].play.level;

		for (uint64_t seed = 0; seed < 25; seed++) {
			struct outcome o = play(&row[i].play, seed);

			if (row[i].started >= 0)
				assert_int_equal(o.started, row[i].started);
			assert_true(o.started > 0);
			assert_int_equal(o.dropped > 0, row[i].drops);
			if (l->duration_ns)
				assert_true(o.last_start_ns < l->duration_ns + row[i].play.late_ns);
			/* All slots are used where there is enough to do. */
			if (l->kind == LOAD_CLOSED && !row[i].play.late_ns)
				assert_int_equal(o.peak, l->requests && l->requests < l->concurrency
								 ? l->requests
								 : l->concurrency);
		}
	}
}

/* An open loop offers the same load to a fast, a slow and a stalled server. */
static void test_open_stays_open(void **state)
{
	struct play fast = {{OPEN(100), .requests = 200}, 0, MS, 0}, slow = fast;
	struct outcome a, b;

	(void)state;
	slow.service_ns = 10 * NS_PER_S;
	a = play(&fast, 3);
	b = play(&slow, 3);
	assert_int_equal(a.last_start_ns, b.last_start_ns);
	assert_int_equal(a.last_start_ns, 2 * NS_PER_S);
	assert_true(b.peak > 150 && a.peak < 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closed_by_requests),
		cmocka_unit_test(test_closed_by_duration),
		cmocka_unit_test(test_closed_by_both),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_open_cap),
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_sessions_failure),
		cmocka_unit_test(test_sessions_by_duration),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_laws),
		cmocka_unit_test(test_open_stays_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
