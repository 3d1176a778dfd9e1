/*
 * Owns the YAML tree: libyaml's events become nodes that know their place, --set grafts values onto
 * them, included files fill what is missing. Any thread, one at a time per document. Knows no key
 * of any file; what the nodes mean is read in yamlx_typed.c, how they are written in yamlx_emit.c.
 */
#include "yamlx.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "check.h"
#include "die.h"
#include "units.h"

#define MAX_DEPTH     32
#define MAX_FILE_MIB  16
#define MAX_NODES     (1u << 20)
#define MAX_KEYS      1000 /* of one map: repeated keys are looked for by comparing all */
#define MAX_KEY_BYTES 200  /* in escapes: still fewer than libyaml's 1,024 characters for a key */

struct ydoc {
	struct ynode *root;
	char **name; /* what the nodes' file members point to */
	size_t n_names;
};

/* ---- nodes ---- */

static void ynode_free(struct ynode *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		ynode_free(n->child[i]);
	free(n->child);
	free(n->key);
	free(n->text);
	free(n);
}

static struct ynode *new_node(enum ynode_kind kind, const char *file)
{
	struct ynode *n = xcalloc(1, sizeof(*n));

	n->kind = kind;
	n->file = file;
	return n;
}

static void add_child(struct ynode *parent, struct ynode *n)
{
	/* n counts up only, so that powers of two are where the array is full. */
	if ((parent->n & (parent->n - 1)) == 0)
		parent->child = xreallocarray(parent->child, parent->n ? 2 * parent->n : 1,
					      sizeof(struct ynode *));
	parent->child[parent->n++] = n;
	n->parent = parent;
}

struct ynode *ynode_get(const struct ynode *map, const char *key)
{
	if (!map || map->kind != YNODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++)
		if (strcmp(map->child[i]->key, key) == 0)
			return map->child[i];
	return NULL;
}

void ydoc_free(struct ydoc *d)
{
	if (!d)
		return;
	ynode_free(d->root);
	for (size_t i = 0; i < d->n_names; i++)
		free(d->name[i]);
	free(d->name);
	free(d);
}

struct ynode *ydoc_root(const struct ydoc *d)
{
	return d->root;
}

static const char *own_name(struct ydoc *d, char *name)
{
	d->name = xreallocarray(d->name, d->n_names + 1, sizeof(*d->name));
	d->name[d->n_names++] = name;
	return name;
}

/* ---- events to nodes ---- */

struct builder {
	const char *file;
	bool placed; /* lines and columns mean something: not so for the text of a --set */
	const char *text;
	size_t len;
	struct ynode *root, *open; /* open: the map or sequence that is being filled */
	char *key;		   /* read, its value is still to come */
	yaml_mark_t key_mark;
	int depth;
	size_t n_nodes, n_docs;
	struct err *e;
};

static enum rc __attribute__((format(printf, 4, 5)))
refuse(const struct builder *b, yaml_mark_t at, enum rc rc, const char *fmt, ...)
{
	struct err why;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&why, rc, fmt, ap);
	va_end(ap);
	if (b->placed)
		return err_set(b->e, rc, "%s:%zu:%zu: %s", b->file, at.line + 1, at.column + 1,
			       why.msg);
	return err_set(b->e, rc, "%s: %s", b->file, why.msg);
}

static enum rc refuse_extras(const struct builder *b, const yaml_event_t *ev, const void *anchor,
			     const void *tag)
{
	if (anchor)
		return refuse(b, ev->start_mark, RC_INPUT, "&%s: anchors are not supported",
			      (const char *)anchor);
	if (tag)
		return refuse(b, ev->start_mark, RC_INPUT, "%s: tags are not supported",
			      (const char *)tag);
	return RC_OK;
}

static bool wants_key(const struct builder *b)
{
	return b->open && b->open->kind == YNODE_MAP && !b->key;
}

static enum rc take_key(struct builder *b, const yaml_event_t *ev)
{
	const char *key = (const char *)ev->data.scalar.value;
	const struct ynode *first = ynode_get(b->open, key);

	if (ev->data.scalar.length > MAX_KEY_BYTES)
		return refuse(b, ev->start_mark, RC_INPUT, "a key of more than %d bytes",
			      MAX_KEY_BYTES);
	if (first && b->placed)
		return refuse(b, ev->start_mark, RC_INPUT, "%s: key given twice, first in line %d",
			      key, first->key_line);
	if (first)
		return refuse(b, ev->start_mark, RC_INPUT, "%s: key given twice", key);
	if (b->open->n == MAX_KEYS)
		return refuse(b, ev->start_mark, RC_LIMIT, "a map of more than %d keys", MAX_KEYS);
	b->key = xstrdup(key);
	b->key_mark = ev->start_mark;
	return RC_OK;
}

