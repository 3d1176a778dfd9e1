/*
 * Owns the scenario as a whole: its top-level keys and their defaults, --set, and what must fit
 * together across sections. What a target, a workload and a load are is read in scenario_targets.c,
 * scenario_workload.c and scenario_load.c. Main thread, before anything is opened. Must not know
 * how any of it is carried out.
 */
#include "scenario.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "dialect.h"
#include "scenario_read.h"

#define MAX_POINTS  1000000
#define MAX_WORKERS 64

static const struct field warmup_fields[] = {
	FIELD("requests", field_count, offsetof(struct scenario, warmup_requests), .min = 0,
	      .max = 1000),
	{0},
};

static const struct field slo_fields[] = {
	FIELD("ttft", field_duration, offsetof(struct slo, ttft_ns), .min = 1, .max = MAX_TIME_NS),
	FIELD("tpot", field_duration, offsetof(struct slo, tpot_ns), .min = 1, .max = MAX_TIME_NS),
	FIELD("e2el", field_duration, offsetof(struct slo, e2el_ns), .min = 1, .max = MAX_TIME_NS),
	FIELD("share", field_num, offsetof(struct slo, share), .min = 0.01, .max = 1),
	{0},
};

static const struct field limits_fields[] = {
	FIELD("connect", field_duration, offsetof(struct limits, connect_ns), .min = NS_PER_MS,
	      .max = MAX_TIME_NS),
	FIELD("timeout", field_duration, offsetof(struct limits, timeout_ns), .min = NS_PER_MS,
	      .max = MAX_TIME_NS),
	FIELD("idle", field_duration, offsetof(struct limits, idle_ns), .min = NS_PER_MS,
	      .max = MAX_TIME_NS),
	FIELD("grace", field_duration, offsetof(struct limits, grace_ns), .min = 0,
	      .max = MAX_TIME_NS),
	FIELD("max_failures", field_count, offsetof(struct limits, max_failures), .min = 0,
	      .max = 1e15),
	{0},
};

static READER(field_scrape)
{
	int64_t *ns = out;
	enum rc rc = field_duration(r, f, n, ns, e);

	if (!rc && *ns > 0 && *ns < 10 * NS_PER_MS)
		return ynode_err(n, e, "got %s, want 10 ms or more, or 0 for no scraping", n->text);
	return rc;
}

/* Those of plots/: a name that no figure has must not be found out when the run is over. */
static READER(field_figures)
{
	static const char *const names[] = {"throughput", "latency", "cdf",	"timeline",
					    "goodput",	  "server",  "heatmap", NULL};
	enum rc rc = field_strings(r, f, n, out, e);
	int which;

	for (size_t i = 0; i < n->n && !rc; i++)
		rc = ynode_choice(n->child[i], names, &which, e);
	return rc;
}

static const struct field output_fields[] = {
	FIELD("rows", field_bool, offsetof(struct output_spec, rows)),
	FIELD("events", field_bool, offsetof(struct output_spec, events)),
	FIELD("plots", field_figures, offsetof(struct output_spec, plots)),
	FIELD("scrape", field_scrape, offsetof(struct output_spec, scrape_ns), .min = 0,
	      .max = MAX_TIME_NS),
	{0},
};

/* Labels of rows or columns: some, and each once. */
static READER(field_labels)
{
	enum rc rc = field_strings(r, f, n, out, e);
	char **list = *(char ***)out;

	if (!rc && !list[0])
		return ynode_err(n, e, "got an empty list, want a label or more");
	for (size_t i = 1; !rc && list[i]; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(list[k], list[i]) == 0)
				return ynode_err(n->child[i], e, "\"%.100s\" given twice", list[i]);
	return rc;
}

static const struct field matrix_fields[] = {
	FIELD("rows", field_labels, offsetof(struct scenario, rows), .required = true),
	FIELD("columns", field_labels, offsetof(struct scenario, columns), .required = true),
	{0},
};

static const char *const clock_names[] = {"real", "virtual", NULL}; /* as enum run_clock */

/* Before the targets: clock, which says where they run; workload, whose request they start from;
 * matrix, which they refer to; sweep or find, which multiplies them. */
