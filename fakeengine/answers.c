/*
 * Owns the answers of a simulated engine: the reference set, which answer belongs to which prompt,
 * and the tokens of each. Loop thread; reads its file at start. Must not know how tokens leave.
 *
 * Answers are split into tokens when the set is read, or of an echo when the request comes, and
 * carry their bytes with them (script.h): the ids alone would not do, for of rare pieces the codec
 * keeps but a number.
 */
#include "answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/rng.h"
#include "serve/script.h"
#include "wordcodec.h"

#define SET_MAX_BYTES (256u << 20)
#define MAX_TOKENS    1e9 /* of an answer, as the set says it */

struct reference {
	uint64_t asked; /* hash of what was asked */
	struct script *script;
	int32_t tokens; /* how long the answer is */
};

struct answers {
	const struct profile *profile;
	uint64_t seed;
	struct reference *reference; /* in the file's order */
	size_t n, cap;
	size_t *slot; /* by hash, open addressing: place + 1, 0 = empty */
	size_t n_slots;
};

/* ---- texts ---- */

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* FNV-1a without the blanks at both ends, which templates and shells add and lose. */
static uint64_t hash_text(const char *s, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; len && is_blank(s[len - 1]); len--)
		;
	for (; len && is_blank(*s); s++, len--)
		;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* NULL: there is no token in it. */
static struct script *script_of(const char *text, size_t len)
{
	struct token_list tokens = {0}, ends = {0};

	wordcodec_split(text, len, &tokens, &ends);
	return tokens.n ? script_new(text, len, &tokens, &ends) : NULL;
}

/* A prompt of ids has no text: its tokens say what they decode to. */
static struct script *script_of_ids(const int32_t *id, int32_t n)
{
	struct token_list tokens = {0}, ends = {0};
	struct script *s = NULL;
	struct buf text;

	buf_init(&text, SIZE_MAX);
	for (int32_t i = 0; i < n; i++) {
		CHECK(wordcodec.decode(&wordcodec, id[i], i, &text));
		token_list_push(&tokens, id[i]);
		token_list_push(&ends, (int32_t)buf_size(&text));
	}
	if (n > 0)
		s = script_new(buf_head(&text), buf_size(&text), &tokens, &ends);
	buf_release(&text);
	return s;
}

/* ---- the reference set ---- */

static struct reference *find_reference(const struct answers *a, uint64_t asked)
{
	for (size_t at = asked % a->n_slots; a->slot[at]; at = (at + 1) % a->n_slots)
		if (a->reference[a->slot[at] - 1].asked == asked)
			return &a->reference[a->slot[at] - 1];
	return NULL;
}

/* Of a question that comes twice the first answer counts. */
static void make_slots(struct answers *a)
{
	a->n_slots = 2 * a->n + 1;
	a->slot = xcalloc(a->n_slots, sizeof(*a->slot));
	for (size_t i = 0; i < a->n; i++) {
		size_t at = a->reference[i].asked % a->n_slots;

		if (find_reference(a, a->reference[i].asked))
			continue;
		while (a->slot[at])
			at = (at + 1) % a->n_slots;
		a->slot[at] = i + 1;
	}
}

static void add_reference(struct answers *a, const char *asked, const char *answer, int32_t tokens)
{
	struct script *s = script_of(answer, strlen(answer));

	if (!s)
		return;
	if (a->n == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 256;
		a->reference = xreallocarray(a->reference, a->cap, sizeof(*a->reference));
	}
	a->reference[a->n++] = (struct reference){hash_text(asked, strlen(asked)), s,
						  tokens ? tokens : s->tokens.n};
}

/* One line: {"conversations": [asked, answered, ...]}. */
static enum rc read_record(struct answers *a, const cJSON *record, struct err *e)
{
	const cJSON *said = NULL, *v, *asked = NULL;
	int64_t tokens = 0;
	enum rc rc = json_get_array(record, "", "conversations", &said, e);

	if (rc == RC_OK && !said)
		rc = err_set(e, RC_INPUT, "conversations: the key is missing; want LIMA's format");
	if (rc == RC_OK)
		rc = json_get_int(record, "", "reference_tokens", 1, (int64_t)MAX_TOKENS, &tokens,
				  e);
	if (rc)
		return rc;
	cJSON_ArrayForEach(v, said)
	{
		if (!cJSON_IsString(v))
			return err_set(e, RC_INPUT, "conversations: want strings");
		if (asked)
			add_reference(a, asked->valuestring, v->valuestring, (int32_t)tokens);
		tokens = asked ? 0 : tokens; /* the record's number is that of the first answer */
		asked = asked ? NULL : v;
	}
	return RC_OK;
}

