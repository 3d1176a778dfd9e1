/*
 * Owns a run: the loop, the results folder, every record, and a deployment and a lane a target.
 * Everything happens on the main thread.
 *
 * A run is a list of phases (phases.h). A phase puts one level on one or more lanes (lane.h) at
 * once and ends when all of them are over. Knows no driver, no bytes, no JSON, no figures.
 */
#include "run.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arrival.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/log.h"
#include "base/units.h"
#include "curve.h"
#include "deployment.h"
#include "find.h"
#include "lane.h"
#include "phases.h"
#include "results.h"
#include "scrape.h"
#include "self_watch.h"
#include "transport.h"
#include "workload.h"

#define FLUSH_NS	 (100 * NS_PER_MS)
#define LOOK_UP_REQUESTS 1024

struct run;

/* A target of the run. */
struct site {
	struct run *run;
	int index; /* of the target */
	struct deployment at;
	struct lane *lane;
	int point; /* the lane's, of the last phase it was driven in */
};

struct run {
	struct scenario *s;
	struct evloop *loop;
	struct results *results;
	struct self_watch *watch;
	struct progress *progress;
	struct site *sites; /* one a target */

	struct record *records;
	size_t n_records, cap_records;
	struct point *points;
	size_t n_points, cap_points;
	int64_t failures;
	const char *ended; /* why it stops early; NULL = it does not */

	struct phase *phases;
	int n_phases, phases_done, phases_expected; /* a search goes through some of them */

	/* this phase */
	struct lane_load load;
	struct site *active; /* n_active of sites[], those of the phase */
	int n_active, n_open;
	size_t first_record;
	struct timer flush, show;
	int64_t tokens;			    /* of all lanes, since the run began */
	int64_t rate_tokens, rate_since_ns; /* where the progress line counts its rate from */
	int64_t looked_up_ns; /* virtual time: when the wall's clock was last looked at */
	struct hist *ttft_us;
};

/* Ctrl-C. The first lets the run end in order; the second leaves at once: written rows stay, the
 * keepers end the engines. */
static volatile sig_atomic_t interrupts;
static struct evloop *interrupt_loop;

static void on_interrupt(int signo)
{
	int saved = errno;

	(void)signo;
	interrupts++;
	if (interrupts > 1)
		_exit(130);
	if (interrupt_loop)
		evloop_notify(interrupt_loop);
	errno = saved;
}

static void catch_interrupts(struct evloop *loop)
{
	struct sigaction act = {.sa_handler = on_interrupt};

	interrupt_loop = loop;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

static void keep_record(struct run *r, const struct record *rec)
{
	if (r->n_records == r->cap_records) {
		r->cap_records = r->cap_records ? 2 * r->cap_records : 1024;
		r->records = xreallocarray(r->records, r->cap_records, sizeof(*r->records));
	}
	r->records[r->n_records++] = *rec;
	results_add_record(r->results, rec);
}

/* Nothing new starts; what is in flight is cancelled and recorded. */
static void end_early(struct run *r, const char *why, int64_t now_ns)
{
	if (r->ended)
		return;
	r->ended = why;
	for (int i = 0; i < r->n_active; i++)
		lane_stop(r->active[i].lane, why, now_ns);
	if (r->n_active == 0 || r->n_open == 0)
		evloop_stop(r->loop);
}

static void on_notify(void *arg)
{
	struct run *r = arg;

	if (interrupts)
		end_early(r, "interrupted", evloop_now_ns(r->loop));
}

static void on_flush(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, flush));

	results_flush(r->results);
	evloop_timer(r->loop, t, now_ns + FLUSH_NS);
}

static void describe_level(const struct run *r, int64_t now_ns, char *out, size_t cap)
{
	const struct level *v = &r->load.level;
	bool ending = v->duration_ns && now_ns - r->load.start_ns > v->duration_ns;
	char repeat[16] = "", behind[32], label[32];

	if (r->s->repeats > 1)
		snprintf(repeat, sizeof(repeat), " #%d", r->load.phase->repeat + 1);
	snprintf(behind, sizeof(behind), "%s%s", repeat, ending ? " (ending)" : "");
	if (r->load.phase->level < 0)
		snprintf(out, cap, "warm-up");
	else {
		level_label(v, label, sizeof(label));
		snprintf(out, cap, "%s%s", label, behind);
	}
}

