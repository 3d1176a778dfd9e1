/*
 * Owns the meaning of `workload:` and of `request:` wherever it stands: where prompts come from,
 * how long answers are to be, what else goes into a body. Main thread, before anything is opened.
 * Must not read a prompt file.
 */
#include "scenario_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"

#define MAX_EXTRA_BYTES (1u << 20)

/* ---- how long answers are to be ---- */

static READER(read_reference)
{
	static const struct field fields[] = {
		FIELD("max", field_count, offsetof(struct workload_spec, output_cap), .min = 1,
		      .max = MAX_TOKENS, .required = true),
		{0},
	};

	((struct workload_spec *)out)->output_reference = true;
	return read_map(r, n, fields, out, e);
}

/* A number, a distribution, `reference` or {reference: {max: N}}. */
static READER(read_output_tokens)
{
	static const struct field reference_fields[] = {FIELD("reference", read_reference, 0), {0}};
	struct workload_spec *w = out;

	if (n->kind == YNODE_SCALAR && strcmp(n->text, "reference") == 0) {
		w->output_reference = true;
		return RC_OK;
	}
	if (ynode_get(n, "reference"))
		return read_map(r, n, reference_fields, w, e);
	if (n->kind == YNODE_MAP ? !ynode_get(n, "dist")
				 : !n->text || !strpbrk(n->text, "0123456789"))
		return ynode_err(n, e,
				 "want a number, a distribution such as {dist: lognormal, mean: "
				 "128, cv: 0.5}, reference, or {reference: {max: 512}}");
	return read_token_dist(r, f, n, &w->output_tokens, e);
}

/* ---- prompts ---- */

static enum rc read_list(char ***list, const struct ynode *n, const char *what, const char *example,
			 struct err *e)
{
	if (n->kind != YNODE_SEQ || !n->n)
		return ynode_err(n, e, "want a list of %ss, as in %s", what, example);
	*list = xcalloc(n->n + 1, sizeof(**list));
	for (size_t i = 0; i < n->n; i++) {
		const char *s;
		enum rc rc = ynode_str(n->child[i], &s, e);

		if (rc)
			return rc;
		if (!*s)
			return ynode_err(n->child[i], e, "got an empty %s", what);
		(*list)[i] = xstrdup(s);
	}
	return RC_OK;
}

static READER(read_text)
{
	return read_list(out, n, "prompt", "[\"Explain a mutex.\"]", e);
}

static READER(read_lora_modules)
{
	return read_list(out, n, "name", "[sql, chat]", e);
}

static const struct field prefix_fields[] = {
	FIELD("tokens", field_count, offsetof(struct workload_spec, prefix_tokens), .min = 1,
	      .max = MAX_TOKENS, .required = true),
	FIELD("groups", field_count, offsetof(struct workload_spec, prefix_groups), .min = 1,
	      .max = 1e6),
	{0},
};

static READER(read_synthetic)
{
	static const struct field fields[] = {
		FIELD("shared_prefix", field_map, 0, .fields = prefix_fields),
		FIELD("input_tokens", read_token_dist, offsetof(struct workload_spec, input_tokens),
		      .required = true),
		{0},
	};

	((struct workload_spec *)out)->synthetic = true;
	return read_map(r, n, fields, out, e);
}

/* enum prompt_format */
static const char *const format_names[] = {"auto",   "lima", "sharegpt", "mt-bench", "openai-batch",
					   "custom", "csv",  "plain",	 NULL};
static const char *const pick_names[] = {"shuffle", "sequential", NULL}; /* enum prompt_pick */

/* Only the first user turn is asked; other values come with conversations. */
static READER(read_turns)
{
	static const char *const names[] = {"first", NULL};
	int only;

	return ynode_choice(n, names, &only, e);
}

static READER(read_prompts)
{
	static const struct field fields[] = {
		FIELD("file", field_file, offsetof(struct workload_spec, file)),
		FIELD("text", read_text, offsetof(struct workload_spec, text)),
		FIELD("synthetic", read_synthetic, 0),
		FIELD("format", field_choice, offsetof(struct workload_spec, format),
		      .names = format_names),
		FIELD("pick", field_choice, offsetof(struct workload_spec, pick),
		      .names = pick_names),
		FIELD("turns", read_turns, 0),
		FIELD("limit", field_count, offsetof(struct workload_spec, limit), .min = 1,
		      .max = 1e9),
		{0},
	};
	struct workload_spec *w = out;
	enum rc rc;
	int sources;
	const char *source;

	w->from_trace = n->kind == YNODE_SCALAR && n->text && strcmp(n->text, "trace") == 0;
	if (w->from_trace)
		return RC_OK;
	rc = read_map(r, n, fields, w, e);
	sources = !!w->file + !!w->text + w->synthetic;
	source = w->text ? "text" : "synthetic";
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

static READER(read_temperature)
{
	struct request_opts *o = out;

	o->has_temperature = true;
	return ynode_num(n, f->min, f->max, &o->temperature, e);
}

static READER(read_extra)
{
	/* A body that has one of these twice asks for two things. */
	static const char *const ours[] = {"model",	  "messages",	"prompt",
					   "stream",	  "max_tokens", "max_completion_tokens",
					   "temperature", "ignore_eos"};
	struct cJSON *json;
	struct buf text;
	char **extra = out;
	enum rc rc = RC_OK;

	if (n->kind != YNODE_MAP)
		return ynode_err(n, e, "want a map: its members go into each request's body");
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		const struct ynode *child = ynode_get(n, ours[i]);

		if (child)
			return ynode_err(child, e,
					 "is set by the scenario's own keys, not in extra");
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
	FIELD("stream", field_bool, offsetof(struct request_opts, stream)),
	FIELD("ignore_eos", field_bool, offsetof(struct request_opts, ignore_eos)),
	FIELD("temperature", read_temperature, 0, .min = 0, .max = 100),
	FIELD("extra", read_extra, offsetof(struct request_opts, extra_json)),
	{0},
};

void request_opts_copy(struct request_opts *to, const struct request_opts *from)
{
	*to = *from;
	if (from->extra_json)
		to->extra_json = xstrdup(from->extra_json);
}

static READER(read_request)
{
	return read_map(r, n, request_fields, &r->request, e);
}

READER(read_workload)
{
	static const struct field fields[] = {
		FIELD("prompts", read_prompts, 0, .required = true),
		FIELD("output_tokens", read_output_tokens, 0),
		FIELD("lora_modules", read_lora_modules,
		      offsetof(struct workload_spec, lora_modules)),
		FIELD("request", read_request, 0),
		{0},
	};
	struct workload_spec *w = &((struct scenario *)out)->workload;
	enum rc rc;

	w->output_tokens =
		(struct dist){.kind = DIST_CONSTANT, .mean = 128, .min = 0, .max = HUGE_VAL};
	w->prefix_groups = 1;
	rc = read_map(r, n, fields, w, e);
	w->output_trace = w->from_trace && !ynode_get(n, "output_tokens");
	if (!rc && w->output_reference && (!w->file || w->format == PROMPTS_PLAIN))
		return ynode_err(
			ynode_get(n, "output_tokens"), e,
			"reference is the length of a prompt file's own answers, and these "
			"prompts have none");
	return rc;
}
