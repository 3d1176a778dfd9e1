/*
 * Owns how one field of a body is read. Loop thread; pure. Must not know which fields there are.
 */
#include "api_fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool api_field_bad_form(struct api_error *e, const char *key, const struct err *why)
{
	char param[64];

	snprintf(param, sizeof(param), "body.%s", key);
	return api_refuse(e, REFUSE_FORM, param, "%s", why->msg);
}

/* A field whose JSON type is wrong, and one whose value is out of range, are told apart. */
bool api_field_int(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t *out,
		   struct api_error *e)
{
	struct err why;

	if (json_get_int(o, "", key, INT64_MIN, INT64_MAX, out, &why) != RC_OK)
		return api_field_bad_form(e, key, &why);
	if (json_get_int(o, "", key, min, max, out, &why) != RC_OK)
		return api_refuse(e, REFUSE_VALUE, key, "%s", why.msg);
	return true;
}

bool api_field_int32(const cJSON *o, const char *key, int32_t min, int32_t *out,
		     struct api_error *e)
{
	int64_t v = *out;

	if (!api_field_int(o, key, min, INT64_MAX, &v, e))
		return false;
	*out = v > INT32_MAX ? INT32_MAX : (int32_t)v;
	return true;
}

bool api_field_num(const cJSON *o, const char *key, double min, double max, double *out,
		   struct api_error *e)
{
	struct err why;

	if (json_get_num(o, "", key, -HUGE_VAL, HUGE_VAL, out, &why) != RC_OK)
		return api_field_bad_form(e, key, &why);
	if (json_get_num(o, "", key, min, max, out, &why) != RC_OK)
		return api_refuse(e, REFUSE_VALUE, key, "%s", why.msg);
	return true;
}

bool api_field_bool(const cJSON *o, const char *key, bool *out, struct api_error *e)
{
	struct err why;

	return json_get_bool(o, "", key, out, &why) == RC_OK || api_field_bad_form(e, key, &why);
}

static bool add_stop(struct stop_list *stops, const cJSON *v, struct api_error *e)
{
	if (!cJSON_IsString(v))
		return api_refuse(e, REFUSE_FORM, "body.stop",
				  "stop: want a string or an array of strings");
	if (!*v->valuestring)
		return api_refuse(e, REFUSE_VALUE, "stop",
				  "stop: an empty string would stop everything");
	stop_list_add(stops, v->valuestring, strlen(v->valuestring));
	return true;
}

bool api_field_stops(const cJSON *o, struct stop_list *stops, struct api_error *e)
{
	const cJSON *stop = cJSON_GetObjectItemCaseSensitive(o, "stop"), *v;

	if (!stop || cJSON_IsNull(stop))
		return true;
	if (!cJSON_IsArray(stop))
		return add_stop(stops, stop, e);
	cJSON_ArrayForEach(v, stop)
	{
		if (!add_stop(stops, v, e))
			return false;
	}
	return true;
}

bool api_field_length(const cJSON *o, const char *key, bool loose, int32_t *out,
		      struct api_error *e)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	if (!loose)
		return api_field_int32(o, key, 1, out, e);
	if (!api_field_int32(o, key, -1, out, e))
		return false;
	if (cJSON_IsNumber(v))
		*out = *out < 0 ? INT32_MAX : *out == 0 ? 1 : *out;
	return true;
}