static void restart_rate(struct run *r, int64_t now_ns)
{
	r->rate_tokens = r->tokens;
	r->rate_since_ns = now_ns;
}

static void show_progress(struct run *r, int64_t now_ns)
{
	struct progress_now now = {.point = r->phases_done, .points = r->phases_expected};
	char target[64], level[64];
	double share = 0; /* of this phase */

	describe_level(r, now_ns, level, sizeof(level));
	snprintf(target, sizeof(target), "%d targets", r->n_active);
	now.target = r->n_active == 1 ? r->active[0].at.target->name : target;
	now.level = level;
	for (int i = 0; i < r->n_active; i++) {
		struct lane_counts n = lane_count(r->active[i].lane);

		now.done += n.done;
		now.failed += n.failed;
		now.running += n.in_flight;
		if (r->load.level.requests > 0 || r->load.level.conversations > 0 ||
		    r->load.level.kind == LOAD_OPEN)
			now.planned += n.planned;
	}
	if (now.planned > 0)
		share = (double)now.done / (double)now.planned;
	else if (r->load.level.duration_ns > 0)
		share = fmin(1, (double)(now_ns - r->load.start_ns) /
					(double)r->load.level.duration_ns);
	now.fraction = (r->phases_done + share) / r->phases_expected;
	if (now_ns > r->rate_since_ns)
		now.output_tokens_per_s =
			(double)(r->tokens - r->rate_tokens) / ns_to_s(now_ns - r->rate_since_ns);
	now.ttft_p50_ms =
		hist_count(r->ttft_us) ? (double)hist_quantile(r->ttft_us, 0.5) / 1e3 : NAN;
	if (now_ns - r->rate_since_ns >= NS_PER_S)
		restart_rate(r, now_ns);
	progress_show(r->progress, &now, monotonic_now_ns());
}

static void on_show(struct timer *t, int64_t now_ns)
{
	struct run *r = (struct run *)((char *)t - offsetof(struct run, show));

	show_progress(r, now_ns);
	evloop_timer(r->loop, t, now_ns + progress_interval_ns(r->progress));
}

/* In virtual time a timer a few times a second would be most of the work, and in the way of steps
 * taken many at once. What people and disks want is looked after between requests instead. */
static void look_up(struct run *r, int64_t now_ns)
{
	int64_t interval_ns = progress_interval_ns(r->progress), wall_ns = monotonic_now_ns();

	results_flush(r->results);
	if (interval_ns == 0 || wall_ns - r->looked_up_ns < interval_ns)
		return;
	r->looked_up_ns = wall_ns;
	show_progress(r, now_ns);
}

/* What lanes say (lane.h): on_row() to on_over(). */
static void on_row(void *arg, const struct record *rec, int64_t now_ns)
{
	struct run *r = arg;

	keep_record(r, rec);
	if (rec->outcome == OUTCOME_DROPPED)
		return;
	if (!record_ok(rec))
		r->failures++;
	else if (rec->token1_ns >= 0)
		hist_record(r->ttft_us, (rec->token1_ns - rec->send_ns) / NS_PER_US);
	if (r->s->clock == RUN_CLOCK_VIRTUAL && r->n_records % LOOK_UP_REQUESTS == 0)
		look_up(r, now_ns);
}

static void on_settled(void *arg, int64_t now_ns)
{
	struct run *r = arg;

	if (r->s->limits.max_failures > 0 && r->failures >= r->s->limits.max_failures)
		end_early(r, "max_failures", now_ns);
}

static void on_token(void *arg)
{
	((struct run *)arg)->tokens++;
}

static void on_over(void *arg)
{
	struct run *r = arg;

	if (--r->n_open == 0)
		evloop_stop(r->loop);
}

static void on_scraped(void *arg, int64_t t_ns, const char *name, double value)
{
	struct site *t = arg;

	results_add_server(t->run->results, t->index, t->point, t_ns, name, value);
	if (strcmp(name, "waiting") == 0)
		lane_waiting(t->lane, value);
}

