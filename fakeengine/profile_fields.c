/*
 * Owns the reading of tables of fields: a value's text in, the checked value out. Runs at start.
 * Must not know which sections there are.
 */
#include "profile_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"

#define MAX_STEP_S 3600.0
#define MAX_KEYS   24

/* ---- values that yamlx has no reading for ---- */

enum rc read_picoseconds(const struct ynode *n, int64_t *out, struct err *e)
{
	static const struct {
		const char *suffix;
		double ps;
	} unit[] = {{"ps", 1}, {"ns", 1e3}, {"us", 1e6}, {"ms", 1e9}, {"s", 1e12}};
	const char *text;
	char number[32];
	double value;
	size_t digits;
	enum rc rc = ynode_str(n, &text, e);

	if (rc)
		return rc;
	digits = strspn(text, "0123456789.eE+-");
	if (digits == 0 || digits >= sizeof(number))
		goto wrong;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (parse_double(number, 0, MAX_STEP_S * 1e12, &value, NULL))
		goto wrong;
	*out = 0;
	if (value == 0 && text[digits] == '\0')
		return RC_OK;
	for (size_t i = 0; i < ARRAY_LEN(unit); i++) {
		if (strcmp(text + digits, unit[i].suffix) != 0 ||
		    value * unit[i].ps > MAX_STEP_S * 1e12)
			continue;
		*out = llround(value * unit[i].ps);
		return RC_OK;
	}
wrong:
	return ynode_err(
		n, e,
		"got \"%s\", want a time from 0 to 3600s with its unit (11.7ms, 320ns, 0.4ns)",
		text);
}

/* "2039GB/s" -> bytes per second. */
static enum rc read_bandwidth(const struct ynode *n, double *out, struct err *e)
{
	const char *text, *slash;
	int64_t bytes;
	enum rc rc = ynode_str(n, &text, e);

	if (rc)
		return rc;
	slash = strstr(text, "/s");
	if (slash && slash[2] == '\0') {
		char *number = xstrndup(text, (size_t)(slash - text));

		rc = parse_bytes(number, &bytes, NULL);
		free(number);
		if (rc == RC_OK && bytes > 0) {
			*out = (double)bytes;
			return RC_OK;
		}
	}
	return ynode_err(n, e, "got \"%s\", want bytes per second like 2039GB/s", text);
}

/* ---- knobs, by table ---- */

static enum rc read_knob(const struct knob *k, const struct ynode *n, double *out, struct err *e)
{
	int64_t count = 0;
	int choice = 0;
	bool flag = false;
	enum rc rc = RC_OK;

	switch (k->kind) {
	case KNOB_INT: /* below 0 there is only -1, "derive it", which is no count */
		if (k->min < 0 && n->kind == YNODE_SCALAR && n->text[0] == '-')
			rc = ynode_int(n, (int64_t)k->min, (int64_t)k->max, &count, e);
		else
			rc = ynode_count(n, (int64_t)k->min, (int64_t)k->max, &count, e);
		*out = (double)count;
		break;
	case KNOB_BOOL:
		rc = ynode_bool(n, &flag, e);
		*out = flag;
		break;
	case KNOB_CHOICE:
		rc = ynode_choice(n, k->choices, &choice, e);
		*out = choice;
		break;
	case KNOB_REAL:
		rc = ynode_num(n, k->min, k->max, out, e);
		break;
	}
	return rc;
}

enum rc read_knobs(const char *name, const struct knob *knobs, const struct ynode *map,
		   double *values, struct err *e)
{
	const char *keys[MAX_KEYS + 2] = {name};
	enum rc rc;

	for (size_t i = 0; knobs[i].name; i++) {
		CHECK(i < MAX_KEYS);
		keys[i + 1] = knobs[i].name;
	}
	rc = ynode_check_keys(map, keys, e);
	for (size_t i = 0; rc == RC_OK && knobs[i].name; i++) {
		const struct ynode *n = ynode_get(map, knobs[i].name);

		if (n)
			rc = read_knob(&knobs[i], n, &values[i], e);
	}
	return rc;
}

/* ---- plain fields, by table ---- */

enum rc need_map(const struct ynode *n, struct err *e)
{
	return n->kind == YNODE_MAP ? RC_OK : ynode_err(n, e, "want keys and values");
}

static enum rc read_string(const struct ynode *n, char **out, struct err *e)
{
	const char *text;
	enum rc rc = ynode_str(n, &text, e);

	if (rc)
		return rc;
	if (*text == '\0')
		return ynode_err(n, e, "must not be empty");
	free(*out);
	*out = xstrdup(text);
	return RC_OK;
}

static enum rc read_scalar(const struct field *f, const struct ynode *n, void *out, struct err *e)
{
	switch (f->kind) {
	case F_STRING:
		return read_string(n, out, e);
	case F_COUNT:
		return ynode_count(n, (int64_t)f->min, (int64_t)f->max, out, e);
	case F_NUM:
	case F_NUM_RANGE:
		return ynode_num(n, f->min, f->max, out, e);
	case F_BYTES:
		return ynode_bytes(n, out, e);
	case F_BANDWIDTH:
		return read_bandwidth(n, out, e);
	case F_DURATION:
	case F_TIME_RANGE:
		return ynode_duration(n, out, e);
	case F_PS:
		return read_picoseconds(n, out, e);
	}
	CHECK(!"a field of unknown kind");
	return RC_INPUT;
}

static enum rc read_field(const struct field *f, const struct ynode *n, char *out, struct err *e)
{
	bool range = f->kind == F_NUM_RANGE || f->kind == F_TIME_RANGE;
	size_t one = f->kind == F_NUM_RANGE ? sizeof(double) : sizeof(int64_t);
	enum rc rc;

	if (!range)
		return read_scalar(f, n, out, e);
	if (n->kind == YNODE_SEQ && n->n != 2)
		return ynode_err(n, e, "want one value or [low, high]");
	rc = read_scalar(f, n->kind == YNODE_SEQ ? n->child[0] : n, out, e);
	return rc ? rc : read_scalar(f, n->kind == YNODE_SEQ ? n->child[1] : n, out + one, e);
}

enum rc read_section(const struct field *fields, const char *const *others, const struct ynode *map,
		     void *out, struct err *e)
{
	const char *keys[MAX_KEYS];
	size_t n_keys = 0;
	enum rc rc = need_map(map, e);

	for (const struct field *f = fields; f->key; f++)
		keys[n_keys++] = f->key;
	for (; others && *others; others++)
		keys[n_keys++] = *others;
	CHECK(n_keys < MAX_KEYS);
	keys[n_keys] = NULL;
	if (rc == RC_OK)
		rc = ynode_check_keys(map, keys, e);
	for (const struct field *f = fields; rc == RC_OK && f->key; f++) {
		const struct ynode *n = ynode_get(map, f->key);

		if (n)
			rc = read_field(f, n, (char *)out + f->offset, e);
		else if (f->required)
			rc = ynode_err(map, e, "key \"%s\" is missing", f->key);
	}
	return rc;
}
