/*
 * Owns the report as a terminal shows it. Pure: bytes into a buffer.
 */
#include "report.h"

#include <string.h>

#include "report_body.h"

/* Lines are broken between words at this width; a longer word stays whole. */
enum { LINE_WIDTH = 100 };

static bool put_wrapped(struct buf *out, const char *prefix, const char *text)
{
	size_t at = display_width(prefix);
	bool ok = buf_puts(out, prefix), first = true;

	while (*text && ok) {
		size_t bytes = strcspn(text, " ");
		char word[2048];
		size_t width;

		memcpy(word, text, bytes);
		word[bytes] = '\0';
		width = display_width(word);
		if (!first && at + 1 + width > LINE_WIDTH) {
			ok = buf_puts(out, "\n  ");
			at = 2;
		} else if (!first) {
			ok = buf_putc(out, ' ');
			at++;
		}
		ok = ok && put_plain(out, word);
		at += width;
		first = false;
		text += bytes;
		text += *text == ' ';
	}
	return ok && buf_putc(out, '\n');
}

static bool put_block(struct buf *out, const struct body *b, size_t i)
{
	const struct block *block = &b->blocks[i];

	switch (block->kind) {
	case BLOCK_HEADING:
		return (i == 0 || buf_putc(out, '\n')) && put_wrapped(out, "", block->text);
	case BLOCK_LINE:
		return (i == 0 || b->blocks[i - 1].kind != BLOCK_TABLE || buf_putc(out, '\n')) &&
		       put_wrapped(out, "", block->text);
	case BLOCK_WARNING:
		return put_wrapped(out, "! ", block->text);
	case BLOCK_TABLE:
		return table_text(&block->table, out);
	}
	return false;
}

bool body_text(const struct body *b, struct buf *out)
{
	bool ok = true;

	for (size_t i = 0; i < b->n && ok; i++)
		ok = put_block(out, b, i);
	return ok;
}

bool report_text(const struct report_input *in, struct buf *out)
{
	struct body b;
	bool ok;

	body_init(&b, in);
	ok = body_text(&b, out);
	body_release(&b);
	return ok;
}
