/*
 * Owns the reading of prompt files: how records stand in a file, what each format's record says.
 * Pure; fuzzed. Must not know how prompts are picked or sent.
 */
#include "prompts.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/utf8.h"

#define MAX_REFERENCE_TOKENS 10000000
#define TOKENS_PER_WORD	     1.35

/* ---- a file as lines, or as the elements of one JSON array ---- */

struct pieces {
	const char *text;
	size_t len, at;
	long line; /* from 1: of the piece that was read last */
	long next; /* of what stands at `at` */
	bool array;
};

static bool is_blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isspace((unsigned char)s[i]))
			return false;
	return true;
}

static void skip_blank(struct pieces *p)
{
	for (; p->at < p->len && isspace((unsigned char)p->text[p->at]); p->at++)
		p->next += p->text[p->at] == '\n';
}

static void pieces_start(struct pieces *p, const char *text, size_t len)
{
	size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	*p = (struct pieces){.text = text, .len = len, .at = bom, .next = 1};
}

/* The next line without its LF or CRLF. False behind the last. */
static bool next_line(struct pieces *p, const char **out, size_t *n)
{
	const char *end;

	if (p->at >= p->len)
		return false;
	*out = p->text + p->at;
	end = memchr(*out, '\n', p->len - p->at);
	*n = end ? (size_t)(end - *out) : p->len - p->at;
	p->at += *n + 1;
	p->line = p->next++;
	if (*n && (*out)[*n - 1] == '\r')
		--*n;
	return true;
}