/* The receive stamps' lag since it was last forgotten; NULL where there are no such stamps. */
static struct hist *receive_lag(const struct site *t)
{
	struct transport_stats stats = {0};

	t->at.transport_type->stats(t->at.transport, &stats);
	return stats.receive_lag_ns;
}

/* The point of a target whose lane has just gone through a phase. */
static void compute_point(const struct site *t, struct self_watch_point self, int64_t end_ns)
{
	struct run *r = t->run;
	const struct record **mine =
		xcalloc(r->n_records - r->first_record + 1, sizeof(struct record *));
	const struct hist *lag = receive_lag(t);
	struct point *p;
	size_t n = 0;

	for (size_t i = r->first_record; i < r->n_records; i++)
		if (r->records[i].point == t->point)
			mine[n++] = &r->records[i];
	if (lag && hist_count(lag))
		self.receive_error_p99_us = (double)hist_quantile(lag, 0.99) / 1e3;
	if (r->n_points == r->cap_points) {
		r->cap_points = r->cap_points ? 2 * r->cap_points : 64;
		r->points = xreallocarray(r->points, r->cap_points, sizeof(*r->points));
	}
	p = &r->points[r->n_points++];
	memset(p, 0, sizeof(*p));
	p->id = t->point;
	p->target = t->index;
	p->level = r->load.phase->level;
	p->repeat = r->load.phase->repeat;
	point_compute(p, r->s, mine, n, r->load.start_ns, &self);
	results_add_point(r->results, p, r->load.start_ns, end_ns);
	free(mine);
}

static void site_begin(struct site *t, const int64_t *arrivals, int64_t n_arrivals)
{
	struct run *r = t->run;
	const struct phase *p = r->load.phase;
	int point = p->level < 0 ? -1 : p->first_point + t->index - p->first_target;
	struct hist *lag;

	if (!lane_begin(t->lane, point, arrivals, n_arrivals))
		return;
	lag = receive_lag(t);
	if (lag)
		hist_reset(lag);
	t->point = point;
	r->n_open++;
}

/* What has started has ended: the lane's rows become its point. */
static void site_end(struct site *t, const struct self_watch_point *self, int64_t end_ns)
{
	struct lane_counts n = lane_count(t->lane);

	if (!n.driven)
		return;
	lane_end(t->lane, t->run->ended, end_ns);
	if (t->point >= 0)
		compute_point(t, *self, end_ns);
	deployment_tell_death(&t->at, n.failed > 0);
}

/* What a person and a disk want a few times a second, and how well the client keeps up. In virtual
 * time there is none to keep up, and look_up() does the rest. */
static void begin_housekeeping(struct run *r)
{
	self_watch_start(r->watch, r->load.start_ns);
	if (progress_interval_ns(r->progress) > 0)
		evloop_timer(r->loop, &r->show,
			     r->load.start_ns + progress_interval_ns(r->progress));
	evloop_timer(r->loop, &r->flush, r->load.start_ns + FLUSH_NS);
}

static void end_housekeeping(struct run *r, int64_t end_ns, struct self_watch_point *self)
{
	evloop_timer_cancel(r->loop, &r->show);
	evloop_timer_cancel(r->loop, &r->flush);
	self_watch_stop(r->watch, end_ns, self);
}

/* One level, on the lanes of all `active` sites at once. */
static void run_phase(struct run *r)
{
	struct self_watch_point self = {NAN, NAN, NAN, NAN};
	int64_t *arrivals = NULL, n_arrivals = 0, end_ns;

	r->load.level = phase_level(r->s, r->load.phase);
	if (r->load.level.kind == LOAD_OPEN)
		arrivals =
			arrival_times(&r->load.level, workload_trace(r->load.workload), r->s->seed,
				      r->load.phase->level, r->load.phase->repeat, &n_arrivals);
	r->first_record = r->n_records;
	hist_reset(r->ttft_us);
	r->load.start_ns = evloop_now_ns(r->loop);
	restart_rate(r, r->load.start_ns);
	r->n_open = 0;
	for (int i = 0; i < r->n_active; i++)
		site_begin(&r->active[i], arrivals, n_arrivals);
	free(arrivals);
	if (r->s->clock == RUN_CLOCK_REAL)
		begin_housekeeping(r);
	for (int i = 0; i < r->n_active; i++)
		lane_pump(r->active[i].lane, evloop_now_ns(r->loop));
	while (r->n_open > 0)
		evloop_run(r->loop);
	end_ns = evloop_now_ns(r->loop);
	if (r->s->clock == RUN_CLOCK_REAL)
		end_housekeeping(r, end_ns, &self);
	for (int i = 0; i < r->n_active; i++)
		site_end(&r->active[i], &self, end_ns);
	if (!r->s->output.events)
		for (size_t i = r->first_record; i < r->n_records; i++)
			record_release(&r->records[i]);
	results_flush(r->results);
}

