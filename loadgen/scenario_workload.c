/*
 * Owns the meaning of `workload:` and of `request:` wherever it stands: where prompts come from, how long answers are
 * to be, what else goes into a body. Main thread, before anything is opened. Must not read a prompt file.
 */
#include "scenario_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"

#define MAX_EXTRA_BYTES (1u << 20)

/* ---- token counts: a number or a distribution ---- */

struct dist_spec {
	const char *name;
	int64_t mean, min, max; /* -1: not given */
	double cv;
};

static enum rc read_dist_name(struct reader *r, const struct field *f, const struct ynode *n,
			      void *out, struct err *e)
{
	(void)r;
	(void)f;
	return ynode_str(n, out, e);
}

static enum rc read_dist(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			 struct err *e)
{
	static const struct field fields[] = {
		{"dist", read_dist_name, offsetof(struct dist_spec, name), .required = true},
		{"mean", field_count, offsetof(struct dist_spec, mean), .min = 1, .max = MAX_TOKENS},
		{"cv", field_num, offsetof(struct dist_spec, cv), .min = 0, .max = 100},
		{"min", field_count, offsetof(struct dist_spec, min), .min = 1, .max = MAX_TOKENS},
		{"max", field_count, offsetof(struct dist_spec, max), .min = 1, .max = MAX_TOKENS},
		{0},
	};
	struct dist_spec spec = {.mean = -1, .min = -1, .max = -1};
	struct dist *d = out;
	struct err why;
	enum rc rc;

	(void)f;
	*d = (struct dist){.kind = DIST_CONSTANT, .min = 0, .max = HUGE_VAL};
	if (n->kind != YNODE_MAP) {
		rc = ynode_count(n, 1, MAX_TOKENS, &spec.mean, e);
		d->mean = (double)spec.mean;
		return rc;
	}
	rc = read_map(r, n, fields, &spec, e);
	if (rc)
		return rc;
	if (dist_kind_parse(spec.name, &d->kind, &why) != RC_OK)
		return ynode_err(ynode_get(n, "dist"), e, "%s", why.msg);
	if (d->kind != DIST_UNIFORM && spec.mean < 0)
		return ynode_err(n, e, "mean is missing");
	d->mean = spec.mean > 0 ? (double)spec.mean : 0;
	d->cv = spec.cv;
	if (spec.min > 0)
		d->min = (double)spec.min;
	if (spec.max > 0)
		d->max = (double)spec.max;
	if (dist_check(d, &why) != RC_OK)
		return ynode_err(n, e, "%s", why.msg);
	/* A heavy tail could ask for more than any count holds. */
	d->max = fmin(d->max, MAX_TOKENS);
	return RC_OK;
}

static enum rc read_reference(struct reader *r, const struct field *f, const struct ynode *n,
			      void *out, struct err *e)
{
	static const struct field fields[] = {
		{"max", field_count, offsetof(struct workload_spec, output_cap), .min = 1,
		 .max = MAX_TOKENS, .required = true},
		{0},
	};

	(void)f;
	((struct workload_spec *)out)->output_reference = true;
	return read_map(r, n, fields, out, e);
}

/* A number, a distribution, `reference` or {reference: {max: N}}. */
static enum rc read_output_tokens(struct reader *r, const struct field *f, const struct ynode *n,
				  void *out, struct err *e)
{
	static const struct field reference_fields[] = {{"reference", read_reference, 0}, {0}};
	struct workload_spec *w = out;

	if (n->kind == YNODE_SCALAR && strcmp(n->text, "reference") == 0) {
		w->output_reference = true;
		return RC_OK;
	}
	if (ynode_get(n, "reference"))
		return read_map(r, n, reference_fields, w, e);
	if (n->kind == YNODE_SEQ || (n->kind == YNODE_MAP && !ynode_get(n, "dist")))
		return ynode_err(n, e,
				 "want a number, a distribution such as {dist: lognormal, mean: "
				 "128, cv: 0.5}, reference, or {reference: {max: 512}}");
	return read_dist(r, f, n, &w->output_tokens, e);
}

/* ---- prompts ---- */

static enum rc read_text(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			 struct err *e)
{
	char ***list = out;

	(void)r;
	(void)f;
	if (n->kind != YNODE_SEQ || !n->n)
		return ynode_err(n, e, "want a list of prompts, as in [\"Explain a mutex.\"]");
	*list = xcalloc(n->n + 1, sizeof(**list));
	for (size_t i = 0; i < n->n; i++) {
		const char *s;
		enum rc rc = ynode_str(n->child[i], &s, e);

		if (rc)
			return rc;
		if (!*s)
			return ynode_err(n->child[i], e, "got an empty prompt");
		(*list)[i] = xstrdup(s);
	}
	return RC_OK;
}

static enum rc read_synthetic(struct reader *r, const struct field *f, const struct ynode *n,
			      void *out, struct err *e)
{
	static const struct field fields[] = {
		{"input_tokens", read_dist, offsetof(struct workload_spec, input_tokens),
		 .required = true},
		{0},
	};

	(void)f;
	((struct workload_spec *)out)->synthetic = true;
	return read_map(r, n, fields, out, e);
}

