/*
 * Owns what a comparison prints and writes: the tables of ratios, the sentences, compare.json, the
 * page with the figures. Main thread. Must not know how an interval comes about.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "compare.h"
#include "compare_residual.h"
#include "report_body.h"
#include "results_parts.h"

static bool same_level(const struct comparison *c, int target, int level)
{
	return curves_at(&c->curves, 0, level)->n && curves_at(&c->curves, target, level)->n;
}

/* ---- what is laid on what ---- */

static void say_runs(struct body *b, const struct comparison *c)
{
	for (int i = 0; i < c->s.n_targets; i++) {
		const struct loaded_run *run = c->v[i].run;

		if (c->s.targets[i].table) {
			body_say(
				b, BLOCK_LINE,
				"%s: a published table of means, %s: no requests, so no counts and "
				"no percentiles.",
				c->s.targets[i].name, run->dir);
			continue;
		}
		body_say(b, strcmp(run->ended, "complete") == 0 ? BLOCK_LINE : BLOCK_WARNING,
			 "%s: %s of %s, seed %llu, started %s, %s", c->s.targets[i].name,
			 run->scenario->name, run->dir, (unsigned long long)run->scenario->seed,
			 *run->started_utc ? run->started_utc : "at an unknown time", run->ended);
	}
}

static bool same_section(const struct scenario *a, const struct scenario *b, const char *key)
{
	const struct ynode *x = ynode_get(ydoc_root(a->doc), key),
			   *y = ynode_get(ydoc_root(b->doc), key);
	struct buf one, other;
	bool same;

	if (!x || !y)
		return x == y;
	buf_init(&one, 16u << 20);
	buf_init(&other, 16u << 20);
	same = ynode_emit(&one, x) && ynode_emit(&other, y) &&
	       strcmp(buf_cstr(&one), buf_cstr(&other)) == 0;
	buf_release(&one);
	buf_release(&other);
	return same;
}

/* What else than the target differs is in the ratios too. */
static void say_differences(struct body *b, const struct comparison *c)
{
	const struct scenario *first = c->runs[0]->scenario;

	for (int i = 1; i < c->n_runs; i++) {
		const struct scenario *s = c->runs[i]->scenario;

		/* of a table nobody knows more than its rows */
		if (first->targets[0].table || s->targets[0].table)
			continue;
		if (!same_section(first, s, "workload"))
			body_say(b, BLOCK_WARNING,
				 "%s and %s sent different work (workload:): the ratios compare "
				 "that too.",
				 c->runs[0]->dir, c->runs[i]->dir);
		if (first->seed != s->seed)
			body_say(b, BLOCK_WARNING,
				 "%s and %s have different seeds: other prompts, other arrivals.",
				 c->runs[0]->dir, c->runs[i]->dir);
		if (!same_section(first, s, "slo"))
			body_say(b, BLOCK_LINE,
				 "%s had another SLO; all are judged by that of the first run that "
				 "has one.",
				 c->runs[i]->dir);
	}
}

static void say_slo(struct body *b, const struct slo *slo)
{
	const struct {
		const char *name;
		int64_t ns;
	} parts[] = {{"TTFT", slo->ttft_ns}, {"TPOT", slo->tpot_ns}, {"E2EL", slo->e2el_ns}};
	char text[128] = "";
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i].ns)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s ≤ %g ms",
					      n ? ", " : "", parts[i].name,
					      (double)parts[i].ns / 1e6);
	if (n)
		body_say(b, BLOCK_LINE, "SLO: %s, met where %g %% of the requests sent meet it.",
			 text, 100 * slo->share);
}

/* ---- ratios ---- */

static const struct {
	const char *group, *heading;
} columns[MEASURE_COUNT] = {
	[MEASURE_TPS] = {"output", "tok/s"},  [MEASURE_TTFT_P50] = {"TTFT", "p50"},
	[MEASURE_TTFT_P99] = {"TTFT", "p99"}, [MEASURE_TPOT_P50] = {"TPOT", "p50"},
	[MEASURE_E2EL_P50] = {"E2EL", "p50"},
};

