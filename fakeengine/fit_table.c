/*
 * Owns a file of per-request rows in memory and the two ways to find a cell in it. Runs at start.
 * Must not know what a column means, nor which tool wrote it.
 */
#include "fit_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/units.h"

#define MAX_FILE_BYTES ((size_t)1 << 30)
#define NAMES_SHOWN    40
#define ROWS_LOOKED_AT 20 /* for a column that the first row may lack */
#define MAX_COLUMNS    64 /* of a table on its side */

/* A table on its side: its members that are arrays of n, each as a vector. */
struct sideways {
	size_t n, n_columns;
	const char *name[MAX_COLUMNS];
	const cJSON **cell[MAX_COLUMNS];
};

struct json_row {
	const cJSON *object;
	struct sideways *sideways; /* or NULL: the object is the row */
	size_t at;		   /* in the vectors */
	int part;
};

struct fit_table {
	struct csv_table *csv; /* or JSON: */
	cJSON **document;
	size_t n_documents;
	struct sideways **sideways;
	size_t n_sideways;
	struct json_row *row;
	size_t n_rows, cap_rows;
	int n_parts;
};

/* ---- rows of JSON ---- */

static struct json_row *row_add(struct fit_table *t, const cJSON *object)
{
	if (t->n_rows == t->cap_rows) {
		t->cap_rows = t->cap_rows ? 2 * t->cap_rows : 256;
		t->row = xreallocarray(t->row, t->cap_rows, sizeof(*t->row));
	}
	t->row[t->n_rows] = (struct json_row){.object = object, .part = t->n_parts};
	return &t->row[t->n_rows++];
}

/* The length that most of an object's arrays have, if there are at least two of them; else 0. */
static size_t common_length(const cJSON *object)
{
	size_t best = 0, most = 1;

	for (const cJSON *m = object->child; m; m = m->next) {
		size_t n = cJSON_IsArray(m) ? (size_t)cJSON_GetArraySize(m) : 0, same = 0;

		for (const cJSON *o = n ? object->child : NULL; o; o = o->next)
			same += cJSON_IsArray(o) && (size_t)cJSON_GetArraySize(o) == n;
		if (same > most) {
			most = same;
			best = n;
		}
	}
	return best;
}

static void add_sideways(struct fit_table *t, const cJSON *object, size_t n)
{
	struct sideways *s = xcalloc(1, sizeof(*s));

	t->sideways = xreallocarray(t->sideways, t->n_sideways + 1, sizeof(struct sideways *));
	t->sideways[t->n_sideways++] = s;
	s->n = n;
	for (const cJSON *m = object->child; m && s->n_columns < MAX_COLUMNS; m = m->next) {
		const cJSON **cell;
		size_t i = 0;

		if (!cJSON_IsArray(m) || (size_t)cJSON_GetArraySize(m) != n)
			continue;
		cell = xcalloc(n, sizeof(const cJSON *));
		for (const cJSON *v = m->child; v; v = v->next)
			cell[i++] = v;
		s->name[s->n_columns] = m->string;
		s->cell[s->n_columns++] = cell;
	}
	for (size_t i = 0; i < n; i++) {
		struct json_row *r = row_add(t, object);

		r->sideways = s;
		r->at = i;
	}
	t->n_parts++;
}

static void add_objects(struct fit_table *t, const cJSON *array)
{
	for (const cJSON *v = array ? array->child : NULL; v; v = v->next)
		if (cJSON_IsObject(v))
			row_add(t, v);
}

static bool add_benchmarks(struct fit_table *t, const cJSON *document)
{
	static const char *const groups[] = {"successful", "incomplete", "errored"};
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(document, "benchmarks");

	if (!cJSON_IsArray(list))
		return false;
	for (const cJSON *b = list->child; b; b = b->next) {
		const cJSON *requests = cJSON_GetObjectItemCaseSensitive(b, "requests");

		for (size_t i = 0; i < ARRAY_LEN(groups); i++)
			add_objects(t, cJSON_GetObjectItemCaseSensitive(requests, groups[i]));
		t->n_parts++;
	}
	return true;
}

static void add_document(struct fit_table *t, const cJSON *v)
{
	size_t n;

	if (cJSON_IsArray(v)) {
		add_objects(t, v);
		return;
	}
	if (!cJSON_IsObject(v) || add_benchmarks(t, v))
		return;
	n = common_length(v);
	if (n > 0)
		add_sideways(t, v, n);
	else
		row_add(t, v);
}

