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
#define MAX_BATCH  100000

/* enum load_kind */
static const char *const kind_names[] = {"closed", "open", "serial", "sessions", "batch", NULL};
static const char *const load_keys[] = {"closed", "open",      "serial",     "sessions", "batch",
					"cancel", "stop_when", "interleave", "find",	 NULL};

const char *load_kind_name(enum load_kind k)
{
	return kind_names[k];
}

/* One kind as it is written: `level` but for what varies from level to level. */
struct kind_spec {
	struct level level;
	int64_t max_concurrency;
	const struct ynode *each; /* concurrency, rate or speed: one value or a list of them */
};

static const struct field gamma_fields[] = {
	FIELD("burstiness", field_num, 0, .min = 1e-3, .max = 1e6, .required = true),
	{0},
};

static READER(read_rate)
{
	return ynode_rate(n, out, e);
}

static READER(read_ramp)
{
	static const struct field fields[] = {
		FIELD("from", read_rate, offsetof(struct level, from_per_s), .required = true),
		FIELD("to", read_rate, offsetof(struct level, to_per_s), .required = true),
		{0},
	};
	struct level *l = out;
	enum rc rc = read_map(r, n, fields, l, e);

	if (!rc && (isinf(l->from_per_s) || isinf(l->to_per_s)))
		return ynode_err(n, e, "want rates that are not inf");
	l->arrival = ARRIVAL_RAMP;
	l->rate_per_s = (l->from_per_s + l->to_per_s) / 2;
	return rc;
}

READER(read_arrival)
{
	static const struct field ramp_fields[] = {FIELD("ramp", read_ramp, 0), {0}};
	static const struct field fields[] = {
		FIELD("gamma", field_map, offsetof(struct level, burstiness),
		      .fields = gamma_fields, .required = true),
		{0},
	};
	struct level *l = out;

	if (ynode_get(n, "ramp"))
		return read_map(r, n, ramp_fields, l, e);
	if (n->kind == YNODE_MAP) {
		l->arrival = ARRIVAL_GAMMA;
		return read_map(r, n, fields, l, e);
	}
	if (n->kind == YNODE_SCALAR && strcmp(n->text, "constant") == 0)
		l->arrival = ARRIVAL_CONSTANT;
	else if (n->kind == YNODE_SCALAR && strcmp(n->text, "poisson") == 0)
		l->arrival = ARRIVAL_POISSON;
	else
		return ynode_err(n, e,
				 "want constant, poisson, {gamma: {burstiness: 0.5}} or {ramp: "
				 "{from: 1, to: 20}}");
	return RC_OK;
}

