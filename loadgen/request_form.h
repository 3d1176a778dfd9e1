/*
 * What the requests to one target have in common, written once: path, headers, body. Into that each
 * request puts what is its own: its name, its prompt, its length. One thread; no sockets, no time.
 */
#ifndef LOADGEN_REQUEST_FORM_H
#define LOADGEN_REQUEST_FORM_H

#include <stdint.h>

#include "dialect.h"
#include "scenario.h"
#include "transport.h"
#include "workload.h"

struct request_form;

/* What it is made for; pointers are kept. takes_words: a prompt of words is not spelled
 * (transport_type.takes_words). */
struct request_aim {
	const struct target *target;
	const struct dialect *dialect;
	const char *model;
	const char *const *left_out; /* see request_env */
	bool takes_words;
};

struct request_form *request_form_new(const struct request_aim *aim);
void request_form_free(struct request_form *f); /* NULL legal */

/* Is the answer asked for as a stream? */
bool request_streams(const struct target *t, const struct dialect *d);

/* The request of this plan and this id (request_name()), to be sent; valid until the next call. */
struct xfer_spec request_form_fill(struct request_form *f, const struct planned_request *plan,
				   int64_t request_id);

/* "req-" + id: the X-Request-Id that request `request_id` of a run carries; engines echo it in
 * --truth files. "preflight" without a number. */
void request_name(char out[32], int64_t request_id);

#endif
