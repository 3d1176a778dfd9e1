/*
 * Owns the list of pieces that are split out of a text. Pure. Must not know what becomes of the
 * text between them.
 */
#include "specials.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

struct entry {
	const struct piece *piece;
	int32_t id;
};

static int by_first_byte(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	unsigned char c = (unsigned char)x->piece->text[0], d = (unsigned char)y->piece->text[0];

	if (c != d)
		return c < d ? -1 : 1;
	if (x->piece->len != y->piece->len)
		return x->piece->len > y->piece->len ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

void specials_init(struct specials *s, const struct vocab *v)
{
	struct entry *list = NULL;
	int32_t n = 0, cap = 0, b = 0;

	memset(s, 0, sizeof(*s));
	s->v = v;
	for (int32_t i = 0; i < v->n; i++) {
		const struct piece *p = &v->piece[i];

		if (p->len == 0 || (!piece_is_control(p) && p->kind != PIECE_USER))
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 64;
			list = xreallocarray(list, (size_t)cap, sizeof(*list));
		}
		list[n++] = (struct entry){p, i};
	}
	if (n > 0)
		qsort(list, (size_t)n, sizeof(*list), by_first_byte);
	s->id = xreallocarray(NULL, (size_t)n + 1, sizeof(*s->id));
	s->n = n;
	for (int32_t i = 0; i < n; i++) {
		s->id[i] = list[i].id;
		while (b <= (unsigned char)list[i].piece->text[0])
			s->first[b++] = i;
	}
	while (b <= 256)
		s->first[b++] = n;
	free(list);
}

void specials_release(struct specials *s)
{
	free(s->id);
	memset(s, 0, sizeof(*s));
}

static int32_t at_place(const struct specials *s, const char *text, size_t left)
{
	unsigned char c = (unsigned char)text[0];

	for (int32_t i = s->first[c]; i < s->first[c + 1]; i++) {
		const struct piece *p = &s->v->piece[s->id[i]];

		if ((size_t)p->len <= left && memcmp(p->text, text, (size_t)p->len) == 0)
			return s->id[i];
	}
	return -1;
}

static bool is_white(const char *s)
{
	return *s == ' ' || (*s >= '\t' && *s <= '\r');
}

int32_t specials_next(const struct specials *s, const char *text, size_t at, size_t len,
		      const struct text_span *trusted, int32_t n_trusted, struct text_span *where)
{
	const size_t start = at;

	for (; at < len; at++) {
		int32_t id = at_place(s, text + at, len - at);
		const struct piece *p;
		bool trust = false;

		if (id < 0)
			continue;
		p = &s->v->piece[id];
		*where = (struct text_span){at, at + (size_t)p->len};
		while (n_trusted > 0 && trusted->to <= at) {
			trusted++;
			n_trusted--;
		}
		trust = n_trusted > 0 && trusted->from <= at && where->to <= trusted->to;
		if (piece_is_control(p) && !trust) {
			at = where->to - 1;
			continue;
		}
		/* Some take the white space around them along. */
		while (p->strips_left && where->from > start && is_white(text + where->from - 1))
			where->from--;
		while (p->strips_right && where->to < len && is_white(text + where->to))
			where->to++;
		return id;
	}
	return -1;
}