static const struct field scenario_fields[] = {
	FIELD("name", field_str, offsetof(struct scenario, name)),
	FIELD("description", field_text, offsetof(struct scenario, description)),
	FIELD("clock", field_choice, offsetof(struct scenario, clock), .names = clock_names),
	FIELD("seed", field_count, offsetof(struct scenario, seed), .min = 0, .max = 9e15),
	FIELD("workload", read_workload, 0, .required = true),
	FIELD("matrix", field_map, 0, .fields = matrix_fields),
	FIELD("sweep", read_sweep, 0),
	FIELD("find", read_search, 0),
	FIELD("targets", read_targets, 0, .required = true),
	FIELD("load", read_load, 0, .required = true),
	FIELD("warmup", field_map, 0, .fields = warmup_fields),
	FIELD("workers", field_int, offsetof(struct scenario, workers), .min = 1,
	      .max = MAX_WORKERS),
	FIELD("repeats", field_int, offsetof(struct scenario, repeats), .min = 1, .max = 1000),
	FIELD("slo", field_map, offsetof(struct scenario, slo), .fields = slo_fields),
	FIELD("limits", field_map, offsetof(struct scenario, limits), .fields = limits_fields),
	FIELD("output", field_map, offsetof(struct scenario, output), .fields = output_fields),
	FIELD("expect", field_node, offsetof(struct scenario, expect)),
	{0},
};

static void set_defaults(struct scenario *s)
{
	static const char *const plots[] = {"throughput", "latency", "cdf", "timeline"};

	s->description = xstrdup("");
	s->seed = 42;
	s->repeats = 1;
	s->workers = 1;
	s->slo.share = 0.9;
	s->limits = (struct limits){
		.connect_ns = 10 * NS_PER_S,
		.timeout_ns = 600 * NS_PER_S,
		.idle_ns = 60 * NS_PER_S,
		.grace_ns = 30 * NS_PER_S,
	};
	s->output.rows = s->output.events = true;
	s->output.scrape_ns = 500 * NS_PER_MS;
	for (size_t i = 0; i < sizeof(plots) / sizeof(plots[0]); i++)
		strings_push(&s->output.plots, xstrdup(plots[i]));
}

/* Folders and files are named after it. */
static enum rc check_name(const struct scenario *s, struct err *e)
{
	const struct ynode *n = ynode_get(ydoc_root(s->doc), "name");

	if (strlen(s->name) > 100 || strchr(s->name, '/') || s->name[0] == '.')
		return ynode_err(n ? n : ydoc_root(s->doc), e,
				 "got \"%.120s\", want a name of at most 100 characters without "
				 "\"/\" and without a dot in front: the results folder has it",
				 s->name);
	return RC_OK;
}

static bool no_slo(const struct slo *slo)
{
	return !slo->ttft_ns && !slo->tpot_ns && !slo->e2el_ns;
}

static enum rc check_find(const struct scenario *s, struct err *e)
{
	const struct ynode *load = ynode_get(ydoc_root(s->doc), "load");
	const struct ynode *find = ynode_get(ydoc_root(s->doc), "find");

	if (s->find && no_slo(&s->slo))
		return ynode_err(ynode_get(load, "find"), e,
				 "searches for the load that meets the SLO, and there is no slo");
	if (s->search && no_slo(&s->slo))
		return ynode_err(find, e,
				 "searches for the most requests/s that meet the SLO, and there is "
				 "no slo");
	if (s->search && s->interleave)
		return ynode_err(ynode_get(load, "interleave"), e,
				 "puts all targets under load at once, and find tries one setting "
				 "after another");
	return RC_OK;
}

static enum rc check_size(const struct scenario *s, struct err *e)
{
	int64_t points = (int64_t)s->n_targets * s->n_levels * s->repeats;

	if (points > MAX_POINTS)
		return ynode_err(ydoc_root(s->doc), e,
				 "%d targets at %d levels in %d repeats are %lld points, want at "
				 "most %d",
				 s->n_targets, s->n_levels, s->repeats, (long long)points,
				 MAX_POINTS);
	return RC_OK;
}

/* Requests as a trace has them are there for its own levels only. */
static enum rc check_trace(const struct scenario *s, struct err *e)
{
	const struct ynode *prompts =
		ynode_get(ynode_get(ydoc_root(s->doc), "workload"), "prompts");

