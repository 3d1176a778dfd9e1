/*
 * Owns growable bytes. Whoever owns the struct owns the thread. Knows nothing of what the bytes
 * mean.
 *
 * Invariants: off <= len <= cap; len - off <= max; when data is there, cap > len, so that a NUL
 * always has its place.
 */
#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "die.h"
#include "err.h"

#define MIN_CAP	   256
#define READ_BYTES 65536

__extension__ typedef unsigned __int128 wide;

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_release(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
	b->off = b->len = 0;
}

static void move_to_front(struct buf *b)
{
	memmove(b->data, b->data + b->off, buf_size(b));
	b->len -= b->off;
	b->off = 0;
}

/*
 * Sees to cap - len > n: room for n bytes and a NUL. The consumed front is taken back when it is at
 * least as large as what would have to move, or when memory has to grow anyway; either way each
 * byte moves a constant number of times. That happens here and not in buf_consume(), so that what a
 * parser was shown stays in place until more is appended.
 */
static void make_room(struct buf *b, size_t n)
{
	size_t need, cap;

	if (b->data && b->cap - b->len > n)
		return;
	if (b->data && b->off > 0) {
		bool pays = b->off >= buf_size(b);

		move_to_front(b);
		if (pays && b->cap - b->len > n)
			return;
	}
	need = b->len + n + 1;
	CHECK(need > n); /* only a cap near SIZE_MAX gets here */
	cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : 2 * b->cap;
	if (cap < MIN_CAP)
		cap = MIN_CAP;
	if (b->max < cap)
		cap = b->max + 1;
	if (cap < need)
		cap = need;
	if (cap <= b->cap) /* the move alone has made the room */
		return;
	b->data = xreallocarray(b->data, cap, 1);
	b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t n)
{
	if (n > b->max - buf_size(b))
		return NULL;
	if (b->cap - b->len <= n) /* the usual case stays without a call */
		make_room(b, n);
	return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
	CHECK(n == 0 || (n < b->cap - b->len && n <= b->max - buf_size(b)));
	b->len += n;
}

bool buf_append(struct buf *b, const void *p, size_t n)
{
	char *to = buf_reserve(b, n);

	if (!to)
		return false;
	if (n)
		memcpy(to, p, n);
	b->len += n;
	return true;
}

bool buf_puts(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

bool buf_putc(struct buf *b, char c)
{
	return buf_append(b, &c, 1);
}

/* "00" to "99": a division gives two digits. */
static const char digit_pairs[] = "0001020304050607080910111213141516171819"
				  "2021222324252627282930313233343536373839"
				  "4041424344454647484950515253545556575859"
				  "6061626364656667686970717273747576777879"
				  "8081828384858687888990919293949596979899";

/* Of v, in front of `end`; returns where they begin. */
static char *digits_before(char *end, uint64_t v)
{
	for (; v >= 100; v /= 100) {
		end -= 2;
		memcpy(end, digit_pairs + v % 100 * 2, 2);
	}
	if (v >= 10) {
		end -= 2;
		memcpy(end, digit_pairs + v * 2, 2);
	} else {
		*--end = (char)('0' + v);
	}
	return end;
}

static unsigned count_digits(uint64_t v)
{
	unsigned n = 1;

	for (; v >= 10000; v /= 10000)
		n += 4;
	return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

size_t print_int(char to[PRINTED_INT_BYTES], int64_t v)
{
	uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
	unsigned sign = v < 0, n = sign + count_digits(size);

	if (sign)
		*to = '-';
	digits_before(to + n, size);
	return n;
}

bool buf_putint(struct buf *b, int64_t v)
{
	char text[PRINTED_INT_BYTES];

	return buf_append(b, text, print_int(text, v));
}

/*
 * A double below 2^63 is a whole number and a fraction, which is a whole number of 2^-64ths unless
 * v is tiny. Its product with 10^decimals has the digits above the point and, below, what decides
 * the rounding: to even, as printf has it.
 */
bool buf_putfixed(struct buf *b, double v, int decimals)
{
	static const uint64_t power[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
	static const uint64_t half = UINT64_C(1) << 63;
	char text[32], *end = text + sizeof(text), *at = end;
	uint64_t whole, fraction, above, below;
	wide product;
	double size = fabs(v), rest;

	if (decimals < 0 || decimals > 6 || !(size < 0x1p63))
		return buf_printf(b, "%.*f", decimals, v);
	whole = (uint64_t)size;
	rest = (size - (double)whole) * 0x1p64;
	fraction = (uint64_t)rest;
	if ((double)fraction < rest)
		return buf_printf(b, "%.*f", decimals, v);
	product = (wide)fraction * power[decimals];
	above = (uint64_t)(product >> 64);
	below = (uint64_t)product;
	if (below > half || (below == half && (decimals ? above : whole) % 2))
		above++;
	if (above == power[decimals]) {
		above = 0;
		whole++;
	}
	if (decimals) {
		at = digits_before(end, above);
		while (end - at < decimals)
			*--at = '0';
		*--at = '.';
	}
	at = digits_before(at, whole);
	if (signbit(v))
		*--at = '-';
	return buf_append(b, at, (size_t)(end - at));
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
	size_t room = b->cap - b->len;
	va_list ap;
	char *to;
	int n;

	/* Into the room that is there; what it needs is known only afterwards. */
	va_start(ap, fmt);
	n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
	va_end(ap);
	CHECK(n >= 0);
	to = (size_t)n < room && (size_t)n <= b->max - buf_size(b) ? b->data + b->len : NULL;
	if (!to) {
		to = buf_reserve(b, (size_t)n);
		if (!to)
			return false;
		va_start(ap, fmt);
		vsnprintf(to, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
	return true;
}

void buf_consume(struct buf *b, size_t n)
{
	CHECK(n <= buf_size(b));
	b->off += n;
	if (b->off == b->len)
		b->off = b->len = 0;
}

const char *buf_cstr(struct buf *b)
{
	if (!b->data)
		return "";
	b->data[b->len] = '\0';
	return b->data + b->off;
}

char *buf_take(struct buf *b)
{
	char *s;

	make_room(b, 0);
	if (b->off > 0)
		move_to_front(b);
	s = b->data;
	s[b->len] = '\0';
	buf_init(b, b->max);
	return s;
}

/* Appends up to READ_BYTES. 1 = read some, 0 = end, -1 = errno, -2 = there is more than the cap
 * allows. */
static int read_some(struct buf *b, int fd)
{
	size_t room = b->max - buf_size(b);
	size_t want = room < READ_BYTES ? room : READ_BYTES;
	char over;
	ssize_t n;

	do
		n = want ? read(fd, buf_reserve(b, want), want) : read(fd, &over, 1);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return (int)n;
	if (!want)
		return -2;
	buf_commit(b, (size_t)n);
	return 1;
}

int buf_read_file(struct buf *b, const char *path, struct err *e)
{
	bool standard = strcmp(path, "-") == 0;
	const char *name = standard ? "standard input" : path;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	size_t size_before = buf_size(b);
	int got = -1, error;

	if (fd >= 0)
		while ((got = read_some(b, fd)) > 0)
			;
	error = errno;
	if (fd >= 0 && !standard)
		close(fd);
	if (got == 0)
		return RC_OK;
	b->len = b->off + size_before;
	if (got == -2)
		return err_set(e, RC_LIMIT, "%s: larger than %zu bytes", name, b->max);
	return err_set(e, RC_IO, "%s: %s", name, strerror(error));
}
