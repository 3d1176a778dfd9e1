/*
 * The usual event of an OpenAI stream, or a whole answer, read in one pass, without building a
 * tree: one choice or none, a piece of text or none, a finish reason or none, usage or none, no
 * error. Nothing else is recognised, and what is recognised reads exactly as the JSON reader would
 * have it (a property that the tests and the fuzzer hold it to). It is there because building a
 * tree costs more than all else that loadgen does for a token. No allocation.
 */
#ifndef LOADGEN_CHUNK_SCAN_H
#define LOADGEN_CHUNK_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* What it can say. */
struct chunk_scan {
	bool has_text;	    /* text or delta.content is not empty */
	bool has_reasoning; /* delta.reasoning or delta.reasoning_content is not empty */
	const char *word;   /* between the quotes of the last of these; NULL: all are empty */
	size_t word_len;
	bool has_choice;
	const char *finish; /* between the quotes of its finish_reason; NULL: none, or "" */
	size_t finish_len;
	int64_t prompt_tokens, output_tokens; /* of usage; -1: not told */
};

/* False: not one of these, or not even JSON. */
bool chunk_scan(const char *data, size_t len, struct chunk_scan *out);

/*
 * The events of one stream differ in the word they bring and in nothing else: what is around the
 * word of an event that was read, and what that said. Another one that is the same around a plain
 * word says the same, and comparing takes a tenth of the time of reading.
 */
struct chunk_shape {
	struct buf around;
	size_t before; /* so much of it stands before the word */
	bool has_text, has_reasoning;
};

void chunk_shape_init(struct chunk_shape *s);
void chunk_shape_release(struct chunk_shape *s);

/* As chunk_scan(), but looks at s first, and keeps there what it had to read. */
bool chunk_scan_like(struct chunk_shape *s, const char *data, size_t len, struct chunk_scan *out);

#endif
