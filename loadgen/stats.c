/*
 * Owns the arithmetic on samples: moments, percentiles, how many samples are enough, intervals.
 * Pure; runs wherever it is called. Must not know what the numbers mean.
 */
#include "stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "base/sortx.h"

void sample_add(struct sample *s, double v)
{
	CHECK(!isnan(v));
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->v = xreallocarray(s->v, s->cap, sizeof(*s->v));
	}
	s->v[s->n++] = v;
	s->sorted = false;
}

void sample_release(struct sample *s)
{
	free(s->v);
	*s = (struct sample){0};
}

double sample_mean(const struct sample *s)
{
	double sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += s->v[i];
	return s->n ? sum / (double)s->n : NAN;
}

double sample_std(const struct sample *s)
{
	double mean = sample_mean(s), sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += (s->v[i] - mean) * (s->v[i] - mean);
	return s->n ? sqrt(sum / (double)s->n) : NAN;
}

double sample_max(const struct sample *s)
{
	double max = NAN;

	for (size_t i = 0; i < s->n; i++)
		max = i && s->v[i] < max ? max : s->v[i];
	return max;
}

double sample_percentile(struct sample *s, double p)
{
	double rank, low;
	size_t i;

	if (!s->n)
		return NAN;
	if (!s->sorted)
		sort_doubles(s->v, s->n);
	s->sorted = true;
	rank = p / 100 * (double)(s->n - 1);
	low = floor(rank);
	i = (size_t)low;
	if (i + 1 >= s->n)
		return s->v[s->n - 1];
	return s->v[i] + (rank - low) * (s->v[i + 1] - s->v[i]);
}

/*
 * The rule of MLPerf LoadGen's early stopping with one sample allowed beyond the percentile: were
 * the true percentile higher than what was seen, at most one of n samples would lie above it with
 * the probability q^n + n (1 - q) q^(n - 1), and that must be at most 1 %. From 64 samples on for
 * p90, 130 for p95, 662 for p99.
 */
bool sample_enough(size_t n, double p)
{
	double q = p / 100, count = (double)n;

	if (p <= 50)
		return n >= 5;
	return n > 0 && pow(q, count) + count * (1 - q) * pow(q, count - 1) <= 0.01;
}

double student_t975(size_t degrees)
{
	static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
				   2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
				   2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
				   2.060,  2.056, 2.052, 2.048, 2.045, 2.042};

	CHECK(degrees > 0);
	return degrees <= ARRAY_LEN(t) ? t[degrees - 1] : 1.96;
}

static double mean_of(const double *v, size_t n)
{
	double mean = 0;

	for (size_t i = 0; i < n; i++)
		mean += v[i] / (double)n;
	return mean;
}

/* Of the mean of v: its squared standard error. */
static double squared_error(const double *v, size_t n)
{
	double mean = mean_of(v, n), sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (v[i] - mean) * (v[i] - mean);
	return sum / (double)(n - 1) / (double)n;
}

double mean_ci95(const double *v, size_t n)
{
	return n < 2 ? NAN : student_t975(n - 1) * sqrt(squared_error(v, n));
}

static struct interval welch_difference(const double *a, size_t n, const double *b, size_t m)
{
	double ea = squared_error(a, n), eb = squared_error(b, m), error = ea + eb;
	double mid = mean_of(b, m) - mean_of(a, n), degrees = (double)(n < m ? n : m) - 1, half;

	if (error > 0)
		degrees = error * error / (ea * ea / (double)(n - 1) + eb * eb / (double)(m - 1));
	half = student_t975((size_t)fmax(1, degrees)) * sqrt(error);
	return (struct interval){mid, mid - half, mid + half};
}

/* Logs of v, malloc'd; NULL if one has none. */
static double *logs_of(const double *v, size_t n)
{
	double *out = xcalloc(n, sizeof(*out));

	for (size_t i = 0; i < n; i++) {
		if (!(v[i] > 0)) {
			free(out);
			return NULL;
		}
		out[i] = log(v[i]);
	}
	return out;
}

struct interval welch_contrast(const double *a, size_t n, const double *b, size_t m,
			       enum contrast how)
{
	struct interval out = {NAN, NAN, NAN};
	double *la, *lb;

	if (n < 2 || m < 2)
		return out;
	if (how == CONTRAST_DIFFERENCE)
		return welch_difference(a, n, b, m);
	la = logs_of(a, n);
	lb = logs_of(b, m);
	if (la && lb) {
		out = welch_difference(la, n, lb, m);
		out = (struct interval){exp(out.mid), exp(out.low), exp(out.high)};
	}
	free(la);
	free(lb);
	return out;
}
