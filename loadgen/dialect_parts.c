/*
 * Owns what the dialects have in common: the writing of a JSON body around what the user wants in
 * it, and the many shapes of an error. Loop thread. Must not know any one dialect.
 */
#include "dialect_parts.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "record.h"

/* ---- asking ---- */

static void write_text(struct body_writer *w, const char *s)
{
	w->ok = w->ok && buf_puts(w->out, s);
}

static void write_comma(struct body_writer *w)
{
	if (w->ok && buf_head(w->out)[buf_size(w->out) - 1] != '{')
		write_text(w, ",");
}

static bool is_left_out(const struct ask *a, const char *key)
{
	for (const char *const *k = a->left_out; k && *k; k++)
		if (strcmp(*k, key) == 0)
			return true;
	return false;
}

/* ,"key": or nothing, and false. */
static bool begin_member(struct body_writer *w, const char *key)
{
	const cJSON *users = w->in_nested ? w->nested : w->extra;

	if (is_left_out(w->ask, key) || (users && cJSON_GetObjectItemCaseSensitive(users, key)))
		return false;
	write_comma(w);
	w->ok = w->ok && buf_printf(w->out, "\"%s\":", key);
	return w->ok;
}

/* What the user has put into an object, behind ours. */
static void write_members(struct body_writer *w, const cJSON *o)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, o)
	{
		write_comma(w);
		w->ok = w->ok && json_quote(w->out, one->string) && buf_putc(w->out, ':') &&
			json_print(w->out, one, false);
	}
}

/* As they stand, where that can be: the text between the braces of extra_json. */
static void write_extra(struct body_writer *w)
{
	const char *text = w->ask->opts->extra_json, *from, *to;

	if (!w->extra || !w->extra->child)
		return;
	if (w->took_nested) {
		write_members(w, w->extra);
		return;
	}
	from = strchr(text, '{') + 1;
	to = strrchr(text, '}');
	write_comma(w);
	w->ok = w->ok && buf_append(w->out, from, (size_t)(to - from));
}

void body_begin(struct body_writer *w, const struct ask *a, struct buf *out)
{
	const char *extra = a->opts->extra_json;

	*w = (struct body_writer){.out = out, .ask = a, .ok = true};
	if (extra) /* the scenario made it from a mapping */
		CHECK(json_parse(&w->extra, extra, strlen(extra), NULL) == RC_OK &&
		      cJSON_IsObject(w->extra));
	write_text(w, "{");
}

bool body_end(struct body_writer *w)
{
	write_extra(w);
	write_text(w, "}");
	cJSON_Delete(w->extra);
	w->extra = NULL;
	return w->ok;
}

bool body_open(struct body_writer *w, const char *key)
{
	const cJSON *users = w->extra ? cJSON_GetObjectItemCaseSensitive(w->extra, key) : NULL;

	DCHECK(!w->in_nested);
	if (users && !cJSON_IsObject(users))
		return false;
	if (users) {
		w->nested = cJSON_DetachItemFromObjectCaseSensitive(w->extra, key);
		w->took_nested = true;
	}
	if (begin_member(w, key))
		write_text(w, "{");
	w->in_nested = true;
	return true;
}

void body_close(struct body_writer *w)
{
	write_members(w, w->nested);
	write_text(w, "}");
	cJSON_Delete(w->nested);
	w->nested = NULL;
	w->in_nested = false;
}

void body_string(struct body_writer *w, const char *key, const char *s, size_t len)
{
	if (begin_member(w, key))
		w->ok = buf_putc(w->out, '"') && json_escape(w->out, s, len) &&
			buf_putc(w->out, '"');
}

void body_int(struct body_writer *w, const char *key, int64_t v)
{
	if (begin_member(w, key))
		w->ok = buf_printf(w->out, "%lld", (long long)v);
}

void body_json(struct body_writer *w, const char *key, const char *json)
{
	if (begin_member(w, key))
		write_text(w, json);
}

void body_bool(struct body_writer *w, const char *key, bool v)
{
	body_json(w, key, v ? "true" : "false");
}

void body_model(struct body_writer *w)
{
	body_string(w, "model", w->ask->model, strlen(w->ask->model));
}

/* What was said before, as text in front. */
static void write_prompt(struct body_writer *w)
{
	const struct ask *a = w->ask;

	write_text(w, "\"");
	for (size_t i = 0; i < a->n_before; i++) {
		w->ok = w->ok && json_escape(w->out, a->before[i].text, a->before[i].len);
		write_text(w, "\\n\\n");
	}
	w->ok = w->ok && json_escape(w->out, a->prompt, a->prompt_len);
	write_text(w, "\"");
}

