/*
 * Owns the meaning of `targets:`: which engines there are, how they are launched, which of them are
 * wanted. Main thread, before anything is opened. Must not read the environment: scenario_secrets.c
 * does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "dialect_names.h"
#include "scenario_read.h"

/* ---- engines to launch ---- */

static READER(read_http_path)
{
	char **path = out;
	enum rc rc = field_str(r, f, n, path, e);

	if (!rc && (**path != '/' || !is_visible(*path)))
		return ynode_err(n, e, "got \"%.100s\", want a path that begins with /", *path);
	return rc;
}

/* A path with a slash is relative to the scenario; a bare name is looked up where launch.h says. */
static READER(read_program)
{
	char **program = out, *given;
	enum rc rc = field_str(r, f, n, program, e);

	if (rc || !strchr(*program, '/'))
		return rc;
	given = *program;
	*program = path_join(r->s->folder, given);
	free(given);
	return RC_OK;
}

static struct launch_spec *launch_new(void)
{
	struct launch_spec *l = xcalloc(1, sizeof(*l));

	l->args = xcalloc(1, sizeof(*l->args));
	l->ready = xstrdup("/health");
	l->timeout_ns = 60 * NS_PER_S;
	return l;
}

static READER(read_launch)
{
	static const struct field fields[] = {
		FIELD("program", read_program, offsetof(struct launch_spec, program),
		      .required = true),
		FIELD("args", field_strings, offsetof(struct launch_spec, args)),
		FIELD("ready", read_http_path, offsetof(struct launch_spec, ready)),
		FIELD("timeout", field_duration, offsetof(struct launch_spec, timeout_ns),
		      .min = NS_PER_MS, .max = MAX_TIME_NS),
		{0},
	};
	struct target *t = out;

	t->launch = launch_new();
	return read_map(r, n, fields, t->launch, e);
}

static bool names_file(const char *profile)
{
	size_t len = strlen(profile);

	return strchr(profile, '/') || (len > 5 && strcmp(profile + len - 5, ".yaml") == 0) ||
	       (len > 4 && strcmp(profile + len - 4, ".yml") == 0);
}

/* A file, or the name of a profile that fakeengine has built in: which ones there are is for it to
 * know. */
static READER(read_profile)
{
	struct target *t = out;
	char *profile = NULL;
	enum rc rc;

	if (t->launch || t->url)
		return ynode_err(n, e, "stands beside %s, want one of them",
				 t->launch ? "launch" : "url");
	rc = field_str(r, f, n, &profile, e);
	if (!rc && names_file(profile))
		rc = field_file(r, f, n, &profile, e);
	if (rc) {
		free(profile);
		return rc;
	}
	t->profile = profile;
	return RC_OK;
}

/* Keys of the profile are not checked here: fakeengine does, and its message is shown. */
static READER(read_profile_set)
{
	struct target *t = out;
	enum rc rc = RC_OK;

	if (!ynode_get(n->parent, "profile"))
		return ynode_err(n, e, "changes a profile, and this target has none");
	if (n->kind != YNODE_MAP)
		return ynode_err(n, e, "want a map, as in {scheduler.max_num_seqs: 64}");
	for (size_t i = 0; i < n->n && !rc; i++) {
		char *value = NULL;

		rc = field_str(r, f, n->child[i], &value, e);
		if (!rc)
			strings_push(&t->profile_sets, xasprintf("%s=%s", n->child[i]->key, value));
		free(value);
	}
	return rc;
}

/* An engine of our own: over HTTP on a free port, or in process, where it has no address. */
static void place_profile(const struct scenario *s, struct target *t)
{
	if (s->clock == RUN_CLOCK_VIRTUAL) {
		t->scheme = URL_PROFILE;
		t->url = xasprintf("profile:%s", t->profile);
		t->prefix = xstrdup("");
		return;
	}
	t->launch = launch_new();
	t->launch->program = xstrdup("fakeengine");
	strings_push(&t->launch->args, xstrdup("--profile"));
	strings_push(&t->launch->args, xstrdup(t->profile));
	strings_push(&t->launch->args, xstrdup("--port"));
	strings_push(&t->launch->args, xstrdup("0"));
	for (char **set = t->profile_sets; set && *set; set++) {
		strings_push(&t->launch->args, xstrdup("--set"));
		strings_push(&t->launch->args, xstrdup(*set));
	}
}

