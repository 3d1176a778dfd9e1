/*
 * Owns the meaning of `sweep:`: which keys of the profiles take which values, and what a target
 * becomes at one place of the grid. Main thread, before anything is opened. Must not know what a
 * profile is: fakeengine checks the keys.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "scenario_read.h"

static const char prefix[] = "target.profile.";

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
	rc = field_strings(r, &values, n, &a->values, e);
	if (rc)
		return rc;
	a->key = xstrdup(n->key + strlen(prefix));
	while (a->values[a->n])
		a->n++;
	if (a->n == 0)
		return ynode_err(n, e, "got an empty list, want a value or more");
	return RC_OK;
}

READER(read_sweep)
{
	struct scenario *s = out;
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
