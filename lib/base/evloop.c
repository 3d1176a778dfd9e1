/*
 * Owns a libevent base, one timerfd for all precise deadlines, one eventfd for wake-ups, and the
 * list of work put off to the end of the turn. The thread that made the loop runs it. Knows nothing
 * of what its callers wait for.
 *
 * libevent counts a timeout from the time at which the turn began, in milliseconds; that is good
 * enough for a connection that goes silent, not for the instants at which load is sent and engine
 * steps end. Those stand in a timerq on absolute time. One timerfd is set to its head just
 * before the loop blocks: once a turn, and only when the head has changed. A timerfd has no timer
 * slack, so nothing here depends on PR_SET_TIMERSLACK.
 *
 * A virtual loop is the same without the kernel: no base, no descriptors, and a turn that moves its
 * own time to the head of the queue instead of waiting for it.
 */
#include "evloop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "check.h"
#include "die.h"

/* How many generations of deferred work one turn runs: enough for any sweep that marks more to
 * sweep, and an end to one that never stops doing so. */
#define MAX_GENERATIONS 16

#define DISARMED 0 /* as timerfd_settime() has it */

struct signal_watch {
	struct signal_watch *next;
	struct event *event;
	void (*fn)(int signo, void *arg);
	void *arg;
};

struct evloop {
	struct event_base *base; /* NULL: a virtual loop, without descriptors and events */
	int64_t virtual_ns;
	volatile sig_atomic_t virtual_notified;
	bool stopped;

	struct timerq timers;
	int timer_fd;
	int64_t armed_ns; /* what timer_fd is set to; DISARMED at first */
	struct event *timer_event;

	struct deferred *first, **last;
	size_t n_deferred;

	int notify_fd;
	struct event *notify_event;
	void (*on_notify)(void *arg);
	void *on_notify_arg;

	struct signal_watch *signals;
	int own_events; /* in the base, but not a reason to go on */
};

/*
 * Not read: the next timerfd_settime() takes the readiness away. Until then the head has the time
 * that the timerfd is set to, and so is due.
 */
static void on_timer_fd(evutil_socket_t fd, short what, void *arg)
{
	struct evloop *l = arg;

	(void)fd;
	(void)what;
	timerq_run(&l->timers, monotonic_now_ns());
}

static void on_notify_fd(evutil_socket_t fd, short what, void *arg)
{
	struct evloop *l = arg;
	uint64_t times;

	(void)what;
	if (read(fd, &times, sizeof(times)) == (ssize_t)sizeof(times) && l->on_notify)
		l->on_notify(l->on_notify_arg);
}

static void on_signal_event(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *w = arg;

	(void)what;
	w->fn((int)signo, w->arg);
}

static struct event *add_own_event(struct evloop *l, int fd, short what, event_callback_fn fn,
				   void *arg)
{
	struct event *ev = event_new(l->base, fd, (short)(what | EV_PERSIST), fn, arg);

	if (!ev || event_add(ev, NULL) < 0)
		die("event loop: libevent refuses an event");
	l->own_events++;
	return ev;
}

static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	/* One thread owns a loop: no locks. No EVENT_BASE_FLAG_PRECISE_TIMER: that sets a timerfd
	 * of libevent's own before each wait, a system call for timeouts that nobody asks for. */
	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		base = event_base_new_with_config(config);
	if (!base)
		die("event loop: libevent has no base: %s", strerror(errno));
	event_config_free(config);
	return base;
}

struct evloop *evloop_new(void)
{
	struct evloop *l = xcalloc(1, sizeof(*l));

	l->base = new_base();
	l->last = &l->first;
	timerq_init(&l->timers);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->timer_fd < 0)
		die("event loop: timerfd_create: %s", strerror(errno));
	l->notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->notify_fd < 0)
		die("event loop: eventfd: %s", strerror(errno));
	l->timer_event = add_own_event(l, l->timer_fd, EV_READ, on_timer_fd, l);
	l->notify_event = add_own_event(l, l->notify_fd, EV_READ, on_notify_fd, l);
	return l;
}

struct evloop *evloop_new_virtual(int64_t start_ns)
{
	struct evloop *l = xcalloc(1, sizeof(*l));

	l->virtual_ns = start_ns;
	l->last = &l->first;
	l->timer_fd = l->notify_fd = -1;
	timerq_init(&l->timers);
	return l;
}

static void close_base(struct evloop *l)
{
	while (l->signals) {
		struct signal_watch *w = l->signals;

		l->signals = w->next;
		event_free(w->event);
		free(w);
	}
	event_free(l->notify_event);
	event_free(l->timer_event);
	event_base_free(l->base);
	close(l->notify_fd);
	close(l->timer_fd);
}

void evloop_free(struct evloop *l)
{
	if (!l)
		return;
	if (l->base)
		close_base(l);
	timerq_release(&l->timers);
	free(l);
}

struct event_base *evloop_base(struct evloop *l)
{
	CHECK(l->base);
	return l->base;
}

int64_t evloop_now_ns(const struct evloop *l)
{
	return l->base ? monotonic_now_ns() : l->virtual_ns;
}

