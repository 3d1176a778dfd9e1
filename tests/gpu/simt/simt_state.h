/* What the two halves of the runtime share: simt.c schedules, simt_ops.c does what lanes ask for.
 */
#ifndef SIMT_STATE_H
#define SIMT_STATE_H

#include <stdbool.h>

#include "fiber.h"
#include "simt.h"

#define SIMT_WARP	   32
#define SIMT_MAX_WARPS	   32
#define SIMT_MAX_SHARED	   ((size_t)227 << 10)
#define SIMT_MAX_STATIC	   ((size_t)48 << 10)
#define SIMT_MAX_VARIABLES 32

struct block;

enum lane_state { LANE_READY, LANE_IN_WARP_OP, LANE_AT_BARRIER, LANE_EXITED };

/* What a lane asked its warp for. */
struct warp_request {
	enum simt_op op;
	uint32_t mask, bytes, from_lane;
	const void *in;
	void *out;
	int line;
};

/* An asynchronous copy under way. */
struct copy {
	void *to;
	const void *from;
	uint32_t bytes, bytes_read;
	int group;
};

struct lane {
	struct simt_thread self; /* first: simt_self points to it */
	struct block *block;
	enum lane_state state;
	struct warp_request request; /* or the barrier's line */
	fiber_context context;
	char *stack;
	void *tsan_fiber, *asan_stack;
	struct copy *copy;
	int n_copies, max_copies, group;
};

struct variable {
	const void *key;
	void *at;
	size_t bytes;
};

struct block {
	struct lane *lane;
	int n_lanes, n_live, n_at_barrier;
	uint32_t waiting[SIMT_MAX_WARPS]; /* lanes in a warp operation */
	uint32_t gone[SIMT_MAX_WARPS];	  /* lanes that exited */
	struct variable variable[SIMT_MAX_VARIABLES];
	int n_variables;
	void *dynamic;
	char *arena; /* of variables, under the thread sanitizer; else NULL */
	size_t dynamic_bytes, static_bytes;
	char barrier_tag, warp_tag[SIMT_MAX_WARPS]; /* what the thread sanitizer orders by */
};

struct lane *simt_lane(void);

/* One line with the kernel, block and thread, then abort(). */
void simt_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

void simt_make_ready(struct lane *l);
/* The lane that runs goes on only after simt_make_ready(). */
void simt_wait(void);

uint64_t simt_random(void);
void simt_fill_nan(void *p, size_t bytes);
void simt_release(void *tag);
void simt_acquire(void *tag);

/* Whether the operation that lanes of the warp wait in could be done; then it is. */
bool simt_finish_warp_op(struct block *b, uint32_t warp);
void simt_finish_barrier(struct block *b);
void simt_end_block(struct block *b);

#endif