static enum rc site_open(struct site *t, bool look, bool *hopeless, struct err *e)
{
	const struct limits *limits = &t->run->s->limits;
	/* A simulated engine has no habits to be learnt. */
	bool is_real = t->run->s->clock != RUN_CLOCK_VIRTUAL;
	enum rc rc = deployment_open(&t->at, limits->connect_ns, e);

	*hopeless = false;
	if (!rc && (look || (t->at.launched && !t->at.model)))
		rc = deployment_look(&t->at, limits, look && is_real, hopeless, e);
	return rc;
}

/* The targets whose engines somebody else runs, before anything is written or launched. If none of
 * them would answer no load is sent: there is nothing to measure. */
static enum rc look_at_deployed(struct run *r, bool look, struct err *e)
{
	int n_hopeless = 0;
	enum rc rc;

	for (int i = 0; i < r->s->n_targets && !interrupts; i++) {
		bool hopeless;

		if (r->s->targets[i].launch)
			continue;
		rc = site_open(&r->sites[i], look, &hopeless, e);
		if (rc)
			return rc;
		n_hopeless += hopeless;
	}
	if (n_hopeless == r->s->n_targets)
		return err_set(e, RC_IO,
			       "no target would answer, so no load was sent; start an engine, let "
			       "the scenario `launch:` one, or use --no-preflight to record the "
			       "failures");
	return RC_OK;
}

/* The engines that are ours: started together, then waited for, then opened. */
static enum rc sites_launch(struct run *r, bool look, struct err *e)
{
	enum rc rc = RC_OK;

	for (int i = 0; i < r->n_active && !rc; i++) {
		struct site *t = &r->active[i];
		char *log_path = xasprintf("%s/engine-%d.log", results_dir(r->results), t->index);

		rc = deployment_launch(&t->at, log_path, e);
		free(log_path);
	}
	for (int i = 0; i < r->n_active && !rc; i++)
		rc = deployment_wait_ready(&r->active[i].at, e);
	for (int i = 0; i < r->n_active && !rc && !interrupts; i++) {
		bool hopeless; /* a launched engine's failures are recorded */

		if (r->active[i].at.launched)
			rc = site_open(&r->active[i], look, &hopeless, e);
	}
	return rc;
}

static enum rc sites_prepare(struct run *r, bool look, struct err *e)
{
	enum rc rc = sites_launch(r, look, e);

	for (int i = 0; i < r->n_active && !rc; i++)
		if (r->active[i].at.looked)
			results_add_preflight(r->results, r->active[i].index,
					      &r->active[i].at.found);
	for (int i = 0; i < r->n_active && !rc && !interrupts && r->s->output.scrape_ns; i++) {
		struct err note;

		deployment_watch(&r->active[i].at, r->s->output.scrape_ns, on_scraped,
				 &r->active[i], &note);
		if (note.msg[0])
			results_add_note(r->results, note.msg);
	}
	return interrupts ? RC_OK : rc;
}

/* The phase behind `at`, from -1 to n_phases. */
static int phase_after(const struct run *r, int at)
{
	return r->s->find
		       ? find_phase_after(r->s, r->phases, r->n_phases, at, r->points, r->n_points)
		       : at + 1;
}

/* Phases of the same targets follow one another. */
static bool same_targets(const struct run *r, int a, int b)
{
	return a >= 0 && b < r->n_phases && r->phases[a].first_target == r->phases[b].first_target;
}

/* The phases in order; the targets' engines live from their first phase to their last. */
static enum rc run_phases(struct run *r, bool look, struct err *e)
{
	enum rc rc = RC_OK;
	int last = -1;

