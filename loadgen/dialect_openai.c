/*
 * Owns the OpenAI dialects, chat and completions. They differ in what a request looks like; one
 * reader takes the answers of both, because servers mix the forms more than the standard does. Loop
 * thread, once per event. Must not know sockets, time or records.
 *
 * Usual events are read by chunk_scan(); all that it does not recognise becomes a cJSON tree.
 */
#include "dialect.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/jsonx.h"
#include "chunk_scan.h"
#include "record.h"

/* ---- asking ---- */

/* One body in the making. Members that the user's `extra` has too are left to it. */
struct writing {
	struct buf *out;
	const struct request_opts *opts;
	cJSON *extra; /* or NULL */
	bool ok;
};

static void write_text(struct writing *w, const char *s)
{
	w->ok = w->ok && buf_puts(w->out, s);
}

/* ,"key": unless the user has set it; then nothing, and false. */
static bool begin_member(struct writing *w, const char *key)
{
	if (w->extra && cJSON_GetObjectItemCaseSensitive(w->extra, key))
		return false;
	w->ok = w->ok && buf_printf(w->out, "%s\"%s\":",
				    buf_head(w->out)[buf_size(w->out) - 1] == '{' ? "" : ",", key);
	return w->ok;
}

static void write_string(struct writing *w, const char *s, size_t len)
{
	w->ok = w->ok && buf_putc(w->out, '"') && json_escape(w->out, s, len) &&
		buf_putc(w->out, '"');
}

static void write_message(struct writing *w, const char *role, const char *text, size_t len)
{
	w->ok = w->ok && buf_printf(w->out, "{\"role\":\"%s\",\"content\":", role);
	write_string(w, text, len);
	write_text(w, "}");
}

static void write_messages(struct writing *w, const struct ask *a)
{
	write_text(w, "[");
	for (size_t i = 0; i < a->n_before; i++) {
		write_message(w, a->before[i].role, a->before[i].text, a->before[i].len);
		write_text(w, ",");
	}
	write_message(w, "user", a->prompt, a->prompt_len);
	write_text(w, "]");
}

static void write_prompt(struct writing *w, const struct ask *a)
{
	write_text(w, "\"");
	for (size_t i = 0; i < a->n_before; i++) {
		w->ok = w->ok && json_escape(w->out, a->before[i].text, a->before[i].len);
		write_text(w, "\\n\\n");
	}
	w->ok = w->ok && json_escape(w->out, a->prompt, a->prompt_len);
	write_text(w, "\"");
}

/* A string, or an array of them when there are several. */
static void write_prompts(struct writing *w, const struct ask *a)
{
	if (a->n_also)
		write_text(w, "[");
	write_prompt(w, a);
	for (size_t i = 0; i < a->n_also; i++) {
		write_text(w, ",");
		write_string(w, a->also[i].text, a->also[i].len);
	}
	if (a->n_also)
		write_text(w, "]");
}

static void write_options(struct writing *w, const struct ask *a)
{
	if (begin_member(w, "max_tokens")) /* chat too: vLLM and all its kin take it */
		w->ok = buf_printf(w->out, "%d", a->output_tokens);
	if (begin_member(w, "stream"))
		write_text(w, w->opts->stream ? "true" : "false");
	if (w->opts->stream && begin_member(w, "stream_options"))
		write_text(w, "{\"include_usage\":true}");
	if (w->opts->ignore_eos && begin_member(w, "ignore_eos"))
		write_text(w, "true");
	if (w->opts->has_temperature && begin_member(w, "temperature"))
		w->ok = buf_printf(w->out, "%.15g", w->opts->temperature);
}

/* The user's members as they stand: the text between the braces of extra_json. */
static void write_extra(struct writing *w)
{
	const char *text = w->opts->extra_json, *from, *to;

	if (!w->extra || !w->extra->child)
		return;
	from = strchr(text, '{') + 1;
	to = strrchr(text, '}');
	write_text(w, ",");
	w->ok = w->ok && buf_append(w->out, from, (size_t)(to - from));
}

static bool build(const struct ask *a, struct buf *out, bool chat)
{
	struct writing w = {.out = out, .opts = a->opts, .ok = true};

	if (w.opts->extra_json)
		CHECK(json_parse(&w.extra, w.opts->extra_json, strlen(w.opts->extra_json), NULL) ==
			      RC_OK &&
		      cJSON_IsObject(w.extra)); /* the scenario made it from a mapping */
	write_text(&w, "{");
	if (begin_member(&w, "model"))
		w.ok = json_quote(out, a->model);
	if (chat && begin_member(&w, "messages"))
		write_messages(&w, a);
	if (!chat && begin_member(&w, "prompt"))
		write_prompts(&w, a);
	write_options(&w, a);
	write_extra(&w);
	write_text(&w, "}");
	cJSON_Delete(w.extra);
	return w.ok;
}

static bool build_chat(const struct ask *a, struct buf *out)
{
	return build(a, out, true);
}

static bool build_completions(const struct ask *a, struct buf *out)
{
	return build(a, out, false);
}

/* ---- reading ---- */

static const cJSON *member(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNull(v) ? NULL : v;
}

static const char *string_of(const cJSON *o, const char *key)
{
	const cJSON *v = member(o, key);

	return cJSON_IsString(v) ? v->valuestring : "";
}

/* A string with characters, an array or object with members. */
static bool says_something(const cJSON *v)
{
	return cJSON_IsString(v) ? v->valuestring[0] != '\0' : v && v->child;
}

