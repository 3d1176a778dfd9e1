/*
 * Where rows come from: a results folder of loadgen, or a file of another tool, whose names for
 * things are a row of a table (fit_read.c) or told by `--columns`.
 *
 * What a request needs: its prompt and output tokens, when its first token came (as a time, or
 * after how long), when its last (as a time, or as a latency, a mean gap, or a list of gaps), and
 * when it was sent. Without the last, the run must have been a closed loop: `concurrency` says of
 * how many.
 */
#ifndef FAKEENGINE_FIT_READ_H
#define FAKEENGINE_FIT_READ_H

#include <stdint.h>

#include "base/opt.h"
#include "fit_rows.h"
#include "fit_table.h"

#define FIT_MAX_POINTS 256

struct fit_source {
	const char *target;  /* of a results folder; NULL: the only one */
	const char *points;  /* "0,3,5": only these of it; NULL: all */
	int32_t concurrency; /* where the rows do not tell when they were sent; 0 = not said */
	/* "quantity=column[:unit],...", over what the file's own names mean; a bare number for a
	 * column is that for all rows */
	const struct opt_list *columns;
};

/* path: a folder with requests.csv (and events.bin), or a file. Adds its runs to out. RC_INPUT says
 * which names were found and which are wanted. May block. */
enum rc fit_read(struct fit_rows *out, const char *path, const struct fit_source *s, struct err *e);

/* The same of a table. where: what to call it. */
enum rc fit_read_table(struct fit_rows *out, const struct fit_table *t, const char *where,
		       const struct fit_source *s, struct err *e);

/* The tools whose names are known, and the quantities: for --help. */
void fit_read_help(struct buf *b);

#endif
