/*
 * Owns the file that a fit leaves behind. Runs once, at its end. Must not know what a key means:
 * what stands in the profile that was begun with is written as it stood.
 */
#include "fit_profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "fit_report.h"

#define MAX_PROFILE_BYTES (1u << 20)
#define COMMENT_COLUMN	  40
#define MAX_DEPTH	  4

/* key: 'value', the quotes in it doubled. */
static enum rc set_text(struct ydoc *d, const char *key, const char *value, struct err *e)
{
	struct buf b;
	enum rc rc;

	buf_init(&b, MAX_PROFILE_BYTES);
	buf_printf(&b, "%s='", key);
	for (; *value; value++) {
		if (*value == '\'')
			buf_putc(&b, '\'');
		buf_putc(&b, *value);
	}
	buf_putc(&b, '\'');
	rc = ydoc_set(d, buf_cstr(&b), key, e);
	buf_release(&b);
	return rc;
}

static bool is_there(const struct ydoc *d, const char *path)
{
	const struct ynode *n = ydoc_root(d);
	char *copy = xstrdup(path), *save = NULL;

	for (char *key = strtok_r(copy, ".", &save); key && n; key = strtok_r(NULL, ".", &save))
		n = n->kind == YNODE_MAP ? ynode_get(n, key) : NULL;
	free(copy);
	return n;
}

static enum rc set_param(struct ydoc *d, const struct fit_result *r, int param, struct err *e)
{
	const struct fit_param *f = &r->model.param[param];
	char value[32], *assignment;
	enum rc rc;

	if (f->verdict == FIT_GIVEN || (f->verdict == FIT_LEFT_OUT && !is_there(d, f->key)))
		return RC_OK;
	assignment = xasprintf("%s=%s", f->key,
			       fit_spell(&r->model, param, fit_param_get(&r->model, param), value));
	rc = ydoc_set(d, assignment, f->key, e);
	free(assignment);
	return rc;
}

/* ---- comments ---- */

/* Where a line of block style stands: "cost", "affine", "step". */
struct path {
	char *key[MAX_DEPTH];
};

static void path_release(struct path *p)
{
	for (int i = 0; i < MAX_DEPTH; i++)
		free(p->key[i]);
}

/* Takes in a line's key; false if it is deeper than anything we speak of, or has none. */
static bool path_take(struct path *p, const char *line, size_t len)
{
	size_t indent = strspn(line, " "), depth = indent / 2;
	const char *colon = memchr(line, ':', len);

	if (depth >= MAX_DEPTH || !colon || line[indent] == '-' || line[indent] == '"')
		return false;
	for (size_t i = depth; i < MAX_DEPTH; i++) {
		free(p->key[i]);
		p->key[i] = NULL;
	}
	p->key[depth] = xstrndup(line + indent, (size_t)(colon - line) - indent);
	return colon[1] == ' ';
}

/* The comment of a line with a value in scheduler or cost; NULL for all others. */
static const char *comment_of(const struct path *p, const struct fit_result *r, char words[160])
{
	char *path;
	int param;

	if (!p->key[0] || !p->key[1] ||
	    (strcmp(p->key[0], "scheduler") != 0 && strcmp(p->key[0], "cost") != 0))
		return NULL;
	path = p->key[2] ? xasprintf("%s.%s.%s", p->key[0], p->key[1], p->key[2])
			 : xasprintf("%s.%s", p->key[0], p->key[1]);
	param = fit_param_find(&r->model, path);
	free(path);
	return param >= 0 ? fit_account(r, param, words) : "given";
}

static bool put_commented(struct buf *out, const char *text, const struct fit_result *r)
{
	struct path p = {0};
	char words[160];
	bool ok = true;

	while (ok && *text) {
		size_t len = strcspn(text, "\n");
		const char *comment = path_take(&p, text, len) ? comment_of(&p, r, words) : NULL;

		ok = buf_append(out, text, len) &&
		     (!comment || buf_printf(out, "%*s # %s",
					     len < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - len) : 0,
					     "", comment)) &&
		     buf_putc(out, '\n');
		text += len + (text[len] == '\n');
	}
	path_release(&p);
	return ok;
}

enum rc fit_profile_write(struct buf *out, const struct fit_result *r, struct ydoc *base,
			  const char *name, const char *source, struct err *e)
{
	const struct fit_rows *rows = r->model.rows;
	enum rc rc = set_text(base, "name", name, e);
	struct buf text;

	if (rc == RC_OK)
		rc = set_text(base, "source", source, e);
	for (int i = 0; rc == RC_OK && i < r->model.n_params; i++)
		rc = set_param(base, r, i, e);
	if (rc)
		return rc;
	buf_init(&text, MAX_PROFILE_BYTES);
	if (!ynode_emit(&text, ydoc_root(base)) ||
	    !buf_printf(out,
			"# Fitted to %zu requests in %d run%s; mean relative error of TTFT, decode "
			"time and latency %.2f %%.\n# Intervals are of the requests' scatter.\n",
			rows->n, rows->n_runs, rows->n_runs == 1 ? "" : "s", 100 * r->objective) ||
	    !put_commented(out, buf_cstr(&text), r))
		rc = err_set(e, RC_LIMIT, "the profile is longer than %zu bytes", out->max);
	buf_release(&text);
	return rc;
}
