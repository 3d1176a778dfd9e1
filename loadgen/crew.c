/*
 * Owns the workers of a phase: their processes, their sockets, their rows until it is their turn.
 * Main thread, on the run's loop. Must not know what a row means, nor how a worker drives.
 */
#include "crew.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "crew_wire.h"

#define LEAD_NS	     (2 * NS_PER_MS) /* for the word to go to reach everybody */
#define SOCKET_BYTES (1 << 20)
#define READ_BYTES   ((size_t)256 << 10)
#define MAX_IN_BYTES ((size_t)4 << 30) /* a message that has not come whole */

struct member {
	struct crew *crew;
	int number;
	pid_t pid;
	int fd; /* -1: it has ended */
	struct event readable;
	struct buf in;

	struct crew_row *row; /* rows [first, n) wait for their turn, in the order they came */
	size_t first, n, cap;
	int64_t heard_ns; /* no earlier row will come */
	struct lane_counts counts;
	int64_t tokens;

	char lost[160]; /* how it died; "" = it did not */
	bool ended;	/* well: the rest is known */
	double cpu_share;
	struct hist *loop_lag, **receive_lag;
};

struct crew {
	struct evloop *loop;
	struct crew_handler handler;
	int n, n_lanes, n_running;
	struct member *member;
};

/* ---- rows, in order ---- */

static void queue_row(struct member *m, const struct crew_row *row)
{
	if (m->first == m->n)
		m->first = m->n = 0;
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 256;
		m->row = xreallocarray(m->row, m->cap, sizeof(*m->row));
	}
	m->row[m->n++] = *row;
}

/* Of those that were never sent all times are alike: they follow by their number. */
static bool is_before(const struct crew_row *a, const struct crew_row *b)
{
	if (a->t_ns != b->t_ns)
		return a->t_ns < b->t_ns;
	if (a->rec.target != b->rec.target)
		return a->rec.target < b->rec.target;
	return a->rec.index < b->rec.index;
}

/* Whose row is next; NULL while somebody may still have an earlier one. */
static struct member *next_in_turn(const struct crew *c)
{
	struct member *first = NULL;
	int64_t heard_ns = CREW_LAST;

	for (int i = 0; i < c->n; i++) {
		struct member *m = &c->member[i];

		if (m->first == m->n) {
			heard_ns = m->heard_ns < heard_ns ? m->heard_ns : heard_ns;
			continue;
		}
		if (!first || is_before(&m->row[m->first], &first->row[first->first]))
			first = m;
	}
	return first && first->row[first->first].t_ns <= heard_ns ? first : NULL;
}

static void give_rows(struct crew *c)
{
	struct member *m;

	while ((m = next_in_turn(c))) {
		const struct crew_row *row = &m->row[m->first++];

		c->handler.row(c->handler.arg, &row->rec, row->t_ns);
	}
}

/* ---- what a worker says ---- */

static void take_end(struct member *m, const struct crew_message *msg)
{
	const char *hists = msg->body + sizeof(struct crew_end);
	struct crew_end end;

	CHECK(msg->bytes == sizeof(end) + (1 + (size_t)m->crew->n_lanes) * hist_bytes());
	memcpy(&end, msg->body, sizeof(end));
	m->cpu_share = end.cpu_share;
	hist_merge_bytes(m->loop_lag, hists);
	for (int i = 0; i < m->crew->n_lanes; i++)
		hist_merge_bytes(m->receive_lag[i], hists + (1 + (size_t)i) * hist_bytes());
	m->ended = true;
	m->heard_ns = CREW_LAST;
}

static void take_tick(struct member *m, const struct crew_message *msg)
{
	const struct crew_handler *h = &m->crew->handler;
	struct crew_tick tick;

	CHECK(msg->bytes == sizeof(tick));
	memcpy(&tick, msg->body, sizeof(tick));
	m->heard_ns = tick.t_ns;
	m->counts = tick.counts;
	h->tokens(h->arg, tick.tokens - m->tokens);
	m->tokens = tick.tokens;
}

static void take_messages(struct member *m)
{
	struct crew_message msg;
	struct crew_row row;

	while (crew_take(&m->in, &msg)) {
		switch (msg.what) {
		case CREW_READY:
			break;
		case CREW_ROW:
			row = crew_read_row(&msg);
			queue_row(m, &row);
			break;
		case CREW_TICK:
			take_tick(m, &msg);
			break;
		case CREW_END:
			take_end(m, &msg);
			break;
		case JOB_PHASE:
		case JOB_SAMPLE:
		case JOB_POINT:
		case JOB_PHASE_OVER:
		case JOB_END:
			CHECK(!"a worker says no such thing");
		}
	}
}

/* ---- its end ---- */

