/*
 * Least squares with few unknowns that are not negative: the sums of a normal equation, and its
 * solution. Pure.
 */
#ifndef FAKEENGINE_LSQ_H
#define FAKEENGINE_LSQ_H

#include <stddef.h>

#define LSQ_MAX 10

/* Of the sum over all rows of weight * (row . x - y)^2. Zero to begin with, but for n. */
struct lsq {
	size_t n; /* unknowns, <= LSQ_MAX */
	double ata[LSQ_MAX][LSQ_MAX], aty[LSQ_MAX], yty;
	size_t rows;
};

void lsq_add(struct lsq *q, const double *row, double y, double weight);

/* The x >= least (NULL: 0) at which the sum is smallest; returns the sum. An unknown that the rows
 * cannot tell from others is left at its least. */
double lsq_solve(const struct lsq *q, const double *least, double *x);

#endif
