/*
 * A profile in words, for a person who wants to know what a simulated engine rests on. Every number
 * says where it comes from: given (by the profile), derived (computed here), assumed, or published
 * (by the profile's source, or in the table of GPU memory below).
 */
#ifndef FAKEENGINE_EXPLAIN_H
#define FAKEENGINE_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "profile.h"

/* Bytes that serving needs at least, from the model's numbers. */
struct memory_need {
	double weights_bytes;	   /* params * weight_bits / 8 */
	double kv_bytes_per_token; /* 2 * layers * kv_heads * head_dim * 2 */
	double one_sequence_bytes; /* of EXPLAIN_SEQUENCE_TOKENS */
	double overhead_bytes;	   /* assumed, for each card */
	double least_bytes;	   /* the sum of weights, one sequence and overhead */
};

#define EXPLAIN_SEQUENCE_TOKENS 2048

/* The workload of the predictions, if nobody says another: a short question, a short answer. */
#define EXPLAIN_PROMPT_TOKENS 64
#define EXPLAIN_OUTPUT_TOKENS 128

void memory_need(const struct profile_model *m, const struct profile_card *c,
		 struct memory_need *out);

/* What is said in public about the memory of a model of such a size and width, in GB of 1e9 bytes.
 */
struct published_memory {
	const char *size;		/* "7B" */
	double params_low, params_high; /* what counts as this size */
	bool four_bit;			/* else BF16 */
	double server_gb, native_gb;	/* vLLM (BF16) or llama.cpp (4-bit); transformers */
};

extern const struct published_memory published_memory[];
extern const size_t n_published_memory;

/* The row for the model, or NULL. */
const struct published_memory *published_memory_find(const struct profile_model *m);

/* The whole text. prompt, output: the workload of the table of predictions, in tokens. False at the
 * cap of b. */
bool explain(struct buf *b, const struct profile *p, int32_t prompt, int32_t output);

/* A line for each built-in profile. RC_INPUT if one does not read, which the tests exclude. */
enum rc explain_list(struct buf *b, struct err *e);

#endif
