/*
 * Any bytes as a trace: rows in order of time with counts in range and blocks that are there, or
 * one line with a place.
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "loadgen/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace t = {0};
	struct err e = {.msg = ""};

	if (trace_parse(&t, "f", (const char *)data, size, &e) != RC_OK) {
		CHECK(strncmp(e.msg, "f:", 2) == 0);
	} else {
		CHECK(t.n > 0);
		for (size_t i = 0; i < t.n; i++) {
			const struct trace_row *r = &t.row[i];

			CHECK(r->at_ns >= (i ? t.row[i - 1].at_ns : 0));
			CHECK(r->input_tokens > 0 && r->output_tokens > 0);
			CHECK(r->n_blocks == 0 || r->first_block + r->n_blocks <= t.n_blocks);
			CHECK(!r->prompt || *r->prompt);
		}
	}
	trace_release(&t);
	return 0;
}
