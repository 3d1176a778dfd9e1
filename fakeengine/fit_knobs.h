/*
 * What bounds the batch: the most sequences at once, and the most tokens the KV cache holds. Both
 * show in a run only if it came up against them; each is then searched by replay, the other wide
 * open, and the one that explains the run is kept (or both).
 *
 * Which of a policy's knobs these are is found by their names (tables in fit_knobs.c). The token
 * budget of a step is not looked for: load curves hardly show it.
 */
#ifndef FAKEENGINE_FIT_KNOBS_H
#define FAKEENGINE_FIT_KNOBS_H

#include "fit_model.h"
#include "fit_refine.h"

enum fit_bound { FIT_SEQS, FIT_MEMORY, FIT_N_BOUNDS };

struct fit_knobs {
	int param[FIT_N_BOUNDS];       /* of the model; -1: the policy has none, or it is given */
	double unit_tokens;	       /* of FIT_MEMORY: what one of it holds */
	double normal[FIT_N_BOUNDS];   /* what the policy has by default */
	struct fit_peak measured, all; /* of the scored rows; of all */
	bool met[FIT_N_BOUNDS];	       /* the run came up against it */
};

/* Finds the knobs, adds them to m, and opens them wide. given: by name, "scheduler.max_num_seqs".
 */
void fit_knobs_open(struct fit_knobs *k, struct fit_model *m,
		    bool (*given)(void *arg, const char *key), void *arg);

/* No bound, as far as the run goes. */
void fit_knobs_open_wide(const struct fit_knobs *k, struct fit_model *m, enum fit_bound b);

/* Searches what the run came up against, the costs being what they are: from nothing, or (again)
 * near where it was found before. What the run never met goes back to the policy's default, or as
 * high as the run shows that it must be. */
void fit_knobs_search(struct fit_knobs *k, struct fit_model *m, bool again,
		      const struct fit_progress *p);

/* Intervals and verdicts: among the values around the found one, which is best for a resample. */
void fit_knobs_intervals(struct fit_knobs *k, struct fit_model *m, uint64_t seed, double least);

#endif
