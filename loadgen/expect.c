/*
 * Owns the grammar of `expect:` and the judging of points by it. Main thread, before and after a
 * run. Must not know how a figure comes about, nor what happens to those who miss.
 */
#include "expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "curve.h"
#include "search.h"

enum operator{ LESS, AT_MOST, MORE, AT_LEAST, EQUAL };

/* Longer signs before those they begin with. */
static const struct {
	const char *sign;
	enum operator op;
} operators[] = {{"<=", AT_MOST}, {">=", AT_LEAST}, {"<", LESS}, {">", MORE}, {"=", EQUAL}};

/* Units a column's name may end in, and how many of them a nanosecond is. */
static const struct unit {
	const char *suffix;
	double per_ns;
} units[] = {{"_ms", 1e-6}, {"_us", 1e-3}, {"_s", 1e-9}};

struct expectation {
	int target; /* -1: all */
	const struct ynode *node;
	struct point_figure figure;
	const struct unit *unit; /* of value; NULL: the column's own */
	enum operator op;
	double value;
};

struct expectations {
	const struct scenario *s;
	struct expectation *v;
	size_t n;
};

/* ---- grammar ---- */

/* The unit that a column's name ends in, or NULL: a rate per second is no duration. */
static const struct unit *unit_of(const char *column)
{
	size_t len = strlen(column);

	if (strstr(column, "_per_"))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		size_t suffix = strlen(units[i].suffix);

		if (len > suffix && strcmp(column + len - suffix, units[i].suffix) == 0)
			return &units[i];
	}
	return NULL;
}

/* "ttft_p99_ms" as it stands, or "ttft_p99" with its unit in *unit. */
static bool find_column(const char *name, struct point_figure *out, const struct unit **unit)
{
	char column[32];

	for (size_t i = 0; point_figure_at(i, column, out); i++) {
		*unit = NULL;
		if (strcmp(column, name) == 0)
			return true;
		*unit = unit_of(column);
		if (*unit && strlen(name) + strlen((*unit)->suffix) == strlen(column) &&
		    strncmp(column, name, strlen(name)) == 0)
			return true;
	}
	return false;
}

static enum rc unknown_column(const struct ynode *n, struct err *e)
{
	char names[128][32];
	const char *list[ARRAY_LEN(names) + 1] = {NULL}, *near;
	struct point_figure ignored;

	for (size_t i = 0; i < ARRAY_LEN(names) && point_figure_at(i, names[i], &ignored); i++) {
		const struct unit *unit = unit_of(names[i]);

		if (unit) /* as people write it */
			names[i][strlen(names[i]) - strlen(unit->suffix)] = '\0';
		list[i] = names[i];
	}
	near = nearest_name(n->key, list);
	return ynode_err(n, e, "no such column in points.csv%s%s%s", near ? " (did you mean " : "",
			 near ? near : "", near ? "?)" : "");
}

/* "95%" is a share; a column without its unit takes a duration. */
static enum rc read_value(const struct ynode *n, const char *text, const struct unit *unit,
			  double *out, struct err *e)
{
	size_t len = strlen(text);
	char *number = xstrdup(text);
	bool percent = len && text[len - 1] == '%';
	struct err why;
	int64_t ns = 0;
	enum rc rc;

	if (percent && !unit)
		number[len - 1] = '\0';
	rc = unit ? parse_duration(number, &ns, &why)
		  : parse_double(number, -1e18, 1e18, out, &why);
	if (rc)
		ynode_err(n, e, "%s", why.msg);
	else if (unit)
		*out = (double)ns * unit->per_ns;
	else if (percent)
		*out /= 100;
	free(number);
	return rc;
}

static enum rc read_expectation(struct expectations *x, const struct ynode *n, int target,
				struct err *e)
{
	struct expectation v = {.target = target, .node = n};
	size_t i = 0;

	if (!find_column(n->key, &v.figure, &v.unit))
		return unknown_column(n, e);
	if (n->kind != YNODE_SCALAR)
		return ynode_err(n, e, "want a threshold, as in \"< 500ms\"");
	while (i < ARRAY_LEN(operators) &&
	       strncmp(n->text, operators[i].sign, strlen(operators[i].sign)) != 0)
		i++;
	if (i == ARRAY_LEN(operators))
		return ynode_err(n, e, "got \"%.60s\", want one of < <= > >= = and a value",
				 n->text);
	v.op = operators[i].op;
	i = strlen(operators[i].sign);
	i += strspn(n->text + i, " ");
	if (read_value(n, n->text + i, v.unit, &v.value, e) != RC_OK)
		return e->rc;
	x->v = xreallocarray(x->v, x->n + 1, sizeof(*x->v));
	x->v[x->n++] = v;
	return RC_OK;
}

