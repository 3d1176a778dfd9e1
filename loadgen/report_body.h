/*
 * What a report says, apart from how it looks: headings, lines and tables in order. Built once,
 * printed as text by report_text.c and as HTML by report_html.c. Private to report_*.c.
 */
#ifndef LOADGEN_REPORT_BODY_H
#define LOADGEN_REPORT_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "curve.h"
#include "report.h"
#include "setting.h"
#include "table.h"

enum block_kind { BLOCK_HEADING, BLOCK_LINE, BLOCK_WARNING, BLOCK_TABLE };

struct block {
	enum block_kind kind;
	char *text; /* of a heading, line or warning */
	struct table table;
};

struct body {
	struct block *blocks;
	size_t n;
};

void body_init(struct body *b, const struct report_input *in);
void body_release(struct body *b);

/* Appends a block; what follows says which. */
void body_say(struct body *b, enum block_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct table *body_table(struct body *b);
void body_drop_bare_heading(struct body *b); /* if a heading is the last block */

/* report_tables.c: a table a target, and the matrices. report_words.c: identities, verdicts,
 * failures, waste. */
void body_tables(struct body *b, const struct report_input *in);
/* report_judge.c: found, cost, expectations; shown: report_shown.h, of in. */
void body_judgement(struct body *b, const struct report_input *in,
		    const struct report_input *shown);
void body_best(struct body *b, const struct report_input *in); /* report_sweep.c */
void body_words(struct body *b, const struct report_input *in, const struct report_input *shown);
void body_engines(struct body *b, const struct report_input *in); /* report_server.c: CPU, memory */
void body_clients(struct body *b, const struct report_input *in); /* of them: is the client to be
								     believed? */

/* report_text.c, report_html.c: a body printed. */
bool body_text(const struct body *b, struct buf *out);
/* report.html in in->dir; the figures stand before the first heading but the title. */
enum rc body_html(const struct body *b, const struct report_input *in, struct err *e);

#endif
