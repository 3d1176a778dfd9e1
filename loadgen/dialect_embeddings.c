/*
 * Owns OpenAI's embeddings: one prompt in, one vector out. Nothing is streamed and nothing
 * generated: an answer with a vector in it is good, and its prompt's tokens are all there is to
 * count. Loop thread. Must not know sockets, time or records.
 */
#include "dialect_parts.h"

static bool build(const struct ask *a, struct buf *out)
{
	struct body_writer w;

	body_begin(&w, a, out);
	body_model(&w);
	body_prompt(&w, "input");
	return body_end(&w);
}

/* {"data": [{"embedding": [numbers] or base64}], "usage": {"prompt_tokens"}} */
static enum rc read_body(const char *body, size_t len, struct reading *r, struct buf *text,
			 struct err *e)
{
	const cJSON *data, *one;
	cJSON *root;

	(void)text;
	reading_start(r);
	if (reading_parse(&root, body, len, e) != RC_OK)
		return RC_PEER;
	data = member_of(root, "data");
	reading_find_error(r, root, data != NULL, false);
	cJSON_ArrayForEach(one, data) r->is_chunk |= says_something(member_of(one, "embedding"));
	count_of(member_of(root, "usage"), "prompt_tokens", &r->prompt_tokens);
	cJSON_Delete(root);
	return RC_OK;
}

/* No server streams this; one that does sends what it would have sent whole. */
static enum rc read_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			  struct err *e)
{
	return read_body(ev->data, ev->len, r, text, e);
}

const struct dialect dialect_openai_embeddings = {
	.path = "/v1/embeddings",
	.models_path = "/v1/models",
	.names_model = true,
	.no_tokens = true,
	.build = build,
	.read_event = read_event,
	.read_body = read_body,
};
