/*
 * What is asked: prompt sets in memory, and for the k-th request of a level which prompt and how
 * many output tokens. Pure after loading; a function of (seed, level, repeat, k) alone, so that
 * `plan` and `run`, and all targets, agree.
 */
#ifndef LOADGEN_WORKLOAD_H
#define LOADGEN_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "message.h"
#include "scenario.h"
#include "trace.h"

struct workload;

/* Reads the files, or makes the inline or synthetic set. RC_INPUT also for a set without prompts,
 * and for `output_tokens: reference` with a record that has no answer. */
enum rc workload_new(struct workload **out, const struct scenario *s, struct err *e);
void workload_free(struct workload *w);
size_t workload_prompts(const struct workload *w); /* records in the set; 0 for synthetic */
const struct trace *workload_trace(const struct workload *w); /* load.open.trace, or NULL */

struct planned_request {
	int64_t prompt_id; /* index in the set; for synthetic k, of a trace the row */
	const char *text;  /* the user's; valid until the next call */
	size_t len;
	const uint8_t *word; /* workload_keep_words(): the words it has instead of text, or NULL */
	size_t n_words;
	bool kept;		      /* workload_remember(): `word` stays, and stands for it all */
	const struct message *before; /* said before it: a system prompt, a history */
	size_t n_before;
	int32_t input_tokens;  /* synthetic, trace: as drawn; else -1 (the server counts) */
	int32_t output_tokens; /* max_tokens to ask for, >= 1; of a batch for each of its prompts */
	const struct message *also; /* a batch: its other prompts, without a role */
	size_t n_also;
	int32_t cancel_after_tokens; /* it is given up when so many have come; 0 = it is not */
	int32_t lora_module;	     /* of workload.lora_modules; -1 = there are none */
	const char *model;	     /* its name; NULL: the target's own model */
};

/* A made-up prompt is made of these: every seven bits are one. */
#define WORKLOAD_WORDS 128
extern const char *const workload_word[WORKLOAD_WORDS];

/* From now on a made-up prompt is told by the numbers of its words: for whoever counts its tokens
 * without reading it. Not for sessions and batches, which have texts. */
void workload_keep_words(struct workload *w);

/* From now on what was planned without a text is kept, up to some hundred megabytes: for several
 * targets, who are asked the same. */
void workload_remember(struct workload *w);

/* Their text, with single blanks between: appended. False at the cap of out. */
bool workload_spell(const uint8_t *word, size_t n, struct buf *out);

/* Request k of a repeat of a level; level -1 = warm-up; k < 2^32.
 *
 * pick shuffle: a random order of the set for each (level, repeat), and a new one each time it is
 * used up, so that no prompt comes back before all others were asked. sequential: the set's order.
 * Synthetic prompts are common short English words with single blanks between, as many as tokens
 * were drawn: one word is one token to most tokenizers, so the length is about right. Their words
 * are drawn anew for each k, so a prefix cache finds nothing but the shared prefix asked for, which
 * is drawn anew for each (level, repeat): no level finds the cache that another filled. What the
 * server counts is in its usage.
 *
 * As a trace has them: k is the row, of the warm-up the k-th from the end. A prompt begins with its
 * row's blocks, each made of the block's number alone (and level and repeat, as above), and goes on
 * with words of its own. */
void workload_plan(struct workload *w, int level, int repeat, int64_t k,
		   struct planned_request *out);

/* A batch: request k carries the prompts of requests k * size and on. Its length to ask for is
 * drawn once; `reference` is the longest answer's. */
void workload_plan_batch(struct workload *w, int level, int repeat, int64_t k, int size,
			 struct planned_request *out);

/* A session's k-th request: turn of conversation `session` of a level, whose prompts are picked as
 * those of requests are. `before` holds what the set has in front of the conversation; what was
 * said since is the caller's to keep. at_most: of the level's turns, 0 = all. */
int workload_turns(struct workload *w, int level, int repeat, int64_t session, int64_t at_most);
void workload_plan_turn(struct workload *w, int level, int repeat, int64_t session, int turn,
			int64_t k, struct planned_request *out);

#endif
