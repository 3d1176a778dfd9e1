/*
 * Owns the search for what bounds the batch. One thread. Must not know a policy but by the names of
 * its knobs.
 */
#include "fit_knobs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

#define WIDE	    4.0	 /* times what the run held: no bound */
#define MET_ABOVE   1.05 /* a replay without bounds holds so much more than the run: it was bound */
#define GAIN_NEEDED 0.95 /* of the objective, for the second bound to be taken beside the first */
#define GRID	    9
#define LEVELS	    4 /* of ever finer grids */
#define AROUND                                                                                     \
	0.12 /* where a found value is looked for again, and how wide its interval may be          \
	      */
#define NEAR_VALUES 17

static const char *const names[FIT_N_BOUNDS][9] = {
	[FIT_SEQS] = {"max_num_seqs", "max_running_requests", "n_parallel", "max_batch_size",
		      "max_bs", "batch_size_cap", "batch_size", "max_requests_per_batch"},
	[FIT_MEMORY] = {"num_gpu_blocks", "max_total_tokens", "max_batch_total_tokens",
			"num_blocks", "n_slots", "n_ctx"},
};

static const char *const unit_names[] = {"block_size", "page_size"};

/* ---- which knobs ---- */

static int find_knob(const struct sched_type *t, const char *const *name)
{
	for (; *name; name++)
		if (sched_knob(t, *name) >= 0)
			return sched_knob(t, *name);
	return -1;
}

static double held(const struct fit_knobs *k, enum fit_bound b, struct fit_peak p)
{
	return b == FIT_SEQS ? p.requests : (double)p.tokens / k->unit_tokens;
}

void fit_knobs_open(struct fit_knobs *k, struct fit_model *m,
		    bool (*given)(void *arg, const char *key), void *arg)
{
	const struct profile *p = m->profile;

	*k = (struct fit_knobs){.param = {-1, -1}, .unit_tokens = 1};
	k->measured = fit_rows_peak(m->rows, NULL, true);
	k->all = fit_rows_peak(m->rows, NULL, false);
	for (size_t i = 0; i < ARRAY_LEN(unit_names); i++) {
		int unit = sched_knob(p->policy, unit_names[i]);

		if (unit >= 0)
			k->unit_tokens = fmax(p->knobs[unit], 1);
	}
	for (int b = 0; b < FIT_N_BOUNDS; b++) {
		int knob = find_knob(p->policy, names[b]);
		char *key;
		bool is_given;

		if (knob < 0)
			continue;
		key = xasprintf("scheduler.%s", p->policy->knobs[knob].name);
		is_given = given(arg, key);
		free(key);
		k->normal[b] = p->knobs[knob];
		if (is_given)
			continue;
		k->param[b] = fit_model_add_knob(m, knob);
		fit_param_set(m, k->param[b], fmax(k->normal[b], WIDE * held(k, b, k->all) + WIDE));
	}
}

/* ---- one knob ---- */

/* The value of the knob in [low, high] at which the objective is least, by ever finer grids. */
static double search_one(struct fit_model *m, int param, double low, double high, double *best)
{
	double at = fit_param_get(m, param);

	low = fmax(low, 1);
	*best = HUGE_VAL;
	for (int level = 0; level < LEVELS && high > low; level++) {
		double ratio = pow(high / low, 1.0 / (GRID - 1)), tried = -1;

		for (int i = 0; i < GRID; i++) {
			double v = round(low * pow(ratio, i)), objective;

			if (v == tried)
				continue;
			tried = v;
			fit_param_set(m, param, v);
			objective = fit_model_objective(m);
			if (objective < *best) {
				*best = objective;
				at = v;
			}
		}
		low = fmax(at / ratio, 1);
		high = at * ratio;
		if (high - low < 2)
			break;
	}
	fit_param_set(m, param, at);
	return at;
}

/* ---- both ---- */

void fit_knobs_open_wide(const struct fit_knobs *k, struct fit_model *m, enum fit_bound b)
{
	if (k->param[b] >= 0)
		fit_param_set(m, k->param[b], fmax(k->normal[b], WIDE * held(k, b, k->all) + WIDE));
}

