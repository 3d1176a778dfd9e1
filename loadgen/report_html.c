/*
 * Owns report.html: the report's tables and sentences and the figures, in one file that needs no
 * other and loads nothing. Main thread. Figures are those that report_plots() has drawn.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/die.h"
#include "report_body.h"

#define MAX_BYTES ((size_t)256 << 20)

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
	"'unsafe-inline'; img-src data:; script-src "
	"'sha256-YdLbNP8RgsfxLVKYIagxfSKxh8rNgeltv+IlESUa87Q='\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";

static const char style[] =
	"</title>\n<style>\n"
	"body { font: 15px/1.5 system-ui, sans-serif; max-width: 68em; margin: 2em auto; padding: "
	"0 1em; color: #222; "
	"background: #fff }\n"
	"h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 2em 0 .5em }\n"
	"table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums; "
	"margin: .5em 0 }\n"
	"th, td { padding: .15em .7em; text-align: right; white-space: nowrap } .l { text-align: "
	"left }\n"
	"thead th { font-weight: 600; border-bottom: 1px solid #bbb } thead tr:first-child th { "
	"text-align: center }\n"
	"thead tr:only-child th { text-align: right } thead tr:only-child th.l { text-align: left "
	"}\n"
	"tbody tr:nth-child(even) { background: #f6f6f6 }\n"
	"p { margin: .3em 0 } .warning { border-left: 4px solid #d55e00; padding-left: .6em }\n"
	"figure { margin: 1.5em 0 } svg { max-width: 100%; height: auto }\n"
	"div, pre { overflow-x: auto } details { margin: 2em 0 } summary { cursor: pointer }\n"
	"th[tabindex] { cursor: pointer } th[tabindex]:hover { background: #eee }\n"
	"th[aria-sort]::after { content: ' ↑' } th[aria-sort=descending]::after { content: ' ↓' "
	"}\n"
	"</style>\n</head>\n<body>\n";

/* Sorts a table by the column whose heading is clicked: numbers by value, whatever mark stands
 * before them, names as people order them, what is missing last. The page says all it has to say
 * without. Its hash stands in the policy above: nothing else may run. */
static const char script[] =
	"document.querySelectorAll('table').forEach(function (t) {\n"
	"\tvar head = t.tHead.rows[t.tHead.rows.length - 1], body = t.tBodies[0];\n"
	"\tfunction key(row, i, text) {\n"
	"\t\tvar s = row.cells[i].textContent;\n"
	"\t\treturn text ? s : parseFloat(s.replace(/^[^0-9+-]+/, ''));\n"
	"\t}\n"
	"\tArray.from(head.cells).forEach(function (th, i) {\n"
	"\t\tvar text = th.className === 'l';\n"
	"\t\tth.tabIndex = 0;\n"
	"\t\tth.onclick = function () {\n"
	"\t\t\tvar up = th.getAttribute('aria-sort') !== 'ascending';\n"
	"\t\t\tArray.from(head.cells).forEach(function (o) { o.removeAttribute('aria-sort'); "
	"});\n"
	"\t\t\tth.setAttribute('aria-sort', up ? 'ascending' : 'descending');\n"
	"\t\t\tArray.from(body.rows).sort(function (a, b) {\n"
	"\t\t\t\tvar x = key(a, i, text), y = key(b, i, text), d;\n"
	"\t\t\t\tif (!text && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y);\n"
	"\t\t\t\td = text ? x.localeCompare(y, 'en', {numeric: true}) : x - y;\n"
	"\t\t\t\treturn up ? d : -d;\n"
	"\t\t\t}).forEach(function (row) { body.appendChild(row); });\n"
	"\t\t};\n"
	"\t\tth.onkeydown = function (k) { if (k.key === 'Enter') th.click(); };\n"
	"\t});\n"
	"});\n";

static bool put_element(struct buf *out, const char *open, const char *text, const char *close)
{
	return buf_puts(out, open) && put_html(out, text) && buf_puts(out, close);
}

