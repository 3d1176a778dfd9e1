/*
 * What gpu-check consists of: phases, each an object of the report. A phase that uses the card runs
 * in a process of its own (children.h), so that one that crashes or hangs costs its own object and
 * not the report.
 *
 * An object's "wrong" lists what is not as it should be, empty = all is well; "slow" which speeds
 * are short of their goals. Every figure's name ends in its unit; "share" is of 1.
 */
#ifndef CARD_CHECK_H
#define CARD_CHECK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct check {
	const char *folder;    /* of the test programs: this one's */
	const char *model;     /* -m, or NULL */
	const char *sanitizer; /* path of compute-sanitizer, or NULL */
	int64_t end_ns;	       /* by monotonic_now_ns(): what has not ended then is given up */

	/* What the phase "card" found, for those behind it. */
	bool emulated; /* no card: sizes are tiny, times mean nothing */
	double peak_bytes_per_s, read_bytes_per_s, peak_flops; /* 0 = not known */
	int64_t l2_bytes, free_bytes;
};

cJSON *check_card(const struct check *c);	/* check_card.c: what it is, and its roofs */
cJSON *check_kernels(const struct check *c);	/* check_programs.c: right results */
cJSON *check_sanitizer(const struct check *c);	/* ... again, watched by compute-sanitizer */
cJSON *check_tokens(const struct check *c);	/* check_tokens.c: the processor's tokens */
cJSON *check_invariance(const struct check *c); /* ... the same whoever shares the batch */
cJSON *check_times(const struct check *c);	/* check_times.c: each kernel beside its roof */
cJSON *check_speed(const struct check *c);	/* check_speed.c: the engine beside its roof */

/* ---- writing an object (report.c) ---- */

cJSON *object_new(void); /* with "wrong" and "slow", both empty */
void add_wrong(cJSON *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Of an emulated card's times. */
void add_note(const struct check *c, cJSON *o);

/* A share beside its goal: {"what", "share", "goal", "met"} into "goals"; into "slow" as well
 * if it is less. Nothing of an emulated card's. */
void add_goal(const struct check *c, cJSON *o, const char *what, double share, double goal);

/* "bytes_per_s", and its shares of the two roofs. */
void add_bytes_per_s(const struct check *c, cJSON *o, double bytes_per_s);

#endif
