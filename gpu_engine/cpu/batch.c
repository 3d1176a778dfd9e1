/*
 * Owns the arrays that say for each row of a step which token it is, where it stands and whose it
 * is. Runs on the engine thread, before the pool starts. Must not know what is computed for a row.
 */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

void batch_init(struct batch *b, int32_t max_rows)
{
	size_t n = (size_t)max_rows;

	CHECK(max_rows > 0);
	*b = (struct batch){
		.max_rows = max_rows,
		.token = xcalloc(n, sizeof(*b->token)),
		.position = xcalloc(n, sizeof(*b->position)),
		.item = xcalloc(n, sizeof(*b->item)),
		.chunk = xcalloc(n, sizeof(*b->chunk)),
		.logits_row = xcalloc(n, sizeof(*b->logits_row)),
	};
}

void batch_release(struct batch *b)
{
	free(b->token);
	free(b->position);
	free(b->item);
	free(b->chunk);
	free(b->logits_row);
	memset(b, 0, sizeof(*b));
}

static const char *fault(const struct step_item *it, const struct batch_limits *limits)
{
	const struct sched_slot *slot = &it->req->slot;
	int32_t end = it->computed + it->n_tokens;

	if (it->n_tokens < 1 || it->computed < 0 || end > it->req->n_tokens)
		return "an item covers tokens that its request does not have";
	if (end > limits->max_positions)
		return "an item goes beyond the model's learned positions";
	if (!slot->block || (int64_t)slot->n_blocks * limits->page_tokens < end)
		return "an item has no KV pages: this executor needs a policy with a block table";
	for (int32_t i = 0; i < slot->n_blocks; i++)
		if (slot->block[i] < 0 || slot->block[i] >= limits->n_pages)
			return "a block table names a KV page that there is not";
	for (int32_t i = it->computed; i < end; i++)
		if (it->req->tokens[i] < 0 || it->req->tokens[i] >= limits->n_vocab)
			return "a token is not in the vocabulary";
	return NULL;
}

/* The last known token's are drawn from; a prompt's own tokens may be wanted for how likely they
 * were. */
static bool wants_logits(const struct step_item *it, int32_t i)
{
	if (i + 1 == it->n_tokens && it->emits)
		return true;
	return it->req->prompt_logprob && it->computed + i + 1 < it->req->n_prompt;
}

static void add_item(struct batch *b, int32_t item, int32_t chunk_rows)
{
	const struct step_item *it = &b->plan->item[item];

	for (int32_t i = 0; i < it->n_tokens; i++) {
		if (i % chunk_rows == 0)
			b->chunk[b->n_chunks++] = (struct query_chunk){item, b->n_rows, 0};
		b->chunk[b->n_chunks - 1].n_rows++;
		b->token[b->n_rows] = it->req->tokens[it->computed + i];
		b->position[b->n_rows] = it->computed + i;
		b->item[b->n_rows] = item;
		if (wants_logits(it, i))
			b->logits_row[b->n_logits++] = b->n_rows;
		b->n_rows++;
	}
}

const char *batch_fill(struct batch *b, const struct step_plan *plan,
		       const struct batch_limits *limits)
{
	b->plan = plan;
	b->n_rows = b->n_chunks = b->n_logits = 0;
	for (int32_t i = 0; i < plan->n_items; i++) {
		const char *why = fault(&plan->item[i], limits);

		if (why)
			return why;
		if (plan->item[i].n_tokens > b->max_rows - b->n_rows)
			return "a step has more tokens than the executor was opened for";
		add_item(b, i, limits->chunk_rows);
	}
	return NULL;
}
