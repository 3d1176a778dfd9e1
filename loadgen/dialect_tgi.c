/*
 * Owns text-generation-inference's own way, POST /generate_stream: an event a token, no blank
 * behind "data:", no [DONE]; the last event has `details` with the finish reason and the count.
 * Loop thread, once per event. Must not know sockets, time or records.
 */
#include <string.h>

#include "dialect_parts.h"

static bool build(const struct ask *a, struct buf *out)
{
	const struct request_opts *o = a->opts;
	struct body_writer w;

	body_begin(&w, a, out);
	body_prompt(&w, "inputs");
	if (body_open(&w, "parameters")) {
		body_int(&w, "max_new_tokens", a->output_tokens);
		body_bool(&w, "details", true); /* usage stands there */
		if (o->ignore_eos)
			body_bool(&w, "ignore_eos_token", true);
		/* 0 is refused: greedy is what it does when it is told nothing. */
		if (o->has_temperature && o->temperature > 0) {
			body_bool(&w, "do_sample", true);
			body_temperature(&w);
		}
		body_close(&w);
	}
	return body_end(&w);
}

/* {"token": {"text", "special"}, "generated_text": null, "details": null}. A special token, such as
 * the end of the text, is counted by the server and seen by nobody. A whole answer has
 * generated_text and no token. */
static enum rc read_json(const char *json, size_t len, bool is_failure, struct reading *r,
			 struct buf *text, struct err *e)
{
	const cJSON *token, *details;
	const char *piece;
	cJSON *root;

	if (reading_parse(&root, json, len, e) != RC_OK)
		return RC_PEER;
	token = member_of(root, "token");
	details = member_of(root, "details");
	piece = token ? string_of(token, "text") : string_of(root, "generated_text");
	r->is_chunk = token || member_of(root, "generated_text");
	r->has_output = *piece && !cJSON_IsTrue(member_of(token, "special"));
	r->has_token = r->has_output;
	reading_find_error(r, root, r->is_chunk, is_failure);
	reading_finish(r, string_of(details, "finish_reason"));
	count_of(details, "input_length", &r->prompt_tokens);
	count_of(details, "generated_tokens", &r->output_tokens);
	if (text && r->has_output)
		buf_puts(text, piece);
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

static const char *const optional[] = {"ignore_eos_token", NULL};

const struct dialect dialect_tgi_generate_stream = {
	.path = "/generate_stream",
	.whole_path = "/generate",
	.models_path = "/v1/models",
	.optional = optional,
	.build = build,
	.read_event = read_event,
	.read_body = read_body,
};
