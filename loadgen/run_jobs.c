/*
 * Owns the processes that share the targets of a run in virtual time: a job is some targets, one
 * after the other, each with the phases that are its own, in a process that begins where all do.
 * Both sides stand here: the job, which tells instead of writing, and the run, on its main thread,
 * which keeps what it is told. Must not know what a row means.
 *
 * A simulated target does not depend on when it has its turn, nor on those before it. So every job
 * begins at the run's zero, and what it tells is moved to where the one before it ended: files are
 * those of one process, to the byte. Jobs that are ahead of their turn wait in memory.
 */
#include "run_parts.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "crew_wire.h"

#define MAX_JOBS	64 /* at once */
#define TURNS		16 /* jobs that a process has, one after the other, where there are many targets */
#define GATHER_BYTES	((size_t)64 << 10)
#define READ_BYTES	((size_t)256 << 10)
#define MAX_OUT_BYTES	((size_t)1 << 30) /* a message and what was gathered before it */
#define MAX_AHEAD_BYTES ((size_t)64 << 30)

/* ---- in the job ---- */

struct run_link {
	int fd;
	struct buf out;
};

/* Blocks: a job has nothing else to do. */
static void send_all(struct run_link *l)
{
	while (buf_size(&l->out)) {
		ssize_t n = send(l->fd, buf_head(&l->out), buf_size(&l->out), MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(&l->out, (size_t)n);
		else if (errno != EINTR)
			_exit(1); /* the run has gone: nobody wants to know any more */
	}
}

static void put(struct run_link *l, enum crew_what what, const void *a, size_t a_bytes,
		const void *b, size_t b_bytes)
{
	if (!crew_put(&l->out, what, a, a_bytes, b, b_bytes))
		die("a job has more to say at once than %zu bytes", MAX_OUT_BYTES);
	if (buf_size(&l->out) >= GATHER_BYTES)
		send_all(l);
}

void run_link_row(struct run_link *l, const struct record *rec, int64_t now_ns)
{
	if (!crew_put_row(&l->out, rec, now_ns))
		die("a job has more to say at once than %zu bytes", MAX_OUT_BYTES);
	if (buf_size(&l->out) >= GATHER_BYTES)
		send_all(l);
}

void run_link_sample(struct run_link *l, int target, int point, int64_t t_ns, const char *name,
		     double value)
{
	struct job_sample sample;

	memset(&sample, 0, sizeof(sample)); /* what is sent has no padding of an unknown past */
	sample.target = target;
	sample.point = point;
	sample.t_ns = t_ns;
	sample.value = value;
	put(l, JOB_SAMPLE, &sample, sizeof(sample), name, strlen(name) + 1);
}

void run_link_point(struct run_link *l, const struct point *p, int64_t start_ns, int64_t end_ns)
{
	struct job_point point = {start_ns, end_ns, *p};

	put(l, JOB_POINT, &point, sizeof(point), NULL, 0);
}

void run_link_phase(struct run_link *l, int phase, int64_t start_ns)
{
	struct job_phase begins;

	memset(&begins, 0, sizeof(begins));
	begins.phase = phase;
	begins.start_ns = start_ns;
	put(l, JOB_PHASE, &begins, sizeof(begins), NULL, 0);
}

void run_link_phase_over(struct run_link *l)
{
	put(l, JOB_PHASE_OVER, NULL, 0, NULL, 0);
	send_all(l);
}

/* Dies with the run. Ctrl-C reaches everybody in the terminal and is the run's to hear: it passes
 * it on as SIGUSR1. */
static void detach(void)
{
	sigset_t all;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	sigemptyset(&all);
	sigaddset(&all, SIGINT);
	sigaddset(&all, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
}

_Noreturn static void job_main(struct run *r, int fd, int target, int end_target)
{
	struct run_link link = {.fd = fd};
	struct job_end end;
	int next;

	detach();
	/* what one target's rows took is the next one's: giving it back in between costs more */
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most it takes */
	memset(&end, 0, sizeof(end));
	buf_init(&link.out, MAX_OUT_BYTES);
	/* what the others have told is the run's */
	r->records = NULL;
	r->points = NULL;
	r->n_records = r->cap_records = r->n_points = r->cap_points = 0;
	r->results = NULL;
	r->link = &link;
	for (; target < end_target && !r->ended && !end.failed.rc; target++)
		run_targets(r, run_first_phase(r, target), &next, &end.failed);
	end.now_ns = evloop_now_ns(r->loop);
	put(&link, JOB_END, &end, sizeof(end), NULL, 0);
	send_all(&link);
	_exit(0);
}

/* ---- in the run ---- */

struct job {
	int target, end_target; /* those from the one to before the other */
	pid_t pid;		/* 0: it has not begun */
	int fd;			/* -1: it has not begun, or is over */
	struct buf in;
	bool ended;	/* well */
	char lost[320]; /* how it died; "" = it did not */
};

struct jobs {
	struct run *r;
	struct job *job;
	int n, at_once;
	int begun, running, turn; /* turn: whose rows are next */
	int64_t zero_ns;	  /* where every job begins */
	int64_t shift_ns;	  /* where the one whose turn it is would have begun, from there */
	int64_t last_ns;	  /* the latest that has been told of it */
	bool in_phase, told_to_end, any_lost;
	struct err failed;
};

static const char *job_name(const struct jobs *j, int i)
{
	return j->r->s->targets[j->job[i].target].name;
}

/* SIGINT and SIGTERM are blocked until the job ignores them; SIGUSR1 has its handler from before.
 */
static void job_begin(struct jobs *j, int number)
{
	struct job *job = &j->job[number];
	sigset_t both, before;
	int pair[2];

	buf_init(&job->in, MAX_AHEAD_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		die("jobs: socketpair: %s", strerror(errno));
	sigemptyset(&both);
	sigaddset(&both, SIGINT);
	sigaddset(&both, SIGTERM);
	sigprocmask(SIG_BLOCK, &both, &before);
	job->pid = fork();
	if (job->pid < 0)
		die("jobs: fork: %s", strerror(errno));
	if (job->pid == 0) {
		close(pair[0]);
		for (int i = 0; i < number; i++)
			if (j->job[i].fd >= 0)
				close(j->job[i].fd);
		job_main(j->r, pair[1], job->target, job->end_target);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	job->fd = pair[0];
	j->begun++;
	j->running++;
}

static void job_over(struct jobs *j, int number)
{
	struct job *job = &j->job[number];
	int status = 0;

	close(job->fd);
	job->fd = -1;
	j->running--;
	while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		snprintf(job->lost, sizeof(job->lost),
			 "job %d (process %d, %s) was killed by signal %d", number, (int)job->pid,
			 job_name(j, number), WTERMSIG(status));
	else if (status != 0)
		snprintf(job->lost, sizeof(job->lost), "job %d (process %d, %s) ended with %d",
			 number, (int)job->pid, job_name(j, number), WEXITSTATUS(status));
}

static void take_phase(struct jobs *j, const struct crew_message *m)
{
	struct run *r = j->r;
	struct job_phase begins;

	CHECK(m->bytes == sizeof(begins));
	memcpy(&begins, m->body, sizeof(begins));
	r->load.phase = &r->phases[begins.phase];
	r->active = r->sites + r->load.phase->first_target;
	r->n_active = r->load.phase->n_targets;
	j->last_ns = begins.start_ns + j->shift_ns;
	run_phase_begin(r, j->last_ns);
	run_restart_rate(r, j->last_ns);
	j->in_phase = true;
}

static void take_row(struct jobs *j, const struct crew_message *m)
{
	struct crew_row row = crew_read_row(m);

	record_shift(&row.rec, j->shift_ns);
	j->last_ns = row.t_ns + j->shift_ns;
	j->r->tokens += row.rec.output_tokens > 0 ? row.rec.output_tokens : 0;
	run_keep_row(j->r, &row.rec, j->last_ns);
}

static void take_sample(struct jobs *j, const struct crew_message *m)
{
	struct job_sample s;

	CHECK(m->bytes > sizeof(s));
	memcpy(&s, m->body, sizeof(s));
	results_add_server(j->r->results, s.target, s.point, s.t_ns + j->shift_ns,
			   m->body + sizeof(s), s.value);
}

static void take_point(struct jobs *j, const struct crew_message *m)
{
	struct job_point p;

	CHECK(m->bytes == sizeof(p));
	memcpy(&p, m->body, sizeof(p));
	run_keep_point(j->r, &p.point, p.start_ns + j->shift_ns, p.end_ns + j->shift_ns);
}

static void take_end(struct jobs *j, const struct crew_message *m)
{
	struct job_end end;

	CHECK(m->bytes == sizeof(end));
	memcpy(&end, m->body, sizeof(end));
	j->job[j->turn].ended = true;
	j->last_ns = end.now_ns + j->shift_ns;
	if (end.failed.rc && !j->failed.rc)
		j->failed = end.failed;
}

static void take(struct jobs *j, const struct crew_message *m)
{
	switch (m->what) {
	case JOB_PHASE:
		take_phase(j, m);
		return;
	case CREW_ROW:
		take_row(j, m);
		return;
	case JOB_SAMPLE:
		take_sample(j, m);
		return;
	case JOB_POINT:
		take_point(j, m);
		return;
	case JOB_PHASE_OVER:
		run_phase_over(j->r);
		j->r->phases_done++;
		j->in_phase = false;
		return;
	case JOB_END:
		take_end(j, m);
		return;
	case CREW_READY:
	case CREW_TICK:
	case CREW_END:
		CHECK(!"a job says no such thing");
	}
}

/* The others do not need it: they go on. */
static void tell_lost(struct jobs *j, const struct job *job)
{
	log_error("%s; its rows so far are kept", job->lost);
	if (j->in_phase)
		run_phase_lost(j->r, job->lost, j->last_ns);
	j->in_phase = false;
	j->any_lost = true;
}

/* What has come from the jobs whose turn it is, in their order. */
static void take_turns(struct jobs *j)
{
	while (j->turn < j->begun) {
		struct job *job = &j->job[j->turn];
		struct crew_message m;

		while (crew_take(&job->in, &m))
			take(j, &m);
		if (job->fd >= 0)
			return;
		if (!job->ended)
			tell_lost(j, job);
		j->shift_ns = j->last_ns - j->zero_ns;
		buf_release(&job->in);
		j->turn++;
	}
}

static void read_some(struct jobs *j, int number)
{
	struct job *job = &j->job[number];
	char *to = buf_reserve(&job->in, READ_BYTES);
	ssize_t n;

	if (!to)
		die("jobs: %s is too far ahead of its turn", job_name(j, number));
	n = recv(job->fd, to, READ_BYTES, 0);
	if (n > 0)
		buf_commit(&job->in, (size_t)n);
	else if (n == 0 || errno != EINTR)
		job_over(j, number);
}

static void pass_interrupt_on(struct jobs *j)
{
	for (int i = 0; i < j->begun && !j->told_to_end; i++)
		if (j->job[i].fd >= 0)
			kill(j->job[i].pid, SIGUSR1);
	j->told_to_end = true;
}

static void await_jobs(struct jobs *j)
{
	struct pollfd fds[MAX_JOBS];
	int number[MAX_JOBS], n = 0;

	for (int i = j->turn; i < j->begun; i++) {
		if (j->job[i].fd < 0)
			continue;
		number[n] = i;
		fds[n++] = (struct pollfd){.fd = j->job[i].fd, .events = POLLIN};
	}
	/* a signal that comes just before it is heard after a moment */
	if (poll(fds, (nfds_t)n, 100) <= 0)
		return;
	for (int i = 0; i < n; i++)
		if (fds[i].revents)
			read_some(j, number[i]);
}

static void jobs_init(struct jobs *j, struct run *r, int at_once)
{
	*j = (struct jobs){.r = r, .at_once = at_once, .zero_ns = evloop_now_ns(r->loop)};
	j->last_ns = j->zero_ns;
	j->job = xcalloc((size_t)r->s->n_targets, sizeof(*j->job));
}

/* n jobs, and all they tell. */
static void jobs_of(struct jobs *j, int n)
{
	struct run *r = j->r;

	j->n = n;
	j->begun = j->turn = 0;
	while (j->turn < j->begun || (j->begun < j->n && !*r->interrupts && !j->failed.rc)) {
		while (j->running < j->at_once && j->begun < j->n && !*r->interrupts &&
		       !j->failed.rc)
			job_begin(j, j->begun);
		if (*r->interrupts)
			pass_interrupt_on(j);
		await_jobs(j);
		take_turns(j);
	}
}

static void add_job(struct jobs *j, int number, int target, int end_target)
{
	j->job[number] = (struct job){.target = target, .end_target = end_target, .fd = -1};
}

/* All targets, many of them a few at a time. */
static void jobs_of_all(struct jobs *j)
{
	int targets = j->r->s->n_targets, most = TURNS * j->at_once, n = 0;
	int each = (targets + most - 1) / most;

	for (int t = 0; t < targets; t += each)
		add_job(j, n++, t, t + each < targets ? t + each : targets);
	jobs_of(j, n);
}

/* Those that the search asks for, round by round. */
static void jobs_of_search(struct jobs *j)
{
	int *targets = xcalloc((size_t)j->r->s->n_targets, sizeof(*targets)), n;

	do {
		n = run_search_next(j->r, targets);
		for (int i = 0; i < n; i++)
			add_job(j, i, targets[i], targets[i] + 1);
		jobs_of(j, n);
	} while (n && !*j->r->interrupts && !j->failed.rc && !j->any_lost);
	free(targets);
}

enum rc run_jobs(struct run *r, int jobs, struct err *e)
{
	struct sigaction act, before;
	struct jobs j;

	jobs_init(&j, r, jobs);
	sigaction(SIGINT, NULL, &act);
	sigaction(SIGUSR1, &act, &before);
	if (r->s->search)
		jobs_of_search(&j);
	else
		jobs_of_all(&j);
	sigaction(SIGUSR1, &before, NULL);
	free(j.job);
	if (*r->interrupts)
		r->ended = "interrupted";
	else if (j.any_lost)
		r->ended = "job_lost";
	if (j.failed.rc)
		*e = j.failed;
	return j.failed.rc;
}

/* ---- may it? ---- */

static int cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Why it takes one process, or NULL. */
static const char *only_one(const struct scenario *s)
{
	if (s->clock != RUN_CLOCK_VIRTUAL)
		return "targets have turns of their own in virtual time only (see --workers)";
	if (s->interleave)
		return "load.interleave has all targets in one process, want 1";
	if (s->limits.max_failures)
		return "limits.max_failures counts in one process, want 1";
	return NULL;
}

enum rc run_jobs_check(const struct run *r, int asked, int *jobs, struct err *e)
{
	const struct scenario *s = r->s;
	const char *why = only_one(s);
	int most = s->n_targets < MAX_JOBS ? s->n_targets : MAX_JOBS;

	if (why && (asked > 1 || (asked && s->clock != RUN_CLOCK_VIRTUAL)))
		return err_set(e, RC_INPUT, "--jobs: %s", why);
	if (asked > most)
		return err_set(e, RC_INPUT, "--jobs: got %d, want at most %d, one a target", asked,
			       most);
	*jobs = why ? 1 : asked ? asked : cores();
	*jobs = *jobs < most ? *jobs : most;
	return RC_OK;
}
