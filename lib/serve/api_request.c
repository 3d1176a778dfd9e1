/*
 * Owns the list of fields, their forms and their ranges. Loop thread; pure. Must not know how
 * prompts are written (api_prompt.h) nor what becomes of the request.
 */
#include "api_request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api_prompt.h"
#include "base/jsonx.h"

/* A JSON number is a double here; beyond this its integers have gaps. */
#define MAX_EXACT_INT (INT64_C(1) << 53)

static bool bad_form(struct api_error *e, const char *key, const struct err *why)
{
	char param[64];

	snprintf(param, sizeof(param), "body.%s", key);
	return api_refuse(e, 400, API_BAD_FORM, param, "%s", why->msg);
}

/* A field whose JSON type is wrong, and one whose value is out of range, are told apart. */
static bool get_int(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t *out,
		    struct api_error *e)
{
	struct err why;

	if (json_get_int(o, "", key, INT64_MIN, INT64_MAX, out, &why) != RC_OK)
		return bad_form(e, key, &why);
	if (json_get_int(o, "", key, min, max, out, &why) != RC_OK)
		return api_refuse(e, 400, API_BAD_VALUE, key, "%s", why.msg);
	return true;
}

static bool get_int32(const cJSON *o, const char *key, int32_t min, int32_t *out,
		      struct api_error *e)
{
	int64_t v = *out;

	if (!get_int(o, key, min, INT64_MAX, &v, e))
		return false;
	*out = v > INT32_MAX ? INT32_MAX : (int32_t)v;
	return true;
}

static bool get_num(const cJSON *o, const char *key, double min, double max, double *out,
		    struct api_error *e)
{
	struct err why;

	if (json_get_num(o, "", key, -HUGE_VAL, HUGE_VAL, out, &why) != RC_OK)
		return bad_form(e, key, &why);
	if (json_get_num(o, "", key, min, max, out, &why) != RC_OK)
		return api_refuse(e, 400, API_BAD_VALUE, key, "%s", why.msg);
	return true;
}

static bool get_bool(const cJSON *o, const char *key, bool *out, struct api_error *e)
{
	struct err why;

	return json_get_bool(o, "", key, out, &why) == RC_OK || bad_form(e, key, &why);
}

static bool get_model(const cJSON *o, const struct api_terms *terms, struct api_request *q,
		      struct api_error *e)
{
	const char *name = NULL;
	struct err why;

	q->model = terms->models[0];
	if (json_get_str(o, "", "model", &name, &why) != RC_OK)
		return bad_form(e, "model", &why);
	if (!name)
		return true;
	for (int i = 0; terms->models[i]; i++) {
		if (strcmp(terms->models[i], name) == 0) {
			q->model = terms->models[i];
			return true;
		}
	}
	return api_refuse(e, 404, "NotFoundError", "model",
			  "The model `%s` does not exist; served here: %s%s", name,
			  terms->models[0], terms->models[1] ? " and others, see /v1/models" : "");
}

static bool add_stop(struct api_request *q, const cJSON *v, struct api_error *e)
{
	if (!cJSON_IsString(v))
		return api_refuse(e, 400, API_BAD_FORM, "body.stop",
				  "stop: want a string or an array of strings");
	if (!*v->valuestring)
		return api_refuse(e, 400, API_BAD_VALUE, "stop",
				  "stop: an empty string would stop everything");
	stop_list_add(&q->stops, v->valuestring, strlen(v->valuestring));
	return true;
}

static bool get_stops(const cJSON *o, struct api_request *q, struct api_error *e)
{
	const cJSON *stop = cJSON_GetObjectItemCaseSensitive(o, "stop"), *v;

	if (!stop || cJSON_IsNull(stop))
		return true;
	if (!cJSON_IsArray(stop))
		return add_stop(q, stop, e);
	cJSON_ArrayForEach(v, stop)
	{
		if (!add_stop(q, v, e))
			return false;
	}
	return true;
}

static bool get_stream(const cJSON *o, struct api_request *q, struct api_error *e)
{
	const cJSON *options = NULL;
	struct err why;

	if (!get_bool(o, "stream", &q->stream, e))
		return false;
	if (json_get_object(o, "", "stream_options", &options, &why) != RC_OK)
		return bad_form(e, "stream_options", &why);
	if (!options)
		return true;
	if (!q->stream)
		return api_refuse(e, 400, API_BAD_VALUE, "stream_options",
				  "stream_options make sense only with stream: true");
	if (json_get_bool(options, "stream_options", "include_usage", &q->include_usage, &why) !=
	    RC_OK)
		return bad_form(e, "stream_options.include_usage", &why);
	if (json_get_bool(options, "stream_options", "continuous_usage_stats", &q->continuous_usage,
			  &why) != RC_OK)
		return bad_form(e, "stream_options.continuous_usage_stats", &why);
	q->continuous_usage = q->continuous_usage && q->include_usage; /* as vLLM reads it */
	return true;
}

/* There are no probabilities behind the tokens, so any number would be made up. */
static bool check_logprobs(const cJSON *o, enum api_kind kind, struct api_error *e)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "logprobs");
	int64_t top = 0;

	if (kind == API_COMPLETIONS && v && !cJSON_IsNull(v) && !cJSON_IsNumber(v))
		return api_refuse(e, 400, API_BAD_FORM, "body.logprobs",
				  "logprobs: want an integer");
	if (kind == API_CHAT && v && !cJSON_IsNull(v) && !cJSON_IsBool(v))
		return api_refuse(e, 400, API_BAD_FORM, "body.logprobs",
				  "logprobs: want true or false");
	if (!get_int(o, "top_logprobs", 0, INT64_MAX, &top, e))
		return false;
	if ((v && (cJSON_IsNumber(v) || cJSON_IsTrue(v))) || top > 0)
		return api_refuse(e, 400, API_BAD_VALUE, top > 0 ? "top_logprobs" : "logprobs",
				  "logprobs are not served: this engine keeps no probabilities of "
				  "its tokens");
	return true;
}

