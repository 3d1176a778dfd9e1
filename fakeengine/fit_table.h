/*
 * A file of per-request rows as some tool wrote it: CSV, JSON lines, or one JSON document. Which
 * column means what is the caller's (fit_read.h); this only finds rows and cells.
 *
 * Of JSON, these are rows: the members of an array at the top; the lines of a file of objects;
 * `benchmarks[].requests.successful[]` and its siblings `incomplete` and `errored` (GuideLLM). An
 * object some of whose members are equally long arrays is a table lying on its side (vLLM, SGLang):
 * row i has their i-th members, and its other members in every row. A column's name is then the
 * path of a member, "metrics.request_latency.value".
 *
 * Rows know which of the file's tables they came from: a line, or a benchmark, that brings many of
 * them is a run of its own.
 */
#ifndef FAKEENGINE_FIT_TABLE_H
#define FAKEENGINE_FIT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct fit_table;

enum fit_cell {
	CELL_NONE, /* no such column, an empty field, null */
	CELL_OK,
	CELL_BAD, /* something else than was asked for */
};

/* RC_IO, or RC_INPUT with file:line. May block. */
enum rc fit_table_read(struct fit_table **out, const char *path, struct err *e);
/* `json`: by the first character that is no blank if the caller does not know. */
enum rc fit_table_parse(struct fit_table **out, const char *name, const char *text, size_t len,
			struct err *e);
void fit_table_free(struct fit_table *t);

size_t fit_table_rows(const struct fit_table *t);
int fit_table_part(const struct fit_table *t, size_t row); /* ascending from 0 */

/* Any of the first rows has it. */
bool fit_table_has(const struct fit_table *t, const char *column);
/* "a, b, c": for a message; cut short behind some 40 names. */
void fit_table_names(const struct fit_table *t, struct buf *out);

/* Numbers may stand in quotes; true is 1, false 0. */
enum fit_cell fit_table_num(const struct fit_table *t, size_t row, const char *column, double *out);
/* The text of a field; of JSON only a string. Owned by the table. */
enum fit_cell fit_table_text(const struct fit_table *t, size_t row, const char *column,
			     const char **out);
/* The sum and the count of a list of numbers: a JSON array, or "[0.1, 0.2]" in a field. */
enum fit_cell fit_table_sum(const struct fit_table *t, size_t row, const char *column, double *sum,
			    size_t *n);

#endif
