/*
 * What a process of the run and the run say to each other, over a socket within one program:
 * structs as they lie in memory, each message behind its kind and size. Bytes in, messages out.
 * Workers (crew.h) say CREW_READY to CREW_END, jobs (run_jobs.c) CREW_ROW and the JOB_ ones.
 */
#ifndef LOADGEN_CREW_WIRE_H
#define LOADGEN_CREW_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hist.h"
#include "lane.h"
#include "metrics.h"
#include "record.h"

/* From the run to a worker. Fixed in size. */
struct crew_order {
	enum { CREW_GO, CREW_STOP } what;
	int64_t start_ns; /* GO: when the level starts */
	char why[32];	  /* STOP: the error of what is cancelled */
};

enum crew_what {
	CREW_READY, /* nothing but itself: targets are open, GO may come */
	CREW_ROW,   /* struct crew_row, then its token events */
	CREW_TICK,  /* struct crew_tick */
	CREW_END,   /* struct crew_end, then its loop's lag, then the receive lag of each lane, as
		     * hist_bytes() each; the last message of a worker that has ended well */
	JOB_PHASE,  /* struct job_phase: it begins */
	JOB_SAMPLE, /* struct job_sample, then the figure's name */
	JOB_POINT,  /* struct job_point */
	JOB_PHASE_OVER, /* nothing */
	JOB_END,	/* struct job_end; the last message of a job that has ended well */
};

struct crew_row {
	int64_t t_ns; /* when it was kept; CREW_LAST: it was never sent */
	struct record rec;
};
#define CREW_LAST INT64_MAX

/* Every row kept before t_ns has been said. */
struct crew_tick {
	int64_t t_ns;
	struct lane_counts counts; /* of all its lanes */
	int64_t tokens;
};

struct crew_end {
	double cpu_share;
};

struct job_phase {
	int phase; /* of the run's */
	int64_t start_ns;
};

struct job_sample {
	int target, point;
	int64_t t_ns;
	double value;
};

struct job_point {
	int64_t start_ns, end_ns; /* of its level */
	struct point point;
};

struct job_end {
	int64_t now_ns;
	struct err failed; /* rc RC_OK: it did not */
};

/* False when `out` is full. */
bool crew_put(struct buf *out, enum crew_what what, const void *a, size_t a_bytes, const void *b,
	      size_t b_bytes);
bool crew_put_row(struct buf *out, const struct record *rec, int64_t t_ns);

struct crew_message {
	enum crew_what what;
	const char *body; /* valid until the buffer changes; aligned to nothing */
	size_t bytes;
};

/* The next whole message, taken off the buffer; false: more has to come. */
bool crew_take(struct buf *in, struct crew_message *out);

/* The row of a CREW_ROW message; its events are the caller's. */
struct crew_row crew_read_row(const struct crew_message *m);

#endif
