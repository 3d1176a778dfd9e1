/*
 * YAML: the tree and its places, what is refused and where, --set, include, typed readings with
 * their messages, and the property that what is emitted loads to the same tree.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/jsonx.h"
#include "base/yamlx.h"

static struct ydoc *parse(const char *text)
{
	struct ydoc *d;
	struct err e = {.msg = ""};

	if (yaml_parse(&d, "s.yaml", text, strlen(text), &e) != RC_OK)
		fail_msg("%s\n%s", text, e.msg);
	return d;
}

/* "a.b" or "a.0.b" from the root; must exist. */
static struct ynode *at(const struct ydoc *d, const char *path)
{
	struct ynode *n = ydoc_root(d);
	char step[64];

	while (*path) {
		size_t len = strcspn(path, ".");

		assert_true(len < sizeof(step));
		memcpy(step, path, len);
		step[len] = '\0';
		path += len + (path[len] == '.');
		if (n->kind == YNODE_SEQ) {
			assert_true((size_t)atoi(step) < n->n);
			n = n->child[atoi(step)];
		} else {
			n = ynode_get(n, step);
		}
		assert_non_null(n);
	}
	return n;
}

/* The tree on one line: {a: [1, "two"]}, quoted scalars in quotes. */
static void show(struct buf *b, const struct ynode *n)
{
	if (n->kind == YNODE_SCALAR) {
		buf_printf(b, n->quoted ? "\"%s\"" : "%s", n->text);
		return;
	}
	buf_putc(b, n->kind == YNODE_MAP ? '{' : '[');
	for (size_t i = 0; i < n->n; i++) {
		assert_ptr_equal(n->child[i]->parent, n);
		buf_puts(b, i ? ", " : "");
		if (n->kind == YNODE_MAP)
			buf_printf(b, "%s: ", n->child[i]->key);
		else
			assert_null(n->child[i]->key);
		show(b, n->child[i]);
	}
	buf_putc(b, n->kind == YNODE_MAP ? '}' : ']');
}

static void assert_tree(const struct ydoc *d, const char *want)
{
	struct buf b;

	buf_init(&b, 1 << 16);
	show(&b, ydoc_root(d));
	assert_string_equal(buf_cstr(&b), want);
	buf_release(&b);
}

static void test_trees(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", "{}"},
		{"# only a comment\n", "{}"},
		{"---\n", "{}"},
		{"--- # still nothing\n...\n", "{}"},
		{"a: 1\nb: two words\nc:\nd: ~\n", "{a: 1, b: two words, c: , d: ~}"},
		{"a: {b: [1, 2.5, x y], c: {}}\nd: []\n", "{a: {b: [1, 2.5, x y], c: {}}, d: []}"},
		{"- a\n- b: 1\n  c: 2\n- - x\n  - y\n", "[a, {b: 1, c: 2}, [x, y]]"},
		{"a: \"1\"\nb: '2'\nc: |\n  l1\n  l2\nd: >-\n  f1\n  f2\n",
		 "{a: \"1\", b: \"2\", c: \"l1\nl2\n\", d: \"f1 f2\"}"},
		{"a: several\n  lines\n", "{a: several lines}"},
		{"\"quoted key\": x\n? explicit\n: y\n", "{quoted key: x, explicit: y}"},
		{"url: http://h:1/x#y\n", "{url: http://h:1/x#y}"},
		{"{\"json\": [true, null, \"s\"]}", "{json: [true, null, \"s\"]}"},
		{"just text", "just text"},
		{"\xef\xbb\xbf"
		 "a: 1\n",
		 "{a: 1}"},
		{"%YAML 1.1\n---\na: 1\n", "{a: 1}"},
		{"<<: {a: 1}\n", "{<<: {a: 1}}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ydoc *d = parse(cases[i].text);

		assert_tree(d, cases[i].want);
		ydoc_free(d);
	}
}

