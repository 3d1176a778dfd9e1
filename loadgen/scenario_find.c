/*
 * Owns the meaning of `load.find`: the loads between `from` and `to` become levels in rising order,
 * as far apart as `resolution` says. Main thread, before anything is opened. Must not know in which
 * order they are tried (find.c).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "scenario_read.h"

struct find_spec {
	struct level level; /* of every probe, but for its load */
	int64_t max_concurrency;
	double resolution;
	const struct ynode *from, *to;
};

#define PROBE_FIELDS                                                                               \
	FIELD("from", field_node, offsetof(struct find_spec, from), .required = true),             \
		FIELD("to", field_node, offsetof(struct find_spec, to), .required = true),         \
		FIELD("resolution", field_num, offsetof(struct find_spec, resolution),             \
		      .min = 0.01, .max = 1),                                                      \
		FIELD("requests", field_count, offsetof(struct find_spec, level.requests),         \
		      .min = 1, .max = MAX_REQUESTS),                                              \
		FIELD("duration", field_duration, offsetof(struct find_spec, level.duration_ns),   \
		      .min = NS_PER_MS, .max = MAX_TIME_NS)

static const struct field rate_fields[] = {
	PROBE_FIELDS,
	FIELD("arrival", read_arrival, offsetof(struct find_spec, level)),
	FIELD("max_concurrency", field_count, offsetof(struct find_spec, max_concurrency), .min = 1,
	      .max = MAX_CONCURRENCY),
	FIELD("renewal", field_bool, offsetof(struct find_spec, level.renewal)),
	{0},
};

static const struct field concurrency_fields[] = {
	PROBE_FIELDS,
	{0},
};

/* Four digits are what a level's name shows. */
static double four_digits(double v)
{
	char text[32];

	snprintf(text, sizeof(text), "%.4g", v);
	return strtod(text, NULL);
}

static enum rc rate_grid(struct scenario *s, struct find_spec *f, const struct ynode *n,
			 struct err *e)
{
	double from, to, steps;
	enum rc rc = ynode_rate(f->from, &from, e);

	if (!rc)
		rc = ynode_rate(f->to, &to, e);
	if (rc)
		return rc;
	if (isinf(to) || !(from < to))
		return ynode_err(f->to, e, "got %.6g/s, want a rate above from (%.6g/s)", to, from);
	if (!f->level.requests && to * (double)f->level.duration_ns / 1e9 > MAX_REQUESTS)
		return ynode_err(f->to, e, "%.6g requests/s for so long are more than %d requests",
				 to, MAX_REQUESTS);
	steps = ceil(log(to / from) / log1p(f->resolution));
	f->level.concurrency = (int)f->max_concurrency;
	for (int k = 0; k <= (int)steps && !rc; k++) {
		f->level.rate_per_s = four_digits(from * pow(to / from, k / steps));
		rc = scenario_add_level(s, n, &f->level, e);
	}
	return rc;
}

static enum rc concurrency_grid(struct scenario *s, struct find_spec *f, const struct ynode *n,
				struct err *e)
{
	int64_t from, to;
	enum rc rc = ynode_count(f->from, 1, MAX_CONCURRENCY, &from, e);

	if (!rc)
		rc = ynode_count(f->to, 1, MAX_CONCURRENCY, &to, e);
	if (!rc && from >= to)
		return ynode_err(f->to, e, "got %lld, want more than from (%lld)", (long long)to,
				 (long long)from);
	for (int64_t at = from; !rc;) {
		int64_t next = (int64_t)((double)at * (1 + f->resolution));

		f->level.concurrency = (int)at;
		rc = scenario_add_level(s, n, &f->level, e);
		if (at == to)
			break;
		next = next > at ? next : at + 1;
		at = next < to ? next : to;
	}
	return rc;
}

/* Requests may be cancelled and levels cut short, but there is no other load beside a search, and
 * each target searches by itself. */
static enum rc check_alone(const struct ynode *n, struct err *e)
{
	for (size_t i = 0; i < n->parent->n; i++) {
		const char *key = n->parent->child[i]->key;

		if (strcmp(key, "find") != 0 && strcmp(key, "cancel") != 0 &&
		    strcmp(key, "stop_when") != 0)
			return ynode_err(n, e, "cannot stand beside %s: what it tries is its own",
					 key);
	}
	return RC_OK;
}

READER(read_find)
{
	static const char *const names[] = {"max_rate", "max_concurrency", NULL};
	struct find_spec spec = {
		.level = {.kind = LOAD_OPEN, .arrival = ARRIVAL_POISSON, .burstiness = 1},
		.resolution = 0.05,
	};
	struct scenario *s = out;
	const struct ynode *what;
	bool rate;
	enum rc rc = ynode_check_keys(n, names, e);

	if (rc)
		return rc;
	if (n->n != 1)
		return ynode_err(n, e, "want one of max_rate and max_concurrency");
	rc = check_alone(n, e);
	if (rc)
		return rc;
	what = n->child[0];
	rate = ynode_get(n, "max_rate") != NULL;
	rc = read_map(r, what, rate ? rate_fields : concurrency_fields, &spec, e);
	if (rc)
		return rc;
	if (!spec.level.requests && !spec.level.duration_ns)
		return ynode_err(what, e,
				 "requests or duration is missing: when does a probe end?");
	if (spec.level.arrival == ARRIVAL_RAMP)
		return ynode_err(ynode_get(what, "arrival"), e,
				 "a probe has one rate, want constant, poisson or gamma");
	s->find = true;
	if (rate)
		return rate_grid(s, &spec, what, e);
	spec.level.kind = LOAD_CLOSED;
	return concurrency_grid(s, &spec, what, e);
}
