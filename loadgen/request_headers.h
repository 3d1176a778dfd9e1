/*
 * The header lines of a request to a target: ours, the dialect's, the key, then the target's own,
 * which replace any of these by name; one with an empty value takes ours away and puts nothing in
 * its place.
 */
#ifndef LOADGEN_REQUEST_HEADERS_H
#define LOADGEN_REQUEST_HEADERS_H

#include "base/buf.h"
#include "dialect.h"
#include "scenario.h"

/* streams: what it wants back. has_body: it is a POST of JSON. name: its X-Request-Id, or NULL.
 * left_out: headers of ours not to be sent, NULL-terminated, or NULL. */
void request_headers(struct buf *out, const struct target *t, const struct dialect *d,
		     bool has_body, bool streams, const char *name, const char *const *left_out);

#endif
