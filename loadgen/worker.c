/*
 * Owns a worker's process: its own loop, its own connections, its rows on their way to the run. Its
 * only thread. Must not know that there are others, and touches nothing it was forked with that
 * reaches outside: the run's loop, its connections, its files stay as they are until _exit().
 */
#include "worker.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "crew_wire.h"
#include "self_watch.h"

#define TICK_NS	      (50 * NS_PER_MS)
#define MAX_OUT_BYTES ((size_t)4 << 30) /* rows that wait for a run which does not read */

/* Loopback addresses kept apart for each worker; see struct target. */
#define SOURCES_EACH 16

struct worker {
	int fd;
	const struct worker_task *task;
	struct evloop *loop;
	struct self_watch *watch;
	struct event readable, writable;
	struct timer start, tick;
	struct buf out;
	int64_t tokens;
	int n_open;   /* lanes */
	char why[32]; /* it is stopped; "" = it is not */
};

/* ---- to the run ---- */

/* The run has gone: nobody wants to know any more. */
_Noreturn static void leave_alone(void)
{
	_exit(1);
}

/* As much as the socket takes now; the rest when it can take more. A run that is slow to read never
 * holds up the load. */
static void send_some(struct worker *w)
{
	while (buf_size(&w->out)) {
		ssize_t n = send(w->fd, buf_head(&w->out), buf_size(&w->out),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			buf_consume(&w->out, (size_t)n);
		} else if (errno == EAGAIN) {
			event_add(&w->writable, NULL);
			return;
		} else if (errno != EINTR) {
			leave_alone();
		}
	}
}

