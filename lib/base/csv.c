/*
 * Owns the bytes of a CSV file in both directions: quoting, line ends, whole rows. A writer and a
 * table belong to the thread that made them. Knows no column of ours by name.
 */
#include "csv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "check.h"
#include "die.h"
#include "units.h"

#define GATHER_BYTES  (64u << 10)
#define PENDING_BYTES (64u << 20) /* more than this waits for the disk: the rows are refused */
#define FILE_BYTES    ((size_t)4 << 30)

/* ---- writer ---- */

struct csv_writer {
	int fd;
	char *path;
	size_t n_columns;
	size_t n_fields; /* of the row being built */
	size_t row_at;	 /* where that row starts in `rows`, from its head */
	bool too_long;	 /* that row did not fit; csv_end drops and reports it */
	bool buffered;
	struct buf rows; /* whole rows not yet written, then the row being built */
};

static void add_text(struct csv_writer *w, const char *s, size_t n)
{
	w->too_long |= !buf_append(&w->rows, s, n);
}

/* Room for a field of up to n bytes behind its separator; NULL at the cap. */
static char *begin_field(struct csv_writer *w, size_t n)
{
	size_t comma = w->n_fields > 0;
	char *to;

	CHECK(w->n_fields < w->n_columns);
	w->n_fields++;
	to = buf_reserve(&w->rows, comma + n);
	if (!to) {
		w->too_long = true;
		return NULL;
	}
	*to = ',';
	w->rows.len += comma;
	return to + comma;
}

static void add_quoted(struct csv_writer *w, const char *s)
{
	size_t run;

	add_text(w, "\"", 1);
	for (; *s; s += run) {
		run = strcspn(s, "\"");
		add_text(w, s, run);
		if (s[run] == '"') {
			add_text(w, "\"\"", 2);
			run++;
		}
	}
	add_text(w, "\"", 1);
}

/* Not strcspn(): that makes a table of its set in every call, and most fields are a word. */
static size_t plain_len(const char *s)
{
	static const bool ends[256] = {
		['\0'] = true, [','] = true, ['"'] = true, ['\r'] = true, ['\n'] = true};
	size_t n = 0;

	while (!ends[(unsigned char)s[n]])
		n++;
	return n;
}

void csv_str(struct csv_writer *w, const char *s)
{
	size_t len = s ? plain_len(s) : 0;
	char *to = begin_field(w, len);

	/* A single column's empty field is quoted: an empty line would not read back as a row. */
	if (!to)
		return;
	if ((s && s[len]) || (len == 0 && w->n_columns == 1)) {
		add_quoted(w, s ? s : "");
	} else if (len) {
		memcpy(to, s, len);
		w->rows.len += len;
	}
}

void csv_int(struct csv_writer *w, int64_t v)
{
	char *to = begin_field(w, PRINTED_INT_BYTES);

	if (to)
		w->rows.len += print_int(to, v);
}

void csv_num(struct csv_writer *w, double v, int decimals)
{
	if (isnan(v)) {
		csv_empty(w);
		return;
	}
	if (begin_field(w, 0))
		w->too_long |= !buf_putfixed(&w->rows, v, decimals);
}

void csv_empty(struct csv_writer *w)
{
	csv_str(w, NULL);
}

/* What could not be written stays: a disk that has room again gets the rest of a row, not a gap. */
static enum rc write_out(struct csv_writer *w, struct err *e)
{
	while (buf_size(&w->rows)) {
		ssize_t n = write(w->fd, buf_head(&w->rows), buf_size(&w->rows));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, RC_IO, "%s: %s", w->path, strerror(errno));
		buf_consume(&w->rows, (size_t)n);
	}
	return RC_OK;
}

enum rc csv_end(struct csv_writer *w, struct err *e)
{
	size_t size;

