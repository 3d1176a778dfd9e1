/*
 * The command line of `fakeengine` as it serves. Every flag that is accepted changes the run; flags
 * that contradict each other are refused. Without --profile it is the seed's engine
 * (profiles/seed-vllm.yaml), and the seed's flags are short for --set on it.
 */
#ifndef FAKEENGINE_OPTIONS_H
#define FAKEENGINE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/opt.h"
#include "fault.h"
#include "profile.h"

#define PROFILE_SETS_MAX 64

/* Values for a profile from the command line, in the order in which they are applied. */
struct profile_sets {
	struct profile_set item[PROFILE_SETS_MAX];
	size_t n;
	char *owned[2 * PROFILE_SETS_MAX];
	size_t n_owned;
};

struct options {
	const char *host; /* strings point into argv or the environment */
	int port;
	const char *uds;     /* or NULL */
	const char *truth;   /* or NULL */
	const char *api_key; /* or NULL */
	uint64_t seed;
	const char *profile; /* name or path */
	struct profile_sets sets;
	struct fault_list faults; /* beside the profile's */
	bool help, version;	  /* asked for; the rest is then as good as not read */
};

/* RC_INPUT with a line for the user. Release in any case. */
enum rc options_read(struct options *o, int argc, char *const *argv, struct err *e);
void options_release(struct options *o);

/* The text of --help. */
void options_help(struct buf *b);

/* `--set` arguments of another command. RC_LIMIT beyond PROFILE_SETS_MAX. */
enum rc profile_sets_add_list(struct profile_sets *s, const struct opt_list *assignments,
			      struct err *e);
void profile_sets_release(struct profile_sets *s);

#endif
