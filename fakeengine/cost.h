/*
 * How long a step takes: a formula over the batch in numbers (the fields P, D, K, Q, V, L of
 * struct step_plan), in integer picoseconds. Integers, so that a sum of many steps is exact in any
 * order; a time is rounded to nanoseconds only where it leaves the model. Pure.
 *
 * Three formulas, rows of cost_types[]:
 *
 *     affine    a + b P' + c D + d K + b2 max(0, P' + D - knee) + e Q: a real engine; a token that
 *               is verified is computed like one of a prompt, so P' = P + V
 *     phases    p if the step prefills anything, plus q if it decodes anything
 *     constant  prefill_ms if the step prefills anything, and per_token_ms in any case: a request
 *               of n tokens takes prefill_ms + n * per_token_ms
 *
 * What a formula does not know is added to it: struct cost_links, cost_draft,
 * cost_load, and adapter_ps.
 */
#ifndef FAKEENGINE_COST_H
#define FAKEENGINE_COST_H

#include <stdint.h>

#include "base/rng.h"
#include "serve/executor.h"

#define COST_MAX_FIELDS 8
#define PS_PER_NS	INT64_C(1000)
#define PS_PER_MS	INT64_C(1000000000)

enum cost_unit {
	COST_TIME,   /* a time with its unit: "11.7ms", "320ns", "0.4ns" */
	COST_MILLIS, /* a bare number of milliseconds */
	COST_TOKENS, /* a whole number */
};

/* A coefficient: its key in a profile, its place in struct cost. */
struct cost_field {
	const char *key;
	enum cost_unit unit;
	const char *help;
};

struct cost_type;

/* Several cards (hardware.h). With s stages a batch goes round in min(s, its sequences) parts, each
 * with its share of P, D, K and Q, and a step takes as long as the formula says of one part, plus
 * part_ps, plus token_ps for each of its tokens. All zero: one card, or nothing to add. */
struct cost_links {
	int64_t part_ps, token_ps;
	int32_t stages;
};

/* Drafting what a step verifies: the drafter passes over the batch once for each place of the
 * longest draft. */
struct cost_draft {
	int64_t pass_ps, token_ps;
};

/* Reading KV blocks back from the host, in the step that needs them: once, and for each token of
 * theirs. Writing them there costs nothing: nobody waits for it. */
struct cost_load {
	int64_t latency_ps, token_ps;
};

struct cost {
	const struct cost_type *type;
	int64_t coef[COST_MAX_FIELDS]; /* in the order of type->fields; picoseconds or tokens; >= 0
					*/
	struct cost_links links;
	struct cost_draft draft;
	struct cost_load load;
	int64_t adapter_ps; /* each LoRA adapter used in a step */
};

struct cost_type {
	const char *name;
	const char *formula;		 /* for people */
	const struct cost_field *fields; /* ends with key NULL */
	int64_t (*step_ps)(const struct cost *c, const struct step_plan *p);
};

/* The affine row's coefficients, for those who argue about them one by one (explain). */
enum affine_field {
	AFFINE_STEP,
	AFFINE_PREFILL_TOKEN,
	AFFINE_DECODE_SEQ,
	AFFINE_KV_TOKEN,
	AFFINE_OVER_KNEE,
	AFFINE_KNEE_TOKENS,
	AFFINE_PREFILL_ATTENTION,
};

extern const struct cost_type cost_affine, cost_phases, cost_constant;
extern const struct cost_type *const cost_types[]; /* NULL-terminated */

/* Cut at INT64_MAX picoseconds (106 days) rather than wrapped. */
int64_t cost_step_ps(const struct cost *c, const struct step_plan *p);

/* Nearest nanosecond; ps >= 0. */
static inline int64_t ps_to_ns(int64_t ps)
{
	return ps / PS_PER_NS + (ps % PS_PER_NS >= PS_PER_NS / 2);
}

/* What a real engine adds to the formula, step by step and at random. All zero: nothing. */
struct cost_noise {
	double jitter_cv;	/* each step's time is multiplied by a lognormal factor of mean 1 */
	double stalls_per_step; /* probability that a step takes stall_ps longer */
	int64_t stall_ps;
};

/* One step's time with noise; draws from r only if there is any. */
int64_t cost_noise_apply(const struct cost_noise *n, struct rng *r, int64_t step_ps);

/* An engine's step times, one after the other: the formula and its stream of noise. */
struct cost_clock {
	const struct cost *cost;
	struct cost_noise noise;
	struct rng rng;
};

void cost_clock_init(struct cost_clock *k, const struct cost *c, const struct cost_noise *n,
		     uint64_t seed);

/* How long the next step takes, if it is p. */
int64_t cost_clock_step_ns(struct cost_clock *k, const struct step_plan *p);

#endif
