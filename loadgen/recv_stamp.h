/*
 * Reading a socket with the time at which its bytes arrived. The kernel stamps each packet in wall
 * time (SO_TIMESTAMPNS); the offset to CLOCK_MONOTONIC is looked up now and then. A loop that lags
 * by milliseconds still stamps within microseconds. No HTTP, no loop.
 */
#ifndef LOADGEN_RECV_STAMP_H
#define LOADGEN_RECV_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hist.h"

struct recv_stamp {
	bool kernel;
	int64_t now_ns; /* when the last read returned, by CLOCK_MONOTONIC */
	int64_t wall_offset_ns, looked_up_ns;
	int keeper_fd;	     /* keeps the kernel's stamping switched on between connections */
	struct hist *lag_ns; /* kernel stamp -> the read returned */
};

/* kernel: false for sockets that have no stamps (unix); reads are then stamped when they return. */
void recv_stamp_init(struct recv_stamp *s, bool kernel);
void recv_stamp_release(struct recv_stamp *s);

/* To be called on each new socket. */
void recv_stamp_enable(const struct recv_stamp *s, int fd);

/* As recv(); *t_ns is always set. With several packets in one read it is the last one's. */
ssize_t recv_stamp_read(struct recv_stamp *s, int fd, void *p, size_t n, int64_t *t_ns);

#endif
