/*
 * Owns the forms a prompt comes in, and the chat template of codecs that have none. Loop thread;
 * pure. Must not know any other field.
 */
#include "api_prompt.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

#define MAX_PROMPT_BYTES (256 << 20) /* the HTTP server's cap on bodies comes first */

static struct api_prompt *add_prompt(struct api_request *q)
{
	q->prompt = xreallocarray(q->prompt, (size_t)q->n_prompts + 1, sizeof(*q->prompt));
	memset(&q->prompt[q->n_prompts], 0, sizeof(*q->prompt));
	return &q->prompt[q->n_prompts++];
}

/* said: the part of text that was said last. */
static void add_text(const struct api_terms *terms, struct api_request *q, const char *text,
		     size_t len, const char *said, size_t said_len)
{
	struct api_prompt *p = add_prompt(q);

	terms->codec->encode(terms->codec, text, len, &p->tokens);
	if (q->keep_text)
		p->text = xstrndup(text, len);
	if (terms->keep_said)
		p->said = xstrndup(said, said_len);
}

/* ---- chat ---- */

/* "messages[3].content" for messages; out has room for it. */
static const char *place(char out[64], int i, const char *what)
{
	snprintf(out, 64, "body.messages[%d]%s", i, what);
	return out;
}

/* A string, null (an assistant that only called tools), or an array of parts, of which text is all
 * we can read. */
static bool put_content(struct buf *b, const cJSON *content, int i, struct api_error *e)
{
	const cJSON *part;
	char at[64];

	if (!content || cJSON_IsNull(content))
		return true;
	if (cJSON_IsString(content)) {
		CHECK(buf_puts(b, content->valuestring));
		return true;
	}
	if (!cJSON_IsArray(content))
		return api_refuse(e, REFUSE_FORM, place(at, i, ".content"),
				  "messages[%d].content: want a string or an array of parts", i);
	cJSON_ArrayForEach(part, content)
	{
		const cJSON *type = cJSON_GetObjectItemCaseSensitive(part, "type");
		const cJSON *text = cJSON_GetObjectItemCaseSensitive(part, "text");

		if (cJSON_IsString(type) && strcmp(type->valuestring, "text") != 0)
			return api_refuse(e, REFUSE_VALUE, place(at, i, ".content"),
					  "messages[%d].content: parts of type \"%s\" cannot be "
					  "read, only \"text\"",
					  i, type->valuestring);
		if (!cJSON_IsString(type) || !cJSON_IsString(text))
			return api_refuse(e, REFUSE_FORM, place(at, i, ".content"),
					  "messages[%d].content: want parts {\"type\": \"text\", "
					  "\"text\": ...}",
					  i);
		CHECK(buf_puts(b, text->valuestring));
	}
	return true;
}

/* The messages of a request with their contents joined, and the bytes those lie in. */
struct conversation {
	struct chat_message *m;
	int32_t n;
	struct buf text;
};

static bool read_conversation(const cJSON *messages, struct conversation *c, struct api_error *e)
{
	const cJSON *m;
	char at[64];
	int i = 0;

	cJSON_ArrayForEach(m, messages)
	{
		const cJSON *role = cJSON_GetObjectItemCaseSensitive(m, "role");
		const size_t from = buf_size(&c->text);

		if (!cJSON_IsObject(m))
			return api_refuse(e, REFUSE_FORM, place(at, i, ""),
					  "messages[%d]: want an object", i);
		if (!cJSON_IsString(role))
			return api_refuse(e, REFUSE_FORM, place(at, i, ".role"),
					  "messages[%d].role: want a string", i);
		if (!put_content(&c->text, cJSON_GetObjectItemCaseSensitive(m, "content"), i, e))
			return false;
		c->m[i++] = (struct chat_message){.role = role->valuestring,
						  .len = buf_size(&c->text) - from};
	}
	c->n = i;
	/* Only now the text stays where it is. */
	for (size_t from = 0, k = 0; k < (size_t)c->n; from += c->m[k++].len)
		c->m[k].text = buf_head(&c->text) + from;
	return true;
}

static void write_chatml(const struct conversation *c, struct buf *out)
{
	for (int32_t i = 0; i < c->n; i++) {
		CHECK(buf_printf(out, "<|im_start|>%s\n", c->m[i].role));
		CHECK(buf_append(out, c->m[i].text, c->m[i].len));
		CHECK(buf_puts(out, "<|im_end|>\n"));
	}
	CHECK(buf_puts(out, "<|im_start|>assistant\n"));
}

