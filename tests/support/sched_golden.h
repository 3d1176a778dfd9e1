/*
 * What the tests of the batching policies share: schedules worked out by hand, and random workloads
 * that every policy must bring to an end. Included by one test program at a time; inline, because
 * not every policy needs all of it.
 *
 * A golden is a list of requests and what every step must be, as text:
 *
 *     "A@8+2 B@0+5 | - | 94"    A computes 2 tokens from position 8 on, B 5 from 0; nobody
 *                               preempted; 94 blocks free
 */
#ifndef TESTS_SCHED_GOLDEN_H
#define TESTS_SCHED_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/rng.h"
#include "serve/sched.h"

#define STEP_NS	     10000000
#define MAX_REQUESTS 8
#define MAX_STEPS    24
#define MAX_SET	     16
#define CROWD	     200

struct set {
	const char *name;
	double value;
};

/* A policy and the settings all of its cases begin with: small numbers, so that a schedule fits on
 * paper. */
struct policy {
	const struct sched_type *type;
	const struct set *common; /* ends with name NULL */
};

static inline void apply(const struct sched_type *t, const struct set *set, double *values)
{
	for (; set && set->name; set++) {
		if (sched_knob(t, set->name) == -1)
			fail_msg("%s has no knob \"%s\"", t->name, set->name);
		values[sched_knob(t, set->name)] = set->value;
	}
}

/* The engine's defaults, then the policy's common settings, then the case's. */
static inline enum rc open_with(const struct policy *p, const struct set *set, struct sched **out,
				struct err *e)
{
	double values[SCHED_MAX_KNOBS];

	sched_defaults(p->type, values);
	apply(p->type, p->common, values);
	apply(p->type, set, values);
	return p->type->open(out, values, -1, e);
}

static inline struct sched *opened(const struct policy *p, const struct set *set)
{
	struct sched *s = NULL;
	struct err e;

	if (open_with(p, set, &s, &e) != RC_OK)
		fail_msg("%s", e.msg);
	return s;
}

static inline int32_t token_of(uint64_t id, int32_t position)
{
	return (int32_t)(10000 * (id + 1)) + position;
}

/* The first `shared` tokens are the same in all prompts, the rest are its own. */
static inline struct genreq *request(uint64_t id, int32_t n_prompt, int32_t shared,
				     int32_t max_tokens)
{
	int32_t *prompt = calloc((size_t)n_prompt + 1, sizeof(*prompt));
	char name[2] = {(char)('A' + id % 26), 0};
	struct genreq *r;

	assert_non_null(prompt);
	for (int32_t i = 0; i < n_prompt; i++)
		prompt[i] = i < shared ? i : token_of(id, i);
	r = genreq_new(id, name, prompt, n_prompt, max_tokens);
	free(prompt);
	return r;
}

/* A step takes 10 ms; no two answers share a token. Of a draft of d for request number n, which has
 * t tokens, (n + t) mod (d + 1) are right. */
static inline void commit(const struct policy *policy, struct sched *s, struct step_plan *p)
{
	int32_t token[64 * (1 + SCHED_MAX_DRAFT)], each = 1 + p->max_draft;

	assert_true(p->n_items <= 64);
	for (int32_t i = 0; i < p->n_items; i++) {
		struct step_item *it = &p->item[i];

		it->n_accepted = ((int32_t)it->req->id + it->req->n_tokens) % (it->n_draft + 1);
		for (int32_t k = 0; k < each; k++)
			token[i * each + k] = token_of(it->req->id, it->req->n_tokens + k);
	}
	policy->type->commit(s, p, token, p->start_ns + STEP_NS);
}

static inline struct sched_stats stats_of(const struct policy *p, const struct sched *s)
{
	struct sched_stats stats;

	p->type->stats(s, &stats);
	return stats;
}

/* ---- goldens ---- */

