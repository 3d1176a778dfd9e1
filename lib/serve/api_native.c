/*
 * Owns which fields the engines' own APIs have and what they mean. Loop thread; pure. Must not know
 * how answers look.
 */
#include "api_native.h"

#include <math.h>
#include <string.h>

#include "api_fields.h"
#include "api_prompt.h"
#include "base/check.h"

/* One row an API: where its prompt and its parameters stand and what they are called. */
static const struct native {
	enum api_kind kind;
	const char *prompt, *prompt_ids; /* the second is an alternative, or NULL */
	const char *parameters;		 /* the object that holds the rest; NULL: the body itself */
	const char *max_tokens, *max_tokens_too;
	const char *min_tokens; /* or NULL */
	const char *n;		/* or NULL */
	int32_t usual_tokens;
	bool keep_text, always_streams;
} natives[] = {
	{API_LLAMACPP, "prompt", NULL, NULL, "n_predict", "max_tokens", NULL, "n_cmpl", 0, true,
	 false},
	{API_SGLANG, "text", "input_ids", "sampling_params", "max_new_tokens", NULL,
	 "min_new_tokens", "n", 128, false, false},
	{API_TGI, "inputs", NULL, "parameters", "max_new_tokens", NULL, NULL, NULL, 100, true,
	 false},
	{API_TGI_STREAM, "inputs", NULL, "parameters", "max_new_tokens", NULL, NULL, NULL, 100,
	 true, true},
};

static bool read_parameters(const struct native *k, const cJSON *o, struct api_request *q,
			    struct api_error *e)
{
	bool loose = k->kind == API_LLAMACPP;
	double top_p = 1;
	int64_t n = 1;

	if (!api_field_length(o, k->max_tokens, loose, &q->max_tokens, e) ||
	    (k->max_tokens_too &&
	     !api_field_length(o, k->max_tokens_too, loose, &q->max_tokens, e)) ||
	    (k->min_tokens && !api_field_int32(o, k->min_tokens, 0, &q->min_tokens, e)) ||
	    (k->n && !api_field_int(o, k->n, 1, API_MAX_CHOICES, &n, e)) ||
	    !api_field_num(o, "temperature", loose ? -HUGE_VAL : 0, HUGE_VAL, &q->temperature, e) ||
	    !api_field_num(o, "top_p", 0, 1, &top_p, e) ||
	    !api_field_int(o, "seed", -MAX_EXACT_INT, MAX_EXACT_INT, &q->seed, e) ||
	    !api_field_bool(o, "ignore_eos", &q->ignore_eos, e) ||
	    !api_field_bool(o, "details", &q->details, e) ||
	    !api_field_bool(o, "return_full_text", &q->echo, e) ||
	    !api_field_stops(o, &q->stops, e))
		return false;
	q->has_seed = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(o, "seed"));
	q->n = (int)n;
	return true;
}

bool api_read_native(const cJSON *body, const struct api_terms *terms, struct api_request *q,
		     struct api_error *e)
{
	const struct native *k = natives;
	const cJSON *parameters = body;
	const char *prompt;
	struct err why;

	while (k->kind != q->kind)
		k++;
	q->usual_tokens = k->usual_tokens;
	q->keep_text = k->keep_text;
	q->stream = k->always_streams;
	if (k->parameters) {
		parameters = NULL;
		if (json_get_object(body, "", k->parameters, &parameters, &why) != RC_OK)
			return api_field_bad_form(e, k->parameters, &why);
	}
	if (parameters && !read_parameters(k, parameters, q, e))
		return false;
	if (!k->always_streams && !api_field_bool(body, "stream", &q->stream, e))
		return false;
	prompt = k->prompt_ids && cJSON_GetObjectItemCaseSensitive(body, k->prompt_ids)
			 ? k->prompt_ids
			 : k->prompt;
	return api_read_prompts(body, prompt, terms, q, e);
}
