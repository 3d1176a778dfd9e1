/*
 * Owns the bytes that are held back. Pure. Must not know events or JSON.
 */
#include "text_stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

void stop_list_add(struct stop_list *l, const char *text, size_t len)
{
	CHECK(len > 0);
	l->text = xreallocarray(l->text, l->n + 1, sizeof(*l->text));
	l->len = xreallocarray(l->len, l->n + 1, sizeof(*l->len));
	l->text[l->n] = xstrndup(text, len);
	l->len[l->n] = len;
	l->n++;
}

void stop_list_release(struct stop_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->text[i]);
	free(l->text);
	free(l->len);
	memset(l, 0, sizeof(*l));
}

void text_stream_init(struct text_stream *t, const struct stop_list *stops)
{
	t->stops = stops;
	t->held = NULL;
}

void text_stream_release(struct text_stream *t)
{
	if (t->held)
		buf_release(t->held);
	free(t->held);
	t->held = NULL;
}

static bool holds(const struct text_stream *t)
{
	return t->held && buf_size(t->held) > 0;
}

static struct buf *held(struct text_stream *t)
{
	if (!t->held) {
		t->held = xmalloc(sizeof(*t->held));
		buf_init(t->held, SIZE_MAX); /* shorter than the longest stop string */
	}
	return t->held;
}

/* How many bytes at the end of s begin a UTF-8 character without completing it: 0 to 3. */
static size_t open_character(const char *s, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)s[len - back];

		if ((c & 0xc0) == 0x80)
			continue;
		if ((c >= 0xc2 && c <= 0xdf && back < 2) || ((c & 0xf0) == 0xe0 && back < 3) ||
		    (c >= 0xf0 && c <= 0xf4))
			return back;
		return 0;
	}
	return 0;
}

/* The stop string that ends at the end of s, or -1. */
static int stop_at_end(const struct stop_list *l, const char *s, size_t len)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->len[i] <= len && memcmp(s + len - l->len[i], l->text[i], l->len[i]) == 0)
			return (int)i;
	return -1;
}

/* How many bytes at the end of s may be the beginning of a stop string. */
static size_t open_stop(const struct stop_list *l, const char *s, size_t len)
{
	size_t most = 0;

	for (size_t i = 0; i < l->n; i++)
		for (size_t k = l->len[i] - 1 < len ? l->len[i] - 1 : len; k > most; k--)
			if (memcmp(s + len - k, l->text[i], k) == 0)
				most = k;
	return most;
}

int text_stream_push(struct text_stream *t, const char *bytes, size_t len, bool may_stop,
		     struct buf *out)
{
	const bool looks = may_stop && t->stops && t->stops->n > 0;
	struct buf *h;
	size_t keep, size;

	if (!looks && !holds(t) && open_character(bytes, len) == 0) {
		CHECK(buf_append(out, bytes, len)); /* nearly every token */
		return -1;
	}
	h = held(t);
	for (size_t i = 0; i < len; i++) {
		CHECK(buf_putc(h, bytes[i]));
		int stop = looks ? stop_at_end(t->stops, buf_head(h), buf_size(h)) : -1;

		if (stop >= 0) {
			CHECK(buf_append(out, buf_head(h), buf_size(h) - t->stops->len[stop]));
			buf_clear(h);
			return stop;
		}
	}
	size = buf_size(h);
	keep = looks ? open_stop(t->stops, buf_head(h), size) : 0;
	/* Characters are whole up to what is kept; a stop string may begin inside one only if it is
	 * not UTF-8 itself. */
	keep += open_character(buf_head(h), size - keep);
	CHECK(buf_append(out, buf_head(h), size - keep));
	buf_consume(h, size - keep);
	return -1;
}

void text_stream_end(struct text_stream *t, struct buf *out)
{
	if (!holds(t))
		return;
	CHECK(buf_append(out, buf_head(t->held), buf_size(t->held)));
	buf_clear(t->held);
}
