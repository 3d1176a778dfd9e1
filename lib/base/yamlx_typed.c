/*
 * Owns what a YAML node means: its place and path in messages, the typed readings, the check of
 * keys and the "did you mean". Any thread; changes no tree.
 */
#include "yamlx.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "units.h"
#include "utf8.h"

/* ---- where and what a node is, in words ---- */

static void add_path(struct buf *b, const struct ynode *n)
{
	size_t i = 0;

	if (!n->parent)
		return;
	add_path(b, n->parent);
	if (n->parent->kind == YNODE_MAP) {
		buf_printf(b, "%s%s", buf_size(b) ? "." : "", n->key);
		return;
	}
	while (n->parent->child[i] != n)
		i++;
	buf_printf(b, "[%zu]", i);
}

/* Whether origin, "--set a.b", names the path a.b itself. */
static bool names_path(const char *origin, const char *path)
{
	size_t n = strlen(origin), m = strlen(path);

	return n > m && origin[n - m - 1] == ' ' && strcmp(origin + n - m, path) == 0;
}

static enum rc err_at(const struct ynode *n, int line, int col, struct err *e, const char *fmt,
		      va_list ap)
{
	struct err text;
	struct buf b;
	const char *path;
	enum rc rc;

	err_vset(&text, RC_INPUT, fmt, ap);
	buf_init(&b, 512); /* a path that is longer ends early */
	add_path(&b, n);
	path = buf_cstr(&b);
	if (line)
		rc = err_set(e, RC_INPUT, "%s:%d:%d: %s%s%s", n->file, line, col, path,
			     *path ? ": " : "", text.msg);
	else if (!*path || names_path(n->file, path))
		rc = err_set(e, RC_INPUT, "%s: %s", n->file, text.msg);
	else
		rc = err_set(e, RC_INPUT, "%s: %s: %s", n->file, path, text.msg);
	buf_release(&b);
	return rc;
}

enum rc ynode_err(const struct ynode *n, struct err *e, const char *fmt, ...)
{
	enum rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = err_at(n, n->line, n->col, e, fmt, ap);
	va_end(ap);
	return rc;
}

static enum rc __attribute__((format(printf, 3, 4)))
key_err(const struct ynode *n, struct err *e, const char *fmt, ...)
{
	enum rc rc;
	va_list ap;

	va_start(ap, fmt);
	rc = err_at(n, n->key_line, n->key_col, e, fmt, ap);
	va_end(ap);
	return rc;
}

bool ynode_is_null(const struct ynode *n)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

	for (size_t i = 0;
	     n->kind == YNODE_SCALAR && !n->quoted && i < sizeof(nulls) / sizeof(nulls[0]); i++)
		if (strcmp(n->text, nulls[i]) == 0)
			return true;
	return false;
}

static enum rc wrong(const struct ynode *n, const char *want, struct err *e)
{
	if (n->kind != YNODE_SCALAR)
		return ynode_err(n, e, "got a %s, want %s", n->kind == YNODE_MAP ? "map" : "list",
				 want);
	if (ynode_is_null(n))
		return ynode_err(n, e, "got nothing, want %s", want);
	return ynode_err(n, e, "got %s\"%.*s%s\", want %s", n->quoted ? "the text " : "",
			 (int)utf8_cut(n->text, 60), n->text, strlen(n->text) > 60 ? "..." : "",
			 want);
}

/* ---- names ---- */

#define WORD_MAX 63

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b, case aside; both at most
 * WORD_MAX long. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1], m = strlen(b);
	size_t *older = rows[0], *old = rows[1], *now = rows[2], *t;

	for (size_t j = 0; j <= m; j++)
		now[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		t = older;
		older = old;
		old = now;
		now = t;
		now[0] = i;
		for (size_t j = 1; j <= m; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);

			now[j] = least(old[j] + 1, now[j - 1] + 1, old[j - 1] + (x != y));
			if (i > 1 && j > 1 && x != y && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]))
				now[j] = least(now[j], older[j - 2] + 1, now[j]);
		}
	}
	return now[m];
}

const char *nearest_name(const char *word, const char *const *names)
{
	size_t best = strlen(word) / 3 + 1; /* more edits than a third of the word: another word */
	const char *nearest = NULL;

	if (strlen(word) > WORD_MAX)
		return NULL;
	for (; *names; names++) {
		size_t d;

		if (strlen(*names) > WORD_MAX)
			continue;
		d = edit_distance(word, *names);
		/* A word of one or two letters resembles everything. */
		if (d < best || (d == best && !nearest && d < strlen(word) && d < strlen(*names))) {
			best = d;
			nearest = *names;
		}
	}
	return nearest;
}

