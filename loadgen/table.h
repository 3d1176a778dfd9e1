/*
 * A table of text cells under one or two head lines, for the terminal and for HTML. Pure. Widths
 * are those on a screen, not in bytes; control characters become '?', so no name can drive a
 * terminal.
 */
#ifndef LOADGEN_TABLE_H
#define LOADGEN_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct table_column {
	char *group; /* neighbours with the same group share it, centred over them; NULL = none */
	char *heading;
	bool left; /* text; numbers go to the right */
};

struct table {
	struct table_column *columns;
	size_t n_columns;
	char **cells; /* row by row */
	size_t n_cells, cap_cells;
};

void table_init(struct table *t);
void table_release(struct table *t);

/* All columns before the first cell. */
void table_column(struct table *t, const char *group, const char *heading, bool left);

/* The next cell; a row is full when every column has one (CHECKed by the printers). */
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool table_text(const struct table *t, struct buf *out);
bool table_html(const struct table *t, struct buf *out);

/* Columns of a terminal that a UTF-8 string takes. */
size_t display_width(const char *s);

/* Appends s with control characters as '?'. */
bool put_plain(struct buf *out, const char *s);

/* Appends s with & < > " ' as references and control characters as '?'. */
bool put_html(struct buf *out, const char *s);

#endif
