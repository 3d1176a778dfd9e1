/*
 * Owns the search for the nearest replay and for how sure it is. One thread; deterministic by its
 * seed. Must not know what the unknowns mean.
 */
#include "fit_refine.h"

#include <math.h>
#include <nlopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "lsq.h"

#define SLOPE_SHARE  0.04  /* an unknown is moved by so much to see what it does ... */
#define FINE_SHARE   0.01  /* ... and near the end, where the schedule is nearly right; */
#define EXACT_SHARE  1e-5  /* so little that no step changes its batch */
#define GAIN	     0.005 /* of the objective in a round, to go on */
#define EXACT_GAIN   1e-4
#define EXACT_ROUNDS 20
#define REWEIGHTINGS 12
#define LEAST_ERROR  0.02 /* of the mean error: what is nearer counts as this near */
#define LONGEST_STEP 0.5  /* of an unknown's value, in one round */
#define LENGTHS	     3	  /* of a step that are tried, each half the one before */
#define SAY_EVERY    25

/* ---- the free unknowns as a vector ---- */

static int free_params(const struct fit_model *m, int id[FIT_MAX_PARAMS])
{
	int n = 0;

	for (int i = 0; i < m->n_params; i++)
		if (m->param[i].is_free)
			id[n++] = i;
	CHECK(n <= LSQ_MAX);
	return n;
}

static double step_of(const struct fit_model *m, int param, double share)
{
	double least = m->param[param].scale * share / SLOPE_SHARE;

	return fmax(share * fit_param_get(m, param), fmax(least, 1));
}

static void get_all(const struct fit_model *m, const int *id, int n, double *x)
{
	for (int i = 0; i < n; i++)
		x[i] = fit_param_get(m, id[i]);
}

static void set_all(struct fit_model *m, const int *id, int n, const double *x)
{
	for (int i = 0; i < n; i++)
		fit_param_set(m, id[i], x[i]);
}

/* ---- the slope ---- */

/* The errors here, and how each changes with each unknown, in units of step[]. */
struct slope {
	int id[FIT_MAX_PARAMS], n;
	double x[FIT_MAX_PARAMS], step[FIT_MAX_PARAMS];
	size_t n_errors;
	double *error;
	double *by; /* n a row of errors */
	double objective;
};

static void slope_release(struct slope *s)
{
	free(s->error);
	free(s->by);
}

/* From both sides, or if there is no room below or the model refuses, from one. */
static void take_column(struct fit_model *m, struct slope *s, int i)
{
	double low = fmax(s->x[i] - s->step[i], 0), high = s->x[i] + s->step[i], span;

	fit_param_set(m, s->id[i], high);
	if (!isfinite(fit_model_objective(m)))
		return;
	for (size_t k = 0; k < s->n_errors; k++)
		s->by[k * (size_t)s->n + (size_t)i] = m->score.error[k] - s->error[k];
	span = high - s->x[i];
	fit_param_set(m, s->id[i], low);
	if (low < s->x[i] && isfinite(fit_model_objective(m))) {
		span = high - low;
		for (size_t k = 0; k < s->n_errors; k++)
			s->by[k * (size_t)s->n + (size_t)i] += s->error[k] - m->score.error[k];
	}
	for (size_t k = 0; k < s->n_errors; k++)
		s->by[k * (size_t)s->n + (size_t)i] *= s->step[i] / span;
	fit_param_set(m, s->id[i], s->x[i]);
}

static void take_slope(struct fit_model *m, double share, struct slope *s)
{
	*s = (struct slope){.n_errors = FIT_N_METRICS * m->rows->n};
	s->n = free_params(m, s->id);
	get_all(m, s->id, s->n, s->x);
	s->error = xcalloc(s->n_errors + 1, sizeof(*s->error));
	s->by = xcalloc(s->n_errors * (size_t)s->n + 1, sizeof(*s->by));
	s->objective = fit_model_objective(m);
	memcpy(s->error, m->score.error, s->n_errors * sizeof(*s->error));
	for (int i = 0; i < s->n; i++) {
		s->step[i] = step_of(m, s->id[i], share);
		take_column(m, s, i);
	}
}

