/*
 * The truth log (--truth FILE): for each token, when the model says it leaves and when it left. CSV
 * with the columns request_id, token_index (from 0), due_ns, sent_ns (CLOCK_MONOTONIC; just before
 * it is given to the kernel). What a load generator measured is checked against it.
 */
#ifndef SERVE_TRUTH_H
#define SERVE_TRUTH_H

#include <stdint.h>

#include "base/err.h"

struct truth_log;

enum rc truth_open(struct truth_log **out, const char *path, struct err *e);

/* Gathers a row in memory; no system call, and no allocation but when the gathered rows outgrow
 * their buffer. */
void truth_token(struct truth_log *t, const char *request_id, int32_t token_index, int64_t due_ns,
		 int64_t sent_ns);

/* Between passes: writes if much has gathered. */
void truth_settle(struct truth_log *t);

/* When a run pauses: writes all of it. A write that fails is said once on stderr; rows are then
 * lost. */
void truth_flush(struct truth_log *t);

void truth_close(struct truth_log *t); /* flushes; NULL legal */

#endif