static void keep_document(struct fit_table *t, cJSON *v)
{
	t->document = xreallocarray(t->document, t->n_documents + 1, sizeof(cJSON *));
	t->document[t->n_documents++] = v;
	add_document(t, v);
}

static bool is_blank(const char *p, size_t n)
{
	while (n > 0 && (*p == ' ' || *p == '\t' || *p == '\r')) {
		p++;
		n--;
	}
	return n == 0;
}

/* One document, or if the text is none, a document a line. */
static enum rc parse_json(struct fit_table *t, const char *name, const char *text, size_t len,
			  struct err *e)
{
	const char *end = text + len;
	size_t line = 1;
	cJSON *v;

	if (json_parse(&v, text, len, NULL) == RC_OK) {
		keep_document(t, v);
		return RC_OK;
	}
	for (const char *at = text; at < end; line++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((stop ? stop : end) - at);

		if (!is_blank(at, n)) {
			if (json_parse(&v, at, n, e))
				return err_prefix(e, "%s:%zu: ", name, line);
			keep_document(t, v);
		}
		at += n + 1;
	}
	return RC_OK;
}

/* ---- reading ---- */

enum rc fit_table_parse(struct fit_table **out, const char *name, const char *text, size_t len,
			struct err *e)
{
	struct fit_table *t = xcalloc(1, sizeof(*t));
	size_t blank = 0;
	enum rc rc;

	*out = NULL;
	while (blank < len && strchr(" \t\r\n\xef\xbb\xbf", text[blank]))
		blank++;
	if (blank < len && (text[blank] == '{' || text[blank] == '['))
		rc = parse_json(t, name, text, len, e);
	else
		rc = csv_parse(&t->csv, name, text, len, false, e);
	if (rc == RC_OK && fit_table_rows(t) == 0)
		rc = err_set(e, RC_INPUT, "%s: no rows in it", name);
	if (rc) {
		fit_table_free(t);
		return rc;
	}
	*out = t;
	return RC_OK;
}

enum rc fit_table_read(struct fit_table **out, const char *path, struct err *e)
{
	struct buf text;
	enum rc rc;

	*out = NULL;
	buf_init(&text, MAX_FILE_BYTES);
	rc = (enum rc)buf_read_file(&text, path, e);
	if (rc == RC_OK)
		rc = fit_table_parse(out, path, buf_cstr(&text), buf_size(&text), e);
	buf_release(&text);
	return rc;
}

void fit_table_free(struct fit_table *t)
{
	if (!t)
		return;
	csv_table_free(t->csv);
	for (size_t i = 0; i < t->n_sideways; i++) {
		for (size_t c = 0; c < t->sideways[i]->n_columns; c++)
			free(t->sideways[i]->cell[c]);
		free(t->sideways[i]);
	}
	for (size_t i = 0; i < t->n_documents; i++)
		cJSON_Delete(t->document[i]);
	free(t->sideways);
	free(t->document);
	free(t->row);
	free(t);
}

size_t fit_table_rows(const struct fit_table *t)
{
	return t->csv ? csv_rows(t->csv) : t->n_rows;
}

int fit_table_part(const struct fit_table *t, size_t row)
{
	return t->csv ? 0 : t->row[row].part;
}

/* ---- cells ---- */

/* By a path of members. A name that has dots in it itself is found as well. */
static const cJSON *member(const cJSON *object, const char *path)
{
	char name[128];

	while (object) {
		const char *dot = strchr(path, '.');
		const cJSON *whole = cJSON_GetObjectItemCaseSensitive(object, path);

		if (whole || !dot || (size_t)(dot - path) >= sizeof(name))
			return whole;
		memcpy(name, path, (size_t)(dot - path));
		name[dot - path] = '\0';
		object = cJSON_GetObjectItemCaseSensitive(object, name);
		path = dot + 1;
	}
	return NULL;
}

static const cJSON *json_cell(const struct json_row *r, const char *column)
{
	for (size_t i = 0; r->sideways && i < r->sideways->n_columns; i++)
		if (strcmp(r->sideways->name[i], column) == 0)
			return r->sideways->cell[i][r->at];
	return member(r->object, column);
}

