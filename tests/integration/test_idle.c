/*
 * Kept connections grow old: one that has been idle for XFER_IDLE_NS is not used again, for servers
 * close theirs at 5 s and a request would race with that. Nothing waits here: the program has its
 * own clock_gettime() and timerfd_settime(), which show the kernel's time and an offset that the
 * test moves; the transports, libcurl's included, see no other clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "loadgen/transport.h"
#include "../support/scripted_server.h"

#define PATIENCE_S 20

static int64_t offset_ns; /* of every clock that counts from the boot of the machine */

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library has other names
 */
int clock_gettime(clockid_t id, struct timespec *t)
{
	int64_t ns;

	if (syscall(SYS_clock_gettime, id, t) != 0)
		return -1;
	if (id == CLOCK_REALTIME || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID)
		return 0;
	ns = (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec + offset_ns;
	*t = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
	return 0;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *before)
{
	struct itimerspec real = *at;
	int64_t ns = (int64_t)at->it_value.tv_sec * NS_PER_S + at->it_value.tv_nsec - offset_ns;

	if ((flags & TFD_TIMER_ABSTIME) && (at->it_value.tv_sec || at->it_value.tv_nsec))
		real.it_value = (struct timespec){ns / NS_PER_S, ns % NS_PER_S};
	return (int)syscall(SYS_timerfd_settime, fd, flags, &real, before);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* ---- the stage ---- */

struct stage {
	const struct transport_type *type;
	struct evloop *loop;
	struct scripted_server server;
	struct target target;
	struct transport *transport;
	int ended;
};

static void answer(const char *request, struct buf *out)
{
	(void)request;
	buf_puts(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void stage_open(struct stage *g, const struct transport_type *type)
{
	struct err e;

	alarm(PATIENCE_S);
	memset(g, 0, sizeof(*g));
	g->type = type;
	g->loop = evloop_new();
	scripted_bind(&g->server);
	g->server.keeps = true;
	scripted_serve(&g->server, g->loop, answer);
	g->target = (struct target){
		.scheme = URL_HTTP, .host = (char *)"127.0.0.1", .port = g->server.port};
	assert_int_equal(type->open(&g->transport, g->loop, &g->target, 5 * NS_PER_S, &e), RC_OK);
}

static void stage_close(struct stage *g)
{
	g->type->close(g->transport);
	scripted_close(&g->server);
	evloop_free(g->loop);
	alarm(0);
}

static void hear_time(void *owner, int64_t t_ns)
{
	(void)owner;
	(void)t_ns;
}

static void hear_head(void *owner, const struct xfer_head *h, int64_t t_ns)
{
	(void)owner;
	(void)t_ns;
	assert_int_equal(h->status, 200);
}

static void hear_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	(void)owner;
	(void)bytes;
	(void)n;
	(void)t_ns;
}

static void hear_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	struct stage *g = owner;

	(void)why;
	(void)t_ns;
	assert_int_equal(how, XFER_COMPLETE);
	g->ended++;
}

static const struct xfer_handler handler = {
	.connected = hear_time,
	.written = hear_time,
	.head = hear_head,
	.body = hear_body,
	.end = hear_end,
};

/* n requests at once, all answered. */
static void exchange(struct stage *g, int n)
{
	const struct xfer_spec get = {
		.method = "GET", .path = "/", .headers = "", .keep_alive = true};

	g->ended = 0;
	for (int i = 0; i < n; i++)
		g->type->start(g->transport, &get, &handler, g);
	while (g->ended < n)
		evloop_once(g->loop);
}

static struct transport_stats stats_of(const struct stage *g)
{
	struct transport_stats out = {0};

	g->type->stats(g->transport, &out);
	return out;
}

/* ---- tests ---- */

static const struct transport_type *const types[] = {&transport_http1, &transport_curl};

/* The age counts from the last answer, not from the first. */
static void test_young_ones_are_used(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct stage g;

		stage_open(&g, types[i]);
		exchange(&g, 1);
		for (int k = 1; k <= 5; k++) {
			offset_ns += XFER_IDLE_NS * 7 / 10;
			exchange(&g, 1);
			assert_int_equal(stats_of(&g).connects, 1);
			assert_int_equal(stats_of(&g).reuses, k);
		}
		stage_close(&g);
	}
}

static void test_old_ones_are_dropped(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct stage g;

		stage_open(&g, types[i]);
		exchange(&g, 1);
		offset_ns += XFER_IDLE_NS + NS_PER_MS;
		exchange(&g, 1);
		assert_int_equal(stats_of(&g).connects, 2);
		assert_int_equal(stats_of(&g).reuses, 0);
		assert_int_equal(stats_of(&g).reuse_races, 0); /* dropped, not found dead */
		exchange(&g, 1);			       /* the new one is young */
		assert_int_equal(stats_of(&g).connects, 2);
		assert_int_equal(stats_of(&g).reuses, 1);
		stage_close(&g);
	}
}

/* Of several that were kept none outlives the wait. */
static void test_all_of_them(void **state)
{
	enum { MANY = 8 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct stage g;

		stage_open(&g, types[i]);
		exchange(&g, MANY);
		assert_int_equal(stats_of(&g).connects, MANY);
		exchange(&g, MANY);
		assert_int_equal(stats_of(&g).connects, MANY);
		offset_ns += XFER_IDLE_NS + NS_PER_MS;
		exchange(&g, MANY);
		assert_int_equal(stats_of(&g).connects, 2 * MANY);
		stage_close(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_young_ones_are_used),
		cmocka_unit_test(test_old_ones_are_dropped),
		cmocka_unit_test(test_all_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
