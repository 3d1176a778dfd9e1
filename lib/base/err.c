/*
 * Owns the text of errors on their way up. Any thread. A message may quote what a file or a peer
 * sent, so it is made harmless here, once: no control character reaches a terminal, and a cut never
 * splits a UTF-8 character.
 */
#include "err.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

static void mask_control_characters(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* s was cut behind its n bytes: takes away a UTF-8 sequence that lacks its end. */
static void drop_split_character(char *s, size_t n)
{
	size_t start = n, length;
	unsigned char lead;

	while (start > 0 && n - start < 3 && ((unsigned char)s[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	lead = (unsigned char)s[--start];
	length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (n - start < length)
		s[start] = '\0';
}

static void format_message(char *out, size_t cap, const char *fmt, va_list ap)
{
	int n = vsnprintf(out, cap, fmt, ap);

	CHECK(n >= 0);
	if ((size_t)n >= cap)
		drop_split_character(out, cap - 1);
	mask_control_characters(out);
}

enum rc err_vset(struct err *e, enum rc rc, const char *fmt, va_list ap)
{
	char msg[sizeof(e->msg)]; /* an argument may be e->msg itself */

	if (!e)
		return rc;
	format_message(msg, sizeof(msg), fmt, ap);
	memcpy(e->msg, msg, strlen(msg) + 1);
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
	char place[sizeof(e->msg)];
	size_t n, kept;
	va_list ap;

	CHECK(e);
	va_start(ap, fmt);
	format_message(place, sizeof(place), fmt, ap);
	va_end(ap);
	n = strlen(place);
	kept = strlen(e->msg);
	if (n + kept >= sizeof(e->msg)) {
		kept = sizeof(e->msg) - 1 - n;
		e->msg[kept] = '\0';
		drop_split_character(e->msg, kept);
		kept = strlen(e->msg);
	}
	memmove(e->msg + n, e->msg, kept + 1);
	memcpy(e->msg, place, n);
	return e->rc;
}
