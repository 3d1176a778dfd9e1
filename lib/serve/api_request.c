/*
 * Owns the list of fields, their forms and their ranges. Loop thread; pure. Must not know how
 * prompts are written (api_prompt.h) nor what becomes of the request.
 */
#include "api_request.h"

#include <stdlib.h>
#include <string.h>

#include "api_fields.h"
#include "api_native.h"
#include "api_prompt.h"
#include "api_sampling.h"
#include "base/check.h"
#include "base/jsonx.h"

static bool get_model(const cJSON *o, const struct api_terms *terms, struct api_request *q,
		      struct api_error *e)
{
	const char *name = NULL;
	struct err why;

	q->model = terms->models[0];
	if (json_get_str(o, "", "model", &name, &why) != RC_OK)
		return api_field_bad_form(e, "model", &why);
	if (!name)
		return true;
	if (terms->reading & READ_ANY_MODEL)
		return true;
	for (int i = 0; terms->models[i]; i++) {
		if (strcmp(terms->models[i], name) == 0) {
			q->model = terms->models[i];
			q->adapter = i;
			return true;
		}
	}
	return api_refuse(e, REFUSE_MODEL, "model",
			  "The model `%s` does not exist; served here: %s%s", name,
			  terms->models[0], terms->models[1] ? " and others, see /v1/models" : "");
}

static bool get_stream(const cJSON *o, const struct api_terms *terms, struct api_request *q,
		       struct api_error *e)
{
	const cJSON *options = NULL;
	struct err why;

	if (!api_field_bool(o, "stream", &q->stream, e))
		return false;
	if (json_get_object(o, "", "stream_options", &options, &why) != RC_OK)
		return api_field_bad_form(e, "stream_options", &why);
	if (!options || (terms->reading & READ_NO_USAGE))
		return true;
	if (!q->stream && (terms->reading & READ_LOOSE))
		return true;
	if (!q->stream)
		return api_refuse(e, REFUSE_VALUE, "stream_options",
				  "stream_options make sense only with stream: true");
	if (json_get_bool(options, "stream_options", "include_usage", &q->include_usage, &why) !=
	    RC_OK)
		return api_field_bad_form(e, "stream_options.include_usage", &why);
	if (json_get_bool(options, "stream_options", "continuous_usage_stats", &q->continuous_usage,
			  &why) != RC_OK)
		return api_field_bad_form(e, "stream_options.continuous_usage_stats", &why);
	q->continuous_usage = q->continuous_usage && q->include_usage && /* as vLLM reads it */
			      !(terms->reading & READ_ONE_USAGE);
	return true;
}

static bool get_lengths(const cJSON *o, const struct api_terms *terms, struct api_request *q,
			struct api_error *e)
{
	bool loose = terms->reading & READ_LOOSE;

	if (!api_field_length(o, "max_tokens", loose, &q->max_tokens, e))
		return false;
	/* The newer name wins where both are given. */
	if (q->kind == API_CHAT &&
	    !api_field_length(o, "max_completion_tokens", loose, &q->max_tokens, e))
		return false;
	if (loose)
		return true;
	if (!api_field_int32(o, "min_tokens", 0, &q->min_tokens, e))
		return false;
	if (q->max_tokens > 0 && q->min_tokens > q->max_tokens)
		return api_refuse(e, REFUSE_VALUE, "min_tokens",
				  "min_tokens: got %d, more than max_tokens, %d", q->min_tokens,
				  q->max_tokens);
	return true;
}

static bool get_sampling(const cJSON *o, const struct api_terms *terms, struct api_request *q,
			 struct api_error *e)
{
	int64_t n = 1, priority = 0;
	const cJSON *seed = cJSON_GetObjectItemCaseSensitive(o, "seed");

	if (!api_field_int(o, "n", 1, API_MAX_CHOICES, &n, e) ||
	    !api_read_sampling(o, terms, q, e) ||
	    !api_field_int(o, "seed", -MAX_EXACT_INT, MAX_EXACT_INT, &q->seed, e) ||
	    !api_field_int(o, "priority", INT32_MIN, INT32_MAX, &priority, e) ||
	    !api_field_bool(o, "ignore_eos", &q->ignore_eos, e))
		return false;
	q->temperature = q->sampling->temperature;
	/* An engine without logits heeds only what ends an answer. */
	if (!terms->logits && q->sampling->n_stop_ids == 0 && terms->codec->n_end_ids == 0) {
		sampling_free(q->sampling);
		q->sampling = NULL;
	}
	q->has_seed = cJSON_IsNumber(seed);
	q->n = (int)n;
	q->priority = (int)priority;
	return true;
}

