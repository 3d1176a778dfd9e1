/*
 * Owns the strictness that cJSON lacks: one pass over the text checks RFC 8259's grammar and the
 * depth and finds the place of a mistake; only then does cJSON build the tree. Also the getters and
 * the way back to text. Any thread; knows no API.
 */
#include "jsonx.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "utf8.h"

/* cJSON copies a number into 64 bytes and leaves the rest standing in the text. */
#define NUMBER_MAX 63

/* ---- the check ---- */

struct scan {
	const char *start, *p, *end;
	const char *want; /* what should have stood at p, once something is wrong */
	bool too_deep;
	char *mended; /* a copy in which impossible escapes read \ufffd, if there are any */
};

static bool scan_value(struct scan *s, int depth);

static bool fail(struct scan *s, const char *want)
{
	s->want = want;
	return false;
}

static int peek(const struct scan *s)
{
	return s->p < s->end ? (unsigned char)*s->p : -1;
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool scan_literal(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return fail(s, "a value");
	s->p += n;
	return true;
}

static bool scan_digits(struct scan *s)
{
	if (!isdigit(peek(s)))
		return fail(s, "a digit");
	while (isdigit(peek(s)))
		s->p++;
	return true;
}

static bool scan_number(struct scan *s)
{
	const char *from = s->p;

	if (peek(s) == '-')
		s->p++;
	if (peek(s) == '0')
		s->p++;
	else if (!scan_digits(s))
		return false;
	if (peek(s) == '.') {
		s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->p++;
		if (peek(s) == '+' || peek(s) == '-')
			s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (s->p - from > NUMBER_MAX) {
		s->p = from;
		return fail(s, "a number of at most 63 characters");
	}
	return true;
}

/* The four digits behind "\u", or -1. */
static int hex4(const char *p, const char *end)
{
	int v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int c = (unsigned char)p[i];

		if (!isxdigit(c))
			return -1;
		v = v * 16 + (isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
	}
	return v;
}

/* The six bytes at `escape` name no character a C string can hold. */
static void mend_escape(struct scan *s, const char *escape)
{
	static const char unknown[6] = {'\\', 'u', 'f', 'f', 'f', 'd'};
	size_t len = (size_t)(s->end - s->start);

	if (!s->mended) {
		s->mended = xmalloc(len);
		memcpy(s->mended, s->start, len);
	}
	memcpy(s->mended + (escape - s->start), unknown, sizeof(unknown));
}

static bool scan_escape(struct scan *s)
{
	const char *at = s->p;
	int unit, low;

	s->p++;
	if (peek(s) != 'u') {
		if (peek(s) <= 0 || !strchr("\"\\/bfnrt", peek(s)))
			return fail(s, "an escape (one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u)");
		s->p++;
		return true;
	}
	s->p++;
	unit = hex4(s->p, s->end);
	if (unit < 0)
		return fail(s, "four hexadecimal digits");
	s->p += 4;
	if (unit >= 0xd800 && unit <= 0xdbff && s->end - s->p >= 6 && s->p[0] == '\\' &&
	    s->p[1] == 'u') {
		low = hex4(s->p + 2, s->end);
		if (low >= 0xdc00 && low <= 0xdfff) {
			s->p += 6;
			return true;
		}
	}
	if (unit == 0 || (unit >= 0xd800 && unit <= 0xdfff))
		mend_escape(s, at);
	return true;
}

static bool scan_string(struct scan *s)
{
	s->p++;
	for (;;) {
		int c = peek(s);

		if (c == '"')
			break;
		if (c < 0)
			return fail(s, "the string's closing quote");
		if (c < 0x20)
			return fail(s, "an escape instead of a control character");
		if (c == '\\') {
			if (!scan_escape(s))
				return false;
		} else {
			s->p++;
		}
	}
	s->p++;
	return true;
}

static bool scan_member_name(struct scan *s)
{
	if (peek(s) != '"')
		return fail(s, "a key in quotes");
	if (!scan_string(s))
		return false;
	skip_space(s);
	if (peek(s) != ':')
		return fail(s, "':'");
	s->p++;
	skip_space(s);
	return true;
}

/* An object or an array, by its closing bracket. */
static bool scan_container(struct scan *s, int close, int depth)
{
	if (depth > JSON_MAX_DEPTH) {
		s->too_deep = true;
		return false;
	}
	s->p++;
	skip_space(s);
	if (peek(s) == close) {
		s->p++;
		return true;
	}
	for (;;) {
		if (close == '}' && !scan_member_name(s))
			return false;
		if (!scan_value(s, depth))
			return false;
		skip_space(s);
		if (peek(s) == close)
			break;
		if (peek(s) != ',')
			return fail(s, close == '}' ? "',' or '}'" : "',' or ']'");
		s->p++;
		skip_space(s);
	}
	s->p++;
	return true;
}

static bool scan_value(struct scan *s, int depth)
{
	switch (peek(s)) {
	case '{':
		return scan_container(s, '}', depth + 1);
	case '[':
		return scan_container(s, ']', depth + 1);
	case '"':
		return scan_string(s);
	case 't':
		return scan_literal(s, "true");
	case 'f':
		return scan_literal(s, "false");
	case 'n':
		return scan_literal(s, "null");
	default:
		if (peek(s) == '-' || isdigit(peek(s)))
			return scan_number(s);
		return fail(s, "a value");
	}
}

static enum rc complain(const struct scan *s, struct err *e)
{
	size_t line = 1, col = 1, len;
	uint32_t cp;

	for (const char *p = s->start; p < s->p; p++) {
		if (*p == '\n') {
			line++;
			col = 1;
		} else if ((*p & 0xc0) != 0x80) {
			col++; /* characters, not bytes */
		}
	}
	if (s->too_deep)
		return err_set(e, RC_LIMIT, "line %zu, column %zu: nested deeper than %d", line,
			       col, JSON_MAX_DEPTH);
	if (s->p == s->end)
		return err_set(e, RC_INPUT, "line %zu, column %zu: the text ends, want %s", line,
			       col, s->want);
	len = utf8_decode(s->p, (size_t)(s->end - s->p), &cp);
	if (!len || cp < 0x20 || cp == 0x7f)
		return err_set(e, RC_INPUT, "line %zu, column %zu: got byte 0x%02x, want %s", line,
			       col, (unsigned char)*s->p, s->want);
	return err_set(e, RC_INPUT, "line %zu, column %zu: got '%.*s', want %s", line, col,
		       (int)len, s->p, s->want);
}

enum rc json_parse(cJSON **out, const char *text, size_t len, struct err *e)
{
	struct scan s = {.start = text, .p = text, .end = text + len};
	enum rc rc = RC_OK;

	*out = NULL;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		s.p = s.start = text + 3;
	skip_space(&s);
	if (!scan_value(&s, 0)) {
		rc = complain(&s, e);
		goto done;
	}
	skip_space(&s);
	if (s.p != s.end) {
		fail(&s, "nothing more");
		rc = complain(&s, e);
		goto done;
	}
	*out = cJSON_ParseWithLength(s.mended ? s.mended : s.start, (size_t)(s.end - s.start));
	if (!*out)
		die("out of memory");
done:
	free(s.mended);
	return rc;
}

/* ---- getters ---- */

/* The member, or NULL if it is absent or null. */
static const cJSON *member(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNull(v) ? NULL : v;
}

static enum rc wrong(const cJSON *v, const char *path, const char *key, struct err *e,
		     const char *want)
{
	char got[64];

	if (cJSON_IsString(v))
		snprintf(got, sizeof(got), "\"%.*s%s\"", (int)utf8_cut(v->valuestring, 40),
			 v->valuestring, strlen(v->valuestring) > 40 ? "..." : "");
	else if (cJSON_IsNumber(v))
		snprintf(got, sizeof(got), "%.15g", v->valuedouble);
	else
		snprintf(got, sizeof(got), "%s",
			 cJSON_IsBool(v)    ? (cJSON_IsTrue(v) ? "true" : "false")
			 : cJSON_IsArray(v) ? "an array"
					    : "an object");
	return err_set(e, RC_INPUT, "%s%s%s: got %s, want %s", path, *path ? "." : "", key, got,
		       want);
}

enum rc json_get_bool(const cJSON *o, const char *path, const char *key, bool *out, struct err *e)
{
	const cJSON *v = member(o, key);

	if (!v)
		return RC_OK;
	if (!cJSON_IsBool(v))
		return wrong(v, path, key, e, "true or false");
	*out = cJSON_IsTrue(v);
	return RC_OK;
}

enum rc json_get_int(const cJSON *o, const char *path, const char *key, int64_t min, int64_t max,
		     int64_t *out, struct err *e)
{
	const cJSON *v = member(o, key);
	char want[80] = "an integer";
	double d;

	if (!v)
		return RC_OK;
	d = cJSON_IsNumber(v) ? v->valuedouble : NAN;
	/* The bounds keep the cast defined: 2^63 is a double, INT64_MAX is not. */
	if (d >= -0x1p63 && d < 0x1p63 && d == floor(d) && (int64_t)d >= min && (int64_t)d <= max) {
		*out = (int64_t)d;
		return RC_OK;
	}
	if (max != INT64_MAX)
		snprintf(want, sizeof(want), "an integer from %lld to %lld", (long long)min,
			 (long long)max);
	else if (min != INT64_MIN)
		snprintf(want, sizeof(want), "an integer of at least %lld", (long long)min);
	return wrong(v, path, key, e, want);
}

enum rc json_get_num(const cJSON *o, const char *path, const char *key, double min, double max,
		     double *out, struct err *e)
{
	const cJSON *v = member(o, key);
	char want[80] = "a number";

	if (!v)
		return RC_OK;
	if (cJSON_IsNumber(v) && isfinite(v->valuedouble) && v->valuedouble >= min &&
	    v->valuedouble <= max) {
		*out = v->valuedouble;
		return RC_OK;
	}
	if (isfinite(max))
		snprintf(want, sizeof(want), "a number from %g to %g", min, max);
	else if (isfinite(min))
		snprintf(want, sizeof(want), "a number of at least %g", min);
	return wrong(v, path, key, e, want);
}

enum rc json_get_str(const cJSON *o, const char *path, const char *key, const char **out,
		     struct err *e)
{
	const cJSON *v = member(o, key);

	if (!v)
		return RC_OK;
	if (!cJSON_IsString(v))
		return wrong(v, path, key, e, "a string");
	*out = v->valuestring;
	return RC_OK;
}

enum rc json_get_array(const cJSON *o, const char *path, const char *key, const cJSON **out,
		       struct err *e)
{
	const cJSON *v = member(o, key);

	if (!v)
		return RC_OK;
	if (!cJSON_IsArray(v))
		return wrong(v, path, key, e, "an array");
	*out = v;
	return RC_OK;
}

enum rc json_get_object(const cJSON *o, const char *path, const char *key, const cJSON **out,
			struct err *e)
{
	const cJSON *v = member(o, key);

	if (!v)
		return RC_OK;
	if (!cJSON_IsObject(v))
		return wrong(v, path, key, e, "an object");
	*out = v;
	return RC_OK;
}

/* ---- text ---- */

/* What replaces the character at s, or NULL if it passes as it is; *len is its length in s. */
static const char *replacement(const char *s, size_t n, size_t *len, char out[8])
{
	static const char escapes[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
				       ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};
	unsigned char c = (unsigned char)*s;
	uint32_t cp;

	*len = 1;
	if (c < 0x80) {
		if (c < sizeof(escapes) && escapes[c])
			snprintf(out, 8, "\\%c", escapes[c]);
		else if (c < 0x20)
			snprintf(out, 8, "\\u%04x", c);
		else
			return NULL;
		return out;
	}
	*len = utf8_decode(s, n, &cp);
	if (*len)
		return NULL;
	*len = 1;
	return "\xef\xbf\xbd";
}

/* How many characters from s on pass as they are, at a glance: nearly all of a text does. */
static size_t plain_run(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && (signed char)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
		i++;
	return i;
}

bool json_escape(struct buf *b, const char *s, size_t len)
{
	size_t before = buf_size(b), run = 0, n;
	char out[8];

	for (size_t i = plain_run(s, len); i < len; i += n + plain_run(s + i + n, len - i - n)) {
		const char *r = replacement(s + i, len - i, &n, out);

		if (!r)
			continue;
		if (!buf_append(b, s + run, i - run) || !buf_puts(b, r))
			goto full;
		run = i + n;
	}
	if (buf_append(b, s + run, len - run))
		return true;
full:
	b->len = b->off + before;
	return false;
}

static bool quote(struct buf *b, const char *s)
{
	return buf_putc(b, '"') && json_escape(b, s, strlen(s)) && buf_putc(b, '"');
}

/* Whole, or not at all. */
static bool all_or_nothing(struct buf *b, size_t before, bool done)
{
	if (!done)
		b->len = b->off + before;
	return done;
}

bool json_quote(struct buf *b, const char *s)
{
	size_t before = buf_size(b);

	return s ? all_or_nothing(b, before, quote(b, s)) : buf_puts(b, "null");
}

void json_add_number(cJSON *o, const char *key, double v)
{
	if (isfinite(v))
		cJSON_AddNumberToObject(o, key, v);
	else
		cJSON_AddNullToObject(o, key);
}

/* The fewest digits that read back as the same double. */
static bool print_number(struct buf *b, double v)
{
	char text[40] = "null"; /* JSON has no infinity and no NaN */

	for (int digits = 15; isfinite(v) && digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	if (v == floor(v) && fabs(v) < 0x1p53)
		snprintf(text, sizeof(text), "%.0f", v);
	return buf_puts(b, text);
}

static bool line_break(struct buf *b, bool pretty, int depth)
{
	return !pretty || buf_printf(b, "\n%*s", 2 * depth, "");
}

static bool print(struct buf *b, const cJSON *v, bool pretty, int depth)
{
	bool object = cJSON_IsObject(v);

	if (cJSON_IsString(v))
		return quote(b, v->valuestring);
	if (cJSON_IsNumber(v))
		return print_number(b, v->valuedouble);
	if (cJSON_IsBool(v))
		return buf_puts(b, cJSON_IsTrue(v) ? "true" : "false");
	if (cJSON_IsRaw(v))
		return buf_puts(b, v->valuestring);
	if (!object && !cJSON_IsArray(v))
		return buf_puts(b, "null");
	if (!v->child)
		return buf_puts(b, object ? "{}" : "[]");
	if (!buf_putc(b, object ? '{' : '['))
		return false;
	for (const cJSON *c = v->child; c; c = c->next) {
		if ((c != v->child && !buf_putc(b, ',')) || !line_break(b, pretty, depth + 1))
			return false;
		if (object && (!quote(b, c->string) || !buf_puts(b, pretty ? ": " : ":")))
			return false;
		if (!print(b, c, pretty, depth + 1))
			return false;
	}
	return line_break(b, pretty, depth) && buf_putc(b, object ? '}' : ']');
}

bool json_print(struct buf *b, const cJSON *v, bool pretty)
{
	size_t before = buf_size(b);

	return all_or_nothing(b, before, print(b, v, pretty, 0));
}