static void add_conversation(const struct api_terms *terms, struct api_request *q,
			     const struct conversation *c)
{
	const struct chat_message *last = &c->m[c->n - 1];
	struct buf text;

	if (terms->codec->chat) {
		struct api_prompt *p = add_prompt(q);

		terms->codec->chat(terms->codec, c->m, c->n, &p->tokens);
		if (terms->keep_said)
			p->said = xstrndup(last->text, last->len);
		return;
	}
	buf_init(&text, MAX_PROMPT_BYTES);
	write_chatml(c, &text);
	add_text(terms, q, buf_head(&text), buf_size(&text), last->text, last->len);
	buf_release(&text);
}

bool api_read_messages(const cJSON *body, const struct api_terms *terms, struct api_request *q,
		       struct api_error *e)
{
	const cJSON *messages = NULL;
	struct conversation c = {0};
	struct err why;
	bool ok;

	if (json_get_array(body, "", "messages", &messages, &why) != RC_OK)
		return api_refuse(e, REFUSE_FORM, "body.messages", "%s", why.msg);
	if (!messages)
		return api_refuse(e, REFUSE_FORM, "body.messages",
				  "messages: the field is missing");
	if (cJSON_GetArraySize(messages) == 0)
		return api_refuse(e, REFUSE_VALUE, "messages", "messages: want at least one");
	c.m = xcalloc((size_t)cJSON_GetArraySize(messages), sizeof(*c.m));
	buf_init(&c.text, MAX_PROMPT_BYTES);
	ok = read_conversation(messages, &c, e);
	if (ok)
		add_conversation(terms, q, &c);
	buf_release(&c.text);
	free(c.m);
	return ok;
}

/* ---- completions ---- */

static void add_whole(const struct api_terms *terms, struct api_request *q, const char *text)
{
	add_text(terms, q, text, strlen(text), text, strlen(text));
}

/* What an echo of a prompt of ids says. */
static bool decode_prompt(struct api_prompt *p, const struct api_terms *terms, struct api_error *e)
{
	struct buf text;
	bool ok = true;

	buf_init(&text, MAX_PROMPT_BYTES);
	for (int32_t i = 0; i < p->tokens.n && ok; i++)
		ok = terms->codec->decode(terms->codec, p->tokens.id[i], i, &text);
	if (ok)
		p->text = buf_take(&text);
	buf_release(&text);
	return ok || api_refuse(e, REFUSE_VALUE, "echo", "echo: the prompt's text is too long");
}

static bool wrong_form(struct api_error *e, const char *key)
{
	char at[64];

	snprintf(at, sizeof(at), "body.%s", key);
	return api_refuse(e, REFUSE_FORM, at,
			  "%s: want a string, an array of strings, an array of token ids, or an "
			  "array of such arrays",
			  key);
}

static bool add_ids(const cJSON *ids, const char *key, const struct api_terms *terms,
		    struct api_request *q, struct api_error *e)
{
	struct api_prompt *p = add_prompt(q);
	const cJSON *v;

	cJSON_ArrayForEach(v, ids)
	{
		double id = cJSON_IsNumber(v) ? v->valuedouble : -1;

		if (!cJSON_IsNumber(v) || id != floor(id))
			return wrong_form(e, key);
		if (id < 0 || id >= terms->codec->vocab_size)
			return api_refuse(e, REFUSE_VALUE, NULL,
					  "Token id %.0f is out of vocabulary", id);
		token_list_push(&p->tokens, (int32_t)id);
	}
	return !q->keep_text || decode_prompt(p, terms, e);
}

bool api_read_prompts(const cJSON *body, const char *key, const struct api_terms *terms,
		      struct api_request *q, struct api_error *e)
{
	const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(body, key), *first, *v;

	if (!prompt || cJSON_IsNull(prompt))
		return wrong_form(e, key);
	if (cJSON_IsString(prompt)) {
		add_whole(terms, q, prompt->valuestring);
		return true;
	}
	if (terms->reading & READ_NO_IDS && cJSON_IsArray(prompt))
		return wrong_form(e, key);
	first = cJSON_IsArray(prompt) ? prompt->child : NULL;
	if (!first)
		return wrong_form(e, key);
	if (cJSON_IsNumber(first))
		return add_ids(prompt, key, terms, q, e);
	if (cJSON_GetArraySize(prompt) > API_MAX_CHOICES)
		return api_refuse(e, REFUSE_VALUE, key, "%s: more than %d prompts", key,
				  API_MAX_CHOICES);
	cJSON_ArrayForEach(v, prompt)
	{
		if (v->type != first->type)
			return wrong_form(e, key);
		if (cJSON_IsString(v))
			add_whole(terms, q, v->valuestring);
		else if (!cJSON_IsArray(v) || !v->child)
			return wrong_form(e, key);
		else if (!add_ids(v, key, terms, q, e))
			return false;
	}
	return true;
}
