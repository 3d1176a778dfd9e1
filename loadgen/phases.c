/*
 * Owns the order in which targets, repeats and levels follow one another. Pure; must not know what
 * a request is.
 */
#include "phases.h"

#include "base/check.h"
#include "base/die.h"

struct phase *phases_new(const struct scenario *s, int *n)
{
	int groups = s->interleave ? 1 : s->n_targets, warmups = s->warmup_requests > 0;
	int rounds = s->repeats * s->n_levels, point = 0;
	struct phase *v = xcalloc((size_t)groups * (size_t)(warmups + rounds), sizeof(*v)), *p = v;

	for (int g = 0; g < groups; g++) {
		struct phase here = {
			.level = -1,
			.first_target = g,
			.n_targets = s->interleave ? s->n_targets : 1,
			.first_point = -1,
		};

		if (warmups)
			*p++ = here;
		for (int k = 0; k < rounds; k++) {
			here.repeat = s->find ? k % s->repeats : k / s->n_levels;
			here.level = s->find ? k / s->repeats : k % s->n_levels;
			here.first_point = point;
			point += here.n_targets;
			*p++ = here;
		}
	}
	*n = (int)(p - v);
	return v;
}

struct level phase_level(const struct scenario *s, const struct phase *p)
{
	struct level warmup = {
		.kind = LOAD_SERIAL, .concurrency = 1, .requests = s->warmup_requests};

	return p->level >= 0 ? s->levels[p->level] : warmup;
}

int phase_workers(const struct scenario *s, const struct phase *p)
{
	struct level l = phase_level(s, p);

	return l.kind == LOAD_OPEN || l.concurrency > s->workers ? s->workers : l.concurrency;
}

int64_t phase_request_id(const struct scenario *s, const struct phase *p, int target, int64_t index)
{
	CHECK(target >= p->first_target && target < p->first_target + p->n_targets);
	if (p->level < 0)
		return target * s->warmup_requests + index;
	return PHASE_ID_STRIDE * (1 + p->first_point + target - p->first_target) + index;
}
