/*
 * What is asked: prompt sets in memory, and for the k-th request of a level which prompt and how
 * many output tokens. Pure after loading; a function of (seed, level, repeat, k) alone, so that
 * `plan` and `run`, and all targets, agree.
 */
#ifndef LOADGEN_WORKLOAD_H
#define LOADGEN_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "message.h"
#include "scenario.h"

struct workload;

/* Reads the file, or makes the inline or synthetic set. RC_INPUT also for a set without prompts,
 * and for `output_tokens: reference` with a record that has no answer. */
enum rc workload_new(struct workload **out, const struct scenario *s, struct err *e);
void workload_free(struct workload *w);
size_t workload_prompts(const struct workload *w); /* records in the set; 0 for synthetic */

struct planned_request {
	int64_t prompt_id; /* index in the set; for synthetic k */
	const char *text;  /* the user's; valid until the next call */
	size_t len;
	const struct message *before; /* said before it: a system prompt, a history */
	size_t n_before;
	int32_t input_tokens;  /* synthetic: as drawn; else -1 (the server counts) */
	int32_t output_tokens; /* max_tokens to ask for, >= 1 */
};

/* Request k of a repeat of a level; level -1 = warm-up; k < 2^32.
 *
 * pick shuffle: a random order of the set for each (level, repeat), and a new one each time it is
 * used up, so that no prompt comes back before all others were asked. sequential: the set's order.
 * Synthetic prompts are common short English words with single blanks between, as many as tokens
 * were drawn: one word is one token to most tokenizers, so the length is about right. Their words
 * are drawn anew for each k, so a prefix cache finds nothing. What the server counts is in its
 * usage. */
void workload_plan(struct workload *w, int level, int repeat, int64_t k,
		   struct planned_request *out);

#endif
