/*
 * Owns the algorithm of Unicode Standard Annex 15 and the search in its tables. Pure.
 */
#include "nfc.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "base/utf8.h"
#include "nfc_table.h"

enum {
	S_BASE = 0xac00, /* Hangul: syllables are counted out of three kinds of letters */
	L_BASE = 0x1100,
	V_BASE = 0x1161,
	T_BASE = 0x11a7,
	L_COUNT = 19,
	V_COUNT = 21,
	T_COUNT = 28,
	S_COUNT = L_COUNT * V_COUNT * T_COUNT,
};

#define N_PAIRS	  (ARRAY_LEN(nfc_pairs) / 3)
#define N_CLASSES (ARRAY_LEN(nfc_classes) / 3)

/* A character that is to be composed, in one number so that sorting marks by their class keeps the
 * order of equals: class, place, code point. */
#define MARK(class, place, c) ((uint64_t)(class) << 56 | (uint64_t)(place) << 24 | (c))
#define CODE_POINT(mark)      ((uint32_t)(mark)&0xffffff)
#define CLASS(mark)	      ((unsigned)((mark) >> 56))

struct run {
	uint64_t *c;
	size_t n, cap;
};

bool nfc_is_composed(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] >= 0xcc) /* U+0300 on */
			return false;
	return true;
}

static unsigned combining_class(uint32_t c)
{
	size_t low = 0, high = N_CLASSES;

	if (c < 0x300)
		return 0;
	while (low < high) {
		const size_t mid = (low + high) / 2;

		if (c < nfc_classes[3 * mid])
			high = mid;
		else if (c > nfc_classes[3 * mid + 1])
			low = mid + 1;
		else
			return nfc_classes[3 * mid + 2];
	}
	return 0;
}

/* Its row, or NULL. */
static const uint32_t *decomposition(uint32_t c)
{
	size_t low = 0, high = N_PAIRS;

	while (low < high) {
		const size_t mid = (low + high) / 2;

		if (nfc_pairs[3 * mid] == c)
			return &nfc_pairs[3 * mid];
		if (nfc_pairs[3 * mid] < c)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static uint32_t composition(uint32_t left, uint32_t right)
{
	size_t low = 0, high = ARRAY_LEN(nfc_composing);

	if (left >= L_BASE && left < L_BASE + L_COUNT && right >= V_BASE &&
	    right < V_BASE + V_COUNT)
		return S_BASE + ((left - L_BASE) * V_COUNT + right - V_BASE) * T_COUNT;
	if (left >= S_BASE && left < S_BASE + S_COUNT && (left - S_BASE) % T_COUNT == 0 &&
	    right > T_BASE && right < T_BASE + T_COUNT)
		return left + right - T_BASE;
	while (low < high) {
		const size_t mid = (low + high) / 2;
		const uint32_t *row = &nfc_pairs[(size_t)3 * nfc_composing[mid]];

		if (row[1] == left && row[2] == right)
			return row[0];
		if (row[1] < left || (row[1] == left && row[2] < right))
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

static void push(struct run *r, uint32_t c)
{
	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 64;
		r->c = xreallocarray(r->c, r->cap, sizeof(*r->c));
	}
	r->c[r->n] = MARK(combining_class(c), r->n, c);
	r->n++;
}

static void push_decomposed(struct run *r, uint32_t c)
{
	const uint32_t *row;

	if (c >= S_BASE && c < S_BASE + S_COUNT) {
		const uint32_t s = c - S_BASE;

		push(r, L_BASE + s / (V_COUNT * T_COUNT));
		push(r, V_BASE + s / T_COUNT % V_COUNT);
		if (s % T_COUNT)
			push(r, T_BASE + s % T_COUNT);
		return;
	}
	row = decomposition(c);
	if (!row) {
		push(r, c);
		return;
	}
	push_decomposed(r, row[1]);
	if (row[2])
		push_decomposed(r, row[2]);
}

static int by_class(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Marks that follow each other stand in the order of their classes. */
static void reorder(struct run *r)
{
	for (size_t i = 0, n; i < r->n; i += n + 1) {
		for (n = 0; i + n < r->n && CLASS(r->c[i + n]) > 0;)
			n++;
		if (n > 1)
			qsort(r->c + i, n, sizeof(*r->c), by_class);
	}
}

/* Each character joins the last base before it, unless one between them is in the way. */
static void compose(struct run *r)
{
	size_t base = SIZE_MAX, n = 0;

	for (size_t i = 0; i < r->n; i++) {
		const uint64_t c = r->c[i];
		bool reaches = base != SIZE_MAX && (base + 1 == n || CLASS(r->c[n - 1]) < CLASS(c));
		uint32_t joined = reaches ? composition(CODE_POINT(r->c[base]), CODE_POINT(c)) : 0;

		if (joined) {
			r->c[base] = MARK(0, 0, joined);
			continue;
		}
		if (CLASS(c) == 0)
			base = n;
		r->c[n++] = c;
	}
	r->n = n;
}

static void put(struct buf *out, uint32_t c)
{
	char s[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		s[i] = (char)(0x80 | (c & 0x3f));
	s[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xf0) | c);
	CHECK(buf_append(out, s, n));
}

void nfc_compose(struct buf *out, const char *s, size_t len)
{
	const char *end = s + len;
	struct run r = {0};

	while (s < end) {
		uint32_t c;
		size_t n = utf8_decode(s, (size_t)(end - s), &c);

		CHECK(n > 0);
		/* Nothing below U+0300 changes, but what follows it may join it. */
		if (c < 0x300 && nfc_is_composed(s + n, s + n < end)) {
			CHECK(buf_append(out, s, n));
			s += n;
			continue;
		}
		r.n = 0;
		do {
			push_decomposed(&r, c);
			s += n;
			n = utf8_decode(s, (size_t)(end - s), &c);
		} while (n > 0 && c >= 0x300);
		reorder(&r);
		compose(&r);
		for (size_t i = 0; i < r.n; i++)
			put(out, CODE_POINT(r.c[i]));
	}
	free(r.c);
}
