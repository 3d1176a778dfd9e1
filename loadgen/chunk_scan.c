/*
 * Owns the fast reading of stream events and answers. Loop thread, once per token. A recogniser of
 * a strict subset of JSON: at the first byte that is not plainly fine (an unknown escape, a key
 * twice, deep nesting) it gives up, and the caller reads the event the slow way. It must never
 * guess.
 */
#include "chunk_scan.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define MAX_DEPTH	 12
#define MAX_NUMBER_BYTES 40
#define MAX_COUNT_BYTES	 9
#define MAX_FINISH_BYTES 24 /* of reading.finish_reason, its NUL included */

struct scan {
	const char *p, *end;
	struct chunk_scan *out;
	unsigned seen; /* which of the keys below */
};

/* Keys that change the reading; each may stand once. */
enum key {
	KEY_OTHER,
	KEY_CHOICES,
	KEY_USAGE,
	KEY_ERROR,
	KEY_FINISH_REASON,
	KEY_DELTA,
	KEY_TEXT,
	KEY_CONTENT,
	KEY_REASONING,
	KEY_REASONING_CONTENT,
	KEY_TOOL_CALLS,
	KEY_PROMPT_TOKENS,
	KEY_COMPLETION_TOKENS,
};

struct key_name {
	const char *name;
	size_t len;
	enum key key;
};

#define KEY(name, key)                                                                             \
	{                                                                                          \
		name, sizeof(name) - 1, key                                                        \
	}
static const struct key_name top_keys[] = {KEY("choices", KEY_CHOICES),
					   KEY("usage", KEY_USAGE),
					   KEY("error", KEY_ERROR),
					   {NULL, 0, 0}};
/* A choice has one of the first two, and its text under the same names. */
static const struct key_name choice_keys[] = {KEY("delta", KEY_DELTA),
					      KEY("message", KEY_DELTA),
					      KEY("text", KEY_TEXT),
					      KEY("finish_reason", KEY_FINISH_REASON),
					      {NULL, 0, 0}};
static const struct key_name delta_keys[] = {KEY("content", KEY_CONTENT),
					     KEY("reasoning", KEY_REASONING),
					     KEY("reasoning_content", KEY_REASONING_CONTENT),
					     KEY("tool_calls", KEY_TOOL_CALLS),
					     {NULL, 0, 0}};
static const struct key_name usage_keys[] = {KEY("prompt_tokens", KEY_PROMPT_TOKENS),
					     KEY("completion_tokens", KEY_COMPLETION_TOKENS),
					     {NULL, 0, 0}};

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