/*
 * The change, in units of step[], that makes the sum of weight[row] * times[row] * |error| least if
 * the slope holds. times NULL: each once.
 *
 * A row that is met exactly would hold the solution where it is: where one begins, some are (as
 * many as there are unknowns). So at first all rows nearer than the mean count alike, then ever
 * fewer.
 */
static void solve_slope(const struct slope *s, const double *weight, const int32_t *times,
			double *change)
{
	double least[LSQ_MAX];

	for (int i = 0; i < s->n; i++) {
		least[i] = -s->x[i] / s->step[i];
		change[i] = 0;
	}
	for (int round = 0; round < REWEIGHTINGS; round++) {
		struct lsq q = {.n = (size_t)s->n};
		double near = fmax(fmax(ldexp(1, -round), LEAST_ERROR) * s->objective, 1e-9);

		for (size_t k = 0; k < s->n_errors; k++) {
			const double *by = s->by + k * (size_t)s->n;
			size_t row = k / FIT_N_METRICS;
			double left = s->error[k], n = weight[row] * (times ? times[row] : 1);

			if (n == 0)
				continue;
			for (int i = 0; i < s->n; i++)
				left += by[i] * change[i];
			lsq_add(&q, by, -s->error[k], n / fmax(fabs(left), near));
		}
		lsq_solve(&q, least, change);
	}
}

/* ---- searching ---- */

/* The best of a few lengths of the step; false, and m as it was, if none is better. */
static bool walk(struct fit_model *m, const struct slope *s, const double *change,
		 double *objective)
{
	double longest = 1, best = s->objective, at = 0, x[FIT_MAX_PARAMS];

	for (int i = 0; i < s->n; i++) {
		double most = fmax(LONGEST_STEP * s->x[i], 8 * s->step[i]);

		longest = fmin(longest, most / fmax(fabs(change[i]) * s->step[i], 1e-12));
	}
	for (int halved = 0; halved < LENGTHS; halved++) {
		double length = ldexp(longest, -halved), v;

		for (int i = 0; i < s->n; i++)
			x[i] = s->x[i] + length * change[i] * s->step[i];
		set_all(m, s->id, s->n, x);
		v = fit_model_objective(m);
		if (v < best) {
			best = v;
			at = length;
		}
	}
	for (int i = 0; i < s->n; i++)
		x[i] = s->x[i] + at * change[i] * s->step[i];
	set_all(m, s->id, s->n, x);
	*objective = best;
	return at > 0;
}

static double polish(struct fit_model *m, int rounds, double share, double gain)
{
	double change[FIT_MAX_PARAMS], objective = HUGE_VAL, before;
	bool better = true;

	for (int i = 0; i < rounds && better; i++) {
		struct slope s;

		take_slope(m, share, &s);
		before = s.objective;
		solve_slope(&s, m->score.weight, NULL, change);
		better = s.n > 0 && walk(m, &s, change, &objective) &&
			 objective < (1 - gain) * before;
		slope_release(&s);
	}
	return fit_model_objective(m);
}

double fit_polish(struct fit_model *m, int rounds)
{
	return polish(m, rounds, SLOPE_SHARE, GAIN);
}

/*
 * With a schedule that is right, times are linear in the costs, and the least is where the slope
 * of that very schedule says. A slope taken over a hundredth has jumps of it in it, where somebody
 * comes just before or just after a step's end, and the search ends short of it.
 */
static double polish_exactly(struct fit_model *m, double gain)
{
	polish(m, 3, FINE_SHARE, GAIN);
	return polish(m, EXACT_ROUNDS, EXACT_SHARE, gain);
}

/*
 * The schedule makes the objective rough: besides the least there are places where no small step is
 * better. So the search is shaken: from places a little off, drawn at random, down again.
 */
