/*
 * Owns the reading of traces. Main thread, before anything is sent. Must not know how a trace is
 * replayed.
 */
#include "trace.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"

#define MAX_TRACE_BYTES (4ull << 30)
#define MAX_ROWS	9999999 /* a request's id has seven digits for its place in a level */
#define MAX_TOKENS	10000000
#define MAX_TIME_S	2e9 /* 63 years, or a date until 2033 */

static enum rc add_row(struct trace *t, const struct trace_row *row, struct err *e)
{
	if (row->input_tokens == 0 || row->output_tokens == 0) {
		t->skipped++;
		return RC_OK;
	}
	if (t->n == MAX_ROWS)
		return err_set(e, RC_LIMIT, "more than %d requests", MAX_ROWS);
	if ((t->n & (t->n - 1)) == 0)
		t->row = xreallocarray(t->row, t->n ? 2 * t->n : 1, sizeof(*t->row));
	t->row[t->n] = *row;
	t->row[t->n].seq = t->n;
	t->n++;
	return RC_OK;
}

/* ---- CSV ---- */

static bool two_digits(const char **s, int max, int *out)
{
	const char *p = *s;

	if (!isdigit((unsigned char)p[0]) || !isdigit((unsigned char)p[1]))
		return false;
	*out = 10 * (p[0] - '0') + p[1] - '0';
	*s += 2;
	return *out <= max;
}

static bool skip_char(const char **s, char c)
{
	return **s == c && *(*s)++;
}

/* "2023-11-16 18:15:46.6805900", or with T, Z or +00:00. False: something else. */
static bool parse_date(const char *s, int64_t *out_ns)
{
	struct tm tm = {0};
	int century, year, ok;
	int64_t ns = 0, unit = 100000000;

	ok = two_digits(&s, 99, &century) && two_digits(&s, 99, &year) && skip_char(&s, '-') &&
	     two_digits(&s, 12, &tm.tm_mon) && skip_char(&s, '-') &&
	     two_digits(&s, 31, &tm.tm_mday) && (skip_char(&s, ' ') || skip_char(&s, 'T')) &&
	     two_digits(&s, 23, &tm.tm_hour) && skip_char(&s, ':') &&
	     two_digits(&s, 59, &tm.tm_min) && skip_char(&s, ':') && two_digits(&s, 60, &tm.tm_sec);
	if (!ok || tm.tm_mon == 0 || tm.tm_mday == 0 || century < 19 || century > 21)
		return false;
	if (skip_char(&s, '.'))
		for (; isdigit((unsigned char)*s); s++, unit /= 10)
			ns += unit * (*s - '0');
	if (*s && strcmp(s, "Z") != 0 && strcmp(s, "+00:00") != 0)
		return false;
	tm.tm_year = 100 * century + year - 1900;
	tm.tm_mon--;
	*out_ns = (int64_t)timegm(&tm) * 1000000000 + ns;
	return true;
}

static enum rc field_date(const struct csv_table *t, size_t row, int col, double unit_s,
			  int64_t *out_ns, struct err *e)
{
	(void)unit_s;
	if (parse_date(csv_field(t, row, col), out_ns))
		return RC_OK;
	return csv_field_err(t, row, col, e,
			     "got \"%.40s\", want a time such as 2023-11-16 18:15:46.68",
			     csv_field(t, row, col));
}

static enum rc field_time(const struct csv_table *t, size_t row, int col, double unit_s,
			  int64_t *out_ns, struct err *e)
{
	double v;
	enum rc rc = csv_field_num(t, row, col, NAN, &v, e);

	if (!rc && !(v >= 0 && v * unit_s <= MAX_TIME_S))
		rc = csv_field_err(t, row, col, e, "got \"%.40s\", want a time of 0 or more",
				   csv_field(t, row, col));
	if (!rc)
		*out_ns = llround(v * unit_s * 1e9);
	return rc;
}

static enum rc field_tokens(const struct csv_table *t, size_t row, int col, int32_t *out,
			    struct err *e)
{
	int64_t v = 0;
	enum rc rc = csv_field_int(t, row, col, -1, &v, e);

	if (!rc && (v < 0 || v > MAX_TOKENS))
		rc = csv_field_err(t, row, col, e, "got \"%.40s\", want 0 to %d tokens",
				   csv_field(t, row, col), MAX_TOKENS);
	*out = (int32_t)v;
	return rc;
}

