/*
 * Opens the socket that an engine listens on. Runs once, at start, and may block (name look-up).
 * Must not know what is served. Beside http_server.c the only file of this folder that touches
 * sockets.
 */
#include "http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096

int http_listen_tcp(const char *host, int port, int *bound_port, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *all = NULL;
	int fd = -1, problem = 0, on = 1;
	char service[16];
	int rc;

	snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(host, service, &hints, &all);
	if (rc) {
		err_set(e, RC_IO, "cannot listen on %s: %s", host, gai_strerror(rc));
		return -1;
	}
	for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd >= 0) {
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
			if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
				break;
		}
		problem = errno;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	if (fd < 0) {
		err_set(e, RC_IO, "cannot listen on %s port %d: %s", host, port, strerror(problem));
	} else {
		union {
			struct sockaddr any;
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		} bound = {.v6 = {0}};
		socklen_t len = sizeof(bound);

		getsockname(fd, &bound.any, &len);
		*bound_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port
								    : bound.v4.sin_port);
	}
	return fd;
}

/* A socket file that nobody listens on any more is in the way of the next server; any other file is
 * not ours to remove. */
static void remove_stale(const char *path, const struct sockaddr_un *to)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof(*to)) &&
	    errno == ECONNREFUSED)
		unlink(path);
	if (fd >= 0)
		close(fd);
}

int http_listen_unix(const char *path, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(to.sun_path)) {
		err_set(e, RC_INPUT, "unix socket path %s: longer than %zu bytes", path,
			sizeof(to.sun_path) - 1);
		return -1;
	}
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	remove_stale(path, &to);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) || listen(fd, BACKLOG)) {
		err_set(e, RC_IO, "cannot listen on unix socket %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}
