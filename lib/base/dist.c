/*
 * Owns the distributions and how they are sampled. Pure. All draws of one distribution come from
 * the one stream it is given, in an order that depends on nothing but the values drawn.
 */
#include "dist.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "utf8.h"

static const char *const names[] = {
	[DIST_CONSTANT] = "constant",	    [DIST_UNIFORM] = "uniform",
	[DIST_NORMAL] = "normal",	    [DIST_LOGNORMAL] = "lognormal",
	[DIST_EXPONENTIAL] = "exponential", [DIST_GAMMA] = "gamma",
};

const char *dist_name(enum dist_kind kind)
{
	return (size_t)kind < ARRAY_LEN(names) ? names[kind] : NULL;
}

enum rc dist_kind_parse(const char *name, enum dist_kind *out, struct err *e)
{
	char list[128] = "";

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t n = strlen(list);

		if (strcmp(name, names[i]) == 0) {
			*out = (enum dist_kind)i;
			return RC_OK;
		}
		snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", names[i]);
	}
	return err_set(e, RC_INPUT, "\"%.*s\" is not a distribution: %s", (int)utf8_cut(name, 64),
		       name, list);
}

static bool has_cv(enum dist_kind kind)
{
	return kind == DIST_NORMAL || kind == DIST_LOGNORMAL || kind == DIST_GAMMA;
}

enum rc dist_check(const struct dist *d, struct err *e)
{
	const char *name = dist_name(d->kind);

	CHECK(name);
	if (!(d->min >= 0 && isfinite(d->min)) || !(d->max >= 0))
		return err_set(e, RC_INPUT, "%s: min %g and max %g: neither may be below 0", name,
			       d->min, d->max);
	if (d->min > d->max)
		return err_set(e, RC_INPUT, "%s: min %g is above max %g", name, d->min, d->max);
	if (d->kind == DIST_UNIFORM) {
		if (!isfinite(d->max))
			return err_set(e, RC_INPUT,
				       "uniform: needs min and max, such as min: 100, max: 200");
		return RC_OK;
	}
	if (d->kind == DIST_CONSTANT) {
		if (!(d->mean >= d->min && d->mean <= d->max) || !isfinite(d->mean))
			return err_set(e, RC_INPUT, "constant: %g must be from min %g to max %g",
				       d->mean, d->min, d->max);
		return RC_OK;
	}
	if (!(d->mean > 0) || !isfinite(d->mean))
		return err_set(e, RC_INPUT, "%s: mean %g must be above 0", name, d->mean);
	if (!(d->max > 0))
		return err_set(e, RC_INPUT, "%s: max %g must be above 0", name, d->max);
	if (has_cv(d->kind) && (!(d->cv > 0) || !isfinite(d->cv)))
		return err_set(e, RC_INPUT,
			       "%s: cv %g must be above 0, such as 0.5 (standard deviation / mean)",
			       name, d->cv);
	return RC_OK;
}

/* A uniform number that has a logarithm: (0, 1]. */
static double unit_above_0(struct rng *r)
{
	return 1 - rng_unit(r);
}

double rng_exponential(struct rng *r)
{
	return -log(unit_above_0(r));
}

double rng_normal(struct rng *r)
{
	static const double two_pi = 6.283185307179586;
	double radius, angle;

	if (r->has_normal) {
		r->has_normal = false;
		return r->normal;
	}
	radius = sqrt(-2 * log(unit_above_0(r)));
	angle = two_pi * rng_unit(r);
	r->normal = radius * sin(angle);
	r->has_normal = true;
	return radius * cos(angle);
}

/*
 * Marsaglia, Tsang: "A simple method for generating gamma variables", ACM TOMS 26 (2000). A cubed,
 * shifted normal, kept with a probability above 95 %. Shapes below 1 by their remark: gamma(shape +
 * 1) * U^(1/shape).
 */
double rng_gamma(struct rng *r, double shape)
{
	double d, c, x, v;

	CHECK(shape > 0);
	if (shape < 1) {
		double u = unit_above_0(r);

		return rng_gamma(r, shape + 1) * pow(u, 1 / shape);
	}
	d = shape - 1.0 / 3;
	c = 1 / sqrt(9 * d);
	for (;;) {
		do {
			x = rng_normal(r);
			v = 1 + c * x;
		} while (v <= 0);
		v = v * v * v;
		if (log(unit_above_0(r)) < x * x / 2 + d - d * v + d * log(v))
			return d * v;
	}
}

/* With s^2 = ln(1 + cv^2) and m = ln(mean) - s^2 / 2, exp(m + s * normal) has this mean and this cv
 * itself. */
static double sample_lognormal(const struct dist *d, struct rng *r)
{
	double variance = log1p(d->cv * d->cv);

	return exp(log(d->mean) - variance / 2 + sqrt(variance) * rng_normal(r));
}

static double sample_unclamped(const struct dist *d, struct rng *r)
{
	switch (d->kind) {
	case DIST_CONSTANT:
		return d->mean;
	case DIST_UNIFORM:
		return d->min + (d->max - d->min) * rng_unit(r);
	case DIST_NORMAL:
		return d->mean * (1 + d->cv * rng_normal(r));
	case DIST_LOGNORMAL:
		return sample_lognormal(d, r);
	case DIST_EXPONENTIAL:
		return d->mean * rng_exponential(r);
	case DIST_GAMMA:
		/* shape 1/cv^2, scale mean * cv^2 */
		return d->mean * d->cv * d->cv * rng_gamma(r, 1 / (d->cv * d->cv));
	}
	CHECK(!"a kind without a sampler");
	return 0;
}

double dist_sample(const struct dist *d, struct rng *r)
{
	/* min >= 0, so this cuts what a normal puts below 0, too */
	return fmin(fmax(sample_unclamped(d, r), d->min), d->max);
}

double dist_mean(const struct dist *d)
{
	return d->kind == DIST_UNIFORM ? d->min + (d->max - d->min) / 2 : d->mean;
}

int64_t dist_sample_count(const struct dist *d, struct rng *r, int64_t least)
{
	double low = ceil(d->min), high = floor(d->max), x;
	bool has_whole = low <= high;
	int64_t n;

	if (d->kind == DIST_UNIFORM && has_whole && high < 0x1p53)
		/* rounding a real would give the two ends half the weight of the others */
		x = low + (double)rng_below(r, (uint64_t)(high - low) + 1);
	else
		x = round(dist_sample(d, r));
	if (has_whole)
		x = fmin(fmax(x, low), high);
	n = x < 0x1p63 ? (int64_t)x : INT64_MAX;
	return n > least ? n : least;
}
