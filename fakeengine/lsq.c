/*
 * Owns nothing: sums in, unknowns out. Where the unknowns are bounded below, the solution is an
 * unbounded one in those that do not stand at their bound. There are so few that every choice of
 * these is tried, which is exact and has no tolerance to set.
 */
#include "lsq.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

/* A pivot smaller than this share of its column's own square: the column is a sum of the others. */
#define LEAST_PIVOT 1e-10

void lsq_add(struct lsq *q, const double *row, double y, double weight)
{
	for (size_t i = 0; i < q->n; i++) {
		for (size_t k = 0; k <= i; k++)
			q->ata[i][k] += weight * row[i] * row[k];
		q->aty[i] += weight * row[i] * y;
	}
	q->yty += weight * y * y;
	q->rows++;
}

/* ata[i][k], of which the lower half is kept. */
static double at(const struct lsq *q, size_t i, size_t k)
{
	return i >= k ? q->ata[i][k] : q->ata[k][i];
}

/* The unknowns in `free` (bits), the others as they stand in x, by Cholesky. False: dependent. */
static int solve_free(const struct lsq *q, unsigned free, double *x)
{
	double l[LSQ_MAX][LSQ_MAX], y[LSQ_MAX];
	size_t id[LSQ_MAX], n = 0;

	for (size_t i = 0; i < q->n; i++)
		if (free & 1u << i)
			id[n++] = i;
	for (size_t i = 0; i < n; i++) {
		y[i] = q->aty[id[i]];
		for (size_t k = 0; k < q->n; k++)
			if (!(free & 1u << k))
				y[i] -= at(q, id[i], k) * x[k];
		for (size_t k = 0; k <= i; k++) {
			double sum = at(q, id[i], id[k]);

			for (size_t j = 0; j < k; j++)
				sum -= l[i][j] * l[k][j];
			if (k < i) {
				l[i][k] = sum / l[k][k];
				y[i] -= l[i][k] * y[k];
			} else if (sum <= LEAST_PIVOT * at(q, id[i], id[i])) {
				return 0;
			} else {
				l[i][i] = sqrt(sum);
			}
		}
		y[i] /= l[i][i];
	}
	for (size_t i = n; i-- > 0;) {
		for (size_t k = i + 1; k < n; k++)
			y[i] -= l[k][i] * x[id[k]];
		x[id[i]] = y[i] / l[i][i];
	}
	return 1;
}

static double sum_at(const struct lsq *q, const double *x)
{
	double sum = q->yty;

	for (size_t i = 0; i < q->n; i++) {
		sum -= 2 * x[i] * q->aty[i];
		for (size_t k = 0; k < q->n; k++)
			sum += x[i] * x[k] * at(q, i, k);
	}
	return sum;
}

double lsq_solve(const struct lsq *q, const double *least, double *x)
{
	double best = HUGE_VAL, sum, trial[LSQ_MAX];

	CHECK(q->n <= LSQ_MAX);
	for (unsigned free = 0; free < 1u << q->n; free++) {
		int inside = 1;

		for (size_t i = 0; i < q->n; i++)
			trial[i] = least ? least[i] : 0;
		if (!solve_free(q, free, trial))
			continue;
		for (size_t i = 0; i < q->n; i++)
			inside &= trial[i] >= (least ? least[i] : 0);
		if (!inside)
			continue;
		sum = sum_at(q, trial);
		if (sum < best) {
			best = sum;
			memcpy(x, trial, q->n * sizeof(*x));
		}
	}
	return best;
}
