/*
 * Where a target listens, as socket addresses in the order in which they are tried.
 */
#ifndef LOADGEN_ADDRESS_H
#define LOADGEN_ADDRESS_H

#include <sys/socket.h>

#include "base/err.h"
#include "scenario.h"

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[64]; /* "127.0.0.1:8000", "[::1]:8000", a path */
};

/* Blocks while names are resolved. *out is malloc'd, *n > 0. RC_IO: the name means nothing. */
enum rc address_resolve(struct address **out, int *n, const struct target *t, struct err *e);

#endif