static enum rc read_line(struct answers *a, const char *line, size_t len, struct err *e)
{
	cJSON *record = NULL;
	enum rc rc = json_parse(&record, line, len, e);

	if (rc == RC_OK && !cJSON_IsObject(record))
		rc = err_set(e, RC_INPUT, "want an object");
	if (rc == RC_OK)
		rc = read_record(a, record, e);
	cJSON_Delete(record);
	return rc;
}

static enum rc read_set(struct answers *a, const char *file, struct err *e)
{
	struct buf text;
	struct err why;
	enum rc rc;
	int line = 0;

	buf_init(&text, SET_MAX_BYTES);
	rc = (enum rc)buf_read_file(&text, file, e);
	for (const char *at = buf_head(&text), *end = at + buf_size(&text), *next;
	     rc == RC_OK && at < end; at = next + 1) {
		const char *from = at;

		next = memchr(at, '\n', (size_t)(end - at));
		next = next ? next : end;
		line++;
		while (from < next && is_blank(*from))
			from++;
		if (from < next && read_line(a, at, (size_t)(next - at), &why))
			rc = err_set(e, RC_INPUT, "%s:%d: %s", file, line, why.msg);
	}
	if (rc == RC_OK && a->n == 0)
		rc = err_set(e, RC_INPUT, "%s: there is no answer in it", file);
	buf_release(&text);
	return rc;
}

enum rc answers_open(struct answers **out, const struct profile *p, uint64_t seed, struct err *e)
{
	struct answers *a = xcalloc(1, sizeof(*a));
	enum rc rc = RC_OK;

	a->profile = p;
	a->seed = seed;
	if (p->text.kind == TEXT_REFERENCE)
		rc = read_set(a, p->text.file, e);
	if (rc) {
		answers_free(a);
		return rc;
	}
	make_slots(a);
	*out = a;
	return RC_OK;
}

void answers_free(struct answers *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n; i++)
		script_drop(a->reference[i].script);
	free(a->reference);
	free(a->slot);
	free(a);
}

/* ---- planning ---- */

/* By the text; a prompt of ids by them. */
static uint64_t hash_asked(const struct genreq *r, const struct api_prompt *p)
{
	if (p && p->said)
		return hash_text(p->said, strlen(p->said));
	return hash_text((const char *)r->tokens, (size_t)r->n_prompt * sizeof(*r->tokens));
}

static const struct reference *choose_reference(const struct answers *a, const struct genreq *r,
						const struct api_prompt *p)
{
	uint64_t asked = hash_asked(r, p);
	const struct reference *found = find_reference(a, asked);
	struct rng rng;

	if (found)
		return found;
	rng_init(&rng, a->seed, "reference", asked);
	return &a->reference[rng_below(&rng, a->n)];
}

void answers_plan(struct genreq *r, const struct api_prompt *p, void *arg)
{
	const struct answers *a = arg;
	const struct reference *ref;
	int32_t own = 0;

	switch (a->profile->text.kind) {
	case TEXT_WORDS:
		break;
	case TEXT_ECHO:
		r->script = p && p->said ? script_of(p->said, strlen(p->said))
					 : script_of_ids(r->tokens, r->n_prompt);
		own = r->script ? r->script->tokens.n : 0;
		break;
	case TEXT_REFERENCE:
		ref = choose_reference(a, r, p);
		r->script = script_hold(ref->script);
		own = ref->tokens;
		break;
	}
	if (r->ignore_eos) /* the lengths end it */
		return;
	r->eos_after = a->profile->output.ends_with_text
			       ? own
			       : profile_answer_tokens(a->profile, r, a->seed);
}

void answer_tokens(const struct genreq *r, int32_t index, int32_t n, int32_t *out)
{
	if (!r->script) {
		wordcodec_filler_run(r->seed, index, n, out);
		return;
	}
	for (int32_t i = 0; i < n; i++)
		out[i] = script_token(r->script, index + i);
}