struct golden {
	const char *title;
	struct set set[MAX_SET];
	struct {
		int32_t prompt, output;
		int32_t shared; /* prompt tokens common to all */
		int step;	/* comes before this step */
		int priority;
		int32_t cached;	 /* what it finds in the prefix cache when it is first admitted */
		int32_t adapter; /* LoRA; 0 = none */
	} request[MAX_REQUESTS]; /* A, B, C, ... */
	const char *step[MAX_STEPS];
	int32_t preemptions;
};

static inline const char *describe(const struct policy *policy, const struct sched *s,
				   const struct step_plan *p, struct buf *b)
{
	buf_clear(b);
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct step_item *it = &p->item[i];

		buf_printf(b, "%s@%d", it->req->name, it->computed);
		if (it->n_loaded > 0)
			buf_printf(b, "^%d", it->n_loaded);
		buf_printf(b, "+%d", it->n_tokens);
		if (it->n_draft > 0)
			buf_printf(b, "~%d", it->n_draft);
		buf_putc(b, ' ');
	}
	buf_printf(b, "| ");
	for (int32_t i = 0; i < p->n_preempted; i++)
		buf_printf(b, "%s ", p->preempted[i]->name);
	buf_printf(b, "%s| %d", p->n_preempted ? "" : "- ", stats_of(policy, s).free_blocks);
	return buf_cstr(b);
}

static inline void play_steps(const struct policy *policy, const struct golden *g, struct sched *s,
			      struct genreq *const *r, int n)
{
	struct step_plan p;
	struct buf b;

	buf_init(&b, 4096);
	step_plan_init(&p);
	for (int step = 0;; step++) {
		for (int i = 0; i < n; i++)
			if (g->request[i].step == step)
				policy->type->add(s, r[i]);
		step_plan_clear(&p);
		if (!policy->type->plan(s, &p)) {
			if (g->step[step])
				fail_msg("%s: step %d: nothing, want %s", g->title, step,
					 g->step[step]);
			break;
		}
		if (!g->step[step] || strcmp(describe(policy, s, &p, &b), g->step[step]) != 0)
			fail_msg("%s: step %d: %s, want %s", g->title, step,
				 describe(policy, s, &p, &b),
				 g->step[step] ? g->step[step] : "nothing");
		commit(policy, s, &p);
	}
	step_plan_release(&p);
	buf_release(&b);
}

static inline void play(const struct policy *policy, const struct golden *g)
{
	struct genreq *r[MAX_REQUESTS] = {0};
	struct sched *s = opened(policy, g->set);
	struct sched_stats stats;
	int n = 0;

	for (; n < MAX_REQUESTS && g->request[n].prompt; n++) {
		r[n] = request((uint64_t)n, g->request[n].prompt, g->request[n].shared,
			       g->request[n].output);
		r[n]->priority = g->request[n].priority;
		r[n]->adapter = g->request[n].adapter;
	}
	play_steps(policy, g, s, r, n);
	stats = stats_of(policy, s);
	assert_int_equal(stats.free_blocks, stats.usable_blocks);
	assert_int_equal(stats.running + stats.waiting, 0);
	assert_int_equal(stats.preemptions, g->preemptions);
	for (int i = 0; i < n; i++) {
		assert_int_equal(r[i]->state, GENREQ_DONE);
		if (r[i]->cached_tokens != g->request[i].cached)
			fail_msg("%s: %s found %d tokens, want %d", g->title, r[i]->name,
				 r[i]->cached_tokens, g->request[i].cached);
		genreq_free(r[i]);
	}
	policy->type->close(s);
}

static inline void play_all(const struct policy *policy, const struct golden *g, size_t n)
{
	for (size_t i = 0; i < n; i++)
		play(policy, &g[i]);
}

/* ---- the contract, the same for every policy ---- */

static inline void check_knob_table(const struct sched_type *t)
{
	double values[SCHED_MAX_KNOBS];
	const struct sched_type *found = NULL;
	struct sched *s = NULL;
	struct err e;

	sched_defaults(t, values);
	for (int i = 0; t->knobs[i].name; i++) {
		assert_true(values[i] >= t->knobs[i].min && values[i] <= t->knobs[i].max);
		assert_non_null(t->knobs[i].help);
		assert_int_equal(sched_knob(t, t->knobs[i].name), i);
	}
	assert_int_equal(sched_find(t->name, &found, &e), RC_OK);
	assert_ptr_equal(found, t);
	assert_int_equal(t->open(&s, values, -1, &e), RC_OK);
	t->close(s);
}