	if (!s->workload.from_trace)
		return RC_OK;
	for (int i = 0; i < s->n_levels; i++)
		if (s->levels[i].arrival != ARRIVAL_TRACE)
			return ynode_err(prompts, e,
					 "trace takes its lengths from load.open.trace, which has "
					 "to be the only load");
	return RC_OK;
}

static enum rc check_sessions(const struct scenario *s, struct err *e)
{
	const struct ynode *load = ynode_get(ydoc_root(s->doc), "load");

	for (int i = 0; i < s->n_levels; i++)
		if (s->levels[i].kind == LOAD_SESSIONS && s->levels[i].turns == 0 &&
		    s->workload.synthetic)
			return ynode_err(load, e,
					 "sessions of synthetic prompts have no end of their own, "
					 "want turns: N");
	return RC_OK;
}

/* What some kinds of load ask of every target. */
static enum rc check_targets(const struct scenario *s, struct err *e)
{
	bool batch = false;

	for (int i = 0; i < s->n_levels; i++)
		batch |= s->levels[i].kind == LOAD_BATCH;
	if (batch && s->clock == RUN_CLOCK_VIRTUAL)
		return ynode_err(ynode_get(ydoc_root(s->doc), "load"), e,
				 "in virtual time a request has one prompt: no batch");
	for (int i = 0; i < s->n_targets; i++) {
		const struct target *t = &s->targets[i];

		if (batch && !dialect_find(t->dialect)->batches)
			return ynode_err(t->node, e,
					 "load.batch puts many prompts into one request, which %s "
					 "cannot carry; want dialect: openai-completions",
					 t->dialect);
		if (s->cancel.share > 0 && !t->request.stream)
			return ynode_err(t->node, e,
					 "load.cancel counts tokens as they come, and this target "
					 "does not stream");
	}
	return RC_OK;
}

/* What needs to see all requests at once has one worker; nor may any be without work. */
static enum rc check_workers(const struct scenario *s, struct err *e)
{
	const struct ynode *n = ynode_get(ydoc_root(s->doc), "workers");
	int most = 0;

	if (s->workers == 1)
		return RC_OK;
	if (s->clock == RUN_CLOCK_VIRTUAL)
		return ynode_err(n, e, "virtual time has one process, want 1 (or clock: real)");
	if (s->stop_when.ttft_ns || s->stop_when.waiting)
		return ynode_err(n, e, "load.stop_when watches all answers in one process, want 1");
	for (int i = 0; i < s->n_levels; i++) {
		const struct level *l = &s->levels[i];
		int has_work_for = l->kind == LOAD_OPEN ? s->workers : l->concurrency;

		if (l->kind == LOAD_OPEN && l->concurrency)
			return ynode_err(n, e,
					 "load.open.max_concurrency counts what is in flight in "
					 "one process, want 1");
		most = has_work_for > most ? has_work_for : most;
	}
	if (s->workers > most)
		return ynode_err(n, e, "no level has so many clients to share out, want at most %d",
				 most);
	return RC_OK;
}

/* Figures that points alone can draw. */
static bool drawn_from_points(const char *plot)
{
	return strcmp(plot, "cdf") != 0 && strcmp(plot, "timeline") != 0;
}

/* What was measured once is kept row by row; only what can be simulated again may go without. */
static enum rc check_rows(struct scenario *s, struct err *e)
{
	const struct ynode *output = ynode_get(ydoc_root(s->doc), "output");
	const struct ynode *events = ynode_get(output, "events"),
			   *plots = ynode_get(output, "plots");
	size_t n = 0;

	if (s->output.rows)
		return RC_OK;
	if (s->clock != RUN_CLOCK_VIRTUAL)
		return ynode_err(ynode_get(output, "rows"), e,
				 "what is measured is kept: want true, or clock: virtual");
	if (events && s->output.events)
		return ynode_err(events, e, "events belong to rows, and there are none");
	s->output.events = false;
	for (size_t i = 0; s->output.plots[i]; i++) {
		char *plot = s->output.plots[i];

		if (drawn_from_points(plot)) {
			s->output.plots[n++] = plot;
			continue;
		}
		if (plots)
			return ynode_err(plots, e, "%s is drawn from rows, and there are none",
					 plot);
		free(plot);
	}
	s->output.plots[n] = NULL;
	return RC_OK;
}

