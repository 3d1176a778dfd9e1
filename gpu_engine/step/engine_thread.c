/*
 * Owns the hand-over between the loop thread and the engine thread. Submitting, the answer and the
 * end run on the loop thread, computing on the engine thread. Must not know what computes.
 *
 * Who may touch what: the plan, its requests and the result's arrays are the engine thread's from
 * submission until it says FINISHED, the loop thread's after that. `lock` covers the hand-over
 * alone.
 */
#include "engine_thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

enum step_state {
	STEP_NONE,     /* the engine thread waits for a plan, or for the end */
	STEP_GIVEN,    /* submitted: the engine thread computes it */
	STEP_FINISHED, /* the result stands; the loop thread is being woken */
};

struct engine_thread {
	struct evloop *loop;
	struct executor_opts opts;
	struct engine_work work;

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t given; /* a plan, or the end */
	enum step_state state;
	bool quit;

	struct step_plan *plan;
	struct step_result result;
	struct step_output output;
	int32_t cap_items;
};

/* ---- the engine thread ---- */

static void compute(struct engine_thread *t)
{
	for (int32_t i = 0; i < t->plan->n_items; i++)
		t->output.token[i] = -1;
	t->result = (struct step_result){.plan = t->plan, .token = t->output.token};
	t->result.msg = t->work.compute(t->work.arg, t->plan, &t->output);
	t->result.failed = t->result.msg != NULL;
	t->result.end_ns = monotonic_now_ns();
}

static void *engine_main(void *arg)
{
	struct engine_thread *t = arg;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		while (t->state != STEP_GIVEN && !t->quit)
			pthread_cond_wait(&t->given, &t->lock);
		if (t->state != STEP_GIVEN)
			break;
		pthread_mutex_unlock(&t->lock);
		compute(t);
		pthread_mutex_lock(&t->lock);
		t->state = STEP_FINISHED;
		evloop_notify(t->loop);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* ---- the loop thread ---- */

static void append_logprobs(struct genreq *r, const struct token_logprob *from)
{
	if (genreq_wants_logprobs(r))
		memcpy(genreq_add_logprobs(r), from,
		       (size_t)(1 + r->sampling->n_logprobs) * sizeof(*from));
}

/* The loop was woken; perhaps by somebody else. */
static void on_notify(void *arg)
{
	struct engine_thread *t = arg;
	bool finished;

	pthread_mutex_lock(&t->lock);
	finished = t->state == STEP_FINISHED;
	pthread_mutex_unlock(&t->lock);
	if (!finished)
		return;
	for (int32_t i = 0; i < t->plan->n_items && !t->result.failed; i++)
		if (t->plan->item[i].emits)
			append_logprobs(t->plan->item[i].req,
					t->output.logprob + (size_t)i * LOGPROBS_AN_ITEM);
	t->opts.done(&t->result, t->opts.arg);
	pthread_mutex_lock(&t->lock);
	t->state = STEP_NONE; /* only now: done() reads what the next step would write */
	pthread_mutex_unlock(&t->lock);
}

static void make_room(struct engine_thread *t, int32_t n_items)
{
	struct step_output *o = &t->output;

	if (n_items <= t->cap_items)
		return;
	t->cap_items = 2 * n_items;
	o->token = xreallocarray(o->token, (size_t)t->cap_items, sizeof(*o->token));
	o->logprob = xreallocarray(o->logprob, (size_t)t->cap_items * LOGPROBS_AN_ITEM,
				   sizeof(*o->logprob));
}

enum rc engine_thread_submit(struct engine_thread *t, struct step_plan *plan)
{
	enum rc rc = RC_LIMIT; /* a policy with many steps in flight: here is one */

	for (int32_t i = 0; i < plan->n_items; i++) {
		const struct sampling *how = plan->item[i].req->sampling;

		CHECK(!how || how->n_logprobs <= SAMPLING_MAX_LOGPROBS);
	}
	pthread_mutex_lock(&t->lock);
	if (t->state == STEP_NONE) {
		make_room(t, plan->n_items);
		t->plan = plan;
		t->state = STEP_GIVEN;
		pthread_cond_signal(&t->given);
		rc = RC_OK;
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

struct engine_thread *engine_thread_new(struct evloop *loop, const struct executor_opts *o,
					const struct engine_work *work)
{
	struct engine_thread *t = xcalloc(1, sizeof(*t));

	t->loop = loop;
	t->opts = *o;
	t->work = *work;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->given, NULL);
	evloop_on_notify(loop, on_notify, t);
	if (pthread_create(&t->thread, NULL, engine_main, t) != 0)
		die("the engine thread can not be started");
	return t;
}

void engine_thread_free(struct engine_thread *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->quit = true;
	pthread_cond_signal(&t->given);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	evloop_on_notify(t->loop, NULL, NULL);
	pthread_cond_destroy(&t->given);
	pthread_mutex_destroy(&t->lock);
	free(t->output.token);
	free(t->output.logprob);
	free(t);
}