/* {"message", "type", "code"}, where each may be missing, null, a number or a text; or a text; or
 * anything at all. */
static void describe_error(struct reading *r, const cJSON *error, const cJSON *root)
{
	const cJSON *code = member(cJSON_IsObject(error) ? error : root, "code");
	const char *type = string_of(error, "type"), *message = string_of(error, "message");
	struct buf json, line;

	buf_init(&json, 4096);
	buf_init(&line, 8192);
	if (cJSON_IsString(error))
		message = error->valuestring;
	else if (!*message)
		message = string_of(root, "message");
	if (!*type)
		type = string_of(root, "error_type");
	if (!*message && !*type && json_print(&json, error, false))
		message = buf_cstr(&json);
	if (cJSON_IsNumber(code))
		buf_printf(&line, "code %.0f", code->valuedouble);
	else if (cJSON_IsString(code) && code->valuestring[0])
		buf_printf(&line, "code %s", code->valuestring);
	else
		buf_puts(&line, type);
	buf_printf(&line, "%s%s", buf_size(&line) > 0 && *message ? ": " : "", message);
	r->is_error = true;
	record_set_text(r->error, sizeof(r->error), buf_cstr(&line));
	buf_release(&line);
	buf_release(&json);
}

static void read_usage(const cJSON *root, struct reading *r)
{
	const cJSON *usage = member(root, "usage");

	/* What is not a whole number >= 0 counts as not told. */
	json_get_int(usage, "", "prompt_tokens", 0, INT32_MAX, &r->prompt_tokens, NULL);
	json_get_int(usage, "", "completion_tokens", 0, INT32_MAX, &r->output_tokens, NULL);
}

/* An element of `choices`: {"delta": {...}} in a chat stream, {"message": {...}} in a whole chat
 * answer, {"text": ...} in completions. */
static void read_choice(const cJSON *choice, struct reading *r, struct buf *text)
{
	const cJSON *part = member(choice, "delta");
	const char *finish = string_of(choice, "finish_reason");
	bool output;

	if (!part)
		part = member(choice, "message");
	output = says_something(member(choice, "text")) ||
		 says_something(member(part, "content")) ||
		 says_something(member(part, "tool_calls"));
	r->has_output |= output;
	r->has_token |= output || says_something(member(part, "reasoning")) ||
			says_something(member(part, "reasoning_content"));
	if (!r->finish_reason[0])
		snprintf(r->finish_reason, sizeof(r->finish_reason), "%s", finish);
	if (text) {
		buf_puts(text, string_of(choice, "text"));
		buf_puts(text, string_of(part, "content"));
	}
}

/* is_failure: the sender called it an error (an `error` event), so any message in it is one. */
static void read_root(const cJSON *root, bool is_failure, struct reading *r, struct buf *text)
{
	const cJSON *choices = member(root, "choices"), *choice;

	if (member(root, "error")) {
		describe_error(r, member(root, "error"), root);
	} else if (!choices && member(root, "detail")) {
		describe_error(r, member(root, "detail"), root);
	} else if (!choices && (is_failure || member(root, "message"))) {
		describe_error(r, root, root); /* an older vLLM, SGLang, gateways */
	}
	cJSON_ArrayForEach(choice, choices)
	{
		r->is_chunk = true;
		read_choice(choice, r, text);
	}
	read_usage(root, r);
}

static enum rc read_json(const char *json, size_t len, bool is_failure, struct reading *r,
			 struct buf *text, struct err *e)
{
	enum rc rc = RC_OK;
	cJSON *root;

	if (json_parse(&root, json, len, e) != RC_OK)
		return err_set(e, RC_PEER, "not JSON: %s", e ? e->msg : "");
	if (cJSON_IsObject(root))
		read_root(root, is_failure, r, text);
	else if (!cJSON_IsNull(root)) /* llama-server begins some streams with a null */
		rc = err_set(e, RC_PEER, "JSON, but not an object");
	cJSON_Delete(root);
	return rc;
}

static bool is_done(const char *data, size_t len)
{
	while (len > 0 && data[len - 1] == ' ')
		len--;
	return len == 6 && memcmp(data, "[DONE]", 6) == 0;
}

static void reading_start(struct reading *r)
{
	r->prompt_tokens = r->output_tokens = -1;
}

static enum rc read_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			  struct err *e)
{
	bool is_failure = strcmp(ev->type, "error") == 0;
	struct chunk_scan usual;

	reading_start(r);
	if (!text && !is_failure && chunk_scan(ev->data, ev->len, &usual)) {
		r->is_chunk = true;
		r->has_token = usual.has_text || usual.has_reasoning;
		r->has_output = usual.has_text;
		return RC_OK;
	}
	r->done = is_done(ev->data, ev->len);
	if (r->done || ev->len == 0)
		return RC_OK;
	return read_json(ev->data, ev->len, is_failure, r, text, e);
}

static enum rc read_body(const char *body, size_t len, struct reading *r, struct buf *text,
			 struct err *e)
{
	reading_start(r);
	return read_json(body, len, false, r, text, e);
}

const struct dialect dialect_openai_chat = {
	.name = "openai-chat",
	.path = "/v1/chat/completions",
	.models_path = "/v1/models",
	.build = build_chat,
	.read_event = read_event,
	.read_body = read_body,
};

const struct dialect dialect_openai_completions = {
	.name = "openai-completions",
	.path = "/v1/completions",
	.models_path = "/v1/models",
	.batches = true,
	.build = build_completions,
	.read_event = read_event,
	.read_body = read_body,
};