#define SHAKEN_SHARE 0.05

static double shake(struct fit_model *m, double objective, const struct fit_progress *p)
{
	double x[FIT_MAX_PARAMS], best[FIT_MAX_PARAMS], v;
	int id[FIT_MAX_PARAMS], n = free_params(m, id);
	struct rng r;

	rng_init(&r, 0, "fit shake", 0);
	get_all(m, id, n, best);
	for (int k = 0; k < FIT_RIVALS; k++) {
		for (int i = 0; i < n; i++)
			x[i] = best[i] * (1 + SHAKEN_SHARE * (2 * rng_unit(&r) - 1));
		set_all(m, id, n, x);
		polish(m, 2, SLOPE_SHARE, GAIN);
		v = polish_exactly(m, GAIN);
		for (int i = 0; i < m->n_params; i++)
			m->rival[k][i] = fit_param_get(m, i);
		if (v < objective) {
			objective = v;
			get_all(m, id, n, best);
		}
		if (p)
			p->say(p->arg, "shaking", objective, m->replays);
	}
	m->n_rivals = FIT_RIVALS;
	set_all(m, id, n, best);
	return polish_exactly(m, EXACT_GAIN);
}

struct search {
	struct fit_model *m;
	int id[FIT_MAX_PARAMS], n;
	double unit[FIT_MAX_PARAMS];
	double best, best_x[FIT_MAX_PARAMS];
	const struct fit_progress *progress;
};

static double objective_at(unsigned n, const double *x, double *gradient, void *arg)
{
	struct search *s = arg;
	double v, at[FIT_MAX_PARAMS];

	(void)gradient;
	for (unsigned i = 0; i < n; i++)
		at[i] = x[i] * s->unit[i];
	set_all(s->m, s->id, s->n, at);
	v = fit_model_objective(s->m);
	if (v < s->best) {
		s->best = v;
		memcpy(s->best_x, at, sizeof(at));
	}
	if (s->progress && s->m->replays % SAY_EVERY == 0)
		s->progress->say(s->progress->arg, "searching", s->best, s->m->replays);
	return isfinite(v) ? v : 1e6;
}

double fit_refine(struct fit_model *m, int replays, const struct fit_progress *p)
{
	struct search s = {.m = m, .progress = p};
	double x[FIT_MAX_PARAMS], least;
	nlopt_opt o;

	s.n = free_params(m, s.id);
	if (s.n == 0)
		return fit_model_objective(m);
	s.best = fit_model_objective(m);
	get_all(m, s.id, s.n, s.best_x);
	/* An unknown is counted in units of its own size, so that a step is alike for all. */
	for (int i = 0; i < s.n; i++) {
		s.unit[i] = fmax(s.best_x[i], 10 * m->param[s.id[i]].scale);
		x[i] = s.best_x[i] / s.unit[i];
	}
	o = nlopt_create(s.n > 1 ? NLOPT_LN_BOBYQA : NLOPT_LN_SBPLX, (unsigned)s.n);
	if (!o)
		die("nlopt: out of memory");
	nlopt_set_min_objective(o, objective_at, &s);
	nlopt_set_lower_bounds1(o, 0);
	nlopt_set_upper_bounds1(o, 20);
	nlopt_set_initial_step1(o, 0.1);
	nlopt_set_xtol_rel(o, 1e-3);
	nlopt_set_ftol_rel(o, 1e-3);
	nlopt_set_maxeval(o, replays);
	/* What it returns beside the point only says which of the limits ended it. */
	(void)nlopt_optimize(o, x, &least);
	nlopt_destroy(o);
	set_all(m, s.id, s.n, s.best_x);
	fit_polish(m, 2);
	return shake(m, polish_exactly(m, GAIN), p);
}

/* ---- how sure ---- */

