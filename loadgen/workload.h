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
#include "scenario.h"

struct prompt {
	char *text; /* the first user turn, UTF-8 */
	size_t len;
	int32_t reference_tokens; /* length of the set's own answer: `reference_tokens` of the
				   * record, else the words of the answer * 1.35 rounded; 0 = the
				   * set has none */
};

struct workload;

/* A LIMA-style file: {"conversations": [...], "source": ...} a line. Pure: bytes in; `name` and the
 * line number stand in messages. Appends to an array of *n (realloc'd); on error what was appended
 * stays the caller's to free. */
enum rc prompts_parse_lima(const char *name, const char *text, size_t len, struct prompt **out,
			   size_t *n, struct err *e);
/* Plain text: a prompt a line, empty lines skipped. */
enum rc prompts_parse_plain(const char *name, const char *text, size_t len, struct prompt **out,
			    size_t *n, struct err *e);
/* What `format: auto` is: a first non-blank byte '{' and the key "conversations" make a LIMA file;
 * text that is no JSON is plain; any other JSON is RC_INPUT, for nobody wants braces asked by
 * accident. */
enum rc prompts_detect(const char *name, const char *text, size_t len, enum prompt_format *out,
		       struct err *e);
void prompts_free(struct prompt *p, size_t n);

/* Reads the file, or makes the inline or synthetic set. RC_INPUT also for a set without prompts,
 * and for `output_tokens: reference` with a record that has no answer. */
enum rc workload_new(struct workload **out, const struct scenario *s, struct err *e);
void workload_free(struct workload *w);
size_t workload_prompts(const struct workload *w); /* records in the set; 0 for synthetic */

struct planned_request {
	int64_t prompt_id; /* index in the set; for synthetic k */
	const char *text;  /* valid until the next call */
	size_t len;
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