static const char *const format_names[] = {"auto", "lima", "plain", NULL}; /* enum prompt_format */
static const char *const pick_names[] = {"shuffle", "sequential", NULL};   /* enum prompt_pick */

/* Only the first user turn is asked; other values come with conversations. */
static enum rc read_turns(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			  struct err *e)
{
	static const char *const names[] = {"first", NULL};
	int only;

	(void)r;
	(void)f;
	(void)out;
	return ynode_choice(n, names, &only, e);
}

/* A key of prompts that means nothing for the source they come from. */
static enum rc refuse_key(const struct ynode *prompts, const char *key, const char *source,
			  struct err *e)
{
	const struct ynode *n = ynode_get(prompts, key);

	return n ? ynode_err(n, e, "means nothing beside %s", source) : RC_OK;
}

static enum rc read_prompts(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	static const struct field fields[] = {
		{"file", field_file, offsetof(struct workload_spec, file)},
		{"text", read_text, offsetof(struct workload_spec, text)},
		{"synthetic", read_synthetic, 0},
		{"format", field_choice, offsetof(struct workload_spec, format),
		 .names = format_names},
		{"pick", field_choice, offsetof(struct workload_spec, pick), .names = pick_names},
		{"turns", read_turns, 0},
		{"limit", field_count, offsetof(struct workload_spec, limit), .min = 1, .max = 1e9},
		{0},
	};
	struct workload_spec *w = out;
	enum rc rc = read_map(r, n, fields, w, e);
	int sources = !!w->file + !!w->text + w->synthetic;
	const char *source = w->text ? "text" : "synthetic";

	(void)f;
	if (!rc && sources != 1)
		rc = ynode_err(n, e, "%s, want one of file, text and synthetic",
			       sources ? "got several sources" : "no source");
	if (!rc && !w->file)
		rc = refuse_key(n, "format", source, e);
	if (!rc && !w->file)
		rc = refuse_key(n, "turns", source, e);
	if (!rc && w->synthetic)
		rc = refuse_key(n, "pick", source, e);
	if (!rc && w->synthetic)
		rc = refuse_key(n, "limit", source, e);
	return rc;
}

/* ---- what else is in a body ---- */

static enum rc read_temperature(struct reader *r, const struct field *f, const struct ynode *n,
				void *out, struct err *e)
{
	struct request_opts *o = out;

	(void)r;
	o->has_temperature = true;
	return ynode_num(n, f->min, f->max, &o->temperature, e);
}

static enum rc read_extra(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			  struct err *e)
{
	/* A body that has one of these twice asks for two things. */
	static const char *const ours[] = {"model",	  "messages",	 "prompt",
					   "stream",	  "max_tokens",	 "max_completion_tokens",
					   "temperature", "ignore_eos"};
	struct cJSON *json;
	struct buf text;
	char **extra = out;
	enum rc rc = RC_OK;

	(void)r;
	(void)f;
	if (n->kind != YNODE_MAP)
		return ynode_err(n, e, "want a map: its members go into each request's body");
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		const struct ynode *child = ynode_get(n, ours[i]);

		if (child)
			return ynode_err(child, e, "is set by the scenario's own keys, not in extra");
	}
	json = ynode_to_json(n);
	buf_init(&text, MAX_EXTRA_BYTES);
	if (!json_print(&text, json, false))
		rc = ynode_err(n, e, "more than %u bytes", MAX_EXTRA_BYTES);
	cJSON_Delete(json);
	if (!rc) {
		free(*extra);
		*extra = buf_take(&text);
	}
	buf_release(&text);
	return rc;
}

const struct field request_fields[] = {
	{"stream", field_bool, offsetof(struct request_opts, stream)},
	{"ignore_eos", field_bool, offsetof(struct request_opts, ignore_eos)},
	{"temperature", read_temperature, 0, .min = 0, .max = 100},
	{"extra", read_extra, offsetof(struct request_opts, extra_json)},
	{0},
};

void request_opts_copy(struct request_opts *to, const struct request_opts *from)
{
	*to = *from;
	if (from->extra_json)
		to->extra_json = xstrdup(from->extra_json);
}

static enum rc read_request(struct reader *r, const struct field *f, const struct ynode *n,
			    void *out, struct err *e)
{
	(void)f;
	(void)out;
	return read_map(r, n, request_fields, &r->request, e);
}

enum rc read_workload(struct reader *r, const struct field *f, const struct ynode *n,
		      void *scenario, struct err *e)
{
	static const struct field fields[] = {
		{"prompts", read_prompts, 0, .required = true},
		{"output_tokens", read_output_tokens, 0},
		{"request", read_request, 0},
		{0},
	};
	struct workload_spec *w = &((struct scenario *)scenario)->workload;
	enum rc rc;

	(void)f;
	w->output_tokens =
		(struct dist){.kind = DIST_CONSTANT, .mean = 128, .min = 0, .max = HUGE_VAL};
	rc = read_map(r, n, fields, w, e);
	if (!rc && w->output_reference && (!w->file || w->format == PROMPTS_PLAIN))
		return ynode_err(ynode_get(n, "output_tokens"), e,
				 "reference is the length of a prompt file's own answers, and these "
				 "prompts have none");
	return rc;
}
