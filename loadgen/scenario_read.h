/*
 * How scenario_*.c read YAML, private to them. A map of the scenario is a table of fields: the
 * table is the parser, the checker and the list of allowed keys. Every message names the place
 * (yamlx.h).
 */
#ifndef LOADGEN_SCENARIO_READ_H
#define LOADGEN_SCENARIO_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"
#include "base/yamlx.h"
#include "scenario.h"

#define MAX_TIME_NS	(INT64_C(30) * 24 * 3600 * 1000000000) /* of any duration in a scenario */
#define MAX_TOKENS	10000000			       /* of a prompt or an answer */
#define MAX_TARGETS	1000
#define MAX_CONCURRENCY 1000000
/* Of one level: a request's id has seven digits for its place in a level (phases.h). */
#define MAX_REQUESTS 9999999

/* What readers need beside the node they read. */
struct reader {
	struct scenario *s;
	const struct opt_list *only; /* names of --target; empty = all */
	bool files;		     /* named files must be there: not so in an archived scenario */
	bool environment; /* variables and key files are read: only for targets that are wanted */
	int place;	  /* of the sweep: what the targets that are read become; -1 = no sweep */
	struct request_opts request; /* workload.request, which targets start from */
};

/* One key of a map: what it is, where its value goes, what is allowed. */
struct field {
	const char *key;
	enum rc (*read)(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			struct err *e);
	size_t offset;		    /* of *out in the struct that the map fills */
	double min, max;	    /* numbers; ns for durations */
	const char *const *names;   /* choices, NULL-terminated */
	const struct field *fields; /* of a map below; a table ends with key NULL */
	bool required;
};

/* A row of such a table: key, reader, offset, then .min = 1 and the like. */
#define FIELD(k, reader, at, ...)                                                                  \
	{                                                                                          \
		.key = (k), .read = (reader), .offset = (at), __VA_ARGS__                          \
	}

/* The head of a reader. n is the value; *out is where it goes, or the whole struct with offset 0.
 */
#define UNUSED __attribute__((unused))
#define READER(name)                                                                               \
	enum rc name(struct reader *r UNUSED, const struct field *f UNUSED, const struct ynode *n, \
		     void *out UNUSED, struct err *e UNUSED)

/* Checks that n is a map with keys of the table only and all required ones, then reads those that
 * are there, in the table's order. */
enum rc read_map(struct reader *r, const struct ynode *n, const struct field *fields, void *out,
		 struct err *e);

READER(field_map);	/* f->fields into *out */
READER(field_str);	/* char *: one printable line, not empty, no ${...} */
READER(field_text);	/* char *: any text, made one line */
READER(field_bool);	/* bool */
READER(field_int);	/* int, "4k" allowed */
READER(field_count);	/* int64_t, "4k" allowed */
READER(field_num);	/* double */
READER(field_duration); /* int64_t ns */
READER(field_choice);	/* an enum counted as f->names */
READER(field_strings);	/* char **: NULL-terminated, each as field_str */
READER(field_node);	/* const struct ynode *: kept for later */
READER(field_file);	/* char *: absolute; a readable regular file */

/* struct dist: a number or a duration, or a map with `dist` and its parameters. */
READER(read_token_dist);
READER(read_duration_dist); /* ns */

/* RC_INPUT if a key stands where it means nothing. */
enum rc refuse_key(const struct ynode *map, const char *key, const char *beside, struct err *e);

/* Whole sections, each in a file of its name; *out is the scenario. */
READER(read_workload);
READER(read_targets);
READER(read_load);
READER(read_sweep);
READER(read_search); /* `find:` */

/* How many targets one becomes by the sweep (1 without one), and what it is at one of the places,
 * from 0: its name and its profile's values. */
void sweep_place(const struct scenario *s, int place, struct target *t);
void sweep_release(struct scenario *s);

/* `request:` of the workload and of a target: fills a struct request_opts. */
extern const struct field request_fields[];
void request_opts_copy(struct request_opts *to, const struct request_opts *from);

/* What may hold a secret or comes from the environment; *out is the target. scenario_secrets.c */
READER(read_url);
READER(read_key_env);
READER(read_key_file);
READER(read_headers);

/* Does a header of this name, or this value as it stands in the file, carry a secret? */
bool header_is_secret(const char *name, const char *value);

/* Parts of `load:`. *out of read_arrival is a struct level, of read_find the scenario; n of
 * scenario_add_level is where the level stands. */
READER(read_arrival);
READER(read_find);
enum rc scenario_add_level(struct scenario *s, const struct ynode *n, const struct level *l,
			   struct err *e);

/* "load.KEY..." of --set with the one load kind's name put in; anything else as it is. malloc'd
 * into *out. */
enum rc load_set_path(const struct ydoc *doc, const char *assignment, char **out, struct err *e);

/* path made absolute. malloc'd. */
char *path_join(const char *folder, const char *path);

/* A NULL-terminated array of strings, grown by one that the array owns from then on. */
void strings_push(char ***list, char *taken);
bool strings_have(char *const *list, const char *s);
void strings_free(char **list);

/* No byte but visible ASCII. */
bool is_visible(const char *s);

void target_release(struct target *t);

#endif
