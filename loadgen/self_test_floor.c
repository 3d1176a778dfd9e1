/*
 * Owns the bare drain: sockets, epoll, recv(). Main thread; blocks. Must not parse.
 */
#include "self_test_floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "address.h"
#include "base/clock.h"
#include "base/die.h"

enum { PATIENCE_MS = 10000, READY = 256, READ_BYTES = 1 << 16 };

static enum rc ask(const struct address *a, int ep, int tokens, int *fd, struct err *e)
{
	char body[256], request[512];
	struct epoll_event want = {.events = EPOLLIN};
	int n = snprintf(body, sizeof(body),
			 "{\"model\":\"fake-model\",\"stream\":true,\"max_tokens\":%d,"
			 "\"messages\":[{\"role\":\"user\",\"content\":\"Say something.\"}]}",
			 tokens);

	n = snprintf(
		request, sizeof(request),
		"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		n, body);
	*fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || connect(*fd, (const struct sockaddr *)&a->sa, a->len) != 0 ||
	    send(*fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		return err_set(e, RC_IO, "floor: %s: %s", a->text, strerror(errno));
	fcntl(*fd, F_SETFL, O_NONBLOCK);
	want.data.ptr = fd;
	epoll_ctl(ep, EPOLL_CTL_ADD, *fd, &want);
	return RC_OK;
}

static enum rc drain(int ep, int left, struct err *e)
{
	char *bytes = xmalloc(READ_BYTES);
	struct epoll_event ready[READY];
	enum rc rc = RC_OK;

	while (left > 0 && !rc) {
		int n = epoll_wait(ep, ready, READY, PATIENCE_MS);

		if (n == 0)
			rc = err_set(e, RC_IO, "floor: %d streams fell silent", left);
		for (int i = 0; i < n; i++) {
			int *fd = ready[i].data.ptr;
			ssize_t k = recv(*fd, bytes, READ_BYTES, 0);

			if (k > 0 || (k < 0 && (errno == EAGAIN || errno == EINTR)))
				continue;
			close(*fd);
			*fd = -1;
			left--;
		}
	}
	free(bytes);
	return rc;
}

enum rc floor_drain(const struct target *t, int n, int tokens, double *us, struct err *e)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), n_addresses = 0, *fds;
	struct address *address = NULL;
	int64_t cpu_ns;
	enum rc rc;

	if (ep < 0)
		return err_set(e, RC_IO, "floor: %s", strerror(errno));
	fds = xcalloc((size_t)n, sizeof(*fds));
	for (int i = 0; i < n; i++)
		fds[i] = -1;
	rc = address_resolve(&address, &n_addresses, t, e);
	for (int i = 0; i < n && !rc; i++)
		rc = ask(&address[0], ep, tokens, &fds[i], e);
	cpu_ns = thread_cpu_ns();
	if (!rc)
		rc = drain(ep, n, e);
	*us = (double)(thread_cpu_ns() - cpu_ns) / 1e3 / n / tokens;
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
	free(address);
	close(ep);
	return rc;
}