struct refusal {
	struct set set[MAX_SET];
	const char *says;
};

static inline void check_refusals(const struct policy *p, const struct refusal *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sched *s = NULL;
		struct err e = {0};

		assert_int_equal(open_with(p, c[i].set, &s, &e), RC_INPUT);
		if (!strstr(e.msg, c[i].says))
			fail_msg("\"%s\" does not say \"%s\"", e.msg, c[i].says);
	}
}

/* A request that waits may go at any time, one that runs between two steps; either way what it
 * held is free at once. r: four alike, of which at most two run. */
static inline void check_removal(const struct policy *policy, const struct set *two_run)
{
	struct genreq *r[4];
	struct sched *s = opened(policy, two_run);
	struct step_plan p;

	step_plan_init(&p);
	for (int i = 0; i < 4; i++) {
		r[i] = request((uint64_t)i, 8, 0, 9);
		policy->type->add(s, r[i]);
	}
	assert_true(policy->type->plan(s, &p));
	policy->type->remove(s, r[2]); /* it waits: no matter that a step is computed */
	commit(policy, s, &p);
	genreq_set_state(r[0], GENREQ_FAILED); /* the engine may have said so first */
	policy->type->remove(s, r[0]);
	assert_int_equal(stats_of(policy, s).running, 1);
	assert_int_equal(stats_of(policy, s).waiting, 1);
	for (int steps = 0; r[3]->state == GENREQ_QUEUED; steps++) {
		assert_true(steps < 3);
		step_plan_clear(&p);
		assert_true(policy->type->plan(s, &p));
		commit(policy, s, &p);
	}
	policy->type->remove(s, r[1]);
	policy->type->remove(s, r[3]);
	step_plan_clear(&p);
	assert_false(policy->type->plan(s, &p));
	assert_int_equal(stats_of(policy, s).free_blocks, stats_of(policy, s).usable_blocks);
	policy->type->close(s);
	for (int i = 0; i < 4; i++)
		genreq_free(r[i]);
	step_plan_release(&p);
}

static inline void check_removal_in_step_aborts(const struct policy *policy)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct genreq *r = request(0, 8, 0, 9);
		struct sched *s = opened(policy, NULL);
		struct step_plan p;

		close(2);
		step_plan_init(&p);
		policy->type->add(s, r);
		policy->type->plan(s, &p);
		policy->type->remove(s, r);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Its requests go, the others live on, and nobody finds what was never computed. */
