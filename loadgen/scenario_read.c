/*
 * Owns the step from a YAML node to a checked C value: the walk over a table of fields, and the
 * readers that tables are made of. Main thread, before anything is opened. Must not know which keys
 * a scenario has.
 */
#include "scenario_read.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"

#define MAX_FIELDS 24
#define MAX_STRING 4096

enum rc read_map(struct reader *r, const struct ynode *n, const struct field *fields, void *out,
		 struct err *e)
{
	const char *keys[MAX_FIELDS + 1] = {NULL};
	enum rc rc;

	for (size_t i = 0; fields[i].key; i++) {
		CHECK(i < MAX_FIELDS);
		keys[i] = fields[i].key;
	}
	rc = ynode_check_keys(n, keys, e);
	for (const struct field *f = fields; f->key && !rc; f++) {
		const struct ynode *child = ynode_get(n, f->key);

		if (child)
			rc = f->read(r, f, child, (char *)out + f->offset, e);
		else if (f->required)
			rc = ynode_err(n, e, "%s is missing", f->key);
	}
	return rc;
}

READER(field_map)
{
	return read_map(r, n, f->fields, out, e);
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if (iscntrl((unsigned char)*s))
			return true;
	return false;
}

static void replace(char **out, char *taken)
{
	free(*out);
	*out = taken;
}

READER(field_str)
{
	const char *s;
	enum rc rc = ynode_str(n, &s, e);

	if (rc)
		return rc;
	if (!*s)
		return ynode_err(n, e, "got nothing, want a text");
	if (strlen(s) > MAX_STRING)
		return ynode_err(n, e, "got %zu characters, want at most %d", strlen(s),
				 MAX_STRING);
	if (has_control(s))
		return ynode_err(n, e, "got a control character, want one printable line");
	/* Left as it stands it would look as if it had been filled in. */
	if (strstr(s, "${"))
		return ynode_err(n, e, "${...} is filled in only in url and headers");
	replace(out, xstrdup(s));
	return RC_OK;
}

READER(field_text)
{
	const char *s;
	enum rc rc = ynode_str(n, &s, e);
	char *line;
	size_t len;

	if (rc)
		return rc;
	line = xstrdup(s);
	len = strlen(line);
	while (len && isspace((unsigned char)line[len - 1]))
		line[--len] = '\0';
	for (char *p = line; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = ' ';
	replace(out, line);
	return RC_OK;
}

READER(field_bool)
{
	return ynode_bool(n, out, e);
}

READER(field_int)
{
	int64_t v;
	enum rc rc = ynode_count(n, (int64_t)f->min, (int64_t)f->max, &v, e);

	if (!rc)
		*(int *)out = (int)v;
	return rc;
}

READER(field_count)
{
	return ynode_count(n, (int64_t)f->min, (int64_t)f->max, out, e);
}

READER(field_num)
{
	return ynode_num(n, f->min, f->max, out, e);
}

READER(field_duration)
{
	char least[32], most[32];
	int64_t v;
	enum rc rc = ynode_duration(n, &v, e);

	if (rc)
		return rc;
	if ((double)v < f->min || (double)v > f->max)
		return ynode_err(n, e, "got %s, want %s to %s", n->text,
				 format_duration(least, sizeof(least), (int64_t)f->min),
				 format_duration(most, sizeof(most), (int64_t)f->max));
	*(int64_t *)out = v;
	return RC_OK;
}

READER(field_choice)
{
	return ynode_choice(n, f->names, out, e);
}

READER(field_strings)
{
	char **list = xcalloc(1, sizeof(*list));
	enum rc rc = RC_OK;

	if (n->kind != YNODE_SEQ)
		rc = ynode_err(n, e, "want a list, as in [a, b]");
	for (size_t i = 0; !rc && i < n->n; i++) {
		char *s = NULL;

		rc = field_str(r, f, n->child[i], &s, e);
		if (!rc)
			strings_push(&list, s);
	}
	if (rc) {
		strings_free(list);
		return rc;
	}
	strings_free(*(char ***)out);
	*(char ***)out = list;
	return RC_OK;
}

READER(field_node)
{
	*(const struct ynode **)out = n;
	return RC_OK;
}

READER(field_file)
{
	char *given = NULL, *path;
	struct stat st;
	enum rc rc = field_str(r, f, n, &given, e);

	if (rc)
		return rc;
	CHECK(given);
	path = path_join(r->s->folder, given);
	free(given);
	if (r->files && stat(path, &st) != 0)
		rc = ynode_err(n, e, "no such file: %s (paths are relative to the scenario)", path);
	else if (r->files && !S_ISREG(st.st_mode))
		rc = ynode_err(n, e, "not a file: %s", path);
	else if (r->files && access(path, R_OK) != 0)
		rc = ynode_err(n, e, "not readable: %s", path);
	if (rc)
		free(path);
	else
		replace(out, path);
	return rc;
}

bool is_visible(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

char *path_join(const char *folder, const char *path)
{
	return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", folder, path);
}

void strings_push(char ***list, char *taken)
{
	size_t n = 0;

	while (*list && (*list)[n])
		n++;
	*list = xreallocarray(*list, n + 2, sizeof(**list));
	(*list)[n] = taken;
	(*list)[n + 1] = NULL;
}

bool strings_have(char *const *list, const char *s)
{
	for (; list && *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

void strings_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}
