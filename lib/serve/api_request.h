/*
 * Reads the body of POST /v1/chat/completions and its kin: bytes in, request or refusal out. No
 * sockets, no engine. Unknown fields are accepted, as real servers do; known ones must be
 * well-formed, and what cannot be answered truly (logprobs, by an engine without logits) is
 * refused.
 */
#ifndef SERVE_API_REQUEST_H
#define SERVE_API_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "api_error.h"
#include "sampling.h"
#include "text_stream.h"
#include "textcodec.h"

#define API_MAX_CHOICES 1024 /* n times prompts */

enum api_kind {
	API_CHAT,
	API_COMPLETIONS,
	API_TOKENIZE, /* the prompt of either form, nothing else */
	API_LLAMACPP, /* /completion */
	API_SGLANG,   /* /generate */
	API_TGI,      /* /generate */
	API_TGI_STREAM,
};

/* How strictly a server reads; 0 is vLLM. */
#define READ_ANY_MODEL	  1u /* a name it does not serve is answered by the model it has */
#define READ_LOOSE	  2u /* lengths of 0 mean 1, of -1 the rest of the context; any temperature */
#define READ_KNOWN_FIELDS 4u  /* a field it does not know is an error */
#define READ_NO_USAGE	  8u  /* stream_options are passed over */
#define READ_ONE_USAGE	  16u /* continuous_usage_stats is passed over */
#define READ_NO_ECHO	  32u
#define READ_NO_IDS	  64u /* a prompt is a text */
/* With READ_KNOWN_FIELDS: what would be an error is as good as not there, as for a client that has
 * learnt to leave it out. */
#define READ_DROP_UNKNOWN 128u

/* What a body is read against. */
struct api_terms {
	/* Served names, NULL-terminated: the model, which is the default, then its adapters. */
	const char *const *models;
	const struct textcodec *codec;
	int32_t max_len;  /* prompt + output tokens */
	unsigned reading; /* READ_... */
	bool keep_said;	  /* api_prompt.said is wanted */
	bool logits;	  /* the engine chooses tokens by their probabilities, and can tell them */
};

struct api_prompt {
	struct token_list tokens;
	char *text; /* with keep_text; else NULL */
	/* With the terms' keep_said what was said last, without a template: of a chat the last
	 * message, else the text. NULL for ids. */
	char *said;
};

struct api_request {
	enum api_kind kind;
	int priority;
	const char *model; /* one of the terms' ... */
	struct api_prompt *prompt;
	int n_prompts;
	int n;		      /* answers to each prompt */
	int32_t max_tokens;   /* 0 = not named */
	int32_t usual_tokens; /* ... which means so many to this API; 0 = up to the context's end */
	int32_t min_tokens;
	int32_t adapter; /* which of the terms' models: 0 = the first */
	bool stream, include_usage, continuous_usage, ignore_eos, echo;
	bool keep_text; /* the answer shows the prompt */
	bool details;
	bool has_seed;
	int64_t seed;
	struct sampling *sampling; /* of a native dialect, and where nobody would heed it: NULL */
	double temperature;
	struct stop_list stops;
};

/* On false e says why, and out needs no release. */
bool api_request_read(struct api_request *out, enum api_kind kind, const char *body, size_t len,
		      const struct api_terms *terms, struct api_error *e);
void api_request_release(struct api_request *q);

#endif