static inline void check_lost_step(const struct policy *policy)
{
	struct genreq *a = request(0, 12, 8, 2), *b = request(1, 12, 8, 2);
	struct sched *s = opened(policy, NULL);
	struct step_plan p;

	step_plan_init(&p);
	policy->type->add(s, a);
	assert_true(policy->type->plan(s, &p));
	policy->type->commit(s, &p, NULL, 5);
	assert_false(a->slot.in_step);
	assert_int_equal(genreq_output_tokens(a), 0);
	policy->type->remove(s, a);
	assert_int_equal(stats_of(policy, s).free_blocks, stats_of(policy, s).usable_blocks);
	policy->type->add(s, b);
	step_plan_clear(&p);
	assert_true(policy->type->plan(s, &p));
	assert_int_equal(p.item[0].computed, 0);
	policy->type->close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* A step starts with the end of the one before it, or with the arrival that it waited for. */
static inline void check_model_time(const struct policy *policy)
{
	struct genreq *a = request(0, 4, 0, 2), *b = request(1, 4, 0, 1);
	struct sched *s = opened(policy, NULL);
	struct step_plan p;

	step_plan_init(&p);
	a->arrival_ns = a->ready_ns = 0; /* virtual time begins at 0 */
	policy->type->add(s, a);
	assert_true(policy->type->plan(s, &p));
	assert_int_equal(p.start_ns, 0);
	assert_false(policy->type->plan(s, &p)); /* one step in flight */
	policy->type->commit(s, &p, (int32_t[]){1}, 100);
	step_plan_clear(&p);
	assert_true(policy->type->plan(s, &p));
	assert_int_equal(p.start_ns, 100);
	policy->type->commit(s, &p, (int32_t[]){2}, 200);
	assert_int_equal(a->state, GENREQ_DONE);
	assert_int_equal(a->first_scheduled_ns, 0);
	assert_int_equal(a->first_token_ns, 100);
	assert_int_equal(a->last_token_ns, 200);
	/* It came while the last step ran, and is alone: that step must end first. */
	b->arrival_ns = b->ready_ns = 150;
	policy->type->add(s, b);
	step_plan_clear(&p);
	assert_true(policy->type->plan(s, &p));
	assert_int_equal(p.start_ns, 200);
	policy->type->commit(s, &p, (int32_t[]){3}, 300);
	assert_int_equal(b->first_scheduled_ns, 200);
	genreq_free(b);
	/* The engine was idle: the step starts with the arrival. */
	b = request(2, 4, 0, 1);
	b->arrival_ns = b->ready_ns = 1000;
	policy->type->add(s, b);
	step_plan_clear(&p);
	assert_true(policy->type->plan(s, &p));
	assert_int_equal(p.start_ns, 1000);
	policy->type->close(s);
	genreq_free(a);
	genreq_free(b);
	step_plan_release(&p);
}

/* ---- random workloads ---- */

struct crowd {
	const struct policy *policy;
	const struct set *set;
	int32_t max_prompt, max_output; /* lengths are drawn from 1 to these */
	int32_t max_shared;
	int32_t max_len;    /* context: an answer ends there */
	int32_t max_tokens; /* a step */
	int32_t max_seqs;   /* at once */
	int32_t adapters;   /* requests have one of so many, or none ... */
	int32_t max_loras;  /* ... and a step so many of them at most */
	bool counts_tokens; /* the policy counts KV tokens and hands out no blocks */
	bool padded;	    /* its sums count padding, too */
	bool may_fail;	    /* a request may end with FINISH_ERROR */
	bool no_sharing;    /* no prefix cache: the ledger can be checked to the block */

	/* What this policy promises beyond that, about every step; or NULL. */
	void (*check)(const struct step_plan *p, const struct sched_stats *stats,
		      const struct crowd *c);
};

/* What holds in every step, whatever comes: budget, places, consistent items and sums. */
static inline void check_plan(const struct crowd *c, const struct step_plan *p,
			      const struct sched_stats *stats)
{
	int64_t prefill = 0, decode = 0, total = 0, drafts = 0;

	assert_true(stats->running <= c->max_seqs && p->n_items <= stats->running);
	assert_true(stats->free_blocks >= 0 && stats->free_blocks <= stats->usable_blocks);
	assert_true(p->n_items > 0);
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct step_item *it = &p->item[i];

		assert_true(it->n_tokens > 0 && it->computed + it->n_tokens <= it->req->n_tokens);
		assert_true(it->req->slot.in_step);
		assert_int_equal(it->computed, it->req->slot.computed);
		assert_int_equal(it->emits, it->computed + it->n_tokens == it->req->n_tokens);
		assert_true(c->counts_tokens || it->req->slot.n_blocks * stats->block_size >=
							it->computed + it->n_tokens + it->n_draft);
		assert_true(it->prefill || (it->n_tokens == 1 && it->emits));
		total += it->n_tokens + it->n_draft;
		drafts += it->n_draft;
		*(it->prefill ? &prefill : &decode) += it->n_tokens;
	}
	assert_true(total <= c->max_tokens);
	assert_int_equal(drafts, p->draft_tokens);
	assert_true(__builtin_popcountll(p->adapters) <= c->max_loras);
	assert_true(c->padded ? prefill <= p->prefill_tokens : prefill == p->prefill_tokens);
	assert_true(c->padded ? decode <= p->decode_seqs : decode == p->decode_seqs);
	if (c->check)
		c->check(p, stats, c);
}

