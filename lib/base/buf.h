/*
 * A growable byte buffer with a cap. Embedded by value. data is not NUL-terminated unless
 * buf_cstr() was called. Reading end: `off` moves forward by buf_consume(); the bytes are data[off]
 * to data[len - 1].
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;
	size_t off, len, cap;
	/* cap on len - off; appending beyond it fails and leaves the buffer as it was */
	size_t max;
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */

/* All return false when the cap would be passed; no memory ends the program (die.h). What is
 * appended must not lie in b. */
bool buf_append(struct buf *b, const void *p, size_t n);
bool buf_puts(struct buf *b, const char *s);
bool buf_putc(struct buf *b, char c);
bool buf_putint(struct buf *b, int64_t v);		  /* as %lld, ten times as fast */
bool buf_putfixed(struct buf *b, double v, int decimals); /* as %.*f, likewise */
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The digits of %lld, without a NUL; returns how many bytes they are. */
#define PRINTED_INT_BYTES 20 /* -2^63 */
size_t print_int(char to[PRINTED_INT_BYTES], int64_t v);

/* Room for n more bytes; returns where they go, or NULL at the cap. buf_commit() counts in what was
 * written, up to n. */
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

/* n <= buf_size. What was consumed stays readable in its place until something is appended. */
void buf_consume(struct buf *b, size_t n);

/* The content with a NUL behind the last byte, not counted; valid until the next change. */
const char *buf_cstr(struct buf *b);

/* The content as a malloc'd, NUL-terminated string, the caller's to free; the buffer is empty
 * after. */
char *buf_take(struct buf *b);

/* Appends a whole file or, for "-", standard input. May block. RC_IO, or RC_LIMIT beyond b->max,
 * with the path in the message, leaves the buffer as it was. */
struct err;
int buf_read_file(struct buf *b, const char *path, struct err *e); /* enum rc */

#endif
