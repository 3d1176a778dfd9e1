/*
 * The policy of an engine with endless capacity: every request runs alone from the moment it comes,
 * its whole prompt in one step, then a token a step. Requests share nothing, so each has its own
 * step in flight and none ever waits. Pure, on one thread; must not know how long a step takes.
 */
#include "sched.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/die.h"
#include "waitq.h"

struct sched {
	struct reqlist idle; /* between two steps: their next one can be planned */
	int32_t known;
	int32_t eos_token;
	int64_t steps;
};

static const struct knob knobs[] = {{.name = NULL}};

static enum rc static_open(struct sched **out, const double *values, int32_t eos_token,
			   struct err *e)
{
	(void)values;
	(void)e;
	*out = xcalloc(1, sizeof(**out));
	(*out)->eos_token = eos_token;
	return RC_OK;
}

static void static_close(struct sched *s)
{
	free(s);
}

static enum rc static_check(const struct sched *s, const struct genreq *r, struct err *e)
{
	(void)s;
	return r->n_prompt > 0 ? RC_OK : err_set(e, RC_INPUT, "the prompt is empty");
}

static void static_add(struct sched *s, struct genreq *r)
{
	reqlist_push_back(&s->idle, r);
	s->known++;
}

static void static_remove(struct sched *s, struct genreq *r)
{
	CHECK(!r->slot.in_step);
	reqlist_remove(&s->idle, r);
	s->known--;
}

static bool static_plan(struct sched *s, struct step_plan *p)
{
	struct genreq *r = s->idle.head;

	if (!r)
		return false;
	reqlist_remove(&s->idle, r);
	p->id = (uint64_t)s->steps++;
	p->start_ns = r->ready_ns;
	if (r->state == GENREQ_QUEUED) {
		genreq_set_state(r, GENREQ_PREFILL);
		r->first_scheduled_ns = p->start_ns;
	}
	step_plan_add(p, r, r->slot.computed, r->n_tokens - r->slot.computed);
	r->slot.in_step = true;
	return true;
}

static void static_commit(struct sched *s, struct step_plan *p, const int32_t *token,
			  int64_t end_ns)
{
	struct genreq *r = p->item[0].req;

	r->slot.in_step = false;
	if (token) {
		r->slot.computed += p->item[0].n_tokens;
		r->ready_ns = end_ns;
		if (genreq_take_token(r, token[0], end_ns, s->eos_token, INT32_MAX)) {
			s->known--;
			return;
		}
	}
	reqlist_push_back(&s->idle, r);
}

static void static_stats(const struct sched *s, struct sched_stats *out)
{
	*out = (struct sched_stats){
		.running = s->known,
		.max_model_len = INT32_MAX,
		.steps = s->steps,
	};
}

const struct sched_type sched_static = {
	.name = "static",
	.help = "every request runs alone at once: a constant service time, endless capacity",
	.knobs = knobs,
	.open = static_open,
	.close = static_close,
	.check = static_check,
	.add = static_add,
	.remove = static_remove,
	.plan = static_plan,
	.commit = static_commit,
	.stats = static_stats,
};
