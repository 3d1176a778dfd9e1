/*
 * An engine that exists only as numbers: profiles/NAME.yaml, or a file of the user's, checked key
 * by key. Plain data once read. profiles/README.md describes the format; the keys are those of the
 * structs below.
 */
#ifndef FAKEENGINE_PROFILE_H
#define FAKEENGINE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dist.h"
#include "base/embedded.h"
#include "base/err.h"
#include "cost.h"
#include "drafter.h"
#include "fault.h"
#include "fleet.h"
#include "hardware.h"
#include "serve/sched.h"
#include "serve/wire.h"

/* How long an answer is. */
struct profile_output {
	bool ends; /* the model ends by itself, after so many tokens as `length` says */
	struct dist length;
	int64_t default_max_tokens; /* when a request names none; 0 = up to the end of the context
				     */
	int64_t forced_tokens;	    /* > 0: exactly so many, whatever is asked */
	bool ends_with_text;	    /* it ends where what it says ends (struct profile_text) */
};

/* What an answer says. */
enum text_kind {
	TEXT_WORDS,	/* words without sense */
	TEXT_ECHO,	/* what was said last, back */
	TEXT_REFERENCE, /* the answer that a prompt set holds to it */
};
struct profile_text {
	enum text_kind kind;
	char *file; /* the set, LIMA's format; of TEXT_REFERENCE */
};

/* What the source says of one request at a time: low and high, equal if it is one number; 0 = it
 * does not say. */
struct profile_published {
	double tokens_per_s[2]; /* output tokens over the whole round trip */
	int64_t ttft_ns[2];
};

/* Who shares the requests out among replicas. */
struct profile_router {
	const struct router_type *type;
	double knobs[ROUTER_MAX_KNOBS];
};

/* Replicas that prefill, replicas that decode, and the way of the KV entries from the ones to the
 * others. Absent: both 0. */
struct profile_disaggregated {
	int64_t prefill_replicas, decode_replicas;
	double bandwidth_bytes_per_s; /* of a prefill replica's link */
	int64_t latency_ns;
	double bytes_per_token; /* of KV entries; from the model, unless it is given */
};

struct profile {
	char *name, *engine, *description, *source;
	char **models; /* served names, NULL-terminated: model.name, then the adapters */
	struct profile_model model;
	struct profile_card card;
	struct profile_parallel parallel;
	struct profile_offload offload;
	struct profile_analytic analytic; /* where the formula is derived from */
	const struct sched_type *policy;
	double knobs[SCHED_MAX_KNOBS];
	struct cost cost;
	struct cost_noise noise;
	struct drafter drafter;
	int64_t ingest_ns, egress_ns;
	struct profile_output output;
	struct profile_text text;
	struct profile_published published;
	const struct wire_habit *wire; /* whose habits it has on the wire */
	struct fault_list faults;
	int64_t replicas;
	struct profile_router router;
	struct profile_disaggregated disaggregated;
};

/* One `--set path=value`; origin is what messages call it. */
struct profile_set {
	const char *assignment, *origin;
};

/* The profiles that travel inside the program, sorted by name; ends with name NULL. */
extern const struct embedded builtin_profiles[];

/* what: the name of a built-in profile, or a path (anything with a '/' or ending in .yaml or .yml).
 * The sets are applied to the file before it is checked. On failure out needs no release. */
enum rc profile_load(struct profile *out, const char *what, const struct profile_set *sets,
		     size_t n_sets, struct err *e);
enum rc profile_parse(struct profile *out, const char *file, const char *text, size_t len,
		      const struct profile_set *sets, size_t n_sets, struct err *e);
void profile_release(struct profile *p);

/* More than one engine, which only virtual time knows. */
bool profile_is_fleet(const struct profile *p);
struct fleet_shape profile_fleet(const struct profile *p);

/* The length at which the answer to r ends by itself: the same for the same prompt and request
 * seed, whatever else is going on. 0 = it does not, or where its text ends (answers.h). */
int32_t profile_answer_tokens(const struct profile *p, const struct genreq *r, uint64_t seed);

#endif
