/*
 * Owns the putting together of several runs: which targets of which folders, their levels as one
 * list, their rows as if one run had written them. Main thread; the runs in memory. Must not know
 * what is computed of them.
 */
#include "compare.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/die.h"
#include "published.h"

/* ---- which targets ---- */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Published figures instead of a folder. */
static bool is_table(const char *path)
{
	struct stat st;
	size_t n = strlen(path);

	return n > 4 && strcmp(path + n - 4, ".csv") == 0 && stat(path, &st) == 0 &&
	       S_ISREG(st.st_mode);
}

/* The folder, malloc'd, and what is behind its colon, or NULL. A folder's name may hold colons. */
static char *split_operand(const char *operand, const char **target)
{
	*target = NULL;
	if (is_folder(operand))
		return xstrdup(operand);
	for (const char *colon = strchr(operand, ':'); colon; colon = strchr(colon + 1, ':')) {
		char *dir = xstrndup(operand, (size_t)(colon - operand));

		if (is_folder(dir)) {
			*target = colon + 1;
			return dir;
		}
		free(dir);
	}
	return xstrdup(operand);
}

static void add_compared(struct comparison *c, const struct loaded_run *run, int target)
{
	size_t n = (size_t)c->s.n_targets++;

	c->v = xreallocarray(c->v, n + 1, sizeof(*c->v));
	c->v[n] = (struct compared){run, target};
}

/* Of a search's settings most were not. */
static bool was_tried(const struct loaded_run *run, int target)
{
	for (size_t i = 0; i < run->n_points; i++)
		if (run->points[i].target == target)
			return true;
	return !run->scenario->search;
}

static enum rc choose_targets(struct comparison *c, const struct loaded_run *run, const char *only,
			      struct err *e)
{
	const struct scenario *s = run->scenario;
	char names[600] = "";
	size_t at = 0;

	for (int i = 0; i < s->n_targets; i++) {
		if (at < sizeof(names))
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
					       i ? ", " : "", s->targets[i].name);
		if (only ? strcmp(only, s->targets[i].name) != 0 : !was_tried(run, i))
			continue;
		add_compared(c, run, i);
		if (only)
			return RC_OK;
	}
	return only ? err_set(e, RC_INPUT, "%s: no target %s there, want %s", run->dir, only, names)
		    : RC_OK;
}

/* A folder that is named twice is read once. */
static enum rc load_run(struct comparison *c, const char *dir, const struct slo *slo,
			const struct loaded_run **out, struct err *e)
{
	enum rc rc;

	for (int i = 0; i < c->n_runs; i++) {
		if (strcmp(c->runs[i]->dir, dir) == 0) {
			*out = c->runs[i];
			return RC_OK;
		}
	}
	c->runs = xreallocarray(c->runs, (size_t)c->n_runs + 1, sizeof(struct loaded_run *));
	if (is_table(dir))
		rc = published_load(&c->runs[c->n_runs], dir, e);
	else
		rc = results_load_judged(&c->runs[c->n_runs], dir, slo, e);
	if (!rc)
		*out = c->runs[c->n_runs++];
	return rc;
}

/* The first SLO that a run has. Scenarios are small: they are read twice rather than the rows. */
static enum rc find_slo(const char *const *operands, size_t n, struct slo *slo, struct err *e)
{
	for (size_t i = 0; i < n && !slo_asked(slo); i++) {
		struct scenario *s = NULL;
		const char *target;
		char *dir = split_operand(operands[i], &target);
		char *path = xasprintf("%s/scenario.yaml", dir);
		enum rc rc = RC_OK;

		if (is_folder(dir))
			rc = scenario_load_archived(&s, path, e);
		else if (!is_table(dir))
			rc = err_set(e, RC_INPUT, "%s: no such folder, nor a table.csv", dir);
		if (s)
			*slo = s->slo;
		scenario_free(s);
		free(path);
		free(dir);
		if (rc)
			return rc;
	}
	return RC_OK;
}

static enum rc load_all(struct comparison *c, const char *const *operands, size_t n, struct err *e)
{
	enum rc rc = find_slo(operands, n, &c->s.slo, e);

	for (size_t i = 0; i < n && !rc; i++) {
		const struct loaded_run *run;
		const char *target;
		char *dir = split_operand(operands[i], &target);

		rc = load_run(c, dir, &c->s.slo, &run, e);
		if (!rc)
			rc = choose_targets(c, run, target, e);
		free(dir);
	}
	if (!rc && c->s.n_targets < 2)
		rc = err_set(e, RC_INPUT,
			     "%s: one target, want two or more (DIR or DIR:TARGET) to compare",
			     operands[0]);
	return rc;
}

/* ---- one scenario of them ---- */

/* Levels are equal when they are called the same. */
static int level_of(struct scenario *s, const struct level *l)
{
	char name[32], other[32];

	level_label(l, name, sizeof(name));
	for (int i = 0; i < s->n_levels; i++) {
		level_label(&s->levels[i], other, sizeof(other));
		if (strcmp(name, other) == 0)
			return i;
	}
	s->levels = xreallocarray(s->levels, (size_t)s->n_levels + 1, sizeof(*s->levels));
	s->levels[s->n_levels] = *l;
	return s->n_levels++;
}

static int count_named(const struct comparison *c, const char *name)
{
	int n = 0;

	for (int i = 0; i < c->s.n_targets; i++)
		n += strcmp(c->v[i].run->scenario->targets[c->v[i].target].name, name) == 0;
	return n;
}

