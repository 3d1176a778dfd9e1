/*
 * Owns the life of one generation request: its token array, its state machine, and the rule by
 * which an answer ends. Runs on the thread of whoever holds the request. Must not know text, HTTP,
 * policies or clocks.
 */
#include "genreq.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "script.h"

/* Room made at birth for the answer, so that a token rarely allocates: max_tokens may be as large
 * as the context. */
#define ANSWER_ROOM_TOKENS 1024

#define BIT(state) (1u << (state))

/* To where each state may go. QUEUED > DONE: a stop string is found in a token that left just
 * before a preemption. */
static const unsigned edges[] = {
	[GENREQ_QUEUED] = BIT(GENREQ_PREFILL) | BIT(GENREQ_DONE) | BIT(GENREQ_FAILED),
	[GENREQ_PREFILL] =
		BIT(GENREQ_QUEUED) | BIT(GENREQ_DECODE) | BIT(GENREQ_DONE) | BIT(GENREQ_FAILED),
	[GENREQ_DECODE] = BIT(GENREQ_QUEUED) | BIT(GENREQ_DONE) | BIT(GENREQ_FAILED),
	[GENREQ_DONE] = 0,
	[GENREQ_FAILED] = 0,
};

static const char *const state_names[] = {
	[GENREQ_QUEUED] = "queued", [GENREQ_PREFILL] = "prefill", [GENREQ_DECODE] = "decode",
	[GENREQ_DONE] = "done",	    [GENREQ_FAILED] = "failed",
};

static const char *const finish_names[] = {
	[FINISH_NONE] = NULL,	  [FINISH_STOP] = "stop",   [FINISH_LENGTH] = "length",
	[FINISH_ABORT] = "abort", [FINISH_ERROR] = "error",
};

struct genreq *genreq_new(uint64_t id, const char *name, const int32_t *tokens, int32_t n_prompt,
			  int32_t max_tokens)
{
	struct genreq *r = xcalloc(1, sizeof(*r));
	int32_t room = max_tokens < ANSWER_ROOM_TOKENS ? max_tokens : ANSWER_ROOM_TOKENS;

	CHECK(n_prompt >= 0 && n_prompt <= INT32_MAX - ANSWER_ROOM_TOKENS && max_tokens > 0);
	r->id = id;
	r->name = name ? xstrdup(name) : NULL;
	r->cap_tokens = n_prompt + room;
	r->tokens = xreallocarray(NULL, (size_t)r->cap_tokens, sizeof(*r->tokens));
	if (n_prompt)
		memcpy(r->tokens, tokens, (size_t)n_prompt * sizeof(*tokens));
	r->n_prompt = r->n_tokens = n_prompt;
	r->max_tokens = max_tokens;
	return r;
}

void genreq_free(struct genreq *r)
{
	if (!r)
		return;
	free(r->slot.block);
	free(r->slot.hash);
	sampling_free(r->sampling);
	free(r->logprob);
	free(r->prompt_logprob);
	free(r->tokens);
	free(r->name);
	script_drop(r->script);
	free(r);
}

void genreq_set_state(struct genreq *r, enum genreq_state to)
{
	CHECK(edges[r->state] & BIT(to));
	r->state = to;
}

static bool is_stop_id(const struct genreq *r, int32_t token)
{
	if (!r->sampling)
		return false;
	for (int32_t i = 0; i < r->sampling->n_stop_ids; i++)
		if (r->sampling->stop_id[i] == token)
			return true;
	return false;
}

/* An answer too short to stop of itself goes on; the lengths end it in any case. */
static enum genreq_finish ending(const struct genreq *r, int32_t eos_token, int32_t max_len)
{
	int32_t n = genreq_output_tokens(r), last = r->tokens[r->n_tokens - 1];

	if (n >= r->min_tokens && is_stop_id(r, last))
		return FINISH_STOP;
	if (!r->ignore_eos && n >= r->min_tokens) {
		if (last == eos_token && eos_token >= 0)
			return FINISH_STOP;
		if (r->eos_after && n >= r->eos_after)
			return FINISH_STOP;
	}
	return n >= r->max_tokens || r->n_tokens >= max_len ? FINISH_LENGTH : FINISH_NONE;
}

static void make_room(struct genreq *r, int32_t n)
{
	if (n <= r->cap_tokens - r->n_tokens)
		return;
	CHECK(r->cap_tokens <= INT32_MAX / 2 && n <= INT32_MAX / 2 - r->n_tokens);
	r->cap_tokens = r->n_tokens + n > 2 * r->cap_tokens ? r->n_tokens + n : 2 * r->cap_tokens;
	r->tokens = xreallocarray(r->tokens, (size_t)r->cap_tokens, sizeof(*r->tokens));
}

bool genreq_push_token(struct genreq *r, int32_t token, int32_t eos_token, int32_t max_len)
{
	make_room(r, 1);
	r->tokens[r->n_tokens++] = token;
	r->finish = ending(r, eos_token, max_len);
	return r->finish != FINISH_NONE;
}

bool genreq_take_token(struct genreq *r, int32_t token, int64_t end_ns, int32_t eos_token,
		       int32_t max_len)
{
	bool ends;

	if (genreq_output_tokens(r) == 0)
		r->first_token_ns = end_ns;
	r->last_token_ns = end_ns;
	ends = genreq_push_token(r, token, eos_token, max_len);
	if (r->state != GENREQ_DECODE)
		genreq_set_state(r, GENREQ_DECODE);
	if (ends)
		genreq_set_state(r, GENREQ_DONE);
	return ends;
}

int32_t genreq_tokens_left(const struct genreq *r, int32_t max_len)
{
	int32_t end = r->max_tokens, of_itself = r->eos_after;

	if (max_len - r->n_prompt < end)
		end = max_len - r->n_prompt;
	if (of_itself < r->min_tokens)
		of_itself = r->min_tokens;
	if (!r->ignore_eos && r->eos_after && of_itself < end)
		end = of_itself;
	end -= genreq_output_tokens(r);
	return end > 1 ? end : 1;
}

int32_t *genreq_extend(struct genreq *r, int32_t n)
{
	DCHECK(r->state == GENREQ_DECODE);
	make_room(r, n);
	r->n_tokens += n;
	return r->tokens + r->n_tokens - n;
}

struct token_logprob *genreq_add_logprobs(struct genreq *r)
{
	int32_t n = 1 + r->sampling->n_logprobs;

	if (n > r->cap_logprobs - r->n_logprobs) {
		CHECK(r->cap_logprobs <= INT32_MAX / 2 - n);
		r->cap_logprobs = 2 * r->cap_logprobs + n;
		r->logprob =
			xreallocarray(r->logprob, (size_t)r->cap_logprobs, sizeof(*r->logprob));
	}
	r->n_logprobs += n;
	return r->logprob + r->n_logprobs - n;
}

const char *genreq_state_name(enum genreq_state s)
{
	return state_names[s];
}

const char *genreq_finish_name(enum genreq_finish f)
{
	return finish_names[f];
}
