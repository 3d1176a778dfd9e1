/*
 * Owns the text of errors on their way up. Any thread. A message may quote what a file or a peer
 * sent, so it is made harmless here, once: no control character reaches a terminal, and a cut never
 * splits a UTF-8 character.
 */
#include "err.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "utf8.h"

#define MSG_BYTES sizeof(((struct err *)0)->msg)

static void mask_control_characters(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* Through a buffer of its own: the message that is there may be an argument of the next. */
static void format_message(char out[MSG_BYTES], const char *fmt, va_list ap)
{
	char text[MSG_BYTES + 1]; /* one more, to see whether the cut falls into a character */
	size_t n;

	CHECK(vsnprintf(text, sizeof(text), fmt, ap) >= 0);
	n = utf8_cut(text, MSG_BYTES - 1);
	memcpy(out, text, n);
	out[n] = '\0';
	mask_control_characters(out);
}

enum rc err_vset(struct err *e, enum rc rc, const char *fmt, va_list ap)
{
	if (!e)
		return rc;
	format_message(e->msg, fmt, ap);
	e->rc = rc;
	return rc;
}

enum rc err_set(struct err *e, enum rc rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, rc, fmt, ap);
	va_end(ap);
	return rc;
}

enum rc err_prefix(struct err *e, const char *fmt, ...)
{
	char place[MSG_BYTES];
	size_t n, kept;
	va_list ap;

	CHECK(e);
	va_start(ap, fmt);
	format_message(place, fmt, ap);
	va_end(ap);
	n = strlen(place);
	kept = utf8_cut(e->msg, MSG_BYTES - 1 - n);
	memmove(e->msg + n, e->msg, kept);
	memcpy(e->msg, place, n);
	e->msg[n + kept] = '\0';
	return e->rc;
}