static void search_from_nothing(struct fit_knobs *k, struct fit_model *m,
				const struct fit_progress *p)
{
	double value[FIT_N_BOUNDS] = {0}, objective[FIT_N_BOUNDS] = {HUGE_VAL, HUGE_VAL}, both;
	struct fit_peak free, scored;
	int first, second;

	for (int b = 0; b < FIT_N_BOUNDS; b++)
		fit_knobs_open_wide(k, m, b);
	if (k->measured.requests == 0 || !isfinite(fit_model_objective(m)))
		return;
	free = fit_rows_peak(m->rows, m->replayed.times, false);
	scored = fit_rows_peak(m->rows, m->replayed.times, true);
	if (held(k, FIT_SEQS, scored) <= MET_ABOVE * held(k, FIT_SEQS, k->measured) + 1)
		return;
	for (int b = 0; b < FIT_N_BOUNDS; b++) {
		if (k->param[b] < 0)
			continue;
		value[b] = search_one(m, k->param[b], 0.7 * held(k, b, k->measured),
				      1.2 * held(k, b, free) + 2, &objective[b]);
		fit_knobs_open_wide(k, m, b);
		if (p)
			p->say(p->arg, m->param[k->param[b]].key, objective[b], m->replays);
	}
	first = objective[FIT_SEQS] <= objective[FIT_MEMORY] ? FIT_SEQS : FIT_MEMORY;
	second = FIT_N_BOUNDS - 1 - first;
	if (!isfinite(objective[first]))
		return;
	k->met[first] = true;
	fit_param_set(m, k->param[first], value[first]);
	if (k->param[second] < 0)
		return;
	search_one(m, k->param[second], 0.7 * held(k, second, k->measured),
		   1.2 * held(k, second, free) + 2, &both);
	k->met[second] = both < GAIN_NEEDED * objective[first];
	if (!k->met[second])
		fit_knobs_open_wide(k, m, second);
}

void fit_knobs_search(struct fit_knobs *k, struct fit_model *m, bool again,
		      const struct fit_progress *p)
{
	double ignored;

	if (!again)
		search_from_nothing(k, m, p);
	for (int b = 0; b < FIT_N_BOUNDS; b++) {
		double v;

		if (k->param[b] < 0)
			continue;
		v = fit_param_get(m, k->param[b]);
		if (k->met[b])
			search_one(m, k->param[b], (1 - AROUND) * v, (1 + AROUND) * v + 1,
				   &ignored);
	}
}

/* ---- how sure ---- */

/* The objective of each resample at one value of a knob, for that of `best` so far. */
struct contest {
	double value[FIT_RESAMPLES], least[FIT_RESAMPLES];
};

static void enter(struct contest *c, const struct fit_model *m, double value, uint64_t seed,
		  int32_t *times)
{
	for (uint64_t b = 0; b < FIT_RESAMPLES; b++) {
		double sum = 0;

		fit_resample(m->rows, seed, b, times);
		for (size_t k = 0; k < FIT_N_METRICS * m->rows->n; k++) {
			size_t row = k / FIT_N_METRICS;

			sum += times[row] * m->score.weight[row] * fabs(m->score.error[k]);
		}
		if (sum < c->least[b]) {
			c->least[b] = sum;
			c->value[b] = value;
		}
	}
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void take_interval(struct fit_model *m, int param, uint64_t seed)
{
	struct fit_param *f = &m->param[param];
	double at = fit_param_get(m, param), step = fmax(1, 2 * AROUND * at / (NEAR_VALUES - 1));
	int32_t *times = xcalloc(m->rows->n + 1, sizeof(*times));
	struct contest *c = xcalloc(1, sizeof(*c));

	for (int b = 0; b < FIT_RESAMPLES; b++)
		c->least[b] = HUGE_VAL;
	for (int i = -(NEAR_VALUES / 2); i <= NEAR_VALUES / 2; i++) {
		double v = round(at + i * step);

		if (v < 1)
			continue;
		fit_param_set(m, param, v);
		if (isfinite(fit_model_objective(m)))
			enter(c, m, v, seed, times);
	}
	fit_param_set(m, param, at);
	qsort(c->value, FIT_RESAMPLES, sizeof(*c->value), by_value);
	/* A value between two that were tried may be as good as either. */
	f->low = fmax(fmin(c->value[FIT_RESAMPLES / 40], at) - (step - 1), 1);
	f->high = fmax(c->value[FIT_RESAMPLES - 1 - FIT_RESAMPLES / 40], at) + (step - 1);
	free(c);
	free(times);
}

void fit_knobs_intervals(struct fit_knobs *k, struct fit_model *m, uint64_t seed, double least)
{
	double objective = fit_model_objective(m);

	for (int b = 0; b < FIT_N_BOUNDS; b++) {
		struct fit_param *f;
		double at;

		if (k->param[b] < 0)
			continue;
		f = &m->param[k->param[b]];
		if (!k->met[b]) {
			f->verdict = FIT_NOT_IDENTIFIABLE;
			fit_param_set(m, k->param[b],
				      fmax(k->normal[b], ceil(WIDE * held(k, b, k->all))));
			continue;
		}
		at = fit_param_get(m, k->param[b]);
		fit_param_set(m, k->param[b], 0.8 * at);
		f->less = fit_model_objective(m) / objective - 1;
		fit_param_set(m, k->param[b], 1.25 * at);
		f->more = fit_model_objective(m) / objective - 1;
		fit_param_set(m, k->param[b], at);
		f->verdict =
			f->less >= least && f->more >= least ? FIT_FITTED : FIT_NOT_IDENTIFIABLE;
		take_interval(m, k->param[b], seed);
	}
}