/* Kinds of CSV trace; the first whose columns are all there is meant. */
static const struct csv_kind {
	const char *time, *input, *output, *prompt;
	double unit_s;
	enum rc (*read_time)(const struct csv_table *t, size_t row, int col, double unit_s,
			     int64_t *out_ns, struct err *e);
} csv_kinds[] = {
	{"TIMESTAMP", "ContextTokens", "GeneratedTokens", NULL, 1, field_date},
	{"Timestamp", "Request tokens", "Response tokens", NULL, 1, field_time},
	{"sched_ms", NULL, "output_tokens", "prompt", 1e-3, field_time},
};

static const struct csv_kind *csv_kind_of(const struct csv_table *t)
{
	for (size_t i = 0; i < sizeof(csv_kinds) / sizeof(csv_kinds[0]); i++) {
		const struct csv_kind *k = &csv_kinds[i];

		if (csv_find(t, k->time) >= 0 && csv_find(t, k->output) >= 0 &&
		    (!k->input || csv_find(t, k->input) >= 0) &&
		    (!k->prompt || csv_find(t, k->prompt) >= 0))
			return k;
	}
	return NULL;
}

/* A plan lists warm-ups, and every level for every target: one point of them is one trace. */
static bool is_first_point(const struct csv_table *t, size_t row, int col, const char **first)
{
	const char *point = csv_field(t, row, col);

	if (col < 0)
		return true;
	if (point[0] == '-')
		return false;
	if (!*first)
		*first = point;
	return strcmp(point, *first) == 0;
}

static enum rc parse_csv(struct trace *out, const char *name, const char *text, size_t len,
			 struct err *e)
{
	const struct csv_kind *k;
	const char *first = NULL;
	struct csv_table *t;
	int time_col, input_col, output_col, prompt_col, point_col;
	enum rc rc = csv_parse(&t, name, text, len, false, e);

	if (rc)
		return rc;
	out->texts = t;
	k = csv_kind_of(t);
	if (!k)
		return err_set(e, RC_INPUT,
			       "%s: no trace: want columns TIMESTAMP, ContextTokens, "
			       "GeneratedTokens (Azure), Timestamp, Request tokens, Response "
			       "tokens (BurstGPT), or those of `loadgen plan --csv`",
			       name);
	out->planned = k->prompt != NULL;
	time_col = csv_find(t, k->time);
	output_col = csv_find(t, k->output);
	input_col = k->input ? csv_find(t, k->input) : -1;
	prompt_col = k->prompt ? csv_find(t, k->prompt) : -1;
	point_col = k->prompt ? csv_find(t, "point") : -1;
	for (size_t i = 0; i < csv_rows(t) && !rc; i++) {
		struct trace_row row = {.input_tokens = 1};

		if (!is_first_point(t, i, point_col, &first))
			continue;
		rc = k->read_time(t, i, time_col, k->unit_s, &row.at_ns, e);
		if (!rc && k->input)
			rc = field_tokens(t, i, input_col, &row.input_tokens, e);
		if (!rc)
			rc = field_tokens(t, i, output_col, &row.output_tokens, e);
		if (!rc && k->prompt) {
			row.prompt = csv_field(t, i, prompt_col);
			if (!*row.prompt)
				rc = csv_field_err(t, i, prompt_col, e, "an empty prompt");
		}
		if (!rc)
			rc = add_row(out, &row, e);
	}
	return rc;
}

/* ---- JSONL ---- */

static enum rc add_blocks(struct trace *t, const cJSON *ids, struct trace_row *row, struct err *e)
{
	int64_t want = (row->input_tokens + t->block_tokens - 1) / t->block_tokens;
	const cJSON *id;

	row->first_block = t->n_blocks;
	cJSON_ArrayForEach(id, ids)
	{
		double v = cJSON_IsNumber(id) ? id->valuedouble : -1;

		if (v < 0 || v > UINT32_MAX || v != floor(v))
			return err_set(e, RC_INPUT, "hash_ids: want whole numbers from 0");
		if ((t->n_blocks & (t->n_blocks - 1)) == 0)
			t->block = xreallocarray(t->block, t->n_blocks ? 2 * t->n_blocks : 1,
						 sizeof(*t->block));
		t->block[t->n_blocks++] = (uint32_t)v;
	}
	row->n_blocks = t->n_blocks - row->first_block;
	if ((int64_t)row->n_blocks > want)
		return err_set(e, RC_INPUT,
			       "hash_ids: %zu blocks of %d tokens, but input_length is %d",
			       row->n_blocks, t->block_tokens, row->input_tokens);
	return RC_OK;
}