/* ---- a target ---- */

static READER(read_dialect)
{
	static const char *const names[] = {DIALECTS(DIALECT_NAME) NULL};
	char **dialect = out;
	int i;
	enum rc rc = ynode_choice(n, names, &i, e);

	if (!rc) {
		free(*dialect);
		*dialect = xstrdup(names[i]);
	}
	return rc;
}

/* url and launch before profile, profile before set, keys before headers: later ones look at
 * earlier ones. */
static const struct field target_fields[] = {
	FIELD("name", field_str, offsetof(struct target, name), .required = true),
	FIELD("url", read_url, 0),
	FIELD("dialect", read_dialect, offsetof(struct target, dialect)),
	FIELD("model", field_str, offsetof(struct target, model)),
	FIELD("endpoint", read_http_path, offsetof(struct target, endpoint)),
	FIELD("launch", read_launch, 0),
	FIELD("profile", read_profile, 0),
	FIELD("set", read_profile_set, 0),
	FIELD("api_key_env", read_key_env, 0),
	FIELD("api_key_file", read_key_file, 0),
	FIELD("headers", read_headers, 0),
	FIELD("request", field_map, offsetof(struct target, request), .fields = request_fields),
	FIELD("row", field_str, offsetof(struct target, row)),
	FIELD("column", field_str, offsetof(struct target, column)),
	FIELD("published_tokens_per_s", field_num, offsetof(struct target, published_tokens_per_s),
	      .min = 1e-3, .max = 1e9),
	FIELD("cost_per_hour", field_num, offsetof(struct target, cost_per_hour), .min = 1e-9,
	      .max = 1e9),
	FIELD("expect", field_node, offsetof(struct target, expect)),
	{0},
};

/* A label must be one of the matrix's where there is one; without, the targets make it. */
static enum rc check_label(const struct ynode *target, const char *key, const char *label,
			   char ***list, bool listed, struct err *e)
{
	if (strings_have(*list, label))
		return RC_OK;
	if (listed)
		return ynode_err(ynode_get(target, key), e, "\"%.100s\" is not in matrix.%ss",
				 label, key);
	strings_push(list, xstrdup(label));
	return RC_OK;
}

static enum rc check_labels(struct scenario *s, const struct target *t, bool listed, struct err *e)
{
	enum rc rc;

	if (!t->row && !t->column)
		return RC_OK;
	if (!t->row || !t->column)
		return ynode_err(t->node, e, "%s is missing beside %s", t->row ? "column" : "row",
				 t->row ? "row" : "column");
	rc = check_label(t->node, "row", t->row, &s->rows, listed, e);
	if (!rc)
		rc = check_label(t->node, "column", t->column, &s->columns, listed, e);
	for (const struct target *o = s->targets; o < t && !rc; o++)
		if (o->row && strcmp(o->row, t->row) == 0 && strcmp(o->column, t->column) == 0)
			rc = ynode_err(t->node, e, "\"%.100s\" stands in the same row and column",
				       o->name);
	return rc;
}

/* Keys that need one another, and a name of its own. */
static enum rc check_target(const struct target *all, const struct target *t, struct err *e)
{
	if (!t->url && !t->launch && !t->profile)
		return ynode_err(t->node, e,
				 "url, launch or profile is missing: where is this engine?");
	for (const struct target *o = all; o < t; o++)
		if (strcmp(o->name, t->name) == 0)
			return ynode_err(ynode_get(t->node, "name"), e,
					 "\"%.100s\" is another target's name", t->name);
	return RC_OK;
}

void target_release(struct target *t)
{
	free(t->name);
	free(t->profile);
	strings_free(t->profile_sets);
	free(t->url);
	free(t->host);
	free(t->prefix);
	free(t->endpoint);
	free(t->dialect);
	free(t->model);
	if (t->api_key)
		explicit_bzero(t->api_key, strlen(t->api_key));
	free(t->api_key);
	for (int i = 0; i < t->n_headers; i++) {
		free(t->headers[i].name);
		free(t->headers[i].value);
	}
	free(t->headers);
	if (t->launch) {
		free(t->launch->program);
		strings_free(t->launch->args);
		free(t->launch->ready);
		free(t->launch);
	}
	free(t->request.extra_json);
	free(t->row);
	free(t->column);
}