/* A node where the events stand: under the pending key, as next element, or as root. */
static enum rc attach(struct builder *b, const yaml_event_t *ev, enum ynode_kind kind,
		      struct ynode **out)
{
	struct ynode *n;

	*out = NULL;
	if (b->n_nodes++ == MAX_NODES)
		return refuse(b, ev->start_mark, RC_LIMIT, "more than %u values", MAX_NODES);
	n = new_node(kind, b->file);
	n->key = b->key;
	b->key = NULL;
	if (b->placed) {
		n->line = (int)ev->start_mark.line + 1;
		n->col = (int)ev->start_mark.column + 1;
	}
	if (b->placed && n->key) {
		n->key_line = (int)b->key_mark.line + 1;
		n->key_col = (int)b->key_mark.column + 1;
	}
	if (b->open)
		add_child(b->open, n);
	else
		b->root = n;
	*out = n;
	return RC_OK;
}

static enum rc on_scalar(struct builder *b, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	struct ynode *n;
	enum rc rc = refuse_extras(b, ev, ev->data.scalar.anchor, ev->data.scalar.tag);

	if (rc != RC_OK)
		return rc;
	if (strlen(text) != ev->data.scalar.length)
		return refuse(b, ev->start_mark, RC_INPUT, "a text with a NUL character in it");
	if (wants_key(b))
		return take_key(b, ev);
	rc = attach(b, ev, YNODE_SCALAR, &n);
	if (rc != RC_OK)
		return rc;
	n->text = xstrdup(text);
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	return RC_OK;
}

static enum rc on_open(struct builder *b, const yaml_event_t *ev, enum ynode_kind kind,
		       const void *anchor, const void *tag)
{
	struct ynode *n;
	enum rc rc = refuse_extras(b, ev, anchor, tag);

	if (rc != RC_OK)
		return rc;
	if (wants_key(b))
		return refuse(b, ev->start_mark, RC_INPUT, "a map or list as a key");
	if (b->depth == MAX_DEPTH)
		return refuse(b, ev->start_mark, RC_LIMIT, "nested deeper than %d", MAX_DEPTH);
	rc = attach(b, ev, kind, &n);
	if (rc != RC_OK)
		return rc;
	b->open = n;
	b->depth++;
	return RC_OK;
}

static enum rc on_event(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->n_docs++)
			return refuse(b, ev->start_mark, RC_INPUT, "a second document in one file");
		return RC_OK;
	case YAML_ALIAS_EVENT:
		return refuse(b, ev->start_mark, RC_INPUT, "*%s: aliases are not supported",
			      (const char *)ev->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, ev, YNODE_SEQ, ev->data.sequence_start.anchor,
			       ev->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, ev, YNODE_MAP, ev->data.mapping_start.anchor,
			       ev->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		CHECK(b->open); /* libyaml pairs its events */
		b->open = b->open->parent;
		b->depth--;
		return RC_OK;
	default:
		return RC_OK;
	}
}

/* libyaml counts bytes where it cannot read characters. */
static yaml_mark_t mark_of_offset(const struct builder *b, size_t offset)
{
	yaml_mark_t at = {0};

	for (size_t i = 0; i < offset && i < b->len; i++) {
		at.column++;
		if (b->text[i] == '\n') {
			at.line++;
			at.column = 0;
		}
	}
	return at;
}

/* Tabs may not indent YAML, and libyaml's message does not tell. */
static const char *hint(const struct builder *b, yaml_mark_t at)
{
	size_t line = 0, i = 0;

	for (; i < b->len && line < at.line; i++)
		line += b->text[i] == '\n';
	return i + at.column < b->len && b->text[i + at.column] == '\t'
		       ? " (a tab: indent with spaces)"
		       : "";
}

static enum rc syntax_error(const struct builder *b, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		die("out of memory");
	if (p->error == YAML_READER_ERROR)
		return refuse(b, mark_of_offset(b, p->problem_offset), RC_INPUT,
			      "no UTF-8 text: %s", p->problem);
	return refuse(b, p->problem_mark, RC_INPUT, "%s%s%s%s", p->problem, p->context ? " " : "",
		      p->context ? p->context : "", hint(b, p->problem_mark));
}

