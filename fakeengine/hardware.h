/*
 * What a model weighs, what it runs on, and the times that follow from the two: those of an engine
 * nobody has measured, and what it costs to spread one over several cards. Pure arithmetic.
 *
 * Tensor parallel: each of t cards holds 1/t of every layer, and after attention and after the MLP
 * they add up what each of them has, an all-reduce of tokens x hidden numbers. Round a ring each
 * card sends 2 (t - 1)/t of them.
 *
 * Pipeline parallel: each of s stages holds 1/s of the layers. The batch goes round in as many
 * parts as there are stages, or sequences if there are fewer: a sequence's next token needs its
 * last one, so a lone one keeps one stage busy at a time (the bubble). A step, which is once round
 * for everybody, takes as long as all stages take for one part, and as many hops.
 */
#ifndef FAKEENGINE_HARDWARE_H
#define FAKEENGINE_HARDWARE_H

#include <stdint.h>

#include "cost.h"

#define HARDWARE_VALUE_BYTES 2 /* of a number on its way between cards, and in the KV cache */

/* Absent: params 0. */
struct profile_model {
	char *name; /* the served name */
	double params;
	int64_t layers, hidden, kv_heads, head_dim, vocab; /* hidden, vocab: 0 = not said */
	double weight_bits;
};

/* Absent: count 0. */
struct profile_card {
	char *name;
	int64_t count;
	int64_t memory_bytes;			   /* one card's */
	double bandwidth_bytes_per_s, flops_per_s; /* one card's */
};

/* How the model is spread. Absent: both degrees 0, and nothing is added to the formula. */
struct profile_parallel {
	int64_t tensor, pipeline;
	double bandwidth_bytes_per_s; /* of a card's links, one direction */
	int64_t latency_ps;	      /* of an all-reduce, and of a hop from stage to stage */
};

/* What an engine is taken to make of its hardware, where nothing was measured. Absent: shares 0. */
struct profile_analytic {
	double bandwidth_share, flops_share; /* of the card's figures */
	int64_t host_ps;		     /* each step */
	int64_t decode_seq_ps;		     /* each sequence that gets its next token */
};

double hardware_weight_bytes(const struct profile_model *m);
double hardware_kv_bytes_per_token(const struct profile_model *m);

/* Cards that work on a token at the same time: the tensor degree, or all there are. At least 1. */
int64_t hardware_cards_at_once(const struct profile_card *c, const struct profile_parallel *p);

/* How the KV blocks that a card gives up go to the host's memory and come back. */
struct profile_offload {
	double bandwidth_bytes_per_s; /* of a card's link to the host, one direction */
	int64_t latency_ps;
};

/* Each card reads its own part, all at the same time. */
struct cost_load hardware_load(const struct profile_model *m, const struct profile_card *c,
			       const struct profile_parallel *p, const struct profile_offload *o);

/* What the links add to any formula. */
struct cost_links hardware_links(const struct profile_model *m, const struct profile_parallel *p);

/* The affine formula that follows from the numbers; `links` stays as it is. */
void hardware_cost(struct cost *out, const struct profile_model *m, const struct profile_card *c,
		   const struct profile_parallel *p, const struct profile_analytic *a);

#endif
