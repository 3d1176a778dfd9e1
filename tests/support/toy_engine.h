/*
 * A codec and an executor small enough to see through, for tests of the front end. Included by one
 * test program at a time; everything is static.
 *
 * Codec: an id below 256 is that byte, 256 is the end of sequence, all others read "<id>".
 * Executor: the token at place i of every answer is script[i], going round; a step takes cost_ns
 * after its start by the loop's timers, or ends when the test says so. It tells made-up logprobs.
 */
#ifndef TESTS_TOY_ENGINE_H
#define TESTS_TOY_ENGINE_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/evloop.h"
#include "serve/executor.h"
#include "serve/textcodec.h"

#define TOY_VOCAB 65536
#define TOY_EOS	  256

static void toy_encode(const struct textcodec *c, const char *text, size_t len,
		       struct token_list *out)
{
	(void)c;
	for (size_t i = 0; i < len; i++)
		token_list_push(out, (unsigned char)text[i]);
}

static bool toy_decode(const struct textcodec *c, int32_t token, int32_t index, struct buf *b)
{
	(void)c;
	(void)index;
	return token < 256 ? buf_putc(b, (char)token) : buf_printf(b, "<%d>", token);
}

__attribute__((unused)) static const struct textcodec toy_codec = {
	.name = "toy",
	.vocab_size = TOY_VOCAB,
	.eos_token = TOY_EOS,
	.encode = toy_encode,
	.decode = toy_decode,
};

struct toy_step {
	struct timer timer;
	struct executor *x;
	struct step_plan *plan;
	struct toy_step *next;
};

/* Owned by the test; the executor's config. */
struct toy {
	struct evloop *loop;
	int64_t cost_ns;
	const int32_t *script;
	int32_t n_script;
	bool manual;	 /* steps wait for toy_end_step() */
	bool refuse;	 /* submit() fails */
	int64_t late_ns; /* every step is noticed so long after its end */
	int n_submitted;
	struct executor *executor;
};

struct executor {
	struct toy *toy;
	struct executor_opts opts;
	struct toy_step *steps; /* in flight, oldest first */
};

static enum rc toy_open(struct executor **out, const struct executor_opts *o, struct err *e)
{
	struct executor *x = xcalloc(1, sizeof(*x));

	(void)e;
	x->opts = *o;
	x->toy = (struct toy *)o->config;
	x->toy->executor = x;
	*out = x;
	return RC_OK;
}

/* Itself at -0.5, and the ids above it at -1.5, -2.5, ... */
static void toy_tell(struct genreq *r, int32_t token)
{
	struct token_logprob *p = genreq_add_logprobs(r);

	for (int32_t k = 0; k <= r->sampling->n_logprobs; k++)
		p[k] = (struct token_logprob){token + k, -0.5F - (float)k, k + 1};
}

static void toy_finish(struct executor *x, struct toy_step *s, int64_t end_ns, const char *failure)
{
	const struct toy *t = x->toy;
	int32_t *token = xcalloc((size_t)s->plan->n_items, sizeof(*token));
	struct step_result r = {.plan = s->plan,
				.end_ns = end_ns,
				.token = token,
				.failed = failure != NULL,
				.msg = failure};

	for (struct toy_step **p = &x->steps; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	for (int32_t i = 0; i < s->plan->n_items; i++) {
		struct genreq *req = s->plan->item[i].req;

		token[i] = t->script[genreq_output_tokens(req) % t->n_script];
		if (s->plan->item[i].emits && genreq_wants_logprobs(req))
			toy_tell(req, token[i]);
	}
	x->opts.done(&r, x->opts.arg);
	free(token);
	free(s);
}

static void toy_on_timer(struct timer *t, int64_t now_ns)
{
	struct toy_step *s = (struct toy_step *)((char *)t - offsetof(struct toy_step, timer));

	(void)now_ns;
	toy_finish(s->x, s, s->plan->start_ns + s->x->toy->cost_ns, NULL);
}

static enum rc toy_submit(struct executor *x, struct step_plan *plan)
{
	struct toy_step *s = xcalloc(1, sizeof(*s)), **end = &x->steps;

	if (x->toy->refuse) {
		free(s);
		return RC_IO;
	}
	x->toy->n_submitted++;
	s->x = x;
	s->plan = plan;
	s->timer.fn = toy_on_timer;
	while (*end)
		end = &(*end)->next;
	*end = s;
	if (!x->toy->manual)
		evloop_timer(x->toy->loop, &s->timer,
			     plan->start_ns + x->toy->cost_ns + x->toy->late_ns);
	return RC_OK;
}

static void toy_close(struct executor *x)
{
	while (x->steps) {
		struct toy_step *s = x->steps;

		x->steps = s->next;
		evloop_timer_cancel(x->toy->loop, &s->timer);
		free(s);
	}
	x->toy->executor = NULL;
	free(x);
}

__attribute__((unused)) static const struct executor_type toy_executor = {
	.name = "toy",
	.logits = true,
	.open = toy_open,
	.submit = toy_submit,
	.close = toy_close,
};

/* The oldest step in flight ends. */
static inline void toy_end_step(struct toy *t, int64_t end_ns, const char *failure)
{
	CHECK(t->executor->steps);
	toy_finish(t->executor, t->executor->steps, end_ns, failure);
}

/* The script that spells text, one byte a token. */
static inline int32_t *toy_script(const char *text, int32_t *n)
{
	size_t len = strlen(text);
	int32_t *script = xcalloc(len + 1, sizeof(*script));

	for (size_t i = 0; i < len; i++)
		script[i] = (unsigned char)text[i];
	*n = (int32_t)len;
	return script;
}

#endif
