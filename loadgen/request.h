/*
 * One request from start to record: its state machine, its time stamps, its time limits, and the
 * verdict on how it ended. Joins a transport and a dialect; knows no load, no scenario but the
 * target's, no files.
 *
 *     CONNECT -> WAIT -> STREAM | BODY -> OVER
 *
 * on_end is called once, at the end of the loop's turn in which it became over.
 */
#ifndef LOADGEN_REQUEST_H
#define LOADGEN_REQUEST_H

#include "base/evloop.h"
#include "dialect.h"
#include "record.h"
#include "request_form.h"
#include "scenario.h"
#include "transport.h"
#include "workload.h"

struct request;

/* Where requests of one target go; plain data, owned by the caller, outlives them. */
struct request_env {
	struct evloop *loop;
	const struct target *target;
	const char *model;
	const struct dialect *dialect;
	const struct transport_type *transport_type;
	struct transport *transport;
	const struct limits *limits;
	const char *const
		*left_out; /* members and headers not to be sent, NULL-terminated, or NULL */
	/* request_env_form() of this, for one that sends many; NULL: each request writes its own.
	 */
	struct request_form *form;
	bool keep_events; /* fill record.event */
	bool keep_text;	  /* what request_text() gives: costs a JSON tree an event */
	/* Takes the record with request_take_record(); q is gone after it. */
	void (*on_end)(struct request *q, void *arg);
	void *arg;
	void (*on_tokens)(void *arg,
			  int64_t n); /* so many events have come: for progress; or NULL */
};

/* rec: identity, plan and sched_ns filled in; copied. Sends at once: send_ns is now_ns. */
struct request *request_start(const struct request_env *env, const struct planned_request *plan,
			      const struct record *rec, int64_t now_ns);

/* Ends it with this outcome (OUTCOME_CANCELLED, OUTCOME_TIMEOUT) and message; on_end follows at the
 * end of the turn. */
void request_abort(struct request *q, enum outcome why, const char *error, int64_t now_ns);

/* A number of the caller's, kept with q: where it is in the caller's list. */
void request_set_place(struct request *q, size_t place);
size_t request_place(const struct request *q);

/* All inside on_end. The answer is its body if it was no stream, and goes with q. */
struct record request_take_record(struct request *q);
const char *request_answer(struct request *q);
/* With keep_text: what the answer says, valid until on_end returns. */
const char *request_text(struct request *q, size_t *len);

/* What env.form is to be: for all its requests, until target, dialect, model or left_out change.
 * The caller's to free. */
struct request_form *request_env_form(const struct request_env *env);

#endif