/* The end of the JSON value that begins at `at`: the comma or bracket that is not inside it. */
static size_t value_end(const struct pieces *p)
{
	size_t at = p->at;
	bool quoted = false;
	int depth = 0;

	for (; at < p->len; at++) {
		char c = p->text[at];

		if (quoted) {
			if (c == '\\')
				at++;
			quoted = c != '"';
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if ((c == '}' || c == ']' || c == ',') && depth == 0) {
			break;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return at < p->len ? at : p->len;
}

/* The next element, behind the opening bracket or a comma. One at a time, because the sets that
 * people use are arrays of half a gigabyte. *out NULL behind the last. */
static enum rc next_element(struct pieces *p, const char **out, size_t *n, struct err *e)
{
	size_t end;

	*out = NULL;
	if (!p->array) { /* nothing read yet */
		p->array = true;
		p->at++;
		skip_blank(p);
		if (p->at < p->len && p->text[p->at] == ']')
			goto last;
	} else if (p->at < p->len && p->text[p->at] == ',') {
		p->at++;
		skip_blank(p);
	} else {
		goto last;
	}
	end = value_end(p);
	*out = p->text + p->at;
	*n = end - p->at;
	p->line = p->next;
	for (; p->at < end; p->at++)
		p->next += p->text[p->at] == '\n';
	return RC_OK;
last:
	p->line = p->next;
	if (p->at >= p->len || p->text[p->at] != ']' ||
	    !is_blank(p->text + p->at + 1, p->len - p->at - 1))
		return err_set(e, RC_INPUT, "want an array of records that ends with ]");
	return RC_OK;
}

/* The next record of a JSON file: an element, or a line that is not blank. */
static enum rc next_record(struct pieces *p, const char **out, size_t *n, struct err *e)
{
	if (!p->line)
		skip_blank(p);
	if (p->array || (!p->line && p->at < p->len && p->text[p->at] == '['))
		return next_element(p, out, n, e);
	do {
		if (!next_line(p, out, n))
			*out = NULL;
	} while (*out && is_blank(*out, *n));
	return RC_OK;
}

static enum rc check_text(const char *s, size_t n, struct err *e)
{
	uint32_t cp;

	for (size_t i = 0, step; i < n; i += step) {
		step = utf8_decode(s + i, n - i, &cp);
		if (!step || !cp)
			return err_set(e, RC_INPUT, "not UTF-8 text");
	}
	return RC_OK;
}

/* ---- conversations in the making ---- */

static void add_lead(struct prompt *p, const char *role, const char *text, size_t len)
{
	p->lead = xreallocarray(p->lead, p->n_lead + 1, sizeof(*p->lead));
	p->lead[p->n_lead++] = (struct message){role, xstrndup(text, len), len};
}

static struct turn *add_turn(struct prompt *p, const char *text, size_t len)
{
	p->turn = xreallocarray(p->turn, p->n_turns + 1, sizeof(*p->turn));
	p->turn[p->n_turns] = (struct turn){.text = xstrndup(text, len), .len = len};
	return &p->turn[p->n_turns++];
}

static void prompt_release(struct prompt *p)
{
	for (size_t i = 0; i < p->n_lead; i++)
		free(p->lead[i].text);
	for (size_t i = 0; i < p->n_turns; i++)
		free(p->turn[i].text);
	free(p->lead);
	free(p->turn);
}

static void add_prompt(struct prompt_set *set, const struct prompt *taken)
{
	/* n counts up only, so that powers of two are where the array is full. */
	if ((set->n & (set->n - 1)) == 0)
		set->v = xreallocarray(set->v, set->n ? 2 * set->n : 1, sizeof(*set->v));
	set->v[set->n++] = *taken;
}

static int32_t tokens_of_answer(const char *s)
{
	int64_t words = 0;
	bool inside = false;

	for (; *s; s++) {
		bool space = isspace((unsigned char)*s);

		words += !space && !inside;
		inside = !space;
	}
	return words ? (int32_t)fmin(fmax(1, round((double)words * TOKENS_PER_WORD)),
				     MAX_REFERENCE_TOKENS)
		     : 0;
}

/* ---- what a record of each format says; messages have no place yet ---- */

/* *n counts turns of the user's; what is no string or says nothing is an error. */
static enum rc user_text(const cJSON *v, const char *key, size_t i, struct prompt *p, struct err *e)
{
	if (is_blank(v->valuestring, strlen(v->valuestring)))
		return err_set(e, RC_INPUT, "%s[%zu]: an empty prompt", key, i);
	add_turn(p, v->valuestring, strlen(v->valuestring));
	return RC_OK;
}

static enum rc read_lima(const cJSON *record, struct prompt *p, struct err *e)
{
	const cJSON *conversations = NULL, *said;
	int64_t reference = 0;
	size_t i = 0;
	enum rc rc = json_get_array(record, "", "conversations", &conversations, e);

	if (!rc)
		rc = json_get_int(record, "", "reference_tokens", 1, MAX_REFERENCE_TOKENS,
				  &reference, e);
	if (rc)
		return rc;
	if (!conversations || !conversations->child)
		return err_set(e, RC_INPUT,
			       "conversations: want a list of strings, the first of which is the "
			       "user's");
	cJSON_ArrayForEach(said, conversations)
	{
		if (!cJSON_IsString(said))
			return err_set(e, RC_INPUT,
				       "conversations: want strings, user and assistant in turn");
		if (i % 2)
			p->turn[i / 2].reference_tokens = tokens_of_answer(said->valuestring);
		else if (user_text(said, "conversations", i, p, e) != RC_OK)
			return RC_INPUT;
		i++;
	}
	if (reference)
		p->turn[0].reference_tokens = (int32_t)reference;
	return RC_OK;
}

/* Conversations that a model begins, and empty ones, are frequent in the real sets. What a model
 * says before any human is left out, and a conversation without a human has no turn. */
static enum rc read_sharegpt(const cJSON *record, struct prompt *p, struct err *e)
{
	const cJSON *conversations = NULL, *said;
	enum rc rc = json_get_array(record, "", "conversations", &conversations, e);

	if (!rc && !conversations)
		rc = err_set(e, RC_INPUT, "conversations: missing");
	if (rc)
		return rc;
	cJSON_ArrayForEach(said, conversations)
	{
		const char *from = NULL, *value = NULL;

		if (!cJSON_IsObject(said))
			return err_set(e, RC_INPUT,
				       "conversations: want objects {\"from\": ..., \"value\": "
				       "...}");
		rc = json_get_str(said, "conversations[]", "from", &from, e);
		if (!rc)
			rc = json_get_str(said, "conversations[]", "value", &value, e);
		if (rc)
			return rc;
		if (!from || !value)
			return err_set(e, RC_INPUT, "conversations[]: %s is missing",
				       from ? "value" : "from");
		if (is_blank(value, strlen(value)))
			continue;
		if (strcmp(from, "human") == 0 || strcmp(from, "user") == 0)
			add_turn(p, value, strlen(value));
		else if (strcmp(from, "system") == 0 && p->n_turns == 0)
			add_lead(p, "system", value, strlen(value));
		else if (p->n_turns && !p->turn[p->n_turns - 1].reference_tokens)
			p->turn[p->n_turns - 1].reference_tokens = tokens_of_answer(value);
	}
	return RC_OK;
}

static enum rc read_mt_bench(const cJSON *record, struct prompt *p, struct err *e)
{
	const cJSON *turns = NULL, *reference = NULL, *v;
	size_t i = 0;
	enum rc rc = json_get_array(record, "", "turns", &turns, e);

	if (!rc)
		rc = json_get_array(record, "", "reference", &reference, e);
	if (!rc && (!turns || !turns->child))
		rc = err_set(e, RC_INPUT, "turns: want a list of the user's questions");
	if (rc)
		return rc;
	cJSON_ArrayForEach(v, turns)
	{
		if (!cJSON_IsString(v))
			return err_set(e, RC_INPUT, "turns[%zu]: want a string", i);
		if (user_text(v, "turns", i++, p, e) != RC_OK)
			return RC_INPUT;
	}
	i = 0;
	cJSON_ArrayForEach(v, reference)
	{
		if (i < p->n_turns && cJSON_IsString(v))
			p->turn[i].reference_tokens = tokens_of_answer(v->valuestring);
		i++;
	}
	return RC_OK;
}

static const char *role_of(const char *name)
{
	static const char *const roles[] = {"user", "system", "developer", "assistant"};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (name && strcmp(name, roles[i]) == 0)
			return roles[i];
	return NULL;
}

/* A string, or parts of which each is text: joined. */
static enum rc content_text(const cJSON *content, struct buf *out, struct err *e)
{
	const cJSON *part;

	if (cJSON_IsString(content) && buf_puts(out, content->valuestring))
		return RC_OK;
	if (!cJSON_IsArray(content))
		return err_set(e, RC_INPUT, "want a text, or parts of text");
	cJSON_ArrayForEach(part, content)
	{
		const cJSON *text = cJSON_GetObjectItemCaseSensitive(part, "text");

		if (!cJSON_IsString(text) || !buf_puts(out, text->valuestring))
			return err_set(e, RC_INPUT, "a part that is no text");
	}
	return RC_OK;
}

/* The last message is the user's and is asked; all before it goes along as it stands. */
static enum rc read_messages(const cJSON *messages, struct prompt *p, struct err *e)
{
	const cJSON *m;
	int i = 0;

	cJSON_ArrayForEach(m, messages)
	{
		const char *name = NULL, *role;
		struct buf text;
		enum rc rc;

		if (!cJSON_IsObject(m))
			return err_set(e, RC_INPUT, "body.messages[%d]: want an object", i);
		rc = json_get_str(m, "body.messages[]", "role", &name, e);
		role = role_of(name);
		if (rc)
			return rc;
		if (!role)
			return err_set(e, RC_INPUT,
				       "body.messages[%d].role: want user, system, developer or "
				       "assistant",
				       i);
		buf_init(&text, 256u << 20);
		if (content_text(cJSON_GetObjectItemCaseSensitive(m, "content"), &text, e) != RC_OK)
			rc = err_prefix(e, "body.messages[%d].content: ", i);
		else if (m->next)
			add_lead(p, role, buf_cstr(&text), buf_size(&text));
		else if (strcmp(role, "user") != 0 || is_blank(buf_cstr(&text), buf_size(&text)))
			rc = err_set(e, RC_INPUT, "body.messages[%d]: the last one is not a user's",
				     i);
		else
			add_turn(p, buf_cstr(&text), buf_size(&text));
		buf_release(&text);
		if (rc)
			return rc;
		i++;
	}
	return RC_OK;
}

static enum rc read_openai_batch(const cJSON *record, struct prompt *p, struct err *e)
{
	const cJSON *body = NULL, *messages = NULL;
	const char *prompt = NULL;
	int64_t tokens = 0;
	enum rc rc = json_get_object(record, "", "body", &body, e);

	if (!rc && !body)
		rc = err_set(e, RC_INPUT, "body: missing");
	if (!rc)
		rc = json_get_array(body, "body", "messages", &messages, e);
	if (!rc && !messages)
		rc = json_get_str(body, "body", "prompt", &prompt, e);
	if (!rc)
		rc = json_get_int(body, "body", "max_tokens", 1, MAX_REFERENCE_TOKENS, &tokens, e);
	if (!rc)
		rc = json_get_int(body, "body", "max_completion_tokens", 1, MAX_REFERENCE_TOKENS,
				  &tokens, e);
	if (!rc && prompt && !is_blank(prompt, strlen(prompt)))
		add_turn(p, prompt, strlen(prompt));
	else if (!rc && messages && messages->child)
		rc = read_messages(messages, p, e);
	else if (!rc)
		rc = err_set(e, RC_INPUT, "body: neither messages nor a prompt that says anything");
	if (!rc)
		p->turn[0].reference_tokens = (int32_t)tokens;
	return rc;
}

static enum rc read_custom(const cJSON *record, struct prompt *p, struct err *e)
{
	const char *prompt = NULL;
	int64_t tokens = 0;
	enum rc rc = json_get_str(record, "", "prompt", &prompt, e);

	if (!rc)
		rc = json_get_int(record, "", "output_tokens", 1, MAX_REFERENCE_TOKENS, &tokens, e);
	if (rc)
		return rc;
	if (!prompt || is_blank(prompt, strlen(prompt)))
		return err_set(e, RC_INPUT, "prompt: %s", prompt ? "an empty prompt" : "missing");
	add_turn(p, prompt, strlen(prompt))->reference_tokens = (int32_t)tokens;
	return RC_OK;
}

/* ---- the formats ---- */

typedef enum rc record_reader(const cJSON *record, struct prompt *p, struct err *e);

static enum rc parse_json(struct prompt_set *out, record_reader *read, const char *name,
			  const char *text, size_t len, struct err *e)
{
	struct pieces pieces;
	const char *piece;
	size_t size = 0;
	enum rc rc;

	pieces_start(&pieces, text, len);
	while ((rc = next_record(&pieces, &piece, &size, e)) == RC_OK && piece) {
		struct prompt p = {0};
		cJSON *record = NULL;

		rc = check_text(piece, size, e);
		if (!rc)
			rc = json_parse(&record, piece, size, e);
		if (!rc && !cJSON_IsObject(record))
			rc = err_set(e, RC_INPUT, "want an object");
		if (!rc)
			rc = read(record, &p, e);
		cJSON_Delete(record);
		if (rc || !p.n_turns) {
			prompt_release(&p);
			out->skipped += !rc;
		} else {
			add_prompt(out, &p);
		}
		if (rc)
			break;
	}
	return rc ? err_prefix(e, "%s:%ld: ", name, pieces.line) : RC_OK;
}

static enum rc parse_csv(struct prompt_set *out, const char *name, const char *text, size_t len,
			 struct err *e)
{
	struct csv_table *t;
	int prompt = -1, tokens = -1;
	enum rc rc = csv_parse(&t, name, text, len, false, e);

	if (!rc)
		rc = csv_need(t, "prompt", &prompt, e);
	if (!rc)
		tokens = csv_find(t, "output_tokens");
	for (size_t i = 0; !rc && i < csv_rows(t); i++) {
		const char *s = csv_field(t, i, prompt);
		int64_t reference = 0;
		struct prompt p = {0};

		rc = csv_field_int(t, i, tokens, 0, &reference, e);
		if (!rc && (reference < 0 || reference > MAX_REFERENCE_TOKENS))
			rc = csv_field_err(t, i, tokens, e, "want 1 to %d", MAX_REFERENCE_TOKENS);
		if (!rc && is_blank(s, strlen(s)))
			rc = csv_field_err(t, i, prompt, e, "an empty prompt");
		if (!rc && check_text(s, strlen(s), e) != RC_OK)
			rc = csv_field_err(t, i, prompt, e, "not UTF-8 text");
		if (rc)
			break;
		add_turn(&p, s, strlen(s))->reference_tokens = (int32_t)reference;
		add_prompt(out, &p);
	}
	csv_table_free(t);
	return rc;
}

static enum rc parse_plain(struct prompt_set *out, const char *name, const char *text, size_t len,
			   struct err *e)
{
	struct pieces lines;
	const char *line;
	size_t size;

	pieces_start(&lines, text, len);
	while (next_line(&lines, &line, &size)) {
		struct prompt p = {0};

		if (is_blank(line, size))
			continue;
		if (check_text(line, size, e) != RC_OK)
			return err_prefix(e, "%s:%ld: ", name, lines.line);
		add_turn(&p, line, size);
		add_prompt(out, &p);
	}
	return RC_OK;
}

static record_reader *const readers[] = {
	[PROMPTS_LIMA] = read_lima,
	[PROMPTS_SHAREGPT] = read_sharegpt,
	[PROMPTS_MT_BENCH] = read_mt_bench,
	[PROMPTS_CUSTOM] = read_custom,
	[PROMPTS_OPENAI_BATCH] = read_openai_batch,
};

enum rc prompts_parse(struct prompt_set *out, enum prompt_format format, const char *name,
		      const char *text, size_t len, struct err *e)
{
	CHECK(format != PROMPTS_AUTO);
	if (format == PROMPTS_PLAIN)
		return parse_plain(out, name, text, len, e);
	if (format == PROMPTS_CSV)
		return parse_csv(out, name, text, len, e);
	return parse_json(out, readers[format], name, text, len, e);
}

/* ---- which one it is ---- */

/* False: of no shape that is known. */
static bool record_format(const cJSON *record, enum prompt_format *out)
{
	const cJSON *said = cJSON_GetObjectItemCaseSensitive(record, "conversations");

	if (said)
		*out = cJSON_IsObject(said->child) || !said->child ? PROMPTS_SHAREGPT
								   : PROMPTS_LIMA;
	else if (cJSON_GetObjectItemCaseSensitive(record, "turns"))
		*out = PROMPTS_MT_BENCH;
	else if (cJSON_GetObjectItemCaseSensitive(record, "body"))
		*out = PROMPTS_OPENAI_BATCH;
	else if (cJSON_GetObjectItemCaseSensitive(record, "prompt"))
		*out = PROMPTS_CUSTOM;
	else
		return false;
	return true;
}

/* Is a field of this line, as a CSV's head has them, the word prompt? */
static bool names_prompt(const char *line, size_t n)
{
	while (n) {
		size_t field = 0, from = 0, to;

		while (field < n && line[field] != ',')
			field++;
		to = field;
		if (to - from >= 2 && line[from] == '"' && line[to - 1] == '"') {
			from++;
			to--;
		}
		if (to - from == 6 && memcmp(line + from, "prompt", 6) == 0)
			return true;
		line += field + (field < n);
		n -= field + (field < n);
	}
	return false;
}

enum rc prompts_detect(const char *name, const char *text, size_t len, enum prompt_format *out,
		       struct err *e)
{
	cJSON *record = NULL;
	struct pieces p;
	const char *piece;
	size_t size = 0;
	bool known;

	*out = PROMPTS_PLAIN;
	pieces_start(&p, text, len);
	skip_blank(&p);
	if (p.at == p.len)
		return RC_OK;
	if (text[p.at] != '{' && text[p.at] != '[') {
		if (next_line(&p, &piece, &size) && names_prompt(piece, size))
			*out = PROMPTS_CSV;
		return RC_OK;
	}
	known = next_record(&p, &piece, &size, NULL) == RC_OK && piece &&
		json_parse(&record, piece, size, NULL) == RC_OK && record_format(record, out);
	cJSON_Delete(record);
	return known ? RC_OK
		     : err_set(e, RC_INPUT,
			       "%s:%ld: JSON, but no record of a kind that is known, such as "
			       "{\"conversations\": [...]}, {\"turns\": [...]}, {\"body\": {...}} "
			       "or {\"prompt\": ...}; if its lines are to be asked as they stand, "
			       "say format: plain",
			       name, p.line);
}

void prompts_release(struct prompt_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		prompt_release(&set->v[i]);
	free(set->v);
	*set = (struct prompt_set){0};
}
