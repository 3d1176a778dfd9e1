/*
 * Requests that decode and ask for nothing: each makes one token a step, the next one included,
 * until it ends. They are kept behind: what they have in common is counted once a step, and each is
 * brought up to date when something happens to it, a block that it needs or fills, or its end. So a
 * step costs as much as happens in it, however many share it. Pure bookkeeping for a policy whose
 * plans may leave them out (sched_type.set_terse).
 *
 * A request is in it between steady_add() and steady_remove(), and in no list of the policy's.
 */
#ifndef SERVE_STEADY_H
#define SERVE_STEADY_H

#include <stdint.h>

#include "genreq.h"
#include "kvpool.h"

struct steady_bucket {
	struct genreq **r;
	int32_t n, cap;
};

/* Read by its owner, changed by the functions below. */
struct steady {
	struct kvpool *pool;
	void (*append)(struct genreq *r, int32_t n);
	int32_t n;
	int64_t kv_tokens; /* of context, read by all of them in the next step */
	uint64_t adapters; /* a bit for each that they use, as in step_plan */
	int64_t step;	   /* number of the next one */
	int64_t end_ns;	   /* of the one before it */
	int64_t next_end;  /* none of them ends in a step before that */
	int64_t newest;	   /* none of them was admitted later: slot.order; -1 without any */
	int32_t users[64]; /* of each adapter */

	/* By the step in which something happens, its number modulo their count: what happens to
	 * any of them does so within a block's length, so that is how many there are at least. */
	struct steady_bucket *bucket;
	int64_t mask;
};

/* append: adds the next n tokens of its answer to r, n > 0. */
void steady_init(struct steady *s, struct kvpool *pool, int32_t block_size,
		 void (*append)(struct genreq *r, int32_t n));
void steady_release(struct steady *s); /* forgets the requests; legal when all zero */

/* r has just got a token, lacks one, and will end after `left` more. */
void steady_add(struct steady *s, struct genreq *r, int32_t left);

/* r as it is behind the last step; it stays. */
void steady_catch_up(struct steady *s, struct genreq *r);

/* ... and leaves. */
void steady_remove(struct steady *s, struct genreq *r);

/* All leave, in order of admission: *out, n of them, valid until the next call of this module. */
int32_t steady_remove_all(struct steady *s, struct genreq ***out);

/* Those to whom something happens in the next step, in order of admission. Before that step is
 * over, each is steady_pass()ed, or, where it ends (slot.last_step), removed, which takes it out of
 * *out; then steady_none_due(). */
int32_t steady_due(struct steady *s, struct genreq ***out);
void steady_none_due(struct steady *s);

/* Makes next_end the step in which one of them does end; INT64_MAX without any. */
void steady_find_next_end(struct steady *s);

/* How many blocks they need for it. */
int32_t steady_blocks_due(struct steady *s);

/* Gives r the block it needs, which must be there, and names the one it fills. */
void steady_pass(struct steady *s, struct genreq *r);

/* The step is over, each has its token. */
void steady_step_over(struct steady *s, int64_t end_ns);

#endif