/* Two runs of one target are told apart by their folders. */
static char *name_of(const struct comparison *c, const struct compared *v)
{
	const char *name = v->run->scenario->targets[v->target].name;
	char *dir = xstrdup(v->run->dir), *out;

	out = count_named(c, name) > 1 ? xasprintf("%s (%s)", name, basename(dir)) : xstrdup(name);
	free(dir);
	return out;
}

static bool is_wanted(const struct comparison *c, const char *figure)
{
	bool simulated = false;

	if (strcmp(figure, "goodput") == 0)
		return slo_asked(&c->s.slo);
	if (strcmp(figure, "overlay") != 0)
		return true;
	for (int i = 0; i < c->s.n_targets; i++)
		simulated |= compare_measured_of(c, i) >= 0;
	return simulated;
}

static void merge_scenarios(struct comparison *c)
{
	static const char *const plots[] = {"overlay", "throughput", "latency",
					    "goodput", "ratio",	     "cdf"};
	struct scenario *s = &c->s;
	const struct scenario *first = c->v[0].run->scenario;
	struct buf title;

	s->name = xstrdup("compare");
	s->seed = first->seed;
	s->repeats = 1;
	s->targets = xcalloc((size_t)s->n_targets, sizeof(*s->targets));
	buf_init(&title, 1u << 16);
	for (int i = 0; i < s->n_targets; i++) {
		const struct scenario *from = c->v[i].run->scenario;

		s->targets[i] = from->targets[c->v[i].target];
		s->targets[i].name = name_of(c, &c->v[i]);
		s->repeats = from->repeats > s->repeats ? from->repeats : s->repeats;
		for (int k = 0; k < from->n_levels; k++)
			level_of(s, &from->levels[k]);
		buf_printf(&title, "%s%s", i ? " beside " : "", s->targets[i].name);
	}
	s->description = buf_take(&title);
	s->output.plots = xcalloc(sizeof(plots) / sizeof(plots[0]) + 1, sizeof(char *));
	for (size_t i = 0, k = 0; i < sizeof(plots) / sizeof(plots[0]); i++)
		if (is_wanted(c, plots[i]))
			s->output.plots[k++] = xstrdup(plots[i]);
}

/* ---- one list of rows ---- */

/* Points are numbered on from run to run; what belongs to other targets is left out. */
static void add_rows(struct comparison *c, int target, int first_point)
{
	const struct loaded_run *run = c->v[target].run;

	for (size_t k = 0; k < run->n_points; k++) {
		struct point *p = &c->points[c->in.n_points];

		if (run->points[k].target != c->v[target].target)
			continue;
		*p = run->points[k];
		p->target = target;
		p->id += first_point;
		p->level = level_of(&c->s, &run->scenario->levels[p->level]);
		c->in.n_points++;
	}
	for (size_t k = 0; k < run->n_records; k++) {
		struct record *r = &c->records[c->in.n_records];

		if (run->records[k].target != c->v[target].target || run->records[k].point < 0)
			continue;
		*r = run->records[k];
		r->target = target;
		r->point += first_point;
		r->level = level_of(&c->s, &run->scenario->levels[r->level]);
		c->in.n_records++;
	}
}

static void merge_rows(struct comparison *c)
{
	size_t n_records = 0, n_points = 0;
	int next = 0;

	for (int i = 0; i < c->s.n_targets; i++) {
		n_records += c->v[i].run->n_records;
		n_points += c->v[i].run->n_points;
	}
	c->records = xcalloc(n_records + 1, sizeof(*c->records));
	c->points = xcalloc(n_points + 1, sizeof(*c->points));
	for (int i = 0; i < c->s.n_targets; i++) {
		const struct loaded_run *run = c->v[i].run;
		int first = next;

		for (size_t k = 0; k < run->n_points; k++)
			if (first + run->points[k].id >= next)
				next = first + run->points[k].id + 1;
		add_rows(c, i, first);
	}
}

enum rc comparison_load(struct comparison **out, const char *const *operands, size_t n,
			const char *dir, struct err *e)
{
	struct comparison *c = xcalloc(1, sizeof(*c));
	enum rc rc = load_all(c, operands, n, e);

	*out = NULL;
	if (rc) {
		comparison_free(c);
		return rc;
	}
	merge_scenarios(c);
	merge_rows(c);
	c->in.scenario = &c->s;
	c->in.points = c->points;
	c->in.records = c->records;
	c->in.dir = dir;
	c->in.started_utc = c->runs[0]->started_utc;
	c->in.ended = c->runs[0]->ended;
	c->in.comparison = c;
	curves_init(&c->curves, &c->s, c->points, c->in.n_points);
	axis_init(&c->axis, &c->s);
	axis_drop_unmeasured(&c->axis, &c->curves);
	*out = c;
	return RC_OK;
}

void comparison_free(struct comparison *c)
{
	if (!c)
		return;
	if (c->points) {
		curves_release(&c->curves);
		axis_release(&c->axis);
	}
	for (int i = 0; c->s.targets && i < c->s.n_targets; i++)
		free(c->s.targets[i].name);
	for (char **name = c->s.output.plots; name && *name; name++)
		free(*name);
	free(c->s.output.plots);
	free(c->s.targets);
	free(c->s.levels);
	free(c->s.name);
	free(c->s.description);
	free(c->records);
	free(c->points);
	free(c->v);
	for (int i = 0; i < c->n_runs; i++)
		loaded_run_free(c->runs[i]);
	free(c->runs);
	free(c);
}
