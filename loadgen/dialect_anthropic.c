/*
 * Owns Anthropic's Messages API. Events are typed: message_start has the prompt's usage,
 * content_block_delta a piece, message_delta the stop reason and the usage, message_stop ends it.
 * Loop thread, once per event. Must not know sockets, time or records.
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
	body_messages(&w, "messages");
	body_int(&w, "max_tokens", a->output_tokens);
	body_bool(&w, "stream", a->opts->stream);
	body_temperature(&w);
	return body_end(&w);
}

/* What was read from the cache or put there is not in input_tokens, and yet is prompt. */
static void read_prompt_usage(const cJSON *usage, struct reading *r)
{
	int64_t fresh = -1, cached = 0, created = 0;

	count_of(usage, "input_tokens", &fresh);
	count_of(usage, "cache_read_input_tokens", &cached);
	count_of(usage, "cache_creation_input_tokens", &created);
	if (fresh >= 0)
		r->prompt_tokens = fresh + cached + created;
}

/* A block, or the delta of one: {"text"}, {"thinking"}, {"partial_json"}. A tool's input comes
 * whole as {"input": {...}} where nothing is streamed. */
static void read_piece(const cJSON *piece, struct reading *r, struct buf *text)
{
	bool output = *string_of(piece, "text") || *string_of(piece, "partial_json") ||
		      says_something(member_of(piece, "input"));

	r->is_chunk = true;
	r->has_output |= output;
	r->has_token |= output || *string_of(piece, "thinking");
	if (text)
		buf_puts(text, string_of(piece, "text"));
}

static void read_typed(const cJSON *root, const char *type, struct reading *r, struct buf *text)
{
	const cJSON *usage = member_of(root, "usage");

	if (strcmp(type, "content_block_delta") == 0) {
		read_piece(member_of(root, "delta"), r, text);
	} else if (strcmp(type, "content_block_start") == 0) {
		read_piece(member_of(root, "content_block"), r, text);
	} else if (strcmp(type, "message_start") == 0) {
		/* Its output_tokens is a guess at what is to come: not usage yet. */
		read_prompt_usage(member_of(member_of(root, "message"), "usage"), r);
	} else if (strcmp(type, "message_delta") == 0) {
		reading_finish(r, string_of(member_of(root, "delta"), "stop_reason"));
		read_prompt_usage(usage, r);
		count_of(usage, "output_tokens", &r->output_tokens);
	} else if (strcmp(type, "message_stop") == 0) {
		r->done = true;
	}
}

static enum rc read_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			  struct err *e)
{
	const char *type;
	cJSON *root;

	reading_start(r);
	r->done = event_is_done(ev); /* not Anthropic, but servers after its fashion */
	if (r->done || ev->len == 0)
		return RC_OK;
	if (reading_parse(&root, ev->data, ev->len, e) != RC_OK)
		return RC_PEER;
	type = string_of(root, "type");
	if (!*type)
		type = ev->type;
	reading_find_error(r, root, *type != '\0', strcmp(type, "error") == 0);
	read_typed(root, type, r, text);
	cJSON_Delete(root);
	return RC_OK;
}

static enum rc read_body(const char *body, size_t len, struct reading *r, struct buf *text,
			 struct err *e)
{
	const cJSON *content, *block;
	cJSON *root;

	reading_start(r);
	if (reading_parse(&root, body, len, e) != RC_OK)
		return RC_PEER;
	content = member_of(root, "content");
	reading_find_error(r, root, content != NULL, false);
	cJSON_ArrayForEach(block, content) read_piece(block, r, text);
	if (content) {
		r->is_chunk = true;
		reading_finish(r, string_of(root, "stop_reason"));
		read_prompt_usage(member_of(root, "usage"), r);
		count_of(member_of(root, "usage"), "output_tokens", &r->output_tokens);
	}
	cJSON_Delete(root);
	return RC_OK;
}

const struct dialect dialect_anthropic_messages = {
	.path = "/v1/messages",
	.models_path = "/v1/models",
	.names_model = true,
	.key_header = "x-api-key",
	.key_scheme = "",
	.headers = "anthropic-version: 2023-06-01\r\n",
	.build = build,
	.read_event = read_event,
	.read_body = read_body,
};
