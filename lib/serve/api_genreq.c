/*
 * Owns the rules that turn the fields of a request, and the terms of the server, into a generation
 * request. Any thread; pure. Must not know who answers, nor how.
 */
#include "api_genreq.h"

uint64_t api_scramble(uint64_t v)
{
	v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
	return v ^ (v >> 31);
}

static int32_t output_limit(const struct api_config *c, const struct api_request *q,
			    int32_t n_prompt, int32_t max_len)
{
	int32_t room = max_len - n_prompt, wanted = q->max_tokens;

	if (c->forced_tokens > 0)
		wanted = c->forced_tokens;
	else if (wanted == 0 && c->default_max_tokens > 0)
		wanted = c->default_max_tokens;
	else if (wanted == 0)
		wanted = q->usual_tokens;
	return wanted == 0 || wanted > room ? room : wanted;
}

struct genreq *api_genreq_new(const struct api_config *c, const struct api_request *q, int choice,
			      uint64_t id, const char *name, int32_t max_len)
{
	const struct token_list *tokens = &q->prompt[choice / q->n].tokens;
	struct genreq *r =
		genreq_new(id, name, tokens->id, tokens->n, output_limit(c, q, tokens->n, max_len));

	r->priority = q->priority;
	r->adapter = q->adapter;
	r->min_tokens = q->min_tokens < r->max_tokens ? q->min_tokens : r->max_tokens;
	r->ignore_eos = q->ignore_eos;
	r->seed = q->has_seed ? (uint64_t)q->seed + (uint64_t)(choice % q->n)
			      : api_scramble(c->seed + api_scramble(id));
	if (q->sampling) {
		r->sampling = sampling_copy(q->sampling);
		for (int32_t i = 0; i < c->codec->n_end_ids && !q->ignore_eos; i++)
			sampling_add_stop_id(r->sampling, c->codec->end_ids[i]);
	}
	if (c->prepare)
		c->prepare(r, &q->prompt[choice / q->n], c->prepare_arg);
	if (c->forced_tokens > 0) {
		r->min_tokens = r->max_tokens;
		r->ignore_eos = true;
	}
	return r;
}
