/*
 * A client on the event loop of the server under test: sends bytes, gathers what comes back, and
 * waits by turning the loop. A test that waits for what never comes is ended by alarm().
 */
#ifndef TESTS_LOOPBACK_H
#define TESTS_LOOPBACK_H

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/evloop.h"

struct client {
	struct evloop *loop;
	int fd;
	struct event *readable;
	struct buf got;
	bool closed;  /* the server closed, or reset */
	int n_reads;  /* that brought bytes */
	bool stalled; /* does not read */
};

/* A thousand streams have two ends each in one process. */
static inline void loopback_many_files(void)
{
	struct rlimit files;

	assert_true(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	assert_true(setrlimit(RLIMIT_NOFILE, &files) == 0);
}

static void client_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	char *to = buf_reserve(&c->got, 65536);
	ssize_t n = recv(fd, to, 65536, 0);

	(void)what;
	if (n > 0) {
		buf_commit(&c->got, (size_t)n);
		c->n_reads++;
	} else if (n == 0 || errno != EAGAIN) {
		c->closed = true;
		event_del(c->readable);
	}
}

static void client_attach(struct client *c, struct evloop *loop, int fd)
{
	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->fd = fd;
	buf_init(&c->got, 1 << 30);
	evutil_make_socket_nonblocking(fd);
	c->readable = event_new(evloop_base(loop), fd, EV_READ | EV_PERSIST, client_on_readable, c);
	event_add(c->readable, NULL);
}

static inline void client_open(struct client *c, struct evloop *loop, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	client_attach(c, loop, fd);
}

static inline void client_open_unix(struct client *c, struct evloop *loop, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(to.sun_path, path, sizeof(to.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	client_attach(c, loop, fd);
}

static inline void client_stall(struct client *c)
{
	c->stalled = true;
	event_del(c->readable);
}

static inline void client_send(struct client *c, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			evloop_once(c->loop);
			continue;
		}
		if (n <= 0)
			return; /* the server has closed: what it said is still read */
		bytes += n;
		len -= (size_t)n;
	}
}

static inline void client_say(struct client *c, const char *text)
{
	client_send(c, text, strlen(text));
}

/* Until the text stands in what has come since the last client_forget(). */
static inline void client_wait(struct client *c, const char *text)
{
	while (!strstr(buf_cstr(&c->got), text)) {
		if (c->closed)
			fail_msg("closed without \"%s\", after: %s", text, buf_cstr(&c->got));
		evloop_once(c->loop);
	}
}

static inline void client_wait_closed(struct client *c)
{
	while (!c->closed)
		evloop_once(c->loop);
}

static inline void client_forget(struct client *c)
{
	buf_clear(&c->got);
	c->n_reads = 0;
}

static inline void client_close(struct client *c)
{
	if (c->readable)
		event_free(c->readable);
	if (c->fd >= 0)
		close(c->fd);
	buf_release(&c->got);
	c->readable = NULL;
	c->fd = -1;
}

#endif
