/*
 * A step plan laid flat: one row a token, whoever it belongs to. What the forward pass walks over,
 * and the check that the plan keeps its contract before anything is computed. Pure; memory for the
 * largest step is taken once.
 */
#ifndef CPU_BATCH_H
#define CPU_BATCH_H

#include <stdint.h>

#include "serve/executor.h"

/* Neighbouring rows of one item that go through attention together. */
struct query_chunk {
	int32_t item, row, n_rows;
};

struct batch {
	const struct step_plan *plan;
	int32_t max_rows, n_rows;
	int32_t *token, *position, *item; /* a row each */
	struct query_chunk *chunk;
	int32_t n_chunks;
	int32_t *logits_row; /* the rows whose logits are wanted, in ascending order */
	int32_t n_logits;
};

/* What a plan must keep to. */
struct batch_limits {
	int32_t n_vocab;
	int32_t max_positions;	      /* INT32_MAX = no limit */
	int32_t n_pages, page_tokens; /* what block tables may name */
	int32_t chunk_rows;	      /* rows of a query chunk at most */
};

void batch_init(struct batch *b, int32_t max_rows);
void batch_release(struct batch *b);

/* NULL, or what is wrong with the plan. The plan stays the caller's, and must outlive the use of
 * the batch. */
const char *batch_fill(struct batch *b, const struct step_plan *plan,
		       const struct batch_limits *limits);

#endif
