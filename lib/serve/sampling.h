/*
 * How the next token is chosen from a row of logits, in the OpenAI API's and vLLM's terms. Plain
 * data: the front end fills it in, an executor that has logits reads it. The order in which it is
 * applied: bias, repetition, presence and frequency penalty, min_tokens (no end before it),
 * temperature, top_k, top_p, min_p, draw.
 */
#ifndef SERVE_SAMPLING_H
#define SERVE_SAMPLING_H

#include <stdint.h>

#define SAMPLING_MAX_LOGPROBS 20

struct logit_bias {
	int32_t token;
	float bias; /* added to the logit; -100 .. 100 */
};

struct sampling {
	double temperature; /* 0 = greedy: the highest logit, of equal ones the lowest id */
	int32_t top_k;	    /* 0 = all */
	double top_p, min_p;
	double presence_penalty, frequency_penalty; /* 0 = none; of the output tokens so far */
	double repetition_penalty;		    /* 1 = none; of prompt and output */
	struct logit_bias *bias;		    /* owned */
	int32_t n_bias;
	int32_t *stop_id; /* tokens that end the answer beside eos_token; owned */
	int32_t n_stop_ids;
	int32_t n_logprobs; /* alternatives reported a token; 0 = the chosen one only; -1 = nothing
			     */
};

/* A token and the logarithm of its probability under the softmax of the raw logits. */
struct token_logprob {
	int32_t token;
	float logprob;
	int32_t rank; /* 1 = the likeliest */
};

/* Neutral: the softmax of the logits as it is, no logprobs. */
struct sampling *sampling_new(void);
void sampling_free(struct sampling *s); /* NULL legal */
struct sampling *sampling_copy(const struct sampling *s);
void sampling_add_stop_id(struct sampling *s, int32_t id);

#endif
