/*
 * A worker: a process that drives its share of a phase's lanes and says to the run, over a socket,
 * what happened. It is forked when the phase begins, with all the run knows, and leaves when its
 * share is over. It writes no file and starts no engine.
 */
#ifndef LOADGEN_WORKER_H
#define LOADGEN_WORKER_H

#include <stdint.h>

#include "deployment.h"
#include "driver.h"
#include "lane.h"

struct worker_lane {
	struct lane *lane;
	struct deployment *at;
	int point;
};

/* A phase as its workers need it; the run's. */
struct worker_task {
	struct lane_load *load;
	const struct worker_lane *lane;
	int n_lanes;
	const int64_t *arrivals;
	int64_t n_arrivals;
};

/* In the forked process, with SIGINT and SIGTERM blocked. Never returns. fd: its end of the socket.
 */
_Noreturn void worker_main(int fd, const struct worker_task *task, struct share share);

#endif
