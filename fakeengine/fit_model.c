/*
 * Owns the unknowns of a fit and the way from them to an objective. One thread. Must not know how
 * they are varied.
 */
#include "fit_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

/* Small changes where there is nothing to take a share of; in ps, tokens, ns. */
#define SMALL_COEF_PS	1e4
#define SMALL_TOKENS	8.0
#define SMALL_INGEST_NS 5e5

static int add_param(struct fit_model *m, char *key_taken, enum fit_kind kind, int index,
		     double scale)
{
	CHECK(m->n_params < FIT_MAX_PARAMS);
	m->param[m->n_params] =
		(struct fit_param){.key = key_taken, .kind = kind, .index = index, .scale = scale};
	return m->n_params++;
}

void fit_model_init(struct fit_model *m, struct profile *p, const struct fit_rows *rows)
{
	const struct cost_type *t = p->cost.type;

	*m = (struct fit_model){.profile = p, .rows = rows};
	for (int i = 0; t->fields[i].key; i++)
		add_param(m, xasprintf("cost.%s.%s", t->name, t->fields[i].key), FIT_COEF, i,
			  t->fields[i].unit == COST_TOKENS ? SMALL_TOKENS : SMALL_COEF_PS);
	add_param(m, xstrdup("cost.ingest"), FIT_INGEST, 0, SMALL_INGEST_NS);
	fit_replayed_init(&m->replayed, rows);
	fit_score_init(&m->score, rows);
}

void fit_model_release(struct fit_model *m)
{
	for (int i = 0; i < m->n_params; i++)
		free(m->param[i].key);
	fit_replayed_release(&m->replayed);
	fit_score_release(&m->score);
	*m = (struct fit_model){0};
}

int fit_model_add_knob(struct fit_model *m, int knob)
{
	return add_param(m, xasprintf("scheduler.%s", m->profile->policy->knobs[knob].name),
			 FIT_KNOB, knob, 1);
}

int fit_param_find(const struct fit_model *m, const char *key)
{
	for (int i = 0; i < m->n_params; i++)
		if (strcmp(m->param[i].key, key) == 0)
			return i;
	return -1;
}

double fit_param_get(const struct fit_model *m, int param)
{
	const struct fit_param *f = &m->param[param];

	switch (f->kind) {
	case FIT_COEF:
		return (double)m->profile->cost.coef[f->index];
	case FIT_INGEST:
		return (double)m->profile->ingest_ns;
	case FIT_KNOB:
		break;
	}
	return m->profile->knobs[f->index];
}

void fit_param_set(struct fit_model *m, int param, double value)
{
	const struct fit_param *f = &m->param[param];
	const struct knob *k;

	value = fmin(fmax(value, 0), 1e15);
	switch (f->kind) {
	case FIT_COEF:
		m->profile->cost.coef[f->index] = llround(value);
		return;
	case FIT_INGEST:
		m->profile->ingest_ns = llround(value);
		return;
	case FIT_KNOB:
		break;
	}
	k = &m->profile->policy->knobs[f->index];
	m->profile->knobs[f->index] = fmin(fmax(round(value), k->min), k->max);
}

enum rc fit_model_check(struct fit_model *m, struct err *e)
{
	m->replays++;
	return fit_replay(m->profile, m->rows, &m->replayed, e);
}

double fit_model_objective(struct fit_model *m)
{
	if (fit_model_check(m, NULL) != RC_OK)
		return HUGE_VAL;
	return fit_score_take(&m->score, m->replayed.times);
}
