/*
 * YAML as a tree of plain values that remember where they stand, so that every later check can say
 * file:line:col. Read with libyaml; aliases, tags and several documents in one file are refused; a
 * repeated key is an error; depth is at most 32. Scalars stay text until a typed getter asks. Caps:
 * 16 MiB, 1 Mi nodes, 1,000 keys a map, 200 bytes a key.
 */
#ifndef BASE_YAMLX_H
#define BASE_YAMLX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum ynode_kind { YNODE_SCALAR, YNODE_SEQ, YNODE_MAP };

struct ynode {
	enum ynode_kind kind;
	bool quoted;	       /* scalar in quotes: always a string */
	int line, col;	       /* from 1; 0 if it came by ydoc_set */
	const char *file;      /* owned by the document */
	char *key;	       /* under a map: its key, else NULL */
	int key_line, key_col; /* where the key stands */
	char *text;	       /* scalar */
	struct ynode **child;  /* seq, map: in order */
	size_t n;
	struct ynode *parent; /* NULL at the root */
};

struct ydoc;

enum rc yaml_load(struct ydoc **out, const char *path, struct err *e);
enum rc yaml_parse(struct ydoc **out, const char *name, const char *text, size_t len,
		   struct err *e);
void ydoc_free(struct ydoc *d);
struct ynode *ydoc_root(const struct ydoc *d); /* an empty file gives an empty map */

/* `--set path=value`: "a.b.c=VALUE" or "targets[0].model=m" or "targets[vLLM].model=m" (by its
 * `name`). VALUE is YAML flow text. Maps on the way are created; a sequence index must exist. On a
 * map, [key] is .key for keys with dots in them. The new node's file is `origin` ("--set a.b").
 * After an error the tree may hold created maps: give up on it. */
enum rc ydoc_set(struct ydoc *d, const char *assignment, const char *origin, struct err *e);

/* What d's root lacks is moved there out of base_taken (deep for maps), which is freed: `include:`
 * of a base file. */
void ydoc_merge_defaults(struct ydoc *d, struct ydoc *base_taken);

/* NULL if absent, or if map is NULL. */
struct ynode *ynode_get(const struct ynode *map, const char *key);

/* RC_INPUT for the first key of map that is not in `allowed` (NULL-terminated); suggests the
 * nearest one. */
enum rc ynode_check_keys(const struct ynode *map, const char *const *allowed, struct err *e);

/* "file:line:col: key.path: " + text, or "--set key.path: " + text where that made the node.
 * Returns RC_INPUT. */
enum rc ynode_err(const struct ynode *n, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Typed readings of a scalar; the message says what was found and what is allowed. n must not be
 * NULL. Quotes make a text: bool, int and num refuse them; the readings with units do not care. */
enum rc ynode_str(const struct ynode *n, const char **out, struct err *e); /* owned by the tree */
enum rc ynode_bool(const struct ynode *n, bool *out, struct err *e);	   /* true, false */
enum rc ynode_int(const struct ynode *n, int64_t min, int64_t max, int64_t *out, struct err *e);
enum rc ynode_count(const struct ynode *n, int64_t min, int64_t max, int64_t *out, struct err *e);
enum rc ynode_num(const struct ynode *n, double min, double max, double *out, struct err *e);
enum rc ynode_duration(const struct ynode *n, int64_t *out_ns, struct err *e);
enum rc ynode_bytes(const struct ynode *n, int64_t *out_bytes, struct err *e);
enum rc ynode_rate(const struct ynode *n, double *out_per_s, struct err *e);
/* names: NULL-terminated; *out is the index of the one that was found. */
enum rc ynode_choice(const struct ynode *n, const char *const *names, int *out, struct err *e);
bool ynode_is_null(const struct ynode *n); /* unquoted null, ~ or empty */

/* Block-style YAML that loads to the same tree. */
bool ynode_emit(struct buf *b, const struct ynode *n);

/* The tree as JSON (unquoted numbers, true/false/null become such; used for `extra:` bodies).
 * Integers from 2^53 on become cJSON_Raw, so that json_print keeps their digits. To cJSON_Delete().
 */
struct cJSON;
struct cJSON *ynode_to_json(const struct ynode *n);

/* The nearest of `names` (NULL-terminated) by edit distance, or NULL if none is near. For "did you
 * mean". */
const char *nearest_name(const char *word, const char *const *names);

#endif