static void test_places(void **state)
{
	struct ydoc *d =
		parse("# head\nload:\n  closed: {concurrency: [1, 2]}\ntargets:\n  - name: a\n");
	const struct ynode *n = at(d, "load.closed");

	(void)state;
	assert_int_equal(n->line, 3);
	assert_int_equal(n->col, 11);
	assert_int_equal(n->key_line, 3);
	assert_int_equal(n->key_col, 3);
	assert_string_equal(n->file, "s.yaml");
	n = at(d, "load.closed.concurrency.1");
	assert_int_equal(n->line, 3);
	assert_int_equal(n->col, 29);
	n = at(d, "targets.0.name");
	assert_int_equal(n->line, 5);
	assert_int_equal(n->col, 11);
	assert_int_equal(n->key_col, 5);
	ydoc_free(d);
	d = parse("");
	assert_int_equal(ydoc_root(d)->line, 1);
	ydoc_free(d);
	ydoc_free(NULL);
	assert_null(ynode_get(NULL, "a"));
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"a: 1\nb: 2\na: 3\n", "s.yaml:3:1: a: key given twice, first in line 1"},
		{"x: {a: 1, a: 2}\n", "s.yaml:1:11: a: key given twice, first in line 1"},
		{"a: &x 1\nb: *x\n", "s.yaml:1:4: &x: anchors are not supported"},
		{"a: &x [1]\n", "s.yaml:1:4: &x: anchors are not supported"},
		{"a: *x\n", "s.yaml:1:4: *x: aliases are not supported"},
		{"a: !!str 1\n", "s.yaml:1:4: tag:yaml.org,2002:str: tags are not supported"},
		{"a: !mine {}\n", "s.yaml:1:4: !mine: tags are not supported"},
		{"a: 1\n---\nb: 2\n", "s.yaml:2:1: a second document in one file"},
		{"? [a]\n: 1\n", "s.yaml:1:3: a map or list as a key"},
		{"a: \"x\\0y\"\n", "s.yaml:1:4: a text with a NUL character in it"},
		{"a: [1, 2\n",
		 "s.yaml:2:1: did not find expected ',' or ']' while parsing a flow sequence"},
		{"a: b: c\n", "s.yaml:1:5: mapping values are not allowed in this context"},
		{"a:\n\tb: 1\n",
		 "s.yaml:2:1: found character that cannot start any token while scanning for the "
		 "next token (a tab: indent with spaces)"},
		{"a: \"open\n",
		 "s.yaml:2:1: found unexpected end of stream while scanning a quoted scalar"},
		{"ab: 1\nx: \xff\n", "s.yaml:2:4: no UTF-8 text: invalid leading UTF-8 octet"},
		{"x: \x01\n", "s.yaml:1:4: no UTF-8 text: control characters are not allowed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ydoc *d;
		struct err e = {.msg = "accepted"};

		assert_int_equal(yaml_parse(&d, "s.yaml", cases[i].text, strlen(cases[i].text), &e),
				 RC_INPUT);
		assert_null(d);
		assert_string_equal(e.msg, cases[i].want);
	}
}

static void test_caps(void **state)
{
	struct ydoc *d;
	struct err e;
	struct buf b;

	(void)state;
	buf_init(&b, 32 << 20);
	for (int i = 0; i < 33; i++)
		buf_putc(&b, '[');
	for (int i = 0; i < 33; i++)
		buf_putc(&b, ']');
	assert_int_equal(yaml_parse(&d, "s", buf_head(&b) + 1, 64, &e), RC_OK);
	ydoc_free(d);
	assert_int_equal(yaml_parse(&d, "s", buf_head(&b), 66, &e), RC_LIMIT);
	assert_string_equal(e.msg, "s:1:33: nested deeper than 32");

	buf_clear(&b);
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "k%d: v\n", i);
	assert_int_equal(yaml_parse(&d, "s", buf_head(&b), buf_size(&b), &e), RC_OK);
	ydoc_free(d);
	buf_puts(&b, "more: v\n");
	assert_int_equal(yaml_parse(&d, "s", buf_head(&b), buf_size(&b), &e), RC_LIMIT);
	assert_string_equal(e.msg, "s:1001:1: a map of more than 1000 keys");

	buf_clear(&b);
	buf_printf(&b, "? %0201d\n: v\n", 0);
	assert_int_equal(yaml_parse(&d, "s", buf_head(&b), buf_size(&b), &e), RC_INPUT);
	assert_string_equal(e.msg, "s:1:3: a key of more than 200 bytes");

	assert_int_equal(yaml_parse(&d, "s", buf_head(&b), (16 << 20) + 1, &e), RC_LIMIT);
	assert_string_equal(e.msg, "s: more than 16 MiB");
	assert_int_equal(yaml_load(&d, BINARY_DIR "/none.yaml", &e), RC_IO);
	assert_non_null(strstr(e.msg, "/none.yaml"));
	assert_null(d);
	buf_release(&b);
}