	for (int i = phase_after(r, -1), next; i < r->n_phases && !rc && !r->ended; i = next) {
		r->load.phase = &r->phases[i];
		r->active = r->sites + r->load.phase->first_target;
		r->n_active = r->load.phase->n_targets;
		if (!same_targets(r, last, i))
			rc = sites_prepare(r, look, e);
		if (interrupts)
			end_early(r, "interrupted", evloop_now_ns(r->loop));
		if (!rc && !r->ended)
			run_phase(r);
		r->phases_done++;
		next = phase_after(r, i);
		for (int k = 0; k < r->n_active && (rc || r->ended || !same_targets(r, i, next));
		     k++)
			deployment_close(&r->active[k].at);
		last = i;
	}
	return rc;
}

static void run_open(struct run *r, struct scenario *s, const struct run_opts *o)
{
	memset(r, 0, sizeof(*r));
	r->s = s;
	r->loop = s->clock == RUN_CLOCK_VIRTUAL ? evloop_new_virtual(0) : evloop_new();
	r->watch = self_watch_new(r->loop);
	r->progress = progress_new(o->progress);
	r->looked_up_ns = monotonic_now_ns();
	r->ttft_us = hist_new();
	r->flush.fn = on_flush;
	r->show.fn = on_show;
	r->load = (struct lane_load){
		.scenario = s,
		.loop = r->loop,
		.keep = on_row,
		.settled = on_settled,
		.token = on_token,
		.over = on_over,
		.arg = r,
	};
	r->sites = xcalloc((size_t)s->n_targets, sizeof(*r->sites));
	for (int i = 0; i < s->n_targets; i++) {
		struct site *t = &r->sites[i];

		t->run = r;
		t->index = i;
		deployment_init(&t->at, &s->targets[i], r->loop, &interrupts);
		t->lane = lane_new(&r->load, i, &t->at);
	}
	r->phases = phases_new(s, &r->n_phases);
	r->phases_expected = r->n_phases;
	if (s->find)
		r->phases_expected =
			s->n_targets * ((s->warmup_requests > 0) + s->repeats * find_probes(s));
	evloop_on_notify(r->loop, on_notify, r);
	catch_interrupts(r->loop);
}

static void run_close(struct run *r)
{
	interrupt_loop = NULL;
	for (int i = 0; i < r->s->n_targets; i++) {
		deployment_close(&r->sites[i].at);
		lane_free(r->sites[i].lane);
	}
	progress_free(r->progress);
	self_watch_free(r->watch);
	hist_free(r->ttft_us);
	workload_free(r->load.workload);
	evloop_free(r->loop);
	free(r->sites);
	free(r->phases);
}

static char *utc_now(void)
{
	char text[32];
	time_t t = time(NULL);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return xstrdup(text);
}

enum rc run_scenario(struct scenario *s, const struct run_opts *o, struct run_done *out,
		     struct err *e)
{
	struct err close_err;
	struct run r;
	enum rc rc;

	memset(out, 0, sizeof(*out));
	run_open(&r, s, o);
	out->started_utc = utc_now();
	rc = workload_new(&r.load.workload, s, e);
	if (!rc)
		rc = look_at_deployed(&r, o->preflight, e);
	if (!rc)
		rc = results_create(&r.results, o->out_dir, s, evloop_now_ns(r.loop), e);
	if (!rc)
		rc = run_phases(&r, o->preflight, e);
	out->ended = rc ? "failed to start" : r.ended ? r.ended : "complete";
	out->records = r.records;
	out->n_records = r.n_records;
	out->points = r.points;
	out->n_points = r.n_points;
	if (r.results) {
		out->dir = xstrdup(results_dir(r.results));
		if (results_close(r.results, out->ended, &close_err) != RC_OK && !rc) {
			*e = close_err;
			rc = close_err.rc;
		}
	}
	run_close(&r);
	return rc;
}

void run_done_release(struct run_done *d)
{
	for (size_t i = 0; i < d->n_records; i++)
		record_release(&d->records[i]);
	free(d->records);
	free(d->points);
	free(d->dir);
	free(d->started_utc);
}
