/*
 * The same requests once more, through a profile in virtual time: what the profile says of a
 * measured run. Prompts are taken to share nothing, answers to be as long as they were.
 *
 * Requests come when they came; in a closed loop, so long after the client's last answer as they
 * did (fit_rows.h). Where nobody recorded arrivals, a closed loop is played: who has been answered
 * sends the next row at once.
 */
#ifndef FAKEENGINE_FIT_REPLAY_H
#define FAKEENGINE_FIT_REPLAY_H

#include <stdint.h>

#include "fit_rows.h"
#include "profile.h"

struct fit_replayed {
	struct fit_times *times; /* one a row */
	int64_t preemptions;
	int64_t *run_end_ns; /* one a run: its last token */
};

void fit_replayed_init(struct fit_replayed *r, const struct fit_rows *rows);
void fit_replayed_release(struct fit_replayed *r);

/* The profile's noise is left out: it is what the others will be in the mean. RC_INPUT: the policy
 * refuses a request, or its knobs. out may be used again. */
enum rc fit_replay(const struct profile *p, const struct fit_rows *rows, struct fit_replayed *out,
		   struct err *e);

#endif
