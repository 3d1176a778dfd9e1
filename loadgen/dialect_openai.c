/*
 * Owns the OpenAI dialects, chat and completions. They differ in what a request looks like; one
 * reader takes the answers of both, because servers mix the forms more than the standard does. Loop
 * thread, once per event. Must not know sockets, time or records.
 *
 * Usual events and answers are read by chunk_scan(); all that it does not recognise becomes a cJSON
 * tree.
 */
#include <string.h>

#include "chunk_scan.h"
#include "dialect_parts.h"

/* ---- asking ---- */

static bool build(const struct ask *a, struct buf *out, bool chat)
{
	struct body_writer w;

	body_begin(&w, a, out);
	body_model(&w);
	if (chat)
		body_messages(&w, "messages", 0);
	else
		body_prompt(&w, "prompt");
	body_int(&w, "max_tokens", a->output_tokens); /* chat too: vLLM and all its kin take it */
	body_bool(&w, "stream", a->opts->stream);
	if (a->opts->stream)
		body_json(&w, "stream_options", "{\"include_usage\":true}");
	if (a->opts->ignore_eos)
		body_bool(&w, "ignore_eos", true);
	body_temperature(&w);
	return body_end(&w);
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

/* An element of `choices`: {"delta": {...}} in a chat stream, {"message": {...}} in a whole chat
 * answer, {"text": ...} in completions. */
static void read_choice(const cJSON *choice, struct reading *r, struct buf *text)
{
	const cJSON *part = member_of(choice, "delta");
	bool output;

	if (!part)
		part = member_of(choice, "message");
	output = says_something(member_of(choice, "text")) ||
		 says_something(member_of(part, "content")) ||
		 says_something(member_of(part, "tool_calls"));
	r->has_output |= output;
	r->has_token |= output || says_something(member_of(part, "reasoning")) ||
			says_something(member_of(part, "reasoning_content"));
	reading_finish(r, string_of(choice, "finish_reason"));
	if (text) {
		buf_puts(text, string_of(choice, "text"));
		buf_puts(text, string_of(part, "content"));
	}
}

static enum rc read_json(const char *json, size_t len, bool is_failure, struct reading *r,
			 struct buf *text, struct err *e)
{
	const cJSON *choices, *choice, *usage;
	cJSON *root;

	if (reading_parse(&root, json, len, e) != RC_OK)
		return RC_PEER;
	choices = member_of(root, "choices");
	usage = member_of(root, "usage");
	reading_find_error(r, root, choices != NULL, is_failure);
	cJSON_ArrayForEach(choice, choices)
	{
		r->is_chunk = true;
		read_choice(choice, r, text);
	}
	count_of(usage, "prompt_tokens", &r->prompt_tokens);
	count_of(usage, "completion_tokens", &r->output_tokens);
	cJSON_Delete(root);
	return RC_OK;
}

/* No tree, where that can be. */
static bool scan_event(const struct sse_event *ev, struct chunk_shape *shape,
		       struct chunk_scan *out)
{
	if (strcmp(ev->type, "error") == 0)
		return false;
	return shape ? chunk_scan_like(shape, ev->data, ev->len, out)
		     : chunk_scan(ev->data, ev->len, out);
}

static void take_scan(const struct chunk_scan *usual, struct reading *r)
{
	reading_start(r);
	r->is_chunk = usual->has_choice;
	r->has_token = usual->has_text || usual->has_reasoning;
	r->has_output = usual->has_text;
	r->prompt_tokens = usual->prompt_tokens;
	r->output_tokens = usual->output_tokens;
	if (usual->finish)
		memcpy(r->finish_reason, usual->finish, usual->finish_len);
}

static enum rc read_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			  struct err *e)
{
	struct chunk_scan usual;

	if (!text && scan_event(ev, r->shape, &usual)) {
		take_scan(&usual, r);
		return RC_OK;
	}
	return reading_of_event(ev, r, text, e, read_json);
}

static enum rc read_body(const char *body, size_t len, struct reading *r, struct buf *text,
			 struct err *e)
{
	struct chunk_scan usual;

	if (!text && chunk_scan(body, len, &usual)) {
		take_scan(&usual, r);
		return RC_OK;
	}
	reading_start(r);
	return read_json(body, len, false, r, text, e);
}

static const char *const optional[] = {"ignore_eos", "stream_options", NULL};

const struct dialect dialect_openai_chat = {
	.path = "/v1/chat/completions",
	.models_path = "/v1/models",
	.names_model = true,
	.optional = optional,
	.build = build_chat,
	.read_event = read_event,
	.read_body = read_body,
};

const struct dialect dialect_openai_completions = {
	.path = "/v1/completions",
	.models_path = "/v1/models",
	.names_model = true,
	.batches = true,
	.optional = optional,
	.build = build_completions,
	.read_event = read_event,
	.read_body = read_body,
};