	CHECK(w->n_fields == w->n_columns);
	add_text(w, "\n", 1);
	w->n_fields = 0;
	if (w->too_long) {
		w->rows.len = w->rows.off + w->row_at;
		w->too_long = false;
		return err_set(e, RC_LIMIT,
			       "%s: a row was lost: more than %u MiB wait to be written", w->path,
			       PENDING_BYTES >> 20);
	}
	size = buf_size(&w->rows);
	if (!w->buffered || size >= GATHER_BYTES)
		return csv_flush(w, e);
	w->row_at = size;
	return RC_OK;
}

enum rc csv_flush(struct csv_writer *w, struct err *e)
{
	enum rc rc;

	CHECK(w->n_fields == 0);
	rc = write_out(w, e);
	w->row_at = buf_size(&w->rows);
	return rc;
}

enum rc csv_create(struct csv_writer **out, const char *path, const char *const *columns,
		   struct err *e)
{
	struct csv_writer *w;
	enum rc rc;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	*out = NULL;
	if (fd < 0)
		return err_set(e, RC_IO, "%s: %s", path, strerror(errno));
	w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->path = xstrdup(path);
	buf_init(&w->rows, PENDING_BYTES);
	while (columns[w->n_columns])
		w->n_columns++;
	for (size_t i = 0; i < w->n_columns; i++)
		csv_str(w, columns[i]);
	rc = csv_end(w, e);
	if (rc != RC_OK) {
		csv_close(w, NULL);
		return rc;
	}
	*out = w;
	return RC_OK;
}

void csv_set_buffered(struct csv_writer *w, bool on)
{
	w->buffered = on;
}

enum rc csv_close(struct csv_writer *w, struct err *e)
{
	enum rc rc;

	if (!w)
		return RC_OK;
	/* A row that was begun and not ended is no row. */
	w->rows.len = w->rows.off + w->row_at;
	rc = write_out(w, e);
	if (close(w->fd) < 0 && rc == RC_OK)
		rc = err_set(e, RC_IO, "%s: %s", w->path, strerror(errno));
	buf_release(&w->rows);
	free(w->path);
	free(w);
	return rc;
}

/* ---- reader ---- */

struct csv_table {
	char *name;
	char *text;	    /* the file; fields are cut out of it in place */
	const char **field; /* n_columns names, then n_rows * n_columns fields */
	size_t n_fields, cap_fields;
	size_t *line; /* per row: the line of the file it starts on */
	size_t cap_lines;
	size_t n_columns, n_rows;
};

/* Rows are cut in place: each separator becomes the NUL of the field before it, and quotes only
 * shrink a field. */
struct cutter {
	char *p, *end; /* *end is writable and holds NUL */
	size_t line;
	bool torn; /* the text ended inside quotes */
};

enum stop { STOP_COMMA, STOP_ROW, STOP_END };

/* What stands at c->p, behind a field; moves over it. */
static bool cut_separator(struct cutter *c, enum stop *stop)
{
	bool cr = c->p < c->end && *c->p == '\r' && (c->p + 1 == c->end || c->p[1] == '\n');

	if (c->p + cr == c->end) {
		c->p = c->end;
		*stop = STOP_END;
	} else if (c->p[cr] == '\n') {
		c->p += cr + 1;
		c->line++;
		*stop = STOP_ROW;
	} else if (*c->p == ',') {
		c->p++;
		*stop = STOP_COMMA;
	} else {
		return false;
	}
	return true;
}

/* Cuts a field that starts with the quote at c->p. False if text follows the closing quote. */
static bool cut_quoted(struct cutter *c, char **field, enum stop *stop)
{
	char *to = ++c->p;

	*field = to;
	for (; c->p < c->end; c->p++) {
		if (*c->p == '"') {
			if (c->p + 1 == c->end || c->p[1] != '"')
				break;
			c->p++;
		}
		c->line += *c->p == '\n';
		*to++ = *c->p;
	}
	if (c->p == c->end) {
		c->torn = true;
		*to = '\0';
		*stop = STOP_END;
		return true;
	}
	c->p++;
	if (!cut_separator(c, stop))
		return false;
	*to = '\0';
	return true;
}