/* The tree of a text, or *root NULL if there is nothing in it. depth: how deep it will hang. */
static enum rc build(struct ynode **root, const char *file, bool placed, int depth,
		     const char *text, size_t len, struct err *e)
{
	struct builder b = {
		.file = file, .placed = placed, .text = text, .len = len, .depth = depth, .e = e};
	yaml_parser_t p;
	yaml_event_t ev;
	enum rc rc = RC_OK;
	bool end = false;

	*root = NULL;
	if (len > (size_t)MAX_FILE_MIB << 20)
		return err_set(e, RC_LIMIT, "%s: more than %d MiB", file, MAX_FILE_MIB);
	if (!yaml_parser_initialize(&p))
		die("out of memory");
	yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
	while (!end && rc == RC_OK) {
		if (!yaml_parser_parse(&p, &ev)) {
			rc = syntax_error(&b, &p);
			break;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		rc = on_event(&b, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&p);
	free(b.key);
	if (rc == RC_OK)
		*root = b.root;
	else
		ynode_free(b.root);
	return rc;
}

static bool is_nothing(const struct ynode *n)
{
	return n->kind == YNODE_SCALAR && !n->quoted && !*n->text;
}

enum rc yaml_parse(struct ydoc **out, const char *name, const char *text, size_t len, struct err *e)
{
	struct ydoc *d = xcalloc(1, sizeof(*d));
	const char *file = own_name(d, xstrdup(name));
	enum rc rc = build(&d->root, file, true, 0, text, len, e);

	*out = NULL;
	if (rc != RC_OK) {
		ydoc_free(d);
		return rc;
	}
	if (d->root && is_nothing(d->root)) {
		ynode_free(d->root);
		d->root = NULL;
	}
	if (!d->root) {
		d->root = new_node(YNODE_MAP, file);
		d->root->line = d->root->col = 1;
	}
	*out = d;
	return RC_OK;
}

enum rc yaml_load(struct ydoc **out, const char *path, struct err *e)
{
	struct buf b;
	enum rc rc;

	*out = NULL;
	buf_init(&b, (size_t)MAX_FILE_MIB << 20);
	rc = (enum rc)buf_read_file(&b, path, e);
	if (rc == RC_OK)
		rc = yaml_parse(out, strcmp(path, "-") == 0 ? "standard input" : path, buf_head(&b),
				buf_size(&b), e);
	buf_release(&b);
	return rc;
}

/* ---- --set and include ---- */

/* One step of a path: ".name" or "[name]". */
struct step {
	char name[MAX_KEY_BYTES + 1];
	bool bracket;
};

/* Takes a step off the front of *s. False if none stands there or nothing stands behind it. */
static bool next_step(const char **s, bool first, struct step *step)
{
	const char *p = *s;
	size_t n;

	step->bracket = *p == '[';
	if (!first && *p != '[' && *p != '.')
		return false;
	p += step->bracket || !first;
	n = strcspn(p, step->bracket ? "]" : ".[=");
	if (!n || n > MAX_KEY_BYTES || !p[n])
		return false;
	memcpy(step->name, p, n);
	step->name[n] = '\0';
	*s = p + n + step->bracket;
	return true;
}

static enum rc no_such_element(const struct ynode *list, const char *name, const char *origin,
			       struct err *e)
{
	const struct ynode *has;
	struct buf names;
	enum rc rc;

	buf_init(&names, 512);
	for (size_t i = 0; i < list->n; i++) {
		has = ynode_get(list->child[i], "name");
		if (has && has->text &&
		    !buf_printf(&names, "%s%s", buf_size(&names) ? ", " : "", has->text))
			break;
	}
	rc = err_set(e, RC_INPUT, "%s: no element [%s] in a list of %zu%s%s%s", origin, name,
		     list->n, buf_size(&names) ? " (" : "", buf_cstr(&names),
		     buf_size(&names) ? ")" : "");
	buf_release(&names);
	return rc;
}

/* An element by its place or by its `name`. */
static enum rc find_element(struct ynode **at, const struct step *step, const char *origin,
			    struct err *e)
{
	struct ynode *list = *at;
	int64_t index;

	if (!step->bracket)
		return err_set(
			e, RC_INPUT,
			"%s: \"%s\" is asked of a list: choose an element with [0] or [its name]",
			origin, step->name);
	if (strspn(step->name, "0123456789") == strlen(step->name)) {
		if (parse_int(step->name, 0, INT64_MAX, &index, NULL) != RC_OK ||
		    (uint64_t)index >= list->n)
			return no_such_element(list, step->name, origin, e);
		*at = list->child[index];
		return RC_OK;
	}
	for (size_t i = 0; i < list->n; i++) {
		const struct ynode *name = ynode_get(list->child[i], "name");

		if (name && name->text && strcmp(name->text, step->name) == 0) {
			*at = list->child[i];
			return RC_OK;
		}
	}
	return no_such_element(list, step->name, origin, e);
}

/* Moves *at one step down. What is null becomes a map; a new child is null until it is given its
 * value. */
static enum rc descend(struct ynode **at, const struct step *step, const char *origin,
		       struct err *e)
{
	struct ynode *n = *at, *child;

	if (n->kind == YNODE_SEQ)
		return find_element(at, step, origin, e);
	if (n->kind == YNODE_SCALAR && !ynode_is_null(n))
		return err_set(e, RC_INPUT, "%s: \"%s\" is asked of \"%s\", which is no map",
			       origin, step->name, n->text);
	if (n->kind == YNODE_SCALAR) {
		if (step->bracket)
			return err_set(e, RC_INPUT, "%s: [%s] is asked of a list that is not there",
				       origin, step->name);
		free(n->text);
		n->text = NULL;
		n->kind = YNODE_MAP;
		n->file = origin;
		n->line = n->col = n->key_line = n->key_col = 0;
	}
	child = ynode_get(n, step->name);
	if (!child) {
		child = new_node(YNODE_SCALAR, origin);
		child->key = xstrdup(step->name);
		child->text = xstrdup("");
		add_child(n, child);
	}
	*at = child;
	return RC_OK;
}

/* n keeps its key and its place among its siblings and becomes `value`, which is used up. */
static void graft(struct ynode *n, struct ynode *value)
{
	for (size_t i = 0; i < n->n; i++)
		ynode_free(n->child[i]);
	free(n->child);
	free(n->text);
	n->kind = value->kind;
	n->quoted = value->quoted;
	n->file = value->file;
	n->line = n->col = n->key_line = n->key_col = 0;
	n->text = value->text;
	n->child = value->child;
	n->n = value->n;
	for (size_t i = 0; i < n->n; i++)
		n->child[i]->parent = n;
	free(value);
}

enum rc ydoc_set(struct ydoc *d, const char *assignment, const char *origin, struct err *e)
{
	const char *file = own_name(d, xstrdup(origin));
	const char *s = assignment;
	struct ynode *n = d->root, *value;
	struct step step;
	int depth = 0;
	enum rc rc;

	for (; *s != '=' || !depth; depth++) {
		if (depth == MAX_DEPTH)
			return err_set(e, RC_LIMIT, "%s: a path of more than %d steps", origin,
				       MAX_DEPTH);
		if (!next_step(&s, depth == 0, &step))
			return err_set(
				e, RC_INPUT,
				"%s: got \"%s\", want path=value as in load.closed.requests=20 or "
				"targets[0].model=m",
				origin, assignment);
		rc = descend(&n, &step, file, e);
		if (rc != RC_OK)
			return rc;
	}
	rc = build(&value, file, false, depth, s + 1, strlen(s + 1), e);
	if (rc != RC_OK)
		return rc;
	if (!value) {
		value = new_node(YNODE_SCALAR, file);
		value->text = xstrdup("");
	}
	graft(n, value);
	return RC_OK;
}

static void merge(struct ynode *over, struct ynode *base)
{
	for (size_t i = 0; i < base->n; i++) {
		struct ynode *have = ynode_get(over, base->child[i]->key);

		if (!have) {
			add_child(over, base->child[i]);
			base->child[i] = NULL;
		} else if (have->kind == YNODE_MAP && base->child[i]->kind == YNODE_MAP) {
			merge(have, base->child[i]);
		}
	}
}

void ydoc_merge_defaults(struct ydoc *d, struct ydoc *base_taken)
{
	if (d->root->kind == YNODE_MAP && base_taken->root->kind == YNODE_MAP)
		merge(d->root, base_taken->root);
	for (size_t i = 0; i < base_taken->n_names; i++)
		own_name(d, base_taken->name[i]);
	base_taken->n_names = 0;
	ydoc_free(base_taken);
}
