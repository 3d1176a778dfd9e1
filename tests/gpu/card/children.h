/*
 * Processes that do a part of the work, and what they said until they ended or their time was up.
 */
#ifndef CARD_CHILDREN_H
#define CARD_CHILDREN_H

#include "base/buf.h"
#include "check.h"

struct child {
	struct buf said; /* its stdout; a program's stderr too */
	double took_s;
	char how[64]; /* it ended, if not well: "exit code 3", "signal 11", "no end in time"; "" */
};

/* argv[0] is the path; environment: "NAME=value", both lists NULL-terminated. Blocks until it has
 * ended, or is killed at end_ns with all that it started. */
void child_program(struct child *out, const char *const *argv, const char *const *environment,
		   int64_t end_ns);

/* What fn returns, computed in a process of its own; an object that says what is wrong if it does
 * not come back. The caller's. */
cJSON *child_phase(cJSON *(*fn)(const struct check *c), const struct check *c);

void child_release(struct child *c);

#endif