void fit_resample(const struct fit_rows *rows, uint64_t seed, uint64_t index, int32_t *times)
{
	size_t block = (size_t)cbrt((double)rows->n) + 1, drawn = 0;
	struct rng r;

	rng_init(&r, seed, "fit resample", index);
	memset(times, 0, rows->n * sizeof(*times));
	while (drawn < rows->n) {
		size_t at = rng_below(&r, rows->n);

		for (size_t i = 0; i < block && drawn < rows->n; i++, drawn++)
			times[(at + i) % rows->n]++;
	}
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double sum_of(const struct slope *s, const double *weight, const int32_t *times)
{
	double sum = 0;

	for (size_t k = 0; k < s->n_errors; k++) {
		size_t row = k / FIT_N_METRICS;

		sum += times[row] * weight[row] * fabs(s->error[k]);
	}
	return sum;
}

/* Of the places whose slopes these are, the one that explains a resample best. */
static const struct slope *best_of(const struct slope *s, int n, const double *weight,
				   const int32_t *times)
{
	const struct slope *best = s;
	double least = HUGE_VAL;

	for (int i = 0; i < n; i++) {
		double sum = sum_of(&s[i], weight, times);

		if (sum < least) {
			least = sum;
			best = &s[i];
		}
	}
	return best;
}

/* The middle 95 % of where the unknown would lie, and where it does. */
static void take_interval(struct fit_param *f, double value, double *drawn)
{
	qsort(drawn, FIT_RESAMPLES, sizeof(*drawn), by_value);
	f->low = fmax(fmin(drawn[FIT_RESAMPLES / 40], value), 0);
	f->high = fmax(drawn[FIT_RESAMPLES - 1 - FIT_RESAMPLES / 40], value);
}

static void take_verdict(struct fit_model *m, int param, double objective, double least)
{
	struct fit_param *f = &m->param[param];
	double value = fit_param_get(m, param);

	fit_param_set(m, param, 0.8 * value);
	f->less = fit_model_objective(m) / objective - 1;
	fit_param_set(m, param, 1.25 * value);
	f->more = fit_model_objective(m) / objective - 1;
	fit_param_set(m, param, value);
	f->verdict = f->less >= least && f->more >= least ? FIT_FITTED : FIT_NOT_IDENTIFIABLE;
}

/* At the least, and where the other searches ended; the model is left at the first. */
static void take_slopes(struct fit_model *m, struct slope *s)
{
	take_slope(m, EXACT_SHARE, &s[0]);
	for (int k = 0; k < m->n_rivals; k++) {
		for (int i = 0; i < s[0].n; i++)
			fit_param_set(m, s[0].id[i], m->rival[k][s[0].id[i]]);
		take_slope(m, EXACT_SHARE, &s[1 + k]);
	}
	set_all(m, s[0].id, s[0].n, s[0].x);
}

void fit_intervals(struct fit_model *m, uint64_t seed, double least)
{
	int32_t *times = xcalloc(m->rows->n + 1, sizeof(*times));
	struct slope s[1 + FIT_RIVALS] = {0};
	double change[FIT_MAX_PARAMS];
	double(*drawn)[FIT_RESAMPLES];

	take_slopes(m, s);
	drawn = xcalloc((size_t)s[0].n + 1, sizeof(*drawn));
	for (uint64_t b = 0; b < FIT_RESAMPLES; b++) {
		const struct slope *at;

		fit_resample(m->rows, seed, b, times);
		at = best_of(s, 1 + m->n_rivals, m->score.weight, times);
		solve_slope(at, m->score.weight, times, change);
		for (int i = 0; i < at->n; i++)
			drawn[i][b] = at->x[i] + change[i] * at->step[i];
	}
	for (int i = 0; i < s[0].n; i++) {
		take_interval(&m->param[s[0].id[i]], s[0].x[i], drawn[i]);
		take_verdict(m, s[0].id[i], s[0].objective, least);
	}
	free(drawn);
	free(times);
	for (int k = 0; k < 1 + m->n_rivals; k++)
		slope_release(&s[k]);
}