static const char base_text[] =
	"load:\n  closed: {concurrency: [1, 2]}\n  empty:\n"
	"targets:\n  - name: vLLM (fake)\n    url: u\n  - {name: a.b=c, url: v}\n  - 5\n"
	"seed: 1\nheaders: {X.Y: z}\n";

static void test_set(void **state)
{
	static const struct {
		const char *assignment, *path,
			*want; /* what is at path afterwards, as show() has it */
	} cases[] = {
		{"seed=7", "seed", "7"},
		{"seed=\"7\"", "seed", "\"7\""},
		{"seed=", "seed", ""},
		{"load.closed.concurrency=[1,4]", "load.closed", "{concurrency: [1, 4]}"},
		{"load.closed.requests=20", "load.closed", "{concurrency: [1, 2], requests: 20}"},
		{"load.closed.concurrency[1]=9", "load.closed", "{concurrency: [1, 9]}"},
		{"load.empty.x.y=1", "load.empty", "{x: {y: 1}}"},
		{"new.a.b={c: d, e: [f]}", "new", "{a: {b: {c: d, e: [f]}}}"},
		{"targets[0].url=w=x", "targets.0.url", "w=x"},
		{"targets[vLLM (fake)].model=m", "targets.0",
		 "{name: vLLM (fake), url: u, model: m}"},
		{"targets[a.b=c].url=w", "targets.1.url", "w"},
		{"targets[2]=6", "targets.2", "6"},
		{"headers[X.Z]=q", "headers", "{X.Y: z, X.Z: q}"},
		{"load=null", "load", "null"},
		{"description=two words # no comment", "description", "two words"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ydoc *d = parse(base_text);
		struct err e = {.msg = ""};
		struct buf b;

		if (ydoc_set(d, cases[i].assignment, "--set x", &e) != RC_OK)
			fail_msg("%s: %s", cases[i].assignment, e.msg);
		buf_init(&b, 4096);
		/* headers[X.Z] cannot be walked to by at(): its parent is shown. */
		show(&b, at(d, cases[i].path));
		assert_string_equal(buf_cstr(&b), cases[i].want);
		buf_release(&b);
		ydoc_free(d);
	}
}

static void test_set_refused(void **state)
{
	static const struct {
		const char *assignment, *want; /* behind the origin */
	} cases[] = {
		{"seed", "got \"seed\", want path=value as in load.closed.requests=20 or "
			 "targets[0].model=m"},
		{"=1",
		 "got \"=1\", want path=value as in load.closed.requests=20 or targets[0].model=m"},
		{"a..b=1", "got \"a..b=1\", want path=value as in load.closed.requests=20 or "
			   "targets[0].model=m"},
		{"a[x=1", "got \"a[x=1\", want path=value as in load.closed.requests=20 or "
			  "targets[0].model=m"},
		{"targets[0]x=1", "got \"targets[0]x=1\", want path=value as in "
				  "load.closed.requests=20 or targets[0].model=m"},
		{"targets[]=1", "got \"targets[]=1\", want path=value as in "
				"load.closed.requests=20 or targets[0].model=m"},
		{"targets[3].url=x", "no element [3] in a list of 3 (vLLM (fake), a.b=c)"},
		{"targets[99999999999999999999]=x",
		 "no element [99999999999999999999] in a list of 3 (vLLM (fake), a.b=c)"},
		{"targets[sglang].url=x",
		 "no element [sglang] in a list of 3 (vLLM (fake), a.b=c)"},
		{"load.closed.concurrency[2]=1", "no element [2] in a list of 2"},
		{"targets.url=x",
		 "\"url\" is asked of a list: choose an element with [0] or [its name]"},
		{"seed.x=1", "\"x\" is asked of \"1\", which is no map"},
		{"load.empty[0]=1", "[0] is asked of a list that is not there"},
		{"nothing[0]=1", "[0] is asked of a list that is not there"},
		{"seed=[1", "did not find expected ',' or ']' while parsing a flow sequence"},
		{"seed={a: 1, a: 2}", "a: key given twice"},
		{"seed=*x", "*x: aliases are not supported"},
		{"seed=1\n---\n2", "a second document in one file"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ydoc *d = parse(base_text);
		struct err e = {.msg = "accepted"};

		assert_int_equal(ydoc_set(d, cases[i].assignment, "--set p", &e), RC_INPUT);
		assert_memory_equal(e.msg, "--set p: ", 9);
		assert_string_equal(e.msg + 9, cases[i].want);
		ydoc_free(d);
	}
}

static void test_set_depth(void **state)
{
	struct ydoc *d = parse("");
	struct err e;

	(void)state;
	assert_int_equal(
		ydoc_set(d, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.b=1",
			 "o", &e),
		RC_OK);
	assert_int_equal(
		ydoc_set(d, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.b=[]",
			 "o", &e),
		RC_LIMIT);
	assert_int_equal(
		ydoc_set(d, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.b=1",
			 "o", &e),
		RC_LIMIT);
	assert_string_equal(e.msg, "o: a path of more than 32 steps");
	ydoc_free(d);
}

/* Messages about what --set made name it, and not a place in the file. */
static void test_set_origin(void **state)
{
	static const char *const known[] = {"load", "seed", NULL};
	struct ydoc *d = parse("seed: x\n");
	struct err e;
	int64_t v;

	(void)state;
	assert_int_equal(ydoc_set(d, "seed=abc", "--set seed", &e), RC_OK);
	assert_int_equal(at(d, "seed")->line, 0);
	assert_int_equal(ynode_int(at(d, "seed"), 0, 9, &v, &e), RC_INPUT);
	assert_memory_equal(e.msg, "--set seed: ", 12);
	assert_non_null(strstr(e.msg, "abc"));
	assert_int_equal(ydoc_set(d, "load={closed: {requests: [1]}}", "--set load", &e), RC_OK);
	assert_int_equal(ynode_int(at(d, "load.closed.requests"), 0, 9, &v, &e), RC_INPUT);
	assert_string_equal(e.msg, "--set load: load.closed.requests: got a list, want an integer");
	assert_int_equal(ydoc_set(d, "laod.x=1", "--set laod.x", &e), RC_OK);
	assert_int_equal(ynode_check_keys(ydoc_root(d), known, &e), RC_INPUT);
	assert_string_equal(e.msg, "--set laod.x: laod: unknown key (did you mean load?)");
	ydoc_free(d);
}

static void test_load(void **state)
{
	static const char path[] = SOURCE_DIR "/tests/fuzz/corpus/yaml/scenario.yaml";
	struct ydoc *d;
	struct err e;
	struct buf b;

	(void)state;
	assert_int_equal(yaml_load(&d, path, &e), RC_OK);
	assert_string_equal(at(d, "targets.0.launch.args.1")->text, "8000");
	assert_true(at(d, "targets.0.launch.args.1")->quoted);
	ynode_err(at(d, "slo.tpot"), &e, "bad");
	buf_init(&b, 4096);
	buf_printf(&b, "%s:14:26: slo.tpot: bad", path);
	assert_string_equal(e.msg, buf_cstr(&b));
	buf_release(&b);
	ydoc_free(d);
}

static void test_merge_defaults(void **state)
{
	struct ydoc *d = parse("a: {x: 1, l: [1]}\nb: 2\nn:\n");
	struct ydoc *base = NULL;
	static const char text[] = "a: {x: 9, y: 8, l: [7, 7]}\nb: {z: 1}\nc: {k: v}\nn: 3\n";
	struct err e;

	(void)state;
	assert_int_equal(yaml_parse(&base, "base.yaml", text, strlen(text), &e), RC_OK);
	ydoc_merge_defaults(d, base);
	assert_tree(d, "{a: {x: 1, l: [1], y: 8}, b: 2, n: , c: {k: v}}");
	ynode_err(at(d, "c.k"), &e, "bad");
	assert_string_equal(e.msg, "base.yaml:3:8: c.k: bad");
	ynode_err(at(d, "a.x"), &e, "bad");
	assert_string_equal(e.msg, "s.yaml:1:8: a.x: bad");
	ydoc_free(d);

	d = parse("[1]");
	ydoc_merge_defaults(d, parse("a: 1\n"));
	assert_tree(d, "[1]");
	ydoc_free(d);
}

static void test_messages(void **state)
{
	static const char *const known[] = {"concurrency", "requests", "duration", NULL};
	struct ydoc *d = parse("load:\n  - closed: {concurency: 1}\n  - {zebra: 1}\n  - {requests: "
			       "1}\n  - x\n  -\n");
	struct err e;

	(void)state;
	assert_int_equal(ynode_err(ydoc_root(d), &e, "needs %s", "targets"), RC_INPUT);
	assert_string_equal(e.msg, "s.yaml:1:1: needs targets");
	assert_int_equal(ynode_err(at(d, "load.0.closed.concurency"), NULL, "x"), RC_INPUT);
	assert_int_equal(ynode_err(at(d, "load.0.closed.concurency"), &e, "too %d", 1), RC_INPUT);
	assert_string_equal(e.msg, "s.yaml:2:26: load[0].closed.concurency: too 1");
	assert_int_equal(ynode_check_keys(at(d, "load.0.closed"), known, &e), RC_INPUT);
	assert_string_equal(
		e.msg,
		"s.yaml:2:14: load[0].closed.concurency: unknown key (did you mean concurrency?)");
	assert_int_equal(ynode_check_keys(at(d, "load.1"), known, &e), RC_INPUT);
	assert_string_equal(
		e.msg,
		"s.yaml:3:6: load[1].zebra: unknown key, want concurrency, requests or duration");
	assert_int_equal(ynode_check_keys(at(d, "load.2"), known, &e), RC_OK);
	assert_int_equal(ynode_check_keys(at(d, "load.3"), known, &e), RC_INPUT);
	assert_string_equal(e.msg, "s.yaml:5:5: load[3]: got \"x\", want a map with concurrency, "
				   "requests or duration");
	assert_int_equal(ynode_check_keys(at(d, "load.4"), known, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "load[4]: got nothing, want a map with"));
	assert_int_equal(ynode_check_keys(at(d, "load"), known, &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "load: got a list, want a map with"));
	ydoc_free(d);
}

enum reading { STR, BOOL, INT, COUNT, NUM, DURATION, BYTES, RATE, CHOICE };

static enum rc read_as(enum reading r, const struct ynode *n, double *out, struct err *e)
{
	static const char *const names[] = {"closed", "open", "serial", NULL};
	const char *s = NULL;
	int64_t i = 0;
	bool b = false;
	int k = 0;
	enum rc rc;

	switch (r) {
	case STR:
		rc = ynode_str(n, &s, e);
		*out = s ? (double)strlen(s) : -1;
		return rc;
	case BOOL:
		rc = ynode_bool(n, &b, e);
		*out = b;
		return rc;
	case INT:
		rc = ynode_int(n, 1, 100, &i, e);
		break;
	case COUNT:
		rc = ynode_count(n, 1, 100000, &i, e);
		break;
	case NUM:
		return ynode_num(n, 0, 2, out, e);
	case DURATION:
		rc = ynode_duration(n, &i, e);
		break;
	case BYTES:
		rc = ynode_bytes(n, &i, e);
		break;
	case RATE:
		return ynode_rate(n, out, e);
	default:
		rc = ynode_choice(n, names, &k, e);
		i = k;
	}
	*out = (double)i;
	return rc;
}

static void test_readings(void **state)
{
	static const struct {
		enum reading as;
		const char *text;
		double want;	   /* if it is taken */
		const char *error; /* else: what the message holds behind the place */
	} cases[] = {
		{STR, "abc", 3, NULL},
		{STR, "12", 2, NULL},
		{STR, "\"\"", 0, NULL},
		{STR, "", 0, "got nothing, want a text"},
		{STR, "~", 0, "got nothing, want a text"},
		{STR, "[a]", 0, "got a list, want a text"},
		{BOOL, "true", 1, NULL},
		{BOOL, "false", 0, NULL},
		{BOOL, "yes", 0, "got \"yes\", want true or false"},
		{BOOL, "\"true\"", 0, "got the text \"true\", want true or false"},
		{BOOL, "{a: 1}", 0, "got a map, want true or false"},
		{INT, "100", 100, NULL},
		{INT, "101", 0, "101"},
		{INT, "1.5", 0, "1.5"},
		{INT, "\"8\"", 0, "got the text \"8\", want an integer"},
		{INT, "null", 0, "got nothing, want an integer"},
		{COUNT, "4k", 4000, NULL},
		{COUNT, "\"20\"", 20, NULL},
		{COUNT, "0", 0, "0"},
		{COUNT, "many", 0, "many"},
		{NUM, "0.25", 0.25, NULL},
		{NUM, "3", 0, "3"},
		{NUM, "\"1\"", 0, "got the text \"1\", want a number"},
		{DURATION, "250ms", 250e6, NULL},
		{DURATION, "'1.5s'", 1.5e9, NULL},
		{DURATION, "250", 0, "250"},
		{DURATION, "", 0, "got nothing, want a duration such as 250ms or 30s"},
		{BYTES, "16KiB", 16384, NULL},
		{BYTES, "16 apples", 0, "16 apples"},
		{RATE, "600/min", 10, NULL},
		{RATE, "-1", 0, "-1"},
		{CHOICE, "open", 1, NULL},
		/* cut before the character that byte 60 would split */
		{CHOICE,
		 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz1234567\xc3\xa9 and so on", 0,
		 "got \"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz1234567...\", want"},
		{CHOICE, "opne", 0, "got \"opne\", want closed, open or serial"},
		{CHOICE, "[open]", 0, "got a list, want closed, open or serial"},
		{CHOICE, "", 0, "got nothing, want closed, open or serial"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = {.msg = ""};
		struct ydoc *d;
		char text[128];
		double got = -1;
		enum rc rc;

		snprintf(text, sizeof(text), "k: %s\n", cases[i].text);
		d = parse(text);
		rc = read_as(cases[i].as, at(d, "k"), &got, &e);
		if (!cases[i].error) {
			assert_string_equal(e.msg, "");
			assert_int_equal(rc, RC_OK);
			assert_true(got == cases[i].want);
		} else {
			assert_int_equal(rc, RC_INPUT);
			assert_memory_equal(e.msg, "s.yaml:1:", 9);
			assert_non_null(strstr(e.msg, ": k: "));
			assert_non_null(strstr(strstr(e.msg, ": k: "), cases[i].error));
			assert_int_equal(read_as(cases[i].as, at(d, "k"), &got, NULL), RC_INPUT);
		}
		ydoc_free(d);
	}
}

static void test_nearest_name(void **state)
{
	static const char *const names[] = {"concurrency", "requests", "duration", "rate",
					    "k",	   "url",      NULL};
	static const struct {
		const char *word, *want;
	} cases[] = {
		{"concurency", "concurrency"},
		{"Requests", "requests"},
		{"reqeusts", "requests"},
		{"durations", "duration"},
		{"arte", "rate"},
		{"rats", "rate"},
		{"x", NULL},
		{"zebra", NULL},
		{"ulr", "url"},
		{"", NULL},
		{"temperature", NULL},
		{"0123456789012345678901234567890123456789012345678901234567890123456789", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *got = nearest_name(cases[i].word, names);

		assert_string_equal(got ? got : "none", cases[i].want ? cases[i].want : "none");
	}
}

static void test_json(void **state)
{
	static const char text[] =
		"i: 12\nneg: -3\nplus: +4\nf: 0.5\ng: .5\nh: 1e3\nt: true\nn: null\ne:\n"
		"s: text\nq: \"12\"\nz: 007\nbig: 9007199254740993\ninf: 1e999\ndot: .\nver: "
		"1.2.3\n"
		"l: [1, {a: ~}]\nm: {}\nyes: yes\nhex: 0x10\n";
	struct ydoc *d = parse(text);
	cJSON *v = ynode_to_json(ydoc_root(d));
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_true(json_print(&b, v, false));
	assert_string_equal(
		buf_cstr(&b),
		"{\"i\":12,\"neg\":-3,\"plus\":4,\"f\":0.5,\"g\":0.5,\"h\":1000,\"t\":true,"
		"\"n\":null,\"e\":null,\"s\":\"text\",\"q\":\"12\",\"z\":\"007\","
		"\"big\":9007199254740993,\"inf\":\"1e999\",\"dot\":\".\",\"ver\":\"1.2.3\","
		"\"l\":[1,{\"a\":null}],\"m\":{},\"yes\":\"yes\",\"hex\":\"0x10\"}");
	cJSON_Delete(v);
	buf_release(&b);
	ydoc_free(d);
}

static void test_emit(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", "{}\n"},
		{"[]", "[]\n"},
		{"a: {b: [1, {c: d, e: f}, [x, [y]], []], g: {}}\n",
		 "a:\n  b:\n    - 1\n    - c: d\n      e: f\n    - - x\n      - - y\n    - []\n  "
		 "g: {}\n"},
		{"a: \"1\"\nb: 'it''s'\nc: |\n  l1\n\n  l2\nd:\ne: ~\n",
		 "a: \"1\"\nb: \"it's\"\nc: \"l1\\n\\nl2\\n\"\nd:\ne: ~\n"},
		{"- \n- ''\n", "-\n- \"\"\n"},
		{"url: http://h:1/x\n", "url: http://h:1/x\n"},
		{"\"a: b\": 1\n\"\": 2\n", "\"a: b\": 1\n\"\": 2\n"},
		{"\"tab\\tnul\\x01del\\x7fnel\\x85bom\\uFEFFend\"\n",
		 "\"tab\\tnul\\x01del\\x7fnel\\x85bom\\ufeffend\"\n"},
		{"text", "text\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ydoc *d;
		struct buf b;

		d = parse(cases[i].text);
		buf_init(&b, 4096);
		assert_true(ynode_emit(&b, ydoc_root(d)));
		assert_string_equal(buf_cstr(&b), cases[i].want);
		buf_release(&b);
		buf_init(&b, strlen(cases[i].want) - 1); /* one byte short: nothing at all */
		assert_false(ynode_emit(&b, ydoc_root(d)));
		assert_int_equal(buf_size(&b), 0);
		buf_release(&b);
		ydoc_free(d);
	}
}

/* A random tree as flow-style text, its scalars quoted or plain. */
static void random_value(struct buf *b, unsigned *seed, int depth)
{
	static const char *const plain[] = {"1",
					    "-2.5e3",
					    "true",
					    "null",
					    "~",
					    "",
					    "word",
					    "two words",
					    "a:b",
					    "x#y",
					    "-",
					    "-x",
					    "--- x",
					    "...",
					    "=",
					    "<<",
					    "0x1F",
					    ".5",
					    "http://h:1/",
					    "caf\xc3\xa9",
					    "? x",
					    "1 000",
					    "\xf0\x9f\x98\x80"};
	static const char *const bits[] = {
		"a",	   " ", "\\n", "\\t", ":",	  "#",	   "-",		  "\\\"",
		"\\\\",	   "'", "{",   "]",   ",",	  "\\x01", "\\x85",	  "\\u2028",
		"\\uFEFF", "%", "@",   "1",   "\xc3\xa9", "\\r",   "\\U0010FFFF", "\\uFFFE"};
	int kind = depth ? rand_r(seed) % 4 : rand_r(seed) % 2, n = rand_r(seed) % 4;

	if (kind == 0) {
		buf_puts(b, plain[(size_t)rand_r(seed) % ARRAY_LEN(plain)]);
	} else if (kind == 1) {
		buf_putc(b, '"');
		for (int i = 0; i < 2 * n; i++)
			buf_puts(b, bits[(size_t)rand_r(seed) % ARRAY_LEN(bits)]);
		buf_putc(b, '"');
	} else {
		buf_putc(b, kind == 2 ? '[' : '{');
		for (int i = 0; i < n; i++) {
			buf_puts(b, i ? ", " : "");
			if (kind == 3)
				buf_printf(b, "\"%s%d\": ",
					   bits[(size_t)rand_r(seed) % ARRAY_LEN(bits)], i);
			random_value(b, seed, depth - 1);
		}
		buf_putc(b, kind == 2 ? ']' : '}');
	}
}

static void assert_same(const struct ynode *a, const struct ynode *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->n, b->n);
	if (a->kind == YNODE_SCALAR)
		assert_string_equal(a->text, b->text);
	assert_true(!a->key == !b->key);
	if (a->key)
		assert_string_equal(a->key, b->key);
	for (size_t i = 0; i < a->n; i++)
		assert_same(a->child[i], b->child[i]);
}

/* Property: what is emitted loads to the same keys, texts and types. */
static void test_emit_round_trip(void **state)
{
	unsigned seed = 7;
	int taken = 0;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct ydoc *d, *again;
		struct buf in, out, json, json_again;
		struct err e;
		cJSON *v;

		buf_init(&in, 1 << 16);
		random_value(&in, &seed, 4);
		if (yaml_parse(&d, "in", buf_head(&in), buf_size(&in), &e) == RC_OK) {
			taken++;
			buf_init(&out, 1 << 16);
			buf_init(&json, 1 << 16);
			buf_init(&json_again, 1 << 16);
			assert_true(ynode_emit(&out, ydoc_root(d)));
			if (yaml_parse(&again, "out", buf_head(&out), buf_size(&out), &e) != RC_OK)
				fail_msg("%s\n%s\n%s", buf_cstr(&in), buf_cstr(&out), e.msg);
			assert_same(ydoc_root(d), ydoc_root(again));
			v = ynode_to_json(ydoc_root(d));
			assert_true(json_print(&json, v, false));
			cJSON_Delete(v);
			v = ynode_to_json(ydoc_root(again));
			assert_true(json_print(&json_again, v, false));
			cJSON_Delete(v);
			assert_string_equal(buf_cstr(&json), buf_cstr(&json_again));
			ydoc_free(again);
			buf_release(&out);
			buf_release(&json);
			buf_release(&json_again);
		}
		ydoc_free(d);
		buf_release(&in);
	}
	assert_true(taken > 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),	     cmocka_unit_test(test_places),
		cmocka_unit_test(test_refused),	     cmocka_unit_test(test_caps),
		cmocka_unit_test(test_set),	     cmocka_unit_test(test_set_refused),
		cmocka_unit_test(test_set_depth),    cmocka_unit_test(test_set_origin),
		cmocka_unit_test(test_load),	     cmocka_unit_test(test_merge_defaults),
		cmocka_unit_test(test_messages),     cmocka_unit_test(test_readings),
		cmocka_unit_test(test_nearest_name), cmocka_unit_test(test_json),
		cmocka_unit_test(test_emit),	     cmocka_unit_test(test_emit_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