static bool check_prompts(const struct api_request *q, const struct api_terms *terms,
			  struct api_error *e)
{
	if ((int64_t)q->n * q->n_prompts > API_MAX_CHOICES)
		return api_refuse(e, REFUSE_VALUE, "n",
				  "n: %d answers to %d prompts are more than %d", q->n,
				  q->n_prompts, API_MAX_CHOICES);
	for (int i = 0; i < q->n_prompts; i++) {
		int32_t got = q->prompt[i].tokens.n;

		if (got == 0)
			return api_refuse(e, REFUSE_VALUE, "prompt",
					  "The prompt is empty: it has no token");
		if (got >= terms->max_len) {
			api_refuse(e, REFUSE_LENGTH, "input_tokens",
				   "This model's maximum context length is %d tokens, and "
				   "the prompt has %d, "
				   "which leaves no room for an answer",
				   terms->max_len, got);
			e->prompt_tokens = got;
			e->max_tokens = terms->max_len;
			return false;
		}
	}
	return true;
}

/* Those that transformers' own server has a use for. */
static bool is_known(const char *name)
{
	static const char *const known[] = {
		"model",      "messages",
		"prompt",     "stream",
		"max_tokens", "temperature",
		"top_p",      "seed",
		"stop",	      "tools",
		"logit_bias", "frequency_penalty",
		"suffix",     "generation_config",
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i], name) == 0)
			return true;
	return false;
}

static bool check_known(cJSON *o, unsigned reading, struct api_error *e)
{
	for (cJSON *v = o->child, *next; v; v = next) {
		next = v->next;
		if (is_known(v->string))
			continue;
		if (!(reading & READ_DROP_UNKNOWN))
			return api_refuse(e, REFUSE_FIELD, NULL,
					  "Unsupported fields in the request: {'%s'}", v->string);
		cJSON_Delete(cJSON_DetachItemViaPointer(o, v));
	}
	return true;
}

static bool read_fields(cJSON *o, const struct api_terms *terms, struct api_request *q,
			struct api_error *e)
{
	bool chat = q->kind == API_CHAT ||
		    (q->kind == API_TOKENIZE && cJSON_GetObjectItemCaseSensitive(o, "messages"));

	if ((terms->reading & READ_KNOWN_FIELDS) && !check_known(o, terms->reading, e))
		return false;
	if (!get_model(o, terms, q, e))
		return false;
	if (q->kind != API_TOKENIZE &&
	    (!get_stream(o, terms, q, e) || !get_lengths(o, terms, q, e) ||
	     !get_sampling(o, terms, q, e) || !api_field_stops(o, &q->stops, e)))
		return false;
	if (q->kind == API_COMPLETIONS && !(terms->reading & READ_NO_ECHO) &&
	    !api_field_bool(o, "echo", &q->echo, e))
		return false;
	q->keep_text = q->echo;
	q->usual_tokens = q->kind == API_COMPLETIONS && !(terms->reading & READ_LOOSE) ? 16 : 0;
	if (!(chat ? api_read_messages(o, terms, q, e)
		   : api_read_prompts(o, "prompt", terms, q, e)))
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
	out->model = terms->models[0];
	if (len == 0)
		return api_refuse(e, REFUSE_JSON, "body", "the body is empty, want a JSON object");
	if (json_parse(&o, body, len, &why) != RC_OK)
		return api_refuse(e, REFUSE_JSON, "body", "the body is not JSON: %s", why.msg);
	if (!cJSON_IsObject(o))
		ok = api_refuse(e, REFUSE_FORM, "body", "the body must be a JSON object");
	else if (kind >= API_LLAMACPP)
		ok = api_read_native(o, terms, out, e) && check_prompts(out, terms, e);
	else
		ok = read_fields(o, terms, out, e);
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
		free(q->prompt[i].said);
	}
	free(q->prompt);
	stop_list_release(&q->stops);
	sampling_free(q->sampling);
	memset(q, 0, sizeof(*q));
}