struct marks {
	bool noise, few, repeats, bootstrap;
};

static void put_ratio(struct table *t, const struct contrasted *x, struct marks *m)
{
	m->repeats |= x->method == INTERVAL_REPEATS;
	m->bootstrap |= x->method == INTERVAL_BOOTSTRAP;
	if (isnan(x->v.mid)) {
		table_cell(t, "-");
	} else if (isnan(x->v.low)) {
		m->few = true;
		table_cell(t, "~%.3f", x->v.mid);
	} else {
		bool real = contrast_is_real(x, CONTRAST_RATIO);

		m->noise |= !real;
		table_cell(t, "%s%.3f [%.3f, %.3f]", real ? "" : "≈", x->v.mid, x->v.low,
			   x->v.high);
	}
}

static void ratio_table(struct body *b, const struct comparison *c, int target, struct marks *m)
{
	struct table *t;
	int shared = 0;

	for (int level = 0; level < c->s.n_levels; level++)
		shared += same_level(c, target, level);
	body_say(b, BLOCK_HEADING, "%s over %s, at equal load", c->s.targets[target].name,
		 c->s.targets[0].name);
	if (!shared) {
		body_say(b, BLOCK_LINE, "No load was put on both.");
		return;
	}
	t = body_table(b);
	table_column(t, NULL, "load", true);
	for (int k = 0; k < MEASURE_COUNT; k++)
		table_column(t, columns[k].group, columns[k].heading, false);
	for (int level = 0; level < c->s.n_levels; level++) {
		char label[32];

		if (!same_level(c, target, level))
			continue;
		level_label(&c->s.levels[level], label, sizeof(label));
		table_cell(t, "%s", label);
		for (int k = 0; k < MEASURE_COUNT; k++) {
			struct contrasted x = compare_ratio(c, 0, target, level, (enum measure)k);

			put_ratio(t, &x, m);
		}
	}
}

static void say_ratio_marks(struct body *b, const struct marks *m)
{
	if (m->repeats || m->bootstrap)
		body_say(b, BLOCK_LINE,
			 "[low, high]: 95 %% interval of the ratio, %s%s%s. Above 1 is more: good "
			 "for output, bad for a latency.",
			 m->repeats ? "by Welch's t over the repeats" : "",
			 m->repeats && m->bootstrap ? "; without repeats " : "",
			 m->bootstrap ? "by drawing the requests again (bootstrap), which does not "
					"know the noise between runs: `repeats:` does"
				      : "");
	if (m->few)
		body_say(b, BLOCK_LINE,
			 "~: too few requests for an interval of this figure (a table has none).");
	if (m->noise)
		body_say(b, BLOCK_LINE, "≈: the interval holds 1; the difference may be noise.");
}

static void say_word(void *arg, const char *words)
{
	body_say(arg, BLOCK_LINE, "%s", words);
}

static void comparison_body(struct body *b, const struct comparison *c)
{
	struct marks marks = {0};

	*b = (struct body){0};
	body_say(b, BLOCK_HEADING, "%s", c->s.description);
	say_slo(b, &c->s.slo);
	compare_verdict(c, say_word, b);
	residual_body(b, c);
	body_say(b, BLOCK_HEADING, "What is laid on what");
	say_runs(b, c);
	say_differences(b, c);
	for (int i = 1; i < c->s.n_targets; i++)
		ratio_table(b, c, i, &marks);
	say_ratio_marks(b, &marks);
	body_tables(b, &c->in);
	body_clients(b, &c->in);
}

bool compare_text(const struct comparison *c, struct buf *out)
{
	struct body b;
	bool ok;

	comparison_body(&b, c);
	ok = body_text(&b, out);
	body_release(&b);
	return ok;
}

/* ---- compare.json ---- */