static bool get_lengths(const cJSON *o, struct api_request *q, struct api_error *e)
{
	if (!get_int32(o, "max_tokens", 1, &q->max_tokens, e))
		return false;
	/* The newer name wins where both are given. */
	if (q->kind == API_CHAT && !get_int32(o, "max_completion_tokens", 1, &q->max_tokens, e))
		return false;
	if (!get_int32(o, "min_tokens", 0, &q->min_tokens, e))
		return false;
	if (q->max_tokens > 0 && q->min_tokens > q->max_tokens)
		return api_refuse(e, 400, API_BAD_VALUE, "min_tokens",
				  "min_tokens: got %d, more than max_tokens, %d", q->min_tokens,
				  q->max_tokens);
	return true;
}

static bool get_sampling(const cJSON *o, struct api_request *q, struct api_error *e)
{
	double top_p = 1;
	int64_t n = 1, priority = 0;
	const cJSON *seed = cJSON_GetObjectItemCaseSensitive(o, "seed");

	if (!get_int(o, "n", 1, API_MAX_CHOICES, &n, e) ||
	    !get_num(o, "temperature", 0, HUGE_VAL, &q->temperature, e) ||
	    !get_num(o, "top_p", 0, 1, &top_p, e) ||
	    !get_int(o, "seed", -MAX_EXACT_INT, MAX_EXACT_INT, &q->seed, e) ||
	    !get_int(o, "priority", INT32_MIN, INT32_MAX, &priority, e) ||
	    !get_bool(o, "ignore_eos", &q->ignore_eos, e))
		return false;
	if (top_p == 0)
		return api_refuse(e, 400, API_BAD_VALUE, "top_p",
				  "top_p: got 0, want a number above 0, at most 1");
	q->has_seed = cJSON_IsNumber(seed);
	q->n = (int)n;
	q->priority = (int)priority;
	return true;
}

static bool check_prompts(const struct api_request *q, const struct api_terms *terms,
			  struct api_error *e)
{
	if ((int64_t)q->n * q->n_prompts > API_MAX_CHOICES)
		return api_refuse(e, 400, API_BAD_VALUE, "n",
				  "n: %d answers to %d prompts are more than %d", q->n,
				  q->n_prompts, API_MAX_CHOICES);
	for (int i = 0; i < q->n_prompts; i++) {
		int32_t got = q->prompt[i].tokens.n;

		if (got == 0)
			return api_refuse(e, 400, API_BAD_VALUE, "prompt",
					  "The prompt is empty: it has no token");
		if (got >= terms->max_len)
			return api_refuse(e, 400, API_BAD_VALUE, "input_tokens",
					  "This model's maximum context length is %d tokens, and "
					  "the prompt has %d, "
					  "which leaves no room for an answer",
					  terms->max_len, got);
	}
	return true;
}

static bool read_fields(const cJSON *o, const struct api_terms *terms, struct api_request *q,
			struct api_error *e)
{
	bool chat = q->kind == API_CHAT ||
		    (q->kind == API_TOKENIZE && cJSON_GetObjectItemCaseSensitive(o, "messages"));

	if (!get_model(o, terms, q, e))
		return false;
	if (q->kind != API_TOKENIZE &&
	    (!get_stream(o, q, e) || !get_lengths(o, q, e) || !get_sampling(o, q, e) ||
	     !get_stops(o, q, e) || !check_logprobs(o, q->kind, e)))
		return false;
	if (q->kind == API_COMPLETIONS && !get_bool(o, "echo", &q->echo, e))
		return false;
	if (!(chat ? api_read_messages(o, terms, q, e) : api_read_prompts(o, terms, q, e)))
		return false;
	return q->kind == API_TOKENIZE || check_prompts(q, terms, e);
}

bool api_request_read(struct api_request *out, enum api_kind kind, const char *body, size_t len,
		      const struct api_terms *terms, struct api_error *e)
{
	cJSON *o = NULL;
	struct err why;
	bool ok;

	memset(out, 0, sizeof(*out));
	out->kind = kind;
	out->n = 1;
	out->temperature = 1;
	if (len == 0)
		return api_refuse(e, 400, API_BAD_FORM, "body",
				  "the body is empty, want a JSON object");
	if (json_parse(&o, body, len, &why) != RC_OK)
		return api_refuse(e, 400, API_BAD_FORM, "body", "the body is not JSON: %s",
				  why.msg);
	if (cJSON_IsObject(o))
		ok = read_fields(o, terms, out, e);
	else
		ok = api_refuse(e, 400, API_BAD_FORM, "body", "the body must be a JSON object");
	cJSON_Delete(o);
	if (!ok)
		api_request_release(out);
	return ok;
}

void api_request_release(struct api_request *q)
{
	for (int i = 0; i < q->n_prompts; i++) {
		token_list_release(&q->prompt[i].tokens);
		free(q->prompt[i].text);
	}
	free(q->prompt);
	stop_list_release(&q->stops);
	memset(q, 0, sizeof(*q));
}
