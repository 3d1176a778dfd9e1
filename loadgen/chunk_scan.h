/*
 * The usual event of an OpenAI stream read in one pass, without building a tree: one choice, a
 * piece of text or none, no finish reason, no usage, no error. Nothing else is recognised, and what
 * is recognised reads exactly as the JSON reader would have it (a property that the tests and the
 * fuzzer hold it to). It is there because building a tree costs more than all else that loadgen
 * does for a token. No allocation.
 */
#ifndef LOADGEN_CHUNK_SCAN_H
#define LOADGEN_CHUNK_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* What such an event can say. */
struct chunk_scan {
	bool has_text;	    /* text or delta.content is not empty */
	bool has_reasoning; /* delta.reasoning or delta.reasoning_content is not empty */
};

/* False: not one of these events, or not even JSON. */
bool chunk_scan(const char *data, size_t len, struct chunk_scan *out);

#endif
