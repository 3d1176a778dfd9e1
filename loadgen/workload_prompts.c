/*
 * Owns the reading of prompt files: bytes in, prompts out. Pure; fuzzed. Must not know how prompts
 * are picked.
 */
#include "workload.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/jsonx.h"
#include "base/utf8.h"
#include "scenario.h"

#define MAX_REFERENCE_TOKENS 10000000
#define TOKENS_PER_WORD	     1.35

struct lines {
	const char *text;
	size_t len, at;
	long number; /* of the line that was read last, from 1 */
};

static void lines_start(struct lines *l, const char *text, size_t len)
{
	size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	*l = (struct lines){.text = text, .len = len, .at = bom};
}

/* Without its LF or CRLF. False behind the last. */
static bool next_line(struct lines *l, const char **line, size_t *n)
{
	const char *end;

	if (l->at >= l->len)
		return false;
	*line = l->text + l->at;
	end = memchr(*line, '\n', l->len - l->at);
	*n = end ? (size_t)(end - *line) : l->len - l->at;
	l->at += *n + 1;
	if (*n && (*line)[*n - 1] == '\r')
		--*n;
	l->number++;
	return true;
}

static bool is_blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isspace((unsigned char)s[i]))
			return false;
	return true;
}

static bool is_text(const char *s, size_t n)
{
	uint32_t cp;

	for (size_t i = 0, step; i < n; i += step) {
		step = utf8_decode(s + i, n - i, &cp);
		if (!step || !cp)
			return false;
	}
	return true;
}

static enum rc not_text(const char *name, long line, struct err *e)
{
	return err_set(e, RC_INPUT, "%s:%ld: not UTF-8 text", name, line);
}

static void add_prompt(struct prompt **out, size_t *n, const char *text, size_t len,
		       int32_t reference_tokens)
{
	/* *n counts up only, so that powers of two are where the array is full. */
	if ((*n & (*n - 1)) == 0)
		*out = xreallocarray(*out, *n ? 2 * *n : 1, sizeof(**out));
	(*out)[(*n)++] = (struct prompt){
		.text = xstrndup(text, len), .len = len, .reference_tokens = reference_tokens};
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
	return (int32_t)fmin(fmax(1, round((double)words * TOKENS_PER_WORD)), MAX_REFERENCE_TOKENS);
}

/* One record. Messages have no place yet. */
static enum rc lima_record(const cJSON *record, struct prompt **out, size_t *n, struct err *e)
{
	const cJSON *conversations = NULL, *question, *answer;
	int64_t reference = 0;
	enum rc rc;

	if (!cJSON_IsObject(record))
		return err_set(e, RC_INPUT, "want an object {\"conversations\": [...]}");
	rc = json_get_array(record, "", "conversations", &conversations, e);
	if (!rc)
		rc = json_get_int(record, "", "reference_tokens", 1, MAX_REFERENCE_TOKENS,
				  &reference, e);
	if (rc)
		return rc;
	question = conversations ? conversations->child : NULL;
	answer = question ? question->next : NULL;
	if (!question)
		return err_set(e, RC_INPUT,
			       "conversations: want a list of strings, the first of which is the "
			       "user's");
	for (const cJSON *turn = question; turn; turn = turn->next)
		if (!cJSON_IsString(turn))
			return err_set(e, RC_INPUT,
				       "conversations: want strings, user and assistant in turn");
	if (is_blank(question->valuestring, strlen(question->valuestring)))
		return err_set(e, RC_INPUT, "conversations[0]: an empty prompt");
	if (!reference && answer && *answer->valuestring)
		reference = tokens_of_answer(answer->valuestring);
	add_prompt(out, n, question->valuestring, strlen(question->valuestring),
		   (int32_t)reference);
	return RC_OK;
}

enum rc prompts_parse_lima(const char *name, const char *text, size_t len, struct prompt **out,
			   size_t *n, struct err *e)
{
	struct lines lines;
	const char *line;
	size_t size;

	lines_start(&lines, text, len);
	while (next_line(&lines, &line, &size)) {
		cJSON *record = NULL;
		enum rc rc;

		if (is_blank(line, size))
			continue;
		if (!is_text(line, size))
			return not_text(name, lines.number, e);
		rc = json_parse(&record, line, size, e);
		if (!rc)
			rc = lima_record(record, out, n, e);
		cJSON_Delete(record);
		if (rc) {
			err_prefix(e, "%s:%ld: ", name, lines.number);
			return rc;
		}
	}
	return RC_OK;
}

enum rc prompts_parse_plain(const char *name, const char *text, size_t len, struct prompt **out,
			    size_t *n, struct err *e)
{
	struct lines lines;
	const char *line;
	size_t size;

	lines_start(&lines, text, len);
	while (next_line(&lines, &line, &size)) {
		if (is_blank(line, size))
			continue;
		if (!is_text(line, size))
			return not_text(name, lines.number, e);
		add_prompt(out, n, line, size, 0);
	}
	return RC_OK;
}

enum rc prompts_detect(const char *name, const char *text, size_t len, enum prompt_format *out,
		       struct err *e)
{
	struct lines lines;
	const char *line = "";
	cJSON *record = NULL;
	size_t size = 0;
	bool lima;

	*out = PROMPTS_PLAIN;
	lines_start(&lines, text, len);
	while (next_line(&lines, &line, &size) && is_blank(line, size))
		;
	while (size && isspace((unsigned char)*line)) {
		line++;
		size--;
	}
	if (!size || (*line != '{' && *line != '['))
		return RC_OK;
	lima = json_parse(&record, line, size, NULL) == RC_OK &&
	       cJSON_GetObjectItemCaseSensitive(record, "conversations");
	cJSON_Delete(record);
	if (!lima)
		return err_set(
			e, RC_INPUT,
			"%s:%ld: JSON, but no LIMA record {\"conversations\": [...]}; if its "
			"lines are to be asked as they stand, say format: plain",
			name, lines.number);
	*out = PROMPTS_LIMA;
	return RC_OK;
}

void prompts_free(struct prompt *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(p[i].text);
	free(p);
}
