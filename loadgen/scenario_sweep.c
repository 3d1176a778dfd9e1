/*
 * Owns the meaning of `sweep:` and `find:`: which keys of the profiles take which values, and what
 * a target becomes at one place of the grid. Main thread, before anything is opened. Must not know
 * what a profile is (fakeengine checks the keys), nor which places a search tries (search.c).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/units.h"
#include "scenario_read.h"

#define MOST 1e12 /* of a number in a range */

static const char prefix[] = "target.profile.";

/* ---- the values of a key ---- */

struct range {
	double from, to;
	double factor, step; /* 0 = not given */
};

static const struct field range_fields[] = {
	FIELD("from", field_num, offsetof(struct range, from), .min = 0, .max = MOST,
	      .required = true),
	FIELD("to", field_num, offsetof(struct range, to), .min = 0, .max = MOST, .required = true),
	FIELD("factor", field_num, offsetof(struct range, factor), .min = 1.001, .max = MOST),
	FIELD("step", field_num, offsetof(struct range, step), .min = 1e-9, .max = MOST),
	{0},
};

static bool is_whole(double v)
{
	return v == round(v);
}

/* From one end to the other, the last step cut short; whole numbers if the ends (and the step) are.
 */
static enum rc range_values(const struct range *g, const struct ynode *n, struct sweep_axis *a,
			    struct err *e)
{
	bool whole = is_whole(g->from) && is_whole(g->to) && is_whole(g->step);
	double factor = g->factor > 0 ? g->factor : 2, last = -1;

	for (int k = 0; last < g->to; k++) {
		double v = g->step > 0 ? g->from + k * g->step : g->from * pow(factor, k);

		v = fmin(whole ? round(v) : v, g->to);
		if (v <= last)
			continue;
		if (a->n == MAX_TARGETS)
			return ynode_err(n, e, "has more than %d values, want larger steps",
					 MAX_TARGETS);
		strings_push(&a->values, xasprintf("%.9g", v));
		a->n++;
		last = v;
	}
	return RC_OK;
}

static enum rc read_range(struct reader *r, const struct ynode *n, struct sweep_axis *a,
			  struct err *e)
{
	struct range g = {0};
	enum rc rc = read_map(r, n, range_fields, &g, e);

	if (rc)
		return rc;
	if (g.from >= g.to)
		return ynode_err(ynode_get(n, "to"), e, "got %.9g, want more than from (%.9g)",
				 g.to, g.from);
	if (g.factor > 0 && g.step > 0)
		return ynode_err(ynode_get(n, "step"), e, "cannot stand beside factor");
	if (!(g.step > 0) && !(g.from > 0))
		return ynode_err(ynode_get(n, "from"), e,
				 "got 0, which no factor leads away from: want more, or step");
	return range_values(&g, n, a, e);
}

static bool is_rising(const struct sweep_axis *a)
{
	double last = -HUGE_VAL, v;

	for (int i = 0; i < a->n; i++, last = v)
		if (parse_double(a->values[i], -HUGE_VAL, HUGE_VAL, &v, NULL) || v <= last)
			return false;
	return true;
}

static enum rc read_axis(struct reader *r, const struct ynode *n, struct sweep_axis *a,
			 struct err *e)
{
	static const struct field values = {.key = NULL};
	enum rc rc;

	if (strncmp(n->key, prefix, strlen(prefix)) != 0 || !n->key[strlen(prefix)])
		return ynode_err(n, e,
				 "want a key of the profiles, as in %sscheduler.max_num_seqs: [64, "
				 "128]",
				 prefix);
	a->key = xstrdup(n->key + strlen(prefix));
	if (n->kind == YNODE_MAP) {
		rc = read_range(r, n, a, e);
	} else if (n->kind != YNODE_SEQ) {
		rc = ynode_err(
			n, e, "want a list, as in [64, 128], or a range, as in {from: 8, to: 512}");
	} else {
		rc = field_strings(r, &values, n, &a->values, e);
		while (!rc && a->values[a->n])
			a->n++;
		if (!rc && a->n == 0)
			rc = ynode_err(n, e, "got an empty list, want a value or more");
	}
	a->rising = !rc && is_rising(a);
	return rc;
}

/* ---- the grid ---- */

static enum rc read_axes(struct reader *r, const struct ynode *n, struct err *e)
{
	struct scenario *s = r->s;
	enum rc rc = RC_OK;
	int64_t places = 1;

	if (n->kind != YNODE_MAP || !n->n)
		return ynode_err(n, e, "want a map, as in {%sscheduler.max_num_seqs: [64, 128]}",
				 prefix);
	if (s->clock != RUN_CLOCK_VIRTUAL)
		return ynode_err(n, e,
				 "engines are swept in virtual time only: run it with --clock "
				 "virtual");
	s->sweep = xcalloc(n->n, sizeof(*s->sweep));
	for (size_t i = 0; i < n->n && !rc; i++) {
		rc = read_axis(r, n->child[i], &s->sweep[s->n_sweep++], e);
		places *= rc ? 1 : s->sweep[i].n;
		if (places > MAX_TARGETS)
			return ynode_err(n, e, "the grid has more than %d places", MAX_TARGETS);
	}
	return rc;
}

READER(read_sweep)
{
	return read_axes(r, n, e);
}

READER(read_search)
{
	static const char *const names[] = {"max_goodput", NULL};
	enum rc rc = ynode_check_keys(n, names, e);

	if (rc)
		return rc;
	if (n->n != 1)
		return ynode_err(n, e,
				 "want max_goodput, as in {max_goodput: "
				 "{%sscheduler.max_num_seqs: {from: 8, to: 512}}}",
				 prefix);
	if (r->s->n_sweep)
		return ynode_err(n, e, "cannot stand beside sweep: what it tries is its own");
	rc = read_axes(r, n->child[0], e);
	if (!rc && r->s->n_sweep > SEARCH_KEYS)
		return ynode_err(n->child[0], e, "got %d keys, want 1 to %d", r->s->n_sweep,
				 SEARCH_KEYS);
	r->s->search = !rc;
	return rc;
}

int sweep_places(const struct scenario *s)
{
	int places = 1;

	for (int i = 0; i < s->n_sweep; i++)
		places *= s->sweep[i].n;
	return places;
}

const char *sweep_label(const struct sweep_axis *a)
{
	const char *dot = strrchr(a->key, '.');

	return dot ? dot + 1 : a->key;
}

/* The last axis moves fastest. */
int sweep_value(const struct scenario *s, int target, int axis)
{
	int below = 1;

	for (int i = axis + 1; i < s->n_sweep; i++)
		below *= s->sweep[i].n;
	return target / below % s->sweep[axis].n;
}

void sweep_place(const struct scenario *s, int place, struct target *t)
{
	for (int i = 0; i < s->n_sweep; i++) {
		const struct sweep_axis *a = &s->sweep[i];
		const char *value = a->values[sweep_value(s, place, i)];
		char *name = t->name;

		strings_push(&t->profile_sets, xasprintf("%s=%s", a->key, value));
		t->name = xasprintf("%s, %s %s", name, sweep_label(a), value);
		free(name);
	}
}

void sweep_release(struct scenario *s)
{
	for (int i = 0; i < s->n_sweep; i++) {
		free(s->sweep[i].key);
		strings_free(s->sweep[i].values);
	}
	free(s->sweep);
}
