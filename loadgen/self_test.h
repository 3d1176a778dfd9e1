/*
 * loadgen self-test: the instrument calibrated on this machine. It measures its own fakeengine over
 * loopback at rising loads, sets what it measured beside what the engine says it did (--truth), and
 * says up to which load it is to be believed here, beside the floor (self_test_floor.h). About a
 * minute; needs fakeengine beside loadgen.
 */
#ifndef LOADGEN_SELF_TEST_H
#define LOADGEN_SELF_TEST_H

#include "base/buf.h"
#include "base/err.h"
#include "progress.h"

/* Tables and sentences into out. Blocks. RC_INPUT, RC_IO: an engine does not start, no room for
 * files. */
enum rc self_test(enum progress_mode progress, struct buf *out, struct err *e);

#endif