static void send_all(struct worker *w)
{
	while (buf_size(&w->out)) {
		ssize_t n = send(w->fd, buf_head(&w->out), buf_size(&w->out), MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(&w->out, (size_t)n);
		else if (errno != EINTR)
			leave_alone();
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_some(arg);
}

static void put_tick(struct worker *w, int64_t now_ns)
{
	struct crew_tick tick = {.t_ns = now_ns, .tokens = w->tokens};

	for (int i = 0; i < w->task->n_lanes; i++) {
		struct lane_counts n = lane_count(w->task->lane[i].lane);

		tick.counts.done += n.done;
		tick.counts.failed += n.failed;
		tick.counts.in_flight += n.in_flight;
		tick.counts.planned += n.planned;
	}
	if (!crew_put(&w->out, CREW_TICK, &tick, sizeof(tick), NULL, 0))
		die("the run does not read what this worker has to say");
}

static void on_tick(struct timer *t, int64_t now_ns)
{
	struct worker *w = (struct worker *)((char *)t - offsetof(struct worker, tick));

	put_tick(w, now_ns);
	send_some(w);
	evloop_timer(w->loop, t, now_ns + TICK_NS);
}

/* ---- from the lanes ---- */

static void on_row(void *arg, const struct record *rec, int64_t now_ns)
{
	struct record mine = *rec;

	if (!crew_put_row(&((struct worker *)arg)->out, rec,
			  rec->outcome == OUTCOME_DROPPED ? CREW_LAST : now_ns))
		die("the run does not read what this worker has to say");
	record_release(&mine);
}

static void on_settled(void *arg, int64_t now_ns)
{
	(void)arg;
	(void)now_ns;
}

static void on_tokens(void *arg, int64_t n)
{
	((struct worker *)arg)->tokens += n;
}

static void on_over(void *arg)
{
	struct worker *w = arg;

	if (--w->n_open == 0)
		evloop_stop(w->loop);
}

/* ---- from the run ---- */

static struct crew_order read_order(struct worker *w)
{
	struct crew_order o;
	ssize_t n;

	do
		n = recv(w->fd, &o, sizeof(o), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(o))
		leave_alone();
	return o;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct crew_order o = read_order(w);
	int64_t now_ns = evloop_now_ns(w->loop);

	(void)fd;
	(void)what;
	CHECK(o.what == CREW_STOP);
	memcpy(w->why, o.why, sizeof(w->why));
	for (int i = 0; i < w->task->n_lanes; i++)
		lane_stop(w->task->lane[i].lane, w->why, now_ns);
}

/* ---- its life ---- */

static void on_start(struct timer *t, int64_t now_ns)
{
	struct worker *w = (struct worker *)((char *)t - offsetof(struct worker, start));

	(void)now_ns;
	for (int i = 0; i < w->task->n_lanes; i++)
		lane_pump(w->task->lane[i].lane, evloop_now_ns(w->loop));
}

/* Dies with the run. What reaches the whole process group, such as Ctrl-C, is the run's to hear: it
 * says what is to be done. */
static void detach(void)
{
	sigset_t both;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_hooks(NULL, NULL, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	sigemptyset(&both);
	sigaddset(&both, SIGINT);
	sigaddset(&both, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &both, NULL);
}

static void worker_open(struct worker *w, struct share share)
{
	struct lane_load *load = w->task->load;
	struct err e;

	w->loop = load->loop = evloop_new();
	w->watch = self_watch_new(w->loop);
	buf_init(&w->out, MAX_OUT_BYTES);
	w->start.fn = on_start;
	w->tick.fn = on_tick;
	event_assign(&w->readable, evloop_base(w->loop), w->fd, EV_READ | EV_PERSIST, on_readable,
		     w);
	event_assign(&w->writable, evloop_base(w->loop), w->fd, EV_WRITE, on_writable, w);
	load->share = share;
	load->keep = on_row;
	load->settled = on_settled;
	load->tokens = on_tokens;
	load->over = on_over;
	load->arg = w;
	for (int i = 0; i < w->task->n_lanes; i++) {
		struct deployment *at = w->task->lane[i].at;

		at->loop = w->loop;
		at->target->first_source = share.first * SOURCES_EACH;
		if (deployment_open(at, load->scenario->limits.connect_ns, &e) != RC_OK)
			die("%s", e.msg);
	}
}

static void drive(struct worker *w)
{
	const struct worker_task *task = w->task;

	for (int i = 0; i < task->n_lanes; i++)
		w->n_open += lane_begin(task->lane[i].lane, task->lane[i].point, task->arrivals,
					task->n_arrivals);
	self_watch_start(w->watch, task->load->start_ns);
	event_add(&w->readable, NULL);
	evloop_timer(w->loop, &w->tick, task->load->start_ns + TICK_NS);
	evloop_timer(w->loop, &w->start, task->load->start_ns);
	while (w->n_open > 0)
		evloop_run(w->loop);
}

static void put_end(struct worker *w, const struct self_watch_point *self)
{
	size_t n = 1 + (size_t)w->task->n_lanes, bytes = hist_bytes();
	struct crew_end end = {self->cpu_share};
	struct hist *none = hist_new();
	char *hists = xcalloc(n, bytes);

	memcpy(hists, self_watch_lag(w->watch), bytes);
	for (size_t i = 1; i < n; i++) {
		const struct deployment *at = w->task->lane[i - 1].at;
		struct transport_stats stats = {0};

		at->transport_type->stats(at->transport, &stats);
		memcpy(hists + i * bytes, stats.receive_lag_ns ? stats.receive_lag_ns : none,
		       bytes);
	}
	if (!crew_put(&w->out, CREW_END, &end, sizeof(end), hists, n * bytes))
		die("the run does not read what this worker has to say");
	hist_free(none);
	free(hists);
}

_Noreturn void worker_main(int fd, const struct worker_task *task, struct share share)
{
	struct worker w = {.fd = fd, .task = task};
	struct self_watch_point self;
	struct crew_order o;
	int64_t end_ns;

	detach();
	worker_open(&w, share);
	crew_put(&w.out, CREW_READY, NULL, 0, NULL, 0);
	send_all(&w);
	o = read_order(&w);
	if (o.what == CREW_GO) {
		task->load->start_ns = o.start_ns;
		drive(&w);
		end_ns = evloop_now_ns(w.loop);
		self_watch_stop(w.watch, end_ns, &self);
		put_tick(&w, end_ns);
		for (int i = 0; i < task->n_lanes; i++)
			lane_end(task->lane[i].lane, *w.why ? w.why : NULL, end_ns);
		put_end(&w, &self);
		send_all(&w);
	}
	_exit(0);
}
