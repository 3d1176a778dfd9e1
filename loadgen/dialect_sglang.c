/*
 * Owns SGLang's own way, POST /generate. An event holds the whole text so far and how many tokens
 * that is; what is new is the difference, which request.c takes. Servers started with
 * --stream-output send only what is new under the same names: the counts still grow, so nothing
 * depends on which it is. Loop thread, once per event. Must not know sockets, time or records.
 */
#include <string.h>

#include "dialect_parts.h"

static bool build(const struct ask *a, struct buf *out)
{
	struct body_writer w;

	body_begin(&w, a, out);
	body_prompt(&w, "text");
	if (body_open(&w, "sampling_params")) {
		body_int(&w, "max_new_tokens", a->output_tokens);
		if (a->opts->ignore_eos)
			body_bool(&w, "ignore_eos", true);
		body_temperature(&w);
		body_close(&w);
	}
	body_bool(&w, "stream", a->opts->stream);
	return body_end(&w);
}

/* null, or {"type": "stop" | "length" | "abort", ...}; an older server says just "stop". */
static void read_finish(const cJSON *reason, struct reading *r)
{
	const char *type = cJSON_IsString(reason) ? reason->valuestring : string_of(reason, "type");

	if (strcmp(type, "abort") == 0)
		reading_error(r, reason, reason);
	reading_finish(r, type);
}

static enum rc read_json(const char *json, size_t len, bool is_failure, struct reading *r,
			 struct buf *text, struct err *e)
{
	const cJSON *meta;
	cJSON *root;

	if (reading_parse(&root, json, len, e) != RC_OK)
		return RC_PEER;
	meta = member_of(root, "meta_info");
	r->is_chunk = member_of(root, "text") || meta;
	r->has_token = r->has_output = says_something(member_of(root, "text"));
	r->is_cumulative = true;
	reading_find_error(r, root, r->is_chunk, is_failure);
	read_finish(member_of(meta, "finish_reason"), r);
	count_of(meta, "prompt_tokens", &r->prompt_tokens);
	count_of(meta, "completion_tokens", &r->output_tokens);
	if (text && r->has_token) {
		buf_clear(text);
		buf_puts(text, string_of(root, "text"));
	}
	cJSON_Delete(root);
	return RC_OK;
}

static enum rc read_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			  struct err *e)
{
	return reading_of_event(ev, r, text, e, read_json);
}

static enum rc read_body(const char *body, size_t len, struct reading *r, struct buf *text,
			 struct err *e)
{
	reading_start(r);
	return read_json(body, len, false, r, text, e);
}

static const char *const optional[] = {"ignore_eos", NULL};

const struct dialect dialect_sglang_generate = {
	.path = "/generate",
	.models_path = "/v1/models",
	.optional = optional,
	.build = build,
	.read_event = read_event,
	.read_body = read_body,
};
