/*
 * The floor under the instrument: what it costs this machine merely to take a stream's bytes from
 * the kernel, reading nothing of what they say.
 */
#ifndef LOADGEN_SELF_TEST_FLOOR_H
#define LOADGEN_SELF_TEST_FLOOR_H

#include "base/err.h"
#include "scenario.h"

/* n streams of `tokens` tokens from the engine at t, drained by recv() until each ends. Blocks.
 * *us: CPU of this thread for a token, from the moment all were asked for. RC_IO. */
enum rc floor_drain(const struct target *t, int n, int tokens, double *us, struct err *e);

#endif