static void add_targets(cJSON *root, const struct comparison *c)
{
	cJSON *list = cJSON_AddArrayToObject(root, "targets");

	for (int i = 0; i < c->s.n_targets; i++) {
		int level = capacity_level(&c->curves, &c->axis, i);
		double tps = NAN, load = NAN;
		cJSON *o = cJSON_CreateObject();

		if (level >= 0) {
			load = level_load(&c->s.levels[level]);
			tps = curve_spread(curves_at(&c->curves, i, level),
					   POINT_FIELD(output_tokens_per_s))
				      .mean;
		}
		cJSON_AddStringToObject(o, "name", c->s.targets[i].name);
		cJSON_AddStringToObject(o, "run", c->v[i].run->dir);
		cJSON_AddStringToObject(o, "ended", c->v[i].run->ended);
		json_add_number(
			o, slo_asked(&c->s.slo) ? "highest_load_within_slo" : "fastest_load", load);
		cJSON_AddBoolToObject(o, "limit_lies_beyond",
				      level >= 0 && slo_asked(&c->s.slo) &&
					      curve_capacity(&c->curves, &c->axis, i).beyond);
		json_add_number(o, "output_tokens_per_s_there", tps);
		json_add_number(o, "cost_per_million_output_tokens",
				cost_per_million(c->s.targets[i].cost_per_hour, tps));
		cJSON_AddItemToArray(list, o);
	}
}

static void add_ratios(cJSON *root, const struct comparison *c)
{
	cJSON *list = cJSON_AddArrayToObject(root, "ratios");

	for (int i = 1; i < c->s.n_targets; i++) {
		for (int level = 0; level < c->s.n_levels; level++) {
			for (int k = 0; k < MEASURE_COUNT && same_level(c, i, level); k++) {
				struct contrasted x =
					compare_ratio(c, 0, i, level, (enum measure)k);
				cJSON *o = cJSON_CreateObject();
				char label[32];

				level_label(&c->s.levels[level], label, sizeof(label));
				cJSON_AddStringToObject(o, "target", c->s.targets[i].name);
				cJSON_AddStringToObject(o, "over", c->s.targets[0].name);
				cJSON_AddStringToObject(o, "level", label);
				json_add_number(o, "load", level_load(&c->s.levels[level]));
				cJSON_AddStringToObject(o, "measure",
							measure_name((enum measure)k));
				json_add_number(o, "ratio", x.v.mid);
				json_add_number(o, "low", x.v.low);
				json_add_number(o, "high", x.v.high);
				cJSON_AddStringToObject(o, "interval",
							interval_method_name(x.method));
				cJSON_AddItemToArray(list, o);
			}
		}
	}
}

static void add_sentence(void *arg, const char *words)
{
	cJSON_AddItemToArray(arg, cJSON_CreateString(words));
}

static enum rc write_json(const struct comparison *c, struct err *e)
{
	char *path = xasprintf("%s/compare.json", c->in.dir);
	cJSON *root = cJSON_CreateObject();
	struct buf text;
	enum rc rc;

	buf_init(&text, 64u << 20);
	cJSON_AddNumberToObject(root, "format", 1);
	cJSON_AddStringToObject(root, "baseline", c->s.targets[0].name);
	add_targets(root, c);
	add_ratios(root, c);
	residual_json(root, c);
	compare_verdict(c, add_sentence, cJSON_AddArrayToObject(root, "verdict"));
	CHECK(json_print(&text, root, true) && buf_putc(&text, '\n'));
	rc = file_replace(path, &text, e);
	cJSON_Delete(root);
	buf_release(&text);
	free(path);
	return rc;
}

enum rc compare_write(const struct comparison *c, bool plots, struct buf *note, struct err *e)
{
	struct body b;
	enum rc rc = RC_OK;

	if (mkdir(c->in.dir, 0777) != 0 && errno != EEXIST)
		return err_set(e, RC_IO, "%s: %s", c->in.dir, strerror(errno));
	if (plots)
		rc = report_plots(&c->in, note, e);
	if (!rc)
		rc = write_json(c, e);
	if (rc)
		return rc;
	comparison_body(&b, c);
	rc = body_html(&b, &c->in, e);
	body_release(&b);
	return rc;
}
