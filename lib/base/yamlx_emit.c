/*
 * Owns the way from the tree to text: block-style YAML that loads to the same tree, and JSON. Any
 * thread; changes no tree.
 */
#include "yamlx.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "jsonx.h"
#include "utf8.h"

/* ---- YAML ---- */

/* What may stand in YAML as it is; the rest needs an escape (YAML 1.1, 4.1.1). Line ends are for
 * quotes. */
static bool is_printable(uint32_t cp)
{
	return (cp >= 0x20 && cp < 0x7f) ||
	       (cp >= 0xa0 && cp <= 0xfffd && cp != 0xfeff && cp != 0x2028 && cp != 0x2029) ||
	       cp >= 0x10000;
}

/* Whether a text reads back as itself without quotes, as a key or a value of block style. Rather
 * too strict. */
static bool is_plain(const char *s)
{
	size_t len = strlen(s), n;
	uint32_t cp;

	if (!len || strchr(" ?:,[]{}#&*!|>'\"%@`", *s) || s[len - 1] == ' ' || s[len - 1] == ':')
		return false;
	if (*s == '-' && (!s[1] || s[1] == ' '))
		return false;
	if (strncmp(s, "---", 3) == 0 || strncmp(s, "...", 3) == 0 || strstr(s, ": ") ||
	    strstr(s, " #"))
		return false;
	for (size_t i = 0; i < len; i += n) {
		n = utf8_decode(s + i, len - i, &cp);
		if (!n || !is_printable(cp))
			return false;
	}
	return true;
}

static bool emit_quoted(struct buf *b, const char *s)
{
	size_t len = strlen(s), n;
	uint32_t cp;
	bool ok = buf_putc(b, '"');

	for (size_t i = 0; ok && i < len; i += n) {
		n = utf8_decode(s + i, len - i, &cp);
		if (!n) {
			n = 1;
			ok = buf_puts(b, "\\ufffd");
		} else if (cp == '"' || cp == '\\') {
			ok = buf_putc(b, '\\') && buf_putc(b, (char)cp);
		} else if (cp == '\n') {
			ok = buf_puts(b, "\\n");
		} else if (cp == '\t') {
			ok = buf_puts(b, "\\t");
		} else if (is_printable(cp)) {
			ok = buf_append(b, s + i, n);
		} else {
			ok = cp < 0x100 ? buf_printf(b, "\\x%02x", cp)
					: buf_printf(b, "\\u%04x", cp);
		}
	}
	return ok && buf_putc(b, '"');
}

static bool emit_scalar(struct buf *b, const struct ynode *n)
{
	if (!n->quoted && (!*n->text || is_plain(n->text)))
		return buf_puts(b, n->text);
	return emit_quoted(b, n->text);
}

static bool emit_children(struct buf *b, const struct ynode *n, int indent);

/* What stands behind "key:" or "-", to the end of its last line. */
static bool emit_value(struct buf *b, const struct ynode *n, int indent)
{
	if (n->kind == YNODE_SCALAR)
		return (!(n->quoted || *n->text) || buf_putc(b, ' ')) && emit_scalar(b, n) &&
		       buf_putc(b, '\n');
	if (!n->n)
		return buf_puts(b, n->kind == YNODE_MAP ? " {}\n" : " []\n");
	if (n->parent->kind == YNODE_SEQ) /* "- a: 1": the first child on the line of the dash */
		return buf_putc(b, ' ') && emit_children(b, n, indent);
	return buf_printf(b, "\n%*s", indent, "") && emit_children(b, n, indent);
}

/* The cursor stands at column `indent`. */
static bool emit_children(struct buf *b, const struct ynode *n, int indent)
{
	bool ok = true;

	for (size_t i = 0; ok && i < n->n; i++) {
		const struct ynode *c = n->child[i];

		ok = !i || buf_printf(b, "%*s", indent, "");
		if (n->kind == YNODE_SEQ)
			ok = ok && buf_putc(b, '-');
		else
			ok = ok &&
			     (is_plain(c->key) ? buf_puts(b, c->key) : emit_quoted(b, c->key)) &&
			     buf_putc(b, ':');
		ok = ok && emit_value(b, c, indent + 2);
	}
	return ok;
}

bool ynode_emit(struct buf *b, const struct ynode *n)
{
	size_t before = buf_size(b);
	bool ok;

	if (n->kind == YNODE_SCALAR)
		ok = emit_scalar(b, n) && buf_putc(b, '\n');
	else if (!n->n)
		ok = buf_puts(b, n->kind == YNODE_MAP ? "{}\n" : "[]\n");
	else
		ok = emit_children(b, n, 0);
	if (!ok)
		b->len = b->off + before;
	return ok;
}

/* ---- JSON ---- */

static size_t digits(const char *s)
{
	return strspn(s, "0123456789");
}

/*
 * Whether a plain scalar is a number: as JSON has it, or with a plus or a bare point, which people
 * write. With leading zeros it is a text: 007 is 7 to some readers of YAML and octal to others.
 */
static bool is_number(const char *s, bool *whole)
{
	size_t before, after = 0;

	*whole = true;
	s += *s == '-' || *s == '+';
	before = digits(s);
	if (before > 1 && *s == '0')
		return false;
	s += before;
	if (*s == '.') {
		*whole = false;
		after = digits(++s);
		s += after;
	}
	if (!before && !after)
		return false;
	if (*s == 'e' || *s == 'E') {
		*whole = false;
		s++;
		s += *s == '-' || *s == '+';
		if (!digits(s))
			return false;
		s += digits(s);
	}
	return !*s;
}

static cJSON *scalar_to_json(const struct ynode *n)
{
	const char *s = n->text;
	bool whole;
	double v;

	if (n->quoted)
		return cJSON_CreateString(s);
	if (ynode_is_null(n))
		return cJSON_CreateNull();
	if (strcmp(s, "true") == 0 || strcmp(s, "false") == 0)
		return cJSON_CreateBool(*s == 't');
	if (!is_number(s, &whole))
		return cJSON_CreateString(s);
	v = strtod(s, NULL);
	if (whole && fabs(v) >= 0x1p53) /* cJSON's doubles would change the last digits */
		return cJSON_CreateRaw(s + (*s == '+'));
	return isfinite(v) ? cJSON_CreateNumber(v) : cJSON_CreateString(s);
}

struct cJSON *ynode_to_json(const struct ynode *n)
{
	cJSON *v;

	if (n->kind == YNODE_SCALAR)
		v = scalar_to_json(n);
	else
		v = n->kind == YNODE_MAP ? cJSON_CreateObject() : cJSON_CreateArray();
	if (!v)
		die("out of memory");
	for (size_t i = 0; i < n->n; i++) {
		cJSON *c = ynode_to_json(n->child[i]);

		if (!(n->kind == YNODE_MAP ? cJSON_AddItemToObject(v, n->child[i]->key, c)
					   : cJSON_AddItemToArray(v, c)))
			die("out of memory");
	}
	return v;
}