static bool put_block(struct buf *out, const struct block *block, bool first)
{
	switch (block->kind) {
	case BLOCK_HEADING:
		return put_element(out, first ? "<h1>" : "<h2>", block->text,
				   first ? "</h1>\n" : "</h2>\n");
	case BLOCK_LINE:
		return put_element(out, "<p>", block->text, "</p>\n");
	case BLOCK_WARNING:
		return put_element(out, "<p class=\"warning\">", block->text, "</p>\n");
	case BLOCK_TABLE:
		return buf_puts(out, "<div>") && table_html(&block->table, out) &&
		       buf_puts(out, "</div>\n");
	}
	return false;
}

/* The svg element, without what stands before it (XML declaration, document type). */
static bool put_svg(struct buf *out, const struct buf *svg)
{
	const char *start = memmem(buf_head(svg), buf_size(svg), "<svg", 4);

	return !start || (buf_puts(out, "<figure>\n") &&
			  buf_append(out, start, buf_size(svg) - (size_t)(start - buf_head(svg))) &&
			  buf_puts(out, "</figure>\n"));
}

static bool put_figures(struct buf *out, const struct report_input *in)
{
	bool ok = true;

	for (char **name = in->scenario->output.plots; name && *name && ok; name++) {
		char *path = xasprintf("%s/plots/%s.svg", in->dir, *name);
		struct buf svg;
		struct err e;

		buf_init(&svg, MAX_BYTES);
		if (access(path, R_OK) == 0 && buf_read_file(&svg, path, &e) == RC_OK)
			ok = put_svg(out, &svg);
		buf_release(&svg);
		free(path);
	}
	return ok;
}

/* The scenario as it was run, folded away; runs laid on each other have none of their own. */
static bool put_scenario(struct buf *out, const struct report_input *in)
{
	char *path = xasprintf("%s/scenario.yaml", in->dir);
	bool ok = true;
	struct buf yaml;
	struct err e;

	buf_init(&yaml, MAX_BYTES);
	if (access(path, R_OK) == 0 && buf_read_file(&yaml, path, &e) == RC_OK) {
		ok = buf_puts(out,
			      "<details>\n<summary>The scenario as it was run</summary>\n<pre>");
		for (const char *line = buf_cstr(&yaml); *line && ok;) {
			size_t len = strcspn(line, "\n");
			char *text = xstrndup(line, len);

			ok = put_html(out, text) && buf_putc(out, '\n');
			free(text);
			line += len + (line[len] == '\n');
		}
		ok = ok && buf_puts(out, "</pre>\n</details>\n");
	}
	buf_release(&yaml);
	free(path);
	return ok;
}

static bool put_page(struct buf *out, const struct body *b, const struct report_input *in)
{
	bool ok = buf_puts(out, head) && put_html(out, in->scenario->name) && buf_puts(out, style);
	bool drawn = false;

	for (size_t i = 0; i < b->n && ok; i++) {
		if (i > 0 && !drawn && b->blocks[i].kind == BLOCK_HEADING) {
			drawn = true;
			ok = put_figures(out, in);
		}
		ok = ok && put_block(out, &b->blocks[i], i == 0);
	}
	return ok && put_scenario(out, in) && buf_puts(out, "<script>") && buf_puts(out, script) &&
	       buf_puts(out, "</script>\n</body>\n</html>\n");
}

enum rc body_html(const struct body *b, const struct report_input *in, struct err *e)
{
	char *path = xasprintf("%s/report.html", in->dir);
	enum rc rc = RC_OK;
	struct buf page;
	FILE *f = NULL;
	bool ok;

	buf_init(&page, MAX_BYTES);
	if (!put_page(&page, b, in)) {
		rc = err_set(e, RC_LIMIT, "%s: larger than %zu MiB", path, MAX_BYTES >> 20);
		goto out;
	}
	f = fopen(path, "w");
	ok = f && fwrite(buf_head(&page), 1, buf_size(&page), f) == buf_size(&page);
	if (f && fclose(f) != 0)
		ok = false;
	if (!ok)
		rc = err_set(e, RC_IO, "%s: %s", path, strerror(errno));
out:
	buf_release(&page);
	free(path);
	return rc;
}

enum rc report_html(const struct report_input *in, struct err *e)
{
	struct body b;
	enum rc rc;

	body_init(&b, in);
	rc = body_html(&b, in, e);
	body_release(&b);
	return rc;
}