static const char *csv_cell(const struct fit_table *t, size_t row, const char *column)
{
	return csv_field(t->csv, row, csv_find(t->csv, column));
}

bool fit_table_has(const struct fit_table *t, const char *column)
{
	size_t n = fit_table_rows(t) < ROWS_LOOKED_AT ? fit_table_rows(t) : ROWS_LOOKED_AT;

	if (t->csv)
		return csv_find(t->csv, column) >= 0;
	for (size_t i = 0; i < n; i++)
		if (json_cell(&t->row[i], column))
			return true;
	return false;
}

static void name_members(const cJSON *object, const char *prefix, struct buf *out, int *n)
{
	for (const cJSON *m = object->child; m && *n < NAMES_SHOWN; m = m->next) {
		char *path = *prefix ? xasprintf("%s.%s", prefix, m->string) : xstrdup(m->string);

		if (cJSON_IsObject(m) && m->child) {
			name_members(m, path, out, n);
		} else {
			buf_printf(out, "%s%s", *n ? ", " : "", path);
			(*n)++;
		}
		free(path);
	}
}

void fit_table_names(const struct fit_table *t, struct buf *out)
{
	int n = 0;

	if (t->csv) {
		for (size_t i = 0; i < csv_columns(t->csv) && i < NAMES_SHOWN; i++)
			buf_printf(out, "%s%s", i ? ", " : "", csv_column_name(t->csv, i));
		return;
	}
	name_members(t->row[0].object, "", out, &n);
}

static enum fit_cell number_of(const char *text, double *out)
{
	if (*text == '\0')
		return CELL_NONE;
	if (strcmp(text, "true") == 0 || strcmp(text, "True") == 0)
		*out = 1;
	else if (strcmp(text, "false") == 0 || strcmp(text, "False") == 0)
		*out = 0;
	else if (parse_double(text, -HUGE_VAL, HUGE_VAL, out, NULL))
		return CELL_BAD;
	return CELL_OK;
}

enum fit_cell fit_table_num(const struct fit_table *t, size_t row, const char *column, double *out)
{
	const cJSON *v;

	if (t->csv)
		return number_of(csv_cell(t, row, column), out);
	v = json_cell(&t->row[row], column);
	if (!v || cJSON_IsNull(v))
		return CELL_NONE;
	if (cJSON_IsString(v))
		return number_of(v->valuestring, out);
	if (!cJSON_IsNumber(v) && !cJSON_IsBool(v))
		return CELL_BAD;
	*out = cJSON_IsNumber(v) ? v->valuedouble : cJSON_IsTrue(v);
	return isfinite(*out) ? CELL_OK : CELL_BAD;
}

enum fit_cell fit_table_text(const struct fit_table *t, size_t row, const char *column,
			     const char **out)
{
	const cJSON *v;

	if (t->csv) {
		*out = csv_cell(t, row, column);
		return **out ? CELL_OK : CELL_NONE;
	}
	v = json_cell(&t->row[row], column);
	if (!v || cJSON_IsNull(v))
		return CELL_NONE;
	if (!cJSON_IsString(v))
		return CELL_BAD;
	*out = v->valuestring;
	return CELL_OK;
}

static enum fit_cell sum_of_array(const cJSON *v, double *sum, size_t *n)
{
	if (!cJSON_IsArray(v))
		return CELL_BAD;
	*sum = 0;
	*n = 0;
	for (v = v->child; v; v = v->next, (*n)++) {
		if (!cJSON_IsNumber(v) || !isfinite(v->valuedouble))
			return CELL_BAD;
		*sum += v->valuedouble;
	}
	return CELL_OK;
}

enum fit_cell fit_table_sum(const struct fit_table *t, size_t row, const char *column, double *sum,
			    size_t *n)
{
	enum fit_cell c = CELL_BAD;
	const char *text;
	const cJSON *v;
	cJSON *list;

	if (!t->csv) {
		v = json_cell(&t->row[row], column);
		return v && !cJSON_IsNull(v) ? sum_of_array(v, sum, n) : CELL_NONE;
	}
	text = csv_cell(t, row, column);
	if (*text == '\0')
		return CELL_NONE;
	if (json_parse(&list, text, strlen(text), NULL) == RC_OK) {
		c = sum_of_array(list, sum, n);
		cJSON_Delete(list);
	}
	return c;
}
