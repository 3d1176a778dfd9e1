/*
 * Owns the reading of a command line against its table, and the table's --help text. Called once,
 * by main's thread; prints nothing and knows no program.
 */
#include "opt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "die.h"
#include "units.h"
#include "yamlx.h"

#define HELP_WIDTH    96
#define HELP_TERM_MAX 30 /* a longer "--name ARG" has its help on the next line */

static bool is_end(const struct opt_spec *s)
{
	return !s->name && !s->help;
}

/* ---- parsing ---- */

struct args {
	const struct opt_spec *specs;
	int argc, next;
	char *const *argv;
	struct err *e;
};

static const struct opt_spec *find_long(const struct args *a, const char *name, size_t n)
{
	for (const struct opt_spec *s = a->specs; !is_end(s); s++)
		if (s->name && strlen(s->name) == n && strncmp(s->name, name, n) == 0)
			return s;
	return NULL;
}

static const struct opt_spec *find_letter(const struct args *a, char letter)
{
	for (const struct opt_spec *s = a->specs; !is_end(s); s++)
		if (s->name && s->letter == letter)
			return s;
	return NULL;
}

static enum rc unknown(const struct args *a, const char *shown, size_t n)
{
	const char *names[128], *near;
	char word[80];
	size_t count = 0;

	for (const struct opt_spec *s = a->specs; !is_end(s); s++) {
		CHECK(count + 1 < ARRAY_LEN(names));
		if (s->name)
			names[count++] = s->name;
	}
	names[count] = NULL;
	snprintf(word, sizeof(word), "%.*s", (int)n, shown);
	near = strncmp(word, "--", 2) == 0 ? nearest_name(word + 2, names) : NULL;
	if (near)
		return err_set(a->e, RC_INPUT, "%s: unknown option (did you mean --%s?)", word,
			       near);
	return err_set(a->e, RC_INPUT, "%s: unknown option", word);
}

static void add_item(struct opt_list *l, const char *item)
{
	l->item = xreallocarray(l->item, l->n + 1, sizeof(*l->item));
	l->item[l->n++] = item;
}

/* The table's doubles as bounds of integers; no bounds at all if both are 0. */
static enum rc set_int(const struct opt_spec *s, const char *value, struct err *e)
{
	int64_t min = s->min <= -0x1p63 ? INT64_MIN : (int64_t)s->min;
	int64_t max = s->max >= 0x1p63 ? INT64_MAX : (int64_t)s->max;

	if (min == 0 && max == 0) {
		min = INT64_MIN;
		max = INT64_MAX;
	}
	return parse_int(value, min, max, s->out, e);
}

static enum rc set_num(const struct opt_spec *s, const char *value, struct err *e)
{
	bool bounded = s->min < 0 || s->min > 0 || s->max < 0 || s->max > 0;

	return parse_double(value, bounded ? s->min : -HUGE_VAL, bounded ? s->max : HUGE_VAL,
			    s->out, e);
}

/* shown: the option as it was typed. value: NULL for a flag. */
static enum rc set_value(const struct args *a, const struct opt_spec *s, const char *shown,
			 const char *value)
{
	struct err why;
	enum rc rc = RC_OK;

	CHECK(s->out);
	switch (s->kind) {
	case OPT_FLAG:
		*(bool *)s->out = true;
		break;
	case OPT_STRING:
		*(const char **)s->out = value;
		break;
	case OPT_INT:
		rc = set_int(s, value, &why);
		break;
	case OPT_NUM:
		rc = set_num(s, value, &why);
		break;
	case OPT_DURATION:
		rc = parse_duration(value, s->out, &why);
		break;
	case OPT_LIST:
		add_item(s->out, value);
		break;
	case OPT_HEADING:
		CHECK(!"a heading has no name");
	}
	if (rc != RC_OK)
		return err_set(a->e, rc, "%s: %s", shown, why.msg);
	if (s->seen)
		*s->seen = true;
	return RC_OK;
}

/* The next argument as value. What looks like an option is taken for a forgotten value: "--out
 * --seed 3". */
static enum rc next_value(struct args *a, const struct opt_spec *s, const char *shown,
			  const char **value)
{
	const char *arg = s->arg ? s->arg : "VALUE";

	if (a->next == a->argc)
		return err_set(a->e, RC_INPUT, "%s: a value is missing, want %s %s", shown, shown,
			       arg);
	*value = a->argv[a->next];
	if (strncmp(*value, "--", 2) == 0)
		return err_set(a->e, RC_INPUT,
			       "%s: got the option \"%s\", want a value (%s); --%s=%s passes it "
			       "all the same",
			       shown, *value, arg, s->name, *value);
	a->next++;
	return RC_OK;
}

/* "--name", "--name=VALUE" */
static enum rc take_long(struct args *a, const char *word)
{
	size_t n = strcspn(word, "=");
	const struct opt_spec *s = find_long(a, word + 2, n - 2);
	const char *value = NULL;
	char shown[80];
	enum rc rc;

	if (!s)
		return unknown(a, word, n);
	snprintf(shown, sizeof(shown), "--%s", s->name);
	if (s->kind == OPT_FLAG && word[n])
		return err_set(a->e, RC_INPUT, "%s: got \"%s\", but it takes no value", shown,
			       word + n + 1);
	if (s->kind != OPT_FLAG && word[n]) {
		value = word + n + 1;
	} else if (s->kind != OPT_FLAG) {
		rc = next_value(a, s, shown, &value);
		if (rc != RC_OK)
			return rc;
	}
	return set_value(a, s, shown, value);
}