static bool cut_field(struct cutter *c, char **field, enum stop *stop)
{
	char *at;

	if (c->p < c->end && *c->p == '"')
		return cut_quoted(c, field, stop);
	*field = c->p;
	do {
		c->p += strcspn(c->p, ",\r\n");
		at = c->p;
	} while (!cut_separator(c, stop) && c->p++); /* a lone CR is text */
	*at = '\0';
	return true;
}

static void add_field(struct csv_table *t, const char *s)
{
	if (t->n_fields == t->cap_fields) {
		t->cap_fields = t->cap_fields ? 2 * t->cap_fields : 64;
		t->field = xreallocarray(t->field, t->cap_fields, sizeof(*t->field));
	}
	t->field[t->n_fields++] = s;
}

static void add_row(struct csv_table *t, size_t line)
{
	if (t->n_rows == t->cap_lines) {
		t->cap_lines = t->cap_lines ? 2 * t->cap_lines : 64;
		t->line = xreallocarray(t->line, t->cap_lines, sizeof(*t->line));
	}
	t->line[t->n_rows++] = line;
}

static enum rc take_head(struct csv_table *t, struct err *e)
{
	t->n_columns = t->n_fields;
	for (size_t i = 0; i < t->n_columns; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(t->field[i], t->field[j]) == 0)
				return err_set(e, RC_INPUT, "%s:1: column \"%s\" twice", t->name,
					       t->field[i]);
	return RC_OK;
}

static enum rc cut_row(struct csv_table *t, struct cutter *c, bool torn_tail_ok, struct err *e)
{
	size_t line = c->line, first = t->n_fields, got;
	bool skip = *c->p == '\n' || (*c->p == '\r' && (c->p + 1 == c->end || c->p[1] == '\n'));
	enum stop stop;
	char *field;

	do {
		if (!cut_field(c, &field, &stop))
			return err_set(e, RC_INPUT, "%s:%zu: text behind a closing quote", t->name,
				       c->line);
		add_field(t, field);
	} while (stop == STOP_COMMA);
	got = t->n_fields - first;
	if (skip || (stop == STOP_END && torn_tail_ok && t->n_columns)) {
		t->n_fields = first;
		return RC_OK;
	}
	if (c->torn)
		return err_set(e, RC_INPUT, "%s:%zu: a quote is never closed", t->name, line);
	if (!t->n_columns)
		return take_head(t, e);
	if (got != t->n_columns)
		return err_set(e, RC_INPUT, "%s:%zu: %zu fields under %zu columns", t->name, line,
			       got, t->n_columns);
	add_row(t, line);
	return RC_OK;
}

static enum rc cut_table(struct csv_table *t, size_t len, bool torn_tail_ok, struct err *e)
{
	struct cutter c = {t->text, t->text + len, 1, false};
	enum rc rc = RC_OK;

	if (memchr(t->text, '\0', len))
		return err_set(e, RC_INPUT, "%s: holds a NUL byte: no CSV", t->name);
	if (len >= 3 && memcmp(t->text, "\xef\xbb\xbf", 3) == 0)
		c.p += 3;
	while (c.p < c.end && rc == RC_OK)
		rc = cut_row(t, &c, torn_tail_ok, e);
	if (rc == RC_OK && !t->n_columns)
		rc = err_set(e, RC_INPUT, "%s: empty: a line with the column names is missing",
			     t->name);
	return rc;
}

/* Takes text, which is malloc'd with a NUL behind its len bytes. */
static enum rc make_table(struct csv_table **out, const char *name, char *text, size_t len,
			  bool torn_tail_ok, struct err *e)
{
	struct csv_table *t = xcalloc(1, sizeof(*t));
	enum rc rc;

	t->name = xstrdup(name);
	t->text = text;
	rc = cut_table(t, len, torn_tail_ok, e);
	if (rc != RC_OK) {
		csv_table_free(t);
		t = NULL;
	}
	*out = t;
	return rc;
}

enum rc csv_parse(struct csv_table **out, const char *name, const char *text, size_t len,
		  bool torn_tail_ok, struct err *e)
{
	char *copy = xmalloc(len + 1);

	if (len)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return make_table(out, name, copy, len, torn_tail_ok, e);
}