static bool eat(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

/* Between values: blanks, then `c`, then blanks. */
static bool eat_between(struct scan *s, char c)
{
	skip_space(s);
	if (!eat(s, c))
		return false;
	skip_space(s);
	return true;
}

static bool skip_word(struct scan *s, const char *word, size_t n)
{
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \u0000 and surrogates are left to the reader that knows pairs. */
static bool skip_escape(struct scan *s)
{
	const char *p = s->p + 1;

	if (s->end - p < 1)
		return false;
	if (*p != 'u') {
		s->p += 2;
		return *p && strchr("\"\\/bfnrt", *p);
	}
	if (s->end - p < 5)
		return false;
	for (int i = 1; i < 5; i++)
		if (!is_hex(p[i]))
			return false;
	if (p[1] == 'd' || p[1] == 'D' || memcmp(p + 1, "0000", 4) == 0)
		return false;
	s->p += 6;
	return true;
}

/* How many of the eight bytes at p, from the first on, are plain characters of a string. The usual
 * tests for a zero byte and for a byte below n; the lowest bit that they set is exact. Strings are
 * most of an event: this way one of 246 bytes takes 0.19 us, a byte at a time 0.27. */
static size_t plain_run(const char *p)
{
	static const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t w, quote, backslash, stops;

	memcpy(&w, p, sizeof(w));
	w = le64toh(w);
	quote = w ^ ones * '"';
	backslash = w ^ ones * '\\';
	stops = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
		((w - ones * 0x20) & ~w);
	stops &= ones << 7;
	return stops ? (size_t)__builtin_ctzll(stops) / 8 : 8;
}

/* The first byte that is not plain, or the end. */
static const char *skip_plain(const char *p, const char *end)
{
	size_t run = 8;

	while (end - p >= 8 && run == 8) {
		run = plain_run(p);
		p += run;
	}
	while (p < end && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* From the opening quote to behind the closing one. */
static bool skip_string(struct scan *s, bool *empty)
{
	const char *from = s->p;

	if (!eat(s, '"'))
		return false;
	for (;;) {
		s->p = skip_plain(s->p, s->end);
		if (s->p == s->end || *s->p != '\\')
			break;
		if (!skip_escape(s))
			return false;
	}
	*empty = s->p == from + 1;
	return eat(s, '"');
}

static bool skip_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static bool skip_number(struct scan *s)
{
	const char *from = s->p;

	eat(s, '-');
	if (!eat(s, '0') && !skip_digits(s))
		return false;
	if (eat(s, '.') && !skip_digits(s))
		return false;
	if (eat(s, 'e') || eat(s, 'E')) {
		if (!eat(s, '+'))
			eat(s, '-');
		if (!skip_digits(s))
			return false;
	}
	return s->p - from <= MAX_NUMBER_BYTES;
}

static bool read_key(struct scan *s, const struct key_name *names, enum key *key)
{
	const char *from = s->p + 1;
	size_t len;
	bool empty;

	if (!skip_string(s, &empty))
		return false;
	len = (size_t)(s->p - 1 - from);
	if (memchr(from, '\\', len))
		return false; /* it may be one of ours, escaped */
	*key = KEY_OTHER;
	for (; names && names->name; names++)
		if (names->len == len && memcmp(names->name, from, len) == 0)
			*key = names->key;
	if (*key != KEY_OTHER && (s->seen & 1u << *key))
		return false;
	s->seen |= 1u << *key;
	return eat_between(s, ':');
}

static bool skip_value(struct scan *s, int depth);

/* { key: value, ... }; `member` takes a value by its key. */
static bool read_object(struct scan *s, const struct key_name *names,
			bool (*member)(struct scan *s, enum key key, int depth), int depth)
{
	enum key key;

	if (depth > MAX_DEPTH || !eat(s, '{'))
		return false;
	skip_space(s);
	if (eat(s, '}'))
		return true;
	do {
		if (!read_key(s, names, &key) || !member(s, key, depth))
			return false;
	} while (eat_between(s, ','));
	return eat(s, '}');
}

static bool skip_array(struct scan *s, int depth)
{
	if (depth > MAX_DEPTH || !eat(s, '['))
		return false;
	skip_space(s);
	if (eat(s, ']'))
		return true;
	do {
		if (!skip_value(s, depth))
			return false;
	} while (eat_between(s, ','));
	return eat(s, ']');
}

static bool skip_member(struct scan *s, enum key key, int depth)
{
	(void)key;
	return skip_value(s, depth);
}

static bool skip_value(struct scan *s, int depth)
{
	bool empty;

	if (s->p == s->end)
		return false;
	switch (*s->p) {
	case '"':
		return skip_string(s, &empty);
	case '{':
		return read_object(s, NULL, skip_member, depth + 1);
	case '[':
		return skip_array(s, depth + 1);
	case 't':
		return skip_word(s, "true", 4);
	case 'f':
		return skip_word(s, "false", 5);
	case 'n':
		return skip_word(s, "null", 4);
	default:
		return skip_number(s);
	}
}

/* A string, or null; *found becomes true if it is not empty. */
static bool read_text(struct scan *s, bool *found)
{
	const char *from = s->p + 1;
	bool empty;

	if (skip_word(s, "null", 4))
		return true;
	if (!skip_string(s, &empty))
		return false;
	if (empty)
		return true;
	*found = true;
	s->out->word = from;
	s->out->word_len = (size_t)(s->p - 1 - from);
	return true;
}

/* As reading_finish() keeps it: the first 23 bytes, so no more are taken here. */
static bool read_finish(struct scan *s)
{
	const char *from = s->p + 1;
	bool empty;

	if (skip_word(s, "null", 4))
		return true;
	if (!skip_string(s, &empty) || memchr(from, '\\', (size_t)(s->p - from)))
		return false;
	if (empty)
		return true;
	s->out->finish = from;
	s->out->finish_len = (size_t)(s->p - 1 - from);
	return s->out->finish_len < MAX_FINISH_BYTES;
}

static bool no_tool_calls(struct scan *s)
{
	if (skip_word(s, "null", 4))
		return true;
	if (!eat(s, '['))
		return false;
	skip_space(s);
	return eat(s, ']');
}

/* A count in plain digits; any other number is left to the reader that knows them all. */
static bool read_count(struct scan *s, int64_t *out)
{
	const char *from = s->p;
	int64_t v = 0;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - from < MAX_COUNT_BYTES)
		v = 10 * v + (*s->p++ - '0');
	*out = v;
	return s->p > from && (*from != '0' || s->p == from + 1) && s->p < s->end &&
	       (*s->p == ',' || *s->p == '}' || *s->p == ' ');
}

static bool usage_member(struct scan *s, enum key key, int depth)
{
	switch (key) {
	case KEY_PROMPT_TOKENS:
		return read_count(s, &s->out->prompt_tokens);
	case KEY_COMPLETION_TOKENS:
		return read_count(s, &s->out->output_tokens);
	default:
		return skip_value(s, depth);
	}
}

static bool delta_member(struct scan *s, enum key key, int depth)
{
	switch (key) {
	case KEY_CONTENT:
		return read_text(s, &s->out->has_text);
	case KEY_REASONING:
	case KEY_REASONING_CONTENT:
		return read_text(s, &s->out->has_reasoning);
	case KEY_TOOL_CALLS:
		return no_tool_calls(s);
	default:
		return skip_value(s, depth);
	}
}

static bool choice_member(struct scan *s, enum key key, int depth)
{
	switch (key) {
	case KEY_DELTA:
		return read_object(s, delta_keys, delta_member, depth + 1);
	case KEY_TEXT:
		return read_text(s, &s->out->has_text);
	case KEY_FINISH_REASON:
		return read_finish(s);
	default:
		return skip_value(s, depth);
	}
}

static bool top_member(struct scan *s, enum key key, int depth)
{
	switch (key) {
	case KEY_CHOICES:
		if (!eat(s, '['))
			return false;
		skip_space(s);
		if (eat(s, ']'))
			return true;
		s->out->has_choice = true;
		return read_object(s, choice_keys, choice_member, depth + 2) && eat_between(s, ']');
	case KEY_USAGE:
		return skip_word(s, "null", 4) ||
		       read_object(s, usage_keys, usage_member, depth + 1);
	case KEY_ERROR:
		return skip_word(s, "null", 4);
	default:
		return skip_value(s, depth);
	}
}

bool chunk_scan(const char *data, size_t len, struct chunk_scan *out)
{
	struct scan s = {.p = data, .end = data + len, .out = out};

	*out = (struct chunk_scan){.prompt_tokens = -1, .output_tokens = -1};
	skip_space(&s);
	if (!read_object(&s, top_keys, top_member, 1))
		return false;
	skip_space(&s);
	return s.p == s.end && (s.seen & 1u << KEY_CHOICES);
}

/* ---- the same again ---- */

#define MAX_SHAPE_BYTES 4096 /* longer events are read each time */

void chunk_shape_init(struct chunk_shape *s)
{
	*s = (struct chunk_shape){0};
	buf_init(&s->around, MAX_SHAPE_BYTES);
}

void chunk_shape_release(struct chunk_shape *s)
{
	buf_release(&s->around);
}

static bool is_like(const struct chunk_shape *s, const char *data, size_t len)
{
	const char *around = buf_head(&s->around), *word = data + s->before, *end;
	size_t size = buf_size(&s->around), behind = size - s->before;

	if (size == 0 || len <= size)
		return false;
	end = data + len - behind;
	return memcmp(data, around, s->before) == 0 &&
	       memcmp(end, around + s->before, behind) == 0 && skip_plain(word, end) == end;
}

bool chunk_scan_like(struct chunk_shape *s, const char *data, size_t len, struct chunk_scan *out)
{
	size_t behind;

	if (is_like(s, data, len)) {
		*out = (struct chunk_scan){.has_text = s->has_text,
					   .has_reasoning = s->has_reasoning,
					   .word = data + s->before,
					   .word_len = len - buf_size(&s->around),
					   .has_choice = true,
					   .prompt_tokens = -1,
					   .output_tokens = -1};
		return true;
	}
	if (!chunk_scan(data, len, out))
		return false;
	if (!out->word || out->finish || out->prompt_tokens >= 0 || out->output_tokens >= 0)
		return true;
	s->before = (size_t)(out->word - data);
	behind = len - s->before - out->word_len;
	s->has_text = out->has_text;
	s->has_reasoning = out->has_reasoning;
	buf_clear(&s->around);
	if (!buf_append(&s->around, data, s->before) ||
	    !buf_append(&s->around, data + len - behind, behind))
		buf_clear(&s->around);
	return true;
}
