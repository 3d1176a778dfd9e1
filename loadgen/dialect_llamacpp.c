/*
 * Owns llama.cpp's own way, POST /completion: every event says how many tokens there are so far,
 * the last one has "stop": true, why, and `timings`; there is no [DONE]. Loop thread, once per
 * event. Must not know sockets, time or records.
 */
#include <string.h>

#include "dialect_parts.h"

static bool build(const struct ask *a, struct buf *out)
{
	struct body_writer w;

	body_begin(&w, a, out);
	body_prompt(&w, "prompt");
	body_int(&w, "n_predict", a->output_tokens);
	body_bool(&w, "stream", a->opts->stream);
	if (a->opts->ignore_eos)
		body_bool(&w, "ignore_eos", true);
	body_temperature(&w);
	return body_end(&w);
}

/* tokens_predicted and tokens_evaluated are the usage. `timings` has the same counts, for servers
 * that leave them out at the top: cache_n tokens of the prompt were known, prompt_n were not. */
static void read_counts(const cJSON *root, struct reading *r)
{
	const cJSON *timings = member_of(root, "timings");
	int64_t cached = 0, evaluated = -1;

	count_of(timings, "cache_n", &cached);
	count_of(timings, "prompt_n", &evaluated);
	if (evaluated >= 0)
		r->prompt_tokens = cached + evaluated;
	count_of(timings, "predicted_n", &r->output_tokens);
	count_of(root, "tokens_evaluated", &r->prompt_tokens);
	count_of(root, "tokens_predicted", &r->output_tokens);
}

static enum rc read_json(const char *json, size_t len, bool is_failure, struct reading *r,
			 struct buf *text, struct err *e)
{
	const char *why;
	cJSON *root;

	if (reading_parse(&root, json, len, e) != RC_OK)
		return RC_PEER;
	r->is_chunk = member_of(root, "content") != NULL;
	r->has_token = r->has_output = *string_of(root, "content") != '\0';
	reading_find_error(r, root, r->is_chunk, is_failure);
	if (r->is_chunk)
		read_counts(root, r);
	if (r->is_chunk && cJSON_IsTrue(member_of(root, "stop"))) {
		why = string_of(root, "stop_type");
		reading_finish(r, *why ? why : "stop");
		r->done = true;
	}
	if (text)
		buf_puts(text, string_of(root, "content"));
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

const struct dialect dialect_llamacpp_completion = {
	.path = "/completion",
	.models_path = "/v1/models",
	.optional = optional,
	.build = build,
	.read_event = read_event,
	.read_body = read_body,
};