enum rc csv_read(struct csv_table **out, const char *path, bool torn_tail_ok, struct err *e)
{
	struct buf b;
	size_t len;
	enum rc rc;

	*out = NULL;
	buf_init(&b, FILE_BYTES);
	rc = (enum rc)buf_read_file(&b, path, e);
	if (rc == RC_OK) {
		len = buf_size(&b);
		rc = make_table(out, strcmp(path, "-") == 0 ? "standard input" : path, buf_take(&b),
				len, torn_tail_ok, e);
	}
	buf_release(&b);
	return rc;
}

void csv_table_free(struct csv_table *t)
{
	if (!t)
		return;
	free(t->name);
	free(t->text);
	free(t->field);
	free(t->line);
	free(t);
}

size_t csv_rows(const struct csv_table *t)
{
	return t->n_rows;
}

size_t csv_columns(const struct csv_table *t)
{
	return t->n_columns;
}

const char *csv_column_name(const struct csv_table *t, size_t col)
{
	CHECK(col < t->n_columns);
	return t->field[col];
}

int csv_find(const struct csv_table *t, const char *column)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->field[i], column) == 0)
			return (int)i;
	return -1;
}

enum rc csv_need(const struct csv_table *t, const char *column, int *out, struct err *e)
{
	struct buf all;
	enum rc rc;

	*out = csv_find(t, column);
	if (*out >= 0)
		return RC_OK;
	buf_init(&all, 512);
	for (size_t i = 0; i < t->n_columns; i++)
		if (!buf_printf(&all, "%s%s", i ? ", " : "", t->field[i]))
			break;
	rc = err_set(e, RC_INPUT, "%s: no column \"%s\" (there are: %s)", t->name, column,
		     buf_cstr(&all));
	buf_release(&all);
	return rc;
}

const char *csv_field(const struct csv_table *t, size_t row, int col)
{
	CHECK(row < t->n_rows);
	CHECK(col >= -1 && col < (int)t->n_columns);
	return col < 0 ? "" : t->field[(row + 1) * t->n_columns + (size_t)col];
}

/* units.h says what is wrong with the text, this says where. */
static enum rc placed(const struct csv_table *t, size_t row, int col, enum rc rc,
		      const struct err *why, struct err *e)
{
	if (rc == RC_OK)
		return RC_OK;
	return err_set(e, rc, "%s:%zu: %s: %s", t->name, t->line[row], t->field[col], why->msg);
}

enum rc csv_field_err(const struct csv_table *t, size_t row, int col, struct err *e,
		      const char *fmt, ...)
{
	struct err why;
	va_list ap;

	CHECK(row < t->n_rows && col >= 0 && col < (int)t->n_columns);
	va_start(ap, fmt);
	err_vset(&why, RC_INPUT, fmt, ap);
	va_end(ap);
	return placed(t, row, col, RC_INPUT, &why, e);
}

enum rc csv_field_int(const struct csv_table *t, size_t row, int col, int64_t missing, int64_t *out,
		      struct err *e)
{
	const char *s = csv_field(t, row, col);
	struct err why;

	if (!*s) {
		*out = missing;
		return RC_OK;
	}
	return placed(t, row, col, parse_int(s, INT64_MIN, INT64_MAX, out, &why), &why, e);
}

enum rc csv_field_num(const struct csv_table *t, size_t row, int col, double missing, double *out,
		      struct err *e)
{
	const char *s = csv_field(t, row, col);
	struct err why;

	if (!*s) {
		*out = missing;
		return RC_OK;
	}
	if (strcmp(s, "inf") == 0 || strcmp(s, "-inf") == 0) { /* as csv_num writes it */
		*out = *s == '-' ? -HUGE_VAL : HUGE_VAL;
		return RC_OK;
	}
	return placed(t, row, col, parse_double(s, -HUGE_VAL, HUGE_VAL, out, &why), &why, e);
}
