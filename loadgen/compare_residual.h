/*
 * Simulated against measured: what is printed and written of it. Private to compare_*.c; the errors
 * themselves are in compare.h.
 */
#ifndef LOADGEN_COMPARE_RESIDUAL_H
#define LOADGEN_COMPARE_RESIDUAL_H

#include "base/jsonx.h"
#include "compare.h"
#include "report_body.h"

/* For each simulated target: what the model explains of the measured one, in words, and the table
 * of errors. Nothing if there is none. */
void residual_body(struct body *b, const struct comparison *c);

/* The list "residuals". */
void residual_json(cJSON *root, const struct comparison *c);

const char *residual_figure_name(enum residual_figure f); /* "output_tokens_per_s", "ttft" ... */

#endif
