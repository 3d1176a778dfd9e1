/*
 * Owns the arrays of a step plan and the sums a cost model reads. Filled by a policy, read by an
 * executor, reused from step to step. Must not know why a request is in the plan.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "executor.h"

void step_plan_init(struct step_plan *p)
{
	memset(p, 0, sizeof(*p));
}

void step_plan_release(struct step_plan *p)
{
	free(p->item);
	free(p->preempted);
	memset(p, 0, sizeof(*p));
}

void step_plan_clear(struct step_plan *p)
{
	struct step_plan empty = {
		.item = p->item,
		.cap_items = p->cap_items,
		.preempted = p->preempted,
		.cap_preempted = p->cap_preempted,
	};

	*p = empty;
}

/* Adds the item to the sums, or takes it out of them. The attention of a chunk is a multiple of
 * 1/2, so taking out is exact. */
static void count(struct step_plan *p, const struct step_item *it, int64_t sign)
{
	if (it->prefill) {
		p->prefill_tokens += sign * it->n_tokens;
		p->prefill_attention += sign * (it->n_tokens * (it->computed + it->n_tokens / 2.0));
	} else {
		p->decode_seqs += sign;
		p->decode_kv_tokens += sign * (it->computed + it->n_tokens);
	}
	p->loaded_tokens += sign * it->n_loaded;
	p->draft_tokens += sign * it->n_draft;
	p->prefill_attention +=
		sign * (it->n_draft * (it->computed + it->n_tokens + it->n_draft / 2.0));
}

static uint64_t adapter_bit(const struct genreq *r)
{
	return r->adapter ? UINT64_C(1) << (r->adapter - 1) : 0;
}

void step_plan_add(struct step_plan *p, struct genreq *r, int32_t computed, int32_t n_tokens)
{
	struct step_item *it;

	DCHECK(n_tokens > 0 && computed + n_tokens <= r->n_tokens);
	if (p->n_items == p->cap_items) {
		p->cap_items = p->cap_items ? 2 * p->cap_items : 4; /* a request alone has one */
		p->item = xreallocarray(p->item, (size_t)p->cap_items, sizeof(*p->item));
	}
	it = &p->item[p->n_items++];
	it->req = r;
	it->computed = computed;
	it->n_tokens = n_tokens;
	it->emits = computed + n_tokens == r->n_tokens;
	it->prefill = r->state != GENREQ_DECODE && (r->kv_tokens == 0 || computed < r->kv_tokens);
	it->n_draft = it->n_accepted = it->n_loaded = 0;
	p->adapters |= adapter_bit(r);
	count(p, it, 1);
}

void step_plan_verify(struct step_plan *p, int32_t n_draft)
{
	struct step_item *it = &p->item[p->n_items - 1];

	DCHECK(it->emits && !it->prefill && it->n_draft == 0 && n_draft > 0);
	count(p, it, -1);
	it->n_draft = n_draft;
	count(p, it, 1);
	if (p->max_draft < n_draft)
		p->max_draft = n_draft;
}

void step_plan_load(struct step_plan *p, int32_t n_tokens)
{
	struct step_item *it = &p->item[p->n_items - 1];

	DCHECK(n_tokens <= it->computed);
	count(p, it, -1);
	it->n_loaded = n_tokens;
	count(p, it, 1);
}

static int32_t most_drafted(const struct step_plan *p)
{
	int32_t most = 0;

	for (int32_t i = 0; i < p->n_items; i++)
		if (p->item[i].n_draft > most)
			most = p->item[i].n_draft;
	return most;
}

static uint64_t used_adapters(const struct step_plan *p)
{
	uint64_t used = 0;

	for (int32_t i = 0; i < p->n_items; i++)
		used |= adapter_bit(p->item[i].req);
	return used;
}

int32_t step_plan_drop(struct step_plan *p, const struct genreq *r)
{
	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item it = p->item[i];

		if (it.req != r)
			continue;
		count(p, &it, -1);
		p->n_items--;
		memmove(&p->item[i], &p->item[i + 1], (size_t)(p->n_items - i) * sizeof(*p->item));
		if (p->max_draft > 0 && it.n_draft == p->max_draft)
			p->max_draft = most_drafted(p);
		if (r->adapter)
			p->adapters = used_adapters(p);
		return it.n_tokens + it.n_draft;
	}
	return 0;
}

void step_plan_add_preempted(struct step_plan *p, struct genreq *r)
{
	if (p->n_preempted == p->cap_preempted) {
		p->cap_preempted = p->cap_preempted ? 2 * p->cap_preempted : 16;
		p->preempted = xreallocarray(p->preempted, (size_t)p->cap_preempted,
					     sizeof(struct genreq *));
	}
	p->preempted[p->n_preempted++] = r;
}
