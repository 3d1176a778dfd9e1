/*
 * Owns the scenario as it goes into the results: the effective tree with absolute paths, without
 * the targets that were not wanted, and without secrets. Main thread; changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "scenario_read.h"

static const char redacted[] = "[redacted]";

/* A node that is written with another text. */
struct patch {
	const struct ynode *node;
	char *text;
};

struct patches {
	struct patch *list;
	size_t n;
};

static void patch(struct patches *p, const struct ynode *n, const char *text)
{
	if (!n || !text)
		return;
	p->list = xreallocarray(p->list, p->n + 1, sizeof(*p->list));
	p->list[p->n++] = (struct patch){n, xstrdup(text)};
}

static const char *patched(const struct patches *p, const struct ynode *n)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].node == n)
			return p->list[i].text;
	return NULL;
}

static void patch_target(struct patches *p, const struct scenario *s, const struct target *t)
{
	const struct ynode *headers = ynode_get(t->node, "headers"),
			   *profile = ynode_get(t->node, "profile"),
			   *key_file = ynode_get(t->node, "api_key_file");
	char *path;

	for (size_t i = 0; headers && i < headers->n; i++)
		if (header_is_secret(headers->child[i]->key, headers->child[i]->text))
			patch(p, headers->child[i], redacted);
	if (profile)
		patch(p, profile, t->profile);
	else if (t->launch)
		patch(p, ynode_get(ynode_get(t->node, "launch"), "program"), t->launch->program);
	if (key_file) {
		path = path_join(s->folder, key_file->text);
		patch(p, key_file, path);
		free(path);
	}
}

static bool is_left_out(const struct scenario *s, const struct ynode *n)
{
	if (!n->parent || n->parent != ynode_get(ydoc_root(s->doc), "targets"))
		return false;
	for (int i = 0; i < s->n_targets; i++)
		if (s->targets[i].node == n)
			return false;
	return true;
}

/* A tree of the nodes that are written. Texts and keys stay the document's or the patches'. */
static struct ynode *view(const struct scenario *s, const struct patches *p, const struct ynode *n)
{
	struct ynode *v = xmalloc(sizeof(*v));
	const char *text = patched(p, n);

	*v = *n;
	if (text && strcmp(text, n->text) != 0) {
		v->text = (char *)text;
		v->quoted = true;
	}
	v->child = xcalloc(n->n + 1, sizeof(struct ynode *));
	v->n = 0;
	for (size_t i = 0; i < n->n; i++) {
		if (is_left_out(s, n->child[i]))
			continue;
		v->child[v->n] = view(s, p, n->child[i]);
		v->child[v->n++]->parent = v;
	}
	return v;
}

static void view_free(struct ynode *v)
{
	for (size_t i = 0; i < v->n; i++)
		view_free(v->child[i]);
	free(v->child);
	free(v);
}

bool scenario_emit(const struct scenario *s, struct buf *out)
{
	const struct ynode *root = ydoc_root(s->doc);
	struct patches p = {0};
	struct ynode *v;
	bool fits;

	patch(&p, ynode_get(ynode_get(ynode_get(root, "workload"), "prompts"), "file"),
	      s->workload.file);
	patch(&p, ynode_get(ynode_get(ynode_get(root, "load"), "open"), "trace"), s->trace_file);
	for (int i = 0; i < s->n_targets; i++)
		patch_target(&p, s, &s->targets[i]);
	v = view(s, &p, root);
	fits = ynode_emit(out, v);
	view_free(v);
	for (size_t i = 0; i < p.n; i++)
		free(p.list[i].text);
	free(p.list);
	return fits;
}
