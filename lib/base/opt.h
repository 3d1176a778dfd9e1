/*
 * Command-line options from a table: the table is the parser, the checker and the --help text. GNU
 * style: --name VALUE, --name=VALUE, -x VALUE, flags without value, "--" ends options; operands may
 * stand anywhere.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum opt_kind {
	OPT_FLAG,     /* bool *: set true */
	OPT_STRING,   /* const char **: points into argv */
	OPT_INT,      /* int64_t *: min..max */
	OPT_NUM,      /* double *: min..max */
	OPT_DURATION, /* int64_t * ns */
	OPT_LIST,     /* struct opt_list *: may be given several times */
	OPT_HEADING,  /* no option: a line of --help */
};

struct opt_list {
	const char **item; /* point into argv; array freed by opt_list_release */
	size_t n;
};

struct opt_spec {
	enum opt_kind kind;
	const char *name; /* long, without the dashes; NULL for a heading */
	char letter;	  /* or 0 */
	void *out;
	const char *arg; /* shown in help: "N", "FILE" */
	const char *help;
	double min, max; /* OPT_INT, OPT_NUM */
	bool *seen;	 /* set true when given; or NULL */
};

/* argv[0] is the program or the subcommand and is not read. A repeated option: the last one counts
 * (OPT_LIST keeps all). min = max = 0 means no bounds. specs end with {0} (kind 0, name NULL, help
 * NULL). Operands go to *operands (may be NULL: then an operand is an error). Unknown option:
 * "--foo: unknown option (did you mean --fob?)". Nothing is printed. */
enum rc opt_parse(const struct opt_spec *specs, int argc, char *const *argv,
		  struct opt_list *operands, struct err *e);

/* usage: the first line(s); then the table; then `tail` (examples). */
bool opt_help(struct buf *b, const char *usage, const struct opt_spec *specs, const char *tail);

void opt_list_release(struct opt_list *l);

#endif
