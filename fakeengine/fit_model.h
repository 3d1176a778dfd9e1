/*
 * A profile whose numbers are unknowns, in front of a measured run: sets them, replays the run,
 * says how far off it is. What the unknowns are, the tables of the cost formula and of the policy's
 * knobs say.
 */
#ifndef FAKEENGINE_FIT_MODEL_H
#define FAKEENGINE_FIT_MODEL_H

#include "fit_replay.h"
#include "fit_score.h"

#define FIT_MAX_PARAMS (COST_MAX_FIELDS + 3)
#define FIT_RIVALS     10

enum fit_kind {
	FIT_COEF,   /* cost.coef[index], in picoseconds or tokens */
	FIT_INGEST, /* ns */
	FIT_KNOB,   /* knobs[index] */
};

enum fit_verdict {
	FIT_NOT_LOOKED_AT,
	FIT_GIVEN,	      /* by the user or the profile that was begun with */
	FIT_LEFT_OUT,	      /* the run is explained as well without it */
	FIT_FITTED,	      /* and the run fixes it */
	FIT_NOT_IDENTIFIABLE, /* others explain the run as well */
};

struct fit_param {
	char *key; /* "cost.affine.step"; owned */
	enum fit_kind kind;
	int index;
	bool is_free; /* is being fitted now */
	double scale; /* what is a small change where the value is 0 */
	enum fit_verdict verdict;
	double low, high;  /* 95 % interval, if fitted */
	double less, more; /* the objective at 0.8 and at 1.25 times the value, over that at it */
};

struct fit_model {
	struct profile *profile; /* the caller's */
	const struct fit_rows *rows;
	struct fit_replayed replayed;
	struct fit_score score;
	struct fit_param param[FIT_MAX_PARAMS];
	int n_params;
	double rival[FIT_RIVALS][FIT_MAX_PARAMS]; /* where other searches ended (fit_refine.h) */
	int n_rivals;
	long replays;
};

/* The unknowns are the formula's coefficients and the ingest time. p and rows outlive m. */
void fit_model_init(struct fit_model *m, struct profile *p, const struct fit_rows *rows);
void fit_model_release(struct fit_model *m);

/* A knob of the policy as one more unknown; returns its place. */
int fit_model_add_knob(struct fit_model *m, int knob);

double fit_param_get(const struct fit_model *m, int param);
void fit_param_set(struct fit_model *m, int param, double value); /* as near as the profile can */
int fit_param_find(const struct fit_model *m, const char *key);	  /* or -1 */

/* Replays; m->score and m->replayed are then those of the profile as it stands. HUGE_VAL: the model
 * cannot serve what was served. */
double fit_model_objective(struct fit_model *m);

/* The same, to learn why not. */
enum rc fit_model_check(struct fit_model *m, struct err *e);

#endif