static bool is_wanted(const struct opt_list *only, const char *name)
{
	for (size_t i = 0; only && i < only->n; i++)
		if (name && strcmp(only->item[i], name) == 0)
			return true;
	return !only || !only->n;
}

/* The next target into s->targets, also if it is not wanted. */
static enum rc read_target(struct reader *r, const struct ynode *n, struct err *e)
{
	struct target *t = &r->s->targets[r->s->n_targets++];
	const struct ynode *name = ynode_get(n, "name");
	bool environment = r->environment;
	enum rc rc;

	t->node = n;
	t->dialect = xstrdup("openai-chat");
	request_opts_copy(&t->request, &r->request);
	r->environment &= is_wanted(r->only, name ? name->text : NULL);
	rc = read_map(r, n, target_fields, t, e);
	r->environment = environment;
	if (!rc && r->place >= 0)
		sweep_place(r->s, r->place, t);
	if (!rc && t->profile)
		place_profile(r->s, t);
	return rc ? rc : check_target(r->s->targets, t, e);
}

/* Leaves the wanted ones, in the scenario's order. */
static enum rc choose(struct scenario *s, const struct opt_list *only, struct err *e)
{
	int kept = 0;

	for (size_t i = 0; only && i < only->n; i++) {
		bool found = false;
		char names[600];
		size_t at = 0;

		for (int k = 0; k < s->n_targets; k++) {
			found |= strcmp(s->targets[k].name, only->item[i]) == 0;
			if (at < sizeof(names))
				at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
						       k ? ", " : "", s->targets[k].name);
		}
		if (!found)
			return err_set(e, RC_INPUT, "--target %s: no such target, want %s",
				       only->item[i], names);
	}
	for (int i = 0; i < s->n_targets; i++) {
		if (is_wanted(only, s->targets[i].name))
			s->targets[kept++] = s->targets[i];
		else
			target_release(&s->targets[i]);
	}
	s->n_targets = kept;
	return RC_OK;
}

/* Under the virtual clock nothing exists but what is simulated. */
static enum rc check_clock(const struct scenario *s, struct err *e)
{
	for (int i = 0; i < s->n_targets && s->clock == RUN_CLOCK_VIRTUAL; i++)
		if (!s->targets[i].profile)
			return ynode_err(s->targets[i].node, e,
					 "\"%.100s\" is a real engine, and the clock is virtual; "
					 "give it `profile:` (`fakeengine profiles` lists them), "
					 "choose others with --target, or run it with --clock real",
					 s->targets[i].name);
	return RC_OK;
}

/* The wanted targets once more, one for each place of the sweep's grid. */
static enum rc multiply(struct reader *r, const struct ynode *n, struct err *e)
{
	struct scenario *s = r->s;
	struct target *once = s->targets;
	int n_once = s->n_targets, places = sweep_places(s);
	enum rc rc = RC_OK;

	if (!s->n_sweep)
		return RC_OK;
	if ((int64_t)n_once * places > MAX_TARGETS)
		return ynode_err(n, e, "%d targets at %d places of the sweep are more than %d",
				 n_once, places, MAX_TARGETS);
	s->targets = xcalloc((size_t)n_once * (size_t)places, sizeof(*s->targets));
	s->n_targets = 0;
	for (int i = 0; i < n_once; i++) {
		for (r->place = 0; r->place < places && !rc; r->place++)
			rc = read_target(r, once[i].node, e);
		target_release(&once[i]);
	}
	free(once);
	return rc;
}

READER(read_targets)
{
	struct scenario *s = out;
	bool listed = s->rows != NULL;
	enum rc rc = RC_OK;

	if (n->kind != YNODE_SEQ || !n->n || n->n > MAX_TARGETS)
		return ynode_err(n, e,
				 "want a list of 1 to %d targets, as in [{name: a, url: ...}]",
				 MAX_TARGETS);
	s->targets = xcalloc(n->n, sizeof(*s->targets));
	for (size_t i = 0; i < n->n && !rc; i++)
		rc = read_target(r, n->child[i], e);
	if (!rc)
		rc = choose(s, r->only, e);
	if (!rc)
		rc = check_clock(s, e);
	if (!rc)
		rc = multiply(r, n, e);
	for (int i = 0; i < s->n_targets && !rc; i++)
		rc = check_labels(s, &s->targets[i], listed, e);
	return rc;
}
