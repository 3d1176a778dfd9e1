/*
 * A section of a profile as a table of its keys: what each one is, whether it must be there, where
 * its value goes. For the readers of sections (profile.c, profile_features.c) and nobody else.
 */
#ifndef FAKEENGINE_PROFILE_FIELDS_H
#define FAKEENGINE_PROFILE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/yamlx.h"
#include "serve/sched.h"

enum field_kind {
	F_STRING,     /* char * */
	F_COUNT,      /* int64_t */
	F_NUM,	      /* double */
	F_BYTES,      /* int64_t */
	F_BANDWIDTH,  /* double */
	F_DURATION,   /* int64_t ns */
	F_PS,	      /* int64_t ps */
	F_NUM_RANGE,  /* double[2]: one number, or [low, high] */
	F_TIME_RANGE, /* int64_t[2] ns: likewise */
};

struct field {
	const char *key;
	enum field_kind kind;
	bool required;
	size_t offset;
	double min, max; /* F_COUNT, F_NUM, F_NUM_RANGE */
};

/* Every table ends with key NULL. All return RC_INPUT with the place. */

enum rc need_map(const struct ynode *n, struct err *e);

/* Reads the fields of a section into *out. `others`: keys that the caller reads itself;
 * NULL-terminated or NULL. */
enum rc read_section(const struct field *fields, const char *const *others, const struct ynode *map,
		     void *out, struct err *e);

/* Values of a table of knobs, beside the key `name` that says whose they are; a knob that is not in
 * the map keeps its value. */
enum rc read_knobs(const char *name, const struct knob *knobs, const struct ynode *map,
		   double *values, struct err *e);

/* "11.7ms", "320ns", "0.4ns", "0" -> picoseconds; parse_duration() knows only whole nanoseconds. */
enum rc read_picoseconds(const struct ynode *n, int64_t *out, struct err *e);

#endif
