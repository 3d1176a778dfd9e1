/*
 * How scenario_*.c read YAML, private to them. A map of the scenario is a table of fields: the table is the parser, the
 * checker and the list of allowed keys. Every message names the place (yamlx.h).
 */
#ifndef LOADGEN_SCENARIO_READ_H
#define LOADGEN_SCENARIO_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"
#include "base/yamlx.h"
#include "scenario.h"

#define MAX_TIME_NS (30 * 24 * 3600 * INT64_C(1000000000)) /* of any duration in a scenario */
#define MAX_TOKENS  10000000			       /* of a prompt or an answer */

/* What readers need beside the node they read. */
struct reader {
	struct scenario *s;
	const struct opt_list *only; /* names of --target; empty = all */
	bool files;		     /* named files must be there: not so in an archived scenario */
	bool environment;	     /* variables and key files are read: only for targets that are wanted */
	struct request_opts request; /* workload.request, which targets start from */
};

struct field {
	const char *key;
	enum rc (*read)(struct reader *r, const struct field *f, const struct ynode *n, void *out,
			struct err *e);
	size_t offset;		   /* of *out in the struct that the map fills */
	double min, max;	   /* numbers; ns for durations */
	const char *const *names;  /* choices, NULL-terminated */
	const struct field *fields; /* of a map below; a table ends with key NULL */
	bool required;
};

/* Checks that n is a map with keys of the table only and all required ones, then reads those that are there, in the
 * table's order. */
enum rc read_map(struct reader *r, const struct ynode *n, const struct field *fields, void *out,
		 struct err *e);

/* Readers for the table. A range is min..max of the field. */
enum rc field_map(struct reader *, const struct field *, const struct ynode *, void *out,
		  struct err *); /* f->fields into *out */
enum rc field_str(struct reader *, const struct field *, const struct ynode *, void *out,
		  struct err *); /* char *: one printable line, not empty, no ${...} */
enum rc field_text(struct reader *, const struct field *, const struct ynode *, void *out,
		   struct err *); /* char *: any text, made one line */
enum rc field_bool(struct reader *, const struct field *, const struct ynode *, void *out,
		   struct err *); /* bool */
enum rc field_int(struct reader *, const struct field *, const struct ynode *, void *out,
		  struct err *); /* int, "4k" allowed */
enum rc field_count(struct reader *, const struct field *, const struct ynode *, void *out,
		    struct err *); /* int64_t, "4k" allowed */
enum rc field_num(struct reader *, const struct field *, const struct ynode *, void *out,
		  struct err *); /* double */
enum rc field_duration(struct reader *, const struct field *, const struct ynode *, void *out,
		       struct err *); /* int64_t ns; 0 only where min is 0 */
enum rc field_choice(struct reader *, const struct field *, const struct ynode *, void *out,
		     struct err *); /* an enum counted as f->names */
enum rc field_strings(struct reader *, const struct field *, const struct ynode *, void *out,
		      struct err *); /* char **: NULL-terminated, each as field_str */
enum rc field_node(struct reader *, const struct field *, const struct ynode *, void *out,
		   struct err *); /* const struct ynode *: kept for later */
enum rc field_file(struct reader *, const struct field *, const struct ynode *, void *out,
		   struct err *); /* char *: absolute; a readable regular file */

/* What f->key of a map means is said in three more files: sections of the scenario as one reader each. */
enum rc read_workload(struct reader *, const struct field *, const struct ynode *, void *scenario,
		      struct err *);
enum rc read_targets(struct reader *, const struct field *, const struct ynode *, void *scenario,
		     struct err *);
enum rc read_load(struct reader *, const struct field *, const struct ynode *, void *scenario,
		  struct err *);
extern const struct field request_fields[]; /* fill a struct request_opts */

/* "load.KEY..." of --set with the one load kind's name put in; anything else as it is. malloc'd into *out. */
enum rc load_set_path(const struct ydoc *doc, const char *assignment, char **out, struct err *e);

/* path made absolute. malloc'd. */
char *path_join(const char *folder, const char *path);

/* A NULL-terminated array of strings, grown by one that the array owns from then on. */
void strings_push(char ***list, char *taken);
bool strings_have(char *const *list, const char *s);
void strings_free(char **list);

void request_opts_copy(struct request_opts *to, const struct request_opts *from);
void target_release(struct target *t);

/* Does a header of this name, or this value as it stands in the file, carry a secret? */
bool header_is_secret(const char *name, const char *value);

#endif
