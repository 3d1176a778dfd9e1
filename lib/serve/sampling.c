/*
 * Owns the memory of a request's wishes. Any thread. Must not know logits.
 */
#include "sampling.h"

#include <stdlib.h>

#include "base/die.h"

struct sampling *sampling_new(void)
{
	struct sampling *s = xcalloc(1, sizeof(*s));

	s->temperature = 1;
	s->top_p = 1;
	s->repetition_penalty = 1;
	s->n_logprobs = -1;
	return s;
}

void sampling_free(struct sampling *s)
{
	if (!s)
		return;
	free(s->bias);
	free(s->stop_id);
	free(s);
}
