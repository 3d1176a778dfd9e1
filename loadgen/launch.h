/*
 * Local engines named in a scenario: started, waited for, their output kept in a log, stopped, and
 * never left behind: a keeper process between us and the engine kills the engine's process group
 * when our end of a pipe closes, so that even kill -9 of loadgen leaves nothing running.
 */
#ifndef LOADGEN_LAUNCH_H
#define LOADGEN_LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/evloop.h"
#include "scenario.h"

struct launched;

/* Starts it. program: a path with a slash, else a file beside our own binary, else PATH. Both
 * outputs go to log_path. RC_INPUT if the program is not there (where was looked is in the
 * message). Does not wait. */
enum rc launch_start(struct launched **out, const struct launch_spec *spec, const char *log_path,
		     struct err *e);

/* Blocks (polling, up to spec->timeout_ns, or until *interrupted) until the engine answers `ready`
 * with 200. Learns the URL from its line "listening on URL" when t->url is NULL and sets it with
 * target_set_url(). If the engine dies first the message carries its exit status and the last lines
 * of its log. */
enum rc launch_wait_ready(struct launched *l, struct target *t,
			  const volatile sig_atomic_t *interrupted, struct err *e);

/* Has it died since? Waits so long for word of it; fills e with exit status and last log lines. */
bool launch_died(struct launched *l, int patience_ms, struct err *e);

/* The process between us and the engine: the engine and all it starts descend from it. */
pid_t launch_keeper(const struct launched *l);

/* SIGTERM to the group, 5 s, SIGKILL. Blocks until it is gone. NULL legal. */
void launch_stop(struct launched *l);

#endif
