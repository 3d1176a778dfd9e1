/*
 * The lane for bad input and bad peers: a function that can fail for such a reason returns enum rc
 * and fills the struct err its caller passed. The message is one line without a final newline: what
 * is wrong, where (file:line:col, JSON path or flag), what is allowed. Nothing here prints.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

enum rc {
	RC_OK = 0,
	RC_INPUT, /* the user's input is wrong: the program ends with exit code 2 */
	RC_IO,	  /* no file, socket or process: exit code 2 before a run, a failed request in it */
	RC_PEER,  /* the other side broke the protocol */
	RC_LIMIT, /* a cap of ours was reached */
};

struct err {
	enum rc rc;
	char msg[1024];
};

/* Writes the message (cut at the end of msg, control characters replaced by '?') and returns rc. e
 * may be NULL. */
enum rc err_set(struct err *e, enum rc rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
enum rc err_vset(struct err *e, enum rc rc, const char *fmt, va_list ap);

/* Puts a place before the message that is there: "scenario.yaml:3:5: " + msg. Returns e->rc, so e
 * may not be NULL. */
enum rc err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
