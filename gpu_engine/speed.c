/*
 * Owns the questions that speed is measured by, random prompts put to the whole engine, and what
 * the times of their tokens say. Main thread. Must not know who wants to know.
 */
#include "speed.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/units.h"

enum rc speed_open(struct speed *sp, struct session *s, struct err *e)
{
	sp->s = s;
	rng_init(&sp->rng, s->wish.seed, "bench", 0);
	return asking_open(&sp->asking, s, e);
}

void speed_close(struct speed *sp)
{
	asking_close(&sp->asking);
}

static struct genreq *random_request(struct speed *sp, int32_t n_prompt, int32_t n_output)
{
	int32_t n_vocab = sp->s->model->config.n_vocab;
	int32_t *tokens = xcalloc((size_t)n_prompt, sizeof(*tokens));
	struct genreq *r;

	for (int32_t i = 0; i < n_prompt; i++)
		tokens[i] = (int32_t)rng_below(&sp->rng, (uint64_t)n_vocab);
	r = genreq_new(0, "bench", tokens, n_prompt, n_output);
	r->ignore_eos = true;
	free(tokens);
	return r;
}

/* `batch` requests at once, to their ends; the caller frees them. */
static enum rc run_batch(struct speed *sp, struct genreq **r, int32_t batch, int32_t n_prompt,
			 int32_t n_output, struct err *e)
{
	enum rc rc = RC_OK;

	for (int32_t i = 0; i < batch && rc == RC_OK; i++) {
		r[i] = random_request(sp, n_prompt, n_output);
		rc = asking_submit(&sp->asking, r[i], e);
	}
	asking_wait(&sp->asking);
	for (int32_t i = 0; i < batch && rc == RC_OK; i++)
		if (r[i]->finish == FINISH_ERROR)
			rc = err_set(e, RC_IO, "the engine failed");
	return rc;
}

enum rc speed_decode(struct speed *sp, int32_t batch, int32_t n_output, struct measured *out,
		     struct err *e)
{
	struct genreq **r = xcalloc((size_t)batch, sizeof(struct genreq *));
	enum rc rc = run_batch(sp, r, batch, SPEED_START_TOKENS, n_output, e);
	int64_t start_ns = 0, end_ns = INT64_MAX, tokens = 0;

	for (int32_t i = 0; i < batch && rc == RC_OK; i++) {
		if (r[i]->first_token_ns > start_ns)
			start_ns = r[i]->first_token_ns;
		if (r[i]->last_token_ns < end_ns)
			end_ns = r[i]->last_token_ns;
	}
	for (int32_t i = 0; i < batch && rc == RC_OK; i++) {
		/* its tokens in the common span, by its own even pace */
		double span = ns_to_s(r[i]->last_token_ns - r[i]->first_token_ns);

		tokens +=
			(int64_t)((double)(n_output - 1) * ns_to_s(end_ns - start_ns) / span + 0.5);
	}
	if (rc == RC_OK) {
		out->tokens_per_s = (double)tokens / ns_to_s(end_ns - start_ns);
		out->step_s = (double)batch / out->tokens_per_s;
	}
	for (int32_t i = 0; i < batch; i++)
		genreq_free(r[i]);
	free(r);
	return rc;
}

enum rc speed_prefill(struct speed *sp, int32_t n_prompt, struct measured *out, struct err *e)
{
	struct genreq *r = NULL;
	enum rc rc = run_batch(sp, &r, 1, n_prompt, 1, e);

	if (rc == RC_OK) {
		out->step_s = ns_to_s(r->first_token_ns - r->first_scheduled_ns);
		out->tokens_per_s = (double)n_prompt / out->step_s;
	}
	genreq_free(r);
	return rc;
}