static enum rc need_key(const cJSON *o, const char *key, struct err *e)
{
	if (cJSON_GetObjectItemCaseSensitive(o, key))
		return RC_OK;
	return err_set(e, RC_INPUT, "%s: missing", key);
}

static enum rc read_object(struct trace *t, const cJSON *o, struct err *e)
{
	bool qwen = cJSON_GetObjectItemCaseSensitive(o, "chat_id") != NULL;
	int64_t input = 0, output = 0;
	double at_s = 0, unit_s = qwen ? 1 : 1e-3;
	const cJSON *ids = NULL;
	struct trace_row row = {0};
	enum rc rc;

	if (!cJSON_IsObject(o))
		return err_set(e, RC_INPUT, "want an object");
	rc = need_key(o, "timestamp", e);
	if (!rc)
		rc = need_key(o, "input_length", e);
	if (!rc)
		rc = need_key(o, "output_length", e);
	if (!rc)
		rc = json_get_num(o, "", "timestamp", 0, MAX_TIME_S / unit_s, &at_s, e);
	if (!rc)
		rc = json_get_int(o, "", "input_length", 0, MAX_TOKENS, &input, e);
	if (!rc)
		rc = json_get_int(o, "", "output_length", 0, MAX_TOKENS, &output, e);
	if (!rc)
		rc = json_get_array(o, "", "hash_ids", &ids, e);
	if (rc)
		return rc;
	t->block_tokens = qwen ? 16 : 512;
	row.at_ns = llround(at_s * unit_s * 1e9);
	row.input_tokens = (int32_t)input;
	row.output_tokens = (int32_t)output;
	rc = add_blocks(t, ids, &row, e);
	return rc ? rc : add_row(t, &row, e);
}

static bool is_blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isspace((unsigned char)s[i]))
			return false;
	return true;
}

static enum rc parse_jsonl(struct trace *out, const char *name, const char *text, size_t len,
			   struct err *e)
{
	size_t n;

	for (size_t at = 0, line = 1; at < len; at += n + 1, line++) {
		const char *end = memchr(text + at, '\n', len - at);
		cJSON *o = NULL;
		enum rc rc;

		n = end ? (size_t)(end - text) - at : len - at;
		if (is_blank(text + at, n))
			continue;
		rc = json_parse(&o, text + at, n, e);
		if (!rc)
			rc = read_object(out, o, e);
		cJSON_Delete(o);
		if (rc)
			return err_prefix(e, "%s:%zu: ", name, line);
	}
	return RC_OK;
}

/* ---- */

static int by_time(const void *a, const void *b)
{
	const struct trace_row *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

enum rc trace_parse(struct trace *out, const char *name, const char *text, size_t len,
		    struct err *e)
{
	size_t at = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	int64_t first_ns;
	enum rc rc;

	while (at < len && isspace((unsigned char)text[at]))
		at++;
	if (at < len && text[at] == '{')
		rc = parse_jsonl(out, name, text, len, e);
	else
		rc = parse_csv(out, name, text, len, e);
	if (!rc && !out->n)
		rc = err_set(e, RC_INPUT, "%s: holds no requests%s", name,
			     out->skipped ? " but such of 0 tokens" : "");
	if (rc)
		return rc;
	qsort(out->row, out->n, sizeof(*out->row), by_time);
	first_ns = out->planned ? 0 : out->row[0].at_ns;
	for (size_t i = 0; i < out->n; i++)
		out->row[i].at_ns -= first_ns;
	return RC_OK;
}

enum rc trace_read(struct trace *out, const char *path, struct err *e)
{
	struct buf b;
	enum rc rc;

	buf_init(&b, MAX_TRACE_BYTES);
	rc = (enum rc)buf_read_file(&b, path, e);
	if (!rc)
		rc = trace_parse(out, path, buf_head(&b), buf_size(&b), e);
	buf_release(&b);
	return rc;
}

void trace_release(struct trace *t)
{
	free(t->row);
	free(t->block);
	csv_table_free(t->texts);
	*t = (struct trace){0};
}
