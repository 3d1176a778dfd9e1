/*
 * Owns the errors of a replay against its measurement. Pure. Must not know what the replay came
 * from.
 */
#include "fit_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

#define TTFT_FLOOR_NS 1e9

double fit_metric_ns(const struct fit_rows *r, const struct fit_times *times, size_t row,
		     enum fit_metric m)
{
	const struct fit_row *w = &r->row[row];
	struct fit_times t = {w->arrival_ns, w->first_ns, w->last_ns};

	if (times)
		t = times[row];
	switch (m) {
	case FIT_TTFT:
		return (double)(t.first_ns - t.arrival_ns);
	case FIT_DECODE:
		return w->output_tokens > 1 ? (double)(t.last_ns - t.first_ns) : -1;
	case FIT_E2E:
	case FIT_N_METRICS:
		break;
	}
	return (double)(t.last_ns - t.arrival_ns);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void fit_score_init(struct fit_score *s, const struct fit_rows *rows)
{
	size_t n = 0;

	*s = (struct fit_score){.rows = rows, .ttft_floor_ns = TTFT_FLOOR_NS};
	s->error = xcalloc(FIT_N_METRICS * rows->n + 1, sizeof(*s->error));
	s->scratch = xcalloc(3 * rows->n + 1, sizeof(*s->scratch));
	s->weight = xcalloc(rows->n + 1, sizeof(*s->weight));
	for (size_t i = 0; i < rows->n; i++) {
		const struct fit_run *run = &rows->run[rows->row[i].run];

		if (!rows->row[i].scored)
			continue;
		s->weight[i] = (double)rows->n / rows->n_runs / (double)(run->to - run->from);
		s->sum_of_weights += s->weight[i] * (rows->row[i].output_tokens > 1 ? 3 : 2);
		s->scratch[n++] = fit_metric_ns(rows, NULL, i, FIT_TTFT);
	}
	qsort(s->scratch, n, sizeof(*s->scratch), by_value);
	if (n > 0 && s->scratch[n / 2] < s->ttft_floor_ns)
		s->ttft_floor_ns = fmax(s->scratch[n / 2], 1);
}

void fit_score_release(struct fit_score *s)
{
	free(s->error);
	free(s->weight);
	free(s->scratch);
	*s = (struct fit_score){0};
}

static double relative(const struct fit_score *s, double simulated, double measured,
		       enum fit_metric m)
{
	double of = m == FIT_TTFT ? fmax(measured, s->ttft_floor_ns) : fmax(measured, 1);

	return (simulated - measured) / of;
}

/* Pairs of (value, row) sorted by value. */
struct ranked {
	double value;
	size_t row;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

static void score_by_rank(struct fit_score *s, const struct fit_run *run,
			  const struct fit_times *times, enum fit_metric m)
{
	struct ranked *measured = xcalloc(run->to - run->from, sizeof(*measured));
	double *simulated = s->scratch;
	size_t n = 0;

	for (size_t i = run->from; i < run->to; i++) {
		double v = fit_metric_ns(s->rows, NULL, i, m);

		if (v < 0 || !s->rows->row[i].scored)
			continue;
		simulated[n] = fit_metric_ns(s->rows, times, i, m);
		measured[n++] = (struct ranked){v, i};
	}
	qsort(measured, n, sizeof(*measured), by_rank);
	qsort(simulated, n, sizeof(*simulated), by_value);
	for (size_t i = 0; i < n; i++)
		s->error[FIT_N_METRICS * measured[i].row + m] =
			relative(s, simulated[i], measured[i].value, m);
	free(measured);
}

double fit_score_take(struct fit_score *s, const struct fit_times *times)
{
	const struct fit_rows *r = s->rows;
	double sum = 0;

	for (int k = 0; k < r->n_runs; k++) {
		for (int m = 0; m < FIT_N_METRICS; m++) {
			if (r->run[k].concurrency > 0) {
				score_by_rank(s, &r->run[k], times, m);
				continue;
			}
			for (size_t i = r->run[k].from; i < r->run[k].to; i++) {
				double v = fit_metric_ns(r, NULL, i, m);

				if (v >= 0 && r->row[i].scored)
					s->error[FIT_N_METRICS * i + m] =
						relative(s, fit_metric_ns(r, times, i, m), v, m);
			}
		}
	}
	for (size_t i = 0; i < FIT_N_METRICS * r->n; i++)
		sum += s->weight[i / FIT_N_METRICS] * fabs(s->error[i]);
	return s->sum_of_weights > 0 ? sum / s->sum_of_weights : 0;
}
