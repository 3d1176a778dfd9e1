/*
 * Any bytes as the body of each endpoint: a request that keeps its promises, or a refusal that says
 * why, and nothing leaks. The first byte picks the endpoint.
 */
#include <stdint.h>
#include <string.h>

#include "../support/toy_engine.h"
#include "base/check.h"
#include "serve/api_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const models[] = {"smollm2-135m", NULL};
	static const struct api_terms terms = {
		.logits = true, .models = models, .codec = &toy_codec, .max_len = 2048};
	static const struct {
		uint8_t byte;
		enum api_kind kind;
	} first[] = {{'k', API_CHAT},	{'p', API_COMPLETIONS}, {'l', API_LLAMACPP},
		     {'s', API_SGLANG}, {'t', API_TGI},		{'T', API_TGI_STREAM}};
	enum api_kind kind;
	struct api_request q;
	struct api_error e = {0};

	if (size == 0)
		return 0;
	kind = API_TOKENIZE;
	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		if (first[i].byte == data[0])
			kind = first[i].kind;
	if (!api_request_read(&q, kind, (const char *)data + 1, size - 1, &terms, &e)) {
		CHECK(e.status == 400 || e.status == 404);
		CHECK(e.type && e.message[0]);
		return 0;
	}
	CHECK(q.model == models[0]);
	CHECK(q.n_prompts > 0 && q.n > 0);
	for (int i = 0; i < q.n_prompts && kind != API_TOKENIZE; i++) {
		CHECK(q.prompt[i].tokens.n > 0 && q.prompt[i].tokens.n < terms.max_len);
		CHECK(!q.keep_text || q.prompt[i].text);
		for (int32_t k = 0; k < q.prompt[i].tokens.n; k++)
			CHECK(q.prompt[i].tokens.id[k] >= 0 &&
			      q.prompt[i].tokens.id[k] < TOY_VOCAB);
	}
	CHECK(q.max_tokens >= 0 && q.min_tokens >= 0);
	for (size_t i = 0; i < q.stops.n; i++)
		CHECK(q.stops.len[i] > 0);
	api_request_release(&q);
	return 0;
}
