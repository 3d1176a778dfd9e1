/*
 * Owns the choice of a transport, and the handler of requests that nobody listens to any more.
 */
#include "transport.h"

const struct transport_type *transport_for(const struct target *t)
{
	switch (t->scheme) {
	case URL_HTTPS:
		return &transport_curl;
	case URL_UNIX:
		return &transport_unix;
	case URL_PROFILE:
		return &transport_sim;
	default:
		return &transport_http1;
	}
}

static void silent_stamp(void *owner, int64_t t_ns)
{
	(void)owner;
	(void)t_ns;
}

static void silent_head(void *owner, const struct xfer_head *h, int64_t t_ns)
{
	(void)owner;
	(void)h;
	(void)t_ns;
}

static void silent_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	(void)owner;
	(void)bytes;
	(void)n;
	(void)t_ns;
}

static void silent_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	(void)owner;
	(void)how;
	(void)why;
	(void)t_ns;
}

const struct xfer_handler xfer_silent = {silent_stamp, silent_stamp, silent_head, silent_body,
					 silent_end,   NULL,	     NULL};
