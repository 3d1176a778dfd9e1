/*
 * What the files dialect_*.c share, and nobody else includes: writing a body member by member, and
 * the pieces of reading that no dialect has to itself.
 */
#ifndef LOADGEN_DIALECT_PARTS_H
#define LOADGEN_DIALECT_PARTS_H

#include "base/jsonx.h"
#include "dialect.h"

/* ---- asking ---- */

/*
 * One body in the making. A member that the user's `extra` has too is left to it, and one that
 * ask.left_out names is not written.
 */
struct body_writer {
	struct buf *out;
	const struct ask *ask;
	cJSON *extra;  /* or NULL */
	cJSON *nested; /* between body_open() and body_close(): what extra has of it, or NULL */
	bool in_nested;
	bool took_nested; /* extra's text has been written in part: the rest goes by its tree */
	bool ok;	  /* the cap of out was not passed */
};

void body_begin(struct body_writer *w, const struct ask *a, struct buf *out);
bool body_end(struct body_writer *w); /* the user's members and the last brace; w->ok */

/* "key":{ ... }. False, and nothing was written: the user has set something else there. */
bool body_open(struct body_writer *w, const char *key);
void body_close(struct body_writer *w);

void body_string(struct body_writer *w, const char *key, const char *s, size_t len);
void body_int(struct body_writer *w, const char *key, int64_t v);
void body_bool(struct body_writer *w, const char *key, bool v);
void body_json(struct body_writer *w, const char *key, const char *json); /* as it stands */

void body_model(struct body_writer *w);
void body_prompt(struct body_writer *w,
		 const char *key); /* "key": the text, or an array with ask.also */
void body_messages(struct body_writer *w, const char *key); /* "key": [{"role", "content"}, ...] */
void body_temperature(struct body_writer *w);		    /* if it is set */

/* ---- reading ---- */

void reading_start(struct reading *r);

/* Is it "[DONE]"? */
bool event_is_done(const struct sse_event *ev);

/* An object into *root, to be cJSON_Delete()d. *root is NULL and RC_OK returned for a null: llama-
 * server begins some streams with one. RC_PEER: no JSON, or no object. */
enum rc reading_parse(cJSON **root, const char *json, size_t len, struct err *e);

/* What most do with an event: [DONE] and the empty one mean the same everywhere, the rest is for
 * `read`. is_failure: it came as an `error` event. */
enum rc reading_of_event(const struct sse_event *ev, struct reading *r, struct buf *text,
			 struct err *e,
			 enum rc (*read)(const char *json, size_t len, bool is_failure,
					 struct reading *r, struct buf *text, struct err *e));

/* NULL also for a null. */
const cJSON *member_of(const cJSON *o, const char *key);
const char *string_of(const cJSON *o, const char *key); /* "" if it is none */
bool says_something(const cJSON *v); /* a string with characters, an array or object with members */

/* A member that is a whole number >= 0; what is none counts as not told. */
void count_of(const cJSON *o, const char *key, int64_t *out);

void reading_finish(struct reading *r, const char *reason); /* the first one that is not "" */

/* {"message", "type", "code"}, where each may be missing, null, a number or a text; or a text; or
 * anything at all. root: where a member may stand instead. */
void reading_error(struct reading *r, const cJSON *error, const cJSON *root);

/* {"error": ...}, {"detail": ...} or {"message": ...}, the latter two only where has_answer does
 * not speak against it. is_failure: the sender called it an error, so any object is one. */
void reading_find_error(struct reading *r, const cJSON *root, bool has_answer, bool is_failure);

#endif
