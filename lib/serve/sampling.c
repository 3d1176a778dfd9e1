/*
 * Owns the memory of a request's wishes. Any thread. Must not know logits.
 */
#include "sampling.h"

#include <stdlib.h>
#include <string.h>

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

struct sampling *sampling_copy(const struct sampling *s)
{
	struct sampling *copy = xcalloc(1, sizeof(*copy));

	*copy = *s;
	copy->bias = NULL;
	copy->stop_id = NULL;
	if (s->n_bias) {
		copy->bias = xcalloc((size_t)s->n_bias, sizeof(*s->bias));
		memcpy(copy->bias, s->bias, (size_t)s->n_bias * sizeof(*s->bias));
	}
	if (s->n_stop_ids) {
		copy->stop_id = xcalloc((size_t)s->n_stop_ids, sizeof(*s->stop_id));
		memcpy(copy->stop_id, s->stop_id, (size_t)s->n_stop_ids * sizeof(*s->stop_id));
	}
	return copy;
}

void sampling_add_stop_id(struct sampling *s, int32_t id)
{
	s->stop_id = xreallocarray(s->stop_id, (size_t)s->n_stop_ids + 1, sizeof(*s->stop_id));
	s->stop_id[s->n_stop_ids++] = id;
}

void sampling_free(struct sampling *s)
{
	if (!s)
		return;
	free(s->bias);
	free(s->stop_id);
	free(s);
}
