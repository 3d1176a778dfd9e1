/*
 * All that the kernels of a step are told: which token stands in which row, where it is in its
 * sequence, whose pages are whose, whose logits are wanted and how a token is chosen from them. One
 * run of memory, written on the host, copied to the card at once.
 */
#ifndef CUDA_STEP_DATA_H
#define CUDA_STEP_DATA_H

#include <stdint.h>

#include "arena.h"
#include "driver.h"
#include "step/batch.h"

/* How many there are of each. */
struct step_counts {
	int32_t n_rows, n_sequences, table_stride;
	int32_t n_decodes, n_chunks;
	int32_t n_logits; /* the first n_known of them: of prompt tokens whose successor is known */
	int32_t n_known;
	int64_t n_history, n_bias, n_forbidden;
};

/* As launch.h wants them: addresses of the host, or of the card. */
struct step_arrays {
	int32_t *tokens, *positions, *row_sequence; /* a row each */
	int32_t *block_table;
	int32_t *decode_rows; /* rows of sequences that have this one only */
	int32_t *chunk_first, *chunk_rows;
	int32_t *logits_rows; /* n_logits, and how each is chosen: */
	struct gpu_sampling *sampling;
	int32_t *known; /* n_known: the tokens that came next */
	int32_t *history;
	struct gpu_logit_bias *bias;
	int32_t *forbidden;
};

/* What room is taken for, and how far padding goes. */
struct step_limits {
	int32_t max_rows, max_sequences;
	int32_t max_len, page_tokens; /* of a sequence */
};

struct step_data {
	struct step_counts n;
	struct step_arrays host, card;
	int32_t n_splits; /* of decode attention: enough for the longest of decode_rows' sequences
			   */
	bool told;	  /* somebody wants to know of probabilities */
	bool padded;

	struct step_limits limits;
	struct cuda *cuda;
	void *host_memory, *card_memory;
	size_t bytes, used; /* of each */
	int32_t moves;	    /* how often they were at another place */
};

/* Room for what steps usually take; it grows. Errors are latched in e (driver.h). */
void step_data_init(struct step_data *d, struct cuda *c, const struct step_limits *l,
		    struct err *e);
void step_data_release(struct step_data *d);
int64_t step_data_bytes(const struct step_limits *l);

/*
 * Fills the host's arrays from a batch. Not before the step that used them last is done. end_ids
 * are forbidden before a request's min_tokens.
 *
 * pad: a step of nothing but next tokens, all chosen without lists, is rounded up to a bucket:
 * 1, 2, 4, 8, 16, 24, 32, ... rows, the last ones nobody's, and splits for the longest sequence
 * rounded up to a power of two. Padded steps of equal n_rows, n_splits and `told` have all counts
 * and addresses alike, until the memory moves. Buckets do not go over a bound at which another
 * kernel is taken (launch.h), so padding changes no bit of a result.
 */
void step_data_fill(struct step_data *d, const struct batch *b, const int32_t *end_ids,
		    int32_t n_end_ids, bool pad, struct err *e);

/* Puts the copy on the stream. */
void step_data_upload(struct step_data *d, struct err *e);

/* Whether logits are changed before a token is chosen from them. */
bool step_data_adjusts(const struct step_data *d);

#endif
