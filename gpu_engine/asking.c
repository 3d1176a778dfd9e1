/*
 * Owns the waiting for requests in process. Main thread, which is the loop thread. Must not know
 * what they ask.
 */
#include "asking.h"

#include <string.h>

#include "base/clock.h"

static void on_token(struct genreq *r, int32_t token, int64_t due_ns, bool more)
{
	struct asking *a = r->owner;

	(void)due_ns;
	(void)more;
	if (a->on_token)
		a->on_token(r, token, a->arg);
}

static void on_done(struct genreq *r)
{
	struct asking *a = r->owner;

	a->n_open--;
}

static const struct engine_sink sink = {.on_token = on_token, .on_done = on_done};

enum rc asking_open(struct asking *a, struct session *s, struct err *e)
{
	memset(a, 0, sizeof(*a));
	a->s = s;
	return engine_new(&a->engine, s->loop, &s->engine, e);
}

void asking_close(struct asking *a)
{
	engine_free(a->engine);
	a->engine = NULL;
}

enum rc asking_submit(struct asking *a, struct genreq *r, struct err *e)
{
	enum rc rc;

	r->id = a->next_id++;
	r->owner = a;
	rc = engine_submit(a->engine, r, &sink, monotonic_now_ns(), e);
	if (rc == RC_OK)
		a->n_open++;
	return rc;
}

void asking_wait(struct asking *a)
{
	/* Turn by turn: a step under way is no work of the loop's own, and evloop_run() would come
	 * back at once, again and again, on a core that the step needs. */
	while (a->n_open > 0)
		evloop_once(a->s->loop);
}
