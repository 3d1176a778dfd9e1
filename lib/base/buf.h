/*
 * A growable byte buffer with a cap. Embedded by value. data is not NUL-terminated unless buf_cstr() was called.
 * Reading end: `off` moves forward by buf_consume(); bytes live in data[off .. len).
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t off, len, cap;
	size_t max; /* cap on len - off; appending beyond it fails and leaves the buffer as it was */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */

/* All return false when the cap would be passed; memory that is not there ends the program (die.h). */
bool buf_append(struct buf *b, const void *p, size_t n);
bool buf_puts(struct buf *b, const char *s);
bool buf_putc(struct buf *b, char c);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for n more bytes; returns where they go, or NULL at the cap. Follow with buf_commit(written <= n). */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

static inline const char *buf_head(const struct buf *b)
{
	return b->data ? b->data + b->off : "";
}

static inline size_t buf_size(const struct buf *b)
{
	return b->len - b->off;
}

void buf_consume(struct buf *b, size_t n); /* n <= buf_size */
const char *buf_cstr(struct buf *b);       /* NUL behind the last byte, not counted; valid until the next change */
char *buf_take(struct buf *b);             /* the content as a malloc'd, NUL-terminated string; the buffer is empty after */

/* A whole file or, for "-", standard input. RC_IO with the path in the message; RC_LIMIT beyond b->max. */
struct err;
int buf_read_file(struct buf *b, const char *path, struct err *e); /* enum rc */

#endif
