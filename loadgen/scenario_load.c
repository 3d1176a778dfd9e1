/*
 * Owns the meaning of `load:`: kinds of load become levels, one after another in the order written,
 * and `--set load.KEY` finds the kind that is meant. Main thread, before anything is opened. Must
 * not know how a level is driven.
 */
#include "scenario_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

#define MAX_LEVELS 10000

static const char *const kind_names[] = {"closed", "open", "serial", NULL}; /* enum load_kind */
static const char *const load_keys[] = {"closed", "open", "serial", "interleave", "find", NULL};

const char *load_kind_name(enum load_kind k)
{
	return kind_names[k];
}

/* One kind as it is written: `level` but for what varies from level to level. */
struct kind_spec {
	struct level level;
	int64_t max_concurrency;
	const struct ynode *each; /* concurrency or rate: one value or a list of them */
};

static const struct field gamma_fields[] = {
	FIELD("burstiness", field_num, 0, .min = 1e-3, .max = 1e6, .required = true),
	{0},
};

READER(read_arrival)
{
	static const struct field fields[] = {
		FIELD("gamma", field_map, offsetof(struct level, burstiness),
		      .fields = gamma_fields, .required = true),
		{0},
	};
	struct level *l = out;

	if (n->kind == YNODE_MAP) {
		l->arrival = ARRIVAL_GAMMA;
		return read_map(r, n, fields, l, e);
	}
	if (n->kind == YNODE_SCALAR && strcmp(n->text, "constant") == 0)
		l->arrival = ARRIVAL_CONSTANT;
	else if (n->kind == YNODE_SCALAR && strcmp(n->text, "poisson") == 0)
		l->arrival = ARRIVAL_POISSON;
	else
		return ynode_err(n, e, "want constant, poisson or {gamma: {burstiness: 0.5}}");
	return RC_OK;
}

static const struct field closed_fields[] = {
	FIELD("concurrency", field_node, offsetof(struct kind_spec, each), .required = true),
	FIELD("requests", field_count, offsetof(struct kind_spec, level.requests), .min = 1,
	      .max = MAX_REQUESTS),
	FIELD("duration", field_duration, offsetof(struct kind_spec, level.duration_ns),
	      .min = NS_PER_MS, .max = MAX_TIME_NS),
	{0},
};

static const struct field open_fields[] = {
	FIELD("rate", field_node, offsetof(struct kind_spec, each), .required = true),
	FIELD("arrival", read_arrival, offsetof(struct kind_spec, level)),
	FIELD("max_concurrency", field_count, offsetof(struct kind_spec, max_concurrency), .min = 1,
	      .max = MAX_CONCURRENCY),
	FIELD("renewal", field_bool, offsetof(struct kind_spec, level.renewal)),
	FIELD("requests", field_count, offsetof(struct kind_spec, level.requests), .min = 1,
	      .max = MAX_REQUESTS),
	FIELD("duration", field_duration, offsetof(struct kind_spec, level.duration_ns),
	      .min = NS_PER_MS, .max = MAX_TIME_NS),
	{0},
};

static const struct field serial_fields[] = {
	FIELD("requests", field_count, offsetof(struct kind_spec, level.requests), .min = 1,
	      .max = MAX_REQUESTS),
	FIELD("duration", field_duration, offsetof(struct kind_spec, level.duration_ns),
	      .min = NS_PER_MS, .max = MAX_TIME_NS),
	{0},
};

enum rc scenario_add_level(struct scenario *s, const struct ynode *n, const struct level *l,
			   struct err *e)
{
	if (s->n_levels == MAX_LEVELS)
		return ynode_err(n, e, "more than %d levels", MAX_LEVELS);
	s->levels = xreallocarray(s->levels, (size_t)s->n_levels + 1, sizeof(*s->levels));
	s->levels[s->n_levels++] = *l;
	return RC_OK;
}

static enum rc one_closed(const struct ynode *n, const struct kind_spec *k, struct level *l,
			  struct err *e)
{
	int64_t concurrency;
	enum rc rc = ynode_count(n, 1, MAX_CONCURRENCY, &concurrency, e);

	(void)k;
	if (!rc)
		l->concurrency = (int)concurrency;
	return rc;
}

static enum rc one_open(const struct ynode *n, const struct kind_spec *k, struct level *l,
			struct err *e)
{
	enum rc rc = ynode_rate(n, &l->rate_per_s, e);
	double seconds = (double)l->duration_ns / 1e9;

