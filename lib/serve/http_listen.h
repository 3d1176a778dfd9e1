/*
 * Listening sockets: not blocking, closed on exec. -1 and a message where there can be none.
 */
#ifndef SERVE_HTTP_LISTEN_H
#define SERVE_HTTP_LISTEN_H

#include "base/err.h"

/* port 0 takes a free one; *bound_port is the one that was taken. */
int http_listen_tcp(const char *host, int port, int *bound_port, struct err *e);

/* A socket file left behind by a server that is gone is replaced; anything else at path is an
 * error. */
int http_listen_unix(const char *path, struct err *e);

#endif
