/*
 * Owns nothing: the mending of text that is no UTF-8. Pure.
 */
#include "utf8_lossy.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"

/* How many bytes from s on are valid. Most text is ASCII, so that goes by eight. */
static size_t valid_bytes(const char *s, size_t len)
{
	size_t at = 0, step;
	uint64_t eight;
	uint32_t cp;

	while (at < len) {
		while (at + 8 <= len) {
			memcpy(&eight, s + at, 8);
			if (eight & 0x8080808080808080u)
				break;
			at += 8;
		}
		step = utf8_decode(s + at, len - at, &cp);
		if (step == 0)
			break;
		at += step;
	}
	return at;
}

bool utf8_is_valid(const char *s, size_t len)
{
	return valid_bytes(s, len) == len;
}

/* The part from s on that begins a character and does not complete it; at least a byte. */
static size_t broken_bytes(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char low = 0x80, high = 0xbf;
	size_t want, n = 1;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 1;
	want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0; /* below: an overlong form */
	else if (p[0] == 0xed)
		high = 0x9f; /* above: a surrogate */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f; /* above: no code point */
	for (; n < want && n < len && p[n] >= low && p[n] <= high; n++) {
		low = 0x80;
		high = 0xbf;
	}
	return n;
}

void utf8_lossy(struct buf *out, const char *s, size_t len)
{
	while (len > 0) {
		size_t good = valid_bytes(s, len), bad;

		CHECK(buf_append(out, s, good));
		s += good;
		len -= good;
		if (len == 0)
			break;
		CHECK(buf_puts(out, "\xef\xbf\xbd"));
		bad = broken_bytes(s, len);
		s += bad;
		len -= bad;
	}
}
