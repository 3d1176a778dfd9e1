/*
 * Owns what a value that varies looks like in a scenario: a number or a duration, or a map that
 * names a distribution. Main thread, before anything is opened. Must not know what varies.
 */
#include <math.h>

#include "scenario_read.h"

struct dist_spec {
	const char *name;
	int64_t mean, min, max; /* -1: not given */
	double cv;
};

static READER(read_dist_name)
{
	return ynode_str(n, out, e);
}

enum rc refuse_key(const struct ynode *map, const char *key, const char *beside, struct err *e)
{
	const struct ynode *n = ynode_get(map, key);

	return n ? ynode_err(n, e, "means nothing beside %s", beside) : RC_OK;
}

static enum rc need_key(const struct ynode *map, const char *key, struct err *e)
{
	return ynode_get(map, key) ? RC_OK : ynode_err(map, e, "%s is missing", key);
}

/* What each kind needs and what it has no use for. */
static enum rc check_dist_keys(const struct ynode *n, enum dist_kind kind, struct err *e)
{
	bool uniform = kind == DIST_UNIFORM;
	enum rc rc = need_key(n, uniform ? "min" : "mean", e);

	if (!rc && uniform)
		rc = need_key(n, "max", e);
	if (!rc && uniform)
		rc = refuse_key(n, "mean", dist_name(kind), e);
	if (!rc && (uniform || kind == DIST_CONSTANT || kind == DIST_EXPONENTIAL))
		rc = refuse_key(n, "cv", dist_name(kind), e);
	return rc;
}

/* most: no draw is above it, for a heavy tail could ask for more than any count holds. */
static enum rc read_dist(struct reader *r, const struct ynode *n, const struct field *fields,
			 double most, struct dist *d, struct err *e)
{
	struct dist_spec spec = {.mean = -1, .min = -1, .max = -1};
	struct err why;
	enum rc rc = read_map(r, n, fields, &spec, e);

	if (rc)
		return rc;
	*d = (struct dist){.kind = DIST_CONSTANT, .min = 0, .max = HUGE_VAL};
	if (dist_kind_parse(spec.name, &d->kind, &why) != RC_OK)
		return ynode_err(ynode_get(n, "dist"), e, "%s", why.msg);
	rc = check_dist_keys(n, d->kind, e);
	if (rc)
		return rc;
	d->mean = spec.mean > 0 ? (double)spec.mean : 0;
	d->cv = spec.cv;
	if (spec.min >= 0)
		d->min = (double)spec.min;
	if (spec.max >= 0)
		d->max = (double)spec.max;
	if (dist_check(d, &why) != RC_OK)
		return ynode_err(n, e, "%s", why.msg);
	d->max = fmin(d->max, most);
	return RC_OK;
}

static void constant_dist(struct dist *d, int64_t v)
{
	*d = (struct dist){.kind = DIST_CONSTANT, .mean = (double)v, .min = 0, .max = HUGE_VAL};
}

READER(read_token_dist)
{
	static const struct field fields[] = {
		FIELD("dist", read_dist_name, offsetof(struct dist_spec, name), .required = true),
		FIELD("mean", field_count, offsetof(struct dist_spec, mean), .min = 1,
		      .max = MAX_TOKENS),
		FIELD("cv", field_num, offsetof(struct dist_spec, cv), .min = 0, .max = 100),
		FIELD("min", field_count, offsetof(struct dist_spec, min), .min = 1,
		      .max = MAX_TOKENS),
		FIELD("max", field_count, offsetof(struct dist_spec, max), .min = 1,
		      .max = MAX_TOKENS),
		{0},
	};
	int64_t v = 0;
	enum rc rc;

	if (n->kind == YNODE_MAP)
		return read_dist(r, n, fields, MAX_TOKENS, out, e);
	rc = ynode_count(n, 1, MAX_TOKENS, &v, e);
	constant_dist(out, v);
	return rc;
}

READER(read_duration_dist)
{
	static const struct field fields[] = {
		FIELD("dist", read_dist_name, offsetof(struct dist_spec, name), .required = true),
		FIELD("mean", field_duration, offsetof(struct dist_spec, mean), .min = 1,
		      .max = MAX_TIME_NS),
		FIELD("cv", field_num, offsetof(struct dist_spec, cv), .min = 0, .max = 100),
		FIELD("min", field_duration, offsetof(struct dist_spec, min), .min = 0,
		      .max = MAX_TIME_NS),
		FIELD("max", field_duration, offsetof(struct dist_spec, max), .min = 1,
		      .max = MAX_TIME_NS),
		{0},
	};
	static const struct field scalar = {.min = 0, .max = MAX_TIME_NS};
	int64_t v = 0;
	enum rc rc;

	if (n->kind == YNODE_MAP)
		return read_dist(r, n, fields, MAX_TIME_NS, out, e);
	rc = field_duration(r, &scalar, n, &v, e);
	constant_dist(out, v);
	return rc;
}