/* "a, b or c" */
static const char *list_names(struct buf *b, const char *const *names)
{
	for (size_t i = 0; names[i]; i++)
		if (!buf_printf(b, "%s%s", !i ? "" : names[i + 1] ? ", " : " or ", names[i]))
			break;
	return buf_cstr(b);
}

enum rc ynode_check_keys(const struct ynode *map, const char *const *allowed, struct err *e)
{
	const struct ynode *unknown = NULL;
	const char *near;
	struct buf b;
	enum rc rc;

	if (map->kind == YNODE_MAP) {
		for (size_t i = 0; i < map->n && !unknown; i++) {
			const char *const *a = allowed;

			while (*a && strcmp(*a, map->child[i]->key) != 0)
				a++;
			unknown = *a ? NULL : map->child[i];
		}
		if (!unknown)
			return RC_OK;
	}
	buf_init(&b, 640);
	near = unknown ? nearest_name(unknown->key, allowed) : NULL;
	if (near) {
		rc = key_err(unknown, e, "unknown key (did you mean %s?)", near);
	} else if (unknown) {
		rc = key_err(unknown, e, "unknown key, want %s", list_names(&b, allowed));
	} else {
		buf_puts(&b, "a map with ");
		rc = wrong(map, list_names(&b, allowed), e);
	}
	buf_release(&b);
	return rc;
}

/* ---- typed readings ---- */

/* A scalar that says something, or a message. */
static enum rc need_scalar(const struct ynode *n, const char *want, struct err *e)
{
	return n->kind != YNODE_SCALAR || ynode_is_null(n) ? wrong(n, want, e) : RC_OK;
}

/* Numbers without a unit must not be in quotes: "8000" is a text. */
static enum rc need_plain(const struct ynode *n, const char *want, struct err *e)
{
	return n->kind != YNODE_SCALAR || n->quoted || ynode_is_null(n) ? wrong(n, want, e) : RC_OK;
}

enum rc ynode_str(const struct ynode *n, const char **out, struct err *e)
{
	enum rc rc = need_scalar(n, "a text", e);

	if (rc == RC_OK)
		*out = n->text;
	return rc;
}

enum rc ynode_bool(const struct ynode *n, bool *out, struct err *e)
{
	static const char want[] = "true or false";
	enum rc rc = need_plain(n, want, e);

	if (rc != RC_OK)
		return rc;
	if (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0)
		return wrong(n, want, e);
	*out = *n->text == 't';
	return RC_OK;
}

/* units.h says what is wrong with the text, this says where. */
static enum rc placed(const struct ynode *n, enum rc rc, const struct err *why, struct err *e)
{
	return rc == RC_OK ? RC_OK : ynode_err(n, e, "%s", why->msg);
}

enum rc ynode_int(const struct ynode *n, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	struct err why;
	enum rc rc = need_plain(n, "an integer", e);

	return rc == RC_OK ? placed(n, parse_int(n->text, min, max, out, &why), &why, e) : rc;
}

enum rc ynode_count(const struct ynode *n, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	struct err why;
	enum rc rc = need_scalar(n, "a count such as 20 or 4k", e);

	return rc == RC_OK ? placed(n, parse_count(n->text, min, max, out, &why), &why, e) : rc;
}

enum rc ynode_num(const struct ynode *n, double min, double max, double *out, struct err *e)
{
	struct err why;
	enum rc rc = need_plain(n, "a number", e);

	return rc == RC_OK ? placed(n, parse_double(n->text, min, max, out, &why), &why, e) : rc;
}

enum rc ynode_duration(const struct ynode *n, int64_t *out_ns, struct err *e)
{
	struct err why;
	enum rc rc = need_scalar(n, "a duration such as 250ms or 30s", e);

	return rc == RC_OK ? placed(n, parse_duration(n->text, out_ns, &why), &why, e) : rc;
}

enum rc ynode_bytes(const struct ynode *n, int64_t *out_bytes, struct err *e)
{
	struct err why;
	enum rc rc = need_scalar(n, "a size such as 512KiB or 80GiB", e);

	return rc == RC_OK ? placed(n, parse_bytes(n->text, out_bytes, &why), &why, e) : rc;
}

enum rc ynode_rate(const struct ynode *n, double *out_per_s, struct err *e)
{
	struct err why;
	enum rc rc = need_scalar(n, "a rate such as 10/s or 600/min", e);

	return rc == RC_OK ? placed(n, parse_rate(n->text, out_per_s, &why), &why, e) : rc;
}

enum rc ynode_choice(const struct ynode *n, const char *const *names, int *out, struct err *e)
{
	struct buf b;
	enum rc rc;

	for (int i = 0; n->kind == YNODE_SCALAR && names[i]; i++) {
		if (strcmp(names[i], n->text) == 0) {
			*out = i;
			return RC_OK;
		}
	}
	buf_init(&b, 640);
	rc = wrong(n, list_names(&b, names), e);
	buf_release(&b);
	return rc;
}
