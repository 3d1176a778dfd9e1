/*
 * Recorded traffic: when requests came, how long they and their answers were, what they had in
 * common. Pure after reading. The kind of trace is seen from its columns or keys:
 *
 *   Azure        CSV TIMESTAMP (date and time), ContextTokens, GeneratedTokens
 *   BurstGPT     CSV Timestamp (s), Request tokens, Response tokens; others as they come
 *   plan         CSV of `loadgen plan --csv`, of an open load: the rows of its first point
 *   Mooncake     JSONL timestamp (ms), input_length, output_length, hash_ids of 512-token blocks
 *   Qwen-Bailian JSONL with chat_id too: timestamp in s, hash_ids of 16-token blocks
 */
#ifndef LOADGEN_TRACE_H
#define LOADGEN_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/csv.h"
#include "base/err.h"

struct trace_row {
	int64_t at_ns; /* from the first row's, or, of a plan, from its level's start */
	int32_t input_tokens, output_tokens;
	size_t first_block, n_blocks; /* of trace.block: what the prompt begins with */
	const char *prompt;	      /* a plan's own text, else NULL */
	size_t seq;		      /* place in the file */
};

struct trace {
	struct trace_row *row; /* in order of time; equal ones in the file's order */
	size_t n;
	size_t skipped;	 /* of 0 tokens, which stand for requests that failed */
	uint32_t *block; /* prefix blocks: equal numbers, equal text */
	size_t n_blocks;
	int block_tokens;
	bool planned;		 /* it is a plan's */
	struct csv_table *texts; /* backs row.prompt */
};

/* Fills a zeroed trace; release it also after an error. RC_INPUT names file:line: and the column or
 * key. */
enum rc trace_read(struct trace *out, const char *path, struct err *e);
enum rc trace_parse(struct trace *out, const char *name, const char *text, size_t len,
		    struct err *e);
void trace_release(struct trace *t);

#endif
