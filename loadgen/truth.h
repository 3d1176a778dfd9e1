/*
 * What was measured against what the engine did: fakeengine --truth notes when each token left, the
 * records hold when it came, both on one clock. Needs the requests' ids to be loadgen's
 * ("req-<request_id>").
 */
#ifndef LOADGEN_TRUTH_H
#define LOADGEN_TRUTH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hist.h"
#include "record.h"
#include "stats.h"

struct truth;

enum rc truth_load(struct truth **out, const char *path, struct err *e);
void truth_free(struct truth *t); /* NULL legal */

/* Every value behind the means. */
struct truth_samples {
	struct sample ttft_ms, itl_ms;
};

struct truth_check {
	int64_t tokens;	   /* compared */
	int64_t unmatched; /* tokens of requests whose events are not one a token */
	int64_t n_ttft, n_itl;
	double ttft_true_ms, ttft_ms, itl_true_ms, itl_ms; /* means; NaN without samples */
	struct hist *late_ns; /* arrival minus departure, a token; the caller's */
	/* The caller's too, or NULL: departure minus when the engine's model had it due; and the
	 * values by the engine's clock and by the records'. */
	struct hist *engine_late_ns;
	struct truth_samples *departed, *arrived;
};

/* Adds up over the records of one point (-1: of all but warm-ups). zero_ns: what to add to the
 * records' times to have CLOCK_MONOTONIC. What the caller owns is filled, the rest is overwritten.
 */
void truth_compare(const struct truth *t, const struct record *records, size_t n, int point,
		   int64_t zero_ns, struct truth_check *c);

#endif
