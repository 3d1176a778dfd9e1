/*
 * What others published of an engine, a row of means a load, as if it were a run of ours: so that
 * `compare` lays it beside one. A CSV file of columns
 *
 *     concurrency, ttft_ms, itl_ms, prompt_tokens, output_tokens, output_tokens_per_s
 *
 * a closed loop each row; prompt_tokens is for those who fit a profile to it (`fakeengine fit`).
 * Of such a run there are means and nothing else: no percentile, no interval, no request.
 */
#ifndef LOADGEN_PUBLISHED_H
#define LOADGEN_PUBLISHED_H

#include "results.h"

/* RC_INPUT with file:line and the column. Free it with loaded_run_free(). */
enum rc published_load(struct loaded_run **out, const char *path, struct err *e);

#endif
