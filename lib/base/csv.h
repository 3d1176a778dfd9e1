/*
 * CSV by column name (RFC 4180 quoting; LF written, LF or CRLF read). Column names are an API:
 * readers ask for names.
 */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Writer: one row is built field by field in the order of the columns and leaves whole in one
 * write(2) at csv_end() (or is held back until csv_flush() when buffered), so a killed process
 * never leaves half a row. */
struct csv_writer;

/* columns: NULL-terminated; written as the head line. Truncates. */
enum rc csv_create(struct csv_writer **out, const char *path, const char *const *columns,
		   struct err *e);

/* With buffering on, rows gather up to 64 KiB and leave at csv_flush(). Off by default. */
void csv_set_buffered(struct csv_writer *w, bool on);
void csv_str(struct csv_writer *w, const char *s); /* NULL or "" = empty field */
void csv_int(struct csv_writer *w, int64_t v);
void csv_num(struct csv_writer *w, double v, int decimals); /* NaN = empty field */
void csv_empty(struct csv_writer *w);
enum rc csv_end(struct csv_writer *w, struct err *e); /* CHECKs that every column got its field */
enum rc csv_flush(struct csv_writer *w, struct err *e);
enum rc csv_close(struct csv_writer *w, struct err *e); /* flushes; frees also on error */

/* Reader: the whole file in memory, at most 4 GiB; empty lines are skipped; a last line without a
 * newline counts, unless `torn_tail_ok`: a writer ends every row with one, so what lacks it was cut
 * by whatever killed the writer, and "12" may be the beginning of 1234. Fields are NUL-terminated
 * strings owned by the table. */
struct csv_table;

enum rc csv_read(struct csv_table **out, const char *path, bool torn_tail_ok, struct err *e);
enum rc csv_parse(struct csv_table **out, const char *name, const char *text, size_t len,
		  bool torn_tail_ok, struct err *e);
void csv_table_free(struct csv_table *t);
size_t csv_rows(const struct csv_table *t);
size_t csv_columns(const struct csv_table *t);
const char *csv_column_name(const struct csv_table *t, size_t col);
int csv_find(const struct csv_table *t, const char *column); /* index or -1 */
/* As csv_find(), but a missing column is RC_INPUT, and the message lists those that are there. */
enum rc csv_need(const struct csv_table *t, const char *column, int *out, struct err *e);
/* "" when empty or col is -1. */
const char *csv_field(const struct csv_table *t, size_t row, int col);

/* "" gives `missing`; anything else must parse. The message is file:line: column: ... (where the
 * row starts, from 1). */
enum rc csv_field_int(const struct csv_table *t, size_t row, int col, int64_t missing, int64_t *out,
		      struct err *e);
/* The same place before a message of the caller's. Returns RC_INPUT. */
enum rc csv_field_err(const struct csv_table *t, size_t row, int col, struct err *e,
		      const char *fmt, ...) __attribute__((format(printf, 5, 6)));
enum rc csv_field_num(const struct csv_table *t, size_t row, int col, double missing, double *out,
		      struct err *e);

#endif
