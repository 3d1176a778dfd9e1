/*
 * Any bytes as YAML: what is taken is emitted and loads to the same keys, texts and types; and the
 * same bytes as a
 * --set on a small document.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/yamlx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct ynode *a, const struct ynode *b)
{
	CHECK(a->kind == b->kind && a->n == b->n && !a->key == !b->key);
	CHECK(!a->key || strcmp(a->key, b->key) == 0);
	CHECK(a->kind != YNODE_SCALAR ||
	      (strcmp(a->text, b->text) == 0 && ynode_is_null(a) == ynode_is_null(b)));
	for (size_t i = 0; i < a->n; i++) {
		CHECK(a->child[i]->parent == a);
		check_same(a->child[i], b->child[i]);
	}
}

static char *as_json(const struct ynode *n)
{
	cJSON *v = ynode_to_json(n);
	struct buf b;

	buf_init(&b, 256 << 20);
	CHECK(json_print(&b, v, false));
	cJSON_Delete(v);
	return buf_take(&b);
}

static void check_emitting(const struct ydoc *d)
{
	struct ydoc *again;
	struct buf b;
	struct err e;
	char *x, *y;

	buf_init(&b, 256 << 20);
	CHECK(ynode_emit(&b, ydoc_root(d)));
	CHECK(yaml_parse(&again, "again", buf_head(&b), buf_size(&b), &e) == RC_OK);
	check_same(ydoc_root(d), ydoc_root(again));
	x = as_json(ydoc_root(d));
	y = as_json(ydoc_root(again));
	CHECK(strcmp(x, y) == 0);
	free(x);
	free(y);
	ydoc_free(again);
	buf_release(&b);
}

static void check_readings(const struct ynode *n)
{
	static const char *const names[] = {"name", "load", "targets", NULL};
	const char *s;
	int64_t i;
	double x;
	bool b;
	int k;
	struct err e;

	ynode_str(n, &s, &e);
	ynode_bool(n, &b, &e);
	ynode_int(n, 0, 9, &i, &e);
	ynode_count(n, 0, 9, &i, &e);
	ynode_num(n, 0, 9, &x, &e);
	ynode_duration(n, &i, &e);
	ynode_bytes(n, &i, &e);
	ynode_rate(n, &x, &e);
	ynode_choice(n, names, &k, &e);
	ynode_check_keys(n, names, &e);
	for (size_t c = 0; c < n->n && c < 8; c++)
		check_readings(n->child[c]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char base[] = "name: x\nload: {a: [1, {name: n}]}\ntargets: [{name: t}]\n";
	char *assignment = xstrndup((const char *)data, size);
	struct ydoc *d;
	struct err e;

	if (yaml_parse(&d, "in", (const char *)data, size, &e) == RC_OK) {
		check_emitting(d);
		check_readings(ydoc_root(d));
		ydoc_free(d);
	} else {
		CHECK(!d && strncmp(e.msg, "in:", 3) == 0);
	}

	CHECK(yaml_parse(&d, "base", base, strlen(base), &e) == RC_OK);
	if (ydoc_set(d, assignment, "--set x", &e) == RC_OK)
		check_readings(ydoc_root(d));
	else
		CHECK(strncmp(e.msg, "--set x: ", 9) == 0);
	ydoc_free(d);
	free(assignment);
	return 0;
}