static READER(read_trace)
{
	((struct level *)out)->arrival = ARRIVAL_TRACE;
	return field_file(r, f, n, &r->s->trace_file, e);
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
	FIELD("rate", field_node, offsetof(struct kind_spec, each)),
	FIELD("arrival", read_arrival, offsetof(struct kind_spec, level)),
	FIELD("trace", read_trace, offsetof(struct kind_spec, level)),
	FIELD("speed", field_node, offsetof(struct kind_spec, each)),
	FIELD("span", field_duration, offsetof(struct kind_spec, level.span_ns), .min = 1,
	      .max = MAX_TIME_NS),
	FIELD("spread", field_duration, offsetof(struct kind_spec, level.spread_ns), .min = 1,
	      .max = MAX_TIME_NS),
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

/* `all` or a number. */
static READER(read_session_turns)
{
	if (n->kind == YNODE_SCALAR && n->text && strcmp(n->text, "all") == 0)
		return RC_OK;
	return ynode_count(n, 1, 1000, out, e);
}

static const struct field session_fields[] = {
	FIELD("users", field_node, offsetof(struct kind_spec, each), .required = true),
	FIELD("turns", read_session_turns, offsetof(struct kind_spec, level.turns)),
	FIELD("think_time", read_duration_dist, offsetof(struct kind_spec, level.think_ns)),
	FIELD("conversations", field_count, offsetof(struct kind_spec, level.conversations),
	      .min = 1, .max = MAX_REQUESTS),
	FIELD("duration", field_duration, offsetof(struct kind_spec, level.duration_ns),
	      .min = NS_PER_MS, .max = MAX_TIME_NS),
	{0},
};

static const struct field batch_fields[] = {
	FIELD("size", field_node, offsetof(struct kind_spec, each), .required = true),
	FIELD("requests", field_count, offsetof(struct kind_spec, level.requests), .min = 1,
	      .max = MAX_REQUESTS),
	FIELD("duration", field_duration, offsetof(struct kind_spec, level.duration_ns),
	      .min = NS_PER_MS, .max = MAX_TIME_NS),
	{0},
};

static const struct field cancel_fields[] = {
	FIELD("share", field_num, offsetof(struct cancel_spec, share), .min = 1e-6, .max = 1,
	      .required = true),
	FIELD("after_tokens", read_token_dist, offsetof(struct cancel_spec, after_tokens),
	      .required = true),
	{0},
};

static const struct field stop_fields[] = {
	FIELD("ttft", field_duration, offsetof(struct stop_spec, ttft_ns), .min = NS_PER_MS,
	      .max = MAX_TIME_NS),
	FIELD("waiting", field_count, offsetof(struct stop_spec, waiting), .min = 1, .max = 1e9),
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

/* How often requests come is told in one of three ways, and each has keys of its own. */
static enum rc check_open(const struct ynode *n, const struct level *l, struct err *e)
{
	static const char *const of_trace[] = {"speed", "span", "spread", NULL};
	static const char *const of_rate[] = {"rate", "arrival", "renewal", NULL};
	static const char *const not_of_ramp[] = {"rate", "renewal", NULL};
	bool trace = l->arrival == ARRIVAL_TRACE, ramp = l->arrival == ARRIVAL_RAMP;
	const char *const *bad = trace ? of_rate : of_trace;
	const struct ynode *child;

	for (; *bad; bad++) {
		child = ynode_get(n, *bad);
		if (child)
			return ynode_err(child, e, "means nothing with%s a trace",
					 trace ? "" : "out");
	}
	for (bad = not_of_ramp; ramp && *bad; bad++) {
		child = ynode_get(n, *bad);
		if (child)
			return ynode_err(child, e, "means nothing beside a ramp");
	}
	if (!trace && !ramp && !ynode_get(n, "rate"))
		return ynode_err(n, e, "rate is missing");
	return RC_OK;
}

static enum rc one_batch(const struct ynode *n, const struct kind_spec *k, struct level *l,
			 struct err *e)
{
	int64_t size;
	enum rc rc = ynode_count(n, 1, MAX_BATCH, &size, e);

	(void)k;
	l->concurrency = 1;
	if (!rc && l->requests > UINT32_MAX / size)
		return ynode_err(n, e, "%lld requests of %lld prompts are more than 2^32 prompts",
				 (long long)l->requests, (long long)size);
	if (!rc)
		l->batch = (int)size;
	return rc;
}

static enum rc check_rate(const struct ynode *n, const struct level *l, struct err *e)
{
	double seconds = (double)l->duration_ns / 1e9;

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

static enum rc one_open(const struct ynode *n, const struct kind_spec *k, struct level *l,
			struct err *e)
{
	enum rc rc;

	(void)k;
	if (l->arrival == ARRIVAL_TRACE)
		return ynode_num(n, 1e-6, 1e6, &l->speed, e);
	rc = ynode_rate(n, &l->rate_per_s, e);
	return rc ? rc : check_rate(n, l, e);
}

/* One level, or one for each rate or speed. */
static enum rc add_open(struct scenario *s, const struct ynode *n, struct kind_spec *k,
			struct err *e)
{
	enum rc rc = check_open(n, &k->level, e);

	if (rc)
		return rc;
	k->level.concurrency = (int)k->max_concurrency;
	if (k->level.arrival == ARRIVAL_TRACE)
		k->level.rate_per_s = NAN;
	if (k->each)
		return expand(s, k, one_open, e);
	k->level.speed = 1;
	if (k->level.arrival == ARRIVAL_RAMP)
		rc = check_rate(n, &k->level, e);
	return rc ? rc : scenario_add_level(s, n, &k->level, e);
}

static enum rc read_kind(struct reader *r, enum load_kind kind, const struct ynode *n,
			 struct err *e)
{
	static const struct field *const fields[] = {closed_fields, open_fields, serial_fields,
						     session_fields, batch_fields};
	struct kind_spec k = {.level = {.kind = kind, .arrival = ARRIVAL_POISSON, .burstiness = 1}};
	enum rc rc = read_map(r, n, fields[kind], &k, e);

	if (rc)
		return rc;
	if (kind == LOAD_SESSIONS && !k.level.conversations && !k.level.duration_ns)
		return ynode_err(n, e,
				 "conversations or duration is missing: when does a level end?");
	if (kind != LOAD_SESSIONS && !k.level.requests && !k.level.duration_ns &&
	    k.level.arrival != ARRIVAL_TRACE)
		return ynode_err(n, e, "requests or duration is missing: when does a level end?");
	switch (kind) {
	case LOAD_CLOSED:
	case LOAD_SESSIONS:
		return expand(r->s, &k, one_closed, e);
	case LOAD_OPEN:
		return add_open(r->s, n, &k, e);
	case LOAD_BATCH:
		return expand(r->s, &k, one_batch, e);
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
		else if (strcmp(child->key, "cancel") == 0)
			rc = read_map(r, child, cancel_fields, &s->cancel, e);
		else if (strcmp(child->key, "stop_when") == 0)
			rc = read_map(r, child, stop_fields, &s->stop_when, e);
		else
			rc = ynode_bool(child, &s->interleave, e);
	}
	if (!rc && !s->n_levels)
		return ynode_err(n, e,
				 "no load, want closed, open, serial, sessions, batch or find");
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
