/*
 * cJSON with manners: a depth limit, positions in parse errors, typed getters that name the path,
 * and a string escaper for those who write JSON by hand because it is hot.
 */
#ifndef BASE_JSONX_H
#define BASE_JSONX_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define JSON_MAX_DEPTH 64

/* One whole JSON value and nothing but white space behind it. The message carries "line L, column
 * C". Nesting beyond JSON_MAX_DEPTH is RC_LIMIT, anything else that is wrong RC_INPUT.
 * cJSON_Delete() the result. The grammar is RFC 8259's; beyond it: a byte order mark is skipped,
 * strings may hold bytes that are no UTF-8 (json_escape mends them), \u0000 and half a surrogate
 * pair read as U+FFFD. Of a repeated key the getters see the first. Numbers are doubles: integers
 * beyond 2^53 come rounded. */
enum rc json_parse(cJSON **out, const char *text, size_t len, struct err *e);

/* Getters. `path` is what the object is called in messages ("body.stream_options", or "" at the
 * top). A key that is absent or null leaves *out untouched and returns RC_OK; one of the wrong type
 * or out of range is RC_INPUT with "path.key: got X, want Y". Strings stay owned by the tree. */
enum rc json_get_bool(const cJSON *o, const char *path, const char *key, bool *out, struct err *e);
enum rc json_get_int(const cJSON *o, const char *path, const char *key, int64_t min, int64_t max,
		     int64_t *out, struct err *e);
enum rc json_get_num(const cJSON *o, const char *path, const char *key, double min, double max,
		     double *out, struct err *e);
enum rc json_get_str(const cJSON *o, const char *path, const char *key, const char **out,
		     struct err *e);
enum rc json_get_array(const cJSON *o, const char *path, const char *key, const cJSON **out,
		       struct err *e);
enum rc json_get_object(const cJSON *o, const char *path, const char *key, const cJSON **out,
			struct err *e);

/* Appends s as JSON string content without the quotes. UTF-8 passes raw; bytes that are not UTF-8
 * become U+FFFD; control characters, quote and backslash are escaped. False at the cap of b. */
bool json_escape(struct buf *b, const char *s, size_t len);
bool json_quote(struct buf *b, const char *s); /* with the quotes; NULL gives null */

/* A member of o; null if v is infinite or no number. */
void json_add_number(cJSON *o, const char *key, double v);

/* Appends the tree compact, or indented by two spaces. */
bool json_print(struct buf *b, const cJSON *v, bool pretty);

#endif