	if (rc)
		return rc;
	l->concurrency = (int)k->max_concurrency;
	if (l->requests == 0 && isinf(l->rate_per_s))
		return ynode_err(n, e, "rate inf sends all requests at once: requests is missing");
	if (l->requests == 0 && l->rate_per_s * seconds > MAX_REQUESTS)
		return ynode_err(n, e,
				 "%.6g requests/s for %.6g s are %.6g requests, want at most %d",
				 l->rate_per_s, seconds, l->rate_per_s * seconds, MAX_REQUESTS);
	if (l->duration_ns == 0 && (double)l->requests / l->rate_per_s > MAX_TIME_NS / 1e9)
		return ynode_err(n, e, "%lld requests at %.3g requests/s take more than 30 days",
				 (long long)l->requests, l->rate_per_s);
	return RC_OK;
}

/* What of a kind's levels differs is one value or a list of values under one key. */
static enum rc expand(struct scenario *s, const struct kind_spec *k,
		      enum rc (*one)(const struct ynode *, const struct kind_spec *, struct level *,
				     struct err *),
		      struct err *e)
{
	const struct ynode *each = k->each;
	bool list = each->kind == YNODE_SEQ;
	enum rc rc = RC_OK;

	if (list && !each->n)
		return ynode_err(each, e, "got an empty list, want a value or a list of them");
	for (size_t i = 0; i < (list ? each->n : 1) && !rc; i++) {
		const struct ynode *n = list ? each->child[i] : each;
		struct level l = k->level;

		rc = one(n, k, &l, e);
		if (!rc)
			rc = scenario_add_level(s, n, &l, e);
	}
	return rc;
}

static enum rc read_kind(struct reader *r, enum load_kind kind, const struct ynode *n,
			 struct err *e)
{
	static const struct field *const fields[] = {closed_fields, open_fields, serial_fields};
	struct kind_spec k = {.level = {.kind = kind, .arrival = ARRIVAL_POISSON, .burstiness = 1}};
	enum rc rc = read_map(r, n, fields[kind], &k, e);

	if (rc)
		return rc;
	if (!k.level.requests && !k.level.duration_ns)
		return ynode_err(n, e, "requests or duration is missing: when does a level end?");
	switch (kind) {
	case LOAD_CLOSED:
		return expand(r->s, &k, one_closed, e);
	case LOAD_OPEN:
		return expand(r->s, &k, one_open, e);
	case LOAD_SERIAL:
		break;
	}
	k.level.concurrency = 1;
	return scenario_add_level(r->s, n, &k.level, e);
}

READER(read_load)
{
	struct scenario *s = out;
	enum rc rc = ynode_check_keys(n, load_keys, e);

	for (size_t i = 0; i < n->n && !rc; i++) {
		const struct ynode *child = n->child[i];
		int kind = 0;

		while (kind_names[kind] && strcmp(kind_names[kind], child->key) != 0)
			kind++;
		if (kind_names[kind])
			rc = read_kind(r, (enum load_kind)kind, child, e);
		else if (strcmp(child->key, "find") == 0)
			rc = read_find(r, f, child, s, e);
		else
			rc = ynode_bool(child, &s->interleave, e);
	}
	if (!rc && !s->n_levels)
		return ynode_err(n, e, "no load, want closed, open, serial or find");
	return rc;
}

enum rc load_set_path(const struct ydoc *doc, const char *assignment, char **out, struct err *e)
{
	static const char prefix[] = "load.";
	const struct ynode *load = ynode_get(ydoc_root(doc), "load");
	const char *key = assignment + sizeof(prefix) - 1, *kind = NULL;
	size_t len;

	if (strncmp(assignment, prefix, sizeof(prefix) - 1) != 0) {
		*out = xstrdup(assignment);
		return RC_OK;
	}
	len = strcspn(key, ".[=");
	for (int i = 0; load_keys[i]; i++) {
		if (strlen(load_keys[i]) == len && strncmp(key, load_keys[i], len) == 0) {
			*out = xstrdup(assignment);
			return RC_OK;
		}
	}
	for (int i = 0; kind_names[i]; i++) {
		if (!ynode_get(load, kind_names[i]))
			continue;
		if (kind)
			return err_set(e, RC_INPUT,
				       "--set %.*s: the scenario has several kinds of load, say "
				       "load.%s.%.*s or load.%s.%.*s",
				       (int)strcspn(assignment, "="), assignment, kind, (int)len,
				       key, kind_names[i], (int)len, key);
		kind = kind_names[i];
	}
	if (!kind)
		return err_set(e, RC_INPUT, "--set %.*s: the scenario has no load to set it of",
			       (int)strcspn(assignment, "="), assignment);
	*out = xasprintf("%s%s.%s", prefix, kind, key);
	return RC_OK;
}
