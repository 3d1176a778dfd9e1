/*
 * Owns the sampling fields, their forms and their ranges. Loop thread; pure. Must not know what is
 * made of them (sampling.h says).
 */
#include "api_sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api_fields.h"
#include "base/check.h"
#include "base/die.h"

#define MAX_BIASES   1024
#define MAX_STOP_IDS 1024

static bool read_numbers(const cJSON *o, struct sampling *s, struct api_error *e)
{
	const struct {
		const char *key;
		double min, max;
		double *out;
	} field[] = {
		{"temperature", 0, HUGE_VAL, &s->temperature},
		{"top_p", 0, 1, &s->top_p},
		{"min_p", 0, 1, &s->min_p},
		{"presence_penalty", -2, 2, &s->presence_penalty},
		{"frequency_penalty", -2, 2, &s->frequency_penalty},
		{"repetition_penalty", 0, HUGE_VAL, &s->repetition_penalty},
	};
	int64_t top_k = 0;

	for (size_t i = 0; i < ARRAY_LEN(field); i++)
		if (!api_field_num(o, field[i].key, field[i].min, field[i].max, field[i].out, e))
			return false;
	if (s->top_p == 0)
		return api_refuse(e, REFUSE_VALUE, "top_p",
				  "top_p: got 0, want a number above 0, at most 1");
	if (s->repetition_penalty == 0)
		return api_refuse(e, REFUSE_VALUE, "repetition_penalty",
				  "repetition_penalty: got 0, want a number above 0");
	if (!api_field_int(o, "top_k", -1, INT32_MAX, &top_k, e))
		return false;
	s->top_k = top_k < 0 ? 0 : (int32_t)top_k; /* -1 and 0 both mean all */
	return true;
}

static bool in_vocabulary(const struct api_terms *terms, const char *key, double id,
			  struct api_error *e)
{
	if (id >= 0 && id < terms->codec->vocab_size && id == floor(id))
		return true;
	return api_refuse(e, REFUSE_VALUE, key, "%s: token id %.0f is out of vocabulary, 0 .. %d",
			  key, id, terms->codec->vocab_size - 1);
}

/* {"50256": -100} */
static bool read_biases(const cJSON *o, const struct api_terms *terms, struct sampling *s,
			struct api_error *e)
{
	const cJSON *biases = NULL, *v;
	struct err why;

	if (json_get_object(o, "", "logit_bias", &biases, &why) != RC_OK)
		return api_field_bad_form(e, "logit_bias", &why);
	if (!biases)
		return true;
	if (cJSON_GetArraySize(biases) > MAX_BIASES)
		return api_refuse(e, REFUSE_VALUE, "logit_bias", "logit_bias: more than %d entries",
				  MAX_BIASES);
	s->bias = xcalloc((size_t)cJSON_GetArraySize(biases) + 1, sizeof(*s->bias));
	cJSON_ArrayForEach(v, biases)
	{
		char *end;
		double id = strtod(v->string, &end), bias = v->valuedouble;

		if (end == v->string || *end || !cJSON_IsNumber(v))
			return api_refuse(
				e, REFUSE_FORM, "body.logit_bias",
				"logit_bias: want token ids as keys and numbers as values");
		if (!in_vocabulary(terms, "logit_bias", id, e))
			return false;
		if (!(bias >= -100 && bias <= 100))
			return api_refuse(e, REFUSE_VALUE, "logit_bias",
					  "logit_bias: got %g, want -100 .. 100", bias);
		s->bias[s->n_bias++] =
			(struct logit_bias){.token = (int32_t)id, .bias = (float)bias};
	}
	return true;
}

static bool read_stop_ids(const cJSON *o, const struct api_terms *terms, struct sampling *s,
			  struct api_error *e)
{
	const cJSON *ids = NULL, *v;
	struct err why;

	if (json_get_array(o, "", "stop_token_ids", &ids, &why) != RC_OK)
		return api_field_bad_form(e, "stop_token_ids", &why);
	cJSON_ArrayForEach(v, ids)
	{
		if (!cJSON_IsNumber(v))
			return api_refuse(e, REFUSE_FORM, "body.stop_token_ids",
					  "stop_token_ids: want an array of token ids");
		if (!in_vocabulary(terms, "stop_token_ids", v->valuedouble, e))
			return false;
		if (s->n_stop_ids == MAX_STOP_IDS)
			return api_refuse(e, REFUSE_VALUE, "stop_token_ids",
					  "stop_token_ids: more than %d", MAX_STOP_IDS);
		sampling_add_stop_id(s, (int32_t)v->valuedouble);
	}
	return true;
}

/* Chat: logprobs a switch, top_logprobs a number. Completions: logprobs is the number. */
static bool read_logprobs(const cJSON *o, const struct api_terms *terms, enum api_kind kind,
			  struct sampling *s, struct api_error *e)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "logprobs");
	int64_t n = 0;
	bool asked = v && (cJSON_IsNumber(v) || cJSON_IsTrue(v));
	const char *number = kind == API_CHAT ? "top_logprobs" : "logprobs";

	if (kind == API_COMPLETIONS && v && !cJSON_IsNull(v) && !cJSON_IsNumber(v))
		return api_refuse(e, REFUSE_FORM, "body.logprobs", "logprobs: want an integer");
	if (kind == API_CHAT && v && !cJSON_IsNull(v) && !cJSON_IsBool(v))
		return api_refuse(e, REFUSE_FORM, "body.logprobs", "logprobs: want true or false");
	if (!api_field_int(o, number, 0, INT64_MAX, &n, e))
		return false;
	if (!asked && n == 0)
		return true;
	/* Any number would be made up. */
	if (!terms->logits)
		return api_refuse(e, REFUSE_VALUE, n > 0 ? number : "logprobs",
				  "logprobs are not served: this engine keeps no probabilities of "
				  "its tokens");
	if (!asked)
		return api_refuse(e, REFUSE_VALUE, "top_logprobs",
				  "top_logprobs: makes sense only with logprobs: true");
	if (n > SAMPLING_MAX_LOGPROBS)
		return api_refuse(e, REFUSE_VALUE, number, "%s: got %lld, want 0 .. %d", number,
				  (long long)n, SAMPLING_MAX_LOGPROBS);
	s->n_logprobs = (int32_t)n;
	return true;
}

bool api_read_sampling(const cJSON *o, const struct api_terms *terms, struct api_request *q,
		       struct api_error *e)
{
	struct sampling *s = q->sampling = sampling_new();

	/* A server that reads loosely takes what comes for these, and we play it without logits. */
	if (terms->reading & READ_LOOSE) {
		if (!api_field_num(o, "temperature", -HUGE_VAL, HUGE_VAL, &s->temperature, e) ||
		    !api_field_num(o, "top_p", -HUGE_VAL, HUGE_VAL, &s->top_p, e))
			return false;
	} else if (!read_numbers(o, s, e) || !read_biases(o, terms, s, e) ||
		   !read_stop_ids(o, terms, s, e)) {
		return false;
	}
	return read_logprobs(o, terms, q->kind, s, e);
}