int64_t evloop_next_ns(const struct evloop *l)
{
	const struct timer *head = timerq_peek(&l->timers);

	if (l->first)
		return evloop_now_ns(l);
	return head ? head->at_ns : INT64_MAX;
}

void evloop_timer(struct evloop *l, struct timer *t, int64_t at_ns)
{
	timerq_add(&l->timers, t, at_ns);
}

void evloop_timer_cancel(struct evloop *l, struct timer *t)
{
	timerq_remove(&l->timers, t);
}

void evloop_catch_up(struct evloop *l, int64_t now_ns)
{
	timerq_run(&l->timers, now_ns);
}

/* Sets the timerfd to the head of the queue, if it is not. */
static void arm(struct evloop *l)
{
	const struct timer *head = timerq_peek(&l->timers);
	struct itimerspec spec = {{0, 0}, {0, 0}};
	int64_t at_ns = DISARMED;

	if (head)
		at_ns = head->at_ns > 0 ? head->at_ns : 1; /* 0 would disarm; 1 is as past as any */
	if (at_ns == l->armed_ns)
		return;
	spec.it_value.tv_sec = at_ns / NS_PER_S;
	spec.it_value.tv_nsec = at_ns % NS_PER_S;
	CHECK(timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0);
	l->armed_ns = at_ns;
}

void evloop_defer(struct evloop *l, struct deferred *d)
{
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	*l->last = d;
	l->last = &d->next;
	l->n_deferred++;
}

void evloop_undefer(struct evloop *l, struct deferred *d)
{
	struct deferred **p = &l->first;

	if (!d->queued)
		return;
	while (*p != d) {
		CHECK(*p); /* else it waits in another loop */
		p = &(*p)->next;
	}
	*p = d->next;
	if (!*p)
		l->last = p;
	d->queued = false;
	l->n_deferred--;
}

/* A generation is what waits when it begins; what that defers anew is the next. The rest is left to
 * the next turn, which then looks for I/O without blocking. */
static void run_deferred(struct evloop *l)
{
	for (int generation = 0; generation < MAX_GENERATIONS && l->first; generation++) {
		for (size_t n = l->n_deferred; n > 0 && l->first; n--) {
			struct deferred *d = l->first;

			/* before the call, which may defer it again or free it */
			evloop_undefer(l, d);
			d->fn(d);
		}
	}
}

/* Time stands still while deferred work is left over, and never goes back: a deadline that has
 * passed already is due now. */
static void virtual_turn(struct evloop *l)
{
	const struct timer *head = timerq_peek(&l->timers);

	if (l->virtual_notified) {
		l->virtual_notified = 0;
		if (l->on_notify)
			l->on_notify(l->on_notify_arg);
	}
	if (!l->first && head && head->at_ns > l->virtual_ns)
		l->virtual_ns = head->at_ns;
	timerq_run(&l->timers, l->virtual_ns);
	run_deferred(l);
}

static void turn(struct evloop *l, bool may_block)
{
	int flags = EVLOOP_ONCE | (may_block && !l->first ? 0 : EVLOOP_NONBLOCK);

	if (!l->base) {
		virtual_turn(l);
		return;
	}
	arm(l);
	CHECK(event_base_loop(l->base, flags) >= 0);
	run_deferred(l);
}

/* Events of callers, their libevent timeouts and active callbacks included; ours do not count. */
static bool has_work(const struct evloop *l)
{
	if (l->first || timerq_peek(&l->timers))
		return true;
	return l->base &&
	       event_base_get_num_events(l->base, EVENT_BASE_COUNT_ADDED |
							  EVENT_BASE_COUNT_VIRTUAL) > l->own_events;
}

void evloop_run(struct evloop *l)
{
	while (!l->stopped) {
		bool blocks = has_work(l);

		/* without work, one look at the notifications and signals that have come already */
		turn(l, blocks);
		if (!blocks && !has_work(l))
			break;
	}
	l->stopped = false;
}

void evloop_once(struct evloop *l)
{
	turn(l, true);
}

void evloop_stop(struct evloop *l)
{
	l->stopped = true;
}

void evloop_on_signal(struct evloop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	struct signal_watch *w = xcalloc(1, sizeof(*w));

	CHECK(l->base);
	w->fn = fn;
	w->arg = arg;
	w->event = add_own_event(l, signo, EV_SIGNAL, on_signal_event, w);
	w->next = l->signals;
	l->signals = w;
}

void evloop_on_notify(struct evloop *l, void (*fn)(void *arg), void *arg)
{
	l->on_notify = fn;
	l->on_notify_arg = arg;
}

void evloop_notify(struct evloop *l)
{
	static const uint64_t one = 1;
	int saved = errno; /* this may be a signal handler */

	if (!l->base) {
		l->virtual_notified = 1;
		return;
	}
	/* can only fail when 2^64 - 2 wake-ups wait already, and then the loop wakes anyway */
	if (write(l->notify_fd, &one, sizeof(one)) < 0)
		errno = saved;
}
