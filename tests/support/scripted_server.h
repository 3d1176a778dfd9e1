/*
 * A server on loopback that answers each whole request with what a function says, then closes, or
 * keeps the connection. It lives on the loop of the test, or on that of a child process.
 */
#ifndef TESTS_SCRIPTED_SERVER_H
#define TESTS_SCRIPTED_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/evloop.h"

/* Puts the answer to a request (head and body) into out; nothing: it never answers. */
typedef void scripted_answer(const char *request, struct buf *out);

struct scripted_server {
	struct evloop *loop;
	scripted_answer *answer;
	int fd, port, requests;
	bool keeps; /* connections stay open behind an answer */
	struct event *acceptable;
	LIST_HEAD(, scripted_peer) peers;
};

struct scripted_peer {
	struct scripted_server *s;
	struct event *readable, *writable;
	struct buf in, out;
	LIST_ENTRY(scripted_peer) next;
};

static inline void scripted_hang_up(struct scripted_peer *p)
{
	int fd = event_get_fd(p->readable);

	LIST_REMOVE(p, next);
	event_free(p->readable);
	event_free(p->writable);
	close(fd);
	buf_release(&p->in);
	buf_release(&p->out);
	free(p);
}

static inline void scripted_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct scripted_peer *p = arg;
	ssize_t n = send(fd, buf_head(&p->out), buf_size(&p->out), MSG_NOSIGNAL);

	(void)what;
	if (n > 0)
		buf_consume(&p->out, (size_t)n);
	if (buf_size(&p->out) == 0 && p->s->keeps)
		event_del(p->writable);
	else if (buf_size(&p->out) == 0 || (n < 0 && errno != EAGAIN))
		scripted_hang_up(p);
}

static inline bool scripted_is_whole(struct buf *in)
{
	const char *text = buf_cstr(in), *end = strstr(text, "\r\n\r\n");
	const char *length = strstr(text, "Content-Length: ");
	size_t body = length && length < end ? strtoull(length + 16, NULL, 10) : 0;

	return end && buf_size(in) >= (size_t)(end - text) + 4 + body;
}

static inline void scripted_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct scripted_peer *p = arg;
	char bytes[65536];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	(void)what;
	if (n <= 0) {
		scripted_hang_up(p);
		return;
	}
	buf_append(&p->in, bytes, (size_t)n);
	if (!scripted_is_whole(&p->in))
		return;
	p->s->requests++;
	p->s->answer(buf_cstr(&p->in), &p->out);
	buf_clear(&p->in);
	if (buf_size(&p->out) > 0)
		event_add(p->writable, NULL);
}

static inline void scripted_on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct scripted_server *s = arg;
	struct scripted_peer *p = xcalloc(1, sizeof(*p));
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	CHECK(peer >= 0);
	p->s = s;
	LIST_INSERT_HEAD(&s->peers, p, next);
	buf_init(&p->in, 1u << 24);
	buf_init(&p->out, 1u << 24);
	p->readable = event_new(evloop_base(s->loop), peer, EV_READ | EV_PERSIST,
				scripted_on_readable, p);
	p->writable = event_new(evloop_base(s->loop), peer, EV_WRITE | EV_PERSIST,
				scripted_on_writable, p);
	event_add(p->readable, NULL);
}

/* Listens; a child process may serve what was bound here. */
static inline void scripted_bind(struct scripted_server *s)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	memset(s, 0, sizeof(*s));
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(s->fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	CHECK(getsockname(s->fd, (struct sockaddr *)&in, &len) == 0);
	s->port = ntohs(in.sin_port);
	CHECK(listen(s->fd, 64) == 0);
}

static inline void scripted_serve(struct scripted_server *s, struct evloop *loop,
				  scripted_answer *answer)
{
	s->loop = loop;
	s->answer = answer;
	s->acceptable = event_new(evloop_base(loop), s->fd, EV_READ | EV_PERSIST,
				  scripted_on_acceptable, s);
	event_add(s->acceptable, NULL);
}

static inline void scripted_close(struct scripted_server *s)
{
	struct scripted_peer *p = LIST_FIRST(&s->peers), *next;

	for (; p; p = next) {
		next = LIST_NEXT(p, next);
		scripted_hang_up(p);
	}
	event_free(s->acceptable);
	close(s->fd);
}

#endif