/* "-x", "-x VALUE", "-xVALUE", "-xyz" for flags. */
static enum rc take_letters(struct args *a, const char *word)
{
	for (const char *p = word + 1; *p; p++) {
		const struct opt_spec *s = find_letter(a, *p);
		char shown[3] = {'-', *p, '\0'};
		const char *value = NULL;
		enum rc rc = RC_OK;

		if (!s)
			return unknown(a, shown, 2);
		if (s->kind != OPT_FLAG && p[1])
			value = p + 1;
		else if (s->kind != OPT_FLAG)
			rc = next_value(a, s, shown, &value);
		if (rc == RC_OK)
			rc = set_value(a, s, shown, value);
		if (rc != RC_OK || s->kind != OPT_FLAG)
			return rc;
	}
	return RC_OK;
}

enum rc opt_parse(const struct opt_spec *specs, int argc, char *const *argv,
		  struct opt_list *operands, struct err *e)
{
	struct args a = {specs, argc, 1, argv, e};
	bool options = true;
	enum rc rc = RC_OK;

	while (a.next < argc && rc == RC_OK) {
		const char *word = argv[a.next++];

		if (!options || word[0] != '-' || !word[1]) {
			if (!operands)
				return err_set(
					e, RC_INPUT,
					"\"%s\": not an option, and nothing else is expected",
					word);
			add_item(operands, word);
		} else if (strcmp(word, "--") == 0) {
			options = false;
		} else if (word[1] == '-') {
			rc = take_long(&a, word);
		} else {
			rc = take_letters(&a, word);
		}
	}
	return rc;
}

void opt_list_release(struct opt_list *l)
{
	free(l->item);
	*l = (struct opt_list){0};
}

/* ---- help ---- */

/* "-x, --name ARG"; all long names start in one column if any option has a letter. */
static void format_term(char *out, size_t cap, const struct opt_spec *s, bool letters)
{
	char letter[5] = "    ";

	if (s->letter)
		snprintf(letter, sizeof(letter), "-%c, ", s->letter);
	snprintf(out, cap, "%s--%s%s%s", letters ? letter : "", s->name, s->arg ? " " : "",
		 s->arg ? s->arg : "");
}

/* Columns a text takes: its characters, not its bytes. */
static size_t columns(const char *s, size_t n)
{
	size_t w = 0;

	for (size_t i = 0; i < n; i++)
		w += ((unsigned char)s[i] & 0xc0) != 0x80;
	return w;
}

/* Words of s from column `left` on, the cursor being there; a newline in s breaks the line. */
static bool wrap(struct buf *b, const char *s, size_t left)
{
	size_t at = left, n;
	bool ok = true;

	for (; ok && *s; s += n) {
		if (*s == '\n') {
			n = 1;
			at = HELP_WIDTH;
			continue;
		}
		n = strspn(s, " ");
		if (n)
			continue;
		n = strcspn(s, " \n");
		if (at > left && at + 1 + columns(s, n) > HELP_WIDTH) {
			ok = buf_printf(b, "\n%*s", (int)left, "");
			at = left;
		}
		if (at > left) {
			ok = ok && buf_putc(b, ' ');
			at++;
		}
		ok = ok && buf_append(b, s, n);
		at += columns(s, n);
	}
	return ok && buf_putc(b, '\n');
}

static bool help_line(struct buf *b, const struct opt_spec *s, bool letters, size_t left)
{
	char term[128];
	size_t w;

	if (!s->name)
		return buf_printf(b, "\n%s\n", s->help);
	format_term(term, sizeof(term), s, letters);
	w = columns(term, strlen(term));
	if (!buf_printf(b, "  %s", term))
		return false;
	if (!s->help)
		return buf_putc(b, '\n');
	if (2 + w + 2 > left)
		return buf_printf(b, "\n%*s", (int)left, "") && wrap(b, s->help, left);
	return buf_printf(b, "%*s", (int)(left - 2 - w), "") && wrap(b, s->help, left);
}

bool opt_help(struct buf *b, const char *usage, const struct opt_spec *specs, const char *tail)
{
	size_t before = buf_size(b), widest = 0;
	bool letters = false, ok;
	char term[128];

	for (const struct opt_spec *s = specs; !is_end(s); s++)
		letters |= s->letter != 0;
	for (const struct opt_spec *s = specs; !is_end(s); s++) {
		size_t w;

		if (!s->name)
			continue;
		format_term(term, sizeof(term), s, letters);
		w = columns(term, strlen(term));
		if (w <= HELP_TERM_MAX && w > widest)
			widest = w;
	}
	ok = buf_printf(b, "%s\n", usage);
	if (ok && !is_end(specs) && specs->name)
		ok = buf_putc(b, '\n');
	for (const struct opt_spec *s = specs; ok && !is_end(s); s++)
		ok = help_line(b, s, letters, 2 + widest + 2);
	if (ok && tail && *tail)
		ok = buf_printf(b, "\n%s%s", tail, tail[strlen(tail) - 1] == '\n' ? "" : "\n");
	if (!ok)
		b->len = b->off + before;
	return ok;
}
