/*
 * Owns OpenAI's Responses API. Events are typed; a few carry text, the last one the whole answer
 * with its usage: response.completed, .incomplete or .failed. There is no [DONE]. Loop thread, once
 * per event. Must not know sockets, time or records.
 *
 * The API has no ignore_eos: where a server takes it all the same, `extra` can say so.
 */
#include <string.h>

#include "dialect_parts.h"

static bool build(const struct ask *a, struct buf *out)
{
	struct body_writer w;

	body_begin(&w, a, out);
	body_model(&w);
	body_messages(&w, "input");
	body_int(&w, "max_output_tokens", a->output_tokens);
	body_bool(&w, "stream", a->opts->stream);
	body_temperature(&w);
	return body_end(&w);
}

/* Events whose `delta` is a piece of the answer. */
static const struct {
	const char *type;
	bool is_reasoning, is_text;
} deltas[] = {
	{"response.output_text.delta", false, true},
	{"response.refusal.delta", false, true},
	{"response.function_call_arguments.delta", false, false},
	{"response.reasoning_text.delta", true, false},
	{"response.reasoning_summary_text.delta", true, false},
};

static void read_delta(const cJSON *event, const char *type, struct reading *r, struct buf *text)
{
	for (size_t i = 0; i < sizeof(deltas) / sizeof(deltas[0]); i++) {
		if (strcmp(type, deltas[i].type) != 0)
			continue;
		r->is_chunk = true;
		r->has_token = *string_of(event, "delta") != '\0';
		r->has_output = r->has_token && !deltas[i].is_reasoning;
		if (text && deltas[i].is_text)
			buf_puts(text, string_of(event, "delta"));
	}
}

/* The parts of a whole answer: {"type": "message", "content": [{"type": "output_text", "text"}]},
 * {"type": "reasoning", ...}, {"type": "function_call", "arguments"}. */
static void read_output(const cJSON *output, struct reading *r, struct buf *text)
{
	const cJSON *item, *part;

	cJSON_ArrayForEach(item, output)
	{
		bool is_reasoning = strcmp(string_of(item, "type"), "reasoning") == 0;

		r->has_output |= *string_of(item, "arguments") != '\0';
		cJSON_ArrayForEach(part, member_of(item, "content"))
		{
			const char *s = string_of(part, "text");

			r->has_token |= *s != '\0';
			r->has_output |= *s && !is_reasoning;
			if (text && !is_reasoning)
				buf_puts(text, s);
		}
	}
	r->has_token |= r->has_output;
}

/* What a response says of itself: how it ended, and at what cost. */
static void read_state(const cJSON *response, struct reading *r)
{
	const cJSON *usage = member_of(response, "usage");
	const char *status = string_of(response, "status");
	const char *why = string_of(member_of(response, "incomplete_details"), "reason");

	if (member_of(response, "error"))
		reading_error(r, member_of(response, "error"), response);
	else if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0)
		reading_error(r, response, response);
	if (strcmp(status, "completed") == 0)
		reading_finish(r, status);
	else if (strcmp(status, "incomplete") == 0)
		reading_finish(r, *why ? why : status);
	count_of(usage, "input_tokens", &r->prompt_tokens);
	count_of(usage, "output_tokens", &r->output_tokens);
}

/* A stream's last event holds the answer again: its text has been heard by then. */
static enum rc read_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			  struct err *e)
{
	const cJSON *response;
	const char *type;
	cJSON *root;

	reading_start(r);
	r->done = event_is_done(ev); /* not OpenAI, but servers after its fashion */
	if (r->done || ev->len == 0)
		return RC_OK;
	if (reading_parse(&root, ev->data, ev->len, e) != RC_OK)
		return RC_PEER;
	type = string_of(root, "type");
	if (!*type)
		type = ev->type;
	response = member_of(root, "response");
	read_delta(root, type, r, text);
	reading_find_error(r, root, response || *type, strcmp(type, "error") == 0);
	if (strcmp(type, "error") == 0 && !r->is_error)
		reading_error(r, root, root);
	if (response)
		read_state(response, r);
	r->done = r->finish_reason[0] != '\0';
	cJSON_Delete(root);
	return RC_OK;
}

static enum rc read_body(const char *body, size_t len, struct reading *r, struct buf *text,
			 struct err *e)
{
	const cJSON *output;
	cJSON *root;

	reading_start(r);
	if (reading_parse(&root, body, len, e) != RC_OK)
		return RC_PEER;
	output = member_of(root, "output");
	r->is_chunk = cJSON_IsArray(output);
	reading_find_error(r, root, r->is_chunk, false);
	if (r->is_chunk) {
		read_output(output, r, text);
		read_state(root, r);
	}
	cJSON_Delete(root);
	return RC_OK;
}

const struct dialect dialect_openai_responses = {
	.path = "/v1/responses",
	.models_path = "/v1/models",
	.names_model = true,
	.build = build,
	.read_event = read_event,
	.read_body = read_body,
};
