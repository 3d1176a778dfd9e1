/*
 * Owns a run: the loop, the results folder, every record, and a deployment and a lane a target.
 * Everything happens on the main thread.
 *
 * A run is a list of phases (phases.h). A phase puts one level on one or more lanes (lane.h) at
 * once and ends when all of them are over; run_phase.c carries it out. Knows no driver, no bytes,
 * no JSON, no figures.
 */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "file_limit.h"
#include "find.h"
#include "run_parts.h"
#include "scrape.h"
#include "search.h"
#include "workload.h"

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

static void on_notify(void *arg)
{
	struct run *r = arg;

	if (interrupts)
		run_end_early(r, "interrupted", evloop_now_ns(r->loop));
}

static void on_scraped(void *arg, int64_t t_ns, const char *name, double value)
{
	struct site *t = arg;

	if (t->run->link)
		run_link_sample(t->run->link, t->index, t->point, t_ns, name, value);
	else
		results_add_server(t->run->results, t->index, t->point, t_ns, name, value);
	if (strcmp(name, "waiting") == 0)
		lane_waiting(t->lane, value);
}

static enum rc site_open(struct site *t, bool look, bool *hopeless, struct err *e)
{
	const struct limits *limits = &t->run->s->limits;
	enum rc rc = RC_OK;

	*hopeless = false;
	if (look || !t->at.model) /* which has to be learnt even if nothing else is */
		rc = deployment_look(&t->at, limits, look, hopeless, e);
	return rc ? rc : deployment_open(&t->at, limits->connect_ns, e);
}

/* The targets whose engines somebody else runs, before anything is written or launched. If none of
 * them would answer no load is sent: there is nothing to measure. */
static enum rc look_at_deployed(struct run *r, struct err *e)
{
	int n_hopeless = 0;
	enum rc rc;

	for (int i = 0; i < r->s->n_targets && !interrupts; i++) {
		bool hopeless;

		if (r->s->targets[i].launch)
			continue;
		rc = site_open(&r->sites[i], r->look, &hopeless, e);
		if (rc)
			return rc;
		n_hopeless += hopeless && r->look;
	}
	if (n_hopeless == r->s->n_targets)
		return err_set(e, RC_IO,
			       "no target would answer, so no load was sent; start an engine, let "
			       "the scenario `launch:` one, or use --no-preflight to record the "
			       "failures");
	return RC_OK;
}

/* The engines that are ours: started together, then waited for, then opened. */
static enum rc sites_launch(struct run *r, struct err *e)
{
	enum rc rc = RC_OK;

	for (int i = 0; i < r->n_active && !rc; i++) {
		struct site *t = &r->active[i];
		char *log_path;

		if (!t->at.target->launch)
			continue;
		log_path = xasprintf("%s/engine-%d.log", results_dir(r->results), t->index);
		rc = deployment_launch(&t->at, log_path, e);
		free(log_path);
	}
	for (int i = 0; i < r->n_active && !rc; i++)
		rc = deployment_wait_ready(&r->active[i].at, e);
	for (int i = 0; i < r->n_active && !rc && !interrupts; i++) {
		bool hopeless; /* a launched engine's failures are recorded */

		if (r->active[i].at.launched)
			rc = site_open(&r->active[i], r->look, &hopeless, e);
	}
	return rc;
}

static enum rc sites_prepare(struct run *r, struct err *e)
{
	enum rc rc = sites_launch(r, e);

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
	return b < r->n_phases && r->phases[a].first_target == r->phases[b].first_target;
}

enum rc run_targets(struct run *r, int first, int *next, struct err *e)
{
	enum rc rc;
	int i = first;

	r->active = r->sites + r->phases[first].first_target;
	r->n_active = r->phases[first].n_targets;
	r->load.phase = &r->phases[first];
	rc = sites_prepare(r, e);
	for (bool more = true; more && !rc && !r->ended; i = *next) {
		r->load.phase = &r->phases[i];
		if (interrupts)
			run_end_early(r, "interrupted", evloop_now_ns(r->loop));
		if (!r->ended)
			run_phase(r);
		r->phases_done++;
		*next = phase_after(r, i);
		more = same_targets(r, i, *next);
	}
	for (int k = 0; k < r->n_active; k++)
		deployment_close(&r->active[k].at);
	return rc;
}