/* Blocks held and blocks free are all there are, during a step and after it. Shared ones count in
 * each holder. */
static inline void check_ledger(const struct crowd *c, struct genreq *const *r,
				const struct sched_stats *stats)
{
	int64_t held = 0;

	if (c->counts_tokens) /* then its own check looks at the count */
		return;
	for (int i = 0; i < CROWD; i++)
		held += r[i]->slot.n_blocks;
	assert_true(stats->usable_blocks - stats->free_blocks <= held);
	if (c->no_sharing)
		assert_int_equal(stats->usable_blocks - stats->free_blocks, held);
}

static inline bool somebody_leaves(const struct crowd *c, struct sched *s, struct genreq **r,
				   int32_t added, struct rng *g)
{
	struct genreq *q = added ? r[rng_below(g, (uint64_t)added)] : NULL;

	if (!q || rng_below(g, 20) != 0 || q->state >= GENREQ_DONE)
		return false;
	c->policy->type->remove(s, q);
	genreq_set_state(q, GENREQ_FAILED);
	return true;
}

/* 200 requests come in their own time, some leave early. All others get all of their tokens. */
static inline void run_crowd(const struct crowd *c, struct rng *g)
{
	const struct sched_type *t = c->policy->type;
	struct genreq *r[CROWD];
	int32_t added = 0, gone = 0;
	struct sched_stats stats;
	struct step_plan p;
	struct sched *s = opened(c->policy, c->set);

	step_plan_init(&p);
	for (int i = 0; i < CROWD; i++) {
		r[i] = request((uint64_t)i, 1 + (int32_t)rng_below(g, (uint64_t)c->max_prompt),
			       (int32_t)rng_below(g, (uint64_t)c->max_shared),
			       1 + (int32_t)rng_below(g, (uint64_t)c->max_output));
		r[i]->priority = (int)rng_below(g, 3);
		if (c->adapters > 0)
			r[i]->adapter = (int32_t)rng_below(g, 1 + (uint64_t)c->adapters);
	}
	for (int64_t steps = 0; gone < CROWD; steps++) {
		assert_true(steps < 200000);
		for (int n = (int)rng_below(g, 4); n > 0 && added < CROWD; n--)
			t->add(s, r[added++]);
		gone += somebody_leaves(c, s, r, added, g);
		step_plan_clear(&p);
		if (!t->plan(s, &p)) { /* whoever can run does */
			stats = stats_of(c->policy, s);
			assert_int_equal(stats.running + stats.waiting, 0);
			assert_int_equal(stats.free_blocks, stats.usable_blocks);
			continue;
		}
		stats = stats_of(c->policy, s);
		check_plan(c, &p, &stats);
		check_ledger(c, r, &stats);
		commit(c->policy, s, &p);
		stats = stats_of(c->policy, s);
		check_ledger(c, r, &stats);
		for (int32_t i = 0; i < p.n_items; i++)
			gone += p.item[i].req->state == GENREQ_DONE;
	}
	stats = stats_of(c->policy, s);
	assert_int_equal(stats.free_blocks, stats.usable_blocks);
	assert_int_equal(stats.running + stats.waiting, 0);
	for (int i = 0; i < CROWD; i++) {
		int32_t room = c->max_len - r[i]->n_prompt;

		if (r[i]->state == GENREQ_DONE && r[i]->finish == FINISH_ERROR)
			assert_true(c->may_fail);
		else if (r[i]->state == GENREQ_DONE)
			assert_int_equal(genreq_output_tokens(r[i]),
					 r[i]->max_tokens < room ? r[i]->max_tokens : room);
		assert_int_equal(r[i]->slot.n_blocks, 0);
		genreq_free(r[i]);
	}
	t->close(s);
	step_plan_release(&p);
}

#endif