static void tell_lost(struct member *m, int status)
{
	const struct crew_handler *h = &m->crew->handler;

	if (WIFSIGNALED(status))
		snprintf(m->lost, sizeof(m->lost),
			 "worker %d (process %d) was killed by signal %d (%s)", m->number,
			 (int)m->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(m->lost, sizeof(m->lost),
			 "worker %d (process %d) ended with exit status %d", m->number, (int)m->pid,
			 WEXITSTATUS(status));
	h->lost(h->arg, m->lost);
}

/* End of file: the process has ended, or is about to. */
static void member_gone(struct member *m)
{
	struct crew *c = m->crew;
	int status = 0;

	event_del(&m->readable);
	close(m->fd);
	m->fd = -1;
	while (waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
		;
	m->counts = (struct lane_counts){.done = m->counts.done, .failed = m->counts.failed};
	m->heard_ns = CREW_LAST;
	c->n_running--;
	if (!m->ended)
		tell_lost(m, status);
	give_rows(c);
	if (c->n_running == 0)
		c->handler.over(c->handler.arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct member *m = arg;
	char *room = buf_reserve(&m->in, READ_BYTES);
	ssize_t n;

	(void)what;
	if (!room)
		die("worker %d: a message without an end", m->number);
	n = recv(fd, room, READ_BYTES, MSG_DONTWAIT);
	if (n > 0) {
		buf_commit(&m->in, (size_t)n);
		take_messages(m);
		give_rows(m->crew);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		member_gone(m);
	}
}

/* ---- its beginning ---- */

static void member_fork(struct crew *c, int number, const struct worker_task *task)
{
	struct member *m = &c->member[number];
	struct share share = {number, c->n};
	sigset_t both, before;
	int size = SOCKET_BYTES, pair[2];

	m->crew = c;
	m->number = number;
	m->loop_lag = hist_new();
	m->receive_lag = xcalloc((size_t)c->n_lanes, sizeof(struct hist *));
	for (int i = 0; i < c->n_lanes; i++)
		m->receive_lag[i] = hist_new();
	buf_init(&m->in, MAX_IN_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		die("workers: socketpair: %s", strerror(errno));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* What the run does on Ctrl-C is nothing that a worker may do in between. */
	sigemptyset(&both);
	sigaddset(&both, SIGINT);
	sigaddset(&both, SIGTERM);
	sigprocmask(SIG_BLOCK, &both, &before);
	m->pid = fork();
	if (m->pid < 0)
		die("workers: fork: %s", strerror(errno));
	if (m->pid == 0) {
		/* An end of file must reach a worker when the run goes, whoever else is there. */
		for (int i = 0; i < number; i++)
			close(c->member[i].fd);
		close(pair[0]);
		worker_main(pair[1], task, share);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	m->fd = pair[0];
	event_assign(&m->readable, evloop_base(c->loop), m->fd, EV_READ | EV_PERSIST, on_readable,
		     m);
}

/* Until it has said that it is ready. End of file is left for on_readable() to find. */
static void await_ready(struct member *m)
{
	struct crew_message msg;
	char bytes[64];
	ssize_t n;

	while (!crew_take(&m->in, &msg)) {
		n = recv(m->fd, bytes, sizeof(bytes), 0);
		if (n > 0)
			buf_append(&m->in, bytes, (size_t)n);
		else if (n == 0 || errno != EINTR)
			return;
	}
	CHECK(msg.what == CREW_READY);
}

struct crew *crew_new(struct evloop *loop, int n, const struct worker_task *task,
		      const struct crew_handler *handler)
{
	struct crew *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->handler = *handler;
	c->n = c->n_running = n;
	c->n_lanes = task->n_lanes;
	c->member = xcalloc((size_t)n, sizeof(*c->member));
	for (int i = 0; i < n; i++)
		member_fork(c, i, task);
	for (int i = 0; i < n; i++)
		await_ready(&c->member[i]);
	return c;
}

static void tell(const struct member *m, const struct crew_order *o)
{
	if (m->fd >= 0) /* one that has died is noticed when it is read from */
		(void)!send(m->fd, o, sizeof(*o), MSG_NOSIGNAL);
}

int64_t crew_go(struct crew *c)
{
	struct crew_order o = {.what = CREW_GO, .start_ns = evloop_now_ns(c->loop) + LEAD_NS};

	for (int i = 0; i < c->n; i++) {
		event_add(&c->member[i].readable, NULL);
		tell(&c->member[i], &o);
	}
	return o.start_ns;
}

void crew_stop(struct crew *c, const char *why)
{
	struct crew_order o = {.what = CREW_STOP};

	snprintf(o.why, sizeof(o.why), "%s", why);
	for (int i = 0; i < c->n; i++)
		tell(&c->member[i], &o);
}

bool crew_is_over(const struct crew *c)
{
	return c->n_running == 0;
}

struct lane_counts crew_count(const struct crew *c)
{
	struct lane_counts sum = {.driven = true};

	for (int i = 0; i < c->n; i++) {
		const struct lane_counts *n = &c->member[i].counts;

		sum.done += n->done;
		sum.failed += n->failed;
		sum.in_flight += n->in_flight;
		sum.planned += n->planned;
	}
	return sum;
}

void crew_take_self(const struct crew *c, struct self_watch_point *out, struct hist **receive_lag)
{
	struct hist *lag = hist_new();

	*out = (struct self_watch_point){NAN, NAN, NAN, NAN};
	for (int i = 0; i < c->n; i++) {
		const struct member *m = &c->member[i];

		hist_merge(lag, m->loop_lag);
		for (int k = 0; k < c->n_lanes; k++)
			hist_merge(receive_lag[k], m->receive_lag[k]);
		if (m->ended)
			out->cpu_share = fmax(out->cpu_share, m->cpu_share);
	}
	if (hist_count(lag))
		out->loop_lag_p99_us = (double)hist_quantile(lag, 0.99) / 1e3;
	hist_free(lag);
}

const char *crew_lost(const struct crew *c, int worker)
{
	const struct member *m = &c->member[worker];

	return *m->lost ? m->lost : NULL;
}

static void member_release(struct member *m)
{
	if (m->fd >= 0) {
		event_del(&m->readable);
		close(m->fd);
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	for (; m->first < m->n; m->first++)
		record_release(&m->row[m->first].rec);
	for (int i = 0; i < m->crew->n_lanes; i++)
		hist_free(m->receive_lag[i]);
	hist_free(m->loop_lag);
	free(m->receive_lag);
	free(m->row);
	buf_release(&m->in);
}

void crew_free(struct crew *c)
{
	if (!c)
		return;
	for (int i = 0; i < c->n; i++)
		member_release(&c->member[i]);
	free(c->member);
	free(c);
}
