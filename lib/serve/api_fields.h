/*
 * Fields of a request's body, read one by one: absent or null leaves *out as it is, a wrong form or
 * value is refused with the field's name. Pure.
 */
#ifndef SERVE_API_FIELDS_H
#define SERVE_API_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "api_error.h"
#include "base/jsonx.h"
#include "text_stream.h"

/* A JSON number is a double here; beyond this its integers have gaps. */
#define MAX_EXACT_INT (INT64_C(1) << 53)

bool api_field_bad_form(struct api_error *e, const char *key, const struct err *why);
bool api_field_int(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t *out,
		   struct api_error *e);
bool api_field_int32(const cJSON *o, const char *key, int32_t min, int32_t *out,
		     struct api_error *e);
bool api_field_num(const cJSON *o, const char *key, double min, double max, double *out,
		   struct api_error *e);
bool api_field_bool(const cJSON *o, const char *key, bool *out, struct api_error *e);

/* The length of an answer. loose: 0 means 1, -1 the rest of the context. */
bool api_field_length(const cJSON *o, const char *key, bool loose, int32_t *out,
		      struct api_error *e);

/* "stop": a string or an array of strings, appended to stops. */
bool api_field_stops(const cJSON *o, struct stop_list *stops, struct api_error *e);

#endif
