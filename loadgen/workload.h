/*
 * What is asked: prompt sets in memory, and for the k-th request of a level which prompt and how many output tokens.
 * Pure after loading; a function of (seed, level, repeat, k) alone, so that `plan` and `run`, and all targets, agree.
 */
#ifndef LOADGEN_WORKLOAD_H
#define LOADGEN_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "scenario.h"

struct prompt {
	char *text;               /* the first user turn, UTF-8 */
	size_t len;
	int32_t reference_tokens; /* length of the set's own answer: `reference_tokens` of the record, else the words of
	                           * the answer * 1.35 rounded; 0 = the set has none */
};

struct workload;

/* A LIMA-style file: {"conversations": [...], "source": ...} a line. Pure: bytes in; `name` and the line number stand
 * in messages. Appends to an array of *n (realloc'd); on error what was appended stays the caller's to free. */
enum rc prompts_parse_lima(const char *name, const char *text, size_t len, struct prompt **out, size_t *n, struct err *e);
/* Plain text: a prompt a line, empty lines skipped. */
enum rc prompts_parse_plain(const char *name, const char *text, size_t len, struct prompt **out, size_t *n,
			    struct err *e);
void prompts_free(struct prompt *p, size_t n);

/* Reads the file, or makes the inline or synthetic set. */
enum rc workload_new(struct workload **out, const struct scenario *s, struct err *e);
void workload_free(struct workload *w);
size_t workload_prompts(const struct workload *w); /* records in the set; 0 for synthetic */

struct planned_request {
	int64_t prompt_id;      /* index in the set; for synthetic k */
	const char *text;       /* valid until the next call */
	size_t len;
	int32_t input_tokens;   /* synthetic: as drawn; else -1 (the server counts) */
	int32_t output_tokens;  /* max_tokens to ask for, >= 1 */
};

/* level -1 = warm-up. */
void workload_plan(struct workload *w, int level, int repeat, int64_t k, struct planned_request *out);

#endif