static enum rc read_all(struct expectations *x, const struct ynode *map, int target, struct err *e)
{
	enum rc rc = RC_OK;

	if (map && map->kind != YNODE_MAP)
		return ynode_err(map, e, "want a map, as in {ttft_p99: \"< 500ms\"}");
	for (size_t i = 0; map && i < map->n && !rc; i++)
		rc = read_expectation(x, map->child[i], target, e);
	return rc;
}

enum rc expect_new(struct expectations **out, const struct scenario *s, struct err *e)
{
	struct expectations *x = xcalloc(1, sizeof(*x));
	enum rc rc = read_all(x, s->expect, -1, e);

	*out = NULL;
	x->s = s;
	for (int i = 0; i < s->n_targets && !rc; i++)
		rc = read_all(x, s->targets[i].expect, i, e);
	if (rc)
		expect_free(x);
	else
		*out = x;
	return rc;
}

void expect_free(struct expectations *x)
{
	if (!x)
		return;
	free(x->v);
	free(x);
}

size_t expect_count(const struct expectations *x)
{
	return x->n;
}

/* ---- judging ---- */

static bool holds(const struct expectation *x, double v)
{
	switch (x->op) {
	case LESS:
		return v < x->value;
	case AT_MOST:
		return v <= x->value;
	case MORE:
		return v > x->value;
	case AT_LEAST:
		return v >= x->value;
	case EQUAL:
		return v == x->value;
	}
	return false;
}

/* By how much v misses, for the worst of several; what does not exist misses most. */
static double distance(const struct expectation *x, double v)
{
	return isnan(v) ? HUGE_VAL : fabs(v - x->value);
}

static bool is_judged(const struct scenario *s, const struct point *p)
{
	return !s->find || p->goodput_share >= s->slo.share - 1e-9;
}

static bool judge_one(const struct scenario *s, const struct expectation *x, int target,
		      const struct point *points, size_t n, char *words, size_t cap)
{
	const struct point *worst = NULL;
	size_t missed = 0, judged = 0;
	char level[32], seen[64];
	double v = NAN;

	for (size_t i = 0; i < n; i++) {
		const struct point *p = &points[i];
		double here = point_figure_value(p, x->figure);

		if (p->target != target || !is_judged(s, p))
			continue;
		judged++;
		if (holds(x, here))
			continue;
		if (!missed++ || distance(x, here) > distance(x, v)) {
			worst = p;
			v = here;
		}
	}
	if (!judged) {
		snprintf(words, cap, "%s: expected %s %s, and %s", s->targets[target].name,
			 x->node->key, x->node->text,
			 s->find ? "no load met the SLO" : "nothing was measured");
		return false;
	}
	if (!missed)
		return true;
	level_label(&s->levels[worst->level], level, sizeof(level));
	if (isnan(v))
		snprintf(seen, sizeof(seen), "there is none");
	else
		snprintf(seen, sizeof(seen), "it was %.6g%s%s", v, x->unit ? " " : "",
			 x->unit ? x->unit->suffix + 1 : "");
	snprintf(words, cap, "%s: expected %s %s, %s at %s%s", s->targets[target].name,
		 x->node->key, x->node->text, seen, level,
		 missed > 1 ? ", and it was missed elsewhere too" : "");
	return false;
}

size_t expect_judge(const struct expectations *x, const struct point *points, size_t n,
		    void (*on_missed)(void *arg, const char *words), void *arg)
{
	size_t missed = 0;
	char words[512];
	struct setting *of = x->s->search ? settings_of_points(x->s, points, n) : NULL;

	for (int target = 0; target < x->s->n_targets; target++) {
		/* a search goes through settings that nobody wants: its best one is judged */
		if (of && !search_is_best(x->s, of, target))
			continue;
		for (size_t i = 0; i < x->n; i++) {
			if (x->v[i].target >= 0 && x->v[i].target != target)
				continue;
			if (judge_one(x->s, &x->v[i], target, points, n, words, sizeof(words)))
				continue;
			missed++;
			on_missed(arg, words);
		}
	}
	free(of);
	return missed;
}