int run_first_phase(const struct run *r, int target)
{
	if (r->s->find)
		return find_first_phase(r->s, r->phases, r->n_phases, NULL, 0, target);
	return target * (r->n_phases / r->s->n_targets);
}

/* How many phases a target goes through, at most. */
static int phases_a_target(const struct run *r)
{
	const struct scenario *s = r->s;

	return s->find ? (s->warmup_requests > 0) + s->repeats * find_probes(s)
		       : r->n_phases / s->n_targets;
}

int run_search_next(struct run *r, int *next)
{
	int n = search_next(r->s, r->points, r->n_points, next);

	r->phases_expected = r->phases_done + n * phases_a_target(r);
	return n;
}

static enum rc run_search(struct run *r, struct err *e)
{
	int *next = xcalloc((size_t)r->s->n_targets, sizeof(*next)), n = 1, behind;
	enum rc rc = RC_OK;

	while (n > 0 && !rc && !r->ended) {
		n = run_search_next(r, next);
		for (int i = 0; i < n && !rc && !r->ended; i++)
			rc = run_targets(r, run_first_phase(r, next[i]), &behind, e);
	}
	free(next);
	return rc;
}

/* The phases in order; the targets' engines live from their first phase to their last. */
static enum rc run_phases(struct run *r, struct err *e)
{
	enum rc rc = RC_OK;

	if (r->s->search)
		return run_search(r, e);
	for (int i = phase_after(r, -1), next = i; i < r->n_phases && !rc && !r->ended; i = next)
		rc = run_targets(r, i, &next, e);
	return rc;
}

/* Nobody reads what is asked in virtual time, but who talks back. */
static bool asks_in_words(const struct scenario *s)
{
	bool texts = s->clock != RUN_CLOCK_VIRTUAL;

	for (int i = 0; i < s->n_levels; i++)
		texts |= s->levels[i].kind == LOAD_SESSIONS || s->levels[i].batch;
	return !texts;
}

static void run_open(struct run *r, struct scenario *s, const struct run_opts *o)
{
	memset(r, 0, sizeof(*r));
	r->s = s;
	r->loop = s->clock == RUN_CLOCK_VIRTUAL ? evloop_new_virtual(0) : evloop_new();
	r->watch = self_watch_new(r->loop);
	r->progress = progress_new(o->progress);
	r->look = o->preflight;
	r->interrupts = &interrupts;
	r->ttft_us = hist_new();
	run_show_init(r);
	run_load_init(r);
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
		r->phases_expected = s->n_targets * phases_a_target(r);
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

enum rc run_scenario(struct scenario *s, const struct run_opts *o, struct run_done *out,
		     struct err *e)
{
	struct err close_err;
	struct run r;
	enum rc rc;
	int jobs = 1;

	memset(out, 0, sizeof(*out));
	run_open(&r, s, o);
	rc = file_limit_check(s, e);
	if (!rc)
		rc = run_jobs_check(&r, o->jobs, &jobs, e);
	if (!rc)
		rc = workload_new(&r.load.workload, s, e);
	if (!rc && asks_in_words(s))
		workload_keep_words(r.load.workload);
	if (!rc && asks_in_words(s) && s->n_targets > 1)
		workload_remember(r.load.workload);
	if (!rc)
		rc = look_at_deployed(&r, e);
	if (!rc)
		rc = results_create(&r.results, o->out_dir, s, evloop_now_ns(r.loop), e);
	if (!rc)
		rc = jobs > 1 ? run_jobs(&r, jobs, e) : run_phases(&r, e);
	out->ended = rc ? "failed to start" : r.ended ? r.ended : "complete";
	out->records = r.records;
	out->n_records = r.n_records;
	out->points = r.points;
	out->n_points = r.n_points;
	if (r.results) {
		out->dir = xstrdup(results_dir(r.results));
		out->started_utc = results_started_utc(r.results);
		if (results_close(r.results, out->ended, &close_err) != RC_OK && !rc) {
			rc = err_set(e, close_err.rc,
				     "%s; what was written before can be reported: loadgen report "
				     "%s",
				     close_err.msg, out->dir);
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
