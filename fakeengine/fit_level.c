/*
 * Owns the factor that makes the replay's sums those of the measurement. One thread. Must not know
 * what the unknowns mean, beyond which of them are times.
 */
#include "fit_level.h"

#include <math.h>

#define MOST_FACTOR 1.25 /* beyond, the model is wrong, not its level */
#define HALVINGS    8	 /* to 0.2 % of it */
#define SIGMAS	    3.0

/* Of the whole latencies: summed per run, so that long requests count by their length. */
struct sums {
	double simulated, measured;
};

static struct sums sum_run(const struct fit_model *m, const struct fit_run *run)
{
	struct sums s = {0, 0};

	for (size_t i = run->from; i < run->to; i++) {
		if (!m->rows->row[i].scored)
			continue;
		s.simulated += fit_metric_ns(m->rows, m->replayed.times, i, FIT_E2E);
		s.measured += fit_metric_ns(m->rows, NULL, i, FIT_E2E);
	}
	return s;
}

double fit_level_error(const struct fit_model *m)
{
	double sum = 0;
	int n = 0;

	for (int k = 0; k < m->rows->n_runs; k++) {
		struct sums s = sum_run(m, &m->rows->run[k]);

		if (s.measured <= 0)
			continue;
		sum += s.simulated / s.measured - 1;
		n++;
	}
	return n ? sum / n : 0;
}

/* The standard error of fit_level_error(), were requests independent. */
static double chance(const struct fit_model *m)
{
	double variance = 0;
	int n = 0;

	for (int k = 0; k < m->rows->n_runs; k++) {
		const struct fit_run *run = &m->rows->run[k];
		struct sums s = sum_run(m, run);
		double squares = 0, off = s.measured > 0 ? s.simulated / s.measured : 0;

		if (s.measured <= 0)
			continue;
		for (size_t i = run->from; i < run->to; i++) {
			double d;

			if (!m->rows->row[i].scored)
				continue;
			d = fit_metric_ns(m->rows, m->replayed.times, i, FIT_E2E) -
			    off * fit_metric_ns(m->rows, NULL, i, FIT_E2E);
			squares += d * d;
		}
		variance += squares / (s.measured * s.measured);
		n++;
	}
	return n ? sqrt(variance) / n : 0;
}

static bool is_free_time(const struct fit_model *m, int param)
{
	const struct fit_param *f = &m->param[param];

	return f->is_free && f->kind == FIT_COEF &&
	       m->profile->cost.type->fields[f->index].unit != COST_TOKENS;
}

/* From the values in `base`. Returns the objective. */
static double try_factor(struct fit_model *m, const double base[FIT_MAX_PARAMS], double factor)
{
	for (int i = 0; i < m->n_params; i++)
		if (is_free_time(m, i))
			fit_param_set(m, i, base[i] * factor);
	return fit_model_objective(m);
}

double fit_level(struct fit_model *m, double most)
{
	double base[FIT_MAX_PARAMS] = {0}, objective = fit_model_objective(m), least = objective;
	double error = fit_level_error(m), factor = 1, other;
	int n_times = 0;

	for (int i = 0; i < m->n_params; i++) {
		base[i] = fit_param_get(m, i);
		n_times += is_free_time(m, i);
	}
	if (n_times == 0 || !isfinite(objective) || fabs(error) <= SIGMAS * chance(m))
		return 1;
	/* Between 1 and `other` lies the factor; each look halves what is between. */
	other = error < 0 ? MOST_FACTOR : 1 / MOST_FACTOR;
	for (int i = 0; i < HALVINGS; i++) {
		double middle = (factor + other) / 2;

		objective = try_factor(m, base, middle);
		if (objective <= least * (1 + most) && (fit_level_error(m) < 0) == (error < 0))
			factor = middle;
		else
			other = middle;
	}
	try_factor(m, base, factor);
	for (int i = 0; i < m->n_params; i++)
		if (is_free_time(m, i)) {
			m->param[i].low *= factor;
			m->param[i].high *= factor;
		}
	return factor;
}
