/*
 * Owns name resolution. Main thread, before the load; blocks.
 */
#include "address.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/die.h"

static void describe(struct address *a)
{
	char host[NI_MAXHOST], port[16];

	if (getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(a->text, sizeof(a->text), "?");
	else
		snprintf(a->text, sizeof(a->text),
			 a->sa.ss_family == AF_INET6 ? "[%.*s]:%.6s" : "%.*s:%.6s", 50, host, port);
}

static enum rc unix_address(struct address **out, int *n, const char *path, struct err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(un.sun_path))
		return err_set(e, RC_INPUT, "%s: a unix socket's path has at most %zu bytes", path,
			       sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, path, strlen(path) + 1);
	*out = xcalloc(1, sizeof(**out));
	memcpy(&(*out)->sa, &un, sizeof(un));
	(*out)->len = sizeof(un);
	snprintf((*out)->text, sizeof((*out)->text), "%s", path);
	*n = 1;
	return RC_OK;
}

enum rc address_resolve(struct address **out, int *n, const struct target *t, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char port[16];
	int rc;

	*out = NULL;
	*n = 0;
	if (t->scheme == URL_UNIX)
		return unix_address(out, n, t->host, e);
	snprintf(port, sizeof(port), "%d", t->port);
	rc = getaddrinfo(t->host, port, &hints, &found);
	if (rc != 0)
		return err_set(e, RC_IO, "%s: %s", t->host,
			       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (struct addrinfo *a = found; a; a = a->ai_next)
		++*n;
	*out = xcalloc((size_t)*n, sizeof(**out));
	*n = 0;
	for (struct addrinfo *a = found; a; a = a->ai_next) {
		struct address *to = &(*out)[(*n)++];

		memcpy(&to->sa, a->ai_addr, a->ai_addrlen);
		to->len = a->ai_addrlen;
		describe(to);
	}
	freeaddrinfo(found);
	return RC_OK;
}