static enum rc apply_sets(struct ydoc *doc, const struct opt_list *sets, struct err *e)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; sets && i < sets->n && !rc; i++) {
		char *assignment = NULL, *origin;

		rc = load_set_path(doc, sets->item[i], &assignment, e);
		if (rc)
			return rc;
		origin = xasprintf("--set %.*s", (int)strcspn(assignment, "="), assignment);
		rc = ydoc_set(doc, assignment, origin, e);
		free(origin);
		free(assignment);
	}
	return rc;
}

/* "scenarios/demo.yaml" -> "demo" */
static char *stem(const char *path)
{
	char *copy = xstrdup(path), *base = basename(copy), *dot = strrchr(base, '.');
	char *out = dot && dot != base ? xstrndup(base, (size_t)(dot - base)) : xstrdup(base);

	free(copy);
	return out;
}

static enum rc folder_of(const char *path, char **out, struct err *e)
{
	char *copy = xstrdup(path), *real = realpath(dirname(copy), NULL);

	free(copy);
	if (!real)
		return err_set(e, RC_IO, "%s: its folder cannot be reached", path);
	*out = real;
	return RC_OK;
}

/* Takes doc. archived: see scenario_load_archived(). */
static enum rc build(struct scenario **out, struct ydoc *doc, const char *path,
		     const struct opt_list *sets, const struct opt_list *only, bool archived,
		     struct err *e)
{
	struct scenario *s = xcalloc(1, sizeof(*s));
	struct reader r = {
		.s = s,
		.only = only,
		.files = !archived,
		.environment = !archived,
		.place = -1,
		.request = {.stream = true, .ignore_eos = true},
	};
	enum rc rc;

	*out = NULL;
	s->doc = doc;
	s->path = xstrdup(path);
	s->name = stem(path);
	set_defaults(s);
	rc = folder_of(path, &s->folder, e);
	if (!rc)
		rc = apply_sets(doc, sets, e);
	if (!rc)
		rc = read_map(&r, ydoc_root(doc), scenario_fields, s, e);
	if (!rc)
		rc = check_name(s, e);
	if (!rc)
		rc = check_size(s, e);
	if (!rc)
		rc = check_trace(s, e);
	if (!rc)
		rc = check_sessions(s, e);
	if (!rc)
		rc = check_targets(s, e);
	if (!rc)
		rc = check_find(s, e);
	if (!rc)
		rc = check_workers(s, e);
	if (!rc)
		rc = check_rows(s, e);
	free(r.request.extra_json);
	if (rc)
		scenario_free(s);
	else
		*out = s;
	return rc;
}

enum rc scenario_load(struct scenario **out, const char *path, const struct opt_list *sets,
		      const struct opt_list *only, struct err *e)
{
	struct ydoc *doc;
	enum rc rc = yaml_load(&doc, path, e);

	*out = NULL;
	return rc ? rc : build(out, doc, path, sets, only, false, e);
}

enum rc scenario_parse(struct scenario **out, const char *name, const char *text, size_t len,
		       const struct opt_list *sets, const struct opt_list *only, struct err *e)
{
	struct ydoc *doc;
	enum rc rc = yaml_parse(&doc, name, text, len, e);

	*out = NULL;
	return rc ? rc : build(out, doc, name, sets, only, false, e);
}

enum rc scenario_load_archived(struct scenario **out, const char *path, struct err *e)
{
	struct ydoc *doc;
	enum rc rc = yaml_load(&doc, path, e);

	*out = NULL;
	return rc ? rc : build(out, doc, path, NULL, NULL, true, e);
}

void scenario_free(struct scenario *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->n_targets; i++)
		target_release(&s->targets[i]);
	free(s->targets);
	sweep_release(s);
	free(s->levels);
	free(s->path);
	free(s->folder);
	free(s->name);
	free(s->description);
	free(s->trace_file);
	free(s->workload.file);
	strings_free(s->workload.text);
	strings_free(s->workload.lora_modules);
	strings_free(s->output.plots);
	strings_free(s->rows);
	strings_free(s->columns);
	ydoc_free(s->doc);
	free(s);
}