void body_prompt(struct body_writer *w, const char *key)
{
	const struct ask *a = w->ask;

	if (!begin_member(w, key))
		return;
	if (a->n_also)
		write_text(w, "[");
	write_prompt(w);
	for (size_t i = 0; i < a->n_also; i++) {
		write_text(w, ",\"");
		w->ok = w->ok && json_escape(w->out, a->also[i].text, a->also[i].len);
		write_text(w, "\"");
	}
	if (a->n_also)
		write_text(w, "]");
}

static void write_message(struct body_writer *w, const char *role, const char *text, size_t len)
{
	w->ok = w->ok && buf_printf(w->out, "{\"role\":\"%s\",\"content\":\"", role) &&
		json_escape(w->out, text, len) && buf_puts(w->out, "\"}");
}

void body_messages(struct body_writer *w, const char *key, size_t from)
{
	const struct ask *a = w->ask;

	if (!begin_member(w, key))
		return;
	write_text(w, "[");
	for (size_t i = from; i < a->n_before; i++) {
		write_message(w, a->before[i].role, a->before[i].text, a->before[i].len);
		write_text(w, ",");
	}
	write_message(w, "user", a->prompt, a->prompt_len);
	write_text(w, "]");
}

void body_temperature(struct body_writer *w)
{
	const struct request_opts *o = w->ask->opts;

	if (o->has_temperature && begin_member(w, "temperature"))
		w->ok = buf_printf(w->out, "%.15g", o->temperature);
}

/* ---- reading ---- */

void reading_start(struct reading *r)
{
	r->prompt_tokens = r->output_tokens = -1;
}

bool event_is_done(const struct sse_event *ev)
{
	size_t len = ev->len;

	while (len > 0 && ev->data[len - 1] == ' ')
		len--;
	return len == 6 && memcmp(ev->data, "[DONE]", 6) == 0;
}

enum rc reading_parse(cJSON **root, const char *json, size_t len, struct err *e)
{
	bool is_null;

	*root = NULL;
	if (json_parse(root, json, len, e) != RC_OK)
		return err_set(e, RC_PEER, "not JSON: %s", e ? e->msg : "");
	if (cJSON_IsObject(*root))
		return RC_OK;
	is_null = cJSON_IsNull(*root);
	cJSON_Delete(*root);
	*root = NULL;
	return is_null ? RC_OK : err_set(e, RC_PEER, "JSON, but not an object");
}

enum rc reading_of_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			 struct err *e,
			 enum rc (*read)(const char *json, size_t len, bool is_failure,
					 struct reading *r, struct buf *text, struct err *e))
{
	reading_start(r);
	r->done = event_is_done(ev);
	if (r->done || ev->len == 0)
		return RC_OK;
	return read(ev->data, ev->len, strcmp(ev->type, "error") == 0, r, text, e);
}

const cJSON *member_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNull(v) ? NULL : v;
}

const char *string_of(const cJSON *o, const char *key)
{
	const cJSON *v = member_of(o, key);

	return cJSON_IsString(v) ? v->valuestring : "";
}

bool says_something(const cJSON *v)
{
	return cJSON_IsString(v) ? v->valuestring[0] != '\0' : v && v->child;
}

void count_of(const cJSON *o, const char *key, int64_t *out)
{
	json_get_int(o, "", key, 0, INT32_MAX, out, NULL);
}

void reading_finish(struct reading *r, const char *reason)
{
	if (!r->finish_reason[0])
		snprintf(r->finish_reason, sizeof(r->finish_reason), "%s", reason);
}

void reading_error(struct reading *r, const cJSON *error, const cJSON *root)
{
	const cJSON *code = member_of(cJSON_IsObject(error) ? error : root, "code");
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
	if (!*message && !*type)
		message = json_print(&json, error, false) ? buf_cstr(&json)
							  : "an error too long to be told";
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

void reading_find_error(struct reading *r, const cJSON *root, bool has_answer, bool is_failure)
{
	if (member_of(root, "error"))
		reading_error(r, member_of(root, "error"), root);
	else if (!has_answer && member_of(root, "detail"))
		reading_error(r, member_of(root, "detail"), root);
	else if (!has_answer && (is_failure || member_of(root, "message")))
		reading_error(r, root, root); /* an older vLLM, SGLang, gateways */
}
