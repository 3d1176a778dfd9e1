/*
 * Owns the layout of tables: widths, head lines, escaping. Pure. Must not know what is in them.
 */
#include "table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/utf8.h"

/* ---- text on a screen ---- */

/* Characters that take two columns, and those that take none, in the ranges a name is likely to
 * hold. */
static int code_point_width(uint32_t c)
{
	static const struct {
		uint32_t from, to;
		int width;
	} ranges[] = {
		{0x0300, 0x036f, 0}, {0x1100, 0x115f, 2},   {0x200b, 0x200f, 0},
		{0x2e80, 0xa4cf, 2}, {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
		{0xfe00, 0xfe0f, 0}, {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},
		{0xffe0, 0xffe6, 2}, {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
	};

	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		if (c >= ranges[i].from && c <= ranges[i].to)
			return ranges[i].width;
	return 1;
}

/* A byte that is no UTF-8 counts as a column. */
size_t display_width(const char *s)
{
	size_t width = 0, left = strlen(s);

	while (left) {
		uint32_t c = 0;
		size_t n = utf8_decode(s, left, &c);

		width += n ? (size_t)code_point_width(c) : 1;
		n = n ? n : 1;
		s += n;
		left -= n;
	}
	return width;
}

bool put_plain(struct buf *out, const char *s)
{
	bool ok = true;

	for (; *s && ok; s++)
		ok = buf_putc(out, (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
	return ok;
}

bool put_html(struct buf *out, const char *s)
{
	bool ok = true;

	for (; *s && ok; s++) {
		switch (*s) {
		case '&':
			ok = buf_puts(out, "&amp;");
			break;
		case '<':
			ok = buf_puts(out, "&lt;");
			break;
		case '>':
			ok = buf_puts(out, "&gt;");
			break;
		case '"':
			ok = buf_puts(out, "&quot;");
			break;
		case '\'':
			ok = buf_puts(out, "&#39;");
			break;
		default:
			ok = buf_putc(out, (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
		}
	}
	return ok;
}

/* ---- building ---- */

void table_init(struct table *t)
{
	*t = (struct table){0};
}

void table_release(struct table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		free(t->columns[i].group);
		free(t->columns[i].heading);
	}
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->columns);
	free(t->cells);
	*t = (struct table){0};
}

void table_column(struct table *t, const char *group, const char *heading, bool left)
{
	CHECK(t->n_cells == 0);
	t->columns = xreallocarray(t->columns, t->n_columns + 1, sizeof(*t->columns));
	t->columns[t->n_columns++] =
		(struct table_column){group ? xstrdup(group) : NULL, xstrdup(heading), left};
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (t->n_cells == t->cap_cells) {
		t->cap_cells = t->cap_cells ? 2 * t->cap_cells : 64;
		t->cells = xreallocarray(t->cells, t->cap_cells, sizeof(char *));
	}
	t->cells[t->n_cells++] = xstrdup(text);
}

/* ---- printing ---- */

static bool same_group(const struct table *t, size_t a, size_t b)
{
	const char *x = t->columns[a].group, *y = t->columns[b].group;

	return x && y && strcmp(x, y) == 0;
}

/* One past the last column of the group that starts at `from`. */
static size_t group_end(const struct table *t, size_t from)
{
	size_t end = from + 1;

	while (end < t->n_columns && same_group(t, from, end))
		end++;
	return end;
}

static bool has_groups(const struct table *t)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->columns[i].group)
			return true;
	return false;
}

static bool put_spaces(struct buf *out, size_t n)
{
	bool ok = true;

	while (n-- > 0 && ok)
		ok = buf_putc(out, ' ');
	return ok;
}

static const size_t gap = 2;

static size_t group_width(const size_t *widths, size_t from, size_t end)
{
	size_t width = gap * (end - from - 1);

	for (size_t i = from; i < end; i++)
		width += widths[i];
	return width;
}

static size_t *find_widths(const struct table *t)
{
	size_t *widths = xcalloc(t->n_columns + 1, sizeof(*widths));

	CHECK(t->n_columns && t->n_cells % t->n_columns == 0);
	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = display_width(t->columns[i].heading);
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t width = display_width(t->cells[i]);

		if (width > widths[i % t->n_columns])
			widths[i % t->n_columns] = width;
	}
	/* a group's name that is wider than its columns widens the first of them */
	for (size_t i = 0, end; i < t->n_columns; i = end) {
		size_t want = t->columns[i].group ? display_width(t->columns[i].group) : 0, have;

		end = group_end(t, i);
		have = group_width(widths, i, end);
		widths[i] += want > have ? want - have : 0;
	}
	return widths;
}

static bool put_cell(struct buf *out, const char *s, size_t width, bool left, bool last)
{
	size_t pad = width - display_width(s);

	return put_spaces(out, left ? 0 : pad) && put_plain(out, s) &&
	       put_spaces(out, left && !last ? pad : 0);
}

static bool put_group_line(const struct table *t, const size_t *widths, struct buf *out)
{
	size_t owed = 0; /* spaces, written before the next text only: no line ends in spaces */
	bool ok = true;

	for (size_t i = 0, end; i < t->n_columns && ok; i = end) {
		const char *name = t->columns[i].group ? t->columns[i].group : "";
		size_t width, used = display_width(name);

		end = group_end(t, i);
		width = group_width(widths, i, end);
		owed += i ? gap : 0;
		if (*name) {
			ok = put_spaces(out, owed + (width - used) / 2) && put_plain(out, name);
			owed = width - used - (width - used) / 2;
		} else {
			owed += width;
		}
	}
	return ok && buf_putc(out, '\n');
}

bool table_text(const struct table *t, struct buf *out)
{
	size_t *widths = find_widths(t);
	bool ok = true;

	CHECK(t->n_columns);
	if (has_groups(t))
		ok = put_group_line(t, widths, out);
	for (size_t i = 0; i < t->n_columns && ok; i++) {
		ok = put_spaces(out, i ? gap : 0) &&
		     put_cell(out, t->columns[i].heading, widths[i], t->columns[i].left,
			      i + 1 == t->n_columns);
	}
	ok = ok && buf_putc(out, '\n');
	for (size_t i = 0; i < t->n_cells && ok; i++) {
		size_t col = i % t->n_columns;
		bool last = col + 1 == t->n_columns;

		ok = put_spaces(out, col ? gap : 0) &&
		     put_cell(out, t->cells[i], widths[col], t->columns[col].left, last) &&
		     (!last || buf_putc(out, '\n'));
	}
	free(widths);
	return ok;
}

bool table_html(const struct table *t, struct buf *out)
{
	bool ok = buf_puts(out, "<table>\n<thead>\n");

	CHECK(t->n_columns && t->n_cells % t->n_columns == 0);
	if (has_groups(t)) {
		ok = ok && buf_puts(out, "<tr>");
		for (size_t i = 0, end; i < t->n_columns && ok; i = end) {
			end = group_end(t, i);
			ok = buf_printf(out, "<th colspan=\"%zu\">", end - i) &&
			     put_html(out, t->columns[i].group ? t->columns[i].group : "") &&
			     buf_puts(out, "</th>");
		}
		ok = ok && buf_puts(out, "</tr>\n");
	}
	ok = ok && buf_puts(out, "<tr>");
	for (size_t i = 0; i < t->n_columns && ok; i++)
		ok = buf_puts(out, t->columns[i].left ? "<th class=\"l\">" : "<th>") &&
		     put_html(out, t->columns[i].heading) && buf_puts(out, "</th>");
	ok = ok && buf_puts(out, "</tr>\n</thead>\n<tbody>\n");
	for (size_t i = 0; i < t->n_cells && ok; i++) {
		size_t col = i % t->n_columns;

		ok = (col || buf_puts(out, "<tr>")) &&
		     buf_puts(out, t->columns[col].left ? "<td class=\"l\">" : "<td>") &&
		     put_html(out, t->cells[i]) && buf_puts(out, "</td>") &&
		     (col + 1 < t->n_columns || buf_puts(out, "</tr>\n"));
	}
	return ok && buf_puts(out, "</tbody>\n</table>\n");
}
