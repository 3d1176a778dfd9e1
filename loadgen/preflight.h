/*
 * A look at a target before the load, outside all figures: its models page, then one short request
 * as the load will send them. What a server refuses and a run can do without is learnt by asking
 * again without it.
 */
#ifndef LOADGEN_PREFLIGHT_H
#define LOADGEN_PREFLIGHT_H

#include <signal.h>

#include "preflight_found.h"
#include "request.h"

/* env: loop, target, dialect, transport_type and limits are used; model NULL: the first served one
 * is asked. The connections are its own and are closed when it returns, so that the load's first
 * request finds none. with_request: also the short one. Runs the loop until it has its answers, a
 * limit is passed, or an interrupt (which must stop the loop). out is initialised by the caller. */
enum rc preflight(const struct request_env *env, bool with_request,
		  const volatile sig_atomic_t *interrupted, struct preflight_found *out,
		  struct err *e);

#endif
